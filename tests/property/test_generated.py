"""Apply rebuilds generated targets byte for byte: with odd names, odd headers, truncated or mixed layers."""

import io
import tarfile
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import TestImage, docker_save
from tests.content import noise
from tests.roundtrip import check

NAMES = st.one_of(
    st.sampled_from(["a", "b", "dir/a", "dir/b", "./c", "/abs", "../up", "lib-1.2.3.so", "lib-1.2.4.so", "x" * 150]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60),
)
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.builds(noise, st.integers(0, 3), st.integers(0, 3000)),
)
ENTRY = st.fixed_dictionaries(
    {
        "name": NAMES,
        "data": CONTENT,
        "type": st.sampled_from(
            [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]
        ),
        "mode": st.integers(0, 0o7777),
        "uid": st.integers(0, 1 << 22),
        "mtime": st.one_of(st.integers(0, 1 << 34), st.just(1.5)),
        "uname": st.sampled_from(["", "root", "ü"]),
        "pax": st.dictionaries(st.sampled_from(["SCHILY.xattr.user.a", "comment"]), st.text(max_size=20), max_size=2),
    }
)
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def layer(entries: list[dict], form: int, tail: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for item in entries:
            entry = tarfile.TarInfo(item["name"])
            entry.type, entry.mode, entry.uid, entry.uname = item["type"], item["mode"], item["uid"], item["uname"]
            entry.mtime = item["mtime"] if form == tarfile.PAX_FORMAT else int(item["mtime"])
            entry.pax_headers = item["pax"] if form == tarfile.PAX_FORMAT else {}
            if entry.isreg():
                entry.size = len(item["data"])
            else:
                entry.linkname = item["name"][::-1]
            try:
                tar.addfile(entry, io.BytesIO(item["data"]) if entry.isreg() else None)
            except (ValueError, UnicodeError):
                continue  # skip an entry that this tar format cannot express
    return out.getvalue() + tail


LAYER = st.builds(layer, st.lists(ENTRY, max_size=8), FORMATS, st.sampled_from([b"", b"junk", bytes(700)]))
IMAGE = st.builds(TestImage, st.lists(LAYER, min_size=1, max_size=3))
STYLE = st.sampled_from(["classic", "v25", "podman", "oci", "c8d"])
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(IMAGE, IMAGE, STYLE, STYLE, st.booleans())
def test_any_two_images(base: TestImage, target: TestImage, base_style, target_style, share: bool):
    if share:
        target = TestImage([*base.layers[:1], *target.layers], target.names)
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), [docker_save([base], base_style)], docker_save([target], target_style))


@SETTINGS
@given(IMAGE, STYLE, st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=12))
def test_an_image_and_its_mutation(base: TestImage, style, changes: list[tuple[int, int]]):
    layers = [bytearray(item) for item in base.layers]
    for place, byte in changes:
        part = layers[place % len(layers)]
        part[place % len(part)] = byte
    target = TestImage([bytes(item) for item in layers], base.names)
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), [docker_save([base], style)], docker_save([target], style))


@SETTINGS
@given(IMAGE, st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_an_archive_and_its_mutation(base: TestImage, changes: list[tuple[int, int]]):
    from dibundle.errors import ArchiveError

    archive = docker_save([base])
    mutated = bytearray(archive)
    for place, byte in changes:
        mutated[place % len(mutated)] = byte
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(Path(folder), [archive], bytes(mutated))
        except ArchiveError:
            return  # the mutated file is not an image archive

"""Costs of the intermediate archives that a chain rebuilds, and of documents in any archive."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import hashlib
import io
import itertools
import json
import os
import tarfile
import time

import pytest

from dibundle.applying import budget, chain
from dibundle.applying.base_store import BaseObjects, Wanted
from dibundle.applying.candidates import FoundDigests
from dibundle.errors import ArchiveError, BaseMismatchError, FileError
from dibundle.files import compression
from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes, Spool
from dibundle.images import claims, docker, document, members
from dibundle.images.archive import MADE_NAMES, open_archive, open_made
from dibundle.images.members import Members
from dibundle.images.model import Blob, ImageArchive
from dibundle.images.reader import read_images
from dibundle.images.tar.entries import LONGEST_NAME, UNNAMED, UNNAMED_FOLDER, scan
from tests.bounds.measure import dib
from tests.builders import TestImage, build_layer, docker_save, file, sha256
from tests.content import noise
from tests.fuzz.bounds import frame_of, one, target, written

MIB = 1 << 20
Bundle, Frame, Program = written.Bundle, written.Frame, written.Program


def tar(items: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in items.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, link in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return out.getvalue()


def spooled(data: bytes) -> Spool:
    spool = Spool()
    spool.write(data)
    return spool


# --- names


def test_long_names_of_made_archives_are_not_kept():
    long = "n" * (LONGEST_NAME + 1)
    data = tar({long: b"content", "short": b"x"}, {"link": long, long + "2": "short"})
    kept, whole = scan(MemoryBytes(data), None, MADE_NAMES), scan(MemoryBytes(data))
    assert [entry.path for entry in kept.entries] == [UNNAMED, b"short", b"link", UNNAMED]
    assert kept.entries[2].link is UNNAMED
    places = [
        [(e.start, e.content, e.size, e.end, e.is_file, e.type) for e in index.entries] for index in (kept, whole)
    ]
    assert places[0] == places[1]


def test_names_of_made_archives_are_kept_up_to_a_sum():
    data = tar({f"{row:04}" + "n" * 1000: b"" for row in range(20)})
    kept = scan(MemoryBytes(data), None, 5 * 1004)
    assert [entry.path is not UNNAMED for entry in kept.entries] == [True] * 5 + [False] * 15


def test_a_folder_that_an_old_tar_tells_by_its_name_stays_one():
    block = bytearray(written.block("a" * 99 + "/"))
    data = bytes(block) + bytes(1024)
    kept = scan(MemoryBytes(data), None, 10)
    assert kept.entries[0].path is UNNAMED_FOLDER or kept.entries[0].type != 0
    assert kept.entries[0].is_file == scan(MemoryBytes(data)).entries[0].is_file


def members_of(archive):
    """Return all regular members as layers, without any image or document."""
    members = Members(archive)
    files = [entry for entry in archive.index.entries if entry.is_file]
    blobs = [Blob(entry, "layer", compression.sniff(members.head(entry, 16)), None, None) for entry in files]
    return ImageArchive(archive, (), tuple(blobs), None)


def test_what_has_no_name_is_found_by_content_and_by_no_name():
    long = "n" * 5000
    content = b"the layer" * 1000
    data = tar({"a": b"other", long: content})
    with open_made(spooled(data), "made", owned=True) as archive:
        archive_members = Members(archive)
        for name in (long.encode(), UNNAMED, UNNAMED_FOLDER, b""):
            assert archive_members.find(name) is None
        wanted = [Wanted(hashlib.sha256(content).digest(), len(content))]
        base = BaseObjects(wanted)
        base.add([members_of(archive)], [0])
        archive.forget()
        assert base.missing([0]) == []
        assert base.read(0, 0, len(content)) == content
        base.verify([0])


# --- decompression of intermediate targets


def test_all_targets_on_the_way_share_one_floor(monkeypatch):
    monkeypatch.setattr(budget, "MADE_FLOOR", 300_000)
    layer = bytes(60_000)
    packed = frame_of(layer)
    wanted = [Wanted(bytes([row]) * 32, len(layer)) for row in range(3)]
    base = BaseObjects(wanted)
    unpacked = []
    for row in range(5):
        with open_made(spooled(tar({f"l{row}": packed})), "made", owned=True) as archive:
            before = base._shared["made"]
            archive.bytes.size  # noqa: B018
            monkeypatch.setattr(budget, "MADE_RATIO", 0)
            base.add([members_of(archive)], [0, 1, 2])
            unpacked.append(before - base._shared["made"])
    assert sum(unpacked) <= 300_000 + 2 * (1 << 20)
    assert unpacked[0] == 1 << 17  # zstd decodes each block as a whole
    assert base._shared["made"] < 0


def test_of_targets_on_the_way_nothing_is_unpacked_that_no_such_layer_is_compressed_by():
    layer = bytes(60_000)
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}})
    entry = json.dumps([{"Config": "c", "RepoTags": [], "Layers": ["l"]}])
    missing = []
    for packed in (bz2.compress(layer), gzip.compress(layer)):
        base = BaseObjects([Wanted(hashlib.sha256(layer).digest(), len(layer))])
        image = tar({"manifest.json": entry.encode(), "c": config.encode(), "l": packed})
        with open_made(spooled(image), "made", owned=True) as archive:
            base.add([read_images(archive)], [0])
        missing.append(base.missing([0]))
    assert missing == [[0], []]


def test_an_honest_chain_of_targets_takes_nothing_of_the_floor():
    layer = bytes(range(256)) * 1000
    wanted = [Wanted(bytes(32), len(layer))]
    base = BaseObjects(wanted)
    with open_made(spooled(tar({"l": frame_of(layer), "pad": bytes(len(layer) // 4)})), "made", owned=True) as archive:
        base.add([members_of(archive)], [0])
    assert (base._shared["made"], base._shared["calls"]) == (budget.MADE_FLOOR, budget.CALLS)


EMPTY_BLOCK = bytes(3)
FRAME_OF_EMPTY_BLOCKS = b"\x28\xb5\x2f\xfd\x00\x58" + 8 * EMPTY_BLOCK + b"\1\0\0"


def test_empty_blocks_of_zstd_count_as_work(monkeypatch):
    """An empty block has only three bytes, but takes as long as a block with content."""
    monkeypatch.setattr(compression, "_FREE", 1000)
    frame = FRAME_OF_EMPTY_BLOCKS[:6] + 100_000 * EMPTY_BLOCK + b"\1\0\0"
    with pytest.raises(ArchiveError, match="too many tiny pieces"):
        list(compression.decompress_iter("zstd", [frame]))
    assert b"".join(compression.decompress_iter("zstd", [FRAME_OF_EMPTY_BLOCKS])) == b""


@pytest.fixture
def spent(monkeypatch):
    """Return the amounts that were spent from budgets, by resource. Refused amounts are left out."""
    total = {"made": 0, "input": 0, "calls": 0}
    spend = budget.Budget.spend

    def counted(self, what, amount):
        spend(self, what, amount)
        total[what] += amount

    monkeypatch.setattr(budget.Budget, "spend", counted)
    return total


def test_the_work_for_tiny_frames_of_targets_on_the_way_is_bounded(monkeypatch, spent):
    """Each bundle of a chain may decompress the same layer again, although dib rebuilds this layer only once."""
    monkeypatch.setattr(budget, "CALLS", 1000)
    layer = bytes(60_000)
    base = BaseObjects([Wanted(hashlib.sha256(layer).digest(), len(layer))])
    archive = tar({"l": FRAME_OF_EMPTY_BLOCKS * 3000 + frame_of(layer)})
    with open_made(spooled(archive), "made", owned=True) as made:
        base.add([members_of(made)], [0])
    assert base.missing([0]) == [0]
    assert spent["calls"] <= 1000 + len(archive) // budget.CALL_BYTES + 4


def test_a_layer_on_the_way_is_read_a_few_times_however_many_objects_have_its_content(monkeypatch, spent):
    """Deflate data may consist of many code tables without content. Decoding one table takes as much time as decoding
    many bytes of content.
    """
    monkeypatch.setattr(budget, "INPUT_FLOOR", 1000)
    layer = noise(1, 600_000)
    packed = gzip.compress(layer)
    content = Wanted(hashlib.sha256(layer).digest(), len(layer))
    base = BaseObjects([Wanted(bytes([row]) * 32, 10, of=content, make=iter) for row in range(9)])
    archive = tar({"l": packed})
    with open_made(spooled(archive), "made", owned=True) as made:
        base.add([members_of(made)], range(9))
        assert base.missing(range(9)) == []
        for row in range(9):
            with contextlib.suppress(BaseMismatchError):
                base.prepare([row])
    assert spent["input"] <= 1000 + 3 * len(archive) + (1 << 20)


def test_members_of_all_archives_that_a_chain_makes_are_bounded(monkeypatch):
    monkeypatch.setattr(chain, "MAX_MEMBERS", 10)
    assert chain.MAX_MADE_ENTRIES == 65_536
    looked = []
    monkeypatch.setattr(
        chain, "open_made", lambda spool, name, *, owned, entries, names: looked.append(entries) or _Made(entries)
    )
    monkeypatch.setattr(chain, "rebuild_targets", lambda *given, **more: None)
    program = Program().do("zero", zero=512)
    reader = chain.BundleReader(io.BytesIO(Bundle([], [target(512, program)] * 4).encode()))
    chain.make_all(reader, [], chain.RebuildOptions(), _Context())
    assert looked == [10, 6, 2, 1]


def test_names_of_all_archives_that_a_chain_makes_are_bounded(monkeypatch):
    """A bundle may have 1,024 targets. If each target kept 16 MiB of names, as few as 64 targets would take 1.2 GB."""
    monkeypatch.setattr(chain, "MADE_NAMES", 1000)
    archive = tar({"n" * 150 + str(number): b"" for number in range(3)})
    with Context() as context:
        found = []
        for _ in range(4):
            spool = context.spool()
            spool.write(archive)
            entries, names = chain._left(found)
            found.append(context.enter(open_made(spool, "made", owned=True, entries=entries, names=names)))
        kept = [made.index.names for made in found]
    assert kept == [453, 453, 0, 0]


def test_closed_archives_of_a_chain_are_forgotten():
    layer = bytes(60_000)
    digests = FoundDigests(1 << 20)
    base = BaseObjects([Wanted(bytes(32), len(layer))], digests=digests)
    with open_made(spooled(tar({"l": frame_of(layer)})), "made", owned=True) as archive:
        images = members_of(archive)
        digests.hold([images])
        base.add([images], [0])
        assert digests._found
        digests.release([archive])
        assert not digests._found
        assert not digests._held


class _Made:
    is_made = True

    def __init__(self, entries: int) -> None:
        self.index = type("Index", (), {"entries": [None] * min(4, entries), "names": 0})


class _Context:
    def spool(self):
        return io.BytesIO()

    def enter(self, item):
        return item


# --- documents


def nested(index: bytes, size: int) -> bytes:
    """Return an index that lists ``index``, with about ``size`` additional bytes of nested empty lists."""
    return (
        b'{"schemaVersion":2,"manifests":['
        + index
        + b'],"x":['
        + b",".join([b"[" * 90 + b"]" * 90] * (size // 181))
        + b"]}"
    )


def test_indexes_in_indexes_are_parsed_one_at_a_time(tmp_path):
    blobs: dict[str, bytes] = {}
    index = b""
    for depth in range(7):
        data = nested(index, 2 * MIB + depth)
        digest = sha256(data)
        index = json.dumps({"digest": f"sha256:{digest}"}).encode()
        blobs[f"blobs/sha256/{digest}"] = data
    data = tar({**blobs, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": nested(index, MIB)})
    path = tmp_path / "nested.tar"
    path.write_bytes(data)
    bundle = tmp_path / "any.dib"
    program = Program().do("keep", keep=512)
    bundle.write_bytes(one(512, program, objects=[(1, 512, bytes(32))]).encode())
    taken = dib("apply", bundle, path, "-o", tmp_path / "out.tar")
    assert taken.status == 4
    assert taken.memory < 330 * MIB


@pytest.mark.parametrize("is_made", [False, True])
def test_all_documents_of_an_archive_are_bounded(is_made, monkeypatch, tmp_path):
    monkeypatch.setattr(members, "MADE_DOCUMENTS", 100)
    monkeypatch.setattr(members, "MAX_DOCUMENTS", 150)
    path = tmp_path / "a.tar"
    path.write_bytes(tar({f"{row}.json": bytes(40) for row in range(9)}))
    with open_archive(path) as archive:
        archive.is_made = is_made
        found = Members(archive)
        left = [entry for entry in archive.index.entries if not _is_read(found, entry)]
    assert len(left) == (7 if is_made else 6)


def _is_read(found: Members, entry) -> bool:
    try:
        found.read(entry)
    except ArchiveError:
        return False
    return True


def test_a_document_of_a_made_archive_takes_what_is_allowed():
    assert members.MADE_DOCUMENTS <= document.SIZE_LIMIT


def test_of_a_manifest_only_what_matters_is_kept():
    entry = {
        "Config": "c", "repoTags": ["a:1", 5], "Layers": ["l"], "LayerSources": {"sha256:x": {"size": 5}},
        "other": [[[]]] * 100,
    }  # fmt: skip
    assert docker._told(entry) == {"Config": "c", "repoTags": ["a:1", None], "Layers": ["l"], "LayerSources": 0}
    assert docker._told({"Config": {}, "Layers": {}, "RepoTags": None}) == {"Config": 0, "Layers": 0, "RepoTags": None}
    assert docker._told("x") == {}


@pytest.mark.parametrize("style", ["v25", "classic", "podman", "oci", "c8d"])
def test_images_are_read_as_ever(style, tmp_path):
    images = [TestImage(layers=[build_layer([file("a", b"%d" % row)])], names=[f"app:{row}"]) for row in range(2)]
    path = tmp_path / "image.tar"
    path.write_bytes(docker_save(images, style))
    with open_archive(path) as archive:
        found = read_images(archive)
    assert list(itertools.chain(*(image.names for image in found.images)))[:1]
    assert all(layer for image in found.images for layer in image.layers)
    assert found.producer


def test_many_missing_objects_are_looked_for_among_many_members_once():
    packed = frame_of(bytes(10))
    data = tar({f"l{row}": packed for row in range(5000)})
    wanted = [Wanted(row.to_bytes(32, "little"), 600 + row) for row in range(30_000)]
    start = time.process_time()
    base = BaseObjects(wanted)
    with open_made(spooled(data), "made", owned=True) as archive:
        archive.is_made = False  # treat this archive as if the user had given it, not as the output of a bundle
        base.add([members_of(archive)], range(len(wanted)))
    assert len(base.missing(range(len(wanted)))) == len(wanted)
    assert time.process_time() - start < 4  # takes 0.3 s; before the fix, it took 20 s


# --- listings of images


def named_twice(count: int, name: str) -> bytes:
    """Return an archive with an index of ``count`` manifests.

    Two nested indexes, each with a name, lead to this index.
    """
    blobs: dict[str, bytes] = {}

    def blob(value: object) -> dict[str, object]:
        data = json.dumps(value).encode()
        blobs[f"blobs/sha256/{sha256(data)}"] = data
        return {"digest": f"sha256:{sha256(data)}"}

    config = blob({})
    index: object = {"manifests": [blob({"config": config, "layers": [], "x": row}) for row in range(count)]}
    for letter in "ab":
        annotations = {"io.containerd.image.name": f"{letter}{name}"}
        index = {"manifests": [{**blob(index), "annotations": annotations}]}
    return tar({**blobs, "index.json": json.dumps(index).encode(), "oci-layout": b"{}"})


def test_names_of_indexes_are_counted_for_each_image_below(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "MAX_NAMES_SIZE", 4 * 4)
    path = tmp_path / "names.tar"
    for count, name, is_read in ((4, "ccc", True), (5, "ccc", False), (4, "\u20ac", True), (4, "\u20acc", False)):
        path.write_bytes(named_twice(count, name))
        with open_archive(path) as archive:
            if is_read:
                images = read_images(archive).images
                assert [image.names for image in images] == [(f"b{name}",)] * count
            else:
                with pytest.raises(ArchiveError, match="exceed 16 bytes"):
                    read_images(archive)


def test_long_names_of_indexes_in_another_form_take_little(tmp_path):
    """Before the fix, names of 16 kB for thousands of images took gigabytes of memory."""
    data = named_twice(2000, "\U0001f600" * 4000)
    program = Program().do("raw", raw=len(data), stream=1)
    made = written.Target(data, program, 1, tail=len(data) - 2048)
    path = tmp_path / "names.dib"
    path.write_bytes(Bundle([Frame(frame_of(data), len(data), codec=1)], [made]).encode())
    taken = dib("apply", path, "--format", "docker-archive", "-o", tmp_path / "out.tar")
    assert taken.status == 4
    assert taken.memory < 200 * MIB


@pytest.mark.parametrize(
    ("entry", "most"), [({"Layers": []}, 6), ({"RepoTags": ["a", "b"]}, 3), ({"Layers": ["l"]}, 6)]
)
def test_images_without_layers_and_names_are_counted(entry, most, tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "MAX_REFERENCES", 6)
    path = tmp_path / "images.tar"
    for count in (most, most + 1):
        listed = json.dumps([{"Config": "c", **entry}] * count).encode()
        path.write_bytes(tar({"c": b"{}", "l": bytes(512), "manifest.json": listed}))
        with open_archive(path) as archive:
            if count == most:
                assert len(read_images(archive).images) == count
            else:
                with pytest.raises(ArchiveError, match="more than 6 layers, names and images"):
                    read_images(archive)


LAYERS = [noise(7, 40_000), noise(8, 3_000_000), noise(9, 70_000)]
WANTED = [Wanted(hashlib.sha256(layer).digest(), len(layer)) for layer in LAYERS]


def base_of(path, stored: list[bytes], claims: list[int]) -> BaseObjects:
    """Return the objects of an archive that the user gives. Blob ``i`` claims to be layer ``claims[i]``."""
    path.write_bytes(tar({f"l{number}": data for number, data in enumerate(stored)}))
    given = open_archive(path)
    entries = [entry for entry in given.index.entries if entry.is_file]
    blobs = [
        Blob(entry, "layer", "gzip", None, WANTED[layer].digest) for entry, layer in zip(entries, claims, strict=True)
    ]
    base = BaseObjects(WANTED, tmp=str(path.parent), believe=True)
    base.add([ImageArchive(given, (), tuple(blobs), None)], range(3))
    assert base.missing(range(3)) == []
    return base


def test_gzip_layers_of_a_base_are_decompressed_side_by_side_each_from_the_first_readable_blob(tmp_path):
    good = [gzip.compress(layer, 1) for layer in LAYERS]
    wrong = gzip.compress(LAYERS[1][:-1], 1)
    base = base_of(tmp_path / "a.tar", [good[2], wrong, good[0], good[1][:-9], good[1]], [2, 1, 0, 1, 1])
    base.prepare([2, 0, 1])
    for number, layer in enumerate(LAYERS):
        assert base.read(number, 0, len(layer)) == layer
    base.verify(range(3))


@pytest.mark.parametrize("stored", [[2, 0, -1], [0, -1, -1], [-1, -1, -1], [-1, 0, 1]])
def test_the_first_of_several_damaged_layers_is_named_whichever_is_read_first(tmp_path, stored):
    good = [gzip.compress(layer, 1) for layer in LAYERS]
    content = [good[number] if kind >= 0 else good[number][:-20] for number, kind in enumerate(stored)]
    for _ in range(5):
        base = base_of(tmp_path / "a.tar", content, [0, 1, 2])
        with pytest.raises(BaseMismatchError, match=WANTED[stored.index(-1)].digest.hex()[:12]):
            base.prepare(range(3))
        base.close()


def test_a_full_disk_ends_all_layers(tmp_path, monkeypatch):
    base = base_of(tmp_path / "a.tar", [gzip.compress(layer, 1) for layer in LAYERS], [0, 1, 2])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FileError, match="No space left"):
        base.prepare(range(3))
    base.close()

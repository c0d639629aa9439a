"""``apply`` rebuilds the target from base and bundle, byte for byte."""

import gzip
from pathlib import Path

import pytest

from dibundle.codecs.encode.choose import PROFILES
from dibundle.creating.options import CreateOptions
from dibundle.errors import ArchiveError
from dibundle.files import compression
from dibundle.files.readat import MemoryBytes
from dibundle.images.archive import open_archive
from dibundle.images.tar.entries import scan
from tests.builders import TestImage, build_layer, docker_save, file, folder, hardlink, symlink
from tests.content import noise, text
from tests.fixtures import Fixture, fixtures, third_party
from tests.program import succeed
from tests.roundtrip import bundle_of, check, rebuilt

STYLES = ("classic", "v25", "podman", "oci", "c8d")


def release(number: int) -> TestImage:
    bottom = build_layer([folder("usr/"), *(file(f"usr/lib{n}.so", noise(n, 20_000)) for n in range(5))])
    top = build_layer(
        [
            folder("app/", mtime=number),
            *(
                file(f"app/m{n}.py", text(n, 3000) + b"#%d" % (number if n % 3 == 0 else 0), mtime=number)
                for n in range(30)
            ),
            symlink("app/current", f"v{number}", mtime=number),
            hardlink("app/hard", "app/m1.py", mtime=number),
            file(f"app/libthing-{number}.so", noise(77, 9000) + b"%d" % number),
            file("app/twice1", noise(500 + number, 5000)),
            file("app/twice2", noise(500 + number, 5000)),
        ]
    )
    return TestImage([bottom, top], [f"example.com/app:{number}"])


@pytest.mark.parametrize("target_style", STYLES)
@pytest.mark.parametrize("base_style", STYLES)
def test_between_all_forms_of_archives(tmp_path: Path, base_style, target_style):
    base = docker_save([release(1)], base_style, "gzip" if base_style == "c8d" else None)
    target = docker_save([release(2)], target_style)
    result = check(tmp_path, [base], target)
    assert result.size < len(target) // 10


@pytest.mark.parametrize("style", STYLES)
def test_the_base_may_be_another_archive_of_the_same_image(tmp_path: Path, style):
    target = docker_save([release(2)])
    bundle, _ = bundle_of(tmp_path, [docker_save([release(1)])], target)
    for packing in (None, "gzip", "zstd"):
        assert rebuilt(tmp_path, [docker_save([release(1)], style, packing)], bundle) == target


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_every_profile_at_every_kind_of_level(tmp_path: Path, profile: str, level: int):
    options = CreateOptions(level=level, profile=profile)
    check(tmp_path, [docker_save([release(1)])], docker_save([release(2)]), options)


@pytest.mark.parametrize("path", [b"a", b"oci-layout"])
def test_sizes_that_programs_read_differently(tmp_path: Path, path: bytes):
    plain = docker_save([TestImage([build_layer([file("a", b"hello"), file("b", b"2")])])])
    odd = bytearray(plain)
    at = odd.index(path + bytes(100 - len(path)))
    odd[at + 124 : at + 136] = odd[at + 128 : at + 136] + b" 12\0"
    odd[at + 148 : at + 156] = b" " * 8
    odd[at + 148 : at + 156] = b"%06o\0 " % sum(odd[at : at + 512])
    for old, new in ((plain, odd), (odd, plain), (odd, odd)):
        check(tmp_path, [bytes(old)], bytes(new))


def test_without_a_base(tmp_path: Path):
    bundle, result = bundle_of(tmp_path, [], docker_save([release(1)]))
    assert not result.manifest.objects
    assert rebuilt(tmp_path, [], bundle) == docker_save([release(1)])


def test_compressed_layers_of_a_target_come_back_exactly(tmp_path: Path):
    for packing in ("gzip", "zstd"):
        check(tmp_path, [docker_save([release(1)])], docker_save([release(2)], "c8d", packing))


def test_content_that_is_there_twice_is_sent_once(tmp_path: Path):
    big = noise(9, 300_000)
    new = build_layer([file("one", big), file("two", big, mtime=7), file("three", big)])
    again = build_layer([file("four", big, mode=0o600)])
    result = check(tmp_path, [docker_save([release(1)])], docker_save([TestImage([new, again])]))
    assert result.size < 310_000
    assert result.counts.repeated == 3


def test_content_that_moved_in_the_base_is_not_sent(tmp_path: Path):
    big = noise(10, 300_000)
    base = TestImage([build_layer([file("old/place", big)])])
    target = TestImage([build_layer([file("new/home/of/it", big, mtime=9)])])
    assert check(tmp_path, [docker_save([base])], docker_save([target])).size < 2500


def test_several_bases(tmp_path: Path):
    first, second = noise(11, 100_000), noise(12, 100_000)
    bases = [docker_save([TestImage([build_layer([file("f", part)])])]) for part in (first, second)]
    target = docker_save([TestImage([build_layer([file("f", first), file("g", second)])])])
    assert check(tmp_path, bases, target).size < 3000


@pytest.mark.parametrize("fixture", fixtures("image-archive"), ids=str)
def test_every_archive_of_the_fixtures(tmp_path: Path, fixture: Fixture):
    with open_archive(fixture.path) as archive:
        data = archive.bytes.read_at(0, archive.bytes.size)
    try:
        check(tmp_path, [], data)
    except ArchiveError:
        assert fixture.path.name in {"no_manifest.tar", "null_manifest.tar", "emptyLayer.tar", "export-no-manifest.tar"}
        return
    check(tmp_path, [docker_save([release(1)])], data)
    again = check(tmp_path, [data], data)
    assert again.counts.added == 0


def unpacked(fixture: Fixture) -> bytes:
    data = fixture.path.read_bytes()
    kind = compression.sniff(data)
    return b"".join(compression.decompress_iter(kind, [data])) if kind else data


def with_one_file_changed(layer: bytes) -> tuple[bytes, int]:
    """Return the layer with up to 100 changed bytes in one file, and the number of changed bytes."""
    changed = bytearray(layer)
    files = [entry for entry in scan(MemoryBytes(layer)).entries if entry.size]
    if not files:
        changed[-1] ^= 1
        return bytes(changed), 1
    entry = files[len(files) // 2]
    count = min(100, entry.size)
    for place in range(entry.content, entry.content + count):
        changed[place] ^= 0x55
    return bytes(changed), count


@pytest.mark.parametrize("fixture", fixtures("tar"), ids=str)
def test_one_file_changed_in_an_odd_layer(tmp_path: Path, fixture: Fixture):
    layer = unpacked(fixture)
    changed, count = with_one_file_changed(layer)
    result = check(tmp_path, [docker_save([TestImage([layer])])], docker_save([TestImage([changed])]))
    assert result.size <= 4000 + count


@pytest.mark.slow
def test_few_odd_layers_are_handled_as_one_piece(tmp_path: Path):
    found = third_party("tar")
    if not found:
        pytest.skip("no fixtures at ../shared/fixtures or $DIB_FIXTURES")
    layers = opaque = 0
    for fixture in found:
        layer = unpacked(fixture)
        _, result = bundle_of(tmp_path, [], docker_save([TestImage([layer])]))
        layers += result.counts.layers
        opaque += result.counts.opaque_layers
    assert layers == len(found)
    assert opaque <= layers * 0.05


@pytest.mark.parametrize("name", ["BZh91AY&SY.txt", "(\xb5/\xfd", "plain.txt"])
def test_a_target_may_begin_like_a_compressed_file(name: str, tmp_path: Path):
    """A target may begin like a compressed file. Before the fix, dib did not find a later target's content in such a
    target, so no base matched.
    """
    layer = build_layer([file("data", noise(1, 40_000))])
    first = build_layer([file(name, b"hello")])[:-1024] + docker_save([TestImage([layer], ["app:1"])], "v25")
    (tmp_path / "first.tar.gz").write_bytes(gzip.compress(first, mtime=0))
    second = docker_save([TestImage([layer, build_layer([file("more", b"more")])], ["app:2"])], "v25")
    (tmp_path / "second.tar").write_bytes(second)
    (tmp_path / "base.tar").write_bytes(docker_save([TestImage([build_layer([file("x", b"x")])], ["app:0"])], "v25"))
    targets = (tmp_path / "first.tar.gz", tmp_path / "second.tar")
    succeed("create", "--base", tmp_path / "base.tar", *targets, "-o", tmp_path / "m.dib")
    ended = succeed("apply", tmp_path / "base.tar", tmp_path / "m.dib", "--target", "app:2")
    assert ended.out == second

"""zstd layers in archives. Bundles are created from the layers' content, and rebuild the layers' exact bytes."""

import contextlib
from pathlib import Path

import pytest
import zstandard

import dibundle
from dibundle.codecs import recompression
from dibundle.codecs.frames import encoders
from dibundle.codecs.frames import libzstd as installed
from dibundle.codecs.frames.encoders import FrameEncoder
from dibundle.codecs.recompression import Body, Plain
from dibundle.creating.compose.reframed import guess_frame, unpack_frames
from dibundle.files.readat import MemoryBytes, Spool
from dibundle.inspecting import doctor
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.roundtrip import bundle_of, check, rebuilt

TABLE = bytes.fromhex("512a4d1808000000") + b"contents"  # a skippable frame
CUTS = (0, 512, 3_000, 70_000, 70_001, 230_000)


def compressor(level, first=0, encoder=encoders.KLAUSPOST_17):
    """Return a function that compresses as klauspost's encoder does."""

    def compress(data):
        made = FrameEncoder(encoder, level, first)
        return made.write(data) + made.finish()

    return compress


def chunked(data):
    """Compress each piece into a separate frame, followed by skippable frames, as zstd:chunked does."""
    cuts = [cut for cut in CUTS if cut < len(data)]
    write = compressor(encoders.DEFAULT)
    pieces = [data[at:end] for at, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]
    return b"".join([*map(write, pieces), TABLE, TABLE])


def libzstd(level, *, threads=0, sized=True, checksum=True):
    """Return a function that compresses like the zstd program, or like other programs that use libzstd."""

    def compress(data):
        made = zstandard.ZstdCompressor(
            level=level, threads=threads, write_content_size=sized, write_checksum=checksum
        ).compressobj(**({"size": len(data)} if sized else {}))
        return made.compress(data) + made.flush()

    return compress


def other_settings(data):
    """Compress with a window of 32 MiB, which no encoder of dib has."""
    return libzstd(20, sized=False)(data)


WRITERS = {
    "fastest": compressor(encoders.FASTEST),
    "default": compressor(encoders.DEFAULT),
    "better": compressor(encoders.BETTER),
    "best": compressor(encoders.BEST),
    "skopeo": compressor(encoders.DEFAULT, 8),
    "newer": compressor(encoders.DEFAULT, encoder=encoders.KLAUSPOST_20),
    "older": compressor(encoders.BEST, encoder=encoders.KLAUSPOST_15),
    "chunked": chunked,
    "zstd -3": libzstd(3, threads=1),
    "zstd -19": libzstd(19, threads=1),
    "zstd -9 --single-thread, from a pipe": libzstd(9, sized=False),
    "a library": libzstd(3, sized=False, checksum=False),
    "a library at once": zstandard.ZstdCompressor(level=1).compress,
}


def release(number):
    """Return a version of an image. Most content of a version is the same in the next version."""
    files = [file(f"usr/lib/{k}", noise(k, 30_000) + text(100 * (k == number) + k, 30_000)) for k in range(8)]
    return TestImage([build_layer(files)], ["example.com/app:1"])


@pytest.mark.parametrize("name", WRITERS)
def test_layers_come_back(tmp_path: Path, name: str):
    base, target = (docker_save([release(number)], "oci", WRITERS[name]) for number in (1, 2))
    raw = [docker_save([release(number)], "oci") for number in (1, 2)]
    result = check(tmp_path, [base], target)
    assert result.manifest.reencoders
    assert result.size < check(tmp_path, raw[:1], raw[1]).size + 1000


def test_a_base_in_another_form_will_do(tmp_path: Path):
    base = docker_save([release(1)], "oci", "gzip")
    target = docker_save([release(2)], "oci", WRITERS["best"])
    assert check(tmp_path, [base], target).size < len(target) // 3


def test_layers_of_other_programs_are_carried_as_they_are(tmp_path: Path):
    base = docker_save([release(1)], "oci")
    target = docker_save([release(2)], "oci", other_settings)
    result = check(tmp_path, [base], target)
    assert result.manifest.reencoders == ()


def test_frames_and_what_is_between_them():
    content = noise(1, 100_000) + text(2, 300_000)
    with contextlib.closing(Spool(None)) as spool:
        found = unpack_frames(MemoryBytes(TABLE + chunked(content)), spool)
        assert found
        assert spool.read_at(0, spool.size) == content
    assert [type(part) for part in found.parts] == [Plain] + [Body] * len(CUTS) + [Plain]
    assert found.plain == TABLE * 3
    packer = recompression.Recompressor(found.parts, found.plain)
    assert b"".join([*packer.write(content), *packer.finish()]) == TABLE + chunked(content)


@pytest.mark.parametrize("behind", [b"\0", b"x" * 600, TABLE[:-1], compressor(encoders.DEFAULT)(b"abc" * 99)[:-1]])
def test_what_is_no_frame_is_not_made_again(behind: bytes):
    with contextlib.closing(Spool(None)) as spool:
        assert unpack_frames(MemoryBytes(chunked(text(3, 9_000)) + behind), spool) is None


def test_of_a_bomb_no_more_is_decoded_than_could_be_made_again():
    stored = MemoryBytes(compressor(encoders.FASTEST)(bytes(200 << 20)))
    with contextlib.closing(Spool(None)) as spool:
        assert unpack_frames(stored, spool) is None
        assert spool.size < 17 * stored.size + (2 << 20)


def test_a_bomb_of_plain_bytes_is_carried_as_it_is():
    skipped = bytes.fromhex("502a4d1800005000") + bytes(5 << 20)
    with contextlib.closing(Spool(None)) as spool:
        assert unpack_frames(MemoryBytes(chunked(text(3, 9_000)) + skipped), spool) is None


@pytest.mark.parametrize("name", ["default", "best", "skopeo", "newer"])
def test_layers_that_stay_are_made_of_their_content(tmp_path: Path, name: str):
    """Unchanged layers are rebuilt from their content, so the receiver's old image may also have raw layers."""
    kept = release(1).layers[0]
    added = TestImage([kept, build_layer([file("added", text(9, 4_000))])], ["example.com/app:2"])
    base, target = (docker_save([image], "oci", WRITERS[name]) for image in (release(1), added))
    bundle, result = bundle_of(tmp_path, [base], target)
    assert result.manifest.forms
    assert result.size < 4_000
    for form in ("podman", "oci"):
        assert rebuilt(tmp_path, [docker_save([release(1)], form)], bundle) == target


def test_nothing_is_guessed_of_what_is_no_frame():
    frame = WRITERS["default"](text(1, 200_000))
    assert guess_frame(MemoryBytes(frame), 200_000)
    assert guess_frame(MemoryBytes(frame + TABLE), 200_000) is None
    assert guess_frame(MemoryBytes(frame[:-1]), 200_000) is None
    assert guess_frame(MemoryBytes(frame), 200_000_000) is None
    assert guess_frame(MemoryBytes(other_settings(text(1, 200_000))), 200_000) is None


def test_another_libzstd_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base, target = (docker_save([release(number)], "oci", WRITERS["zstd -3"]) for number in (1, 2))
    (tmp_path / "a.tar").write_bytes(base)
    (tmp_path / "b.tar").write_bytes(target)
    dibundle.create(tmp_path / "a.tar", tmp_path / "b.tar", tmp_path / "out.dib")
    assert dibundle.check([tmp_path / "a.tar", tmp_path / "out.dib"]).error is None
    monkeypatch.setattr(zstandard, "ZSTD_VERSION", (1, 5, 6))
    installed.prove.cache_clear()
    error = dibundle.check([tmp_path / "a.tar", tmp_path / "out.dib"]).error
    assert error
    assert error.code == "library.libzstd_version"
    found = next(item for item in doctor.checks() if item.name == "libzstd")
    assert (found.state, found.found) == ("missing", "1.5.6, not 1.5.7")
    monkeypatch.undo()
    installed.prove.cache_clear()

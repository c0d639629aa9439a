"""Decompression of sound, joined, truncated and corrupt streams, and of bombs."""

from __future__ import annotations

import bz2
import contextlib
import gc
import gzip
import lzma
import random
import struct
import sys
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dibundle.errors import ArchiveError, DibError
from dibundle.files import compression

COMPRESS = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}
KINDS = sorted(COMPRESS)
TEXT = b"".join(b"line %d of some text\n" % number for number in range(30_000))
NOISE = random.Random(7).randbytes(700_000)


def inflate(kind: str, data: bytes, step: int = 1 << 16, chunk_size: int = 1 << 20) -> bytes:
    pieces = list(
        compression.decompress_iter(kind, (data[at : at + step] for at in range(0, len(data), step)), chunk_size)
    )
    assert all(0 < len(piece) <= chunk_size for piece in pieces)
    return b"".join(pieces)


def test_a_python_without_bz2_reads_all_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "bz2", None)
    assert inflate("xz", lzma.compress(TEXT)) == TEXT
    with pytest.raises(ArchiveError, match="bzip2") as caught:
        inflate("bzip2", COMPRESS["bzip2"](TEXT))
    assert "bunzip2" in caught.value.hint


def skippable(content: bytes, number: int = 0) -> bytes:
    return struct.pack("<II", 0x184D2A50 + number, len(content)) + content


@pytest.mark.parametrize("kind", KINDS)
def test_sniff_names_each_kind(kind):
    assert compression.sniff(COMPRESS[kind](b"x")[:16]) == kind
    assert compression.sniff(COMPRESS[kind](b"")[:16]) == kind


@pytest.mark.parametrize(
    "head", [b"", b"\x1f", b"\x1f\x8b", b"BZh9 is a text", b"BZh", b"(\xb5/", b"\0" * 16, b"ustar"]
)
def test_sniff_knows_nothing_else(head):
    assert compression.sniff(head) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE], ids=["empty", "byte", "text", "noise"])
@pytest.mark.parametrize("step", [1 << 20, 1 << 16, 997])
def test_round_trip(kind, data, step):
    assert inflate(kind, COMPRESS[kind](data), step) == data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1 << 20, 10])
@pytest.mark.parametrize("chunk_size", [1 << 20, 7])
def test_joined_streams_read_as_one(kind, step, chunk_size):
    parts = [b"one", b"", TEXT[:5000], b"", b"last"]
    assert inflate(kind, b"".join(map(COMPRESS[kind], parts)), step, chunk_size) == b"".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_after_the_end_are_padding(kind):
    assert inflate(kind, COMPRESS[kind](b"data") + bytes(100_000)) == b"data"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", [b"junk", b"\0\0junk"])
def test_other_bytes_after_the_end_are_refused(kind, junk):
    with pytest.raises(ArchiveError, match=f"unexpected bytes after the end of the {kind} data"):
        inflate(kind, COMPRESS[kind](b"data") + junk)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_refused(kind):
    whole = COMPRESS[kind](TEXT[:2000])
    for length in range(len(whole)):
        with pytest.raises(ArchiveError, match="ends too early") as caught:
            inflate(kind, whole[:length])
        assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_content_is_refused(kind):
    data = bytearray(COMPRESS[kind](TEXT))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(ArchiveError):
        inflate(kind, bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_feeding_before_draining_loses_nothing(kind):
    data = COMPRESS[kind](TEXT) + COMPRESS[kind](b"") + COMPRESS[kind](NOISE)
    decompressor = compression.open_decompressor(kind)
    out = b"".join(decompressor.feed(data[at : at + 5000], 3000) for at in range(0, len(data), 5000))
    while piece := decompressor.feed(b"", 3000):
        assert len(piece) <= 3000
        out += piece
    decompressor.finish()
    assert out == TEXT + NOISE


def test_zstd_skippable_frames_give_nothing():
    frame = COMPRESS["zstd"](b"data")
    whole = skippable(b"") + frame + skippable(b"toc" * 40_000, 15) + frame + skippable(b"end", 3)
    for step in (1 << 20, 5):
        assert inflate("zstd", whole, step) == b"datadata"
    assert compression.sniff(whole[:16]) == "zstd"
    with pytest.raises(ArchiveError, match="ends too early"):
        inflate("zstd", skippable(b"toc")[:-1])


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("size", [False, True])
def test_zstd_frames_of_all_makes(checksum, size):
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=checksum, write_content_size=size)
    for data in (b"", b"x" * 300, TEXT[:70_000], bytes(10 << 20)):
        assert inflate("zstd", compressor.compress(data)) == data
        streamed = compressor.compressobj()
        assert inflate("zstd", streamed.compress(data) + streamed.flush()) == data


def test_zstd_window_beyond_the_limit_is_refused():
    # magic number, no content size, a window of 256 MiB, and an empty last block
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([18 << 3]) + b"\x01\x00\x00"
    with pytest.raises(ArchiveError, match="zstd data cannot be decompressed"):
        inflate("zstd", frame)


def test_zstd_forged_content_size_is_refused_without_taking_the_memory():
    frame = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"
    with pytest.raises(ArchiveError):
        inflate("zstd", frame)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_takes_little_memory(kind):
    bomb = COMPRESS[kind](bytes(64 << 20))
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in compression.decompress_iter(kind, [bomb], 1 << 18))
        assert tracemalloc.get_traced_memory()[1] < 12 << 20  # an xz dictionary takes 8 MiB
    finally:
        tracemalloc.stop()
    assert total == 64 << 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_many_tiny_streams_take_linear_time(kind):
    content = bytes(range(24))
    one = COMPRESS[kind](content)
    count = (1 << 19) // len(one)
    assert inflate(kind, one * count, 1 << 20) == content * count


def test_an_unknown_kind_is_refused():
    with pytest.raises(ArchiveError, match="unknown compression 'lz4'"):
        compression.open_decompressor("lz4")


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_raise_nothing_but_our_errors(kind, data, step):
    with contextlib.suppress(DibError):
        inflate(kind, data, step)


@given(st.sampled_from(KINDS), st.data(), st.integers(1, 4000))
def test_mutated_streams_raise_nothing_but_our_errors(kind, data, step):
    stream = bytearray(COMPRESS[kind](TEXT[:3000]) + COMPRESS[kind](b"more"))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DibError):
        inflate(kind, bytes(stream), step)


def test_zstd_frames_are_given_back_as_they_end():
    """A zstd frame's memory is freed at the frame's end, because a frame may use a window of 128 MiB."""
    gc.collect()
    gc.disable()
    try:
        assert inflate("zstd", COMPRESS["zstd"](b"x") * 100) == b"x" * 100
        assert [item for item in gc.get_objects() if type(item) is compression._ZstdFrame] == []
    finally:
        gc.enable()


def test_frames_of_nothing_are_few():
    with pytest.raises(ArchiveError) as error:
        inflate("zstd", skippable(b"") * 10_000)
    assert error.value.code == "compression.tiny_pieces"

"""Streaming decompression for archives and layers: gzip, bzip2, xz and zstd.

Everything here works on untrusted bytes. No call returns more bytes than its limit, and windows are limited. Corrupt or
truncated data raises ``ArchiveError``. Several consecutive streams (gzip members, xz streams, zstd frames) are read as
one. Zero bytes after a stream are padding, as in gzip(1). Any other data after a stream is an error. If spec/
prescribes the form of data, the data is read as *exact*: padding is refused, and any number of streams is accepted.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Protocol

import zstandard

from dibundle.errors import ArchiveError
from dibundle.files import messages

CHUNK: Final = 1 << 20
RATIO: Final = 20
"""The maximum ratio of decompressed to compressed size, for data that may be a bundle without a trusted signature."""
RATIO_FLOOR: Final = 1 << 20  # decompressed bytes that are always allowed, at any ratio
ZSTD_WINDOW_LIMIT: Final = 128 << 20
XZ_MEMORY_LIMIT: Final = 256 << 20

_FREE_STREAMS: Final = 256
_STREAM_BYTES: Final = 32  # one more stream is allowed for every _STREAM_BYTES bytes of input; a stream takes 10 us
_FREE: Final = 65_536  # calls of a library that are always allowed
_STEP_BYTES: Final = 8  # one further call is allowed for every _STEP_BYTES bytes of input
_STEP_MADE: Final = 1024  # one further call is allowed for every _STEP_MADE bytes of output; a call takes 3 us
_STREAM_STEPS: Final = 4  # a new stream takes as long as this many calls
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK_LIMIT: Final = 128 << 10
# Maximum input bytes per call of a library, because the library returns unused input as a copy. Without this limit, the
# time for a piece of many tiny streams would grow with the square of the piece's length.
_SLICE: Final = 32 << 10


def sniff(head: bytes) -> str | None:
    """Detect a stream's compression by the magic in ``head``, the stream's first bytes (16 are enough)."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if head[:4] == _ZSTD_MAGIC or _is_skippable(head):
        return "zstd"
    # a text may start with "BZh9", so also check the next bytes: the magic of the first block or of the stream's end
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    return None


class RatioError(ArchiveError):
    """The error for data that decompresses to too many bytes and has no trusted signature."""


class Decompressor:
    """A decompressor of one input, which is fed in pieces.

    ``feed`` takes all of its input, and returns at most ``limit`` bytes. As long as ``feed`` returns bytes, call
    ``feed(b"")`` for more output: the decompressor may still hold input. An empty result means that more input is
    needed. Before each call of the library, ``spend`` is called with the number of calls to count. ``spend`` may raise
    ``ArchiveError``.
    """

    def __init__(self, kind: str, *, is_exact: bool = False, spend: Callable[[int], object] | None = None) -> None:
        self._kind = kind
        self._is_exact = is_exact
        self._spend = spend
        self._start = _ENGINES[kind]()
        self._engine: _Engine | None = None
        self._streams = 0
        self._input = b""
        self._at = 0
        self._taken = self._made = 0
        self._steps = 0

    def feed(self, data: bytes, limit: int = CHUNK) -> bytes:
        """Return up to ``limit`` (at least 1) bytes of output. Raise ``ArchiveError`` if the input is corrupt."""
        if data:
            self._taken += len(data)
            self._input = self._input[self._at :] + data
            self._at = 0
        pieces: list[bytes] = []
        room, count = limit, 0
        while room and self._step(pieces, room):
            if len(pieces) > count:
                room, count = room - len(pieces[-1]), len(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Finish the input. Raise ``ArchiveError`` if the input is truncated."""
        if self._engine is not None or not self._streams:
            raise ArchiveError(messages.COMPRESSION_TRUNCATED, kind=self._kind)

    def _step(self, pieces: list[bytes], room: int) -> bool:
        """Call the library once. Return False if the library needs more input."""
        if self._engine is None and not self._next_stream():
            return False
        engine = self._engine
        assert engine is not None
        self._steps += 1
        steps = _FREE + self._taken // _STEP_BYTES + self._made // _STEP_MADE
        are_tiny = self._steps > steps or self._streams > _FREE_STREAMS + self._taken // _STREAM_BYTES
        if are_tiny and not self._is_exact:
            raise ArchiveError(messages.COMPRESSION_TINY_PIECES, kind=self._kind)
        if self._spend:
            self._spend(1)
        piece = b""
        if engine.needs_input:
            if self._at == len(self._input):
                return False
            piece = self._input[self._at : self._at + _SLICE]
        try:
            out = engine.decompress(piece, room)
        except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError, MemoryError) as error:
            raise ArchiveError(messages.COMPRESSION_DAMAGED, kind=self._kind, reason=_reason(error)) from error
        self._at += len(piece)
        if out:
            self._made += len(out)
            pieces.append(out)
        if engine.eof:
            self._give_back(engine.unused_data)
            self._engine = None
            self._streams += 1
        return True

    def _give_back(self, unused: bytes) -> None:
        """Take back the input that comes after the end of the engine's stream."""
        if len(unused) <= self._at:
            self._at -= len(unused)
        else:  # a part of this input came with an earlier call of feed
            self._input = unused + self._input[self._at :]
            self._at = 0

    def _next_stream(self) -> bool:
        """Skip padding, and open the next stream. Return False if no byte of the next stream has arrived yet."""
        if self._streams and not self._is_exact:
            while self._at < len(self._input):  # skip padding in slices, so that long padding costs little
                piece = self._input[self._at : self._at + _SLICE]
                rest = piece.lstrip(b"\0")
                self._at += len(piece) - len(rest)
                if rest:
                    break
        if self._at == len(self._input):
            return False
        if self._input[self._at] not in _FIRST_BYTES[self._kind]:
            where = "after the end of the" if self._streams else "at the start of what should be"
            raise ArchiveError(messages.COMPRESSION_TRAILING_DATA, where=where, kind=self._kind)
        if self._spend:
            self._spend(_STREAM_STEPS)
        self._engine = self._start()
        return True


def open_decompressor(
    kind: str, *, is_exact: bool = False, spend: Callable[[int], object] | None = None
) -> Decompressor:
    """Return a new decompressor for ``kind``, which is a name that ``sniff`` returns."""
    if kind not in _ENGINES:
        raise ArchiveError(messages.COMPRESSION_UNKNOWN, kind=kind)
    return Decompressor(kind, is_exact=is_exact, spend=spend)


def decompress_iter(
    kind: str,
    chunks: Iterable[bytes],
    chunk_size: int = CHUNK,
    *,
    ratio: int | None = None,
    is_exact: bool = False,
    spend: Callable[[int], object] | None = None,
) -> Iterator[bytes]:
    """Yield the decompressed bytes of ``chunks`` in pieces of at most ``chunk_size``.

    For each byte of input, ``ratio`` bytes of output are allowed, in addition to ``RATIO_FLOOR`` bytes. More output
    raises :class:`RatioError`. With ``is_exact``, refuse padding, and accept any number of streams. Before each call of
    the library, ``spend`` is called with the number of calls to count. A new stream counts as several calls.
    """
    decompressor = open_decompressor(kind, is_exact=is_exact, spend=spend)
    taken = made = 0
    for chunk in chunks:
        taken += len(chunk)
        out = decompressor.feed(chunk, chunk_size)
        while out:
            made += len(out)
            if ratio is not None and made > ratio * taken + RATIO_FLOOR:
                raise RatioError(messages.COMPRESSION_RATIO, kind=kind, ratio=ratio, taken=taken)
            yield out
            out = decompressor.feed(b"", chunk_size)
    decompressor.finish()


class _Engine(Protocol):
    """A decompressor of one stream. bz2 and lzma have this interface. The classes below adapt gzip and zstd."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipMember:
    """A gzip member. The object keeps the input that zlib did not use."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        # if the output has reached the limit, more output may follow without more input
        return not self._full and not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


class _ZstdFrame:
    """A zstd frame or a skippable frame, which is passed to the library block by block.

    The Python binding does not limit output, and reports neither a truncated frame nor the end of a frame. But each
    block declares its stored length, and decompresses to at most 128 KiB. If the blocks are passed one by one, the
    output is limited, and the end of the frame is found.
    """

    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._zstd = decompressor.decompressobj(write_size=_ZSTD_BLOCK_LIMIT)
        self._buffer = bytearray()
        # not a bound method: a frame that refers to itself would keep its window of 128 MiB until a garbage collection
        self._next: Callable[[_ZstdFrame], bytes | None] = _ZstdFrame._header
        self._skip = 0
        self._checksum = False
        self._ready = b""
        self._ended = False
        self._starved = True

    @property
    def eof(self) -> bool:
        return self._ended and not self._ready

    @property
    def needs_input(self) -> bool:
        return self._starved and not self._ready and not self._ended

    @property
    def unused_data(self) -> bytes:
        return bytes(self._buffer) if self._ended else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._buffer += data
        if not self._ready and not self._ended:  # decode one block per call, so that empty blocks count as calls too
            out = self._next(self)
            self._starved = out is None
            self._ready = out or b""
        out, self._ready = self._ready[:max_length], self._ready[max_length:]
        return out

    def _take(self, length: int) -> bytes:
        piece = bytes(self._buffer[:length])
        del self._buffer[:length]
        return piece

    def _header(self) -> bytes | None:
        """Pass on the frame header. Return None as long as some of the bytes are missing."""
        head = self._buffer
        if len(head) < 8:  # the shortest frame has 9 bytes, the shortest skippable frame has 8 bytes
            return None
        if _is_skippable(head):
            self._skip = int.from_bytes(head[4:8], "little")
            self._take(8)
            self._next = _ZstdFrame._skippable
            return self._skippable()
        if head[:4] != _ZSTD_MAGIC:
            raise ValueError("not a zstd frame")
        descriptor = head[4]
        single = descriptor >> 5 & 1
        length = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
        if len(head) < length:
            return None
        self._checksum = bool(descriptor & 4)
        self._next = _ZstdFrame._block
        return self._zstd.decompress(self._take(length))

    def _skippable(self) -> bytes | None:
        """Drop the available bytes of a skippable frame."""
        self._skip -= len(self._take(min(self._skip, len(self._buffer))))
        self._ended = not self._skip
        return b"" if self._ended else None

    def _block(self) -> bytes | None:
        """Decode one block. Return None as long as some of the bytes are missing."""
        if len(self._buffer) < 3:
            return None
        header = int.from_bytes(self._buffer[:3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if size > _ZSTD_BLOCK_LIMIT:
            raise ValueError("a zstd block is too large")
        length = 3 + (1 if kind == 1 else size)
        if last and self._checksum:
            length += 4
        if len(self._buffer) < length:
            return None
        out = self._zstd.decompress(self._take(length))
        if last:
            if not self._zstd.eof:
                raise ValueError("a zstd frame does not end with its last block")
            self._ended = True
        return out


def _is_skippable(head: bytes | bytearray) -> bool:
    return len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"


def _reason(error: BaseException) -> str:
    """Return a library's message in the style of dib's messages."""
    if isinstance(error, MemoryError):
        return "it asks for too much memory"
    text = str(error).rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:]


def _bzip2_stream() -> _Engine:
    try:
        import bz2
    except ImportError as error:  # some builds of Python lack this module
        raise ArchiveError(messages.COMPRESSION_NO_BZIP2) from error
    return bz2.BZ2Decompressor()


def _xz_stream() -> _Engine:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY_LIMIT)


def _zstd_frames() -> Callable[[], _Engine]:
    """Return the function that opens a frame.

    All frames share one decompressor, because creating a decompressor takes longer than decoding most frames.
    """
    return partial(_ZstdFrame, zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT))


_ENGINES: Final[dict[str, Callable[[], Callable[[], _Engine]]]] = {
    "gzip": lambda: _GzipMember,
    "bzip2": lambda: _bzip2_stream,
    "xz": lambda: _xz_stream,
    "zstd": _zstd_frames,
}
"""Openers for the streams of one input, by kind."""
_FIRST_BYTES: Final = {
    "gzip": b"\x1f",
    "bzip2": b"B",
    "xz": b"\xfd",
    "zstd": bytes([0x28, *range(0x50, 0x60)]),
}

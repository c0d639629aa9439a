"""Embedded deflate streams, in gzip members and entries of zips, and the encoders that made them (creation only).

The streams are found by magic bytes, at any offset: in .gz files, jars and wheels, and in tars or programs with such
files.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from dibundle.codecs import embedded, recompression, reencoders
from dibundle.codecs.deflate import encoders
from dibundle.codecs.deflate.encoders import Encoder
from dibundle.codecs.deflate.recipe import Recipe
from dibundle.codecs.excess import OF_FRAME
from dibundle.codecs.recompression import Body, Part, Plain

# maximum bytes of an unpacked source, and of an unpacked target: a search needs six times as much memory
SOURCE: Final = 64 << 20
TARGET: Final = 48 << 20
LEAST: Final = 64  # minimum bytes of a stream; also the minimum bytes of its content
LOST: Final = 24  # after this many consecutive streams that no encoder reproduces, the file's encoder counts as unknown
WORK: Final = 64  # bytes that may be inflated for each byte of a file
# bytes that may be inflated in addition to WORK; without a limit, overlapping streams would take too long
WORK_FLOOR: Final = 64 << 20
_TRIED: Final = 64 << 10  # bytes of content per step when encoders are compared

_ZIP: Final = b"PK\3\4"
_GZIP: Final = b"\x1f\x8b"
_LIKELY_ZIP: Final = ((encoders.ZLIB, 6, 8), (encoders.ZLIB, 9, 8), (encoders.GO, 6, 0), (encoders.ZLIB, 8, 8))
_LIKELY_GZIP: Final = (
    *((encoders.GNU, 9, 0), (encoders.ZLIB, 6, 8), (encoders.ZLIB, 9, 8), (encoders.GNU, 6, 0), (encoders.GO, 6, 0)),
    *((encoders.GO, 9, 0), (encoders.KLAUSPOST, 6, 0), (encoders.GNU, 8, 0)),
)
Made = tuple[int, int, int]
"""An encoder, a level and a parameter."""


class EmbeddedStream(NamedTuple):
    """A deflate stream, with its start, its size in bytes, its content, and whether it is in a zip."""

    start: int
    length: int
    content: bytes
    zipped: bool


class Unpacked(NamedTuple):
    """The source and the target in the form that the unpack codec uses."""

    source: bytes
    target: bytes
    streams: embedded.Streams
    parts: list[Part]
    whole: bool


def find(target: bytes, source: bytes, *, least_share: float = 0, trust: int = 1) -> Unpacked | None:
    """Return the source and the target with their streams unpacked.

    Return None if no stream in ``target`` can be recompressed to the same bytes.

    The streams that can be recompressed must make up at least the share ``least_share`` of the target's bytes. Of every
    ``trust`` streams, only one is compared with the encoder's output; all other streams are assumed to be equal. A
    ``trust`` above 1 is only for estimates.
    """
    if len(source) > SOURCE:
        return None
    parts: list[Part] = []
    plain, contents = bytearray(), []
    end = size = packed = work = 0
    most_work = embedded.COST * len(target)
    left = False  # whether some streams stay compressed
    for member, made in _made(target, trust):
        if made is None:
            left = True
            continue
        if len(target) + size + len(member.content) > TARGET:
            left = True
            break
        _plain(parts, member.start - end)
        plain += target[end : member.start]
        parts.append(Body(len(member.content), Recipe(encoder=made[0], level=made[1], parameter=made[2])))
        work += len(member.content) * reencoders.byte_cost(*made[:2])
        if work > most_work:
            return None
        contents.append(member.content)
        size += len(member.content)
        packed += member.length
        end = member.start + member.length
    if not contents or packed < least_share * len(target) or len(parts) > recompression.MAX_PARTS - 1:
        return None
    _plain(parts, len(target) - end)
    plain += target[end:]
    if recompression.cost(parts) > most_work + OF_FRAME:
        return None
    streams = embedded.Streams()
    size = len(source)
    most_streams = min(embedded.MAX_STREAMS, len(source) // embedded.STREAM_BYTES)
    most_content = embedded.COST * (len(source) + len(target)) + embedded.COST_FLOOR
    most_cost = embedded.FREE * len(target) + len(source) + OF_FRAME
    for member in members(source):
        if size + len(member.content) + member.length > SOURCE or len(streams.starts) == most_streams:
            break
        content = len(streams.content) + len(member.content)
        if content > most_content or embedded.cost(0, content, len(streams.starts) + 1) > most_cost:
            break
        streams.add(member.start, member.start + member.length, member.content)
        size += len(member.content) + member.length
    unpacked = bytes(streams.unpacked(source, whole=left))
    return Unpacked(unpacked, bytes(plain) + b"".join(contents), streams, parts, left)


class _Places:
    """A search for possible headers.

    Each magic is searched separately, because one expression for both magics takes three times as long.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = {magic: data.find(magic) for magic in (_ZIP, _GZIP)}

    def next(self, at: int) -> int | None:
        """Return the offset of the first possible header at or after ``at``. ``at`` must never decrease."""
        for magic, place in self._next.items():
            if 0 <= place < at:
                self._next[magic] = self._data.find(magic, at)
        return min((place for place in self._next.values() if place >= 0), default=None)


def members(data: bytes) -> Iterator[EmbeddedStream]:
    """Yield the deflate streams in ``data`` that have a gzip or zip header, one after the other."""
    at = 0
    left = WORK * len(data) + WORK_FLOOR
    places = _Places(data)
    while (found := places.next(at)) is not None and left > 0:
        at = found + 1
        zipped = data[found] == _ZIP[0]
        start = _zip_start(data, found) if zipped else _gzip_start(data, found)
        if start is None:
            continue
        content, end, work = embedded.inflate(data, start, TARGET)
        left -= work
        if content is None:
            continue
        if zipped or _trailer_fits(data, end, content):
            at = end
            if end - start >= LEAST and len(content) >= LEAST:
                yield EmbeddedStream(start, end - start, content, zipped)


def _made(data: bytes, trust: int) -> Iterator[tuple[EmbeddedStream, Made | None]]:
    """Yield each member with the encoder that wrote it, if the encoder is known."""
    last: Made | None = None
    lost = 0
    # maximum work for failed trials: as much as the recompression of all streams may take
    left = embedded.COST * len(data) + embedded.COST_FLOOR
    for number, member in enumerate(members(data)):
        if last and not lost and number % trust:
            yield member, last
            continue
        likely = _LIKELY_ZIP if member.zipped else _LIKELY_GZIP
        tried = likely if last is None else (last, *(made for made in likely if made != last))
        stream = memoryview(data)[member.start : member.start + member.length]
        made = None
        for one in tried:
            is_same, done = _makes(one, member.content, stream)
            if is_same:
                last = made = one
                break
            left -= done * reencoders.byte_cost(*one[:2])
            if left < 0:
                break
        lost = 0 if made else lost + 1
        yield member, made
        if lost == LOST or left < 0:
            return


def _makes(made: Made, content: bytes, stream: memoryview) -> tuple[bool, int]:
    """Return whether an encoder gives exactly this stream for the content, and how many bytes were compared."""
    encoder = Encoder(*made, tested=False)
    at = 0
    for start in range(0, len(content), _TRIED):
        piece = encoder.write(memoryview(content)[start : start + _TRIED])
        if stream[at : at + len(piece)] != piece:
            return False, min(start + _TRIED, len(content))
        at += len(piece)
    return stream[at:] == encoder.finish(), len(content)


def _plain(parts: list[Part], length: int) -> None:
    if length:
        parts.append(Plain(length))


def _gzip_start(data: bytes, at: int) -> int | None:
    size = gzip_header_size(data[at : at + 4096])
    return None if size is None else at + size


def gzip_header_size(data: bytes) -> int | None:
    """Return the size of the gzip header that ``data`` begins with (RFC 1952, 2.3).

    Return None if there is no such header.
    """
    if len(data) < 10 or data[:3] != b"\x1f\x8b\x08" or data[3] & 0xE0:
        return None
    flags, at = data[3], 10
    if flags & 4:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            at = data.find(b"\0", at) + 1
            if not at:
                return None
    at += flags & 2  # checksum
    return at if at < len(data) else None


def _trailer_fits(data: bytes, end: int, content: bytes) -> bool:
    size = int.from_bytes(data[end + 4 : end + 8], "little")
    return size == len(content) & 0xFFFFFFFF and int.from_bytes(data[end : end + 4], "little") == zlib.crc32(content)


def _zip_start(data: bytes, at: int) -> int | None:
    """Return the start of the data of a zip's entry. Return None if the entry is not deflated (APPNOTE, 4.3.7)."""
    head = data[at : at + 30]
    if len(head) < 30 or head[8:10] != b"\x08\0" or head[6] & 1:
        return None
    return at + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")

"""Codec 4 (cover.md)."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING, NamedTuple

from decoder.core.basics import MiB, Refused, need
from decoder.core.values import Column
from decoder.core.zstd import unzstd
from decoder.full.model import Model
from decoder.full.relink_literals import RELATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable


class Stored(NamedTuple):
    """A stream header."""

    packer: int
    stored: int
    size: int


def stream_headers(numbers: Column, count: int, packers: Iterable[int] = (0, 1, 2)) -> list[Stored]:
    """Read stream headers."""
    headers = []
    for _ in range(count):
        header = Stored(numbers.take(1)[0], numbers.next(), numbers.next())
        need(header.packer in packers, "a packer that is not known here")
        need(header.size or not header.packer, "an empty stream that is not stored")
        headers.append(header)
    return headers


def unpacked(header: Stored, data: bytes, source: bytes = b"") -> bytes:
    """Unpack a stream (packers 0, 1, 2 and 5)."""
    if header.packer == 0:
        result = data
    elif header.packer == 1:
        result = unzstd(data, header.size)
    elif header.packer == 5:
        result = unzstd(data, header.size, source)
    else:
        words = min(max(header.size, 4096), 64 * MiB)
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": words}])
        try:
            result = decoder.decompress(data, header.size + 1)
            if not decoder.eof:
                result += decoder.decompress(b"", 1)
        except (lzma.LZMAError, EOFError) as error:
            raise Refused(f"LZMA2: {error}") from error
        need(decoder.eof and not decoder.unused_data, "LZMA2 without its end mark, or with more behind it")
    need(len(result) == header.size, "a stream holds another size than it declares")
    return result


def add_bytes(one: bytes, other: bytes) -> bytes:
    """Add byte by byte, modulo 256."""
    out = []
    for at in range(0, len(other), 4096):
        part = other[at : at + 4096]
        if not part.strip(b"\0"):
            out.append(one[at : at + len(part)])
            continue
        low = int.from_bytes(b"\x7f" * len(part), "little")
        a, b = int.from_bytes(one[at : at + len(part)], "little"), int.from_bytes(part, "little")
        out.append((((a & low) + (b & low)) ^ ((a ^ b) & ~low & (low << 1 | low))).to_bytes(len(part), "little"))
    return b"".join(out)


class Piece(NamedTuple):
    """A cover: where it is in the target and in the source."""

    target: int
    source: int
    length: int


PACKERS = [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2, 3, 4}, {0, 1, 2, 5}]


class Cover:
    """A cover payload: its streams, with the covers unpacked and checked."""

    def __init__(self, payload: bytes, size: int, source_size: int) -> None:
        numbers = Column(payload)
        count = numbers.next()
        need(count <= min(size, 1 << 20), "too many covers")
        self.headers = stream_headers(numbers, 5, range(6))
        need(sum(header.stored for header in self.headers) == len(payload) - numbers.at, "streams of another length")
        for number, header in enumerate(self.headers):
            need(header.packer in PACKERS[number], "a packer that is not for this stream")
            need(number > 2 or count <= header.size <= 9 * count, "a stream of covers of an impossible size")
        need(self.headers[3].size + self.headers[4].size == size, "streams do not add up to the target")
        self.data = [numbers.take(header.stored) for header in self.headers]
        self.size = size
        self.covers = self.read(count, source_size)

    def read(self, count: int, source_size: int) -> list[Piece]:
        """Unpack and check the covers."""
        gaps, lengths, seeks = (Column(unpacked(self.headers[i], self.data[i])) for i in range(3))
        covers, target, source = [], 0, 0
        for _ in range(count):
            gap, length = gaps.next(), lengths.positive()
            target += gap
            source += gap + seeks.signed()
            need(source >= 0 and source + length <= source_size, "a cover outside of the source")
            need(target + length <= self.size, "a cover outside of the target")
            covers.append(Piece(target, source, length))
            target, source = target + length, source + length
        for numbers in (gaps, lengths, seeks):
            numbers.end()
        need(sum(cover.length for cover in covers) == self.headers[3].size, "covers of another length in all")
        return covers

    def differences(self, source: bytes) -> bytes:
        """Unpack stream 3."""
        header, data = self.headers[3], self.data[3]
        if header.packer == 3:
            need(
                data and 1 << (data[0] & 223) <= max(1 << 10, 4 * header.size), "a model too large for its differences"
            )
            return Model(data, source).run(self.covers)
        return sparse(data, header.size) if header.packer == 4 else unpacked(header, data)

    def context(self, source: bytes) -> bytes:
        """Gather the context of the literals."""
        out = bytearray()
        end = behind = 0  # of the cover before, in the target and in the source
        for cover in self.covers:
            if cover.target > end:
                out += source[behind : behind + min(512, 8 * MiB - len(out))]
                out += source[max(cover.source - min(512, 8 * MiB - len(out)), 0) : cover.source]
            end, behind = cover.target + cover.length, cover.source + cover.length
        return bytes(out + source[behind : behind + min(512, 8 * MiB - len(out))])

    def apply(self, source: bytes, machine: int = 0) -> bytes:
        """Make the target; `machine` is whose operands in literals are absolute."""
        literals = unpacked(self.headers[4], self.data[4], self.context(source) if self.headers[4].packer == 5 else b"")
        turned, end, at = [], 0, 0
        for piece in [*self.covers, Piece(self.size, 0, 0)]:
            run = bytearray(literals[at : at + piece.target - end])
            turned.append(RELATIVE[machine](run, end, self.size))
            end, at = piece.target + piece.length, at + len(run)
        literals = b"".join(turned)
        differences = self.differences(source)
        out, literal, covered, end = [], 0, 0, 0
        for cover in self.covers:
            gap = cover.target - end
            out.append(literals[literal : literal + gap])
            part = source[cover.source : cover.source + cover.length]
            out.append(add_bytes(part, differences[covered : covered + cover.length]))
            literal, covered, end = literal + gap, covered + cover.length, cover.target + cover.length
        out.append(literals[literal:])
        return b"".join(out)


def sparse(data: bytes, size: int) -> bytes:
    """Unpack packer 4: runs between zeros."""
    numbers = Column(data)
    headers = stream_headers(numbers, 3)
    need(sum(header.size for header in headers) <= size * 3 // 2 + 3, "the streams of runs are too long")
    need(sum(header.stored for header in headers) == len(data) - numbers.at, "streams of another length")
    gaps, lengths, values = (unpacked(header, numbers.take(header.stored)) for header in headers)
    out, runs, run, at = bytearray(), Column(gaps), Column(lengths), 0
    while runs.at < len(gaps):
        gap, length = runs.next(), run.positive()
        need(len(out) + gap + length <= size and at + length <= len(values), "runs end beyond the stream")
        out += bytes(gap) + values[at : at + length]
        at += length
    run.end()
    need(at == len(values), "values are left over")
    return bytes(out) + bytes(size - len(out))

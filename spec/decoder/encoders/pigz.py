"""Encoder 9: pigz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.encoders.deflate import FIXED, Writer
from decoder.encoders.zlib_gzip import Zlib

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pigz(Zlib):
    """A job of pigz: positions count from the start of its dictionary."""

    def __init__(self, writer: Writer, data: bytes, words: int, level: int) -> None:
        super().__init__(data, level, 8)
        self.writer = writer
        self.size = self.end = self.at = self.start = self.covered = words
        for place in range(words - 2):
            self.insert(place)
        self.waiting = min(words, 2)

    def piece(self, size: int, last: bool) -> None:
        """Encode content up to a position."""
        self.size = size
        self.settle(self.at)
        while self.waiting and self.end - self.at + self.waiting >= 3:
            self.insert(self.at - self.waiting)
            self.waiting -= 1
        self.find()
        self.waiting = min(self.at, 2)
        if last:
            self.block(1)
            self.writer.pad()
        elif self.tokens:
            self.block(0)

    def flush(self, independent: bool) -> None:
        """Get to the end of a byte."""
        if self.writer.count % 2 or independent:  # an odd number of bits; whole bytes do not matter
            self.writer.stored(b"")
        while self.writer.count % 8:
            self.writer.put(FIXED, 10)
        if independent:
            self.writer.stored(b"")


def rsyncable_jobs(data: bytes, size: int) -> Iterator[list[int]]:
    """Give the ends of the pieces of each job."""
    value, taken, hits = 0x7FF, 0, []
    for end, byte in enumerate(data, 1):
        value = (value << 1 ^ byte) & 0xFFF
        if value == 0x7FF and 64 * taken < end + 4096:
            taken += 1
            hits.append(end)
    start = first = 0
    while start < len(data) or not data:
        most, after = min(start + size, len(data)), first
        while after < len(hits) and hits[after] <= most:
            after += 1
        ends = hits[first:after]
        if not ends or (len(data) <= (start // size + 1) * size and ends[-1] < most):
            ends.append(most)
        yield ends
        if not data:
            return
        start, first = ends[-1], after


def pigz(data: bytes, level: int, parameter: int) -> Writer:
    """Encode with encoder 9."""
    size, mode = parameter >> 2 << 10, parameter & 3
    ends = [*range(size, len(data), size), len(data)]
    jobs = rsyncable_jobs(data, size) if mode == 2 else [ends] if mode == 3 else ([end] for end in ends)
    writer, start = Writer(), 0
    for job in jobs:
        words = 0 if mode == 1 else min(start, 32768)
        one = Pigz(writer, data[start - words : job[-1]], words, level)
        for end in job:
            one.piece(end - start + words, last=end == len(data))
            if end < len(data):
                one.flush(independent=mode == 1)
        start = job[-1]
    return writer

"""Codec 5: fields that follow from others (relink.md). The code is part of the specification."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from decoder.core.basics import U32, U64
from decoder.full.relink_map import (
    Region,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Derived:
    """Takes fields that follow from others off a source, or puts them back into a target."""

    def __init__(self, data: bytearray, parts: list[Region], put_back: bool) -> None:
        self.data, self.put_back = data, put_back
        self.parts = sorted(parts, key=lambda part: part.address)
        self.addresses = [part.address for part in self.parts]
        self.met: set[int] = set()
        ways = [(9, self.relocations), (4, self.index), (5, self.frames)]
        for mode, way in reversed(ways) if put_back else ways:
            for part in parts:
                if part.mode == mode:
                    way(part)

    def part_at(self, address: int) -> Region | None:
        """Find the part at an address."""
        number = bisect_right(self.addresses, address)
        return self.parts[number - 1] if number else None

    def get(self, at: int, width: int = 4) -> int:
        """Read a field."""
        return int.from_bytes(self.data[at : at + width], "little")

    def put(self, at: int, value: int, width: int = 4) -> None:
        """Write a field."""
        self.data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")

    def turn(self, at: int, other: int, width: int = 4) -> int:
        """Make a field a distance, or what that is of; gives the original."""
        before = self.get(at, width)
        self.put(at, before + other if self.put_back else before - other, width)
        return self.get(at, width) if self.put_back else before

    def relocations(self, part: Region) -> None:
        """Mode 9."""
        first = 0
        for at in range(part.start, part.end - 23, 24):
            first = self.turn(at, first, 8)
            if self.get(at + 8, 8) in {8, 1027}:
                place = first + part.base & U64
                other = self.part_at(place)
                held = 0
                if other and other.mode not in {4, 5, 9} and place + 8 <= other.address + other.length:
                    held = self.get(other.start + place - other.address, 8)
                self.turn(at + 16, held, 8)

    def records(self, part: Region) -> Iterator[tuple[int, int]]:
        """Yield offset and size of the records in a part of frames."""
        at = part.start
        while at + 16 <= part.end:
            size = self.get(at) + 4
            if size < 8 or at + size > part.end:
                return
            yield at, size
            at += size

    def frames(self, part: Region) -> None:
        """Mode 5."""
        end = table = 0
        for at, size in self.records(part):
            given = self.get(at + 4)
            self.put(at + 4, at - part.start + 4 - given)
            if (self.get(at + 4) if self.put_back else given) == 0 or size < 16:
                continue
            place = part.address + at - part.start
            end = place + 8 + self.exchange(at + 8, (end + 15 & U32 & ~15) - (place + 8)) + self.get(at + 12) & U32
            if size >= 21 and self.data[at + 16] == 4:
                table = place + 17 + self.exchange(at + 17, table - (place + 17)) & U32

    def exchange(self, at: int, expected: int) -> int:
        """Exchange a word; gives the original."""
        word, high = self.get(at), 1 << 31
        other, expected = word, expected & U32
        if (expected - high + 8192 & U32) >= 16384:
            if (word - expected & U32) < 8192:
                other = word - expected + high
            elif (word - high & U32) < 8192:
                other = word - high + expected
        self.put(at, other)
        return self.get(at) if self.put_back else word

    def index(self, part: Region) -> None:
        """Mode 4."""
        if part.length < 12 or self.data[part.start : part.start + 4] != b"\1\x1b\3\x3b":
            return
        word = self.get(part.start + 4)
        address = part.address + 4 + (word ^ 1 << 31) - (1 << 31) & U64
        other = self.part_at(address)
        if other is None or other.address != address or other.mode != 5 or other.start in self.met:
            return
        self.met.add(other.start)
        pairs = []
        for at, size in self.records(other):
            if self.get(at + 4) and size >= 16:
                frame = address - part.address + at - other.start
                pairs.append((frame + 8 + self.get(at + 8) & U32, frame & U32))
        pairs = pairs[: (part.length - 12) // 8]
        pairs.sort(key=lambda pair: (pair[0] ^ 1 << 31, pair[1]))
        for number, pair in enumerate(pairs):
            self.turn(part.start + 12 + 8 * number, pair[0])
            self.turn(part.start + 16 + 8 * number, pair[1])

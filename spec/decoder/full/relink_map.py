"""Codec 5: regions, fixed steps, and the map (relink.md). The code is part of the specification."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from decoder.core.basics import need
from decoder.core.values import Column

if TYPE_CHECKING:
    from decoder.full.cover import Piece

HOLE, DATA, TABLE, CODE = range(4)


@dataclass
class Region:
    """A region of the source."""

    start: int
    length: int
    address: int
    base: int
    mode: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + self.length


def bounded(value: int) -> int:
    """Refuse an address out of range."""
    need(0 <= value <= 1 << 61, "an address out of range")
    return value


def read_regions(data: bytes, count: int, size: int, modes: set[int]) -> list[Region]:
    """Read stream 0 or 1: the regions of the source, or the sections of the target."""
    numbers, regions, at, address = Column(data), [], 0, 0
    for _ in range(count):
        start, length = at + numbers.next(), numbers.positive()
        address = bounded(address + numbers.signed())
        mode = numbers.next()
        need(mode in modes, "an unknown mode")
        base = bounded(address + numbers.signed()) if mode in {3, 7, 8, 9, 10, 13, 14} else address
        region = Region(start, length, address, base, mode)
        at, address = region.end, bounded(address + length)
        need(at <= size, "a region that ends beyond the source, or a section beyond the target")
        regions.append(region)
    numbers.end()
    need(sum(region.mode in {6, 8} for region in regions) <= 16, "too many regions of tables")
    return regions


@dataclass
class Fixed:
    """A step of the map."""

    address: int
    shift: int
    kind: int


def read_steps(at: bytes, shift: bytes, kinds: bytes) -> list[Fixed]:
    """Read streams 2 to 4: the fixed steps."""
    places, shifts = Column(at), Column(shift)
    steps: list[Fixed] = []
    address = moved = 0
    for kind in kinds:
        distance = places.next()
        need(distance or not steps, "fixed steps that do not ascend")
        address, moved = bounded(address + distance), moved + shifts.signed()
        need(-(1 << 61) < moved < 1 << 61 and kind <= CODE, "a fixed step with a shift or kind out of range")
        steps.append(Fixed(address, moved, kind))
    places.end()
    shifts.end()
    return steps


class Move(NamedTuple):
    """A piece of a cover: source addresses that moved by a shift."""

    start: int
    end: int
    shift: int


def moves(covers: list[Piece], least: int, regions: list[Region], sections: list[Region]) -> list[Move]:
    """Cut covers into pieces, and put these in order (relink.md, The map)."""
    starts, targets = [region.start for region in regions], [section.start for section in sections]
    result = []
    for cover in covers:
        if cover.length < least:
            continue
        distance, end = cover.target - cover.source, cover.source + cover.length
        for region in regions[max(bisect_right(starts, cover.source) - 1, 0) : bisect_right(starts, end)]:
            low, high = max(region.start, cover.source), min(region.end, end)
            first = max(bisect_right(targets, low + distance) - 1, 0)
            for section in sections[first : bisect_right(targets, high + distance)]:
                begin = max(low, section.start - distance)
                length = min(high, section.end - distance) - begin
                if length >= least:
                    start = region.address + begin - region.start
                    moved = section.address + begin + distance - section.start
                    result.append(Move(start, start + length, moved - start))
                    need(len(result) <= 1 << 21, "too many pieces")
    return sorted(result, key=lambda move: (move.start, move.start - move.end))


def without_overlaps(pieces: list[Move]) -> list[Move]:
    """Shorten pieces so that none overlap: of two, the longer one keeps its bytes."""
    kept: list[Move] = []
    for piece in pieces:
        start, end, shift = piece
        while kept and start < kept[-1].end:
            if end - start <= kept[-1].end - kept[-1].start:
                start = kept[-1].end
            elif start > kept[-1].start:
                kept[-1] = Move(kept[-1].start, start, kept[-1].shift)
                break
            else:
                kept.pop()
        if start < end:
            kept.append(Move(start, end, shift))
    return kept


def merge_steps(fixed: list[Fixed], pieces: list[Move]) -> list[Fixed]:
    """Merge fixed steps and pieces, by address."""
    steps: list[Fixed] = []
    waiting = iter([*pieces, Move(1 << 65, 1 << 65, 0)])
    piece = next(waiting)
    while fixed and piece.start < fixed[0].address:
        piece = next(waiting)
    for number, step in enumerate(fixed):
        steps.append(step)
        end = fixed[number + 1].address if number + 1 < len(fixed) else 1 << 64
        while piece.start < end:
            if step.kind != HOLE and piece.shift != steps[-1].shift:
                if steps[-1].address == piece.start:
                    steps.pop()
                steps.append(Fixed(piece.start, piece.shift, step.kind))
            piece = next(waiting)
    return steps

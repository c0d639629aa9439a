"""Codec 5: payloads, and operands in literals (relink.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.core.basics import need
from decoder.core.values import Column
from decoder.full.cover import Cover, stream_headers, unpacked
from decoder.full.relink_code import Relink
from decoder.full.relink_fields import Derived
from decoder.full.relink_map import (
    merge_steps,
    moves,
    read_regions,
    read_steps,
    without_overlaps,
)

if TYPE_CHECKING:
    pass


def relink(payload: bytes, size: int, source: bytes) -> bytes:
    """Decode a relink payload."""
    numbers = Column(payload)
    need(numbers.take(1) == b"\1", "a relink payload of another version")
    machine = numbers.take(1)[0]
    need(machine <= 2, "a relink payload of an unknown machine")
    least = numbers.positive()
    need(least < 1 << 61, "a least length out of range")
    counts = numbers.some(3)
    need(max(counts[:2]) <= min(4096, 128 + len(source) // 256), "too many regions or sections")
    need(counts[2] <= min(1 << 20, 128 + len(source) // 16), "too many steps")
    headers = stream_headers(numbers, 5)
    rows = [counts[0], counts[1], counts[2], counts[2], counts[2]]
    for header, count, (low, high) in zip(headers, rows, [(4, 45), (4, 45), (1, 9), (1, 9), (1, 1)], strict=True):
        need(low * count <= header.size <= high * count, "a stream of an impossible size")
    packed = [numbers.take(header.stored) for header in headers]
    cover = Cover(payload[numbers.at :], size, len(source))
    data = [unpacked(header, stream) for header, stream in zip(headers, packed, strict=True)]
    regions = read_regions(data[0], counts[0], len(source), set(range(15)))
    sections = read_regions(data[1], counts[1], size, {0, 4, 5, 9})
    pieces = without_overlaps(moves(cover.covers, least, regions, sections))
    steps = merge_steps(read_steps(data[2], data[3], data[4]), pieces)
    target = bytearray(cover.apply(Relink(source, steps).run(regions), machine))
    Derived(target, sections, put_back=True)
    return bytes(target)

"""Estimate a frame's size from a sample of its target (creation only).

The slow parts of encoding are the full search and the models. The estimate runs the search and the models only on
slices of the target, and on source parts that the fast search finds. In addition, the whole target is encoded at level
1. The patches at level 1 show which share of the whole patch the slices have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from dibundle.codecs import cover, embedded, relink
from dibundle.codecs.encode import choose, covers, embedded_streams, layout, relinker
from dibundle.codecs.native.library import Buffer

SMALL = 512 << 10  # maximum bytes of a target that is encoded as a whole instead of sampled
LEAST = 256 << 10  # minimum bytes of a sample
SHARE = 32  # a sample has at least the target's size divided by this number
# minimum bytes of a sample's patch at level 1, because small patches are mostly headers
LEAST_PATCH = 24 << 10
SLICES = 96  # number of slices in a sample, at equal distances
# an unpacked target of at most this many bytes is not sampled, because often only the beginning of the target is new
WHOLE = 2 << 20
# a relinked target of at least this size is searched only once: this takes a third less time, and the estimate is 3 %
# higher
LARGE = 24 << 20
TRUST = 8  # of every group of this many streams, only one is compared with an encoder's output
MARGIN = 2048  # bytes of the source that are added before and after each match of a slice


def size(target: bytes, source: bytes, effort: choose.Effort, plan: layout.RelinkPlan | None = None) -> int:
    """Estimate the size of the result of :func:`choose.encode` in bytes.

    This takes about a fifth of the time of encoding.
    """
    if len(target) <= SMALL:
        return choose.least(target, source, effort, plan)
    if effort.codecs == "full" and effort.level >= choose.UNPACK_LEVEL and effort.recompress:
        found = embedded_streams.find(target, source, least_share=choose.PROGRAM_SHARE if plan else 0, trust=TRUST)
        if found:
            if len(found.target) <= WHOLE:
                return choose.least(target, source, effort, plan)
            wrapped = embedded.write(found.streams, source, found.parts, whole=found.whole, codec=0, inner=b"")
            return len(wrapped) + size(found.target, found.source, replace(effort, recompress=False))
    if source and choose.relinks(effort):
        plan = plan or layout.plan(source, target)
        if plan:
            first = covers.find_fast(relink.relink(source, plan.regions, plan.first), target)
            header, linked = relinker.relinked(source, target, plan, first)
            return len(relink.write(header)) + _scaled(linked, target, first if len(target) > LARGE else None, effort)
    return _scaled(source, target, None, effort)


def _scaled(source: Buffer, target: bytes, known: covers.Covers | None, effort: choose.Effort) -> int:
    """Estimate the patch's size from the sample's patch, and from quick patches of sample and target.

    The covers are those in ``known``, or the result of the fast search.
    """
    whole = known or covers.find_fast(source, target)
    whole_quick = len(cover.encode(source, target, whole, effort=1))
    length = max(LEAST, len(target) // SHARE, len(target) * LEAST_PATCH // whole_quick) // SLICES
    if length >= len(target) // SLICES:
        return _slow_size(target, bytes(source), effort)
    starts = [(2 * k + 1) * len(target) // (2 * SLICES) - length // 2 for k in range(SLICES)]
    piece = b"".join(target[start : start + length] for start in starts)
    near = _stretches(whole, starts, length, len(source), len(target))
    old = b"".join(source[start:end] for start, end in near)
    if known:
        quick = len(cover.encode(source, piece, _clipped(whole, starts, length), effort=1))
    else:
        quick = len(cover.encode(old, piece, covers.find_fast(old, piece), effort=1))
    return _slow_size(piece, old, effort) * whole_quick // max(1, quick)


def _slow_size(target: bytes, source: bytes, effort: choose.Effort) -> int:
    if not source or effort.codecs != "full":
        return choose.least(target, source, replace(effort, recompress=False))
    found = choose.search(source, target, effort.level)
    return len(cover.encode(source, target, found, effort=effort.level, thorough=effort.thorough))


def _clipped(found: covers.Covers, starts: list[int], length: int) -> covers.Covers:
    """Return the covers for the joined slices of the target. The source is unchanged."""
    clipped = []
    for number, start in enumerate(starts):
        for source, target, covered in _within(found, start, start + length):
            clipped.append((source, number * length + target - start, covered))
    return covers.Covers.of(clipped)


def _within(found: covers.Covers, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of covers within a range of the target: source, target and length."""
    k = max(0, bisect_right(found.target, start) - 1)
    while k < len(found) and found.target[k] < end:
        low, high = max(found.target[k], start), min(found.target[k] + found.length[k], end)
        if low < high:
            yield found.source[k] + low - found.target[k], low, high - low
        k += 1


def _stretches(
    found: covers.Covers, starts: list[int], length: int, source_size: int, target_size: int
) -> list[tuple[int, int]]:
    """Return the ranges of the source that are probably similar to slices of the target.

    The ranges are sorted and do not overlap.
    """
    spans = sorted(_near(found, starts, length, source_size, target_size))
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _near(
    found: covers.Covers, starts: list[int], length: int, source_size: int, target_size: int
) -> Iterator[tuple[int, int]]:
    for start in starts:
        end = start + length
        # add the range at the same relative position, because the fast search may have missed it
        at = start * source_size // target_size
        yield max(0, at - MARGIN), min(source_size, at + length + MARGIN)
        for source, _, covered in _within(found, start, end):
            yield max(0, source - MARGIN), min(source_size, source + covered + MARGIN)

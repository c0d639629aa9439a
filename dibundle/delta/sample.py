"""How large a relinked patch would be, from a sample of its target: the suffix sort is spared nearly all of the source.

Creation only. What the sample costs more than its share, as the models see less of it, is taken off at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from dibundle.delta import cover, covers, layout, relink, relinker

LEAST = 8 << 20  # bytes of target from which on a sample is worth its own first pass
SHARE = 12  # one byte in so many of the target is looked at ...
SLICES = 96  # ... in so many places, evenly apart
MARGIN = 2048  # bytes of the source around what the first pass finds for a slice
EXCESS = 0.95
"""What a sample says times this is the size. Estimates and bundles then are, in kB, 3,597 and 3,659 of static-binary,
3,627 and 3,513 of node-app, 313 and 306, 294 and 293 of two libraries that changed in few places."""


def relinked_size(source: bytes, target: bytes, plan: layout.Plan, *, effort: int, model_time: int) -> int:
    """Return about how many bytes :func:`relinker.encode` would need, in about a quarter of its time."""
    found = covers.find_fast(relink.relink(source, plan.regions, plan.first), target)
    header, linked = relinker.relinked(source, target, plan, found)
    length = len(target) // (SHARE * SLICES)
    starts = [(2 * k + 1) * len(target) // (2 * SLICES) - length // 2 for k in range(SLICES)]
    piece = b"".join(target[start : start + length] for start in starts)
    near = _stretches(covers.find_fast(linked, target), starts, length, len(linked), len(target))
    old = b"".join(linked[start:end] for start, end in near)
    payload = cover.encode(old, piece, covers.find(old, piece), effort=effort, model_time=model_time)
    quick = _quick_size(old, piece)
    return len(relink.write(header)) + int(EXCESS * len(payload) * _quick_size(linked, target) / max(1, quick))


def _quick_size(source: bytes, target: bytes) -> int:
    """Return what level 1 makes of it: where that puts bytes, other levels put some, too."""
    return len(cover.encode(source, target, covers.find_fast(source, target), effort=1))


def _stretches(
    found: covers.Covers, starts: list[int], length: int, source_size: int, target_size: int
) -> list[tuple[int, int]]:
    """Return the stretches of the source that slices of the target likely come from, in order, none twice."""
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
        at = start * source_size // target_size  # in proportion, for what the first pass did not find
        yield max(0, at - MARGIN), min(source_size, at + length + MARGIN)
        k = max(0, bisect_right(found.target, start) - 1)
        while k < len(found) and found.target[k] < end:
            low, high = max(found.target[k], start), min(found.target[k] + found.length[k], end)
            shift = found.source[k] - found.target[k]
            if low < high:
                yield max(0, low + shift - MARGIN), min(source_size, high + shift + MARGIN)
            k += 1

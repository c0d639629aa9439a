"""Anchors: long equal stretches of two contents, found by sampling in a tenth of the time of a full search.

Some places of the source are indexed by the 32 bytes there (``native/anchors.c``).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch

ANCHOR: Final = 32  # bytes that are equal where an anchor holds
MOST: Final = 1 << 20


def find(source: Buffer, target: Buffer, *, stride: int) -> array[int]:
    """Return rows (source, target, length) of equal stretches of ``ANCHOR`` bytes and more, in target order.

    One place of the source in ``stride`` is indexed: stretches of ``ANCHOR + stride`` bytes and more are found.
    At most a million rows; what comes after is not looked at.
    """
    return rows_of(LIBRARY.dib_anchors, source, target, stride, room=min(MOST, len(target) // ANCHOR))


def rows_of(function: Callable[..., int], source: Buffer, target: Buffer, how: int, *, room: int) -> array[int]:
    """Return the rows (source, target, length), at most ``room``, that a C function finds in two contents."""
    out = scratch(24 * room)
    count = function(Pinned(source), len(source), Pinned(target), len(target), how, Pinned(out), room)
    if count < 0:
        raise MemoryError("no memory for the table of places")
    rows = array("q")
    rows.frombytes(memoryview(out)[: 24 * count])
    return rows


def bridged(rows: array[int], *, most: int) -> array[int]:
    """Return the rows, joined where at most ``most`` bytes lie between two on one diagonal; after short ones fewer."""
    joined = array("q", rows)
    count = LIBRARY.dib_bridge(Pinned(joined), len(joined) // 3, most)
    del joined[3 * count :]
    return joined

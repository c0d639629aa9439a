"""Anchors: long equal stretches of two contents, found by sampling in a tenth of the time of a full search.

Some places of the source are indexed by the 32 bytes there (``native/anchors.c``).
"""

from __future__ import annotations

from array import array
from typing import Final

from dibundle.codecs import pieces
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch

ANCHOR: Final = 32  # bytes that are equal where an anchor holds
MOST: Final = 1 << 20
PIECE: Final = 16 << 20  # bytes of a target that are searched by themselves


def find(source: Buffer, target: Buffer, *, stride: int, piece: int = PIECE) -> array[int]:
    """Return rows (source, target, length) of equal stretches of ``ANCHOR`` bytes and more, in target order.

    One place of the source in ``stride`` is indexed: stretches of ``ANCHOR + stride`` bytes and more are found.
    At most a million rows; what comes after is not looked at. ``piece`` bytes of the target are searched by themselves.
    """
    held, searched = Pinned(source), Pinned(target)
    table = Pinned(scratch(4 * LIBRARY.dib_anchors_words(held.size, stride)))
    LIBRARY.dib_anchors_table(held, held.size, table, stride)

    def search(start: int) -> array[int]:
        end = min(start + piece, searched.size)
        room = (end - start) // ANCHOR
        out = scratch(24 * room)
        count = LIBRARY.dib_anchors(held, held.size, table, searched, start, end, stride, Pinned(out), room)
        return array("q", memoryview(out)[: 24 * count].tobytes())

    return joined(pieces.share(search, range(0, searched.size or 1, piece)))[: 3 * MOST]


def joined(found: list[array[int]]) -> array[int]:
    """Return the rows of all pieces in their order; stretches that were cut where pieces meet are one again."""
    rows = array("q")
    for piece in found:
        rows.extend(piece)
    return bridged(rows, most=0) if len(found) > 1 else rows


def bridged(rows: array[int], *, most: int) -> array[int]:
    """Return the rows, joined where at most ``most`` bytes lie between two on one diagonal; after short ones fewer."""
    joined = array("q", rows)
    count = LIBRARY.dib_bridge(Pinned(joined), len(joined) // 3, most)
    del joined[3 * count :]
    return joined

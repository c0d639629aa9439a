"""Anchors are long equal ranges of two contents. Sampling finds them in a tenth of the time of a full search.

A table maps the 32 bytes at each sampled source offset to this offset (``native/anchors.c``).
"""

from __future__ import annotations

from array import array
from typing import Final

from dibundle.codecs import pieces
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch

ANCHOR: Final = 32  # minimum number of equal bytes at an anchor
MOST: Final = 1 << 20
PIECE: Final = 16 << 20  # a target is searched in pieces of this many bytes


def find(source: Buffer, target: Buffer, *, stride: int, piece: int = PIECE) -> array[int]:
    """Return rows (source, target, length) of equal ranges of at least ``ANCHOR`` bytes, in target order.

    One of every ``stride`` source offsets is indexed, so all ranges of ``ANCHOR + stride`` or more bytes are found. At
    most a million rows are returned, and later rows are dropped. The target is searched in pieces of ``piece`` bytes.
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
    """Return the rows of all pieces in order.

    Join ranges that were split at the border of two pieces.
    """
    rows = array("q")
    for piece in found:
        rows.extend(piece)
    return bridged(rows, most=0) if len(found) > 1 else rows


def bridged(rows: array[int], *, most: int) -> array[int]:
    """Join rows on the same diagonal if at most ``most`` bytes lie between them.

    After a short row, fewer than ``most`` bytes are bridged.
    """
    joined = array("q", rows)
    count = LIBRARY.dib_bridge(Pinned(joined), len(joined) // 3, most)
    del joined[3 * count :]
    return joined

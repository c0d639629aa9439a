"""Anchors: long equal stretches of two contents, found by sampling in a tenth of the time of a full search.

Every fourth place of the source is indexed by the 32 bytes there; the twin of ``dib_anchors`` in ``native/dib.c``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from dibundle.native.library import LIBRARY, Pinned

ANCHOR: Final = 32  # bytes that are equal where an anchor holds
MOST: Final = 1 << 20
_M64: Final = (1 << 64) - 1


def find(source: bytes, target: bytes) -> array[int]:
    """Return rows (source, target, length) of equal stretches of ``ANCHOR`` bytes and more, in target order.

    At most a million of them; what comes after is not looked at.
    """
    if LIBRARY is None:
        return array("q", (value for row in _plain(source, target) for value in row))
    room = MOST
    out = array("q", bytes(24 * room))
    count = LIBRARY.dib_anchors(
        *(Pinned(source).address, len(source), Pinned(target).address, len(target), Pinned(out).address, room)
    )
    if count < 0:
        raise MemoryError("no memory for the table of anchors")
    return out[: 3 * count]


def _hash(piece: bytes) -> int:
    h = 0
    for k in range(0, ANCHOR, 8):
        h = (h ^ int.from_bytes(piece[k : k + 8], "little")) * 0x9E3779B97F4A7C15 & _M64
        h ^= h >> 29
    return h


def _plain(source: bytes, target: bytes) -> Iterable[tuple[int, int, int]]:
    bits = 16
    while bits < 24 and 1 << bits < len(source) // 2:
        bits += 1
    table = {_hash(source[i : i + ANCHOR]) >> (64 - bits): i for i in range(0, len(source) - ANCHOR + 1, 4)}
    count = diagonal = done = t = 0
    while t + ANCHOR <= len(target) and count < MOST:
        piece, s = target[t : t + ANCHOR], t + diagonal
        if s < 0 or s + ANCHOR > len(source) or source[s : s + ANCHOR] != piece:
            s = table.get(_hash(piece) >> (64 - bits), -1)
            if s < 0 or source[s : s + ANCHOR] != piece or piece == piece[:1] * ANCHOR:
                t += 1
                continue
        start = t
        while start > done and s > 0 and source[s - 1] == target[start - 1]:
            start, s = start - 1, s - 1
        length = t - start
        while (
            s + length < len(source) and start + length < len(target) and source[s + length] == target[start + length]
        ):
            length += 1
        diagonal = s - start
        yield s, start, length
        count += 1
        done = t = start + length

"""Anchors: long equal stretches of two contents, found by sampling in a tenth of the time of a full search.

Some places of the source are indexed by the 32 bytes there; the twins of ``dib_anchors`` and ``dib_bridge`` in
``native/anchors.c``.
"""

from __future__ import annotations

from array import array
from typing import Final

from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch

ANCHOR: Final = 32  # bytes that are equal where an anchor holds
MOST: Final = 1 << 20
_M64: Final = (1 << 64) - 1


def find(source: Buffer, target: Buffer, *, stride: int) -> array[int]:
    """Return rows (source, target, length) of equal stretches of ``ANCHOR`` bytes and more, in target order.

    One place of the source in ``stride`` is indexed: stretches of ``ANCHOR + stride`` bytes and more are found.
    At most a million rows; what comes after is not looked at.
    """
    if LIBRARY is None:
        return array("q", (value for row in _plain(bytes(source), bytes(target), stride) for value in row))
    room = min(MOST, len(target) // ANCHOR)
    out = scratch(24 * room)
    count = LIBRARY.dib_anchors(
        *(Pinned(source), len(source), Pinned(target), len(target), stride),
        *(Pinned(out), room),
    )
    if count < 0:
        raise MemoryError("no memory for the table of anchors")
    rows = array("q")
    rows.frombytes(memoryview(out)[: 24 * count])
    return rows


def bridged(rows: array[int], *, most: int) -> array[int]:
    """Return the rows, joined where at most ``most`` bytes lie between two on one diagonal; after short ones fewer."""
    if LIBRARY is None:
        return array("q", (value for row in _plain_bridged(rows, most) for value in row))
    joined = array("q", rows)
    count = LIBRARY.dib_bridge(Pinned(joined), len(joined) // 3, most)
    del joined[3 * count :]
    return joined


def _hash(piece: bytes) -> int:
    one, two, three, four = (int.from_bytes(piece[k : k + 8], "little") for k in range(0, ANCHOR, 8))
    a = one * 0x9E3779B97F4A7C15 + two * 0xC2B2AE3D27D4EB4F & _M64
    b = three * 0x165667B19E3779F9 + four * 0xD6E8FEB86659FD93 & _M64
    a ^= b << 32 & _M64 | b >> 32
    return (a ^ a >> 29) * 0x9E3779B97F4A7C15 & _M64


def _plain(source: bytes, target: bytes, stride: int) -> list[list[int]]:
    bits = 16
    while bits < 24 and 1 << bits < 2 * len(source) // stride:
        bits += 1
    table = {_hash(source[i : i + ANCHOR]) >> (64 - bits): i for i in range(0, len(source) - ANCHOR + 1, stride)}
    rows: list[list[int]] = []
    diagonal = done = t = 0
    while t + ANCHOR <= len(target) and len(rows) < MOST:
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
        rows.append([s, start, length])
        done = t = start + length
    return rows


def _plain_bridged(rows: array[int], most: int) -> list[list[int]]:
    joined: list[list[int]] = []
    for source, target, length in zip(rows[0::3], rows[1::3], rows[2::3], strict=True):
        last = joined[-1] if joined else None
        is_near = last and target - last[1] - last[2] <= min(most, most // 64 + last[2])
        if last and is_near and source - target == last[0] - last[1]:
            last[2] = target + length - last[1]
        else:
            joined.append([source, target, length])
    return joined

"""Codec 5: operands in literals, made relative again (relink.md). The code is part of the specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.core.basics import U32

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE = {0x10, 0x11, 0x15, 0x25, 0x28, 0x29, 0x39, 0x3B, 0x63, 0x6F, 0x7F, 0x80, 0x83, 0x89, 0x8B, 0x8D, 0xC7, 0xFF}


def relative_x86(run: bytearray, start: int, size: int) -> bytes:
    """Make the operands of x86-64 code relative again."""
    before, i = 0, 0
    while i + 5 <= len(run):
        byte = run[i]
        jump = byte in {0xE8, 0xE9} or (before == 0x0F and byte >> 4 == 8)
        if jump or (byte & 0xC7 == 5 and before in BEFORE):
            word, place = int.from_bytes(run[i + 1 : i + 5], "big"), start + i + 5
            if word < size:
                word -= place
            elif word >= (1 << 32) - place:
                word += size
            run[i + 1 : i + 5] = (word & U32).to_bytes(4, "little")
            byte, i = 0, i + 4
        before, i = byte, i + 1
    return bytes(run)


def relative_arm(run: bytearray, start: int, size: int) -> bytes:
    """Make the operands of aarch64 code relative again."""
    for i in range(-start % 4, len(run) - 3, 4):
        op, here = int.from_bytes(run[i : i + 4], "little"), start + i >> 2
        if op & 0x7C000000 == 0x14000000:
            op = op & 0xFC000000 | op - here & 0x03FFFFFF
        elif op & 0x9F000000 == 0x90000000:
            page = (op >> 3 & 0x1FFFFC | op >> 29 & 3) - (here >> 10)
            op = op & 0x9F00001F | (page & 3) << 29 | page << 3 & 0xFFFFE0
        run[i : i + 4] = op.to_bytes(4, "little")
    return bytes(run)


RELATIVE: list[Callable[[bytearray, int, int], bytes]] = [
    lambda run, start, size: bytes(run),
    relative_x86,
    relative_arm,
]

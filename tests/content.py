"""File contents like those in images. The contents are text, machine code and random-looking bytes. Each content may
also be an edited version.

The seed determines every byte.
"""

from __future__ import annotations

import random

# maps 256 byte values to a few letters, some more often than others, so that the result compresses like source text
_LETTERS = b"etaoinshrdlucmfw yp\n(){}=;." + b"eeeetttaaaooiinnss      \n"
_TEXT = bytes(_LETTERS[value % len(_LETTERS)] for value in range(256))
_CODE = bytes(value if value < 96 else value % 17 for value in range(256))
_PAGE = 4096


def noise(seed: int, size: int) -> bytes:
    """Return random-looking bytes, which no compressor makes smaller."""
    return random.Random(seed).randbytes(size)


def text(seed: int, size: int) -> bytes:
    """Return bytes that compress like text."""
    return noise(seed, size).translate(_TEXT)


def code(seed: int, size: int) -> bytes:
    """Return bytes that compress like machine code."""
    return noise(seed, size).translate(_CODE)


def edited(data: bytes, seed: int, edits: int = 8) -> bytes:
    """Return a later version of a text. Some lines are inserted, some are removed, and most are unchanged."""
    chance = random.Random(seed)
    pieces, at = [], 0
    for place in sorted(chance.randrange(len(data)) for _ in range(edits)):
        pieces += [data[at:place], text(chance.randrange(1 << 30), chance.randrange(20, 200))]
        at = min(len(data), place + chance.choice((0, 0, 30)))
    return b"".join([*pieces, data[at:]])


def relinked(data: bytes, seed: int) -> bytes:
    """Return a later version of machine code. A function is inserted, and an address on every page changes."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for page in range(0, len(changed) - 64, _PAGE // 8):
        place = page + chance.randrange(_PAGE // 8 - 8)
        value = int.from_bytes(changed[place : place + 4], "little")
        changed[place : place + 4] = (value + 0x140 & 0xFFFFFFFF).to_bytes(4, "little")
    middle = len(changed) // 2
    return bytes(changed[:middle]) + code(seed, 320) + bytes(changed[middle:])

"""Header blocks and edits (dib.md, 4.1 and 4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from decoder.core.basics import Refused, need

if TYPE_CHECKING:
    from decoder.core.manifest import Span

FIELDS = [  # the first byte of each field, and the one behind it
    *[(0, 100), (100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (148, 156), (156, 157), (157, 257)],
    *[(257, 265), (265, 297), (297, 329), (329, 337), (337, 345), (345, 500), (500, 512)],
]
SIZE, CHKSUM = 4, 6
NUMERIC = {1: 15, 2: 16, 3: 17, 4: 18, 5: 19, 12: 20, 13: 21}  # field: its column
MOST = (1 << 63) - 1


def content_length(block: bytes) -> int:
    """Read the size field of a header block."""
    text = block[124:136]
    if text[0] & 0xC0 == 0x80:
        value = int.from_bytes(text, "big") & ((1 << 95) - 1)
        need(value <= MOST, "a record's size is out of range", 6)
        return value
    digits = text.strip(b"\0 ")
    need(not digits.strip(b"01234567"), "a record's size is no number", 6)
    return int(digits or b"0", 8)


def styled(reference: bytes, number: int, blank: str, fault: int) -> bytes:
    """Write a number in the style of a field; `blank` is the style of a field that is all NUL."""
    if not reference.strip(b"\0"):
        text = (blank % number).encode()
    else:
        form = re.fullmatch(rb"( *)([0-7]+)([\0 ]*)", reference)
        if form is None:
            raise Refused("a field whose style is not known", fault)
        spaces, digits, rest = form.groups()
        width = len(spaces) + len(digits)
        text = (b"%o" % number).rjust(width, b" " if spaces else b"0") + rest
    need(len(text) == len(reference), "a number does not fit into its field", fault)
    return text


@dataclass
class Change:
    """What becomes of a field: a number, or text."""

    field: int
    number: int = 0
    text: Draw | None = None


@dataclass
class Draw:
    """A piece drawn from a stream: where its bytes are in the frames."""

    pieces: list[tuple[int, int, int]]  # frame, offset, length

    @property
    def length(self) -> int:
        """Count the bytes."""
        return sum(length for _, _, length in self.pieces)


@dataclass
class Copy:
    """Bytes of the base."""

    span: Span


@dataclass
class Zeros:
    """Zero bytes."""

    length: int


@dataclass
class Edit:
    """A header block, made of one of the base or of a register."""

    register: int
    base: Span | None
    changes: list[Change]


@dataclass
class Begin:
    """The content of a packing begins."""

    packing: Draw
    packed: int


@dataclass
class End:
    """The content of a packing ends."""


Step = Draw | Copy | Zeros | Edit | Begin | End

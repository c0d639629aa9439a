"""What relinking has to know of native code, read from the section headers of ELF files (creation only).

A source may be several files one after another, or a stretch from the middle of one; whatever is found wrong here costs
bytes, never correctness.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

X86_64: Final = 62
AARCH64: Final = 183

_MAGIC: Final = b"\x7fELF\x02\x01"  # 64 bits, lowest byte first
_EXEC = 2
_SYMTAB, _RELA, _NOBITS, _DYNSYM = 2, 4, 8, 11
_WRITE, _ALLOC, _EXECUTE, _THREAD = 1, 2, 4, 0x400
_MAX_SECTIONS: Final = 4096
_ROW: Final = 64  # bytes of a section in the table
_LONGEST: Final = 64  # bytes of its name that count
_NEAR: Final = 1 << 26
_LEAST_STRETCH: Final = 1 << 20  # shorter stretches of a program are not worth a guess


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSection:
    """A section that is loaded: ``start`` is its offset in the data, ``stored`` tells whether it has bytes there."""

    name: bytes
    start: int
    length: int
    address: int
    code: bool
    writable: bool
    relocations: bool
    names: int | None
    stored: bool


class Symbols(NamedTuple):
    """Start and length of a table of symbols and of their names."""

    start: int
    length: int
    names: int
    names_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One ELF file within the data: where it starts and ends, its sections by address; ``fixed``: not to be moved.

    ``symbols``: the table of symbols that is not loaded, if there is one.
    """

    start: int
    end: int
    machine: int
    fixed: bool
    sections: tuple[ElfSection, ...]
    symbols: Symbols | None = None


def programs(data: bytes) -> list[Program]:
    """Return the ELF files for x86-64 and aarch64 that lie in ``data``, in order and apart from each other."""
    return list(_programs(data))


def guess(data: bytes) -> Program | None:
    """Return ``data`` as one section of code if it looks like a stretch of a large program, without its headers.

    Looks at 64 samples of 4 KiB: in code, calls stand close together and most lead to somewhere near. Real code for
    aarch64 has 42 to 158 calls in 4 KiB that lead to somewhere within its file; random bytes have 16, of which few do.
    """
    if len(data) < _LEAST_STRETCH:
        return None
    step = len(data) // 64
    pieces = [(start, data[start : start + 4096]) for start in range(0, len(data) - 4096, step)]
    near = every = 0
    for _, piece in pieces:
        for found in re.finditer(b"\xe8", piece[:-5]):
            every += 1
            at = found.start() + 1
            near += -_NEAR < int.from_bytes(piece[at : at + 4], "little", signed=True) < _NEAR
    if near > 64 * 12 and near * 2 > every:
        machine = X86_64
    elif sum(_arm_calls(piece, start, len(data)) for start, piece in pieces) > 64 * 24:
        machine = AARCH64
    else:
        return None
    whole = ElfSection(
        name=b"",
        start=0,
        length=len(data),
        address=0,
        code=True,
        writable=False,
        relocations=False,
        names=None,
        stored=True,
    )
    return Program(start=0, end=len(data), machine=machine, fixed=False, sections=(whole,))


def _arm_calls(piece: bytes, start: int, size: int) -> int:
    """Count the aarch64 BL in a piece from ``start`` on that lead to somewhere within ``size`` bytes."""
    first = -start % 4
    words = array("I", piece[first:][:4092])
    if sys.byteorder == "big":
        words.byteswap()
    return sum(
        word >> 26 == 0x25 and 0 <= start + first + 4 * number + _arm_distance(word) < size
        for number, word in enumerate(words)
    )


def _arm_distance(call: int) -> int:
    """Return how far an aarch64 BL leads, in bytes."""
    return ((call & 0x3FFFFFF ^ 0x2000000) - 0x2000000) * 4


def _programs(data: bytes) -> Iterator[Program]:
    at = data.find(_MAGIC)
    left = len(data) // _ROW + _MAX_SECTIONS  # sections to look at: many headers may name one table
    while at >= 0 and left >= 0:
        try:
            left -= max(1, *struct.unpack_from("<H", data, at + 60))
            found = _program(data, at)
        except struct.error:
            found = None
        if found is not None:
            yield found
        at = data.find(_MAGIC, found.end if found else at + 1)


def _program(data: bytes, at: int) -> Program | None:
    kind, machine = struct.unpack_from("<HH", data, at + 16)
    fixed = kind == _EXEC
    table, size, count, names = (
        *struct.unpack_from("<Q", data, at + 40),
        *struct.unpack_from("<HHH", data, at + 58),
    )
    if machine not in (X86_64, AARCH64) or size != _ROW or not names < count <= _MAX_SECTIONS:
        return None
    rows = [struct.unpack_from("<IIQQQQI", data, at + table + _ROW * k) for k in range(count)]
    text = at + rows[names][4]
    end = at + table + _ROW * count
    sections: list[ElfSection] = []
    symbols: Symbols | None = None
    for name, kind, flags, address, offset, length, link in rows:
        stored = kind != _NOBITS
        if stored and kind:
            end = max(end, at + offset + length)
        if kind == _SYMTAB and not flags & _ALLOC and length and at + offset + length <= len(data):
            names_at, names_length = rows[link][4:6] if link < count else (0, 0)
            if 0 < names_length <= len(data) - at - names_at:
                symbols = Symbols(at + offset, length, at + names_at, names_length)
        if not flags & _ALLOC or not length or (flags & _THREAD and not stored) or address + length >= 1 << 39:
            continue
        if stored and at + offset + length > len(data):
            return None
        sections.append(
            ElfSection(
                name=data[text + name : text + name + _LONGEST].partition(b"\0")[0],
                start=at + offset,
                length=length,
                address=address,
                code=bool(flags & _EXECUTE),
                writable=bool(flags & _WRITE),
                relocations=kind == _RELA,
                names=rows[link][3] if kind == _DYNSYM and link < count else None,
                stored=stored,
            )
        )
    sections.sort(key=lambda section: (section.address, section.start))
    kept: list[ElfSection] = []
    for section in sections:
        if not kept or kept[-1].address + kept[-1].length <= section.address:
            kept.append(section)
    if not kept:
        return None
    return Program(
        start=at,
        end=min(end, len(data)),
        machine=machine,
        fixed=fixed,
        sections=tuple(kept),
        symbols=symbols,
    )

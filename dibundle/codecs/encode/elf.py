"""Facts about native code for relinking, read from the section headers of ELF files (creation only).

A source may be several files one after another, or a part from the middle of a file. An error in this module can make a
bundle larger, but cannot make it wrong.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final, NamedTuple

X86_64: Final = 62
AARCH64: Final = 183
RISCV: Final = 243
ARM: Final = 40

_MAGIC: Final = re.compile(rb"\x7fELF[\x01\x02]\x01")  # 32 or 64 bits, lowest byte first
_EXEC = 2
_SYMTAB, _RELA, _NOBITS, _REL, _DYNSYM = 2, 4, 8, 9, 11
_WRITE, _ALLOC, _EXECUTE, _THREAD = 1, 2, 4, 0x400
_MAX_SECTIONS: Final = 4096
_ROW: Final = 64  # bytes of a row in the table of sections
_LONGEST: Final = 64  # maximum bytes of a section's name that are compared
_HIGHEST: Final = 1 << 39  # upper limit of addresses
_MAX_PROGRAMS: Final = 4096  # the same as the maximum number of regions in a payload
GO_TABLES: Final = (b".gopclntab", b".data.rel.ro.gopclntab")
_GO_MAGIC: Final = (b"\xf0\xff\xff\xff", b"\xf1\xff\xff\xff")  # Go 1.18, and Go 1.20 and later
_GO_HEAD: Final = 72
_NEAR: Final = 1 << 26
# minimum bytes of a range: for a shorter range, a guess costs time, and helps little
_LEAST_STRETCH: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSection:
    """A loaded section.

    ``start`` is the section's offset in the data. ``stored`` is true if the data contains the section's bytes.
    """

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
    """A table of symbols, and the table with the symbols' names; each has a start and a length."""

    start: int
    length: int
    names: int
    names_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An ELF file within the data, with its start, its end, and its sections by address.

    ``fixed`` is true if the file is not relocatable. ``symbols`` is the table of symbols that is not loaded into
    memory, if there is one. ``parts`` has the name and address of each table within a section.
    """

    start: int
    end: int
    machine: int
    fixed: bool
    sections: tuple[ElfSection, ...]
    symbols: Symbols | None = None
    parts: tuple[tuple[bytes, int], ...] = ()


def programs(data: bytes) -> list[Program]:
    """Return the ELF files in ``data`` for known machines, in order and without overlaps."""
    return list(islice(_programs(data), _MAX_PROGRAMS))


def guess(data: bytes) -> Program | None:
    """If ``data`` looks like the middle of a large program, return a program with one section of code.

    The check reads 64 samples of 4 KiB: code has many calls, and most of them lead to near addresses. Real aarch64 code
    has 42 to 158 calls per 4 KiB that lead into the file. In random bytes, 16 words per 4 KiB look like calls, and few
    of these lead into the file.
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
    """Count the aarch64 BL instructions at ``start`` that lead into a file of ``size`` bytes."""
    first = -start % 4
    words = array("I", piece[first:][:4092])
    if sys.byteorder == "big":
        words.byteswap()
    return sum(
        word >> 26 == 0x25 and 0 <= start + first + 4 * number + _arm_distance(word) < size
        for number, word in enumerate(words)
    )


def _arm_distance(call: int) -> int:
    """Return the distance from an aarch64 BL to its target, in bytes."""
    return ((call & 0x3FFFFFF ^ 0x2000000) - 0x2000000) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """The layouts of the header fields for the section table, and of a row in this table."""

    machines: tuple[int, ...]
    header: int
    table: tuple[str, int]
    counts: int
    row: str
    width: int


_FORMS: Final = {
    1: _Form(machines=(ARM,), header=52, table=("<I", 32), counts=46, row="<IIIIIII", width=40),
    2: _Form(machines=(X86_64, AARCH64, RISCV), header=64, table=("<Q", 40), counts=58, row="<IIQQQQI", width=64),
}


def _programs(data: bytes) -> Iterator[Program]:
    found = _MAGIC.search(data)
    # number of sections that may still be read: without a limit, many headers could refer to one long table
    left = len(data) // _ROW + _MAX_SECTIONS
    while found and left >= 0:
        at, form = found.start(), _FORMS[data[found.start() + 4]]
        end = at + 1
        if len(data) - at >= form.header:
            left -= max(1, *struct.unpack_from("<H", data, at + form.counts + 2))
            program = _program(data, at, form)
            if program is not None:
                yield program
                end = program.end
        found = _MAGIC.search(data, end)


def _program(data: bytes, at: int, form: _Form) -> Program | None:
    """Return the program whose header is at offset ``at``. If no linker writes such a header, return None."""
    kind, machine = struct.unpack_from("<HH", data, at + 16)
    (table,) = struct.unpack_from(form.table[0], data, at + form.table[1])
    size, count, names = struct.unpack_from("<HHH", data, at + form.counts)
    room = len(data) - at
    if machine not in form.machines or size != form.width or not names < count <= _MAX_SECTIONS:
        return None
    if not form.header <= table <= room - size * count:
        return None
    rows = [_Row(*struct.unpack_from(form.row, data, at + table + size * k)) for k in range(count)]
    if any(row.stored and row.offset + row.length > room for row in rows):
        return None
    end = max([table + size * count, *(row.offset + row.length for row in rows if row.stored)])
    kept = _apart([row for row in rows if row.kind and row.is_loaded])
    if not kept:
        return None
    text = at + rows[names].offset
    sections = tuple(
        ElfSection(
            name=data[text + row.name : text + row.name + _LONGEST].partition(b"\0")[0],
            start=at + row.offset,
            length=row.length,
            address=row.address,
            code=bool(row.flags & _EXECUTE),
            writable=bool(row.flags & _WRITE),
            relocations=row.kind in (_RELA, _REL),
            names=_names(rows, row) if form.width == _ROW else None,
            stored=row.stored,
        )
        for row in kept
    )
    tables = [section for section in sections if section.stored and section.name in GO_TABLES][: len(GO_TABLES)]
    parts = [part for section in tables for part in _go_parts(data, section)]
    symbols = _symbols(rows, [row for row in kept if row.stored], at) if form.width == _ROW else None
    return Program(
        start=at,
        end=at + end,
        machine=machine,
        fixed=kind == _EXEC,
        sections=sections,
        symbols=symbols,
        parts=tuple(parts),
    )


def _go_parts(data: bytes, section: ElfSection) -> Iterator[tuple[bytes, int]]:
    """Yield the tables that the header of Go's function table lists."""
    if section.length < _GO_HEAD or data[section.start : section.start + 4] not in _GO_MAGIC:
        return
    for number, place in enumerate(struct.unpack_from("<QQQQQ", data, section.start + 32)):
        if _GO_HEAD <= place < section.length:
            yield b"%s %d" % (section.name, number), section.address + place


class _Row(NamedTuple):
    """A row of the table of sections. Offsets count from the program's start."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    length: int
    link: int

    @property
    def stored(self) -> bool:
        return self.kind not in (0, _NOBITS)

    @property
    def is_loaded(self) -> bool:
        is_memory = bool(self.flags & _ALLOC) and self.length > 0 and self.address + self.length < _HIGHEST
        return is_memory and (self.stored or not self.flags & _THREAD)


def _apart(rows: list[_Row]) -> list[_Row]:
    """Return the rows in order of address. Leave out rows that overlap an earlier row in memory or in the file."""
    found: list[_Row] = []
    end = 0
    for row in sorted((row for row in rows if row.stored), key=lambda row: (row.offset, row.address)):
        if row.offset >= end:
            found.append(row)
            end = row.offset + row.length
    found += [row for row in rows if not row.stored]
    kept: list[_Row] = []
    for row in sorted(found, key=lambda row: (row.address, row.offset)):
        if not kept or kept[-1].address + kept[-1].length <= row.address:
            kept.append(row)
    return kept


def _names(rows: list[_Row], row: _Row) -> int | None:
    """Return the address of the symbols' names, if ``row`` is a loaded symbol table."""
    if row.kind != _DYNSYM or row.link >= len(rows) or rows[row.link].address >= _HIGHEST:
        return None
    return rows[row.link].address


def _symbols(rows: list[_Row], kept: list[_Row], at: int) -> Symbols | None:
    """Return the first table of symbols that is not loaded into memory.

    Return None if the table or its names overlap anything else.
    """
    row = next((row for row in rows if row.kind == _SYMTAB and not row.flags & _ALLOC and row.link < len(rows)), None)
    if row is None:
        return None
    names = rows[row.link]
    own = [row, names]
    if names.flags & _ALLOC or not all(part.stored and part.length and part.offset >= _ROW for part in own):
        return None
    places = sorted((part.offset, part.offset + part.length) for part in (*own, *kept))
    if any(before[1] > after[0] for before, after in pairwise(places)):
        return None
    return Symbols(at + row.offset, row.length, at + names.offset, names.length)

"""Finding the addresses in native code and computing them anew: the Python twin of ``native/relink.c``.

No disassembler: byte patterns, and whether what looks like an address leads to something (``spec/relink.md``).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

RAW, X86, ARM, POINTERS, BASED, FRAMES, TABLES, X86_FIXED, TABLES_FIXED = range(9)
HOLE, DATA, TABLE, CODE = range(4)

_M32: Final = 0xFFFFFFFF
_M64: Final = (1 << 64) - 1
_FARTHEST: Final = 1 << 40  # how far an operand can say that something went: a program's space in layout.py


class Region(NamedTuple):
    """``length`` bytes of the source at ``start`` that lie at ``address``; ``mode`` says what to look for."""

    start: int
    length: int
    address: int
    base: int
    mode: int


class CodeSection(NamedTuple):
    """``length`` bytes of the target at ``start`` that lie at ``address``."""

    start: int
    length: int
    address: int


class AddressStep(NamedTuple):
    """From address ``at`` to the next step everything went by ``shift``; ``kind`` says what is there."""

    at: int
    shift: int
    kind: int


class Walker:
    """Rewrites the addresses in ``data``, in place, by ``steps``: address, shift and kind of each in turn."""

    def __init__(self, data: bytearray, steps: array[int], *, mask: bool) -> None:
        self.data = data
        self.mask = mask
        self.at, self.shift, self.kind = steps[0::3], steps[1::3], steps[2::3]
        self.marks: set[int] = set()
        self.votes: Counter[tuple[int, int]] | None = None
        self._other = b""
        self._ahead = self._moved = 0

    def vote(self, pieces: Sequence[Region], target: bytes, targets: Sequence[int], moved: Sequence[int]) -> None:
        """Change nothing, but count in ``votes`` by how much what the addresses in ``pieces`` lead to went.

        ``target`` has the counterparts of ``pieces`` at ``targets``, whose addresses are ``moved`` further on.
        """
        self.votes, self._other = Counter(), target
        for piece, start, shift in zip(pieces, targets, moved, strict=True):
            self._ahead, self._moved = start - piece.start, shift
            if piece.mode in self._walks():
                self._walks()[piece.mode](piece)

    def run(self, regions: Sequence[Region]) -> None:
        """Treat each region by its mode; those of jump tables last, when it is known where code points to."""
        walks = self._walks()
        for region in regions:
            if region.mode in walks:
                walks[region.mode](region)
        for region in regions:
            if region.mode in (TABLES, TABLES_FIXED):
                self._tables(region)

    def _walks(self) -> dict[int, Callable[[Region], None]]:
        return {
            X86: self._x86,
            X86_FIXED: self._x86,
            ARM: self._arm,
            POINTERS: self._pointers,
            BASED: self._based,
            FRAMES: self._frames,
        }

    def _place(self, address: int) -> int:
        """Return the shift of a place."""
        return self.look(address)[0] if self.votes is None else self._moved

    def _there(self, at: int) -> int:
        """Return the word in the target that is the counterpart of the one at ``at``."""
        return int.from_bytes(self._other[at + self._ahead : at + self._ahead + 4], "little")

    def _count(self, address: int, shift: int) -> None:
        assert self.votes is not None
        shift = (shift + (1 << 63) & _M64) - (1 << 63)
        if abs(shift) <= _FARTHEST:  # else what is there in the target is no address
            self.votes[address & _M64, shift] += 1

    def _alike(self, at: int) -> bool:
        """Whether the byte before ``at`` is the same in the target, if that is asked for."""
        return self.votes is None or self.data[at - 1] == self._other[at + self._ahead - 1]

    def look(self, address: int) -> tuple[int, int]:
        """Return shift and kind of the step that holds ``address``."""
        address &= _M64
        k = bisect_right(self.at, address) - 1 if not address >> 63 else -1
        return (self.shift[k], self.kind[k]) if k >= 0 else (0, HOLE)

    def _word(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little")

    def _write(self, at: int, word: int) -> None:
        self.data[at : at + 4] = (word & _M32).to_bytes(4, "little")

    def _distance(self, at: int, zero: int, least: int, zero_shift: int) -> bool:
        """Treat the four bytes at ``at`` as a distance from address ``zero``; false if it leads nowhere."""
        word = self._word(at)
        target = zero + (word ^ 1 << 31) - (1 << 31) & _M64
        shift, kind = self.look(target)
        if kind < least or not self._alike(at):
            return False
        if kind == TABLE:
            self.marks.add(target)
        if self.votes is not None:
            self._count(target, ((self._there(at) - word & _M32) ^ 1 << 31) - (1 << 31) + zero_shift)
            return True
        self._write(at, 0 if self.mask else word + shift - zero_shift)
        return True

    def _x86(self, region: Region) -> None:
        start, data, off = region.start, self.data, region.address - region.start
        end = start + region.length
        i = start + 1
        while i + 5 <= end:
            byte = data[i]
            if byte | 1 == 0xE9 or (byte & 0xF0 == 0x80 and data[i - 1] == 0x0F):
                least = CODE
            elif byte & 0xC7 == 5:
                least = DATA
            else:
                least = HOLE
            place = off + i + 1
            done = least != HOLE and self._distance(i + 1, place + 4, least, self._place(place))
            if not done and region.mode == X86_FIXED and _takes_address(byte, data[i - 1]):
                done = self._fixed_word(i + 1, region.base)
            past = 5 if done else 1
            if not done and region.mode == X86_FIXED and byte in {0xC7, 0x81}:
                far = _after_memory(data[i + 1])
                if far and i + far + 4 <= end and self._fixed_word(i + far, region.base):
                    past = far + 4
            i += past

    def _fixed_word(self, at: int, base: int) -> bool:
        """Treat the four bytes at ``at`` as an address of their own; false if it leads nowhere."""
        word = self._word(at)
        shift, kind = self.look(base + word)
        if kind == HOLE or not self._alike(at):
            return False
        if kind == TABLE:
            self.marks.add(base + word)
        if self.votes is not None:
            self._count(base + word, ((self._there(at) - word & _M32) ^ 1 << 31) - (1 << 31))
            return True
        self._write(at, 0 if self.mask else word + shift)
        return True

    def _arm(self, region: Region) -> None:  # noqa: C901, PLR0912 - kept in step with its C twin
        off = region.address - region.start
        held: dict[int, list[int]] = {}  # register: place of its ADRP, page, whether that ADRP is settled
        for i in range(region.start + (-region.address & 3), region.start + region.length - 3, 4):
            op, here = self._word(i), off + i
            if op & 0x7C000000 == 0x14000000:  # B, BL
                far = (op << 2 & 0xFFFFFFF ^ 1 << 27) - (1 << 27)
                shift, kind = self.look(here + far)
                if kind == CODE and self.votes is not None:
                    now = self._there(i)
                    if now & 0xFC000000 == op & 0xFC000000:
                        self._count(here + far, (now << 2 & 0xFFFFFFF ^ 1 << 27) - (1 << 27) - far + self._moved)
                elif kind == CODE:
                    fresh = 0 if self.mask else far + shift - self.look(here)[0] >> 2 & 0x3FFFFFF
                    self._write(i, op & 0xFC000000 | fresh)
            elif (
                op & 0xFF000010 == 0x54000000 or op & 0x7E000000 == 0x34000000 or op & 0x3B000000 == 0x18000000
            ):  # B.cond, CBZ and CBNZ, LDR literal
                far = (op >> 3 & 0x1FFFFC ^ 1 << 20) - (1 << 20)
                shift, kind = self.look(here + far)
                if kind != HOLE and self.votes is None:
                    fresh = 0 if self.mask else far + shift - self.look(here)[0] >> 2 & 0x7FFFF
                    self._write(i, op & 0xFF00001F | fresh << 5)
            elif op & 0x9F000000 == 0x90000000:  # ADRP
                pages = ((op >> 3 & 0x1FFFFC | op >> 29 & 3) ^ 1 << 20) - (1 << 20)
                page = (here & ~4095) + (pages << 12)
                held.pop(op & 31, None)
                if self.look(page)[1] != HOLE or self.look(page + 4095)[1] != HOLE:
                    if self.votes is not None:
                        now = self._there(i)
                        pages = ((now >> 3 & 0x1FFFFC | now >> 29 & 3) ^ 1 << 20) - (1 << 20)
                        if now & 0x9F00001F == op & 0x9F00001F:
                            held[op & 31] = [i, page, (here + self._moved & ~4095) + (pages << 12)]
                        continue
                    held[op & 31] = [i, page, 0]
                    if self.mask:
                        self._write(i, op & 0x9F00001F)
            else:
                self._arm_low(held, i, op, off)

    def _arm_low(self, held: dict[int, list[int]], i: int, op: int, off: int) -> None:
        """Treat an ADD or a load or store with an offset whose register an ADRP may have set."""
        add, load = op & 0xFFC00000 == 0x91000000, op & 0x3B000000 == 0x39000000
        if not add and not load:
            return
        known = held.get(op >> 5 & 31)
        scale = 0 if add else 4 if op & 0x04800000 == 0x04800000 else op >> 30
        low = (op >> 10 & 0xFFF) << scale
        if known and i - known[0] <= 256 and low < 4096:
            target = known[1] + low
            shift, kind = self.look(target)
            if kind == TABLE:
                self.marks.add(target & _M64)
            if kind != HOLE and self.votes is not None:
                now = self._there(i)
                if now & 0xFFC003FF == op & 0xFFC003FF:
                    self._count(target, known[2] + ((now >> 10 & 0xFFF) << scale) - target)
            elif kind != HOLE and self.mask:
                self._write(i, op & 0xFFC003FF)
            elif kind != HOLE:
                fresh = target + shift
                place = off + known[0]
                place += self.look(place)[0]
                if fresh & (1 << scale) - 1 == 0:
                    if not known[2]:
                        pages = (fresh >> 12) - (place >> 12)
                        head = self._word(known[0])
                        self._write(known[0], head & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)
                        known[2] = 1
                    self._write(i, op & 0xFFC003FF | (fresh & 4095) >> scale << 10)
        if op & 31 != 31:
            held.pop(op & 31, None)

    def _pointers(self, region: Region) -> None:
        for i in range(region.start + (-region.address & 7), region.start + region.length - 7, 8):
            self._pointer(i, region.base)

    def _pointer(self, at: int, base: int) -> bool:
        """Treat the eight bytes at ``at`` as an address; false if it leads nowhere."""
        value = int.from_bytes(self.data[at : at + 8], "little")
        shift, kind = self.look(value + base)
        if not value or kind == HOLE:
            return False
        if self.votes is not None:
            ahead = at + self._ahead
            self._count(value + base, int.from_bytes(self._other[ahead : ahead + 8], "little") - value)
            return True
        struct.pack_into("<Q", self.data, at, 0 if self.mask else value + shift & _M64)
        return True

    def _based(self, region: Region) -> None:
        if self.votes is not None:
            return
        moved = self.look(region.base)[0]
        for i in range(region.start + (-region.address & 3), region.start + region.length - 3, 4):
            self._distance(i, region.base, DATA, moved)

    def _frames(self, region: Region) -> None:
        i, end, off = region.start, region.start + region.length, region.address - region.start
        while i + 16 <= end:
            size, back = self._word(i), self._word(i + 4)
            after = i + 4 + size
            if size < 4 or after > end:
                break
            if back and size >= 12:
                here = off + i + 4
                shift, kind = self.look(here - back)
                if kind != HOLE and self.votes is None:
                    self._write(i + 4, 0 if self.mask else back + self.look(here)[0] - shift)
                self._distance(i + 8, here + 4, CODE, self._place(here + 4))
                if i + 21 <= after and self.data[i + 16] == 4:
                    self._distance(i + 17, here + 13, DATA, self._place(here + 13))
            i = after

    def _tables(self, region: Region) -> None:
        zero = moved = 0
        open_ = False
        i, end = region.start, region.start + region.length
        while i + 4 <= end:
            address = region.address + i - region.start
            if address in self.marks:
                open_, zero, moved = True, address, self.look(address)[0]
            open_ = open_ and self._distance(i, zero, CODE, moved)
            whole = region.mode == TABLES_FIXED and not open_ and address & 7 == 0 and i + 8 <= end
            i += 8 if whole and self._pointer(i, region.base) else 4


def _takes_address(byte: int, before: int) -> bool:
    """Whether these may be the last two bytes of an instruction before an address in it."""
    return (
        (byte & 0xF8 == 0xB8 and before != 0x0F)
        or byte in {0x68, 0x3D}
        or (byte & 7 == 5 and before & 0xC7 == 4)
        or (byte & 0xF8 == 0xC0 and before in {0xC7, 0x81})
        or (byte & 0xF8 == 0xF8 and before == 0x81)
    )


def _after_memory(operand: int) -> int:
    """Return how far behind its opcode an instruction with an operand in memory has its constant; 0 if it has none."""
    mode = operand >> 6
    if mode == 3 or operand & 0xC7 == 5:
        return 0
    return 2 + (operand & 7 == 4) + (0, 1, 4)[mode]

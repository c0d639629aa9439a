"""Codec 5: addresses computed anew, region by region (relink.md). The code is part of the specification."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from decoder.core.basics import U32, U64
from decoder.full.relink_fields import Derived
from decoder.full.relink_map import (
    CODE,
    DATA,
    HOLE,
    TABLE,
    Fixed,
    Region,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Relink:
    """Computes the addresses in the source anew."""

    def __init__(self, source: bytes, steps: list[Fixed]) -> None:
        self.data = bytearray(source)
        self.steps, self.addresses = steps, [step.address for step in steps]
        self.marked: set[int] = set()
        self.hole = Fixed(0, 0, HOLE)
        self.region = Region(0, 0, 0, 0, 0)
        # register: offset of the ADRP or AUIPC that set it, page, whether that instruction has been rewritten
        self.pages: dict[int, tuple[int, int, bool]] = {}

    def run(self, regions: list[Region]) -> bytes:
        """Relink all regions."""
        ways: list[Callable[[], None]] = [
            *[lambda: None, self.x86, self.aarch64, self.pointers, lambda: None, self.frames, self.tables, self.x86],
            *[self.tables, self.relocations, self.symbols, self.riscv, self.thumb, self.words, self.go],
        ]
        Derived(self.data, regions, put_back=False)
        late = [region for region in regions if region.mode in {6, 8}]
        for self.region in [region for region in regions if region.mode not in {6, 8}] + late:
            ways[self.region.mode]()
        return bytes(self.data)

    def step(self, address: int) -> Fixed:
        """Find the step of an address."""
        address &= U64
        number = bisect_right(self.addresses, address)
        return self.steps[number - 1] if number and address < 1 << 63 else self.hole

    def place(self, at: int) -> int:
        """Give the address of an offset."""
        return self.region.address + at - self.region.start

    def word(self, at: int) -> int:
        """Read a word."""
        return int.from_bytes(self.data[at : at + 4], "little")

    def write(self, at: int, word: int) -> None:
        """Write a word."""
        self.data[at : at + 4] = (word & U32).to_bytes(4, "little")

    def mark(self, address: int, kind: int) -> None:
        """Mark a target in a table."""
        if kind == TABLE:
            self.marked.add(address & U64)

    def distance(self, at: int, zero: int, least: int, own: bool) -> bool:
        """Relink a distance from an address; `own`: what moves is the place of the word."""
        word = self.word(at)
        target = zero + (word ^ 1 << 31) - (1 << 31)
        step = self.step(target)
        if step.kind < least:
            return False
        self.write(at, word + step.shift - self.step(self.place(at) if own else zero).shift)
        self.mark(target, step.kind)
        return True

    def aligned(self, width: int) -> range:
        """List the offsets of whole words at places that a width divides."""
        first = self.region.start + -self.region.address % width
        return range(first, self.region.end - width + 1, width)

    def pointers(self) -> None:
        """Mode 3."""
        for at in self.aligned(8):
            self.pointer(at)

    def pointer(self, at: int, base: int | None = None) -> bool:
        """Relink a pointer."""
        value = int.from_bytes(self.data[at : at + 8], "little")
        step = self.step(value + (self.region.base if base is None else base))
        if not value or step.kind == HOLE:
            return False
        self.data[at : at + 8] = (value + step.shift & U64).to_bytes(8, "little")
        return True

    def relocations(self) -> None:
        """Mode 9."""
        for at in range(self.region.start + 16, self.region.end - 7, 24):
            self.pointer(at)

    def symbols(self) -> None:
        """Mode 10."""
        base = self.region.base
        for at in range(self.region.start, self.region.end - 23, 24):
            step = self.step(base + self.word(at))
            if step.kind != HOLE:
                self.write(at, self.word(at) + step.shift - self.step(base).shift)
            self.pointer(at + 8, base >> 40 << 40)

    def tables(self) -> None:
        """Modes 6 and 8."""
        zero: int | None = None
        at = self.region.start
        while at + 4 <= self.region.end:
            place = self.place(at)
            if place in self.marked:
                zero = place
            if zero is not None and not self.distance(at, zero, CODE, own=False):
                zero = None
            free = self.region.mode == 8 and zero is None and place % 8 == 0 and at + 8 <= self.region.end
            at += 8 if free and self.pointer(at) else 4

    def frames(self) -> None:
        """Mode 5."""
        at, end = self.region.start, self.region.end
        while at + 16 <= end:
            size = self.word(at) + 4
            if size < 8 or at + size > end:
                return
            if self.word(at + 4) != at - self.region.start + 4 and size >= 16:
                self.own_distance(at + 8, CODE)
                if self.data[at + 16 : at + 17] == b"\4" and size >= 21:
                    self.own_distance(at + 17, DATA)
            at += size

    def own_distance(self, at: int, least: int) -> None:
        """Relink a distance from its own place, unless it is exchanged."""
        if not 1 << 31 <= self.word(at) < (1 << 31) + 8192:
            self.distance(at, self.place(at), least, own=True)

    def words(self) -> None:
        """Mode 13."""
        for at in self.aligned(4):
            step = self.step(self.word(at) + self.region.base)
            if self.word(at) and step.kind != HOLE:
                self.write(at, self.word(at) + step.shift)

    def go(self) -> None:
        """Mode 14."""
        region = self.region
        if region.length < 72:
            return
        count, names, programs, functions = (
            int.from_bytes(self.data[region.start + at : region.start + at + 8], "little") for at in (8, 32, 56, 64)
        )
        if max(names, programs, functions) > region.length or count > (region.length - functions) // 8:
            return
        end = 0
        for number in range(count):
            entry = region.start + functions + 8 * number
            record = region.start + functions + self.word(entry + 4)
            self.offset(entry, region.base, CODE)
            self.offset(entry + 4, region.address + functions, DATA)
            if record < end or record + 44 > region.end:
                continue
            more = min(self.word(record + 28), 8)
            end = record + 44 + 4 * more
            self.offset(record, region.base, CODE)
            self.offset(record + 4, region.address + names, DATA)
            for at in (16, 20, 24, *range(44, 44 + 4 * more, 4)):
                if record + at + 4 <= region.end and self.word(record + at):
                    self.offset(record + at, region.address + programs, DATA)

    def offset(self, at: int, zero: int, least: int) -> None:
        """Relink an offset from an address."""
        step = self.step(zero + self.word(at))
        if step.kind >= least:
            self.write(at, self.word(at) + step.shift - self.step(zero).shift)

    def riscv(self) -> None:
        """Mode 11."""
        self.pages = {}
        at, end = self.region.start + self.region.address % 2, self.region.end
        while at + 4 <= end:
            op = self.word(at)
            if op & 3 != 3:
                at += 2
                continue
            kind, register = op & 127, op >> 7 & 31
            if kind == 0x6F:
                self.jump(at, op)
                self.pages.pop(register, None)
            elif kind == 0x17:
                page = self.place(at) + ((op & 0xFFFFF000) ^ 1 << 31) - (1 << 31)
                self.pages.pop(register, None)
                if self.step(page - 2048).kind != HOLE or self.step(page + 2047).kind != HOLE:
                    self.pages[register] = (at, page, False)
            else:
                if kind in {3, 7, 0x23, 0x27} or (kind in {0x13, 0x67} and not op & 0x7000):
                    self.riscv_low(at, op, kind in {0x23, 0x27})
                if kind not in {7, 0x23, 0x27, 0x63}:
                    self.pages.pop(register, None)
            at += 4

    def jump(self, at: int, op: int) -> None:
        """Relink a JAL."""
        number = (op >> 21 & 1023) << 1 | (op >> 20 & 1) << 11 | (op >> 12 & 255) << 12 | op >> 31 << 20
        distance, place = (number ^ 1 << 20) - (1 << 20), self.place(at)
        step = self.step(place + distance)
        if step.kind == CODE:
            far = distance + step.shift - self.step(place).shift
            bits = (far >> 20 & 1) << 31 | (far >> 1 & 1023) << 21 | (far >> 11 & 1) << 20 | (far >> 12 & 255) << 12
            self.write(at, op & 4095 | bits)

    def riscv_low(self, at: int, op: int, store: bool) -> None:
        """Relink what adds to a page, and the AUIPC that set it."""
        register = op >> 15 & 31
        where, page, done = self.pages.get(register, (-1000, 0, False))
        if at - where > 256:
            return
        low = op >> 25 << 5 | op >> 7 & 31 if store else op >> 20
        target = page + (low ^ 2048) - 2048
        step = self.step(target)
        if step.kind == HOLE:
            return
        self.mark(target, step.kind)
        place = self.place(where)
        far = target + step.shift - place - self.step(place).shift
        if store:
            self.write(at, op & 0x01FFF07F | (far >> 5 & 127) << 25 | (far & 31) << 7)
        else:
            self.write(at, op & 0xFFFFF | (far & 4095) << 20)
        if not done:
            self.pages[register] = (where, page, True)
            self.write(where, self.word(where) & 4095 | far + 2048 & 0xFFFFF000)

    def thumb(self) -> None:
        """Mode 12."""
        loaded: dict[int, tuple[int, int]] = {}  # register: where, from where
        at, start, end = self.region.start + self.region.address % 2, self.region.start, self.region.end
        while at + 2 <= end:
            op = int.from_bytes(self.data[at : at + 2], "little")
            size = 4 if op & 0xF800 >= 0xE800 else 2
            if at + size > end:
                return
            op = self.word(at) if size == 4 else op
            base = start + (self.place(at) + 4 & ~3) - self.region.address
            source, register = -1, 0
            if size == 4 and op & 0xF800 == 0xF000 and op >> 16 & 0xD000 in {0x9000, 0xC000, 0xD000}:
                self.thumb_branch(at, op)
            elif size == 4 and op & 0xFF7F == 0xF85F:
                source, register = base + (1 if op & 128 else -1) * (op >> 16 & 4095), op >> 28
            elif size == 2 and op & 0xF800 == 0x4800:
                source, register = base + 4 * (op & 255), op >> 8 & 7
            elif size == 2 and op & 0xFF78 == 0x4478:
                where, literal = loaded.pop(op & 7 | op >> 4 & 8, (-1000, 0))
                if at - where <= 256:
                    self.literal(at, literal)
            if start <= source <= end - 4:
                loaded[register] = (at, source)
            at += size

    def literal(self, at: int, literal: int) -> None:
        """Relink a word in a literal pool that a place is added to."""
        word = self.word(literal)
        target = self.place(at) + 4 + (word ^ 1 << 31) - (1 << 31)
        step = self.step(target)
        if step.kind != HOLE:
            self.mark(target, step.kind)
            self.write(literal, word + step.shift - self.step(self.place(at)).shift)

    def thumb_branch(self, at: int, op: int) -> None:
        """Relink BL, BLX and B.W."""
        s = op >> 10 & 1
        first, second = int(op >> 29 & 1 == s), int(op >> 27 & 1 == s)
        number = s << 24 | first << 23 | second << 22 | (op & 1023) << 12 | (op >> 16 & 2047) << 1
        distance, place = (number ^ 1 << 24) - (1 << 24), self.place(at)
        step = self.step((place + 4 & ~3 if op >> 16 & 0xD000 == 0xC000 else place + 4) + distance)
        if step.kind != CODE:
            return
        far = distance + step.shift - self.step(place).shift
        s = far >> 24 & 1
        bits = s << 10 | int(far >> 23 & 1 == s) << 29 | int(far >> 22 & 1 == s) << 27
        self.write(at, op & 0xD000F800 | bits | far >> 12 & 1023 | (far >> 1 & 2047) << 16)

    def x86(self) -> None:
        """Modes 1 and 7."""
        fixed = self.region.mode == 7
        pattern = re.compile(rb"." if fixed else rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d\x80-\x8f\xe8\xe9]", re.DOTALL)
        at, end = self.region.start + 1, self.region.end
        while found := pattern.search(self.data, at, end - 4):
            at = found.start()
            if self.x86_distance(at):
                at += 5
            else:
                at = self.x86_address(at) if fixed else at + 1

    def x86_distance(self, at: int) -> bool:
        """Relink the distance behind a byte, if there is one."""
        byte = self.data[at]
        if byte in {0xE8, 0xE9} or (byte & 0xF0 == 0x80 and self.data[at - 1] == 0x0F):
            return self.distance(at + 1, self.place(at + 5), CODE, own=True)
        return byte & 0xC7 == 5 and self.distance(at + 1, self.place(at + 5), DATA, own=True)

    def x86_address(self, at: int) -> int:
        """Relink addresses behind a byte (mode 7); gives the next offset to look at."""
        byte, before = self.data[at], self.data[at - 1]
        if (
            (0xB8 <= byte <= 0xBF and before != 0x0F)
            or byte in {0x68, 0x3D}
            or (byte & 7 == 5 and before & 0xC7 == 4)
            or (byte & 0xF8 == 0xC0 and before in {0xC7, 0x81})
            or (byte & 0xF8 == 0xF8 and before == 0x81)
        ) and self.address(at + 1):
            return at + 5
        if byte in {0xC7, 0x81}:
            m = self.data[at + 1]
            where = at + 2 + (m & 7 == 4) + (0, 1, 4, 0)[m >> 6]
            if m < 0xC0 and m & 0xC7 != 5 and where + 4 <= self.region.end and self.address(where):
                return where + 4
        return at + 1

    def address(self, at: int) -> bool:
        """Relink a word that is an address (mode 7)."""
        word = self.word(at)
        step = self.step(self.region.base + word)
        if step.kind == HOLE:
            return False
        self.write(at, word + step.shift)
        self.mark(self.region.base + word, step.kind)
        return True

    def aarch64(self) -> None:
        """Mode 2."""
        self.pages = {}
        for at in self.aligned(4):
            op = self.word(at)
            if op & 0x7C000000 == 0x14000000:
                self.branch(at, op, (0, 26), CODE)
            elif op & 0xFF000010 == 0x54000000 or op & 0x7E000000 == 0x34000000 or op & 0x3B000000 == 0x18000000:
                self.branch(at, op, (5, 19), DATA)
            elif op & 0x9F000000 == 0x90000000:
                self.adrp(at, op)
            elif op & 0xFFC00000 == 0x91000000 or op & 0x3B000000 == 0x39000000:
                self.low_bits(at, op)
                if op & 31 != 31:
                    self.pages.pop(op & 31, None)

    def branch(self, at: int, op: int, bits: tuple[int, int], least: int) -> None:
        """Relink an immediate that counts words from its place."""
        first, count = bits
        mask = (1 << count) - 1
        distance = 4 * (((op >> first & mask) ^ 1 << count - 1) - (1 << count - 1))
        place = self.place(at)
        step = self.step(place + distance)
        if step.kind >= least:
            fresh = (distance + step.shift - self.step(place).shift) >> 2
            self.write(at, op & ~(mask << first) | (fresh & mask) << first)

    def adrp(self, at: int, op: int) -> None:
        """Remember the page of an ADRP."""
        pages = (op >> 5 & 0x7FFFF) << 2 | op >> 29 & 3
        page = (self.place(at) & ~4095) + 4096 * ((pages ^ 1 << 20) - (1 << 20))
        self.pages.pop(op & 31, None)
        if self.step(page).kind != HOLE or self.step(page + 4095).kind != HOLE:
            self.pages[op & 31] = (at, page, False)

    def low_bits(self, at: int, op: int) -> None:
        """Relink an ADD or a load or store by a page, and the ADRP that set it."""
        register = op >> 5 & 31
        where, page, done = self.pages.get(register, (-1000, 0, False))
        if at - where > 256:
            return
        scale = 4 if op & 0x04800000 == 0x04800000 else op >> 30
        if op & 0xFFC00000 == 0x91000000:
            scale = 0
        low = (op >> 10 & 4095) << scale
        step = self.step(page + low)
        if low >= 4096 or step.kind == HOLE:
            return
        self.mark(page + low, step.kind)
        fresh = page + low + step.shift & U64
        if fresh % (1 << scale):
            return
        self.write(at, op & ~(4095 << 10) | (fresh & 4095) >> scale << 10)
        if not done:
            self.pages[register] = (where, page, True)
            place = self.place(where)
            pages = (fresh >> 12) - ((place + self.step(place).shift & U64) >> 12)
            self.write(where, self.word(where) & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)

"""Codec 3 (vcdiff.md)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

from decoder.core.basics import Refused, need


class Integers:
    """The integers of VCDIFF: seven bits to a byte, the highest first (RFC 3284, 2)."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        """Take a byte."""
        return self.take(1)[0]

    def take(self, length: int) -> bytes:
        """Take bytes."""
        need(self.at + length <= len(self.data), "a VCDIFF section ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def next(self) -> int:
        """Take an integer."""
        value = 0
        for _ in range(9):
            byte = self.byte()
            value = value << 7 | byte & 127
            need(value < 1 << 62, "a VCDIFF integer of 2^62 or above")
            if byte < 128:
                return value
        raise Refused("a VCDIFF integer of more than 9 bytes")


NOOP, ADD, RUN, COPY = range(4)
Code = tuple[int, int, int]  # instruction, size, mode


@cache
def code_table() -> list[tuple[Code, Code]]:
    """Make the default code table (RFC 3284, 5.6)."""
    none = (NOOP, 0, 0)
    table = [((RUN, 0, 0), none)] + [((ADD, size, 0), none) for size in range(18)]
    for mode in range(9):
        table += [((COPY, size, mode), none) for size in (0, *range(4, 19))]
    for mode in range(9):
        for size in range(1, 5):
            table += [((ADD, size, 0), (COPY, copied, mode)) for copied in (range(4, 7) if mode < 6 else (4,))]
    return table + [((COPY, 4, mode), (ADD, 1, 0)) for mode in range(9)]


@dataclass
class Window:
    """A window of a VCDIFF file, its head read."""

    indicator: int
    length: int
    at: int
    size: int
    adler: int
    data: bytes
    instructions: bytes
    addresses: bytes


def read_windows(delta: bytes) -> list[Window]:
    """Read the heads of all windows."""
    file = Integers(delta)
    need(file.take(4) == b"\xd6\xc3\xc4\x00", "not a VCDIFF file")
    indicator = file.byte()
    need(indicator in {0, 4}, "a VCDIFF header indicator that is not known")
    if indicator:
        file.take(file.next())
    windows: list[Window] = []
    while not windows or file.at < len(delta):
        windows.append(read_window(file))
    return windows


def read_window(file: Integers) -> Window:
    """Read one window's head and sections."""
    indicator = file.byte()
    need(indicator < 8 and indicator & 3 != 3, "a VCDIFF window indicator that is not known")
    length, at = (file.next(), file.next()) if indicator & 3 else (0, 0)
    encoded = file.next()
    start = file.at
    size = file.next()
    need(file.byte() == 0, "a VCDIFF delta indicator that is not 0")
    data, instructions, addresses = file.next(), file.next(), file.next()
    adler = int.from_bytes(file.take(4), "big") if indicator & 4 else 0
    window = Window(indicator, length, at, size, adler, file.take(data), file.take(instructions), file.take(addresses))
    need(file.at - start == encoded, "a VCDIFF delta of another length")
    return window


def vcdiff(delta: bytes, size: int, source: bytes) -> bytes:
    """Decode a VCDIFF file."""
    windows = read_windows(delta)
    need(sum(window.size for window in windows) == size, "VCDIFF windows make another size")
    need(all(window.size for window in windows) or len(windows) == 1, "a VCDIFF window that makes nothing")
    need(len(windows) <= 16 + size // 4096, "too many VCDIFF windows")
    target = bytearray()
    for window in windows:
        whole = source if window.indicator & 1 else target
        need(window.at + window.length <= len(whole), "a VCDIFF source segment that is not there")
        segment = whole[window.at : window.at + window.length]
        made = Vcdiff(window, bytes(segment)).run()
        need(not window.indicator & 4 or zlib.adler32(made) == window.adler, "a VCDIFF window's Adler-32 is wrong")
        target += made
    return bytes(target)


class Vcdiff:
    """The decoding of one window."""

    def __init__(self, window: Window, segment: bytes) -> None:
        self.window, self.segment = window, segment
        self.data, self.addresses = Integers(window.data), Integers(window.addresses)
        self.made = bytearray()
        self.near, self.same, self.slot = [0] * 4, [0] * 768, 0

    def run(self) -> bytes:
        """Follow the instructions."""
        instructions = Integers(self.window.instructions)
        while instructions.at < len(instructions.data):
            for code, fixed, mode in code_table()[instructions.byte()]:
                if code == NOOP:
                    continue
                size = fixed or instructions.next()
                need(len(self.made) + size <= self.window.size, "a VCDIFF window makes too much")
                if code == ADD:
                    self.made += self.data.take(size)
                elif code == RUN:
                    self.made += self.data.take(1) * size
                else:
                    self.copy(self.address(mode), size)
        need(len(self.made) == self.window.size, "a VCDIFF window makes too little")
        need(self.data.at == len(self.data.data), "VCDIFF data is left over")
        need(self.addresses.at == len(self.addresses.data), "VCDIFF addresses are left over")
        return bytes(self.made)

    def address(self, mode: int) -> int:
        """Decode an address (RFC 3284, 5.3)."""
        here = len(self.segment) + len(self.made)
        if mode == 0:
            address = self.addresses.next()
        elif mode == 1:
            address = here - self.addresses.next()
        elif mode < 6:
            address = self.near[mode - 2] + self.addresses.next()
        else:
            address = self.same[(mode - 6) * 256 + self.addresses.byte()]
        need(0 <= address < here, "a VCDIFF address out of range")
        self.near[self.slot] = address
        self.slot = (self.slot + 1) % 4
        self.same[address % 768] = address
        return address

    def copy(self, address: int, size: int) -> None:
        """Copy from the source segment and the window, which may overlap what is written."""
        part = self.segment[address : address + size]
        self.made += part
        size -= len(part)
        start = max(0, address - len(self.segment))
        while size:
            part = bytes(self.made[start : start + size])
            self.made += part
            size -= len(part)

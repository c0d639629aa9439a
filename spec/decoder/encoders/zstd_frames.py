"""Encoders 32 to 34: frames and blocks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from decoder.encoders.deflate import Writer
from decoder.encoders.xxh64 import xxh64
from decoder.encoders.zstd_best import FINDERS, OLDER
from decoder.encoders.zstd_literals import Huffman
from decoder.encoders.zstd_tables import LENGTH_BITS, LITERAL_BITS, Alphabet, high

if TYPE_CHECKING:
    from decoder.encoders.zstd_tables import States, Triple


class FrameWriter:
    """A frame in the making (zstd.md)."""

    def __init__(self, content: bytes, encoder: int, level: int, first: int) -> None:
        self.content, self.newer, self.older, self.level = content, encoder == 33, encoder == 34, level
        self.window, self.block = (1 << 22, 1 << 16) if level == 1 else (1 << 23, 1 << 17)
        self.first = first or self.block
        self.alphabets = [Alphabet(number) for number in range(3)]
        self.huffman: Huffman | None = None
        self.may_repeat = False
        if self.older and level > 2:
            self.window *= 2 if level == 3 else 4
        self.finder = (OLDER if self.older else FINDERS)[level](content, self.window)

    def run(self) -> bytes:
        """Make the frame."""
        size = len(self.content)
        if not size and not self.newer:
            return b""
        if size and size < self.first:
            out = [self.alone_head(), self.put_block(0, size, True, True)]
        else:
            out = [b"\x28\xb5\x2f\xfd\x04", bytes([(high(self.window) - 10) << 3])]
            ends = [*range(self.first, size, self.block), *([size] if size else [])]
            full = not size or (size - self.first) % self.block == 0
            starts = [0, *ends][: len(ends)]
            out += [
                self.put_block(at, end, end == size and not full, False) for at, end in zip(starts, ends, strict=True)
            ]
            out += [b"\1\0\0"] if full else []
        return b"".join([*out, struct.pack("<I", xxh64(self.content) & 0xFFFFFFFF)])

    def alone_head(self) -> bytes:
        """Make the head of a frame with one block."""
        size = len(self.content)
        kind = 0 if size < 256 else 1 if size < 65792 else 2
        single = size > 1024
        head = b"\x28\xb5\x2f\xfd" + bytes([kind << 6 | single << 5 | 4])
        head += b"" if single else bytes([8 if size == 1024 else 0])
        return head + [b"", struct.pack("<H", (size - 256) & 0xFFFF), struct.pack("<I", size)][kind]

    def put_block(self, start: int, end: int, last: bool, alone: bool) -> bytes:
        """Make a block."""
        data = self.content[start:end]
        found = self.finder.find(start, end, alone)
        if not found and self.older and len(data) == self.block:
            return block_head(0, len(data), last) + data
        if not found:
            return self.put_bytes(data, last)
        literals, at = bytearray(), start
        for one in found:
            literals += self.content[at : at + one.literals]
            at += one.literals + one.length + 3
        literals += self.content[at:end]
        if (
            not self.older
            and len(found) == 1
            and len(literals) <= 1
            and found[0].literals == len(literals)
            and found[0].offset == 4
        ):
            return block_head(1, end - start, last) + data[:1]
        if len(data) - len(literals) - (len(data) >> (5 if self.older else 6)) < 16:
            return self.put_bytes(data, last)
        out = self.put_literals(bytes(literals))
        sequences, used = self.put_sequences(found)
        out += sequences
        if len(out) >= len(data):
            self.may_repeat = False
            return block_head(0, len(data), last) + data
        for alphabet, (how, states) in zip(self.alphabets, used, strict=True):
            alphabet.used(how, states)
        return block_head(2, len(out), last) + out

    def put_bytes(self, data: bytes, last: bool) -> bytes:
        """Make a block without sequences."""
        is_coded = len(data) > 32 and self.level > 1 if self.older else len(data) >= 32 and self.level > 2
        kind, packed = self.coded(data) if is_coded else (0, b"")
        if (
            kind > 1
            and not self.older
            and len(packed) + 5 > len(data)
            and len(packed) + coded_head(data, packed) >= len(data)
        ):
            kind = 0
        if kind < 2:
            return block_head(kind, len(data), last) + (data[:1] if kind else data)
        self.may_repeat = True
        out = literal_head(kind, data, packed) + packed + b"\0"
        return block_head(2, len(out), last) + out

    def put_literals(self, data: bytes) -> bytes:
        """Make the literals section."""
        kind, packed = self.coded(data) if len(data) > (32 if self.older else 16) else (0, b"")
        plain = 1 if len(data) < 16 else 2 if len(data) < 2048 else 3
        least = len(data) + plain
        if (
            kind > 1
            and not self.older
            and len(packed) + 5 > len(data)
            and len(packed) + coded_head(data, packed) >= least
        ):
            kind = 0
        if kind < 2:
            number = len(data) << (3 if plain == 1 else 4) | [0, 0, 4, 12][plain] | kind
            return number.to_bytes(plain, "little") + (data[:1] if kind else data)
        self.may_repeat = True
        return literal_head(kind, data, packed) + packed

    def coded(self, data: bytes) -> tuple[int, bytes]:
        """Put bytes into a code: 0 not at all, 1 a byte that is repeated, 2 a new code, 3 the one before."""
        if not self.may_repeat:
            self.huffman = None
        counts = [data.count(byte) for byte in range(max(data) + 1)]
        if max(counts) == len(data):
            return 1, b""
        if max(counts) == 1 or max(counts) < len(data) >> 7:
            return 0, b""
        wanted = len(data) - (len(data) >> 4)
        own, before = Huffman(counts), self.huffman
        if before and before.has_all(counts) and (before.size(counts) <= own.size(counts) or wanted <= 12):
            packed = before.write(data)
            return (3, packed) if len(packed) < wanted else (0, b"")
        head = own.head()
        if head is None:
            return 0, b""
        packed = head + own.write(data)
        if len(packed) >= wanted:
            return 0, b""
        self.huffman = own
        return 2, packed

    def put_sequences(self, found: list[Triple]) -> tuple[bytes, list[tuple[int, States]]]:
        """Make the sequences section."""
        count = len(found)
        if count < 0x7F00:
            out = bytes([count]) if count < 128 else bytes([128 + (count >> 8), count & 255])
        else:
            out = b"\xff" + struct.pack("<H", count - 0x7F00)
        codes = [one.codes for one in found]
        used = [alphabet.choose([three[alphabet.number] for three in codes], self.newer) for alphabet in self.alphabets]
        out += bytes([used[0][0] << 6 | used[1][0] << 4 | used[2][0] << 2])
        for number, (how, states) in enumerate(used):
            writer = Writer()
            if how == 1:
                writer.put(codes[0][number], 8)
            elif how == 2:
                states.write(writer)
            writer.pad()
            out += bytes(writer.done)
        writer, held = Writer(), [0, 0, 0]
        for place in range(count - 1, -1, -1):
            one, three = found[place], codes[place]
            for number in (1, 2, 0):
                states = used[number][1]
                if place == count - 1:
                    held[number] = states.first(three[number])
                else:
                    value, width, held[number] = states.step(held[number], three[number])
                    writer.put(value, width)
            for value, width in (
                (one.literals, LITERAL_BITS[three[0]]),
                (one.length, LENGTH_BITS[three[2]]),
                (one.offset, three[1]),
            ):
                writer.put(value & (1 << width) - 1, width)
        for number in (2, 1, 0):
            log = used[number][1].log
            writer.put(held[number] & (1 << log) - 1, log)
        writer.put(1, 1)
        writer.pad()
        return out + bytes(writer.done), used


def block_head(kind: int, size: int, last: bool) -> bytes:
    """Make the head of a block."""
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


def coded_head(data: bytes, packed: bytes) -> int:
    """Give the size of the head of coded literals."""
    most = max(len(data), len(packed))
    return 3 if most < 1024 else 4 if most < 16384 else 5


def literal_head(kind: int, data: bytes, packed: bytes) -> bytes:
    """Make the head of coded literals."""
    size = coded_head(data, packed)
    width = {3: 10, 4: 14, 5: 18}[size]
    number = kind | [0, 2, 3][size - 3] << 2 | len(data) << 4 | len(packed) << 4 + width
    return number.to_bytes(size, "little")

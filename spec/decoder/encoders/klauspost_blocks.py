"""Encoders 2 to 5 and 8: blocks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from decoder.encoders.deflate import (
    DYNAMIC,
    END_OF_BLOCK,
    FIXED,
    BlockCode,
    Counts,
    fixed_code,
    header,
    merged_lengths,
    own_code,
    width,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.encoders.deflate import Writer


def single(value: float) -> float:
    """Round to IEEE single precision."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def log2(value: float) -> float:
    """Give the rough logarithm of the estimate."""
    bits = int.from_bytes(struct.pack("<f", value), "little")
    e = single((bits >> 23 & 255) - 128)
    m = float(struct.unpack("<f", struct.pack("<I", bits & ~(255 << 23) | 127 << 23))[0])
    a, b, c = single(-0.34484843), single(2.02466578), single(0.67487759)
    return single(e + single(single(single(single(a * m) + b) * m) - c))


def estimate(counts: Counts, tokens: int) -> int:
    """Estimate the bits of so many tokens with a code of their own."""
    total = 0.0

    def add(symbols: Sequence[int], share: float) -> None:
        nonlocal total
        for count in symbols:
            if count:
                value = min(max(-log2(single(single(count) * share)), 1.0), 15.0)
                total = single(total + single(value * single(count)))

    share = single(1 / single(tokens))
    add(counts.literals[:256], share)
    total = single(total + 15)
    add(counts.literals[257:], share)
    if counts.matches:
        add(counts.distances, single(1 / single(counts.matches)))
    return int(total) + counts.extra


class Blocks:
    """The blocks of one stream."""

    def __init__(self, writer: Writer, encoder: int, level: int) -> None:
        self.writer, self.encoder, self.level = writer, encoder, level
        self.open: BlockCode | None = None  # the code of a block whose end is owed
        self.open_bits = 0  # of that block's header
        self.open_literal = False  # whether it began as a literal block
        self.tokens: list[int] = []

    def close(self) -> None:
        """Close the open block."""
        if self.open:
            self.open.end(self.writer)
            self.open, self.open_bits = None, 0

    def stored(self, data: bytes) -> None:
        """Write a stored block."""
        self.close()
        self.writer.stored(data)

    def token_block(self, data: bytes | None, sync: bool) -> None:
        """Write a block of tokens; without its data it is not stored."""
        fixed, size = fixed_code(), 8 * (len(data) + 5) if data is not None else 1 << 62
        counts = Counts(self.tokens, ends=1 if self.encoder in {2, 5} else int(sync))
        count = counts.tokens + sync
        if not counts.matches and (sync or self.encoder in {2, 5}):
            counts.distances[0] = 1
        if self.open and (self.open_literal or self.open.lacks(counts)):
            self.close()
        if self.open:
            fresh = self.open_bits + estimate(counts, count)
            fresh += self.open.literals[END_OF_BLOCK] + (fresh >> (7 if self.level < 7 else 8))
            bits = counts.bits(self.open) + counts.extra
            if fresh < bits:
                self.close()
                bits = fresh
            if data is not None and size <= bits:
                self.stored(data)
                return
            if count < 250 and 3 + counts.bits(fixed) + counts.extra + 7 < bits:
                self.fixed()
                return
        if not self.open:
            self.fresh_block(counts, count, data, sync)
            return
        self.open.write(self.writer, self.tokens, end=False)
        if sync:
            self.close()

    def fresh_block(self, counts: Counts, count: int, data: bytes | None, sync: bool) -> None:
        """Write a block of tokens where none is open."""
        counts.literals[END_OF_BLOCK] = 1
        size = 8 * (len(data) + 5) if data is not None else 1 << 62
        whole = self.encoder in {3, 4, 8} and not sync
        code = own_code(counts)
        if whole and not counts.matches:
            counts.distances[0], code.distances[0] = 0, 0
        head = header(code, whole=whole)
        bits = 3 + width(head) + counts.bits(code) + counts.extra
        fixed = 3 + counts.bits(fixed_code()) + counts.extra
        if count < 250 and fixed <= bits:
            if data is not None and size <= fixed:
                self.stored(data)
            else:
                self.fixed()
            return
        if data is not None and size <= bits:
            self.stored(data)
            return
        self.writer.put_all([(DYNAMIC, 3), *head])
        self.begin(code, 3 + width(head), literal=False)
        code.write(self.writer, self.tokens, end=False)
        if sync:
            self.close()

    def fixed(self) -> None:
        """Write the tokens as a fixed block."""
        self.close()
        self.writer.put(FIXED, 3)
        fixed_code().write(self.writer, self.tokens)

    def begin(self, code: BlockCode, bits: int, literal: bool) -> None:
        """Leave a block open."""
        self.open, self.open_bits, self.open_literal = code, bits, literal

    def literal_block(self, data: bytes, sync: bool) -> None:
        """Write a literal block."""
        size = len(data)
        counts = Counts(data)
        if size > 1024 and sum((count - size / 256) ** 2 for count in counts.literals[:256]) < 2 * size:
            self.stored(data)
            return
        code = BlockCode(merged_lengths(counts.literals, 15), [1] + [0] * 29)
        bits = counts.bits(code) + (self.open_bits if self.open else 560)
        bits += bits >> 7
        if 8 * (size + 5) <= bits:
            self.stored(data)
            return
        if self.open:
            plain = Counts(data, ends=0)
            if self.open.lacks(plain) or bits < plain.bits(self.open):
                self.close()
        if not self.open:
            head = header(code)
            self.writer.put_all([(DYNAMIC, 3), *head])
            self.begin(code, 3 + width(head), literal=True)
        if self.open:
            self.open.write(self.writer, data, end=False)
        if sync:
            self.close()

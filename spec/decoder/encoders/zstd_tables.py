"""Encoders 32 to 34: tables of sequences."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from decoder.encoders.deflate import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence


class States:
    """Shares of symbols, and the states that follow from them; ``only``: all are one symbol."""

    def __init__(self, log: int, shares: list[int], only: bool = False) -> None:
        self.log, self.shares, self.only = log, shares, only
        self.bits: dict[int, tuple[int, int]] = {}
        if not only:
            self.spread()

    def spread(self) -> None:
        """Give the states to symbols (RFC 8878, 4.1.1)."""
        size = 1 << self.log
        rare = [symbol for symbol, share in enumerate(self.shares) if share < 0]
        table = [0] * (size - len(rare)) + rare[::-1]
        at = 0
        for symbol, share in enumerate(self.shares):
            for _ in range(share):
                table[at] = symbol
                at = (at + (size >> 1) + (size >> 3) + 3) % size
                while at >= size - len(rare):
                    at = (at + (size >> 1) + (size >> 3) + 3) % size
        self.of: dict[int, list[int]] = {symbol: [] for symbol, share in enumerate(self.shares) if share}
        for state, symbol in enumerate(table):
            self.of[symbol].append(size + state)

    def first(self, symbol: int) -> int:
        """Give the state that writes nothing."""
        if self.only:
            return 0
        count, least = self.change(symbol)
        bits = (count << 16) - least
        whole = bits + (1 << 15) >> 16
        return self.of[symbol][((whole << 16) - bits >> whole) - abs(self.shares[symbol])]

    def change(self, symbol: int) -> tuple[int, int]:
        """Give how many bits a state may lose, and below what it loses one less."""
        share = abs(self.shares[symbol])
        count = self.log - high(share - 1) if share > 1 else self.log
        return count, share << count

    def step(self, state: int, symbol: int) -> tuple[int, int, int]:
        """Give the bits that a state loses, their number, and the next state."""
        if self.only:
            return 0, 0, 0
        count, least = self.change(symbol)
        if state < least:
            count -= 1
        return state & (1 << count) - 1, count, self.of[symbol][(state >> count) - abs(self.shares[symbol])]

    def cost(self, counts: list[int]) -> int:
        """Estimate the bits of symbols."""
        total = 0
        if self.only or len(self.shares) < len(counts):
            return NEVER
        for symbol, count in enumerate(counts):
            if not count:
                continue
            if not self.shares[symbol]:
                return NEVER
            most, least = self.change(symbol)
            bits = (most << 16) - least >> 16
            beyond = (bits + 1 << 16) - ((most << 16) - least + (1 << self.log))
            each = (bits + 1) * 256 - ((beyond << 8) >> self.log)
            if each > self.log + 1 << 8:
                return NEVER
            total += count * each
        return total >> 8

    def write(self, writer: Writer) -> None:
        """Write the shares (RFC 8878, 4.1.1), in whole bytes."""
        left, threshold, width = (1 << self.log) + 1, 1 << self.log, self.log + 1
        writer.put(self.log - 5, 4)
        at, after_none = 0, False
        while left > 1:
            if after_none:
                none = next(number for number, share in enumerate(self.shares[at:]) if share)
                at += none
                for _ in range(none // 3):
                    writer.put(3, 2)
                writer.put(none % 3, 2)
            share = self.shares[at]
            at += 1
            most = 2 * threshold - 1 - left
            left -= abs(share)
            value = share + 1 + (most if share + 1 >= threshold else 0)
            writer.put(value, width - (value < most))
            after_none = value == 1
            while left < threshold:
                width, threshold = width - 1, threshold >> 1
        writer.pad()


def share_out(counts: list[int], log: int) -> list[int] | None:
    """Choose shares: the states of each symbol, -1 for one that is rare."""
    total, shares = sum(counts), list[int]()
    step, shift = (1 << 62) // total, 62 - log
    left, largest, most = 1 << log, 0, 0
    for number, count in enumerate(counts):
        if count <= total >> log:
            shares.append(-1 if count else 0)
        else:
            share = count * step >> shift
            if share < 8 and count * step - (share << shift) > BEAT[share] << shift - 20:
                share += 1
            if share > most:
                largest, most = number, share
            shares.append(share)
        left -= abs(shares[-1])
    if -left >= shares[largest] >> 1:
        return share_again(counts, log)
    shares[largest] += left
    return shares


def share_again(counts: list[int], log: int) -> list[int] | None:
    """Choose shares where rounding has given too much."""
    total = left = sum(counts)
    shares: list[int | None] = []
    for count in counts:
        share = 0 if not count else -1 if count <= total >> log else 1 if count <= 3 * total >> log + 1 else None
        shares.append(share)
        left -= count if share else 0
    rest = (1 << log) - sum(1 for share in shares if share)
    one = 3 * total >> log + 1
    if left // rest > one:
        one = left * 3 // (rest * 2)
        for number, count in enumerate(counts):
            if shares[number] is None and count <= one:
                shares[number] = 1
                left -= count
        rest = (1 << log) - sum(1 for share in shares if share)
    if not left:
        good = [number for number, share in enumerate(shares) if share == 1]
        for turn in range(rest if good else 0):
            number = good[turn % len(good)]
            shares[number] = (shares[number] or 0) + 1
        return [share or 0 for share in shares] if good else None
    shift = 62 - log
    at = half = (1 << shift - 1) - 1
    step = ((rest << shift) + half) // left
    for number, count in enumerate(counts):
        if shares[number] is None:
            shares[number] = (at + count * step >> shift) - (at >> shift)
            at += count * step
            if not shares[number]:
                return None
    return [share or 0 for share in shares]


def table_log(limit: int, total: int, symbols: int, count: int) -> int:
    """Choose how many bits a table's states have."""
    least = min(high(count) + 1, high(symbols - 1) + 2)
    return max(5, min(max(min(limit, (high(total - 1) - 2) % 256), least), 8))


def high(number: int) -> int:
    """Give the place of the highest bit that is set; for 0 that is -1."""
    return number.bit_length() - 1


BEAT = [0, 473195, 504333, 520860, 550000, 700000, 750000, 830000]


NEVER = 1 << 32  # what cannot be taken costs so much


PRESETS = [  # literal lengths, offsets, match lengths (RFC 8878, 3.1.1.3.2.2)
    (6, [4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4]),
    (5, [*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5]),
    (6, [1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7]),
]


LITERAL_BITS = (*[0] * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


LENGTH_BITS = (*[0] * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


@cache
def coded(bits: Sequence[int], number: int) -> int:
    """Give the code of a number, by the extra bits of codes."""
    start = 0
    for code, count in enumerate(bits):
        start += 1 << count
        if number < start:
            return code
    raise AssertionError(number)


class Triple(NamedTuple):
    """Literals, then a match: how many, its length less 3, and its offset as it is written."""

    literals: int
    length: int
    offset: int

    @property
    def codes(self) -> tuple[int, int, int]:
        """Give the codes of the three (RFC 8878, 3.1.1.3.2.1.1)."""
        return coded(LITERAL_BITS, self.literals), high(self.offset), coded(LENGTH_BITS, self.length)


class Alphabet:
    """One of the three alphabets of sequences: its default table, and the one that may be used again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.preset = States(*PRESETS[number])
        self.before: States | None = None

    def choose(self, codes: list[int], newer: bool) -> tuple[int, States]:
        """Choose a table for codes: 0 the default one, 1 a single symbol, 2 a new one, 3 the one before."""
        counts = [0] * (max(codes) + 1)
        for code in codes:
            counts[code] += 1
        if max(counts) == len(codes):
            return 1, States(0, [0] * (len(counts) - 1) + [1], only=True)
        log = table_log(8, len(codes), len(counts), len(codes))
        shares = share_out(counts, log)
        assert shares is not None
        own = States(log, shares)
        cost = own.cost(counts) + ((len(counts) * log >> 3) + 3) * 8
        cost += cost + 256 >> 4
        preset, before, beside = self.preset.cost(counts), NEVER, cost
        if self.before:
            before = self.before.cost(counts)
        if newer:
            if self.before and before < NEVER:
                writer = Writer()
                own.write(writer)
                beside = own.cost(counts) + 8 * len(writer.done)
                before += self.before.log
            preset += self.preset.log if preset < NEVER else 0
            cost, beside = cost + log, beside + log
        if preset <= before and preset <= cost:
            return 0, self.preset
        if self.before and before <= beside:
            return 3, self.before
        return 2, own

    def used(self, how: int, states: States) -> None:
        """Remember what a block used."""
        if how != 3:
            self.before = None if how == 0 else states

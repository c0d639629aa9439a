"""Packer 3: the model (cover.md). The code is part of the specification."""

from __future__ import annotations

from array import array
from functools import cache
from operator import mul
from typing import TYPE_CHECKING

from decoder.core.basics import U32, need

if TYPE_CHECKING:
    from decoder.full.cover import Piece

GOLD = 0x9E3779B1
RATE = [131072 // (2 * n + 3) for n in range(16)]


@cache
def squash_table() -> list[int]:
    """Give squash(x) at x + 2048."""
    table, power = [32768] * 4097, 1 << 32
    for x in range(2049):
        table[2048 + x] = (1 << 48) // ((1 << 32) + power)
        table[2048 - x] = 65536 - table[2048 + x]
        power = power * 4278222832 >> 32
    return table


@cache
def stretch_table() -> list[int]:
    """Give stretch(p) at p."""
    squash, table, x = squash_table(), [], -2047
    for p in range(4096):
        while x < 2047 and squash[x + 2048] < 16 * p + 8:
            x += 1
        table.append(x)
    return table


def mixed_hash(key: int) -> int:
    """Give H(key)."""
    return key * 0x9E3779B97F4A7C15 >> 32 & U32


class Coder:
    """The arithmetic decoder."""

    def __init__(self, data: bytes) -> None:
        need(len(data) >= 4, "an arithmetic-coded stream is too short")
        self.data, self.at = data, 4
        self.range, self.code = U32, int.from_bytes(data[:4], "big")
        need(self.code < self.range, "an arithmetic-coded stream begins with a number out of range")

    def bit(self, chance: int) -> int:
        """Decode a bit that is 1 with chance / 65536."""
        bound = (self.range >> 16) * min(max(chance, 32), 65504)
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 24:
            need(self.at < len(self.data), "an arithmetic-coded stream ends early")
            self.range <<= 8
            self.code = self.code << 8 | self.data[self.at]
            self.at += 1
        return bit

    def end(self) -> None:
        """Check the end of the stream."""
        need(self.at == len(self.data) and not self.code, "an arithmetic-coded stream ends wrongly")


class Counters:
    """Counters: probabilities of 12 bits and counts."""

    def __init__(self, size: int, p: int) -> None:
        self.p, self.n = array("H", [p]) * size, array("B", [0]) * size

    def learn(self, at: int, bit: int) -> None:
        """Learn a bit."""
        p, n = self.p[at], self.n[at]
        self.p[at] = p + (((65535 if bit else 15) - 16 * p - n >> 1) * RATE[n] >> 19)
        self.n[at] = min(n + 1, 15)

    def alone(self, coder: Coder, at: int) -> int:
        """Decode a bit with one counter alone, and learn it."""
        bit = coder.bit(16 * self.p[at])
        self.learn(at, bit)
        return bit


class Model:
    """Packer 3: the differences, arithmetic-coded."""

    def __init__(self, data: bytes, source: bytes) -> None:
        need(data, "a model stream is too short")
        self.bits = data[0] & 223
        need(10 <= self.bits <= 18, "a model's bits out of range")
        self.rare = 256 if data[0] & 32 else 64
        self.coder = Coder(data[1:])
        self.source = bytes(3) + source + bytes(4)  # 0 outside; offsets are three higher
        self.flag, self.guess = Counters(3 << self.bits, 256), Counters(2 << self.bits, 2048)
        self.value, self.span = Counters(4 << self.bits, 2048), Counters(256, 2048)
        self.weights = {"flag": [24576] * 96, "guess": [24576] * 2048, "value": [24576] * 4096}
        self.near, self.far, self.more = [0] * 65536, [0] * 65536, [0] * 65536
        self.words = [(0, 0)] * 65536
        self.seen = self.spans = self.hits = self.last = 0
        self.still = 32

    def run(self, covers: list[Piece]) -> bytes:
        """Decode the differences of all covers."""
        out = bytearray()
        for cover in covers:
            moved = cover.target - cover.source & U32
            at, end = cover.source, cover.source + cover.length
            while at < end:
                passed = self.still == 32 and end - at >= 32 and self.unchanged()
                made = bytes(32) if passed else self.next(at, end, moved)
                out += made
                at += len(made)
        self.coder.end()
        return bytes(out)

    def unchanged(self) -> int:
        """Decode whether the next 32 bytes are unchanged."""
        bit = self.span.alone(self.coder, self.spans & 255)
        self.spans = (self.spans * 2 + bit) & 255
        if not bit:
            self.still = 0
        return bit

    def mix(self, counters: Counters, places: list[int], name: str, number: int) -> int:
        """Decode a bit mixed from counters."""
        p, weights, count = counters.p, self.weights[name], len(places)
        x = [stretch_table()[p[at]] for at in places]
        weight = weights[count * number : count * (number + 1)]
        q = squash_table()[min(max(sum(map(mul, x, weight)) >> 16, -2048), 2047) + 2048]
        bit = self.coder.bit(q)
        error, most = 65536 * bit - q, (1 << 18) - 1
        weights[count * number : count * (number + 1)] = [
            min(max(w + ((v * error + 8192) >> 14), -most), most) for w, v in zip(weight, x, strict=True)
        ]
        for at in places:
            counters.learn(at, bit)
        return bit

    def places(self, hashes: list[int]) -> list[int]:
        """Give the counters of tables, one after the other, at the highest bits of hashes."""
        return [(i << self.bits) + (h >> 32 - self.bits) for i, h in enumerate(hashes)]

    def next(self, at: int, end: int, moved: int) -> bytes:
        """Decode an unchanged byte, or a group: its differences.

        ``at``, ``end``: source offsets of this byte, and of what follows the cover. ``moved``: target offset minus
        source offset.
        """
        p3, p2, p1 = self.source[at : at + 3]
        word = int.from_bytes(self.source[at + 3 : at + 7], "little")
        slot = mixed_hash(256 * word + p1) >> 16
        old, group = self.words[slot]
        known = int(group != 0 and old == word)
        if not self.flagged(word, p1, p2, p3, known):
            return b"\0"
        size = min(4, end - at)
        mask = (1 << 8 * size) - 1
        aim = at + word & U32
        near, far = mixed_hash(aim) >> 16, aim >> 12 & 65535
        of_near, of_far = (
            by_bytes(word + shift - moved & U32, word, -1) & mask if shift else 0
            for shift in (self.near[near], self.far[far])
        )
        of_more = by_bytes(word + self.more[word >> 16] & U32, word, -1) & mask
        guesses = [of_near, group & mask if known else 0, self.last & mask, of_far, of_more]
        made = self.guessed(guesses, p1, p2)
        if made is None:
            made = self.spelled(size, word, p1, p2, of_near)
        if size == 4:
            self.more[word >> 16] = by_bytes(word, made, 1) - word & U32
            self.near[near] = self.far[far] = self.more[word >> 16] + moved & U32
        self.words[slot], self.last = (word, made), made
        return made.to_bytes(size, "little")

    def flagged(self, word: int, p1: int, p2: int, p3: int, known: int) -> int:
        """Decode whether a group begins here."""
        before, two = self.seen, p1 + 256 * p2
        hashes = [
            mixed_hash(4096 * p1 + (before & 4095)),
            mixed_hash(65536 * two + 256 * (word >> 24) + known),
            mixed_hash(256 * (two + 65536 * p3) + (word & 255)),
        ]
        places = self.places(hashes)
        if self.flag.p[places[0]] < self.rare and self.flag.n[places[0]] >= 8:
            bit = self.flag.alone(self.coder, places[0])
        else:
            bit = self.mix(self.flag, places, "flag", known + 2 * (before & 15))
        self.seen = (before * 2 + bit) & U32
        self.still = 0 if bit else min(self.still + 1, 32)
        return bit

    def guessed(self, guesses: list[int], p1: int, p2: int) -> int | None:
        """Decode which guess is right; None if none is."""
        for j, guess in enumerate(guesses):
            if not guess & 255 or guess in guesses[:j]:
                continue
            alike = sum((guesses[k] == guess) << k - 1 for k in range(j + 1, 5))
            what = j + 8 * alike
            hashes = [
                mixed_hash(256 * what + (self.hits & 255)),
                mixed_hash(65536 * what + p1 + 256 * p2),
            ]
            bit = self.mix(self.guess, self.places(hashes), "guess", what + 128 * (self.hits & 7))
            self.hits = (self.hits * 2 + bit) & 255
            if bit:
                return guess
        return None

    def spelled(self, size: int, word: int, p1: int, p2: int, near: int) -> int:
        """Decode a group byte by byte."""
        made = previous = 0
        for j in range(size):
            here, of_near, of_last = (value >> 8 * j & 255 for value in (word, near, self.last))
            contexts = [
                mixed_hash(256 * made + j),
                mixed_hash(65536 * (here + 256 * p1) + 256 * previous + j),
                mixed_hash(65536 * of_near + 256 * of_last + j),
                mixed_hash(65536 * (p1 + 256 * p2) + 256 * previous + j),
            ]
            previous = self.byte(contexts, j)
            made |= previous << 8 * j
        return made

    def byte(self, contexts: list[int], j: int) -> int:
        """Decode a byte of a group."""
        tree, node, lines = 1, 1, [0] * 4
        for b in range(7, -1, -1):
            if b in {7, 3}:
                t, node = tree * GOLD if b == 3 else 0, 1
                spots = [((context + t) * GOLD & U32) >> 36 - self.bits for context in contexts]
                lines = [(i << self.bits) + 16 * spot for i, spot in enumerate(spots)]
            if b == 7 and j and not self.mix(self.value, lines, "value", 256 * j):
                return 0
            bit = self.mix(self.value, [line + node for line in lines], "value", 256 * j + tree)
            tree, node = 2 * tree + bit, 2 * node + bit
        return tree - 256


def by_bytes(one: int, other: int, sign: int) -> int:
    """Add or subtract two words byte by byte, modulo 256."""
    return sum(((one >> s & 255) + sign * (other >> s & 255) & 255) << s for s in (0, 8, 16, 24))

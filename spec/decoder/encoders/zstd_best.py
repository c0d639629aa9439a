"""Encoders 32 to 34: matches of level 4."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from decoder.encoders.zstd_matches import NO_PAIR, Better, Default, Fastest, Finder, OlderBetter, hashed
from decoder.encoders.zstd_tables import LENGTH_BITS, PRESETS, States, coded, high

if TYPE_CHECKING:
    from decoder.encoders.zstd_matches import Pair
    from decoder.encoders.zstd_tables import Triple


class Match(NamedTuple):
    """A match of level 4: from where, at what position, how long, which offset it repeats, what it costs."""

    back: int
    at: int
    length: int
    repeat: int
    cost: int


class Best(Better):
    """Level 4."""

    margin = 12
    best: Match

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block."""
        self.measure(self.content[start:end])
        return super().find(start, end, alone)

    def measure(self, data: bytes) -> None:
        """Measure what a byte costs as a literal."""
        self.presets = [States(*preset) for preset in PRESETS]
        bits = sum(math.ceil(-binary_log(count * (1.0 / len(data))) * count) for count in Counter(data).values())
        self.literal = max(1024, bits * 1024 // len(data))

    def cost(self, s: int, at: int, length: int, repeat: int) -> int:
        """Estimate the bits that a match costs more than literals."""
        code, offset = coded(LENGTH_BITS, length - 3), high(s - at + 3 if repeat < 0 else repeat & 3)
        bits = offset + LENGTH_BITS[code]
        for preset, symbol in ((self.presets[1], offset), (self.presets[2], code)):
            most, least = preset.change(symbol)
            bits += (most << 16) - least >> 16
        return bits - (length * self.literal >> 10)

    def improve(self, back: int, at: int, repeat: int) -> None:
        """Take a match if it is better than the best so far."""
        best = self.best
        if not 0 < at - back < self.window or self.load(back, 4) != self.load(at, 4):
            return
        if best.length > 16:
            left, check = self.end - best.at - best.length, best.length - (at - best.at) - 8
            if left <= 0:
                return
            if left > 2 and check > 4 and self.load(back + check, 4) != self.load(at + check, 4):
                return
        length = 4 + self.same(at + 4, back + 4)
        if best.repeat <= 0:
            least = max(at - self.window, 0)
            while (
                back > least
                and at > self.emitted
                and self.content[back - 1] == self.content[at - 1]
                and length < 131074
            ):
                back, at, length = back - 1, at - 1, length + 1
        cost = self.cost(at, back, length, repeat)
        found = Match(back, at, 0, repeat, UNLIKELY) if cost > 0 else Match(back, at, length, repeat, cost)
        if best.cost >= UNLIKELY or found.cost - best.cost + ((found.at - best.at) * self.literal >> 10) < 0:
            self.best = found

    def enter_all(self, at: int, end: int) -> None:
        """Enter positions."""
        for place in range(at, end):
            for pairs, key in self.keys(place):
                pairs[key] = place, pairs.get(key, NO_PAIR)[0]

    def keys(self, at: int) -> list[tuple[dict[int, Pair], int]]:
        """Give both tables with the hash of a position."""
        value = self.load(at, 8)
        return [(self.pairs, hashed(value, 8, 22)), (self.short_pairs, hashed(value & 0xFFFFFFFF, 4, 18))]

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, keys = len(self.found) > 2, self.keys(s)
            self.best = Match(0, s, 0, 0, UNLIKELY)
            for pairs, key in keys:
                for at in pairs.get(key, NO_PAIR):
                    self.improve(at, s, -1)
            if may_repeat and self.best.length < 250:
                self.try_repeats(s)
            self.enter_all(s, s + 1)
            if self.best.length < 250:
                if self.best.length < 4:
                    s += 1 + (s - self.emitted >> 9)
                    continue
                self.look_ahead(s)
            best, near, far = self.best, self.near, self.far
            entered, s = s + 1, best.at + best.length
            if best.repeat > 0:
                self.emit(best.at, best.length, best.repeat & 3)
                self.enter_all(entered, min(s, self.limit + 4))
                if best.repeat in {2, 5}:
                    self.near, self.far = far, near
                elif best.repeat in {3, 6}:
                    self.near, self.far, self.third = self.third, near, far
                elif best.repeat == 7:
                    self.near, self.far, self.third = near - 1, near, far
            else:
                self.near, self.far, self.third = best.at - best.back, near, far
                self.emit(best.at, best.length, self.near + 3)
                self.enter_all(entered, min(s, self.limit - 4))

    def try_repeats(self, s: int) -> None:
        """Try the last offsets at s, s + 1 and s + 3."""
        if s == self.emitted:
            self.improve(s - self.far, s, 5)
            self.improve(s - self.third, s, 6)
            if self.near > 1:
                self.improve(s - self.near + 1, s, 7)
        for step in (1, 3):
            if self.best.repeat <= 0 if step == 1 else self.best.repeat < 0:
                for repeat, offset in ((1, self.near), (2, self.far), (3, self.third)):
                    self.improve(s + step - offset, s + step, repeat)
            else:
                return

    def try_next(self, s: int) -> None:
        """Try what begins one or two bytes behind s."""
        short = self.short_pairs.get(hashed(self.load(s + 1, 4), 4, 18), NO_PAIR)
        longs = [self.pairs.get(hashed(self.load(s + step, 8), 8, 22), NO_PAIR) for step in (1, 2)]
        self.improve(short[0], s + 1, -1)
        for step, pair in enumerate(longs, 1):
            for at in pair:
                self.improve(at, s + step, -1)

    def look_ahead(self, s: int) -> None:
        """Try what begins behind s, and what covers most of the best match."""
        self.try_next(s)
        behind = self.best.at + self.best.length
        if self.best.at > s - 2 and behind < self.limit:
            for at in self.pairs.get(hashed(self.load(behind, 8), 8, 22), NO_PAIR):
                back = at - self.best.length + 2
                if back < 0:
                    return
                self.improve(back, self.best.at + 2, -1)


UNLIKELY = 131074 * 8


class OlderBest(Best):
    """Level 4 of encoder 34."""

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block, of whatever bytes."""
        self.measure(self.content[start:end])
        return Finder.find(self, start, end, alone)

    def improve(self, back: int, at: int, repeat: int) -> None:
        """Take a match unless the best so far is better."""
        best, found = self.best, Match(0, at, 0, 0, LESS_UNLIKELY)
        if 0 < at - back < self.window and self.load(back, 4) == self.load(at, 4):
            length = 4 + self.same(at + 4, back + 4)
            cost = self.cost(at, back, length, repeat)
            found = Match(back, at, 0, repeat, LESS_UNLIKELY) if cost > 0 else Match(back, at, length, repeat, cost)
        ahead, behind = ((by * self.literal) >> 10 for by in (best.at - found.at, found.at - best.at))
        if best.cost + ahead >= found.cost + behind:
            self.best = found

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, begin = len(self.found) > 2, s
            self.best = Match(0, s, 0, 0, LESS_UNLIKELY)
            for pairs, key in self.keys(s):
                for at in pairs.get(key, NO_PAIR):
                    self.improve(at, s, -1)
            if may_repeat and self.best.length < 100:
                self.try_repeats(s)
            self.enter_all(s, s + 1)
            if self.best.length < 100:
                if self.best.length < 4:
                    s = begin + 1 + (begin - self.emitted >> 9)
                    continue
                self.look_ahead(s)
            s = self.take(self.best)
            while self.best.repeat <= 0 and may_repeat and self.repeats_far(s):
                self.enter_all(s, s + 1)
                s = self.emit_far(s)

    def try_repeats(self, s: int) -> None:
        """Try the last offsets at s + 1 and, if there is a match, at s + 3."""
        for step in (1, 3):
            if step == 1 or self.best.length > 0:
                for repeat, offset in ((1, self.near), (2, self.far), (3, self.third)):
                    self.improve(s + step - offset, s + step, repeat)

    def take(self, best: Match) -> int:
        """Add the best match, grown backwards, and return where it ends."""
        back, at, length, repeat, near, far = *best[:4], self.near, self.far
        least, stop = max(at - self.window, 0), self.emitted + (repeat > 0)
        most = 131073 if repeat > 0 else 131074
        while back > least and at > stop and self.content[back - 1] == self.content[at - 1] and length < most:
            back, at, length = back - 1, at - 1, length + 1
        if repeat > 0:
            self.near, self.far = {1: (near, far), 2: (far, near), 3: (self.third, near)}[repeat]
            self.third = far if repeat == 3 else self.third
            s = self.emit(at, length, repeat)
        else:
            self.near, self.far, self.third = at - back, near, far
            s = self.emit(at, length, self.near + 3)
        if s < self.limit:
            self.enter_all(best.at if repeat > 0 else at + 1, s - 1)
        return s

    def look_ahead(self, s: int) -> None:
        """Try what begins behind s, and what ends where the best match does."""
        self.try_next(s)
        best = self.best
        if best.at + best.length < self.limit:
            for at in self.pairs.get(hashed(self.load(best.at + best.length, 8), 8, 22), NO_PAIR):
                if at - best.length < 0:
                    return
                self.improve(at - best.length, best.at, -1)


LESS_UNLIKELY = 25000


def binary_log(x: float) -> float:
    """Make the binary logarithm of a number up to 1, as Go's math.Log2 does."""
    part, exponent = math.frexp(x)
    if part == 0.5:
        return exponent - 1
    down = part < 0.70710678118654752440
    f, k = (2 * part if down else part) - 1, -1.0 if down else 0.0
    s = f / (2 + f)
    s2 = s * s
    s4 = s2 * s2
    one = s2 * (
        6.666666666666735130e-01
        + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860510658591e-01))
    )
    two = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01))
    r, half = one + two, 0.5 * f * f
    natural = k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f)
    return natural * (1 / 0.693147180559945309417232121458176568) + exponent


FINDERS: dict[int, type[Finder]] = {1: Fastest, 2: Default, 3: Better, 4: Best}


OLDER: dict[int, type[Finder]] = {1: Fastest, 2: Default, 3: OlderBetter, 4: OlderBest}

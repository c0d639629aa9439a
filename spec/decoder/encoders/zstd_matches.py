"""Encoders 32 to 34: matches of levels 1 to 3."""

from __future__ import annotations

from decoder.encoders.zstd_tables import Triple

Pair = tuple[int, int]  # the last two positions with a hash; those before the window are as good as none
FAR_AWAY = -(1 << 40)


class Finder:
    """What finds matches; positions count from the start of the frame."""

    margin = 0
    least = 16

    def __init__(self, content: bytes, window: int) -> None:
        self.content, self.window = content, window
        self.short: dict[int, int] = {}
        self.long: dict[int, int] = {}
        self.pairs: dict[int, Pair] = {}
        self.short_pairs: dict[int, Pair] = {}
        self.found: list[Triple] = []
        self.emitted = self.end = self.limit = 0

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block."""
        self.found, self.emitted, self.end, self.limit = [], start, end, end - self.margin
        self.near, self.far, self.third = 1, 4, 8
        if end - start >= self.least:
            self.search(start, alone)
        return self.found

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block that is long enough."""
        raise NotImplementedError

    def load(self, at: int, size: int) -> int:
        """Read bytes, the lowest first."""
        return int.from_bytes(self.content[at : at + size], "little")

    def same(self, one: int, other: int) -> int:
        """Count the bytes that are the same, up to the block's end."""
        data, at, most = self.content, 0, self.end - one
        while at < most:
            size = min(64, most - at)
            if data[one + at : one + at + size] == data[other + at : other + at + size]:
                at += size
                continue
            while data[one + at] == data[other + at]:
                at += 1
            return at
        return at

    def reaches(self, s: int, at: int, size: int, to: int | None = None) -> bool:
        """Check whether a position is within the window of s, and has the bytes of s (or of `to`)."""
        return s - at < self.window and self.load(at, size) == self.load(s if to is None else to, size)

    def emit(self, at: int, length: int, offset: int) -> int:
        """Add a sequence, and return where it ends."""
        self.found.append(Triple(at - self.emitted, length - 3, offset))
        self.emitted = at + length
        return self.emitted

    def emit_repeated(self, s: int, at: int, most: int) -> int:
        """Add a match with the offset of the last one, grown backwards but for a literal."""
        back, length = at - self.near, 4 + self.same(at + 4, at + 4 - self.near)
        least = max(s - self.window, 0)
        while (
            back > least and at > self.emitted + 1 and self.content[back - 1] == self.content[at - 1] and length < most
        ):
            back, at, length = back - 1, at - 1, length + 1
        return self.emit(at, length, 1)

    def emit_match(self, s: int, t: int, length: int) -> int:
        """Add a match, grown backwards."""
        self.near, self.far = s - t, self.near
        least = max(s - self.window, 0)
        while t > least and s > self.emitted and self.content[t - 1] == self.content[s - 1] and length < 131074:
            s, t, length = s - 1, t - 1, length + 1
        return self.emit(s, length, self.near + 3)

    def repeats_far(self, s: int) -> bool:
        """Check for the offset before the last one, right behind a match."""
        return s < self.limit and self.load(s - self.far, 4) == self.load(s, 4)

    def emit_far(self, s: int) -> int:
        """Add a match with that offset."""
        end = self.emit(s, 4 + self.same(s + 4, s + 4 - self.far), 1)
        self.near, self.far = self.far, self.near
        return end


def hashed(value: int, size: int, log: int) -> int:
    """Hash the lowest bytes of a value."""
    if size == 4:
        return (value * 2654435761 & 0xFFFFFFFF) >> 32 - log
    factor = {5: 889523592379, 6: 227718039650203, 8: 0xCF1BBCDCB7A56463}[size]
    return ((value << 64 - 8 * size) * factor & (1 << 64) - 1) >> 64 - log


class Fastest(Finder):
    """Level 1."""

    margin, least = 8, 10

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, t = len(self.found) > 2, FAR_AWAY
            while s < self.limit:
                value = self.load(s, 8)
                one, two = hashed(value, 6, 15), hashed(value >> 8, 6, 15)
                first, second = self.short.get(one, FAR_AWAY), self.short.get(two, FAR_AWAY)
                self.short[one], self.short[two] = s, s + 1
                may_repeat = len(self.found) > 2 if alone else may_repeat
                if may_repeat and self.load(s + 2 - self.near, 4) == value >> 16 & 0xFFFFFFFF:
                    s = self.emit_repeated(s, s + 2, 131074)
                    continue
                if self.reaches(s, first, 4):
                    t = first
                    break
                if s + 1 - second < self.window and self.load(second, 4) == value >> 8 & 0xFFFFFFFF:
                    s, t = s + 1, second
                    break
                s += 2 + (s - self.emitted >> 5)
            if t == FAR_AWAY:
                return
            s = self.emit_match(s, t, 4 + self.same(s + 4, t + 4))
            if s >= self.limit:
                return
            may_repeat = len(self.found) > 2 if alone else may_repeat
            if may_repeat and self.repeats_far(s):
                self.short[hashed(self.load(s, 8), 6, 15)] = s
                s = self.emit_far(s)


class Default(Finder):
    """Level 2."""

    margin = 10

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, t = len(self.found) > 2, FAR_AWAY
            while s < self.limit:
                value = self.load(s, 8)
                one, two = hashed(value, 8, 17), hashed(value, 5, 15)
                first, second = self.long.get(one, FAR_AWAY), self.short.get(two, FAR_AWAY)
                self.long[one] = self.short[two] = s
                may_repeat = len(self.found) > 2 if alone else may_repeat
                if may_repeat and self.load(s + 1 - self.near, 4) == value >> 8 & 0xFFFFFFFF:
                    s = self.emit_repeated(s, s + 1, 131073)
                    continue
                if self.reaches(s, first, 4):
                    t = first
                    break
                if self.reaches(s, second, 4):
                    t, after = second, hashed(self.load(s + 1, 8), 8, 17)
                    first, self.long[after] = self.long.get(after, FAR_AWAY), s + 1
                    if self.reaches(s + 1, first, 4):
                        s, t = s + 1, first
                    break
                s += 1 + (s - self.emitted >> 7)
            if t == FAR_AWAY:
                return
            s = self.emit_match(s, t, 4 + self.same(s + 4, t + 4))
            if s >= self.limit:
                return
            begin = s - self.found[-1].length - 3
            for at in (begin + 1, s - 2):
                self.long[hashed(self.load(at, 8), 8, 17)] = at
            for at in (begin + 2, s - 1):
                self.short[hashed(self.load(at, 8), 5, 15)] = at
            here = hashed(self.load(s, 8), 5, 15)
            may_repeat = len(self.found) > 2 if alone else may_repeat
            while may_repeat and self.repeats_far(s):
                value = self.load(s, 8)
                self.long[hashed(value, 8, 17)] = s
                self.short[here if alone else hashed(value, 5, 15)] = s
                s = self.emit_far(s)


NO_PAIR = (FAR_AWAY, FAR_AWAY)


class Better(Finder):
    """Level 3."""

    margin = 10

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block: of one byte that is repeated it is one, and nothing is entered."""
        data = self.content[start:end]
        if len(data) > 3 and data == data[:1] * len(data):
            return [Triple(1, len(data) - 4, 4)]
        return super().find(start, end, alone)

    def enter(self, at: int, s: int) -> None:
        """Enter every second position."""
        for place in range(at, s - 1, 2):
            self.swap(place)
            self.short[hashed(self.load(place + 1, 5), 5, 13)] = place + 1

    def first_step(self, entered: int, s: int) -> int:
        """Return from where on positions behind a match are entered."""
        return entered

    def swap(self, at: int) -> Pair:
        """Enter a position into the pairs, and return the pair that was there."""
        key = hashed(self.load(at, 8), 8, 19)
        pair = self.pairs.get(key, NO_PAIR)
        self.pairs[key] = at, pair[0]
        return pair

    def longest(self, s: int, pair: Pair, entry: int) -> tuple[int, int, int]:
        """Find the longest match at s, or at s + 1 behind a short one: its place, where from, its length or 0."""
        t, matched = FAR_AWAY, 0
        for at in pair:
            if self.reaches(s, at, 8) and 8 + self.same(s + 8, at + 8) > matched:
                t, matched = at, 8 + self.same(s + 8, at + 8)
        if matched or not self.reaches(s, entry, 4):
            return s, t, matched
        t, matched = entry, 4 + self.same(s + 4, entry + 4)
        for at in self.swap(s + 1):
            if self.reaches(s, at, 8, s + 1) and 8 + self.same(s + 9, at + 8) > matched:
                return s + 1, at, 8 + self.same(s + 9, at + 8)
        return s, t, matched

    def behind(self, s: int, t: int, matched: int) -> tuple[int, int, int]:
        """Find a longer match that what is behind a match leads to."""
        if s + matched < self.limit:
            begin = s + 3
            for at in self.pairs.get(hashed(self.load(s + matched, 8), 8, 19), NO_PAIR):
                back = at - matched + 3
                if 0 <= back < begin and self.reaches(begin, back, 4):
                    length = 4 + self.same(begin + 4, back + 4)
                    if length > matched:
                        t, s, matched = back, begin, length
        return s, t, matched

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, matched, t, entered = len(self.found) > 2, 0, 0, 0
            while s < self.limit:
                value = self.load(s, 8)
                two = hashed(value, 5, 13)
                pair, entry = self.swap(s), self.short.get(two, FAR_AWAY)
                self.short[two], entered = s, s + 1
                if may_repeat and self.load(s + 1 - self.near, 4) == value >> 8 & 0xFFFFFFFF:
                    after = self.emit_repeated(s, s + 1, 131073)
                    if after < self.limit:
                        self.enter(s + 1, after)
                    s = after
                    continue
                s, t, matched = self.longest(s, pair, entry)
                if matched:
                    break
                s += 1 + (s - self.emitted >> 8)
            if not matched:
                return
            s = self.emit_match(*self.behind(s, t, matched))
            if s >= self.limit:
                return
            self.enter(self.first_step(entered, s), s)
            while may_repeat and self.repeats_far(s):
                self.swap(s)
                self.short[hashed(self.load(s, 8), 5, 13)] = s
                s = self.emit_far(s)


class OlderBetter(Better):
    """Level 3 of encoder 34."""

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block, of whatever bytes."""
        return Finder.find(self, start, end, alone)

    def first_step(self, entered: int, s: int) -> int:
        """Return from where on positions behind a match are entered."""
        return s - self.found[-1].length - 3 + 1

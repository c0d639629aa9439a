"""Encoders 6 and 7: zlib and GNU gzip."""

from __future__ import annotations

from decoder.encoders.deflate import (
    DYNAMIC,
    FIXED,
    BlockCode,
    Counts,
    Writer,
    distance_symbols,
    fixed_code,
    header,
    match,
    same,
    treed_lengths,
    width,
)

ZLIB_LEVELS = {  # good, lazy, nice, chain
    **{1: (4, 4, 8, 4), 2: (4, 5, 16, 8), 3: (4, 6, 32, 32), 4: (4, 4, 16, 16), 5: (8, 16, 32, 32)},
    **{6: (8, 16, 128, 128), 7: (8, 32, 128, 256), 8: (32, 128, 258, 1024), 9: (32, 258, 258, 4096)},
}


class Zlib:
    """zlib and GNU gzip."""

    def __init__(self, data: bytes, level: int, memory: int) -> None:
        self.gzip = not memory
        self.level = level
        self.size = len(data)
        self.data = data
        self.writer = Writer()
        self.good, self.lazy, self.nice, self.chain = ZLIB_LEVELS[level]
        self.most_tokens = (1 << (memory + 6)) - 1 if memory else 32767
        self.hash_bits = memory + 7 if memory else 15
        self.hash_shift = (self.hash_bits + 2) // 3
        self.base, self.end, self.ended = 0, min(65536, len(data)), False
        self.heads: dict[int, int] = {}
        self.before = [-1] * 32768
        self.tokens: list[int] = []
        self.start = self.covered = self.at = 0
        self.matches = self.distance_bits = 0

    def run(self) -> Writer:
        """Encode all."""
        self.settle(0)
        self.find()
        self.block(1)
        self.writer.pad()
        return self.writer

    def find(self) -> None:
        """Make tokens of all that is ahead."""
        if self.level <= 3:
            self.fast()
        else:
            self.slow()

    def settle(self, at: int) -> None:
        """Move the window where little is ahead."""
        while self.end - at < 262 and not self.ended:
            if at - self.base >= 65274:
                self.base += 32768
            filled = min(self.base + 65536, self.size)
            if filled == self.end:
                if self.gzip:
                    self.end_gzip()
                break
            self.end = filled

    def end_gzip(self) -> None:
        """Put behind the content what gzip's window holds there."""
        self.ended = True
        behind = bytearray(2)
        for at in range(self.size + 2, self.size + 260):
            old = at - 32768
            behind.append(self.data[old] if self.base and old >= 0 and at - self.base >= self.stale_from() else 0)
        self.data += bytes(behind)

    def stale_from(self) -> int:
        """Where in the window old content begins: zeros of the first window stay when its upper half moves down."""
        return 32768 if self.base == 32768 else 0

    def insert(self, at: int) -> int:
        """Index a position; gives what headed its chain."""
        a, b, c = self.data[at : at + 3]
        key = (a << 2 * self.hash_shift ^ b << self.hash_shift ^ c) & (1 << self.hash_bits) - 1
        head = self.heads.get(key, -1)
        self.before[at & 32767] = head
        self.heads[key] = at
        return head

    def look(self, at: int) -> int:
        """Insert a position; gives the candidate of a search, or -1."""
        if not self.gzip and self.end - at < 3:
            return -1
        head = self.insert(at)
        if self.gzip and at - self.base > 65274:
            return -1
        return head if head > self.base and at - head <= 32506 else -1

    def search(self, at: int, candidate: int, best: int) -> tuple[int, int]:
        """Look for a match longer than `best`: its length and distance."""
        data, distance, limit = self.data, 0, max(at - 32506, self.base)
        ahead = self.end - at
        most, nice = (258, self.nice) if self.gzip else (min(258, ahead), min(self.nice, ahead))
        for _ in range(self.chain >> 2 if best >= self.good else self.chain):
            if best < most and data[candidate + best] == data[at + best] and data[candidate] == data[at]:
                n = same(data, candidate, at, most)
                if n > best:
                    best, distance = n, at - candidate
                    if n >= nice:
                        break
            candidate = self.before[candidate & 32767]
            if candidate <= limit:
                break
        return min(best, ahead), distance

    def emit(self, token: int, at: int) -> None:
        """Emit a token; `at` is the position that is being looked at."""
        self.tokens.append(token)
        self.covered += token >> 16 or 1
        if token > 255:
            self.matches += 1
            self.distance_bits += 5 + distance_symbols()[token & 0xFFFF][2]
        if len(self.tokens) == self.most_tokens or (self.gzip and self.early(at)):
            self.block(0)

    def early(self, at: int) -> bool:
        """Tell whether gzip ends a block before it is full."""
        count = len(self.tokens)
        if self.level < 3 or count % 4096 or self.matches >= count // 2:
            return False
        return (8 * count + self.distance_bits) >> 3 < (at - self.start) // 2

    def fast(self) -> None:
        """Levels 1 to 3."""
        at = self.at
        while at < self.end:
            head = self.look(at)
            best, distance = self.search(at, head, 2) if head >= 0 else (2, 0)
            if best >= 3 and distance:
                self.emit_fast(at, best, distance)
                at += best
            else:
                self.emit(self.data[at], at)
                at += 1
            self.settle(at)
        self.at = at

    def emit_fast(self, at: int, best: int, distance: int) -> None:
        """Emit a match, and insert its positions if it is short."""
        if best <= self.lazy and (self.gzip or self.end - at - best >= 3):
            for inside in range(at + 1, at + best):
                self.insert(inside)
        self.emit(match(best, distance), at)

    def slow(self) -> None:
        """Levels 4 to 9."""
        at, best, distance, waits = self.at, 2, 0, False
        while at < self.end:
            last, far = best, distance
            best, distance = 2, 0
            head = self.look(at)
            if head >= 0 and last < self.lazy:
                best, distance = self.search(at, head, last)
                if best == 3 and at - distance < at - 4096:
                    best = 2
            if last >= 3 and best <= last:
                for inside in range(at + 1, at - 1 + last):
                    if self.gzip or self.end - inside >= 3:
                        self.insert(inside)
                self.emit(match(last, far), at)
                at += last - 1
                best, waits = 2, False
            else:
                if waits:
                    self.emit(self.data[at - 1], at)
                waits = True
                at += 1
            self.settle(at)
        if waits:
            self.tokens.append(self.data[at - 1])
            self.covered += 1
        self.at = at

    def block(self, last: int) -> None:
        """End a block."""
        counts = Counts(self.tokens)
        code = BlockCode(treed_lengths(counts.literals, 15), treed_lengths(counts.distances, 15))
        head = header(code, treed=True)
        dynamic = (width(head) + counts.bits(code) + counts.extra + 10) >> 3
        fixed = (counts.bits(fixed_code()) + counts.extra + 10) >> 3
        if self.start >= self.base and self.covered - self.start + 4 <= min(dynamic, fixed):
            self.writer.stored(self.data[self.start : self.covered], last)
        elif fixed <= dynamic:
            self.writer.put(FIXED | last, 3)
            fixed_code().write(self.writer, self.tokens)
        else:
            self.writer.put_all([(DYNAMIC | last, 3), *head])
            code.write(self.writer, self.tokens)
        self.start, self.tokens, self.matches, self.distance_bits = self.covered, [], 0, 0

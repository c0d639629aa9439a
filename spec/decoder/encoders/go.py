"""Encoder 1: Go compress/flate up to 1.26."""

from __future__ import annotations

from decoder.core.basics import U32
from decoder.encoders.deflate import DYNAMIC, FIXED, Counts, Writer, fixed_code, header, match, own_code, same, width

GO_LEVELS = {  # lazy, nice, chain, inserted
    **{2: (0, 16, 8, 5), 3: (0, 32, 32, 6), 4: (4, 16, 16, 0), 5: (16, 32, 32, 0), 6: (16, 128, 128, 0)},
    **{7: (32, 128, 256, 0), 8: (128, 258, 1024, 0), 9: (258, 258, 4096, 0)},
}


class GoWindow:
    """Go's levels 2 to 9."""

    def __init__(self, data: bytes, level: int) -> None:
        self.data, self.writer = data, Writer()
        self.lazy, self.nice, self.chain, self.inserted = GO_LEVELS[level]
        self.base, self.end = 0, min(65536, len(data))
        self.heads: dict[int, int] = {}
        self.before = [-1] * 32768
        self.head = -1
        self.tokens: list[int] = []
        self.start = self.covered = 0  # of the block

    def run(self) -> Writer:
        """Encode all."""
        if self.lazy:
            self.slow()
        else:
            self.fast()
        if self.tokens:
            self.block()
        self.writer.stored(b"", 1)
        return self.writer

    def settle(self, at: int) -> None:
        """Move the window when it is full and little is ahead."""
        while self.end - at < 262 and self.end < len(self.data):
            self.base += 32768
            self.end = min(self.base + 65536, len(self.data))

    def insert(self, at: int) -> int:
        """Index a position and give what headed its chain."""
        key = (int.from_bytes(self.data[at : at + 4], "big") * 0x1E35A7BD & U32) >> 15
        head = self.heads.get(key, -1)
        self.before[at & 32767] = head
        self.heads[key] = at
        return head

    def search(self, at: int) -> tuple[int, int]:
        """Look for a match: its length and distance, or 3."""
        data, before, best, distance = self.data, self.before, 3, 0
        most = min(self.end - at, 258)
        nice, candidate = min(self.nice, most), self.head
        for _ in range(self.chain):
            if data[candidate + best] == data[at + best]:
                n = same(data, candidate, at, most)
                if n > best and (n > 4 or at - candidate <= 4096):
                    best, distance = n, at - candidate
                    if n >= nice:
                        break
            if candidate == at - 32768:
                break
            candidate = before[candidate & 32767]
            if candidate < at - 32768 or candidate < self.base:
                break
        return best, distance

    def look(self, at: int) -> bool:
        """Insert a position; tells whether a search is made."""
        if at < self.end - 3:
            self.head = self.insert(at)
        return self.head >= max(self.base, at - 32768) and self.end - at > 3

    def emit(self, token: int) -> None:
        """Emit a token."""
        self.tokens.append(token)
        self.covered += token >> 16 or 1
        if len(self.tokens) == 16384:
            self.block()

    def fast(self) -> None:
        """Levels 2 and 3."""
        at = 0
        self.settle(at)
        while at < self.end:
            best, distance = self.search(at) if self.look(at) else (3, 0)
            if best >= 4:
                if best <= self.inserted:
                    for inside in range(at + 1, min(at + best, self.end - 3)):
                        self.insert(inside)
                at += best
                self.emit(match(best, distance))
            else:
                at += 1
                self.emit(self.data[at - 1])
            self.settle(at)

    def slow(self) -> None:
        """Levels 4 to 9."""
        at, best, distance, waits = 0, 3, 0, False
        self.settle(at)
        while at < self.end:
            last, far = best, distance
            search = self.look(at) and last < self.lazy and last < self.end - at
            best, distance = self.search(at) if search else (3, 0)
            if last >= 4 and best <= last:
                for inside in range(at + 1, min(at - 1 + last, self.end - 3)):
                    self.insert(inside)
                at += last - 1
                best, waits = 3, False
                self.emit(match(last, far))
            else:
                if waits:
                    self.emit(self.data[at - 1])
                waits = True
                at += 1
            self.settle(at)
        if waits:
            self.emit(self.data[at - 1])

    def block(self) -> None:
        """End a block."""
        data = self.data[self.start : self.covered]
        storable = self.start >= self.base and len(data) <= 65535
        counts = Counts(self.tokens)
        code = own_code(counts)
        head = header(code)
        extra = counts.extra if storable else 0
        fixed = 3 + counts.bits(fixed_code()) + extra
        dynamic = 3 + width(head) + counts.bits(code) + extra
        if storable and 8 * (len(data) + 5) < min(fixed, dynamic):
            self.writer.stored(data)
        elif dynamic < fixed:
            self.writer.put_all([(DYNAMIC, 3), *head])
            code.write(self.writer, self.tokens)
        else:
            self.writer.put(FIXED, 3)
            fixed_code().write(self.writer, self.tokens)
        self.start, self.tokens = self.covered, []


class GoFast:
    """Go's level 1."""

    def __init__(self, data: bytes) -> None:
        self.data, self.writer = data, Writer()
        self.table: dict[int, int] = {}

    def run(self) -> Writer:
        """Encode all."""
        for start in range(0, len(self.data), 65535):
            end = min(start + 65535, len(self.data))
            if end - start <= 16:
                self.writer.stored(self.data[start:end])
            else:
                # below 128 bytes there is no token, so that it is a literal block
                self.block(start, end, self.tokens(start, end) if end - start >= 128 else None)
        self.writer.stored(b"", 1)
        return self.writer

    def exchange(self, at: int, put: int | None = None) -> int:
        """Read the entry of a position's hash and replace it; gives a position that matches, or -1."""
        word = self.data[at : at + 4]
        key = (int.from_bytes(word, "little") * 0x1E35A7BD & U32) >> 18
        found = self.table.get(key, -1)
        self.table[key] = at
        return found if found >= 0 and at - found <= 32768 and self.data[found : found + 4] == word else -1

    def tokens(self, start: int, end: int) -> list[int]:
        """Make the tokens of a chunk."""
        tokens: list[int] = []
        at = emitted = start
        limit = end - 15
        while (found := self.scan(at, limit)) is not None:
            at, candidate = found
            tokens += self.data[emitted:at]
            while True:
                length = 4 + same(self.data, candidate + 4, at + 4, min(254, end - at - 4))
                tokens.append(match(length, at - candidate))
                at = emitted = at + length
                if at >= limit:
                    return tokens + list(self.data[emitted:end])
                self.exchange(at - 1)
                candidate = self.exchange(at)
                if candidate < 0:
                    at += 1
                    break
        return tokens + list(self.data[emitted:end])

    def scan(self, at: int, limit: int) -> tuple[int, int] | None:
        """Look for the next match, in steps that grow."""
        skip = 32
        while True:
            step = skip >> 5
            skip += step
            if at + step > limit:
                return None
            candidate = self.exchange(at)
            if candidate >= 0:
                return at, candidate
            at += step

    def block(self, start: int, end: int, tokens: list[int] | None) -> None:
        """Write a chunk."""
        size = end - start
        literal = tokens is None or len(tokens) > size - (size >> 4)
        counts = Counts(self.data[start:end] if tokens is None or literal else tokens)
        code = own_code(counts)
        head = header(code)
        bits = 3 + width(head) + counts.bits(code)
        if 8 * (size + 5) < bits + (bits >> 4):
            self.writer.stored(self.data[start:end])
            return
        self.writer.put_all([(DYNAMIC, 3), *head])
        code.write(self.writer, self.data[start:end] if tokens is None or literal else tokens)

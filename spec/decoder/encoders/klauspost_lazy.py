"""Encoders 4, 5 and 8: levels 7 to 9."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from decoder.core.basics import U32, MiB
from decoder.encoders.deflate import distance_symbols, length_symbols, match, merged_lengths, same
from decoder.encoders.klauspost_blocks import Blocks

if TYPE_CHECKING:
    from decoder.encoders.deflate import Writer


class Lazy(Blocks):
    """Levels 7 to 9: positions count from the start of the dictionary."""

    def __init__(self, writer: Writer, encoder: int, level: int) -> None:
        super().__init__(writer, encoder, level)
        self.data = b""
        self.base = self.end = 0  # of the window
        self.lazy, self.nice, self.chain = {7: (12, 16, 24), 8: (30, 40, 64), 9: (258, 258, 1024)}[level]
        self.heads: dict[int, int] = {}
        self.before = [-MiB] * 32768
        self.at = self.begun = self.indexed = self.idle = self.length = self.distance = 0
        self.head = -MiB
        self.waits = self.sync = False
        self.costs: list[int] = []
        self.costs_from = 0

    def run(self, words: int) -> None:
        """Encode everything behind the dictionary, whose length is given."""
        for place in range(words - 3):
            self.insert(place)
        self.at = self.end = words
        self.begun = words if self.encoder == 5 else 0
        while self.end < len(self.data):
            if self.end - self.base == 65536:
                self.step()
            if self.at - self.base >= 65536 - 262:
                self.base += 32768
            self.end = min(self.base + 65536, len(self.data))
        self.sync = True
        self.step()

    def insert(self, place: int) -> int:
        """Insert a position; return what headed its chain."""
        key = (int.from_bytes(self.data[place : place + 4], "little") * 2654435761 & U32) >> 15
        head = self.heads.get(key, -MiB)
        self.before[place & 32767] = head
        self.heads[key] = place
        return head

    def look_up(self) -> None:
        """Insert the position, and begin a search at what headed its chain."""
        if self.at < self.indexed:
            self.head = self.insert(self.at)

    def weigh(self) -> None:
        """Level 9: find what bytes cost as literals."""
        ahead = self.data[self.at : self.end]
        counted = Counter(ahead[:32768] if self.encoder == 5 else ahead)
        lengths = merged_lengths([counted[byte] & 65535 for byte in range(256)], 15)
        self.costs, self.costs_from = [0], self.at
        for byte in ahead:
            self.costs.append(self.costs[-1] + lengths[byte])

    def step(self) -> None:
        """Go through what is in the window, as far as more than 261 bytes are ahead or nothing follows."""
        if self.end - self.at < 262 and not self.sync:
            return
        if self.level == 9 and self.end > self.at:
            self.weigh()
        self.indexed = self.end - 3
        while ahead := self.end - self.at:
            if ahead < 262 and not self.sync:
                return
            self.look_up()
            length, distance, lowest = self.length, self.distance, max(self.at - 32768, self.base)
            self.length = self.distance = 0
            if self.head >= lowest and ahead > max(length, 3) and length < self.lazy:
                self.search(self.head, ahead, lowest)
            if length >= 4 and self.length <= length:
                self.take(length, distance, ahead, lowest)
            else:
                self.literal()
        if self.waits:
            self.tokens.append(self.data[self.at - 1])
        self.waits = False
        if self.tokens:
            self.block()

    def search(self, candidate: int, ahead: int, lowest: int) -> None:
        """Find the longest match, at level 9 one that gains."""
        best, gained = 3, 0 if self.encoder == 4 else 4
        for _ in range(self.chain):
            if self.data[candidate + best] == self.data[self.at + best]:
                n = same(self.data, candidate, self.at, min(258, ahead))
                gain = self.gain(n, self.at - candidate) if n > best and self.level == 9 else gained + 1
                if n > best and gain > gained:
                    best, gained = n, gain
                    self.length, self.distance = n, self.at - candidate
                    if n >= min(self.nice, ahead):
                        return
            if candidate <= lowest:
                return
            candidate = self.before[candidate & 32767]
            if candidate < lowest:
                return

    def gain(self, length: int, distance: int) -> int:
        """Compare literals with a match."""
        start = self.at - self.costs_from
        saved = self.costs[start + length] - self.costs[start] - (6 if self.encoder == 4 else 3)
        far = distance_symbols()[distance + 1][2] if distance < 32768 else 6
        return saved - far - length_symbols()[length][2]

    def take(self, length: int, distance: int, ahead: int, lowest: int) -> None:
        """Emit the match of the position before, or a better one that its end leads to."""
        start = self.at - 1
        if self.encoder == 4:
            if start + length + 2 < self.indexed:
                other = self.headed(start + length - 2) - length + 2
                longer = same(self.data, start, other, min(ahead, 258)) if other > lowest else 0
                if longer > length:
                    length, distance = longer, start - other
        elif length < 256 and start + length < self.indexed:
            other = self.headed(start + length) - length
            if start - other != distance and other > lowest + 2:
                longer = same(self.data, start + 2, other + 2, min(ahead, 260) - 2)
                if longer > length:
                    length, distance = self.later(start, other, longer), start - other
        self.tokens.append(match(length, distance))
        follow = self.at + length - 1
        for place in range(self.at + 1, min(follow, self.indexed)):
            self.insert(place)
        self.at, self.waits, self.length, self.idle = follow, False, 0, 0
        if len(self.tokens) == 32768:
            self.block()

    def headed(self, place: int) -> int:
        """Return what heads the chain of a position that is not inserted."""
        return self.heads.get((int.from_bytes(self.data[place : place + 4], "little") * 2654435761 & U32) >> 15, -MiB)

    def later(self, start: int, other: int, length: int) -> int:
        """Lengthen a match that begins at the third byte backwards; the bytes before it are literals."""
        for i in (1, 0):
            if length >= 258 or self.data[start + i] != self.data[other + i]:
                for j in range(i + 1):
                    self.emit_literal(start + j)
                    self.at += 1
                    self.look_up()
                break
            length += 1
        return length

    def emit_literal(self, place: int) -> None:
        """Emit a literal; a block ends with it."""
        self.tokens.append(self.data[place])
        if len(self.tokens) == 32768:
            self.block()

    def literal(self) -> None:
        """Emit the literal that waits; after many, more of them."""
        if self.length:
            self.idle = 0
        if not self.waits:
            self.at += 1
            self.waits = True
            return
        self.idle = (self.idle + 1) % 65536
        self.emit_literal(self.at - 1)
        self.at += 1
        if self.idle <= self.chain:
            return
        for _ in range(1 + (self.idle - self.chain >> 6)):
            if self.at >= self.end - 1:
                break
            self.emit_literal(self.at - 1)
            self.look_up()
            self.at += 1
        self.waits = False
        self.emit_literal(self.at - 1)

    def block(self) -> None:
        """End a block."""
        storable = self.begun >= self.base and self.at - self.begun <= 65535
        self.token_block(self.data[self.begun : self.at] if storable else None, self.sync)
        self.begun, self.tokens = self.at, []

"""Encoders 2 to 5 and 8: levels 1 to 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.core.basics import U32, U64, MiB
from decoder.encoders.deflate import (
    match,
    same,
)
from decoder.encoders.klauspost_blocks import Blocks

if TYPE_CHECKING:
    from decoder.encoders.deflate import Writer

NOWHERE = (-MiB, -MiB)


class Klauspost(Blocks):
    """The matchers of levels 1 to 6."""

    def __init__(self, writer: Writer, encoder: int, level: int) -> None:
        super().__init__(writer, encoder, level)
        self.align = 0 if encoder == 3 else 2
        self.data = b""
        self.base = self.end = 0  # of the history
        self.near: dict[int, int] = {}
        self.far: dict[int, tuple[int, int]] = {}
        self.emitted = self.repeat = 0

    def chunk(self, start: int, end: int, sync: bool) -> None:
        """Encode a chunk."""
        size = end - start
        data = self.data[start:end]
        if size < 128:
            if 0 < size <= 32:
                self.stored(data)
            elif size:
                self.literal_block(data, sync)
            return
        self.find(start, end)
        if not self.tokens:
            self.stored(data)
        elif len(self.tokens) > size - (size >> 4):
            self.literal_block(data, sync)
        else:
            self.token_block(data, sync)

    def find(self, start: int, end: int) -> None:
        """Put a chunk into the history and find its matches."""
        if end - self.base > 327675:
            self.base = start - 32768
        self.end, self.limit = end, end - 11
        self.emitted, self.repeat, self.tokens = start, 1, []
        finders = {1: self.level_one, 2: self.level_two, 3: self.level_three, 4: self.level_four}
        finders.get(self.level, self.level_five)(start)
        if self.tokens:
            self.tokens += self.data[self.emitted : end]

    # the hashes and tables

    def near_hash(self, at: int) -> int:
        """Hash 4 bytes."""
        return (int.from_bytes(self.data[at : at + 4], "little") * 2654435761 & U32) >> 17

    def long_hash(self, at: int) -> int:
        """Hash 7 bytes, 5 at levels 1 to 3."""
        if self.level <= 3:
            kept = {1: 15, 2: 17, 3: 16}[self.level]
            return ((int.from_bytes(self.data[at : at + 5], "little") << 24) * 889523592379 & U64) >> 64 - kept
        return ((int.from_bytes(self.data[at : at + 7], "little") << 8) * 58295818150454627 & U64) >> 49

    def put_near(self, at: int) -> None:
        """Insert a position in near."""
        self.near[self.near_hash(at)] = at

    def put_far(self, at: int) -> None:
        """Insert a position in far."""
        key = self.long_hash(at)
        self.far[key] = at, self.far.get(key, NOWHERE)[0]

    def put(self, at: int) -> None:
        """Insert a position in both."""
        self.put_near(at)
        self.put_far(at)

    def reaches(self, at: int, candidate: int) -> bool:
        """Tell whether a position reaches another."""
        return at - candidate < 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]

    def capped(self, at: int, candidate: int) -> int:
        """Give a capped length."""
        return 4 + same(self.data, at + 4, candidate + 4, min(254, self.end - at - 4))

    def full(self, at: int, candidate: int) -> int:
        """Give a full length."""
        return same(self.data, at, candidate, self.end - at)

    # level 5 and 6

    def level_five(self, at: int) -> None:
        """Find matches at levels 5 and 6."""
        while True:
            found = self.scan(at)
            if found is None:
                return
            at, candidate, follow = found
            at, candidate, length = self.better(at, candidate)
            end = at + length
            self.emit(at, candidate, length)
            at = follow + 1 if follow >= end else end
            if self.level == 6:
                if self.index_six(follow, at):
                    return
            elif at >= self.limit:
                return
            else:
                self.index_five(at, self.last_length)

    def scan(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match: its position, candidate, and `next` (steps 1 to 3)."""
        skip = 7 if self.level == 6 else 6
        while True:
            follow = at + 1 + ((at - self.emitted) >> skip)
            if follow > self.limit:
                return None
            near, (latest, before) = self.near.get(self.near_hash(at), -MiB), self.far.get(self.long_hash(at), NOWHERE)
            self.put(at)
            if at - latest < 32768:
                if self.reaches(at, latest):
                    self.put(follow)
                    if self.reaches(at, before) and self.capped(at, before) > self.capped(at, latest):
                        return at, before, follow
                    return at, latest, follow
                if self.reaches(at, before):
                    self.put(follow)
                    return at, before, follow
            if self.reaches(at, near):
                return (*self.near_match(at, near, follow), follow)
            at = follow

    def near_match(self, at: int, near: int, follow: int) -> tuple[int, int]:
        """Return the match of near, which reaches, or a longer one at the next position."""
        length = self.capped(at, near)
        latest, before = self.far.get(self.long_hash(follow), NOWHERE)
        self.put(follow)
        best = at, near
        if self.level == 6:
            other = at + 1 - self.repeat
            if other >= self.base and self.data[at + 1 : at + 5] == self.data[other : other + 4]:
                longer = self.capped(at + 1, other)
                if longer > length:
                    return at + 1, other
        if follow - latest >= 32768:
            return best
        if self.reaches(follow, latest) and (longer := self.capped(follow, latest)) > length:
            best, length = (follow, latest), longer
            if self.level == 5:
                return best
        if self.reaches(follow, before) and self.capped(follow, before) > length:
            best = follow, before
        return best

    def better(self, at: int, candidate: int) -> tuple[int, int, int]:
        """Return the match with its full length, or a longer one that its end leads to."""
        length = self.full(at, candidate)
        if at + length >= self.limit or (self.level == 5 and length >= 30):
            return at, candidate, length
        start, entries = at, self.far.get(self.long_hash(at + length), NOWHERE)
        for entry in entries[: 2 if self.level == 6 else 1]:  # the same entries, though length grows
            place, other = start + self.align, entry - length + self.align
            if place - other >= 32768:
                break
            if other >= self.base and place - other >= 1 and (longer := self.full(place, other)) > length:
                at, candidate, length = place, other, longer
        return at, candidate, length

    def emit(self, at: int, candidate: int, length: int) -> None:
        """Grow a match backwards, then emit literals and the match."""
        data = self.data
        while candidate > self.base and at > self.emitted and data[candidate - 1] == data[at - 1]:
            at, candidate, length = at - 1, candidate - 1, length + 1
        self.tokens += data[self.emitted : at]
        self.emitted, self.repeat, self.last_length = at + length, at - candidate, length
        while length:
            part = length if length <= 258 else 255 if length <= 261 else 258
            self.tokens.append(match(part, at - candidate))
            length -= part

    def index_five(self, at: int, length: int) -> None:
        """Insert positions within a match."""
        i = at - length + 1
        if i < at - 1:
            self.put(i)
            self.put_far(i + 1)
            self.put_near(i + 2)
            for place in range(i + 4, at - 1, 3):
                self.put_far(place)
                self.put_near(place + 1)
        self.put(at - 1)

    def index_six(self, follow: int, at: int) -> bool:
        """Insert positions within a match at level 6; return whether the chunk is at its end."""
        if at >= self.limit:
            for i in range(follow + 1, self.end - 8, 2):
                self.put(i)
            return True
        for i in range(follow + 1, at - 1, 2):
            self.put(i)
            self.put_far(i + 1)
        return False

    # level 1

    def enter(self, at: int) -> int:
        """Read the entry of a position and replace it."""
        key = self.long_hash(at)
        found = self.near.get(key, -MiB)
        self.near[key] = at
        return found

    def level_one(self, at: int) -> None:
        """Find matches at level 1."""
        found = self.scan_one(at)
        while found is not None:
            at, candidate, follow = found
            length = self.full(at, candidate)
            self.emit(at, candidate, length)
            at = self.emitted
            if follow >= at:
                at = follow + 1
            if at >= self.limit:
                return
            self.enter(at - 2)
            candidate = self.enter(at)
            if at - candidate <= 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]:
                found = at, candidate, follow
            else:
                found = self.scan_one(at + 1)

    def scan_one(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 1."""
        while True:
            follow = at + 2 + ((at - self.emitted) >> 5)
            if follow > self.limit:
                return None
            for here, after in ((at, follow), (follow, follow + 1)):
                candidate = self.enter(here)
                if self.reaches(here, candidate):
                    self.near[self.long_hash(after if here == at else here)] = after
                    return here, candidate, after
            at = follow + 1

    # levels 2 to 4

    def level_two(self, at: int) -> None:
        """Find matches at level 2."""
        found = self.scan_two(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                return
            for place in range(at - self.last_length + 2, at - 5, 7):
                self.enter(place)
                self.enter(place + 2)
                four = int.from_bytes(self.data[place + 4 : place + 8], "little")  # and a zero
                self.near[((four << 24) * 889523592379 & U64) >> 47] = place + 4
            self.enter(at - 2)
            self.enter(at - 1)
            candidate = self.enter(at)
            if at - candidate <= 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]:
                found = at, candidate, follow
            else:
                found = self.scan_two(at + 1)

    def scan_two(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 2."""
        while True:
            follow = at + 2 + ((at - self.emitted) >> 5)
            if follow > self.limit:
                return None
            candidate = self.enter(at)
            if self.reaches(at, candidate):
                self.enter(follow)
                return at, candidate, follow
            candidate = self.enter(follow)
            if self.reaches(follow, candidate):
                return follow, candidate, follow + 1
            at = follow + 1

    def level_three(self, at: int) -> None:
        """Find matches at level 3."""
        found = self.scan_three(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                place = self.emitted - self.repeat
                if place + 8 < self.end:
                    self.put_far(place)
                return
            for place in (*range(at - self.last_length + 2, at - 5, 6), at - 2, at - 1):
                self.put_far(place)
            latest, before = self.far.get(self.long_hash(at), NOWHERE)
            self.put_far(at)
            if latest > at - 32764 and self.same_four(at, latest):
                found = at, latest, follow
            elif latest > at - 32764 and before > at - 32764 and self.same_four(at, before):
                found = at, before, follow
            else:
                found = self.scan_three(at + 1)

    def scan_three(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 3."""
        while True:
            follow, least = at + 1 + ((at - self.emitted) >> 7), at - 32764
            if follow > self.limit:
                return None
            latest, before = self.far.get(self.long_hash(at), NOWHERE)
            self.put_far(at)
            if latest >= least and self.same_four(at, latest):
                both = before >= least and self.same_four(at, before)
                longer = both and self.full(at, before) > self.full(at, latest)
                return at, before if longer else latest, follow
            if latest >= least and before > least and self.same_four(at, before):
                return at, before, follow
            at = follow

    def same_four(self, at: int, candidate: int) -> bool:
        """Tell whether 4 bytes are the same."""
        return self.data[at : at + 4] == self.data[candidate : candidate + 4]

    def level_four(self, at: int) -> None:
        """Find matches at level 4."""
        found = self.scan_four(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                if at + 8 < self.end:
                    self.put(at)
                return
            for place in range(follow, at - 1, 3):
                self.put_far(place)
                self.put(place + 1)
            self.put(at - 1)
            found = self.scan_four(at)

    def scan_four(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 4."""
        while True:
            follow = at + 1 + ((at - self.emitted) >> 6)
            if follow > self.limit:
                return None
            near, (far, _) = self.near.get(self.near_hash(at), -MiB), self.far.get(self.long_hash(at), NOWHERE)
            self.put(at)
            if self.reaches(at, far):
                return at, far, follow
            if self.reaches(at, near):
                other, _ = self.far.get(self.long_hash(follow), NOWHERE)
                if self.reaches(follow, other):
                    # `other` is not before `base`, so that this place is not behind `follow`
                    place = other if self.encoder == 4 else self.base + follow - other
                    if self.full(follow + 4, place + 4) > self.full(at + 4, near + 4):
                        return follow, other, follow
                return at, near, follow
            at = follow

"""Output (dib.md, 6)."""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING

from decoder.core.basics import need

if TYPE_CHECKING:
    from decoder.core.manifest import Target


class Output:
    """Passes a target on and checks its digests; never ends at a multiple of 512 before the end."""

    def __init__(self, target: Target, file: IO[bytes], fault: int) -> None:
        self.target, self.file, self.fault = target, file, fault
        self.whole, self.rest, self.own = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.segments = iter(target.segments)
        self.left, self.expected = 0, b""
        self.next_segment()
        self.held = bytearray()
        self.at = 0  # of the first byte that is held

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.whole.update(piece)
        self.held += piece
        while piece:
            part, piece = piece[: self.left], piece[self.left :]
            (self.own if self.expected else self.rest).update(part)
            self.left -= len(part)
            if not self.left:
                self.next_segment()
        self.release(min(self.target.tail, self.at + len(self.held)))

    def next_segment(self) -> None:
        """Check a segment that is whole, and go to the next one that is not empty."""
        while not self.left:
            if self.expected:
                self.same(self.own.digest(), self.expected)
                self.own = hashlib.sha256()
            self.left, self.expected = next(self.segments, (1 << 64, b""))

    def release(self, end: int) -> None:
        """Pass on what lies before an offset, but never up to a multiple of 512."""
        end -= end % 512 == 0
        if end > self.at:
            self.file.write(self.held[: end - self.at])
            del self.held[: end - self.at]
            self.at = end

    def same(self, digest: bytes, expected: bytes) -> None:
        """Refuse a wrong digest."""
        need(digest == expected, "a digest of the output is wrong", self.fault)

    def finish(self) -> None:
        """Check everything, then pass on the rest."""
        self.same(self.rest.digest(), self.target.rest)
        need(self.whole.digest() == self.target.digest, "the target's digest is not that of its segments", 7)
        self.file.write(self.held)
        self.file.flush()

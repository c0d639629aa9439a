"""The encoders that are tried on a zstd frame. The frame's header and first blocks exclude some encoders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

import zstandard

from dibundle.codecs import reencoders
from dibundle.codecs.frames import libzstd
from dibundle.codecs.frames.encoders import (
    BEST,
    BETTER,
    BLOCKS,
    DEFAULT,
    FASTEST,
    KLAUSPOST_15,
    KLAUSPOST_17,
    KLAUSPOST_20,
    MOST_FIRST,
    FrameEncoder,
)
from dibundle.codecs.frames.layout import FrameHead
from dibundle.codecs.frames.libzstd import LibraryEncoder

FrameWriter = FrameEncoder | LibraryEncoder

_WINDOWS: Final = {FASTEST: 4 << 20, DEFAULT: 8 << 20, BETTER: 8 << 20, BEST: 8 << 20}
_WINDOWS_15: Final = {**_WINDOWS, BETTER: 16 << 20, BEST: 32 << 20}
_JOBS_LEAST: Final = 512 << 10  # if libzstd knows the content's size, it starts jobs only for more bytes than this
_SLOW_LEVEL: Final = 13  # from this level on, libzstd takes 30 ms or more per block


class FrameCandidate(NamedTuple):
    """An encoder to try. ``jobs`` is true for libzstd with worker threads."""

    encoder: int
    level: int
    jobs: bool = False

    @property
    def is_library(self) -> bool:
        """Whether the candidate is libzstd."""
        return self.encoder in libzstd.FAMILIES

    @property
    def byte_cost(self) -> int:
        """The cost of a byte of content."""
        return reencoders.byte_cost(self.encoder, self.level)

    @property
    def library_level(self) -> int:
        """The level as libzstd numbers it."""
        return libzstd.library_level(self.encoder, self.level)

    def highest_fast(self) -> FrameCandidate:
        """Return the candidate for the highest fast level, with the same version of libzstd as this candidate."""
        return FrameCandidate(libzstd.first_number(self.encoder), _SLOW_LEVEL - 1)

    def may_be(self, head: FrameHead, first: int) -> bool:
        """Return whether the encoder can write this header and a first block of ``first`` bytes.

        If the frame has only one block, ``first`` is 0.
        """
        if not self.is_library:
            return self._klauspost_may_be(head, first)
        if self.jobs and head.content is not None and head.content <= _JOBS_LEAST:
            return False  # the output is the same as without jobs
        size = head.content or 0
        window: int = (
            1 << zstandard.ZstdCompressionParameters.from_level(self.library_level, source_size=size).window_log
        )
        return window >= size if head.is_single else head.window == window

    def parameter(self, head: FrameHead, first: int) -> int:
        """Return the parameter for a recipe."""
        if not self.is_library:
            return first % BLOCKS[self.level]  # the size of the first block, or 0 if this block is full
        return (
            libzstd.CHECKSUM * head.has_checksum + libzstd.SIZED * (head.content is not None) + libzstd.JOBS * self.jobs
        )

    def open(self, head: FrameHead, first: int, spare: FrameWriter | None = None) -> FrameWriter:
        """Return an encoder for a frame. If possible, reuse the finished encoder ``spare``."""
        found = reencoders.open_encoder(self.encoder, self.level, self.parameter(head, first), head.content, spare)
        assert isinstance(found, FrameEncoder | LibraryEncoder)
        return found

    def _klauspost_may_be(self, head: FrameHead, first: int) -> bool:
        """Check the rules of spec/zstd.md, "Frames"."""
        if not head.has_checksum or not (first <= MOST_FIRST or first == BLOCKS[self.level]):
            return False
        if head.is_single:
            return head.content is not None and 1024 < head.content < BLOCKS[self.level]
        windows = _WINDOWS_15 if self.encoder == KLAUSPOST_15 else _WINDOWS
        return head.window in (windows[self.level], 2048 if head.content == 1024 else 1024)


def _of_the_library() -> Iterator[FrameCandidate]:
    """Yield the candidates of the installed libzstd version. The likeliest candidate comes first."""
    first = libzstd.here()
    if first is None:
        return
    known = {
        libzstd.library_level(number, level): (number, level)
        for number in (first, first + 1)
        for level in libzstd.FAMILIES[number].levels
    }
    for level in (3, *(level for level in known if level != 3)):
        for jobs in (True, False):
            yield FrameCandidate(*known[level], jobs)


CANDIDATES: Final = (
    *(
        FrameCandidate(encoder, level)
        for level in (DEFAULT, FASTEST, BETTER, BEST)
        for encoder in (KLAUSPOST_17, KLAUSPOST_20, KLAUSPOST_15)
    ),
    *_of_the_library(),
)
"""All candidates.

The likeliest candidate comes first. If several candidates give the frame, the first of these is used.
"""

_BY_SPEED: Final = {FASTEST: 0, DEFAULT: 0, BETTER: 1, BEST: 2}
LIBRARY: Final = 3
SLOW_LIBRARY: Final = 4


def by_speed(candidates: Iterable[FrameCandidate]) -> list[tuple[int, list[FrameCandidate]]]:
    """Return groups of candidates. The fastest group comes first, and libzstd's candidates are in separate groups."""

    def group(one: FrameCandidate) -> int:
        if one.is_library:
            return SLOW_LIBRARY if one.library_level >= _SLOW_LEVEL else LIBRARY
        return _BY_SPEED[one.level]

    return [(number, list(those)) for number, those in groupby(sorted(candidates, key=group), key=group)]

"""Which encoder made a zstd frame: candidates run beside it until one of them gives it, but for a few blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import zstandard

from dibundle.codecs import messages
from dibundle.codecs.deflate.recipe import Recipe, RecipeEdit
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
from dibundle.codecs.frames.layout import Bytes, FrameHead, Layout
from dibundle.errors import ArchiveError

_SLICE: Final = 32 << 10  # of the frame at a time: more may come of each than is given to encoders at a time
_PIECE: Final = 1 << 20  # of content that is given to encoders at a time
_FREE: Final = 64 << 10  # literal bytes that a candidate may need in any case,
_SHARE: Final = 10  # and one for so many of the frame,
_MOST: Final = 8 << 20  # but never more than these: they are held in memory
_WINDOW: Final = 128 << 20  # the largest that a frame may ask for
_UNDECIDED: Final = 2048  # frames that may leave several candidates: from then on the likeliest is asked alone
_PROBED: Final = 8  # blocks, of which one that is coded and has at least
_TELLING: Final = 4 << 10  # bytes tells encoders apart
_CODED: Final = 2
_HOPELESS: Final = 4  # blocks in which a candidate may differ while it has given none


class FrameCandidate(NamedTuple):
    """An encoder to try."""

    encoder: int
    level: int


CANDIDATES: Final = tuple(
    FrameCandidate(encoder, level)
    for level in (DEFAULT, FASTEST, BETTER, BEST)
    for encoder in (KLAUSPOST_17, KLAUSPOST_20, KLAUSPOST_15)
)
"""All that are tried, the likeliest first: of several without a difference the first is taken."""

_BY_SPEED: Final = ((FASTEST, DEFAULT), (BETTER,), (BEST,))
_WINDOWS: Final = {FASTEST: 4 << 20, DEFAULT: 8 << 20, BETTER: 8 << 20, BEST: 8 << 20}
_WINDOWS_15: Final = {**_WINDOWS, BETTER: 16 << 20, BEST: 32 << 20}


def may_be(candidate: FrameCandidate, head: FrameHead) -> bool:
    """Whether an encoder writes such a head (spec/zstd.md, "Frames")."""
    if not head.has_checksum:
        return False
    if head.is_single:
        return head.content is not None and 1024 < head.content < BLOCKS[candidate.level]
    windows = _WINDOWS_15 if candidate.encoder == KLAUSPOST_15 else _WINDOWS
    return head.window in (windows[candidate.level], 2048 if head.content == 1024 else 1024)


class FrameSearch:
    """The search over the frames of one layer, one after the other, with the same encoders."""

    def __init__(self, candidates: Iterable[FrameCandidate] = CANDIDATES) -> None:
        self._left = list(candidates)
        self._encoders: dict[FrameCandidate, FrameEncoder] = {}
        self._frames = 0

    @property
    def candidates(self) -> list[FrameCandidate]:
        """Those that are left: that gave all frames so far."""
        return self._left

    def find(self, stored: Bytes, layout: Layout, start: int, take: Callable[[bytes], object]) -> Recipe | None:
        """Decode the frame, give its content to ``take`` and return how it is made; ``None``: no way is known.

        The search ends as soon as no candidate is left. ``ArchiveError`` if the frame is damaged.
        """
        tried: set[FrameCandidate] = set()
        given = 0  # bytes of content that were taken
        done: list[_Run] = []
        while not any(run.literal_bytes == 0 for run in done):  # what begins like a frame may go on otherwise
            runs = self._runs(stored, layout, start, tried)
            if not runs:
                break
            tried |= {run.candidate for run in runs}
            made = 0
            for content in _content(stored, layout, start):
                if made + len(content) > given:
                    take(content[max(0, given - made) :])
                made += len(content)
                given = max(given, made)
                for run in runs:
                    run.encode(content, stored)
                runs = _judged(runs)
                if not runs:
                    break
            for run in runs:
                run.finish(stored)
            done += _judged(runs)
        if not done:
            return None
        best = min(done, key=lambda run: run.literal_bytes)
        self._frames += 1
        runs = [run for run in done if run.literal_bytes == best.literal_bytes]
        if self._frames > _UNDECIDED:
            runs = runs[:1]
        self._left = [run.candidate for run in runs]
        self._encoders = {run.candidate: run.encoder for run in runs}
        return best.recipe()

    def likely(self, stored: Bytes, layout: Layout, start: int, most: int) -> Recipe | None:
        """Return how a frame most likely is made: by what gives all of it so far, after so many bytes of content."""
        runs, made = self._runs(stored, layout, start), 0
        for content in _content(stored, layout, start) if runs else ():
            for run in runs:
                run.encode(content, stored)
            made += len(content)
            runs = _judged(runs)
            if not runs or made >= most:
                break
        else:
            for run in runs:
                run.finish(stored)
        return next((run.recipe() for run in runs if run.difference is None), None)

    def _runs(self, stored: Bytes, layout: Layout, start: int, tried: Collection[FrameCandidate] = ()) -> list[_Run]:
        first = _first_block(stored, layout, start)
        candidates = [
            one
            for one in self._left
            if one not in tried and may_be(one, layout.head) and (first <= MOST_FIRST or first == BLOCKS[one.level])
        ]
        probe = _probe(stored, layout, start)
        if probe and len(candidates) > 1:
            candidates = self._beginning(candidates, first, *probe)
        return [self._run(one, first, layout, start) for one in candidates]

    def _beginning(
        self, candidates: Sequence[FrameCandidate], first: int, content: bytes, real: bytes
    ) -> list[FrameCandidate]:
        """Return those that give the beginning of the frame; the slow ones are asked where no other does."""
        for levels in _BY_SPEED:
            good = []
            for candidate in (one for one in candidates if one.level in levels):
                encoder = self._encoder(candidate, first)
                made = encoder.write(content)
                encoder.finish()
                self._encoders[candidate] = encoder
                if made == real:
                    good.append(candidate)
            if good:
                return good
        return []

    def _run(self, candidate: FrameCandidate, first: int, layout: Layout, start: int) -> _Run:
        """Begin with the encoder of the frame before, which is finished, or a new one."""
        return _Run(candidate, first % BLOCKS[candidate.level], self._encoder(candidate, first), layout, start)

    def _encoder(self, candidate: FrameCandidate, first: int) -> FrameEncoder:
        """Return the encoder of the frame before, which is finished, or a new one."""
        first %= BLOCKS[candidate.level]  # one that is full is like all others
        encoder = self._encoders.pop(candidate, None)
        if encoder is None:
            return FrameEncoder(*candidate, first)
        encoder.restart(first)
        return encoder


def _judged(runs: list[_Run]) -> list[_Run]:
    """Return the runs that are not hopeless, without those that differ where another run has passed."""
    passed = max((run.blocks for run in runs if run.difference is None), default=-1)
    return [run for run in runs if run.difference is None or (run.difference >= passed and not run.is_hopeless())]


def _probe(stored: Bytes, layout: Layout, start: int) -> tuple[bytes, bytes] | None:
    """Return the content of the first blocks, up to one that says who wrote it, and these blocks with the head.

    Encoders that differ in their matches hardly ever have the same block of some kilobytes. ``None``: there is none.
    """
    for begin, end in list(pairwise(layout.blocks))[:_PROBED]:
        if stored.read_at(begin, 1)[0] >> 1 & 3 == _CODED and end - begin >= _TELLING:
            real = stored.read_at(start, end - start)
            engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            try:
                return engine.decompress(real), real
            except zstandard.ZstdError as error:
                raise ArchiveError(messages.FRAMES_DAMAGED) from error
    return None


def _first_block(stored: Bytes, layout: Layout, start: int) -> int:
    """Return the size of the content of the first of several blocks, which may have been flushed; 0 of a single one."""
    if len(layout.blocks) == 1:
        return 0
    engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    try:
        return len(engine.decompress(stored.read_at(start, layout.blocks[1] - start)))
    except zstandard.ZstdError as error:
        raise ArchiveError(messages.FRAMES_DAMAGED) from error


def _content(stored: Bytes, layout: Layout, start: int) -> Iterator[bytes]:
    """Yield the content of a frame; ``ArchiveError`` if it is damaged."""
    engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    try:
        for at in range(start, layout.end, _SLICE):
            out = engine.decompress(stored.read_at(at, min(_SLICE, layout.end - at)))
            for place in range(0, len(out), _PIECE):
                yield out[place : place + _PIECE]
    except zstandard.ZstdError as error:
        raise ArchiveError(messages.FRAMES_DAMAGED) from error
    if not engine.eof:
        raise ArchiveError(messages.FRAMES_DAMAGED)


class _Run:
    """A candidate at work: pieces of the frame, its head, its blocks and its end, are compared one by one."""

    def __init__(
        self, candidate: FrameCandidate, first: int, encoder: FrameEncoder, layout: Layout, start: int
    ) -> None:
        self.candidate = candidate
        self._first = first
        self.blocks = 0  # pieces compared so far,
        self.difference: int | None = None  # the first that differed
        self.literal_bytes = 0
        self.encoder = encoder
        self._real = list(pairwise([start, *layout.blocks, layout.end]))  # where each piece of the frame is
        self._size = layout.end - start
        self._data = bytearray()
        self._start = 0  # byte of the encoder's output at which _data starts
        self._marks: list[int] = []
        self._edits: list[RecipeEdit] = []
        self._copied = 0  # bytes since the last edit

    def encode(self, content: bytes, stored: Bytes) -> None:
        """Take content, and compare what comes of it."""
        self._data += self.encoder.write(content)
        self._compare(stored, ended=False)

    def finish(self, stored: Bytes) -> None:
        """Go to the end of both sides."""
        self._data += self.encoder.finish()
        self._compare(stored, ended=True)

    def is_hopeless(self) -> bool:
        """Whether the frame differs from its beginning, or in too much of what there is so far."""
        if self.difference is not None and self.difference <= 1 and self.blocks >= _HOPELESS:
            return True
        return self.literal_bytes > min(_FREE + self._size // _SHARE, _MOST)

    def recipe(self) -> Recipe:
        """Return how the frame is made."""
        return Recipe(*self.candidate, parameter=self._first, edits=tuple(self._edits))

    def _compare(self, stored: Bytes, *, ended: bool) -> None:
        self._marks += self.encoder.marks()
        while self._marks and (ended or self._marks[0] <= self._start + len(self._data)):
            self._piece(stored, self._marks.pop(0) - self._start)
        if ended:
            self._piece(stored, len(self._data))
            for begin, end in self._real:
                self._edit(stored, begin, end, 0)

    def _piece(self, stored: Bytes, size: int) -> None:
        """Compare the next piece, of which the encoder has made so many bytes."""
        ours = bytes(self._data[:size])
        del self._data[:size]
        self._start += size
        begin, end = self._real.pop(0) if self._real else (0, 0)
        if end - begin == size and stored.read_at(begin, size) == ours:
            self._copied += size
        else:
            self._edit(stored, begin, end, size)
        self.blocks += 1

    def _edit(self, stored: Bytes, begin: int, end: int, dropped: int) -> None:
        """Put a piece of the frame in the place of what the encoder made; none of it is empty on both sides."""
        if begin == end and not dropped:
            return
        if self.difference is None:
            self.difference = self.blocks
        self.literal_bytes += end - begin
        literals = stored.read_at(begin, end - begin)
        copied, added, dropped = 8 * self._copied, 8 * len(literals), 8 * dropped
        if self._edits and not copied:
            last = self._edits.pop()
            copied, dropped, added = last.copied, dropped + last.dropped, added + last.added
            literals = last.literals + literals
        self._edits.append(RecipeEdit(copied=copied, dropped=dropped, added=added, literals=literals))
        self._copied = 0

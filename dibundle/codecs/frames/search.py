"""The search for a zstd frame's encoder.

All candidates encode the content, and their output is compared with the frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import zstandard

from dibundle.codecs import messages
from dibundle.codecs.deflate.recipe import Recipe, RecipeEdit
from dibundle.codecs.frames.candidates import (
    CANDIDATES,
    LIBRARY,
    SLOW_LIBRARY,
    FrameCandidate,
    FrameWriter,
    by_speed,
)
from dibundle.codecs.frames.layout import MOST_BLOCK, Bytes, Layout
from dibundle.codecs.frames.libzstd import LibraryEncoder
from dibundle.errors import ArchiveError

_SLICE: Final = 32 << 10  # bytes of the frame per step; encoding their content may take several steps
_PIECE: Final = 1 << 20  # bytes of content per step of the encoders
_FREE: Final = 64 << 10  # literal bytes that any recipe may have, in addition to the bytes that _SHARE allows
_SHARE: Final = 10  # a recipe may have one more literal byte for every _SHARE bytes of the frame
_MOST: Final = 8 << 20  # maximum literal bytes of a recipe, because literals are held in memory
_WINDOW: Final = 128 << 20  # the largest supported window of a frame
_UNDECIDED: Final = 2048  # if several candidates are left after this many frames, only the likeliest is used
_PROBED: Final = 8  # maximum number of blocks that are checked to find a block that distinguishes encoders
_TELLING: Final = 4 << 10  # minimum bytes of a compressed block that distinguishes encoders
_CODED: Final = 2
# libzstd's slow levels hardly ever write more than this number times the bytes that its fast levels write
_BETTER: Final = 1.03
_UNTOLD: Final = 4  # number of libzstd's candidates that are tried if the frame rules out none of them
_SMALL: Final = 256 << 10  # maximum bytes of a frame for which all candidates are tried
_JOB_BEGUN: Final = 1 << 20
# bytes of content that are compared to recognise libzstd; more than a job of level 9, which has 16 MiB
_LIBRARY_GUESSED: Final = 18 << 20
_HOPELESS: Final = 4  # a candidate is dropped if this many blocks were compared and none of these blocks is equal


class _Probe(NamedTuple):
    """The beginning of a frame, up to a block that distinguishes encoders. ``real`` has the bytes of the beginning.

    ``content`` is the decoded content of these bytes. ``further`` continues ``content`` to the next multiple of 128
    KiB, and then for up to 128 KiB more.
    """

    real: bytes
    content: bytes
    further: bytes
    is_whole: bool


class FrameSearch:
    """A search that tries the same encoders on the frames of one layer, one after the other."""

    def __init__(self, candidates: Iterable[FrameCandidate] = CANDIDATES) -> None:
        self._left = list(candidates)
        self._encoders: dict[FrameCandidate, FrameWriter] = {}
        self._frames = 0
        # libzstd's candidates that the frame did not rule out, but that were not tried
        self._waiting: list[FrameCandidate] = []

    @property
    def candidates(self) -> list[FrameCandidate]:
        """The remaining candidates, which have reproduced all frames so far."""
        return self._left

    def find(self, stored: Bytes, layout: Layout, start: int, take: Callable[[bytes], object]) -> Recipe | None:
        """Decode the frame, pass its content to ``take``, and return its recipe. Return None if no recipe is found.

        The search ends as soon as no candidate is left. Raises ``ArchiveError`` if the frame is damaged.
        """
        self._waiting = []
        given = 0  # bytes of content that were passed on
        done: list[_Run] = []
        pieces = _pieces(layout, start)
        for candidates, first in self._batches(stored, layout, start):
            runs = [_Run(one, self._encoder(one, layout, first), layout, pieces, first) for one in candidates]
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
            # try the other candidates too, because frames of different encoders may begin with the same bytes
            if any(run.literal_bytes == 0 for run in done):
                break
        if not done:
            return None
        best = min(done, key=lambda run: run.literal_bytes)
        self._frames += 1
        runs = [run for run in done if run.literal_bytes == best.literal_bytes]
        if self._frames > _UNDECIDED:
            runs = runs[:1]
        self._left = [run.candidate for run in runs] + (self._waiting if best.candidate.is_library else [])
        self._encoders = {run.candidate: run.encoder for run in runs}
        return best.recipe()

    def likely(self, stored: Bytes, layout: Layout, start: int, most: int) -> Recipe | None:
        """Return a recipe whose encoder gives the beginning of the frame. Only ``most`` bytes of content are encoded.

        For libzstd, more content is compared, because a job of libzstd has megabytes of content. The slow levels of
        libzstd are not tried.
        """
        pieces = _pieces(layout, start)
        for candidates, first in self._batches(stored, layout, start, is_quick=True):
            if candidates[0].is_library:
                if _library_gives(candidates[0], stored, layout, start, _LIBRARY_GUESSED):
                    return Recipe(candidates[0].encoder, candidates[0].level, candidates[0].parameter(layout.head, 0))
                continue
            runs = [_Run(one, self._encoder(one, layout, first), layout, pieces, first) for one in candidates]
            made = 0
            for content in _content(stored, layout, start):
                for run in runs:
                    run.encode(content, stored)
                made += len(content)
                runs = _judged(runs)
                if not runs or made >= most:
                    break
            else:
                for run in runs:
                    run.finish(stored)
            found = next((run.recipe() for run in runs if run.difference is None), None)
            if found:
                return found
        return None

    def _batches(
        self, stored: Bytes, layout: Layout, start: int, *, is_quick: bool = False
    ) -> Iterator[tuple[list[FrameCandidate], int]]:
        """Yield candidates to run in parallel, and the first block's size. Each candidate of libzstd runs alone.

        The order in which the blocks of a job arrive depends on the machine's load, and must not change the search's
        result.
        """
        first = _first_block(stored, layout, start)
        candidates = [one for one in self._left if one.may_be(layout.head, first)]
        probe = _probe(stored, layout, start) if len(candidates) > 1 else None
        if probe:
            for group, ones in by_speed(candidates):
                if group == SLOW_LIBRARY and (is_quick or not _may_be_slow(ones[0], layout, probe)):
                    return
                good = self._beginning(ones, layout, first, probe)
                if good and group < LIBRARY:
                    yield good, first
                    continue
                # try the beginning of a job before the rest, because a job gives no output before it has megabytes of
                # content
                for one in good:
                    if not one.jobs or _library_gives(one, stored, layout, start, _JOB_BEGUN):
                        yield [one], first
            return
        own = [one for one in candidates if not one.is_library]
        if own:
            yield own, first
        others = [one for one in candidates if one.is_library]
        # try all candidates only for a small frame, because many encoders would give this beginning
        if not _is_small(layout, start):
            others = others[:_UNTOLD]
        for number, one in enumerate(others, 1):
            self._waiting = others[number:]
            yield [one], first

    def _beginning(
        self, candidates: Iterable[FrameCandidate], layout: Layout, first: int, probe: _Probe
    ) -> list[FrameCandidate]:
        """Return the candidates that give the beginning of the frame."""
        good = []
        seen: dict[FrameCandidate, bytes] = {}
        for candidate in candidates:
            twin = candidate._replace(jobs=False)
            made = seen.get(twin) or self._made(candidate, layout, first, probe)
            if len(probe.content) <= MOST_BLOCK and not probe.is_whole:
                seen[twin] = made  # the beginning is the same with and without jobs
            if made.startswith(probe.real):
                good.append(candidate)
        return good

    def _made(self, candidate: FrameCandidate, layout: Layout, first: int, probe: _Probe) -> bytes:
        """Return an encoder's output for the beginning of the frame."""
        encoder = self._encoder(candidate, layout, first)
        if isinstance(encoder, LibraryEncoder):
            made = encoder.write(probe.further)
            return made + (encoder.finish() if probe.is_whole else encoder.flush())
        made = encoder.write(probe.content)
        encoder.finish()
        self._encoders[candidate] = encoder
        return made

    def _encoder(self, candidate: FrameCandidate, layout: Layout, first: int) -> FrameWriter:
        """Return the finished encoder of the previous frame, or a new encoder."""
        return candidate.open(layout.head, first, self._encoders.pop(candidate, None))


def _library_gives(candidate: FrameCandidate, stored: Bytes, layout: Layout, start: int, most: int) -> bool:
    """Return whether libzstd's output for ``most`` bytes of content equals the frame's beginning.

    The last blocks are not compared.
    """
    encoder = candidate.open(layout.head, 0)
    assert isinstance(encoder, LibraryEncoder)
    size, made, is_whole = 0, 0, True
    for content in _content(stored, layout, start):
        piece = encoder.write(content)
        if stored.read_at(start + made, min(len(piece), layout.end - start - made)) != piece:
            return False
        made += len(piece)
        size += len(content)
        if size >= most:
            is_whole = False
            break
    rest = encoder.finish() if is_whole else encoder.flush()[:-MOST_BLOCK]
    there = layout.end - start - made
    return (not is_whole or len(rest) == there) and stored.read_at(start + made, min(len(rest), there)) == rest


def _may_be_slow(candidate: FrameCandidate, layout: Layout, probe: _Probe) -> bool:
    """Return whether libzstd's slow levels may have written the beginning of a frame.

    If a fast level gives far fewer bytes than the beginning has, no slow level wrote the frame.
    """
    encoder = candidate.highest_fast().open(layout.head, 0)
    assert isinstance(encoder, LibraryEncoder)
    return len(probe.real) <= len(encoder.write(probe.content) + encoder.flush()) * _BETTER


def _is_small(layout: Layout, start: int) -> bool:
    """Return whether a frame is so small that encoding takes little time at any level."""
    return layout.end - start <= _SMALL and len(layout.blocks) <= _PROBED


def _judged(runs: list[_Run]) -> list[_Run]:
    """Return the runs that are not hopeless.

    Leave out runs that differ in a part of the frame that another run reproduced.
    """
    passed = max((run.blocks for run in runs if run.difference is None), default=-1)
    return [run for run in runs if run.difference is None or (run.difference >= passed and not run.is_hopeless())]


def _probe(stored: Bytes, layout: Layout, start: int) -> _Probe | None:
    """Return the first blocks, up to a block that distinguishes encoders. Return None if there is no such block.

    Encoders that find different matches hardly ever produce an equal block of several kilobytes.
    """
    ends = [*layout.blocks[1:], layout.end]
    for number, begin in enumerate(layout.blocks[:_PROBED]):
        if stored.read_at(begin, 1)[0] >> 1 & 3 != _CODED or ends[number] - begin < _TELLING:
            continue
        if number == len(ends) - 1:
            return None  # do not use the last block, because an encoder writes it only when the frame ends
        engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        try:
            content = engine.decompress(stored.read_at(start, ends[number] - start))
            wanted = -(-len(content) // MOST_BLOCK) * MOST_BLOCK + MOST_BLOCK
            further, at = content, number
            while len(further) < wanted and at + 1 < len(ends):
                further += engine.decompress(stored.read_at(ends[at], ends[at + 1] - ends[at]))
                at += 1
        except zstandard.ZstdError as error:
            raise ArchiveError(messages.FRAMES_DAMAGED) from error
        is_whole = at + 1 == len(ends) and len(further) <= wanted
        real = stored.read_at(start, ends[number] - start)
        return _Probe(real, content, further[:wanted], is_whole)
    return None


def _first_block(stored: Bytes, layout: Layout, start: int) -> int:
    """Return the content size of the first block. Return 0 if the frame has only one block."""
    if len(layout.blocks) == 1:
        return 0
    engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    try:
        return len(engine.decompress(stored.read_at(start, layout.blocks[1] - start)))
    except zstandard.ZstdError as error:
        raise ArchiveError(messages.FRAMES_DAMAGED) from error


def _content(stored: Bytes, layout: Layout, start: int) -> Iterator[bytes]:
    """Yield the content of a frame. Raise ``ArchiveError`` if the frame is damaged."""
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


def _pieces(layout: Layout, start: int) -> list[tuple[int, int]]:
    """Return the range of each piece of a frame. The pieces are the frame's header, its blocks and its end."""
    return list(pairwise([start, *layout.blocks, layout.end]))


class _Edit:
    """A :class:`RecipeEdit` under construction. Units are bytes."""

    __slots__ = ("copied", "dropped", "literals")

    def __init__(self, copied: int) -> None:
        self.copied, self.dropped, self.literals = copied, 0, bytearray()


class _Run:
    """A running candidate. Its output is compared with the frame's header, blocks and end, piece by piece."""

    def __init__(
        self,
        candidate: FrameCandidate,
        encoder: FrameWriter,
        layout: Layout,
        pieces: list[tuple[int, int]],
        first: int,
    ) -> None:
        self.candidate = candidate
        self._parameter = candidate.parameter(layout.head, first)
        self.blocks = 0  # pieces compared so far
        self.difference: int | None = None  # number of the first piece that differed
        self.literal_bytes = 0
        self.encoder = encoder
        # the pieces of the frame, which are the same for all candidates, and the next piece to compare
        self._real, self._next = pieces, 0
        self._most = min(_FREE + (layout.end - pieces[0][0]) // _SHARE, _MOST)
        self._data = bytearray()
        self._start = 0  # offset in the encoder's output at which _data starts
        self._marks: deque[int] = deque()
        self._edits: list[_Edit] = []
        self._copied = 0  # bytes since the last edit

    def encode(self, content: bytes, stored: Bytes) -> None:
        """Encode content, and compare the encoder's output with the frame."""
        self._data += self.encoder.write(content)
        self._compare(stored, ended=False)

    def finish(self, stored: Bytes) -> None:
        """Compare the remaining data with the encoder's output, up to the ends of both."""
        self._data += self.encoder.finish()
        self._compare(stored, ended=True)

    def is_hopeless(self) -> bool:
        """Return whether all blocks, or too many bytes, have differed so far."""
        if self.difference is not None and self.difference <= 1 and self.blocks >= _HOPELESS:
            return True
        return self.literal_bytes > self._most

    def recipe(self) -> Recipe:
        """Return the recipe of the frame."""
        one = self.candidate
        edits = (RecipeEdit(8 * e.copied, 8 * e.dropped, 8 * len(e.literals), bytes(e.literals)) for e in self._edits)
        return Recipe(one.encoder, one.level, self._parameter, tuple(edits))

    def _compare(self, stored: Bytes, *, ended: bool) -> None:
        self._marks += self.encoder.marks()
        while self._marks and (ended or self._marks[0] <= self._start + len(self._data)):
            self._piece(stored, self._marks.popleft() - self._start)
        if ended:
            self._piece(stored, len(self._data))
            if self._next < len(self._real):
                self._edit(stored, self._real[self._next][0], self._real[-1][1], 0)

    def _piece(self, stored: Bytes, size: int) -> None:
        """Compare the next piece with the next ``size`` bytes of the encoder's output."""
        ours = bytes(self._data[:size])
        del self._data[:size]
        self._start += size
        begin, end = self._real[self._next] if self._next < len(self._real) else (0, 0)
        self._next += 1
        if end - begin == size and stored.read_at(begin, size) == ours:
            self._copied += size
        else:
            self._edit(stored, begin, end, size)
        self.blocks += 1

    def _edit(self, stored: Bytes, begin: int, end: int, dropped: int) -> None:
        """Replace the encoder's output by a piece of the frame. Do nothing if the output and the piece are empty."""
        if begin == end and not dropped:
            return
        if self.difference is None:
            self.difference = self.blocks
        self.literal_bytes += end - begin
        if self.is_hopeless():  # checked before any literals are read
            return
        if self._copied or not self._edits:
            self._edits.append(_Edit(self._copied))
            self._copied = 0
        self._edits[-1].dropped += dropped
        self._edits[-1].literals += stored.read_at(begin, end - begin)

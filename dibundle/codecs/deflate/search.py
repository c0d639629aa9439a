"""The search for the encoder of a body.

All candidates encode the content, and their output is compared with the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from dibundle.codecs.deflate import encoders
from dibundle.codecs.deflate.candidates import CANDIDATES, Candidate, may_begin, pigz_modes
from dibundle.codecs.deflate.encoders import Encoder, Mark
from dibundle.codecs.deflate.inflate import Inflater
from dibundle.codecs.deflate.recipe import Recipe, RecipeEdit, copy_bits
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import ArchiveError

_SLICE: Final = 1 << 20  # bytes of content per step of the encoders
_FIRST: Final = 64 << 10  # bytes of content per step until a block has ended
_STEP: Final = 128 << 10  # bytes of content per step for a new candidate, until its output differs
_HELD: Final = 1 << 20  # if no block has ended within this many bytes of content, all candidates start
_BODY_SLICE: Final = 64 << 10  # bytes of the body per step: this limits how many blocks are found in one step
# maximum bytes of the body that wait for candidates; each block counts as at least 512 bytes
_WAITING: Final = 32 << 20
_FREE: Final = 64 << 10  # literal bytes that any recipe may have, in addition to the bytes that _SHARE allows
_SHARE: Final = 10  # a recipe may have one more literal byte for every _SHARE bytes of the body
_MOST: Final = 8 << 20  # maximum literal bytes of a recipe, because literals are held in memory
# additional literal bytes that a run may have while its output differs from the body
_SEEKING: Final = 256 << 10
# after this many bytes of content, candidates that differ only in a parameter count as one candidate
_TWINS: Final = 8 << 20
_NEAR: Final = 64  # minimum bits to copy between two edits: a shorter copy costs more than it saves


# block size for a pgzip body with a single block: any size works if it is at least the content's size
_GUESSED_FRAME: Final = 1 << 20


class Found(NamedTuple):
    """The result of ``find``: the recipe, if there is one, and the sizes of the body and its content."""

    recipe: Recipe | None
    used: int
    content: int


def find(body: Iterable[bytes], take: Callable[[bytes], object], candidates: Iterable[Candidate] = CANDIDATES) -> Found:
    """Decode ``body``, pass its content to ``take`` piece by piece, and return the recipe of the body.

    ``body`` may continue after the end of the deflate stream: ``Found.used`` is the size of the deflate stream. When no
    candidate is left, the remaining body is decoded without a search. Raises ``ArchiveError`` if the body is damaged or
    truncated.
    """
    search = Search(candidates)
    for piece in body:
        for content in search.feed(piece):
            take(content)
        if search.ended:
            break
    return search.finish()


def probe(first: bytes, candidates: Iterable[Candidate] = CANDIDATES) -> list[Candidate]:
    """Return the candidates whose output equals the first bytes of a body.

    For most bodies, a megabyte leaves at most one candidate. Candidates that have no output yet for these bytes are
    returned too. If the body is damaged, the result is empty.
    """
    search = Search(candidates)
    try:
        for _ in search.feed(first):
            if not search.candidates:
                break
        if search.ended:
            search.finish()
        else:
            search.stop_waiting()
    except ArchiveError:
        return []
    return search.candidates


class Search:
    """A search like :func:`find`, for a body that comes in pieces.

    Candidates start after the first block has ended, because the position of this block's end rules out most
    candidates. For 17 layers (62 to 82 MB) that match no candidate, the search took 0.001 to 0.12 s. The layers were
    written by pigz, igzip, zlib-ng, libdeflate, and zlib with other settings. With all candidates from the start, the
    search would take 0.1 to 0.7 s for layers from pigz and zlib-ng.
    """

    def __init__(self, candidates: Iterable[Candidate] = CANDIDATES) -> None:
        self._inflater = Inflater()
        self._real = _Real()
        self._waiting = list(candidates)
        self._held: list[bytes] = []  # content so far, while candidates wait
        self._runs: list[_Run] = []
        self._content = 0
        self._block_size = 0  # pgzip's block size, once it is known

    @property
    def ended(self) -> bool:
        """Whether the body has ended."""
        return self._inflater.ended

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates that are left."""
        return self._waiting or [run.candidate for run in self._runs]

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece of the body and yield its content. Exhaust the iterator before you pass the next piece."""
        for at in range(0, len(piece), _BODY_SLICE):
            if self.ended:
                return
            data = piece[at : at + _BODY_SLICE]
            if self.candidates:
                self._real.data += data
            while True:
                limit = _FIRST if self._waiting else _SLICE
                content = self._inflater.feed(data, limit)
                data = b""
                self._advance(content)
                if not content:
                    break
                yield content

    def finish(self) -> Found:
        """Finish the body and return the result. Raise ``ArchiveError`` if the body has not ended."""
        self._inflater.finish()
        self._start()
        for run in self._runs:
            run.finish(self._real)
        self._judge()
        recipes = [run.recipe(self._content) for run in self._runs]
        good = [recipe for recipe in recipes if recipe is not None]
        best = min(good, key=lambda recipe: recipe.literal_bytes, default=None)
        return Found(recipe=best, used=self._inflater.used, content=self._content)

    def stop_waiting(self) -> None:
        """Start the candidates with the content so far, even if no block has ended."""
        if self._waiting and self._goes_on():
            self._start()
            self._judge()

    def likely(self, content: int) -> Recipe | None:
        """Return the recipe of the first candidate whose output equals the body so far."""
        self._start()
        recipes = (run.recipe(content) for run in self._runs if run.difference is None)
        return next((recipe for recipe in recipes if recipe is not None), None)

    def _advance(self, content: bytes) -> None:
        """Encode newly decoded content with all runs, and compare their output with the body."""
        self._content += len(content)
        marks = self._inflater.marks()
        if not self.candidates:
            return
        real = self._real
        shown = real.add(marks)
        self._block_size = self._block_size or shown
        real.limit = self._inflater.sure_bits
        real.ended = self._inflater.ended
        if self._waiting:
            self._held.append(content)
            is_enough = self._goes_on() and self._content > encoders.PIGZ_BLOCK
            if not is_enough and not real.ended and self._content < _HELD:
                return
            self._start()
        else:
            for run in self._runs:
                run.encode(content, self._block_size)
        for run in self._runs:
            run.compare(real)
        self._judge()
        real.forget(min((run.real_bit for run in self._runs), default=None))

    def _goes_on(self) -> bool:
        """Return whether there is content after the first block."""
        marks = self._real.marks
        return len(marks) > 1 and marks[1].content < self._content

    def _start(self) -> None:
        """Start those waiting candidates that can have written the first block. Give them the content so far."""
        held = b"".join(self._held)
        marks = self._real.marks
        modes = pigz_modes(marks, held)
        is_all = self._real.ended and not self._goes_on()  # if the first block is the only block, it may end anywhere
        for candidate in self._waiting:
            if candidate.encoder == encoders.PIGZ:
                if candidate.parameter & 3 not in modes:
                    continue
            elif marks and not is_all and not may_begin(candidate, marks, self._inflater.first_tokens):
                continue
            run = _Run(candidate)
            for at in range(0, max(1, len(held)), _STEP):
                run.encode(held[at : at + _STEP], self._block_size)
                run.compare(self._real)
                if run.differs_at_once(self._real):
                    break
            else:
                self._runs.append(run)
        self._waiting, self._held = [], []

    def _judge(self) -> None:
        """Drop hopeless runs. Also drop a run that differs from the body at a place that another run has reproduced."""
        if self._real.is_too_much():
            self._runs = []
        passed = max((run.real_bit for run in self._runs if run.difference is None), default=-1)
        self._runs = [
            run
            for run in self._runs
            if run.difference is None or (run.difference >= passed and not run.is_hopeless(self._real))
        ]
        if self._content > _TWINS:
            told = {run.candidate[:2]: run for run in reversed(self._runs) if run.difference is None}
            self._runs = [run for run in self._runs if run.difference or told[run.candidate[:2]] is run]


class _Real:
    """The body to reproduce. Bits and marks are dropped as soon as no run needs them any more."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.start = 0  # bit at which data[0] starts
        self.limit = 0  # the end of the bits that certainly belong to the body
        self.ended = False  # becomes true when no more data follows
        self.marks: list[Mark] = []
        self.first_block = 0  # bit at which the first block ends; 0 until it is known
        self._before: Mark | None = None

    def add(self, marks: list[Mark]) -> int:
        """Add the latest marks. Return pgzip's block size if the marks show it, else 0.

        pgzip's first block ends at an empty stored block, unless the next block is the last.
        """
        block_size = 0
        for mark in marks:
            before = self._before
            if not block_size and before and before.type == encoders.STORED and not mark.last:
                block_size = mark.content if mark.content == before.content else 0
            self.first_block = self.first_block or mark.bit
            self._before = mark
        self.marks += marks
        return block_size if encoders.DICTIONARY < block_size <= encoders.FRAME_LIMIT else 0

    def is_too_much(self) -> bool:
        """Return whether too many bytes or too many blocks are waiting for candidates.

        Without this check, an endless series of empty blocks in a body would fill the memory.
        """
        return len(self.data) > _WAITING or len(self.marks) > _WAITING // 512

    def forget(self, bit: int | None) -> None:
        """Drop the data before ``bit``, because no run needs this data any more.

        If ``bit`` is None, no run is left: drop everything.
        """
        if bit is None:
            self.data.clear()
            self.marks.clear()
            return
        whole = (bit - _NEAR - self.start) // 8
        if whole > 0:
            del self.data[:whole]
            self.start += 8 * whole
        self.marks = [mark for mark in self.marks if mark.bit > bit]

    def bits(self, start: int, end: int) -> bytes:
        """Return the bits from start to end, in the form of an edit's literals."""
        out = bytearray((end - start + 7) // 8)
        copy_bits(out, 0, self.data, start - self.start, end - start)
        return bytes(out)


class _Run:
    """A running candidate.

    After a difference, the run is *lost* until the body and the run's output start a block at the same content offset.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.real_bit = 0  # bits of the body compared so far
        self.difference: int | None = None  # bit of the body at the first difference
        self._bit = 0  # bits of the encoder's output compared so far
        self._encoder = Encoder(candidate.encoder, candidate.level, candidate.parameter, tested=False)
        self._block_size = candidate.parameter
        self._is_open = not candidate.parameter and encoders.is_pgzip(candidate.encoder)
        self._data = bytearray()
        self._start = 0  # bit at which _data[0] starts
        self._ended = False
        self._lost = False
        self._marks: list[Mark] = []
        self._edits: list[RecipeEdit] = []
        self._edited = 0  # bit of the encoder's output at which the last edit ends
        self._literal_bytes = 0

    def encode(self, content: bytes, block_size: int) -> None:
        """Take decoded content, and pgzip's block size if it is known."""
        if block_size and self._is_open:
            self._is_open = False
            self._block_size = block_size
            self._data += self._encoder.frame(block_size)
        self._data += self._encoder.write(content)
        self._marks += self._encoder.marks()

    def compare(self, real: _Real) -> None:
        """Compare the body with the encoder's output, as far as both are known."""
        while not self._lost or self._find_way(real):
            count = min(self._end - self._bit, real.limit - self.real_bit)
            if count <= 0:
                break
            same = _same_bits(self._data, self._bit - self._start, real.data, self.real_bit - real.start, count)
            self._bit += same
            self.real_bit += same
            if same < count:
                self._lose()
        self._forget()

    def finish(self, real: _Real) -> None:
        """Compare the remaining data with the encoder's output, up to the ends of both."""
        self._data += self._encoder.finish()
        self._marks += self._encoder.marks()
        self._ended = True
        self.compare(real)
        if self._bit < self._end or self.real_bit < real.limit:
            self._lose()
            self._edit(real, self._end, real.limit)

    def differs_at_once(self, real: _Real) -> bool:
        """Return whether the output differs from the body's first block."""
        return self.difference is not None and (self.difference < real.first_block or not real.first_block)

    def is_hopeless(self, real: _Real) -> bool:
        """Return True if the first block of the body, or too much of the data so far, differs from the output."""
        if self.difference is None:
            return False
        if self.differs_at_once(real):
            return True
        most = min(_FREE + real.limit // 8 // _SHARE, _MOST)
        lost = (real.limit - self.real_bit) // 8 - _SEEKING if self._lost else 0
        return self._literal_bytes + max(0, lost) > most

    def recipe(self, content: int) -> Recipe | None:
        """Return the recipe of a body with ``content`` bytes.

        Return None if pgzip would need a larger block than the limit allows.
        """
        parameter = self._block_size
        if self._is_open:
            parameter = max(_GUESSED_FRAME, content + 1)
            if parameter > encoders.FRAME_LIMIT:
                return None
        return Recipe(
            encoder=self.candidate.encoder, level=self.candidate.level, parameter=parameter, edits=tuple(self._edits)
        )

    @property
    def _end(self) -> int:
        return self._start + 8 * len(self._data)

    def _lose(self) -> None:
        self._lost = True
        if self.difference is None:
            self.difference = self.real_bit

    def _find_way(self, real: _Real) -> bool:
        """Continue at the next content offset at which both the body and the output start a block.

        Return whether there is such an offset.
        """
        ours = _last_of_each([mark for mark in self._marks if mark.bit > self._bit], self._ended)
        theirs = _last_of_each([mark for mark in real.marks if mark.bit > self.real_bit], real.ended)
        content = min(ours.keys() & theirs.keys(), default=None)
        if content is None:
            return False
        bit, real_bit = ours[content].bit, theirs[content].bit
        # the padding before a stored block's content may differ, so continue the comparison at the content
        if ours[content].type == theirs[content].type == encoders.STORED:
            bit, real_bit = _behind_header(bit), _behind_header(real_bit)
        self._edit(real, bit, real_bit)
        self._lost = False
        return True

    def _edit(self, real: _Real, bit: int, real_bit: int) -> None:
        """Replace the output up to ``bit`` by the body's bits up to ``real_bit``.

        If only a very short copy separates this edit from the previous edit, join the two edits.
        """
        copied, dropped = self._bit - self._edited, bit - self._bit
        literals, count = real.bits(self.real_bit, real_bit), real_bit - self.real_bit
        if self._edits and copied < _NEAR:
            last = self._edits.pop()
            self._literal_bytes -= len(last.literals)
            joined = bytearray((last.added + copied + count + 7) // 8)
            joined[: len(last.literals)] = last.literals
            copy_bits(joined, last.added, real.data, self.real_bit - copied - real.start, copied + count)
            dropped += last.dropped + copied
            copied, count, literals = last.copied, last.added + copied + count, bytes(joined)
        self._edits.append(RecipeEdit(copied=copied, dropped=dropped, added=count, literals=literals))
        self._literal_bytes += len(literals)
        self._edited = self._bit = bit
        self.real_bit = real_bit

    def _forget(self) -> None:
        whole = (self._bit - self._start) // 8
        del self._data[:whole]
        self._start += 8 * whole
        self._marks = [mark for mark in self._marks if mark.bit > self._bit]


def _last_of_each(marks: list[Mark], complete: bool) -> dict[int, Mark]:
    """Map each offset in the content to the last block that starts at this offset.

    Include the last offset only if ``complete`` is true.
    """
    last = {mark.content: mark for mark in marks}
    if marks and not complete:
        del last[marks[-1].content]
    return last


def _behind_header(bit: int) -> int:
    """Return the bit at which the content of a stored block starts. The block itself starts at ``bit``."""
    return (bit + 3 + 7) // 8 * 8 + 32


def _same_bits(a: Buffer, a_bit: int, b: Buffer, b_bit: int, count: int) -> int:
    """Return the number of equal bits, up to ``count``."""
    same: int = LIBRARY.dib_bits_same(Pinned(a), a_bit, Pinned(b), b_bit, count)
    return same

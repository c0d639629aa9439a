"""Encoders that run on several threads. Each thread encodes pgzip blocks, or searches pieces (Go, levels 4 to 9)."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from dibundle.codecs.deflate.encoders import (
    DICTIONARY,
    GO,
    WINDOW,
    Joiner,
    SearchedPiece,
    encode_frame,
    is_pgzip,
    prove,
)
from dibundle.codecs.native.library import Buffer

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

MAX_BLOCK: Final = 4 << 20
"""The maximum size of pgzip blocks that are encoded in parallel. Larger blocks are not held in memory."""

_AHEAD: Final = 4  # maximum number of blocks or pieces that are submitted to the threads at a time
# bytes of content in a piece: a piece takes at most 3 MiB of memory, and starting it takes only 4 % of the time
_PIECE: Final = 256 << 10
_LEAST: Final = 1 << 20  # threads save time only for content of at least this many bytes
_GO_LEVELS: Final = range(4, 10)
# after this many consecutive useless searches, searches pause: if the content is all zeros, no search is useful
_GIVE_UP: Final = 4
# length of a pause in pieces; because of the pauses, useless searches take at most a fifth of the time
_PAUSE: Final = 32


def open_parallel(
    encoder: int, level: int, parameter: int, size: int, pool: Executor
) -> BlockEncoder | PieceEncoder | None:
    """Return an encoder for ``size`` bytes of content, with the threads of ``pool``.

    Return None if threads would not help.
    """
    if is_pgzip(encoder) and parameter <= MAX_BLOCK:
        return BlockEncoder(encoder, level, parameter, pool)
    if encoder == GO and level in _GO_LEVELS and size >= _LEAST:
        return PieceEncoder(level, pool)
    return None


class BlockEncoder:
    """A pgzip encoder whose blocks are encoded in parallel."""

    def __init__(self, encoder: int, level: int, size: int, pool: Executor) -> None:
        """Create an encoder with blocks of ``size`` bytes."""
        prove(encoder, level)
        self._encoder, self._level, self._size, self._pool = encoder, level, size, pool
        self._block = bytearray()
        self._dictionary = b""
        self._running: deque[Future[bytes]] = deque()

    def write(self, content: Buffer) -> bytes:
        """Take content, and return the blocks that are ready."""
        view = memoryview(content).cast("B")
        out = []
        while view:
            part = view[: self._size - len(self._block)]
            self._block += part
            view = view[len(part) :]
            if len(self._block) == self._size:
                self._submit(last=False)
                while len(self._running) > _AHEAD or (self._running and self._running[0].done()):
                    out.append(self._running.popleft().result())
        return b"".join(out)

    def finish(self) -> bytes:
        """Finish the content, and return the remaining blocks."""
        self._submit(last=True)
        return b"".join(block.result() for block in self._running)

    def _submit(self, *, last: bool) -> None:
        block, dictionary = self._block, self._dictionary
        self._running.append(self._pool.submit(encode_frame, self._encoder, self._level, dictionary, block, last=last))
        self._block = bytearray()
        self._dictionary = bytes(block[-DICTIONARY:]) if len(block) > DICTIONARY else b""


class PieceEncoder:
    """A Go encoder that searches for matches in parallel (native/deflate/go_pieces.c)."""

    def __init__(self, level: int, pool: Executor, size: int = _PIECE) -> None:
        """Create an encoder of level 4 to 9. ``size`` is the number of bytes of a piece, a multiple of ``WINDOW``."""
        prove(GO, level)
        self._level, self._pool, self._size = level, pool, size
        self._joiner = Joiner()
        self._content = bytearray()  # the content that begins self._before bytes before the next piece
        self._before = 0
        self._start = 0  # offset of the next piece
        self._running: deque[Future[SearchedPiece]] = deque()
        self._in_vain = 0  # consecutive pieces with a useless search
        self._paused = 0  # how many of the next pieces have no separate search

    def write(self, content: Buffer) -> bytes:
        """Take content, and return the bytes that are ready."""
        view = memoryview(content).cast("B")
        wanted = self._size + WINDOW
        out = []
        while view:
            part = view[: self._before + wanted - len(self._content)]
            self._content += part
            view = view[len(part) :]
            if len(self._content) == self._before + wanted:
                self._submit(WINDOW)
                while len(self._running) > _AHEAD or (self._running and self._running[0].done()):
                    out.append(self._join())
        return b"".join(out)

    def finish(self) -> bytes:
        """Finish the content, and return the remaining bytes."""
        self._submit(0)
        return b"".join([self._join() for _ in range(len(self._running))])

    def _submit(self, after: int) -> None:
        """Start the search for matches in the next piece.

        ``after`` is the number of bytes of content after the piece (0: this is the last piece).
        """
        is_searched = not self._paused
        self._paused = max(0, self._paused - 1)
        search = partial(
            SearchedPiece, self._level, self._start, self._content, self._before, after, is_searched=is_searched
        )
        self._running.append(self._pool.submit(search))
        self._start += len(self._content) - self._before - after
        self._before = min(self._start, 2 * WINDOW)
        self._content = self._content[len(self._content) - after - self._before :]

    def _join(self) -> bytes:
        piece = self._running.popleft().result()
        body, is_met = self._joiner.join(piece)
        if piece.is_searched:
            self._in_vain = 0 if is_met else self._in_vain + 1
            if self._in_vain >= _GIVE_UP:
                self._in_vain, self._paused = 0, _PAUSE
        return body

"""A streaming, strict decoder of raw deflate, which reports where the blocks of a body start."""

from __future__ import annotations

import ctypes
from array import array
from typing import Final

from dibundle.codecs import messages
from dibundle.codecs.deflate.encoders import Mark, take_marks
from dibundle.codecs.native.library import LIBRARY, Pinned
from dibundle.errors import ArchiveError

_LIMIT: Final = 1 << 20
_SLICE: Final = 32 << 10  # bytes of input per call: this limits how many marks one call can produce
_AHEAD: Final = 8  # maximum bytes that are read beyond the decoded bytes
_NO_MEMORY: Final = -2


class Inflater:
    """A decoder of one body, which is fed in pieces.

    ``feed`` returns at most ``limit`` bytes of content. As long as ``feed`` returns bytes, call ``feed(b"")`` for more
    content, because the decoder still holds input. An empty result means that more input is needed, or that the body
    has ended. If the body has ended, ``ended`` is true, and ``used`` is the size of the body in bytes. Bytes after the
    end are discarded. ``sure_bits`` is the number of bits that certainly belong to the body. ``first_tokens`` is the
    number of the first block's literals and matches that are decoded so far.
    """

    def __init__(self) -> None:
        self._handle: int = LIBRARY.dib_inflate_new()
        if not self._handle:
            raise MemoryError
        self._input = b""
        self._at = 0
        self._out = ctypes.create_string_buffer(1)
        self._told = array("q", (0, 0, 0, 0))
        self.ended = False
        self.used = 0
        self.sure_bits = 0
        self.first_tokens = 0

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            LIBRARY.dib_inflate_free(self._handle)

    def feed(self, data: bytes, limit: int = _LIMIT) -> bytes:
        """Return up to ``limit`` (at least 1) bytes of content. Raise ``ArchiveError`` if the body is damaged."""
        if self.ended:
            return b""
        if data:
            self._input = self._input[self._at :] + data
            self._at = 0
        if len(self._out) < limit:
            self._out = ctypes.create_string_buffer(limit)
        out = ctypes.addressof(self._out)
        made = 0
        while made < limit:
            made += self._run(out + made, limit - made)
            if self.ended or (self._at == len(self._input) and made < limit):
                break
        return ctypes.string_at(out, made)

    def finish(self) -> None:
        """Finish the input. Raise ``ArchiveError`` if the body has not ended."""
        if not self.ended:
            raise ArchiveError(messages.DEFLATE_TRUNCATED)

    def marks(self) -> list[Mark]:
        """Return the starts of the body's decoded blocks. Each start is returned only once."""
        return take_marks(LIBRARY.dib_inflate_marks, self._handle)

    def _run(self, out: int, room: int) -> int:
        pinned = Pinned(self._input)
        size = min(_SLICE, pinned.size - self._at)
        told, _ = self._told.buffer_info()
        made: int = LIBRARY.dib_inflate_run(self._handle, pinned.at(self._at), size, out, room, told)
        if made == _NO_MEMORY:
            raise MemoryError
        if made < 0:
            raise ArchiveError(messages.DEFLATE_DAMAGED)
        self._at += self._told[0]
        self.sure_bits = max(0, 8 * (self._told[2] - _AHEAD))
        self.first_tokens = self._told[3]
        if self._told[1]:
            self.ended = True
            self.used = self._told[2]
            self.sure_bits = 8 * self.used
        return made

"""Store a tar from a pipe in a temporary file.

Only the needed parts are stored; the other parts of the temporary file are holes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from dibundle.files import compression
from dibundle.files.readat import Spool
from dibundle.images.tar.entries import arriving

SMALL: Final = 64 << 10
"""Entries of at most this size, such as configs, manifests and indexes, are always kept."""

_PIECE: Final = 1 << 20
_MAGIC: Final = 16


def sieve(read: Callable[[int], bytes], spool: Spool, sizes: Collection[int]) -> None:
    """Copy the tar that ``read`` returns, piece by piece, to ``spool``.

    The argument of ``read`` is the maximum size of a piece in bytes. At the end, ``read`` returns no bytes.

    The content of a large uncompressed file is skipped if the file's size is not among ``sizes``. Skipped content reads
    as zeros. Compressed files are kept, because their decompressed content may have one of these sizes.
    """
    pipe = _Pipe(read, spool)
    for entry in arriving(pipe):
        if entry.is_file and entry.size > SMALL and entry.size not in sizes:
            head = pipe.read_at(entry.content, _MAGIC)
            if compression.sniff(head) is None:
                pipe.skip_to(entry.content + entry.size)
    while pipe.more(_PIECE):
        pass


class _Pipe:
    """The data that has arrived so far, with random access. A read beyond the end of this data waits for more data."""

    def __init__(self, read: Callable[[int], bytes], spool: Spool) -> None:
        self._read = read
        self._spool = spool

    @property
    def size(self) -> int:
        """A number that is larger than the size of any pipe's data. The real size is not known in advance."""
        return 1 << 62

    def more(self, most: int) -> int:
        """Read up to ``most`` bytes. Return the number of bytes that were read."""
        piece = self._read(most)
        self._spool.write(piece)
        return len(piece)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset`` on. At the end, return fewer bytes."""
        while self._spool.size < offset + length and self.more(min(_PIECE, offset + length - self._spool.size)):
            pass
        there = min(length, self._spool.size - offset)
        return self._spool.read_at(offset, there) if there > 0 else b""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        view[:] = self.read_at(offset, len(view))

    def skip_to(self, end: int) -> None:
        """Discard the data up to ``end``, and leave a hole instead."""
        while self._spool.size < end:
            piece = self._read(min(_PIECE, end - self._spool.size))
            if not piece:
                return
            self._spool.skip(len(piece))

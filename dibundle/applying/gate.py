"""Passing an archive on to a loader, without anything that the loader could load before all of it is verified.

Members that every reader reads alike and that are only content (layers, configs, blobs) go straight through. From the
first other thing on (manifest.json, index.json, repositories, a header in an odd form, the end of the archive) all is
kept in a temporary file, and with it the end of the member before: what a failure leaves with the loader ends within
a header or a content, which no reader takes for the end of an archive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files.readat import ReadAt, Spool, copy_chunks
from dibundle.images.tar.plain import BLOCK, FILE, FOLDER, read_header

_DOCUMENTS: Final = frozenset(("manifest.json", "index.json", "repositories", "oci-layout"))
_LEGACY: Final = frozenset(("json", "version"))  # of docker before 1.10, which loads folders that have these
_KEPT: Final = 8 << 20  # members up to this size are kept for judging the archive


class Gate:
    """A sink between a target and a loader; :meth:`open` passes on the rest."""

    def __init__(self, sink: Callable[[bytes | bytearray | memoryview], object], tmp: str | None = None) -> None:
        self._sink = sink
        self._spool = Spool(tmp)
        self._is_shut = False
        self._passed = 0  # bytes that the loader has
        self._head = bytearray()  # of the next member
        self._left = 0  # bytes of the current member, padding included
        self._last = 0  # of these, how many come from the last byte of content on: they wait for the next header
        self._is_small = True
        self._waiting = bytearray()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the archive."""
        view = memoryview(piece)
        while view:
            if self._is_shut:
                self._spool.write(view)
                return
            if not self._left:
                view = self._read_header(view)
                continue
            count = min(len(view), self._left - self._last) or min(len(view), self._left)
            part, view = view[:count], view[count:]
            if self._left > self._last:
                self._pass(part)
            else:
                self._waiting += part
            self._left -= count
            self._last = min(self._last, self._left)

    def _read_header(self, view: memoryview) -> memoryview:
        """Take a member's header; what is not plain content shuts the gate."""
        count = min(len(view), BLOCK - len(self._head))
        self._head += view[:count]
        if len(self._head) < BLOCK:
            return view[count:]
        block, self._head = bytes(self._head), bytearray()
        size = _content_size(block)
        if size is None:
            self._is_shut = True
            self._spool.write(self._waiting)
            self._spool.write(block)
            return view[count:]
        self._pass(self._waiting)
        self._waiting = bytearray()
        self._is_small = True  # a header is kept, whatever follows
        if size:
            self._pass(block)
            self._is_small = size <= _KEPT
            self._left = size + -size % BLOCK
            self._last = 1 + -size % BLOCK
        else:
            self._pass(block[:-1])
            self._waiting += block[-1:]
        return view[count:]

    def _pass(self, piece: bytes | bytearray | memoryview) -> None:
        if self._is_small:
            self._spool.write(piece)
        else:
            self._spool.skip(len(piece))
        self._passed += len(piece)
        self._sink(piece)

    def finish(self) -> ReadAt:
        """Say that the archive is complete; return it, with zeros in place of large members that have passed."""
        if not self._is_shut:
            self._is_shut = True
            self._spool.write(self._waiting)
            self._spool.write(self._head)
        return self._spool

    def open(self) -> None:
        """Pass on what was kept."""
        for piece in copy_chunks(self._spool, self._passed, self._spool.size - self._passed):
            self._sink(piece)

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()


def _content_size(block: bytes) -> int | None:
    """Return the size of a member that is nothing but content; None for everything else."""
    try:
        name, kind, size = read_header(block)
    except ArchiveError:
        return None
    last = name.rpartition("/")[2].lower()
    is_content = kind == FILE and last not in _DOCUMENTS and last not in _LEGACY
    return size if is_content or kind == FOLDER else None

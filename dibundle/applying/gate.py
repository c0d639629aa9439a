"""A gate between a target and a loader. Until everything is verified, the loader gets nothing that it could load.

Members that are only content (layers, configs, blobs) pass directly if all readers parse their headers alike. This ends
at the first other member: manifest.json, index.json, repositories, or a member with an unusual header. From this point
on, everything is withheld in a temporary file, as are the last bytes before this point. If the rebuild fails, the
loader's input therefore ends inside a header or inside a member's content. No reader mistakes such a truncated input
for a complete archive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files.readat import ReadAt, Spool, copy_chunks
from dibundle.images.tar.plain import BLOCK, FILE, FOLDER, read_header

_DOCUMENTS: Final = frozenset(("manifest.json", "index.json", "repositories", "oci-layout"))
_LEGACY: Final = frozenset(("json", "version"))  # docker versions before 1.10 load folders that have these files
_KEPT: Final = 8 << 20  # members of at most this size are also stored, so that the archive can be checked later


class Gate:
    """A sink between a target and a loader. :meth:`open` passes on the withheld bytes."""

    def __init__(self, sink: Callable[[bytes | bytearray | memoryview], object], tmp: str | None = None) -> None:
        self._sink = sink
        self._spool = Spool(tmp)
        self._is_shut = False
        self._passed = 0  # number of bytes that the loader already has
        self._head = bytearray()  # the part of the next member's header that has arrived
        self._left = 0  # remaining bytes of the current member, padding included
        # how many of the _left bytes are withheld until the next header: the last content byte and the padding
        self._last = 0
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
        """Read a member's header. If the member is not plain content, withhold everything from here on."""
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
        self._is_small = True  # headers are always written to the temporary file
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
        """End the archive and return it.

        In the returned archive, zeros replace large members that were already passed on.
        """
        if not self._is_shut:
            self._is_shut = True
            self._spool.write(self._waiting)
            self._spool.write(self._head)
        return self._spool

    def open(self) -> None:
        """Pass on the withheld bytes."""
        for piece in copy_chunks(self._spool, self._passed, self._spool.size - self._passed):
            self._sink(piece)

    def close(self) -> None:
        """Free the temporary file."""
        self._spool.close()


def _content_size(block: bytes) -> int | None:
    """Return the size of a member that is only content. Return None for any other member."""
    try:
        name, kind, size = read_header(block)
    except ArchiveError:
        return None
    last = name.rpartition("/")[2].lower()
    is_content = kind == FILE and last not in _DOCUMENTS and last not in _LEGACY
    return size if is_content or kind == FOLDER else None

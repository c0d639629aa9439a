"""An archive in the making, kept in a sparse temporary file without the stretches that nobody will read."""

from __future__ import annotations

from collections.abc import Sequence

from dibundle.archive.readat import Spool


class Kept:
    """A sink that keeps a target in ``spool``, without the stretches at ``holes`` (start and end, in order)."""

    def __init__(self, spool: Spool, holes: Sequence[tuple[int, int]]) -> None:
        self._spool = spool
        self._holes = list(holes)
        self._at = 0

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the target."""
        view = memoryview(piece)
        while view:
            while self._holes and self._holes[0][1] <= self._at:
                self._holes.pop(0)
            start, end = self._holes[0] if self._holes else (1 << 62, 1 << 62)
            within = start <= self._at
            part = view[: (end if within else start) - self._at]
            if within:
                self._spool.skip(len(part))
            else:
                self._spool.write(part)
            self._at += len(part)
            view = view[len(part) :]

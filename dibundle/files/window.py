"""Reading many small pieces that lie one after the other with few system calls."""

from __future__ import annotations

from dibundle.files.readat import ReadAt

SIZE = 256 << 10


class Window:
    """A read-ahead window over a source; for one thread at a time. What is larger than the window passes it by."""

    def __init__(self, source: ReadAt) -> None:
        self.source = source
        self._start = 0
        self._data = b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        start = offset - self._start
        if start >= 0 and start + length <= len(self._data):
            return self._data[start : start + length]
        if length > SIZE // 4 or offset + length > self.source.size:
            return self.source.read_at(offset, length)
        self._data = self.source.read_at(offset, min(SIZE, self.source.size - offset))
        self._start = offset
        return self._data[:length]

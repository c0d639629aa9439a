"""Read-ahead for many small consecutive pieces. Read-ahead saves system calls."""

from __future__ import annotations

from dibundle.files.readat import ReadAt

SIZE = 256 << 10
_LEAST = 4 << 10
_USED = 32  # the distance doubles only if at least 1/32 of the window's bytes has been used


class Window:
    """A read-ahead window over a source. Only one thread at a time may use this object. Large reads bypass the window.

    The window has a read-ahead distance. If a read begins at most this distance after the window's end, and enough of
    the window was used, the distance doubles. Any other read halves the distance. Therefore, random access causes no
    long reads, and consecutive small files take few reads. A hostile bundle cannot cause long reads for single bytes.
    In a compressed source, a long read takes a millisecond.
    """

    def __init__(self, source: ReadAt) -> None:
        self.source = source
        self._start = 0
        self._data = b""
        self._ahead = _LEAST
        self._used = 0  # bytes of the window that were returned

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        start = offset - self._start
        if start >= 0 and start + length <= len(self._data):
            self._used += length
            return self._data[start : start + length]
        if length > SIZE // 4 or offset + length > self.source.size:
            return self.source.read_at(offset, length)
        is_next = 0 <= start <= len(self._data) + self._ahead and self._used * _USED >= len(self._data)
        self._ahead = min(2 * self._ahead, SIZE) if is_next else max(self._ahead // 2, _LEAST)
        self._data = self.source.read_at(offset, min(max(self._ahead, length), self.source.size - offset))
        self._start, self._used = offset, length
        return self._data[:length]

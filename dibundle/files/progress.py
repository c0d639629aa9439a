"""The progress of work. Each phase has a number of bytes to process."""

from __future__ import annotations

from threading import Lock
from typing import Final, Protocol

STEPS: Final = 256  # maximum reports per phase if the phase's bytes are known
_STEP: Final = 1 << 20  # minimum bytes per report in phases of unknown size


class Progress(Protocol):
    """A receiver of progress. Only one thread at a time calls the receiver. A phase of known size has 256 calls."""

    def phase(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` bytes (0: unknown). The previous phase ends."""

    def advance(self, count: int) -> None:
        """Add to the number of processed bytes in the current phase."""

    def note(self, text: str) -> None:
        """Report a text that matters to the user."""


class Silent:
    """A receiver of progress that ignores everything."""

    def phase(self, name: str, total: int) -> None:
        """Ignore a phase."""

    def advance(self, count: int) -> None:
        """Ignore progress."""

    def note(self, text: str) -> None:
        """Ignore a note."""


class Thinned:
    """A filter for frequent reports from several threads. It passes on few reports, from one thread at a time."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._lock = Lock()
        self._step = _STEP
        self._left = self._done = 0

    def phase(self, name: str, total: int) -> None:
        """Begin a phase."""
        with self._lock:
            self._step = total // STEPS or _STEP
            self._left, self._done = total, 0
            self._inner.phase(name, total)

    def advance(self, count: int) -> None:
        """Count bytes. When a step or the phase is complete, report the bytes processed since the last report."""
        with self._lock:
            self._left -= count
            self._done += count
            if self._done >= self._step or not self._left:
                self._inner.advance(self._done)
                self._done = 0

    def note(self, text: str) -> None:
        """Pass on a text for the user."""
        with self._lock:
            self._inner.note(text)

    def close(self) -> None:
        """If the inner receiver uses the terminal, make it release the terminal."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

"""Excess is decoding work above the amount that the sizes of a frame and its recipes allow. See spec/dib.md, 4.6."""

from __future__ import annotations

import threading
from typing import Final

from dibundle.codecs import messages
from dibundle.errors import BundleError

MOST: Final = 64 << 20
OF_FRAME: Final = (
    64  # maximum excess of a frame in a new bundle; the pool is then large enough for the maximum number of frames
)


class Excess:
    """A pool of excess that all targets of a bundle share. The pool is thread-safe: several threads decode frames."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most
        self._lock = threading.Lock()
        self._is_over = False

    @property
    def left(self) -> int:
        """The remaining amount, in bytes of work."""
        return self._left

    def spend(self, excess: int) -> None:
        """If ``excess`` is above 0, take it from the pool. Raise :class:`BundleError` if the pool is too small."""
        with self._lock:
            self._left -= max(0, excess)
            if self._left < 0:
                raise BundleError(messages.LIMIT_DECODING_WORK)

    def end(self) -> None:
        """Stop all decoding that is still running, because the results are no longer needed."""
        self._is_over = True

    def require(self) -> None:
        """Raise :class:`BundleError` if :meth:`end` was called."""
        if self._is_over:
            raise BundleError(messages.LIMIT_DECODING_WORK)

"""What the frames and packings of a bundle may cost beyond what their sizes pay for (spec/dib.md, 4.6)."""

from __future__ import annotations

import threading
from typing import Final

from dibundle.codecs import messages
from dibundle.errors import BundleError

MOST: Final = 64 << 20
OF_FRAME: Final = 64  # up to which an encoder uses a codec: as many frames fit as a bundle may have


class Excess:
    """A pool that all targets of a bundle share; frames are decoded on several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How much is left, in bytes of work."""
        return self._left

    def spend(self, excess: int) -> None:
        """Take ``excess``, if it is above 0; :class:`BundleError` where there is less."""
        with self._lock:
            self._left -= max(0, excess)
            if self._left < 0:
                raise BundleError(messages.LIMIT_DECODING_WORK)

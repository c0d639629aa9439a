"""Limits for decompressing layers of archives that a bundle rebuilds or contains (spec/dib.md, 3.1).

The bundle controls such an archive, so the content of the archive is not trusted.
"""

from __future__ import annotations

from typing import Final

from dibundle.applying import messages
from dibundle.errors import ArchiveError

OF_BUNDLES: Final = ("gzip", "zstd")  # compressions that are supported in these archives
MADE_RATIO: Final = 16
MADE_FLOOR: Final = 64 << 20
"""Each archive may give ``MADE_RATIO`` times its size. All archives together may give ``MADE_FLOOR`` bytes more.
"""
CALL_BYTES: Final = 64
CALLS: Final = 1 << 19
"""Each archive allows one call of a library for each ``CALL_BYTES`` of its size. In addition, all archives together
allow ``CALLS``. A call takes up to 3 us, however little it gives. Each bundle of a chain may decompress the same layer
twice, so the calls for each byte of the layer are limited.
"""


class Shared:
    """What is left of the limits that all archives of a bundle share: bytes of content, and calls of libraries."""

    def __init__(self) -> None:
        self.made = MADE_FLOOR
        self.calls = CALLS


class Budget:
    """What is left of the limits for one archive of ``size`` bytes."""

    def __init__(self, size: int, shared: Shared) -> None:
        self._made = MADE_RATIO * size
        self._calls = size // CALL_BYTES
        self._shared = shared

    @property
    def made(self) -> int:
        """The number of bytes that may still be decompressed."""
        return max(0, self._made) + self._shared.made

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be decompressed."""
        return self.made <= 0 or (self._calls <= 0 and self._shared.calls <= 0)

    def spend(self, made: int) -> None:
        """Subtract decompressed bytes. Raise ``ArchiveError`` if fewer bytes were left."""
        of_shared = min(max(0, made - self._made), made)
        self._made -= made - of_shared
        self._shared.made -= of_shared
        if self._shared.made < 0:
            raise ArchiveError(messages.BASE_SEARCH_LIMIT)

    def spend_calls(self, calls: int) -> None:
        """Subtract calls of a library. Raise ``ArchiveError`` if fewer calls were left."""
        of_shared = min(max(0, calls - self._calls), calls)
        self._calls -= calls - of_shared
        self._shared.calls -= of_shared
        if self._shared.calls < 0:
            raise ArchiveError(messages.BASE_SEARCH_LIMIT)

"""Limits for decompressing layers of archives that a bundle rebuilds or contains (spec/dib.md, 10.1).

The bundle controls the content of these archives, so the content is not trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

from dibundle.applying import messages
from dibundle.errors import ArchiveError

Resource = Literal["made", "input", "calls"]
OF_BUNDLES: Final = ("gzip", "zstd")  # supported compressions in archives that a bundle rebuilds or contains
MADE_RATIO: Final = 16
MADE_FLOOR: Final = 64 << 20
"""Each archive may give ``MADE_RATIO`` times its size. All archives together may give ``MADE_FLOOR`` bytes more.
"""
INPUT_RATIO: Final = 3
INPUT_FLOOR: Final = 8 << 20
"""Layers may be read up to ``INPUT_RATIO`` times: to hash their content, to use it, and to recompress it. All archives
together may be read for ``INPUT_FLOOR`` bytes more. Hostile deflate data takes 0.24 us per byte, and gives nothing.
"""
CALL_BYTES: Final = 64
CALLS: Final = 1 << 19
"""Each archive allows one call of a library for each ``CALL_BYTES`` of its size. In addition, all archives together
allow ``CALLS``. A call takes up to 3 us, however little it gives.
"""


Limits = dict[Resource, int]


def shared_limits() -> Limits:
    """Return the limits that all archives of a bundle share. Reading archives reduces these limits."""
    return {"made": MADE_FLOOR, "input": INPUT_FLOOR, "calls": CALLS}


class Budget:
    """The remaining limits for one archive of ``size`` bytes.

    ``made`` are decompressed bytes, ``input`` are compressed bytes, and ``calls`` are calls of a library.
    """

    def __init__(self, size: int, shared: Limits) -> None:
        self._own: Limits = {"made": MADE_RATIO * size, "input": INPUT_RATIO * size, "calls": size // CALL_BYTES}
        self._shared = shared

    def left(self, what: Resource) -> int:
        """Return the remaining amount of ``what``, including the shared limits."""
        return self._own[what] + self._shared[what]

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be decompressed."""
        return any(self.left(what) <= 0 for what in get_args(Resource))

    def spend(self, what: Resource, amount: int) -> None:
        """Subtract an amount. Raise ``ArchiveError`` if less than this amount is left."""
        of_shared = max(0, amount - self._own[what])
        self._own[what] -= amount - of_shared
        self._shared[what] -= of_shared
        if of_shared and self._shared[what] < 0:
            raise ArchiveError(messages.BASE_SEARCH_LIMIT)

    def read(self, chunks: Iterable[bytes], times: int = 1) -> Iterator[bytes]:
        """Yield compressed bytes. Each byte reduces the limit for ``input`` by ``times``."""
        for chunk in chunks:
            self.spend("input", times * len(chunk))
            yield chunk

"""The parts of two contents that are left to search after long equal ranges were found (creation only).

The time of a full search grows with the size of the contents. In two versions of a program or a library, most bytes lie
in equal ranges of at least half a kilobyte. Anchors find these ranges in a tenth of the time. The middles of these
ranges are cut out of the source and the target. The remaining bytes are searched, and the result is converted to
offsets in the whole content.

These are the seconds of CPU for one search of ruff with HDiffPatch, and the bytes of the covers' streams:
- if equal stretches of at least 512 bytes are left out: 4.6 and 1,368,012
- if anchors with at most 128 bytes between them are also bridged, and stretches of at least 512 bytes are left out: 2.8
  and 1,392,029
- the same with stretches of at least 2,048 bytes: 3.2 and 1,366,560
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, rows_from

LONG: Final = 2048  # ranges of at least this many bytes are left out of the search
SHORT: Final = 512  # the same limit for a search that is followed by a better search
# bytes at each end of a range that are still searched, to find covers that reach into the range
MARGIN: Final = 128


class Remainder:
    """Two contents without the middles of their nearly equal ranges.

    ``rows`` has source, target and length of each range. Ranges of fewer than ``long`` bytes are not cut. ``source``
    and ``target`` are the remaining contents.
    """

    def __init__(self, source: Buffer, target: bytes, rows: array[int], long: int = LONG) -> None:
        self._middles = array("q")
        for s, t, length in zip(rows[0::3], rows[1::3], rows[2::3], strict=True):
            if length >= long:
                self._middles.extend((s + MARGIN, t + MARGIN, length - 2 * MARGIN))
        starts, targets, lengths = (self._middles[column::3] for column in range(3))
        self._old = _Rest(((s, s + length) for s, length in sorted(zip(starts, lengths, strict=True))), len(source))
        self._new = _Rest(((t, t + length) for t, length in zip(targets, lengths, strict=True)), len(target))
        self.source, self.target = self._old.of(source), self._new.of(target)

    def whole(self, rows: array[int]) -> array[int]:
        """Return covers of the whole contents.

        The result has the covers of the remaining content (``rows``), and the middles that were left out. Both ``rows``
        and the result have the source, target and length of each cover in one array.
        """
        room = len(rows) // 3 + len(self._middles) // 3 + len(self._old.starts) + len(self._new.starts)
        given = (
            *(Pinned(rows), len(rows) // 3),
            *(Pinned(self._old.starts), Pinned(self._old.places), len(self._old.starts)),
            *(Pinned(self._new.starts), Pinned(self._new.places), len(self._new.starts)),
            *(Pinned(self._middles), len(self._middles) // 3),
        )
        return rows_from(room, lambda *out: LIBRARY.dib_cover_whole(*given, *out))


class _Rest:
    """Content from which some ranges are left out. The ranges are in order, and may overlap.

    For each remaining range, ``starts`` has its offset in the whole content, and ``places`` has its offset in the
    remaining content. The last number of ``places`` is the end of the remaining content.
    """

    def __init__(self, without: Iterable[tuple[int, int]], size: int) -> None:
        self.starts, self.places = array("q"), array("q", [0])
        end = 0
        for start, stop in (*without, (size, size)):
            if start > end:
                self.starts.append(end)
                self.places.append(self.places[-1] + start - end)
            end = max(end, stop)

    def of(self, whole: Buffer) -> bytes:
        """Return the remaining content of ``whole``."""
        view = memoryview(whole)
        sizes = (end - start for start, end in pairwise(self.places))
        return b"".join(view[start : start + size] for start, size in zip(self.starts, sizes, strict=True))

"""Covers are ranges of a target that resemble ranges of a source (creation only, see ``native/match.c``).

A cover is approximate: most of its bytes are equal in source and target. The other bytes differ, but no bytes are
inserted or removed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from dibundle.codecs import pieces
from dibundle.codecs.encode import anchors
from dibundle.codecs.encode.remainder import LONG, SHORT, Remainder
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch

# if anchors cover all of a target except at most this share, the rest of the target is not searched
IN_PLACE: Final = 1 / 2048
STRIDE: Final = 16
"""The distance between two places of the source in the table.

At level 2, these are the seconds of CPU for anchors and the bytes of the bundle, first for 160 MB of changed files of
node-app, then for static-binary:

- stride 4: 2.3 and 12,148,712; 1.0 and 8,447,819
- stride 8: 1.8 and 12,025,280; 0.75 and 8,464,191
- stride 16: 1.4 and 11,898,760; 0.6 and 8,531,774
"""

FASTEST_STRIDE: Final = 32
"""The stride at level 1. At this level, saving 5 % of the time is worth more than saving 1 % of the bytes.

Compared with a smaller stride, node-app takes 12,699,022 bytes instead of 12,524,005, static-binary takes 9,136,381
instead of 8,985,323, and python-app takes 12,159,755 instead of 12,064,351.
"""

SHORTEST: Final = 8  # a search finds only ranges of at least this many bytes
PIECE: Final = 1 << 20  # a target is searched in pieces of this many bytes
SHARES: Final = 4  # number of shares in which the table of places is built; each share is built separately
SHARED: Final = 1 << 20  # minimum bytes of source for which the table is built in shares
LITTLE: Final = 128  # maximum bytes between two anchors on the same diagonal in a range that is not searched
BRIDGE: Final = 4096  # maximum bytes that a cover may bridge between two anchors on the same diagonal


class Cover(NamedTuple):
    """``length`` bytes at offset ``target`` in the target resemble the bytes at offset ``source`` in the source."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Covers:
    """Covers in ascending target order, without overlaps in the target, in three columns of 64-bit integers."""

    source: array[int] = field(default_factory=lambda: array("q"))
    target: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))

    @classmethod
    def of(cls, covers: Iterable[tuple[int, int, int]]) -> Covers:
        """Return the columns of (source, target, length) rows."""
        columns = cls()
        for source, target, length in covers:
            columns.source.append(source)
            columns.target.append(target)
            columns.length.append(length)
        return columns

    @classmethod
    def of_rows(cls, rows: array[int]) -> Covers:
        """Return the columns of ``rows``, which has the source, target and length of each cover in one array."""
        return cls(rows[0::3], rows[1::3], rows[2::3])

    def longest(self, count: int) -> Covers:
        """Return the ``count`` longest of these covers, in the same order."""
        kept = sorted(range(len(self)), key=lambda k: -self.length[k])[:count]
        return Covers.of((self.source[k], self.target[k], self.length[k]) for k in sorted(kept))

    def __len__(self) -> int:
        return len(self.length)

    def __iter__(self) -> Iterator[Cover]:
        return map(Cover, self.source, self.target, self.length)

    def check(self, source_size: int, target_size: int) -> None:
        """Raise ``ValueError`` if a cover is empty, out of bounds, or not after the previous cover."""
        columns = [Pinned(column) for column in (self.source, self.target, self.length)]
        if not LIBRARY.dib_cover_fits(*columns, len(self), source_size, target_size):
            raise ValueError(f"covers that do not fit into {source_size} and {target_size} bytes")


def find(source: Buffer, target: bytes, *, quick: bool = False) -> Covers:
    """Find the covers. For 10 MB of differing content, this takes about 0.5 s of CPU and 80 MB of memory.

    Long ranges that are nearly equal are left out of the search. With these ranges in the search, the bundle of
    node-app is 8 % larger at level 9. With ``quick``, the covers are good enough only for a map that guides a second
    search. The same inputs give the same covers.
    """
    if not source or not target:
        return Covers()
    rows = anchors.find(source, target, stride=STRIDE)
    joined = _bridged(rows)
    if len(target) - sum(joined.length) <= len(target) * IN_PLACE:
        return joined
    rest = Remainder(source, target, anchors.bridged(rows, most=LITTLE), SHORT if quick else LONG)
    return Covers.of_rows(rest.whole(_searched(rest.source, rest.target, quick=quick)))


def search(source: Buffer, target: bytes, *, quick: bool = False) -> Covers:
    """Find the covers by searching both contents completely."""
    return Covers.of_rows(_searched(source, target, quick=quick))


def _searched(source: Buffer, target: bytes, *, quick: bool) -> array[int]:
    held, wanted = Pinned(source), Pinned(target)
    words = LIBRARY.dib_match_words(held.size)
    if words < 0:
        raise ValueError(f"{held.size} bytes are more than a search can number")
    if not words or not wanted.size:
        return array("q")
    table = Pinned(scratch(4 * words))
    # the number of shares does not change the table: each share reads the whole source
    shares = min(SHARES, pieces.hands()) if held.size >= SHARED else 1
    for step, parts in enumerate((shares, 1, shares)):
        pieces.share(partial(LIBRARY.dib_match_table, held, held.size, table, step, parts), range(parts))

    def search_piece(start: int) -> array[int]:
        size = min(PIECE, wanted.size - start)
        room = size // SHORTEST + 2
        out = scratch(24 * room)
        place = start * held.size // wanted.size
        count = LIBRARY.dib_match(held, held.size, table, wanted.at(start), size, place, int(quick), Pinned(out), room)
        rows = array("q", memoryview(out)[: 24 * count].tobytes())
        rows[1::3] = array("q", [at + start for at in rows[1::3]])
        return rows

    return anchors.joined(pieces.share(search_piece, range(0, wanted.size, PIECE)))


def find_fast(source: Buffer, target: bytes, *, stride: int = STRIDE) -> Covers:
    """Return covers made of anchors. Anchors on the same diagonal are joined if few bytes lie between them.

    For 160 MB of changed files of node-app, this takes a fifth of the time of :func:`find`, and patches are 75 %
    larger. For recompiled byte code that changed in place, this takes an eighth of the time of :func:`find`, and
    patches have the same size.
    """
    return _bridged(anchors.find(source, target, stride=stride, piece=max(1, len(target))))


def _bridged(rows: array[int]) -> Covers:
    return Covers.of_rows(anchors.bridged(rows, most=BRIDGE))

"""Covers: which stretches of a target are like which stretches of a source, found by HDiffPatch (creation only).

A cover is approximate: most of its bytes are equal on both sides, the rest differ in place. HDiffPatch gives the covers
at the head of its own uncompressed patch ("HDIFF13"); nothing else of that patch is used, and none of it is stored.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dibundle.codecs import messages
from dibundle.codecs.encode import anchors
from dibundle.codecs.encode.remainder import LONG, Remainder
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import DibError, FileError, install_hint

IN_PLACE: Final = 1 / 2048  # share of a target that anchors may leave uncovered for a full search to find nothing more
STRIDE: Final = 16
"""Measured at level 2, seconds of CPU for anchors and the bundle. On 160 MB of changed files of node-app: stride 4 2.3
and 12,148,712, 8 1.8 and 12,025,280, 16 1.4 and 11,898,760; on static-binary 1.0 and 8,447,819, 0.75 and 8,464,191, 0.6
and 8,531,774."""

FASTEST_STRIDE: Final = 32
"""At level 1, where a twentieth of the time is worth more than a hundredth of the bytes: node-app 12,699,022 for
12,524,005, static-binary 9,136,381 for 8,985,323, python-app 12,159,755 for 12,064,351."""

LITTLE: Final = 128  # bytes between two anchors on one diagonal of a stretch that is not searched
BRIDGE: Final = 4096  # bytes between two anchors on one diagonal that one cover may bridge


class Cover(NamedTuple):
    """``length`` bytes at ``target`` in the target are like those at ``source`` in the source; offsets in bytes."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Covers:
    """Covers in ascending target order, apart from each other in the target, as three columns of 64-bit integers."""

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

    def longest(self, count: int) -> Covers:
        """Return the ``count`` longest of these covers, in the same order."""
        kept = sorted(range(len(self)), key=lambda k: -self.length[k])[:count]
        return Covers.of((self.source[k], self.target[k], self.length[k]) for k in sorted(kept))

    def __len__(self) -> int:
        return len(self.length)

    def __iter__(self) -> Iterator[Cover]:
        return map(Cover, self.source, self.target, self.length)

    def check(self, source_size: int, target_size: int) -> None:
        """Raise ``ValueError`` unless every cover lies within both sides, is not empty and follows the one before."""
        columns = [Pinned(column) for column in (self.source, self.target, self.length)]
        if not LIBRARY.dib_cover_fits(*columns, len(self), source_size, target_size):
            raise ValueError(f"covers that do not fit into {source_size} and {target_size} bytes")


def find(source: Buffer, target: bytes, *, all_of_it: bool = False, long: int = LONG) -> Covers:
    """Return the covers of ``target`` by ``source``; about a second of CPU and 130 MB for 10 MB that differ.

    Stretches of ``long`` bytes and more that are nearly equal are not searched for what else is like them, unless
    ``all_of_it`` is to be searched.
    The same inputs give the same covers. HDiffPatch's one tunable, the match score, is not reachable from its Python
    interface. Raises ``FileError`` where hdiffpatch is not installed.
    """
    if not source or not target:
        return Covers()
    rows = anchors.find(source, target, stride=STRIDE)
    quick = _bridged(rows)
    if len(target) - sum(quick.length) <= len(target) * IN_PLACE:
        return quick
    try:
        import hdiffpatch
    except ImportError as error:
        raise FileError(messages.LIBRARY_HDIFFPATCH_MISSING, install_hint=install_hint("hdiffpatch")) from error
    if all_of_it:
        return _search(hdiffpatch.diff, bytes(source), target)
    rest = Remainder(source, target, anchors.bridged(rows, most=LITTLE), long)
    found = _search(hdiffpatch.diff, rest.source, rest.target) if rest.source and rest.target else ()
    return Covers.of(rest.whole(found))


def _search(diff: Callable[..., bytes], source: bytes, target: bytes) -> Covers:
    patch = diff(source, target, compression="none", validate=False, big_cache_match=True)
    covers = _parse(patch, len(source), len(target))
    covers.check(len(source), len(target))
    return covers


def find_fast(source: Buffer, target: bytes, *, stride: int = STRIDE) -> Covers:
    """Return covers made of anchors: those on one diagonal with little between them become one.

    Measured on 160 MB of changed files of node-app: a fifth of the time of :func:`find`, patches three quarters larger;
    on byte code compiled again, changed in place: an eighth of the time, patches as small.
    """
    return _bridged(anchors.find(source, target, stride=stride))


def _bridged(rows: array[int]) -> Covers:
    joined = anchors.bridged(rows, most=BRIDGE)
    return Covers(joined[0::3], joined[1::3], joined[2::3])


def _parse(patch: bytes, source_size: int, target_size: int) -> Covers:
    """Read the covers out of an uncompressed HDIFF13 patch.

    After ``HDIFF13&`` and an empty name that ends in NUL: target size, source size, number of covers, then four pairs
    of stored and compressed size (0: not compressed), of which the first belongs to the covers, then these. A cover is
    the signed distance of its source from the end of the last one, the number of literal bytes before it, its length.
    Numbers are in groups of seven bits, the highest first; the sign takes the top bit of the first byte.
    """
    magic = b"HDIFF13&\0"
    if not patch.startswith(magic):
        raise DibError(messages.LIBRARY_HDIFFPATCH_MAGIC, found=patch[:9], magic=magic)
    reader = _Reader(patch, len(magic))
    sizes = (reader.number(), reader.number())
    count, stored, compressed = reader.number(), reader.number(), reader.number()
    for _ in range(6):
        reader.number()
    if sizes != (target_size, source_size) or compressed:
        raise DibError(messages.LIBRARY_HDIFFPATCH_SIZES)
    end = reader.at + stored
    covers = Covers()
    source = target = 0
    for _ in range(count):
        source += reader.signed()
        target += reader.number()
        length = reader.number()
        if length:
            covers.source.append(source)
            covers.target.append(target)
            covers.length.append(length)
        source += length
        target += length
    if reader.at != end:
        raise DibError(messages.LIBRARY_HDIFFPATCH_COVERS, at=reader.at, end=end)
    return covers


class _Reader:
    """Reads HDiffPatch's numbers from ``data`` at ``at``."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def number(self) -> int:
        """Return an unsigned number."""
        return self._rest(self._next(), 0x7F)

    def signed(self) -> int:
        """Return a number whose first byte carries a sign in its top bit."""
        first = self._next()
        value = self._rest((first & 0x40) << 1 | first & 0x3F, 0x3F)
        return -value if first & 0x80 else value

    def _next(self) -> int:
        byte = self.data[self.at]
        self.at += 1
        return byte

    def _rest(self, byte: int, mask: int) -> int:
        value = byte & mask
        while byte & 0x80:
            byte = self._next()
            value = value << 7 | byte & 0x7F
        return value

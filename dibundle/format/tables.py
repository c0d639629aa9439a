"""Rows of a manifest, stored as columns. Each access to a row creates a new object.

A manifest of a few kilobytes may have a million rows. As columns, these rows take about as much memory as in the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar, overload

from dibundle.files import digest

Row = TypeVar("Row")


class Range(NamedTuple):
    """``length`` bytes of the base object ``object``, from ``offset`` on.

    If ``object`` equals the number of base objects, the range is in the digest text.
    """

    object: int
    offset: int
    length: int


class Frame(NamedTuple):
    """A stored piece. With its source, the frame decodes to ``size`` bytes of ``stream``.

    If ``implied``, the source is the old content of the pieces that use the frame, in order. Otherwise, the source
    consists of the ranges in ``sources``. ``stored`` is the number of bytes in the file, and ``digest`` is the SHA-256
    of these bytes.
    """

    stream: int
    codec: int
    stored: int
    size: int
    digest: bytes
    implied: bool
    source_size: int
    sources: Sequence[Range] = ()


class Segment(NamedTuple):
    """``length`` bytes of a target, and their SHA-256 ``digest``.

    All segments without a separate ``digest`` share one digest.
    """

    length: int
    digest: bytes | None


class Table(Sequence[Row], Generic[Row]):
    """A sequence that creates its rows on access. A table is equal to any sequence with equal rows."""

    __slots__ = ("_rows",)
    __hash__ = None  # type: ignore[assignment] # as in list: sequences of different types may be equal

    def __init__(self, rows: range) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return self._part(self._rows[index])
        return self._row(self._rows[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"<{len(self)} rows of a {type(self).__name__}>"

    def _row(self, number: int) -> Row:
        raise NotImplementedError

    def _part(self, rows: range) -> Sequence[Row]:
        raise NotImplementedError


class RangeTable(Table[Range]):
    """Ranges of base objects."""

    __slots__ = ("lengths", "objects", "offsets")

    def __init__(
        self, objects: array[int], offsets: array[int], lengths: array[int], rows: range | None = None
    ) -> None:
        super().__init__(range(len(lengths)) if rows is None else rows)
        self.objects = objects
        self.offsets = offsets
        self.lengths = lengths

    def _row(self, number: int) -> Range:
        return Range(self.objects[number], self.offsets[number], self.lengths[number])

    def _part(self, rows: range) -> RangeTable:
        return RangeTable(self.objects, self.offsets, self.lengths, rows)


class FrameTable(Table[Frame]):
    """The frames of a manifest, which are stored in columns.

    ``firsts`` has the index of each frame's first explicit range. The last item of ``firsts`` is the total number of
    ranges.
    """

    __slots__ = ("codecs", "digests", "firsts", "kinds", "ranges", "sizes", "source_sizes", "stored", "streams")

    def __init__(
        self,
        *,
        streams: bytes,
        codecs: bytes,
        kinds: bytes,
        stored: array[int],
        sizes: array[int],
        source_sizes: array[int],
        firsts: array[int],
        ranges: RangeTable,
        digests: bytes,
        rows: range | None = None,
    ) -> None:
        super().__init__(range(len(streams)) if rows is None else rows)
        self.streams, self.codecs, self.kinds = streams, codecs, kinds
        self.stored, self.sizes, self.source_sizes = stored, sizes, source_sizes
        self.firsts, self.ranges, self.digests = firsts, ranges, digests

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> FrameTable:
        """Return frames as a table."""
        if isinstance(frames, FrameTable):
            return frames
        ranges = [item for frame in frames if not frame.implied for item in frame.sources]
        counts = (0 if frame.implied else len(frame.sources) for frame in frames)
        return cls(
            streams=bytes(frame.stream for frame in frames),
            codecs=bytes(frame.codec for frame in frames),
            kinds=bytes(1 if frame.implied else 2 if frame.sources else 0 for frame in frames),
            stored=_column(frame.stored for frame in frames),
            sizes=_column(frame.size for frame in frames),
            source_sizes=_column(frame.source_size for frame in frames),
            firsts=_column(accumulate(counts, initial=0)),
            ranges=RangeTable(
                _column(item.object for item in ranges),
                _column(item.offset for item in ranges),
                _column(item.length for item in ranges),
            ),
            digests=b"".join(frame.digest for frame in frames),
        )

    def sources(self, number: int) -> RangeTable:
        """Return the explicit ranges of a frame."""
        ranges = self.ranges
        rows = range(self.firsts[number], self.firsts[number + 1])
        return RangeTable(ranges.objects, ranges.offsets, ranges.lengths, rows)

    def _row(self, number: int) -> Frame:
        kind = self.kinds[number]
        return Frame(
            stream=self.streams[number],
            codec=self.codecs[number],
            stored=self.stored[number],
            size=self.sizes[number],
            digest=digest.nth(self.digests, number),
            implied=kind == 1,
            source_size=self.source_sizes[number],
            sources=self.sources(number) if kind == 2 else (),
        )

    def _part(self, rows: range) -> FrameTable:
        return FrameTable(
            streams=self.streams,
            codecs=self.codecs,
            kinds=self.kinds,
            stored=self.stored,
            sizes=self.sizes,
            source_sizes=self.source_sizes,
            firsts=self.firsts,
            ranges=self.ranges,
            digests=self.digests,
            rows=rows,
        )


class SegmentTable(Table[Segment]):
    """The segments of a target, which are stored in columns.

    ``kinds`` has a 1 for each segment that has a separate digest. ``digests`` has these digests, in order.
    """

    __slots__ = ("_owns", "digests", "kinds", "lengths")

    def __init__(self, lengths: array[int], kinds: bytes, digests: bytes, rows: range | None = None) -> None:
        super().__init__(range(len(kinds)) if rows is None else rows)
        self.lengths = lengths
        self.kinds = kinds
        self.digests = digests
        self._owns: array[int] | None = None  # for each segment, how many earlier segments have a digest

    def _row(self, number: int) -> Segment:
        if not self.kinds[number]:
            return Segment(self.lengths[number], None)
        if self._owns is None:
            self._owns = array("I", accumulate(self.kinds, initial=0))
        return Segment(self.lengths[number], digest.nth(self.digests, self._owns[number]))

    def _part(self, rows: range) -> SegmentTable:
        return SegmentTable(self.lengths, self.kinds, self.digests, rows)


class Paths(Sequence[bytes]):
    """Paths in ``data``. A NUL follows each path. Iteration finds the paths one by one."""

    __slots__ = ("data",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.count(b"\0")

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        while at < len(self.data):
            end = self.data.index(b"\0", at)
            yield self.data[at:end]
            at = end + 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))


def _column(values: Iterable[int]) -> array[int]:
    return array("q", values)

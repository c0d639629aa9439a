"""Costs of operations. An operation that uses a tenth of a frame's content costs a tenth of the frame's bytes."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from dibundle.format.outline import Operation
from dibundle.format.tables import FrameTable


class _Stream:
    """The frames of a stream, and the position up to which operations have read the stream."""

    def __init__(self, table: FrameTable, frames: array[int]) -> None:
        self._table = table
        self._frames = frames
        self._ends = array("q", accumulate(table.sizes[index] for index in frames))
        self._costs = array("q", accumulate((table.stored[index] for index in frames), initial=0))
        self.size = self._ends[-1] if frames else 0
        self._at = 0.0

    def draw(self, size: float) -> int:
        """Return the number of stored bytes for the next ``size`` bytes."""
        before = self._cost(self._at)
        self._at = min(self._at + size, self.size)
        return self._cost(self._at) - before

    def _cost(self, at: float) -> int:
        number = bisect_right(self._ends, at)
        if number == len(self._frames):
            return self._costs[-1]
        index = self._frames[number]
        stored, size = self._table.stored[index], self._table.sizes[index]
        within = at - (self._ends[number] - size)
        return round(self._costs[number] + stored * within / size)

    def files(self) -> list[int]:
        """Return the sizes of the stream's files. Consecutive frames with overlapping sources count as one file."""
        sizes: list[int] = []
        last: tuple[int, int, int] | None = None
        firsts, ranges = self._table.firsts, self._table.ranges
        for index in self._frames:
            place = None
            if firsts[index + 1] - firsts[index] == 1:
                row = firsts[index]
                place = (ranges.objects[row], ranges.offsets[row], ranges.offsets[row] + ranges.lengths[row])
            if last and place and place[0] == last[0] and last[1] < place[1] < last[2]:
                sizes[-1] += self._table.sizes[index]
            else:
                sizes.append(self._table.sizes[index])
            last = place
        return sizes


class Shares:
    """The costs of a target's operations, which are computed one by one in order.

    Without a base, the size of a patched file may be unknown. If the frames of a stream show where each file begins and
    ends, the frames give the size. Otherwise, files of unknown size count as equally large.
    """

    def __init__(self, table: FrameTable, frames: Iterable[int], operations: Sequence[Operation]) -> None:
        by_stream: dict[int, array[int]] = {}
        for index in frames:
            if table.sizes[index]:
                by_stream.setdefault(table.streams[index], array("i")).append(index)
        self._streams = {number: _Stream(table, found) for number, found in by_stream.items()}
        self._guesses = {number: iter(self._guess(number, operations)) for number in self._streams}

    def _guess(self, number: int, operations: Sequence[Operation]) -> list[float]:
        drawn = [item.size for item in operations if item.stream == number]
        unknown = drawn.count(None)
        if not unknown:
            return []
        stream = self._streams[number]
        files = stream.files()
        if len(files) == len(drawn):
            return [size for size, known in zip(files, drawn, strict=True) if known is None]
        rest = stream.size - sum(size for size in drawn if size is not None)
        return [max(0, rest) / unknown] * unknown

    def cost(self, operation: Operation) -> int:
        """Return the number of stored bytes for the next operation's content."""
        stream = self._streams.get(operation.stream) if operation.stream is not None else None
        if stream is None or operation.stream is None:
            return 0
        size = operation.size if operation.size is not None else next(self._guesses[operation.stream])
        return stream.draw(size)

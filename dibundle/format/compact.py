"""Targets that later bundles of a chain build on, kept in far fewer bytes than they have.

What a program copies out of an archive that was given stays there; the rest is compressed in small blocks, in memory up
to a limit, else in a temporary file. Of a release of an image of 287 MB the file has 24 MB, for 1 s of CPU.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from dibundle.codecs import zstd
from dibundle.files.context import Context
from dibundle.files.readat import ReadAt, root
from dibundle.format.constants import OP_BEGIN
from dibundle.format.manifest import Manifest
from dibundle.format.output import Piece
from dibundle.format.steps import Copy
from dibundle.format.tables import FrameTable

MEMORY: Final = 40 << 20
_LEAST_COPY: Final = 4096
_MOST_STRETCHES: Final = 1 << 18  # that stay in archives; 24 bytes of memory for each, and each one between
_BLOCK: Final = 8 << 10
"""Bytes that are decompressed where one is read. A bundle may have 262,144 ranges read, and one more for each 32 bytes
that it makes, and each may lie in two blocks: 30 us for both are within its bounds. Of 32 MB of node-app level 3 makes
11.7 MB in blocks of 4 KiB, 10.8 in 8, 10.1 in 16."""
_OPEN_BLOCKS: Final = 512
_LEVEL: Final = 3
_RATIO: Final = 0.4  # 0.3 to 0.4 for three pairs of programs and libraries
_OWN: Final = -1  # where a stretch lies, if not in an archive


def is_possible(manifest: Manifest) -> bool:
    """Whether what a bundle makes can be kept so: one target, and no compressed layers, of which it has all bytes."""
    return len(manifest.targets) == 1 and OP_BEGIN not in manifest.targets[0].columns.ops.data


def kept_size(manifest: Manifest) -> int:
    """Return about how many bytes of temporary file the only target of a bundle takes: what is no copy is of frames."""
    return max(0, int(_RATIO * min(manifest.targets[0].size, sum(FrameTable.of(manifest.frames).sizes))) - MEMORY)


class Objects(Protocol):
    """The base objects of a bundle, by their index in its manifest."""

    def source(self, object_index: int) -> ReadAt:
        """Return an object."""


class CompactTarget:
    """A target's bytes: a sink and a follower while the target is rebuilt, a source afterwards."""

    def __init__(self, manifest: Manifest, stable: Sequence[ReadAt], context: Context, memory: int = MEMORY) -> None:
        """Take temporary files from ``context``, which has to last as long as anything is read, as has ``stable``.

        ``stable`` are the archives in which copies may stay. ``memory`` bytes at most lie in memory.
        """
        self._least_copy = max(_LEAST_COPY, manifest.targets[0].size // _MOST_STRETCHES)
        self._stable = {id(source): number for number, source in enumerate(stable)}
        self._sources = stable
        self._base: Objects | None = None
        self._starts, self._places, self._offsets = array("Q"), array("q"), array("Q")
        self._placed = 0  # bytes whose place is known
        self._own = 0  # of these
        self._written = 0
        self._stretch = 0  # in which the next byte lies that is written
        self._waiting = bytearray()  # for a block to be whole
        self._most_memory = memory
        self._memory = bytearray()  # the first blocks; one stretch, as many small ones leave holes that nothing fits in
        self._file = context.spool()  # the others
        self._blocks = array("Q")  # where each begins in both together
        self._open: dict[int, bytes] = {}  # decompressed, the last one at the end
        self._codec = zstd.Blocks(_LEVEL)
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Number of bytes so far."""
        return self._written

    @property
    def file_size(self) -> int:
        """How many bytes of temporary file it takes."""
        return self._file.size

    @property
    def memory_left(self) -> int:
        """How much of the memory it did not take, in bytes."""
        return self._most_memory - len(self._memory)

    def begin(self, base: Objects) -> None:
        """Set the base that copies are taken from."""
        self._base = base

    def copied(self, step: Copy, offset: int, length: int) -> None:
        """``length`` bytes of a copy, ``offset`` bytes behind its beginning, come next."""
        assert self._base
        if step.length < self._least_copy:
            self.other(length)
            return
        source, at = root(self._base.source(step.object), step.offset + offset)
        if isinstance(source, CompactTarget):
            for place, within, part in source.places(at, length):
                self._stay(place, within, part)
        else:
            self._stay(source, at, length)

    def places(self, offset: int, length: int) -> Iterator[tuple[ReadAt | None, int, int]]:
        """Yield where stretches of the target lie: in an archive, from where on; None, where it has them itself."""
        number = bisect_right(self._starts, offset) - 1
        while length:
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self._written
            count = min(length, end - offset)
            place, within = self._places[number], self._offsets[number] + offset - self._starts[number]
            yield None if place == _OWN else self._sources[place], within, count
            offset, length, number = offset + count, length - count, number + 1

    def _stay(self, source: ReadAt | None, offset: int, length: int) -> None:
        """Take note of where the next bytes lie; those that nothing holds that stays are its own."""
        place = self._stable.get(id(source), _OWN)
        if place == _OWN or length < self._least_copy:
            self.other(length)
        else:
            self._place(place, offset, length)

    def other(self, length: int) -> None:
        """``length`` bytes come next that are no copy."""
        self._place(_OWN, self._own, length)
        self._own += length

    def _place(self, place: int, offset: int, length: int) -> None:
        goes_on = self._starts and self._places[-1] == place
        if not goes_on or self._offsets[-1] + self._placed - self._starts[-1] != offset:
            self._starts.append(self._placed)
            self._places.append(place)
            self._offsets.append(offset)
        self._placed += length

    def write(self, piece: Piece) -> None:
        """Take the next bytes of the target; keep those that are nowhere else."""
        view = memoryview(piece)
        while view:
            is_last = self._stretch + 1 == len(self._starts)
            end = self._placed if is_last else self._starts[self._stretch + 1]
            count = min(len(view), end - self._written)
            if self._places[self._stretch] == _OWN:
                self._keep(view[:count])
            self._written += count
            view = view[count:]
            if self._written == end and not is_last:
                self._stretch += 1

    def _keep(self, view: memoryview) -> None:
        while view:
            count = min(len(view), _BLOCK - len(self._waiting))
            self._waiting += view[:count]
            view = view[count:]
            if len(self._waiting) == _BLOCK:
                self._add_block()

    def _add_block(self) -> None:
        data = bytes(self._waiting)
        self._waiting.clear()
        stored = self._codec.compress(data)
        stored = stored if len(stored) < len(data) else data
        self._blocks.append(len(self._memory) + self._file.size)
        if len(stored) <= self.memory_left and not self._file.size:
            self._memory += stored
        else:
            self._file.write(stored)

    def finish(self) -> None:
        """End writing; reading begins only now."""
        if self._waiting:
            self._add_block()

    def close(self) -> None:
        """Give memory back: nothing is read any more."""
        self._memory = bytearray()
        self._open.clear()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        data = bytearray(length)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        for source, within, count in self.places(offset, len(view)):
            if source is None:
                self._read_own(within, view[:count])
            else:
                source.read_into(within, view[:count])
            view = view[count:]

    def _read_own(self, offset: int, view: memoryview) -> None:
        while view:
            number, within = divmod(offset, _BLOCK)
            with self._lock:
                block = self._opened(number)
            count = min(len(view), _BLOCK - within)
            view[:count] = block[within : within + count]
            offset, view = offset + count, view[count:]

    def _opened(self, number: int) -> bytes:
        """Return a block, decompressed."""
        block = self._open.pop(number, None)
        if block is None:
            size = min(_BLOCK, self._own - number * _BLOCK)
            stored = self._stored(number)
            block = self._codec.decompress(stored) if len(stored) < size else stored
            if len(self._open) >= _OPEN_BLOCKS:
                del self._open[next(iter(self._open))]
        self._open[number] = block
        return block

    def _stored(self, number: int) -> bytes:
        in_memory = len(self._memory)
        start = self._blocks[number]
        end = self._blocks[number + 1] if number + 1 < len(self._blocks) else in_memory + self._file.size
        if start < in_memory:
            return bytes(self._memory[start:end])
        return self._file.read_at(start - in_memory, end - start)

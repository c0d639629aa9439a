"""Compact storage of targets that are bases of later bundles in a chain.

If a program copies bytes from a given archive, these bytes are read from that archive. The other bytes are compressed
in small blocks. Up to a limit, blocks are in memory. Further blocks are in a temporary file. For an image of 287 MB,
one release takes 24 MB in the file and 1 s of CPU.
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
# maximum number of ranges that are read from archives; each range, and each gap between ranges, takes 24 bytes of
# memory
_MOST_STRETCHES: Final = 1 << 18
_BLOCK: Final = 8 << 10
"""The number of bytes in a block. To read a single byte, the whole block must be decompressed.

A bundle may read 262,144 ranges, and one more for each 32 bytes of output. A range may lie in two blocks. Decompressing
both blocks takes 30 us, which is within the limits of a bundle. At level 3, 32 MB of node-app take 11.7 MB in blocks of
4 KiB, 10.8 MB in blocks of 8 KiB and 10.1 MB in blocks of 16 KiB.
"""
_OPEN_BLOCKS: Final = 512
_LEVEL: Final = 3
_RATIO: Final = 0.4  # estimated compression ratio; measured: 0.3 to 0.4 for three pairs of programs and libraries
_OWN: Final = -1  # marks a range that is in no archive


def is_possible(manifest: Manifest) -> bool:
    """Return whether compact storage works for a bundle.

    The bundle must have exactly one target, and must not rebuild compressed layers. A compressed layer would have to be
    stored as a whole.
    """
    return len(manifest.targets) == 1 and OP_BEGIN not in manifest.targets[0].columns.ops.data


def kept_size(manifest: Manifest) -> int:
    """Estimate the size of the temporary file for a bundle's only target. Only bytes from frames are in the file."""
    return max(0, int(_RATIO * min(manifest.targets[0].size, sum(FrameTable.of(manifest.frames).sizes))) - MEMORY)


class Objects(Protocol):
    """The base objects of a bundle, by index in the bundle's manifest."""

    def source(self, object_index: int) -> ReadAt:
        """Return an object."""


class CompactTarget:
    """A target's bytes. This object is a sink and a follower during the rebuild, and a source afterwards."""

    def __init__(self, manifest: Manifest, stable: Sequence[ReadAt], context: Context, memory: int = MEMORY) -> None:
        """Prepare an empty target.

        ``stable`` are the archives from which copied bytes can be read later. ``context`` creates temporary files. The
        archives and ``context`` must stay open until the last read. ``memory`` is the maximum total size of the blocks
        in memory.
        """
        self._least_copy = max(_LEAST_COPY, manifest.targets[0].size // _MOST_STRETCHES)
        self._stable = {id(source): number for number, source in enumerate(stable)}
        self._sources = stable
        self._base: Objects | None = None
        self._starts, self._places, self._offsets = array("Q"), array("q"), array("Q")
        self._placed = 0  # number of bytes whose place is known
        self._own = 0  # number of bytes with a known place that are in no archive
        self._written = 0
        self._stretch = 0  # index of the range to which the next written byte belongs
        self._waiting = bytearray()  # the bytes that have arrived for the next block
        self._most_memory = memory
        self._memory = bytearray()  # the first blocks, in a single buffer, because many small buffers fragment the heap
        self._file = context.spool()  # the other blocks
        self._blocks = array("Q")  # offset of each block; offsets in the file begin at the size of self._memory
        self._open: dict[int, bytes] = {}  # decompressed blocks, in the order of their last use
        self._codec = zstd.Blocks(_LEVEL)
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The number of bytes that are already written."""
        return self._written

    @property
    def file_size(self) -> int:
        """The number of bytes in the temporary file."""
        return self._file.size

    @property
    def memory_left(self) -> int:
        """The unused part of the memory limit in bytes."""
        return self._most_memory - len(self._memory)

    def begin(self, base: Objects) -> None:
        """Set the base from which copies are read."""
        self._base = base

    def copied(self, step: Copy, offset: int, length: int) -> None:
        """Record that the next ``length`` bytes are part of a copy, and begin at ``offset`` in the copy."""
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
        """Split a range into parts, and yield the archive, offset and length of each part.

        For bytes that are stored in this object, the archive is None.
        """
        number = bisect_right(self._starts, offset) - 1
        while length:
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self._written
            count = min(length, end - offset)
            place, within = self._places[number], self._offsets[number] + offset - self._starts[number]
            yield None if place == _OWN else self._sources[place], within, count
            offset, length, number = offset + count, length - count, number + 1

    def _stay(self, source: ReadAt | None, offset: int, length: int) -> None:
        """Record where the next bytes are. If they are in no stable archive, record that this object stores them."""
        place = self._stable.get(id(source), _OWN)
        if place == _OWN or length < self._least_copy:
            self.other(length)
        else:
            self._place(place, offset, length)

    def other(self, length: int) -> None:
        """Record that the next ``length`` bytes are not copied."""
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
        """Take the next bytes of the target. Store the bytes that are in no archive."""
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
        """End writing. The target can be read only after this call."""
        if self._waiting:
            self._add_block()

    def close(self) -> None:
        """Free memory. The target cannot be read after this call."""
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
        """Return a decompressed block."""
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

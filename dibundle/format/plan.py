"""The plan of a rebuild. Planning walks the program once, and reads only header blocks of the base.

The walk finds each frame's source and last use. Before the first byte of output, the walk refuses a program that is
inconsistent or needs too many frames in memory. A program is inconsistent if its frames are out of order or not used
completely, or if its output has a wrong size.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from dibundle.codecs.excess import Excess
from dibundle.errors import BundleError
from dibundle.format import messages
from dibundle.format.constants import KEPT_UNIT, MAX_LIVE, MAX_OPEN, PACKING_COST, TEXT_STREAM
from dibundle.format.manifest import Manifest
from dibundle.format.program import BaseHeaders, walk
from dibundle.format.records import BLOCK, RAW_SHIFT
from dibundle.format.steps import Begin, Copy, Data, End, Head, ProgramStep, Repeat, Text
from dibundle.format.tables import Frame, FrameTable, Range

# maximum bytes of steps to keep in memory: if the steps take more, the program is walked twice (8 us per step)
MAX_KEPT = 16 << 20
_STEP, _BLOCK, _VALUE = 200, 600, 100  # bytes of memory for a step, for its header block and for each of its fields


@dataclass(slots=True)
class RebuildPlan:
    """The sources of implied frames, and the last use of each kept frame.

    ``steps`` are the steps of the program. If there are too many steps to keep, ``steps`` is None, and the rebuild
    walks the program again.
    """

    # for each frame, a flat list of its ranges: the offset, then object << 32 | length
    sources: dict[int, array[int]] = field(default_factory=dict)
    # frame -> index of the last repeat step that needs the frame
    last_use: dict[int, int] = field(default_factory=dict)
    steps: list[ProgramStep] | None = field(default_factory=list)
    _kept: int = 0

    def keep(self, step: ProgramStep) -> None:
        """Keep a step of the program. Drop all steps if there are too many."""
        if self.steps is not None:
            self.steps.append(step)
            self._kept += _STEP
            if isinstance(step, Head):
                self._kept += _VALUE * len(step.values) + (_BLOCK if step.reference else 0)
            if self._kept > MAX_KEPT:
                self.steps = None

    def source_ranges(self, index: int, frame: Frame) -> Iterator[Range]:
        """Yield the ranges of the base that are a frame's source, in order."""
        if not frame.implied:
            yield from frame.sources
            return
        flat = self.sources.get(index, array("Q"))
        for position in range(0, len(flat), 2):
            yield Range(flat[position + 1] >> 32, flat[position], flat[position + 1] & 0xFFFFFFFF)

    def source_size(self, index: int) -> int:
        """Return the size of an implied frame's source in bytes: the sum over the frame's pieces."""
        return sum(item & 0xFFFFFFFF for item in self.sources.get(index, array("Q"))[1::2])


class RecompressionBudget:
    """A pool for the part of each target's recompression cost above 16 times the target's size.

    All rebuilt targets of a bundle share the pool.

    Frames of codec 6 use the same pool, through ``excess``.
    """

    def __init__(self) -> None:
        self.excess = Excess()

    def limit(self, target_size: int) -> int:
        """Return the number of bytes of content that may be recompressed for the next target.

        A byte that is recompressed at a slow level counts as more than one byte.
        """
        return PACKING_COST * target_size + self.excess.left

    def spend(self, cost: int, target_size: int) -> None:
        """Subtract a target's excess cost from the pool. If too little is left, raise :class:`BundleError`."""
        self.excess.spend(cost - PACKING_COST * target_size)


class _Streams:
    """A tracker of the frames that a program has used."""

    def __init__(self, manifest: Manifest, first: int, count: int) -> None:
        self._table = FrameTable.of(manifest.frames)
        self._first = first
        self._waiting: dict[int, array[int]] = {}
        for index in range(first + count - 1, first - 1, -1):
            self._waiting.setdefault(self._table.streams[index], array("i")).append(index)
        self._current: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self.entered = first
        self._entered_at = array("q", bytes(8 * count))  # for each frame, the step that begins it
        self._used_up = array("q", bytes(8 * count))  # for each frame, the step that uses its last byte
        self.plan = RebuildPlan()

    def take(self, stream: int, length: int, source: Copy | None, step: int) -> None:
        whole = length
        while length:
            if not self._left.get(stream):
                self._enter(stream, step)
            used = min(length, self._left[stream])
            index = self._current[stream]
            if source and source.length and self._table.kinds[index] == 1:
                if used != whole or source.length >> 32:
                    raise BundleError(messages.PROGRAM_PIECE_CROSSES_FRAME, index=index)
                flat = self.plan.sources.setdefault(index, array("Q"))
                flat.append(source.offset)
                flat.append(source.object << 32 | source.length)
            self._left[stream] -= used
            if not self._left[stream]:
                self._used_up[index - self._first] = step
            length -= used

    def _enter(self, stream: int, step: int) -> None:
        waiting = self._waiting.get(stream)
        if not waiting:
            raise BundleError(messages.PROGRAM_STREAM_EXHAUSTED, stream=stream)
        index = waiting.pop()
        if index != self.entered:
            raise BundleError(messages.PROGRAM_FRAME_ORDER, index=index, entered=self.entered)
        self.entered += 1
        self._entered_at[index - self._first] = step
        self._current[stream] = index
        self._left[stream] = self._table.sizes[index]

    def repeat(self, repeat: Repeat, first: int, number: int) -> None:
        if not first <= repeat.frame < self.entered:
            raise BundleError(messages.PROGRAM_REPEAT_AHEAD, frame=repeat.frame)
        if repeat.offset + repeat.length > self._table.sizes[repeat.frame]:
            raise BundleError(messages.PROGRAM_REPEAT_BEYOND_END, frame=repeat.frame)
        self.plan.last_use[repeat.frame] = number

    def finish(self) -> None:
        if any(self._waiting.values()) or any(self._left.values()):
            raise BundleError(messages.PROGRAM_BYTES_LEFT)
        for index in range(self._first, self.entered):
            if self._table.kinds[index] == 1 and self.plan.source_size(index) != self._table.source_sizes[index]:
                raise BundleError(messages.PROGRAM_SOURCE_SIZE, index=index)

    def check_live(self) -> None:
        """Refuse a program if it needs too many bytes of decoded frames at the same time."""
        kept: list[tuple[int, int, int]] = []
        for index, last in self.plan.last_use.items():
            size = kept_size(self._table.sizes[index])
            kept += ((self._entered_at[index - self._first], 0, size), (last, 1, -size))
        if _most(kept) > MAX_LIVE:
            raise BundleError(messages.LIMIT_LIVE_FRAMES, most=_most(kept), max_live=MAX_LIVE)
        # a frame is counted from its first step up to the step before its last step
        live: list[tuple[int, int, int]] = []
        for index in range(self._first, self.entered):
            size, begun = self._table.sizes[index], self._entered_at[index - self._first]
            size = kept_size(size) if index in self.plan.last_use else size
            end = max(self._used_up[index - self._first], self.plan.last_use.get(index, 0))
            if end > begun:
                live += ((begun, 1, size), (end, 0, -size))
        if _most(live) > MAX_OPEN:
            raise BundleError(messages.LIMIT_OPEN_FRAMES, most=_most(live), max_open=MAX_OPEN)


def kept_size(size: int) -> int:
    """Return the memory that a kept frame of ``size`` bytes takes, rounded up to whole pages."""
    return -(-size // KEPT_UNIT) * KEPT_UNIT


def _most(changes: list[tuple[int, int, int]]) -> int:
    """Add the changes one after the other, and return the highest sum that occurs.

    A change has a step's index, an order within the step, and an amount.
    """
    changes.sort()
    return max(accumulate(change for _, _, change in changes), default=0)


def make_plan(
    manifest: Manifest, target_index: int, base: BaseHeaders, packings: RecompressionBudget | None = None
) -> RebuildPlan:
    """Walk a target's program once and return its plan.

    ``packings`` is the budget that the rebuilt targets of the bundle share. ``packings`` is None if there is only this
    target.

    Raises :class:`BundleError` if the program is inconsistent. Raises :class:`BaseMismatchError` if the base's header
    blocks differ from the blocks that the program expects.
    """
    target = manifest.targets[target_index]
    first = sum(before.frames for before in manifest.targets[:target_index])
    streams = _Streams(manifest, first, target.frames)
    sizes = _Sizes(target.size, (packings or RecompressionBudget()).limit(target.size))
    for number, step in enumerate(walk(target.columns, base, manifest.object_sizes)):
        if isinstance(step, Head):
            for value in step.values if step.shape >> RAW_SHIFT else ():
                if isinstance(value, Text):
                    streams.take(TEXT_STREAM, value.length, None, number)
        elif isinstance(step, Begin):
            streams.take(TEXT_STREAM, step.packing, None, number)
        elif isinstance(step, Data):
            streams.take(step.stream, step.length, step.source, number)
        elif isinstance(step, Repeat):
            streams.repeat(step, first, number)
        sizes.add(step)
        streams.plan.keep(step)
    sizes.finish()
    streams.finish()
    streams.check_live()
    return streams.plan


class _Sizes:
    """The running totals of a program: for its output, and for content to recompress."""

    def __init__(self, target_size: int, limit: int) -> None:
        self._target_size = target_size
        self._limit = limit
        self._output = 0
        self._content = 0
        self._packed: int | None = None  # output size of the current recipe; None if there is no current recipe

    def add(self, step: ProgramStep) -> None:
        """Count a step. Raise :class:`BundleError` as soon as a total is too large."""
        if isinstance(step, Begin):
            self._packed = step.packed
            return
        if isinstance(step, End):
            made, self._packed = self._packed or 0, None
        else:
            made = BLOCK if isinstance(step, Head) else step.length
        if self._packed is None:
            self._output += made
        else:
            self._content += made
        if self._output > self._target_size:
            self.finish()
        if self._content > self._limit:
            raise BundleError(messages.LIMIT_RECOMPRESSED_CONTENT, content=self._content, target_size=self._target_size)

    def finish(self) -> None:
        """Refuse an output whose size is not the target's size."""
        if self._output != self._target_size:
            raise BundleError(messages.PROGRAM_OUTPUT_SIZE, output=self._output, target_size=self._target_size)

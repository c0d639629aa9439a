"""The plan of a rebuild: a first walk through a program that needs header blocks alone.

It finds each frame's source and last use, and refuses, before the first byte of output, a program that does not add
up: frames out of order or not used up, output of another size than the target's, too much kept alive.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from dibundle.bundle.constants import COST_FLOOR, MAX_LIVE, PACKING_COST, TEXT_STREAM
from dibundle.bundle.manifest import Frame, Manifest, Range
from dibundle.bundle.program import BaseHeaders, Begin, Copy, Data, End, Head, Repeat, Step, Text, walk
from dibundle.bundle.records import BLOCK, RAW_SHIFT
from dibundle.errors import BundleError


@dataclass(slots=True)
class Plan:
    """What a rebuild needs to know of its frames: the sources of implied ones, and when a kept frame is let go."""

    sources: dict[int, array[int]] = field(default_factory=dict)  # frame -> object, offset, length, object, ...
    last_use: dict[int, int] = field(default_factory=dict)  # frame -> number of the repeat step that needs it last

    def source_ranges(self, index: int, frame: Frame) -> Iterator[Range]:
        """Yield the base ranges that make up a frame's source, in order."""
        if not frame.implied:
            yield from frame.sources
            return
        flat = self.sources.get(index, array("Q"))
        for position in range(0, len(flat), 3):
            yield Range(flat[position], flat[position + 1], flat[position + 2])


class _Streams:
    """Follows how a program uses up the frames of its streams."""

    def __init__(self, manifest: Manifest, first: int, count: int) -> None:
        self._frames = manifest.frames
        self._waiting: dict[int, list[int]] = {}
        for index in range(first + count - 1, first - 1, -1):
            self._waiting.setdefault(manifest.frames[index].stream, []).append(index)
        self._current: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self.entered = first
        self.entered_at: dict[int, int] = {}
        self.plan = Plan()

    def take(self, stream: int, length: int, source: Copy | None, step: int) -> None:
        whole = length
        while length:
            if not self._left.get(stream):
                self._enter(stream, step)
            used = min(length, self._left[stream])
            index = self._current[stream]
            if self._frames[index].implied and source and source.length:
                if used != whole:
                    raise BundleError(f"malformed bundle: a patched piece crosses the end of frame {index}")
                self.plan.sources.setdefault(index, array("Q")).extend(source)
            self._left[stream] -= used
            length -= used

    def _enter(self, stream: int, step: int) -> None:
        waiting = self._waiting.get(stream)
        if not waiting:
            raise BundleError(f"malformed bundle: its program asks for more of stream {stream} than there is")
        index = waiting.pop()
        if index != self.entered:
            raise BundleError(f"malformed bundle: frame {index} is needed before frame {self.entered}")
        self.entered += 1
        self.entered_at[index] = step
        self._current[stream] = index
        self._left[stream] = self._frames[index].size

    def repeat(self, repeat: Repeat, first: int, number: int) -> None:
        if not first <= repeat.frame < self.entered:
            raise BundleError(f"malformed bundle: a repeat of frame {repeat.frame}, which is not decoded yet")
        if repeat.offset + repeat.length > self._frames[repeat.frame].size:
            raise BundleError(f"malformed bundle: a repeat reads past the end of frame {repeat.frame}")
        self.plan.last_use[repeat.frame] = number

    def finish(self) -> None:
        if any(self._waiting.values()) or any(self._left.values()):
            raise BundleError("malformed bundle: its program leaves decoded bytes unused")
        for index, flat in self.plan.sources.items():
            if sum(flat[2::3]) != self._frames[index].source_size:
                raise BundleError(f"malformed bundle: the source of frame {index} has another size than declared")
        missing = [
            index
            for index in self.entered_at
            if self._frames[index].implied and self._frames[index].source_size and index not in self.plan.sources
        ]
        if missing:
            raise BundleError(f"malformed bundle: frame {missing[0]} declares a source that nothing gives it")

    def check_live(self) -> None:
        """Refuse programs that need more decoded frames at once than the limit."""
        events: list[tuple[int, int]] = []
        for index, last in self.plan.last_use.items():
            events.append((self.entered_at[index], self._frames[index].size))
            events.append((last, -self._frames[index].size))
        live = 0
        for _, change in sorted(events, key=lambda event: (event[0], -event[1])):
            live += change
            if live > MAX_LIVE:
                raise BundleError(f"bundle over a limit: {live} bytes of decoded frames kept, at most {MAX_LIVE}")


def packing_limit(target_size: int) -> int:
    """Return how much content may be packed for a target, in bytes; slow levels count more of it."""
    return PACKING_COST * target_size + COST_FLOOR


def make_plan(manifest: Manifest, target_index: int, base: BaseHeaders) -> Plan:
    """Walk a target's program once and return its plan.

    Raises :class:`BundleError` for a program that does not add up and :class:`BaseMismatchError` for a base whose
    header blocks are not those that the program counts on.
    """
    target = manifest.targets[target_index]
    first = sum(before.frames for before in manifest.targets[:target_index])
    streams = _Streams(manifest, first, target.frames)
    sizes = _Sizes(target.size)
    for number, step in enumerate(walk(target.columns, base, [item.size for item in manifest.objects])):
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
    sizes.finish()
    streams.finish()
    streams.check_live()
    return streams.plan


class _Sizes:
    """Adds up what a program makes: output, and content that is packed into output."""

    def __init__(self, target_size: int) -> None:
        self._target_size = target_size
        self._output = 0
        self._content = 0
        self._packed: int | None = None  # what the content at hand is packed into

    def add(self, step: Step) -> None:
        """Count a step; :class:`BundleError` as soon as there is too much."""
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
        if self._content > packing_limit(self._target_size):
            raise BundleError(
                f"bundle over a limit: {self._content} bytes to compress for a target of {self._target_size} bytes"
            )

    def finish(self) -> None:
        """Refuse another output than the target's."""
        if self._output != self._target_size:
            raise BundleError(f"malformed bundle: its program makes {self._output} bytes, wanted {self._target_size}")

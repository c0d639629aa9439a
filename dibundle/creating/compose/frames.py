"""Frames under construction. The content that operations read from streams is cut into frames, in reading order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dibundle.codecs.encode import layout
from dibundle.format.constants import MAX_LIVE, TEXT_STREAM
from dibundle.format.plan import kept_size
from dibundle.format.steps import Copy
from dibundle.format.tables import Range

# Content that is read in a different order, or decoded from a different kind of source, needs a separate stream.
PATCH_STREAM = 1  # small changed files, many in a frame
ADD_STREAM = 2  # content without a source
LARGE_STREAM = 3  # large changed files, in windows
DOCUMENT_STREAM = 4  # configs, manifests and similar documents

LONG_TEXT = 1024  # a text of at least this many bytes is not held in memory, but read again when its frame is encoded
UNIT = 4 << 20  # maximum bytes of the target in a frame of small files (engines.md)
UNIT_SOURCE = 16 << 20
TEXT_UNIT = 1 << 20
ADD_UNIT = 8 << 20
LARGE = 2 << 20  # minimum size of a changed file that gets its own frames
# bytes of the target in one frame of a large file; 32 MiB would make the bundle of static-binary 4 % larger
WINDOW = 64 << 20
# WINDOW at level 1: for node-app, windows of 64 MiB would take 3 % more time, and save 1.4 % of the bytes
FASTEST_WINDOW = 32 << 20
# maximum total bytes of a file's old and new version; both versions are in memory while their relinking is planned
LARGEST_PLAN = 384 << 20
WINDOW_MARGIN = 4 << 20  # extra source bytes of a window, before and after the range at the same relative position

Reader = Callable[[], bytes]


class LargeFile:
    """A large changed file, cut into windows. The relink plan for the whole file is made once."""

    def __init__(self, old: Copy, read: Callable[[int, int], bytes], size: int, windows: int) -> None:
        self.old = old
        self._read = read
        self._size = size
        self._left = windows
        self._lock = threading.Lock()
        self._plan: layout.RelinkPlan | None = None
        self._planned = False

    def prepare(self, read_old: Callable[[Copy], bytes]) -> None:
        """Make the relink plan for the whole file, if there is none yet."""
        with self._lock:
            if not self._planned and self._size + self.old.length <= LARGEST_PLAN:
                self._plan = layout.plan(read_old(self.old), self._read(0, self._size))
            self._planned = True

    def plan(self, read_old: Callable[[Copy], bytes], old: range, new: range) -> layout.RelinkPlan | None:
        """Return the plan for a window.

        Call this method for each window, in order. The call for the last window frees the plan for the whole file.
        """
        self.prepare(read_old)
        with self._lock:
            found = self._plan.window(old, new) if self._plan else None
            self._left -= 1
            if not self._left:
                self._plan = None
            return found


@dataclass(slots=True)
class FrameDraft:
    """A frame before it is encoded.

    ``pieces`` are functions that read the target's bytes, and ``old`` lists the ranges of the source; both lists are in
    order.

    For a frame of a large file, ``whole`` is the file, and ``window`` is the frame's range in the file.
    """

    index: int
    stream: int
    size: int = 0
    pieces: list[Reader] = field(default_factory=list)
    implied: bool = False
    old: list[Range] = field(default_factory=list)
    old_size: int = 0
    whole: LargeFile | None = None
    window: range = range(0)

    def read(self) -> bytes:
        """Return the bytes that the frame decodes to."""
        return b"".join(piece() for piece in self.pieces)


class FramePlanner:
    """A planner that cuts content into frames, and numbers them in the order of first use."""

    def __init__(self, first: int, literal_sources: list[Range], window: int) -> None:
        self._first = first
        self._window = window
        self._literal_sources = literal_sources
        self._open: dict[int, FrameDraft] = {}
        self._kept: set[int] = set()
        self._kept_size = 0
        self.drafts: list[FrameDraft] = []

    def text(self, data: bytes, stream: int = TEXT_STREAM) -> None:
        """Add literal bytes to the text or the document stream.

        After this call, the caller may add sources for these bytes.
        """
        if data:
            draft = self._room(stream, len(data), 0, TEXT_UNIT, 0)
            draft.old = self._literal_sources
            self._append(draft, lambda: data, len(data))

    def text_at(self, read: Callable[[int, int], bytes], size: int, stream: int = TEXT_STREAM) -> None:
        """Add ``size`` bytes like :meth:`text`, but read them only when the frame is encoded."""
        for start in range(0, size, TEXT_UNIT):
            part = min(TEXT_UNIT, size - start)
            draft = self._room(stream, part, 0, TEXT_UNIT, 0)
            draft.old = self._literal_sources
            self._append(draft, _part(read, start, part), part)

    def add(self, read: Callable[[int, int], bytes], size: int) -> list[tuple[int, int, int]]:
        """Add ``size`` bytes without a source. Return their places in frames: (frame, offset, length)."""
        places = []
        done = 0
        while done < size:
            draft = self._room(ADD_STREAM, 1, 0, ADD_UNIT, 0)
            part = min(size - done, ADD_UNIT - draft.size)
            places.append((draft.index, draft.size, part))
            self._append(draft, _part(read, done, part), part)
            done += part
        return places

    def patch(self, stream: int, read: Callable[[int, int], bytes], size: int, old: Copy) -> list[tuple[int, int, int]]:
        """Add ``size`` bytes that are patched from ``old``. Return the places of the bytes."""
        if stream == PATCH_STREAM:
            draft = self._room(stream, size, old.length, UNIT, UNIT_SOURCE)
            draft.implied = True
            place = (draft.index, draft.size, size)
            if old.length:
                draft.old.append(Range(*old))
                draft.old_size += old.length
            self._append(draft, _part(read, 0, size), size)
            return [place]
        places = []
        count = -(-size // self._window)
        whole = LargeFile(old, read, size, count) if count > 1 else None
        for number in range(count):
            start, end = size * number // count, size * (number + 1) // count
            draft = self._new(stream)
            draft.old = [_window(old, start, end, size, self._window)]
            draft.whole, draft.window = whole, range(start, end)
            draft.old_size = draft.old[0].length
            self._append(draft, _part(read, start, end - start), end - start)
            places.append((draft.index, 0, end - start))
        return places

    def keep(self, places: list[tuple[int, int, int]]) -> bool:
        """Return whether the memory limit allows readers to keep the frames at ``places`` for repeats.

        If so, count these frames against the limit.
        """
        frames = {frame for frame, _, _ in places} - self._kept
        size = sum(kept_size(max(self.drafts[frame - self._first].size, ADD_UNIT)) for frame in frames)
        if self._kept_size + size > MAX_LIVE:
            return False
        self._kept |= frames
        self._kept_size += size
        return True

    def _room(self, stream: int, size: int, old: int, unit: int, unit_old: int) -> FrameDraft:
        """Return the frame of ``stream`` that is being filled.

        If ``size`` more bytes do not fit, return a new frame.
        """
        draft = self._open.get(stream)
        if draft is None or (draft.size and (draft.size + size > unit or draft.old_size + old > max(unit_old, old))):
            draft = self._new(stream)
        return draft

    def _new(self, stream: int) -> FrameDraft:
        draft = FrameDraft(self._first + len(self.drafts), stream)
        self.drafts.append(draft)
        self._open[stream] = draft
        return draft

    def _append(self, draft: FrameDraft, piece: Reader, size: int) -> None:
        draft.pieces.append(piece)
        draft.size += size


def stream_for(size: int, old: int) -> int:
    """Return the stream for a changed file of ``size`` bytes whose old version has ``old`` bytes."""
    return LARGE_STREAM if max(size, old) >= LARGE else PATCH_STREAM


def _part(read: Callable[[int, int], bytes], start: int, length: int) -> Reader:
    return lambda: read(start, length)


def _window(old: Copy, start: int, end: int, size: int, most: int) -> Range:
    """Return the range of ``old`` that probably resembles ``start..end`` in a new file of ``size`` bytes."""
    if size <= most and old.length <= 2 * most:
        return Range(*old)
    slack = WINDOW_MARGIN + abs(size - old.length) // 2
    low = max(0, start * old.length // size - slack)
    high = min(old.length, end * old.length // size + slack, low + 2 * most)
    return Range(old.object, old.offset + low, high - low)

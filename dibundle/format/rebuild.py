"""The rebuild of a target: a second pass over the program. It reads the base and yields the target's bytes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from dibundle.codecs import decoders
from dibundle.codecs import recompression as packing
from dibundle.codecs.excess import Excess
from dibundle.codecs.native.library import apart, unfilled
from dibundle.codecs.recompression import Recompressor
from dibundle.errors import BaseMismatchError, BundleError
from dibundle.format import messages, records
from dibundle.format.constants import OP_BEGIN, TEXT_STREAM
from dibundle.format.manifest import Manifest
from dibundle.format.plan import RebuildPlan, RecompressionBudget
from dibundle.format.program import BaseHeaders, walk
from dibundle.format.reader import BundleReader
from dibundle.format.steps import Begin, Copy, Data, End, Head, ProgramStep, Repeat, Text, Zero
from dibundle.format.tables import Frame, FrameTable
from dibundle.format.values import Target

if TYPE_CHECKING:
    from concurrent.futures import Executor

CHUNK = 1 << 20
AHEAD = 48 << 20  # maximum bytes of frames that are decoded in advance, with their sources and payloads
OVERHEAD = 4096  # bytes of memory for any frame, in addition to its content
# maximum bytes of the current and the next frame; for a program of 90 MB, this limit cut the memory from 218 to 187 MiB
MOST = 96 << 20
Decoded = bytes | bytearray | memoryview
PACKERS = max(2, os.cpu_count() or 1)  # number of threads for the blocks of pgzip
MANY = 32 << 20  # a frame with at least this many bytes of covers and steps is decoded alone
# a frame of codec 6 with at least this many bytes is decoded alone, because it may need 300 MiB of memory
LARGE = 256 << 10
DECODERS = 2  # number of decoding threads; more threads help little, because few frames fit into the memory limit
LITTLE = 1 << 20  # maximum bytes of frames and sources to decode without a thread pool, whose import takes 7 ms


class Base(BaseHeaders, Protocol):
    """The base objects of a bundle, by index in the bundle's manifest."""

    def read_into(self, object_index: int, offset: int, view: memoryview) -> None:
        """Fill ``view`` with bytes of an object. Raise :class:`BaseMismatchError` if the object is too short."""

    def nearby(self, object_index: int, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes of an object, with read-ahead. Only one thread calls this method."""


class Follower(Protocol):
    """A receiver that gets the origin of each piece of a target. The receiver is called before the piece is yielded."""

    def copied(self, step: Copy, offset: int, length: int) -> None:
        """Record that the next ``length`` bytes are part of a copy, and begin at ``offset`` in the copy."""

    def other(self, length: int) -> None:
        """Record that the next ``length`` bytes are not copied."""


class _FrameFeed:
    """A reader and decoder of frames. One thread reads frames in file order, and other threads decode them.

    Until :meth:`read_ahead` is called, each frame is read when it is needed. Afterwards, frames are read before they
    are needed. The frames that are decoded in advance, with their sources and payloads, take at most ``AHEAD`` bytes.
    """

    def __init__(
        self,
        reader: BundleReader,
        base: Base,
        plan: RebuildPlan,
        digest_text: bytes,
        first: int,
        count: int,
        excess: Excess,
    ) -> None:
        self._excess = excess
        self._reader = reader
        self._base = base
        self._plan = plan
        self._digest_text = digest_text
        self._first = first
        self._count = count
        self._room = threading.Condition()
        self._asked = first
        self._waiting = 0
        self._given = 0
        self._ahead = False
        self._closed = False
        self._failed = False
        self._memory = _Memory()
        table, end = FrameTable.of(reader.manifest.frames), first + count
        total = sum(table.sizes[first:end]) + sum(table.source_sizes[first:end])
        self._workers = _pool(DECODERS) if total > LITTLE else None
        self._decoding: queue.SimpleQueue[tuple[int, Callable[[], Decoded]] | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next(self) -> tuple[int, Decoded]:
        """Return the next frame's index and decoded bytes."""
        with self._room:
            self._asked += 1
            self._room.notify()
        item = self._take()
        if isinstance(item, BaseException):
            raise item
        index, result = item
        data = result()
        with self._room:
            self._waiting -= _need(self._reader.manifest.frames[index])
            self._given = len(data)
            self._room.notify()
        return index, data

    def _take(self) -> tuple[int, Callable[[], Decoded]] | BaseException:
        """Wait for the next frame, in steps of 0.2 s. A single long wait could miss an earlier signal."""
        while True:
            try:
                return self._decoding.get(timeout=0.2)
            except queue.Empty:
                continue

    def read_ahead(self) -> None:
        """Read and decode frames before they are needed."""
        with self._room:
            self._ahead = True
            self._room.notify()

    def close(self) -> None:
        """Stop decoding. Do not join a thread that waits for a pipe. Such a thread ends with the process."""
        with self._room:
            self._closed = True
            self._room.notify()
        if self._workers:
            self._workers.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            for index in range(self._first, self._first + self._count):
                need = _need(self._reader.manifest.frames[index])
                with self._room:
                    while not (self._closed or self._failed or index < self._asked or self._has_room(need)):
                        self._room.wait()
                    # after a failure, stop: the caller gets the failed frame's error, and no later frame is needed
                    if self._closed or self._failed:
                        return
                    self._waiting += need
                frame, stored = self._reader.frame()
                decode = partial(self._decode, index, frame, stored)
                self._decoding.put((index, self._workers.submit(decode).result if self._workers else decode))
            # possible only if the base has changed since the plan was made
            self._decoding.put(BundleError(messages.PROGRAM_FRAME_MISSING))
        except BaseException as error:
            self._decoding.put(error)

    def _has_room(self, need: int) -> bool:
        fits = not self._waiting or self._waiting + need <= AHEAD
        return self._ahead and fits and self._given + need <= MOST

    def _decode(self, index: int, frame: Frame, stored: bytes) -> Decoded:
        reencoders = self._reader.manifest.reencoders
        try:
            with self._memory.use(alone=_is_large(frame, stored)):
                source = self._source(index, frame)
                return decoders.decode(frame.codec, stored, source, frame.size, reencoders, self._excess)
        except BaseException:  # stop decoding, because each error keeps its frame's payload in memory
            with self._room:
                self._failed = True
                self._room.notify()
            raise

    def _source(self, index: int, frame: Frame) -> bytearray:
        """Return the source of a frame, in a buffer that the decoder may overwrite."""
        source = unfilled(frame.source_size)
        rest = memoryview(source)
        for item in self._plan.source_ranges(index, frame):
            if item.object == len(self._reader.manifest.objects):
                rest[: item.length] = self._digest_text[item.offset : item.offset + item.length]
            else:
                self._base.read_into(item.object, item.offset, rest[: item.length])
            rest = rest[item.length :]
        return source


def _is_large(frame: Frame, stored: bytes) -> bool:
    """Return whether a frame may need so much memory that it must be decoded alone."""
    if frame.codec == decoders.UNPACK:
        return frame.size + frame.source_size >= LARGE
    return decoders.table_size(frame.codec, stored) >= MANY


class _Memory:
    """The memory for decoding. Several frames share the memory, but a large frame gets all of the memory."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._alone = False

    @contextmanager
    def use(self, *, alone: bool) -> Iterator[None]:
        """Wait until no frame uses the memory alone. With ``alone``, wait until no frame uses any of the memory."""
        with self._changed:
            while self._alone or (alone and self._users):
                self._changed.wait()
            self._users += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._alone = False
                self._changed.notify_all()


def _pool(threads: int) -> Executor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads)


def _need(frame: Frame) -> int:
    """Estimate the memory in bytes that a frame, its payload and its source take until the frame is used."""
    return frame.size + frame.source_size + frame.stored + OVERHEAD


class _Streams:
    """The decoded streams, which are read in order. A frame is kept until the last repeat step that needs the frame."""

    def __init__(self, feed: _FrameFeed, manifest: Manifest, plan: RebuildPlan) -> None:
        self._feed = feed
        self._frames = manifest.frames
        self._plan = plan
        self._current: dict[int, tuple[Decoded, int]] = {}
        self.kept: dict[int, Decoded] = {}

    def read(self, stream: int, length: int) -> Iterator[Decoded]:
        """Yield the next ``length`` bytes of ``stream`` as views of at most ``CHUNK`` bytes, without copying."""
        while length:
            data, position = self._current.get(stream, (b"", 0))
            if position == len(data):
                index, data = self._feed.next()
                position = 0
                if self._frames[index].stream != stream:
                    raise BundleError(messages.PROGRAM_FRAME_EARLY, index=index)
                if index in self._plan.last_use:
                    self.kept[index] = data = apart(data)
            used = min(length, len(data) - position, CHUNK)
            yield memoryview(data)[position : position + used]
            if position + used == len(data):
                self._current.pop(stream, None)
            else:
                self._current[stream] = (data, position + used)
            length -= used


def rebuild(
    manifest: Manifest,
    target_index: int,
    reader: BundleReader,
    base: Base,
    plan: RebuildPlan,
    packings: RecompressionBudget | None = None,
    follower: Follower | None = None,
) -> Iterator[Decoded]:
    """Yield the bytes of a target in pieces of any size. ``follower`` gets the origin of each piece.

    The caller checks the bytes against the digests of the target's segments. If the bundle is at fault, raises
    :class:`BundleError` or :class:`DigestError`. If the base is at fault, raises :class:`BaseMismatchError`.
    """
    target = manifest.targets[target_index]
    first = sum(before.frames for before in manifest.targets[:target_index])
    packings = packings or RecompressionBudget()
    feed = _FrameFeed(reader, base, plan, target.digest_text(), first, target.frames, packings.excess)
    try:
        pieces = _pieces(manifest, target, base, plan, _Streams(feed, manifest, plan), packings, follower)
        made = 0
        for piece in pieces:
            yield piece
            made += len(piece)
            del piece  # free this view of a frame
            # read ahead only after output has begun; until then, read only the needed part of the bundle
            if made > CHUNK:
                break
        feed.read_ahead()
        yield from pieces
    except BaseException:
        packings.excess.end()  # do not wait for frames that are decoded in advance: this may take minutes
        raise
    finally:
        feed.close()


def _pieces(
    manifest: Manifest,
    target: Target,
    base: Base,
    plan: RebuildPlan,
    streams: _Streams,
    packings: RecompressionBudget,
    follower: Follower | None,
) -> Iterator[Decoded]:
    rebuilder = _Rebuilder(base, plan, streams)
    is_packed = OP_BEGIN in target.columns.ops.data
    packers: AbstractContextManager[Executor | None] = _pool(PACKERS) if is_packed else nullcontext()
    with packers as pool:
        packing = _Packing(streams, pool, partial(packings.limit, target.size), manifest.reencoders)
        steps = plan.steps or walk(target.columns, base, manifest.object_sizes)
        for number, step in enumerate(steps):
            pieces: Iterable[Decoded] = ()
            if isinstance(step, Begin):
                packing.begin(step)
            elif isinstance(step, End):
                pieces = packing.end()
            elif packing.packer:
                pieces = chain.from_iterable(map(packing.write, rebuilder.pieces(number, step)))
            else:
                pieces = rebuilder.pieces(number, step)
            if follower:
                pieces = _followed(pieces, step if packing.packer is None else None, follower)
            yield from pieces
        packings.spend(packing.cost, target.size)


def _followed(pieces: Iterable[Decoded], step: ProgramStep | None, follower: Follower) -> Iterator[Decoded]:
    """Report the origin of each piece of a step, then yield the piece. ``step`` is None for recompressed bytes."""
    made = 0
    for piece in pieces:
        if isinstance(step, Copy):
            follower.copied(step, made, len(piece))
        else:
            follower.other(len(piece))
        made += len(piece)
        yield piece
        del piece  # free the piece before the next frame is decoded: it may be a view that keeps the old frame alive


class _Rebuilder:
    """A producer of each step's bytes."""

    def __init__(self, base: Base, plan: RebuildPlan, streams: _Streams) -> None:
        self._base = base
        self._plan = plan
        self._streams = streams
        self._headers = _Headers(streams)

    def pieces(self, number: int, step: ProgramStep) -> Iterable[Decoded]:
        """Return the bytes of step ``number``."""
        if isinstance(step, Head):
            return (self._headers.make(step),)
        if isinstance(step, Copy):
            return self._copied(step)
        if isinstance(step, Data):
            return self._streams.read(step.stream, step.length)
        if isinstance(step, Repeat):
            return (self._repeated(number, step),)
        assert isinstance(step, Zero)
        return (bytes(min(CHUNK, step.length - offset)) for offset in range(0, step.length, CHUNK))

    def _copied(self, step: Copy) -> Iterator[Decoded]:
        for offset in range(0, step.length, CHUNK):
            yield self._base.nearby(step.object, step.offset + offset, min(CHUNK, step.length - offset))

    def _repeated(self, number: int, step: Repeat) -> Decoded:
        kept = self._streams.kept
        data = kept[step.frame]
        if self._plan.last_use[step.frame] == number:
            del kept[step.frame]
        return memoryview(data)[step.offset : step.offset + step.length]


class _Packing:
    """Recompression of content, from the beginning to the end of a recipe.

    All recipes together cost at most ``limit()``.

    ``reencoders`` are the re-encoders that the bundle lists.
    """

    def __init__(
        self, streams: _Streams, pool: Executor | None, limit: Callable[[], int], reencoders: Collection[int]
    ) -> None:
        self._streams = streams
        self._pool = pool
        self._limit = limit
        self._reencoders = reencoders
        self._left = 0
        self.cost = 0  # total cost of the recipes that were used so far
        self.packer: Recompressor | None = None

    def begin(self, step: Begin) -> None:
        """Read a recipe."""
        data = b"".join(self._streams.read(TEXT_STREAM, step.packing))
        parts, plain = packing.read(data, self._reencoders, most=self._limit() - self.cost)
        self.cost += packing.cost(parts)
        self.packer = Recompressor(parts, plain, self._pool)
        self._left = step.packed

    def write(self, content: Decoded) -> Iterator[Decoded]:
        """Take content and yield the compressed bytes that are ready."""
        assert self.packer
        yield from self._checked(self.packer.write(content))

    def end(self) -> Iterator[Decoded]:
        """Yield the remaining compressed bytes. Raise :class:`BundleError` if there are too few compressed bytes."""
        assert self.packer
        yield from self._checked(self.packer.finish())
        if self._left:
            raise BundleError(messages.PROGRAM_RECIPE_SHORT, left=self._left)
        self.packer = None

    def _checked(self, pieces: Iterator[Decoded]) -> Iterator[Decoded]:
        for piece in pieces:
            self._left -= len(piece)
            if self._left < 0:
                raise BundleError(messages.PROGRAM_RECIPE_LONG)
            yield piece


class _Headers:
    """A producer of header blocks. The producer stores the most recent block of each register."""

    def __init__(self, streams: _Streams) -> None:
        self._streams = streams
        self._registers = [records.EMPTY, records.EMPTY]

    def make(self, head: Head) -> bytes:
        reference = self._registers[head.register] if head.reference is None else head.reference
        block = records.apply_edit(reference, head.shape, self._values(head))
        if block is None:
            kind = BundleError if head.reference is None else BaseMismatchError
            raise kind(messages.PROGRAM_HEADER_BLOCK)
        self._registers[head.register] = block
        return block

    def _values(self, head: Head) -> Sequence[int | bytes]:
        if not head.shape >> records.RAW_SHIFT:
            return head.values  # type: ignore[return-value] # only numbers
        return [
            b"".join(self._streams.read(TEXT_STREAM, value.length)) if isinstance(value, Text) else value
            for value in head.values
        ]

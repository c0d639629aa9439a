"""Verified output of a target. Every byte is hashed, and the tail is withheld until everything is verified."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from functools import partial

from dibundle.errors import BaseMismatchError, DibError, DigestError
from dibundle.files import digest
from dibundle.format import messages
from dibundle.format.records import BLOCK
from dibundle.format.tables import Segment
from dibundle.format.values import Target

Piece = bytes | bytearray | memoryview
Sink = Callable[[Piece], object]
WRITE = 1 << 20
LARGE = 64 << 10  # pieces of at least this size are not copied: for python-app, copying them took 0.3 s of CPU
WAITING = 8  # maximum number of tasks in the queue of the hashing thread
PIECES = 16384  # maximum number of waiting small pieces: a million pieces of one byte would take 200 MB


class VerifiedOutput:
    """A sink for a target's bytes, in order.

    It checks each segment's digest, and passes on the bytes before the tail. With ``whole``, it also checks the SHA-256
    of the whole target. ``has_base`` is true if wrong bytes may come from a base. Otherwise, wrong bytes are the fault
    of the bundle.
    """

    def __init__(self, target: Target, sink: Sink, *, whole: bool = False, has_base: bool = True) -> None:
        self._target = target
        self._sink = sink
        self._has_base = has_base
        self._written = 0
        self._segments = iter(target.segments)
        self._segment: Segment | None = None
        self._left = 0
        self._rest = hashlib.sha256()
        self._own = hashlib.sha256()
        self._whole = hashlib.sha256() if whole else None
        self._waiting: list[Piece] = []
        self._waiting_size = 0
        self._held: list[Piece] = []
        self._failure: DibError | None = None
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(WAITING):
            self._room.put(None)
        self._thread = threading.Thread(target=self._hash, daemon=True)
        self._thread.start()

    def write(self, piece: Piece) -> None:
        """Take the next bytes. Raise an error as soon as a finished segment is known to be wrong.

        The output that is passed on always ends with the first byte of a block. Therefore, a truncated stream never
        ends between entries.
        """
        if len(piece) < LARGE:
            self._wait(bytes(piece))  # a view would keep the whole frame in memory
            if self._waiting_size >= WRITE or len(self._waiting) >= PIECES:
                self._flush()
            return
        view = memoryview(piece)
        first = (1 - self._written - self._waiting_size) % BLOCK
        last = len(view) - (len(view) - first) % BLOCK
        self._wait(bytes(view[:first]))
        self._flush()
        self._pass_on(view[first:last])
        self._wait(bytes(view[last:]))  # a view would keep the whole frame in memory

    def finish(self) -> None:
        """Check everything, then pass on the tail."""
        self._flush(last=True)
        self._next_segment()
        self._later(partial(self._check, self._rest, self._target.rest_digest, "the rest of the archive"))
        if self._whole is not None:
            self._later(partial(self._check, self._whole, self._target.digest, "the whole archive"))
        self.close()
        self._raise_failure()
        for piece in self._held:
            self._sink(piece)

    def close(self) -> None:
        """Stop the hashing thread. Calling this method twice is harmless."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()

    def _wait(self, piece: Piece) -> None:
        self._waiting.append(piece)
        self._waiting_size += len(piece)

    def _flush(self, *, last: bool = False) -> None:
        """Pass on waiting bytes up to and including the last block's first byte. With ``last``, pass on all bytes."""
        chunk = memoryview(b"".join(self._waiting))
        kept = 0 if last else (self._written + len(chunk) - 1) % BLOCK
        self._waiting, self._waiting_size = [chunk[len(chunk) - kept :]], kept
        self._pass_on(chunk[: len(chunk) - kept])

    def _pass_on(self, chunk: memoryview) -> None:
        self._hash_chunk(chunk)
        self._raise_failure()
        before_tail = self._target.tail - self._written
        before_tail -= self._target.tail % BLOCK == 0  # otherwise, truncated output could end between entries
        self._written += len(chunk)
        if before_tail >= len(chunk):
            self._sink(chunk)
        elif before_tail > 0:
            self._sink(chunk[:before_tail])
            self._held.append(bytes(chunk[before_tail:]))  # a view would keep the whole frame in memory
        else:
            self._held.append(bytes(chunk))

    def _hash_chunk(self, view: memoryview) -> None:
        if self._whole is not None:
            self._later(partial(self._whole.update, view))
        while view:
            if not self._left:
                self._next_segment()
            assert self._segment is not None
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            hasher = self._own if self._segment.digest else self._rest
            self._later(partial(hasher.update, piece))

    def _next_segment(self) -> None:
        """Go to the next segment that has bytes. Check the segment that ends here, and any empty segments after it."""
        while not self._left:
            if self._segment is not None and self._segment.digest:
                wanted = self._segment.digest
                self._later(partial(self._check, self._own, wanted, f"content {digest.text(wanted)}"))
                self._own = hashlib.sha256()
            self._segment = next(self._segments, None)
            if self._segment is None:
                return
            self._left = self._segment.length

    def _check(self, hasher: hashlib._Hash, wanted: bytes, what: str) -> None:
        found = hasher.digest()
        if found == wanted or self._failure:
            return
        if self._has_base:
            self._failure = BaseMismatchError(messages.BASE_CHANGED, subject=what, found=digest.text(found))
        else:
            self._failure = DigestError(messages.BUNDLE_WRONG_OUTPUT, subject=what, found=digest.text(found))

    def _later(self, task: Callable[[], None]) -> None:
        """Queue a task for the hashing thread. Wait if the queue is full."""
        self._room.get()
        self._work.put(task)

    def _hash(self) -> None:
        while (task := self._work.get()) is not None:
            task()
            del task  # free the task, because the task may hold a view of a frame
            self._room.put(None)

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

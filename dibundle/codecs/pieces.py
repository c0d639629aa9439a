"""Division of the work on one frame into independent pieces for idle workers (creation only).

The pieces do not depend on the workers, so results do not depend on the number of workers. Functions that
:func:`choose.encode` calls need no parameter for workers: the thread's context holds the crew, if there is one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Trace:
    """The CPU time that a frame takes, in seconds.

    Steps that only the frame's own worker can do, and pieces that any worker can do, have separate times.
    """

    def __init__(self) -> None:
        self.steps: list[float | list[float]] = []
        self._since = time.thread_time()

    def add(self, pieces: list[float] | None = None) -> None:
        """Record the times of the finished ``pieces``.

        Without ``pieces``, record this thread's time since the last call.
        """
        now = time.thread_time()
        self.steps.append(now - self._since if pieces is None else pieces)
        self._since = now


class Crew:
    """The threads of a ``pool`` with ``workers`` threads.

    Each thread encodes a frame, or helps with other threads' frames.
    """

    def __init__(self, pool: Executor, workers: int) -> None:
        self.pool = pool
        self._idle = workers
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self) -> Iterator[Trace]:
        """Let this thread of the pool share its pieces with idle threads."""
        trace = Trace()
        token = _CURRENT.set((self, trace))
        self._count(-1)
        try:
            yield trace
        finally:
            self._count(1)
            _CURRENT.reset(token)
            trace.add()

    @property
    def idle(self) -> int:
        """The number of workers that are idle now."""
        return max(0, self._idle)

    def _count(self, more: int) -> None:
        with self._lock:
            self._idle += more


_CURRENT: ContextVar[tuple[Crew, Trace] | None] = ContextVar("crew", default=None)


def hands() -> int:
    """Return the number of workers that could work on pieces now: this worker and the idle workers."""
    current = _CURRENT.get()
    return 1 + current[0].idle if current else 1


class _Work(Generic[Item, Result]):
    """A function and its items.

    When all items are done, the function and the items are dropped: the pool's queue may keep this object longer.
    """

    def __init__(self, function: Callable[[Item], Result], items: list[Item]) -> None:
        self.seconds = [0.0] * len(items)
        self._run: Callable[[int], Result] | None = lambda number: function(items[number])

    def run(self, number: int) -> Result:
        """Return the result for an item, and record the seconds of CPU."""
        assert self._run
        begun = time.thread_time()
        result: Result = self._run(number)
        self.seconds[number] = time.thread_time() - begun
        return result

    def forget(self) -> None:
        """Drop the function and the items."""
        self._run = None


def share(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the function's results in the order of the items. Idle workers help.

    This thread does each item that no other thread has begun, so a pool's threads cannot deadlock.
    """
    given, current = list(items), _CURRENT.get()
    if current is None or len(given) < 2:
        return [function(item) for item in given]
    crew, trace = current
    trace.add()
    token = _CURRENT.set(None)  # a piece is not divided into further pieces
    work = _Work(function, given)
    try:
        futures = [crew.pool.submit(work.run, number) for number in range(1, len(given))]
        results: list[Result] = [work.run(0)]
        for number, future in enumerate(futures, 1):
            results.append(work.run(number) if future.cancel() else future.result())
    finally:
        work.forget()
        _CURRENT.reset(token)
    trace.add(work.seconds)
    return results

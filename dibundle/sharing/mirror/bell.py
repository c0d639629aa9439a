"""A signal between the threads of the mirror and its event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """A signal that wakes threads, and coroutines of any loop, after a change."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake all waiting threads and coroutines."""
        with self.changed:
            self.changed.notify_all()
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            with suppress(RuntimeError):  # the loop of this coroutine has ended
                loop.call_soon_threadsafe(event.set)

    async def wait(self, is_over: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until ``is_over`` returns true. ``is_over`` is called at each change. Return False after ``seconds``."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while True:
            event = asyncio.Event()
            with self.changed:
                if is_over():
                    return True
                self._waiting.add((loop, event))
            try:
                await asyncio.wait_for(event.wait(), None if end is None else max(0.0, end - loop.time()))
            except TimeoutError:
                return is_over()
            finally:
                with self.changed:
                    self._waiting.discard((loop, event))

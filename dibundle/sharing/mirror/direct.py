"""Send a blob from upstream directly to a client. The thread that downloads also sends, without the event loop.

This takes 40 % less CPU time than sending through the event loop and the cache's file.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dibundle.sharing.mirror.bell import Bell

_MOST_WAIT: Final = 1.0  # maximum seconds, in total, that a download waits for a client that takes no bytes
_STEP: Final = 0.1  # seconds after which a waiting thread checks again whether the client has left


class Direct:
    """A client's connection to which the thread of a download writes.

    The event loop writes nothing to this connection until :meth:`end`. Then the event loop sends the rest of the blob.
    """

    def __init__(self, connection: socket.socket, at: int, note: Callable[[int], None]) -> None:
        """Take over a connection, and close this connection at the end.

        ``note`` is called with the number of bytes of each write.

        ``at`` is the number of bytes of the blob that were already sent.
        """
        self._connection = connection
        self._note = note
        self._patience = _MOST_WAIT
        self._writing = threading.Lock()
        self.at = at
        self.is_over = False
        self.bell = Bell()

    def send(self, piece: bytes, start: int, available: int, *, may_wait: bool) -> None:
        """Send the part of a piece that the client does not have yet.

        ``piece`` begins at byte ``start`` of the blob. Bytes from ``available`` on are not sent. If ``may_wait`` is
        false, the client must take the part at once. If the client takes too long, nothing is written after this call.
        """
        with self._writing:
            view = memoryview(piece)[self.at - start : max(0, available - start)]
            while view and not self.is_over:
                try:
                    count = self._connection.send(view, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if not (may_wait and self._wait()):
                        break
                    continue
                except OSError:
                    break
                self.at += count
                self._note(count)
                view = view[count:]
        if view or self.is_over:
            self.end()

    def _wait(self) -> bool:
        """Wait until the client takes bytes. Return False if the client takes too long."""
        begun = time.monotonic()
        ready = select.poll()
        ready.register(self._connection, select.POLLOUT)
        while not self.is_over and not ready.poll(1000 * _STEP) and time.monotonic() - begun < self._patience:
            pass
        self._patience -= time.monotonic() - begun
        return not self.is_over and self._patience > 0

    def end(self) -> None:
        """Stop writing. Any thread may call this method, any number of times."""
        self.is_over = True
        # if another thread is writing, that thread holds the lock, and closes the connection after writing
        if self._writing.acquire(blocking=False):
            with suppress(OSError):
                self._connection.close()
            self._writing.release()
        self.bell.ring()

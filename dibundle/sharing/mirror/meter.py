"""Measure how fast clients take bytes, and how many bytes the system holds for the clients."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress
from typing import Final

WAITING: Final = 30.0  # maximum seconds until a client sends its first or next request
UNREAD: Final = 300.0  # maximum seconds during which a client takes no piece of a blob
LEAST: Final = 128 << 10  # a client that takes fewer bytes than this in ``WAITING`` seconds is slow
BRIEF: Final = 2.0  # a client does not count as idle, slow or waiting before this many seconds have passed
_RESET: Final = 7  # the state TCP_CLOSE; after a reset, the system still reports the bytes that it has dropped


class Meter:
    """The number of bytes by which a client is below the minimum rate (``LEAST`` bytes in ``WAITING`` seconds).

    Time without available bytes does not count.
    """

    def __init__(self) -> None:
        self.shortfall = 0.0  # bytes
        # since when bytes have been available to the client, and how many it had taken then; set again after LEAST
        # bytes
        self.reads: tuple[float, int] | None = None

    def look(self, taken: int, left: int) -> None:
        """Record how many bytes the client has taken so far, and how many bytes it can still take."""
        now = time.monotonic()
        if not left:
            self.reads, self.shortfall = None, 0.0
            return
        if self.reads is None or taken >= self.reads[1] + LEAST:
            self.reads = now, taken
        age = now - self.reads[0]
        wanted = LEAST * age / WAITING if age > BRIEF else 0.0
        self.shortfall = max(0.0, wanted - (taken - self.reads[1]))

    @property
    def is_over(self) -> bool:
        """Whether the client has taken too few of the available bytes for ``UNREAD`` seconds."""
        return self.reads is not None and time.monotonic() - self.reads[0] > UNREAD


class Leaving:
    """An ended connection for which the system still holds bytes.

    It counts as a client, because the system might otherwise hold the bytes of any number of connections.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._first = held(connection)
        self.meter = Meter()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        self.look()

    def look(self) -> None:
        """Record how many bytes the client has taken."""
        left = held(self._connection)
        self.meter.look(self._first - left, left)

    def hang_up(self) -> None:
        """Close the connection, and drop the bytes that the client has not taken."""
        drop_unsent(self._connection)
        self.release()

    def release(self) -> None:
        """Close the connection. The system continues to send the bytes that it holds."""
        self._connection.close()


def held(connection: socket.socket) -> int:
    """Return how many bytes the system holds for the other side of a connection."""
    with suppress(OSError, ValueError, AttributeError):  # the connection has ended
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _RESET:
            return 0
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    return 0


def drop_unsent(connection: socket.socket) -> None:
    """Make the system drop unsent bytes when the connection is closed. The other side then gets a reset."""
    if held(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

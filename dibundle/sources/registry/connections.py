"""Connections to registries: made only to allowed addresses, and ended when they take too long."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import urllib3

from dibundle.sources.registry.places import kind, kinds

Sockets = weakref.WeakKeyDictionary[urllib3.connection.HTTPConnection, socket.socket | None]
"""Open connections, each with the socket of its last answer or greeting."""

CONNECTING: Final = 15.0  # seconds
ADDRESSES: Final = 8  # maximum addresses of a host that are tried, all within the time for one


class CheckPlace(Protocol):
    """Refuses a host, before a byte is sent, for the kinds of its addresses, or of the one that was reached."""

    def __call__(self, host: str, addresses: set[str], /, *, is_reached: bool) -> None:
        """Raise ``RegistryError`` for kinds that this host may not have."""


def pool_classes(
    check: CheckPlace,
    sockets: Sockets,
    watchdog: Watchdog,
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return pools whose connections pass their addresses to ``check`` before a byte is sent."""

    def connected(connection: urllib3.connection.HTTPConnection) -> socket.socket:
        sockets[connection] = None
        with suppress(OSError, ValueError):  # a host that cannot be resolved cannot be reached either
            check(connection.host, kinds(connection.host), is_reached=False)
        made = _connect(connection)
        try:
            peer = str(made.getpeername()[0])  # a name may resolve to another address from one moment to the next
            found = kind(peer) or ("loopback" if peer == str(made.getsockname()[0]) else None)
            check(connection.host, {found} if found else set(), is_reached=True)
        except BaseException:
            made.close()
            raise
        return made

    def answered(
        connection: urllib3.connection.HTTPConnection, answer: Callable[[], urllib3.HTTPResponse]
    ) -> urllib3.HTTPResponse:
        """Wait for status and headers: each byte may come in time, but the last one never."""
        sockets[connection] = connection.sock  # if the registry closes it, the connection drops it
        with watchdog.watch(connection):
            return answer()

    class Plain(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self)

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
            return answered(self, super().getresponse)

    class Secure(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            made = connected(self)
            sockets[self] = made.dup()  # TLS takes over the other one, which may wait as well
            return made

        def connect(self) -> None:
            with watchdog.watch(self):
                try:
                    super().connect()
                finally:
                    greeted, sockets[self] = sockets.get(self), None
                    if greeted is not None:
                        greeted.close()

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
            return answered(self, super().getresponse)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    """Connect to the first address of a host that answers; urllib3 would wait as long for each as for one."""
    seconds = connection.timeout
    end = time.monotonic() + (seconds if isinstance(seconds, int | float) else CONNECTING)
    try:
        found = socket.getaddrinfo(connection.host.strip("[]"), connection.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise urllib3.exceptions.NewConnectionError(connection, f"cannot find {connection.host}: {error}") from error
    failure: OSError = TimeoutError("no address answers in time")
    for family, type_, protocol, _, address in found[:ADDRESSES]:
        left = end - time.monotonic()
        if left <= 0:
            break
        made = socket.socket(family, type_, protocol)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.settimeout(left)
            made.connect(address)
            made.settimeout(seconds)
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise urllib3.exceptions.NewConnectionError(connection, f"cannot connect: {failure}") from failure


class Watchdog:
    """Ends connections that wait longer than ``seconds``, even if bytes trickle in; one thread watches all.

    A timer for each read would take longer than many reads do.
    """

    def __init__(self, seconds: float, sockets: Sockets) -> None:
        self._seconds = seconds
        self._sockets = sockets
        self._watched: tuple[urllib3.connection.HTTPConnection, float] | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, connection: urllib3.connection.HTTPConnection) -> Iterator[None]:
        """End ``connection`` if the block takes too long."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()
        self._watched = connection, time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._watched = None

    def _look(self) -> None:
        while not self._closed.wait(min(0.5, self._seconds / 4)):
            watched = self._watched
            if watched and time.monotonic() > watched[1]:
                shut(watched[0], self._sockets)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()


def shut(connection: urllib3.connection.HTTPConnection, sockets: Sockets) -> None:
    """End whatever waits for a connection."""
    held = sockets.get(connection) or connection.sock
    if held is not None:
        with suppress(OSError):  # bypasses the closing messages of TLS
            socket.socket.shutdown(held, socket.SHUT_RDWR)

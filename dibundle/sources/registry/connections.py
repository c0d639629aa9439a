"""Connect only to allowed addresses of registries, and end connections that take too long."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol

import urllib3

from dibundle.sources.registry.places import kind, kinds

Sockets = weakref.WeakKeyDictionary[urllib3.connection.HTTPConnection, socket.socket | None]
"""Open connections, each with the socket of its last answer or greeting."""

CONNECTING: Final = 15.0  # maximum seconds to connect
ADDRESSES: Final = 8  # maximum addresses of a host that are tried, all within the time for one connection
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
MAX_HEAD: Final = 32 << 10  # maximum bytes of status and headers of an answer; http.client would accept 6.5 MB
_LOOKS: Final = 0.5  # maximum seconds between two checks of watched connections


@lru_cache(maxsize=1)
def _tls_context(*_: str | None) -> ssl.SSLContext:
    """Return the TLS settings for all connections. OpenSSL's environment variables give the paths of the certificates.

    If each connection had its own settings, as in urllib3, each connection would take 0.85 MB and 20 ms.
    """
    context = urllib3.util.ssl_.create_urllib3_context()
    context.load_default_certs()
    return context


class CheckPlace(Protocol):
    """A function that may refuse a host by the kinds of its addresses, or by the connected address."""

    def __call__(self, host: str, addresses: set[str], /, *, is_reached: bool) -> None:
        """Raise ``RegistryError`` if addresses of these kinds are not allowed for the host."""


def pool_classes(
    check: CheckPlace,
    sockets: Sockets,
    watchdog: Watchdog,
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return classes of pools whose connections pass addresses to ``check`` before they send a byte."""

    def connected(connection: urllib3.connection.HTTPConnection) -> socket.socket:
        sockets[connection] = None
        # a host that cannot be resolved is not checked, because connecting fails anyway
        with suppress(OSError, ValueError):
            check(connection.host, kinds(connection.host), is_reached=False)
        made = _connect(connection)
        try:
            # check again, because the name may resolve to a different address now
            peer = str(made.getpeername()[0])
            found = kind(peer) or ("loopback" if peer == str(made.getsockname()[0]) else None)
            check(connection.host, {found} if found else set(), is_reached=True)
        except BaseException:
            made.close()
            raise
        return made

    def answered(
        connection: urllib3.connection.HTTPConnection, answer: Callable[[], urllib3.HTTPResponse]
    ) -> urllib3.HTTPResponse:
        """Wait for status and headers, with a limit for the total time.

        Without this limit, a slow registry could keep the caller waiting forever.
        """
        # kept here, because `sock` becomes None when the registry closes the connection
        sockets[connection] = connection.sock
        with watchdog.watch(connection):
            return answer()

    class Plain(urllib3.connection.HTTPConnection):
        response_class = _Response

        def _new_conn(self) -> socket.socket:
            return connected(self)

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
            return answered(self, super().getresponse)

    class Secure(urllib3.connection.HTTPSConnection):
        response_class = _Response

        def _new_conn(self) -> socket.socket:
            made = connected(self)
            # watch the new socket, too: TLS takes over the original socket, and TLS may also wait
            sockets[self] = made.dup()
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

        def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - urllib3's own
            super().__init__(*arguments, **named, ssl_context=_tls_context(*map(os.environ.get, _CERTIFICATES)))

    return {"http": PlainPool, "https": SecurePool}


class _Head:
    """The file from which the status and headers of an answer are read.

    Status and headers together may have at most ``MAX_HEAD`` bytes.
    """

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - http.client's own, or its stand-in
        self._file = file
        self._left = MAX_HEAD
        self.close = file.close

    def readline(self, most: int) -> bytes:
        """Read a line. Raise ``HTTPException`` if the limit is exceeded."""
        line: bytes = self._file.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException(f"the headers have more than {MAX_HEAD:,} bytes")
        return line


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read status and headers."""
        file = self.fp
        self.fp = _Head(file)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:  # the file is None if no body follows
                self.fp = file


def _connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    """Connect to the first address that answers.

    All addresses share the time that urllib3 allows for a single address.
    """
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
    """A watchdog that ends connections which take longer than ``seconds``, even if bytes arrive.

    One thread watches all instances, because setting a timer for each read would take longer than many reads.
    """

    _all: ClassVar[weakref.WeakSet[Watchdog]] = weakref.WeakSet()
    _lock: ClassVar = threading.Lock()
    _news: ClassVar = threading.Event()
    _thread: ClassVar[threading.Thread | None] = None

    def __init__(self, seconds: float, sockets: Sockets) -> None:
        self._seconds = seconds
        self._sockets = sockets
        self._watched: tuple[urllib3.connection.HTTPConnection, float] | None = None
        self._is_known = False

    @contextmanager
    def watch(self, connection: urllib3.connection.HTTPConnection) -> Iterator[None]:
        """End ``connection`` if the block takes too long."""
        self._watched = connection, time.monotonic() + self._seconds
        if not self._is_known:
            self._begin()
        try:
            yield
        finally:
            self._watched = None

    def _begin(self) -> None:
        self._is_known = True
        with Watchdog._lock:
            Watchdog._all.add(self)
            if Watchdog._thread is None:
                Watchdog._thread = threading.Thread(target=Watchdog._look, daemon=True)
                Watchdog._thread.start()
        Watchdog._news.set()

    @staticmethod
    def _look() -> None:
        while True:
            Watchdog._news.wait(Watchdog._end_late())
            Watchdog._news.clear()

    @staticmethod
    def _end_late() -> float | None:
        """End connections that have waited too long.

        Return the seconds until the next check, or None if there is nothing to watch.
        """
        with Watchdog._lock:
            known = list(Watchdog._all)
        for one in known:
            watched = one._watched
            if watched and time.monotonic() > watched[1]:
                shut(watched[0], one._sockets)
        return min([_LOOKS, *(one._seconds / 4 for one in known)]) if known else None

    def close(self) -> None:
        """Stop watching."""
        with Watchdog._lock:
            Watchdog._all.discard(self)


def shut(connection: urllib3.connection.HTTPConnection, sockets: Sockets) -> None:
    """Shut down a connection, so that no thread waits for it any longer."""
    held = sockets.get(connection) or connection.sock
    if held is not None:
        with suppress(OSError):  # shut down the original socket, which sends no closing messages of TLS
            socket.socket.shutdown(held, socket.SHUT_RDWR)

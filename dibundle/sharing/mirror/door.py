"""Connections of clients, with limits for their number, their idle time and the size of their requests."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import resource
import socket
import ssl
import time
from collections import defaultdict
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from dibundle.sharing.mirror import meter
from dibundle.sharing.mirror.direct import Direct
from dibundle.sharing.mirror.meter import Leaving, Meter, drop_unsent, held

_LOOKS: Final = 1.0  # seconds between two checks of all clients
_GREETING: Final = 10  # maximum seconds for the TLS handshake
_MOST_CLIENTS: Final = 1024
_MOST_HEADERS: Final = 48  # maximum number of headers of a request; engines send ten
# maximum bytes of a request; its headers stay in memory while the client reads the answer
_MOST_HEAD: Final = 16 << 10
_UNSENT: Final = 64 << 10  # if a client has this many unsent bytes, writing to the client waits
_UNSENT_BY_SYSTEM: Final = 128 << 10  # maximum unsent bytes of a client in the system's buffers
_PARSED: Final = 4 << 10  # bytes of a request that are parsed in one step
# replaces non-ASCII bytes: one non-ASCII character may make a string take four bytes for each of its characters
_ASCII: Final = bytes(range(128)) + bytes(128)
_FILES_OF_CLIENT: Final = 4  # maximum open files for one client
# open files reserved for everything else: downloads without clients, idle connections to upstreams, rebuilding
_OTHER_FILES: Final = 1024
_AT_ONCE: Final = 64  # maximum clients in the TLS handshake

DATA: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
"""Headers that make browsers treat an answer as data.

Otherwise, an upstream's page would run in the mirror's origin.
"""
# discards reports of malformed requests, because a client may send any number of such requests
_SILENT: Final = logging.getLogger("dibundle.mirror")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def raise_limit_of_files() -> None:
    """Raise this process's limit of open files to the number that all clients need. systemd's default is 1,024."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CLIENTS * _FILES_OF_CLIENT + _OTHER_FILES
    if now < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


class Client(web.RequestHandler):
    """A client's connection, tracked by the door."""

    def __init__(self, door: Door, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]  # aiohttp tests it for None
            max_headers=_MOST_HEADERS,
            auto_decompress=False,  # bodies of requests are never read
            lingering_time=0,
        )
        self._door = door
        self.asked = ""  # the path of the running request; empty between requests
        # the time at which the client of a running request began to wait for the mirror
        self.waits: float | None = None
        self.passed = 0  # bytes that were passed on to the client so far
        self.meter = Meter()
        self._direct: Direct | None = None  # the most recent direct connection
        self._seen = 0  # bytes that the client had taken at the most recent check at which no bytes were unsent
        self._parsed = 0  # bytes of the current request
        # kept here, because aiohttp drops its own reference before the connection has ended
        self._line: asyncio.Transport | None = None
        # the transport below TLS; without TLS, the only transport; kept here, because the TLS transport loses its
        # connection after two calls of close()
        self.lowest: asyncio.Transport | None = None
        self._is_hung_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the door."""
        assert isinstance(transport, asyncio.Transport)
        self._line, self.lowest = transport, self.lowest or transport
        transport.set_write_buffer_limits(_UNSENT)  # asyncio's default for TLS is 512 KiB
        with suppress(OSError):  # without a limit, the system holds up to 4 MB for each client
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BY_SYSTEM)
        super().connection_made(transport)
        self._door.come(self)

    def data_received(self, data: bytes) -> None:
        """Parse a request of limited size.

        If more bytes follow before the answer, end the connection. Otherwise, these bytes would be parsed, and would
        stay in memory until the answer is sent.
        """
        for at in range(0, len(data), _PARSED) if data else (0,):
            # these bytes are either a body, which is never read, or a second request before the first answer
            if self._messages:
                self.close()
                return
            piece = data[at : at + _PARSED].translate(_ASCII)
            self._parsed += len(piece)
            super().data_received(piece if self._parsed <= _MOST_HEAD else b"\0")
            if self._messages:
                self._parsed = 0
            if len(self._messages) > 1:
                self.hang_up()
                return

    def begin(self, path: str) -> None:
        """Record that a request has begun."""
        self.asked, self.waits, self._seen = path, time.monotonic(), self.passed

    def end(self) -> None:
        """Record that a request has ended. The client may still have to receive some bytes."""
        self.asked, self.waits = "", None
        self.look()

    def look(self) -> None:
        """Record how many bytes the client has taken, and whether the client waits for the mirror."""
        left = self._left()
        taken = self.passed - left
        self.meter.look(taken, left)
        if left:
            self.waits = None
            return
        is_fed = taken - self._seen >= meter.LEAST * _LOOKS / meter.WAITING
        if self.asked and (self.waits is None or is_fed):
            self.waits = time.monotonic()
        self._seen = taken

    def _left(self) -> int:
        """Return how many bytes the client has not taken yet."""
        if self._line is None or self.lowest is None:
            return 0
        left = self.lowest.get_write_buffer_size() + held(self.lowest.get_extra_info("socket"))
        if self._line is not self.lowest:
            with suppress(AttributeError):  # the TLS transport has no connection any more
                left += self._line.get_write_buffer_size()
        return left

    def direct(self, at: int) -> Direct | None:
        """Return a :class:`Direct` to this client, which has ``at`` bytes of a blob, or None if impossible.

        It is impossible if the client uses TLS, or while the event loop has bytes to send.
        """
        line = self._line
        if line is None or line is not self.lowest or line.is_closing() or line.get_write_buffer_size():
            return None
        try:
            self._direct = Direct(line.get_extra_info("socket").dup(), at, self.note)
        except OSError:  # too many open files
            return None
        return self._direct

    def note(self, size: int) -> None:
        """Count bytes that are passed on to this client."""
        self.passed += size

    def handle_error(self, *_: Any, **__: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own
        """Answer a request that cannot be parsed, without repeating any part of the request."""
        answer = web.Response(status=400, headers=DATA)
        answer.force_close()
        return answer

    def connection_lost(self, exc: BaseException | None) -> None:
        """Unregister from the door."""
        self.leave()
        super().connection_lost(exc)

    def leave(self) -> None:
        """Unregister from the door.

        The door keeps the connection while the system holds bytes that the client can take.
        """
        self._door.gone(self)
        if self._direct:
            self._direct.end()
        if self.lowest is None or self._is_hung_up:
            return
        connection = self.lowest.get_extra_info("socket")
        if self._line is None:  # the handshake was not completed
            drop_unsent(connection)
        elif held(connection):
            with suppress(OSError):  # if too many files are open, the connection is not counted
                self._door.leave(Leaving(connection.dup()))

    def hang_up(self) -> None:
        """End the connection at once, and drop all bytes that the client has not taken.

        Otherwise, aiohttp, asyncio and the system would wait until the client has taken these bytes.
        """
        self._is_hung_up = True
        if self._direct:
            self._direct.end()
        self.force_close()
        if self.lowest:
            drop_unsent(self.lowest.get_extra_info("socket"))
            self.lowest.abort()


def note_piece(request: web.Request, size: int) -> None:
    """Record how many bytes are passed on to a client, so that the client does not count as slow."""
    client = request.protocol
    if isinstance(client, Client):
        client.note(size)


def direct_to(request: web.Request, at: int) -> Direct | None:
    """Return a :class:`Direct` to a client that has ``at`` bytes of a blob, or None if impossible."""
    client = request.protocol
    return client.direct(at) if isinstance(client, Client) else None


class _Greeting(asyncio.sslproto.SSLProtocol):
    """The TLS connection of a client.

    The door tracks this connection during the handshake, because asyncio's server reports a client only afterwards.
    """

    max_size = 16 << 10  # bytes of the read buffer of each client: asyncio's default is 256 KiB

    def __init__(self, door: Door, client: Client, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        nobody: Any = None  # None, because only the client's side of TLS has a future that waits for the connection
        super().__init__(loop, client, tls, nobody, server_side=True, ssl_handshake_timeout=_GREETING)
        self._door, self._client = door, client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the door, and start the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._client.lowest = transport
        self._door.greet(self._client, transport)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Stop reading, too. Otherwise, answers to TLS key requests would fill a buffer if the client does not read."""
        super().pause_writing()
        if self._client.lowest:
            self._client.lowest.pause_reading()

    def resume_writing(self) -> None:
        """Continue reading, unless the client's protocol has stopped reading, or writing is paused again."""
        super().resume_writing()
        is_paused = self._ssl_reading_paused or self._ssl_writing_paused  # type: ignore[attr-defined]  # asyncio's own
        if self._client.lowest and not is_paused:
            self._client.lowest.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Unregister from the door, even if the handshake was not completed.

        The client's own method comes too late: asyncio calls that method after closing the connection.
        """
        self._client.leave()
        super().connection_lost(exc)


class Door:
    """A tracker of clients.

    The tracker ends idle connections after ``WAITING`` seconds. If there are too many clients, the tracker ends idle
    connections at once.
    """

    def __init__(self) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = min(_MOST_CLIENTS, max(files - _OTHER_FILES, files // 4) // _FILES_OF_CLIENT)
        self._greeting: dict[Client, asyncio.Transport] = {}  # clients in the TLS handshake, the oldest first
        self._clients: set[Client] = set()
        self.empty = asyncio.Event()  # set while there is no client
        self.empty.set()
        # clients without a running request that have not taken all bytes of a blob yet
        self._draining: set[Client] = set()
        # the time at which each idle client became idle; the client that has been idle longest comes first
        self._waiting: dict[Client, float] = {}
        self._leaving: set[Leaving] = set()

    def protocol(self, server: web.Server, tls: ssl.SSLContext | None) -> asyncio.BaseProtocol:
        """Return the protocol object for a new client."""
        client = Client(self, server)
        return client if tls is None else _Greeting(self, client, tls)

    def greet(self, client: Client, transport: asyncio.Transport) -> None:
        """Register a TLS handshake. If there are too many handshakes, end the oldest handshake."""
        self._greeting[client] = transport
        if len(self._greeting) > _AT_ONCE:
            self._greeting.pop(next(iter(self._greeting))).abort()

    def come(self, client: Client) -> None:
        """Register a client.

        If there are too many clients, end the connection of the client that has been idle longest. If no client has
        been idle for ``BRIEF`` seconds, end the connection of the client that is the furthest below the minimum rate.
        If no client is below this rate, choose a client that waits for the same answer as other clients.
        """
        self._greeting.pop(client, None)
        self._clients.add(client)
        self.empty.clear()
        self._waiting[client] = time.monotonic()
        if len(self._clients) + len(self._leaving) > self._most:
            oldest, since = next(iter(self._waiting.items()))
            is_idle = time.monotonic() - since > meter.BRIEF
            self._send_away(oldest if is_idle else self._slow() or self._waiter() or oldest)

    def _slow(self) -> Client | Leaving | None:
        """Return the client that is the furthest below the minimum rate."""
        every: set[Client | Leaving] = {*self._clients, *self._leaving}
        slowest = max(every, key=lambda client: client.meter.shortfall)
        return slowest if slowest.meter.shortfall else None

    def _waiter(self) -> Client | None:
        """Return the client that began last to wait for the most requested answer.

        If all clients wait for different answers, return the client that has waited longest, but only after ``WAITING``
        seconds.
        """
        now = time.monotonic()
        waiters = defaultdict(list)
        for client in self._clients:
            if client.waits is not None and now - client.waits > meter.BRIEF:
                waiters[client.asked].append((client.waits, client))
        if not waiters:
            return None
        most = max(waiters.values(), key=len)
        if len(most) > 1:
            return max(most, key=itemgetter(0))[1]
        since, longest = min((item for items in waiters.values() for item in items), key=itemgetter(0))
        return longest if now - since > meter.WAITING else None

    def gone(self, client: Client | Leaving) -> None:
        """Unregister a client."""
        if isinstance(client, Leaving):
            self._leaving.discard(client)
            return
        self._greeting.pop(client, None)
        self._clients.discard(client)
        self._waiting.pop(client, None)
        self._draining.discard(client)
        if not self._clients:
            self.empty.set()

    def leave(self, connection: Leaving) -> None:
        """Register an ended connection for which the system still holds bytes.

        If there are already too many connections, drop these bytes.
        """
        if len(self._clients) + len(self._leaving) < self._most:
            self._leaving.add(connection)
        else:
            connection.hang_up()

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request. During this time, the client does not count as idle."""
        client = request.protocol
        assert isinstance(client, Client)
        self._waiting.pop(client, None)
        self._draining.discard(client)
        client.begin(request.path)
        # end the connection after this request, because later bytes would wait, or would be parsed wrongly
        if request.can_read_body or "Upgrade" in request.headers:
            client.close()
        try:
            return await handler(request)
        finally:
            client.end()
            # documents are sent after this point, so a client that does not read a document counts as idle
            if client in self._clients:
                if client.meter.reads is None:
                    self._waiting[client] = time.monotonic()
                else:  # the system still holds bytes of a blob for the client
                    self._draining.add(client)

    async def watch(self) -> None:
        """Check all clients again and again. An error is logged, but does not end the checks."""
        while True:
            await asyncio.sleep(min(_LOOKS, meter.WAITING / 10))
            try:
                self._look_at_all()
            except Exception as error:
                context = {"message": "clients cannot be checked", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

    def _look_at_all(self) -> None:
        """Disconnect clients that are idle for ``WAITING`` seconds, or take no bytes for ``UNREAD`` seconds."""
        for client in list(self._clients):
            client.look()
        for client in list(self._draining):
            if client.meter.reads is None:
                self._draining.discard(client)
                self._waiting[client] = time.monotonic()
            elif client.meter.is_over:
                self._send_away(client)
        for leaving in list(self._leaving):
            leaving.look()
            if leaving.meter.reads is None or leaving.meter.is_over:
                self._send_away(leaving)
        for client, since in list(self._waiting.items()):
            if time.monotonic() - since > meter.WAITING:
                self._send_away(client)

    def close(self) -> None:
        """End all connections at once."""
        for transport in self._greeting.values():
            transport.abort()
        for client in list(self._clients):
            self._send_away(client)

    def release(self) -> None:
        """Leave all ended connections to the system, which still sends the bytes that it holds."""
        for leaving in self._leaving:
            leaving.release()

    def _send_away(self, client: Client | Leaving) -> None:
        self.gone(client)
        client.hang_up()

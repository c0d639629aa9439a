"""Connections of clients: how many there are, and for how long they may ask or read nothing."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import resource
import ssl
import time
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

WAITING: Final = 30.0  # seconds for a client to ask something, or something more
_GREETING: Final = 10  # seconds for TLS to begin
_MOST_CLIENTS: Final = 1024
_MOST_HEADERS: Final = 48  # of a request: engines send ten
_MOST_HEAD: Final = 16 << 10  # bytes of a request: its headers wait in memory while a client reads slowly
_PARSED: Final = 4 << 10  # bytes of them that are looked at, at once
_ASCII: Final = bytes(range(128)) + bytes(128)  # of text with other characters each would take up to four bytes
_FILES_OF_CLIENT: Final = 4  # that one may have opened
_AT_ONCE: Final = 64  # clients with whom TLS has not begun

_SILENT: Final = logging.getLogger("dibundle.mirror")  # of requests that are none, which anybody may send
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def raise_limit_of_files() -> None:
    """Have the system let this process open what all clients need: systemd gives 1,024 files."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CLIENTS * _FILES_OF_CLIENT
    if now < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


class Client(web.RequestHandler):
    """A connection, of which the door knows."""

    def __init__(self, door: Door, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]  # aiohttp tests it for None
            max_headers=_MOST_HEADERS,
            auto_decompress=False,  # bodies, which nobody reads
            lingering_time=0,
        )
        self._door = door
        self._parsed = 0  # bytes of the request that has begun
        self._line: asyncio.Transport | None = None  # aiohttp forgets its own before that has ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in."""
        assert isinstance(transport, asyncio.Transport)
        self._line = transport
        super().connection_made(transport)
        self._door.come(self)

    def data_received(self, data: bytes) -> None:
        """Take a request, but not much of one, nor anything behind one that waits: all that is parsed takes memory."""
        for at in range(0, len(data), _PARSED) if data else (0,):
            if self._messages:  # a body, which nobody reads, or one request after the other before any is answered
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

    def connection_lost(self, exc: BaseException | None) -> None:
        """Go."""
        self._door.gone(self)
        super().connection_lost(exc)

    def hang_up(self) -> None:
        """End the connection at once: aiohttp and asyncio would wait until the client has read what was written."""
        self.force_close()
        if self._line:
            self._line.abort()


class _Greeting(asyncio.sslproto.SSLProtocol):
    """TLS of a client, of which the door knows before it has begun: asyncio's own server says nothing until then."""

    max_size = 16 << 10  # bytes that are read at once, in a buffer of each client: asyncio has 256 KiB

    def __init__(self, door: Door, client: Client, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        nobody: Any = None  # waits: servers have no such future
        super().__init__(loop, client, tls, nobody, server_side=True, ssl_handshake_timeout=_GREETING)
        self._door, self._client = door, client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._door.greet(self._client, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, whether the client has come in or not."""
        self._door.gone(self._client)
        super().connection_lost(exc)


class Door:
    """Has clients go who ask nothing: after a while, or at once where there are too many."""

    def __init__(self) -> None:
        self._most = min(_MOST_CLIENTS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _FILES_OF_CLIENT)
        self._greeting: dict[Client, asyncio.Transport] = {}  # whose TLS has not begun, those first who have longest
        self._clients: set[Client] = set()
        self._waiting: dict[Client, float] = {}  # and since when: those first who have longest

    def protocol(self, server: web.Server, tls: ssl.SSLContext | None) -> asyncio.BaseProtocol:
        """Return what speaks to a new client."""
        client = Client(self, server)
        return client if tls is None else _Greeting(self, client, tls)

    def greet(self, client: Client, transport: asyncio.Transport) -> None:
        """Begin TLS with one, in the place of one who has begun long ago where there are many."""
        self._greeting[client] = transport
        if len(self._greeting) > _AT_ONCE:
            self._greeting.pop(next(iter(self._greeting))).abort()

    def come(self, client: Client) -> None:
        """Let one in, in the place of one who only waits, or not at all."""
        self._greeting.pop(client, None)
        self._clients.add(client)
        self._waiting[client] = time.monotonic()
        if len(self._clients) > self._most:
            self._send_away(next(iter(self._waiting)))

    def gone(self, client: Client) -> None:
        """Forget one."""
        self._greeting.pop(client, None)
        self._clients.discard(client)
        self._waiting.pop(client, None)

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, which may take its time."""
        client = request.protocol
        assert isinstance(client, Client)
        self._waiting.pop(client, None)
        if request.can_read_body:  # which no request for a blob or manifest has
            client.close()
        try:
            return await handler(request)
        finally:  # aiohttp sends what is no blob only now: whoever does not take it only waits
            if client in self._clients:
                self._waiting[client] = time.monotonic()

    async def watch(self) -> None:
        """Look after those who wait."""
        while True:
            await asyncio.sleep(WAITING / 10)
            for client, since in list(self._waiting.items()):
                if time.monotonic() - since > WAITING:
                    self._send_away(client)

    def close(self) -> None:
        """End all connections at once."""
        for transport in self._greeting.values():
            transport.abort()
        for client in list(self._clients):
            self._send_away(client)

    def _send_away(self, client: Client) -> None:
        self.gone(client)
        client.hang_up()

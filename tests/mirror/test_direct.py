"""The thread that downloads a blob also sends it to a client, until the client is slow or leaves. Each client gets the
whole blob.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

from dibundle.sharing.mirror import direct
from dibundle.sharing.mirror.cache import CacheFullError, NewBlob
from dibundle.sharing.mirror.direct import Direct
from dibundle.sharing.mirror.downloads import WITHHELD
from dibundle.sharing.mirror.options import MirrorOptions
from dibundle.sources.access import Access
from tests.mirror.conftest import Client, Running
from tests.mirror.test_hostile import beside, eventually
from tests.sources.conftest import REPOSITORY
from tests.sources.server import Registry, Request, digest

SIZE = 24 << 20


class Upstream(NamedTuple):
    """A mirror whose upstream sends a blob in two parts. The second part waits for ``go``."""

    mirror: Running
    client: Client
    content: bytes
    go: threading.Event
    ways: list[Direct]

    def ask(self) -> socket.socket:
        """Request the blob and read the headers of the answer."""
        connection = socket.create_connection(("127.0.0.1", self.client.port), 10)
        path = f"/v2/evil/{REPOSITORY}/blobs/{digest(self.content)}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 200 " in head[:20]
        return connection

    def halved(self) -> tuple[socket.socket, bytes]:
        """Request the blob and read its first part. From then on, the thread that downloads the blob sends to this
        client.
        """
        connection = self.ask()
        body = b""
        while len(body) < SIZE // 2:
            body += connection.recv(1 << 20)
        assert eventually(lambda: self.ways and not self.ways[-1].is_over)
        return connection, body


def rest(connection: socket.socket, body: bytes = b"") -> bytes:
    """Return ``body`` and the bytes that still arrive. If the connection ends early, the result is too short."""
    with connection, suppress(ConnectionError):
        while len(body) < SIZE and (piece := connection.recv(1 << 20)):
            body += piece
    return body


@contextmanager
def halves(
    options: MirrorOptions, access: Access, monkeypatch: pytest.MonkeyPatch, content: bytes, claimed: bytes = b""
) -> Iterator[Upstream]:
    go = threading.Event()

    def hook(request: Request) -> object:
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            told = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            return request.answer(206, content[start:], told)
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: SIZE // 2])
        request.wfile.flush()
        go.wait(20)
        request.wfile.write(content[SIZE // 2 :])
        return True

    ways: list[Direct] = []
    begin = Direct.__init__

    def noted(way: Direct, connection: socket.socket, at: int, note: object) -> None:
        begin(way, connection, at, note)  # type: ignore[arg-type]  # passed on
        ways.append(way)

    monkeypatch.setattr(Direct, "__init__", noted)
    with beside(options, access, hook) as (mirror, evil):
        yield Upstream(mirror, evil, claimed or content, go, ways)


@pytest.fixture
def upstream(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Upstream]:
    with halves(options, access, monkeypatch, os.urandom(SIZE)) as found:
        yield found


def test_the_thread_of_a_download_sends_a_blob(upstream: Upstream) -> None:
    connection, body = upstream.halved()
    upstream.go.set()
    assert rest(connection, body) == upstream.content
    way = upstream.ways[-1]
    assert way.is_over
    assert way.at == SIZE - WITHHELD  # the event loop sends the last bytes after the check of the digest
    assert way._connection.fileno() == -1
    assert rest(upstream.ask()) == upstream.content  # from the cache


def test_a_client_that_stops_reading_stops_no_download(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_MOST_WAIT", 0.2)
    connection, body = upstream.halved()
    # otherwise the receive buffer would hold the whole blob
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    upstream.go.set()
    assert eventually(lambda: upstream.ways[-1].is_over)
    assert eventually(lambda: not upstream.mirror.mirror._downloads._running)
    assert upstream.ways[-1].at < SIZE - WITHHELD
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    assert rest(connection, body) == upstream.content


def test_a_second_client_waits_for_no_other(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_MOST_WAIT", 1000.0)
    slow, body = upstream.halved()
    second = upstream.ask()
    upstream.go.set()
    assert rest(second) == upstream.content
    assert rest(slow, body) == upstream.content


def test_a_client_that_leaves_closes_its_connection(upstream: Upstream) -> None:
    connection, _ = upstream.halved()
    connection.close()
    assert eventually(lambda: upstream.ways[-1]._connection.fileno() == -1)
    upstream.go.set()
    assert rest(upstream.ask()) == upstream.content


def test_no_client_gets_the_end_of_a_wrong_blob(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(SIZE)
    with halves(options, access, monkeypatch, content, claimed=b"other") as found:
        connection, body = found.halved()
        found.go.set()
        assert rest(connection, body) == content[: SIZE - WITHHELD]
        assert found.ways[-1].at == SIZE - WITHHELD


def test_a_cache_that_gets_full_changes_no_blob(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, body = upstream.halved()

    def full(blob: NewBlob, data: bytes) -> None:
        raise CacheFullError

    monkeypatch.setattr(NewBlob, "write", full)
    upstream.go.set()
    assert rest(connection, body) == upstream.content
    assert upstream.ways[-1].is_over

"""Fair shares. No client can use up all memory, all files or the whole cache. Browsers never run content from an
upstream.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dibundle.errors import FileError
from dibundle.images.writers import OCI_CONFIG
from dibundle.sharing.mirror import door, meter, upstream
from dibundle.sharing.mirror.answers import aside, content_type
from dibundle.sharing.mirror.bases import Bases, Documents
from dibundle.sharing.mirror.cache import Cache, CacheFullError
from dibundle.sharing.mirror.downloads import Download
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import BusyError, Threads
from dibundle.sources.access import Access
from dibundle.sources.registry import connections
from dibundle.sources.registry.connections import Watchdog
from dibundle.sources.registry.reference import Reference
from dibundle.sources.registry.settings import RegistrySettings
from dibundle.sources.registry.transport import Transport
from tests.mirror.conftest import Running, mirroring, with_options
from tests.mirror.test_hostile import Hook, beside, eventually, raw, unread, write
from tests.mirror.test_mirror import layers
from tests.sources.conftest import REPOSITORY
from tests.sources.server import Registry, Request, digest, serve


class LargeError(Exception):
    """An error that holds much memory, like the error of a failed request."""

    made: ClassVar[list[weakref.ref[LargeError]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(weakref.ref(self))


def test_an_error_is_freed_when_it_is_handled() -> None:
    """Before the fix, hundreds of bodies stayed in memory until the garbage collector ran."""

    def fail() -> None:
        raise LargeError

    async def ask(pool: Threads) -> None:
        for _ in range(5):
            with suppress(LargeError):
                await aside(pool, fail)

    gc.disable()
    try:
        with Threads(1) as pool:
            asyncio.run(ask(pool))
        assert [error() for error in LargeError.made] == [None] * 5
    finally:
        gc.enable()


@pytest.mark.parametrize("name", [b"WWW-Authenticate: Basic ", b"X-Any: "])
def test_headers_of_upstream_are_few_bytes(
    name: bytes, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    large = b"".join(name + b"x" * 20_000 + b"\r\n" for _ in range(4))
    answer = b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n" + large.rstrip(b"\r\n")
    with beside(options, access, lambda request: write(request, answer)) as (mirror, evil):
        assert evil.get("tags/list").status == 502
        assert evil.blob(digest(b"x")).status == 502
        assert mirror.client.manifest("v1").status == 200


def test_a_long_challenge_is_not_passed_on(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    answer = b"HTTP/1.1 401 no\r\nContent-Length: 0\r\nWWW-Authenticate: Basic " + b"x" * 10_000
    with beside(options, access, lambda request: write(request, answer)) as (_, evil):
        found = evil.get("tags/list")
        assert (found.status, found.headers.get("WWW-Authenticate")) == (401, None)


def test_an_endless_head_ends(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with beside(options, access, lambda request: write(request, b"HTTP/1.1 100 on\r\n\r\n" * 5000)) as (_, evil):
        assert evil.get("tags/list").status == 502


def test_redirects_leave_no_connections(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    content = os.urandom(1000)
    with ExitStack() as stack:
        hops = [stack.enter_context(serve()) for _ in range(4)]

        def lead(request: Request) -> object:
            return request.answer(307, headers={"Location": f"http://{hops[0].host}/0"})

        for number, one in enumerate(hops):
            after = hops[number + 1] if number + 1 < len(hops) else None
            one.hook = going(after, number + 1) if after else lambda request: request.answer(200, content)
        mirror, evil = stack.enter_context(beside(options, access, lead))
        assert evil.blob(digest(content)).body == content
        idle = mirror.mirror._upstreams._idle
        assert eventually(lambda: idle)  # the connection to upstream becomes idle only when the answer has been sent
        pools = [len(transport._pool.pools) for _, transport in idle]
        assert max(pools) <= 2


def test_connections_share_their_tls_settings() -> None:
    """Before the fix, a slow client took 1 MB of memory if upstream had TLS, or 2 MB after a redirect."""
    reference, settings = Reference("registry.example", REPOSITORY), RegistrySettings()
    pools = [Transport(reference, settings)._pool.connection_from_url("https://registry.example") for _ in range(2)]
    assert pools[0].conn_kw["ssl_context"] is pools[1].conn_kw["ssl_context"]


def going(after: Registry, number: int) -> Hook:
    return lambda request: request.answer(307, headers={"Location": f"http://{after.host}/{number}"})


def test_one_thread_watches_all_connections() -> None:
    before = threading.active_count()
    dogs = [Watchdog(60, weakref.WeakKeyDictionary()) for _ in range(20)]
    for dog in dogs:
        with dog.watch(connections.urllib3.connection.HTTPConnection("127.0.0.1")):
            pass
    assert threading.active_count() <= before + 1
    for dog in dogs:
        dog.close()


def test_work_that_waits_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The amount of waiting work is limited; this includes work for clients that have disconnected."""
    monkeypatch.setattr(upstream, "MOST_WAITING", 3)
    go = threading.Event()

    async def ask(pool: Threads) -> None:
        busy = asyncio.create_task(aside(pool, go.wait))
        await asyncio.sleep(0.1)
        for _ in range(3):
            waiting = asyncio.create_task(aside(pool, go.wait))
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(BusyError):
            await aside(pool, go.wait)
        go.set()
        await busy

    with Threads(1) as pool:
        asyncio.run(ask(pool))


def test_a_registry_that_is_asked_too_much_is_busy(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "MOST_WAITING", 0)
    with mirroring(options, access) as mirror:
        assert mirror.client.manifest("v1").status == 503
        assert mirror.client.blob(digest(b"x")).status == 503


def test_a_blob_is_not_damaged_because_too_many_files_are_open(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = layers(stocked, "v1")[0]
    mirror.client.blob(name)
    real = os.open

    def none_left(path: Path, *more: int) -> int:
        if "blobs" in str(path):
            raise OSError(errno.EMFILE, "too many open files")
        return real(path, *more)

    monkeypatch.setattr(os, "open", none_left)
    assert mirror.client.blob(name).status == 503
    monkeypatch.undo()
    count = len(stocked.log("GET", "/blobs/"))
    assert mirror.client.blob(name).status == 200
    assert len(stocked.log("GET", "/blobs/")) == count


def test_errors_of_the_loop_are_logged_once(mirror: Running) -> None:
    loop = asyncio.new_event_loop()
    for _ in range(100):
        mirror.mirror.fault(loop, {"message": "socket.accept() out of system resource", "exception": OSError()})
    loop.close()
    assert [line["error"] for line in mirror.lines if line["event"] == "error"] == ["OSError"]


@pytest.mark.parametrize("given", ["text/html", "application/json\r\nX: y", "image/svg+xml", "application/x; a=b", ""])
def test_upstreams_give_no_pages(given: str) -> None:
    assert content_type(given) == "application/octet-stream"


def test_what_a_browser_gets_is_data(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    page = b"<script>1</script>"

    def answer(request: Request) -> object:
        return request.answer(200, page, {"Content-Type": "text/html"})

    with beside(options, access, answer) as (mirror, evil):
        for found in (evil.get("tags/list"), evil.get("manifests/v1"), mirror.client.ask("/healthz")):
            assert "html" not in found.headers["Content-Type"]
            assert found.headers["X-Content-Type-Options"] == "nosniff"
            assert found.headers["Content-Security-Policy"].startswith("sandbox")
        assert mirror.client.blob(layers(stocked, "v1")[0]).headers["Content-Security-Policy"].startswith("sandbox")


def test_a_manifest_that_calls_itself_a_page_is_none(mirror: Running, stocked: Registry) -> None:
    body = b'{"mediaType": "text/html", "layers": [], "schemaVersion": 2}'
    stocked.manifests[REPOSITORY, digest(body)] = ("text/html", body)
    for _ in range(2):
        assert mirror.client.manifest(digest(body)).headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("Sec-Fetch-Site", site) for site in ("cross-site", "same-site", "same-origin")),
        ("Origin", "null"),
        ("Accept-Language", "en"),  # in some browsers, a page can change the User-Agent
        ("User-Agent", "Mozilla/5.0 (a browser says no more to another machine over plain HTTP)"),
    ],
)
def test_pages_are_refused(header: str, value: str, mirror: Running) -> None:
    assert mirror.client.ask("/v2/", **{header: value}).status == 403
    assert mirror.client.ask("/v2/", **{"Sec-Fetch-Site": "none"}).status == 200


def test_a_hashed_blob_waits_for_no_hash(mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (wanted,) = layers(stocked, "v1")[:1]
    assert mirror.client.blob(wanted).status == 200
    monkeypatch.setattr(Cache, "is_sound", lambda *_: time.sleep(60))
    assert mirror.client.blob(wanted).status == 200


@pytest.mark.parametrize("claimed", [0, 1 << 49])
def test_a_base_has_the_sizes_that_its_manifest_claims(claimed: int, tmp_path: Path) -> None:
    """A base must have the sizes that its manifest claims.

    These sizes limit how much a bundle may write to the disk.
    """
    place = UpstreamPlace("site.example", "a/b", "space")
    cache = Cache(tmp_path / "cache", 1 << 20)

    def kept(content: bytes) -> str:
        cache.put("space", content)
        return digest(content)

    layer, config = kept(b"layer"), kept(b'{"rootfs": {"diff_ids": ["sha256:%s"]}}' % (b"0" * 64))
    for size in (5, claimed):
        described = {"mediaType": OCI_CONFIG, "digest": config, "size": 1}
        manifest = json.dumps({"config": described, "layers": [{"digest": layer, "size": size}]}).encode()
        kept(manifest)
        found = Bases(cache, Documents(), ()).find(place, hashlib.sha256(manifest).digest())
        assert bool(found) == (size == 5)


def test_what_does_not_fit_displaces_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 100_000)
    kept = cache.put("a", b"x" * 50_000)
    with pytest.raises(CacheFullError), cache.growing() as add:
        add(200_000)
    assert cache.has(("a", kept))
    cache.pin([("a", kept)])
    with pytest.raises(CacheFullError), cache.growing() as add:
        add(60_000)
    cache.unpin([("a", kept)])
    with cache.growing() as add:
        add(60_000)
        assert not cache.has(("a", kept))
    assert (cache.size, cache._evictable) == (0, 0)
    cache.close()


@pytest.mark.parametrize("part", ["tmp", "blobs"])
def test_a_cache_is_no_link_of_others(part: str, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / part).symlink_to(tmp_path / "precious")
    with pytest.raises(FileError, match="belongs to another user"):
        Cache(tmp_path / "cache", 1 << 20)
    assert (tmp_path / "precious" / "file").exists()


def test_blobs_by_other_algorithms_are_unknown(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    content = os.urandom(200_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        assert evil.blob("sha384:" + hashlib.sha384(content).hexdigest()).body == content
        assert not evil.blob("sha384:" + hashlib.sha384(b"x").hexdigest()).is_whole
        for name in ("md5:" + "0" * 32, "sha224:" + "0" * 56):
            assert evil.blob(name).status == 404


def test_who_takes_nothing_of_a_blob_makes_way(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_MOST_CLIENTS", 4)
    monkeypatch.setattr(meter, "WAITING", 0.3)
    content = os.urandom(8 << 20)
    with beside(options, access, lambda request: request.answer(200, content)) as (mirror, evil), ExitStack() as stack:
        for _ in range(4):
            unread(evil.port, f"/v2/evil/{REPOSITORY}/blobs/{digest(content)}", stack)
        time.sleep(1)
        assert eventually(lambda: reaches(mirror))


def test_who_waits_for_a_blob_that_does_not_come_makes_way(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, clients that waited for one stalled registry took all places, so no other client was served."""
    monkeypatch.setattr(door, "_MOST_CLIENTS", 4)
    monkeypatch.setattr(meter, "WAITING", 0.3)
    over = threading.Event()

    def stall(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        over.wait(10)

    with beside(options, access, stall) as (mirror, evil), ExitStack() as stack:
        stack.callback(over.set)
        for _ in range(4):
            unread(evil.port, f"/v2/evil/{REPOSITORY}/blobs/{digest(b'x')}", stack)
        time.sleep(1)
        assert eventually(lambda: reaches(mirror))


def reaches(mirror: Running) -> bool:
    try:
        return mirror.client.ask("/healthz").status == 200
    except OSError:
        return False


def test_a_connection_is_not_changed_into_another(mirror: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    assert raw(mirror.client.port, request * 4, 1).count(b"HTTP/1.1 ") == 1


def test_a_private_mirror_is_open_to_its_own_clients(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with mirroring(with_options(options, is_private=True), access) as mirror:
        assert mirror.client.manifest("v1").status == 200


def test_a_cache_is_not_where_others_may_change_it(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(FileError, match="can be changed by others"):
        Cache(tmp_path / "open" / "cache", 1 << 20)


def test_a_new_cache_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        for _ in range(2):
            Cache(tmp_path / "a" / "cache", 1 << 20).close()
    finally:
        os.umask(before)


@pytest.mark.parametrize("part", ["blobs", "images", "tmp", "blobs/x", "images/x"])
def test_a_cache_has_no_folder_that_others_may_change(tmp_path: Path, part: str) -> None:
    """The mirror refuses such a folder. Otherwise, it might delete files there, even through a link."""
    Cache(tmp_path / "cache", 1 << 20).close()
    (tmp_path / "cache" / part).mkdir(exist_ok=True)
    (tmp_path / "cache" / part).chmod(0o777)
    with pytest.raises(FileError, match="can be changed by others"):
        Cache(tmp_path / "cache", 1 << 20)
    (tmp_path / "cache" / part).rmdir()
    (tmp_path / "cache" / part).symlink_to(tmp_path)
    with pytest.raises(FileError, match="is a link"):
        Cache(tmp_path / "cache", 1 << 20)


def stalling(body: bytes, go: threading.Event) -> Hook:
    """Return a hook that sends headers and the first byte of a blob, and then waits for ``go``."""

    def hook(request: Request) -> object:
        request.send_response(206 if "Range" in request.headers else 200)
        request.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:1])
        request.wfile.flush()
        go.wait(20)
        return True

    return hook


def test_clients_that_leave_keep_no_blob_of_others_waiting(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    """Before the fix, after a client had disconnected, a thread kept waiting for upstream.

    Sending cached blobs needs such threads, too.
    """
    body, go = os.urandom(1000), threading.Event()
    with beside(options, access, stalling(body, go)) as (mirror, evil):
        name = layers(stocked, "v1")[0]
        assert mirror.client.blob(name).status == 200
        for _ in range(12):
            with socket.create_connection(("127.0.0.1", evil.port)) as connection:
                path = f"/v2/evil/{REPOSITORY}/blobs/{digest(body)}"
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-\r\n\r\n".encode())
                connection.recv(4096)
        begun = time.monotonic()
        assert mirror.client.blob(name).status == 200
        assert time.monotonic() - begun < 1.5
        go.set()


@pytest.mark.parametrize("error", [BusyError(), RuntimeError("any")])
def test_no_error_is_sent_behind_a_part_of_a_body(
    error: Exception, options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(300_000)
    with beside(options, access, lambda request: request.answer(206, content)) as (mirror, evil):
        streamed = mirror.mirror._blobs._streamed

        async def failing(*arguments: Any) -> AsyncIterator[bytes]:
            async for piece in streamed(*arguments):
                yield piece[:1000]
                raise error

        monkeypatch.setattr(mirror.mirror._blobs, "_streamed", failing)
        path = f"/v2/evil/{REPOSITORY}/blobs/{digest(content)}"
        found = raw(evil.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-\r\n\r\n".encode(), 2)
        assert found.count(b"HTTP/1.1 ") == 1


def test_a_request_that_cannot_be_parsed_is_answered_as_data(mirror: Running) -> None:
    found = raw(mirror.client.port, b"GET /" + b"<b>" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 1)
    assert b" 400 " in found[:20]
    assert b"nosniff" in found
    assert b"<b>" not in found


def client_of(line: Line) -> door.Client:
    """Return a client that has requested a blob; its connection is ``line``."""
    client = door.Client.__new__(door.Client)
    client._line, client.lowest, client.passed, client.meter = line, line, 0, meter.Meter()
    client.begin("blob")
    return client


def test_a_client_that_takes_enough_bytes_is_not_slow() -> None:
    """Bytes count when the client has taken them, not when the mirror has passed them on.

    Before the fix, a client that read 8 KiB every 12 s counted as fast enough. Such clients could occupy all
    connections of a mirror.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(ours)
        client = client_of(line)
        client.passed = line.left = 500_000
        client.look()
        client.meter.reads = time.monotonic() - 15, 0
        client.look()
        assert client.meter.shortfall == pytest.approx(meter.LEAST / 2, rel=0.01)
        line.left -= meter.LEAST - 1
        client.look()
        assert client.meter.shortfall == 0
        line.left -= 1
        client.look()
        assert client.meter.reads[1] == meter.LEAST
        client.meter.reads = time.monotonic() - 1.5, client.meter.reads[1]
        client.look()
        assert client.meter.shortfall == 0  # a client's first two seconds do not count, so there is no shortfall yet


def test_a_client_that_waits_for_the_mirror_is_not_slow() -> None:
    """Before the fix, time without available bytes counted, too. So the client was disconnected at its first bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(ours)
        line.left = 0
        client = client_of(line)
        client.waits = time.monotonic() - 29
        client.look()
        assert client.meter.shortfall == 0
        client.passed = line.left = 100_000
        client.look()
        assert (client.meter.shortfall, client.waits) == (0, None)
        line.left = 0
        client.look()
        assert (client.meter.shortfall, client.meter.reads) == (0, None)
        assert client.waits > time.monotonic() - 1


def test_a_client_that_takes_all_bytes_of_a_slow_upstream_is_no_waiter() -> None:
    """Before the fix, a mirror full of waiting clients also disconnected a client that read at full speed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(ours)
        line.left = 0
        client = client_of(line)
        for taken, is_waiter in ((100_000, False), (200_000, False), (200_100, True)):
            client.passed = taken
            client.waits = time.monotonic() - 29
            client.look()
            assert (client.waits < time.monotonic() - 20) == is_waiter


def test_of_clients_that_wait_for_the_same_answer_the_latest_makes_way() -> None:
    place = door.Door()
    now = time.monotonic()
    clients = []
    for asked, waited in (("a", 50), ("b", 20), ("b", 10), ("b", 0.5), ("c", 40)):
        ours, theirs = socket.socketpair()
        client = client_of(Line(ours))
        client.asked, client.waits = asked, now - waited
        clients.append((client, ours, theirs))
    place._clients = {client for client, *_ in clients}
    assert place._waiter() is clients[2][0]
    place._clients -= {clients[2][0]}
    assert place._waiter() is clients[0][0]
    place._clients -= {clients[0][0], clients[4][0]}
    assert place._waiter() is None
    for _, ours, theirs in clients:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_the_end_of_a_blob_is_not_lost_for_a_slow_client(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """After the mirror has written a whole blob, the operating system may still hold bytes that a slow client has not
    read. Such a client is not idle.
    """
    monkeypatch.setattr(meter, "WAITING", 0.3)
    content = os.urandom(1_000_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        with socket.create_connection(("127.0.0.1", evil.port)) as connection:
            path = f"/v2/evil/{REPOSITORY}/blobs/{digest(content)}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
            time.sleep(2)
            got = 0
            while got < len(content) and (piece := connection.recv(1 << 20)):
                got += len(piece)
        assert got > len(content)


def test_slow_clients_leave_places_to_others(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full mirror disconnects clients that read a large blob too slowly, but not a faster client."""
    monkeypatch.setattr(meter, "WAITING", 1.0)
    monkeypatch.setattr(door, "_MOST_CLIENTS", 8)
    content = os.urandom(32 << 20)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        ask = f"GET /v2/evil/{REPOSITORY}/blobs/{digest(content)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        clients = []
        for number in range(8):
            connection = socket.socket()
            if number:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", evil.port))
            connection.sendall(ask)
            clients.append(connection)
        fast, *others = clients
        end, got = time.monotonic() + 2.5, 0
        while time.monotonic() < end:
            got += len(fast.recv(256 << 10))
            for connection in others:
                connection.recv(1024)
            time.sleep(0.05)
        assert b" 200 " in raw(evil.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 2)[:20]
        while got < len(content) and (piece := fast.recv(1 << 20)):
            got += len(piece)
        assert got > len(content)  # the headers count too
        for connection in clients:
            connection.close()


def queued(port: int, of_client: int) -> int:
    """Return how many unread bytes the system holds for a client of a server on ``port``."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if [int(place.partition(":")[2], 16) for place in (local, remote)] == [port, of_client]:
            return int(queues.partition(":")[0], 16)
    return 0


def test_the_system_holds_little_of_a_blob_for_a_slow_client(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, the system held up to 4 MB for each slow client, even after the mirror had disconnected the
    client.
    """
    monkeypatch.setattr(door, "_MOST_CLIENTS", 1)
    content = os.urandom(16 << 20)
    with (
        beside(options, access, lambda request: request.answer(200, content)) as (_, evil),
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", evil.port))
        own = connection.getsockname()[1]
        path = f"/v2/evil/{REPOSITORY}/blobs/{digest(content)}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert eventually(lambda: queued(evil.port, own) > 64 << 10)
        time.sleep(meter.BRIEF + 1.5)
        assert queued(evil.port, own) < 512 << 10
        assert b" 200 " in raw(evil.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 2)[:20]
        assert eventually(lambda: not queued(evil.port, own))


def ask_and_leave(port: int, name: str) -> socket.socket:
    """Request a small blob, read nothing, and let the mirror close the connection."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    path = f"/v2/evil/{REPOSITORY}/blobs/{name}"
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("way", ["full", "time"])
def test_the_system_holds_bytes_of_no_more_connections_than_clients(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Before the fix, the number of ended connections was not limited. The system held 240 kB for each of them."""
    monkeypatch.setattr(door, "_MOST_CLIENTS", 4)
    monkeypatch.setattr(meter, "UNREAD", 300.0 if way == "full" else 0.3)
    monkeypatch.setattr(meter, "BRIEF", 0.1)
    monkeypatch.setattr(door, "_LOOKS", 0.05)
    content = os.urandom(100_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        evil.blob(digest(content))
        clients = []
        for _ in range(8 if way == "full" else 4):
            clients.append(client := ask_and_leave(evil.port, digest(content)))
            own = client.getsockname()[1]
            assert eventually(lambda own=own: queued(evil.port, own) > 50_000) or way == "time"
            time.sleep(0.3)
        wanted = 4 if way == "full" else 0
        assert eventually(lambda: sum(queued(evil.port, client.getsockname()[1]) > 0 for client in clients) <= wanted)
        for client in clients:
            client.close()


def test_idle_clients_make_way_before_an_answer_in_flight(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, a full mirror dropped docker's answers first. docker sends ``Connection: close`` with each
    request.
    """
    monkeypatch.setattr(door, "_MOST_CLIENTS", 4)
    content = os.urandom(100_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil), ExitStack() as opened:
        evil.blob(digest(content))
        connection = opened.enter_context(ask_and_leave(evil.port, digest(content)))
        for _ in range(3):
            opened.enter_context(socket.create_connection(("127.0.0.1", evil.port)))
        time.sleep(meter.BRIEF + 0.5)
        got = connection.recv(80_000)
        for _ in range(2):
            assert b" 200 " in raw(evil.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 1)[:20]
        while piece := connection.recv(10_000):
            got += piece
        assert got.endswith(content)


def test_an_ended_connection_is_kept_until_its_client_has_taken_all_bytes(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    content = os.urandom(100_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        evil.blob(digest(content))
        with ask_and_leave(evil.port, digest(content)) as connection:
            time.sleep(1.5)
            got = b""
            while piece := connection.recv(1000):
                got += piece
            assert got.endswith(content)


class Line:
    """A stand-in for a transport."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.left = connection, 1000

    def get_write_buffer_size(self) -> int:
        return self.left

    def get_extra_info(self, name: str) -> socket.socket:
        return self.connection


def test_failed_downloads_are_freed(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    made: list[weakref.ref[Download]] = []
    real = Download.__init__

    def noted(self: Download, *arguments: Any) -> None:
        real(self, *arguments)
        made.append(weakref.ref(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Download, "__init__", noted)
        with beside(options, access, lambda request: request.answer(200, b"wrong")) as (_, evil):
            for number in range(5):
                evil.blob(digest(b"%d" % number))
            gc.disable()
            try:
                for number in range(5):
                    evil.blob(digest(b"other %d" % number))
                assert eventually(lambda: sum(one() is not None for one in made[5:]) <= 1)
            finally:
                gc.enable()

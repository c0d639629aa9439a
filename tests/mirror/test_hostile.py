"""Hostile clients and registries. Hostile peers cannot make other clients' pulls fail, wait or change. The mirror
limits each resource that they can use.
"""

from __future__ import annotations

import asyncio.selector_events
import asyncio.sslproto
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dibundle.errors import BundleError, DigestError
from dibundle.format.reader import BundleReader
from dibundle.images import document
from dibundle.sharing.mirror import answers, bases, door, downloads, making, meter, server, worker
from dibundle.sharing.mirror import cache as caching
from dibundle.sharing.mirror.cache import Cache, CacheFullError, NewBlob
from dibundle.sharing.mirror.downloads import Downloads
from dibundle.sharing.mirror.options import MirrorOptions, parse_listen, parse_upstreams
from dibundle.sources.access import Access
from dibundle.sources.bundles import check_integrity
from dibundle.sources.policy import Policy
from tests import needs
from tests.bounds.measure import ROOT
from tests.builders import TestImage, build_layer, docker_save, file
from tests.mirror.conftest import MANIFEST, Client, Running, mirroring, with_options
from tests.mirror.test_mirror import bundle, fetched, kept, layers, protected, push_other_blobs
from tests.sources.conftest import REPOSITORY, Files, Program, put_image
from tests.sources.server import Registry, Request, digest, serve

Hook = Callable[[Request], object]


@contextmanager
def beside(options: MirrorOptions, access: Access, hook: Hook) -> Iterator[tuple[Running, Client]]:
    """Run a mirror of two registries: the stocked registry and a second registry.

    Yield the mirror, and a client of the second registry.
    """
    with ExitStack() as stack:
        other = stack.enter_context(serve())
        other.hook = hook
        upstreams = {**options.upstreams, "evil": other.host}
        mirror = stack.enter_context(mirroring(with_options(options, upstreams=upstreams), access))
        yield mirror, Client(mirror.client.port, prefix="evil/")


def raw(port: int, data: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes. Return the answer; stop at the end of the connection or at a pause."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.settimeout(seconds)
        found = b""
        try:
            while piece := connection.recv(1 << 16):
                found += piece
        except TimeoutError:
            pass
        return found


def leave(port: int, path: str, after: float = 0.0) -> None:
    """Send a request, and close the connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(after)


def manifest_of(registry: Registry) -> str:
    return digest(registry.manifests[REPOSITORY, "v1"][1])


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(is_so: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(is_so())


def write(request: Request, head: bytes, body: bytes = b"") -> bool:
    """Send exactly these bytes as the answer, and close the connection."""
    request.wfile.write(head + b"\r\n\r\n" + body)
    request.close_connection = True
    return True


# ---- requests that hang


def test_headers_that_cannot_be_sent_are_refused(mirror: Running, stocked: Registry) -> None:
    name = layers(stocked, "v1")[0]
    for header in (b"Authorization: Basic \xc5\x9f", b"Accept: \xc5\x9f", b"Range: bytes=\xc5\x9f"):
        kind = b"blobs" if header[:2] != b"Ac" else b"manifests"
        path = b"/v2/site/" + REPOSITORY.encode() + b"/" + kind + b"/" + name.encode()
        answer = raw(mirror.client.port, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n", 1)
        assert b" 400 " in answer[:20], header
    assert mirror.client.blob(name).status == 200


def test_whatever_goes_wrong_with_a_fetch_nobody_waits_for_ever(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("surprise")

    name = layers(stocked, "v1")[0]
    monkeypatch.setattr(Downloads, "_fill", fail)
    monkeypatch.setattr(type(mirror.mirror._upstreams), "grant", fail)
    assert mirror.client.blob(name).status == 500
    monkeypatch.undo()
    assert mirror.client.blob(name).status == 200


@pytest.mark.parametrize("length", [b"\xb2", b"1" * 5000, b"-1", b"1_0"])
def test_lengths_that_are_no_numbers(length: bytes, options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with beside(
        options, access, lambda request: write(request, b"HTTP/1.1 200 OK\r\nContent-Length: " + length, b"xx")
    ) as (mirror, evil):
        for number in range(3):
            assert evil.blob(f"sha256:{number:064x}").status in (200, 502)
        assert mirror.client.manifest("v1").status == 200


def test_an_upstream_that_does_not_answer_keeps_nobody_from_others(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    stop = threading.Event()
    patient = Access(registries=replace(access.registries, timeout=20))
    with beside(options, patient, lambda request: stop.wait(20)) as (mirror, evil):
        try:
            for number in range(80):
                leave(evil.port, f"/v2/evil/x/blobs/sha256:{number:064x}")
                leave(evil.port, f"/v2/evil/x/tags/list?n={number}")
            begun = time.monotonic()
            mirror.client.pull("v1")
            mirror.client.pull("v2")
            assert mirror.last()["way"] == "delta"
            assert time.monotonic() - begun < 5
        finally:
            stop.set()


def test_connections_that_ask_nothing_end(mirror: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "WAITING", 0.5)
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost")
        connection.settimeout(10)
        assert connection.recv(100) == b""


def test_who_only_waits_makes_way(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_MOST_CLIENTS", 8)
    with mirroring(options, access) as mirror, ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", mirror.client.port))) for _ in range(20)]
        for connection in waiting:
            connection.sendall(b"GET /")
        assert mirror.client.ask("/healthz").status == 200
        assert eventually(lambda: sum(map(is_open, waiting)) <= 8)


def unread(port: int, path: str, stack: ExitStack) -> socket.socket:
    """Send a request over a connection with small buffers, and do not read the answer."""
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("most", [4, 1024])
def test_who_reads_nothing_goes(
    most: int, options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror closes connections of clients that do not read. The connections end after some time, or earlier if new
    clients connect.
    """
    monkeypatch.setattr(door, "_MOST_CLIENTS", most)
    monkeypatch.setattr(meter, "WAITING", 60.0 if most == 4 else 0.5)
    monkeypatch.setattr(server, "_LARGE", 8 << 20)  # one large answer instead of many small answers
    document = b"[" + b" " * 4_000_000 + b"]"
    with beside(options, access, lambda request: request.answer(200, document)) as (mirror, evil), ExitStack() as stack:
        before = files_open()
        for _ in range(12):
            unread(evil.port, "/v2/evil/x/tags/list", stack)
            time.sleep(0.1)  # without this pause, the mirror would refuse the client before it writes an answer

        def files_of_mirror() -> int:
            mirror.mirror._upstreams.close()  # idle connections to upstreams
            return files_open() - before - 12

        assert eventually(lambda: files_of_mirror() <= (most if most < 12 else 0))
        assert mirror.client.ask("/healthz").status == 200


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_sigterm_ends_it_though_upstream_drips(stocked: Registry, tmp_path: Path) -> None:
    config = json.loads(stocked.manifests[REPOSITORY, "v1"][1])["config"]["digest"]

    def hook(request: Request) -> bool:
        if "/blobs/" not in request.path:
            return False
        request.answer(200, b"", length=1 << 20)
        for _ in range(100):
            request.wfile.write(bytes(2000))
            time.sleep(0.2)
        return True

    stocked.hook = hook
    command = (sys.executable, "-m", "dibundle", "mirror", "--upstream", f"site={stocked.host}", "--listen")
    with subprocess.Popen(
        (*command, "127.0.0.1:0", "--cache", tmp_path / "c"), stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stderr
        client = Client(int(process.stderr.readline().split(",")[0].rpartition(":")[2]))
        leave(client.port, f"/v2/site/{REPOSITORY}/blobs/{config}", after=0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - begun < 3


def test_patience_after_sigterm_is_not_had_twice(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 2.0)
    stop = threading.Event()

    def drip(request: Request) -> bool:
        request.answer(200, b"", length=1 << 20)
        while not stop.wait(0.1):
            request.wfile.write(bytes(2000))
        return True

    with socket.socket() as client:
        with beside(options, access, drip) as (_, evil):
            client.connect(("127.0.0.1", evil.port))
            client.sendall(f"GET /v2/evil/x/blobs/{digest(b'x')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.5)
            begun = time.monotonic()
            threading.Timer(3.5, stop.set).start()
        assert time.monotonic() - begun < 3.5


# effects of one upstream or client on others


def test_what_one_upstream_has_sent_another_does_not_open(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    """One upstream's content is not served for a second upstream, whatever this one answers to HEAD."""
    protected(stocked, "Bearer good")
    with beside(options, access, lambda request: request.command == "HEAD" and request.answer(200)) as (mirror, evil):
        Client(mirror.client.port, headers={"Authorization": "Bearer good"}).pull("v1")
        for part in (
            f"manifests/{digest(stocked.manifests[REPOSITORY, 'v1'][1])}",
            f"blobs/{layers(stocked, 'v1')[0]}",
        ):
            assert mirror.client.get(part).status == 401
            assert evil.get(part).status == 404


def test_what_one_upstream_has_sent_is_no_base_for_another(
    options: MirrorOptions, access: Access, stocked: Registry, files: Files, dib: Program
) -> None:
    """The content of one upstream is not a base for another upstream's bundles.

    Otherwise, a bundle of the other upstream would disclose its base's content.
    """
    with serve() as other:
        put_image(other, files.archive(2), "v2")
        assert dib("push", files.bundle(1, 2), f"docker://{other.host}/{REPOSITORY}:v1-v2").code == 0
        upstreams = {**options.upstreams, "evil": other.host}
        with mirroring(with_options(options, upstreams=upstreams), access) as mirror:
            mirror.client.pull("v1")
            evil = Client(mirror.client.port, prefix="evil/")
            evil.pull("v2")
            mirror.client.pulls = 2
            assert mirror.last()["reason"] == "no base of a bundle is in the cache"


def test_downloads_are_those_of_their_upstream(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    name = layers(stocked, "v1")[0]
    stop = threading.Event()

    def hook(request: Request) -> bool:
        request.answer(200, b"EVIL" * 1000, length=1 << 20)
        return stop.wait(20)

    with beside(options, access, hook) as (mirror, evil):
        try:
            thread = threading.Thread(target=evil.blob, args=(name,))
            thread.start()
            assert eventually(lambda: mirror.mirror._downloads._running)
            assert mirror.client.blob(name).body == stocked.blobs[REPOSITORY, name]
        finally:
            stop.set()
            thread.join()


def test_makings_are_those_of_their_repository(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    """Each rebuild belongs to one repository.

    In the test, a manifest lists another repository's layer, and its config never arrives. Other clients do not wait
    for this layer.
    """
    body = json.loads(stocked.manifests[REPOSITORY, "v1"][1])
    body["config"]["digest"] = digest(b"never")
    stop = threading.Event()

    def hook(request: Request) -> object:
        if "/manifests/" in request.path:
            return request.answer(200, json.dumps(body).encode(), {"Content-Type": MANIFEST})
        return stop.wait(20)

    patient = Access(registries=replace(access.registries, timeout=20))
    with beside(options, patient, hook) as (mirror, evil):
        try:
            assert evil.manifest("v1").status == 200
            begun = time.monotonic()
            mirror.client.pull("v1")
            assert time.monotonic() - begun < 3
        finally:
            stop.set()


def test_what_clients_opened_is_not_what_the_mirror_opens(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    protected(stocked, "Bearer good")
    with mirroring(options, access) as mirror:
        Client(mirror.client.port, headers={"Authorization": "Bearer good"}).pull("v1")
    with mirroring(with_options(options, is_private=True), access) as mirror:
        for part in (
            f"manifests/{digest(stocked.manifests[REPOSITORY, 'v1'][1])}",
            f"blobs/{layers(stocked, 'v1')[0]}",
        ):
            assert mirror.client.get(part).status in (401, 502)


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest", "http://[fe80::1]/x", "file:///etc/passwd"])
def test_redirects_lead_to_no_address_of_the_link(
    place: str, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    with beside(options, access, lambda request: request.answer(307, headers={"Location": place})) as (mirror, evil):
        begun = time.monotonic()
        for part in ("manifests/1", "tags/list", f"blobs/{digest(b'x')}"):
            assert evil.get(part).status == 502
        assert evil.blob(digest(b"x"), Range="bytes=0-3").status == 502
        assert time.monotonic() - begun < 5
        assert mirror.client.manifest("v1").status == 200


def test_realms_lead_to_no_address_of_the_link(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    """The realm in an authentication challenge cannot lead the mirror to a link-local address.

    This test is about mirrors with their own login. A mirror without a login passes the challenge on to the client.
    """
    challenge = {"WWW-Authenticate": 'Bearer realm="http://169.254.169.254/token",service="x"'}
    for is_private in (True, False):
        own = with_options(options, is_private=is_private)
        with beside(own, access, lambda request: request.answer(401, headers=challenge)) as (_, evil):
            begun = time.monotonic()
            assert evil.get("manifests/1").status == (502 if is_private else 401)
            assert time.monotonic() - begun < 5


def test_who_pushes_to_one_repository_keeps_no_other_waiting(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SOON", 0.3)
    go = threading.Event()
    shown = json.loads(stocked.manifests[REPOSITORY, "v1"][1])
    evil = [json.dumps({**shown, "annotations": {"n": str(number)}}).encode() for number in range(40)]
    for content in evil:
        stocked.manifests["evil/x", digest(content)] = MANIFEST, content
    for name in (shown["config"]["digest"], *(layer["digest"] for layer in shown["layers"])):
        stocked.blobs["evil/x", name] = stocked.blobs[REPOSITORY, name]

    stocked.hook = lambda request: "/evil/x/referrers/" in request.path and not go.wait(15)
    try:
        for content in evil:
            assert mirror.client.ask(f"/v2/site/evil/x/manifests/{digest(content)}").status == 200
        assert dict(mirror.mirror._maker._busy) == {(stocked.host, "evil/x"): making.OF_ONE}
        assert len(mirror.mirror._maker._running[stocked.host]) <= making.OF_ONE + making.MOST_OF_ONE
        begun = time.monotonic()
        mirror.client.pull("v1")
        name = layers(stocked, "v1")[0]
        assert mirror.client.ask(f"/v2/site/evil/x/blobs/{name}").status == 200  # the mirror answers after at most SOON
        assert time.monotonic() - begun < 5
    finally:
        go.set()
    assert eventually(lambda: not mirror.mirror._maker._busy and not mirror.mirror._maker._waiting, 20)


def test_hashing_the_blobs_of_one_upstream_keeps_no_other_waiting(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = layers(stocked, "v1")[0]
    contents = [b"content %d" % number for number in range(20)]
    names = {digest(content): content for content in contents}
    hashed: list[tuple[str, bytes]] = []
    checks, go = Cache._check, threading.Event()

    def slow(self: Cache, key: tuple[str, bytes], fd: int) -> bool:
        hashed.append(key)
        return (key[0] != stocked.host and not go.wait(15)) or checks(self, key, fd)

    hook: Hook = lambda request: request.answer(200, names[request.path.rpartition("/")[2]])  # noqa: E731
    with beside(options, access, hook) as (mirror, evil), ExitStack() as stack:
        for name in names:
            assert evil.blob(name).status == 200
        mirror.client.blob(own)
        mirror.mirror.cache._checked.clear()  # the state after a restart
        monkeypatch.setattr(Cache, "_check", slow)
        try:
            for name in [*names][:15] * 3:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", evil.port)))
                client.sendall(f"GET /v2/evil/{REPOSITORY}/blobs/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert eventually(lambda: len(hashed) >= 4)
            begun = time.monotonic()
            assert mirror.client.blob(own).status == 200
            assert time.monotonic() - begun < 5
            assert sorted(hashed) == sorted(set(hashed))
        finally:
            go.set()


def test_large_blobs_are_not_hashed_as_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "c", 1 << 20)
    name = cache.put("a", b"x" * 1000)
    monkeypatch.setattr(Cache, "open", lambda *_: pytest.fail("opened"))
    assert cache.read(("a", name), 999) is None
    cache.close()


# ---- resources that grow


def test_metrics_have_names_of_their_own(mirror: Running) -> None:
    mirror.client.ask("/v2/site/secret-team/secret-app/x")
    mirror.client.ask("/v2/site/secret-team/x/uploads/y", "POST")
    told = mirror.client.ask("/metrics").body.decode()
    assert "secret" not in told
    assert 'dib_mirror_requests_total{kind="other",status="404"} 1.0' in told
    assert 'kind="uploads"' not in told


def test_clients_that_leave_leave_nothing(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    answered = []

    def slow(request: Request) -> bool:
        time.sleep(0.5)
        answered.append(request)
        return request.answer(200, b"another blob")

    with beside(options, access, slow) as (mirror, evil):
        before = files_open()
        for number in range(20):
            leave(evil.port, f"/v2/evil/x/blobs/sha256:{number:064x}", after=0.02)
        assert eventually(lambda: len(answered) >= 10)
        assert eventually(lambda: not list((options.cache / "tmp").iterdir()))

        def files_without_idle() -> int:
            mirror.mirror._upstreams.close()
            return files_open()

        assert eventually(lambda: files_without_idle() <= before)


def test_a_client_that_leaves_while_a_file_is_opened(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = layers(stocked, "v1")[0]
    mirror.client.blob(name)
    opens = Cache.open

    def slow(self: Cache, key: tuple[str, bytes]) -> int | None:
        time.sleep(0.3)
        return opens(self, key)

    monkeypatch.setattr(Cache, "open", slow)
    before = files_open()
    for _ in range(8):
        leave(mirror.client.port, f"/v2/site/{REPOSITORY}/blobs/{name}", after=0.05)
    assert eventually(lambda: files_open() <= before)


def test_documents_are_looked_into_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def manifest(count: int) -> bytes:
        layer = {"digest": digest(b"layer"), "size": 5}
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2}
        return json.dumps({"mediaType": MANIFEST, "config": config, "layers": [layer] * count}).encode()

    documents = bases.Documents()
    for count, is_image in ((0, False), (1, True), (128, True), (129, False)):
        known = documents.look("", b"%d" % count, lambda: manifest(count))  # noqa: B023 - called at once
        assert known
        assert bool(known.named) is is_image
    padded = documents.look("", b"large", lambda: manifest(1) + b" " * (1 << 20))
    assert padded
    assert padded.media_type is None
    ids = documents.look("", b"ids", lambda: json.dumps({"rootfs": {"diff_ids": [digest(b"")] * 129}}).encode())
    assert ids
    assert not ids.diff_ids
    monkeypatch.setattr(bases, "_MAX_KNOWN", 3)
    for number in range(20):
        documents.look("", b"n%d" % number, lambda: manifest(1))
    assert len(documents._known) <= 7


def test_large_documents_that_nobody_takes_are_few(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_LARGE", 2)
    monkeypatch.setattr(answers, "_TAKING", 2.0)
    large = b"[" + b" " * ((4 << 20) - 2) + b"]"
    with beside(options, access, lambda request: request.answer(200, large)) as (mirror, evil), ExitStack() as stack:
        for _ in range(4):
            unread(evil.port, "/v2/evil/x/tags/list", stack)
        assert eventually(lambda: mirror.mirror._large == 2)
        assert evil.get("tags/list").status == 503
        assert mirror.client.manifest("v1").status == 200
        assert eventually(lambda: mirror.mirror._large == 0)
        assert evil.get("tags/list").body == large


@pytest.mark.parametrize("part", ["blobs/" + digest(b"x"), "blobs/sha512:" + "0" * 128, "manifests/v1", "tags/list"])
def test_errors_are_small(part: str, options: MirrorOptions, access: Access, stocked: Registry) -> None:
    """Error answers are small, because a thousand clients may each leave an error answer unread."""
    with beside(options, access, lambda request: request.answer(404, b"e" * (4 << 20))) as (mirror, evil):
        answer = evil.get(part)
        assert (answer.status, len(answer.body)) == (404, 64 << 10)
        assert mirror.client.manifest("v1").status == 200


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_what_is_said_of_blobs_is_a_document(
    kind: str, options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream's answer to a blob request counts as a document if it is not a blob. Its status does not matter."""
    monkeypatch.setattr(server, "_MOST_LARGE", 0)
    name = f"{kind}:{hashlib.new(kind, b'x').hexdigest()}"
    with beside(options, access, lambda request: request.answer(300, b"e" * (4 << 20))) as (_, evil):
        assert evil.blob(name).status == 503


def test_grants_are_of_one_size(mirror: Running, stocked: Registry) -> None:
    """The keys of grants have a constant size, even if a client sends long credentials."""
    for number in range(3):
        long = Client(mirror.client.port, headers={"Authorization": "Basic " + "x" * (7000 + number)})
        assert long.blob(layers(stocked, "v1")[0]).status == 200
    assert {len(key) for key in mirror.mirror._upstreams._grants} == {32}


@pytest.mark.parametrize("kind", ["a/b\r\nX: y", "no type", "a/" + "b" * 200])
def test_media_types_are_those_of_headers(kind: str) -> None:
    known = bases.Documents().look("", b"", lambda: json.dumps({"mediaType": kind, "layers": []}).encode())
    assert known
    assert known.media_type is None


def test_large_manifests_pass_and_leave_the_loop_alone(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, body = stocked.manifests[REPOSITORY, "v1"]
    large = body + b" " * (1 << 20)
    stocked.manifests[REPOSITORY, digest(large)] = stocked.manifests[REPOSITORY, "large"] = kind, large
    for _ in range(2):
        assert mirror.client.manifest(digest(large)).body == large
    assert not mirror.lines
    parses = document.parse

    def slow(content: bytes, name: str) -> object:
        time.sleep(1.5)
        return parses(content, name)

    monkeypatch.setattr(document, "parse", slow)
    thread = threading.Thread(target=mirror.client.manifest, args=("v1",))
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    assert mirror.client.ask("/healthz").status == 200
    assert time.monotonic() - begun < 0.5
    thread.join()


def test_all_that_is_written_counts(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 30_000)
    names = [("a", cache.put("a", bytes([number]) * 10_000)) for number in range(3)]
    new = cache.new()
    new.write(b"x" * 15_000)
    assert cache.size <= 30_000
    assert not any(cache.has(name) for name in names[:2])
    with cache.pinned(names[2:]), pytest.raises(CacheFullError):
        new.write(b"x" * 10_000)
    assert cache.has(names[2])
    new.close()
    assert cache.size == 10_000
    cache.close()


def test_a_blob_that_is_larger_than_the_cache_passes(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    large = os.urandom(400_000)
    stocked.blobs[REPOSITORY, digest(large)] = large
    with mirroring(with_options(options, cache_size=350_000), access) as mirror:
        small = layers(stocked, "v1")[0]
        assert mirror.client.blob(small).status == 200
        assert mirror.client.blob(digest(large)).body == large
        assert kept(options, stocked, small).exists()


def test_a_download_that_nobody_waits_for_ends(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    sent = []

    def endless(request: Request) -> bool:
        request.answer(200, b"", length=1 << 29)
        for _ in range(1 << 10):
            request.wfile.write(bytes(1 << 19))
            sent.append(1)
        return True

    with beside(options, access, endless) as (mirror, evil):
        leave(evil.port, f"/v2/evil/x/blobs/sha256:{0:064x}", after=0.2)
        assert eventually(lambda: not mirror.mirror._downloads._running)
        assert len(sent) < 1 << 10
        assert eventually(lambda: not list((options.cache / "tmp").iterdir()))


# ---- useless bundles


def test_few_bundles_are_applied_in_vain(
    options: MirrorOptions, access: Access, registry: Registry, files: Files, dib: Program, tmp_path: Path
) -> None:
    registry.referrers_api = True
    push_other_blobs(registry, files, dib, tmp_path)
    kind, body = registry.manifests[REPOSITORY, "raw"]
    for number in range(8):
        another = body + b" " * number
        registry.manifests[REPOSITORY, digest(another)] = kind, another
    with mirroring(options, access) as mirror:
        mirror.client.pull("v1")
        registry.asked.clear()
        mirror.client.pull("v2")
        assert mirror.last()["reason"] == "no bundle could be applied"
        assert len(registry.log("GET", bundle(registry, "raw"))) == 4


def test_a_making_ends_in_time(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", "import time; time.sleep(30)")
    with mirroring(with_options(options, make_timeout=1.0), access) as mirror:
        mirror.client.pull("v1")
        mirror.client.pull("v2")
        assert mirror.last()["reason"] == "it takes too long"
        assert mirror.last()["seconds"] < 2
        assert layers(stocked, "v2")[1] in fetched(stocked)


# ---- invalid answers


def both_lengths(request: Request) -> bool:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 300\r\nTransfer-Encoding: chunked"
    return write(request, head, b"5\r\nHELLO\r\n0\r\n\r\n")


def test_the_length_that_counts_is_passed_on(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with beside(options, access, both_lengths) as (_, evil):
        answer = evil.blob(digest(b"x"), Range="bytes=0-3")
        assert (answer.status, answer.body, answer.is_whole) == (206, b"HELLO", True)
        assert "Content-Length" not in answer.headers


def test_a_part_that_is_too_short_is_cut_off(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 300"
    with beside(options, access, lambda request: write(request, head, b"HELLO")) as (_, evil):
        assert not evil.blob(digest(b"x"), Range="bytes=0-299").is_whole


@pytest.mark.parametrize("end", [b"", b"!"])
def test_a_rest_that_is_not_that_of_the_blob_is_cut_off(
    end: bytes, mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full, the mirror passes a blob's remaining bytes on from upstream. If these bytes are wrong, the
    mirror does not send the blob's end.
    """
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]
    write_well = NewBlob.write

    def full(self: NewBlob, piece: bytes) -> None:
        if self.size:
            raise CacheFullError
        write_well(self, piece)

    def hook(request: Request) -> bool:
        start = request.headers.get("Range", "")[6:-1]
        if not start or not request.path.endswith(name):
            return False
        return request.answer(
            206, data[int(start) : -9] + 9 * end, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        )

    monkeypatch.setattr(NewBlob, "write", full)
    assert mirror.client.blob(name).body == data
    stocked.hook = hook
    begun = time.monotonic()
    answer = mirror.client.blob(name)
    assert not answer.is_whole
    assert len(answer.body) <= len(data) - downloads.WITHHELD
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade",
        b"HTTP/1.1 102 Processing",
        b"HTTP/1.1 999 No\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: a\0b",
    ],
)
def test_answers_that_are_none(head: bytes, options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with beside(options, access, lambda request: write(request, head, b"{}")) as (_, evil):
        for part in ("tags/list", "manifests/1", f"blobs/{digest(b'x')}"):
            assert evil.get(part).status == 502, part
        assert evil.blob(digest(b"x"), Range="bytes=0-3").status == 502


def test_a_document_that_is_two_things_is_what_upstream_says(mirror: Running, stocked: Registry) -> None:
    body = json.loads(stocked.manifests[REPOSITORY, "v1"][1])
    body.pop("mediaType", None)
    both = json.dumps({**body, "manifests": []}).encode()
    stocked.manifests[REPOSITORY, digest(both)] = MANIFEST, both
    stocked.blobs[REPOSITORY, digest(both)] = both
    for _ in range(2):
        assert mirror.client.manifest(digest(both)).headers["Content-Type"] == MANIFEST
        assert mirror.client.blob(digest(both)).status == 200


# ---- the cache's files


def test_a_file_that_was_changed_and_its_time_put_back(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    name = layers(stocked, "v1")[0]
    with mirroring(options, access) as mirror:
        mirror.client.blob(name)
        path = kept(options, stocked, name)
        status = path.stat()
        with path.open("r+b") as file:
            file.write(b"EVIL")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert mirror.client.blob(name).body == stocked.blobs[REPOSITORY, name]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_in_the_place_of_one(
    kind: str, options: MirrorOptions, access: Access, stocked: Registry, tmp_path: Path
) -> None:
    name = layers(stocked, "v1")[0]
    with mirroring(options, access) as mirror:
        mirror.client.blob(name)
        path = kept(options, stocked, name)
        path.unlink()
        if kind == "folder":
            (path / "in").mkdir(parents=True)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(tmp_path)
        before = files_open()
        for _ in range(5):
            assert mirror.client.blob(name).body == stocked.blobs[REPOSITORY, name]
        assert files_open() <= before + 2
        assert path.is_file()


def test_bundles_count_as_they_take_space(mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache's size includes bundles that are still being written, because these bundles are in temporary files."""
    cache, sizes = mirror.mirror.cache, []
    name = bundle(stocked, "v1-v2")

    def hook(request: Request) -> bool:
        if name in request.path:
            sizes.append(cache.size)
        return False

    stocked.hook = hook
    mirror.client.pull("v1")
    before = cache.size
    mirror.client.pull("v2")
    assert mirror.last()["way"] == "delta"
    assert min(sizes) >= before + len(stocked.blobs[REPOSITORY, name])
    assert eventually(lambda: cache.size == sum(map(caching._taken, cache._sizes.values())))


def test_bundles_for_which_there_is_no_space_are_given_up(
    mirror: Running, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(self: Cache) -> Iterator[Callable[[int], None]]:
        def add(size: int) -> None:
            raise CacheFullError

        yield add

    monkeypatch.setattr(Cache, "growing", full)
    mirror.client.pull("v1")
    mirror.client.pull("v2")
    assert (mirror.last()["way"], mirror.last()["reason"]) == ("image", "the bundles do not fit into the cache")
    assert mirror.last()["bundle_bytes"] <= 256 << 10


def test_bundles_are_checked_in_pieces(dib: Program, tmp_path: Path) -> None:
    for name, content in (("a", b"old"), ("b", random.Random(1).randbytes(12 << 20))):
        image = TestImage([build_layer([file("x", content)])], ["e.com/a:1"])
        (tmp_path / name).write_bytes(docker_save([image], "oci", None))
    assert dib("create", tmp_path / "a", tmp_path / "b", tmp_path / "u.dib").code == 0
    with (tmp_path / "u.dib").open("rb") as stream:
        reader = BundleReader(stream)
        tracemalloc.start()
        check_integrity(reader)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 4 << 20
    with pytest.raises(BundleError):
        check_integrity(BundleReader(io.BytesIO((tmp_path / "u.dib").read_bytes()[:-1])))
    with pytest.raises(DigestError):
        check_integrity(BundleReader(io.BytesIO((tmp_path / "u.dib").read_bytes()[:-1] + b"!")))


def test_threads_share_memory() -> None:
    """Threads share freed memory. Otherwise, each thread would keep as much memory as it needed at its peak."""
    program = """
import ctypes, threading
from dibundle.codecs.native.library import share_memory
share_memory()
libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_info"):
    raise SystemExit
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(16)
def take():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert found.count("<heap nr=") <= 2


# ---- names and times


def test_policies_know_the_images_of_docker_hub(tmp_path: Path) -> None:
    options = MirrorOptions(upstreams=parse_upstreams(["docker.io"]), cache=tmp_path, cache_size=1)
    place = options.place("docker.io/library/app", None, None)
    assert place
    policy = Policy(identities={"docker.io/library/app": ("release@example.com",)})
    assert policy.identities_for([place.name])


def test_max_time_is_that_of_a_request(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    hasty = Access(registries=replace(access.registries, max_time=1.0))
    with mirroring(options, hasty) as mirror:
        assert mirror.client.manifest("v1").status == 200
        time.sleep(1.2)
        assert mirror.client.manifest("v1").status == 200


def test_a_store_is_for_an_upstream(dib: Program, tmp_path: Path) -> None:
    arguments = ("--upstream", "a.example", "--upstream", "b=b.example", "--cache", tmp_path / "c", "--json")
    ended = dib("mirror", *arguments, "--store", tmp_path)
    assert json.loads(ended.out)["code"] == "mirror.store"


def test_a_wrong_blob_that_is_not_kept_is_cut_off_before_its_end(
    options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]
    with mirroring(with_options(options, cache_size=1000), access) as mirror:
        assert mirror.client.blob(name).body == data
        stocked.hook = lambda request: request.path.endswith(name) and request.answer(200, data[:-1] + b"!")
        answer = mirror.client.blob(name)
    assert not answer.is_whole
    assert len(answer.body) < len(data)


# ---- the third attack


def test_what_a_client_may_not_read_is_no_base_for_it(mirror: Running, stocked: Registry) -> None:
    """A blob that a client is not allowed to read is not a base for that client.

    Otherwise, a client that pushes a bundle could learn the base's content from the rebuilt blob.
    """
    friend = Client(mirror.client.port, headers={"Authorization": "Bearer good"})
    friend.pull("v1")
    base = layers(stocked, "v1")[0]
    stocked.hook = lambda request: (
        request.headers.get("Authorization") != "Bearer good" and base in request.path and request.fail(401)
    )
    stranger = Client(mirror.client.port, headers={"Authorization": "Bearer other"})
    assert stranger.manifest("v2").status == 200
    mirror.client.pulls = 2
    assert (mirror.last()["way"], mirror.last()["reason"]) == ("image", "no base of a bundle is in the cache")
    friend.pull("v2")
    mirror.client.pulls = 3
    assert mirror.last()["way"] == "delta"


def test_many_requests_at_once_are_none(mirror: Running) -> None:
    """The mirror closes a connection on which many requests arrive before the first is answered.

    Otherwise, the headers of these requests would stay in memory until the client reads the first answer.
    """
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 8000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as client:
        client.settimeout(10)
        with suppress(ConnectionError):
            client.sendall(request * 64)
            while client.recv(65536):
                pass
    assert mirror.client.ask("/healthz").status == 200
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 100 + b"\r\n")
        assert b" 400 " in client.recv(100)


def test_headers_are_small_and_of_ascii(mirror: Running) -> None:
    """Headers must be small and contain only ASCII characters. Otherwise, Python could use four bytes for each
    character.
    """
    for count, value, status in (
        (2, b"a" * 7000, b" 200 "),
        (3, b"a" * 7000, b" 400 "),
        (1, b"\xf0\x9f\x98\x80", b" 400 "),
    ):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: %s\r\n" % value * count + b"\r\n"
        assert status in raw(mirror.client.port, request, 0.5)[:20], (count, value[:4])


@pytest.mark.parametrize(("rest", "answers"), [(b"", 2), (b"GET /healthz", 1)])
def test_requests_behind_one_that_waits_are_not_parsed(
    rest: bytes, answers: int, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    go = threading.Event()
    hook: Hook = lambda request: go.wait(20) and request.answer(200, b"[]")  # noqa: E731
    with beside(options, access, hook) as (_, evil), socket.create_connection(("127.0.0.1", evil.port)) as client:
        for data in (b"GET /v2/evil/x/tags/list HTTP/1.1\r\nHost: localhost\r\n\r\n",) * 2 + (rest,):
            client.sendall(data)
            time.sleep(0.3)
        go.set()
        client.settimeout(1)
        found = b""
        with suppress(TimeoutError):
            while piece := client.recv(65536):
                found += piece
        assert found.count(b"HTTP/1.1 200") == answers


def test_connections_that_do_not_greet_are_few(
    options: MirrorOptions, access: Access, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a few connections may be without a completed TLS handshake.

    A new connection replaces the oldest connection, and ended connections are removed at once.
    """
    monkeypatch.setattr(door, "_AT_ONCE", 5)
    tls = ssl.create_default_context(cafile=certificate[0])
    with mirroring(with_options(options, certificate=certificate), access) as mirror, ExitStack() as stack:
        port = mirror.client.port

        def is_served() -> bool:
            client = http.client.HTTPSConnection("localhost", port, timeout=5, context=tls)
            with closing(client):
                client.request("GET", "/healthz")
                return client.getresponse().read() == b"ok\n"

        for data in (b"", b"no TLS"):
            for _ in range(8):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(data)
            assert is_served()
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(8)]
        assert is_served()
        assert eventually(lambda: sum(map(is_open, held)) <= 5)
        assert sum(map(is_open, held[-4:])) == 4  # the latest connections stay open


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    needs.programs("openssl")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "crt.pem"]
    subprocess.run([*make, *names], cwd=tmp_path, check=True, capture_output=True)
    return str(tmp_path / "crt.pem"), str(tmp_path / "key.pem")


def malformed(port: int, stack: ExitStack) -> socket.socket:
    """Connect with TLS, send a malformed request, and do not answer when the mirror ends TLS."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    client = stack.enter_context(tls.wrap_socket(socket.create_connection(("127.0.0.1", port))))
    client.sendall(b"\0\r\n\r\n")
    return client


def test_clients_that_do_not_end_tls_are_ended(
    options: MirrorOptions, access: Access, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, one client that did not end TLS stopped the mirror's checks of all other clients."""
    monkeypatch.setattr(meter, "WAITING", 1.0)
    with mirroring(with_options(options, certificate=certificate), access) as mirror, ExitStack() as stack:
        clients = [malformed(mirror.client.port, stack)]
        time.sleep(2)
        clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", mirror.client.port))))
        assert eventually(lambda: not any(map(is_open, clients)))
        assert not mirror.lines


def test_a_new_client_is_served_beside_clients_that_do_not_end_tls(
    options: MirrorOptions, access: Access, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, an error of an old client also ended the connection of the new client."""
    monkeypatch.setattr(door, "_MOST_CLIENTS", 3)
    monkeypatch.setattr(meter, "BRIEF", 0.1)
    tls = ssl.create_default_context(cafile=certificate[0])
    with mirroring(with_options(options, certificate=certificate), access) as mirror, ExitStack() as stack:
        for _ in range(5):
            malformed(mirror.client.port, stack)
        time.sleep(0.5)
        client = http.client.HTTPSConnection("localhost", mirror.client.port, timeout=5, context=tls)
        with closing(client):
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b"ok\n"


def test_an_error_of_a_check_is_logged_and_does_not_end_the_checks(
    options: MirrorOptions, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "WAITING", 1.0)
    faults = [KeyError("x")]
    look = door.Client.look

    def failing(client: door.Client) -> None:
        if faults:
            raise faults.pop()
        look(client)

    monkeypatch.setattr(door.Client, "look", failing)
    with mirroring(options, access) as mirror:
        with socket.create_connection(("127.0.0.1", mirror.client.port)) as client:
            assert eventually(lambda: not is_open(client))
        assert mirror.lines == [{"event": "error", "kind": "loop", "error": "KeyError"}]


def test_tls_reads_nothing_while_a_client_takes_nothing(
    options: MirrorOptions, access: Access, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS answers each request for new keys. Before the fix, the answers filled a buffer without a limit."""
    paused: list[str] = []
    for name in ("pause_reading", "resume_reading"):
        real = getattr(asyncio.selector_events._SelectorSocketTransport, name)

        def noted(self: Any, real: Any = real, name: str = name) -> None:
            paused.append(name)
            real(self)

        monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, name, noted)
    content = os.urandom(8 << 20)
    private = with_options(options, certificate=certificate)
    with beside(private, access, lambda request: request.answer(200, content)) as (_, evil):
        tls = ssl.create_default_context(cafile=certificate[0])
        with tls.wrap_socket(
            socket.create_connection(("127.0.0.1", evil.port)), server_hostname="localhost"
        ) as connection:
            path = f"/v2/evil/{REPOSITORY}/blobs/{digest(content)}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert eventually(lambda: bool(paused))
            time.sleep(0.5)
            assert paused[-1] == "pause_reading"
            got = b""
            while piece := connection.recv(1 << 20):
                got += piece
        assert got.endswith(content)
        assert "resume_reading" in paused


def test_tls_does_not_read_again_while_writing_is_paused_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When asyncio resumes writing, it writes waiting data at once. So writing may be paused again before
    ``resume_writing`` returns.
    """
    called: list[str] = []

    class Lowest:
        def resume_reading(self) -> None:
            called.append("resume_reading")

    greeting: Any = door._Greeting.__new__(door._Greeting)
    greeting._client = type("Client", (), {"lowest": Lowest()})
    greeting._ssl_reading_paused = False
    for is_paused in (True, False):
        greeting._ssl_writing_paused = is_paused
        monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "resume_writing", lambda _: None)
        greeting.resume_writing()
        assert called == ([] if is_paused else ["resume_reading"])


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_handshakes_that_are_not_completed_keep_no_connection(
    options: MirrorOptions, access: Access, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, each client with an incomplete handshake occupied a descriptor for five minutes."""
    monkeypatch.setattr(door, "_AT_ONCE", 5)
    hello = ssl.MemoryBIO()
    tls = ssl.create_default_context()
    with suppress(ssl.SSLWantReadError):
        tls.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    greeting = hello.read()
    with mirroring(with_options(options, certificate=certificate), access) as mirror, ExitStack() as stack:
        before = open_files()
        for _ in range(40):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.connect(("127.0.0.1", mirror.client.port))
            client.sendall(greeting)
            time.sleep(0.01)
        assert eventually(lambda: open_files() <= before + 40 + 5)


def test_tls_takes_little_memory_for_a_client(
    options: MirrorOptions, access: Access, certificate: tuple[str, str]
) -> None:
    with mirroring(with_options(options, certificate=certificate), access) as mirror, ExitStack() as stack:
        tracemalloc.start()
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", mirror.client.port)))
        time.sleep(0.5)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert 10 << 10 < taken / 40 < 60 << 10


def test_bodies_of_requests_are_not_decompressed(mirror: Running) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    connection = http.client.HTTPConnection("127.0.0.1", mirror.client.port, timeout=20)
    with closing(connection):
        connection.request("GET", "/healthz", body=bomb, headers={"Content-Encoding": "gzip"})
        assert connection.getresponse().read() == b"ok\n"
        with suppress(ConnectionResetError):  # the mirror closes the connection
            assert connection.sock is None or connection.sock.recv(1) == b""


def test_a_blob_that_a_client_reads_counts_until_it_has(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 30_000)
    first = cache.new()
    first.write(b"x" * 20_000)
    first.keep("a")
    with pytest.raises(CacheFullError):
        cache.new().write(b"y" * 20_000)
    first.close()
    second = cache.new()
    second.write(b"y" * 20_000)
    second.close()
    cache.close()


def test_small_files_count_as_they_take_space(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 24_000)
    for number in range(50):
        cache.note_image(("a", cache.put("a", b"%d" % number)))
    assert len(list((tmp_path / "c" / "blobs").glob("*/*"))) <= 6
    cache.close()


def test_images_that_are_noted_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_MAX_IMAGES", 10)
    cache = Cache(tmp_path / "c", 1 << 20)
    for number in range(100):
        cache.note_image(("a", cache.put("a", b"%d" % number)))
        cache.note_image(("a", bytes([number]) * 32))  # this blob is not in the cache
    assert len(list((tmp_path / "c" / "images" / "a").iterdir())) <= 21
    cache.close()


def test_slow_downloads_keep_nobody_from_manifests(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_PUMPS", 2)

    def drip(request: Request) -> bool:
        if "/manifests/" in request.path:
            return request.answer(404, b"{}")
        request.answer(200, b"", length=1 << 20)
        for _ in range(100):
            request.wfile.write(bytes(1024))
            time.sleep(0.1)
        return True

    with beside(options, access, drip) as (_, evil), ExitStack() as stack:
        for number in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", evil.port)))
            client.sendall(f"GET /v2/evil/x/blobs/sha256:{number:064x} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.5)
        begun = time.monotonic()
        assert evil.get("manifests/v1").status == 404
        assert time.monotonic() - begun < 3


def test_small_images_say_nothing_of_the_speed(mirror: Running, stocked: Registry) -> None:
    mirror.client.pull("v1")
    mirror.client.pull("v2")
    assert mirror.last()["way"] == "delta"
    assert mirror.mirror._maker._speeds == {}


@pytest.mark.parametrize("status", [200, 203, 206])
def test_what_cannot_be_the_blob_is_not_passed_on(
    status: int, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    body = b"" if status == 200 else b"part"
    with beside(options, access, lambda request: request.answer(status, body)) as (_, evil):
        for name in (digest(b"all of it"), "sha512:" + hashlib.sha512(b"all of it").hexdigest()):
            assert evil.blob(name).status == 502


def test_blobs_by_sha512_are_looked_at_too(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    content = random.Random(5).randbytes(200_000)
    with beside(options, access, lambda request: request.answer(200, content)) as (_, evil):
        assert evil.blob("sha512:" + hashlib.sha512(content).hexdigest()).body == content
        assert not evil.blob("sha512:" + hashlib.sha512(b"x").hexdigest()).is_whole


def test_each_value_of_a_header_is_looked_at(mirror: Running) -> None:
    request = (
        f"GET /v2/site/{REPOSITORY}/manifests/v1 HTTP/1.1\r\nHost: localhost\r\nAccept: a/b\r\nAccept: \xe4\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as client:
        client.sendall(request.encode())
        assert b" 400 " in client.recv(100)


@pytest.mark.parametrize(
    ("text", "is_local"), [("127.0.0.1:5055", True), ("[::1]:5055", True), ("[::]:5055", False), ("[::2]:1", False)]
)
def test_loopback_by_ipv6_is_known(text: str, is_local: bool) -> None:
    """IPv6 loopback addresses are recognised, too. Otherwise, a private mirror would not check the Host header of
    requests.
    """
    assert parse_listen(text).is_local == is_local
    assert parse_listen(text).address == text


@pytest.mark.parametrize(
    ("host", "status"), [("rebind.example:5055", 421), ("localhost:1", 200), ("[::1]:1", 200), ("::1", 200)]
)
def test_pages_of_the_web_do_not_reach_a_private_mirror(
    host: str, status: int, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    with mirroring(with_options(options, is_private=True), access) as mirror:
        for path in ("/v2/", "/metrics", "/healthz"):
            assert mirror.client.ask(path, Host=host).status == status, path
    with mirroring(options, access) as mirror:
        assert mirror.client.ask("/v2/", Host=host).status == status

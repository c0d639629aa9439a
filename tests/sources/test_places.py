"""Addresses to which a registry sends dib, and the data that dib sends there. Redirects, uploads, referrers and tokens
are tested.
"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dibundle.errors import RegistryError
from dibundle.format import labels
from dibundle.images import document
from dibundle.images.document import get_text
from dibundle.sources.registry import places
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.places import follow, kind
from dibundle.sources.registry.reference import Reference
from dibundle.sources.registry.settings import RegistrySettings
from tests.content import noise
from tests.program import dib
from tests.sources.server import Registry, Request, digest, serve
from tests.sources.test_client import DATA, fetch, login

HERE = "https://registry.example/v2/app/blobs/x"


@pytest.fixture
def elsewhere(registry: Registry, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Return a repository of a registry; this registry's address counts as public."""
    registry.blobs["example/app", digest(DATA)] = DATA
    with Repository(Reference(registry.host, "example/app"), settings, write=True) as opened:
        transport, own = opened._transport, registry.host.partition(":")[0]
        check = transport._check_place

        def checked(host: str, addresses: set[str], *, is_reached: bool) -> None:
            check(host, set() if host == own else addresses, is_reached=is_reached)

        monkeypatch.setattr(transport, "_own_kinds", set())
        monkeypatch.setattr(transport, "_check_place", checked)
        yield opened


def test_its_own_name_leads_to_no_other_kind_of_address(registry: Registry, settings: RegistrySettings) -> None:
    """A name may have a public address and an address of this machine: both at once, or in turn."""
    with Repository(Reference("registry.example", "example/app"), settings) as opened:
        check = opened._transport._check_place
        check("registry.example", {"a loopback address"}, is_reached=False)
        check("registry.example", set(), is_reached=True)
        check("registry.example", {"a loopback address"}, is_reached=False)
        with pytest.raises(RegistryError, match="loopback"):
            check("registry.example", {"a loopback address"}, is_reached=True)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return a dict that maps host names to addresses. Tests add entries."""
    found: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: object, **more: object) -> list[object]:
        if host not in found:
            return real(host, port, *rest, **more)  # type: ignore[arg-type, return-value]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/y", "https://registry.example/y"),
        ("https://blobs.example/y?x=1", "https://blobs.example/y?x=1"),
        ("//blobs.example/y", "https://blobs.example/y"),
        ("http://registry.example/y", None),
        ("HTTP://blobs.example/y", None),
        ("ftp://blobs.example/y", None),
        ("https://me@blobs.example/y", None),
        ("https://registry.example\\@blobs.example/", None),
        ("https://registry.example\\.blobs.example/", None),
        ("https://blobs.example/ y", None),
        ("https://blobs.example/\r\nHost: x", None),
        ("", None),
    ],
)
def test_what_is_followed(location: str, target: str | None) -> None:
    assert follow(HERE, location) == target


def test_from_http_to_https_and_back() -> None:
    first = follow("http://registry.example/x", "https://blobs.example/y")
    assert first == "https://blobs.example/y"
    assert follow(first, "http://registry.example/x") is None


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        *[(item, "loopback") for item in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "::1", "::")],
        *[(item, "loopback") for item in ("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")],
        *[(item, "link-local") for item in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.1.1")],
        *[(item, "link-local") for item in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")],
        *[(item, "multicast") for item in ("224.0.0.1", "ff02::1")],
        *[(item, None) for item in ("10.0.0.1", "192.168.1.1", "93.184.216.34", "2606:4700::1", "fd12::1")],
    ],
)
def test_kinds_of_addresses(address: str, wanted: str | None) -> None:
    assert kind(address) == wanted


NAMES = [
    "localhost",
    "127.0.0.2",
    "2130706434",
    "0x7f000002",
    "0177.0.0.2",
    "127.2",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.2]",
    "169.254.169.254",
    "[fd00:ec2::254]",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["redirect", "realm", "referrers"])
def test_addresses_of_this_machine_are_not_asked(
    elsewhere: Repository, registry: Registry, name: str, how: str
) -> None:
    with serve() as other:
        place = f"http://{name}:{other.host.rpartition(':')[2]}/x"
        registry.hook = {
            "redirect": lambda request: request.answer(307, b"", {"Location": place}),
            "realm": lambda request: request.fail(401, WWW_Authenticate=f'Bearer realm="{place}"'),
            "referrers": lambda request: request.answer(200, b"{}", {"Link": f'<{place}>; rel="next"'}),
        }[how]
        with pytest.raises(RegistryError, match="but dib refuses"):
            elsewhere.referrers(bytes(32), "x", received=1 << 30) if how == "referrers" else fetch(elsewhere)
        assert other.asked == []


@pytest.mark.parametrize("later", [False, True])
def test_names_that_resolve_to_such_addresses(elsewhere, registry, monkeypatch, later: bool) -> None:
    """Names that resolve to private addresses are refused. Some names resolve to private addresses only when dib
    connects.
    """
    resolve = socket.getaddrinfo

    def lying(host: object, *arguments: object, **options: object) -> object:
        if host == "blobs.example":
            return resolve("127.0.0.2", *arguments, **options)
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    if later:
        monkeypatch.setattr("dibundle.sources.registry.connections.kinds", lambda host: set())
    with serve() as other:
        port = other.host.rpartition(":")[2]
        registry.hook = lambda request: request.answer(307, b"", {"Location": f"http://blobs.example:{port}/x"})
        monkeypatch.setattr(places, "kind", kind)
        with pytest.raises(RegistryError, match="refuses"):
            fetch(elsewhere)
        assert other.asked == []


def test_what_else_its_own_name_leads_to_is_no_leave(
    registry: Registry, settings: RegistrySettings, resolved: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a registry's own name also has a loopback address, dib does not connect to that address.

    dib reaches the registry itself at a public address.
    """
    name, _, port = registry.host.partition(":")
    resolved["registry.example"] = [name, "127.0.0.9"]
    public = dataclasses.replace(settings, insecure={f"registry.example:{port}"})
    monkeypatch.setattr(
        "dibundle.sources.registry.connections.kind", lambda address: None if address == name else kind(address)
    )
    monkeypatch.setattr("socket.socket.getsockname", lambda made: ("10.0.0.1", 1))
    with serve() as other, Repository(Reference(f"registry.example:{port}", "example/app"), public) as repository:
        place = f"http://127.0.0.9:{other.host.rpartition(':')[2]}/x"
        registry.hook = lambda request: request.answer(307, b"", {"Location": place})
        with pytest.raises(RegistryError, match="but dib refuses"):
            fetch(repository)
        assert other.asked == []


def test_a_registry_on_this_machine_may_send_to_this_machine(registry: Registry, settings: RegistrySettings) -> None:
    with serve() as other, Repository(Reference(registry.host, "example/app"), settings) as repository:
        other.blobs["example/app", digest(DATA)] = DATA
        port = other.host.rpartition(":")[2]
        registry.hook = lambda request: request.answer(307, b"", {"Location": f"http://localhost:{port}{request.path}"})
        assert fetch(repository) == DATA


def test_no_byte_of_a_bundle_goes_to_another_host(registry: Registry, settings: RegistrySettings) -> None:
    data = noise(3, 20_000_000)  # the data is sent in chunks, because the answer to each chunk may be a redirect
    with serve() as other:

        def first(request: Request) -> object:
            return request.command == "POST" and request.answer(202, b"", {"Location": f"http://{other.host}/x"})

        def second(request: Request) -> object:
            return request.command == "PATCH" and request.answer(202, b"", {"Location": f"http://{other.host}/x"})

        for registry.hook in (first, second):
            with (
                Repository(Reference(registry.host, "example/app"), settings, write=True) as repository,
                pytest.raises(RegistryError, match="another host"),
            ):
                repository.upload(bytes.fromhex(digest(data)[7:]), data)
        assert other.asked == []


def test_credentials_go_to_the_realm_of_the_registrys_own_challenge_alone(registry: Registry, tmp_path: Path) -> None:
    with serve() as other:
        other.hook = lambda request: request.fail(401, WWW_Authenticate=f'Bearer realm="http://{other.host}/token"')
        registry.hook = lambda request: request.answer(307, b"", {"Location": f"http://{other.host}{request.path}"})
        with (
            Repository(Reference(registry.host, "example/app"), login(tmp_path, registry.host)) as repository,
            pytest.raises(RegistryError, match="refuses access"),
        ):
            fetch(repository)
        assert [path for _, path, _ in other.asked if "token" in path] == []
        assert all("Authorization" not in headers for _, _, headers in other.asked)


def _drip(request: Request, pause: float = 0.05) -> bool:
    request.send_response(200)
    request.send_header("Content-Length", str(len(DATA)))
    request.end_headers()
    request.close_connection = True
    try:
        for at in range(200):
            request.wfile.write(DATA[at : at + 1])
            request.wfile.flush()
            time.sleep(pause)
    except OSError:
        pass
    return True


def _drip_headers(request: Request) -> bool:
    request.close_connection = True
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(200):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    return True


def _drip_a_size_and_close(request: Request) -> bool:
    """Slowly send an endless chunk size. Because of ``Connection: close``, the client's pool releases the socket. Even
    then, the time limit must apply to reads from the socket.
    """
    request.close_connection = True
    try:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1;"
        for piece in (head, *[b"x"] * 200):
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    return True


@pytest.mark.parametrize("hook", [_drip, _drip_headers, _drip_a_size_and_close])
@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_all_of_it_takes_so_long_at_most(registry: Registry, hook, what: str) -> None:
    registry.hook = hook
    quick = RegistrySettings(pause=0, timeout=30, max_time=0.6, sleep=lambda seconds: None)
    begun = time.monotonic()
    with (
        Repository(Reference(registry.host, "example/app"), quick) as repository,
        pytest.raises(RegistryError, match=re.escape("took longer than 0.6 seconds")),
    ):
        fetch(repository) if what == "blob" else repository.find("latest")
    assert time.monotonic() - begun < 8


def _unanswered(held: ExitStack, count: int) -> tuple[list[str], int]:
    """Return addresses and a port on which nothing answers, because the listener's queue is full."""
    addresses, port = [f"127.0.1.{number + 1}" for number in range(count)], 0
    for address in addresses:
        server = held.enter_context(socket.socket())
        server.bind((address, port))
        port = server.getsockname()[1]
        server.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect((address, port))
    time.sleep(0.1)
    return addresses, port


def test_addresses_that_do_not_answer_take_as_long_as_one(resolved: dict[str, list[str]]) -> None:
    quick = RegistrySettings(pause=0, timeout=0.5, tries=1, sleep=lambda seconds: None)
    with ExitStack() as held:
        resolved["registry.example"], port = _unanswered(held, 12)
        begun = time.monotonic()
        with (
            Repository(Reference(f"registry.example:{port}", "example/app"), quick) as repository,
            pytest.raises(RegistryError),
        ):
            repository.find("latest")
    assert time.monotonic() - begun < 3


def test_a_connection_that_was_made_too_late_is_not_used(
    registry: Registry, resolved: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is made after the time limit is not used. When the time limit is reached, there is no
    connection yet that could be aborted.
    """
    name, _, port = registry.host.partition(":")
    resolved["registry.example"] = [name]
    connect = socket.socket.connect

    def late(made: socket.socket, address: tuple[str, int]) -> None:
        time.sleep(1)
        connect(made, address)

    monkeypatch.setattr(socket.socket, "connect", late)
    registry.hook = _drip
    quick = RegistrySettings(
        pause=0, timeout=30, max_time=0.5, insecure={f"registry.example:{port}"}, sleep=lambda seconds: None
    )
    begun = time.monotonic()
    with (
        Repository(Reference(f"registry.example:{port}", "example/app"), quick) as repository,
        pytest.raises(RegistryError, match=re.escape("took longer than 0.5 seconds")),
    ):
        fetch(repository)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("given", [{"max_time": 0.6, "timeout": 30}, {"timeout": 0.3}], ids=["max-time", "timeout"])
def test_a_greeting_of_tls_that_never_ends(resolved: dict[str, list[str]], given: dict[str, float]) -> None:
    def drip(server: socket.socket) -> None:
        made, _ = server.accept()
        with made, suppress(OSError):
            made.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            for _ in range(400):
                made.sendall(b"x")
                time.sleep(0.05)

    resolved["registry.example"] = ["127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        begun = time.monotonic()
        with (
            Repository(
                Reference(f"registry.example:{server.getsockname()[1]}", "example/app"),
                RegistrySettings(pause=0, tries=1, sleep=lambda seconds: None, **given),
            ) as repository,
            pytest.raises(RegistryError),
        ):
            repository.find("latest")
    assert time.monotonic() - begun < 5


def test_a_registry_that_drips(registry: Registry) -> None:
    registry.hook = _drip
    quick = RegistrySettings(pause=0, timeout=0.3, tries=2, min_rate=1000, sleep=lambda seconds: None)
    begun = time.monotonic()
    with (
        Repository(Reference(registry.host, "example/app"), quick) as repository,
        pytest.raises(RegistryError, match="slower than 1,000 bytes a second"),
    ):
        fetch(repository)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("hook", ["_drip_headers", "_continue", "_drip_a_size_and_close"])
def test_headers_and_sizes_that_never_end(registry: Registry, hook: str) -> None:
    """If headers or sizes never end, reading stops at a time limit, even if each byte arrives in time."""
    registry.hook = globals()[hook]
    quick = RegistrySettings(pause=0, timeout=0.5, tries=1, sleep=lambda seconds: None)
    begun = time.monotonic()
    with Repository(Reference(registry.host, "example/app"), quick) as repository, pytest.raises(RegistryError):
        repository.find("latest")
    assert time.monotonic() - begun < 5


def _continue(request: Request) -> bool:
    request.close_connection = True
    try:
        for _ in range(200):
            request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    return True


def test_a_link_of_many_angles_takes_no_time(registry: Registry) -> None:
    def angles(request: Request) -> bool:
        if "/referrers/" not in request.path:
            return False
        body = b'{"manifests":[]}'
        request.send_response(200)
        request.send_header("Link", "<" * 30_000)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        return True

    registry.hook = angles
    begun = time.process_time()
    with Repository(Reference(registry.host, "example/app"), RegistrySettings(pause=0, timeout=5)) as repository:
        assert repository.referrers(bytes(32), "x/y", received=1 << 30)[0] == []
    assert time.process_time() - begun < 2


def test_the_options(registry: Registry, tmp_path: Path) -> None:
    registry.hook = _drip
    name = f"docker://{registry.host}/example/app:1"
    ended = dib("pull", name, "-o", tmp_path / "x", "--max-time", "0.5")
    assert ended.code == 9
    assert "took longer than 0.5 seconds" in ended.err
    assert dib("pull", name, "-o", tmp_path / "x", "--min-rate", "-1").code == 2


def test_a_list_of_large_texts_takes_little_memory(registry: Registry) -> None:
    """In Python, a single character above U+FFFF makes a text take four bytes for each character.

    The test also checks the order of the kept entries.
    """

    def item(number: int) -> dict[str, object]:
        text = "\U0001f40b" + "a" * (200_000 if number % 20 == 0 else 100_000)
        return {"digest": f"sha256:{number:064}", "artifactType": "x/y", "annotations": {labels.NEEDS_MANIFESTS: text}}

    def answer(request: Request) -> bool:
        page = int(request.path.rpartition("page=")[2]) if "page=" in request.path else 0
        listed = {"manifests": [item(number) for number in range(20 * page, 20 * page + 20)]}
        return request.answer(200, json.dumps(listed).encode(), {"Link": f'<?page={page + 1}>; rel="next"'})

    registry.hook = answer
    with Repository(Reference(registry.host, "example/app"), RegistrySettings(pause=0, timeout=5)) as repository:
        found, is_whole = repository.referrers(bytes(32), "x/y", received=1 << 30)
    assert not is_whole
    # every twentieth descriptor is too large and is kept without its annotations; 41 other descriptors fit into the
    # limit
    assert [get_text(one, "digest") for one in found] == [f"sha256:{number:064}" for number in range(44)]
    assert [number for number, one in enumerate(found) if not document.get(one, "annotations")] == [0, 20, 40]

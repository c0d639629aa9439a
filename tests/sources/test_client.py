"""The distribution API. dib gets the content that it requested, and repeats or reports failed requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibundle.errors import RegistryError, UsageError
from dibundle.files.readat import MemoryBytes
from dibundle.sources.registry import client
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.credentials import Login, find
from dibundle.sources.registry.reference import Reference, is_loopback
from dibundle.sources.registry.settings import RegistrySettings
from tests.content import noise
from tests.sources.server import Registry, Request, digest, serve, stall

DATA = noise(1, 3_000_000)
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def repository(registry: Registry, settings: RegistrySettings) -> Iterator[Repository]:
    registry.blobs["example/app", digest(DATA)] = DATA
    with Repository(Reference(registry.host, "example/app"), settings, write=True) as opened:
        yield opened


def fetch(repository: Repository, data: bytes = DATA) -> bytes:
    return b"".join(repository.blob(bytes.fromhex(digest(data)[7:]), len(data)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("docker://registry.example/app", ("registry.example", "app", None, None)),
        ("docker://localhost/team/app:1", ("localhost", "team/app", "1", None)),
        ("docker://127.0.0.1:5000/a/b/c:v1.0", ("127.0.0.1:5000", "a/b/c", "v1.0", None)),
        ("docker://[::1]:5000/app@sha256:" + "a" * 64, ("[::1]:5000", "app", None, "sha256:" + "a" * 64)),
    ],
)
def test_references(text, wanted):
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == wanted
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["docker://app", "docker://app:1", "docker://team/app", "docker://registry.example/", "docker://registry.example/A",
     "docker://registry.example/a:b:c", "docker://registry.example/a@sha256:1", "docker://registry.example/../a",
     "docker://reg istry.example/a", "docker://user@registry.example/a", "docker://registry.example/a?x=1"],
)  # fmt: skip
def test_what_is_no_reference(text):
    with pytest.raises(UsageError):
        Reference.parse(text)


def test_loopback_hosts():
    local = ("localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]", "::1")
    other = ("localhost.example", "registry.example:5000", "10.0.0.1", "128.0.0.1:80", "::2", "[::2]:1", "::1:5000")
    assert all(map(is_loopback, local))
    assert not any(map(is_loopback, other))


def test_a_blob_is_fetched_once(repository, registry):
    assert fetch(repository) == DATA
    assert len(registry.asked) == 1


def test_a_broken_connection_goes_on_where_it_was(repository, registry):
    begun = iter((500_000, 1_000_000, 100))

    def cut(request: Request) -> bool:
        after = next(begun, None)
        if after is None or "/blobs/" not in request.path:
            return False
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        return request.cut(DATA[start:], after, 206 if start else 200, headers)

    registry.hook = cut
    assert fetch(repository) == DATA
    assert [headers.get("Range") for _, _, headers in registry.asked] == [
        None,
        "bytes=500000-",
        "bytes=1500000-",
        "bytes=1500100-",
    ]


def test_a_registry_without_ranges_sends_it_all_again(repository, registry):
    first = iter((True,))
    registry.hook = lambda request: request.cut(DATA, 500_000) if next(first, False) else request.answer(200, DATA)
    assert fetch(repository) == DATA


def test_a_registry_that_ignores_ranges_sends_a_blob_twice_at_most(repository, registry):
    """Before the fix, progress reset the count of interruptions. As a result, the registry sent 300 MiB instead of 24
    MiB.
    """
    large = DATA * (1 + (6 << 20) // len(DATA))
    sent: list[int] = []

    def cut(request: Request) -> bool:
        sent.append(min(len(large), (len(sent) + 1) * (3 << 19)))
        return request.cut(large, sent[-1])

    registry.hook = cut
    with pytest.raises(RegistryError) as found:
        fetch(repository, large)
    assert found.value.code == "registry.range"
    assert sum(sent) < 3 * len(large)


def test_errors_that_pass(repository, registry):
    statuses = iter((500, 503, 429))
    registry.hook = lambda request: (status := next(statuses, 0)) and request.fail(status)
    assert fetch(repository) == DATA


@pytest.mark.parametrize("status", [500, 503, 429])
def test_errors_that_stay(repository, registry, status):
    registry.hook = lambda request: request.fail(status)
    with pytest.raises(RegistryError, match=f"status {status}"):
        fetch(repository)
    with pytest.raises(RegistryError, match="BROKEN: not today"):
        repository.find("v1")
    assert len(registry.asked) == 10


def test_retry_after_is_minded_within_reason(registry):
    slept: list[float] = []
    answers = iter(("7", "100000", "soon"))
    registry.hook = lambda request: (wait := next(answers, "")) and request.fail(503, Retry_After=wait)
    with Repository(Reference(registry.host, "example/app"), RegistrySettings(sleep=slept.append)) as repository:
        assert repository.find("v1") is None
    assert slept == [7, 30, 2]


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (lambda request: request.answer(200, DATA[:-1] + b"x"), "a wrong blob"),
        (lambda request: request.answer(200, DATA + b"x"), "more than the 3,000,000 bytes"),
        (lambda request: request.endless(bytes(65536)), "more than the 3,000,000 bytes"),
        (lambda request: request.answer(200, DATA[:-1]), "closed the connection after"),
        (lambda request: request.cut(DATA, 1000), "closed the connection after"),
        (lambda request: request.answer(206, DATA[9:], {"Content-Range": "bytes 9-99/100"}), "status 206"),
        (lambda request: request.fail(404), "status 404"),
    ],
)
def test_a_registry_that_lies_about_a_blob(repository, registry, hook, text):
    registry.hook = hook
    if text == "closed the connection after":  # for any requested range
        registry.hook = lambda request: (
            request.cut(DATA, 1000) if not request.headers.get("Range") else request.fail(503)
        )
    with pytest.raises(RegistryError, match=text):
        fetch(repository)


def test_a_range_that_is_another_one(repository, registry):
    registry.hook = lambda request: (
        request.answer(206, DATA[5:], {"Content-Range": "bytes 5-10/11"})
        if request.headers.get("Range")
        else request.cut(DATA, 1000)
    )
    with pytest.raises(RegistryError, match="not send the requested range"):
        fetch(repository)


def test_a_registry_that_stalls(repository, registry):
    registry.hook = lambda request: stall(3)
    quick = RegistrySettings(pause=0, timeout=0.2, tries=2)
    with (
        Repository(Reference(registry.host, "example/app"), quick) as impatient,
        pytest.raises(RegistryError, match="timed out"),
    ):
        fetch(impatient)


def test_nobody_there(settings):
    with (
        Repository(Reference("127.0.0.1:1", "example/app"), settings) as repository,
        pytest.raises(RegistryError, match="does not answer"),
    ):
        repository.find("v1")


def manifest(registry: Registry, body: bytes, kind: str = OCI, name: str = "v1") -> None:
    registry.manifests["example/app", name] = (kind, body)


def test_manifests_are_checked(repository, registry):
    body = json.dumps({"schemaVersion": 2, "layers": []}).encode()
    manifest(registry, body)
    assert repository.manifest("v1").body == body
    manifest(registry, body + b" ", name=digest(body))
    with pytest.raises(RegistryError, match="sends a manifest with digest"):
        repository.manifest(digest(body))
    registry.hook = lambda request: request.answer(
        200, body, {"Content-Type": OCI, "Docker-Content-Digest": digest(b"")}
    )
    with pytest.raises(RegistryError, match="sends a manifest with digest"):
        repository.manifest("v1")


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b" " * (5 << 20), OCI, "more than 4.2 MB"),
        (b"<html>", OCI, "not JSON"),
        (b"[" * 100_000, OCI, "not JSON"),
        (b"{}", "text/html", "neither an image nor a bundle"),
        (b'{"mediaType": "application/vnd.oci.image.index.v1+json"}', OCI, "neither an image nor a bundle"),
    ],
)
def test_manifests_that_are_none(repository, registry, body, kind, text):
    manifest(registry, body, kind)
    with pytest.raises(RegistryError, match=text):
        repository.manifest("v1")


def test_an_endless_manifest(repository, registry):
    registry.hook = lambda request: request.endless(b" " * 65536)
    with pytest.raises(RegistryError, match="more than "):
        repository.manifest("v1")


@pytest.mark.parametrize("size", [0, 10, client.CHUNK, client.CHUNK + 1, 3 * client.CHUNK])
def test_uploads(repository, registry, size):
    data = DATA[:1000] * (size // 1000 + 1)
    data = data[:size]
    name = bytes.fromhex(digest(data)[7:])
    assert repository.upload(name, MemoryBytes(data)) is True
    assert registry.blobs["example/app", digest(data)] == data
    assert repository.upload(name, MemoryBytes(data)) is False


def test_uploads_begin_again_where_they_break(repository, registry):
    data = bytes(2 * client.CHUNK + 5)
    breaks = iter((3, 7))
    seen = iter(range(1, 1000))
    at = [next(breaks)]

    def hook(request: Request) -> bool:
        number = next(seen)
        if number == at[0]:
            at[0] = next(breaks, 0)
            request.close_connection = True
            return True
        return False

    registry.hook = hook
    assert repository.upload(bytes.fromhex(digest(data)[7:]), MemoryBytes(data))
    assert registry.blobs["example/app", digest(data)] == data


def test_a_blob_of_another_repository_is_mounted(repository, registry):
    data = b"elsewhere"
    registry.blobs["example/base", digest(data)] = data
    assert repository.upload(bytes.fromhex(digest(data)[7:]), data, "example/base") is False
    assert registry.blobs["example/app", digest(data)] == data
    assert not registry.log("PUT", "")


def login(folder: Path, host: str, user: str = "me", secret: str = "secret") -> RegistrySettings:
    auth = base64.b64encode(f"{user}:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return RegistrySettings(logins=(folder / "config.json",), pause=0, timeout=2, sleep=lambda seconds: None)


def demand(kind: str, right: str) -> object:
    def hook(request: Request) -> bool:
        if request.path.startswith("/token"):
            known = request.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:secret").decode()
            return request.answer(200, b'{"token": "good"}') if known else request.fail(401)
        if request.headers.get("Authorization") == right:
            return False
        host = request.headers["Host"]
        asked = f'Bearer realm="http://{host}/token",service="s",scope="repository:example/app:pull"'
        return request.fail(401, WWW_Authenticate='Basic realm="x"' if kind == "basic" else asked)

    return hook


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_logins(registry, tmp_path, kind):
    basic = "Basic " + base64.b64encode(b"me:secret").decode()
    registry.hook = demand(kind, basic if kind == "basic" else "Bearer good")
    registry.blobs["example/app", digest(DATA)] = DATA
    with Repository(Reference(registry.host, "example/app"), login(tmp_path, registry.host)) as repository:
        assert fetch(repository) == DATA
        assert fetch(repository) == DATA
    assert len(registry.log("GET", "/token")) == (kind == "bearer")
    for wrong in (login(tmp_path, registry.host, secret="wrong"), login(tmp_path, "other.example"), RegistrySettings()):
        with (
            Repository(Reference(registry.host, "example/app"), wrong) as repository,
            pytest.raises(RegistryError, match="refuses access") as caught,
        ):
            fetch(repository)
        assert caught.value.hint == f"log in first: docker login {registry.host}"


def test_credentials_do_not_follow_a_redirect(registry, tmp_path):
    with serve() as other:
        other.blobs["example/app", digest(DATA)] = DATA
        basic = demand("basic", "Basic " + base64.b64encode(b"me:secret").decode())
        registry.hook = lambda request: (
            basic(request) or request.answer(307, b"", {"Location": f"http://{other.host}{request.path}"})
        )
        with Repository(Reference(registry.host, "example/app"), login(tmp_path, registry.host)) as repository:
            assert fetch(repository) == DATA
        assert [headers.get("Authorization") for _, _, headers in other.asked] == [None]
        other.asked.clear()
        other.hook = lambda request: request.fail(401, WWW_Authenticate='Basic realm="x"')
        with (
            Repository(Reference(registry.host, "example/app"), login(tmp_path, registry.host)) as repository,
            pytest.raises(RegistryError, match="refuses access"),
        ):
            fetch(repository)
        assert [headers.get("Authorization") for _, _, headers in other.asked] == [None]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "", "ftp://127.0.0.1/x", "gopher://x"])
def test_redirects_that_are_not_followed(repository, registry, place):
    registry.hook = lambda request: request.answer(302, b"", {"Location": place})
    with pytest.raises(RegistryError, match="but dib refuses"):
        fetch(repository)


def test_redirects_in_a_circle(repository, registry):
    registry.hook = lambda request: request.answer(302, b"", {"Location": request.path})
    with pytest.raises(RegistryError, match="more than"):
        fetch(repository)


@pytest.mark.parametrize("realm", ["file:///x", "ftp://127.0.0.1/", ""])
def test_realms_that_are_not_asked(repository, registry, realm):
    registry.hook = lambda request: request.fail(401, WWW_Authenticate=f'Bearer realm="{realm}"')
    with pytest.raises(RegistryError, match="dib refuses this address"):
        fetch(repository)


@pytest.mark.parametrize("token", [b"", b"[]", b'{"token": "a\\r\\nHost: x"}', b'{"token": 5}'])
def test_tokens_that_are_none(repository, registry, token):
    realm = f'Bearer realm="http://{registry.host}/token"'
    registry.hook = lambda request: (
        request.answer(200, token) if "/token" in request.path else request.fail(401, WWW_Authenticate=realm)
    )
    with pytest.raises(RegistryError, match="no token"):
        fetch(repository)


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_where_logins_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    helper(tmp_path, "good", 'read host; echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"of $host\\"}"')
    helper(tmp_path, "token", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"t\\"}"')
    helper(tmp_path, "none", "echo credentials not found in native keychain; exit 1")
    helper(tmp_path, "bad", "echo oops; exit 1")
    helper(tmp_path, "silly", "echo []")
    path = tmp_path / "config.json"

    def read(value: object, host: str = "registry.example", repository: str = "team/app") -> Login | None:
        path.write_text(json.dumps(value))
        return find((tmp_path / "missing.json", path), host, repository)

    auth = {"auth": base64.b64encode(b"you:p:w").decode()}
    assert read({"credHelpers": {"registry.example": "good"}}) == Login("me", "of registry.example")
    assert read({"credsStore": "good"}) == Login("me", "of registry.example")
    assert read({"credsStore": "token"}) == Login("", "t")
    assert read({"credsStore": "none"}) is None
    assert read({"auths": {"registry.example": auth}, "credsStore": "none"}) == Login("you", "p:w")
    assert read({"auths": {"https://registry.example/v1/": auth}}) == Login("you", "p:w")
    both = {"auths": {"registry.example/team": auth, "registry.example": {"identitytoken": "t"}}}
    assert read(both) == Login("you", "p:w")
    assert read(both, repository="x") == Login("", "t")
    assert read({"auths": {"registry.example.org": auth, "registry": auth}}) is None
    assert read({"auths": {"registry.example": {}}}) is None
    for store in ("bad", "silly", "absent", "../x"):
        with pytest.raises(RegistryError):
            read({"credsStore": store})
    for wrong in ([], {"auths": {"registry.example": {"auth": "!"}}}):
        with pytest.raises(RegistryError):
            read(wrong)


def test_secrets_are_not_shown():
    assert "secret" not in repr(Login("me", "secret"))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e300, 1e10, 0, -1])
def test_times_that_are_no_limit_are_refused(dib, files, seconds):
    """Timeouts that do not limit the time are refused. Before the fix, NaN turned the limit off."""
    for name in ("max_time", "timeout"):
        with pytest.raises(UsageError, match=name):
            RegistrySettings(**{name: seconds})
    ended = dib("verify", f"--max-time={seconds}", files.bundle(1, 2))
    assert (ended.code, "max_time must be more than 0" in ended.err) == (2, True), ended.err

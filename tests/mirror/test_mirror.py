"""Pulls through ``dib mirror`` and direct pulls give the same bytes, even if faults occur. The mirror fetches only a
few bytes from upstream.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dibundle.sharing.mirror import making
from dibundle.sharing.mirror.cache import Cache, CacheFullError, NewBlob
from dibundle.sharing.mirror.options import MirrorOptions
from dibundle.sources.access import Access
from tests.bounds.measure import ROOT
from tests.builders import build_layer, file
from tests.mirror.conftest import MANIFEST, Answer, Client, Running, mirroring, with_options
from tests.sources.conftest import REPOSITORY, Files, Program, put_image, signer
from tests.sources.server import Registry, Request, digest


def layers(registry: Registry, tag: str) -> list[str]:
    return [item["digest"] for item in json.loads(registry.manifests[REPOSITORY, tag][1])["layers"]]


def fetched(registry: Registry) -> set[str]:
    """Return the digests of the blobs that the upstream registry sent."""
    return {path.rpartition("/")[2] for path in registry.log("GET", "/blobs/")}


def kept(options: MirrorOptions, registry: Registry, name: str) -> Path:
    """Return the path of a blob in the cache."""
    return options.cache / "blobs" / registry.host / name[7:]


def bundle(registry: Registry, tag: str) -> str:
    return str(json.loads(registry.manifests[REPOSITORY, tag][1])["layers"][0]["digest"])


def test_a_pull_fetches_the_bundle_in_place_of_the_layer(mirror: Running, stocked: Registry) -> None:
    base = mirror.client.pull("v1")
    assert base == {name: stocked.blobs[REPOSITORY, name] for name in base}
    assert mirror.last()["reason"] == "no bundle of this image is listed"
    stocked.asked.clear()
    image = mirror.client.pull("v2")
    assert image == {name: stocked.blobs[REPOSITORY, name] for name in image}
    own = layers(stocked, "v2")[1]
    assert own not in fetched(stocked)
    assert bundle(stocked, "v1-v2") in fetched(stocked)
    assert mirror.last()["way"] == "delta"
    assert mirror.last()["saved_bytes"] == len(stocked.blobs[REPOSITORY, own]) - mirror.last()["bundle_bytes"]
    stocked.asked.clear()
    assert mirror.client.pull("v2") == image
    assert not fetched(stocked)


def test_a_chain_of_bundles(mirror: Running, stocked: Registry) -> None:
    mirror.client.pull("v1")
    stocked.asked.clear()
    mirror.client.pull("v3")
    assert {bundle(stocked, "v1-v2"), bundle(stocked, "v2-v3")} <= fetched(stocked)
    assert layers(stocked, "v3")[1] not in fetched(stocked)


def test_where_layers_are_as_fast_they_are_fetched(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with mirroring(with_options(options, prefer="speed"), access) as mirror:
        mirror.client.pull("v1")
        mirror.client.pull("v2")
        assert layers(stocked, "v2")[1] in fetched(stocked)
        assert mirror.last()["reason"] == "fetching the layers is faster"
        assert not stocked.log("GET", "/referrers/")  # no unneeded request is sent


def broken(registry: Registry, fault: str) -> None:
    """Install a hook that causes a fault in the bundle from v1 to v2."""
    name = bundle(registry, "v1-v2")
    data = registry.blobs[REPOSITORY, name]

    def hook(request: Request) -> bool:
        if request.command != "GET" or not request.path.endswith(name):
            return False
        if fault == "missing":
            return request.fail(404)
        if fault == "error":
            return request.fail(500)
        if fault == "cut":
            return request.cut(data, len(data) // 2)
        if fault == "damaged":
            return request.answer(200, data[:-1] + bytes([data[-1] ^ 1]))
        if fault == "another":
            other = registry.blobs[REPOSITORY, bundle(registry, "v3-v4")]
            return request.answer(200, (other + bytes(len(data)))[: len(data)])
        time.sleep(4)  # sleep longer than the time limit for a layer
        return request.answer(200, data)

    registry.hook = hook


@pytest.mark.parametrize("fault", ["missing", "error", "cut", "damaged", "another", "slow"])
def test_whatever_is_wrong_with_a_bundle_the_image_comes(
    fault: str, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    broken(stocked, fault)
    with mirroring(with_options(options, make_timeout=2.0), access) as mirror:
        mirror.client.pull("v1")
        begun = time.monotonic()
        mirror.client.pull("v2")
        assert layers(stocked, "v2")[1] in fetched(stocked)
        assert time.monotonic() - begun < 4


@pytest.mark.parametrize("is_signed", [True, False])
def test_with_signers_a_bundle_has_to_be_signed(
    is_signed: bool, options: MirrorOptions, access: Access, registry: Registry, files: Files, dib: Program, tmp_path
) -> None:
    allowed = signer(tmp_path)
    for number in (1, 2):
        put_image(registry, files.archive(number), f"v{number}")
    made = tmp_path / "b.dib"
    made.write_bytes(files.bundle(1, 2).read_bytes())
    if is_signed:
        assert dib("sign", "--key", tmp_path / "key", made).code == 0
    assert dib("push", made, f"docker://{registry.host}/{REPOSITORY}").code == 0
    from dibundle.format.signing import Signers

    demanding = Access(registries=access.registries, signers=Signers(allowed=str(allowed)))
    with mirroring(options, demanding) as mirror:
        mirror.client.pull("v1")
        registry.asked.clear()
        mirror.client.pull("v2")
        assert (layers(registry, "v2")[1] in fetched(registry)) is not is_signed
        assert mirror.last().get("reason") == (None if is_signed else "every bundle was refused")


def push_other_blobs(registry: Registry, files: Files, dib: Program, folder: Path) -> None:
    """Push two images with compressed layers; also push a bundle that rebuilds the second image with raw layers."""
    for number in (1, 2):
        put_image(registry, files.archive(number), f"v{number}")
    made = folder / "b.dib"
    assert dib("create", "--raw-layers", files.archive(1), files.archive(2), made).code == 0
    assert dib("push", made, f"docker://{registry.host}/{REPOSITORY}:raw", "--subject", "v2").code == 0


def test_a_bundle_that_makes_other_blobs_is_passed_over(
    options: MirrorOptions, access: Access, registry: Registry, files: Files, dib: Program, tmp_path: Path
) -> None:
    push_other_blobs(registry, files, dib, tmp_path)
    with mirroring(options, access) as mirror:
        mirror.client.pull("v1")
        registry.asked.clear()
        mirror.client.pull("v2")
        assert {bundle(registry, "raw"), layers(registry, "v2")[1]} <= fetched(registry)
        assert mirror.last()["way"] == "image"


# ---- names, requests, errors


def test_names(mirror: Running, stocked: Registry) -> None:
    client = Client(mirror.client.port, prefix="", query=f"?ns={stocked.host}")
    assert client.manifest("v1").status == 200
    for prefix, query in (("", ""), ("other/", ""), ("", "?ns=169.254.169.254"), ("", "?ns=localhost:1"), ("", "?ns=")):
        refused = Client(mirror.client.port, prefix=prefix, query=query).manifest("v1")
        assert (refused.status, refused.json["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
    for path in ("/", "/v2/x", "/v2/site/a/../../x/blobs/" + digest(b""), "/v2/site/%2e%2e/x/tags/list"):
        assert mirror.client.ask(path).status == 404
    assert not stocked.log("GET", "169.254")


def plain(registry: Registry, part: str, method: str = "GET", **headers: str) -> Answer:
    port = registry.host.split(":")[1]
    return Client(int(port), prefix="").get(part, method, **headers)


def test_answers_are_those_of_the_registry(mirror: Running, stocked: Registry) -> None:
    manifest, config = stocked.manifests[REPOSITORY, "v1"][1], None
    config = json.loads(manifest)["config"]["digest"]
    for _ in range(2):  # the first answer comes from upstream, the second from the cache
        for part in (
            "manifests/v1",
            f"manifests/{digest(manifest)}",
            "manifests/absent",
            f"manifests/{digest(b'x')}",
            f"blobs/{config}",
            f"blobs/{digest(b'x')}",
            "tags/list",
            f"referrers/{digest(manifest)}",
        ):
            for method in ("GET", "HEAD"):
                if method == "HEAD" and part.startswith(("tags", "referrers")):
                    continue
                own, theirs = mirror.client.get(part, method), plain(stocked, part, method)
                assert (own.status, own.body) == (theirs.status, theirs.body), part
                for key in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
                    assert own.headers.get(key) == theirs.headers.get(key, own.headers.get(key)), (part, method, key)
    base = mirror.client.ask("/v2/")
    assert (base.status, base.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")
    assert mirror.client.get("manifests/v1", "PUT").status == 405
    assert mirror.client.get("blobs/uploads/", "POST").status == 405


def test_ranges(mirror: Running, stocked: Registry) -> None:
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]
    for _ in range(2):  # the first answer comes from upstream, the second from the cache
        part = mirror.client.blob(name, Range="bytes=100-")
        assert (part.status, part.body) == (206, data[100:])
        assert part.headers["Content-Range"] == f"bytes 100-{len(data) - 1}/{len(data)}"
        mirror.client.pull("v1")
    some = mirror.client.blob(name, Range="bytes=5-9")
    assert (some.status, some.body) == (206, data[5:10])
    assert mirror.client.blob(name, Range="bytes=-7").body == data[-7:]
    beyond = mirror.client.blob(name, Range=f"bytes={len(data)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    assert mirror.client.blob(name, Range="lines=1").status == 200


def test_pages_of_lists_lead_to_the_mirror(mirror: Running, stocked: Registry) -> None:
    page = mirror.client.get("tags/list?n=2")
    assert page.headers["Link"].startswith(f"</v2/site/{REPOSITORY}/tags/list?n=2&last=")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_of_upstream_are_passed_on(status: int, mirror: Running, stocked: Registry) -> None:
    stocked.hook = lambda request: request.fail(status, Retry_After="7")
    for part in ("manifests/v1", f"blobs/{layers(stocked, 'v1')[0]}", "tags/list"):
        answer = mirror.client.get(part)
        assert (answer.status, answer.headers["Retry-After"]) == (status, "7")


def test_an_upstream_that_is_not_there(options: MirrorOptions, access: Access) -> None:
    with mirroring(with_options(options, upstreams={"site": "127.0.0.1:1"}), access) as mirror:
        answer = mirror.client.manifest("v1")
        assert (answer.status, answer.json["errors"][0]["code"]) == (502, "UNAVAILABLE")


def test_all_accept_headers_are_passed_on(mirror: Running, stocked: Registry) -> None:
    stocked.asked.clear()
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as connection:
        lines = [
            f"GET /v2/site/{REPOSITORY}/manifests/v1 HTTP/1.1",
            "Host: localhost",
            f"Accept: {MANIFEST}",
            "Accept: a/b",
        ]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        while connection.recv(1 << 16):
            pass
    (_, _, headers) = next(item for item in stocked.asked if "manifests/v1" in item[1])
    assert headers["Accept"] == f"{MANIFEST}, a/b"


def test_a_greeting_of_tls_is_answered_in_http(mirror: Running) -> None:
    """The mirror answers a TLS greeting in HTTP, so that docker tries again without TLS."""
    with socket.create_connection(("127.0.0.1", mirror.client.port)) as connection:
        connection.sendall(bytes.fromhex("1603010200010001fc0303") + bytes(500))
        assert connection.recv(100).startswith(b"HTTP/1.")


# ---- who may read


def protected(registry: Registry, secret: str) -> None:
    def hook(request: Request) -> bool:
        if request.headers.get("Authorization") == secret:
            return False
        return request.fail(401, WWW_Authenticate='Bearer realm="https://auth.example/token",service="x"')

    registry.hook = hook


def test_what_one_client_may_read_another_may_not(mirror: Running, stocked: Registry) -> None:
    protected(stocked, "Bearer good")
    friend = Client(mirror.client.port, headers={"Authorization": "Bearer good"})
    friend.pull("v1")
    manifest = digest(stocked.manifests[REPOSITORY, "v1"][1])
    for stranger in (mirror.client, Client(mirror.client.port, headers={"Authorization": "Bearer bad"})):
        for part in (
            "manifests/v1",
            f"manifests/{manifest}",
            f"blobs/{layers(stocked, 'v1')[0]}",
            f"referrers/{manifest}",
        ):
            answer = stranger.get(part)
            assert answer.status == 401, part
            assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
    elsewhere = Client(mirror.client.port, prefix="site/other/", headers=friend.headers)
    assert elsewhere.get(f"blobs/{layers(stocked, 'v1')[0]}").status == 404


def test_a_delta_is_fetched_with_the_credentials_of_the_client(mirror: Running, stocked: Registry) -> None:
    protected(stocked, "Bearer good")
    friend = Client(mirror.client.port, headers={"Authorization": "Bearer good"})
    friend.pull("v1")
    friend.pull("v2")
    mirror.client.pulls = 2
    assert mirror.last()["way"] == "delta"


def hide(registry: Registry, name: str) -> None:
    """Let only clients with good credentials read a manifest or blob."""

    def hook(request: Request) -> bool:
        return name in request.path and request.headers.get("Authorization") != "Bearer good" and request.fail(404)

    registry.hook = hook


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_what_a_client_may_not_read_is_no_base(part: str, mirror: Running, stocked: Registry) -> None:
    """An image with an unreadable part is no base. Otherwise, a client could learn the part by trying bundles."""
    friend = Client(mirror.client.port, headers={"Authorization": "Bearer good"})
    friend.pull("v1")
    body = stocked.manifests[REPOSITORY, "v1"][1]
    config = json.loads(body)["config"]["digest"]
    (layer,) = {*layers(stocked, "v1")} - {*layers(stocked, "v2")}
    secret = {"manifest": digest(body), "config": config, "layer": layer}[part]

    hide(stocked, secret)
    mirror.client.pull("v2")
    mirror.client.pulls = 2
    assert mirror.last()["way"] == "image"
    friend.pull("v3")
    mirror.client.pulls = 3
    assert mirror.last()["way"] == "delta"


def test_a_config_that_a_client_may_not_read_is_not_read_for_it(mirror: Running, stocked: Registry) -> None:
    """Before the fix, a client could learn the number of layers of a config that it may not read."""
    config = json.loads(stocked.manifests[REPOSITORY, "v2"][1])["config"]["digest"]
    friend = Client(mirror.client.port, headers={"Authorization": "Bearer good"})
    assert friend.blob(config).status == 200
    mirror.client.pull("v1")

    hide(stocked, config)
    mirror.client.manifest("v2")
    mirror.client.pulls = 2
    assert mirror.last()["reason"] == "upstream does not give the config"


def test_a_private_mirror_serves_what_its_own_login_opens(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, a private mirror served deleted content until the cache dropped it."""
    with mirroring(with_options(options, is_private=True), access) as mirror:
        mirror.client.pull("v1")
        name = layers(stocked, "v1")[0]
        elsewhere = Client(mirror.client.port, prefix="site/other/")
        assert elsewhere.blob(name).status == 404
        del stocked.blobs[REPOSITORY, name]
        assert mirror.client.blob(name).status == 200
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)
        assert mirror.client.blob(name).status == 404


def test_layers_are_rebuilt_if_upstream_has_them(mirror: Running, stocked: Registry) -> None:
    """Before the fix, a small bundle for layers that upstream lacks displaced the cache's other content."""
    mirror.client.pull("v1")
    new = ({*layers(stocked, "v2")} - {*layers(stocked, "v1")}).pop()
    content = stocked.blobs.pop((REPOSITORY, new))
    mirror.client.manifest("v2")
    mirror.client.pulls = 2
    assert mirror.last()["reason"] == "upstream does not have the layers"
    stocked.blobs[REPOSITORY, new] = content
    stocked.hook = lambda request: request.command == "HEAD" and request.fail(405)
    mirror.client.pull("v2")
    assert mirror.last()["way"] == "delta"


def test_leave_to_read_is_remembered_for_a_while(mirror: Running, stocked: Registry, monkeypatch) -> None:
    mirror.client.pull("v1")
    stocked.asked.clear()
    name = layers(stocked, "v1")[0]
    for _ in range(3):
        mirror.client.blob(name)
    assert not stocked.asked
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)
    mirror.client.blob(name)
    assert stocked.log("HEAD", name)
    assert not stocked.log("GET", name)


def test_a_private_mirror_uses_its_own_logins(
    options: MirrorOptions, access: Access, stocked: Registry, tmp_path: Path
) -> None:
    def hook(request: Request) -> bool:
        return request.headers.get("Authorization") != "Basic dTpw" and request.fail(
            401, WWW_Authenticate='Basic realm="x"'
        )

    stocked.hook = hook
    login = tmp_path / "config.json"
    login.write_text(json.dumps({"auths": {stocked.host: {"auth": "dTpw"}}}))
    from dataclasses import replace

    own = Access(registries=replace(access.registries, logins=(login,)))
    with mirroring(options, own) as mirror:
        assert mirror.client.manifest("v1").status == 401
    with mirroring(with_options(options, is_private=True), own) as mirror:
        mirror.client.pull("v1")
        mirror.client.pull("v2")
        assert mirror.last()["way"] == "delta"


# ---- the cache, and content from upstream


def test_many_clients_cause_one_fetch_and_one_make(mirror: Running, stocked: Registry) -> None:
    mirror.client.pull("v1")
    stocked.asked.clear()
    with ThreadPoolExecutor(20) as pool:
        images = list(pool.map(lambda _: mirror.client.pull("v2"), range(20)))
    assert all(image == images[0] for image in images)
    assert len(stocked.log("GET", bundle(stocked, "v1-v2"))) == 1
    stocked.asked.clear()
    mirror.mirror.cache.remove((stocked.host, bytes.fromhex(layers(stocked, "v1")[0][7:])))
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: mirror.client.blob(layers(stocked, "v1")[0]), range(20)))
    assert len(stocked.log("GET", layers(stocked, "v1")[0])) == 1


def test_a_wrong_blob_is_cut_off_before_its_end_and_not_kept(mirror: Running, stocked: Registry) -> None:
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]
    stocked.hook = lambda request: request.path.endswith(name) and request.answer(200, data[:-1] + b"!")
    answer = mirror.client.blob(name)
    assert not answer.is_whole
    assert len(answer.body) < len(data)
    stocked.hook = lambda request: False
    assert mirror.client.blob(name).body == data


def test_a_broken_connection_goes_on_where_it_ended(mirror: Running, stocked: Registry) -> None:
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]

    def hook(request: Request) -> bool:
        return request.path.endswith(name) and "Range" not in request.headers and request.cut(data, 100_000)

    stocked.hook = hook
    assert mirror.client.blob(name).body == data


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_a_damaged_file_of_the_cache_is_fetched_anew(
    harm: str, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    name = layers(stocked, "v1")[0]
    with mirroring(options, access) as mirror:
        mirror.client.pull("v1")
        path = kept(options, stocked, name)
        data = bytearray(path.read_bytes())
        if harm == "flipped":
            data[1000] ^= 1
            path.write_bytes(data)
        elif harm == "cut":
            path.write_bytes(data[:1000])
        else:
            path.unlink()
        assert mirror.client.blob(name).body == stocked.blobs[REPOSITORY, name]


def test_without_space_blobs_are_served_and_not_kept(mirror: Running, stocked: Registry, monkeypatch) -> None:
    def full(self: NewBlob, data: bytes) -> None:
        raise CacheFullError

    monkeypatch.setattr(NewBlob, "write", full)
    image = mirror.client.pull("v1")
    assert image == {name: stocked.blobs[REPOSITORY, name] for name in image}
    assert not list((mirror.mirror.cache.folder / "blobs").glob("*/*"))
    monkeypatch.undo()
    monkeypatch.setattr(Cache, "new", lambda self: full(None, b""))  # type: ignore[arg-type]
    assert mirror.client.pull("v1") == image


def test_a_restart_keeps_what_is_whole(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    with mirroring(options, access) as mirror:
        mirror.client.pull("v1")
    (options.cache / "tmp" / "1").write_bytes(b"half a blob")  # a file that a killed mirror has left
    stocked.asked.clear()
    with mirroring(options, access) as mirror:
        mirror.client.pull("v2")
        assert mirror.last()["way"] == "delta"
    assert not list((options.cache / "tmp").iterdir())


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 30_000)
    names = [("a", cache.put("a", bytes([number]) * 10_000)) for number in range(3)]
    os.close(cache.open(names[0]) or 0)
    more = "b", cache.put("b", b"x" * 10_000)
    assert [cache.has(name) for name in (*names, more)] == [True, False, True, True]
    with cache.pinned([names[2]]):
        cache.put("a", b"y" * 20_000)
        assert cache.has(names[2])
    assert cache.size <= 30_000
    cache.close()
    again = Cache(tmp_path / "c", 10_000)
    assert again.size <= 10_000
    again.close()


def test_one_process_has_a_cache(tmp_path: Path, dib: Program) -> None:
    cache = Cache(tmp_path / "c", 1000)
    ended = dib("mirror", "--upstream", "a.example", "--cache", tmp_path / "c", "--listen", "127.0.0.1:0")
    assert (ended.code, "another mirror uses the cache" in ended.err) == (3, True)
    cache.close()


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("is_readable", [True, False])
def test_images_of_an_engine_are_bases(
    is_private: bool, is_readable: bool, options: MirrorOptions, access: Access, stocked: Registry, tmp_path: Path
) -> None:
    """Before the fix, a private mirror used any image of the store, even an image that is in no registry."""
    store = tmp_path / "store"
    store.mkdir()
    manifest = stocked.manifests[REPOSITORY, "v1"][1]
    for name, data in stocked.blobs.items():
        (store / name[1][7:]).write_bytes(data)
    for name in layers(stocked, "v2")[1:]:
        (store / name[7:]).unlink()
    (store / digest(manifest)[7:]).write_bytes(manifest)
    if not is_readable:
        for name in ("v1", digest(manifest)):
            del stocked.manifests[REPOSITORY, name]
    own = with_options(options, stores=((stocked.host, store),), is_private=is_private)
    with mirroring(own, access) as mirror:
        mirror.client.pull("v2")
        assert mirror.last()["way"] == ("delta" if is_readable else "image")


def test_what_operators_see(mirror: Running, stocked: Registry) -> None:
    mirror.client.pull("v1")
    mirror.client.pull("v2")
    assert mirror.client.ask("/healthz").body == b"ok\n"
    line = mirror.last()
    assert line.keys() >= {"time", "event", "name", "digest", "way", "bundle_bytes", "saved_bytes", "seconds"}
    told = mirror.client.ask("/metrics").body.decode()
    assert "dib_mirror_deltas_total 1.0" in told
    assert 'dib_mirror_fallbacks_total{reason="no bundle of this image is listed"} 1.0' in told


# ---- the command


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "mirror.no_upstream"),
        (("--upstream", "localhost:5000"), "mirror.upstream_name"),
        (("--upstream", "a b"), "mirror.upstream"),
        (("--upstream", "x=a.example", "--upstream", "x=b.example"), "mirror.upstream_twice"),
        (("--upstream", "a.example", "--listen", "5055"), "mirror.listen"),
        (("--upstream", "a.example", "--listen", "0.0.0.0:0"), "mirror.insecure_listen"),
        (("--upstream", "a.example", "--tls-cert", "x"), "mirror.certificate"),
        (("--upstream", "a.example", "--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "y"), "mirror.tls"),
        (("--upstream", "a.example", "--listen", "127.0.0.1:99"), None),
    ],
)
def test_wrong_command_lines(arguments: tuple[str, ...], code: str | None, dib: Program, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if code is None:
            arguments = (*arguments[:-1], f"127.0.0.1:{taken.getsockname()[1]}")
            code = "mirror.listen_failed"
        ended = dib("mirror", "--cache", tmp_path / "c", *arguments, "--json")
    assert json.loads(ended.out)["code"] == code, ended.out
    assert ended.code in (2, 3)


def test_sigterm_ends_it_after_running_requests(stocked: Registry, tmp_path: Path) -> None:
    name = layers(stocked, "v1")[0]
    data = stocked.blobs[REPOSITORY, name]
    half = threading.Event()

    def hook(request: Request) -> bool:
        if not request.path.endswith(name):
            return False
        half.set()
        time.sleep(1)
        return request.answer(200, data)

    stocked.hook = hook
    command = (
        sys.executable,
        "-m",
        "dibundle",
        "mirror",
        "--upstream",
        f"site={stocked.host}",
        "--listen",
        "127.0.0.1:0",
    )
    process = subprocess.Popen((*command, "--cache", tmp_path / "c"), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr
    port = int(process.stderr.readline().split(",")[0].rpartition(":")[2])
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(Client(port).blob(name)))
    thread.start()
    assert half.wait(20)
    process.send_signal(signal.SIGTERM)
    thread.join(20)
    assert answers[0].body == data
    assert process.wait(20) == 0
    process.stderr.close()


def test_prune(dib: Program, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 1 << 20)
    for number in range(4):
        cache.put("a", bytes([number]) * 10_000)
    cache.close()
    ended = dib("mirror", "--prune", "--cache", tmp_path / "c", "--cache-size", "20000")
    assert ended.code == 0, ended.err
    assert len(list((tmp_path / "c" / "blobs").glob("*/*"))) == 2


def put_layer(registry: Registry, tag: str, layer: bytes) -> dict[str, Any]:
    """Push an image with one layer in gzip, and return the image's manifest."""
    content = gzip.decompress(layer)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(content)]}}
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}],
    }
    for item, blob in ((manifest["config"], config), (manifest["layers"][0], layer)):
        registry.blobs[REPOSITORY, digest(blob)] = blob
        item.update(digest=digest(blob), size=len(blob))
    body = json.dumps(manifest).encode()
    registry.manifests[REPOSITORY, tag] = registry.manifests[REPOSITORY, digest(body)] = (MANIFEST, body)
    return manifest


def test_layers_of_zeros_displace_nothing(
    options: MirrorOptions,
    access: Access,
    stocked: Registry,
    dib: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the fix, the decompressed layers of a base of 32 kB displaced all other content of the cache."""
    monkeypatch.setattr(making, "RATIO", 2)
    monkeypatch.setattr(making, "_SLACK", 1 << 20)
    noise = random.Random(1).randbytes(300_000)
    for tag, size in (("zeros", 4 << 20), ("zeros2", 3 << 20)):
        put_layer(
            stocked, tag, gzip.compress(build_layer([file("zeros", bytes(size)), file("noise", noise)]), 6, mtime=0)
        )
    image = f"docker://{stocked.host}/{REPOSITORY}:"
    assert dib("create", image + "zeros", image + "zeros2", tmp_path / "b.dib").code == 0
    assert dib("push", tmp_path / "b.dib", image + "zeros-zeros2").code == 0
    with mirroring(with_options(options, cache_size=3 << 20), access) as mirror:
        others = mirror.client.pull("v1")
        mirror.client.pull("zeros")
        mirror.client.pull("zeros2")
        assert mirror.last()["reason"] == "every bundle was refused"
        stocked.asked.clear()
        mirror.client.pull("v1")
        assert not fetched(stocked) & set(others)

"""docker-registry and its mirror give the same answers, except to the requests in the second table."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dibundle.sharing.mirror.options import Listen, MirrorOptions
from dibundle.sources.access import Access
from tests import engines, needs
from tests.mirror.conftest import MANIFEST, Running, mirroring
from tests.sources.conftest import REPOSITORY, Files

pytestmark = pytest.mark.engine

API = "Docker-Distribution-Api-Version"
HEADERS = ("Content-Type", "Content-Length", "Docker-Content-Digest", "Content-Range")
ABSENT = "sha256:" + "0" * 64


class Answer(NamedTuple):
    """The answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def upstream(files: Files) -> Iterator[str]:
    needs.programs("skopeo")
    with engines.registry() as host:
        target = f"docker://{host}/{REPOSITORY}:v1"
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        subprocess.run([*command, f"oci-archive:{files.archive(1)}", target], check=True)
        yield host


@pytest.fixture(scope="module")
def mirror(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = MirrorOptions(
        upstreams={"site": upstream},
        cache=tmp_path_factory.mktemp("cache"),
        cache_size=1 << 30,
        listen=Listen("127.0.0.1", 0),
    )
    with mirroring(options, Access()) as found:
        yield found


def ask(host: str, method: str, path: str, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def names(upstream: str) -> dict[str, str]:
    """Return the values for the placeholders in paths."""
    found = ask(upstream, "GET", f"/v2/{REPOSITORY}/manifests/v1", {"Accept": MANIFEST})
    value = json.loads(found.body)
    layer = max(value["layers"], key=lambda item: item["size"])
    return {
        "MANIFEST": found.headers["Docker-Content-Digest"],
        "CONFIG": value["config"]["digest"],
        "LAYER": layer["digest"],
        "SIZE": str(layer["size"]),
        "ABSENT": ABSENT,
    }


SAME = (
    ("GET", "manifests/v1", ""),
    ("HEAD", "manifests/v1", ""),
    ("GET", "manifests/MANIFEST", ""),
    ("HEAD", "manifests/MANIFEST", ""),
    ("GET", "manifests/absent", ""),
    ("HEAD", "manifests/absent", ""),
    ("GET", "manifests/ABSENT", ""),
    ("GET", "blobs/CONFIG", ""),
    ("HEAD", "blobs/CONFIG", ""),
    ("GET", "blobs/ABSENT", ""),
    ("HEAD", "blobs/ABSENT", ""),
    ("GET", "blobs/LAYER", "bytes=0-9"),
    ("GET", "blobs/LAYER", "bytes=10-"),
    ("GET", "blobs/LAYER", "bytes=-5"),
    ("HEAD", "blobs/LAYER", "bytes=0-9"),
    ("GET", "blobs/LAYER", ""),
    ("GET", "tags/list", ""),
    ("GET", "tags/list?n=1", ""),
    ("HEAD", "tags/list", ""),
    ("GET", "referrers/MANIFEST", ""),
    ("GET", "/v2/", ""),
    ("HEAD", "/v2/", ""),
    ("GET", "/v2/absent/app/tags/list", ""),
    ("GET", "/v2/absent/app/manifests/v1", ""),
    ("GET", "/v2/absent/app/blobs/CONFIG", ""),
)
OTHER = (  # the status from docker-registry, then the status from a mirror that has the blob
    ("GET", "/v2", "", 301, 200),
    ("GET", "/v2/_catalog", "", 200, 404),
    ("GET", "manifests/.bad", "", 404, 404),
    ("GET", "blobs/sha256:12", "", 400, 404),
    ("GET", "blobs/LAYER", "bytes=SIZE-", 416, 416),
    ("GET", "blobs/LAYER", "bytes=0-1,4-5", 206, 200),
    ("GET", "blobs/LAYER", "bytes=9-3", 416, 200),
    ("GET", "blobs/LAYER", "lines=1-2", 416, 200),
    ("POST", "blobs/uploads/", "", 202, 405),
    ("PUT", "manifests/v2", "", 400, 405),
    ("PATCH", "blobs/uploads/x", "", 404, 405),
    ("DELETE", "manifests/MANIFEST", "", 405, 405),
)


def both(upstream: str, mirror: Running, method: str, path: str, part: str) -> tuple[Answer, Answer]:
    for name, value in names(upstream).items():
        path, part = path.replace(name, value), part.replace(name, value)
    headers = {"Accept": MANIFEST} | ({"Range": part} if part else {})
    whole = path if path.startswith("/") else f"/v2/{REPOSITORY}/{path}"
    own = whole.replace("/v2/", "/v2/site/", 1) if whole.count("/") > 2 else whole
    return ask(upstream, method, whole, headers), ask(f"127.0.0.1:{mirror.client.port}", method, own, headers)


@pytest.mark.parametrize("where", ["upstream", "cache"])
@pytest.mark.parametrize(("method", "path", "part"), SAME)
def test_the_same_answers(method: str, path: str, part: str, where: str, upstream: str, mirror: Running) -> None:
    if where == "cache":
        for item in ("manifests/v1", "manifests/MANIFEST", "blobs/CONFIG", "blobs/LAYER"):
            both(upstream, mirror, "GET", item, "")
    theirs, own = both(upstream, mirror, method, path, part)
    assert own.status == theirs.status
    assert own.body == theirs.body
    assert {name: own.headers.get(name) for name in HEADERS} == {name: theirs.headers.get(name) for name in HEADERS}
    if API in theirs.headers:
        assert own.headers[API] == theirs.headers[API]


@pytest.mark.parametrize(("method", "path", "part", "theirs", "own"), OTHER)
def test_other_answers(
    method: str, path: str, part: str, theirs: int, own: int, upstream: str, mirror: Running
) -> None:
    both(upstream, mirror, "GET", "blobs/LAYER", "")
    assert tuple(answer.status for answer in both(upstream, mirror, method, path, part)) == (theirs, own)

"""A mirror in this process in front of the registry of tests/sources, and a client with the requests of an engine."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dibundle.sharing.mirror.options import Listen, MirrorOptions
from dibundle.sharing.mirror.server import Mirror, running
from dibundle.sources.access import Access
from dibundle.sources.registry.settings import RegistrySettings
from tests.sources.conftest import REPOSITORY, dib, files, registry, settings, stocked  # noqa: F401 - fixtures
from tests.sources.server import Registry, digest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Answer:
    """An answer that a client got. ``is_whole`` is true if the body is complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """A client of a mirror. In its requests, ``prefix`` precedes the repository, and ``query`` follows each path."""

    port: int
    prefix: str = "site/"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pulls: int = 0

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={**self.headers, **headers})
            response = connection.getresponse()
            try:
                return Answer(response.status, dict(response.headers), response.read())
            except (http.client.IncompleteRead, ConnectionError) as error:
                return Answer(response.status, dict(response.headers), getattr(error, "partial", b""), is_whole=False)
        finally:
            connection.close()

    def get(self, part: str, method: str = "GET", **headers: str) -> Answer:
        return self.ask(f"/v2/{self.prefix}{REPOSITORY}/{part}{self.query}", method, **headers)

    def manifest(self, wanted: str) -> Answer:
        return self.get(f"manifests/{wanted}", Accept=MANIFEST)

    def blob(self, wanted: str, **headers: str) -> Answer:
        return self.get(f"blobs/{wanted}", **headers)

    def pull(self, tag: str) -> dict[str, bytes]:
        """Return an image's config and layers as the client received them, by digest. Assert each digest."""
        self.pulls += 1
        manifest = self.manifest(tag)
        assert manifest.status == 200, manifest.body
        found = {}
        for item in (manifest.json["config"], *manifest.json["layers"]):
            answer = self.blob(item["digest"])
            assert (answer.status, digest(answer.body)) == (200, item["digest"]), answer
            found[item["digest"]] = answer.body
        return found


@dataclass
class Running:
    """A running mirror, a client of the mirror, and the lines that the mirror has logged."""

    mirror: Mirror
    client: Client
    lines: list[dict[str, Any]]

    def last(self) -> dict[str, Any]:
        """Return the log entry of the last pull."""
        end = time.monotonic() + 20
        while len(self.lines) < self.client.pulls and time.monotonic() < end:
            time.sleep(0.01)
        return self.lines[-1]


@contextmanager
def mirroring(options: MirrorOptions, access: Access) -> Iterator[Running]:
    """Run a mirror in a thread."""
    lines: list[dict[str, Any]] = []
    mirror = Mirror(options, access, lambda line: lines.append(json.loads(line)))
    port: Future[int] = Future()
    ended = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with running(mirror) as found:
            port.set_result(found)
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield Running(mirror, Client(port.result(20)), lines)
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()
        mirror.close()


@pytest.fixture
def options(registry: Registry, tmp_path: Path) -> MirrorOptions:  # noqa: F811
    return MirrorOptions(
        upstreams={"site": registry.host},
        cache=tmp_path / "cache",
        cache_size=1 << 30,
        listen=Listen("127.0.0.1", 0),
        prefer="bytes",
        make_timeout=20,
    )


@pytest.fixture
def access() -> Access:
    return Access(registries=RegistrySettings(tries=2, pause=0, timeout=2, sleep=lambda seconds: None))


@pytest.fixture
def mirror(options: MirrorOptions, access: Access, stocked: Registry) -> Iterator[Running]:  # noqa: F811
    with mirroring(options, access) as found:
        yield found


def with_options(options: MirrorOptions, **changes: Any) -> MirrorOptions:
    return replace(options, **changes)

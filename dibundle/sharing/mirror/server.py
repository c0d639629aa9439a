"""The pull half of the distribution API, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from dibundle.errors import DibError, FileError, RegistryError
from dibundle.images import document
from dibundle.images.document import sha256_of
from dibundle.sharing.mirror import messages
from dibundle.sharing.mirror.answers import (
    aside,
    document_answer,
    error_answer,
    json_answer,
    media_type_of,
    passed,
)
from dibundle.sharing.mirror.bases import Bases, read_manifest
from dibundle.sharing.mirror.blobs import BlobServer
from dibundle.sharing.mirror.cache import Cache
from dibundle.sharing.mirror.downloads import Downloads
from dibundle.sharing.mirror.making import Maker, Making
from dibundle.sharing.mirror.metrics import CONTENT_TYPE, Metrics
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Upstreams
from dibundle.sources.access import Access
from dibundle.sources.registry.reference import TAG
from dibundle.sources.registry.transport import ConnectionFailure

_PATIENCE: Final = 30.0  # seconds for running requests, after SIGTERM
_THREADS: Final = 64


class Mirror:
    """Answers clients. One object for one cache; :meth:`close` ends it."""

    def __init__(self, options: MirrorOptions, access: Access, log: Callable[[str], object]) -> None:
        self.options, self._log = options, log
        self.cache = Cache(options.cache, options.cache_size)
        self.metrics = Metrics()
        self._upstreams = Upstreams(options, access)
        self._downloads = Downloads(self._upstreams, self.cache)
        bases = Bases(self.cache, options.stores)
        self._maker = Maker(options, access, self.cache, bases, self._upstreams, self._downloads, self._report)
        self._blobs = BlobServer(self.cache, self._upstreams, self._downloads, self._maker, self.metrics)

    def close(self) -> None:
        """Let go of everything."""
        self._maker.close()
        self._downloads.close()
        self._upstreams.close()
        self.cache.close()

    def application(self) -> web.Application:
        """Return what aiohttp serves."""
        application = web.Application()
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        self.metrics.upstream.set(self._upstreams.received)
        self.metrics.cache.set(self.cache.size)
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind = "other"
        try:
            parts = request.path.removeprefix("/v2/").split("/")
            if request.path in ("/v2", "/v2/"):
                answer: web.StreamResponse = json_answer(200, {})
            elif request.method not in ("GET", "HEAD"):
                answer = error_answer(405, "UNSUPPORTED", "a mirror is read only")
            elif not request.path.startswith("/v2/") or len(parts) < 3:
                answer = error_answer(404, "NAME_UNKNOWN", "no such path")
            else:
                kind = parts[-2]
                answer = await self._of_repository(request, "/".join(parts[:-2]), kind, parts[-1])
        except (RegistryError, ConnectionFailure) as error:
            answer = error_answer(502, "UNAVAILABLE", getattr(error, "message", None) or "upstream does not answer")
        except DibError as error:
            answer = error_answer(500, "UNKNOWN", error.message)
        self.metrics.requests.labels(kind, str(answer.status)).inc()
        return answer

    async def _of_repository(self, request: web.Request, name: str, kind: str, item: str) -> web.StreamResponse:
        place = self.options.place(name, request.query.get("ns"), request.headers.get("Authorization"))
        if place is None:
            return error_answer(404, "NAME_UNKNOWN", "not one of the upstreams of this mirror")
        if kind == "manifests" and (sha256_of(item) or TAG.fullmatch(item)):
            return await self._manifest(request, place, item)
        digest = sha256_of(item)
        if kind == "blobs" and digest:
            return await self._blobs.answer(request, place, digest)
        if kind == "referrers" and digest:
            return await self._pass_on(request, place, f"referrers/{item}")
        if kind == "tags" and item == "list":
            return await self._pass_on(request, place, "tags/list")
        return error_answer(404, "UNSUPPORTED", "no such path")

    # ---- manifests and lists

    async def _manifest(self, request: web.Request, place: UpstreamPlace, wanted: str) -> web.StreamResponse:
        digest = sha256_of(wanted)
        if digest and self.cache.has(digest):
            refusal = await aside(self._upstreams.refusal, place, "manifests", digest)
            body = None if refusal else await aside(self.cache.read, digest, document.SIZE_LIMIT)
            if refusal:
                return passed(request, place, refusal)
            media_type = media_type_of(body) if body else None
            if body and media_type:
                self._pulled(place, digest, body, request)
                headers = {"Content-Type": media_type, "Docker-Content-Digest": wanted}
                return document_answer(request, 200, body, headers)
        headers = {"Accept": ", ".join(request.headers.getall("Accept", []))}
        method = "HEAD" if request.method == "HEAD" else "GET"
        found = await aside(self._document, place, f"manifests/{wanted}", headers, method)
        if found.status == 200 and method == "GET":
            self._take(place, digest, found, request)
        return passed(request, place, found)

    def _take(
        self,
        place: UpstreamPlace,
        digest: bytes | None,
        found: Document,
        request: web.Request,
    ) -> None:
        """Keep a manifest under its digest, and begin to make what it names."""
        media_type = media_type_of(found.body)
        if media_type is None or found.headers.get("Content-Type", "").partition(";")[0].strip() != media_type:
            return
        own = self.cache.put(found.body)
        if digest in (None, own):
            self._upstreams.grant(place, "manifests", own)
            self._pulled(place, own, found.body, request)

    def _pulled(self, place: UpstreamPlace, digest: bytes, body: bytes, request: web.Request) -> None:
        named = read_manifest(body) if request.method == "GET" else None
        if named:
            self.cache.note_image(digest)
            self._maker.begin(place, digest, named)

    async def _pass_on(self, request: web.Request, place: UpstreamPlace, path: str) -> web.StreamResponse:
        query = urlencode([(key, value) for key, value in request.query.items() if key != "ns"])
        headers = {"Accept": ", ".join(request.headers.getall("Accept", []))}
        asked = f"{path}?{query}" if query else path
        return passed(request, place, await aside(self._document, place, asked, headers, "GET"))

    def _document(self, place: UpstreamPlace, path: str, headers: dict[str, str], method: str) -> Document:
        given = {key: value for key, value in headers.items() if value}
        is_head = method == "HEAD"
        with self._upstreams.ask(place, path, headers=given, method="HEAD" if is_head else "GET") as answer:
            return answer.document()

    # ---- what operators see

    def _report(self, making: Making) -> None:
        """Count and log what was done about an image."""
        metrics = self.metrics
        metrics.bundles.inc(making.fetched)
        if making.way == "delta":
            metrics.deltas.inc()
            metrics.saved.inc(max(0, making.saved))
            metrics.seconds.observe(making.seconds)
        elif making.way == "image":
            metrics.fallbacks.labels(making.reason or "unknown").inc()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": "pull",
            "name": f"{making.place.host}/{making.place.repository}",
            "digest": f"sha256:{making.manifest.hex()}",
            "way": making.way,
            "bundle_bytes": making.fetched,
            "saved_bytes": making.saved,
            "seconds": round(making.seconds, 3),
            "reason": making.reason,
        }
        self._log(json.dumps({key: value for key, value in line.items() if value is not None}))


def serve(mirror: Mirror, *, ready: Callable[[int], object]) -> None:
    """Serve until SIGTERM or SIGINT, then end when running requests have; ``ready`` gets the port."""

    async def run() -> None:
        end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end.set)
        async with running(mirror) as port:
            ready(port)
            await end.wait()

    asyncio.run(run())


@asynccontextmanager
async def running(mirror: Mirror) -> AsyncIterator[int]:
    """Answer clients in this loop; the port. :class:`FileError` where it cannot listen."""
    listen = mirror.options.listen
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "wait"))
    runner = web.AppRunner(mirror.application(), access_log=None, shutdown_timeout=_PATIENCE, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=_tls(mirror.options.certificate))
        await site.start()
        yield runner.addresses[0][1]
    except OSError as error:
        address = f"{listen.host}:{listen.port}"
        raise FileError(messages.MIRROR_LISTEN_FAILED, address=address, reason=error.strerror) from error
    finally:
        await runner.cleanup()


def _tls(certificate: tuple[str, str] | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(*certificate)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise FileError(messages.MIRROR_TLS, certificate=certificate[0], key=certificate[1], reason=reason) from error
    return made


def log_line(line: str) -> None:
    """Write a line of the log to stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

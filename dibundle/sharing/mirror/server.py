"""The server of a mirror. The server implements the pull part of the distribution API over HTTP/1.1."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dibundle.errors import DibError, FileError, RegistryError
from dibundle.images.document import is_digest, sha256_of
from dibundle.sharing.mirror import messages
from dibundle.sharing.mirror.answers import (
    aside,
    document_answer,
    error_answer,
    json_answer,
    passed,
    protect,
    send,
)
from dibundle.sharing.mirror.bases import MAX_PARSED, Documents, Known
from dibundle.sharing.mirror.blobs import BlobServer
from dibundle.sharing.mirror.cache import NO_FILES, Cache
from dibundle.sharing.mirror.door import Door, note_piece, raise_limit_of_files
from dibundle.sharing.mirror.downloads import HASHES, Downloads
from dibundle.sharing.mirror.making import Maker, Making
from dibundle.sharing.mirror.metrics import CONTENT_TYPE, Metrics
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import BusyError, Document, Upstreams
from dibundle.sources.access import Access
from dibundle.sources.registry.reference import TAG, is_loopback
from dibundle.sources.registry.transport import ConnectionFailure

_PATIENCE: Final = 30.0  # maximum seconds for running requests after SIGTERM
_FAULTS: Final = 10.0  # minimum seconds between two logged errors of the event loop
_KINDS: Final = ("manifests", "blobs", "referrers", "tags")
_SENT_BACK: Final = ("Accept", "Authorization", "Range")  # headers that are passed on to upstream
_LARGE: Final = 256 << 10  # a document with more bytes is large
_MOST_LARGE: Final = 32  # maximum large documents that are sent at once, because each may have 4 MiB


class Mirror:
    """A mirror with its cache. :meth:`close` ends the mirror."""

    def __init__(self, options: MirrorOptions, access: Access, log: Callable[[str], object]) -> None:
        self.options, self._log = options, log
        self.cache = Cache(options.cache, options.cache_size)
        self.metrics = Metrics()
        self._large = 0
        self._counted = 0  # bytes from upstream that the metric already includes
        self._next_fault = 0.0  # no error of the loop is logged before this time
        self._upstreams = Upstreams(options, access)
        self._downloads = Downloads(options, self._upstreams, self.cache)
        self._documents = Documents()
        self._maker = Maker(
            options, access, self.cache, self._documents, self._upstreams, self._downloads, self._report
        )
        self._blobs = BlobServer(options, self.cache, self._upstreams, self._downloads, self._maker, self.metrics)

    def close(self) -> None:
        """Stop all threads, and release the cache."""
        self._maker.close()
        self._downloads.close()
        self._upstreams.close()
        self._blobs.close()
        self.cache.close()

    def application(self, serve: Middleware) -> web.Application:
        """Return the application for aiohttp. All requests pass through ``serve``."""
        application = web.Application(middlewares=[serve, self._guard])
        application.on_response_prepare.append(protect)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests from web pages. On a local mirror, also refuse requests for other host names.

        Otherwise, a web page could read content through its own host name, if this name resolves to this machine.

        With TLS, the certificate restricts the names.
        """
        if _is_of_a_page(request.headers):
            self.metrics.requests.labels("other", "403").inc()
            return error_answer(403, "DENIED", "a mirror is not for web pages")
        if self.options.listen.is_local and not self.options.certificate and not is_loopback(request.host):
            self.metrics.requests.labels("other", "421").inc()
            return error_answer(421, "DENIED", "a mirror for this machine alone, by another name")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        received = self._upstreams.received
        self.metrics.upstream.inc(received - self._counted)
        self._counted = received
        self.metrics.cache.set(self.cache.size)
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.removeprefix("/v2/").split("/")
        is_item = request.path.startswith("/v2/") and len(parts) >= 3
        kind = parts[-2] if is_item and parts[-2] in _KINDS else "other"
        answer: web.StreamResponse
        try:
            if request.path in ("/v2", "/v2/"):
                answer = json_answer(200, {})
            elif request.method not in ("GET", "HEAD"):
                answer = error_answer(405, "UNSUPPORTED", "a mirror is read only")
            elif kind == "other":
                answer = error_answer(404, "NAME_UNKNOWN", "no such path")
            elif not all(_is_sound(value) for name in _SENT_BACK for value in request.headers.getall(name, [])):
                answer = error_answer(400, "UNSUPPORTED", "a header has other than visible characters of ASCII")
            else:
                answer = await self._of_repository(request, "/".join(parts[:-2]), kind, parts[-1])
        except BusyError:
            answer = error_answer(503, "TOOMANYREQUESTS", "too many requests wait for this registry")
        except (RegistryError, ConnectionFailure) as error:
            answer = error_answer(502, "UNAVAILABLE", getattr(error, "message", None) or "upstream does not answer")
        except OSError as error:
            is_full = error.errno in NO_FILES
            self._log(json.dumps({"event": "error", "kind": kind, "error": error.strerror}))
            answer = error_answer(503 if is_full else 500, "UNAVAILABLE", "the mirror cannot open a file")
        except Exception as error:
            self._log(json.dumps({"event": "error", "kind": kind, "error": type(error).__name__}))
            answer = error_answer(500, "UNKNOWN", error.message if isinstance(error, DibError) else "it cannot be told")
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and len(answer.body) > _LARGE:
            answer = await self._sent(request, answer)
        self.metrics.requests.labels(kind, str(answer.status)).inc()
        return answer

    async def _of_repository(self, request: web.Request, name: str, kind: str, item: str) -> web.StreamResponse:
        place = self.options.place(name, request.query.get("ns"), request.headers.get("Authorization"))
        if place is None:
            return error_answer(404, "NAME_UNKNOWN", "not one of the upstreams of this mirror")
        digest = sha256_of(item)
        if kind == "blobs" and digest:
            return await self._blobs.answer(request, place, digest)
        # if the digest is not SHA-256, pass the blob on without caching, because the cache has only SHA-256 digests
        if kind == "blobs" and is_digest(item) and item.partition(":")[0] in HASHES:
            return await self._blobs.direct(request, place, item)
        if kind == "manifests" and (is_digest(item) or TAG.fullmatch(item)):
            path, answer = f"manifests/{item}", self._manifest
        elif (kind == "referrers" and is_digest(item)) or (kind == "tags" and item == "list"):
            query = urlencode([(key, value) for key, value in request.query.items() if key != "ns"])
            path, answer = f"{kind}/{item}?{query}" if query else f"{kind}/{item}", self._passed
        else:
            return error_answer(404, "UNSUPPORTED", "no such path")
        return await aside(self._upstreams.threads[place.host], answer, request, place, path)

    async def _sent(self, request: web.Request, answer: web.Response) -> web.Response:
        """Send a large document.

        If ``_MOST_LARGE`` other large documents are being sent, refuse the document, because clients may read slowly.
        """
        if self._large == _MOST_LARGE:
            return error_answer(503, "TOOMANYREQUESTS", "too many large documents are being sent")
        self._large += 1
        assert isinstance(answer.body, bytes)
        note_piece(request, len(answer.body))
        try:
            await send(request, answer)
        finally:
            self._large -= 1
        return answer

    # ---- manifests and lists: in threads

    def _manifest(self, request: web.Request, place: UpstreamPlace, path: str) -> web.Response:
        """Answer with a manifest, and begin to rebuild its layers.

        A manifest that is requested by digest may come from the cache.
        """
        digest = sha256_of(path.partition("/")[2])
        if digest and self.cache.has(place.key(digest)):
            refusal = self._upstreams.refusal(place, "manifests", digest)
            if refusal:
                return passed(request, place, refusal)
            body = self.cache.read(place.key(digest), MAX_PARSED)
            known = self._documents.look(place.host, digest, lambda: body)
            if body is not None and known and known.media_type:
                self._pulled(place, digest, known, request)
                headers = {"Content-Type": known.media_type, "Docker-Content-Digest": f"sha256:{digest.hex()}"}
                return document_answer(request, 200, body, headers)
        found = self._document(request, place, path)
        if found.status == 200 and request.method == "GET" and len(found.body) <= MAX_PARSED:
            own = hashlib.sha256(found.body).digest()
            known = self._documents.look(place.host, own, lambda: found.body)
            said = found.headers.get("Content-Type", "").partition(";")[0].strip()
            if known and known.media_type == said and digest in (None, own):
                self.cache.put(place.space, found.body)
                self._upstreams.grant(place, "manifests", own)
                self._pulled(place, own, known, request)
        return passed(request, place, found)

    def _pulled(self, place: UpstreamPlace, digest: bytes, known: Known, request: web.Request) -> None:
        if known.named and request.method == "GET":
            self.cache.note_image(place.key(digest))
            self._maker.begin(place, digest, known.named)

    def _passed(self, request: web.Request, place: UpstreamPlace, path: str) -> web.Response:
        return passed(request, place, self._document(request, place, path))

    def _document(self, request: web.Request, place: UpstreamPlace, path: str) -> Document:
        accept = ", ".join(filter(None, request.headers.getall("Accept", [])))
        headers = {"Accept": accept} if accept else {}
        method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
        with self._upstreams.ask(place, path, headers=headers, method=method) as answer:
            return answer.document()

    # ---- metrics and log

    def fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the loop, at most one in ten seconds. asyncio may report thousands of errors a second."""
        if loop.time() >= self._next_fault:
            self._next_fault = loop.time() + _FAULTS
            error = context.get("exception")
            self._log(json.dumps({"event": "error", "kind": "loop", "error": type(error).__name__}))

    def _report(self, making: Making) -> None:
        """Count and log how the mirror got the layers of an image."""
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
            "name": making.place.name,
            "digest": f"sha256:{making.manifest.hex()}",
            "way": making.way,
            "bundle_bytes": making.fetched,
            "saved_bytes": making.saved,
            "seconds": round(making.seconds, 3),
            "reason": making.reason,
        }
        self._log(json.dumps({key: value for key, value in line.items() if value is not None}))


def serve(mirror: Mirror, *, ready: Callable[[int], object]) -> None:
    """Serve until SIGTERM or SIGINT, then wait for running requests to end. ``ready`` gets the port."""
    raise_limit_of_files()

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
    """Serve clients in this loop and yield the port. Raise :class:`FileError` if the mirror cannot listen."""
    asyncio.get_running_loop().set_exception_handler(mirror.fault)
    listen = mirror.options.listen
    door = Door()
    runner = web.AppRunner(
        mirror.application(door.serve), access_log=None, shutdown_timeout=_PATIENCE, handler_cancellation=True
    )
    await runner.setup()
    assert runner.server
    watching = asyncio.create_task(door.watch())
    try:
        tls = _tls(mirror.options.certificate)
        site = await asyncio.get_running_loop().create_server(
            partial(door.protocol, runner.server, tls), listen.host, listen.port
        )
        with closing(site):
            yield site.sockets[0].getsockname()[1]
    except OSError as error:
        raise FileError(messages.MIRROR_LISTEN_FAILED, address=listen.address, reason=error.strerror) from error
    finally:
        watching.cancel()
        # without this timer, aiohttp would wait twice as long
        ending = asyncio.get_running_loop().call_later(_PATIENCE, door.close)
        await runner.cleanup()
        await door.empty.wait()  # wait until the clients have taken the written bytes, at most until ``door.close``
        ending.cancel()
        door.release()


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


def _is_of_a_page(headers: Mapping[str, str]) -> bool:
    """Return whether a request with these headers comes from a web page.

    Browsers send Sec-Fetch-Site, but only to servers on loopback or with TLS. In some browsers, a page can change the
    User-Agent. So Accept-Language is checked, too: no page can remove it, and engines do not send it.
    """
    site = headers.get("Sec-Fetch-Site", "")
    is_browser = headers.get("User-Agent", "").startswith("Mozilla/") or "Accept-Language" in headers
    is_unknown = not site and is_browser
    return site not in ("", "none") or is_unknown or "Origin" in headers


def _is_sound(header: str) -> bool:
    return header.isascii() and header.isprintable()


def log_line(line: str) -> None:
    """Write a line of the log to stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

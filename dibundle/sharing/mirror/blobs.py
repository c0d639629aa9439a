"""Blobs on their way to clients: from the cache, as they come from upstream, or passed on as they are."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal

from aiohttp import web

from dibundle.sharing.mirror.answers import aside, blob_headers, passed
from dibundle.sharing.mirror.cache import Cache, CacheFullError
from dibundle.sharing.mirror.downloads import Download, Downloads
from dibundle.sharing.mirror.making import Maker
from dibundle.sharing.mirror.metrics import Metrics
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Upstreams
from dibundle.sources.registry.transport import ConnectionFailure

_PIECE: Final = 1 << 20


class BlobServer:
    """Sends blobs: what is made or in the cache from there, all else from upstream."""

    def __init__(
        self, cache: Cache, upstreams: Upstreams, downloads: Downloads, maker: Maker, metrics: Metrics
    ) -> None:
        self._cache, self._upstreams, self._downloads = cache, upstreams, downloads
        self._maker, self._metrics = maker, metrics

    async def answer(self, request: web.Request, place: UpstreamPlace, digest: bytes) -> web.StreamResponse:
        """Answer a request for a blob, wherever it comes from."""
        making = self._maker.making(digest)
        if making and not self._cache.has(digest) and request.method == "GET":
            refusal = await aside(self._upstreams.refusal, place, "blobs", digest)
            if refusal:
                return passed(request, place, refusal)
            await self._maker.wait(making)
        while True:
            answer = await self._here(request, place, digest) or await self._from_upstream(request, place, digest)
            if answer:
                return answer

    async def _here(self, request: web.Request, place: UpstreamPlace, digest: bytes) -> web.StreamResponse | None:
        """Answer with a blob of the cache, or one that is on its way; None where it is neither."""
        running = self._downloads.running(digest)
        try:
            if running is None and not self._cache.has(digest):
                return None
            refusal = await aside(self._upstreams.refusal, place, "blobs", digest)
            if refusal:
                return passed(request, place, refusal)
            if running and _is_plain(request):
                return await self._downloaded(request, place, running)
        finally:
            if running:
                running.leave()
        fd = await aside(self._cache.open, digest)
        return None if fd is None else await self._cached(request, digest, fd)

    async def _from_upstream(
        self, request: web.Request, place: UpstreamPlace, digest: bytes
    ) -> web.StreamResponse | None:
        """Answer with what upstream sends; None where somebody else has begun to fetch it."""
        if not _is_plain(request):
            return await self._direct(request, place, digest)
        try:
            began = await aside(self._downloads.begin, place, digest)
        except CacheFullError:
            return await self._direct(request, place, digest)
        if isinstance(began, Document):
            return passed(request, place, began)
        if began is None:
            return None
        try:
            return await self._downloaded(request, place, began)
        finally:
            began.leave()

    async def _cached(self, request: web.Request, digest: bytes, fd: int) -> web.StreamResponse:
        """Send a blob of the cache, or a part; what is sent is what was hashed, whatever becomes of its name."""
        try:
            size = os.fstat(fd).st_size
            headers = blob_headers(digest) | {"Accept-Ranges": "bytes"}
            part = _range(request, size)
            if part is None:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
            if len(part) < size:
                headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            response = web.StreamResponse(status=206 if "Content-Range" in headers else 200, headers=headers)
            response.content_length = len(part)
            await response.prepare(request)
            if request.method == "GET":
                for at in range(part.start, part.stop, _PIECE):
                    await response.write(os.pread(fd, min(_PIECE, part.stop - at), at))
                self._metrics.served.inc(len(part))
            await response.write_eof()
        finally:
            os.close(fd)
        return response

    async def _downloaded(self, request: web.Request, place: UpstreamPlace, download: Download) -> web.StreamResponse:
        """Send a blob as it comes from upstream."""
        response = web.StreamResponse(headers=blob_headers(download.digest))
        response.content_length = download.size
        await response.prepare(request)
        sent = 0
        try:
            try:
                async for piece in download.pieces():
                    await response.write(piece)
                    sent += len(piece)
            except ConnectionFailure:
                if not isinstance(download.error, CacheFullError):
                    raise
                async for piece in self._rest(place, download.digest, sent):
                    await response.write(piece)
            self._metrics.served.inc(download.size)
            await response.write_eof()
        except ConnectionFailure:
            _cut_off(request)
        return response

    async def _direct(self, request: web.Request, place: UpstreamPlace, digest: bytes) -> web.StreamResponse:
        """Pass a request for a blob on as it is, and keep nothing."""
        headers = {"Range": request.headers["Range"]} if "Range" in request.headers else {}
        path = f"blobs/sha256:{digest.hex()}"
        method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
        ask = partial(
            self._upstreams.ask,
            place,
            path,
            headers=headers,
            method=method,
        )
        opened = ask()
        answer = await aside(opened.__enter__)
        try:
            if answer.status not in (200, 206):
                return passed(request, place, await aside(answer.document))
            shown = {key: answer.headers[key] for key in ("Content-Range", "Content-Length") if key in answer.headers}
            response = web.StreamResponse(status=answer.status, headers={**blob_headers(digest), **shown})
            await response.prepare(request)
            pieces = answer.pieces
            try:
                while piece := await aside(next, pieces, b""):
                    await response.write(piece)
            except ConnectionFailure:
                _cut_off(request)
                return response
            await response.write_eof()
            return response
        finally:
            await aside(opened.__exit__, None, None, None)

    async def _rest(self, place: UpstreamPlace, digest: bytes, start: int) -> AsyncIterator[bytes]:
        """Yield a blob from an offset on, straight from upstream."""
        path = f"blobs/sha256:{digest.hex()}"
        opened = self._upstreams.ask(place, path, headers={"Range": f"bytes={start}-"})
        answer = await aside(opened.__enter__)
        try:
            if answer.status != 206:
                raise ConnectionFailure(f"status {answer.status}")
            while piece := await aside(next, answer.pieces, b""):
                yield piece
        finally:
            await aside(opened.__exit__, None, None, None)


def _is_plain(request: web.Request) -> bool:
    """Whether a request is for all of a blob."""
    return request.method == "GET" and "Range" not in request.headers


def _range(request: web.Request, size: int) -> range | None:
    """Return which bytes a request asks for; None where there are none of them. What is no range is all."""
    try:
        asked = request.http_range
    except ValueError:
        return range(size)
    if asked.start is not None and asked.start >= size > 0:
        return None
    return range(*asked.indices(size)[:2])


def _cut_off(request: web.Request) -> None:
    """End a connection before the body is whole: so the client knows that it is not."""
    if request.transport is not None:
        request.transport.abort()

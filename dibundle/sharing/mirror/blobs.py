"""Blobs for clients. Blobs come from the cache, from a running download, or from upstream without caching."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Literal

from aiohttp import web

from dibundle.files.digest import text
from dibundle.sharing.mirror.answers import aside, blob_headers, hang_up, passed
from dibundle.sharing.mirror.cache import Cache, CacheFullError
from dibundle.sharing.mirror.door import direct_to, note_piece
from dibundle.sharing.mirror.downloads import HASHES, WITHHELD, Download, Downloads, require_blob
from dibundle.sharing.mirror.making import Maker
from dibundle.sharing.mirror.meter import UNREAD
from dibundle.sharing.mirror.metrics import Metrics
from dibundle.sharing.mirror.options import Key, MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import PASSED, Document, Streamed, Threads, Upstreams, threads
from dibundle.sources.registry.transport import ConnectionFailure

_PIECE: Final = 128 << 10  # bytes of a piece; each of a thousand clients may keep an unread piece in memory
_READERS: Final = 16  # number of threads per upstream that open and read files of the cache
# number of threads per upstream that only hash files of the cache; they are separate, so that no read waits for hashing
_HASHERS: Final = 4


class BlobServer:
    """A server of blobs. Rebuilt and cached blobs come from the cache, and all other blobs come from upstream."""

    def __init__(
        self,
        options: MirrorOptions,
        cache: Cache,
        upstreams: Upstreams,
        downloads: Downloads,
        maker: Maker,
        metrics: Metrics,
    ) -> None:
        self._cache, self._upstreams, self._downloads = cache, upstreams, downloads
        self._maker, self._metrics = maker, metrics
        self._files = threads(options, _READERS, "file")
        self._hashers = threads(options, _HASHERS, "hash")
        self._checks: dict[Key, asyncio.Future[bool]] = {}

    def close(self) -> None:
        """Stop the threads that open files."""
        for pool in (*self._files.values(), *self._hashers.values()):
            pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: web.Request, place: UpstreamPlace, digest: bytes) -> web.StreamResponse:
        """Answer a request for a blob. If a delta may rebuild the blob, first wait for the rebuild."""
        making = self._maker.making(place, digest)
        if making and not self._cache.has(place.key(digest)) and request.method == "GET":
            refusal = await self._refusal(place, digest)
            if refusal:
                return passed(request, place, refusal)
            await self._maker.wait(making)
        while True:
            answer = await self._here(request, place, digest) or await self._from_upstream(request, place, digest)
            if answer:
                return answer

    async def _refusal(self, place: UpstreamPlace, digest: bytes) -> Document | None:
        return await aside(self._upstreams.threads[place.host], self._upstreams.refusal, place, "blobs", digest)

    async def _here(self, request: web.Request, place: UpstreamPlace, digest: bytes) -> web.StreamResponse | None:
        """Answer with a blob from the cache or from a running download. Return None if the blob is not found there."""
        key = place.key(digest)
        running = self._downloads.running(key)
        try:
            if running is None and not self._cache.has(key):
                return None
            refusal = await self._refusal(place, digest)
            if refusal:
                return passed(request, place, refusal)
            if running and _is_plain(request):
                return await self._downloaded(request, place, running)
        finally:
            if running:
                running.leave()
        self._cache.pin([key])  # pin the blob while its file is open, because deleting an open file frees no space
        try:
            pool = self._files[place.host]
            if not (self._cache.is_hashed(key) or await self._checked(self._hashers[place.host], key)):
                return None
            fd = await aside(pool, self._cache.open, key, release=lambda fd: None if fd is None else os.close(fd))
            return None if fd is None else await self._cached(request, pool, key, fd)
        finally:
            self._cache.unpin([key])

    async def _checked(self, pool: Threads, key: Key) -> bool:
        """Return whether a cached blob matches its digest.

        One thread checks the blob for all requests, and continues even if some of these requests end.
        """
        check = self._checks.get(key)
        if check is None:
            check = self._checks[key] = asyncio.wrap_future(pool.submit(self._cache.is_sound, key))
            check.add_done_callback(lambda _: self._checks.pop(key))
        return await asyncio.shield(check)

    async def _from_upstream(
        self, request: web.Request, place: UpstreamPlace, digest: bytes
    ) -> web.StreamResponse | None:
        """Answer with upstream's blob. Return None if another request has already started to fetch it."""
        if not _is_plain(request):
            return await self.direct(request, place, text(digest))
        try:
            began = await aside(
                self._upstreams.threads[place.host],
                self._downloads.begin,
                place,
                digest,
                release=lambda found: found.leave() if isinstance(found, Download) else None,
            )
        except CacheFullError:
            return await self.direct(request, place, text(digest))
        if isinstance(began, Document):
            return passed(request, place, began)
        if began is None:
            return None
        try:
            return await self._downloaded(request, place, began)
        finally:
            began.leave()

    async def _cached(self, request: web.Request, pool: Threads, key: Key, fd: int) -> web.StreamResponse:
        """Send a cached blob or a part of it.

        ``fd`` still refers to the hashed file, even if the file's name is deleted or replaced.
        """
        try:
            size = os.fstat(fd).st_size
            part = _range(request, size)
            if part is None:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
            response = web.StreamResponse(headers=blob_headers(text(key[1])) | {"Accept-Ranges": "bytes"})
            response.content_length = len(part)
            if len(part) < size:
                response.set_status(206)
                response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            return await self._send(request, response, self._pieces(pool, key, fd, part))
        finally:
            os.close(fd)

    async def _pieces(self, pool: Threads, key: Key, fd: int, part: range) -> AsyncIterator[bytes]:
        for at in range(part.start, part.stop, _PIECE):
            try:
                yield await aside(pool, os.pread, fd, min(_PIECE, part.stop - at), at, is_begun=True)
            except OSError as error:
                self._cache.remove(key)
                raise ConnectionFailure("the cache cannot be read") from error

    async def _downloaded(self, request: web.Request, place: UpstreamPlace, download: Download) -> web.StreamResponse:
        """Send a blob while it arrives from upstream."""
        response = web.StreamResponse(headers=blob_headers(text(download.digest)))
        response.content_length = download.size
        return await self._send(request, response, self._coming(request, place, download))

    async def _coming(
        self, request: web.Request, place: UpstreamPlace, download: Download
    ) -> AsyncIterator[bytes | int]:
        """Yield a blob while it arrives. If the cache is full, fetch the remaining bytes directly from upstream.

        If a number is yielded, the download's thread has already sent this many bytes.
        """
        at = 0
        try:
            async for piece in download.pieces(partial(direct_to, request)):
                at += piece if isinstance(piece, int) else len(piece)
                yield piece
        except ConnectionFailure:
            if not isinstance(download.error, CacheFullError):
                raise
            held, found = download.written(at)
            at += len(held)
            name = text(download.digest)
            async with self._asked(place, name, f"bytes={at}-", "GET") as answer:
                if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                    raise
                async for piece in _verified(self._streamed(place, answer), name, held, found):
                    yield piece

    async def direct(self, request: web.Request, place: UpstreamPlace, name: str) -> web.StreamResponse:
        """Pass a request for a blob on to upstream, without caching the blob."""
        method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
        async with self._asked(place, name, request.headers.get("Range"), method) as answer:
            require_blob(answer, name, is_part="Range" in request.headers)
            if answer.status not in (200, 206):
                document = await aside(self._upstreams.passing[place.host], answer.document, is_begun=True)
                return passed(request, place, document)
            response = web.StreamResponse(status=answer.status, headers=blob_headers(name))
            if answer.status == 206 and "Content-Range" in answer.headers:
                response.headers["Content-Range"] = answer.headers["Content-Range"]
            response.content_length = answer.length
            pieces = self._streamed(place, answer)
            if answer.status == 200 and name.partition(":")[0] in HASHES:  # only a whole blob can be checked
                pieces = _verified(pieces, name)
            return await self._send(request, response, pieces)

    @asynccontextmanager
    async def _asked(
        self, place: UpstreamPlace, name: str, part: str | None, method: Literal["GET", "HEAD"]
    ) -> AsyncIterator[Streamed]:
        """Ask upstream for a blob, or for a part of a blob."""
        pool, headers = self._upstreams.passing[place.host], {"Range": part} if part else {}
        opened = self._upstreams.ask(place, f"blobs/{name}", headers=headers, method=method, most=PASSED)

        def leave(_: object = None) -> None:
            opened.__exit__(None, None, None)

        answer = await aside(pool, opened.__enter__, release=leave)
        try:
            yield answer
        except BaseException:
            answer.end()  # end the connection, because a thread may still wait for the body
            raise
        finally:
            pool.resume(leave)

    async def _streamed(self, place: UpstreamPlace, answer: Streamed) -> AsyncIterator[bytes]:
        while piece := await aside(self._upstreams.passing[place.host], next, answer.pieces, b"", is_begun=True):
            yield piece

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        pieces: AsyncIterator[bytes] | AsyncIterator[bytes | int],
    ) -> web.StreamResponse:
        """Send an answer. If the answer's body is too short or too long, end the connection to signal an error."""
        sent = 0
        try:
            await response.prepare(request)
            if request.method == "GET":
                async for piece in pieces:
                    if isinstance(piece, int):
                        sent += piece
                        continue
                    sent += len(piece)
                    if response.content_length is not None and sent > response.content_length:
                        raise ConnectionFailure("too long")
                    note_piece(request, len(piece))
                    async with asyncio.timeout(UNREAD):
                        await response.write(piece)
                if response.content_length not in (None, sent):
                    raise ConnectionFailure("too short")
            async with asyncio.timeout(UNREAD):
                await response.write_eof()
        # end the connection after any error, because the client would mistake an error answer for a part of the body
        except Exception:
            hang_up(request)
        finally:
            self._metrics.served.inc(sent)
        return response


async def _verified(
    pieces: AsyncIterator[bytes], name: str, held: bytes = b"", found: hashlib._Hash | None = None
) -> AsyncIterator[bytes]:
    """Yield the pieces of a blob, but the last bytes only if the whole blob matches its digest.

    ``held`` are the unsent bytes that directly precede the pieces. ``found`` is the hash of all bytes before the
    pieces, including ``held``.
    """
    kind, _, digest = name.partition(":")
    found = found or HASHES[kind]()
    async for piece in pieces:
        found.update(piece)
        held += piece
        if len(held) > WITHHELD:
            ready, held = held[:-WITHHELD], held[-WITHHELD:]
            del piece
            yield ready
            del ready
    if found.hexdigest() != digest:
        raise ConnectionFailure("upstream sent another blob")
    yield held


def _is_plain(request: web.Request) -> bool:
    """Return whether a request is for a whole blob."""
    return request.method == "GET" and "Range" not in request.headers


def _range(request: web.Request, size: int) -> range | None:
    """Return the requested range of bytes.

    Return None if the range begins after the blob's end. For a malformed range, return the range of all bytes.
    """
    try:
        asked = request.http_range
    except ValueError:
        return range(size)
    if asked.start is not None and asked.start >= size > 0:
        return None
    return range(*asked.indices(size)[:2])

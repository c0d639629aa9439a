"""Blobs that are fetched from upstream: once for all clients that want one, kept while they pass."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from dibundle.errors import RegistryError
from dibundle.sharing.mirror.cache import Cache, CacheFullError, NewBlob
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Streamed, Upstreams
from dibundle.sources.registry.transport import ConnectionFailure

_PIECE: Final = 256 << 10
_WITHHELD: Final = 64 << 10  # bytes at the end of a blob that are sent only when all of it has its digest
_TRIES: Final = 3  # of a blob whose connection breaks
_PUMPS: Final = 64


class Bell:
    """Wakes threads and coroutines of any loop that wait for something to change."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake all."""
        with self.changed:
            self.changed.notify_all()
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            with suppress(RuntimeError):  # of a loop that has ended
                loop.call_soon_threadsafe(event.set)

    async def wait(self, is_over: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until ``is_over``, which is asked at each change; return whether it was in time."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while True:
            event = asyncio.Event()
            with self.changed:
                if is_over():
                    return True
                self._waiting.add((loop, event))
            try:
                await asyncio.wait_for(event.wait(), None if end is None else max(0.0, end - loop.time()))
            except TimeoutError:
                return is_over()


class Download:
    """A blob on its way from upstream into a temporary file, from which any number of clients read as it grows."""

    def __init__(self, digest: bytes, size: int, blob: NewBlob) -> None:
        self.digest, self.size = digest, size
        self.begun = time.monotonic()
        self.seconds = 0.0
        self._blob = blob
        self._readers = 1  # the one who writes
        self.bell = Bell()
        self.received = 0
        self.is_done = False
        self.error: Exception | None = None

    @property
    def available(self) -> int:
        """How many bytes may be sent now."""
        if self.is_done and not self.error:
            return self.size
        return max(0, min(self.received, self.size - _WITHHELD))

    def join(self) -> bool:
        """Begin to read; false where the file is closed already."""
        with self.bell.changed:
            if not self._readers:
                return False
            self._readers += 1
            return True

    def leave(self) -> None:
        """Read no more; the last one closes the file."""
        with self.bell.changed:
            self._readers -= 1
            is_last = not self._readers
        if is_last:
            self._blob.close()

    def wait(self, seconds: float) -> bool:
        """Wait until all is there; return whether it is."""
        end = time.monotonic() + seconds
        with self.bell.changed:
            while not self.is_done and (left := end - time.monotonic()) > 0:
                self.bell.changed.wait(left)
        return self.is_done and self.error is None

    async def pieces(self, start: int = 0) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` on as they come; :class:`ConnectionFailure` where they end too early."""
        at = start
        while at < self.size:
            ready = self.available
            if ready > at:
                piece = os.pread(self._blob.fd, min(_PIECE, ready - at), at)
                at += len(piece)
                yield piece
                continue
            if self.error:
                raise ConnectionFailure(str(self.error))
            await self.bell.wait(lambda: self.available > at or self.error is not None)  # noqa: B023 - ends before at moves


class Downloads:
    """All blobs that are fetched at the moment, by their digest."""

    def __init__(self, upstreams: Upstreams, cache: Cache) -> None:
        self._upstreams, self._cache = upstreams, cache
        self._running: dict[bytes, Download] = {}
        self._asking: dict[bytes, tuple[threading.Lock, int]] = {}  # and how many wait for it or have it
        self._lock = threading.Lock()
        self._pumps = ThreadPoolExecutor(_PUMPS, "pump")
        self.speed: float | None = None  # bytes a second of what upstream sends, lately

    def close(self) -> None:
        """Begin nothing more."""
        self._pumps.shutdown(wait=False, cancel_futures=True)

    def running(self, digest: bytes) -> Download | None:
        """Return the download of a blob, for the caller to leave; None where there is none."""
        with self._lock:
            found = self._running.get(digest)
        return found if found and found.join() else None

    def begin(self, place: UpstreamPlace, digest: bytes) -> Download | Document | None:
        """Return the download of a blob, for the caller to leave, or upstream's answer where it does not give it.

        None where somebody else has begun it meanwhile, or it is in the cache now. :class:`CacheFullError` where there
        is no space; :class:`RegistryError` or :class:`ConnectionFailure` where upstream does not answer.
        """
        with self._one_at_a_time(digest):
            with self._lock:
                is_there = digest in self._running
            if is_there or self._cache.has(digest):
                return None
            began: Future[Download | Document] = Future()
            self._pumps.submit(self._run, place, digest, began)
            return began.result()

    @contextmanager
    def _one_at_a_time(self, digest: bytes) -> Iterator[None]:
        """Let one client of a blob ask for it, the others wait until that one has an answer."""
        with self._lock:
            lock, waiting = self._asking.get(digest, (threading.Lock(), 0))
            self._asking[digest] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._asking[digest]
                if waiting == 1:
                    del self._asking[digest]
                else:
                    self._asking[digest] = lock, waiting - 1

    def _run(self, place: UpstreamPlace, digest: bytes, began: Future[Download | Document]) -> None:
        try:
            path = f"blobs/sha256:{digest.hex()}"
            with self._upstreams.ask(place, path) as answer:
                size = answer.headers.get("Content-Length", "")
                if answer.status != 200 or not size.isdigit():
                    began.set_result(answer.document())
                    return
                self._upstreams.grant(place, "blobs", digest)
                download = Download(digest, int(size), self._cache.new())
                download.join()
                with self._lock:
                    self._running[digest] = download
                began.set_result(download)
                self._fill(download, place, path, answer)
        except (RegistryError, ConnectionFailure, CacheFullError, OSError) as error:
            if not began.done():
                began.set_exception(error)

    def _fill(self, download: Download, place: UpstreamPlace, path: str, first: Streamed) -> None:
        try:
            for piece in self._pieces(download, place, path, first):
                download._blob.write(piece)
                download.received += len(piece)
                download.bell.ring()
            if download._blob.digest != download.digest:
                raise ConnectionFailure("upstream sent another blob")
            download._blob.keep()
            download.seconds = time.monotonic() - download.begun
            self._measure(download)
        except Exception as error:
            download.error = error
        finally:
            download.is_done = True
            with self._lock:
                if self._running.get(download.digest) is download:
                    del self._running[download.digest]
            download.bell.ring()
            download.leave()

    def _pieces(self, download: Download, place: UpstreamPlace, path: str, first: Streamed) -> Iterator[bytes]:
        """Yield a blob; where the connection breaks go on from there, a few times."""
        at, failures = 0, 0
        answer: Iterator[bytes] = first.pieces
        while True:
            try:
                for piece in answer:
                    if at + len(piece) > download.size:
                        raise ConnectionFailure("upstream sent more than it said")
                    at += len(piece)
                    yield piece
            except ConnectionFailure:
                if failures == _TRIES:
                    raise
            if at == download.size:
                return
            failures += 1
            if failures > _TRIES:
                raise ConnectionFailure("the connection ended")
            answer = self._rest(place, path, at)

    def _rest(self, place: UpstreamPlace, path: str, at: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={at}-"}
        with self._upstreams.ask(place, path, headers=headers) as answer:
            if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                raise ConnectionFailure(f"status {answer.status}")
            yield from answer.pieces

    def _measure(self, download: Download) -> None:
        """Note how fast upstream is, by blobs that are large enough to tell."""
        if download.size >= 1 << 20 and download.seconds > 0:
            found = download.size / download.seconds
            self.speed = found if self.speed is None else (self.speed + found) / 2

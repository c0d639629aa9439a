"""Downloads of blobs from upstream. All clients that request a blob share one download, which also fills the cache."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from dibundle.files.digest import text
from dibundle.sharing.mirror.bell import Bell
from dibundle.sharing.mirror.cache import Cache, CacheFullError, NewBlob, Turns
from dibundle.sharing.mirror.direct import Direct
from dibundle.sharing.mirror.options import Key, MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Streamed, Upstreams, threads
from dibundle.sources.registry.transport import ConnectionFailure

_PIECE: Final = 128 << 10
_SMALL: Final = 32 << 10  # after a piece with fewer bytes than this, wait for more bytes before the next piece
_SHARE: Final = 0.001  # after a small piece, wait this many seconds for each client of the download
WITHHELD: Final = 64 << 10  # this many bytes at the end of a blob are sent only if the whole blob matches its digest
_TRIES: Final = 3  # maximum number of attempts to continue a download after its connection breaks
_MEASURED: Final = 64 << 10  # a blob with fewer bytes than this does not change the measured speed of its upstream
_PUMPS: Final = 64  # maximum downloads from an upstream at once
HASHES: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_ALONE: Final = 16 << 20  # without clients, a download continues only if at most this many bytes are missing


class Download:
    """A running download of a blob into a temporary file. Any number of clients read the file while it grows."""

    def __init__(self, digest: bytes, size: int, blob: NewBlob) -> None:
        self.digest, self.size = digest, size
        self.begun = time.monotonic()
        self.seconds = 0.0
        self._blob = blob
        self._readers = 1  # number of users of the file; at first, only the writer
        self._is_given_up = False
        self._direct: Direct | None = None
        self.bell = Bell()
        self.received = 0
        self.is_done = False
        self.error: Exception | None = None

    @property
    def available(self) -> int:
        """The number of bytes that may already be sent."""
        if self.is_done and not self.error:
            return self.size
        return max(0, min(self.received, self.size - WITHHELD))

    def join(self) -> bool:
        """Register a reader. Return False if the file is closed or about to be closed."""
        with self.bell.changed:
            if not self._readers or self._is_given_up:
                return False
            self._readers += 1
            return True

    def leave(self) -> None:
        """Unregister a reader. The last reader closes the file."""
        with self.bell.changed:
            self._readers -= 1
            is_last = not self._readers
        if is_last:
            self._blob.close()

    def write(self, piece: bytes) -> None:
        """Take the next bytes from upstream, and make them available to clients."""
        self._blob.write(piece)
        before = self.available
        with self.bell.changed:
            start = self.received
            self.received += len(piece)
            direct, is_alone = self._direct, self._readers == 2  # the writer and one client
        if self.available > before:  # otherwise, there are no new bytes for clients
            if direct:
                direct.send(piece, start, self.available, may_wait=is_alone)
            self.bell.ring()

    def _lend(self, direct: Direct) -> bool:
        """Let the writing thread send to a client. Return False if the client does not have all available bytes yet."""
        with self.bell.changed:
            if self.is_done or self._direct or direct.at != self.available:
                return False
            self._direct = direct
            return True

    def end(self, error: Exception | None) -> None:
        """Record the end, and wake all clients."""
        self.error = error
        with self.bell.changed:
            self.is_done = True
            direct = self._direct
        if direct:
            direct.end()
        self.bell.ring()

    def give_up_alone(self) -> bool:
        """Return whether the download should end.

        A download should end if it has no readers, and more than ``_ALONE`` bytes are missing.
        """
        with self.bell.changed:
            self._is_given_up = self._readers == 1 and self.size - self.received > _ALONE
        return self._is_given_up

    def wait(self, seconds: float) -> bool:
        """Wait until the download ends. Return whether the blob is complete."""
        end = time.monotonic() + seconds
        with self.bell.changed:
            while not self.is_done and (left := end - time.monotonic()) > 0:
                self.bell.changed.wait(left)
        return self.is_done and self.error is None

    def written(self, at: int) -> tuple[bytes, hashlib._Hash]:
        """Return the bytes of a failed download from ``at`` on, and the hash of all bytes that were written."""
        return os.pread(self._blob.fd, self.received - at, at), self._blob.hash()

    async def pieces(self, direct_at: Callable[[int], Direct | None]) -> AsyncIterator[bytes | int]:
        """Yield the bytes as they arrive. Raise :class:`ConnectionFailure` if bytes are missing.

        ``direct_at`` returns a direct way to the client. If this way is used, yield the number of sent bytes.
        """
        at = 0
        while at < self.size:
            ready = self.available
            if ready > at:
                # the bytes were just written, so reading them needs no disk access
                piece = os.pread(self._blob.fd, min(_PIECE, ready - at), at)
                at += len(piece)
                yield piece
                if len(piece) < _SMALL and at < self.size:
                    # sending many small pieces to many clients would take all of the loop's time
                    await asyncio.sleep(min(1.0, _SHARE * self._readers))
            elif self.error:
                raise ConnectionFailure(str(self.error))
            elif not self._direct and (direct := direct_at(at)):
                try:
                    if self._lend(direct):
                        await direct.bell.wait(lambda: direct.is_over)
                finally:
                    direct.end()
                if direct.at > at:
                    yield direct.at - at
                at = direct.at
            else:
                await self.bell.wait(lambda: self.available > at or self.error is not None)  # noqa: B023 - ends before at moves


def require_blob(answer: Streamed, name: str, *, is_part: bool) -> None:
    """Raise :class:`ConnectionFailure` if upstream's answer cannot be the requested blob, or the requested part."""
    is_other = 200 <= answer.status < 300 and answer.status not in ((200, 206) if is_part else (200,))
    kind, _, digest = name.partition(":")
    is_nothing = answer.status == 200 and answer.length == 0
    if is_other or (is_nothing and kind in HASHES and HASHES[kind]().hexdigest() != digest):
        raise ConnectionFailure("upstream sent something else")


class Downloads:
    """All running downloads."""

    def __init__(self, options: MirrorOptions, upstreams: Upstreams, cache: Cache) -> None:
        self._upstreams, self._cache = upstreams, cache
        self._running: dict[Key, Download] = {}
        self._asking = Turns()
        self._lock = threading.Lock()
        self._pumps = threads(options, _PUMPS, "pump")
        self._speeds: dict[str, float] = {}
        self._busy: Counter[str] = Counter()  # how many threads download from each upstream

    def close(self) -> None:
        """Refuse to start further downloads."""
        for pool in self._pumps.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def speed(self, place: UpstreamPlace) -> float | None:
        """Return the recent speed of an upstream in bytes per second. Return None if the speed is not known."""
        return self._speeds.get(place.host)

    def running(self, key: Key) -> Download | None:
        """Return the running download of a blob, or None. The caller must call :meth:`Download.leave` on the result."""
        with self._lock:
            found = self._running.get(key)
        return found if found and found.join() else None

    def begin(self, place: UpstreamPlace, digest: bytes) -> Download | Document | None:
        """Start the download of a blob and return it. If upstream refuses the blob, return upstream's answer.

        The caller must call :meth:`Download.leave` on the result. Returns None if another thread has just started the
        download, or if the blob is now in the cache. Raises :class:`CacheFullError` if there is no space, or if too
        many downloads run. Raises :class:`RegistryError` or :class:`ConnectionFailure` if upstream does not answer.
        """
        key = place.key(digest)
        with self._asking.of(key):
            with self._lock:
                is_there = key in self._running
                if is_there or self._cache.has(key):
                    return None
                # do not wait here, because requests for manifests need this thread
                if self._busy[place.host] == _PUMPS:
                    raise CacheFullError
                self._busy[place.host] += 1
            began: Future[Download | Document] = Future()

            def ended(done: Future[None]) -> None:
                with self._lock:
                    self._busy[place.host] -= 1
                if done.cancelled():
                    began.cancel()

            self._pumps[place.host].submit(self._run, place, digest, began).add_done_callback(ended)
            return began.result()

    def _run(self, place: UpstreamPlace, digest: bytes, began: Future[Download | Document]) -> None:
        try:
            path = f"blobs/sha256:{digest.hex()}"
            with self._upstreams.ask(place, path) as answer:
                size = answer.length
                require_blob(answer, text(digest), is_part=False)
                if answer.status != 200:
                    began.set_result(answer.document())
                    return
                if size is None or size > self._cache.most:
                    raise CacheFullError
                self._upstreams.grant(place, "blobs", digest)
                download = Download(digest, size, self._cache.new())
                download.join()
                with self._lock:
                    self._running[place.key(digest)] = download
                began.set_result(download)
                self._fill(download, place, path, answer)
        except Exception as error:  # every error must be passed on, because begin() waits for a result
            if not began.done():
                began.set_exception(error)

    def _fill(self, download: Download, place: UpstreamPlace, path: str, first: Streamed) -> None:
        failure = None
        try:
            for piece in self._pieces(download, place, path, first):
                download.write(piece)
                if download.give_up_alone():
                    raise ConnectionFailure("nobody waits for it")
            if download._blob.digest != download.digest:
                raise ConnectionFailure("upstream sent another blob")
            with suppress(OSError):  # the cache is full, but clients still get the blob
                download._blob.keep(place.space)
            download.seconds = time.monotonic() - download.begun
            self._measure(download, place.host)
        except Exception as error:
            # drop the traceback, because it would keep this frame, the download and a piece in memory
            failure = error.with_traceback(None)
        finally:
            with self._lock:
                del self._running[place.key(download.digest)]
            download.end(failure)
            download.leave()

    def _pieces(self, download: Download, place: UpstreamPlace, path: str, first: Streamed) -> Iterator[bytes]:
        """Yield a blob.

        If the connection breaks, continue at the same byte. There are at most ``_TRIES`` such attempts.
        """
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

    def _measure(self, download: Download, host: str) -> None:
        """Update the speed of an upstream, if the blob has at least ``_MEASURED`` bytes."""
        if download.size >= _MEASURED and download.seconds > 0:
            found = download.size / download.seconds
            self._speeds[host] = (self._speeds.get(host, found) + found) / 2

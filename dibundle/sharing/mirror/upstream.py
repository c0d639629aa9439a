"""Requests to upstream registries for clients, with the client's or the mirror's credentials."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple, TypeVar

from dibundle.errors import RegistryError
from dibundle.files.digest import sha256
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sources.access import Access
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.opening import allowed_settings
from dibundle.sources.registry.reference import Reference
from dibundle.sources.registry.transport import READ, SMALL, ConnectionFailure, Transport

_ASKING: Final = 32  # maximum concurrent requests to an upstream, not counting downloads of blobs
_PASSING: Final = 32  # maximum threads for blobs that are passed on without caching
_IDLE: Final = 64  # maximum idle connections
_GRANT_SECONDS: Final = 60.0
_MAX_GRANTS: Final = 65_536
_MOST_ERROR: Final = 64 << 10  # maximum bytes of an error that are passed on
_LONGEST_LENGTH: Final = 18  # maximum digits of a Content-Length
# aiohttp refuses to send control characters other than tab
_CONTROLS: Final = frozenset(map(chr, (*range(9), *range(10, 32), 127)))
Kind = Literal["manifests", "blobs"]
# maximum tasks that wait for an upstream's threads: a quarter of the maximum number of clients
MOST_WAITING: Final = 256
ASKING: Final = 8  # maximum concurrent requests to upstream about the blobs of an image
# bytes of a blob that are passed on in one step; each of a thousand clients may keep a piece of this size in memory
PASSED: Final = 64 << 10
_T = TypeVar("_T")


class Document(NamedTuple):
    """A complete answer, with its body in memory."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def length(self) -> int | None:
        """The declared size of the body in bytes, also for HEAD. The value is None if the size is not known."""
        return _length(self.headers)


class Streamed:
    """An answer whose body is read piece by piece. Any thread may call ``end``, which ends the connection."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        pieces: Iterator[bytes],
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self.status, self.headers, self.pieces = status, headers, pieces
        self._end = end
        self.is_ended = False

    def end(self) -> None:
        """End the connection. A thread that waits for the body gets an error, and the connection is never reused."""
        self.is_ended = True
        self._end()

    @property
    def length(self) -> int | None:
        """The declared size of the body in bytes. The value is None if the size is not known."""
        return _length(self.headers)

    def document(self) -> Document:
        """Read the body of a document. Raise :class:`ConnectionFailure` if the body is too long for a document.

        If the document is an error, read only the beginning, which identifies the error.
        """
        body = bytearray()
        try:
            for piece in self.pieces:
                body += piece
                if self.status >= 400 and len(body) > _MOST_ERROR:
                    return Document(self.status, self.headers, bytes(body[:_MOST_ERROR]))
                if len(body) > SMALL:
                    raise ConnectionFailure(f"a document of more than {SMALL:,} bytes")
            return Document(self.status, self.headers, bytes(body))
        finally:
            body.clear()  # free the body now: while an error is kept, this frame and its variables stay in memory


def _grant(place: UpstreamPlace, kind: Kind, digest: bytes) -> bytes:
    """Return the key of a grant. The key is a hash, because the credentials in a grant may be long."""
    return sha256(repr((place, kind, digest)).encode())


def _length(headers: Mapping[str, str]) -> int | None:
    """Return the size of a body from its headers. Return None if the headers have no valid size."""
    found = headers.get("Content-Length", "")
    is_number = found.isascii() and found.isdigit() and len(found) <= _LONGEST_LENGTH
    return int(found) if is_number and "Transfer-Encoding" not in headers else None


class BusyError(Exception):
    """The error if too many tasks wait for the threads of an upstream."""


class Threads(ThreadPoolExecutor):
    """A thread pool with at most ``MOST_WAITING`` waiting tasks. The limit includes tasks of clients that have left."""

    def submit(self, function: Callable[..., _T], /, *arguments: Any, **named: Any) -> Future[_T]:  # noqa: ANN401
        """Let a thread call a function. Raise :class:`BusyError` if too many tasks wait."""
        if self._work_queue.qsize() >= MOST_WAITING:
            raise BusyError
        return super().submit(function, *arguments, **named)

    def resume(self, function: Callable[..., _T], /, *arguments: Any) -> Future[_T]:  # noqa: ANN401
        """Let a thread call a function for an answer that has begun, even if too many tasks wait."""
        return super().submit(function, *arguments)


def threads(options: MirrorOptions, number: int, name: str) -> dict[str, Threads]:
    """Return a thread pool for each upstream. So an upstream that does not answer cannot block other upstreams."""
    return {host: Threads(number, name) for host in set(options.upstreams.values())}


def all_hold(test: Callable[[_T], bool], items: Iterable[_T], check: Callable[[], object]) -> bool:
    """Return whether a test holds for all items. Test a few items at a time, and stop after the first failure.

    ``check`` raises an error when the time is over.
    """
    with ThreadPoolExecutor(ASKING, "test") as pool:
        answers = [pool.submit(test, item) for item in items]
        try:
            for answer in as_completed(answers):
                check()
                if not answer.result():
                    return False
        finally:
            pool.shutdown(cancel_futures=True)
    return True


class Upstreams:
    """The upstream registries of a mirror, and a thread-safe record of which content clients may read."""

    def __init__(self, options: MirrorOptions, access: Access) -> None:
        # load Python's codec for host names now; loading it later would double the time of the first request
        "127.0.0.1".encode("idna")
        self._is_private = options.is_private
        self.threads = threads(options, _ASKING, "ask")
        self.passing = threads(options, _PASSING, "pass")
        settings = allowed_settings(access)
        self._settings = settings if options.is_private else replace(settings, logins=())
        self._idle: list[tuple[tuple[str, str, str | None], Transport]] = []  # idle connections, the latest last
        self._lock = threading.Lock()
        self._grants: OrderedDict[bytes, float] = OrderedDict()
        self.received = 0

    def close(self) -> None:
        """Send no more requests, and close idle connections."""
        for pool in (*self.threads.values(), *self.passing.values()):
            pool.shutdown(wait=False, cancel_futures=True)
        for _, transport in self._idle:
            transport.close()

    @contextmanager
    def ask(
        self,
        place: UpstreamPlace,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: Literal["GET", "HEAD"] = "GET",
        most: int = READ,
    ) -> Iterator[Streamed]:
        """Send a request, and read the answer's body in pieces of at most ``most`` bytes.

        Raises :class:`RegistryError` or :class:`ConnectionFailure` if there is no answer.
        """
        key = place.host, place.repository, place.authorization
        transport = self._taken(key) or Transport(
            Reference(place.host, place.repository),
            self._settings,
            authorization=key[2],
            logs_in=self._is_private,
        )
        is_sound = False
        try:
            with transport.stream(transport.url(path), headers or {}, method) as response:
                if not 200 <= response.status < 600:
                    raise ConnectionFailure(f"status {response.status}")
                if any(_CONTROLS.intersection(value) for value in response.headers.values()):
                    raise ConnectionFailure("a header with control characters")
                body = self._counted(transport.pieces(response, most)) if method == "GET" else iter(())
                answer = Streamed(response.status, response.headers, body, transport.break_off)
                yield answer
            # a transport with a max_time is not reused, because this time counts from the transport's creation
            is_sound = self._settings.max_time is None and not answer.is_ended
        finally:
            if is_sound:
                self._wait(key, transport)
            else:
                transport.close()

    def _taken(self, key: tuple[str, str, str | None]) -> Transport | None:
        with self._lock:
            for number in range(len(self._idle) - 1, -1, -1):
                if self._idle[number][0] == key:
                    return self._idle.pop(number)[1]
        return None

    def _wait(self, key: tuple[str, str, str | None], transport: Transport) -> None:
        with self._lock:
            self._idle.append((key, transport))
            oldest = self._idle.pop(0)[1] if len(self._idle) > _IDLE else None
        if oldest:
            oldest.close()

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            with self._lock:
                self.received += len(piece)
            yield piece

    def repository(self, place: UpstreamPlace, seconds: float) -> Repository:
        """Return a repository in which to search for bundles, with the client's credentials.

        All requests to this repository together may take at most ``seconds``.
        """
        limited = replace(self._settings, max_time=min(seconds, self._settings.max_time or seconds))
        return Repository(Reference(place.host, place.repository), limited, authorization=place.authorization)

    def grant(self, place: UpstreamPlace, kind: Kind, digest: bytes) -> None:
        """Remember for 60 s that upstream has let a client read a manifest or blob."""
        with self._lock:
            self._grants[_grant(place, kind, digest)] = time.monotonic() + _GRANT_SECONDS
            while len(self._grants) > _MAX_GRANTS:
                self._grants.popitem(last=False)

    def refusal(self, place: UpstreamPlace, kind: Kind, digest: bytes) -> Document | None:
        """Return upstream's answer if it does not let the client read content that the mirror has.

        Returns None if the client may read the content. A private mirror asks with its own logins.
        """
        until = self._grants.get(_grant(place, kind, digest), 0)
        if until > time.monotonic():
            return None
        path = f"{kind}/sha256:{digest.hex()}"
        accept = {"Accept": "*/*"} if kind == "manifests" else {}
        # some registries refuse HEAD
        with suppress(RegistryError), self.ask(place, path, headers=accept, method="HEAD") as answer:
            if answer.status == 200:
                self.grant(place, kind, digest)
                return None
        # ask again with GET, because the answer to HEAD contains no reason
        with self.ask(place, path, headers=accept) as answer:
            if answer.status != 200:
                return answer.document()
        self.grant(place, kind, digest)
        return None

    def has_blob(self, place: UpstreamPlace, digest: bytes, size: int) -> bool:
        """Return whether upstream lets the client read a blob, and the blob has this size. The content is not read."""
        path = f"blobs/sha256:{digest.hex()}"
        methods: tuple[Literal["HEAD", "GET"], ...] = ("HEAD", "GET")  # some registries refuse HEAD
        for method in methods:
            with suppress(RegistryError), self.ask(place, path, method=method) as answer:
                if answer.status == 200:
                    self.grant(place, "blobs", digest)
                    return answer.length in (None, size)
        return False

"""HTTP requests to one repository of a registry, with logins, limits, and retries where they help.

Credentials go only to the registry itself, and to the token server that the registry names. Credentials are sent over
TLS, or without TLS if the registry itself is contacted without TLS. After a redirect to another host, credentials are
not sent. Redirects from https to http are not followed. If a remote registry names an address of this machine or of its
network link, nothing is sent there. An example of such an address is the metadata service of a cloud. Uploads go only
to the registry.
"""

from __future__ import annotations

import json
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode, urlsplit

from dibundle import __version__
from dibundle.errors import Message, RegistryError, install_hint
from dibundle.images import document
from dibundle.sources import messages
from dibundle.sources.registry.credentials import Login, find
from dibundle.sources.registry.places import follow
from dibundle.sources.registry.reference import Reference, is_loopback
from dibundle.sources.registry.settings import RegistrySettings

try:
    import urllib3
except ModuleNotFoundError as missing:  # urllib3 is optional, because most people move bundles as files
    raise RegistryError(messages.REGISTRY_NO_URLLIB3, hint=install_hint("urllib3")) from missing

# imported after the check for urllib3, because this module needs urllib3, too
from dibundle.sources.registry.connections import (
    CONNECTING,
    Sockets,
    Watchdog,
    pool_classes,
    shut,
)

ConnectionFailure = urllib3.exceptions.HTTPError
REDIRECTS: Final = 5
SMALL: Final = 4 << 20  # maximum bytes of a manifest or another document
_MOST_REASON: Final = 64 << 10  # maximum bytes of an error answer
FREE_PIECES: Final = 4096
PIECE: Final = 256
"""The number of pieces of a body that may have any size, and the minimum average size of all later pieces.

Each piece takes 10 us.
"""
_AGAIN: Final = (429, 500, 502, 503, 504)
_MOVED: Final = (301, 302, 303, 307, 308)
_MOST_PAUSE: Final = 30.0
_PATIENCE: Final = 5  # maximum time for a whole document, in multiples of the timeout
_PARAMETER: Final = re.compile(r'(?<![a-zA-Z_])([a-zA-Z_]{1,64})="([^"]{0,4096})"')
_LONGEST_CHALLENGE: Final = 8192
_MOST_TOLD: Final = (
    128 << 10
)  # maximum bytes of an answer with a token or a reason: a parsed answer may take 30 times as much memory
_HOSTS: Final = 2  # maximum hosts with open connections: the registry, and the host that it named most recently
READ: Final = 256 << 10  # bytes of a body that are read in one step
_VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,65536}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class UnansweredError(RegistryError):
    """An error for a registry that keeps failing, or that cannot be reached."""


class Transport:
    """A sender of requests to one repository. Only one thread at a time may use this object."""

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        *,
        write: bool = False,
        authorization: str | None = None,
        logs_in: bool = True,
    ) -> None:
        """Prepare for requests. ``authorization`` is sent from the first request on.

        If ``logs_in`` is false, an answer with status 401 or 403 is returned like any other answer.
        """
        self.host = reference.host
        self.settings = settings
        self._repository = reference.repository
        self._actions = "pull,push" if write else "pull"
        plain = is_loopback(self.host) or self.host in settings.insecure
        self._base = f"{'http' if plain else 'https'}://{self.host}"
        self._authorization = authorization
        self._logs_in = logs_in
        # kinds of the registry's address at the first connection, such as loopback or link-local
        self._own_kinds: set[str] | None = None
        self._pool = urllib3.PoolManager(
            num_pools=_HOSTS, retries=False, headers={"User-Agent": f"dib/{__version__}", "Accept-Encoding": "identity"}
        )
        self._sockets: Sockets = weakref.WeakKeyDictionary()
        self._watchdog = Watchdog(2 * settings.timeout, self._sockets)
        self._pool.pool_classes_by_scheme = pool_classes(self._check_place, self._sockets, self._watchdog)
        self._responses: set[urllib3.BaseHTTPResponse] = set()  # responses that are being read
        self.received = 0  # bytes of documents so far
        self._end: float | None = None
        self._timer: threading.Timer | None = None
        if settings.max_time is not None:
            self._end = time.monotonic() + settings.max_time
            self._timer = threading.Timer(settings.max_time, self.break_off)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Close all connections, even if the body of an answer was not read to its end."""
        if self._timer:
            self._timer.cancel()
        self._watchdog.close()
        for response in list(self._responses):
            response.close()
        self._pool.clear()

    def break_off(self) -> None:
        """End every wait for the registry. Any thread may call this method.

        If the time limit was reached, the waiting thread's next check raises an error.
        """
        for connection in list(self._sockets):
            shut(connection, self._sockets)

    def _patience(self) -> urllib3.Timeout:
        """Return how long a request may wait. Raise :class:`RegistryError` if the time limit is reached."""
        left = self.settings.timeout
        if self._end is not None:
            left = min(left, self._end - time.monotonic())
            if left <= 0:
                raise self.failed(messages.REGISTRY_TIME_LIMIT, max_time=self.settings.max_time)
        return urllib3.Timeout(connect=min(CONNECTING, left), read=left)

    def pieces(self, response: urllib3.BaseHTTPResponse, most: int = READ) -> Iterator[bytes]:
        """Yield a body while it arrives, up to ``most`` bytes at a time.

        If the body arrives too slowly, raise ``ConnectionFailure``.
        """
        begun, count = time.monotonic(), 0
        left = FREE_PIECES * PIECE
        while piece := self._read(response, most):
            yield piece
            self._patience()
            count += len(piece)
            left += len(piece) - PIECE
            if left < 0:
                raise ConnectionFailure(f"the body comes in pieces of less than {PIECE} bytes")
            took = time.monotonic() - begun
            if took >= self.settings.timeout:
                if count < took * self.settings.min_rate:
                    raise ConnectionFailure(f"slower than {self.settings.min_rate:,} bytes a second (--min-rate)")
                begun, count = time.monotonic(), 0
        self._patience()
        if response.length_remaining:
            raise ConnectionFailure("the connection ended")

    def _read(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Read the available part of a body, with a limit for the total time.

        Without this limit, slow bytes could keep the caller waiting forever.
        """
        connection = response.connection
        if not isinstance(connection, urllib3.connection.HTTPConnection):
            return response.read1(most, decode_content=False)
        with self._watchdog.watch(connection):
            return response.read1(most, decode_content=False)

    def _check_place(self, host: str, addresses: set[str], *, is_reached: bool) -> None:
        """Refuse an address of this machine or its network link, unless the named registry has such an address.

        A name may have several addresses, and its addresses may change. So only the address at which the registry was
        first reached counts. Afterwards, even the registry's own name must not lead to a different kind of address.
        After the time limit, this method raises :class:`RegistryError`, because the limit could not end a connection
        that did not exist yet.
        """
        self._patience()
        is_own = host.strip("[]").lower() == (urlsplit(self._base).hostname or "")
        if is_own and not is_reached:
            return
        if is_own and self._own_kinds is None:
            self._own_kinds = addresses
            return
        wrong = addresses - (self._own_kinds or set())
        if wrong:
            raise self.failed(messages.REGISTRY_REDIRECT_ADDRESS, host_=host[:200], wrong=min(wrong))

    def url(self, path: str) -> str:
        """Return the URL of a path in the repository, such as ``manifests/latest``."""
        return f"{self._base}/v2/{self._repository}/{path}"

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tries: int | None = None,
    ) -> Answer:
        """Send a request, and repeat the request if the registry fails. Return the answer, which may have any status.

        Raises :class:`RegistryError` if the registry keeps failing, refuses the login, or answers with more than
        ``SMALL`` bytes.
        """
        reason = asked = ""
        for number in range(tries or self.settings.tries):
            if number:
                self.pause(number - 1, asked)
            try:
                with self._opened(method, url, headers or {}, body) as (response, final):
                    answer = Answer(response.status, response.headers, self._small(response, method), final)
            except ConnectionFailure as error:
                reason = brief(error)
                continue
            if answer.status not in _AGAIN:
                return answer
            reason = reason_of(answer)
            asked = answer.headers.get("Retry-After", "")
        raise UnansweredError(messages.REGISTRY_NO_ANSWER, host=self.host, repository=self._repository, reason=reason)

    @contextmanager
    def stream(
        self, url: str, headers: Mapping[str, str], method: Literal["GET", "HEAD"] = "GET"
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send one request; the caller reads the answer. Errors of urllib3 are raised unchanged."""
        with self._opened(method, url, headers, None) as (response, _):
            yield response

    def pause(self, number: int, asked: str = "") -> None:
        """Wait before the next try.

        Wait for the time that the registry ``asked`` for, or else twice as long as before the previous try. Both times
        are limited.
        """
        seconds = float(asked) if asked.isascii() and asked.isdigit() else self.settings.pause * 2**number
        if self._end is not None:
            seconds = min(seconds, max(0.0, self._end - time.monotonic()))
        self.settings.sleep(min(seconds, _MOST_PAUSE))
        self._patience()

    def failed(self, message: Message, /, **values: object) -> RegistryError:
        """Return an error that names the registry."""
        return RegistryError(message, host=self.host, repository=self._repository, **values)

    @contextmanager
    def _opened(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
        """Send a request, with a login if the registry requests a login. Follow redirects of GET and HEAD."""
        answered = False
        for _ in range(REDIRECTS + 2):
            own = _origin(url) == _origin(self._base)
            extra = {"Authorization": self._authorization} if own and self._authorization else {}
            response = self._pool.request(
                method,
                url,
                headers={**self._pool.headers, **headers, **extra},
                body=body,
                preload_content=False,
                redirect=False,
                timeout=self._patience(),
            )
            self._responses.add(response)
            try:
                # check the time first: if dib ended the connection, the result may look like an answer
                self._patience()
                if response.status == 401 and own and not answered and self._logs_in:
                    answered = True
                    self._log_in(response.headers.get("WWW-Authenticate", ""))
                    continue
                if response.status in (401, 403) and self._logs_in:
                    raise self._refused(
                        reason_of(Answer(response.status, response.headers, self._small(response, method), url))
                    )
                if response.status in _MOVED and method in ("GET", "HEAD"):
                    url = self.follow(url, response.headers.get("Location", ""))
                    continue
                yield response, url
                return
            finally:
                self._responses.discard(response)
                _finish(response)
        raise self.failed(messages.REGISTRY_REDIRECTS, redirects=REDIRECTS)

    def follow(self, url: str, location: str) -> str:
        """Return the target of a redirect from ``url``. Raise :class:`RegistryError` for a forbidden target."""
        target = follow(url, location)
        if target is None:
            raise self.failed(messages.REGISTRY_REDIRECT_LOCATION, location=location[:200])
        return target

    def upload_place(self, url: str, location: str) -> str:
        """Return the upload URL that the answer to ``url`` gives. The URL must be on the registry itself."""
        target = self.follow(url, location)
        if _origin(target) != _origin(self._base):
            raise self.failed(messages.REGISTRY_UPLOAD_HOST, location=location[:200])
        return target

    def _small(self, response: urllib3.BaseHTTPResponse, method: str) -> bytes:
        """Read a body to its end."""
        if method == "HEAD":
            return b""
        body = bytearray()
        end = time.monotonic() + _PATIENCE * self.settings.timeout
        try:
            for piece in self.pieces(response):
                body += piece
                self.received += len(piece)
                if response.status in _AGAIN and len(body) > _MOST_REASON:
                    break  # the error is ignored, because the request will be repeated
                if len(body) > SMALL:
                    raise self.failed(messages.REGISTRY_ANSWER_SIZE, small=SMALL)
                if time.monotonic() > end:
                    raise self.failed(messages.REGISTRY_SLOW)
            return bytes(body)
        finally:
            body.clear()  # free the body now: while an error is kept, this frame and its variables stay in memory

    def _log_in(self, challenge: str) -> None:
        """Answer a challenge.

        Find a login and fetch a token with it. If no login is found, fetch the token without a login.
        """
        kind, _, rest = challenge[:_LONGEST_CHALLENGE].partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        login = find(self.settings.logins, self.host, self._repository)
        if kind.lower() == "basic" and login and login.user:
            self._authorization = login.basic
        elif kind.lower() == "bearer":
            self._authorization = f"Bearer {self._token(parameters, login)}"
        else:
            raise self._refused("nobody is logged in" if not login else f"it asks for {kind[:40] or 'nothing known'}")

    def _token(self, parameters: Mapping[str, str], login: Login | None) -> str:
        realm = parameters.get("realm", "")
        asked = {"scope": parameters.get("scope") or f"repository:{self._repository}:{self._actions}"}
        if parameters.get("service"):
            asked["service"] = parameters["service"]
        if follow(self._base, realm) != realm:
            raise self.failed(messages.REGISTRY_TOKEN_REALM, realm=realm[:200])
        headers = dict(self._pool.headers)
        if login and not login.user:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": login.secret, "client_id": "dib"}
            answer = self._ask(
                "POST", realm, {**headers, "Content-Type": "application/x-www-form-urlencoded"}, urlencode(form)
            )
        else:
            headers |= {"Authorization": login.basic} if login else {}
            joined = "&" if urlsplit(realm).query else "?"
            answer = self._ask("GET", f"{realm}{joined}{urlencode(asked)}", headers, None)
        if answer.status != 200:
            raise self._refused(reason_of(answer))
        token = _token_in(answer.body)
        if token is None:
            raise self.failed(messages.REGISTRY_TOKEN)
        return token

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: str | None) -> Answer:
        """Send a request to the token server. Follow no redirect."""
        response = self._pool.request(
            *(method, url),
            headers=headers,
            body=body,
            preload_content=False,
            redirect=False,
            timeout=self._patience(),
        )
        try:
            return Answer(response.status, response.headers, self._small(response, method), url)
        finally:
            _finish(response)

    def _refused(self, reason: str) -> RegistryError:
        return self.failed(messages.REGISTRY_ACCESS, reason=reason)


def reason_of(answer: Answer) -> str:
    """Return the reason that a registry gives, in one line."""
    try:
        errors = document.get_list(json.loads(answer.body[:_MOST_TOLD]), "errors")
    except (ValueError, RecursionError):
        errors = []
    first = errors[0] if errors else None
    told = [document.get_text(first, key) for key in ("code", "message")]
    text = ": ".join(" ".join(part.split())[:200] for part in told if part)
    return f"status {answer.status}" + (f", {text}" if text else "")


def brief(error: Exception) -> str:
    """Return a connection's error in one line, without names of Python objects."""
    text = re.sub(r"<[^<>]* object at 0x[0-9a-f]+>:? ?|^\w+\(host=[^)]*\): ?", "", str(error))
    return " ".join(text.split())[:200] or type(error).__name__


def _origin(url: str) -> tuple[str | None, str | None, int | None]:
    """Return the scheme, host and port, parsed in the same way as for a connection.

    All three are None for an invalid URL.
    """
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return None, None, None
    return parts.scheme, parts.host, parts.port or {"http": 80, "https": 443}.get(parts.scheme or "")


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """Reuse a connection if the body of the answer was read to its end.

    Otherwise, close the connection, because the remaining body may never end.
    """
    if response.length_remaining == 0:
        response.drain_conn()
        response.release_conn()
    else:
        response.close()


def _token_in(body: bytes) -> str | None:
    try:
        value = json.loads(body[:_MOST_TOLD])
    except (ValueError, RecursionError):
        return None
    token = document.get_text(value, "token") or document.get_text(value, "access_token")
    return token if token and _VISIBLE.fullmatch(token) else None

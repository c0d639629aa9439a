"""Answers of a mirror: documents, errors, and answers that are passed on from upstream."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeVar

from aiohttp import web

from dibundle.sharing.mirror.door import DATA
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Threads

_T = TypeVar("_T")
_PASSED_ON: Final = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Retry-After")
_API: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CHALLENGE: Final = "WWW-Authenticate"
_LONGEST: Final = 8 << 10  # maximum bytes of a header that is passed on
_MEDIA_TYPE: Final = re.compile(r"(application/[\w.+-]{1,255}|text/plain)(; ?charset=[\w-]{1,32})?", re.ASCII)
_TAKING: Final = 30.0  # maximum seconds for a client to receive a document


async def aside(
    pool: Threads,
    function: Callable[..., _T],
    *arguments: object,
    release: Callable[[_T], object] | None = None,
    is_begun: bool = False,
) -> _T:
    """Run a blocking function in a thread of ``pool``.

    If the client leaves before the function returns, ``release`` gets the result. Raises :class:`BusyError` if too many
    tasks wait for the pool, but not if the answer has begun (``is_begun``).
    """
    work = [partial(function, *arguments)]

    def run() -> _T:
        return work.pop()()

    running = pool.resume(run) if is_begun else pool.submit(run)

    def left(done: Future[_T]) -> None:
        if release and not done.cancelled() and not done.exception():
            release(done.result())

    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        # drop the references: the pool keeps tasks that have not begun, and a request may take 40 kB of memory
        work.clear()
        running.add_done_callback(left)
        raise
    finally:
        # without this line, an error in the result would keep this frame and all its objects until a garbage collection
        del running


def blob_headers(name: str) -> dict[str, str]:
    """Return the headers of a blob. ``name`` is the blob's digest as text."""
    return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": name, **_API}


def document_answer(request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """Return a document. For HEAD, return only the document's headers."""
    headers = headers | _API | {"Content-Type": content_type(headers.get("Content-Type", ""))}
    if request.method == "HEAD":
        return web.Response(status=status, headers={**headers, "Content-Length": str(len(body))})
    return web.Response(status=status, body=body, headers=headers)


def json_answer(status: int, value: object) -> web.Response:
    """Return JSON with a registry's headers."""
    return web.json_response(value, status=status, headers=_API)


def error_answer(status: int, code: str, message: str) -> web.Response:
    """Return an error in the format of registries."""
    return json_answer(status, {"errors": [{"code": code, "message": message}]})


def content_type(given: str) -> str:
    """Return a media type for an answer.

    An unknown type is replaced by application/octet-stream, which browsers neither show nor run.
    """
    return given if _MEDIA_TYPE.fullmatch(given) else "application/octet-stream"


async def protect(_: web.Request, response: web.StreamResponse) -> None:
    """Make browsers treat every answer as data."""
    response.headers.update(DATA)


def passed(request: web.Request, place: UpstreamPlace, found: Document) -> web.Response:
    """Return upstream's answer, with links that lead to the mirror's paths."""
    names = (*_PASSED_ON, _CHALLENGE) if found.status == 401 else _PASSED_ON
    given = {key: value for key in (*names, "Link") if 0 < len(value := found.headers.get(key, "")) <= _LONGEST}
    link, own = given.pop("Link", ""), f"/v2/{place.repository}/"
    headers = given | {"Content-Type": content_type(given.get("Content-Type", ""))}
    if own in link:
        headers["Link"] = link.replace(own, f"/v2/{place.prefix}{place.repository}/", 1)
    if request.method == "HEAD":
        shown = {} if found.length is None else {"Content-Length": str(found.length)}
        return web.Response(status=found.status, headers=headers | shown)
    return web.Response(status=found.status, body=found.body, headers=headers)


async def send(request: web.Request, answer: web.Response) -> None:
    """Send a document. If the client does not receive the document in time, end the connection."""
    try:
        async with asyncio.timeout(_TAKING):
            await answer.prepare(request)
            await answer.write_eof()
    except OSError:  # includes TimeoutError
        hang_up(request)


def hang_up(request: web.Request) -> None:
    """End the connection of a request immediately, even if a part of the answer is not sent yet."""
    if request.transport is not None:
        request.transport.abort()

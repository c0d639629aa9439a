"""Answers of a mirror: documents, errors, and answers of upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final, TypeVar

from aiohttp import web

from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Document

_T = TypeVar("_T")
_PASSED_ON: Final = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Retry-After")
_API: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CHALLENGE: Final = "WWW-Authenticate"
_TAKING: Final = 30.0  # maximum seconds for a client to receive a document


async def aside(
    pool: Executor | None,
    function: Callable[..., _T],
    *arguments: object,
    release: Callable[[_T], object] | None = None,
) -> _T:
    """Run a blocking function in a thread of ``pool`` (None: the loop's own pool).

    If the client has left meanwhile, ``release`` gets the result.
    """
    if pool is None:
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    running = pool.submit(function, *arguments)

    def left(done: Future[_T]) -> None:
        if release and not done.cancelled() and not done.exception():
            release(done.result())

    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        running.add_done_callback(left)
        raise


def blob_headers(name: str) -> dict[str, str]:
    """Return the headers of a blob; ``name`` is its digest as text."""
    return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": name, **_API}


def document_answer(request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """Return a document; for HEAD, only its headers."""
    headers = headers | _API
    if request.method == "HEAD":
        return web.Response(status=status, headers={**headers, "Content-Length": str(len(body))})
    return web.Response(status=status, body=body, headers=headers)


def json_answer(status: int, value: object) -> web.Response:
    """Return JSON with a registry's headers."""
    return web.json_response(value, status=status, headers=_API)


def error_answer(status: int, code: str, message: str) -> web.Response:
    """Return an error in the format of registries."""
    return json_answer(status, {"errors": [{"code": code, "message": message}]})


def passed(request: web.Request, place: UpstreamPlace, found: Document) -> web.Response:
    """Return upstream's answer, with links changed to the mirror's paths."""
    headers = {key: found.headers[key] for key in _PASSED_ON if key in found.headers}
    if found.status == 401 and _CHALLENGE in found.headers:
        headers[_CHALLENGE] = found.headers[_CHALLENGE]
    link = found.headers.get("Link", "")
    own = f"/v2/{place.repository}/"
    if own in link:
        headers["Link"] = link.replace(own, f"/v2/{place.prefix}{place.repository}/", 1)
    if request.method == "HEAD":
        shown = {} if found.length is None else {"Content-Length": str(found.length)}
        return web.Response(status=found.status, headers=headers | shown)
    return web.Response(status=found.status, body=found.body, headers=headers)


async def send(request: web.Request, answer: web.Response) -> None:
    """Send a document; if the client does not receive it in time, end the connection."""
    try:
        async with asyncio.timeout(_TAKING):
            await answer.prepare(request)
            await answer.write_eof()
    except OSError:  # includes TimeoutError
        hang_up(request)


def hang_up(request: web.Request) -> None:
    """End the connection of a request at once, even if a part of the answer is not sent yet."""
    if request.transport is not None:
        request.transport.abort()

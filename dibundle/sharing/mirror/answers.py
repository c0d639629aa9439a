"""What a mirror answers: documents, errors, and what upstream said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import web

from dibundle.errors import DibError
from dibundle.images import document
from dibundle.images.document import get, get_text
from dibundle.images.writers import OCI_INDEX, OCI_MANIFEST
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Document

_T = TypeVar("_T")
_PASSED_ON: Final = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Retry-After")
_CHALLENGE: Final = "WWW-Authenticate"


async def aside(function: Callable[..., _T], *arguments: object) -> _T:
    """Run what waits in a thread."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def media_type_of(body: bytes | None) -> str | None:
    """Return the media type of a manifest; None for anything else. Those of OCI need not say it."""
    try:
        value = document.parse(body or b"", "manifest")
    except DibError:
        return None
    if isinstance(get(value, "manifests"), list):
        return get_text(value, "mediaType") or OCI_INDEX
    return get_text(value, "mediaType") or (OCI_MANIFEST if isinstance(get(value, "layers"), list) else None)


def blob_headers(digest: bytes) -> dict[str, str]:
    """Return the headers of a blob, whose digest they name."""
    return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": f"sha256:{digest.hex()}"}


def document_answer(request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """Return a document, or to HEAD its headers."""
    if request.method == "HEAD":
        return web.Response(status=status, headers={**headers, "Content-Length": str(len(body))})
    return web.Response(status=status, body=body, headers=headers)


def json_answer(status: int, value: object) -> web.Response:
    """Return JSON as registries do."""
    headers = {"Docker-Distribution-Api-Version": "registry/2.0"}
    return web.json_response(value, status=status, headers=headers)


def error_answer(status: int, code: str, message: str) -> web.Response:
    """Return an error as registries do."""
    return json_answer(status, {"errors": [{"code": code, "message": message}]})


def passed(request: web.Request, place: UpstreamPlace, found: Document) -> web.Response:
    """Return upstream's answer."""
    headers = {key: found.headers[key] for key in _PASSED_ON if key in found.headers}
    if found.status == 401 and _CHALLENGE in found.headers:
        headers[_CHALLENGE] = found.headers[_CHALLENGE]
    link = found.headers.get("Link", "")
    own = f"/v2/{place.repository}/"
    if own in link:
        headers["Link"] = link.replace(own, f"/v2/{place.prefix}{place.repository}/", 1)
    length = found.headers.get("Content-Length")
    if request.method == "HEAD" and length:
        headers["Content-Length"] = length
    return web.Response(status=found.status, body=None if request.method == "HEAD" else found.body, headers=headers)

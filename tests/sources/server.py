"""A small registry in this process. Tests can make the registry fail or give wrong answers. with serve() as registry:
registry.hook = lambda request: request.fail(500) if request.path.endswith("/blobs/x") else False
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(.+)/(manifests|blobs|referrers|tags)/(.*)")


@dataclass
class Registry:
    """A registry's stored content, received requests, and faults.

    If ``hook`` returns true, the hook has already answered the request.
    """

    host: str = ""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    hook: Callable[[Request], object] = lambda request: False
    referrers_api: bool = False
    bare_referrers: bool = False
    deletes: bool = True
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def log(self, method: str, part: str) -> list[str]:
        return [path for verb, path, _ in self.asked if verb == method and part in path]


class Request(BaseHTTPRequestHandler):
    """One request. Hooks may call ``answer``, ``fail``, ``cut`` and ``endless``."""

    protocol_version = "HTTP/1.1"
    registry: Registry

    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> bool:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def fail(self, status: int, **headers: str) -> bool:
        body = json.dumps({"errors": [{"code": "BROKEN", "message": "not today"}]}).encode()
        return self.answer(status, body, {key.replace("_", "-"): value for key, value in headers.items()})

    def cut(self, body: bytes, after: int, status: int = 200, headers: dict[str, str] | None = None) -> bool:
        """Send the beginning of a body and drop the connection."""
        self.answer(status, body[:after], headers, length=len(body))
        self.wfile.flush()
        self.close_connection = True
        return True

    def endless(self, piece: bytes, most: int = 1 << 30) -> bool:
        """Send an endless body, until the client closes the connection."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(most // len(piece)):
                self.wfile.write(piece)
        return True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.registry.asked.append((self.command, self.path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if not self.registry.hook(self):
                self._well()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _well(self) -> bool:
        """Answer as an honest registry does."""
        found = _PATH.fullmatch(urlsplit(self.path).path)
        if not found:
            return self.fail(404)
        repository, kind, rest = found.groups()
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if kind == "tags":
            return self._tags(repository, int(query.get("n", "1000")), query.get("last", ""))
        if self.command == "DELETE":
            return self._delete(repository, rest)
        if kind == "manifests":
            return self._put_manifest(repository, rest) if self.command == "PUT" else self._manifest(repository, rest)
        if kind == "referrers":
            return self._referrers(repository, rest) if self.registry.referrers_api else self.fail(404)
        if rest.startswith("uploads/"):
            return self._upload(repository, rest, query)
        return self._blob(repository, rest)

    def _tags(self, repository: str, most: int, last: str) -> bool:
        found = sorted(name for where, name in self.registry.manifests if where == repository and ":" not in name)
        if not found:
            return self.fail(404)
        page = [name for name in found if name > last][:most]
        body = json.dumps({"name": repository, "tags": page or None}).encode()
        more = bool(page) and page[-1] != found[-1]
        link = {"Link": f'</v2/{repository}/tags/list?n={most}&last={page[-1]}>; rel="next"'} if more else {}
        return self.answer(200, body, {"Content-Type": "application/json", **link})

    def _delete(self, repository: str, wanted: str) -> bool:
        if not self.registry.deletes:
            return self.fail(405)
        if (repository, wanted) not in self.registry.manifests:
            return self.fail(404)
        body = self.registry.manifests[repository, wanted][1]
        for key in [key for key, (_, other) in self.registry.manifests.items() if key[0] == repository]:
            if self.registry.manifests[key][1] == body:
                del self.registry.manifests[key]
        return self.answer(202)

    def _manifest(self, repository: str, wanted: str) -> bool:
        if (repository, wanted) not in self.registry.manifests:
            return self.fail(404)
        kind, body = self.registry.manifests[repository, wanted]
        return self.answer(200, body, {"Content-Type": kind, "Docker-Content-Digest": digest(body)})

    def _put_manifest(self, repository: str, wanted: str) -> bool:
        kind = self.headers["Content-Type"]
        for name in (wanted, digest(self.body)):
            self.registry.manifests[repository, name] = (kind, self.body)
        subject = json.loads(self.body).get("subject")
        told = {"OCI-Subject": subject["digest"]} if subject and self.registry.referrers_api else {}
        return self.answer(201, b"", told)

    def _referrers(self, repository: str, subject: str) -> bool:
        found = {}
        for (where, _), (kind, body) in self.registry.manifests.items():
            value = json.loads(body)
            if where == repository and value.get("subject", {}).get("digest") == subject:
                found[digest(body)] = {
                    "mediaType": kind,
                    "digest": digest(body),
                    "size": len(body),
                    "artifactType": value.get("artifactType"),
                    "annotations": value.get("annotations"),
                }
                if self.registry.bare_referrers:  # the registry of go-containerregistry does the same
                    found[digest(body)] |= {"artifactType": value["config"]["mediaType"], "annotations": None}
        body = json.dumps({"schemaVersion": 2, "manifests": list(found.values())}).encode()
        return self.answer(200, body, {"Content-Type": "application/vnd.oci.image.index.v1+json"})

    def _blob(self, repository: str, wanted: str) -> bool:
        data = self.registry.blobs.get((repository, wanted))
        if data is None:
            return self.fail(404)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            return self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
        return self.answer(200, data)

    def _upload(self, repository: str, rest: str, query: dict[str, str]) -> bool:
        name = rest.removeprefix("uploads/")
        place = {"Location": f"/v2/{repository}/blobs/uploads/{name or len(self.registry.uploads) + 1}"}
        if self.command == "POST" and (query.get("from"), query.get("mount")) in self.registry.blobs:
            data = self.registry.blobs[query["from"], query["mount"]]
            self.registry.blobs[repository, query["mount"]] = data
            return self.answer(201)
        if self.command == "POST":
            self.registry.uploads[str(len(self.registry.uploads) + 1)] = b""
            return self.answer(202, b"", place)
        data = self.registry.uploads.get(name, b"") + self.body
        self.registry.uploads[name] = data
        if self.command == "PATCH":
            return self.answer(202, b"", {**place, "Range": f"0-{len(data) - 1}"})
        if digest(data) != query["digest"]:
            return self.fail(400)
        self.registry.blobs[repository, digest(data)] = data
        return self.answer(201)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing, because clients close connections on purpose in many tests."""


@contextlib.contextmanager
def serve() -> Iterator[Registry]:
    """Serve a new registry on the loopback interface."""
    registry = Registry()
    handler = type("Handler", (Request,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stall(seconds: float) -> bool:
    time.sleep(seconds)
    return False

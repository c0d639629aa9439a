"""A repository of a registry, with its tags, referrers, and verified manifests and blobs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from types import TracebackType
from typing import Final, Literal, Never, Self, TypeVar
from urllib.parse import urlencode

from dibundle.errors import Message, RegistryError
from dibundle.files import digest
from dibundle.files.readat import MemoryBytes, ReadAt
from dibundle.images import document
from dibundle.images.writers import OCI_INDEX, OCI_MANIFEST, to_json
from dibundle.sources import messages
from dibundle.sources.registry.descriptors import MAX_REFERRERS, entries, fallback_tag
from dibundle.sources.registry.places import next_page
from dibundle.sources.registry.reference import TAG, Reference
from dibundle.sources.registry.settings import RegistrySettings
from dibundle.sources.registry.transport import (
    Answer,
    ConnectionFailure,
    Transport,
    UnansweredError,
    brief,
    reason_of,
)

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS: Final = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
_T = TypeVar("_T")
CHUNK: Final = 8 << 20  # bytes of an upload that are sent in one request
_PROGRESS: Final = 1 << 20  # after this many received bytes, the count of broken connections starts again at 0
_PAGES: Final = 16  # maximum pages of a list of referrers or tags
_TAGS_IN_PAGE: Final = 1000  # number of tags to request; a registry may return fewer
_MOST_LISTED: Final = 16 << 20  # maximum bytes of memory for all referrers together


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest or an index: its bytes, their SHA-256, the media type, and the parsed JSON."""

    body: bytes
    digest: bytes
    media_type: str
    value: object

    @property
    def is_index(self) -> bool:
        """Whether this is an index, which lists manifests instead of layers."""
        return isinstance(document.get(self.value, "manifests"), list)

    @property
    def descriptor(self) -> dict[str, object]:
        """The descriptor that refers to this manifest."""
        return {"mediaType": self.media_type, "digest": digest.text(self.digest), "size": len(self.body)}


class Repository:
    """A repository; as a context manager, it closes its connections. It raises only :class:`RegistryError`."""

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        *,
        write: bool = False,
        authorization: str | None = None,
    ) -> None:
        self.reference = reference
        self._transport = Transport(reference, settings, write=write, authorization=authorization)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    @property
    def received(self) -> int:
        """The total size of the documents in the registry's answers so far, in bytes."""
        return self._transport.received

    def manifest(self, wanted: str) -> RemoteManifest:
        """Return the manifest of a tag or digest. Raise ``RegistryError`` if it is missing, or its digest is wrong."""
        found = self.find(wanted)
        if found is None:
            raise self._transport.failed(messages.REGISTRY_NOT_FOUND, wanted=wanted)
        return found

    def find(self, wanted: str) -> RemoteManifest | None:
        """Return the manifest of a tag or digest, or None if the registry itself reports it as missing."""
        answer = self._manifest(wanted)
        return self._parsed(answer, digest.sha256(answer.body), wanted) if answer else None

    def _manifest(self, wanted: str) -> Answer | None:
        """Return an unparsed manifest with a checked digest, or None if the registry reports it as missing."""
        url = self._transport.url(f"manifests/{wanted}")
        answer = self._transport.request("GET", url, headers={"Accept": ", ".join(MANIFESTS)})
        if answer.status == 404 and answer.url == url:  # content behind a redirect may be temporarily missing
            return None
        self._expect(answer, 200)
        found = digest.text(digest.sha256(answer.body))
        promised = wanted if ":" in wanted else answer.headers.get("Docker-Content-Digest", found)
        if promised.startswith("sha256:") and promised != found:
            raise self._transport.failed(messages.REGISTRY_MANIFEST_DIGEST, found=found, promised=promised)
        return answer

    def blob(self, wanted: bytes, size: int) -> Iterator[bytes]:
        """Yield a blob of ``size`` bytes. If a connection breaks, continue at the next byte.

        The digest is verified at the end of the iteration, not before.
        """
        url = self._transport.url(f"blobs/{digest.text(wanted)}")
        whole = hashlib.sha256()
        at = failures = dropped = 0

        def drop(count: int) -> None:
            nonlocal dropped
            dropped += count
            # limit dropped bytes: a registry that ignores ranges could send the whole blob again for each new megabyte
            if dropped > size:
                raise self._transport.failed(messages.REGISTRY_RANGE, at=at)

        while at < size or not size:
            begun, reason = at, "the connection ended"
            try:
                for piece in self._from(url, at, drop):
                    at += len(piece)
                    if at > size:
                        raise self._transport.failed(
                            messages.REGISTRY_BLOB_TOO_LONG, size=size, wanted=digest.text(wanted)
                        )
                    whole.update(piece)
                    yield piece
            except ConnectionFailure as error:
                reason = brief(error)
            if at == size:
                break
            failures = 1 if at - begun >= _PROGRESS else failures + 1
            if failures >= self._transport.settings.tries:
                raise self._transport.failed(messages.REGISTRY_INTERRUPTED, at=at, size=size, reason=reason)
            self._transport.pause(failures - 1)
        if whole.digest() != wanted:
            raise self._transport.failed(
                messages.REGISTRY_BLOB_DIGEST, hexdigest=whole.hexdigest(), wanted=digest.text(wanted)
            )

    def small_blob(self, wanted: bytes, size: int) -> bytes:
        """Return the content of a blob that is a document."""
        if size > document.SIZE_LIMIT:
            raise self._transport.failed(messages.REGISTRY_DOCUMENT_SIZE, size=size, size_limit=document.SIZE_LIMIT)
        return b"".join(self.blob(wanted, size))

    def has_blob(self, wanted: bytes) -> bool:
        """Return whether the repository has a blob."""
        answer = self._transport.request("HEAD", self._transport.url(f"blobs/{digest.text(wanted)}"))
        return answer.status == 200

    def upload(self, wanted: bytes, content: bytes | ReadAt, source: str | None = None) -> bool:
        """Upload a missing blob, or mount it from ``source`` (another repository of the registry).

        Returns whether the blob's bytes were sent.
        """
        if self.has_blob(wanted):
            return False
        source = None if source == self.reference.repository else source
        if source and self._begin({"mount": digest.text(wanted), "from": source}) is None:
            return False
        data = MemoryBytes(content) if isinstance(content, bytes) else content
        failures = 0
        while True:
            try:
                self._send(wanted, data)
            except _BrokenUploadError as error:
                failures += 1
                if failures >= self._transport.settings.tries:
                    raise self._transport.failed(messages.REGISTRY_UPLOAD_REFUSED, error=error) from error
                self._transport.pause(failures - 1)
                if self.has_blob(wanted):
                    return True
            else:
                return True

    def put(self, wanted: str, body: bytes, media_type: str) -> Answer:
        """Write a manifest under a tag or its digest."""
        answer = self._transport.request(
            "PUT", self._transport.url(f"manifests/{wanted}"), headers={"Content-Type": media_type}, body=body
        )
        self._expect(answer, 201)
        return answer

    def delete(self, manifest: bytes) -> None:
        """Delete the manifest with this digest, if it still exists, and the tags that point to it.

        Raises :class:`RegistryError` if the registry does not allow deletion.
        """
        answer = self._transport.request("DELETE", self._transport.url(f"manifests/{digest.text(manifest)}"))
        if answer.status in (400, 405):  # in the distribution API, both codes mean that deletion is disabled
            raise self._transport.failed(messages.REGISTRY_DELETE_DISABLED, said=reason_of(answer))
        if answer.status != 404:
            self._expect(answer, 202)

    def is_gone(self, kind: Literal["manifests", "blobs"], wanted: bytes) -> bool:
        """Return whether the registry reports that a manifest or blob does not exist. Other failures raise an error."""
        url = self._transport.url(f"{kind}/{digest.text(wanted)}")
        answer = self._transport.request("HEAD", url, headers={"Accept": ", ".join(MANIFESTS)})
        # content behind a redirect may be temporarily missing
        is_absent = answer.status == 404 and answer.url == url
        if not is_absent:
            self._expect(answer, 200)
        return is_absent

    def tags(self, most: int) -> tuple[list[str], bool]:
        """Return at most ``most`` tags, sorted. The second value is true if the repository has no other tags."""
        found: set[str] = set()
        for number, answer in enumerate(self._pages(f"tags/list?n={_TAGS_IN_PAGE}"), 1):
            if answer.status == 404:
                raise self._transport.failed(messages.REGISTRY_NO_REPOSITORY)
            self._expect(answer, 200)
            listed = document.get_list(self._json(answer), "tags")
            found.update(tag for tag in listed if isinstance(tag, str) and TAG.fullmatch(tag))
            following, is_clear = next_page(answer.headers.get("Link", ""))
            if len(found) > most or (number == _PAGES and following) or not is_clear:
                return sorted(found)[:most], False
        return sorted(found), True

    def put_referrer(self, manifest: RemoteManifest) -> None:
        """Add a manifest to the referrers of its subject, if the registry has no referrers API."""
        subject = document.get_text(document.get(manifest.value, "subject"), "digest") or ""
        described = {**manifest.descriptor, "artifactType": document.get_text(manifest.value, "artifactType")}
        described["annotations"] = document.get(manifest.value, "annotations") or {}
        self._change_tagged(subject, frozenset(), (described,))

    def remove_referrers(self, subject: bytes, manifests: Collection[bytes], *, dry_run: bool = False) -> bool:
        """Remove manifests from an image's list of referrers, if the registry stores this list under a tag.

        Returns whether the list had any of these manifests. An empty list is kept, as the distribution API requires.
        """
        own = digest.text(subject)
        without = frozenset(map(digest.text, manifests))
        if dry_run:
            listed = document.get_list(self._tagged(own), "manifests")
            return any(document.get_text(item, "digest") in without for item in listed)
        return self._change_tagged(own, without, ())

    def _change_tagged(self, subject: str, without: Collection[str], more: Sequence[dict[str, object]]) -> bool:
        """Change entries in the list under the tag that replaces the API. Return whether the list was written."""
        added = {item["digest"] for item in more}
        # check that the list has our entry, because a concurrent writer may overwrite the list
        for written in range(4):
            found = self.find(fallback_tag(subject))
            there = found.value if found and isinstance(found.value, dict) else {}
            listed = document.get_list(there, "manifests")
            digests = {document.get_text(item, "digest") for item in listed}
            if added <= digests and digests.isdisjoint(without):
                return written > 0
            if written == 3:
                break
            dropped = {*added, *without}
            kept = [item for item in listed if document.get_text(item, "digest") not in dropped]
            index = {**there, "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*kept, *more]}
            self.put(fallback_tag(subject), to_json(index), OCI_INDEX)
        raise self._transport.failed(messages.REGISTRY_REFERRERS_LOST)

    def referrers(self, subject: bytes, artifact_type: str, *, received: int) -> tuple[list[object], bool]:
        """Return the descriptors of a manifest's referrers. If the registry can filter, return only ``artifact_type``.

        The second value is true if the returned list is complete. When :attr:`received` exceeds the argument
        ``received``, no further page is requested.
        """
        query = urlencode({"artifactType": artifact_type})
        found: list[object] = []
        left = _MOST_LISTED
        for number, answer in enumerate(self._pages(f"referrers/{digest.text(subject)}?{query}"), 1):
            has_api = answer.status == 200
            if number > 1 and not has_api:
                return found, False
            listed = self._read(answer, entries) if has_api else self._tagged_entries(digest.text(subject))
            following, is_clear = next_page(answer.headers.get("Link", "") if has_api else "")
            del answer  # free the memory before the next page is requested
            for item, size in listed:
                left -= size
                if left < 0 or len(found) == MAX_REFERRERS:
                    return found, False
                found.append(item)
            if following is None:
                return found, is_clear
            if len(found) == MAX_REFERRERS or number == _PAGES or self.received > received:
                return found, False
        return found, True

    def _pages(self, path: str) -> Iterator[Answer]:
        """Yield the pages of a list, up to the limit of pages."""
        url: str | None = self._transport.url(path)
        for _ in range(_PAGES):
            if url is None:
                return
            answer = self._transport.request("GET", url)
            following, _ = next_page(answer.headers.get("Link", ""))
            yield answer
            del answer
            url = self._transport.follow(url, following) if following else None

    def _tagged(self, subject: str) -> object:
        """Return the index under the tag that replaces the referrers API. If there is no such tag, return None."""
        found = self.find(fallback_tag(subject))
        return found.value if found else None

    def _tagged_entries(self, subject: str) -> list[tuple[object, int]]:
        """Return the entries of the index from :meth:`_tagged`, in the form of :func:`entries`."""
        wanted = fallback_tag(subject)
        answer = self._manifest(wanted)
        if answer is None:
            return []

        def use(value: object) -> list[tuple[object, int]]:
            self._media_type(answer, value, wanted)
            return entries(value)

        return self._read(answer, use)

    def _from(self, url: str, at: int, drop: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the bytes of a blob from ``at`` on, until the blob or the connection ends.

        If the registry ignores the range, ``drop`` is called with the number of bytes that precede position ``at``.
        """
        with self._transport.stream(url, {"Range": f"bytes={at}-"} if at else {}) as response:
            skip = at
            if response.status == 206 and at:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                    raise self._transport.failed(messages.REGISTRY_RANGE, at=at)
                skip = 0
            elif response.status >= 500 or response.status == 429:
                raise ConnectionFailure(f"status {response.status}")
            elif response.status != 200:
                raise self._transport.failed(messages.REGISTRY_BLOB_MISSING, status=response.status)
            for piece in self._transport.pieces(response):
                rest = piece[skip:]
                skip -= len(piece) - len(rest)
                drop(len(piece) - len(rest))
                if rest:
                    yield rest

    def _begin(self, query: dict[str, str] | None = None) -> str | None:
        """Begin an upload and return its URL. Return None if the blob was mounted from another repository."""
        suffix = f"?{urlencode(query)}" if query else ""
        answer = self._transport.request("POST", self._transport.url(f"blobs/uploads/{suffix}"), body=b"")
        if answer.status == 201 and query:
            return None
        self._expect(answer, 202)
        return self._location(answer)

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise self._transport.failed(messages.REGISTRY_UPLOAD_LOCATION)
        return self._transport.upload_place(answer.url, location)

    def _send(self, wanted: bytes, data: ReadAt) -> None:
        """Upload a blob in one request or, if the blob is large, in chunks."""
        place = self._begin()
        assert place is not None
        body = b""
        for offset in range(0, data.size, CHUNK):
            body = data.read_at(offset, min(CHUNK, data.size - offset))
            if data.size > CHUNK:
                last = offset + len(body) - 1
                answer = self._try("PATCH", place, body, {"Content-Range": f"{offset}-{last}"})
                self._expect(answer, 202)
                place, body = self._location(answer), b""
        joined = "&" if "?" in place else "?"
        answer = self._try("PUT", f"{place}{joined}{urlencode({'digest': digest.text(wanted)})}", body, {})
        self._expect(answer, 201)

    def _try(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a request only once, because registries treat a second copy of a chunk in different ways."""
        try:
            answer = self._transport.request(
                method, url, body=body, headers={"Content-Type": "application/octet-stream", **headers}, tries=1
            )
        except UnansweredError as error:
            raise _BrokenUploadError(error.message) from error
        if answer.status in (404, 416):
            raise _BrokenUploadError(reason_of(answer))
        return answer

    def _parsed(self, answer: Answer, found: bytes, wanted: str) -> RemoteManifest:
        value = self._json(answer)
        return RemoteManifest(answer.body, found, self._media_type(answer, value, wanted), value)

    def _media_type(self, answer: Answer, value: object, wanted: str) -> str:
        """Return the media type. Raise :class:`RegistryError` if the document is neither a manifest nor an index."""
        told = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        media_type = document.get_text(value, "mediaType") or told
        if media_type not in MANIFESTS or (told in MANIFESTS and told != media_type):
            raise self._transport.failed(
                messages.REGISTRY_NEITHER_IMAGE_NOR_BUNDLE, wanted=wanted, media_type=media_type[:100]
            )
        return media_type

    def _json(self, answer: Answer) -> object:
        return self._read(answer, lambda value: value)

    def _read(self, answer: Answer, use: Callable[[object], _T]) -> _T:
        """Parse a document, call ``use`` with it, and return the result."""
        if document.has_many_values(answer.body):
            raise self._transport.failed(messages.REGISTRY_TOO_MANY_VALUES, most=document.MAX_VALUES)
        try:
            with _PARSING:
                return use(json.loads(answer.body, parse_constant=_refuse, parse_float=_finite))
        except (ValueError, RecursionError) as error:
            raise self._transport.failed(messages.REGISTRY_NOT_JSON) from error

    def _expect(self, answer: Answer, status: int) -> None:
        if answer.status != status:
            raise self._transport.failed(messages.REGISTRY_REFUSES, said=reason_of(answer))

    def failed(self, message: Message, /, **values: object) -> RegistryError:
        """Return an error that names the repository."""
        return self._transport.failed(message, **values)


# at most two documents at a time, because parsing 4 MiB may take 100 MB of memory
_PARSING: Final = threading.Semaphore(2)


def _refuse(text: str) -> Never:
    raise ValueError(text)  # refuse NaN and Infinity, which JSON does not have


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)  # refuse a number that would be written as Infinity
    return value


class _BrokenUploadError(Exception):
    """The error for an upload that may succeed if it is started again."""

"""All bundles of a repository that have a tag, or refer to an image (which may be missing)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple

from dibundle.errors import RegistryError
from dibundle.files import wording
from dibundle.files.digest import text
from dibundle.files.progress import Progress
from dibundle.format import labels
from dibundle.images import document
from dibundle.images.document import get, get_text, sha256_of
from dibundle.sources.registry import artifacts
from dibundle.sources.registry.client import RemoteManifest, Repository
from dibundle.sources.registry.descriptors import subject_of
from dibundle.sources.registry.images import RemoteBlob, digests_in
from dibundle.sources.registry.listing import UNREADABLE, Listing

MAX_TAGS: Final = 4096
MAX_IMAGES: Final = 4096  # maximum number of images whose referrers are listed
MAX_BUNDLES: Final = 4096
MAX_ENTRIES: Final = 65_536  # maximum number of entries in all lists of referrers
MAX_LISTS: Final = 256 << 20  # maximum bytes of all lists and manifests
_MAX_TEXT: Final = 1000  # maximum characters of a text that are kept
_MAX_BASES: Final = 16
_CREATED: Final = "org.opencontainers.image.created"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
Missing = Literal["manifest", "bundle", "image"]
"""The missing part, which is a manifest that is still listed, the bundle itself, or the image to which it refers."""


class FoundBundle(NamedTuple):
    """A bundle in a repository, with its manifest's digest and fields. ``blob`` is None if the manifest is missing.

    ``subject`` is the digest of the image that the manifest refers to. ``lists`` are the images whose lists of
    referrers contain the bundle.
    """

    digest: bytes
    blob: RemoteBlob | None = None
    subject: bytes | None = None
    needs: str = ""
    makes: str = ""
    bases: tuple[bytes, ...] = ()
    makes_size: int | None = None
    created: str | None = None
    tags: tuple[str, ...] = ()
    lists: frozenset[bytes] = frozenset()
    missing: Missing | None = None

    def renamed(self, needs: str, makes: str, makes_size: int) -> FoundBundle:
        """Return this bundle with other names of images. Long names are cut as in :func:`describe`."""
        return self._replace(needs=needs[:_MAX_TEXT], makes=makes[:_MAX_TEXT], makes_size=makes_size)


class Catalog(NamedTuple):
    """The bundles of a repository, by digest, and whether this list is complete."""

    bundles: tuple[FoundBundle, ...]
    is_complete: bool


def describe(repository: Repository, manifest: RemoteManifest) -> FoundBundle | None:
    """Return the description of a bundle from its manifest, without checking the bundle.

    Return None if the manifest does not belong to a bundle.
    """
    blob = artifacts.bundle_of(repository, manifest)
    if blob is None:
        return None
    said = document.texts(get(manifest.value, "annotations"))
    size, created = said.get(labels.MAKES_SIZE, ""), said.get(_CREATED, "")
    return FoundBundle(
        digest=manifest.digest,
        blob=blob,
        subject=sha256_of(get_text(get(manifest.value, "subject"), "digest")),
        needs=said.get(labels.NEEDS, "")[:_MAX_TEXT],
        makes=said.get(labels.MAKES, "")[:_MAX_TEXT],
        bases=tuple(sorted(labels.digests(said.get(labels.NEEDS_MANIFESTS, "")[:_MAX_TEXT])))[:_MAX_BASES],
        makes_size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
        created=created if _TIME.fullmatch(created) else None,
    )


def search(repository: Repository, progress: Progress) -> Catalog:
    """Find the bundles of a repository, and which of their parts are missing.

    Add notes about everything that is skipped.

    The distribution API cannot list manifests without a tag. So bundles are found by their tags, and by lists of
    referrers. Lists are read for images with a tag, images whose list has a tag, and images that bundles need.
    """
    return _Search(repository, progress).run()


class _Search:
    """The results so far, and the images whose referrers are not listed yet."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository, self._progress = repository, progress
        self._found: dict[bytes, FoundBundle | None] = {}  # None for manifests that belong to no bundle
        self._tags: dict[bytes, list[str]] = {}
        self._lists: dict[bytes, set[bytes]] = {}
        self._entries = 0
        self._waiting: deque[bytes] = deque()
        self._asked: set[bytes] = set()
        self._gone: dict[bytes, bool] = {}
        self._unread: list[str] = []
        self._listing = Listing(repository, self._unread.append, most=MAX_LISTS)
        self._is_complete = True

    def run(self) -> Catalog:
        """Read every tag and the referrers of every image. Then find which parts of the bundles are missing."""
        self._progress.phase("listing", 0)
        tags, self._is_complete = self._repository.tags(MAX_TAGS)
        for tag in tags:
            subject = subject_of(tag)
            if subject:
                self._ask_later(subject)
            else:
                self._look_at_tag(tag)
        while self._waiting:
            self._ask(self._waiting.popleft())
        found = tuple(self._completed(item) for _, item in sorted(self._found.items()) if item)
        if self._unread:
            self._progress.note(f"skipped, as they cannot be read: {wording.some(self._unread)}")
        if not self._is_complete:
            self._progress.note(
                f"{self._repository.reference.place} has more than the limits allow: {MAX_TAGS:,} tags, {MAX_BUNDLES:,}"
                f" bundles, {MAX_ENTRIES:,} entries of lists, {MAX_LISTS >> 20} MiB"
            )
        return Catalog(found, self._is_complete)

    @contextmanager
    def _passing_over(self, what: str) -> Iterator[None]:
        """If content cannot be read, record the failure and continue. Errors of the registry itself are raised."""
        try:
            yield
        except RegistryError as error:
            if error.code not in UNREADABLE:
                raise
            self._unread.append(what)

    def _look_at_tag(self, tag: str) -> None:
        if not self._may_read():
            return
        with self._passing_over(tag):
            manifest = self._repository.find(tag)
            if manifest is None:
                return
            self._gone[manifest.digest] = False
            if self._keep(manifest):
                self._tags.setdefault(manifest.digest, []).append(tag)
                return
            self._ask_later(manifest.digest)
            for digest in digests_in(manifest) if manifest.is_index else ():
                self._ask_later(digest)

    def _keep(self, manifest: RemoteManifest) -> bool:
        """Keep a manifest's description if the manifest belongs to a bundle.

        Return whether the description was kept.
        """
        found = self._found.get(manifest.digest) or describe(self._repository, manifest)
        if found is None or not self._has_room(manifest.digest):
            return False
        self._found[manifest.digest] = found
        for image in (found.subject, *found.bases):
            if image:
                self._ask_later(image)
        return True

    def _has_room(self, digest: bytes) -> bool:
        """Return True if a bundle is already known, or if there are fewer bundles than the maximum."""
        if digest in self._found or len(self._found) < MAX_BUNDLES:
            return True
        self._is_complete = False
        return False

    def _may_read(self) -> bool:
        """Return whether the limit of bytes allows another manifest to be read."""
        self._is_complete &= self._listing.has_room
        return self._listing.has_room

    def _ask_later(self, image: bytes) -> None:
        if image in self._asked:
            return
        if len(self._asked) >= MAX_IMAGES:
            self._is_complete = False
            return
        self._asked.add(image)
        self._waiting.append(image)

    def _ask(self, image: bytes) -> None:
        """Read the bundles that refer to an image."""
        with self._passing_over(f"what refers to {text(image)}"):
            for item in self._listing.referrers(image):
                digest = sha256_of(get(item, "digest"))
                self._entries += 1
                if self._entries > MAX_ENTRIES:
                    self._is_complete = False
                    return
                if digest and self._has_room(digest):
                    self._look_at(digest)
                    self._lists.setdefault(digest, set()).add(image)
            self._is_complete &= self._listing.is_complete

    def _look_at(self, digest: bytes) -> None:
        """Read a manifest that a list names, unless the manifest is already known."""
        if digest in self._found or not self._may_read():
            return
        self._found[digest] = None
        with self._passing_over(text(digest)):
            manifest = self._repository.find(text(digest))
            if manifest is None:
                self._found[digest] = FoundBundle(digest, missing="manifest")
            else:
                self._keep(manifest)

    def _completed(self, found: FoundBundle) -> FoundBundle:
        """Return a bundle with its tags, the lists that name it, and its missing part."""
        missing = found.missing
        if found.subject and missing is None and self._is_gone(found.subject):
            missing = "image"
        if found.blob and missing is None and self._repository.is_gone("blobs", found.blob.digest):
            missing = "bundle"
        return found._replace(
            tags=tuple(self._tags.get(found.digest, ())),
            lists=frozenset(self._lists.get(found.digest, ())),
            missing=missing,
        )

    def _is_gone(self, image: bytes) -> bool:
        if image not in self._gone:
            self._gone[image] = self._repository.is_gone("manifests", image)
        return self._gone[image]

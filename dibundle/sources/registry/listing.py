"""The bundles that a repository lists, within limits for all of its lists together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibundle.errors import RegistryError
from dibundle.files import digest
from dibundle.format import labels
from dibundle.images import document
from dibundle.images.document import get, get_text, sha256_of
from dibundle.sources import messages
from dibundle.sources.registry.artifacts import EMPTY_TYPE, TYPE
from dibundle.sources.registry.client import RemoteManifest, Repository
from dibundle.sources.registry.descriptors import MAX_TEXT, reduced

MAX_BYTES: Final = 16 << 20
"""The maximum number of bytes of lists and manifests that are read to find a chain.

The last answer may exceed this limit.
"""
RESERVE: Final = 4 << 20
"""The number of additional bytes for the manifests of selected bundles. Lists cannot use them."""
MAX_LOOKUPS: Final = 1024
"""The maximum number of manifests that are requested because a list does not describe them sufficiently."""
MAX_DIGESTS: Final = 65_536
"""The maximum number of digests of layers and images in the descriptions of all bundles."""
# each bundle counts as at least this many digests, so that all lists together have at most 8,192 bundles
_OF_ENTRY: Final = 8
MAX_KEPT: Final = 16 << 20
"""The maximum number of characters to keep of the manifests that were requested."""
UNREADABLE: Final = frozenset(
    message.code
    for message in (
        messages.REGISTRY_ANSWER_SIZE,
        messages.REGISTRY_DESCRIPTOR,
        messages.REGISTRY_MANIFEST_DIGEST,
        messages.REGISTRY_NEITHER_IMAGE_NOR_BUNDLE,
        messages.REGISTRY_NOT_JSON,
        messages.REGISTRY_TOO_MANY_VALUES,
    )
)
"""Codes of errors that concern a single manifest, not the whole registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A listed bundle: its manifest's digest, the contents that it claims to need and rebuild, and its base images."""

    manifest: bytes
    told: labels.Told
    bases: frozenset[bytes]


class Listing:
    """The lists of a repository. Each list and each manifest is read only once.

    Anyone with permission to push can write lists. So unreadable entries are only reported to ``pass_over``, and the
    total size is limited.
    """

    def __init__(self, repository: Repository, pass_over: Callable[[str], object], *, most: int = MAX_BYTES) -> None:
        self._repository = repository
        self._pass_over = pass_over
        self._most = repository.received + most
        self._lookups_left = MAX_LOOKUPS
        self._digests_left = MAX_DIGESTS
        self._text_left = MAX_KEPT
        self._deltas: dict[bytes, list[Delta]] = {}
        # descriptors by digest; None for manifests that describe no bundle
        self._manifests: dict[bytes, object | None] = {}
        self._is_full = False
        self.is_complete = True  # whether all lists of referrers so far were read to their ends

    @property
    def has_room(self) -> bool:
        """Whether the limit of bytes allows further reading.

        When the limit is exceeded, the next call reports this once to ``pass_over``.
        """
        if self._repository.received <= self._most:
            return True
        if not self._is_full:
            self._pass_over("the rest of what is listed")
        self._is_full = True
        return False

    @property
    def has_room_for_bundles(self) -> bool:
        """Whether the limit of bytes, plus ``RESERVE``, allows reading the manifest of a listed bundle."""
        return self._repository.received <= self._most + RESERVE

    def deltas_to(self, image: bytes) -> list[Delta]:
        """Return the listed bundles that claim to rebuild the image with this manifest.

        The smallest bundle comes first. Bundles are sorted by size and digest, so that the choice between equally good
        bundles does not depend on the registry's order. If a bundle's tag is moved to another bundle, the bundle
        without the tag stays listed.
        """
        if image not in self._deltas:
            found = filter(None, map(self._delta, self._readable(image)))
            self._deltas[image] = sorted(found, key=lambda delta: (delta.told.size, delta.manifest))
        return self._deltas[image]

    def _delta(self, item: object) -> Delta | None:
        own, said = sha256_of(get(item, "digest")), document.texts(get(item, "annotations"))
        if own is None or _length(said) > MAX_TEXT:
            return None
        told = labels.Told.read(said)
        if told is None:
            return None
        found = Delta(manifest=own, told=told, bases=labels.digests(said.get(labels.NEEDS_MANIFESTS, "")))
        size = _OF_ENTRY + len(told.needs) + len(told.makes) + len(told.ids) + len(found.bases)
        if size > self._digests_left:
            return None
        self._digests_left -= size
        return found

    def _readable(self, image: bytes) -> Iterator[object]:
        try:
            yield from self.referrers(image)
        except RegistryError as error:
            if error.code not in UNREADABLE:
                raise
            self._pass_over(f"what refers to {digest.text(image)}")

    def referrers(self, image: bytes) -> Iterator[object]:
        """Yield descriptors of bundles that refer to an image, with the annotations of their manifests.

        Some registries list no annotations, and give the config's type as the artifact's type. Then the manifests are
        read.
        """
        if not self.has_room:
            return
        listed, is_whole = self._repository.referrers(image, TYPE, received=self._most)
        self.is_complete &= is_whole
        for item in listed:
            own = sha256_of(get(item, "digest"))
            if get_text(item, "artifactType") == TYPE:
                yield item
            elif own and get_text(item, "artifactType") in (None, "", EMPTY_TYPE):
                described = self._described(own)
                if described:
                    yield described

    def _described(self, wanted: bytes) -> object | None:
        """Return a bundle's descriptor, made from its manifest."""
        if wanted not in self._manifests and self._lookups_left and self.has_room:
            self._lookups_left -= 1
            found: RemoteManifest | None = None
            try:
                found = self._repository.find(digest.text(wanted))
            except RegistryError as error:
                if error.code not in UNREADABLE:
                    raise
                self._pass_over(digest.text(wanted))
            self._manifests[wanted] = self._kept(found) if found else None
        return self._manifests.get(wanted)

    def _kept(self, manifest: RemoteManifest) -> object | None:
        """Return those fields of a manifest that dib keeps in memory, as one list entry.

        Return None if the manifest does not belong to a bundle, or is too large.
        """
        if get_text(manifest.value, "artifactType") != TYPE:
            return None
        said = get(manifest.value, "annotations")
        kept = reduced({**manifest.descriptor, "artifactType": TYPE, "annotations": said})
        length = _length(document.texts(get(kept, "annotations")))
        if length > min(MAX_TEXT, self._text_left):
            self._pass_over(digest.text(manifest.digest))
            return None
        self._text_left -= length
        return kept


def _length(said: Mapping[str, str]) -> int:
    return sum(map(len, said.values()))

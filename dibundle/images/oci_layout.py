"""An OCI layout's index.json, and the indexes and manifests that index.json leads to. Blobs may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dibundle.errors import ArchiveError
from dibundle.images import document
from dibundle.images.claims import Claims, ImageDraft, platform_of
from dibundle.images.document import get, get_list, get_text, sha256_of
from dibundle.images.tar.entries import Entry

INDEX: Final = b"index.json"
_DEPTH: Final = 8
_LONGEST_NAME: Final = 4096  # maximum characters of a name; no image has a longer name
_NAME_KEYS: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _Descriptor(NamedTuple):
    """A descriptor in an index, for a blob that exists."""

    entry: Entry
    digest: bytes | None
    names: tuple[str, ...]
    platform: str | None
    is_attestation: bool


@dataclass
class OciLayout:
    """All documents that index.json leads to. Each manifest is read once, even if many descriptors lead to it."""

    claims: Claims
    found: bool = False
    _drafts: dict[int, ImageDraft] = field(default_factory=dict)  # the keys are the offsets of the manifests' headers
    # names, by the offset of the manifest's header; the inner dict is an ordered set
    _names: dict[int, dict[str, None]] = field(default_factory=dict)
    _read: set[int] = field(default_factory=set)

    def read(self) -> None:
        """Follow index.json. Skip missing or malformed documents that index.json refers to."""
        entry = self.claims.members.find(INDEX)
        if entry is None:
            return
        below = self._below(self._parse(entry))
        if below is None:
            return
        self.found = True
        self.claims.note(entry, "index")
        for descriptor in below:
            self._follow(descriptor, descriptor.names, 0)

    @property
    def drafts(self) -> list[ImageDraft]:
        """The images that were found, in order."""
        return [
            ImageDraft(
                tuple(self._names[key]),
                draft.config,
                draft.config_digest,
                draft.layers,
                draft.diff_ids,
                draft.manifest_digest,
                draft.platform,
            )
            for key, draft in self._drafts.items()
        ]

    def manifest_digests(self) -> dict[bytes, bytes]:
        """For each config digest, return the digest of the first manifest with this config."""
        digests: dict[bytes, bytes] = {}
        for draft in self._drafts.values():
            if draft.manifest_digest:
                digests.setdefault(draft.config_digest, draft.manifest_digest)
        return digests

    def _follow(self, descriptor: _Descriptor, names: tuple[str, ...], depth: int) -> None:
        """Read the index or manifest to which a descriptor leads. ``names`` are the names in index.json itself."""
        entry = descriptor.entry
        if depth > _DEPTH:
            return
        if entry.header in self._drafts:
            self._give(entry, names)
        if entry.header in self._drafts or entry.header in self._read:
            return
        self._read.add(entry.header)
        value = self._parse(entry)
        below = self._below(value)
        if below is not None:
            del value  # free the parsed index now: all levels of nested indexes together would take much memory
            self.claims.note(entry, "index", digest=descriptor.digest)
            for item in below:
                self._follow(item, names, depth + 1)
        elif isinstance(get(value, "layers"), list):
            self.claims.note(entry, "manifest", digest=descriptor.digest)
            manifest = self._manifest(value)
            del value
            self._read_manifest(entry, *manifest, descriptor, names)

    def _below(self, index: object) -> list[_Descriptor] | None:
        """For an index, return only the descriptors whose blob exists. Return None if the document is not an index."""
        if not isinstance(get(index, "manifests"), list):
            return None
        found = []
        self.claims.count_layers(len(get_list(index, "manifests")))
        for item in get_list(index, "manifests"):
            entry = self._target(item)
            if entry is not None:
                digest, platform = sha256_of(get(item, "digest")), platform_of(get(item, "platform"))
                found.append(_Descriptor(entry, digest, tuple(_names_of(item)), platform, _is_attestation(item)))
        return found

    def _manifest(self, manifest: object) -> tuple[tuple[Entry | None, ...], Entry | None, bytes | None]:
        """Return the layers of a manifest, its config, and the digest that the manifest claims for the config."""
        layers: list[Entry | None] = []
        self.claims.count_layers(len(get_list(manifest, "layers")))
        for below in get_list(manifest, "layers"):
            layer = self._target(below)
            self.claims.note(layer, "other", digest=sha256_of(get(below, "digest")))
            layers.append(layer)
        below = get(manifest, "config")
        return tuple(layers), self._target(below), sha256_of(get(below, "digest"))

    def _read_manifest(
        self,
        entry: Entry,
        layers: tuple[Entry | None, ...],
        config_entry: Entry | None,
        config_digest: bytes | None,
        descriptor: _Descriptor,
        names: tuple[str, ...],
    ) -> None:
        """Record a manifest and its image."""
        config = self.claims.config(config_entry) if config_entry and _is_small(config_entry) else None
        if descriptor.is_attestation:
            return
        diff_ids = config.diff_ids if config else ()
        self.claims.note_layers(layers, diff_ids)
        self._give(entry, names)
        self._drafts[entry.header] = ImageDraft(
            names=(),
            config=config_entry if config else None,
            config_digest=config.digest if config else config_digest or b"",
            layers=layers,
            diff_ids=diff_ids,
            manifest_digest=descriptor.digest,
            platform=(config.platform if config else None) or descriptor.platform,
        )

    def _give(self, entry: Entry, names: tuple[str, ...]) -> None:
        """Add names to an image."""
        known = self._names.setdefault(entry.header, {})
        new = dict.fromkeys(name for name in names if name not in known)
        self.claims.count_names(new)
        known.update(new)

    def _target(self, descriptor: object) -> Entry | None:
        digest = get_text(descriptor, "digest")
        if digest is None or not document.is_digest(digest):
            return None
        algorithm, _, value = digest.partition(":")
        return self.claims.members.find_text(f"blobs/{algorithm}/{value}")

    def _parse(self, entry: Entry) -> object:
        """Parse a member. Return None if the member is too large or is not JSON."""
        try:
            return document.parse(self.claims.members.read(entry), "index") if _is_small(entry) else None
        except ArchiveError:
            return None


def _is_small(entry: Entry) -> bool:
    return entry.size <= document.SIZE_LIMIT


def _is_attestation(descriptor: object) -> bool:
    reference = get_text(get(descriptor, "annotations"), "vnd.docker.reference.type")
    platform = get(descriptor, "platform")
    unknown = get_text(platform, "os") == "unknown" and get_text(platform, "architecture") == "unknown"
    return reference == "attestation-manifest" or unknown


def _names_of(descriptor: object) -> Iterator[str]:
    """Yield the name in a descriptor's annotations. If there are two names, yield only containerd's full name."""
    annotations = get(descriptor, "annotations")
    for key in _NAME_KEYS:
        name = get_text(annotations, key)
        if name and len(name) <= _LONGEST_NAME:
            yield name
            return

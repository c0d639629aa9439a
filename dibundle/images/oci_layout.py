"""An OCI layout's index.json, with the indexes and manifests it leads to. Blobs that are not there are normal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.images import document
from dibundle.images.claims import Claims, Draft, platform_of
from dibundle.images.document import get, get_list, get_text, sha256_of
from dibundle.images.tar.entries import Entry

INDEX: Final = b"index.json"
_DEPTH: Final = 8
_NAME_KEYS: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass
class Layout:
    """What index.json leads to; each manifest is read once, whatever number of descriptors point to it."""

    claims: Claims
    found: bool = False
    _drafts: dict[int, Draft] = field(default_factory=dict)  # by the offset of the manifest's header
    _names: dict[int, dict[str, None]] = field(default_factory=dict)  # the same; a set that keeps its order
    _read: set[int] = field(default_factory=set)

    def read(self) -> None:
        """Follow index.json; what is missing or odd below it is passed over."""
        entry = self.claims.members.find(INDEX)
        if entry is None:
            return
        value = self._parse(entry)
        if not isinstance(get(value, "manifests"), list):
            return
        self.found = True
        self.claims.note(entry, "index")
        for descriptor in get_list(value, "manifests"):
            self._follow(descriptor, (), 0)

    @property
    def drafts(self) -> list[Draft]:
        """The images found, in order."""
        return [
            Draft(
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
        """Return the digest of the first manifest for each config digest."""
        digests: dict[bytes, bytes] = {}
        for draft in self._drafts.values():
            if draft.manifest_digest:
                digests.setdefault(draft.config_digest, draft.manifest_digest)
        return digests

    def _follow(self, descriptor: object, names: tuple[str, ...], depth: int) -> None:
        """Read the index or manifest that a descriptor points to."""
        entry = self._target(descriptor)
        if entry is None or depth > _DEPTH:
            return
        names += tuple(_names_of(descriptor))
        if entry.header in self._drafts:
            self._names[entry.header].update(dict.fromkeys(names))
        if entry.header in self._drafts or entry.header in self._read:
            return
        self._read.add(entry.header)
        value = self._parse(entry)
        digest = sha256_of(get(descriptor, "digest"))
        if isinstance(get(value, "manifests"), list):
            self.claims.note(entry, "index", digest=digest)
            for below in get_list(value, "manifests"):
                self._follow(below, names, depth + 1)
        elif isinstance(get(value, "layers"), list):
            self.claims.note(entry, "manifest", digest=digest)
            self._read_manifest(entry, value, descriptor, names)

    def _read_manifest(self, entry: Entry, manifest: object, descriptor: object, names: tuple[str, ...]) -> None:
        """Take in a manifest and what it describes."""
        layers: list[Entry | None] = []
        self.claims.count_layers(len(get_list(manifest, "layers")))
        for below in get_list(manifest, "layers"):
            layer = self._target(below)
            self.claims.note(layer, "other", digest=sha256_of(get(below, "digest")))
            layers.append(layer)
        below = get(manifest, "config")
        config_entry = self._target(below)
        config = self.claims.config(config_entry) if config_entry and _is_small(config_entry) else None
        if _is_attestation(descriptor):
            return
        diff_ids = config.diff_ids if config else ()
        self.claims.note_layers(tuple(layers), diff_ids)
        self._names[entry.header] = dict.fromkeys(names)
        self._drafts[entry.header] = Draft(
            names=(),
            config=config_entry if config else None,
            config_digest=config.digest if config else sha256_of(get(below, "digest")) or b"",
            layers=tuple(layers),
            diff_ids=diff_ids,
            manifest_digest=sha256_of(get(descriptor, "digest")),
            platform=(config.platform if config else None) or platform_of(get(descriptor, "platform")),
        )

    def _target(self, descriptor: object) -> Entry | None:
        digest = get_text(descriptor, "digest")
        if digest is None or not document.is_digest(digest):
            return None
        algorithm, _, value = digest.partition(":")
        return self.claims.members.find_text(f"blobs/{algorithm}/{value}")

    def _parse(self, entry: Entry) -> object:
        """Parse a member; None when it is no JSON that could matter."""
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
    """Yield the name that a descriptor's annotations give, the fuller one if there are two."""
    annotations = get(descriptor, "annotations")
    for key in _NAME_KEYS:
        name = get_text(annotations, key)
        if name:
            yield name
            return

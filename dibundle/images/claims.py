"""Claims of manifests about an archive's members.

The claims are collected while manifests are read, and then turned into blobs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dibundle.errors import ArchiveError
from dibundle.files import compression
from dibundle.images import document, messages
from dibundle.images.document import get, get_list, get_text, sha256_of
from dibundle.images.members import Members, normalise
from dibundle.images.model import Blob, BlobKind
from dibundle.images.tar.entries import Entry

MAX_REFERENCES: Final = 1 << 18
"""The maximum number of layers of all images of an archive: 1,024 images of 256 layers.

An image without layers or names counts as 1.
"""
MAX_NAMES_SIZE: Final = 16 << 20
"""The maximum number of bytes of all image names of an archive.

A nested index gives each of its names to all images below it.
"""
_LONGEST: Final = 256  # maximum characters of each part of a platform
_BLOB_NAME: Final = re.compile(rb"blobs/sha256/([0-9a-f]{64})")


class ImageDraft(NamedTuple):
    """An image whose parts are still members of the archive, and not yet :class:`Blob` objects."""

    names: tuple[str, ...]
    config: Entry | None
    config_digest: bytes
    layers: tuple[Entry | None, ...]
    diff_ids: tuple[bytes, ...]
    manifest_digest: bytes | None
    platform: str | None


class Config(NamedTuple):
    """The content of an image's config. ``digest`` is the actual digest of the config's bytes."""

    digest: bytes
    diff_ids: tuple[bytes, ...]
    platform: str | None


@dataclass(slots=True)
class _Claim:
    """The claims about one member."""

    kind: BlobKind = "other"
    digest: bytes | None = None
    diff_id: bytes | None = None


@dataclass
class Claims:
    """The collected claims about members. If two manifests disagree, the first manifest decides."""

    members: Members
    _known: dict[int, _Claim] = field(default_factory=dict)  # the keys are the offsets of the members' headers
    _configs: dict[int, Config] = field(default_factory=dict)
    _references: int = 0
    _names_size: int = 0

    def count_layers(self, count: int) -> None:
        """Count layers and names, and also the images that have neither layers nor names.

        If the total exceeds the limit, raise ``ArchiveError``.
        """
        self._references += count
        if self._references > MAX_REFERENCES:
            raise ArchiveError(messages.ARCHIVE_TOO_MANY_REFERENCES, max_references=MAX_REFERENCES)

    def count_names(self, names: Iterable[str]) -> None:
        """Count further names of an image. Raise ``ArchiveError`` if the names of all images exceed the limit."""
        self._names_size += sum(len(name.encode("utf-8", "surrogatepass")) for name in names)
        if self._names_size > MAX_NAMES_SIZE:
            raise ArchiveError(messages.ARCHIVE_NAMES_TOO_LONG, max_names_size=MAX_NAMES_SIZE)

    def note(
        self, entry: Entry | None, kind: BlobKind, *, digest: bytes | None = None, diff_id: bytes | None = None
    ) -> None:
        """Record a manifest's claims about a member."""
        if entry is None:
            return
        known = self._known.setdefault(entry.header, _Claim())
        if known.kind == "other":
            known.kind = kind
        known.digest = known.digest or digest
        known.diff_id = known.diff_id or diff_id

    def note_layers(self, layers: tuple[Entry | None, ...], diff_ids: tuple[bytes, ...]) -> None:
        """Record an image's layers. Record the layers' diffIDs only if there are as many diffIDs as layers."""
        paired: tuple[bytes | None, ...] = diff_ids if len(diff_ids) == len(layers) else (None,) * len(layers)
        for layer, diff_id in zip(layers, paired, strict=True):
            self.note(layer, "layer", diff_id=diff_id or None)

    def config(self, entry: Entry) -> Config:
        """Read a config once. If a config is malformed, return only its digest."""
        known = self._configs.get(entry.header)
        if known is None:
            known = self._configs[entry.header] = _parse_config(self.members.read(entry))
            self.note(entry, "config", digest=named_digest(entry.path) or known.digest)
        return known

    def blobs(self) -> dict[int, Blob]:
        """Return the blobs of all regular members in the archive's order, by the offset of each header."""
        entries = (entry for entry in self.members.archive.index.entries if entry.is_file)
        return {entry.header: self._blob(entry) for entry in entries}

    def _blob(self, entry: Entry) -> Blob:
        claim = self._known.get(entry.header) or _Claim()
        digest = named_digest(entry.path) or claim.digest
        if claim.kind != "layer":
            return Blob(entry, claim.kind, None, digest, None)
        packing = compression.sniff(self.members.head(entry, 16))
        if packing is None:  # for an uncompressed layer, both digests are digests of the same bytes
            digest = digest or claim.diff_id
        return Blob(entry, "layer", packing, digest, claim.diff_id)


def named_digest(name: bytes) -> bytes | None:
    """Return the sha256 that a member's name ``blobs/sha256/<hex>`` claims."""
    match = _BLOB_NAME.fullmatch(normalise(name))
    return bytes.fromhex(match[1].decode()) if match else None


def _parse_config(content: bytes) -> Config:
    digest = hashlib.sha256(content).digest()
    try:
        config = document.parse(content, "config")
    except ArchiveError:
        return Config(digest, (), None)
    # an entry that is not a sha256 becomes empty, so that all other entries keep their positions
    diff_ids = tuple(sha256_of(text) or b"" for text in get_list(get(config, "rootfs"), "diff_ids"))
    return Config(digest, diff_ids, platform_of(config))


def platform_of(value: object) -> str | None:
    """Return the platform in a config or a descriptor, as ``os/architecture[/variant]``."""
    parts = [(get_text(value, key) or "")[:_LONGEST] for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[0] and parts[1] else None

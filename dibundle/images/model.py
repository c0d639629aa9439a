"""The content of an image archive: images and their blobs.

Digests here are the archive's claims, unless a comment says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from dibundle.files.readat import ReadAt, Slice
from dibundle.images.archive import Archive
from dibundle.images.tar.entries import Entry

BlobKind = Literal["layer", "config", "manifest", "index", "other"]


class Blob(NamedTuple):
    """The content of one regular member of the outer tar.

    ``compression`` is a layer's compression, detected from its content. ``digest`` is the claimed sha256 (32 bytes) of
    the stored bytes. For layers, ``diff_id`` is the claimed sha256 of the uncompressed bytes.
    """

    member: Entry
    kind: BlobKind
    compression: str | None
    digest: bytes | None
    diff_id: bytes | None


class Image(NamedTuple):
    """One image. A layer that the archive does not contain is None.

    ``names`` are from the archive, and are only for display. ``config_digest`` is the actual sha256 of the config's
    bytes. If the config is missing, ``config_digest`` is the claimed sha256, or empty if there is no claim.
    """

    names: tuple[str, ...]
    config: Blob | None
    config_digest: bytes
    layers: tuple[Blob | None, ...]
    diff_ids: tuple[bytes, ...]
    manifest_digest: bytes | None
    platform: str | None


class ImageArchive(NamedTuple):
    """An archive's images, and its blobs in the archive's order. Every regular member of the outer tar is a blob.

    ``producer`` is a guess that is only displayed.
    """

    archive: Archive
    images: tuple[Image, ...]
    blobs: tuple[Blob, ...]
    producer: str | None

    def stored(self, blob: Blob) -> ReadAt:
        """Return the stored bytes of a blob."""
        return Slice(self.archive.bytes, blob.member.content, blob.member.size)


def chain_ids(diff_ids: Sequence[bytes]) -> Iterator[bytes]:
    """Yield a digest of the lowest layer, then a digest of the lowest two layers, and so on."""
    running = hashlib.sha256()
    for diff_id in diff_ids:
        running.update(diff_id)
        yield running.digest()

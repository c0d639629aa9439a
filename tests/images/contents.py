"""Content that a base can serve: the uncompressed content of an archive's blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dibundle.files.readat import ReadAt, Slice
from dibundle.images.model import Blob, ImageArchive


@dataclass(frozen=True, slots=True)
class Content:
    """One piece of content that a base can serve.

    ``source`` is the content as it is stored. ``size`` is the uncompressed size, or None if the size is unknown before
    inflating. ``claimed`` is the sha256 that the archive claims for the uncompressed bytes. For a layer, ``claimed`` is
    the diffID; otherwise, ``claimed`` is the blob's digest.
    """

    kind: Literal["layer", "config", "other"]
    size: int | None
    source: ReadAt
    compression: str | None
    claimed: bytes | None


def contents(images: ImageArchive) -> list[Content]:
    """Return the content of every blob, in the archive's order."""
    return [_content(images.archive.bytes, blob) for blob in images.blobs]


def _content(tar: ReadAt, blob: Blob) -> Content:
    member = blob.member
    stored = Slice(tar, member.content, member.size)
    if blob.kind == "layer":
        claimed = blob.diff_id if blob.compression else blob.diff_id or blob.digest
        size = None if blob.compression else member.size
        return Content("layer", size, stored, blob.compression, claimed)
    kind: Literal["config", "other"] = "config" if blob.kind == "config" else "other"
    return Content(kind, member.size, stored, None, blob.digest)

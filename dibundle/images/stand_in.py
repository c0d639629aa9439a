"""Placeholders for archives of images that are not saved yet, and for targets that are not rebuilt yet.

Placeholders claim layers, but have no bytes. Claims are enough to decide whether a bundle can be applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Never

from dibundle.errors import ArchiveError
from dibundle.images import messages
from dibundle.images.archive import Archive
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.tar.entries import Entry, TarIndex


class _Unread:
    """Bytes that cannot be read, but can be sliced."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read_at(self, offset: int, length: int) -> Never:
        raise ArchiveError(messages.ARCHIVE_NOT_HERE)

    def read_into(self, offset: int, view: memoryview) -> Never:
        raise ArchiveError(messages.ARCHIVE_NOT_HERE)


def stand_in(
    name: str,
    layers: Mapping[bytes, int],
    *,
    size: int,
    is_made: bool = False,
    image_id: bytes = b"",
    diff_ids: Sequence[bytes] = (),
) -> Archive:
    """Return a placeholder for an archive of ``size`` bytes. ``layers`` has the layers' sizes in bytes, by diffID.

    The image in the archive has ``diff_ids``. ``layers`` may lack some of these diffIDs.
    """
    largest = max([size, *layers.values()])
    archive = Archive(name, _Unread(largest), TarIndex([], 0, largest, None), None, None, is_made=is_made)
    blobs = {
        digest: Blob(Entry(0, 0, 0, length, 0, b"", b"", 0x30, plain=True), "layer", None, digest, digest)
        for digest, length in layers.items()
    }
    image = Image(
        names=(name,),
        config=None,
        config_digest=image_id,
        layers=tuple(map(blobs.get, diff_ids)),
        diff_ids=tuple(diff_ids),
        manifest_digest=None,
        platform=None,
    )
    archive.blobs = archive.claims = ImageArchive(archive, (image,), tuple(blobs.values()), None)
    return archive

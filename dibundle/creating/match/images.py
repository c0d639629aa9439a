"""The contents of image archives, with computed digests instead of claimed digests.

These contents are the input of creation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from dibundle.applying.budget import INPUT_RATIO, OF_BUNDLES, Budget, shared_limits
from dibundle.applying.candidates import LEAST_PIECE
from dibundle.creating import messages
from dibundle.creating.match.base import Layer
from dibundle.errors import ArchiveError
from dibundle.files import compression
from dibundle.files.readat import ReadAt, Slice, Spool, copy_chunks
from dibundle.images.archive import Archive
from dibundle.images.model import Blob, ImageArchive

Advance = Callable[[int], None]

FREE_CONTENT: Final = 1 << 30  # bytes of content that any compressed layer may have
# further bytes of content allowed for each stored byte; in real layers, a stored byte gives 2 to 10 bytes
MOST_RATIO: Final = 64


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """The stored bytes of a blob, and their sha256. ``layer`` is the raw content of a layer, if available."""

    blob: Blob
    source: ReadAt
    digest: bytes
    layer: Layer | None = None


def read_blobs(images: ImageArchive, executor: Executor, advance: Advance) -> Iterator[StoredBlob]:
    """Start to hash every stored blob of an archive. Do not decompress compressed layers."""

    def read(blob: Blob) -> StoredBlob:
        source = Slice(images.archive.bytes, blob.member.content, blob.member.size)
        digest = _sha256(source, advance)
        layer = None
        if blob.kind == "layer" and not blob.compression:
            layer = Layer(digest, source)
        return StoredBlob(blob, source, digest, layer)

    return executor.map(read, images.blobs)


def read_size(archives: Iterable[ImageArchive]) -> int:
    """Return the number of bytes that :func:`read_blobs` reads from archives."""
    return sum(blob.member.size for images in archives for blob in images.blobs)


def inflate(stored: StoredBlob, spool: Spool, most: int | None = None, budget: Budget | None = None) -> StoredBlob:
    """Inflate a compressed layer into ``spool``, up to ``most`` bytes. Raise ``ArchiveError`` for damage or a bomb.

    The ``budget`` must suffice for all reads of the layer that apply may need.
    """
    assert stored.blob.compression
    digest = hashlib.sha256()
    start = spool.size
    most = FREE_CONTENT + MOST_RATIO * stored.source.size if most is None else most
    chunks: Iterable[bytes] = copy_chunks(stored.source, 0, stored.source.size)
    spend: Callable[[int], object] | None = None
    if budget:
        chunks, spend = budget.read(chunks, INPUT_RATIO), lambda calls: budget.spend("calls", INPUT_RATIO * calls)
    for piece in compression.decompress_iter(stored.blob.compression, chunks, spend=spend):
        if spool.size - start + len(piece) > most:
            raise ArchiveError(messages.ARCHIVE_LAYER_CONTENT_LIMIT, size=stored.source.size, most=most)
        digest.update(piece)
        spool.write(piece)
    content = Slice(spool, start, spool.size - start)
    return StoredBlob(stored.blob, stored.source, stored.digest, Layer(digest.digest(), content))


def inflate_all(
    archive: Archive, stored: Iterable[StoredBlob], spool: Callable[[], Spool], most: int | None = None
) -> list[StoredBlob]:
    """Inflate the compressed layers among ``stored``. A damaged or too large layer stays a plain blob.

    The author of a bundle controls archives that the bundle rebuilds, and archives that contain the bundle. In each of
    these archives, all layers together have a size limit. ``most`` may lower this limit.
    """
    budget = Budget(archive.bytes.size, shared_limits()) if archive.is_of_bundle else None
    left = budget.left("made") if budget else None
    if left is not None and most is not None:
        left = min(left, most)
    result = []
    for item in stored:
        is_known = left is None or item.blob.compression in OF_BUNDLES
        if item.blob.kind == "layer" and item.blob.compression and is_known:
            own = spool()
            before = own.size
            try:
                result.append(inflate(item, own, left, budget))
                continue
            except ArchiveError:
                pass
            finally:
                if left is not None:
                    left = max(0, left - LEAST_PIECE - (own.size - before))
        result.append(item)
    return result


def _sha256(source: ReadAt, advance: Advance) -> bytes:
    digest = hashlib.sha256()
    for piece in copy_chunks(source, 0, source.size):
        digest.update(piece)
        advance(len(piece))
    return digest.digest()

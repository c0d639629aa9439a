"""Blobs of archives that may be base objects, and a cache of their digests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import takewhile
from typing import Final, NamedTuple

from dibundle.applying import messages
from dibundle.applying.budget import Budget
from dibundle.errors import ArchiveError
from dibundle.files import compression
from dibundle.files.digest import sha256_of
from dibundle.files.readat import ReadAt, copy_chunks
from dibundle.images.archive import Archive
from dibundle.images.model import Blob, ImageArchive

PIECE: Final = 1 << 20
LEAST_PIECE: Final = 1 << 17


class BaseCandidate(NamedTuple):
    """A blob in an archive, with its stored bytes and the archive's claims about the blob.

    ``budget`` limits decompression if the archive comes from a bundle. ``number`` is the archive's index in the list
    passed to :meth:`BaseObjects.add`.
    """

    blob: Blob
    source: ReadAt
    number: int
    budget: Budget | None = None

    def content(self, most: int, is_stopped: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Yield a compressed blob's content. Raise ``ArchiveError`` if the content exceeds ``most`` or the budget.

        As soon as ``is_stopped`` returns true, reading stops as if the blob ended there.
        """
        assert self.blob.compression
        chunks: Iterable[bytes] = takewhile(lambda _: not is_stopped(), copy_chunks(self.source, 0, self.source.size))
        made, paid = 0, LEAST_PIECE  # spend at least this amount, because zstd blocks are always decoded whole
        self._pay(paid)
        size, spend = min(PIECE, max(paid, most + 1)), None
        if self.budget:
            chunks, spend = self.budget.read(chunks), partial(self.budget.spend, "calls")
        for piece in compression.decompress_iter(self.blob.compression, chunks, size, spend=spend):
            made += len(piece)
            if made > paid:
                self._pay(made - paid)
                paid = made
            if made > most:
                raise ArchiveError(messages.BASE_SEARCH_LIMIT)
            yield piece

    @property
    def is_gzip_of_user(self) -> bool:
        """Whether the blob is compressed by gzip, in an archive that the user gave."""
        return self.blob.compression == "gzip" and self.budget is None

    def _pay(self, size: int) -> None:
        if self.budget:
            self.budget.spend("made", size)

    def claims(self) -> Iterable[bytes]:
        """Yield the digests that the archive claims for this blob."""
        if not self.blob.compression and self.blob.diff_id:
            yield self.blob.diff_id
        if self.blob.digest:
            yield self.blob.digest


class FoundDigests:
    """A cache of the digests of blobs, both stored and decompressed, so that nothing is hashed twice.

    Content of more than ``most`` bytes is not hashed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[int, int, bool], bytes | None] = {}
        self._held: dict[int, ImageArchive] = {}  # keeps the archives in memory: the id() of each blob is a key

    def hold(self, archives: Iterable[ImageArchive]) -> None:
        """Keep archives in memory as long as this cache exists."""
        self._held |= {id(images): images for images in archives}

    def release(self, closed: Collection[Archive]) -> None:
        """Forget closed archives, so that their memory can be freed."""
        gone = [key for key, images in self._held.items() if images.archive in closed]
        blobs = {id(blob) for key in gone for blob in self._held.pop(key).blobs}
        self._found = {key: value for key, value in self._found.items() if key[0] not in blobs}

    def stored(self, candidate: BaseCandidate) -> bytes:
        """Return the digest of a blob in its stored form."""
        key = (id(candidate.blob), candidate.blob.member.content, False)
        if key not in self._found:
            self._found[key] = sha256_of(copy_chunks(candidate.source, 0, candidate.source.size))
        return self._found[key] or b""

    def content(self, candidate: BaseCandidate) -> bytes | None:
        """Return the digest of a compressed blob's content.

        Return None if the content cannot be read or is too large.
        """
        key = (id(candidate.blob), candidate.blob.member.content, True)
        if key not in self._found:
            try:
                self._found[key] = sha256_of(candidate.content(self._most))
            except ArchiveError:
                self._found[key] = None
        return self._found[key]

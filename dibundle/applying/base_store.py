"""The base objects of a bundle. The objects are found in archives by digest, and can be read at any offset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from dibundle.applying import messages
from dibundle.applying.budget import OF_BUNDLES, Budget, shared_limits
from dibundle.applying.candidates import PIECE, BaseCandidate, FoundDigests
from dibundle.errors import ArchiveError, BaseMismatchError, BundleError, DibError, FileError
from dibundle.files import compression
from dibundle.files.digest import sha256_of
from dibundle.files.readat import ReadAt, Slice, Spool, SpoolRange, check_room, copy_chunks
from dibundle.files.window import Window
from dibundle.format.values import PlaceInTarget
from dibundle.images.model import ImageArchive

# maximum number of layers to remember for the same content: if a layer is damaged, the next layer is used
_MOST_CLAIMANTS = 4
MAX_WINDOWS = 64  # windows of 256 KiB each
_THREADS = 4  # maximum number of layers that are decompressed at the same time; each takes up to 4 MiB of memory


class Wanted(NamedTuple):
    """A base object: its SHA-256 and its size in bytes.

    If no archive has the object, ``make`` may recompress it from ``of``, its content. The object may also be at
    ``place`` in a target of the same bundle.
    """

    digest: bytes
    size: int
    place: PlaceInTarget | None = None
    of: Wanted | None = None
    make: Callable[[Iterable[bytes]], Iterator[bytes | memoryview]] | None = None


class BaseObjects:
    """The base objects of a bundle, by index, from the archives that were added.

    Claims of archives are trusted here, because every byte of output is verified later. For an object that no archive
    claims, layers' contents and stored blobs of the right size are hashed. With ``believe``, no blob is hashed.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        *,
        tmp: str | None = None,
        believe: bool = False,
        digests: FoundDigests | None = None,
    ) -> None:
        self._tmp = tmp
        self._digests = digests
        self._believe = believe
        self._spool: Spool | None = None
        self._sources: list[ReadAt | None] = [None] * len(wanted)
        self._windows: dict[int, Window] = {}
        self._inflate: dict[int, BaseCandidate] = {}
        # further candidates that claim the same content as the candidate in ``_inflate``
        self._others: dict[int, list[BaseCandidate]] = {}
        self._is_stopped = False
        self._made: dict[int, BaseCandidate] = {}
        self._placed: dict[int, ReadAt] = {}  # compressed objects in rebuilt targets
        self._lying: dict[int, list[int]] = {}  # for each target, the objects that are in this target
        self._of_targets: set[int] = set()  # indexes of objects in rebuilt targets
        for index, item in enumerate(wanted):
            if item.place:
                self._lying.setdefault(item.place.target, []).append(index)
        self._made_size = 0
        self._shared = shared_limits()
        self._wanted = wanted
        self.serving: set[int] = set()  # indexes of the archives whose claims add() has used

    def add(self, archives: Sequence[ImageArchive], needed: Collection[int]) -> None:
        """Search ``archives`` for the ``needed`` objects that are still missing."""
        candidates = []
        self.serving = set()
        for number, images in enumerate(archives):
            budget = Budget(images.archive.bytes.size, self._shared) if images.archive.is_of_bundle else None
            candidates += [
                BaseCandidate(blob, images.stored(blob), number, budget)
                for blob in images.blobs
                if not (budget and blob.compression and blob.compression not in OF_BUNDLES)
            ]
        self._resolve_claims(candidates, self._unread(needed))
        missing = [self._wanted[index] for index in self._unread(needed)]
        sizes = [item.of.size if item.of else item.size for item in missing]
        digests = self._digests or FoundDigests(max(sizes, default=0))
        if missing and not self._believe:
            self._resolve_by_hash(candidates, self._unread(needed), digests)
        self._resolve_forms(candidates, self.missing(needed), digests)

    def take_from(self, number: int, made: ReadAt) -> None:
        """Use the rebuilt target ``number`` as a source of objects that no archive has."""
        for index in self.missing(self._lying.get(number, ())):
            place = self._wanted[index].place
            assert place
            part = Slice(made, place.offset, place.length)
            self._of_targets.add(index)
            if place.is_compressed:
                self._placed[index] = part
            else:
                self._sources[index] = part

    def _unread(self, needed: Iterable[int]) -> list[int]:
        """Return the ``needed`` objects that are neither a stored blob nor a layer's content in any archive."""
        return [i for i in sorted(needed) if self._sources[i] is None and i not in self._inflate]

    def missing(self, needed: Iterable[int]) -> list[int]:
        """Return the ``needed`` objects that were not found."""
        waiting = self._inflate.keys() | self._made.keys() | self._placed.keys()
        return [i for i in sorted(needed) if self._sources[i] is None and i not in waiting]

    def spool_size(self, needed: Iterable[int], *, of_made: bool = False) -> int:
        """Return the number of bytes that :meth:`prepare` writes to temporary files.

        With ``of_made``, count only the bytes of objects that come from bundles.
        """
        return sum(self._wanted[index].size for index in needed if self._takes_spool(index, of_made=of_made))

    def _takes_spool(self, index: int, *, of_made: bool) -> bool:
        if (inflated := self._inflate.get(index)) is not None:
            return inflated.budget is not None or not of_made
        place = self._wanted[index].place
        return index in self._made or bool(place and place.is_compressed and self._sources[index] is None)

    @property
    def made_size(self) -> int:
        """The current size of the temporary files for objects that come from bundles."""
        return self._made_size

    def prepare(self, needed: Collection[int]) -> None:
        """Write ``needed`` objects to temporary files if they must be decompressed or recompressed first.

        Raises :class:`BaseMismatchError` if an object cannot be prepared. If the disk has too little free space,
        :class:`FileError` is raised before anything is written.
        """
        if self.spool_size(needed):
            check_room(self._tmp, self.spool_size(needed))
        for index in sorted(self._made.keys() & set(needed)):
            self._prepare_made(index, self._made.pop(index))
        self._prepare_inflated(sorted(self._inflate.keys() & set(needed)))
        for index in sorted(self._placed.keys() & set(needed)):
            wanted, part = self._wanted[index], self._placed.pop(index)
            self._made_size += wanted.size
            self._sources[index] = self._inflated(wanted, self._reserve(wanted), _content_of(part))

    def _prepare_inflated(self, indexes: Sequence[int]) -> None:
        """Decompress layers. Several layers in gzip are decompressed in parallel.

        Layers in other compressions are fast enough on one thread, or need too much memory for several threads. Layers
        of bundles are not decompressed in parallel, because threads cannot share a budget.
        """
        jobs = []
        for index in indexes:
            claimants = [self._inflate.pop(index), *self._others.pop(index, ())]
            wanted = self._wanted[index]
            self._made_size += wanted.size if claimants[0].budget else 0
            place = self._reserve(wanted)
            if len(indexes) > 1 and all(each.is_gzip_of_user for each in claimants):
                jobs.append((index, place, claimants))
            else:
                self._sources[index] = self._first_readable(wanted, place, claimants)
        if not jobs:
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_THREADS) as threads:
            try:
                running = [
                    (index, threads.submit(self._first_readable, self._wanted[index], place, claimants))
                    for index, place, claimants in jobs
                ]
                for index, layer in running:
                    self._sources[index] = layer.result()
            except BaseException:
                self._is_stopped = True  # the threads stop at the next chunk of input
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _reserve(self, wanted: Wanted) -> SpoolRange:
        """Reserve a range of the temporary file for an object."""
        self._spool = self._spool or Spool(self._tmp)
        return self._spool.reserve(wanted.size)

    def _first_readable(self, wanted: Wanted, place: SpoolRange, claimants: Sequence[BaseCandidate]) -> ReadAt:
        """Decompress the first of the ``claimants`` that can be read and whose content has the right size."""
        refusal: BaseMismatchError | None = None
        for candidate in claimants:
            try:
                return self._inflated(wanted, place, candidate.content(wanted.size, lambda: self._is_stopped))
            except BaseMismatchError as refused:
                refusal = refusal or refused
        assert refusal
        raise refusal

    def _inflated(self, wanted: Wanted, place: SpoolRange, content: Iterable[bytes]) -> ReadAt:
        """Write an object's content to its reserved place in the temporary file. Return a reader of this place."""
        size = 0
        place.begin()
        try:
            for piece in content:
                size += len(piece)
                if size > wanted.size or self._is_stopped:
                    break
                place.write(piece)
        except ArchiveError as error:
            raise BaseMismatchError(messages.BASE_DAMAGED, wanted=_name(wanted), reason=error.message) from error
        if size != wanted.size:
            raise BaseMismatchError(messages.BASE_SIZE, wanted=_name(wanted), size=size, size_2=wanted.size)
        return place.source(wanted.size)

    def _prepare_made(self, index: int, candidate: BaseCandidate) -> None:
        """Recompress an object, because no archive has its stored bytes."""
        self._spool = self._spool or Spool(self._tmp)
        wanted, start, found = self._wanted[index], self._spool.size, hashlib.sha256()
        assert wanted.make
        self._made_size += wanted.size
        chunks: Iterable[bytes] = copy_chunks(candidate.source, 0, candidate.source.size)
        if candidate.blob.compression:
            chunks = candidate.content(wanted.of.size if wanted.of else 0)
        try:
            for piece in wanted.make(chunks):
                if self._spool.size - start + len(piece) > wanted.size:
                    break
                found.update(piece)
                self._spool.write(piece)
        except (ArchiveError, BundleError) as error:
            raise BaseMismatchError(messages.BASE_CANNOT_SERVE, wanted=_name(wanted), reason=error.message) from error
        if found.digest() != wanted.digest or self._spool.size - start != wanted.size:
            raise BaseMismatchError(messages.BASE_RECOMPRESSED_DIFFERS, wanted=_name(wanted))
        self._sources[index] = Slice(self._spool, start, wanted.size)

    def source(self, object_index: int) -> ReadAt:
        """Return the content of an object. Raise :class:`BaseMismatchError` if no archive has the object."""
        source = self._sources[object_index]
        if source is None:
            raise BaseMismatchError(messages.BASE_LACKS, wanted=_name(self._wanted[object_index]))
        return source

    def verify(self, needed: Iterable[int]) -> None:
        """Hash the objects in archives. Raise :class:`BaseMismatchError` for the first object with a wrong digest.

        Objects in targets are not hashed, because the digests of targets are already verified. In addition, objects in
        targets may overlap, so hashing all of them could take far too long.
        """
        for index in sorted(set(needed) - self._of_targets):
            wanted = self._wanted[index]
            pieces = (
                self.read(index, offset, min(1 << 20, wanted.size - offset))
                for offset in range(0, wanted.size, 1 << 20)
            )
            if sha256_of(pieces) != wanted.digest:
                raise BaseMismatchError(messages.BASE_DIGEST, wanted=_name(wanted))

    def read(self, object_index: int, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes of an object."""
        try:
            return self.source(object_index).read_at(offset, length)
        except FileError as error:
            raise _blamed(error) from error.__cause__

    def read_into(self, object_index: int, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes of an object from ``offset`` on."""
        try:
            self.source(object_index).read_into(offset, view)
        except FileError as error:
            raise _blamed(error) from error.__cause__

    def nearby(self, object_index: int, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes of an object.

        Call this method from one thread at a time, because the method reads ahead.
        """
        window = self._windows.get(object_index)
        if window is None:
            while len(self._windows) >= MAX_WINDOWS:
                self._windows.pop(next(iter(self._windows)))
            window = self._windows[object_index] = Window(self.source(object_index))
        try:
            return window.read_at(offset, length)
        except FileError as error:
            raise _blamed(error) from error.__cause__

    def header(self, object_index: int, offset: int) -> bytes:
        """Return 512 bytes of an object. Call this method from one thread at a time, because the method reads ahead."""
        return self.nearby(object_index, offset, 512)

    def close(self) -> None:
        """Free temporary files."""
        if self._spool:
            self._spool.close()

    def _resolve_claims(self, candidates: list[BaseCandidate], needed: list[int]) -> None:
        stored: dict[tuple[bytes, int], BaseCandidate] = {}
        inflated: dict[bytes, list[BaseCandidate]] = {}
        for candidate in candidates:
            for claim in candidate.claims():
                stored.setdefault((claim, candidate.source.size), candidate)
            if candidate.blob.compression and candidate.blob.diff_id:
                alike = inflated.setdefault(candidate.blob.diff_id, [])
                if len(alike) < _MOST_CLAIMANTS:
                    alike.append(candidate)
        for index in needed:
            wanted = self._wanted[index]
            found = stored.get((wanted.digest, wanted.size))
            if found:
                self._sources[index] = found.source
            elif claimants := inflated.get(wanted.digest):
                found, *self._others[index] = claimants
                self._inflate[index] = found
            if found:
                self.serving.add(found.number)

    def _resolve_forms(self, candidates: list[BaseCandidate], needed: list[int], digests: FoundDigests) -> None:
        """Find contents from which missing objects can be recompressed.

        Contents are found by the claims of archives. The contents in rebuilt targets are also found by hashing.
        """
        contents: dict[bytes, BaseCandidate] = {}
        for candidate in candidates:
            content = candidate.blob.diff_id or (None if candidate.blob.compression else candidate.blob.digest)
            if content:
                contents.setdefault(content, candidate)
        unclaimed = {of.size for index in needed if (of := self._wanted[index].of) and of.digest not in contents}
        for candidate in candidates if unclaimed and not self._believe else ():
            budget, is_compressed = candidate.budget, bool(candidate.blob.compression)
            if budget is None or (budget.is_spent if is_compressed else candidate.source.size not in unclaimed):
                continue  # given archives already claim the digests of their layers, so only rebuilt targets are hashed
            content = digests.content(candidate) if is_compressed else digests.stored(candidate)
            contents.setdefault(content or b"", candidate)
        for index in needed:
            of = self._wanted[index].of
            if of and (found := contents.get(of.digest)):
                self._made[index] = found
                self.serving.add(found.number)

    def _resolve_by_hash(self, candidates: list[BaseCandidate], needed: list[int], digests: FoundDigests) -> None:
        """Find missing objects by hashing blobs. This works even if claims are absent or wrong."""
        missing = {self._wanted[index].digest: index for index in needed}
        sizes = {self._wanted[index].size for index in missing.values()}
        contents = [self._wanted[index].size for index in missing.values() if not self._wanted[index].of]
        for candidate in candidates:
            if not missing:
                return
            if candidate.source.size in sizes:
                index = missing.pop(digests.stored(candidate), None)
                if index is not None:
                    self._sources[index] = candidate.source
            is_compressed = candidate.blob.kind == "layer" and candidate.blob.compression
            if not is_compressed or not contents or (candidate.budget and candidate.budget.is_spent):
                continue
            index = missing.pop(digests.content(candidate) or b"", None)
            if index is not None:
                self._inflate[index] = candidate


def _content_of(part: ReadAt) -> Iterator[bytes]:
    """Decompress bytes of a target. Raise ``ArchiveError`` if the bytes are not gzip or zstd."""
    kind = compression.sniff(part.read_at(0, min(16, part.size)))
    if kind not in OF_BUNDLES:
        raise ArchiveError(messages.BASE_NOT_COMPRESSED)
    yield from compression.decompress_iter(kind, copy_chunks(part, 0, part.size), PIECE, is_exact=True)


def _blamed(error: FileError) -> DibError:
    """Return ``error`` if a system call failed, or :class:`BaseMismatchError` for a truncated base."""
    if isinstance(error.__cause__, OSError):
        return error
    return BaseMismatchError(messages.BASE_UNREADABLE, reason=error.message, hint=error.advice)


def _name(wanted: Wanted) -> str:
    return f"sha256:{wanted.digest.hex()}"

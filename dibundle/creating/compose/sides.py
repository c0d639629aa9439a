"""Bases and targets during creation: blobs with digests, indexed layers, and the base for matching."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from dibundle.creating import messages
from dibundle.creating.compose.recompressed import TRIALS, CarriedLayer, RecompressedLayer, carry, unpack_layer
from dibundle.creating.compose.reframed import unpack_frames
from dibundle.creating.match import candidates
from dibundle.creating.match.base import BaseIndex, Layer, mark_contents
from dibundle.creating.match.images import StoredBlob, inflate_all, read_blobs, read_size
from dibundle.errors import ArchiveError
from dibundle.files import compression, digest
from dibundle.files.context import Context
from dibundle.files.progress import Progress
from dibundle.files.readat import ReadAt, Spool, copy_chunks
from dibundle.format.constants import KIND_LAYER, KIND_OTHER, MAX_IMAGES
from dibundle.images.archive import Archive
from dibundle.images.model import ImageArchive
from dibundle.images.reader import read_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Limits and resources for reading. The resources are threads, and a context for temporary files.

    If ``inventory`` is given, only the base layers in the inventory may be used. With ``recompress``, compressed layers
    are unpacked. ``most_unpacked`` is the maximum size of the temporary files for the unpacked layers of targets. If
    ``shared`` is true, later targets build on earlier targets. So every implementation of gzip or zstd must be able to
    decompress the layers of earlier targets.
    """

    executor: Executor
    context: Context
    inventory: frozenset[bytes] | None
    recompress: bool
    most_unpacked: int | None = None
    shared: bool = False

    @property
    def progress(self) -> Progress:
        """The display of progress."""
        return self.context.progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSide:
    """A target after reading. The target has images, blobs, new layers, and compressed layers for recompression.

    ``carried`` are compressed layers that cannot be recompressed. ``digest`` is a future with the digest of the whole
    archive.
    """

    images: ImageArchive
    digest: Future[bytes]
    blobs: list[StoredBlob]
    new_layers: list[Layer]
    packed: dict[bytes, RecompressedLayer]
    carried: list[CarriedLayer]


@dataclass(slots=True, kw_only=True)
class BaseSide:
    """The content to build on.

    For each target, this is the content of the bases and of the earlier targets. ``own`` are the layers of the bases.
    ``known`` maps digests to (kind, source), for all content that can be referenced as a whole. ``known`` contains only
    layers (uncompressed or as stored), because only the layers are the same in all archives of an image. Archives of
    different forms have different manifests. The configs in such archives may also differ: skopeo rewrites configs when
    it writes an OCI layout.
    """

    images: tuple[ImageArchive, ...]
    blobs: list[StoredBlob]
    index: BaseIndex
    own: frozenset[bytes]
    known: dict[bytes, tuple[int, ReadAt]] = field(default_factory=dict)

    def grow(self, target: TargetSide) -> None:
        """Add a composed target; later targets can build on its content."""
        self.index.add(target.new_layers)
        self.know(target.blobs, stored=True)
        for packed in target.packed.values():
            self.known.setdefault(packed.layer.digest, (KIND_LAYER, packed.layer.source))

    def layers_known_to(self, target: TargetSide) -> set[bytes]:
        """Return the diffIDs of the known layers that a target contains as a whole, whether compressed or raw."""
        has = {stored.digest for stored in target.blobs} | {item.layer.digest for item in target.packed.values()}
        compressed = {stored.layer.digest for stored in self.blobs if stored.layer and stored.digest in has}
        return (has & self.known.keys()) | compressed

    def know(self, blobs: Iterable[StoredBlob], *, stored: bool) -> None:
        """Add the layers among ``blobs`` to the known content.

        With ``stored``, also add compressed layers in their stored form.
        """
        for blob in blobs:
            if blob.layer:
                self.known.setdefault(blob.layer.digest, (KIND_LAYER, blob.layer.source))
            if stored and blob.source.size and blob.blob.kind == "layer":
                self.known.setdefault(blob.digest, (KIND_OTHER, blob.source))


def read_sides(
    bases: Sequence[Archive], targets: Sequence[Archive], reading: Reading
) -> tuple[BaseSide, list[TargetSide]]:
    """Read all targets and bases once. If there are many bases, read only the promising bases.

    Raises :class:`ArchiveError` if an input is not an image archive or is truncated.
    """
    for archive in (*bases, *targets):
        _refuse_truncated(archive)
    base_images = tuple(read_images(base) for base in bases)
    target_images = list(_read_images(targets))
    base_images = _helpful(base_images, target_images, reading)
    reading.progress.phase("reading", read_size((*base_images, *target_images)))
    base_reads, target_reads = ([_begin(images, reading) for images in side] for side in (base_images, target_images))
    digests = [reading.executor.submit(_digest_of, target) for target in targets]
    base_blobs = _read_base(base_images, base_reads, reading)
    layers = _by_image(base_images, base_blobs)
    known = {layer.digest for image in layers for layer in image}
    if reading.inventory is None:
        known |= {blob.digest for blob in base_blobs}
    sides = []
    for images, read, whole in zip(target_images, target_reads, digests, strict=True):
        sides.append(_read_target(images, list(read), whole, known, reading))
        known |= {blob.digest for blob in sides[-1].blobs}
        known |= {packed.layer.digest for packed in sides[-1].packed.values()}
    flat = [layer for image in layers for layer in image]
    index = BaseIndex()
    for image in layers:
        index.add(image)
    mark_contents(index, [layer for side in sides for layer in side.new_layers], reading.executor)
    base = BaseSide(images=base_images, blobs=base_blobs, index=index, own=frozenset(layer.digest for layer in flat))
    base.know(base_blobs, stored=reading.inventory is None)
    return base, sides


def _read_images(targets: Iterable[Archive]) -> Iterator[ImageArchive]:
    """Yield the targets. After the maximum number of images in a bundle, leave out all further images.

    The targets of a chain may have far more images than this maximum.
    """
    left = MAX_IMAGES
    for found in map(read_images, targets):
        yield found._replace(images=found.images[:left])
        left = max(0, left - len(found.images))


def _refuse_truncated(archive: Archive) -> None:
    """Refuse a truncated archive, for example an incomplete download. Accept any data after complete entries."""
    if archive.index.is_cut_short:
        raise ArchiveError(messages.ARCHIVE_TRUNCATED, name=archive.name, problem=archive.index.problem)


def _helpful(
    bases: tuple[ImageArchive, ...], targets: Sequence[ImageArchive], reading: Reading
) -> tuple[ImageArchive, ...]:
    """If there are many bases, return only the promising bases, and do not read the other bases."""
    picked = candidates.pick(bases, targets, lambda: Spool(reading.context.tmp), reading.most_unpacked)
    if len(picked) < len(bases):
        names = ", ".join(bases[number].archive.name for number in picked) or "none"
        reading.progress.note(f"{len(picked)} of {len(bases)} bases are used: {names}")
    return tuple(bases[number] for number in picked)


def _begin(images: ImageArchive, reading: Reading) -> Iterator[StoredBlob]:
    return read_blobs(images, reading.executor, reading.progress.advance)


def _digest_of(archive: Archive) -> bytes:
    return digest.sha256_of(copy_chunks(archive.bytes, 0, archive.bytes.size))


def _read_base(
    images: Sequence[ImageArchive], reads: Sequence[Iterator[StoredBlob]], reading: Reading
) -> list[StoredBlob]:
    spools: list[Spool] = []

    def spool() -> Spool:
        if not spools:
            spools.append(reading.context.spool())
        return spools[0]

    blobs: list[StoredBlob] = []
    for archive, read in zip(images, reads, strict=True):
        blobs += inflate_all(archive.archive, read, spool)
    if reading.inventory is not None:
        blobs = [blob for blob in blobs if blob.layer and blob.layer.digest in reading.inventory]
        if images and not blobs:
            reading.progress.note("the inventory has no layer of the base, so the base is not used")
    _note_damage(blobs, reading.progress)
    return blobs


def _read_target(
    images: ImageArchive, blobs: list[StoredBlob], whole: Future[bytes], known: Container[bytes], reading: Reading
) -> TargetSide:
    _note_damage(blobs, reading.progress)
    packed, carried = ({}, []) if not reading.recompress else _unpack(blobs, known, reading)
    new_layers = [blob.layer for blob in blobs if blob.layer and blob.digest not in known]
    new_layers += [item.layer for item in packed.values() if item.layer.digest not in known]
    return TargetSide(images=images, digest=whole, blobs=blobs, new_layers=new_layers, packed=packed, carried=carried)


_TRIALS: Final = 4 * TRIALS  # for all layers of a target in gzip


def _unpack(
    blobs: Sequence[StoredBlob], known: Container[bytes], reading: Reading
) -> tuple[dict[bytes, RecompressedLayer], list[CarriedLayer]]:
    """Return the new compressed layers in two groups.

    The first group has the layers that can be recompressed, by digest. The second group has all other layers.
    """
    new = [blob for blob in blobs if blob.blob.kind == "layer" and blob.blob.compression and blob.digest not in known]
    new = list({blob.digest: blob for blob in new}.values())
    # total size of the blobs; each layer's share of the target's limit is proportional to the layer's size
    stored = sum(blob.source.size for blob in blobs)

    def most(blob: StoredBlob) -> int | None:
        return None if reading.most_unpacked is None else reading.most_unpacked * blob.source.size // max(1, stored)

    gzip_layers = sum(blob.blob.compression == "gzip" for blob in new)
    unpackers: dict[str | None, Callable[[ReadAt, Spool, int | None], RecompressedLayer | None]] = {
        "gzip": partial(unpack_layer, trials=min(TRIALS, max(1, _TRIALS // max(1, gzip_layers)))),
        "zstd": unpack_frames,
    }
    jobs = [
        reading.executor.submit(unpackers[blob.blob.compression], blob.source, reading.context.spool(), most(blob))
        if blob.blob.compression in unpackers
        else None
        for blob in new
    ]
    packed, carried = {}, []
    for blob, job in zip(new, jobs, strict=True):
        found = job.result() if job else None
        if found and not (reading.shared and _is_damaged(blob, found)):
            packed[blob.digest] = found
        else:
            carried.append(carry(blob.digest, blob.blob.compression or "", blob.source))
            writer = f", {carried[-1].writer}" if carried[-1].writer else ""
            reading.progress.note(
                f"layer {digest.text(blob.digest)} cannot be recompressed ({blob.blob.compression}{writer}):"
                f" the bundle stores its {blob.source.size:,} bytes"
            )
    return packed, carried


def _is_damaged(blob: StoredBlob, found: RecompressedLayer) -> bool:
    """Return whether a layer has bytes after its compressed content (padding), or is damaged (wrong checksum)."""
    try:
        chunks = copy_chunks(blob.source, 0, blob.source.size)
        content = compression.decompress_iter(blob.blob.compression or "", chunks, is_exact=True)
        return digest.sha256_of(content) != found.layer.digest
    except ArchiveError:
        return True


def _note_damage(blobs: Sequence[StoredBlob], progress: Progress) -> None:
    """Report layers that do not match the claims of their archive. Bundles that use such layers cannot be applied."""
    for stored in blobs:
        claimed = stored.blob.digest if stored.blob.compression else stored.blob.diff_id or stored.blob.digest
        if stored.blob.kind == "layer" and claimed and claimed != stored.digest:
            progress.note(
                f"warning: layer {digest.text(claimed)} differs from its digest in the archive; it may be damaged"
            )


def _by_image(archives: Sequence[ImageArchive], blobs: list[StoredBlob]) -> list[list[Layer]]:
    """Return each image's layers (the topmost layer is last), then the layers without an image.

    If several layers have the same content, only one of them is returned.
    """
    by_place = {id(blob.blob): blob for blob in blobs}
    seen: set[bytes] = set()
    images = [[blob for blob in image.layers if blob] for archive in archives for image in archive.images]
    return [
        list(_new_layers((by_place.get(id(blob)) for blob in image), seen))
        for image in (*images, [item.blob for item in blobs])
    ]


def _new_layers(blobs: Iterable[StoredBlob | None], seen: set[bytes]) -> Iterator[Layer]:
    for stored in blobs:
        if stored and stored.layer and stored.layer.digest not in seen:
            seen.add(stored.layer.digest)
            yield stored.layer

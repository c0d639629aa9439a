"""Creating a bundle: read both sides, match, compose the program, encode the frames, write the file."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial

from dibundle import digest
from dibundle.archive.opener import Archive
from dibundle.archive.readat import ReadAt, Spool, copy_chunks
from dibundle.bundle import writer
from dibundle.bundle.constants import KIND_LAYER, KIND_OTHER
from dibundle.bundle.manifest import About, AboutImage, Form, Frame, Manifest, Names, Range, Target
from dibundle.bundle.program import ProgramWriter
from dibundle.compose.archive import ArchiveComposer, Member
from dibundle.compose.frames import Draft, FramePlanner
from dibundle.compose.layer import Counts, LayerComposer
from dibundle.compose.objects import ObjectTable
from dibundle.compose.packed import PackedLayer, guess, unpack_layer
from dibundle.deflate import encoders
from dibundle.delta import choose, layout, packing, zstd
from dibundle.errors import ArchiveError
from dibundle.image.model import ImageArchive
from dibundle.image.reader import read_images
from dibundle.match import names as match_names
from dibundle.match.base import BaseIndex, Layer, content_sizes, hash_contents, is_file
from dibundle.match.images import StoredBlob, inflate_all, read_blobs
from dibundle.match.matcher import Matcher
from dibundle.progress import Progress, Silent

NAMES_SHARE = 0.05  # names for listing may take this share of a bundle ...
NAMES_FLOOR = 2048  # ... or so many bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """How to create: ``names`` is auto, all or none; ``workers`` 0 means one per core; ``tmp`` for temporary files.

    ``have``: diffIDs of the layers that the receiver has, of which alone a bundle may take something.
    """

    patch: choose.Options = field(default_factory=choose.Options)
    names: str = "auto"
    workers: int = 0
    have: frozenset[bytes] | None = None
    tmp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResult:
    """What was made: sizes in bytes, what the program was made of, the manifest."""

    size: int
    base_size: int
    target_size: int
    manifest_size: int
    counts: Counts
    manifest: Manifest


def create(
    bases: Sequence[Archive],
    target: Archive,
    write: Callable[[bytes], object],
    options: CreateOptions = CreateOptions(),
    progress: Progress | None = None,
) -> CreateResult:
    """Write a bundle that rebuilds ``target`` from the images in ``bases`` (none: a bundle that needs no base).

    Raises :class:`ArchiveError` where an input is no image archive, :class:`FileError` where the system refuses.
    """
    progress = progress or Silent()
    workers = options.workers or os.cpu_count() or 1
    if not encoders.are_here() and not options.patch.portable:
        progress.note("this dib has no C library: nothing that is compressed is looked into")
        options = replace(options, patch=replace(options.patch, portable=True))
    with ExitStack() as stack, ThreadPoolExecutor(workers) as executor:
        sides = _Sides.read(bases, target, executor, stack, options, progress)
        composed = _compose(sides, options)
        spool = stack.enter_context(closing(Spool(options.tmp)))
        frames = list(_encode(composed, options, executor, workers, spool, progress))
        manifest = _manifest(sides, composed, frames, options, executor)
        size = 0
        for piece in writer.write(manifest, _stored(frames, spool)):
            write(piece)
            size += len(piece)
        return CreateResult(
            size=size,
            base_size=sum(base.bytes.size for base in bases),
            target_size=target.bytes.size,
            manifest_size=size - sum(frame.stored for frame in frames),
            counts=composed.counts,
            manifest=manifest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Both sides read: the blobs with their digests, the base indexed."""

    base_images: tuple[ImageArchive, ...]
    target_images: ImageArchive
    base_blobs: list[StoredBlob]
    target_blobs: list[StoredBlob]
    base: BaseIndex
    new_layers: list[Layer]
    packed: dict[bytes, PackedLayer]

    @classmethod
    def read(
        cls,
        bases: Sequence[Archive],
        target: Archive,
        executor: Executor,
        stack: ExitStack,
        options: CreateOptions,
        progress: Progress,
    ) -> _Sides:
        for archive in (*bases, target):
            _refuse_truncated(archive)
        base_images = tuple(read_images(base) for base in bases)
        target_images = read_images(target)
        progress.phase("reading", sum(archive.bytes.size for archive in (*bases, target)))
        spools: list[Spool] = []

        def spool() -> Spool:
            if not spools:
                spools.append(stack.enter_context(closing(Spool(options.tmp))))
            return spools[0]

        base_blobs: list[StoredBlob] = []
        for images in base_images:
            base_blobs += inflate_all(read_blobs(images, executor, progress.advance), spool)
        if options.have is not None:
            base_blobs = [blob for blob in base_blobs if blob.layer and blob.layer.digest in options.have]
        target_blobs = read_blobs(target_images, executor, progress.advance)
        _tell_damage((*base_blobs, *target_blobs), progress)
        layers = _in_image_order(base_images, base_blobs)
        known = {layer.digest for layer in layers}
        if options.have is None:
            known |= {blob.digest for blob in base_blobs}
        packed = {} if options.patch.portable else _unpack(target_blobs, known, executor, stack, options, progress)
        new_layers = [blob.layer for blob in target_blobs if blob.layer and blob.digest not in known]
        new_layers += [item.layer for item in packed.values() if item.layer.digest not in known]
        _hash_both(layers, new_layers, executor)
        return cls(
            base_images=base_images,
            target_images=target_images,
            base_blobs=base_blobs,
            target_blobs=target_blobs,
            base=BaseIndex(layers),
            new_layers=new_layers,
            packed=packed,
        )


def _refuse_truncated(archive: Archive) -> None:
    """Refuse what is most likely half a download; junk behind whole entries is kept as it is."""
    if archive.index.problem and archive.index.problem.startswith("the archive is cut short in an entry"):
        raise ArchiveError(
            f"{archive.name} is truncated: {archive.index.problem}", hint="save or download the archive again"
        )


def _unpack(
    blobs: Sequence[StoredBlob],
    known: Container[bytes],
    executor: Executor,
    stack: ExitStack,
    options: CreateOptions,
    progress: Progress,
) -> dict[bytes, PackedLayer]:
    """Return, by their digests, the compressed layers that the base has not and that can be compressed again."""
    new = [blob for blob in blobs if blob.blob.kind == "layer" and blob.blob.compression and blob.digest not in known]
    new = list({blob.digest: blob for blob in new}.values())
    spools = [stack.enter_context(closing(Spool(options.tmp))) for _ in new]
    jobs = [
        executor.submit(unpack_layer, blob.source, spool) if blob.blob.compression == "gzip" else None
        for blob, spool in zip(new, spools, strict=True)
    ]
    packed = {}
    for blob, job in zip(new, jobs, strict=True):
        found = job.result() if job else None
        if found:
            packed[blob.digest] = found
        else:
            progress.note(
                f"layer {digest.text(blob.digest)} is {blob.blob.compression} by an unknown encoder:"
                f" it is in the bundle as it is, {blob.source.size:,} bytes"
            )
    return packed


def _tell_damage(blobs: Sequence[StoredBlob], progress: Progress) -> None:
    """Say which layers are not what their archive claims: such a base helps nobody who has the real one."""
    for stored in blobs:
        claimed = stored.blob.digest if stored.blob.compression else stored.blob.diff_id or stored.blob.digest
        if stored.blob.kind == "layer" and claimed and claimed != stored.digest:
            progress.note(
                f"warning: layer {digest.text(claimed)} has other content than its archive says; is it damaged?"
            )


def _in_image_order(archives: Sequence[ImageArchive], blobs: list[StoredBlob]) -> list[Layer]:
    """Return the base's layers, each content once, in the order of the images, the topmost last."""
    by_place = {(id(blob.blob)): blob for blob in blobs}
    ordered: dict[bytes, Layer] = {}
    in_images = [blob for images in archives for image in images.images for blob in image.layers if blob]
    for blob in (*in_images, *(item.blob for item in blobs)):
        stored = by_place.get(id(blob))
        if stored and stored.layer:
            ordered.setdefault(stored.layer.digest, stored.layer)
    return list(ordered.values())


def _hash_both(base: list[Layer], target: list[Layer], executor: Executor) -> None:
    """Hash the files that could have an equal on the other side or within the target."""
    base_sizes = content_sizes(base)
    counts = Counter(entry.size for layer in target for entry in layer.index.entries if is_file(entry))
    twice = {size for size, count in counts.items() if count > 1}
    jobs = [executor.submit(hash_contents, layer, counts.keys()) for layer in base]
    jobs += [executor.submit(hash_contents, layer, base_sizes | twice) for layer in target]
    for job in jobs:
        job.result()


@dataclass(slots=True, kw_only=True)
class _Composed:
    """A program and its frames in the making."""

    writer: ProgramWriter
    frames: FramePlanner
    objects: ObjectTable
    archive: ArchiveComposer
    rest_digest: bytes
    counts: Counts
    reencoders: set[int]

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests, as readers will make them."""
        return b"".join(item.digest.hex().encode() for item in self.archive.segments.found if item.digest)


def _compose(sides: _Sides, options: CreateOptions) -> _Composed:
    """Write the target's program: identical blobs by reference, layers entry by entry, the rest as it is."""
    program, objects, counts = ProgramWriter(), ObjectTable(), Counts()
    text_sources: list[Range] = []
    document_sources: list[Range] = []
    frames = FramePlanner(0, text_sources, document_sources)
    target = sides.target_images.archive
    composer = ArchiveComposer(target.bytes, target.index, program, frames)
    known = _known_contents(sides, stored=options.have is None)
    contents = {stored.digest for stored in sides.target_blobs} | {item.layer.digest for item in sides.packed.values()}
    kept = contents & known.keys()
    matcher = Matcher(sides.base, sides.new_layers, kept)
    layers = LayerComposer(program, frames, objects, sides.base, matcher, counts)
    numbers = {id(entry): number for number, entry in enumerate(target.index.entries)}

    def content_of(layer: Layer) -> Callable[[], None]:
        return (
            partial(_refer, program, objects, layer.digest, known)
            if layer.digest in known
            else partial(layers.compose, layer)
        )

    members = {}
    for stored in sides.target_blobs:
        member = stored.blob.member
        compose: Callable[[], None] | None = None
        packed = sides.packed.get(stored.digest)
        if stored.digest in known:
            compose = partial(_refer, program, objects, stored.digest, known)
        elif packed:
            compose = partial(_pack, program, frames, packed, stored.source.size, content_of(packed.layer))
        elif stored.layer:
            compose = content_of(stored.layer)
        named = stored.digest in (stored.blob.digest, stored.blob.diff_id)
        members[numbers[id(member)]] = Member(member, stored.digest, named, compose)
    composer.compose(members)
    rest = composer.segments.finish()
    composed = _Composed(
        writer=program,
        frames=frames,
        objects=objects,
        archive=composer,
        rest_digest=rest,
        counts=counts,
        reencoders=set().union(*(packing.reencoders(item.parts) for item in sides.packed.values())),
    )
    hex_digits = composed.digest_text()
    if hex_digits:
        text_sources.append(Range(len(objects.objects), 0, len(hex_digits)))
        document_sources.append(text_sources[0])
    return composed


def _known_contents(sides: _Sides, *, stored: bool) -> dict[bytes, tuple[int, ReadAt]]:
    """Return what the base can serve whole, by digest: (kind, source).

    Layers alone, which every archive of an image holds whatever its form; a compressed layer also as it is stored.
    Manifests differ from form to form, and so do configs: skopeo writes them anew on the way to an OCI layout.
    """
    known: dict[bytes, tuple[int, ReadAt]] = {}
    for blob in sides.base_blobs:
        if blob.layer:
            known.setdefault(blob.layer.digest, (KIND_LAYER, blob.layer.source))
        if stored and blob.source.size and blob.blob.kind == "layer":
            known.setdefault(blob.digest, (KIND_OTHER, blob.source))
    return known


def _refer(
    program: ProgramWriter, objects: ObjectTable, content: bytes, known: Mapping[bytes, tuple[int, ReadAt]]
) -> None:
    kind, source = known[content]
    program.seek(objects.use(kind, content, source), 0)
    program.keep(source.size)


def _pack(
    program: ProgramWriter, frames: FramePlanner, packed: PackedLayer, size: int, compose: Callable[[], None]
) -> None:
    """Write the operations for a compressed layer of ``size`` bytes; ``compose`` writes those for its content."""
    data = packing.write(packed.parts) + packed.plain
    program.begin(len(data), size)
    frames.text(data)
    compose()
    program.end()


def _encode(
    composed: _Composed,
    options: CreateOptions,
    executor: ThreadPoolExecutor,
    workers: int,
    spool: Spool,
    progress: Progress,
) -> Iterator[Frame]:
    """Encode the frames on all workers, in order; at most ``workers`` of them are in memory."""
    drafts = composed.frames.drafts
    hex_digits = composed.digest_text()
    patched = sum(draft.size for draft in drafts if draft.old)
    patch = replace(options.patch, little=patched) if patched <= choose.LITTLE else options.patch
    progress.phase("encoding", sum(draft.size for draft in drafts))
    running: deque[tuple[Draft, Future[choose.Encoded]]] = deque()

    def encode(draft: Draft) -> choose.Encoded:
        source = _read_source(draft, composed.objects, hex_digits)
        plan = _relink_plan(draft, composed.objects) if choose.relinks(patch) else None
        return choose.encode(draft.read(), source, patch, plan)

    def finish() -> Frame:
        draft, future = running.popleft()
        encoded = future.result()
        composed.reencoders |= encoded.reencoders
        spool.write(encoded.payload)
        progress.advance(draft.size)
        return _frame(draft, encoded.codec, encoded.payload)

    for draft in drafts:
        if len(running) == workers:
            yield finish()
        running.append((draft, executor.submit(encode, draft)))
    while running:
        yield finish()


def _relink_plan(draft: Draft, objects: ObjectTable) -> layout.Plan | None:
    """Return what relinking has to know of the file that a window was cut from."""
    if not draft.whole:
        return None
    old, window = draft.whole.old, draft.old[0]
    start = window.offset - old.offset
    return draft.whole.plan(objects.read, range(start, start + window.length), draft.window)


def _read_source(draft: Draft, objects: ObjectTable, hex_digits: bytes) -> bytes:
    return b"".join(
        objects.sources[item.object].read_at(item.offset, item.length)
        if item.object < len(objects.sources)
        else hex_digits[item.offset : item.offset + item.length]
        for item in draft.old
    )


def _frame(draft: Draft, codec: int, payload: bytes) -> Frame:
    needs_source = codec in choose.WITH_SOURCE
    return Frame(
        stream=draft.stream,
        codec=codec,
        stored=len(payload),
        size=draft.size,
        digest=digest.sha256(payload),
        implied=needs_source and draft.implied,
        source_size=sum(item.length for item in draft.old) if needs_source else 0,
        sources=tuple(draft.old) if needs_source and not draft.implied else (),
    )


def _manifest(
    sides: _Sides, composed: _Composed, frames: list[Frame], options: CreateOptions, executor: Executor
) -> Manifest:
    target = sides.target_images.archive
    manifest = Manifest(
        codecs=tuple(sorted({frame.codec for frame in frames})),
        reencoders=tuple(sorted(composed.reencoders)),
        objects=tuple(composed.objects.objects),
        frames=tuple(frames),
        targets=(
            Target(
                size=target.bytes.size,
                digest=digest.sha256_of(copy_chunks(target.bytes, 0, target.bytes.size)),
                rest_digest=composed.rest_digest,
                tail=composed.archive.tail() if target.bytes.size else 0,
                frames=len(frames),
                segments=tuple(composed.archive.segments.found),
                columns=composed.writer.finish(),
            ),
        ),
        about=_about(sides),
        forms=() if options.patch.portable else tuple(_forms(sides, composed.objects, executor)),
    )
    return _with_names(manifest, sides, composed, options)


def _forms(sides: _Sides, objects: ObjectTable, executor: Executor) -> Iterator[Form]:
    """Yield how compressed layers that stay may be made of their content, for receivers with another form of it."""
    numbers = {item.digest: number for number, item in enumerate(objects.objects) if item.kind == KIND_OTHER}
    stored = {blob.digest: blob for blob in sides.base_blobs if blob.layer and blob.digest in numbers}
    guesses = {
        digest_of: executor.submit(guess, blob.source, blob.layer.source.size)
        for digest_of, blob in stored.items()
        if blob.layer and blob.blob.compression == "gzip"
    }
    for digest_of, number in sorted(numbers.items(), key=lambda item: item[1]):
        layer = stored[digest_of].layer if digest_of in guesses else None
        packed = guesses[digest_of].result() if layer else None
        if layer and packed:
            yield Form(object=number, size=layer.source.size, digest=layer.digest, packing=packed)


def _about(sides: _Sides) -> About:
    notes = []
    if sides.target_images.archive.compression:
        notes.append(("outer compression removed", sides.target_images.archive.compression))
    return About(
        bases=tuple(image for images in sides.base_images for image in _about_images(images)),
        targets=(tuple(_about_images(sides.target_images)),),
        notes=tuple(notes),
    )


def _about_images(images: ImageArchive) -> Iterator[AboutImage]:
    for image in images.images:
        yield AboutImage(
            names=tuple(name.encode("utf-8", "replace").decode()[:512] for name in image.names[:64]),
            id=image.config_digest,
            diff_ids=image.diff_ids,
        )


def _with_names(manifest: Manifest, sides: _Sides, composed: _Composed, options: CreateOptions) -> Manifest:
    """Add the names of patched and deleted paths where they are wanted and small enough."""
    if options.names == "none" or not (composed.counts.names or sides.new_layers):
        return manifest
    kept = {match_names.clean(e.path) for layer in sides.new_layers for e in layer.index.entries}
    used = {item.digest for item in composed.objects.objects}
    deleted = sorted(
        {
            match_names.clean(entry.path)
            for layer in sides.base.layers
            if layer.digest in used
            for entry in layer.index.entries
        }
        - kept
    )
    same_layers = {blob.digest for blob in sides.target_blobs} & {layer.digest for layer in sides.base.layers}
    deleted = [] if same_layers and not sides.new_layers else deleted
    named = replace(manifest, names=Names(patched=(tuple(composed.counts.names),), deleted=(tuple(deleted),)))
    extra = len(zstd.compress(named.encode(), 3)) - len(zstd.compress(manifest.encode(), 3))
    total = sum(frame.stored for frame in manifest.frames)
    if options.names == "all" or extra <= max(NAMES_FLOOR, NAMES_SHARE * total):
        return named
    return manifest


def _stored(frames: list[Frame], spool: Spool) -> Iterator[bytes]:
    offset = 0
    for frame in frames:
        yield spool.read_at(offset, frame.stored)
        offset += frame.stored

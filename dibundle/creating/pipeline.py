"""Creating a bundle: read both sides, match, compose the programs, encode the frames, write the file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from dibundle.codecs import recompression, zstd
from dibundle.codecs.deflate import encoders
from dibundle.codecs.encode import choose, layout
from dibundle.creating.compose.archive import ArchiveComposer, Member
from dibundle.creating.compose.frames import Draft, FramePlanner
from dibundle.creating.compose.layer import Counts, LayerComposer
from dibundle.creating.compose.objects import ObjectTable
from dibundle.creating.compose.recompressed import PackedLayer, guess
from dibundle.creating.compose.sides import BaseSide, Reading, TargetSide, read_sides
from dibundle.creating.match import names as match_names
from dibundle.creating.match.base import Layer
from dibundle.creating.match.matcher import Matcher
from dibundle.files import digest
from dibundle.files.progress import Progress, Silent
from dibundle.files.readat import ReadAt, Spool, copy_chunks
from dibundle.format import writer
from dibundle.format.constants import (
    COST_FACTOR,
    COST_FLOOR,
    FRAME_COST,
    KIND_OTHER,
    MAX_ABOUT_TEXT,
    MAX_DIFF_IDS,
    MAX_IMAGES,
    MAX_MANIFEST,
    MAX_NAMES,
    OP_COST,
    SEGMENT_COST,
)
from dibundle.format.manifest import About, AboutImage, Form, Manifest, Names, Target
from dibundle.format.program import ProgramWriter
from dibundle.format.tables import Frame, Range
from dibundle.images.archive import Archive
from dibundle.images.model import ImageArchive

NAMES_SHARE = 0.05  # names for listing may take this share of a bundle ...
NAMES_FLOOR = 2048  # ... or so many bytes
AHEAD = 4  # frames for each worker that may be at work, waiting or encoded: nobody stands idle behind a slow one


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
    """What was made: sizes in bytes, what the programs were made of, the manifest."""

    size: int
    base_size: int
    target_size: int
    manifest_size: int
    counts: Counts
    manifest: Manifest


def create(
    bases: Sequence[Archive],
    targets: Sequence[Archive],
    write: Callable[[bytes], object],
    options: CreateOptions = CreateOptions(),
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> CreateResult:
    """Write a bundle that rebuilds ``targets`` from the images in ``bases`` (none: a bundle that needs no base).

    Each target may build on those before it. ``executor`` encodes the frames in place of threads: it gets
    :func:`choose.encode` and bytes, so that processes and other machines do, if they have the same libraries; then
    ``workers`` says how many frames it has at a time. Raises :class:`ArchiveError` where an input is no image archive,
    :class:`FileError` where the system refuses.
    """
    progress = progress or Silent()
    workers = options.workers or os.cpu_count() or 1
    with ExitStack() as stack, ThreadPoolExecutor(workers) as threads:
        prepared = prepare(bases, targets, options, threads, stack, progress)
        spool = stack.enter_context(closing(Spool(options.tmp)))
        frames = list(_encode(prepared, executor, workers, spool, progress))
        manifest = prepared.manifest(frames)
        size = 0
        for piece in writer.write(manifest, _stored(frames, spool)):
            write(piece)
            size += len(piece)
        return CreateResult(
            size=size,
            base_size=sum(archive.bytes.size for archive in bases),
            target_size=sum(archive.bytes.size for archive in targets),
            manifest_size=size - sum(frame.stored for frame in frames),
            counts=prepared.counts,
            manifest=manifest,
        )


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A bundle before its frames are encoded: everything is matched, the programs are written."""

    base: BaseSide
    composed: list[_Composed]
    objects: ObjectTable
    counts: Counts
    options: CreateOptions
    threads: Executor

    def drafts(self) -> list[tuple[_Composed, bytes, Draft]]:
        """Return the frames to encode, each with its target and that one's digest text."""
        return [(item, item.digest_text(), draft) for item in self.composed for draft in item.frames.drafts]

    def load(
        self, draft: Draft, hex_digits: bytes, *, planned: bool = True
    ) -> tuple[bytes, bytes, choose.Options, layout.Plan | None]:
        """Return what :func:`choose.encode` takes to encode a frame; not ``planned``: where nothing is relinked."""
        plan = _relink_plan(draft, self.objects) if planned and choose.relinks(self.options.patch) else None
        return draft.read(), _read_source(draft, self.objects, hex_digits), self.options.patch, plan

    def plan_ahead(self, draft: Draft) -> None:
        """Find out what :meth:`load` needs to know of the whole file that a frame was cut from."""
        if draft.whole and choose.relinks(self.options.patch):
            draft.whole.prepare(self.objects.read)

    def manifest(self, frames: list[Frame]) -> Manifest:
        """Return the manifest for these frames."""
        return _manifest(self.base, self.composed, self.objects, frames, self.options, self.threads)


def prepare(
    bases: Sequence[Archive],
    targets: Sequence[Archive],
    options: CreateOptions,
    threads: Executor,
    stack: ExitStack,
    progress: Progress,
) -> Prepared:
    """Read and match everything and write the programs; what is temporary is there until ``stack`` ends."""
    if not encoders.are_here() and not options.patch.portable:
        progress.note("this dib has no C library: nothing that is compressed is looked into")
        options = replace(options, patch=replace(options.patch, portable=True))
    reading = Reading(
        executor=threads,
        stack=stack,
        tmp=options.tmp,
        have=options.have,
        portable=options.patch.portable,
        progress=progress,
    )
    base, sides = read_sides(bases, targets, reading)
    progress.phase("comparing", 0)
    objects, counts = ObjectTable(), Counts()
    composed = _compose_all(base, sides, objects, counts)
    base.index.forget_entries()  # encoding has the memory: 460 bytes a file at most, not 1,060
    patched = sum(draft.size for item in composed for draft in item.frames.drafts if draft.old)
    if patched <= choose.LITTLE:
        options = replace(options, patch=replace(options.patch, little=patched))
    return Prepared(base=base, composed=composed, objects=objects, counts=counts, options=options, threads=threads)


@dataclass(slots=True, kw_only=True)
class _Composed:
    """A target's program and its frames in the making."""

    side: TargetSide
    writer: ProgramWriter
    frames: FramePlanner
    archive: ArchiveComposer
    text_sources: list[Range]
    rest_digest: bytes
    names: list[bytes]
    deleted: list[bytes]
    reencoders: set[int]

    def cost(self) -> int:
        """Return what the target costs a reader (spec/dib.md, 4.5)."""
        of_frames = sum(
            FRAME_COST + draft.size + sum(item.length for item in draft.old) for draft in self.frames.drafts
        )
        return of_frames + SEGMENT_COST * len(self.archive.segments.found) + OP_COST * self.writer.operations

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests, as readers will make them."""
        return b"".join(item.digest.hex().encode() for item in self.archive.segments.found if item.digest)


def _compose_all(base: BaseSide, sides: Sequence[TargetSide], objects: ObjectTable, counts: Counts) -> list[_Composed]:
    """Write the programs of all targets; each one's content is there for those after it."""
    composed: list[_Composed] = []
    first = 0
    for side in sides:
        composed.append(_compose(base, side, first, objects, counts))
        first += len(composed[-1].frames.drafts)
        base.grow(side)
    for item in composed:  # the digest text has its number behind all objects
        size = len(item.digest_text())
        if size:
            item.text_sources.append(Range(len(objects.objects), 0, size))
    _drop_costly_sources(composed)
    return composed


def _drop_costly_sources(composed: Sequence[_Composed]) -> None:
    """Patch no more from sources that are far larger than what they help with, where they would cost too much.

    A reader refuses a bundle whose targets cost more than 8 times their sizes by over 64 MiB (spec/dib.md, 4.5).
    """
    beyond = [max(0, item.cost() - COST_FACTOR * item.side.images.archive.bytes.size) for item in composed]
    drafts = [
        draft
        for item, excess in zip(composed, beyond, strict=True)
        for draft in item.frames.drafts
        if excess and draft.old_size
    ]
    left = sum(beyond)
    for draft in sorted(drafts, key=lambda draft: draft.old_size, reverse=True):
        if left <= COST_FLOOR:
            return
        left -= draft.old_size
        draft.old, draft.old_size, draft.implied, draft.whole = [], 0, False, None


def _compose(base: BaseSide, side: TargetSide, first: int, objects: ObjectTable, counts: Counts) -> _Composed:
    """Write a target's program: known layers by reference, others entry by entry, the rest as it is."""
    program, before = ProgramWriter(), len(counts.names)
    objects.used.clear()
    text_sources: list[Range] = []
    frames = FramePlanner(first, text_sources)
    target = side.images.archive
    composer = ArchiveComposer(target.bytes, target.index, program, frames)
    matcher = Matcher(base.index, side.new_layers, base.kept_by(side))
    layers = LayerComposer(program, frames, objects, base.index, matcher, counts)
    numbers = {id(entry): number for number, entry in enumerate(target.index.entries)}

    def content_of(layer: Layer) -> Callable[[], None]:
        return (
            partial(_refer, program, objects, layer.digest, base.known)
            if layer.digest in base.known
            else partial(layers.compose, layer)
        )

    members = {}
    for stored in side.blobs:
        member = stored.blob.member
        compose: Callable[[], None] | None = None
        packed = side.packed.get(stored.digest)
        if stored.digest in base.known:
            compose = partial(_refer, program, objects, stored.digest, base.known)
        elif packed:
            compose = partial(_pack, program, frames, packed, stored.source.size, content_of(packed.layer))
        elif stored.layer:
            compose = content_of(stored.layer)
        named = stored.digest in (stored.blob.digest, stored.blob.diff_id)
        members[numbers[id(member)]] = Member(member, stored.digest, named, compose)
    composer.compose(members)
    return _Composed(
        side=side,
        writer=program,
        frames=frames,
        archive=composer,
        text_sources=text_sources,
        rest_digest=composer.segments.finish(),
        names=counts.names[before:],
        deleted=_deleted(base, side, objects.used),
        reencoders=set().union(*(recompression.reencoders(item.parts) for item in side.packed.values())),
    )


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
    data = recompression.write(packed.parts) + packed.plain
    program.begin(len(data), size)
    frames.text(data)
    compose()
    program.end()


def _encode(
    prepared: Prepared, executor: Executor | None, workers: int, spool: Spool, progress: Progress
) -> Iterator[Frame]:
    """Encode the frames of all targets on all workers, in order; at most ``workers`` of them are in memory decoded."""
    drafts = prepared.drafts()
    progress.phase("encoding", sum(draft.size for _, _, draft in drafts))
    running: deque[tuple[_Composed, Draft, Future[choose.Encoded]]] = deque()

    def encode(draft: Draft, hex_digits: bytes) -> choose.Encoded:
        return choose.encode(*prepared.load(draft, hex_digits))

    def submit(draft: Draft, hex_digits: bytes) -> Future[choose.Encoded]:
        if executor is None:
            return prepared.threads.submit(encode, draft, hex_digits)  # which reads, too
        return executor.submit(choose.encode, *prepared.load(draft, hex_digits))

    def finish() -> Frame:
        item, draft, future = running.popleft()
        encoded = future.result()
        item.reencoders |= encoded.reencoders
        spool.write(encoded.payload)
        progress.advance(draft.size)
        return _frame(draft, encoded.codec, encoded.payload)

    for item, hex_digits, draft in drafts:
        if len(running) == (AHEAD * workers if executor is None else workers):
            yield finish()
        running.append((item, draft, submit(draft, hex_digits)))
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
    base: BaseSide,
    composed: Sequence[_Composed],
    objects: ObjectTable,
    frames: list[Frame],
    options: CreateOptions,
    executor: Executor,
) -> Manifest:
    manifest = Manifest(
        codecs=tuple(sorted({frame.codec for frame in frames})),
        reencoders=tuple(sorted(set().union(*(item.reencoders for item in composed)))),
        objects=tuple(objects.objects),
        frames=tuple(frames),
        targets=tuple(_target(item) for item in composed),
        about=_about(base, composed, objects),
        forms=() if options.patch.portable else tuple(_forms(base, objects, executor)),
    )
    return _with_names(manifest, composed, options)


def _target(composed: _Composed) -> Target:
    archive = composed.side.images.archive
    return Target(
        size=archive.bytes.size,
        digest=digest.sha256_of(copy_chunks(archive.bytes, 0, archive.bytes.size)),
        rest_digest=composed.rest_digest,
        tail=composed.archive.tail() if archive.bytes.size else 0,
        frames=len(composed.frames.drafts),
        segments=tuple(composed.archive.segments.found),
        columns=composed.writer.finish(),
    )


def _forms(base: BaseSide, objects: ObjectTable, executor: Executor) -> Iterator[Form]:
    """Yield how compressed layers that stay may be made of their content, for receivers with another form of it."""
    numbers = {item.digest: number for number, item in enumerate(objects.objects) if item.kind == KIND_OTHER}
    stored = {blob.digest: blob for blob in base.blobs if blob.layer and blob.digest in numbers}
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


def _about(base: BaseSide, composed: Sequence[_Composed], objects: ObjectTable) -> About:
    removed = {item.side.images.archive.compression for item in composed} - {None}
    bases, targets = about_within(
        list(_needed_images(base, {item.digest for item in objects.objects})),
        [list(_about_images(item.side.images)) for item in composed],
    )
    return About(
        bases=tuple(bases),
        targets=tuple(map(tuple, targets)),
        notes=tuple(("outer compression removed", name) for name in sorted(filter(None, removed))),
    )


def about_within(
    bases: Sequence[AboutImage], targets: Sequence[Sequence[AboutImage]]
) -> tuple[list[AboutImage], list[list[AboutImage]]]:
    """Return images as a bundle may tell them: names, diffIDs, then images are left out where there are too many."""
    images, names, diff_ids, text = MAX_IMAGES, MAX_NAMES, MAX_DIFF_IDS, MAX_ABOUT_TEXT - ABOUT_NOTES

    def fitting(found: Sequence[AboutImage]) -> list[AboutImage]:
        nonlocal images, names, diff_ids, text
        kept = []
        for image in found[:images]:
            size = sum(len(name.encode()) for name in image.names)
            told = image.names if len(image.names) <= names and size <= text else ()
            layers = image.diff_ids if len(image.diff_ids) <= diff_ids else ()
            names -= len(told)
            text -= size if told else 0
            diff_ids -= len(layers)
            kept.append(replace(image, names=told, diff_ids=layers))
        images -= len(kept)
        return kept

    made = [fitting(found) for found in targets]  # what is made is worth more
    return fitting(bases), made


ABOUT_NOTES: Final = 64 << 10  # bytes of text that are left for notes


def _needed_images(base: BaseSide, used: set[bytes]) -> Iterator[AboutImage]:
    """Yield the images of the bases; of several only those that have something used which none before has."""
    images = [image for archive in base.images for image in archive.images]
    found = [about for archive in base.images for about in _about_images(archive)]
    if len(found) < 2:
        yield from found
        return
    layers = {id(blob.blob): {blob.digest, *([blob.layer.digest] if blob.layer else ())} for blob in base.blobs}
    for image, about in zip(images, found, strict=True):
        held = used.intersection(*[set().union(*(layers.get(id(blob), set()) for blob in image.layers if blob))])
        if held:
            yield about
        used -= held


def _about_images(images: ImageArchive) -> Iterator[AboutImage]:
    for image in images.images:
        yield AboutImage(
            names=tuple(name.encode("utf-8", "replace").decode()[:512] for name in image.names[:64]),
            id=image.config_digest,
            diff_ids=image.diff_ids,
        )


def _deleted(base: BaseSide, side: TargetSide, used: set[bytes]) -> list[bytes]:
    """Return the paths of the base's layers that a target uses and has no entry for, in no layer."""
    here = {blob.layer.digest if blob.layer else blob.digest for blob in side.blobs}
    here |= {packed.layer.digest for packed in side.packed.values()}
    here |= {blob.layer.digest for blob in base.blobs if blob.layer and blob.digest in here}
    own = [layer for layer in base.index.layers if layer.digest in base.own]
    kept = [layer for layer in own if layer.digest in here]
    if kept and not side.new_layers:
        return []
    used_layers = [layer for layer in own if layer.digest in used - here]
    return sorted(_paths(used_layers) - _paths([*kept, *side.new_layers]))


def _paths(layers: Sequence[Layer]) -> set[bytes]:
    return {match_names.clean(entry.path) for layer in layers for entry in layer.index.entries}


def _with_names(manifest: Manifest, composed: Sequence[_Composed], options: CreateOptions) -> Manifest:
    """Add the names of patched and deleted paths where they are wanted and small enough."""
    if options.names == "none" or not any(item.names or item.side.new_layers for item in composed):
        return manifest
    names = Names(
        patched=tuple(tuple(item.names) for item in composed), deleted=tuple(tuple(item.deleted) for item in composed)
    )
    named = replace(manifest, names=names)
    if len(named.encode()) > MAX_MANIFEST:
        return manifest
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

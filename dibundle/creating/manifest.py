"""Creation of a bundle's manifest from composed targets and encoded frames. Texts for display have limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from dibundle.codecs import zstd
from dibundle.creating.compose.objects import ObjectTable
from dibundle.creating.compose.recompressed import guess
from dibundle.creating.compose.reframed import guess_frame
from dibundle.creating.compose.sides import BaseSide
from dibundle.creating.compose.target import ComposedTarget
from dibundle.creating.options import CreateOptions
from dibundle.format.constants import (
    KIND_OTHER,
    MAX_ABOUT_TEXT,
    MAX_ALIKE,
    MAX_DIFF_IDS,
    MAX_IMAGES,
    MAX_MANIFEST,
    MAX_NAMES,
)
from dibundle.format.manifest import Manifest
from dibundle.format.tables import Frame
from dibundle.format.values import About, AboutImage, Names, RecompressedObject, Target
from dibundle.images.model import ImageArchive

NAMES_SHARE: Final = 0.05  # names, which are only for listings, may take this share of a bundle
NAMES_FLOOR: Final = 2048  # names may take this many bytes even if the bundle is small


def make_manifest(
    base: BaseSide,
    composed: Sequence[ComposedTarget],
    objects: ObjectTable,
    frames: list[Frame],
    options: CreateOptions,
    executor: Executor,
) -> Manifest:
    """Return the manifest of composed targets whose frames are encoded."""
    manifest = Manifest(
        codecs=tuple(sorted({frame.codec for frame in frames})),
        reencoders=tuple(sorted(set().union(*(item.reencoders for item in composed)))),
        objects=tuple(objects.objects),
        frames=tuple(frames),
        targets=tuple(_target(item) for item in composed),
        about=_about(base, composed, objects),
        forms=() if not options.recompresses else tuple(_forms(base, objects, executor)),
    )
    return _with_names(manifest, composed, options)


def _target(composed: ComposedTarget) -> Target:
    archive = composed.side.images.archive
    return Target(
        size=archive.bytes.size,
        digest=composed.side.digest.result(),
        rest_digest=composed.rest_digest,
        tail=composed.archive.tail() if archive.bytes.size else 0,
        frames=len(composed.frames.drafts),
        segments=tuple(composed.archive.segments.found),
        columns=composed.writer.finish(),
    )


_GUESSERS: Final = {"gzip": guess, "zstd": guess_frame}


def _forms(base: BaseSide, objects: ObjectTable, executor: Executor) -> Iterator[RecompressedObject]:
    """Yield recipes for referenced compressed layers. A receiver may have the layers' content in other forms."""
    numbers = {item.digest: number for number, item in enumerate(objects.objects) if item.kind == KIND_OTHER}
    stored = {blob.digest: blob for blob in base.blobs if blob.layer and blob.digest in numbers}
    guesses = {
        digest_of: executor.submit(_GUESSERS[blob.blob.compression], blob.source, blob.layer.source.size)
        for digest_of, blob in stored.items()
        if blob.layer and blob.blob.compression in _GUESSERS
    }
    alike: Counter[bytes] = Counter()
    for digest_of, number in sorted(numbers.items(), key=lambda item: item[1]):
        layer = stored[digest_of].layer if digest_of in guesses else None
        packed = guesses[digest_of].result() if layer else None
        if layer and packed and alike[layer.digest] < MAX_ALIKE:
            alike[layer.digest] += 1
            yield RecompressedObject(object=number, size=layer.source.size, digest=layer.digest, packing=packed)


def _about(base: BaseSide, composed: Sequence[ComposedTarget], objects: ObjectTable) -> About:
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
    """Describe images within a bundle's limits. Leave out names, diffIDs or whole images that exceed a limit."""
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
            kept.append(image._replace(names=told, diff_ids=layers))
        images -= len(kept)
        return kept

    made = [fitting(found) for found in targets]  # targets come first, because they matter more than bases
    return fitting(bases), made


ABOUT_NOTES: Final = 64 << 10  # bytes of text reserved for notes


def _needed_images(base: BaseSide, used: set[bytes]) -> Iterator[AboutImage]:
    """Yield the images of the bases. Skip an image if earlier images have all of its used layers."""
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


def _with_names(manifest: Manifest, composed: Sequence[ComposedTarget], options: CreateOptions) -> Manifest:
    """Add the names of patched and deleted paths, if they are requested and small enough."""
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

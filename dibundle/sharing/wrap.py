"""Bundles as images: a layer with the bundle on top of the base's own layers (linked), or that layer alone (unlinked).

A registry stores the base's layers once, as they are the same blobs; whoever pulls a linked image has base and bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from typing import Final

from dibundle.applying.pipeline import ApplyOptions, find_base
from dibundle.applying.verify import check_integrity
from dibundle.errors import ArchiveError, BaseMismatchError, UsageError
from dibundle.files import compression, digest
from dibundle.files import messages as file_messages
from dibundle.files.readat import Joined, MemoryBytes, ReadAt, Slice, Spool, check_room, copy_chunks
from dibundle.format import labels
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader, Readable
from dibundle.images import document, writers
from dibundle.images.archive import MAX_MADE_ENTRIES, Archive
from dibundle.images.members import Members, normalise
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.reader import read_images
from dibundle.images.tar.entries import scan
from dibundle.images.tar.plain import BLOCK, read_header
from dibundle.sharing import messages
from dibundle.sources.detect import Pieces

FILE: Final = "bundle.dib"
PLATFORM: Final = "linux/amd64"
_HEAD: Final = 64 << 10  # bytes of a layer in which the bundle begins
_FIRST_MEMBERS: Final = 16
_EPOCH: Final = "1970-01-01T00:00:00Z"
_INHERITED: Final = ("architecture", "os", "variant", "os.version", "os.features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A whole bundle at hand, undamaged: its bytes, SHA-256 and manifest."""

    content: ReadAt
    digest: bytes
    manifest: Manifest

    @property
    def labels(self) -> dict[str, str]:
        """What it says of itself."""
        return labels.labels(self.manifest, self.content.size, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """An image to write or to push: its manifest, and the layout that has it and all blobs."""

    manifest: bytes
    layout: writers.Layout


def keep(stream: Readable, stack: ExitStack, tmp: str | None = None) -> Kept:
    """Read a bundle to its end into a temporary file, checking every digest in it."""
    spool = stack.enter_context(closing(Spool(tmp)))
    copied = _Copied(stream, spool)
    reader = BundleReader(copied)
    check_room(tmp, reader.size - spool.size)
    check_integrity(reader)  # to its end, and no further
    return Kept(content=spool, digest=digest.sha256_of(copy_chunks(spool, 0, spool.size)), manifest=reader.manifest)


class _Copied:
    """A stream of which all that is read is written to a temporary file, too."""

    def __init__(self, stream: Readable, spool: Spool) -> None:
        self._stream, self._spool = stream, spool

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        piece = self._stream.read(size)
        self._spool.write(piece)
        return piece


def wrap(bundle: Kept, bases: Sequence[Archive], tags: Sequence[str], *, platform: str | None = None) -> Wrapped:
    """Return the image of a bundle: linked to the image in ``bases`` that it builds on, without bases unlinked.

    The same arguments give the same image. Raises :class:`BaseMismatchError` where no image serves the bundle.
    """
    blobs: dict[bytes, writers.Content] = {}
    layers: list[dict[str, object]] = []
    config: dict[str, object] = dict(_platform(platform or PLATFORM))
    diff_ids: list[bytes] = []
    if bases:
        images, image = _base(bundle.manifest, bases)
        layers = writers.described(images, image)
        diff_ids = list(image.diff_ids)
        config = _inherited(images, image)
        for described, blob in zip(layers, image.layers, strict=True):
            assert blob is not None  # else it could not be described
            blobs[bytes.fromhex(str(described["digest"])[7:])] = writers.stored(images, blob)
    layer = _layer(bundle.content)
    layer_digest = digest.sha256_of(copy_chunks(layer, 0, layer.size))
    blobs[layer_digest] = layer
    layers.append(writers.descriptor(writers.OCI_LAYER, layer_digest, layer.size))
    config |= {
        "created": _EPOCH,
        "config": {"Labels": bundle.labels},
        "rootfs": {"type": "layers", "diff_ids": [digest.text(item) for item in (*diff_ids, layer_digest)]},
    }
    return _image(config, layers, blobs, tags)


def find(archive: Archive, stack: ExitStack, tmp: str | None = None) -> Iterator[tuple[str, ReadAt]]:
    """Yield name and bytes of the bundles in an archive of wrapped images, told by a label; none in any other."""
    try:
        images = read_images(archive)
    except ArchiveError:
        return  # whoever wants an image says so better
    seen: set[int | None] = set()
    known: dict[int, Mapping[str, str]] = {}  # by the config's place: many images may share one
    for image in images.images:
        place = image.config.member.header if image.config else -1
        found = known[place] = known[place] if place in known else _labels(images, image)
        top = image.layers[-1].member.header if image.layers and image.layers[-1] else None
        if found.get(labels.BUNDLE) and top not in seen:  # many images may share a layer, which is unpacked once
            seen.add(top)
            yield f"the bundle in {archive.name}", _unpack(images, image, stack, tmp)


def _image(
    config: dict[str, object],
    layers: list[dict[str, object]],
    blobs: dict[bytes, writers.Content],
    tags: Sequence[str],
) -> Wrapped:
    config_bytes = writers.to_json(config)
    config_digest = digest.sha256(config_bytes)
    manifest = writers.to_json(
        {
            "schemaVersion": 2,
            "mediaType": writers.OCI_MANIFEST,
            "config": writers.descriptor(writers.OCI_CONFIG, config_digest, len(config_bytes)),
            "layers": layers,
        }
    )
    manifest_digest = digest.sha256(manifest)
    described = writers.descriptor(writers.OCI_MANIFEST, manifest_digest, len(manifest))
    index = {
        "schemaVersion": 2,
        "mediaType": writers.OCI_INDEX,
        "manifests": list(writers.named(described, tuple(tags))),
    }
    docker = [writers.docker_entry(config_digest, tags, layers)]
    everything = blobs | {config_digest: config_bytes, manifest_digest: manifest}
    return Wrapped(
        manifest=manifest, layout=writers.Layout(everything, writers.to_json(index), writers.to_json(docker))
    )


def _base(manifest: Manifest, bases: Sequence[Archive]) -> tuple[ImageArchive, Image]:
    """Return the image among ``bases`` that has all that a bundle needs."""
    find_base(manifest, bases, ApplyOptions(), believe=True).close()
    forms_of = {form.object: form.digest for form in manifest.forms}
    wanted = [{item.digest, forms_of.get(number)} for number, item in enumerate(manifest.objects)]
    for images in map(read_images, bases):
        for image in images.images:
            here = {*image.diff_ids, *(blob.digest for blob in image.layers if blob and blob.digest)}
            if image.config and all(item & here for item in wanted):
                return images, image
    raise BaseMismatchError(messages.WRAP_SEVERAL_IMAGES)


def _inherited(images: ImageArchive, image: Image) -> dict[str, object]:
    """Return what the config of a linked image takes over from the base's: the platform."""
    config = _config(images, image)
    found = {key: document.get(config, key) for key in _INHERITED}
    return {key: value for key, value in found.items() if value}


def _platform(text: str) -> Iterator[tuple[str, str]]:
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(messages.PLATFORM_UNKNOWN_2, found=text, platform=PLATFORM)
    yield from zip(("os", "architecture", "variant"), parts, strict=False)


def _layer(bundle: ReadAt) -> ReadAt:
    """Return a layer whose one file is the bundle."""
    before = writers.header(FILE, bundle.size)
    return Joined((MemoryBytes(before), bundle, MemoryBytes(bytes(-bundle.size % 512 + 1024))))


def _config(images: ImageArchive, image: Image) -> object:
    if image.config is None:
        return None
    try:
        return document.parse(Members(images.archive).read(image.config.member), "config")
    except ArchiveError:
        return None


def _labels(images: ImageArchive, image: Image) -> Mapping[str, str]:
    return document.texts(document.get(document.get(_config(images, image), "config"), "Labels"))


def _unpack(images: ImageArchive, image: Image, stack: ExitStack, tmp: str | None) -> ReadAt:
    """Return the bundle in the topmost layer of a wrapped image."""
    name = images.archive.name
    top = image.layers[-1] if image.layers else None
    if top is None:
        raise ArchiveError(messages.WRAPPED_NO_LAYER, name=name)
    layer = _inflated(images, top, stack, tmp) if top.compression else None
    layer = layer or writers.stored(images, top)
    for entry in reversed(scan(layer, MAX_MADE_ENTRIES).entries):
        if entry.is_file and normalise(entry.path) == FILE.encode():
            return Slice(layer, entry.content, entry.size)
    raise ArchiveError(messages.WRAPPED_NO_BUNDLE, name=name, file=FILE)


def find_in_layer(layer: Iterable[bytes], name: str) -> Pieces:
    """Return a stream that stands at the beginning of the bundle in a wrapped image's last layer.

    ``layer``: its bytes, as stored, of which no more is read than that takes. ``ArchiveError`` where the bundle is not
    among the first members: :func:`wrap` writes no others.
    """
    stored = iter(layer)
    head = b""
    while len(head) < _HEAD and (piece := next(stored, None)) is not None:
        head += piece
    kind = compression.sniff(head)
    chunks: Iterable[bytes] = chain((head,), stored)
    stream = Pieces(compression.decompress_iter(kind, chunks, ratio=compression.RATIO) if kind else chunks)
    for _ in range(_FIRST_MEMBERS):
        block = _read(stream, BLOCK)
        try:
            path, _, size = read_header(block)
        except ArchiveError:
            break
        if path == FILE:
            return stream
        if size > _HEAD:
            break
        _read(stream, size + -size % BLOCK)
    raise ArchiveError(messages.WRAPPED_BUNDLE_NOT_FIRST, name=name, file=FILE)


def _read(stream: Pieces, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := stream.read(size - len(found))):
        found += piece
    return found.ljust(size, b"\0")


def _inflated(images: ImageArchive, blob: Blob, stack: ExitStack, tmp: str | None) -> ReadAt:
    """Return a compressed layer's content; as a bundle is compressed already, there is little more than is stored.

    Whatever size the image's labels tell: nobody has checked them.
    """
    source = writers.stored(images, blob)
    check_room(tmp, source.size)
    spool = stack.enter_context(closing(Spool(tmp)))
    pieces = compression.decompress_iter(
        str(blob.compression), copy_chunks(source, 0, source.size), ratio=compression.RATIO
    )
    archive = images.archive
    try:
        for piece in pieces:
            if archive.budget is not None:  # shared with an outer compression: one in the other would multiply
                archive.budget -= len(piece)
                if archive.budget < 0:
                    raise compression.RatioError(file_messages.COMPRESSION_OUTPUT_LIMIT, ratio=compression.RATIO)
            spool.write(piece)
    except compression.RatioError as error:
        raise ArchiveError(messages.WRAPPED_LAYER_MALFORMED, name=images.archive.name, reason=error.message) from error
    return spool

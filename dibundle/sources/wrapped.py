"""Bundles in images that ``dib wrap`` wrote.

A label shows that an image has a bundle, which is in the last layer (spec/transports.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files import compression
from dibundle.files import messages as file_messages
from dibundle.files.context import Context
from dibundle.files.readat import ReadAt, Slice, copy_chunks
from dibundle.format import labels
from dibundle.images import document
from dibundle.images.archive import MADE_NAMES, MAX_MADE_ENTRIES, Archive
from dibundle.images.members import Members, normalise
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.reader import read_images
from dibundle.images.tar.entries import scan
from dibundle.images.tar.plain import BLOCK, read_header
from dibundle.sources import messages
from dibundle.sources.bundles import Pieces

FILE: Final = "bundle.dib"
_HEAD: Final = 64 << 10  # the bundle must begin at most this many bytes after the beginning of a layer
_CONFIGS: Final = 16 << 20  # maximum total bytes of the configs whose labels are read
_FIRST_MEMBERS: Final = 16


def find(archive: Archive, context: Context) -> Iterator[tuple[str, ReadAt]]:
    """Yield the name and bytes of each bundle in an archive. Wrapped images are recognised by a label."""
    try:
        images = read_images(archive)
    except ArchiveError:
        return  # ignore the error: if the caller needs an image, the caller raises a better error
    members = Members(archive)
    seen: set[int | None] = set()
    left = _CONFIGS
    known: dict[int, bool] = {}  # the key is the config's offset, because many images may share a config
    for image in images.images:
        place = image.config.member.header if image.config else -1
        if place not in known:
            left -= image.config.member.size if image.config else 0
            known[place] = left >= 0 and bool(_labels(members, image).get(labels.BUNDLE))
        top = image.layers[-1].member.header if image.layers and image.layers[-1] else None
        if known[place] and top not in seen:  # unpack each layer once, because many images may share a layer
            seen.add(top)
            yield f"the bundle in {archive.name}", _unpack(images, image, context)


def config_of(members: Members, image: Image) -> object:
    """Return the parsed config of an image. Return None if the config cannot be read."""
    if image.config is None:
        return None
    try:
        return document.parse(members.read(image.config.member), "config")
    except ArchiveError:
        return None


def _labels(members: Members, image: Image) -> Mapping[str, str]:
    return document.texts(document.get(document.get(config_of(members, image), "config"), "Labels"))


def _unpack(images: ImageArchive, image: Image, context: Context) -> ReadAt:
    """Return the bundle in the topmost layer of a wrapped image."""
    name = images.archive.name
    top = image.layers[-1] if image.layers else None
    if top is None:
        raise ArchiveError(messages.WRAPPED_NO_LAYER, name=name)
    layer = _inflated(images, top, context) if top.compression else None
    layer = layer or images.stored(top)
    entries = scan(layer, MAX_MADE_ENTRIES, MADE_NAMES).entries
    found = [entry for entry in entries if entry.is_file and normalise(entry.path) == FILE.encode()]
    if len(found) != 1:  # refuse a second file, because an engine would unpack the last file, not the first
        raise ArchiveError(messages.WRAPPED_NO_BUNDLE, name=name, file=FILE)
    return Slice(layer, found[0].content, found[0].size)


def find_in_layer(layer: Iterable[bytes], name: str) -> Pieces:
    """Return a stream at the beginning of the bundle in a wrapped image's last layer.

    ``layer`` has the layer's stored bytes. Only the needed bytes are read. Raises ``ArchiveError`` if the bundle is not
    among the first members. In a layer that :func:`wrap` writes, the bundle is the only member.
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


def _inflated(images: ImageArchive, blob: Blob, context: Context) -> ReadAt:
    """Return a compressed layer's content.

    Refuse content that is much larger than the layer, because a bundle is already compressed.
    """
    source = images.stored(blob)
    context.check_room(source.size)
    spool = context.spool()
    pieces = compression.decompress_iter(
        str(blob.compression), copy_chunks(source, 0, source.size), ratio=compression.RATIO
    )
    archive = images.archive
    try:
        for piece in pieces:
            archive.budget -= len(piece)  # all bundles in the archive share one budget
            if archive.budget < 0:
                raise compression.RatioError(file_messages.COMPRESSION_OUTPUT_LIMIT, ratio=compression.RATIO)
            spool.write(piece)
    except compression.RatioError as error:
        raise ArchiveError(messages.WRAPPED_LAYER_MALFORMED, name=images.archive.name, reason=error.message) from error
    return spool

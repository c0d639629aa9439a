"""Bundles as images.

In a linked image, the bundle is in a layer above the base's layers. In an unlinked image, the bundle is in the only
layer. A registry stores the base's layers only once, because the base and the linked image have the same blobs. A pull
of a linked image fetches the base and the bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dibundle.applying.base import find_base
from dibundle.errors import BaseMismatchError, UsageError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import Joined, MemoryBytes, ReadAt, copy_chunks
from dibundle.format.manifest import Manifest
from dibundle.images import document, writers
from dibundle.images.archive import Archive
from dibundle.images.members import Members
from dibundle.images.model import Image, ImageArchive
from dibundle.images.reader import read_images
from dibundle.sharing import messages
from dibundle.sources.access import Access
from dibundle.sources.bundles import WholeBundle, read_whole
from dibundle.sources.names import is_reference
from dibundle.sources.opening import Source, open_archives, open_sources
from dibundle.sources.registry.reference import Reference, image_name
from dibundle.sources.wrapped import FILE, config_of

PLATFORM: Final = "linux/amd64"
MAX_COMPARED: Final = 1 << 24
"""The maximum number of layers of all images together, and of wanted objects. A search with so many takes seconds."""
_EPOCH: Final = "1970-01-01T00:00:00Z"
_INHERITED: Final = ("architecture", "os", "variant", "os.version", "os.features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """An image to write or to push: its manifest, and the layout with the manifest and all blobs."""

    manifest: bytes
    layout: writers.ImageParts


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapOptions:
    """The options of wrap.

    ``tags`` are the tags of the image. ``platform`` is the platform of an unlinked image (``os/architecture``).
    """

    tags: tuple[str, ...] = ()
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedWrap:
    """A pushed wrapped image: its reference, the number of blobs sent, the number of all blobs, and the bytes sent."""

    reference: Reference
    sent: int
    blobs: int
    size: int


def wrap(
    bundle: Source,
    bases: Sequence[Source],
    output: Output,
    options: WrapOptions,
    access: Access,
    context: Context,
) -> tuple[str, ...]:
    """Wrap a bundle in an image archive. With ``bases``, the image is linked to its base image.

    Returns the names of the image. The same arguments give the same image. Raises :class:`BaseMismatchError` if no
    image in ``bases`` is the base of the bundle.
    """
    wrapped = _open(bundle, bases, options, access, context, output)
    with output:
        writers.write(wrapped.layout, "docker-archive", output.write, check=True)
    return tuple(map(image_name, options.tags))


def push_wrapped(
    bundle: Source,
    bases: Sequence[Source],
    target: str,
    options: WrapOptions,
    access: Access,
    context: Context,
) -> PushedWrap:
    """Push an image with a bundle. If a base is a reference in the same registry, its layers are not sent again."""
    from dibundle.sources.registry.images import push
    from dibundle.sources.registry.opening import open_repository, parse_target

    wrapped = _open(bundle, bases, options, access, context, None)
    reference = parse_target(target)
    known = (Reference.parse(base) for base in bases if isinstance(base, str) and is_reference(base))
    source = next((base.repository for base in known if base.host == reference.host), None)
    repository = open_repository(reference, access, context, write=True)
    sent = push(repository, wrapped.manifest, wrapped.layout.blobs, reference.tag or "latest", source)
    return PushedWrap(
        reference=reference,
        sent=len(sent),
        blobs=len(wrapped.layout.blobs) - 1,
        size=sum(blob.size for blob in sent),
    )


def _open(
    bundle: Source,
    bases: Sequence[Source],
    options: WrapOptions,
    access: Access,
    context: Context,
    output: Output | None,
) -> Wrapped:
    tags = tuple(map(image_name, options.tags))
    opened = open_sources([bundle], access, context, bundle_first=True)
    here = open_archives(bases, access, context)
    if output is not None:
        for found in (opened, here):
            found.refuse_overwriting(output.name, output.identity)
    whole = read_whole(opened.bundle_stream(), context, opened.check, opened.bundles[0][0])
    return wrapped_image(whole, here.archives, tags, context, options.platform)


def wrapped_image(
    bundle: WholeBundle,
    bases: Sequence[Archive],
    tags: Sequence[str],
    context: Context,
    platform: str | None = None,
) -> Wrapped:
    """Return an image that contains a bundle. With ``bases``, the image is linked to its base image.

    The same arguments give the same image. Raises :class:`BaseMismatchError` if no image in ``bases`` is the base of
    the bundle.
    """
    blobs: dict[bytes, writers.Content] = {}
    layers: list[dict[str, object]] = []
    config: dict[str, object] = dict(_platform(platform or PLATFORM))
    diff_ids: list[bytes] = []
    if bases:
        images, image = _base(bundle.manifest, bases, context)
        layers = writers.described(images, image)
        diff_ids = list(image.diff_ids)
        config = _inherited(images, image)
        for described, blob in zip(layers, image.layers, strict=True):
            assert blob is not None  # described() refuses missing layers
            blobs[bytes.fromhex(str(described["digest"])[7:])] = images.stored(blob)
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
        manifest=manifest, layout=writers.ImageParts(everything, writers.to_json(index), writers.to_json(docker))
    )


def _base(manifest: Manifest, bases: Sequence[Archive], context: Context) -> tuple[ImageArchive, Image]:
    """Return the image among ``bases`` that has all objects that a bundle needs."""
    find_base(manifest, bases, context, believe=True).close()
    forms_of = {form.object: form.digest for form in manifest.forms}
    wanted = [{manifest.objects[number].digest, forms_of.get(number)} for number in manifest.needed()]
    left = MAX_COMPARED
    for images in map(read_images, bases):
        # if several images differ only in their names, compare only one of these images
        for image in {(id(image.config), *map(id, image.layers)): image for image in images.images}.values():
            left -= len(image.diff_ids) + len(wanted)
            if left < 0:
                raise BaseMismatchError(messages.WRAP_TOO_MANY_IMAGES)
            here = {*image.diff_ids, *(blob.digest for blob in image.layers if blob and blob.digest)}
            if image.config and all(item & here for item in wanted):
                return images, image
    raise BaseMismatchError(messages.WRAP_SEVERAL_IMAGES)


def _inherited(images: ImageArchive, image: Image) -> dict[str, object]:
    """Return the fields of the base's config that a linked image inherits: the platform."""
    config = config_of(Members(images.archive), image)
    found = {key: document.get(config, key) for key in _INHERITED}
    return {key: value for key, value in found.items() if value}


def _platform(text: str) -> Iterator[tuple[str, str]]:
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(messages.PLATFORM_UNKNOWN_2, found=text, platform=PLATFORM)
    yield from zip(("os", "architecture", "variant"), parts, strict=False)


def _layer(bundle: ReadAt) -> ReadAt:
    """Return an uncompressed layer whose only file is the bundle."""
    before = writers.header(FILE, bundle.size)
    return Joined((MemoryBytes(before), bundle, MemoryBytes(bytes(-bundle.size % 512 + 1024))))

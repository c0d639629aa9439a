"""Replacing a target by an archive of the same images with raw layers (``create --raw-layers``).

Configs, image IDs, diffIDs and names stay unchanged. Manifests are new.
"""

from __future__ import annotations

from dibundle.creating import messages
from dibundle.creating.match.base import Layer
from dibundle.creating.match.images import StoredBlob, inflate
from dibundle.errors import ArchiveError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.readat import copy_chunks
from dibundle.files.wording import some
from dibundle.images import writers
from dibundle.images.archive import Archive, view_made
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.pinned import PinnedImage, PinnedLayer, layout
from dibundle.images.reader import read_images


def with_raw_layers(archive: Archive, context: Context) -> Archive:
    """Return a docker-archive of the same images with raw layers, or the archive itself if all its layers are raw.

    Raises ``ArchiveError`` if the config or a layer of an image is missing, or if a layer does not match the config.
    """
    images = read_images(archive)
    if not any(layer and layer.compression for image in images.images for layer in image.layers):
        return archive
    raw = _RawLayers(images, context)
    # many images may share a large config, so read each config once
    made: dict[int, tuple[PinnedImage, dict[str, None]]] = {}
    for image in images.images:
        config, layers = raw.parts(image)
        if config.member.header not in made:
            made[config.member.header] = raw.image(config, layers), {}
        made[config.member.header][1].update(dict.fromkeys(image.names))
    out = context.spool()
    writers.write(layout([(image, tuple(names)) for image, names in made.values()]), "docker-archive", out.write)
    return view_made(out, archive.name)


class _RawLayers:
    """The layers of an archive. Each layer is decompressed once, into a temporary file."""

    def __init__(self, images: ImageArchive, context: Context) -> None:
        self._images, self._context = images, context
        self._found: dict[int, Layer] = {}
        layers = {layer.member.header: layer for image in images.images for layer in image.layers if layer}
        context.progress.phase("decompressing", sum(layer.member.size for layer in layers.values()))

    def parts(self, image: Image) -> tuple[Blob, tuple[PinnedLayer, ...]]:
        """Return the config of an image, and the layers that the config lists."""
        names = some(image.names) or "an image"
        if image.config is None:
            raise ArchiveError(messages.ARCHIVE_NO_CONFIG_FOR_RAW, names=names)
        if None in image.layers or len(image.layers) != len(image.diff_ids):
            raise ArchiveError(messages.ARCHIVE_LAYER_MISSING_FOR_RAW, names=names)
        pairs = zip(image.diff_ids, image.layers, strict=True)
        return image.config, tuple(self._layer(diff_id, blob, names) for diff_id, blob in pairs if blob)

    def image(self, blob: Blob, layers: tuple[PinnedLayer, ...]) -> PinnedImage:
        """Return an image with a new manifest."""
        config = self._images.stored(blob).read_at(0, blob.member.size)
        described = [writers.descriptor(layer.media_type, layer.digest, layer.size) for layer in layers]
        of_config = writers.descriptor(writers.OCI_CONFIG, digest.sha256(config), len(config))
        body = {"schemaVersion": 2, "mediaType": writers.OCI_MANIFEST, "config": of_config, "layers": described}
        return PinnedImage(
            config=config, manifest=writers.to_json(body), manifest_type=writers.OCI_MANIFEST, layers=layers
        )

    def _layer(self, diff_id: bytes, blob: Blob, names: str) -> PinnedLayer:
        key = blob.member.header
        if key not in self._found:
            self._found[key] = self._raw(blob)
            self._context.progress.advance(blob.member.size)
        layer = self._found[key]
        if layer.digest != diff_id:
            raise ArchiveError(
                messages.ARCHIVE_LAYER_IS_OTHER,
                names=names,
                diff_id=digest.text(diff_id),
                found=digest.text(layer.digest),
            )
        return PinnedLayer(
            diff_id=diff_id,
            digest=diff_id,
            size=layer.source.size,
            media_type=writers.OCI_LAYER,
            content=layer.source,
        )

    def _raw(self, blob: Blob) -> Layer:
        source = self._images.stored(blob)
        if not blob.compression:
            return Layer(digest.sha256_of(copy_chunks(source, 0, source.size)), source)
        layer = inflate(StoredBlob(blob, source, b""), self._context.spool()).layer
        assert layer
        return layer

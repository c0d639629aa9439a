"""Images whose digests a receiver knows. The images come from a possibly hostile archive, and go into a new archive.

Loaders may find different images in a hostile archive. So loaders get only the new archive. The new archive has only
the config with the expected digest, and the layers of this config. Each layer is hashed and compared with its diffID.
The claims of the hostile archive only show where to search. Only digests decide which content is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files import digest
from dibundle.files.compression import RATIO
from dibundle.files.readat import ReadAt
from dibundle.images import messages, writers
from dibundle.images.members import Members
from dibundle.images.model import Blob, ImageArchive
from dibundle.images.profile import Pool, expanded, layer_compression
from dibundle.images.strict import CONFIG_TYPES, LAYER_TYPES, ManifestDocument, StrictConfig

_TYPES: Final = {None: writers.OCI_LAYER, "gzip": f"{writers.OCI_LAYER}+gzip", "zstd": f"{writers.OCI_LAYER}+zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedLayer:
    """A layer of a :class:`PinnedImage`.

    ``diff_id`` is the digest of the layer's content. ``digest`` and ``size`` describe the stored form. If the layer is
    left out, ``content`` is None.
    """

    diff_id: bytes
    digest: bytes
    size: int
    media_type: str
    content: ReadAt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedImage:
    """An image whose parts all have the digests that follow from the expected digest."""

    config: bytes
    manifest: bytes
    manifest_type: str
    layers: tuple[PinnedLayer, ...]

    @property
    def id(self) -> bytes:
        """The SHA-256 of the config."""
        return digest.sha256(self.config)

    @property
    def ids(self) -> frozenset[bytes]:
        """The image's IDs in engines.

        Some engines use the digest of the config, and others use the digest of the manifest.
        """
        return frozenset((self.id, digest.sha256(self.manifest)))

    @property
    def diff_ids(self) -> tuple[bytes, ...]:
        """The digests of the content of the image's layers. The lowest layer comes first."""
        return tuple(layer.diff_id for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Pins:
    """The parts of an image that are known before the search for its layers: a config and, optionally, a manifest."""

    config: bytes
    manifest: bytes | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A layer in the form that an archive stores: compression, stored bytes and their digest."""

    compression: str | None
    digest: bytes
    content: ReadAt


EXCESS_OF_BUNDLES: Final = 64 << 20
"""The number of bytes by which layers may exceed ``RATIO`` times their sizes, in archives that contain bundles."""


class LayerStore:
    """The layers of archives. A layer is found by the archives' claims, but is accepted only if its digest is right."""

    def __init__(self, archives: Iterable[ImageArchive], holes: Collection[int] = ()) -> None:
        self._candidates: dict[bytes, list[tuple[ImageArchive, Blob]]] = {}
        self._stored: dict[tuple[int, int], Stored] = {}
        self._contents: dict[tuple[int, int], bytes] = {}  # digests of the layers' uncompressed content
        self._found: dict[tuple[bytes | None, bytes], Stored | None] = {}
        self._pool, self._pool_of_bundles = Pool(), Pool(EXCESS_OF_BUNDLES)
        for archive in archives:
            for blob in archive.blobs:
                if blob.kind == "layer" and blob.member.content not in holes:
                    for name in {blob.digest, blob.diff_id} - {None}:
                        self._candidates.setdefault(name or b"", []).append((archive, blob))

    def find(self, name: bytes | None, diff_id: bytes) -> Stored | None:
        """Return the layer with ``diff_id`` (and with the stored digest ``name``, if given).

        Return None if no layer fits.
        """
        if (name, diff_id) not in self._found:
            candidates = self._candidates.get(name or diff_id, ())
            fitting = (self._fitting(archive, blob, name, diff_id) for archive, blob in candidates)
            self._found[name, diff_id] = next((stored for stored in fitting if stored), None)
        return self._found[name, diff_id]

    def _fitting(self, archive: ImageArchive, blob: Blob, name: bytes | None, diff_id: bytes) -> Stored | None:
        """Return a candidate if it is the right layer. A candidate with a wrong stored digest is not decompressed."""
        key = id(archive), blob.member.header
        if key not in self._stored:
            content = archive.stored(blob)
            compression = layer_compression(content.read_at(0, min(16, content.size)))
            self._stored[key] = Stored(compression, digest.sha256_of(writers.chunks(content)), content)
        stored = self._stored[key]
        if name not in (None, stored.digest):
            return None
        if key not in self._contents:
            self._contents[key] = self._content(stored, is_of_bundle=archive.archive.carries)
        return stored if self._contents[key] == diff_id else None

    def _content(self, stored: Stored, *, is_of_bundle: bool) -> bytes:
        if not stored.compression:
            return stored.digest
        chunks, size = writers.chunks(stored.content), stored.content.size
        if is_of_bundle:
            return digest.sha256_of(expanded(stored.compression, chunks, size, self._pool_of_bundles, RATIO))
        return digest.sha256_of(expanded(stored.compression, chunks, size, self._pool))


def find(archive: ImageArchive, expected: Collection[bytes]) -> list[Pins]:
    """Return the configs and manifests of the expected images. ``expected`` has digests of configs or manifests.

    Images that are not expected are skipped.
    """
    members = Members(archive.archive)
    found: dict[bytes, Pins] = {}

    def blob(name: bytes) -> bytes | None:
        entry = members.find(b"blobs/sha256/" + name.hex().encode())
        content = members.read(entry) if entry else None
        return content if content is not None and digest.sha256(content) == name else None

    for name in sorted(expected):
        content = blob(name)
        manifest = _manifest(content) if content else None
        config = blob(manifest.config.digest) if manifest else None
        if config is not None:
            found.setdefault(digest.sha256(config), Pins(config, content))
    for image in {image.config.member.header: image for image in archive.images if image.config}.values():
        config = members.read(image.config.member) if image.config else None
        if config is not None and digest.sha256(config) in expected:
            found.setdefault(digest.sha256(config), Pins(config, blob(image.manifest_digest or b"")))
    return list(found.values())


def _manifest(content: bytes) -> ManifestDocument | None:
    try:
        return ManifestDocument(content, "manifest", None)
    except ArchiveError:
        return None


def assemble(
    pins: Pins,
    store: LayerStore,
    left_out: Mapping[bytes, Stored] | None = None,
    *,
    is_manifest_expected: bool = False,
    are_annotations_known: bool = False,
) -> PinnedImage:
    """Return an image with its layers from ``store``. Raise ``ArchiveError`` if a layer is missing.

    ``left_out`` maps diffIDs to layers that the receiver has, in the form that the receiver's archives store. The
    layers in ``left_out`` are described, but their content is left out. If the image's own manifest lists exactly this
    config and these layers, the manifest is kept. Otherwise, a new manifest is written. With ``is_manifest_expected``,
    ``ArchiveError`` is raised instead. For a left-out layer, an expected manifest may list a digest that differs from
    the digest in the receiver's archives. A manifest with annotations is kept only if it is expected, or if
    ``are_annotations_known`` is true. The reason is that engines show annotations, and nobody has checked whether the
    annotations are true.
    """
    config = StrictConfig(pins.config, "config")
    left_out = left_out or {}
    manifest = _manifest(pins.manifest) if pins.manifest else None
    layers = None
    is_known = is_manifest_expected or are_annotations_known
    if manifest and pins.manifest and (is_known or (manifest.is_plain and not manifest.annotations)):
        layers = _as_described(manifest, pins, config, store, left_out, is_expected=is_manifest_expected)
        if layers is not None:
            return PinnedImage(
                config=pins.config, manifest=pins.manifest, manifest_type=manifest.media_type, layers=layers
            )
    if is_manifest_expected:
        raise ArchiveError(messages.EXPECT_MANIFEST)
    layers = tuple(_layer(diff_id, number, store, left_out) for number, diff_id in enumerate(config.diff_ids))
    described = [writers.descriptor(layer.media_type, layer.digest, layer.size) for layer in layers]
    of_config = writers.descriptor(writers.OCI_CONFIG, digest.sha256(pins.config), len(pins.config))
    body = {"schemaVersion": 2, "mediaType": writers.OCI_MANIFEST, "config": of_config, "layers": described}
    return PinnedImage(
        config=pins.config, manifest=writers.to_json(body), manifest_type=writers.OCI_MANIFEST, layers=layers
    )


def _layer(diff_id: bytes, number: int, store: LayerStore, left_out: Mapping[bytes, Stored]) -> PinnedLayer:
    stored, absent = store.find(None, diff_id), False
    if stored is None:
        stored, absent = left_out.get(diff_id), True
    if stored is None:
        raise ArchiveError(messages.EXPECT_LAYER_MISSING, number=number, diff_id=digest.text(diff_id))
    return PinnedLayer(
        diff_id=diff_id,
        digest=stored.digest,
        size=stored.content.size,
        media_type=_TYPES[stored.compression],
        content=None if absent else stored.content,
    )


def _as_described(
    manifest: ManifestDocument,
    pins: Pins,
    config: StrictConfig,
    store: LayerStore,
    left_out: Mapping[bytes, Stored],
    *,
    is_expected: bool,
) -> tuple[PinnedLayer, ...] | None:
    """Return the layers as the manifest lists them. Return None if the config's layers differ."""
    if (
        manifest.config.digest != digest.sha256(pins.config)
        or manifest.config.size != len(pins.config)
        or manifest.config.media_type not in CONFIG_TYPES
        or len(manifest.layers) != len(config.diff_ids)
    ):
        return None
    layers = []
    for described, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        stored = store.find(described.digest, diff_id)
        known = stored or left_out.get(diff_id)
        if known is None or described.media_type not in LAYER_TYPES:
            return None
        is_same = known.digest == described.digest and known.content.size == described.size
        is_same = is_same and LAYER_TYPES[described.media_type] == known.compression
        if not is_same and (stored or not is_expected):
            return None
        layers.append(
            PinnedLayer(
                diff_id=diff_id,
                digest=described.digest,
                size=described.size,
                media_type=described.media_type,
                content=stored.content if stored else None,
            )
        )
    return tuple(layers)


def layout(images: Sequence[tuple[PinnedImage, tuple[str, ...]]]) -> writers.ImageParts:
    """Return a layout that holds only these images, with their names."""
    blobs: dict[bytes, writers.Content] = {}
    listed: list[dict[str, object]] = []
    descriptors: list[dict[str, object]] = []
    for image, names in images:
        blobs |= {layer.digest: layer.content for layer in image.layers if layer.content is not None}
        blobs |= {image.id: image.config, digest.sha256(image.manifest): image.manifest}
        described = [writers.descriptor(layer.media_type, layer.digest, layer.size) for layer in image.layers]
        listed.append(writers.docker_entry(image.id, names, described))
        own = writers.descriptor(image.manifest_type, digest.sha256(image.manifest), len(image.manifest))
        descriptors += writers.named(own, names)
    index = {"schemaVersion": 2, "mediaType": writers.OCI_INDEX, "manifests": descriptors}
    return writers.ImageParts(blobs, writers.to_json(index), writers.to_json(listed))

"""Images that are here: in the cache, and in folders of blobs that engines keep. They are what bundles build on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from dibundle.errors import ArchiveError, FileError
from dibundle.files.readat import FileBytes, Joined, MemoryBytes, ReadAt
from dibundle.images import document, writers
from dibundle.images.archive import Archive
from dibundle.images.document import get, get_list, sha256_of
from dibundle.images.tar.entries import scan
from dibundle.sharing.mirror.cache import Cache

CONTAINERD: Final = (
    Path("/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"),
    Path("/var/lib/docker/containerd/daemon/io.containerd.content.v1.content/blobs/sha256"),
)
"""Where containerd keeps blobs, its own and docker's."""


class ImageManifest(NamedTuple):
    """What a manifest of an image names: its config, and its layers with their sizes."""

    config: bytes
    layers: tuple[tuple[bytes, int], ...]

    @property
    def size(self) -> int:
        """Bytes of the layers, each once."""
        return sum(dict(self.layers).values())


class LocalImage(NamedTuple):
    """An image that is here whole: its layers, as stored, and the diffIDs of their contents."""

    manifest: bytes
    body: bytes
    config: bytes
    named: ImageManifest
    diff_ids: tuple[bytes, ...]

    @property
    def digests(self) -> frozenset[bytes]:
        """The digests by which bundles ask for layers."""
        return frozenset((*(digest for digest, _ in self.named.layers), *self.diff_ids))


def read_manifest(body: bytes) -> ImageManifest | None:
    """Return what the manifest of an image names; None for anything else, such as an index or an artifact."""
    try:
        value = document.parse(body, "manifest")
    except ArchiveError:
        return None
    config = sha256_of(get(get(value, "config"), "digest"))
    layers = []
    for item in get_list(value, "layers"):
        digest, size = sha256_of(get(item, "digest")), get(item, "size")
        if digest is None or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
            return None
        layers.append((digest, size))
    kind = str(get(get(value, "config"), "mediaType"))
    is_image = kind.endswith((".image.config.v1+json", ".container.image.v1+json"))
    if config is None or not layers or not is_image or get(value, "artifactType"):
        return None
    return ImageManifest(config, tuple(layers))


def diff_ids_of(config: bytes) -> tuple[bytes, ...]:
    """Return the diffIDs in a config, the lowest layer's first."""
    try:
        value = document.parse(config, "config")
    except ArchiveError:
        return ()
    return tuple(sha256_of(item) or b"" for item in get_list(get(value, "rootfs"), "diff_ids"))


class Bases:
    """Where images are looked for. Blobs of other programs are read as they are: what is made of them is checked."""

    def __init__(self, cache: Cache, stores: Collection[Path]) -> None:
        self._cache, self._stores = cache, stores
        self._known: dict[bytes, LocalImage] = {}  # that were here

    def find(self, manifest: bytes) -> LocalImage | None:
        """Return the image with this manifest, if all of it is here."""
        known = self._known.get(manifest) or self._read(manifest)
        if known is None or not all(self._has(digest) for digest, _ in known.named.layers):
            self._known.pop(manifest, None)
            return None
        self._known[manifest] = known
        return known

    def _read(self, manifest: bytes) -> LocalImage | None:
        body = self._small(manifest)
        named = read_manifest(body) if body else None
        if body is None or named is None:
            return None
        config = self._small(named.config)
        if config is None:
            return None
        diff_ids = diff_ids_of(config)
        if len(diff_ids) != len(named.layers):
            return None
        return LocalImage(manifest, body, config, named, diff_ids)

    def cached(self) -> Iterable[LocalImage]:
        """Yield the images in the cache, the latest first."""
        for manifest in self._cache.images():
            found = self.find(manifest)
            if found:
                yield found

    def open(self, image: LocalImage, defer: Callable[[Callable[[], None]], None]) -> Archive:
        """Return an image as the archive that ``docker://`` would be; what is opened is closed by ``defer``.

        :class:`FileError` where a blob went meanwhile.
        """
        contents: dict[bytes, ReadAt] = {
            image.manifest: MemoryBytes(image.body),
            image.named.config: MemoryBytes(image.config),
        }
        for digest, _ in image.named.layers:
            if digest not in contents:
                file = FileBytes(self._open(digest), digest.hex())
                defer(file.close)
                contents[digest] = file
        joined = Joined()
        for digest in sorted(contents):
            content = contents[digest]
            joined.append(MemoryBytes(writers.header(f"blobs/sha256/{digest.hex()}", content.size)))
            joined.append(content)
            joined.append(MemoryBytes(bytes(-content.size % 512)))
        layers = [writers.descriptor(writers.OCI_LAYER, digest, size) for digest, size in image.named.layers]
        manifest = writers.descriptor(writers.OCI_MANIFEST, image.manifest, len(image.body))
        index = {"schemaVersion": 2, "mediaType": writers.OCI_INDEX, "manifests": [manifest]}
        listed = [writers.docker_entry(image.named.config, (), layers)]
        joined.append(MemoryBytes(writers.documents(writers.to_json(index), writers.to_json(listed))))
        return Archive(image.manifest.hex()[:12], joined, scan(joined), None, None)

    def _has(self, digest: bytes) -> bool:
        return self._cache.has(digest) or any((store / digest.hex()).is_file() for store in self._stores)

    def _small(self, digest: bytes) -> bytes | None:
        found = self._cache.read(digest, document.SIZE_LIMIT)
        for store in self._stores if found is None else ():
            with suppress(OSError):
                path = store / digest.hex()
                if path.stat().st_size <= document.SIZE_LIMIT:
                    found = path.read_bytes()
        return found

    def _open(self, digest: bytes) -> int:
        found = self._cache.open(digest)
        for store in self._stores if found is None else ():
            with suppress(OSError):
                return os.open(store / digest.hex(), os.O_RDONLY | os.O_CLOEXEC)
        if found is None:
            from dibundle.images import messages

            raise FileError(messages.FILE_CANNOT_OPEN, name=digest.hex(), system_reason="it is gone")
        return found

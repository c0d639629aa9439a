"""Local images that can be bases of bundles. The images are in the cache, or in the engines' own folders of blobs."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from dibundle.errors import ArchiveError, FileError
from dibundle.files.digest import sha256
from dibundle.files.readat import Joined, MemoryBytes, ReadAt
from dibundle.images import document, writers
from dibundle.images.archive import Archive
from dibundle.images.document import get, get_list, get_text, sha256_of
from dibundle.images.tar.entries import scan
from dibundle.images.writers import OCI_INDEX, OCI_MANIFEST
from dibundle.sharing.mirror.cache import Cache
from dibundle.sharing.mirror.options import UpstreamPlace

MAX_PARSED: Final = 1 << 20
"""The maximum number of bytes of a manifest or config to parse.

A larger document is passed on, and its image gets no deltas.
"""
MAX_LAYERS: Final = 128
_TYPE: Final = re.compile(r"[a-zA-Z0-9.+_-]{1,127}/[a-zA-Z0-9.+_-]{1,127}")
_MAX_KNOWN: Final = 4096  # maximum documents in memory; if there are more, the least recently used document is dropped


class ImageManifest(NamedTuple):
    """The contents of an image's manifest: the config's digest, and the layers' digests with their sizes in bytes."""

    config: bytes
    layers: tuple[tuple[bytes, int], ...]

    @property
    def size(self) -> int:
        """The total size of the layers in bytes. A layer that occurs several times counts once."""
        return sum(dict(self.layers).values())


class Known(NamedTuple):
    """A document's media type, and either the fields of an image's manifest or the diffIDs of a config."""

    media_type: str | None
    named: ImageManifest | None
    diff_ids: tuple[bytes, ...]


class LocalImage(NamedTuple):
    """A complete local image, with its stored layers, and the diffIDs of their contents."""

    manifest: bytes
    named: ImageManifest
    diff_ids: tuple[bytes, ...]

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The digests by which bundles refer to the layers."""
        return (*(digest for digest, _ in self.named.layers), *self.diff_ids)


class OpenFile(NamedTuple):
    """A file that the rebuilding process inherits: its descriptor, and its name for error messages."""

    fd: int
    name: str


class OpenImage(NamedTuple):
    """A base image, and the open files of its blobs, by digest."""

    image: LocalImage
    files: dict[bytes, OpenFile]


class Documents:
    """A cache of parsed manifests and configs, by digest. Only one document of each registry is parsed at a time."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = threading.Lock()
        self._looking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def look(self, host: str, digest: bytes, body: Callable[[], bytes | None]) -> Known | None:
        """Return the contents of the document with this digest.

        ``body`` reads the document. If ``body`` returns None, return None.
        """
        with self._lock:
            looking = self._looking[host]
        with looking:
            with self._lock:
                found = self._known.get(digest)
            if found is None:
                content = body()
                if content is None:
                    return None
                found = _look(content)
            with self._lock:
                self._known[digest] = found
                self._known.move_to_end(digest)
                if len(self._known) > _MAX_KNOWN:
                    self._known.popitem(last=False)
            return found


def _look(content: bytes) -> Known:
    try:
        is_large = len(content) > MAX_PARSED or document.has_many_values(content)
        value = None if is_large else document.parse(content, "document")
    except ArchiveError:
        value = None
    ids = get_list(get(value, "rootfs"), "diff_ids")
    diff_ids = tuple(sha256_of(item) or b"" for item in ids) if len(ids) <= MAX_LAYERS else ()
    return Known(_media_type(value), _named(value), diff_ids)


def _media_type(value: object) -> str | None:
    """Return the media type of a manifest. Return None for other documents. OCI manifests may lack this type."""
    kinds = {"manifests": OCI_INDEX, "layers": OCI_MANIFEST}
    found = [kind for key, kind in kinds.items() if isinstance(get(value, key), list)]
    # if both keys are present, the type is ambiguous; only upstream's Content-Type would show the right type
    if len(found) == 2:
        return None
    told = get_text(value, "mediaType") or (found[0] if found else "")
    return told if _TYPE.fullmatch(told) else None


def _named(value: object) -> ImageManifest | None:
    """Return the contents of an image's manifest. Return None for other documents, such as an index or an artifact."""
    config = sha256_of(get(get(value, "config"), "digest"))
    items = get_list(value, "layers")
    layers = []
    for item in items[: MAX_LAYERS + 1]:
        digest, size = sha256_of(get(item, "digest")), get(item, "size")
        if digest is None or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
            return None
        layers.append((digest, size))
    kind = get_text(get(value, "config"), "mediaType") or ""
    is_image = kind.endswith((".image.config.v1+json", ".container.image.v1+json"))
    if config is None or not 0 < len(layers) <= MAX_LAYERS or not is_image or get(value, "artifactType"):
        return None
    return ImageManifest(config, tuple(layers))


class Bases:
    """A search for base images in the cache and in stores.

    Layers in stores of other programs are not hashed when they are read. Instead, the rebuilt layers are hashed. A
    bundle could disclose any content of its base. So the bases of a registry's images are from the same registry, or
    from stores that are assigned to this registry.
    """

    def __init__(self, cache: Cache, documents: Documents, stores: Collection[tuple[str, Path]]) -> None:
        self._cache, self._documents, self._stores = cache, documents, stores

    def find(self, place: UpstreamPlace, manifest: bytes) -> LocalImage | None:
        """Return the image with this manifest. Return None if a part is missing, or if a layer has a wrong size."""
        known = self._documents.look(place.host, manifest, partial(self._small, place, manifest))
        if known is None or known.named is None:
            return None
        config = known.named.config
        # _named() has limited these sizes, because any user who pushes an image can choose them
        sizes = dict(known.named.layers)
        if not all(self._size(place, digest) == size for digest, size in sizes.items()):
            return None
        if self._size(place, manifest) is None or self._size(place, config) is None:
            return None
        in_config = self._documents.look(place.host, config, partial(self._small, place, config))
        if in_config is None or len(in_config.diff_ids) != len(known.named.layers):
            return None
        return LocalImage(manifest, known.named, in_config.diff_ids)

    def cached(self, place: UpstreamPlace) -> Sequence[bytes]:
        """Return the manifest digests of a registry's images in the cache, the latest image first."""
        return self._cache.images(place.space)

    def has_in_store(self, place: UpstreamPlace, digest: bytes) -> bool:
        """Return whether a store has a blob with this digest."""
        return any((store / digest.hex()).is_file() for store in self._stores_of(place))

    def open(self, place: UpstreamPlace, image: LocalImage, defer: Callable[[Callable[[], None]], object]) -> OpenImage:
        """Open the blobs of an image. ``defer`` gets the functions that close the blobs.

        Raises :class:`FileError` if a blob was deleted in the meantime.
        """
        files: dict[bytes, OpenFile] = {}
        for digest in {image.manifest, image.named.config, *(digest for digest, _ in image.named.layers)}:
            fd = self._open(place, digest)
            defer(partial(os.close, fd))
            files[digest] = OpenFile(fd, digest.hex())
        return OpenImage(image, files)

    def _stores_of(self, place: UpstreamPlace) -> list[Path]:
        return [folder for host, folder in self._stores if host == place.host]

    def _size(self, place: UpstreamPlace, digest: bytes) -> int | None:
        """Return the size of a local blob in bytes. Return None if there is no such blob."""
        found = self._cache.size_of(place.key(digest))
        for store in self._stores_of(place) if found is None else ():
            with suppress(OSError):
                told = (store / digest.hex()).stat()
                if stat.S_ISREG(told.st_mode):
                    return told.st_size
        return found

    def _small(self, place: UpstreamPlace, digest: bytes) -> bytes | None:
        found = self._cache.read(place.key(digest), MAX_PARSED)
        for store in self._stores_of(place) if found is None else ():
            with suppress(OSError):
                path = store / digest.hex()
                if path.stat().st_size <= MAX_PARSED:
                    content = path.read_bytes()
                    found = content if sha256(content) == digest else None
        return found

    def _open(self, place: UpstreamPlace, digest: bytes) -> int:
        found = self._cache.open(place.key(digest))
        for store in self._stores_of(place) if found is None else ():
            with suppress(OSError):
                return os.open(store / digest.hex(), os.O_RDONLY | os.O_CLOEXEC)
        if found is None:
            from dibundle.images import messages

            raise FileError(messages.FILE_CANNOT_OPEN, name=digest.hex(), system_reason="it is gone")
        return found


def archive_of(image: LocalImage, contents: Mapping[bytes, ReadAt]) -> Archive:
    """Return an image as an archive, in the same way as for a ``docker://`` source.

    ``contents`` are the image's blobs by digest.
    """
    joined = Joined()
    for digest in sorted(contents):
        content = contents[digest]
        joined.append(MemoryBytes(writers.header(f"blobs/sha256/{digest.hex()}", content.size)))
        joined.append(content)
        joined.append(MemoryBytes(bytes(-content.size % 512)))
    layers = [writers.descriptor(writers.OCI_LAYER, digest, size) for digest, size in image.named.layers]
    manifest = writers.descriptor(writers.OCI_MANIFEST, image.manifest, contents[image.manifest].size)
    index = {"schemaVersion": 2, "mediaType": writers.OCI_INDEX, "manifests": [manifest]}
    listed = [writers.docker_entry(image.named.config, (), layers)]
    joined.append(MemoryBytes(writers.documents(writers.to_json(index), writers.to_json(listed))))
    return Archive(image.manifest.hex()[:12], joined, scan(joined), None, None)

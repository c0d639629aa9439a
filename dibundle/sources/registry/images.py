"""Images in a registry. An image can be found for a platform, fetched as an OCI layout in a tar, and pushed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dibundle.errors import ArchiveError, RegistryError
from dibundle.files import digest
from dibundle.files.readat import Spool, check_room
from dibundle.images import document, writers
from dibundle.images.document import get, get_list, get_text, sha256_of
from dibundle.images.strict import MAX_LIST
from dibundle.sources import messages
from dibundle.sources.registry.client import RemoteManifest, Repository

_MOST_MANIFESTS = 64  # maximum number of manifests that are read from an index


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob that a manifest describes."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteImage:
    """An image in a registry, with its manifest, the index that led to the manifest, and its config.

    Its layers are not fetched yet.
    """

    manifest: RemoteManifest
    index: RemoteManifest | None
    config: bytes
    layers: tuple[RemoteBlob, ...]
    diff_ids: tuple[bytes, ...]

    @property
    def id(self) -> bytes:
        """The image ID, which is the digest of the config."""
        return digest.sha256(self.config)

    @property
    def labels(self) -> dict[str, str]:
        """The labels in the image's config."""
        return document.texts(get(get(document.parse(self.config, "config"), "config"), "Labels"))


def resolve(repository: Repository, found: RemoteManifest, platform: str) -> RemoteImage:
    """Return the image of a manifest. For an index, return the image for ``platform``."""
    if not found.is_index:
        return _image(repository, found, None)
    for entry in _entries(found):
        if matches(get(entry, "platform"), platform):
            return _image(repository, repository.manifest(str(get_text(entry, "digest"))), found)
    raise repository.failed(messages.REGISTRY_PLATFORM, platform=platform)


def images(repository: Repository, found: RemoteManifest) -> Iterator[RemoteImage]:
    """Yield the images of a manifest or index, for any platform."""
    if not found.is_index:
        yield _image(repository, found, None)
        return
    for entry in _entries(found):
        below = repository.find(str(get_text(entry, "digest")))
        if below:
            yield _image(repository, below, found)


def fetch(
    repository: Repository,
    image: RemoteImage,
    names: Sequence[str],
    spool: Spool,
    *,
    without: frozenset[bytes] = frozenset(),
) -> None:
    """Write an image as an archive that every engine loads. Leave out layers whose digests are in ``without``.

    The digest of every blob is verified before this function returns. The same image and names give the same bytes.
    """
    wanted = {blob.digest: blob.size for blob in image.layers if blob.digest not in without}
    check_room(spool.directory, sum(wanted.values()))
    top = image.index or image.manifest
    documents = {item.digest: item.body for item in (image.manifest, image.index) if item} | {image.id: image.config}
    index = {
        "schemaVersion": 2,
        "mediaType": writers.OCI_INDEX,
        "manifests": list(writers.named(top.descriptor, tuple(names))),
    }
    layers = [writers.descriptor(writers.OCI_LAYER, blob.digest, blob.size) for blob in image.layers]
    for name in sorted({*documents, *wanted}):
        size = len(documents[name]) if name in documents else wanted[name]
        spool.write(writers.header(f"blobs/sha256/{name.hex()}", size))
        for piece in (documents[name],) if name in documents else repository.blob(name, size):
            spool.write(piece)
        spool.write(bytes(-size % 512))
    listed = writers.to_json([writers.docker_entry(image.id, names, layers)])
    spool.write(writers.documents(writers.to_json(index), listed))


def push(
    repository: Repository, manifest: bytes, blobs: dict[bytes, writers.Content], tag: str, source: str | None
) -> list[RemoteBlob]:
    """Push an image and return the blobs that were sent. The repository or ``source`` already had the other blobs."""
    own = digest.sha256(manifest)
    sent = [
        RemoteBlob(name, writers.size_of(content))
        for name, content in blobs.items()
        if name != own and repository.upload(name, content, source)
    ]
    repository.put(tag, manifest, writers.OCI_MANIFEST)
    return sent


def matches(value: object, platform: str) -> bool:
    """Return whether a descriptor is for the platform ``os/architecture``.

    The descriptor's variant is compared only if a variant is requested.
    """
    found = [get_text(value, key) or "" for key in ("os", "architecture", "variant")]
    asked = platform.split("/")
    return found[: len(asked)] == asked


def _entries(index: RemoteManifest) -> Iterator[object]:
    """Yield the descriptors of the images in an index, without attestations."""
    for entry in get_list(index.value, "manifests")[:_MOST_MANIFESTS]:
        kind = get_text(get(entry, "annotations"), "vnd.docker.reference.type")
        if sha256_of(get(entry, "digest")) and kind != "attestation-manifest":
            yield entry


def digests_in(index: RemoteManifest) -> list[bytes]:
    """Return the digests of the image manifests that an index lists."""
    return [found for entry in _entries(index) if (found := sha256_of(get(entry, "digest")))]


def _image(repository: Repository, manifest: RemoteManifest, index: RemoteManifest | None) -> RemoteImage:
    config = blob_of(repository, get(manifest.value, "config"))
    listed = get_list(manifest.value, "layers")
    if len(listed) > MAX_LIST:
        raise repository.failed(messages.REGISTRY_MANY_LAYERS, layers_count=len(listed), max_list=MAX_LIST)
    layers = tuple(blob_of(repository, item) for item in listed)
    content = repository.small_blob(config.digest, config.size)
    try:
        value = document.parse(content, "config")
    except ArchiveError as error:
        raise RegistryError(messages.REGISTRY_CONFIG, reference=repository.reference) from error
    diff_ids = tuple(sha256_of(item) or b"" for item in get_list(get(value, "rootfs"), "diff_ids"))
    if len(diff_ids) != len(layers):
        raise repository.failed(messages.REGISTRY_LAYERS_NOT_OF_CONFIG)
    return RemoteImage(manifest=manifest, index=index, config=content, layers=layers, diff_ids=diff_ids)


def blob_of(repository: Repository, described: object) -> RemoteBlob:
    """Return the blob of a descriptor. Raise :class:`RegistryError` if the descriptor is malformed."""
    found, size = sha256_of(get(described, "digest")), get(described, "size")
    if found is None or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise repository.failed(messages.REGISTRY_DESCRIPTOR)
    return RemoteBlob(found, size)

"""Writing archives in the canonical forms that loaders expect. The images and their digests stay the same.

All forms have the blobs of an OCI layout. If an archive has OCI documents (index.json and manifests), these documents
are kept unchanged. If the archive has no OCI documents, manifests are made from configs and layers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from dibundle.errors import ArchiveError
from dibundle.files import digest
from dibundle.files.readat import ReadAt, copy_chunks
from dibundle.files.wording import some
from dibundle.images import messages
from dibundle.images.members import Members
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.oci_layout import INDEX

ArchiveForm = Literal["docker-archive", "oci-archive"]
Content = bytes | ReadAt

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_BLOBS: Final = "blobs/sha256/"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_SUFFIX: Final = {None: "", "gzip": "+gzip", "zstd": "+zstd"}


class ImageParts(NamedTuple):
    """An OCI layout, with the blobs by digest, index.json, and the manifest.json that docker reads."""

    blobs: dict[bytes, Content]
    index_json: bytes
    manifest: bytes


def layout(
    images: ImageArchive,
    dropped: frozenset[int],
    *,
    verified: Mapping[tuple[int, int], bytes],
) -> ImageParts:
    """Return the layout of all images of an archive. Leave out the members with a content offset in ``dropped``.

    ``verified`` has digests that are already computed. The keys are the start and length of a range of the archive.
    Digests that the archive claims are not used. Raises ``ArchiveError`` if the archive lacks a config or a layer, or
    if OCI does not allow a layer's compression.
    """
    kept = (blob for blob in images.blobs if _belongs(blob) and blob.member.content not in dropped)
    places = ((blob, verified.get((blob.member.content, blob.member.size))) for blob in images.blobs)
    known = {blob.member.header: found for blob, found in places if found}
    blobs: dict[bytes, Content] = {_computed(images, blob, known): images.stored(blob) for blob in kept}
    entry = Members(images.archive).find(INDEX)
    descriptors: list[dict[str, object]] = []
    listed: list[dict[str, object]] = []
    for image in images.images:
        if image.config is None:
            raise ArchiveError(messages.ARCHIVE_NO_CONFIG, names=some(image.names) or "an image")
        layers = [_described(image, layer, lambda blob: _computed(images, blob, known)) for layer in image.layers]
        config = descriptor(OCI_CONFIG, image.config_digest, image.config.member.size)
        body = to_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})
        if entry is None:
            blobs[hashlib.sha256(body).digest()] = body
            descriptors += named(descriptor(OCI_MANIFEST, hashlib.sha256(body).digest(), len(body)), image.names)
        listed.append(docker_entry(image.config_digest, image.names, layers))
    index = (
        images.archive.bytes.read_at(entry.content, entry.size)
        if entry
        else to_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors})
    )
    return ImageParts(blobs, index, to_json(listed))


def write(parts: ImageParts, form: ArchiveForm, sink: Callable[[bytes], object], *, check: bool = False) -> None:
    """Write an archive in a form. The same parts always give the same bytes.

    The blobs come first, in the order of their digests, and the documents come after them.

    With ``check``, the digests are claims that are not verified yet. The end of each blob is then withheld until the
    blob's digest is verified. Raises ``ArchiveError`` if a digest differs.
    """
    for name, content in files(parts, form):
        size = size_of(content)
        sink(header(name, size))
        for piece in _checked(name, content) if check and name.startswith(_BLOBS) else chunks(content):
            sink(piece)
        sink(bytes(-size % 512))
    sink(bytes(1024))


def header(name: str, size: int) -> bytes:
    """Return the header of a file in an archive.

    The caller then writes ``size`` bytes, and zeros up to a multiple of 512.
    """
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o444 if name.startswith(_BLOBS) else 0o644
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def documents(index: bytes, manifest: bytes) -> bytes:
    """Return the end of an archive whose blobs are already written. The end has the documents that list the blobs."""
    made: list[bytes] = []
    write(ImageParts({}, index, manifest), "docker-archive", made.append)
    return b"".join(made)


def files(parts: ImageParts, form: ArchiveForm) -> Iterator[tuple[str, Content]]:
    """Yield the files of an archive in ``form``, in the order in which they are written."""
    for key in sorted(parts.blobs):
        yield _path(key), parts.blobs[key]
    yield "index.json", parts.index_json
    if form == "docker-archive":
        yield "manifest.json", parts.manifest
    yield "oci-layout", _LAYOUT


def chunks(content: Content) -> Iterator[bytes]:
    """Yield the content of a file."""
    if isinstance(content, bytes):
        yield content
    else:
        yield from copy_chunks(content, 0, content.size)


def _checked(name: str, content: Content) -> Iterator[bytes]:
    whole, held = hashlib.sha256(), b""
    for piece in chunks(content):
        whole.update(piece)
        if held:
            yield held
        held = piece
    if whole.hexdigest() != name.removeprefix(_BLOBS):
        raise ArchiveError(messages.ARCHIVE_DIGEST, name=name, hexdigest=whole.hexdigest())
    yield held


def size_of(content: Content) -> int:
    """Return the size of a file in bytes."""
    return len(content) if isinstance(content, bytes) else content.size


def docker_entry(config: bytes, names: Iterable[str], layers: list[dict[str, object]]) -> dict[str, object]:
    """Return the entry of manifest.json for an image. ``layers`` are descriptors."""
    return {
        "Config": _path(config),
        "RepoTags": [name for name in names if ":" in name.rpartition("/")[2]] or None,
        "Layers": [_path(bytes.fromhex(str(layer["digest"])[7:])) for layer in layers],
    }


def described(images: ImageArchive, image: Image) -> list[dict[str, object]]:
    """Return the descriptors of an image's layers, taken from the archive's claims.

    Raise ``ArchiveError`` if OCI does not allow such a descriptor.
    """
    known: dict[int, bytes] = {}  # an image may list the same layer very often
    return [_described(image, layer, lambda blob: _claimed(images, blob, known)) for layer in image.layers]


def _belongs(blob: Blob) -> bool:
    """Return whether a blob is part of a layout. Rewritten documents and unreferenced blobs belong to no layout."""
    return blob.kind in ("layer", "config") or blob.digest is not None


def _claimed(images: ImageArchive, blob: Blob, known: dict[int, bytes]) -> bytes:
    """Return the digest that the archive claims for a blob. Compute the digest if there is no claim."""
    if blob.digest:
        return blob.digest
    if blob.kind == "layer" and not blob.compression and blob.diff_id:
        return blob.diff_id
    return _computed(images, blob, known)


def _computed(images: ImageArchive, blob: Blob, known: dict[int, bytes]) -> bytes:
    """Return the digest of a blob. ``known`` caches digests by the position of the member."""
    if blob.member.header not in known:
        known[blob.member.header] = digest.sha256_of(chunks(images.stored(blob)))
    return known[blob.member.header]


def _described(image: Image, layer: Blob | None, digest_of: Callable[[Blob], bytes]) -> dict[str, object]:
    if layer is None:
        raise ArchiveError(messages.ARCHIVE_LAYER_MISSING, names=some(image.names) or "an image")
    if layer.compression not in _SUFFIX:
        raise ArchiveError(messages.ARCHIVE_LAYER_NOT_OCI, compression=layer.compression)
    return descriptor(OCI_LAYER + _SUFFIX[layer.compression], digest_of(layer), layer.member.size)


def descriptor(media_type: str, digest: bytes, size: int) -> dict[str, object]:
    """Return the descriptor of a blob of ``size`` bytes, for OCI manifests and indexes."""
    return {"mediaType": media_type, "digest": f"sha256:{digest.hex()}", "size": size}


def named(plain: dict[str, object], names: tuple[str, ...]) -> Iterator[dict[str, object]]:
    """Yield the descriptor once for each name, in the form that engines write and read."""
    if not names:
        yield plain
    for name in names:
        tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
        annotations = {"io.containerd.image.name": whole_name(name), "org.opencontainers.image.ref.name": tag}
        yield {**plain, "annotations": annotations}


def whole_name(name: str, engine: str = "docker") -> str:
    """Return the full name, with the registry that an engine would add.

    With a short name, the engine would create a second image.
    """
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return name
    # when loading an archive, podman adds this host to the archive's names, even to a name with a slash
    if engine == "podman":
        return f"localhost/{name}"
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _path(digest: bytes) -> str:
    return _BLOBS + digest.hex()


def to_json(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()

"""Bundles in a registry: OCI artifacts that refer to the image that they rebuild."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from dibundle.errors import DibError
from dibundle.files import digest
from dibundle.files.readat import ReadAt
from dibundle.format import labels
from dibundle.format.values import AboutImage
from dibundle.images import writers
from dibundle.images.document import get_list, get_text
from dibundle.sources.registry.client import RemoteManifest, Repository
from dibundle.sources.registry.images import RemoteBlob, RemoteImage, blob_of, images
from dibundle.sources.registry.reference import TAG

TYPE: Final = "application/vnd.dib.bundle.v1"
_EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_TITLE: Final = "org.opencontainers.image.title"


def push(
    repository: Repository,
    tag: str | None,
    content: ReadAt,
    whole: bytes,
    annotations: Mapping[str, str],
    subject: RemoteManifest | None,
) -> tuple[RemoteManifest, bool]:
    """Push a bundle whose SHA-256 is ``whole``, under a tag or only under its digest.

    Returns the artifact's manifest, and whether the bundle's bytes were sent. Bytes that the repository already has are
    not sent.
    """
    value: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": writers.OCI_MANIFEST,
        "artifactType": TYPE,
        "config": writers.descriptor(EMPTY_TYPE, digest.sha256(_EMPTY), len(_EMPTY)),
        "layers": [
            {**writers.descriptor(TYPE, whole, content.size), "annotations": {_TITLE: f"{whole.hex()[:12]}.dib"}}
        ],
    }
    if subject:
        value["subject"] = subject.descriptor
    value["annotations"] = dict(annotations)
    body = writers.to_json(value)
    manifest = RemoteManifest(body, digest.sha256(body), writers.OCI_MANIFEST, value)
    repository.upload(digest.sha256(_EMPTY), _EMPTY)
    sent = repository.upload(whole, content)
    answer = repository.put(tag or digest.text(manifest.digest), body, writers.OCI_MANIFEST)
    if subject and "OCI-Subject" not in answer.headers:
        repository.put_referrer(manifest)
    return manifest, sent


def bundle_of(repository: Repository, manifest: RemoteManifest) -> RemoteBlob | None:
    """Return the bundle in an artifact. Return None if the manifest does not belong to a bundle."""
    layers = get_list(manifest.value, "layers")
    if manifest.is_index or len(layers) != 1 or get_text(layers[0], "mediaType") != TYPE:
        return None
    return blob_of(repository, layers[0])


def find_image(repository: Repository, wanted: str, told: Sequence[AboutImage]) -> RemoteImage | None:
    """Return the image under a tag or digest. Return None if the bundle describes a different image."""
    found = repository.find(wanted)
    if found is None or bundle_of(repository, found):
        return None
    ids = {image.id for image in told if image.id}
    try:
        return next((image for image in images(repository, found) if image.id in ids), None)
    except DibError:
        return None  # an image that cannot be read does not count as the bundle's image


def find_by_names(repository: Repository, told: Sequence[AboutImage]) -> list[RemoteManifest]:
    """Return the manifests of the images that a bundle names, if the repository has these images under the same tags.

    The manifests are returned without parsed JSON, because the JSON of many large manifests would take gigabytes of
    memory.
    """
    tags = {name.rpartition(":")[2]: None for image in told for name in image.names if ":" in name.rpartition("/")[2]}
    there = (find_image(repository, tag, told) for tag in list(tags)[:16] if TAG.fullmatch(tag))
    found = [replace(image.manifest, value=None) for image in there if image]
    return list({manifest.digest: manifest for manifest in found}.values())


def texts(found: Sequence[RemoteManifest]) -> str:
    """Return the digests of image manifests as the value of an annotation."""
    return labels.texts(manifest.digest for manifest in found)

"""The images of an archive, read from Docker's manifest.json and from an OCI layout's index.json.

If both exist, only the images in manifest.json are used, because loaders do the same. In this case, the documents below
index.json only add kinds and claimed digests of blobs. If neither exists, the archive may be from docker before 1.10.
"""

from __future__ import annotations

from dibundle.errors import ArchiveError
from dibundle.images import docker, guess, legacy, messages
from dibundle.images.archive import Archive
from dibundle.images.claims import Claims, ImageDraft
from dibundle.images.members import Members
from dibundle.images.model import Blob, Image, ImageArchive
from dibundle.images.oci_layout import OciLayout


def read_images(archive: Archive) -> ImageArchive:
    """Return the images of ``archive``. Raise ``ArchiveError`` with the reason if the archive has no images."""
    if archive.claims is not None:
        return archive.claims
    members = Members(archive)
    claims = Claims(members)
    layout = OciLayout(claims)
    manifest, drafts = _docker_drafts(claims)
    layout.read()
    drafts = drafts or layout.drafts
    if not drafts and manifest is None and not layout.found:
        drafts = legacy.read_drafts(claims)
    if not drafts:
        raise guess.refusal(members, has_manifest=manifest is not None, has_index=layout.found)
    blobs = claims.blobs()
    digests = layout.manifest_digests()
    images = tuple(_image(draft, blobs, digests) for draft in drafts)
    producer = guess.producer(members, manifest, has_index=layout.found)
    found = ImageArchive(archive, images, tuple(blobs.values()), producer)
    archive.blobs = found._replace(images=())
    return found


def blobs_of(archive: Archive) -> ImageArchive:
    """Return only the blobs of :func:`read_images`. The images of many archives would take too much memory.

    The blobs are cached, because each bundle of a chain searches all archives that earlier bundles rebuilt.
    """
    return archive.blobs or read_images(archive)._replace(images=())


def _docker_drafts(claims: Claims) -> tuple[list[object] | None, list[ImageDraft]]:
    """Read manifest.json. If there is an OCI layout, ignore a manifest.json that is not Docker's."""
    try:
        manifest = docker.read_manifest(claims.members)
        return manifest, docker.read_drafts(claims, manifest) if manifest else []
    except ArchiveError as error:
        if claims.members.find(b"oci-layout") is None:
            name = claims.members.archive.name
            raise ArchiveError(
                messages.ARCHIVE_NOT_IMAGE, name=name, reason=error.message, hint=error.advice
            ) from error
        return None, []


def _image(draft: ImageDraft, blobs: dict[int, Blob], digests: dict[bytes, bytes]) -> Image:
    return Image(
        names=draft.names,
        config=blobs[draft.config.header] if draft.config else None,
        config_digest=draft.config_digest,
        layers=tuple(blobs[layer.header] if layer else None for layer in draft.layers),
        diff_ids=draft.diff_ids,
        manifest_digest=draft.manifest_digest or digests.get(draft.config_digest),
        platform=draft.platform,
    )

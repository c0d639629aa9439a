"""Push a bundle to a registry as an artifact that refers to the target image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dibundle.errors import UsageError, shell_words
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format import labels
from dibundle.format.manifest import Manifest
from dibundle.sharing import messages
from dibundle.sources.access import Access
from dibundle.sources.bundles import WholeBundle, read_whole
from dibundle.sources.names import is_reference
from dibundle.sources.opening import Source, open_sources
from dibundle.sources.registry.reference import Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.client import RemoteManifest, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """A bundle in a registry. The bundle has a ``name``, a ``digest`` (``sha256:...``) and a ``size`` in bytes.

    ``sent`` is true if the bundle was new to the registry. ``replaced`` is the bundle that had the tag before.
    ``refers_to`` is the target image to which the bundle is attached.
    """

    name: str
    digest: str
    size: int
    sent: bool
    replaced: str | None
    refers_to: str | None
    has_tag: bool


def push(bundle: Source, name: str, access: Access, context: Context, *, subject: str | None = None) -> PushResult:
    """Push a bundle to a registry as an OCI artifact that refers to its target image.

    The image must be in the same repository, under ``subject`` (a tag or a digest). Without ``subject``, the image must
    have the tag that it had when the bundle was created. If the tag in ``name`` belongs to an image, the push is
    refused, so that engines can still pull this image.
    """
    from dibundle.sources.registry import artifacts
    from dibundle.sources.registry.opening import open_repository, parse_target

    shown = bundle if isinstance(bundle, str) else "BUNDLE"
    reference = parse_target(name)
    opened = open_sources([bundle], access, context, bundle_first=True)
    whole = read_whole(opened.bundle_stream(), context, opened.check, opened.bundles[0][0])
    repository = open_repository(reference, access, context, write=True)
    before = _under(shown, reference, repository)
    makes = _subject(shown, name, subject, whole, reference, repository, context)
    if makes:
        _note_other_blobs(makes, whole.manifest, repository, context)
    about = whole.manifest.about
    needs = artifacts.find_by_names(repository, about.bases if about else ())
    annotations = whole.labels
    if needs:
        annotations[labels.NEEDS_MANIFESTS] = artifacts.texts(needs)
    manifest, sent = artifacts.push(repository, reference.tag, whole.content, whole.digest, annotations, makes)
    pushed = str(manifest.descriptor["digest"])
    return PushResult(
        name=str(reference if reference.tag else reference.with_digest(pushed)),
        digest=pushed,
        size=whole.content.size,
        sent=bool(sent),
        replaced=digest.text(before) if before and before != manifest.digest else None,
        refers_to=str(makes.descriptor["digest"]) if makes else None,
        has_tag=reference.tag is not None and before != manifest.digest,
    )


def _subject(
    shown: str,
    name: str,
    subject: str | None,
    bundle: WholeBundle,
    reference: Reference,
    repository: Repository,
    context: Context,
) -> RemoteManifest | None:
    """Return the manifest of a bundle's target image.

    If the manifest is not found under any name of the image, add a note and return None.
    """
    from dibundle.sources.registry import artifacts

    about = bundle.manifest.about
    targets = [image for images in about.targets for image in images] if about else []
    if subject is not None:
        wanted = Reference.parse(subject).wanted if is_reference(subject) else subject
        found = artifacts.find_image(repository, wanted, targets)
        if found is None:
            raise UsageError(messages.PUSH_SUBJECT, wanted=wanted, bundle=shown)
        return found.manifest
    makes = artifacts.find_by_names(repository, targets)
    if makes:
        return makes[0]
    context.progress.note(
        f"{reference.host}/{reference.repository} has no image that the bundle rebuilds, under any tag that the bundle"
        "  lists: only its own name leads to the bundle; push the image first, or name it: --subject TAG"
    )
    if reference.tag is None:
        raise UsageError(messages.PUSH_NO_NAME, bundle=shell_words(shown), name=shell_words(name + ":TAG"))
    return None


def _note_other_blobs(makes: RemoteManifest, manifest: Manifest, repository: Repository, context: Context) -> None:
    """Add a note if the stored bytes of rebuilt layers differ from those of the registry's layers."""
    from dibundle.sources.registry import artifacts

    targets = [image for images in manifest.about.targets for image in images] if manifest.about else []
    image = artifacts.find_image(repository, digest.text(makes.digest), targets)
    layers = {blob.digest for blob in image.layers} if image else set()
    others = layers.difference(labels.made_blobs(manifest))
    if others:
        context.progress.note(
            f"the bundle rebuilds other bytes for {len(others)} of {len(layers)} layers than the registry stores:"
            " dib mirror does not use it; to rebuild these blobs, create it from docker:// sources"
        )


def _under(shown: str, reference: Reference, repository: Repository) -> bytes | None:
    """Return the digest of the bundle that has the tag, or None.

    Refuse a tag that belongs to an image, so that engines can still pull this image.
    """
    from dibundle.sources.registry import artifacts

    found = repository.find(reference.tag) if reference.tag else None
    if found and not artifacts.bundle_of(repository, found):
        free = reference.with_tag(f"delta-{reference.tag}"[:128])
        raise UsageError(messages.PUSH_TAG_IS_IMAGE, reference=reference, bundle=shell_words(shown), free=free)
    return found.digest if found else None

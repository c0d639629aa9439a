"""Listing the bundles of a repository: what each needs and makes, who signed it, and what is gone of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dibundle.errors import BundleError, DigestError, RegistryError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format import labels
from dibundle.sharing import messages
from dibundle.sources.access import Access, SignatureCheck
from dibundle.sources.bundles import Pieces, read_bundle
from dibundle.sources.names import is_reference
from dibundle.sources.registry.reference import Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.catalog import FoundBundle
    from dibundle.sources.registry.client import Repository


MAX_REFUSED: Final = 64
"""Bundles that nobody who counts has signed; then no other is looked at: each takes ssh-keygen's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """A bundle in a registry: its ``name`` with the digest of its manifest, its ``tags``, its ``size`` in bytes.

    ``needs`` and ``makes`` are the images' names, as the registry lists them; ``bases`` and ``refers_to`` are digests
    of images' manifests in the same repository, ``makes_size`` bytes. ``created`` is a time as RFC 3339 has it.
    ``signed_by``: who signed it, of the signers given; what is signed says itself what it needs and makes. ``missing``
    is what is gone: a ``manifest`` that is listed still, the ``bundle``, or the ``image`` that it refers to.
    """

    name: str
    digest: str
    tags: tuple[str, ...]
    size: int | None
    needs: str
    makes: str
    bases: tuple[str, ...]
    refers_to: str | None
    makes_size: int | None
    created: str | None
    signed_by: str | None
    missing: Literal["manifest", "bundle", "image"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleList:
    """The bundles of the repository ``name``, sorted by what they make and need.

    ``is_complete``: false where the repository has more than is looked at.
    """

    name: str
    bundles: tuple[StoredBundle, ...]
    is_complete: bool

    @property
    def size(self) -> int:
        """The bytes of all bundles that are there."""
        return sum(item.size or 0 for item in self.bundles if item.missing != "bundle")


def list_bundles(name: str, access: Access, context: Context) -> BundleList:
    """List the bundles of a repository, ``docker://HOST/NAME``; with signers, the head of each bundle is fetched."""
    from dibundle.sources.registry.catalog import search
    from dibundle.sources.registry.opening import open_repository

    reference = parse_repository(name, "list")
    repository = open_repository(reference, access, context)
    found = search(repository, context.progress)
    signatures = access.signature_check(context.tmp)
    bundles: list[StoredBundle] = []
    left = MAX_REFUSED
    for item in found.bundles:
        bundles.append(_checked(item, repository, signatures) if left else stored(item, repository))
        left -= bool(left and signatures.required and not bundles[-1].signed_by)
    if signatures.required and not left:
        context.progress.note(f"{MAX_REFUSED} bundles have no trusted signature; others are not checked")
    return BundleList(
        name=str(reference),
        bundles=tuple(sorted(bundles, key=lambda item: (item.makes, item.needs, item.digest))),
        is_complete=found.is_complete,
    )


def parse_repository(name: str, command: str) -> Reference:
    """Return the repository that a name stands for, for ``dib`` ``command``."""
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_REPOSITORY, name=name)
    reference = Reference.parse(name)
    if reference.tag or reference.digest:
        raise UsageError(messages.REGISTRY_MORE_THAN_REPOSITORY, name=name, command=command, place=reference.place)
    return reference


def stored(found: FoundBundle, repository: Repository, signed_by: str | None = None) -> StoredBundle:
    """Return a bundle that was found, as results list it."""
    own = digest.text(found.digest)
    image = found.subject or min(found.lists, default=None)
    return StoredBundle(
        name=str(repository.reference.with_digest(own)),
        digest=own,
        tags=found.tags,
        size=found.blob.size if found.blob else None,
        needs=found.needs,
        makes=found.makes,
        bases=tuple(map(digest.text, found.bases)),
        refers_to=digest.text(image) if image else None,
        makes_size=found.makes_size,
        created=found.created,
        signed_by=signed_by,
        missing=found.missing,
    )


def _checked(found: FoundBundle, repository: Repository, signatures: SignatureCheck) -> StoredBundle:
    """Return a bundle, with who signed it where that is wanted; then it says itself what it needs and makes.

    Else whoever may push could list a bundle that is rightly signed as another one.
    """
    check = signatures.required
    if check is None or found.blob is None or found.missing == "bundle":
        return stored(found, repository)
    stream = Pieces(repository.blob(found.blob.digest, found.blob.size))
    try:
        bundle = read_bundle(stream, digest.text(found.digest), found.blob.size, check)
    except (SignatureError, BundleError, DigestError, RegistryError):  # what one bundle lacks says nothing of others
        return stored(found, repository)
    said = labels.labels(bundle.manifest, bundle.size, b"")
    signed = found._replace(needs=said[labels.NEEDS], makes=said[labels.MAKES], makes_size=int(said[labels.MAKES_SIZE]))
    return stored(signed, repository, *signatures.signed_by([bundle]))

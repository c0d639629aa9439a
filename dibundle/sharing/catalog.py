"""The bundles of a repository. Each bundle has its base and target images, its signer, and its missing parts."""

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
"""The number of bundles without a trusted signature after which the checks stop. Each check runs ssh-keygen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """A bundle in a registry. The ``name`` has the manifest's digest. There are also ``tags`` and a ``size`` in bytes.

    - ``needs``, ``makes``: names of the base and target images, from the registry's list or, for a signed bundle, from
      the bundle itself
    - ``makes_size``: bytes of all targets
    - ``bases``, ``refers_to``: digests of images' manifests in the same repository
    - ``created``: a time in the format of RFC 3339
    - ``signed_by``: the trusted signer, if signers were given
    - ``missing``: the part that is missing: the listed ``manifest``, the ``bundle``, or the ``image`` to which the
      manifest refers
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
    """The bundles of the repository ``name``, sorted by target and base images.

    ``is_complete`` is false if the repository has more entries than are read.
    """

    name: str
    bundles: tuple[StoredBundle, ...]
    is_complete: bool

    @property
    def size(self) -> int:
        """The total size in bytes of all bundles that the registry still has."""
        return sum(item.size or 0 for item in self.bundles if item.missing != "bundle")


def list_bundles(name: str, access: Access, context: Context) -> BundleList:
    """List the bundles of a repository, ``docker://HOST/NAME``. With signers, fetch each bundle's manifest."""
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
    """Parse the name of a repository, and refuse a tag or a digest.

    ``command`` is the command that has this argument.
    """
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_REPOSITORY, name=name)
    reference = Reference.parse(name)
    if reference.tag or reference.digest:
        raise UsageError(messages.REGISTRY_MORE_THAN_REPOSITORY, name=name, command=command, place=reference.place)
    return reference


def stored(found: FoundBundle, repository: Repository, signed_by: str | None = None) -> StoredBundle:
    """Return a found bundle as a :class:`StoredBundle`."""
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
    """Return a bundle. If signers are given, add the bundle's signer, and take the image names from the bundle itself.

    The names in the registry's list are not signed. Anyone with permission to push could list a signed bundle under
    other names.
    """
    check = signatures.required
    if check is None or found.blob is None or found.missing == "bundle":
        return stored(found, repository)
    stream = Pieces(repository.blob(found.blob.digest, found.blob.size))
    try:
        bundle = read_bundle(stream, digest.text(found.digest), found.blob.size, check)
    except (SignatureError, BundleError, DigestError, RegistryError):  # a faulty bundle must not affect other bundles
        return stored(found, repository)
    said = labels.labels(bundle.manifest, bundle.size, b"")
    signed = found._replace(needs=said[labels.NEEDS], makes=said[labels.MAKES], makes_size=int(said[labels.MAKES_SIZE]))
    return stored(signed, repository, *signatures.signed_by([bundle]))

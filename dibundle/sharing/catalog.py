"""The bundles of a repository.

Each bundle is listed with its base and target images, its signer, and its missing part (if any).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dibundle.errors import BundleError, DigestError, RegistryError, SignatureError, UsageError, human
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format import labels
from dibundle.format.header import Header
from dibundle.sharing import messages
from dibundle.sources.access import Access, SignatureCheck
from dibundle.sources.bundles import CheckManifest, Pieces, read_bundle
from dibundle.sources.names import is_reference
from dibundle.sources.registry.reference import Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.catalog import FoundBundle
    from dibundle.sources.registry.client import Repository


MAX_REFUSED: Final = 64
"""The number of bundles without a trusted signature after which the checks stop. Each check runs ssh-keygen."""
MAX_DECODED: Final = 1 << 30
"""The total size of manifests, in bytes, after which the checks stop.

Decoding takes 2 s of CPU for each GiB. Anyone with permission to push could list a signed bundle many times.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """A bundle in a registry. The ``name`` includes the manifest's digest. The ``size`` is in bytes.

    - ``needs``, ``makes``: names of the base and target images, from the registry's list or, for a signed bundle, from
      the bundle itself
    - ``makes_size``: bytes of all targets
    - ``bases``, ``refers_to``: digests of images' manifests in the same repository
    - ``created``: a time in the format of RFC 3339
    - ``signed_by``: the trusted signer, if signers were given
    - ``missing``: the missing part, which is the listed ``manifest``, the ``bundle``, or the ``image`` to which the
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

    ``is_complete`` is false if the repository has more entries than the limits allow to be read.
    """

    name: str
    bundles: tuple[StoredBundle, ...]
    is_complete: bool

    @property
    def size(self) -> int:
        """The total size in bytes of all bundles that the registry still has."""
        return sum(item.size or 0 for item in self.bundles if item.missing != "bundle")


def list_bundles(name: str, access: Access, context: Context) -> BundleList:
    """List the bundles of a repository, ``docker://HOST/NAME``. If signers are given, fetch each bundle's manifest."""
    from dibundle.sources.registry.catalog import search
    from dibundle.sources.registry.opening import open_repository

    reference = parse_repository(name, "list")
    repository = open_repository(reference, access, context)
    found = search(repository, context.progress)
    checks = _Checks(repository, access.signature_check(context.tmp))
    bundles = list(map(checks.look, found.bundles))
    if checks.limit:
        context.progress.note(f"{checks.limit}; others are not checked")
    return BundleList(
        name=str(reference),
        bundles=tuple(sorted(bundles, key=lambda item: (item.makes, item.needs, item.digest))),
        is_complete=found.is_complete,
    )


def parse_repository(name: str, command: str) -> Reference:
    """Parse the name of a repository, and refuse a tag or a digest.

    ``command`` is the name of the command, for the error message.
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


class _Checks:
    """Checks of the signatures of listed bundles. All bundles share the limits. If no signers are given, check nothing.

    The names in the registry's list are not signed. Anyone with permission to push could list a signed bundle under
    other names. So the names of a signed bundle are taken from the bundle itself.
    """

    def __init__(self, repository: Repository, signatures: SignatureCheck) -> None:
        self._repository, self._signatures = repository, signatures
        self._refusals_left = MAX_REFUSED
        self._decoded_left = MAX_DECODED

    @property
    def limit(self) -> str:
        """The limit that was reached, as text. The value is empty if no limit was reached."""
        if not self._refusals_left:
            return f"{MAX_REFUSED} bundles have no trusted signature"
        return f"the manifests have more than {human(MAX_DECODED)}" if self._decoded_left < 0 else ""

    def look(self, found: FoundBundle) -> StoredBundle:
        """Return a found bundle. If its signature is trusted, add the signer, and use the names in the bundle."""
        check = self._signatures.required
        if check is None or found.blob is None or found.missing == "bundle" or self.limit:
            return stored(found, self._repository)

        def within(header: bytes, signature: bytes) -> CheckManifest | None:
            accepted = check(header, signature)
            self._decoded_left -= Header.decode(header).size
            return accepted

        stream = Pieces(self._repository.blob(found.blob.digest, found.blob.size))
        try:
            bundle = read_bundle(stream, digest.text(found.digest), found.blob.size, within)
        except (SignatureError, BundleError, DigestError, RegistryError):  # a faulty bundle must not end the list
            self._refusals_left -= 1
            return stored(found, self._repository)
        said = labels.labels(bundle.manifest, bundle.size, b"")
        signed = found.renamed(said[labels.NEEDS], said[labels.MAKES], int(said[labels.MAKES_SIZE]))
        return stored(signed, self._repository, *self._signatures.signed_by([bundle]))

"""Public functions for bundles in a registry, which ``dibundle`` exports together with the functions of ``api``."""

from __future__ import annotations

from collections.abc import Iterable

from dibundle.files.context import Context
from dibundle.files.progress import Progress
from dibundle.sharing import catalog, delete
from dibundle.sharing.catalog import BundleList
from dibundle.sharing.delete import DeleteResult
from dibundle.sources.access import Access


def list_bundles(
    name: str, *, access: Access | None = None, progress: Progress | None = None, tmp: str | None = None
) -> BundleList:
    """Return the bundles that the registry lists for a repository, ``docker://HOST/NAME``.

    Bundles are found by their tags and by the referrers of images. Sizes are in bytes, and digests have the form
    ``sha256:...``. With signers, each bundle is fetched up to the end of its manifest. The manifest has the names of
    the images. Raises ``UsageError`` if ``name`` is not the name of a repository, and ``RegistryError`` if the registry
    fails or has no such repository.
    """
    with Context(tmp, progress) as context:
        return catalog.list_bundles(name, access or Access(), context)


def delete_bundles(
    names: str | Iterable[str],
    *,
    dry_run: bool = False,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> DeleteResult:
    """Delete bundles from a registry by the digests of their manifests, ``docker://HOST/NAME@sha256:DIGEST``.

    If the registry stores lists of referrers under tags, the bundles' entries are removed from these lists too. With
    ``dry_run``, only the bundles that would be deleted are returned. Raises:

    - ``UsageError`` if a name is not the name of a bundle; then no bundle is deleted
    - ``RegistryError`` if the registry fails, has no such manifest, or does not allow deleting
    """
    with Context(tmp, progress) as context:
        several = (names,) if isinstance(names, str) else names
        return delete.delete_bundles(several, access or Access(), context, dry_run=dry_run)


def delete_orphans(
    name: str,
    *,
    dry_run: bool = False,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> DeleteResult:
    """Delete the incomplete bundles of a repository, ``docker://HOST/NAME``.

    A bundle is incomplete if the bundle itself, or the image to which it refers, is missing. If an entry in a list of
    referrers has no manifest, the entry is removed. The parameters and errors are the same as for
    :func:`delete_bundles`.
    """
    with Context(tmp, progress) as context:
        return delete.delete_orphans(name, access or Access(), context, dry_run=dry_run)

"""Public functions about the bundles in a registry, which ``dibundle`` itself offers beside those of ``api``."""

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
    """Return the bundles of a repository, ``docker://HOST/NAME``, as the registry lists them.

    They are found by their tags and by the images that lead to them. Sizes are bytes, digests ``sha256:...``. With
    signers the head of each bundle is fetched, and it says itself what it needs and makes. Raises ``UsageError`` for
    what is no name of a repository, ``RegistryError`` where the registry fails or has no such repository.
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

    The lists of the images that they refer to are changed, too, where the registry has such a list under a tag.
    ``dry_run``: only return what would be deleted. Raises ``UsageError`` where one is no bundle, before any is deleted,
    ``RegistryError`` where the registry fails, has no such manifest, or does not allow deleting.
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
    """Delete the bundles of a repository, ``docker://HOST/NAME``, of which something is gone.

    That is the image that a bundle refers to, or the bundle itself; what is only listed is removed from the list. Else
    as :func:`delete_bundles`.
    """
    with Context(tmp, progress) as context:
        return delete.delete_orphans(name, access or Access(), context, dry_run=dry_run)

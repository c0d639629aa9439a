"""Delete bundles from a registry, with their entries in lists of referrers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.sharing import messages
from dibundle.sharing.catalog import StoredBundle, parse_repository, stored
from dibundle.sources.access import Access
from dibundle.sources.names import is_reference
from dibundle.sources.registry.reference import Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.catalog import FoundBundle
    from dibundle.sources.registry.client import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResult:
    """Bundles that were deleted or, with ``dry_run``, would be deleted. ``left`` are bundles that are still listed.

    If the ``missing`` of a deleted bundle is "manifest", the registry had only an entry in a list. This entry was
    removed.
    """

    deleted: tuple[StoredBundle, ...]
    left: tuple[StoredBundle, ...]

    @property
    def size(self) -> int:
        """The total size of the bundles in bytes.

        The registry's garbage collection frees this space, except for bytes that are still used elsewhere.
        """
        return sum(item.size or 0 for item in self.deleted if item.missing != "bundle")


def delete_bundles(names: Iterable[str], access: Access, context: Context, *, dry_run: bool = False) -> DeleteResult:
    """Delete bundles by tag (``docker://HOST/NAME:TAG``) or by their manifest's digest (``...@sha256:DIGEST``).

    Deleting a bundle removes all its tags. All names are checked before the first bundle is deleted. Raises
    :class:`UsageError` if a name is not the name of a bundle.
    """
    from dibundle.sources.registry.catalog import describe
    from dibundle.sources.registry.opening import open_repository

    wanted = list(dict.fromkeys(map(_parse_bundle, names)))
    repositories = {
        place: open_repository(Reference.parse(place), access, context, write=not dry_run)
        for place in dict.fromkeys(reference.place for reference in wanted)
    }
    found: dict[str, list[FoundBundle]] = defaultdict(list)
    for reference in wanted:
        repository = repositories[reference.place]
        bundle = describe(repository, repository.manifest(reference.wanted))
        if bundle is None:
            raise UsageError(messages.DELETE_NO_BUNDLE, reference=reference, place=reference.place)
        found[reference.place].append(bundle)
    done = [_delete(repositories[place], bundles, dry_run=dry_run) for place, bundles in found.items()]
    return DeleteResult(deleted=tuple(item for result in done for item in result.deleted), left=())


def delete_orphans(name: str, access: Access, context: Context, *, dry_run: bool = False) -> DeleteResult:
    """Delete the incomplete bundles of a repository, ``docker://HOST/NAME``, and their entries in lists.

    A bundle is incomplete if its listed manifest, the bundle itself, or the image to which it refers is missing.
    """
    from dibundle.sources.registry.catalog import search
    from dibundle.sources.registry.opening import open_repository

    repository = open_repository(parse_repository(name, "delete --orphans"), access, context, write=not dry_run)
    found = search(repository, context.progress)
    return _delete(repository, [item for item in found.bundles if item.missing], dry_run=dry_run)


def _parse_bundle(name: str) -> Reference:
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_REPOSITORY, name=name)
    reference = Reference.parse(name)
    if not reference.digest and not reference.tag:
        raise UsageError(messages.DELETE_NO_DIGEST, name=name, place=reference.place)
    return reference.with_digest(reference.digest) if reference.digest else reference


def _delete(repository: Repository, bundles: Sequence[FoundBundle], *, dry_run: bool) -> DeleteResult:
    """Delete the manifests, then their entries in lists.

    In this order, every bundle that still exists is also listed. After an error, the entries of the already deleted
    bundles are removed, too.
    """
    lists: dict[bytes, set[bytes]] = defaultdict(set)
    try:
        for bundle in bundles:
            if bundle.missing != "manifest" and not dry_run:
                repository.delete(bundle.digest)
            for image in {*bundle.lists, *filter(None, (bundle.subject,))}:
                lists[image].add(bundle.digest)
    finally:
        changed = {image for image, gone in lists.items() if repository.remove_referrers(image, gone, dry_run=dry_run)}
    left = [item for item in bundles if item.missing == "manifest" and changed.isdisjoint(item.lists)]
    deleted = [item for item in bundles if item not in left]
    return DeleteResult(
        deleted=tuple(stored(item, repository) for item in deleted),
        left=tuple(stored(item, repository) for item in left),
    )

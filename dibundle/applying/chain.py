"""Chains of bundles. In a chain, the target of each bundle is the base of the next bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from dibundle.applying import messages
from dibundle.applying.base import base_names, claimed_by_none, is_made_by, missing_objects, serving
from dibundle.applying.candidates import FoundDigests
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_targets
from dibundle.applying.space import Space, made_size
from dibundle.applying.targets import target_name
from dibundle.errors import BaseMismatchError, UsageError, human, shell_words
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.readat import root
from dibundle.format.labels import made_blobs
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.format.uses import objects_used
from dibundle.format.values import AboutImage
from dibundle.images.archive import MADE_NAMES, MAX_MADE_ENTRIES, Archive, open_made, view_made
from dibundle.images.reader import blobs_of

MAX_MEMBERS: Final = 1 << 18
"""The maximum number of members to read from all intermediate archives together."""


def follow(
    archives: Sequence[Archive],
    bundles: Sequence[BundleReader],
    options: RebuildOptions,
    context: Context,
    *,
    spare: Sequence[BundleReader] = (),
    only_claims: bool = False,
) -> tuple[list[Archive], BundleReader]:
    """Apply all ``bundles`` of a chain except the last bundle. Return the resulting archives, and the last bundle.

    The order of the bundles does not matter, and duplicates are ignored. If no archive has the base of a bundle, and no
    other bundle rebuilds this base, ``spare`` bundles are applied too. Intermediate targets are written to temporary
    files of ``context``. With ``only_claims``, no bundle is applied. Placeholders without content replace the
    intermediate targets. Raises :class:`BaseMismatchError` for a broken chain, and :class:`UsageError` for an ambiguous
    chain.
    """
    here = list(archives)
    claims = _Claims([*bundles, *spare], context)
    bundles = _with_needed(bundles, spare, archives, claims, context) if spare else bundles
    waiting = list({bundle.header_bytes: bundle for bundle in bundles}.values())
    is_chain = len(waiting) > 1
    links = _links(waiting, archives) if is_chain else {}
    while len(waiting) > 1:
        claims.look(waiting, here)
        bundle = _next(waiting, here, claims, links, context)
        waiting.remove(bundle)
        here = _with_room(here, [bundle, *waiting], options, context)
        if only_claims:
            here += _stand_ins(bundle, waiting)
        else:
            here += _make(bundle, here, options, context)
    (last,) = waiting
    here = _with_room(here, [last], options, context)
    if is_chain and not _serves_any(last.manifest, here, claims, context):
        raise _unfit(waiting)
    if is_chain and not only_claims and made_size(here):
        context.progress.note(f"intermediate images of the chain take {human(made_size(here))} of temporary files")
    return here, last


def _next(
    waiting: Sequence[BundleReader],
    here: Sequence[Archive],
    claims: _Claims,
    links: Mapping[int, _Links],
    context: Context,
) -> BundleReader:
    """Return the next bundle to apply. Its base is available, and other bundles build on its targets."""
    ready = [bundle for bundle in waiting if claims.lets(bundle)]
    needed = _made_for(ready, waiting, links)
    first = _not_made_for(needed, waiting, links)
    if not first:  # also read the contents of archives: a base may hold contents that its documents do not list
        ready = [bundle for bundle in waiting if bundle in ready or claims.serve(bundle, here)]
        needed = _made_for(ready, waiting, links)
        first = _not_made_for(needed, waiting, links) or _not_made_for(needed, ready, links)
    if not needed:  # no bundle builds on a ready bundle, so each ready bundle may be the last
        unfit = [bundle for bundle in waiting if bundle not in ready]
        raise _unfit(unfit) if unfit else _no_chain(ready, apart=True)
    if not first and len(needed) != 1:
        raise _no_chain(needed, apart=False)
    return (first or needed)[0]


def _with_needed(
    bundles: Sequence[BundleReader],
    spare: Sequence[BundleReader],
    archives: Sequence[Archive],
    claims: _Claims,
    context: Context,
) -> list[BundleReader]:
    """Return ``bundles``, and those spare bundles that rebuild missing bases."""
    links = _links([*bundles, *spare], archives)
    found = list(bundles)
    for bundle in found:  # the list grows during the loop
        if not _serves_any(bundle.manifest, archives, claims, context) and not any(
            _makes_for(other, bundle, links) for other in found
        ):
            found += [other for other in spare if _makes_for(other, bundle, links)][:1]
    return found


def _with_room(
    here: list[Archive], waiting: Sequence[BundleReader], options: RebuildOptions, context: Context
) -> list[Archive]:
    """Close intermediate archives to make room for the next targets (``--max-size``).

    Return the archives that stay open.

    An archive may be closed if no ``waiting`` bundle builds on it. The oldest archives are closed first, until the
    targets of the next bundle fit.
    """
    next_size = sum(target.size for target in waiting[0].manifest.targets)
    made = [archive for archive in here if archive.is_made]
    if made_size(here) + next_size <= 2 * options.max_size or not made:
        return here
    newest_first = [archive for archive in here if not archive.is_made] + made[::-1]
    kept = {id(archive) for bundle in waiting for archive in serving(bundle.manifest, newest_first, context)}
    gone = set()
    left = made_size(here)
    for archive in made:
        if left + next_size <= 2 * options.max_size:
            break
        if id(archive) not in kept:
            left -= made_size([archive])
            archive.close()
            archive.forget()  # free the archive's index now, because the context keeps the archive in memory
            gone.add(id(archive))
    return [archive for archive in here if id(archive) not in gone]


class _Claims:
    """For each bundle, the needed objects that no archive claims to have.

    An archive is read only once for each bundle.
    """

    def __init__(self, bundles: Sequence[BundleReader], context: Context) -> None:
        self._context = context
        sizes = [item.size for bundle in bundles for item in bundle.manifest.objects]
        self._digests = FoundDigests(max(sizes, default=0))
        self._seen: dict[int, Archive] = {}
        self._missing: dict[int, list[int]] = {}  # the keys are the ids of the bundles

    def look(self, bundles: Sequence[BundleReader], archives: Sequence[Archive]) -> None:
        """Update the lists of missing objects of ``bundles``. The ``archives`` may have changed since the last call."""
        here = set(map(id, archives))
        if closed := [archive for key, archive in self._seen.items() if key not in here]:
            self._digests.release(closed)
            self._seen, self._missing = {}, {}
        new = [archive for archive in archives if id(archive) not in self._seen]
        self._seen |= {id(archive): archive for archive in new}
        read = [blobs_of(archive) for archive in new]
        for bundle in bundles:
            before = self._missing.get(id(bundle), range(len(bundle.manifest.objects)))
            self._missing[id(bundle)] = claimed_by_none(bundle.manifest, read, before, self._context)

    def serve(self, bundle: BundleReader, archives: Sequence[Archive]) -> bool:
        """Return whether all targets of a bundle can be rebuilt from the contents of archives. Ignore claims."""
        return is_made_by(bundle.manifest, self.missing_contents(bundle.manifest, archives, self._context))

    def missing_contents(self, manifest: Manifest, archives: Sequence[Archive], context: Context) -> list[int]:
        """Return the indexes of a bundle's base objects that no archive contains. Placeholders contain no objects."""
        real = [archive for archive in archives if not archive.claims]
        self._digests.hold(map(blobs_of, real))
        return missing_objects(manifest, real, context, self._digests)

    def lets(self, bundle: BundleReader) -> bool:
        """Return whether all targets of a bundle can be rebuilt. Trust the archives' claims."""
        return is_made_by(bundle.manifest, self._missing[id(bundle)])


def _serves_any(manifest: Manifest, archives: Sequence[Archive], claims: _Claims, context: Context) -> bool:
    """Return whether at least one target can be rebuilt.

    If the archives' claims are not enough, also look at the archives' contents.
    """
    for missing in (missing_objects, claims.missing_contents):
        # a rebuild must begin with a target that needs no other target
        found = set(missing(manifest, archives, context))
        if any(found.isdisjoint(objects_used(manifest, number)) for number in _all(manifest)):
            return True
    return False


def _all(manifest: Manifest) -> range:
    return range(len(manifest.targets))


def _makes_for(bundle: BundleReader, other: BundleReader, links: Mapping[int, _Links]) -> bool:
    """Return whether ``other`` builds on content that ``bundle`` adds. Only metadata is compared.

    Image IDs are compared if any bundle rebuilds a base image of ``other``. Otherwise, layers are compared. Comparing
    layers is less certain, because several images may share a layer.
    """
    if other is bundle:
        return False
    mine, its = links[id(bundle)], links[id(other)]
    return not (mine.images.isdisjoint(its.bases) if its.bases else mine.makes.isdisjoint(its.needs))


def _made_for(
    bundles: Sequence[BundleReader], others: Sequence[BundleReader], links: Mapping[int, _Links]
) -> list[BundleReader]:
    """Return the bundles that ``others`` build on."""
    return [bundle for bundle in bundles if any(_makes_for(bundle, other, links) for other in others)]


def _not_made_for(
    bundles: Sequence[BundleReader], others: Sequence[BundleReader], links: Mapping[int, _Links]
) -> list[BundleReader]:
    """Return the bundles that do not build on any of the ``others``."""
    return [bundle for bundle in bundles if not any(_makes_for(other, bundle, links) for other in others)]


class _Links(NamedTuple):
    """The digests that link a bundle with other bundles.

    ``makes`` has the digests of layers and other contents of the targets. ``needs`` has the digests of contents of the
    base. ``images`` has the IDs of the targets' images. ``bases`` has the IDs of the base images.
    """

    makes: frozenset[bytes]
    needs: frozenset[bytes]
    images: frozenset[bytes]
    bases: frozenset[bytes]


def _links(bundles: Sequence[BundleReader], archives: Sequence[Archive]) -> dict[int, _Links]:
    """Return the links between bundles, by the ``id()`` of each bundle."""
    here = {
        digest for archive in archives for blob in blobs_of(archive).blobs for digest in (blob.digest, blob.diff_id)
    }
    needs = {id(bundle): _needs(bundle.manifest) for bundle in bundles}
    every = frozenset().union(*needs.values())
    images = {id(bundle): _ids(bundle.manifest.about.targets if bundle.manifest.about else ()) for bundle in bundles}
    made = frozenset().union(*images.values())
    found = {}
    for bundle in bundles:
        own = needs[id(bundle)]
        bases = _ids([bundle.manifest.about.bases] if bundle.manifest.about else ())
        found[id(bundle)] = _Links(
            makes=every.intersection(_made(bundle.manifest)) - own,
            needs=own - here if bases else own,  # the contents that the archives already have are not needed
            images=images[id(bundle)],
            bases=bases & made,
        )
    return found


def _needs(manifest: Manifest) -> frozenset[bytes]:
    return frozenset(manifest.objects[number].digest for number in manifest.needed())


def _ids(images: Iterable[Iterable[AboutImage]]) -> frozenset[bytes]:
    return frozenset(image.id for some in images for image in some if image.id)


def _made(manifest: Manifest) -> Iterator[bytes]:
    """Yield the digests that the manifest lists for contents of the targets. The list is not complete."""
    for images in manifest.about.targets if manifest.about else ():
        for image in images:
            yield from image.diff_ids
    yield from made_blobs(manifest)


def _stand_ins(bundle: BundleReader, waiting: Sequence[BundleReader]) -> list[Archive]:
    """Return placeholders for a bundle's targets.

    The first placeholder claims the contents that the ``waiting`` bundles need.
    """
    from dibundle.images.stand_in import stand_in

    manifest = bundle.manifest
    sizes = {item.digest: item.size for other in waiting for item in other.manifest.objects}
    layers = {made: sizes[made] for made in _made(manifest) if made in sizes}
    found = [
        stand_in(target_name(manifest, number), {} if number else layers, size=target.size, is_made=True)
        for number, target in enumerate(manifest.targets)
    ]
    found[0].spared = _spared(manifest)
    return found


def _make(
    bundle: BundleReader, archives: Sequence[Archive], options: RebuildOptions, context: Context
) -> list[Archive]:
    """Apply an intermediate bundle. If possible, store the target in compact form to save disk space."""
    from dibundle.format.compact import MEMORY, CompactTarget, is_possible

    manifest = bundle.manifest
    if not is_possible(manifest):
        return make_all(bundle, archives, options, context)
    memory = [archive.bytes.memory_left for archive in archives if isinstance(archive.bytes, CompactTarget)]
    given = [root(archive.bytes, 0)[0] for archive in archives if not archive.is_made]
    own = context.enter(context.within())
    target = CompactTarget(manifest, given, own, min(memory, default=MEMORY))
    space = Space(kept=manifest.targets[0].size, spared=_spared(manifest))
    rebuild_targets(archives, bundle, {0: target.write}, options, context, space=space, compact=target)
    target.finish()
    made = view_made(target, target_name(manifest, 0), *_left(archives))
    made.spared = target.size - target.file_size
    made.defer(own.close)
    made.defer(target.close)
    return [made]


def _spared(manifest: Manifest) -> int:
    """Estimate the number of bytes that compact storage saves for the first target of a bundle."""
    from dibundle.format.compact import is_possible, kept_size

    return manifest.targets[0].size - kept_size(manifest) if is_possible(manifest) else 0


def _left(archives: Sequence[Archive]) -> tuple[int, int]:
    """Return the next intermediate archive's limits: the number of members, and the bytes of names."""
    indexes = [archive.index for archive in archives if archive.is_made]
    left = MAX_MEMBERS - sum(len(index.entries) for index in indexes)
    names = MADE_NAMES - sum(index.names for index in indexes)
    return max(1, min(left, MAX_MADE_ENTRIES)), max(0, names)


def make_all(
    bundle: BundleReader, archives: Sequence[Archive], options: RebuildOptions, context: Context
) -> list[Archive]:
    """Apply a bundle and write each of its targets to a temporary file of its own."""
    manifest = bundle.manifest
    spools = [context.spool() for _ in manifest.targets]
    sinks = {number: spools[number].write for number in _all(manifest)}
    kept = sum(target.size for target in manifest.targets)
    rebuild_targets(archives, bundle, sinks, options, context, space=Space(kept=kept))
    found: list[Archive] = []
    for number, spool in enumerate(spools):
        entries, names = _left([*archives, *found])
        name = target_name(manifest, number)
        found.append(context.enter(open_made(spool, name, owned=True, entries=entries, names=names)))
    return found


def _names(manifest: Manifest) -> list[str]:
    return [name for images in (manifest.about.targets if manifest.about else ()) for i in images for name in i.names]


def _describe(bundle: BundleReader) -> str:
    made = wording.some(_names(bundle.manifest)) or "an image"
    return f"{bundle.name} (it makes {made})" if bundle.name else f"the bundle that makes {made}"


def _no_chain(ready: Sequence[BundleReader], *, apart: bool) -> UsageError:
    ends = " and ".join(map(_describe, ready))
    why = "none builds on another" if apart else "each builds on another"
    return UsageError(messages.CHAIN_AMBIGUOUS, ready_count=len(ready), why=why, ends=ends)


def _unfit(waiting: Sequence[BundleReader]) -> BaseMismatchError:
    """Return the error for bundles whose base is missing and is rebuilt by no other bundle."""
    needs = [wording.some(base_names(bundle.manifest), " and ") or "another image" for bundle in waiting]
    told = "; ".join(
        f"{bundle.name or 'a bundle'} builds on {need}" for bundle, need in zip(waiting, needs, strict=True)
    )
    message = messages.CHAIN_UNUSED if len(waiting) == 1 else messages.CHAIN_BROKEN
    return BaseMismatchError(message, told=told, need=shell_words(needs[0]))

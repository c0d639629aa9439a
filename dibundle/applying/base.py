"""Search archives for a bundle's base objects. If objects are missing, the error names their base images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Final

from dibundle.applying import messages
from dibundle.applying.base_store import BaseObjects, Wanted
from dibundle.applying.candidates import FoundDigests
from dibundle.codecs import recompression
from dibundle.errors import BaseMismatchError, BundleError, save_command, shell_words
from dibundle.files import digest, wording
from dibundle.files.context import Context
from dibundle.format.manifest import Manifest
from dibundle.format.plan import RecompressionBudget
from dibundle.format.uses import Order, Sums, members, uses
from dibundle.format.values import AboutImage, BaseObject, RecompressedObject
from dibundle.images.archive import Archive
from dibundle.images.model import ImageArchive
from dibundle.images.reader import blobs_of, read_images

MAX_REFUSALS: Final = 8  # maximum number of errors to create, because creating an error reads all given images


class FoundBase(BaseObjects):
    """The base for a bundle's ``wanted`` targets.

    ``order`` lists the ``wanted`` targets and the targets that they build on, in the order of the rebuild. ``kept``
    lists the targets in ``order`` from which later targets read objects. ``spooled`` has, for each object, the number
    of its bytes that are in temporary files. ``spooled_of_made`` is the sum of these numbers for objects from bundles.
    ``spooled_of_given`` is the sum for all other objects.
    """

    wanted: frozenset[int] = frozenset()
    order: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    def __init__(
        self, manifest: Manifest, context: Context, *, believe: bool, digests: FoundDigests | None = None
    ) -> None:
        forms = {form.object: form for form in manifest.forms}
        budget = RecompressionBudget()
        wanted = [_wanted(item, forms.get(number), budget) for number, item in enumerate(manifest.objects)]
        super().__init__(wanted, tmp=context.tmp, believe=believe, digests=digests)
        self._manifest = manifest
        self._here: Sequence[Archive] = ()
        self.spooled, self.spooled_of_made, self.spooled_of_given = Sums({}), 0, 0
        self._order = Order(manifest, ())
        self._refusals: dict[int, BaseMismatchError] = {}

    def search(self, bases: Sequence[Archive], targets: Collection[int]) -> None:
        """Search for the objects that ``targets`` and all earlier targets use."""
        self._here = bases
        every = members(_may_use(self._manifest, targets))
        self.add([blobs_of(archive) for archive in bases], every)
        self._order = Order(self._manifest, self.missing(every))
        self._refusals = {}
        self.spooled = Sums({index: self.spool_size([index]) for index in every})
        self.spooled_of_made = self.spool_size(every, of_made=True)
        self.spooled_of_given = self.spool_size(every) - self.spooled_of_made

    def choose(self, targets: Collection[int]) -> None:
        """Choose the order in which ``targets`` are rebuilt. Call :meth:`search` with these targets first.

        Raises :class:`BaseMismatchError` if objects are missing. The error names the objects and a remedy.
        """
        for number in targets:
            uses(self._manifest, number)
        order = self._order.of(targets)
        for number in order:
            if lacking := self._order.lacking(number):
                raise self._refusal(lacking).with_traceback(None)
        self.wanted, self.order = frozenset(targets), tuple(order)
        self.kept = tuple(members(self._order.kept(order)))

    def _refusal(self, lacking: int) -> BaseMismatchError:
        """Return the error for a target that lacks objects. ``lacking`` has a bit for each missing object.

        The error is cached, because several targets may lack the same objects.
        """
        if lacking not in self._refusals:
            if len(self._refusals) == MAX_REFUSALS:
                return next(iter(self._refusals.values()))
            self._refusals[lacking] = mismatch(self._manifest, members(lacking), self._here)
        return self._refusals[lacking]


def find_base(
    manifest: Manifest,
    bases: Sequence[Archive],
    context: Context,
    targets: Collection[int] = (0,),
    *,
    believe: bool = False,
) -> FoundBase:
    """Return the base objects for ``targets``.

    With ``believe``, the claims of archives are trusted, and no content is read. Raises :class:`BaseMismatchError` if
    objects are missing. The error names the objects and a remedy.
    """
    for number in targets:
        uses(manifest, number)  # do this first, so that a malformed program is reported before missing objects
    base = search_base(manifest, bases, context, targets, believe=believe)
    base.choose(targets)
    return base


def search_base(
    manifest: Manifest, bases: Sequence[Archive], context: Context, targets: Collection[int], *, believe: bool
) -> FoundBase:
    """Search for the objects that ``targets`` and all earlier targets use.

    Missing objects are reported by :meth:`FoundBase.choose`.
    """
    base = FoundBase(manifest, context, believe=believe)
    base.search(bases, targets)
    return base


def missing_objects(
    manifest: Manifest, bases: Sequence[Archive], context: Context, digests: FoundDigests | None = None
) -> list[int]:
    """Return the indexes of a bundle's base objects that no archive has.

    Without ``digests``, only the claims of the archives are used. With ``digests``, the contents of archives are hashed
    too.
    """
    every = range(len(manifest.objects))
    with closing(FoundBase(manifest, context, believe=digests is None, digests=digests)) as base:
        base.add([blobs_of(archive) for archive in bases], every)
        return base.missing(every)


def serving(manifest: Manifest, archives: Sequence[Archive], context: Context) -> list[Archive]:
    """For each base object of a bundle, find the first archive that claims to have it. Return these archives."""
    every = range(len(manifest.objects))
    with closing(FoundBase(manifest, context, believe=True)) as base:
        base.add([blobs_of(archive) for archive in archives], every)
        return [archives[number] for number in sorted(base.serving)]


def claimed_by_none(
    manifest: Manifest, images: Sequence[ImageArchive], objects: Collection[int], context: Context
) -> list[int]:
    """Return those ``objects`` that no archive claims to contain."""
    with closing(FoundBase(manifest, context, believe=True)) as base:
        base.add(images, objects)
        return base.missing(objects)


def is_made_by(manifest: Manifest, missing: Collection[int]) -> bool:
    """Return whether all targets of a bundle can be rebuilt without the ``missing`` objects."""
    targets = range(len(manifest.targets))
    order = Order(manifest, missing)
    return not any(order.lacking(number) for number in targets)


def _may_use(manifest: Manifest, targets: Collection[int]) -> int:
    """Return a bit mask of the objects that ``targets`` and all earlier targets use. Ignore malformed targets."""
    every = 0
    for number in range(max(targets) + 1):
        every |= uses(manifest, number, malformed=0)
    return every


def _wanted(item: BaseObject, form: RecompressedObject | None, budget: RecompressionBudget) -> Wanted:
    if form is None:
        return Wanted(item.digest, item.size, place=item.place)
    return Wanted(
        item.digest, item.size, of=Wanted(form.digest, form.size), make=partial(_make, form, item.size, budget)
    )


def _make(
    form: RecompressedObject, size: int, budget: RecompressionBudget, content: Iterable[bytes]
) -> Iterator[bytes | memoryview]:
    """Recompress the content of a layer. The compressed layer has ``size`` bytes. All layers share ``budget``."""
    parts, plain = recompression.read(form.packing, most=budget.limit(size))
    budget.spend(recompression.cost(parts), size)
    if recompression.content_size(parts) != form.size:
        raise BundleError(
            messages.MANIFEST_RECOMPRESSED_CONTENT, size=form.size, content_size=recompression.content_size(parts)
        )
    packer = recompression.Recompressor(parts, plain)
    for piece in content:
        yield from packer.write(piece)
    yield from packer.finish()


def base_names(manifest: Manifest) -> list[str]:
    """Return the name of each base image, or its ID if the image has no name."""
    if not manifest.about:
        return []
    return [_name(image) for image in manifest.about.bases]


def _name(image: AboutImage) -> str:
    return image.names[0] if image.names else digest.text(image.id)


def _lacking(manifest: Manifest, missing: Collection[int]) -> list[AboutImage]:
    """Return the base images that contain the ``missing`` objects.

    If the bundle does not say which image holds an object, return all base images.
    """
    bases = manifest.about.bases if manifest.about else ()
    contents = {form.object: form.digest for form in manifest.forms}
    digests = {contents.get(number, manifest.objects[number].digest) for number in missing}
    if not digests.issubset(found for image in bases for found in (image.id, *image.diff_ids)):
        return list(bases)
    return [image for image in bases if digests & {image.id, *image.diff_ids}]


def mismatch(manifest: Manifest, missing: list[int], here: Sequence[Archive]) -> BaseMismatchError:
    """Return the error for missing objects.

    If a given image has the name of a base image but a different ID, the error names both IDs.
    """
    lacking = _lacking(manifest, missing)
    given = wording.some([archive.name for archive in here])
    # far more images may be given than are wanted, so keep only the names and IDs that are compared
    of_name: dict[str, bytes] = dict.fromkeys((name for wanted in lacking for name in wanted.names), b"")
    ids = dict.fromkeys((wanted.id for wanted in lacking), False)
    for archive in here:
        for image in read_images(archive).images:
            if image.config_digest in ids:
                ids[image.config_digest] = True
            of_name |= {name: image.config_digest for name in image.names if of_name.get(name) == b""}
    for wanted in lacking:
        others = [of_name[name] for name in wanted.names if of_name[name]]
        if others and len(wanted.id) == digest.SIZE and not ids[wanted.id]:
            return BaseMismatchError(
                messages.BASE_OTHER_IMAGE,
                given=given,
                wanted=_name(wanted),
                others=digest.text(others[0]),
                id=digest.text(wanted.id),
                save_command=save_command(_name(wanted)),
            )
    name = next(map(_name, lacking), "IMAGE")
    return BaseMismatchError(
        messages.BASE_MISSING_LAYER if given else messages.BASE_MISSING,  # given archives may hold an older base image
        given=given,
        wanted=wording.some([_name(image) for image in lacking], " and ") or "another image",
        content=digest.text(manifest.objects[missing[0]].digest),
        more=f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        name=shell_words(name),
        save_command=save_command(name),
    )

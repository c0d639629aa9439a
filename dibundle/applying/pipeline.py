"""Applying a bundle: find the base objects, plan, rebuild, verify, and only then finish the output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial

from dibundle.applying import messages
from dibundle.applying.base_store import BaseObjects, Wanted
from dibundle.applying.expected import Expectation, Judged, named_digest
from dibundle.codecs import recompression
from dibundle.codecs.deflate import encoders
from dibundle.errors import ArchiveError, BaseMismatchError, BundleError, UsageError, save_command
from dibundle.files import digest
from dibundle.files.progress import Progress, Silent
from dibundle.files.readat import Spool, check_room, room
from dibundle.format.manifest import AboutImage, BaseObject, Form, Manifest
from dibundle.format.output import Piece, Sink, VerifiedOutput
from dibundle.format.plan import PackingBudget, make_plan
from dibundle.format.reader import BundleReader
from dibundle.format.rebuild import rebuild
from dibundle.format.uses import LastUses, objects_used
from dibundle.format.uses import order as make_order
from dibundle.images.archive import Archive, open_made
from dibundle.images.model import ImageArchive
from dibundle.images.reader import read_images, read_members

MAX_TARGET = 1 << 40
MAX_SEARCHES = 1 << 22
"""Objects that no base has, times targets to be made, in which they are looked for (spec/dib.md, 3.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How to apply: ``max_size`` bytes of target at most, ``whole``: check the archive's own sha256 too.

    ``expect``: digests, if any, of which the target must have one, or all of its images their IDs.
    ``target``: a name of an image, an image ID or an archive's digest, which chooses one of several targets.
    ``kept``: how many bytes of temporary files the sinks write, which need room too.
    ``check_output``: is told how many bytes of temporary files there will be, before there are, and raises where the
    output has no room beside them.
    """

    max_size: int = MAX_TARGET
    whole: bool = False
    expect: frozenset[bytes] = frozenset()
    target: str | None = None
    kept: int = 0
    check_output: Callable[[int], object] = lambda temporary: None
    tmp: str | None = None


def apply(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sink: Sink,
    options: ApplyOptions = ApplyOptions(),
    progress: Progress | None = None,
) -> None:
    """Pass a target's bytes to ``sink``, in order; its tail only when every byte before it is verified.

    Raises :class:`BaseMismatchError` for a wrong or damaged base, before the first byte where it can be known,
    :class:`BundleError` and :class:`DigestError` for a bundle that is malformed or damaged, and
    :class:`UnexpectedError` for one that makes something else than ``options.expect``.
    """
    apply_several(bases, bundle, {choose_target(bundle.manifest, options): sink}, options, progress)


def apply_several(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sinks: Mapping[int, Sink],
    options: ApplyOptions = ApplyOptions(),
    progress: Progress | None = None,
) -> None:
    """Pass targets to their ``sinks``, by their numbers, one after the other; else as :func:`apply`.

    Targets that those build on are made too, into temporary files.
    """
    for _ in apply_steps(bases, bundle, sinks, options, progress):
        pass


def apply_steps(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sinks: Mapping[int, Sink],
    options: ApplyOptions = ApplyOptions(),
    progress: Progress | None = None,
) -> Iterator[None]:
    """Do what :func:`apply_several` does step by step: between two steps a sink gets a few pieces at most."""
    progress = progress or Silent()
    manifest = bundle.manifest
    for number in sinks:
        check_size(manifest, number, options)
    with ExitStack() as stack:
        base = find_base(manifest, bases, options, sinks.keys())
        stack.callback(base.close)
        kept = check_sizes(manifest, base, bases, options)
        space = temporary_space(manifest, base, options)
        check_room(options.tmp, space)
        options.check_output(space)
        last, packings = LastUses(manifest, base.order), PackingBudget()
        missing = base.missing(range(len(manifest.objects)))
        progress.phase("applying", sum(manifest.targets[number].size for number in base.order))
        for number in base.order:
            later = missing = base.missing(last.after(number, missing))
            spool = stack.enter_context(closing(Spool(options.tmp))) if later else None
            sink = _tee(sinks.get(number), spool)
            yield from _make_target(bundle, number, base, packings, sink, options, progress, kept)
            if spool:
                with suppress(ArchiveError):  # what is no archive holds nothing; what is missing is told later
                    made = stack.enter_context(open_made(spool, "a target before"))
                    base.add([read_members(made)], later)  # its documents are not read: they may be anything


def temporary_space(manifest: Manifest, base: FoundBase, options: ApplyOptions) -> int:
    """Return how many bytes of temporary files making the targets of ``base`` takes, as far as it is known before."""
    needed = LastUses(manifest, base.order).after(-1, range(len(manifest.objects)))
    return base.spool_size(needed) + _kept(manifest, base, options)


def _kept(manifest: Manifest, base: FoundBase, options: ApplyOptions) -> int:
    """Return how many bytes of targets, or parts of them, lie in temporary files while those of ``base`` are made."""
    last = LastUses(manifest, base.order)
    missing = base.missing(range(len(manifest.objects)))
    kept = [number for number in base.order if missing and last.after(number, missing)]
    judged = [manifest.targets[number].size for number in base.wanted] if expectation(options) else []
    return sum(manifest.targets[number].size for number in kept) + max(judged, default=0) + options.kept


def check_sizes(manifest: Manifest, base: FoundBase, bases: Sequence[Archive], options: ApplyOptions) -> int:
    """Refuse targets that are larger than allowed, also on the way, and temporary files of twice that in all.

    Those count that hold targets, or layers of these decompressed: of this bundle, and among ``bases`` of bundles
    before it. Return how many bytes of targets there will be.
    """
    for number in base.order:
        check_size(manifest, number, options)
    kept = made_size(bases) + _kept(manifest, base, options)
    _check_kept(kept + base.spool_size(range(len(manifest.objects)), of_made=True), options)
    return kept


def _check_kept(kept: int, options: ApplyOptions) -> None:
    if kept > 2 * options.max_size:
        raise BundleError(messages.LIMIT_TEMPORARY_FILES, kept=kept, max_size=options.max_size, kept_2=(kept + 1) // 2)


def made_size(archives: Iterable[Archive]) -> int:
    """Return how many bytes of temporary files hold those archives that bundles have made."""
    return sum(archive.bytes.size for archive in archives if archive.is_made)


def _tee(sink: Sink | None, spool: Spool | None) -> Sink:
    if sink is None or spool is None:
        return sink or (spool.write if spool else lambda piece: None)

    def both(piece: Piece) -> None:
        sink(piece)
        spool.write(piece)

    return both


def _make_target(
    bundle: BundleReader,
    number: int,
    base: FoundBase,
    packings: PackingBudget,
    sink: Sink,
    options: ApplyOptions,
    progress: Progress,
    kept: int,
) -> Iterator[None]:
    """Make one target, step by step, beside ``kept`` bytes of temporary files.

    With the last step of the last one the bundle is read to its end before the output is.
    """
    manifest = bundle.manifest
    target = manifest.targets[number]
    needed = objects_used(manifest, number)
    bundle.skip_to(number)
    if base.missing(needed):
        raise _mismatch(manifest, base.missing(needed), ())
    if base.spool_size(needed):
        _tell_tight_room(base.spool_size(needed), options, progress)
    _check_kept(kept + base.made_size + base.spool_size(needed, of_made=True), options)
    base.prepare(needed)
    with ExitStack() as stack:
        judged = None
        if number in base.wanted and (expected := expectation(options)):
            judged = stack.enter_context(closing(Judged(expected, target, sink, options.tmp)))
        output = VerifiedOutput(
            target,
            judged.write if judged else sink,
            whole=options.whole or judged is not None,
            has_base=bool(needed),
        )
        stack.callback(output.close)
        try:
            plan = make_plan(manifest, number, base, packings)
            for encoder in manifest.reencoders:
                encoders.prove(encoder >> 4, encoder & 15)
            for piece in rebuild(manifest, number, bundle, base, plan, packings):
                output.write(piece)
                progress.advance(len(piece))
                del piece  # a view of a frame, which is not to stay while the next one is decoded
                yield
            if number == base.order[-1]:
                bundle.skip_to(len(manifest.targets))
                bundle.finish()
        except BundleError:
            base.verify(needed)  # on the wrong source a sound patch looks malformed: a damaged base is to blame
            raise
        output.finish()
        if judged:
            yield from judged.release()


def _tell_tight_room(size: int, options: ApplyOptions, progress: Progress) -> None:
    """Say where most of a disk will be taken; where it is too small for sure an error says it."""
    place, free = room(options.tmp)
    if free // 2 < size <= free:
        progress.note(
            f"the base is compressed: temporary files take {size:,} of the {free:,} bytes free in {place};"
            " --tmp DIR puts them elsewhere"
        )


def expectation(options: ApplyOptions) -> Expectation:
    """Return what a target is judged by: what is expected, and the digest that it is named by, if it is by one."""
    return Expectation(options.expect, named_digest(options.target))


def choose_target(
    manifest: Manifest, options: ApplyOptions, *, hint: str = "choose one of them with --target NAME"
) -> int:
    """Return the number of the target to write: the only one, or the one that ``options.target`` names.

    ``hint``: what to do where that is missing.
    """
    if options.target is None:
        if len(manifest.targets) > 1:
            raise UsageError(
                messages.TARGET_AMBIGUOUS,
                targets_count=len(manifest.targets),
                target_names=", ".join(_target_names(manifest)),
                hint=hint,
            )
        number = 0
    else:
        found = [index for index in range(len(manifest.targets)) if options.target in _names_of(manifest, index)]
        if len(found) != 1:
            raise UsageError(
                messages.TARGET_UNKNOWN,
                found_count=len(found) or "no",
                target=options.target,
                target_names=", ".join(_target_names(manifest)),
            )
        (number,) = found
    check_size(manifest, number, options)
    return number


def check_size(manifest: Manifest, number: int, options: ApplyOptions) -> None:
    """Refuse a target that is larger than allowed."""
    size = manifest.targets[number].size
    if size > options.max_size:
        raise BundleError(messages.LIMIT_MAX_SIZE, size=size, max_size=options.max_size)


def _names_of(manifest: Manifest, number: int) -> set[str]:
    """Return all that a target may be called by."""
    images = manifest.about.targets[number] if manifest.about else ()
    names = {name for image in images for name in image.names if not named_digest(name)}
    digests = {manifest.targets[number].digest, *(image.id for image in images)}
    return names | {digest.text(item) for item in digests}


def _target_names(manifest: Manifest) -> list[str]:
    """Return a name for each target."""
    return [target_name(manifest, number) for number in range(len(manifest.targets))]


def target_name(manifest: Manifest, number: int) -> str:
    """Return the first name of a target's images, else its digest."""
    images = manifest.about.targets[number] if manifest.about else ()
    names = [name for image in images for name in image.names]
    return names[0] if names else digest.text(manifest.targets[number].digest)


class FoundBase(BaseObjects):
    """The base of some targets of a bundle: ``wanted`` ones, which take those of ``order`` to be made."""

    wanted: frozenset[int] = frozenset()
    order: tuple[int, ...] = ()


def find_base(
    manifest: Manifest,
    bases: Sequence[Archive],
    options: ApplyOptions,
    targets: Collection[int] = (0,),
    *,
    believe: bool = False,
) -> FoundBase:
    """Return the base objects for ``targets``; :class:`BaseMismatchError` names what is missing and what to do.

    ``believe``: what the archives claim has to do, no content is read.
    """
    forms = {form.object: form for form in manifest.forms}
    budget = PackingBudget()
    wanted = [_wanted(item, forms.get(number), budget) for number, item in enumerate(manifest.objects)]
    base = FoundBase(wanted, tmp=options.tmp, believe=believe)
    every = _may_use(manifest, targets)
    here = [read_images(archive) for archive in bases]
    base.add(here, every)
    order = make_order(manifest, targets, base.missing(every))
    if len(order) > 1 and len(base.missing(every)) * len(order) > MAX_SEARCHES:
        raise BundleError(messages.LIMIT_SEARCHES, missing_count=len(base.missing(every)), order_count=len(order))
    missing = base.missing(objects_used(manifest, 0)) if 0 in order else []  # of others a target before may hold it
    if missing:
        raise _mismatch(manifest, missing, here)
    base.wanted, base.order = frozenset(targets), tuple(order)
    return base


def missing_objects(
    manifest: Manifest, bases: Sequence[Archive], options: ApplyOptions, *, believe: bool = True
) -> list[int]:
    """Return the numbers of a bundle's objects that archives do not claim to hold, or (not ``believe``) do not hold."""
    forms = {form.object: form for form in manifest.forms}
    budget = PackingBudget()
    wanted = [_wanted(item, forms.get(number), budget) for number, item in enumerate(manifest.objects)]
    with closing(FoundBase(wanted, tmp=options.tmp, believe=believe)) as base:
        base.add([read_images(archive) for archive in bases], range(len(wanted)))
        return base.missing(range(len(wanted)))


def _may_use(manifest: Manifest, targets: Collection[int]) -> set[int]:
    """Return the objects that ``targets`` and those before them use; a malformed program of these is no concern yet."""
    every: set[int] = set()
    for number in range(max(targets) + 1):
        try:
            every |= objects_used(manifest, number)
        except BundleError:
            if number in targets:
                raise
    return every


def _wanted(item: BaseObject, form: Form | None, budget: PackingBudget) -> Wanted:
    if form is None:
        return Wanted(item.digest, item.size)
    return Wanted(
        item.digest, item.size, of=Wanted(form.digest, form.size), make=partial(_make, form, item.size, budget)
    )


def _make(form: Form, size: int, budget: PackingBudget, content: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield a compressed layer of ``size`` bytes made of its content; ``budget`` is that of all forms together."""
    parts, plain = recompression.read(form.packing, most=budget.limit(size))
    budget.spend(recompression.cost(parts), size)
    if recompression.content_size(parts) != form.size:
        raise BundleError(
            messages.MANIFEST_RECOMPRESSED_CONTENT, size=form.size, content_size=recompression.content_size(parts)
        )
    packer = recompression.Packer(parts, plain)
    for piece in content:
        yield from packer.write(piece)
    yield from packer.finish()


def base_names(manifest: Manifest) -> list[str]:
    """Return the names of the images that the bundle was made from, else their IDs."""
    if not manifest.about:
        return []
    return [_name(image) for image in manifest.about.bases]


def _name(image: AboutImage) -> str:
    return image.names[0] if image.names else digest.text(image.id)


def _lacking(manifest: Manifest, missing: Collection[int]) -> list[AboutImage]:
    """Return the base images that the ``missing`` objects are of; all of them where the bundle does not tell."""
    bases = manifest.about.bases if manifest.about else ()
    contents = {form.object: form.digest for form in manifest.forms}
    digests = {contents.get(number, manifest.objects[number].digest) for number in missing}
    if not digests.issubset(found for image in bases for found in (image.id, *image.diff_ids)):
        return list(bases)
    return [image for image in bases if digests & {image.id, *image.diff_ids}]


def _mismatch(manifest: Manifest, missing: list[int], here: Sequence[ImageArchive]) -> BaseMismatchError:
    """Say what is missing, and of an image that was built anew under the same name that it is another one."""
    lacking = _lacking(manifest, missing)
    given = [archive.archive.name for archive in here]
    images = {image.config_digest: image for archive in here for image in archive.images if image.config_digest}
    for wanted in lacking:
        others = [found for found, image in images.items() if set(image.names) & set(wanted.names)]
        if others and len(wanted.id) == digest.SIZE and wanted.id not in images:
            return BaseMismatchError(
                messages.BASE_OTHER_IMAGE,
                given=", ".join(given),
                wanted=_name(wanted),
                others=digest.text(others[0]),
                id=digest.text(wanted.id),
                save_command=save_command(_name(wanted)),
            )
    name = next(map(_name, lacking), "IMAGE")
    return BaseMismatchError(
        messages.BASE_MISSING_LAYER if given else messages.BASE_MISSING,  # what is given may be something older
        given=", ".join(given),
        wanted=" and ".join(map(_name, lacking)) or "another image",
        content=digest.text(manifest.objects[missing[0]].digest),
        more=f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        name=shlex.quote(name),
        save_command=save_command(name),
    )

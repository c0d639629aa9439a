"""Applying a bundle: find the base objects, plan, rebuild, verify, and only then finish the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from dibundle import digest
from dibundle.archive.opener import Archive
from dibundle.bundle.manifest import BaseObject, Form, Manifest
from dibundle.bundle.output import Sink, VerifiedOutput
from dibundle.bundle.plan import make_plan, packing_limit
from dibundle.bundle.reader import BundleReader
from dibundle.bundle.rebuild import rebuild
from dibundle.deflate import encoders
from dibundle.delta import packing
from dibundle.errors import BaseMismatchError, BundleError
from dibundle.expect import Watch, refuse_claims
from dibundle.image.reader import read_images
from dibundle.image.serve import BaseObjects, Wanted
from dibundle.progress import Progress, Silent

MAX_TARGET = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How to apply: ``max_size`` bytes of target at most, ``whole``: check the archive's own sha256 too.

    ``expect``: digests, if any, of which the target must have one, or all of its images their IDs.
    """

    max_size: int = MAX_TARGET
    whole: bool = False
    expect: frozenset[bytes] = frozenset()
    tmp: str | None = None


def apply(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sink: Sink,
    options: ApplyOptions = ApplyOptions(),
    progress: Progress | None = None,
) -> None:
    """Pass the target's bytes to ``sink``, in order; its tail only when every byte before it is verified.

    Raises :class:`BaseMismatchError` for a wrong or damaged base, before the first byte where it can be known,
    :class:`BundleError` and :class:`DigestError` for a bundle that is malformed or damaged, and
    :class:`UnexpectedError` for one that makes something else than ``options.expect``.
    """
    progress = progress or Silent()
    target_index = choose_target(bundle.manifest, options)
    target = bundle.manifest.targets[target_index]
    if options.expect:
        refuse_claims(options.expect, bundle.manifest, target_index)
    with ExitStack() as stack:
        base = find_base(bundle.manifest, bases, options)
        stack.callback(base.close)
        if base.spool_size:
            progress.note(f"the base is compressed: {base.spool_size:,} bytes of temporary space are used")
        base.prepare()
        named = target.digest in options.expect  # by the archive's own digest, which is then to be checked
        output = VerifiedOutput(target, sink, whole=options.whole or named, has_base=bool(bundle.manifest.objects))
        stack.callback(output.close)
        watch = None
        if options.expect and not named:
            watch = stack.enter_context(closing(Watch(options.expect, target, options.tmp)))
        progress.phase("applying", target.size)
        try:
            plan = make_plan(bundle.manifest, target_index, base)
            for number in bundle.manifest.reencoders:
                encoders.prove(number >> 4, number & 15)
            for piece in rebuild(bundle.manifest, target_index, bundle, base, plan):
                output.write(piece)
                if watch:
                    watch.write(piece)
                progress.advance(len(piece))
            bundle.finish()
        except BundleError:
            base.verify()  # on the wrong source a sound patch looks malformed: the base is to blame where it is damaged
            raise
        output.finish(watch.check if watch else None)


def choose_target(manifest: Manifest, options: ApplyOptions) -> int:
    """Return the index of the target to write, which must not be larger than allowed."""
    size = manifest.targets[0].size
    if size > options.max_size:
        raise BundleError(
            f"bundle over a limit: it makes {size} bytes, at most {options.max_size} are allowed",
            hint=f"allow it with --max-size {size}",
        )
    return 0


def find_base(
    manifest: Manifest, bases: Sequence[Archive], options: ApplyOptions, *, believe: bool = False
) -> BaseObjects:
    """Return the base objects of a bundle; :class:`BaseMismatchError` names what is missing and what to do.

    ``believe``: what the archives claim has to do, no content is read.
    """
    forms = {form.object: form for form in manifest.forms}
    wanted = [_wanted(item, forms.get(number)) for number, item in enumerate(manifest.objects)]
    objects = BaseObjects(wanted, [read_images(base) for base in bases], tmp=options.tmp, believe=believe)
    missing = objects.missing
    if missing:
        raise BaseMismatchError(_missing_text(manifest, missing, bases), hint=_missing_hint(manifest))
    return objects


def _wanted(item: BaseObject, form: Form | None) -> Wanted:
    if form is None:
        return Wanted(item.digest, item.size)
    return Wanted(
        item.digest, item.size, of=Wanted(form.digest, form.size), make=partial(_make, form.packing, item.size)
    )


def _make(packed: bytes, size: int, content: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield a compressed layer of ``size`` bytes made of its content."""
    parts, plain = packing.read(packed)
    if packing.cost(parts) > packing_limit(size):
        raise BundleError("bundle over a limit: a layer takes too long to compress for its size")
    packer = packing.Packer(parts, plain)
    for piece in content:
        yield from packer.write(piece)
    yield from packer.finish()


def base_names(manifest: Manifest) -> list[str]:
    """Return the names of the images that the bundle was made from, else their IDs."""
    if not manifest.about:
        return []
    return [image.names[0] if image.names else digest.text(image.id) for image in manifest.about.bases]


def _missing_text(manifest: Manifest, missing: list[int], bases: Sequence[Archive]) -> str:
    names = base_names(manifest)
    wanted = " and ".join(names) if names else "another image"
    first = digest.text(manifest.objects[missing[0]].digest)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    if not bases:
        return f"this bundle needs a base: {wanted} (content {first}{more})"
    given = ", ".join(base.name for base in bases)
    return f"{given} does not hold what this bundle builds on: {wanted} (missing {first}{more})"


def _missing_hint(manifest: Manifest) -> str:
    names = base_names(manifest)
    name = names[0] if names else "IMAGE"
    return f'get the base with "docker save -o base.tar {name}" and give it as an argument'

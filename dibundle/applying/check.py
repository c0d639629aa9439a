"""Check whether targets can be rebuilt here, and how much space a rebuild needs. Only headers and metadata are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from dibundle.applying.base import FoundBase, search_base
from dibundle.applying.chain import follow
from dibundle.applying.expected import refuse_claims
from dibundle.applying.options import RebuildOptions
from dibundle.applying.pipeline import ApplyOptions, Folder, beside, require_one_image
from dibundle.applying.rewrite import loaded, written_size
from dibundle.applying.space import Space, check_sizes, temporary_space
from dibundle.applying.targets import MadeTarget, check_size, choose_target, made_target, target_name
from dibundle.codecs import decoders, reencoders
from dibundle.errors import DibError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.files.readat import taken
from dibundle.format.manifest import Manifest
from dibundle.format.values import AboutImage
from dibundle.images.archive import Archive
from dibundle.images.reader import read_images
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_sources

_START: Final = 0.12
_AT_ALL: Final = 60 << 20
"""The minimum time (seconds) and memory (bytes) that applying any bundle takes.

The estimates were compared with measurements on the five pairs of bench/. These are the differences:

- memory: -14 to +52 % at levels 1, 6 and 9
- seconds of CPU, while another program used the two cores: -47 to -1 % at level 6, -47 to +73 % at level 1
"""


class CheckedTarget(NamedTuple):
    """A checked target: name, size of temporary files, and the error that a rebuild would raise (or None)."""

    name: str
    target: MadeTarget
    temporary: int
    error: DibError | None = None


class CheckResult(NamedTuple):
    """The result of a check: the targets, the ``needed`` images, and the names of the needed images that are present.

    ``temporary`` is the size of the temporary files for all targets. ``memory`` (bytes) and ``seconds`` are estimates
    for applying the bundle on a current machine with two cores.
    """

    targets: tuple[CheckedTarget, ...]
    needed: tuple[AboutImage, ...]
    here: tuple[str, ...]
    needs_base: bool
    temporary: int
    memory: int
    seconds: float
    signed_by: tuple[str, ...]

    @property
    def error(self) -> DibError | None:
        """The error of the first target that fails."""
        return next((target.error for target in self.targets if target.error), None)


def check(
    sources: Sequence[Source],
    output: Destination | Folder,
    options: ApplyOptions,
    access: Access,
    context: Context,
    *,
    candidates: Sequence[Source] = (),
) -> CheckResult:
    """Check whether :func:`applying.pipeline.apply` can apply the bundles in ``sources`` here.

    Engines are only asked which layers they have, and no image is exported. Raises :class:`FileError` if there is too
    little free space for temporary files or the output. Errors of a single target are not raised, but put into the
    result.
    """
    require_one_image(output, options)
    opened = open_sources(sources, access, context, candidates=candidates, only_claims=True)
    if isinstance(output, Destination):
        opened.refuse_overwriting(output.name, output.identity)
    bundles = opened.read_bundles()
    limits = RebuildOptions(max_size=options.max_size)
    archives, bundle = follow(opened.archives, bundles, limits, context, spare=opened.spare, only_claims=True)
    manifest = bundle.manifest
    without = loaded(opened.archives) if options.thin else None
    is_one = options.target is not None or not options.is_exact
    numbers = [choose_target(manifest, options)] if is_one else range(len(manifest.targets))
    size = sum(written_size(manifest, number, without) for number in numbers)
    space = beside(output, size, context)
    if not options.is_exact:
        # the target is kept in a temporary file for the conversion; its images are checked there, so no second file is
        # needed
        space = space._replace(kept=size)
    unjudged = RebuildOptions(max_size=options.max_size) if space.kept else options
    base: FoundBase | DibError
    try:
        base = search_base(manifest, archives, context, numbers, believe=True)
        context.defer(base.close)
    except DibError as refusal:
        base = refusal
    checked = [_checked(manifest, number, base, archives, options, unjudged, space) for number in numbers]
    there = taken(context.tmp)  # bytes of temporary files for content from registries
    stand_ins = [archive for archive in archives if archive.claims]
    # total size of the archives that still have to be saved or rebuilt
    unmade = sum(archive.bytes.size - archive.spared for archive in stand_ins)
    there += unmade
    needed = _bases_of([bundle.manifest for bundle in bundles])
    broken = _broken_encoder([bundle.manifest for bundle in bundles])
    if broken:
        checked = [target._replace(error=target.error or broken) for target in checked]
    whole = 0
    if not isinstance(base, DibError) and not any(target.error for target in checked):
        whole = _temporary(archives, manifest, numbers, base, unjudged, space)
        context.check_room(whole + unmade)
        space.check_output(whole)
    return CheckResult(
        targets=tuple(target._replace(temporary=there + target.temporary) for target in checked),
        needed=needed,
        here=tuple(_bases_here(opened.archives, needed)),
        needs_base=any(bundle.manifest.needed() for bundle in bundles) if needed else bool(manifest.needed()),
        temporary=there + whole,
        memory=max(_memory(bundle.manifest) for bundle in bundles),
        seconds=_START + sum(_seconds(bundle.manifest) for bundle in bundles),
        signed_by=opened.signatures.signed_by(bundles),
    )


def _memory(manifest: Manifest) -> int:
    """Estimate the memory for applying a bundle, in bytes. The largest frame and its source are in memory together."""
    largest = max((frame.size + frame.source_size for frame in manifest.frames), default=0)
    return _AT_ALL + largest * 7 // 5


def _seconds(manifest: Manifest) -> float:
    """Estimate the seconds to apply a bundle: to write and hash targets, to patch and to decode."""
    targets = sum(target.size for target in manifest.targets)
    frames = sum(frame.size for frame in manifest.frames)
    modelled = sum(frame.stored for frame in manifest.frames if frame.codec == decoders.RELINK)
    packed = sum(frame.stored for frame in manifest.frames if frame.codec not in (decoders.STORED, decoders.RELINK))
    return targets / 900e6 + frames / 163e6 + modelled / 4.7e6 + packed / 40e6


def _checked(
    manifest: Manifest,
    number: int,
    base: FoundBase | DibError,
    bases: Sequence[Archive],
    options: ApplyOptions,
    unjudged: RebuildOptions,
    space: Space,
) -> CheckedTarget:
    error = None
    temporary = 0
    try:
        check_size(manifest, number, options)
        if options.expect:
            refuse_claims(options.expect, manifest, number)
        if isinstance(base, DibError):
            raise base
        temporary = _temporary(bases, manifest, [number], base, unjudged, space)
    except DibError as refusal:
        error = refusal
    name = target_name(manifest, number)
    return CheckedTarget(name=name, target=made_target(manifest, number), temporary=temporary, error=error)


def _temporary(
    bases: Sequence[Archive],
    manifest: Manifest,
    numbers: Collection[int],
    base: FoundBase,
    options: RebuildOptions,
    space: Space,
) -> int:
    base.choose(numbers)
    check_sizes(manifest, base, bases, options, space)
    return temporary_space(manifest, base, options, space)


def _broken_encoder(manifests: Sequence[Manifest]) -> DibError | None:
    """Return the error that prevents the recompression of layers here, or None.

    Layers cannot be recompressed if an encoder gives wrong bytes, or if a library has a wrong version.
    """
    try:
        for encoder in {number for manifest in manifests for number in manifest.reencoders}:
            reencoders.prove(encoder >> 4, encoder & 15)
    except DibError as refusal:
        return refusal
    return None


def _bases_of(manifests: Sequence[Manifest]) -> tuple[AboutImage, ...]:
    """Return the bundles' base images, except base images that a bundle rebuilds."""
    abouts = [manifest.about for manifest in manifests if manifest.about]
    made = {image.id for about in abouts for images in about.targets for image in images}
    return tuple(dict.fromkeys(image for about in abouts for image in about.bases if image.id not in made))


def _bases_here(archives: Sequence[Archive], bases: Sequence[AboutImage]) -> list[str]:
    """Return the names of the ``bases`` that the archives contain."""
    found: set[bytes | None] = set()
    for archive in archives:
        images = read_images(archive).images  # images that share a config also share one tuple of diffIDs
        for image in {(image.config_digest, id(image.diff_ids)): image for image in images}.values():
            found |= {image.config_digest, *image.diff_ids}
    return [
        image.names[0] if image.names else digest.text(image.id)
        for image in bases
        if image.id in found or (image.diff_ids and found.issuperset(image.diff_ids))
    ]

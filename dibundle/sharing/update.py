"""Update an engine or a file to an image in a registry.

An update fetches either the image, or bundles that rebuild the image from local images.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Final

from dibundle.applying import messages as applying_messages
from dibundle.applying.chain import follow
from dibundle.applying.expected import UnexpectedError
from dibundle.applying.loading import hand_over
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rewrite import rebuild_images, stored_images
from dibundle.errors import (
    ArchiveError,
    BaseMismatchError,
    BundleError,
    DibError,
    DigestError,
    NoRoomError,
    RegistryError,
    SignatureError,
    UsageError,
)
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import Stream
from dibundle.format import labels
from dibundle.format.constants import MAX_MANIFEST
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images import pinned, writers
from dibundle.images.archive import Archive, from_fd
from dibundle.images.model import ImageArchive
from dibundle.images.pinned import LayerStore, PinnedImage, Pins, assemble, find
from dibundle.images.reader import read_images
from dibundle.sharing import messages
from dibundle.sharing.fetching import FetchedBundles
from dibundle.sharing.ways import ChainStep, UpdatePlan, plan_way, plan_wrapped
from dibundle.sharing.wrapped import Parcel, made_by
from dibundle.sources import messages as registry_messages
from dibundle.sources.access import Access
from dibundle.sources.engines import LAYERS_ABSENT, TRANSPORTS, LoadError, default_engine, has_listed, require_engine
from dibundle.sources.names import is_reference
from dibundle.sources.opened import OpenedSources
from dibundle.sources.opening import Source, open_present
from dibundle.sources.registry import images
from dibundle.sources.registry.images import RemoteImage
from dibundle.sources.registry.opening import open_repository, platform_here
from dibundle.sources.registry.reference import Reference

_UNFIT: Final = (BaseMismatchError, BundleError, DigestError, NoRoomError, RegistryError, SignatureError, UsageError)
"""Errors that mean that a bundle cannot be used. Errors of local files do not mean this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions(RebuildOptions):
    """Options of update.

    ``engine`` is the engine that gets the image (None: a source's engine, else the first installed engine). The image
    must have one of the digests in ``expect``. ``max_size`` is the maximum number of bytes to fetch, and the maximum
    size of each rebuilt image.
    """

    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """The result of an update. ``plan`` is None if the engine already had the image.

    ``fetched`` is the number of fetched bytes, including refused bundles. ``refused`` is the number of refused bundles.
    ``engine`` is the engine that has the image. ``engine`` is None if the image was written to a file.
    """

    image: AboutImage
    plan: UpdatePlan | None
    fetched: int
    refused: int
    engine: str | None
    signed_by: tuple[str, ...]


def plan_update(
    name: str,
    here: Sequence[Source],
    output: Output | None,
    options: UpdateOptions,
    access: Access,
    context: Context,
) -> UpdatePlan | None:
    """Return the plan of :func:`update` without fetching a bundle. Return None if the engine already has the image."""
    update = _Update(name, here, output, options, access, context, is_needed=False)
    return None if update.is_here else update.plan_what_is_there()


def plan_for_file(name: str, here: Sequence[Source], access: Access, context: Context) -> UpdatePlan:
    """Return the plan of :func:`update` for an output file, even if an engine has the image."""
    update = _Update(name, here, None, UpdateOptions(), access, context, is_needed=False, for_file=True)
    return update.plan_what_is_there()


def update(
    name: str,
    here: Sequence[Source],
    output: Output | None,
    options: UpdateOptions,
    access: Access,
    context: Context,
) -> UpdateResult:
    """Fetch an image from a registry into an engine, or into an ``output``.

    If several chains of bundles lead from the images ``here`` to the image, the smallest chain is used. If the image
    itself is smaller than this chain, the image is fetched. The result must be exactly the registry's image with this
    name. A bundle is skipped if it is missing or damaged, or differs from the listed bundle. With signers, unsigned
    bundles are skipped too, and the image itself is never fetched.
    """
    return _Update(name, here, output, options, access, context).run()


class _Update:
    """An image in a registry, and the local images to update from."""

    def __init__(
        self,
        name: str,
        here: Sequence[Source],
        output: Output | None,
        options: UpdateOptions,
        access: Access,
        context: Context,
        *,
        is_needed: bool = True,
        for_file: bool = False,
    ) -> None:
        if not is_reference(name):
            raise UsageError(messages.REGISTRY_NOT_A_NAME, name=name, tag="2")
        require_engine(options.engine)
        reference = Reference.parse(name)
        self._name, self._output, self._options, self._context = name, output, options, context
        names = [source for source in here if isinstance(source, str)]
        self._engine = options.engine or default_engine(names, needed=output is None and is_needed)
        transport = TRANSPORTS.get(self._engine)
        # whether the engine already has the layers of all local images
        self._is_thin = (
            output is None
            and transport is not None
            and len(names) == len(here)
            and all(map(str.startswith, names, repeat(transport)))
        )
        self._signatures = access.signature_check(context.tmp, names=(f"{reference.host}/{reference.repository}",))
        self._only_signed = self._signatures.needs_embedded
        self._repository = open_repository(reference, access, context)
        manifest = self._repository.manifest(reference.wanted)
        self._image = images.resolve(self._repository, manifest, access.platform or platform_here())
        self._labels = self._image.labels
        self._is_wrapped = labels.BUNDLE in self._labels and bool(self._image.layers)
        is_expected = self._is_wrapped or options.expect & {self._image.id, self._image.manifest.digest}
        if options.expect and not is_expected:
            raise UnexpectedError(messages.EXPECT_REGISTRY_IMAGE, name=name, id=digest.text(self._image.id))
        self._made = AboutImage(
            names=(reference.name,) if reference.name else (), id=self._image.id, diff_ids=self._image.diff_ids
        )
        self._archives: list[Archive] = []
        self._wasted = 0  # bytes of fetched layers that were not used, because the engine could not complete the image
        self.is_here = output is None and not for_file and self._has_image()
        if self.is_here:
            return
        if any(map(is_reference, names)):
            context.progress.note("a base in a registry is downloaded first, which no size below includes")
        opened: OpenedSources = open_present(here, access, context)
        if output is not None:
            opened.refuse_overwriting(output.name, output.identity)
        self._archives = opened.archives

    def plan(self, fetched: FetchedBundles) -> UpdatePlan:
        """Return the plan that fetches the fewest bytes, without refused bundles.

        If useless bundles with more bytes than the image were already fetched, the plan uses no bundles.
        """
        if self._is_wrapped:
            return plan_wrapped(self._image, self._archives, labels.digests(self._labels.get(labels.NEEDS_LAYERS, "")))

        def way(*, only_image: bool) -> UpdatePlan:
            return plan_way(
                self._repository,
                fetched.listing,
                self._image,
                self._archives,
                thin=self._is_thin,
                only_bundles=self._signatures.required is not None,
                refused=fetched.refused,
                only_image=only_image,
                only_signed=self._only_signed,
            )

        plan = way(only_image=fetched.has_failed)
        if plan.chain and fetched.in_vain(plan) > plan.pull_size:
            plan = way(only_image=True)
        return plan

    def _none_fetched(self) -> FetchedBundles:
        return FetchedBundles(self._repository, self._signatures.required, self._context)

    def plan_what_is_there(self) -> UpdatePlan:
        """Return the plan that fetches the fewest bytes, using only bundles that the registry still has."""
        fetched = self._none_fetched()
        while True:
            plan = self.plan(fetched)
            for step in plan.chain or ():
                try:
                    bundle = fetched.listed(step)
                    if not self._repository.has_blob(bundle.digest):
                        raise self._repository.failed(registry_messages.REGISTRY_LISTED_BUNDLE)
                except (BundleError, RegistryError) as error:
                    self._refuse(step, fetched, error)
                    break
            else:
                return plan

    def run(self) -> UpdateResult:
        """Fetch or rebuild the image. Then check the image, and load or write the image."""
        if self.is_here:
            return self._result(None, 0, 0, ())
        if self._is_wrapped:
            return self._apply_wrapped()
        fetched = self._none_fetched()
        while True:
            plan, bundles, image = self._obtain(fetched)
            try:
                self._deliver(image, bundles)
                break
            except LoadError as error:
                if error.exit_code != LAYERS_ABSENT or plan.chain is not None or not plan.without:
                    raise
                self._context.progress.note(f"{error.message}: all layers are fetched")
                self._wasted, self._is_thin = plan.size, False
        total = plan.size + fetched.in_vain(plan) + self._wasted
        return self._result(plan, total, len(fetched.refused), self._signatures.signed_by(bundles))

    def _obtain(self, fetched: FetchedBundles) -> tuple[UpdatePlan, list[BundleReader], PinnedImage]:
        """Fetch or rebuild the image by the best plan whose bundles can be used."""
        while True:
            plan = self.plan(fetched)
            fetched.keep(plan)
            self._require_size(plan.size + fetched.in_vain(plan) + self._wasted)
            self._context.progress.phase("fetching", plan.size)
            bundles = self._fetch(plan, fetched)
            if bundles is not None and (image := self._pin_or_refuse(plan, bundles, fetched)):
                return plan, bundles, image

    def _deliver(self, image: PinnedImage, bundles: Sequence[BundleReader]) -> None:
        """Load the image into the engine, or write it."""
        if self._output is None:
            hand_over([(image, self._made.names)], self._engine, partial(self._require_names, bundles))
            return
        with self._output:
            layout = pinned.layout([(image, self._made.names)])
            writers.write(layout, "docker-archive", self._output.write)

    def _require_names(self, bundles: Sequence[BundleReader] | None, names: Iterable[str]) -> None:
        """Refuse an image name if the signer of the chain's last bundle is not allowed to use this name."""
        if bundles:
            self._signatures.require_names_of(bundles[-1], names)

    def _apply_wrapped(self) -> UpdateResult:
        """Apply the wrapped bundle in the image."""
        plan, options = self.plan(self._none_fetched()), self._options
        self._require_size(plan.size)
        self._context.progress.phase("fetching", plan.size)
        parcel = Parcel(self._repository, self._image, self._signatures, self._context)
        limits = RebuildOptions(expect=options.expect, max_size=options.max_size)
        made = parcel.apply(plan, self._archives, self._engine, self._output, limits)
        self._made = made.image
        return self._result(plan, made.fetched, 0, self._signatures.signed_by([made.bundle]))

    def _require_size(self, size: int) -> None:
        if size > self._options.max_size:
            raise RegistryError(
                messages.REGISTRY_TOO_LARGE, name=self._name, size=size, max_size=self._options.max_size
            )

    def _result(self, plan: UpdatePlan | None, fetched: int, refused: int, signed_by: tuple[str, ...]) -> UpdateResult:
        return UpdateResult(
            image=self._made,
            plan=plan,
            fetched=fetched,
            refused=refused,
            engine=self._engine if self._output is None or plan is None else None,
            signed_by=signed_by,
        )

    def _has_image(self) -> bool:
        """Return whether the engine already has the image under each of the image's names."""
        # do not ask containerd, which may have the name of an incomplete image
        if self._engine not in TRANSPORTS or not self._made.names:
            return False
        if self._is_wrapped:
            if self._signatures.required:  # do not trust labels, which come from the registry and are not signed
                return False
            self._made = made_by(self._labels, self._repository.reference, self._engine)
            own = self._made.id
            is_expected = bool(own) and (not self._options.expect or own in self._options.expect)
            return is_expected and all(has_listed(self._engine, name, {digest.text(own)}) for name in self._made.names)
        ids = {digest.text(item) for item in (self._image.id, self._image.manifest.digest)}
        return all(has_listed(self._engine, name, ids) for name in self._made.names)

    def _fetch(self, plan: UpdatePlan, fetched: FetchedBundles) -> list[BundleReader] | None:
        """Fetch the bundles of a plan. If a bundle is unusable or has no trusted signature, refuse it and return None.

        An unusable bundle must not end the update. Otherwise, a deleted bundle, or a bundle of any user with permission
        to push, could block all other bundles.
        """
        check = self._signatures.required
        bundles = []
        # all manifests share one limit, because all are in memory, and the registry controls their number
        left = MAX_MANIFEST
        for step in plan.chain or ():
            try:
                bundle = BundleReader(Stream(fetched.get(step, left)), None, check, digest.text(step.delta.manifest))
                left -= bundle.header.size
                if check:
                    self._require_as_listed(step, bundle)
            except (SignatureError, BundleError, DigestError, NoRoomError, RegistryError) as error:
                self._refuse(step, fetched, error)
                return None
            bundles.append(bundle)
        return bundles

    def _require_as_listed(self, step: ChainStep, bundle: BundleReader) -> None:
        """Raise :class:`RegistryError` if a bundle needs more or rebuilds less than the registry's list says.

        The signature of such a bundle may be valid, but the signer meant the bundle for another purpose.
        """
        listed, found = step.delta.told, labels.Told.read(labels.labels(bundle.manifest, bundle.size, b""))
        is_last = step.makes == self._image.manifest.digest
        if (
            found is None
            or not found.needs <= listed.needs
            or not listed.makes <= found.makes
            or (is_last and found.ids and self._image.id not in found.ids)
        ):
            raise self._repository.failed(registry_messages.REGISTRY_LISTED_BUNDLE)

    def _refuse(self, step: ChainStep, fetched: FetchedBundles, error: DibError) -> None:
        """Skip a bundle, also in later plans, and note the reason."""
        fetched.refuse(step.delta.manifest)
        shown = digest.text(step.delta.manifest)
        reason = error.message.removeprefix(f"{shown}: ")
        self._context.progress.note(f"skipped bundle {shown}, which the registry lists: {reason}")

    def _pin_or_refuse(
        self, plan: UpdatePlan, bundles: Sequence[BundleReader], fetched: FetchedBundles
    ) -> PinnedImage | None:
        """Fetch or rebuild the image. If the bundles do not rebuild the image, refuse a bundle and return None.

        The refused bundle is the last bundle that was read. If the base of this bundle has a wrong digest, the previous
        bundle is refused instead.
        """
        try:
            with self._context.within() as own:
                image = self._pin(plan, bundles, own)
                self._context.adopt(own)
                return image
        except _UNFIT as error:
            if plan.chain is None:
                raise
            fetched.applied += 1
            begun = [step for step, bundle in zip(plan.chain, bundles, strict=True) if bundle.frames_read]
            if error.code == applying_messages.BASE_DIGEST.code:
                begun = begun[: max(1, len(begun) - 1)]
            self._refuse((begun or plan.chain[:1])[-1], fetched, error)
            return None

    def _pin(self, plan: UpdatePlan, bundles: Sequence[BundleReader], context: Context) -> PinnedImage:
        """Fetch or rebuild the image. Raise :class:`RegistryError` if the result is not the registry's image."""
        expect = self._options.expect
        # only a digest of the manifest covers annotations; a config's digest does not
        known = not expect or self._image.manifest.digest in expect
        try:
            if plan.chain is None:
                spool = context.spool()
                images.fetch(self._repository, self._image, self._made.names, spool, without=plan.without)
                archive = read_images(context.enter(from_fd(spool.start(), self._name, spool_dir=context.tmp)))
                here = stored_images(self._archives)
                return pin_fetched(self._image, archive, here, plan.without, are_annotations_known=known)
            limits = RebuildOptions(max_size=self._options.max_size)
            archives, last = follow(self._archives, bundles, limits, context)
            several = len(last.manifest.targets) > 1
            chosen = replace(limits, target=digest.text(self._image.id) if several else None)
            archive, _ = rebuild_images(archives, last, chosen, context)
            is_signed = self._signatures.required is not None
            return pin_made(self._image, archive, is_signed=is_signed, are_annotations_known=is_signed or known)
        except ArchiveError as error:
            raise RegistryError(messages.REGISTRY_OTHER_IMAGE, name=self._name, reason=error.message) from error


def pin_made(image: RemoteImage, archive: ImageArchive, *, is_signed: bool, are_annotations_known: bool) -> PinnedImage:
    """Return a registry's image with the content of an ``archive`` that a bundle rebuilt.

    If ``is_signed`` is true, nothing from the registry is used, because only the bundle is signed. Otherwise, the
    registry's manifest is kept, provided that the manifest lists exactly these layers. Raises ``ArchiveError`` if the
    archive does not contain the image.
    """
    found = [pins for pins in find(archive, {image.id}) if digest.sha256(pins.config) == image.id]
    if not found:
        raise ArchiveError(messages.UPDATE_NOT_MADE, id=digest.text(image.id))
    pins = found[0] if is_signed else Pins(found[0].config, image.manifest.body)
    return assemble(pins, LayerStore([archive]), are_annotations_known=are_annotations_known)


def pin_fetched(
    image: RemoteImage,
    archive: ImageArchive,
    here: Sequence[ImageArchive],
    without: Collection[bytes],
    *,
    are_annotations_known: bool,
) -> PinnedImage:
    """Return an image with its fetched layers. Each layer is checked against its diffID.

    ``without`` are the digests of layers that are left out, because archives in ``here`` have them. The registry's
    manifest is kept only if the manifest lists exactly these layers, in the same form. With other digests in the
    manifest, an engine might use a wrong layer that it already has under such a digest. Raises ``ArchiveError`` if a
    layer is missing.
    """
    store = LayerStore(here)
    absent = [diff_id for blob, diff_id in zip(image.layers, image.diff_ids, strict=True) if blob.digest in without]
    left_out = {diff_id: layer for diff_id in absent if (layer := store.find(None, diff_id))}
    pins = Pins(image.config, image.manifest.body)
    return assemble(pins, LayerStore([archive]), left_out, are_annotations_known=are_annotations_known)

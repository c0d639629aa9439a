"""Apply a wrapped bundle from a registry. A wrapped image only transports the bundle, and is not meant to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from dibundle.applying.base import missing_objects
from dibundle.applying.expected import Expectation
from dibundle.applying.loading import allowed_names, hand_over, repository_of
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rewrite import pin, rebuild_images
from dibundle.applying.targets import choose_target
from dibundle.errors import ArchiveError, RegistryError, UsageError
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import Stream
from dibundle.format import labels
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images import pinned, writers
from dibundle.images.archive import Archive, from_fd
from dibundle.images.pinned import PinnedImage
from dibundle.sharing import messages as sharing_messages
from dibundle.sharing.ways import UpdatePlan
from dibundle.sources import messages
from dibundle.sources.access import SignatureCheck
from dibundle.sources.bundles import check_signature
from dibundle.sources.registry import images
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteImage
from dibundle.sources.registry.reference import Reference
from dibundle.sources.wrapped import find, find_in_layer


class AppliedParcel(NamedTuple):
    """The rebuilt image, the bundle, and the number of fetched bytes."""

    image: AboutImage
    bundle: BundleReader
    fetched: int


def made_by(told: Mapping[str, str], reference: Reference, engine: str) -> AboutImage:
    """Return the target image that is named in a wrapped bundle's labels.

    If the labels have no ID or several IDs, the image's ID is empty.

    If the name in the labels is in the repository of ``reference``, the image has this name. Otherwise, the image's
    name is ``reference`` itself. :class:`Parcel` chooses the same name.
    """
    made = labels.digests(told.get(labels.MAKES_IDS, ""))
    name = told.get(labels.MAKES, "")
    is_own = ", " not in name and repository_of(name, engine) == _place(reference)
    names = (name,) if is_own else tuple(filter(None, (reference.name,)))
    return AboutImage(names=names, id=next(iter(made)) if len(made) == 1 else b"", diff_ids=())


def _place(reference: Reference) -> str:
    return writers.whole_name(f"{reference.host}/{reference.repository}")


class Parcel:
    """A wrapped bundle in a registry. The signature is checked before later bytes of the bundle are fetched."""

    def __init__(
        self, repository: Repository, image: RemoteImage, signatures: SignatureCheck, context: Context
    ) -> None:
        self._repository = repository
        self._image = image
        self._signatures = signatures
        self._check = signatures.required
        self._context = context
        self._name = str(repository.reference)

    def apply(
        self, plan: UpdatePlan, bases: Sequence[Archive], engine: str, output: Output | None, options: RebuildOptions
    ) -> AppliedParcel:
        """Rebuild the bundle's image. Load the image into an engine, or write the image to ``output`` as a new archive.

        If ``bases`` lack objects that the bundle needs, the other layers of the wrapped image are fetched too. The
        image's labels do not influence this decision.
        """
        if self._check:
            last = self._image.layers[-1]
            stream = find_in_layer(self._repository.blob(last.digest, last.size), self._name)
            check_signature(stream, self._name, self._check)
        fetched = plan.size
        archive, bundle = self._fetch(plan.without)
        if plan.without and missing_objects(bundle.manifest, bases, self._context):
            fetched += sum({blob.digest: blob.size for blob in self._image.layers}.values())
            if fetched > options.max_size:
                raise RegistryError(
                    sharing_messages.REGISTRY_TOO_LARGE, name=self._name, size=fetched, max_size=options.max_size
                )
            archive, bundle = self._fetch(frozenset())
        image, names = self._pin(bundle, [*bases, archive], engine, options)
        require_names = partial(self._signatures.require_names_of, bundle)
        if output is None:
            (made,) = hand_over([(image, names)], engine, require_names)
        else:
            require_names(names or ("",))
            with output:
                writers.write(pinned.layout([(image, names)]), "docker-archive", output.write)
            made = AboutImage(names=names, id=image.id, diff_ids=image.diff_ids)
        return AppliedParcel(made, bundle, fetched)

    def _pin(
        self, bundle: BundleReader, bases: Sequence[Archive], engine: str, options: RebuildOptions
    ) -> tuple[PinnedImage, tuple[str, ...]]:
        """Rebuild the bundle's only image. Return the image with its names in the repository of the reference."""
        target = bundle.manifest.targets[choose_target(bundle.manifest, options)]
        archive, holes = rebuild_images(bases, bundle, options, self._context)
        expected = options.expectation.without_archive(target.digest)
        if not expected:
            made = {image.config_digest for image in archive.images if image.config}
            if len(made) != 1:
                raise UsageError(sharing_messages.UPDATE_SEVERAL_IMAGES, name=self._name, count=len(made))
            expected = Expectation(frozenset(made), None)
        found = pin(archive, expected, bases, holes, target, None)
        if len(found) != 1:
            raise UsageError(sharing_messages.UPDATE_SEVERAL_IMAGES, name=self._name, count=len(found))
        ((image, told),) = found
        reference = self._repository.reference
        names = allowed_names(image, told, {_place(reference)}, engine, self._context.progress)
        return image, names or tuple(filter(None, (reference.name,)))

    def _fetch(self, without: frozenset[bytes]) -> tuple[Archive, BundleReader]:
        spool = self._context.spool()
        images.fetch(self._repository, self._image, [], spool, without=without)
        archive = self._context.enter(from_fd(spool.start(), self._name, spool_dir=self._context.tmp))
        archive.carries = True
        content = next((content for _, content in find(archive, self._context)), None)
        if content is None:
            raise ArchiveError(messages.WRAPPED_NO_LAYER, name=self._name)
        return archive, BundleReader(Stream(content), None, self._check, self._name)

"""Getting what a wrapped bundle in a registry makes: such an image is a parcel, and no program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from dibundle.applying.base import missing_objects
from dibundle.applying.loading import Loading, LoadOptions, repositories_of
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.applying.targets import choose_target
from dibundle.errors import ArchiveError
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import Stream
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images.archive import Archive, from_fd
from dibundle.sharing.ways import UpdatePlan
from dibundle.sources import messages
from dibundle.sources.access import SignatureCheck
from dibundle.sources.bundles import check_signature
from dibundle.sources.registry import images
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteImage
from dibundle.sources.wrapped import find, find_in_layer


def _write(output: Output, piece: bytes | bytearray | memoryview) -> None:
    output.write(bytes(piece))


class AppliedParcel(NamedTuple):
    """The image that was made, the bundle, and the bytes that were fetched."""

    image: AboutImage
    bundle: BundleReader
    fetched: int


class Parcel:
    """A wrapped bundle in a registry, whose ``signatures`` are checked before more of it is fetched."""

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
        """Load what the bundle makes into an engine, or write it to ``output``.

        Where the ``bases`` have not what the bundle needs, whatever its labels say, its own layers are fetched, too.
        """
        if self._check:
            last = self._image.layers[-1]
            stream = find_in_layer(self._repository.blob(last.digest, last.size), self._name)
            check_signature(stream, self._name, self._check)
        fetched = plan.size
        archive, bundle = self._fetch(plan.without)
        if plan.without and missing_objects(bundle.manifest, bases, self._context):
            archive, bundle = self._fetch(frozenset())
            fetched += sum(blob.size for blob in self._image.layers)
        number = choose_target(bundle.manifest, options)
        if output is not None:
            with output:
                rebuild_target([*bases, archive], bundle, partial(_write, output), options, self._context)
            about = bundle.manifest.about
            found = list(about.targets[number]) if about else []
        else:
            loading = Loading(
                engine=engine,
                given=bases,
                bases=[*bases, archive],
                bundle=bundle,
                options=LoadOptions(engine=engine, expect=options.expect, max_size=options.max_size),
                context=self._context,
                without=None,
                repositories=None if self._check else repositories_of([*bases, archive]),
                signatures=self._signatures,
            )
            found, _ = loading.load()
        made = found[0] if found else AboutImage(names=(), id=b"", diff_ids=())
        return AppliedParcel(made, bundle, fetched)

    def _fetch(self, without: frozenset[bytes]) -> tuple[Archive, BundleReader]:
        spool = self._context.spool()
        images.fetch(self._repository, self._image, [], spool, without=without)
        archive = self._context.enter(from_fd(spool.start(), self._name, spool_dir=self._context.tmp))
        content = next((content for _, content in find(archive, self._context)), None)
        if content is None:
            raise ArchiveError(messages.WRAPPED_NO_LAYER, name=self._name)
        return archive, BundleReader(Stream(content), None, self._check, self._name)

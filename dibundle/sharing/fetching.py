"""Bundles that ``update`` fetches. A bundle is dropped when the plan no longer uses it. Received bytes are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from dibundle.errors import BundleError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.readat import Spool, Stream
from dibundle.format.constants import HEADER_SIZE, MAX_MANIFEST
from dibundle.format.header import Header
from dibundle.format.reader import BundleReader
from dibundle.images.document import get, get_text, sha256_of
from dibundle.sharing.ways import ChainStep, UpdatePlan
from dibundle.sources import messages
from dibundle.sources.bundles import CheckSignature, check_integrity, fetch_bundle
from dibundle.sources.registry import artifacts
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteBlob
from dibundle.sources.registry.listing import Listing

MAX_REFUSED: Final = 64
"""The number of skipped bundles after which the search stops. A registry may list a thousand useless bundles."""
MAX_APPLIED: Final = 4
"""The number of applied chains that did not rebuild the image after which the search stops."""


class FetchedBundles:
    """Fetched bundles, by the digests of their manifests.

    ``refused`` are the digests of refused bundles. ``listing`` has the registry's lists. ``applied`` is the number of
    chains that were applied, but failed to rebuild the image. ``received`` is the number of received bytes of all
    bundles.
    """

    def __init__(
        self,
        repository: Repository,
        check: CheckSignature | None,
        context: Context,
        *,
        growing: Callable[[], AbstractContextManager[Callable[[int], object]]] = lambda: nullcontext(lambda size: None),
        is_decoded: bool = True,
    ) -> None:
        """Prepare for fetching, but fetch nothing yet.

        ``growing`` returns a context manager that is open while a bundle is kept. The context manager yields a function
        that is called with the number of received bytes. If ``is_decoded``, this class decodes manifests (which may
        take 120 MB of memory) and checks integrity. Without ``is_decoded``, the caller must decode and check.
        """
        self._repository = repository
        self._check = check
        self._context = context
        self._growing, self._is_decoded = growing, is_decoded
        self._here: dict[bytes, tuple[Spool, Context]] = {}
        self.received = 0
        self.refused: set[bytes] = set()
        # a bound method would make a reference cycle, and keep megabytes of lists in memory
        self.listing = Listing(repository, partial(_note_unreadable, context))
        self.applied = 0

    @property
    def has_failed(self) -> bool:
        """Whether the limit of failed bundles or chains is reached, so that no further bundle is tried."""
        return len(self.refused) >= MAX_REFUSED or self.applied >= MAX_APPLIED

    def in_vain(self, plan: UpdatePlan) -> int:
        """Return the number of bytes that were fetched for bundles that the plan does not use."""
        used = {step.delta.manifest for step in plan.chain or ()}
        return self.received - sum(spool.size for name, (spool, _) in self._here.items() if name in used)

    def keep(self, plan: UpdatePlan) -> None:
        """Drop bundles that the plan does not use, so that only the bundles of one chain are kept."""
        for name in self._here.keys() - {step.delta.manifest for step in plan.chain or ()}:
            self._give_up(name)

    def refuse(self, name: bytes) -> None:
        """Drop a bundle and exclude it from later plans."""
        self.refused.add(name)
        self._give_up(name)

    def _give_up(self, name: bytes) -> None:
        if name in self._here:
            self._here.pop(name)[1].close()

    def get(self, step: ChainStep, most_manifest: int) -> Spool:
        """Return a step's bundle after a check of its integrity and (if required) its signature.

        Fetch the bundle if necessary. ``most_manifest`` is the maximum size of the bundle's manifest in bytes. Raises
        :class:`RegistryError` if the bundle differs from its entry in the list.
        """
        name = step.delta.manifest
        if name in self._here:
            spool = self._here[name][0]
            if Header.decode(spool.read_at(0, HEADER_SIZE)).size > most_manifest:
                raise BundleError(messages.LIMIT_CHAIN_MANIFESTS, max_manifest=MAX_MANIFEST)
            return spool
        bundle = self.listed(step)
        with self._context.within() as own:  # free all memory of a refused bundle
            spool = own.spool()
            shown = digest.text(name)
            pieces = self._counted(self._repository.blob(bundle.digest, bundle.size), own)
            fetch_bundle(
                pieces,
                bundle.size,
                shown,
                spool,
                self._check,
                most_manifest=most_manifest,
                is_decoded=self._is_decoded,
            )
            if self._is_decoded:
                check_integrity(BundleReader(Stream(spool), None, self._check, shown))
            kept = self._context.enter(self._context.within())
            kept.adopt(own)
        self._here[name] = spool, kept
        return spool

    def listed(self, step: ChainStep) -> RemoteBlob:
        """Return the blob of a step's bundle, as the bundle's manifest describes it.

        Raise :class:`RegistryError` if the bundle differs from the list, or if lists are too long.
        """
        if not self.listing.has_room_for_bundles:
            raise self._repository.failed(messages.REGISTRY_LISTED_TOO_MUCH)
        manifest = self._repository.manifest("sha256:" + step.delta.manifest.hex())
        bundle = artifacts.bundle_of(self._repository, manifest)
        subject = sha256_of(get_text(get(manifest.value, "subject"), "digest"))
        if bundle is None or subject != step.makes or bundle.size != step.delta.told.size:
            raise self._repository.failed(messages.REGISTRY_LISTED_BUNDLE)
        return bundle

    def _counted(self, pieces: Iterator[bytes], context: Context) -> Iterator[bytes]:
        add = context.enter(self._growing())
        for piece in pieces:
            self.received += len(piece)
            add(len(piece))
            yield piece


def _note_unreadable(context: Context, what: str) -> None:
    context.progress.note(f"skipped {what}, which the registry lists: it cannot be read")

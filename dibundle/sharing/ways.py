"""Plans for an update. A plan is the smallest chain of bundles from local images to an image in a registry."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from dibundle.applying.rewrite import loaded
from dibundle.errors import SignatureError
from dibundle.images.archive import Archive
from dibundle.images.reader import read_images
from dibundle.sharing import messages
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteImage
from dibundle.sources.registry.listing import Delta, Listing

MOST_IMAGES: Final = 64  # maximum images whose bundles are listed, beginning with the target
MOST_STEPS: Final = 16  # maximum bundles of a chain; without this limit, the registry would control the amount of work
MOST_DELTAS: Final = 1024


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A bundle from the registry's list, and the digest of its target image's manifest."""

    delta: Delta
    makes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePlan:
    """A plan of what to fetch. If ``chain`` is None, the image itself is fetched. Otherwise, ``chain`` is fetched.

    ``chain_size`` and ``pull_size`` are the sizes of the chain and of the image in bytes. ``without`` are the digests
    of layers that are not fetched with the image. ``is_wrapped`` is true if the image is a wrapped bundle, which must
    be applied.
    """

    chain: tuple[ChainStep, ...] | None
    chain_size: int | None
    pull_size: int
    without: frozenset[bytes]
    is_wrapped: bool = False

    @property
    def size(self) -> int:
        """The number of bytes to fetch, without manifests."""
        return self.pull_size if self.chain is None or self.chain_size is None else self.chain_size


def plan_way(
    repository: Repository,
    listing: Listing,
    image: RemoteImage,
    archives: Sequence[Archive],
    *,
    thin: bool,
    only_bundles: bool,
    refused: Collection[bytes] = (),
    only_image: bool = False,
    only_signed: bool = False,
) -> UpdatePlan:
    """Return the plan that fetches the fewest bytes for an image, given the images in ``archives``.

    - ``thin``: do not fetch layers that are in ``archives``
    - ``only_bundles``: do not fetch the image itself; raises :class:`SignatureError` if there is no chain
    - ``only_image``: use no bundles
    - ``refused``: digests of the manifests of bundles to skip
    - ``only_signed``: skip bundles that are not listed as signed
    """

    def deltas_to(item: bytes) -> list[Delta]:
        found = (delta for delta in listing.deltas_to(item) if delta.told.is_signed or not only_signed)
        return [delta for delta in found if delta.manifest not in refused]

    here = _here(archives)
    chain = None if only_image else cheapest(image.manifest.digest, here, deltas_to)
    size = sum(step.delta.told.size for step in chain) if chain else None
    without = _lowest_here(image, archives) if thin else frozenset()
    missing = {blob.digest: blob.size for blob in image.layers if blob.digest not in without}
    pull = sum(missing.values()) + len(image.config)
    if only_bundles and chain is None:
        raise SignatureError(
            messages.SIGNATURE_NO_SIGNED_WAY, value="other " if refused else "", reference=repository.reference
        )
    if size is not None and pull <= size and not only_bundles:
        chain = None
    return UpdatePlan(chain=chain, chain_size=size, pull_size=pull, without=without)


def plan_wrapped(image: RemoteImage, archives: Sequence[Archive], needs: Collection[bytes]) -> UpdatePlan:
    """Return the plan for a wrapped bundle. If ``archives`` have all ``needs``, fetch only the bundle's layer."""
    wanted = image.layers[-1:] if archives and _here(archives).issuperset(needs) else image.layers
    without = frozenset(blob.digest for blob in image.layers) - {blob.digest for blob in wanted}
    size = sum({blob.digest: blob.size for blob in wanted}.values()) + len(image.config)
    return UpdatePlan(chain=None, chain_size=None, pull_size=size, without=without, is_wrapped=True)


def _lowest_here(image: RemoteImage, archives: Sequence[Archive]) -> frozenset[bytes]:
    """Return the digests of the lowest layers that an image shares with an image in ``archives``.

    Engines share a layer only if all lower layers are shared too. A layer that occurs again above the shared layers is
    not returned, because the upper occurrence needs the blob.
    """
    shared = len(loaded(archives).shared(image.diff_ids))
    layers = [*zip(image.layers, image.diff_ids, strict=True)]
    above = {item for blob, diff_id in layers[shared:] for item in (blob.digest, diff_id)}
    return frozenset(blob.digest for blob, diff_id in layers[:shared] if above.isdisjoint((blob.digest, diff_id)))


def _here(archives: Sequence[Archive]) -> frozenset[bytes]:
    """Return the digests that archives claim for their layers, in stored and in uncompressed form."""
    found: set[bytes] = set()
    for archive in archives:
        for blob in read_images(archive).blobs:
            if blob.kind == "layer":
                found |= {item for item in (blob.digest, blob.diff_id) if item}
    return frozenset(found)


def cheapest(
    target: bytes, here: frozenset[bytes], deltas_to: Callable[[bytes], Sequence[Delta]]
) -> tuple[ChainStep, ...] | None:
    """Return the smallest chain that rebuilds ``target``, in order. Return None if there is no chain.

    ``deltas_to`` is called once for each image: first for the target, then for the target's bases, and so on. The
    search ends at bundles that need only layers in ``here``.
    """
    steps = _collect(target, here, deltas_to)
    heap: list[tuple[int, int, tuple[ChainStep, ...]]] = []
    numbers = count()

    def push(cost: int, chain: tuple[ChainStep, ...]) -> None:
        heapq.heappush(heap, (cost + chain[-1].delta.told.size, next(numbers), chain))

    for step in steps:
        if step.delta.told.needs <= here:
            push(0, (step,))
    done: set[bytes] = set()
    while heap:
        cost, _, chain = heapq.heappop(heap)
        image = chain[-1].makes
        if image == target:
            return chain
        if image in done:
            continue
        done.add(image)
        if len(chain) == MOST_STEPS:
            continue
        holds = here.union(*(step.delta.told.makes for step in chain))
        for step in steps:
            if image in step.delta.bases and step.makes not in done and step.delta.told.needs <= holds:
                push(cost, (*chain, step))
    return None


def _collect(target: bytes, here: frozenset[bytes], deltas_to: Callable[[bytes], Sequence[Delta]]) -> list[ChainStep]:
    """Collect the bundles that rebuild the target, then those that rebuild the bundles' bases, and so on."""
    asked = {target}
    waiting = deque((target,))
    steps: list[ChainStep] = []
    while waiting:
        image = waiting.popleft()
        # bundles that can be applied immediately come first, so that a long list cannot hide them
        for delta in sorted(deltas_to(image), key=lambda delta: not delta.told.needs <= here):
            if len(steps) == MOST_DELTAS:
                return steps
            steps.append(ChainStep(delta, image))
            if delta.told.needs <= here:
                continue
            for base in sorted(delta.bases - asked):
                if len(asked) < MOST_IMAGES:
                    asked.add(base)
                    waiting.append(base)
    return steps

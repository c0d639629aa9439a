"""Which bundles lead from what is here to an image in a registry, for the fewest bytes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from dibundle.errors import SignatureError
from dibundle.images.archive import Archive
from dibundle.images.reader import read_images
from dibundle.sharing import messages
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteImage
from dibundle.sources.registry.listing import Delta, Listing

MOST_IMAGES: Final = 64  # that are asked about on the way back from the target
MOST_STEPS: Final = 16  # of a chain; without a limit the registry would choose how much each of them takes
MOST_DELTAS: Final = 1024


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A bundle and the manifest's digest of the image that it is said to make."""

    delta: Delta
    makes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePlan:
    """What to fetch: a chain of bundles, or (None) the image itself.

    ``chain_size`` and ``pull_size`` are the bytes of both ways, ``without`` the digests of the layers that need not be
    fetched with the image. ``is_wrapped``: the image is a wrapped bundle, which is applied.
    """

    chain: tuple[ChainStep, ...] | None
    chain_size: int | None
    pull_size: int
    without: frozenset[bytes]
    is_wrapped: bool = False

    @property
    def size(self) -> int:
        """Bytes to fetch, apart from manifests."""
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
    """Find the way of the fewest bytes to an image from what is in ``archives``.

    ``thin``: layers that are there need not come with the image itself. ``only_bundles``: the image itself is no way;
    :class:`SignatureError` where there is no other. ``refused``: the digests of the manifests of bundles that are none.
    ``only_image``: no bundle is a way any more. ``only_signed``: nor is one that is not said to hold a signature.
    """

    def deltas_to(item: bytes) -> list[Delta]:
        found = (delta for delta in listing.deltas_to(item) if delta.told.is_signed or not only_signed)
        return [delta for delta in found if delta.manifest not in refused]

    here = _here(archives)
    chain = None if only_image else cheapest(image.manifest.digest, here, deltas_to)
    size = sum(step.delta.told.size for step in chain) if chain else None
    layers = zip(image.layers, image.diff_ids, strict=True)
    without = frozenset(blob.digest for blob, diff_id in layers if thin and {blob.digest, diff_id} & here)
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
    """Return what to fetch of a wrapped bundle, which is said to need these layers: itself alone if they are here."""
    wanted = image.layers[-1:] if archives and _here(archives).issuperset(needs) else image.layers
    without = frozenset(blob.digest for blob in image.layers) - {blob.digest for blob in wanted}
    size = sum({blob.digest: blob.size for blob in wanted}.values()) + len(image.config)
    return UpdatePlan(chain=None, chain_size=None, pull_size=size, without=without, is_wrapped=True)


def _here(archives: Sequence[Archive]) -> frozenset[bytes]:
    """Return the digests of the layers in archives, stored and uncompressed, as they claim."""
    found: set[bytes] = set()
    for archive in archives:
        for blob in read_images(archive).blobs:
            if blob.kind == "layer":
                found |= {item for item in (blob.digest, blob.diff_id) if item}
    return frozenset(found)


def cheapest(
    target: bytes, here: frozenset[bytes], deltas_to: Callable[[bytes], Sequence[Delta]]
) -> tuple[ChainStep, ...] | None:
    """Return the chain of the fewest bytes that makes ``target``, in order; None where nothing leads there.

    ``deltas_to`` is asked once for each image, from the target back to what builds on what is ``here``.
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
    """Ask for what leads to the target, to what that builds on, and so on."""
    asked = {target}
    waiting = deque((target,))
    steps: list[ChainStep] = []
    while waiting:
        image = waiting.popleft()
        # what can be applied to what is here comes first: no list is so long that it hides that
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

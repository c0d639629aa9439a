"""Which bundles lead from what is here to an image in a registry, for the fewest bytes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from typing import Final

from dibundle.errors import ArchiveError, SignatureError
from dibundle.files import digest
from dibundle.files.readat import Spool
from dibundle.images.archive import Archive
from dibundle.images.document import get, get_text, sha256_of
from dibundle.images.model import ImageArchive
from dibundle.images.pinned import LayerStore, PinnedImage, Pins, assemble, find
from dibundle.images.reader import read_images
from dibundle.sharing import messages
from dibundle.sources import messages as source_messages
from dibundle.sources.detect import Trust, fetch_bundle
from dibundle.sources.registry import artifacts
from dibundle.sources.registry.artifacts import Delta
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.images import RemoteImage

MOST_IMAGES: Final = 64  # that are asked about on the way back from the target
MOST_DELTAS: Final = 1024
MOST_DIGESTS: Final = 65_536  # of layers, that all of them tell of


@dataclass(frozen=True, slots=True)
class Step:
    """A bundle and the manifest's digest of the image that it is said to make."""

    delta: Delta
    makes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to fetch: a chain of bundles, or (None) the image itself.

    ``chain_size`` and ``pull_size`` are the bytes of both ways, ``without`` the digests of the layers that need not be
    fetched with the image.
    """

    chain: tuple[Step, ...] | None
    chain_size: int | None
    pull_size: int
    without: frozenset[bytes]

    @property
    def size(self) -> int:
        """Bytes to fetch, apart from manifests."""
        return self.pull_size if self.chain is None or self.chain_size is None else self.chain_size


def plan(
    repository: Repository,
    image: RemoteImage,
    archives: Sequence[Archive],
    *,
    thin: bool,
    only_bundles: bool,
    refused: Collection[bytes] = (),
    lists: dict[bytes, list[Delta]] | None = None,
) -> Plan:
    """Find the way of the fewest bytes to an image from what is in ``archives``.

    ``thin``: layers that are there need not come with the image itself. ``only_bundles``: the image itself is no way;
    :class:`SignatureError` where there is no other. ``refused``: the digests of the manifests of bundles that are none.
    ``lists`` keeps what the registry has listed, for the next plan.
    """
    known = {} if lists is None else lists

    def deltas_to(item: bytes) -> list[Delta]:
        if item not in known:
            known[item] = artifacts.deltas_to(repository, item)
        return [delta for delta in known[item] if delta.manifest not in refused]

    here = _here(archives)
    chain = cheapest(image.manifest.digest, here, deltas_to)
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
    return Plan(chain=chain, chain_size=size, pull_size=pull, without=without)


def pin_made(image: RemoteImage, archive: ImageArchive, *, is_signed: bool) -> PinnedImage:
    """Return the image that a registry has under a name, out of an ``archive`` that a bundle has made.

    ``is_signed``: nothing of the registry counts beside the bundle, as only that is signed; else its manifest stays
    where it names just these layers. ``ArchiveError`` where the archive does not hold the image.
    """
    found = [pins for pins in find(archive, {image.id}) if digest.sha256(pins.config) == image.id]
    if not found:
        raise ArchiveError(messages.UPDATE_NOT_MADE, id=digest.text(image.id))
    pins = found[0] if is_signed else Pins(found[0].config, image.manifest.body)
    return assemble(pins, LayerStore([archive]), are_annotations_known=True)


def pin_fetched(
    image: RemoteImage, archive: ImageArchive, here: Sequence[ImageArchive], without: Collection[bytes]
) -> PinnedImage:
    """Return an image with its fetched layers, each hashed to its diffID; ``ArchiveError`` where one is not there.

    ``without``: the digests of layers that are left out, which those of ``here`` hold. The registry's manifest stays
    where it names just these layers, as they are stored here: an engine may take what it has by a digest that is named.
    """
    store = LayerStore(here)
    absent = [diff_id for blob, diff_id in zip(image.layers, image.diff_ids, strict=True) if blob.digest in without]
    left_out = {diff_id: layer for diff_id in absent if (layer := store.find(None, diff_id))}
    pins = Pins(image.config, image.manifest.body)
    return assemble(pins, LayerStore([archive]), left_out, are_annotations_known=True)


def holds(archives: Sequence[Archive], image_id: bytes) -> bool:
    """Whether an image is in one of the archives."""
    return any(image.config_digest == image_id for archive in archives for image in read_images(archive).images)


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
) -> tuple[Step, ...] | None:
    """Return the chain of the fewest bytes that makes ``target``, in order; None where nothing leads there.

    ``deltas_to`` is asked once for each image, from the target back to what builds on what is ``here``.
    """
    steps = _collect(target, here, deltas_to)
    heap: list[tuple[int, int, tuple[Step, ...]]] = []
    numbers = count()

    def push(cost: int, chain: tuple[Step, ...]) -> None:
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
        holds = here.union(*(step.delta.told.makes for step in chain))
        for step in steps:
            if image in step.delta.bases and step.makes not in done and step.delta.told.needs <= holds:
                push(cost, (*chain, step))
    return None


def _collect(target: bytes, here: frozenset[bytes], deltas_to: Callable[[bytes], Sequence[Delta]]) -> list[Step]:
    """Ask for what leads to the target, to what that builds on, and so on."""
    asked = {target}
    waiting = deque((target,))
    steps: list[Step] = []
    digests = 0
    while waiting:
        image = waiting.popleft()
        for delta in deltas_to(image):
            digests += len(delta.told.needs) + len(delta.told.makes)
            if len(steps) == MOST_DELTAS or digests > MOST_DIGESTS:
                return steps
            steps.append(Step(delta, image))
            if delta.told.needs <= here:
                continue
            for base in sorted(delta.bases - asked):
                if len(asked) < MOST_IMAGES:
                    asked.add(base)
                    waiting.append(base)
    return steps


def fetch(repository: Repository, step: Step, stack: ExitStack, tmp: str | None, trust: Trust | None) -> Spool:
    """Fetch the bundle of a step; :class:`RegistryError` where it is not what the registry told.

    ``trust`` gets its header and signature before more of it is fetched.
    """
    manifest = repository.manifest("sha256:" + step.delta.manifest.hex())
    bundle = artifacts.bundle_of(repository, manifest)
    subject = sha256_of(get_text(get(manifest.value, "subject"), "digest"))
    if bundle is None or subject != step.makes or bundle.size != step.delta.told.size:
        raise repository.failed(source_messages.REGISTRY_LISTED_BUNDLE)
    spool = stack.enter_context(closing(Spool(tmp)))
    name = digest.text(step.delta.manifest)
    fetch_bundle(repository.blob(bundle.digest, bundle.size), bundle.size, name, spool, trust)
    return spool

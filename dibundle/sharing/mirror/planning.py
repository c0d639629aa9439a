"""Plans of the mirror. A plan is the smallest chain of bundles that starts at local images which a client may read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from dibundle.errors import RegistryError
from dibundle.sharing.fetching import FetchedBundles
from dibundle.sharing.mirror.bases import Bases, LocalImage
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.upstream import Upstreams, all_hold
from dibundle.sharing.ways import MOST_IMAGES, ChainStep, cheapest
from dibundle.sources.registry.listing import Delta

MAX_BASES: Final = 8  # maximum images to open as bases
MAX_BASE_LAYERS: Final = 256  # maximum layers of these images together, because each layer is an open file
# maximum number of chains to try; a chain fails if the client is not allowed to read its bases
MAX_CHAINS: Final = 8
# maximum seconds of CPU time for the plans of an image, because planning slows down all clients
MAX_SECONDS: Final = 0.5
MAX_WAITING: Final = 5.0  # maximum seconds to wait for the plans of other images


class NoWayError(Exception):
    """The error if no delta can be used. The text of the error is the reason."""


class Goal:
    """The requested image, and the local images on which bundles can build. The local images are found during planning.

    With ``only_signed``, bundles must be listed as signed. ``seconds`` is the CPU time that the image's plans have
    taken so far.
    """

    def __init__(self, place: UpstreamPlace, manifest: bytes, *, only_signed: bool) -> None:
        self.place, self.manifest, self.only_signed = place, manifest, only_signed
        self.images: dict[bytes, LocalImage] = {}
        self.seconds = 0.0
        self._digests: frozenset[bytes] | None = None

    @property
    def digests(self) -> frozenset[bytes]:
        """The digests of all layers. These digests are collected once, because there may be 100,000 layers."""
        if self._digests is None:
            self._digests = frozenset().union(*(image.digests for image in self.images.values()))
        return self._digests

    def forget(self, images: Iterable[LocalImage]) -> None:
        """Drop images."""
        for image in images:
            del self.images[image.manifest]
        self._digests = None


class Way(NamedTuple):
    """A chain of bundles, and its base images."""

    chain: tuple[ChainStep, ...]
    bases: list[LocalImage]

    @property
    def size(self) -> int:
        """The total size of the bundles in bytes."""
        return sum(step.delta.told.size for step in self.chain)


class Planner:
    """A thread-safe planner of chains.

    Only one plan is computed at a time, because several plans would make clients wait for Python's global lock.
    """

    def __init__(self, bases: Bases, upstreams: Upstreams) -> None:
        self._bases, self._upstreams = bases, upstreams
        self._computing = threading.Lock()

    def way(self, goal: Goal, fetched: FetchedBundles, require_time: Callable[[], object]) -> Way:
        """Return the smallest chain that starts at local images which the client may read.

        The first call for a goal looks up local images. If a bundle was refused, later calls look up further images.
        ``require_time`` raises an error when the time is over. Raises :class:`NoWayError` if there is no chain.
        """
        if fetched.has_failed:
            raise NoWayError("no bundle could be applied")
        begun = time.thread_time() - goal.seconds
        turn = _Turn(self._computing)

        def check() -> None:
            require_time()
            goal.seconds = time.thread_time() - begun
            if goal.seconds > MAX_SECONDS:
                raise NoWayError("planning takes too long")

        def deltas_to(image: bytes) -> list[Delta]:
            check()
            with turn.paused():
                listed = fetched.listing.deltas_to(image)
            found = (delta for delta in listed if delta.told.is_signed or not goal.only_signed)
            return [delta for delta in found if delta.manifest not in fetched.refused]

        with turn:
            if not deltas_to(goal.manifest):
                is_listed = bool(fetched.listing.deltas_to(goal.manifest))
                raise NoWayError("every bundle was refused" if is_listed else "no bundle of this image is listed")
            if not goal.images:
                self._find_images(goal, deltas_to, check)
            for _ in range(MAX_CHAINS):
                chain = cheapest(goal.manifest, goal.digests, deltas_to)
                if chain is None:
                    raise NoWayError("no base of a bundle is in the cache")
                bases = _covering(chain, goal.images.values())
                check()
                with turn.paused():
                    secret = [image for image in bases if not self._may_read(goal.place, image, check)]
                if not secret:
                    return Way(chain, bases)
                goal.forget(secret)
        raise NoWayError("the client may not read what bundles build on")

    def _may_read(self, place: UpstreamPlace, image: LocalImage, check: Callable[[], object]) -> bool:
        """Return whether the client may read a base's manifest and all its blobs in the pull's repository.

        Without this check, a bundle in one repository could disclose content of another repository. The layers are
        checked last, because anyone with permission to push may name many layers. ``check`` raises an error when the
        time is over.
        """
        ask = partial(self._upstreams.refusal, place)
        try:
            if ask("manifests", image.manifest) or ask("blobs", image.named.config):
                return False
            return all_hold(lambda layer: not ask("blobs", layer), {digest for digest, _ in image.named.layers}, check)
        except RegistryError:  # the mirror's own logins do not allow reading this base
            return False

    def _find_images(
        self, goal: Goal, deltas_to: Callable[[bytes], Sequence[Delta]], check: Callable[[], object]
    ) -> None:
        """Add the cache's complete images. Add a store's complete image only if a bundle lists it as a base."""

        def add(manifest: bytes) -> None:
            check()
            found = self._bases.find(goal.place, manifest)
            if found:
                goal.images[manifest] = found

        for manifest in self._bases.cached(goal.place):
            add(manifest)
        waiting, asked = [goal.manifest], {goal.manifest}
        for image in waiting:  # the list grows during the loop
            for delta in deltas_to(image):
                for base in sorted(delta.bases - asked)[: MOST_IMAGES - len(asked)]:
                    asked.add(base)
                    if base not in goal.images and self._bases.has_in_store(goal.place, base):
                        add(base)
                    if base not in goal.images:
                        waiting.append(base)


class _Turn:
    """The right to compute a plan. One thread at a time has this right, and can give it up for a while."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._has_lock = False

    def __enter__(self) -> None:
        self._take()

    def __exit__(self, *_: object) -> None:
        self._release()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let another thread compute a plan while this plan waits for a registry."""
        self._release()
        yield
        self._take()

    def _take(self) -> None:
        self._has_lock = self._lock.acquire(timeout=MAX_WAITING)
        if not self._has_lock:
            raise NoWayError("other images are planned first")

    def _release(self) -> None:
        if self._has_lock:
            self._has_lock = False
            self._lock.release()


def _covering(chain: Sequence[ChainStep], images: Iterable[LocalImage]) -> list[LocalImage]:
    """Return a few images that together have the layers that a chain needs. The limits may exclude some images."""
    needed = {digest for step in chain for digest in step.delta.told.needs}
    having = [(needed.intersection(image.digests), image) for image in images]
    found: list[LocalImage] = []
    left = MAX_BASE_LAYERS
    for has, image in sorted(having, key=lambda item: (-len(item[0]), item[1].manifest)):
        layers = len(image.named.layers)
        if needed & has and layers <= left and len(found) < MAX_BASES:
            found.append(image)
            needed -= has
            left -= layers
    return found

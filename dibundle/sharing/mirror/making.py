"""Rebuild layers from local images and bundles while a client waits for them."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

from dibundle.applying.chain import follow
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rewrite import rebuild_images
from dibundle.errors import ArchiveError, BaseMismatchError, BundleError, DibError, DigestError, UsageError
from dibundle.files import digest as digests
from dibundle.files.context import Context
from dibundle.files.progress import Silent, Thinned
from dibundle.files.readat import Spool, Stream, copy_chunks
from dibundle.format.constants import HEADER_SIZE, MAX_MANIFEST
from dibundle.format.header import Header
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive
from dibundle.images.model import ImageArchive
from dibundle.sharing.fetching import FetchedBundles
from dibundle.sharing.mirror import messages
from dibundle.sharing.mirror.bases import MAX_PARSED, Bases, Documents, ImageManifest, LocalImage
from dibundle.sharing.mirror.cache import Cache, CacheFullError
from dibundle.sharing.mirror.downloads import Bell, Downloads
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.upstream import Document, Upstreams, threads
from dibundle.sharing.ways import MOST_IMAGES, ChainStep, cheapest
from dibundle.sources.access import Access, SignatureCheck
from dibundle.sources.registry.listing import Delta
from dibundle.sources.registry.transport import ConnectionFailure

MAKERS: Final = 2  # maximum images that are rebuilt at once: each may take 200 MB
PLANNERS: Final = 16  # planner threads of an upstream: other images do not wait for those that are rebuilt
OF_ONE: Final = 2  # maximum planners of one repository: its pushers cannot block other repositories
MOST: Final = 256  # maximum images of an upstream that are planned or wait for a planner
MOST_OF_ONE: Final = 32  # maximum images of one repository that wait for a planner
SOON: Final = 2.0  # maximum seconds that a layer waits for the planner to begin
MAX_BASES: Final = 8  # maximum images to open as bases
MAX_CHAINS: Final = 8  # maximum chains to try whose bases the client may not read
ASKING: Final = 8  # requests to upstream at once for blobs of a base
MIN_MEASURED: Final = 1 << 20  # minimum bytes of layers for measuring the speed of rebuilding
SPEED: Final = 25e6  # bytes of compressed layers rebuilt per second, before the first measurement
FAST: Final = 100e6  # bytes per second of upstream, before the first measurement
_SLACK: Final = 64 << 20  # bytes of an archive in addition to its layers

Report = Callable[["Making"], object]


@dataclass(slots=True)
class Making:
    """An image that a client has begun to pull, and how the mirror gets its layers.

    ``way``: "delta", "image", or "cached" if all layers are in the cache; None until that is known. ``reason``: why
    there is no delta. ``fetched``: bytes of bundles. ``saved``: bytes of the rebuilt layers minus ``fetched``.
    """

    place: UpstreamPlace
    manifest: bytes
    layers: frozenset[bytes]
    begun: float = field(default_factory=time.monotonic)
    way: str | None = None
    reason: str | None = None
    fetched: int = 0
    saved: int = 0
    seconds: float = 0.0
    has_begun: bool = False
    is_done: bool = False
    bell: Bell = field(default_factory=Bell)

    @property
    def name(self) -> tuple[str, bytes]:
        """Key of the image among those of its upstream."""
        return self.place.repository, self.manifest


class _NoWayError(Exception):
    """There is no delta; the text is the reason."""


class _UnfitError(Exception):
    """The bundle of ``step`` cannot be used; ``is_applied``: this was found by applying it, which takes time."""

    def __init__(self, step: ChainStep, error: DibError, *, is_applied: bool = False) -> None:
        super().__init__(error.message)
        self.step, self.is_applied = step, is_applied


class _Clock(Thinned):
    """A progress that ends work on a bundle at any point when its time is over."""

    def __init__(self, check: Callable[[], object]) -> None:
        super().__init__(Silent())
        self._check = check

    def phase(self, name: str, total: int) -> None:
        """Check the time."""
        self._check()

    def advance(self, count: int) -> None:
        """Check the time."""
        self._check()


class _Found(NamedTuple):
    """A chain of bundles, and its base images."""

    chain: tuple[ChainStep, ...]
    bases: list[LocalImage]

    @property
    def size(self) -> int:
        """Bytes of the bundles."""
        return sum(step.delta.told.size for step in self.chain)


class Maker:
    """Rebuilder of layers; it works on each image only once at a time. Thread-safe."""

    def __init__(
        self,
        options: MirrorOptions,
        access: Access,
        cache: Cache,
        documents: Documents,
        upstreams: Upstreams,
        downloads: Downloads,
        report: Report,
    ) -> None:
        self._options, self._access, self._cache, self._documents = options, access, cache, documents
        self._bases = Bases(cache, documents, options.stores)
        self._upstreams, self._downloads, self._report = upstreams, downloads, report
        self._pools = threads(options, PLANNERS, "make")
        self._makers = threading.Semaphore(MAKERS)
        self._lock = threading.Lock()
        self._running: dict[str, dict[tuple[str, bytes], Making]] = {host: {} for host in self._pools}
        self._waiting: defaultdict[tuple[str, str], deque[Callable[[], object]]] = defaultdict(deque)  # by repository
        self._busy: Counter[tuple[str, str]] = Counter()  # planners of each repository
        self._speeds: dict[str, float] = {}  # of rebuilding, by upstream

    def close(self) -> None:
        """Start no more images."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, place: UpstreamPlace, manifest: bytes, named: ImageManifest) -> None:
        """Search for a delta to an image, in a thread, and rebuild its layers if there is one."""
        making = Making(place, manifest, frozenset(digest for digest, _ in named.layers))
        run = partial(self._run, making, named)
        with self._lock:
            running, repository = self._running[place.host], (place.host, place.repository)
            if making.name in running or len(running) >= MOST or len(self._waiting.get(repository, ())) >= MOST_OF_ONE:
                return
            running[making.name] = making
            if self._busy[repository] == OF_ONE:
                self._waiting[repository].append(run)
                return
            self._busy[repository] += 1
        self._pools[place.host].submit(run)

    def _next(self, place: UpstreamPlace) -> None:
        """Start the next waiting image of a repository after one is done."""
        repository = place.host, place.repository
        with self._lock:
            waiting = self._waiting.get(repository)
            if not waiting:
                self._waiting.pop(repository, None)
                self._busy[repository] -= 1
                if not self._busy[repository]:
                    del self._busy[repository]
                return
            run = waiting.popleft()
        with suppress(RuntimeError):  # of a pool that was shut down
            self._pools[place.host].submit(run)

    def making(self, place: UpstreamPlace, layer: bytes) -> Making | None:
        """Return the running :class:`Making` of an image with this layer, in this repository; None if there is none."""
        with self._lock:
            for making in self._running[place.host].values():
                if layer in making.layers and making.place.repository == place.repository:
                    return making
        return None

    async def wait(self, making: Making) -> None:
        """Wait until the layers are rebuilt, or known not to be, or until the time is over."""
        left = making.begun + self._options.make_timeout - time.monotonic()
        if not await making.bell.wait(lambda: making.has_begun, max(0.0, min(left, SOON))):
            return
        await making.bell.wait(lambda: making.is_done, max(0.0, left))

    def _require_time(self, making: Making) -> float:
        """Return the seconds left; raise if there are none."""
        left = making.begun + self._options.make_timeout - time.monotonic()
        if left <= 0:
            raise _NoWayError("it takes too long")
        return left

    def _run(self, making: Making, named: ImageManifest) -> None:
        making.has_begun = True
        making.bell.ring()
        try:
            key = making.place.key
            missing = {digest: size for digest, size in named.layers if not self._cache.has(key(digest))}
            if missing:
                self._make(making, named, missing)
            else:
                making.way = "cached"
        except _NoWayError as why:
            making.way, making.reason = "image", str(why)
        except (DibError, ConnectionFailure, CacheFullError, OSError) as error:
            making.way, making.reason = "image", getattr(error, "code", None) or type(error).__name__
        except Exception as error:
            making.way, making.reason = "image", f"internal: {type(error).__name__}"
        finally:
            making.seconds = time.monotonic() - making.begun
            with self._lock:
                self._running[making.place.host].pop(making.name)
            making.is_done = True
            making.bell.ring()
            self._next(making.place)
            self._report(making)

    def _make(self, making: Making, named: ImageManifest, missing: dict[bytes, int]) -> None:
        place = making.place
        if sum(missing.values()) > self._cache.most:
            raise _NoWayError("the layers do not fit into the cache")
        self._require_worth(making, 0, missing, 0)  # before the first request to upstream
        config = self._config(making, named.config)
        known = self._documents.look(place.host, named.config, lambda: config)
        if known is None or len(known.diff_ids) != len(named.layers):
            raise _NoWayError("the config does not fit")
        clock = _Clock(lambda: self._require_time(making))
        with Context(str(self._cache.folder / "tmp"), clock) as context:
            repository = context.enter(self._upstreams.repository(place, self._require_time(making)))
            signatures = self._access.signature_check(context.tmp, names=(place.name,))
            turn = partial(self._turn, making)
            fetched = FetchedBundles(repository, signatures.required, context, turn, self._cache.growing)
            while making.way is None:
                found = self._way(making, fetched, only_signed=signatures.needs_embedded)
                self._require_worth(making, found.size, missing, fetched.received)
                try:
                    with self._cache.pinned({place.key(blob) for base in found.bases for blob, _ in base.named.layers}):
                        bundles = self._fetch(found, fetched)
                        self._build(making, found, bundles, signatures, named.config, missing, context)
                    making.way = "delta"
                except _UnfitError as error:
                    fetched.applied += error.is_applied
                    fetched.refuse(error.step.delta.manifest)
                finally:
                    making.fetched = fetched.received
            making.saved = sum(missing.values()) - making.fetched

    def _config(self, making: Making, config: bytes) -> bytes:
        """Return an image's config; fetch it if the cache does not have it."""
        place, key = making.place, making.place.key(config)
        while True:
            found = self._cache.read(key, MAX_PARSED)
            if found is not None:
                return found
            if self._cache.has(key):
                raise _NoWayError("the config does not fit")
            left = self._require_time(making)
            download = self._downloads.running(key) or self._downloads.begin(place, config)
            if isinstance(download, Document):
                raise _NoWayError("upstream does not give the config")
            if download:
                try:
                    if not download.wait(left) or not self._cache.has(key):
                        raise _NoWayError("upstream does not give the config")
                finally:
                    download.leave()

    def _way(self, making: Making, fetched: FetchedBundles, *, only_signed: bool) -> _Found:
        """Return the chain with the fewest bytes from local images that the client may read."""
        if fetched.has_failed:
            raise _NoWayError("no bundle could be applied")

        def deltas_to(image: bytes) -> list[Delta]:
            self._require_time(making)
            found = (delta for delta in fetched.listing.deltas_to(image) if delta.told.is_signed or not only_signed)
            return [delta for delta in found if delta.manifest not in fetched.refused]

        if not deltas_to(making.manifest):
            raise _NoWayError("no bundle of this image is listed")
        here = {}
        for image in self._bases.cached(making.place):
            here[image.manifest] = image
            self._require_time(making)
        self._look_at_bases(making, here, deltas_to)
        for _ in range(MAX_CHAINS):
            digests_here = frozenset().union(*(image.digests for image in here.values()))
            chain = cheapest(making.manifest, digests_here, deltas_to)
            if chain is None:
                raise _NoWayError("no base of a bundle is in the cache")
            bases = _covering(chain, here.values())
            secret = [image for image in bases if not self._may_read(making, image)]
            if not secret:
                return _Found(chain, bases)
            for image in secret:
                del here[image.manifest]
        raise _NoWayError("the client may not read what bundles build on")

    def _may_read(self, making: Making, image: LocalImage) -> bool:
        """Whether upstream lets the client read all blobs of a base, in the repository of the pull.

        Without this check, a bundle that is pushed to one repository could disclose content of another.
        """
        ask = partial(self._upstreams.refusal, making.place, "blobs")
        blobs = {image.named.config, *(digest for digest, _ in image.named.layers)}
        with ThreadPoolExecutor(ASKING, "base") as pool:
            answers = pool.map(ask, blobs)
            return all(answer is None for answer in answers)

    @contextmanager
    def _turn(self, making: Making) -> Iterator[None]:
        """Wait for a turn at decoding and rebuilding; the number of turns limits memory."""
        while not self._makers.acquire(timeout=self._require_time(making)):
            pass  # _require_time() raises when no time is left
        try:
            yield
        finally:
            self._makers.release()

    def _look_at_bases(
        self, making: Making, here: dict[bytes, LocalImage], deltas_to: Callable[[bytes], Sequence[Delta]]
    ) -> None:
        """Add to ``here`` the images that are listed as bases of bundles, if they are complete."""
        waiting, asked = [making.manifest], {making.manifest}
        for image in waiting:  # the list grows during the loop
            for delta in deltas_to(image):
                for base in sorted(delta.bases - asked):
                    asked.add(base)
                    found = here.get(base) or self._bases.find(making.place, base)
                    if found:
                        here[base] = found
                    elif len(asked) < MOST_IMAGES:
                        waiting.append(base)

    def _require_worth(self, making: Making, size: int, missing: dict[bytes, int], received: int) -> None:
        """Raise unless bundles of ``size`` bytes, plus ``received`` bytes, are fewer than the bytes of the layers.

        If the option ``prefer`` is "speed", also raise if fetching the layers is faster.
        """
        whole = sum(missing.values())
        if received + size >= whole:
            raise _NoWayError("the layers are no more bytes")
        speed = self._downloads.speed(making.place) or FAST
        own = self._speeds.get(making.place.host, SPEED)
        if self._options.prefer == "speed" and size / speed + whole / own >= whole / speed:
            self._speeds[making.place.host] = own + (SPEED - own) / 16  # else a slow rebuild would stop all later ones
            raise _NoWayError("fetching the layers is faster")

    def _fetch(self, found: _Found, fetched: FetchedBundles) -> list[Spool]:
        """Fetch the bundles of a chain; the cache counts their bytes as they arrive, as long as they are kept."""
        spools, left = [], MAX_MANIFEST
        for step in found.chain:
            try:
                spools.append(fetched.get(step, left))
            except CacheFullError:
                raise _NoWayError("the bundles do not fit into the cache") from None
            except DibError as error:
                raise _UnfitError(step, error) from error
            left -= Header.decode(spools[-1].read_at(0, HEADER_SIZE)).size
        return spools

    def _build(
        self,
        making: Making,
        found: _Found,
        fetched: list[Spool],
        signatures: SignatureCheck,
        image: bytes,
        missing: dict[bytes, int],
        context: Context,
    ) -> None:
        """Rebuild the missing layers of the image with this ID, and put them into the cache."""
        place = making.place
        wanted = min(sum(missing.values()), self._cache.most)  # manifests claim these sizes: more would not be kept
        limits = RebuildOptions(max_size=2 * wanted + _SLACK + _sizes(found.bases))
        try:
            with self._turn(making), context.within() as own:
                begun = time.monotonic()
                names = [digests.text(step.delta.manifest) for step in found.chain]
                bundles = [
                    BundleReader(Stream(spool), None, signatures.required, name)
                    for spool, name in zip(fetched, names, strict=True)
                ]
                archives: list[Archive] = [self._bases.open(place, base, own.defer) for base in found.bases]
                here, last = follow(archives, bundles, limits, own)
                several = len(last.manifest.targets) > 1
                chosen = replace(limits, target=digests.text(image) if several else None)
                made, _ = rebuild_images(here, last, chosen, own)
                self._keep(place, made, missing)
        except (ArchiveError, BaseMismatchError, BundleError, DigestError, UsageError) as error:
            raise _UnfitError(found.chain[-1], error, is_applied=True) from error
        if (size := sum(missing.values())) >= MIN_MEASURED:
            old = self._speeds.get(place.host, SPEED)
            self._speeds[place.host] = (old + size / max(time.monotonic() - begun, 0.01)) / 2

    def _keep(self, place: UpstreamPlace, made: ImageArchive, missing: dict[bytes, int]) -> None:
        """Put the missing layers of an archive into the cache; the digest of each is computed again."""
        wanted = dict(missing)
        for blob in made.blobs:
            size = wanted.get(blob.digest or b"")
            if size != blob.member.size or blob.digest is None:
                continue
            new = self._cache.new()
            try:
                for piece in copy_chunks(made.archive.bytes, blob.member.content, blob.member.size):
                    new.write(piece)
                if new.digest == blob.digest:
                    new.keep(place.space)
                    del wanted[blob.digest]
            finally:
                new.close()
        if wanted:
            raise BundleError(messages.MIRROR_OTHER_BLOBS)


def _sizes(images: Sequence[LocalImage]) -> int:
    return sum(image.named.size for image in images)


def _covering(chain: Sequence[ChainStep], images: Iterable[LocalImage]) -> list[LocalImage]:
    """Return a few images that together have the layers that a chain needs."""
    needed = {digest for step in chain for digest in step.delta.told.needs}
    found: list[LocalImage] = []
    for image in sorted(images, key=lambda image: (-len(needed & image.digests), image.manifest)):
        if needed & image.digests and len(found) < MAX_BASES:
            found.append(image)
            needed -= image.digests
    return found

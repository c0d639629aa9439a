"""Layers that are made of what is here and of bundles, while a client waits for them."""

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

MAKERS: Final = 2  # images that are made at once: each may take 200 MB
PLANNERS: Final = 16  # of an upstream that are thought about: nobody else waits for those that are made
OF_ONE: Final = 2  # planners of one repository: whoever may push to it keeps no other from them
MOST: Final = 256  # of an upstream that wait for that
MOST_OF_ONE: Final = 32  # of one repository
SOON: Final = 2.0  # seconds that a layer waits for that to begin
MAX_BASES: Final = 8  # images that are opened as bases
MAX_CHAINS: Final = 8  # that are looked at whose bases the client may not read
ASKING: Final = 8  # blobs of a base that upstream is asked about at once
MIN_MEASURED: Final = 1 << 20  # bytes of layers by which the speed of making is measured
SPEED: Final = 25e6  # bytes of compressed layers made in a second, before the first was measured
FAST: Final = 100e6  # and of upstream
_SLACK: Final = 64 << 20  # bytes of an archive beside its layers

Report = Callable[["Making"], object]


@dataclass(slots=True)
class Making:
    """An image that a client has begun to pull: what is done about its layers.

    ``way``: "delta", "image", or "cached" where nothing is to be fetched; None until that is known. ``reason``: why
    there is no delta. ``saved``: bytes of the layers that were made less those of the bundles.
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
        """What tells it from others of its upstream."""
        return self.place.repository, self.manifest


class _NoWayError(Exception):
    """There is no delta; the text says why."""


class _UnfitError(Exception):
    """A bundle does not serve: that of ``step``; ``is_applied``: that took its time."""

    def __init__(self, step: ChainStep, error: DibError, *, is_applied: bool = False) -> None:
        super().__init__(error.message)
        self.step, self.is_applied = step, is_applied


class _Clock(Thinned):
    """Ends work on a bundle when its time is over, wherever it is."""

    def __init__(self, check: Callable[[], object]) -> None:
        super().__init__(Silent())
        self._check = check

    def phase(self, name: str, total: int) -> None:
        """Look at the clock."""
        self._check()

    def advance(self, count: int) -> None:
        """Look at the clock."""
        self._check()


class _Found(NamedTuple):
    """A chain of bundles, and the images that it builds on."""

    chain: tuple[ChainStep, ...]
    bases: list[LocalImage]

    @property
    def size(self) -> int:
        """Bytes of the bundles."""
        return sum(step.delta.told.size for step in self.chain)


class Maker:
    """Makes layers, each image once at a time. Safe for threads."""

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
        self._speeds: dict[str, float] = {}  # of making, by upstream

    def close(self) -> None:
        """Begin nothing more."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, place: UpstreamPlace, manifest: bytes, named: ImageManifest) -> None:
        """Find out, in a thread, whether a delta leads to an image, and make its layers if one does."""
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
        """Have the next image of a repository take the place of one that is done."""
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
        """Return what may make a layer of a repository; None where nothing does."""
        with self._lock:
            for making in self._running[place.host].values():
                if layer in making.layers and making.place.repository == place.repository:
                    return making
        return None

    async def wait(self, making: Making) -> None:
        """Wait until it is known that layers are not made, or they are, or for as long as they may take."""
        left = making.begun + self._options.make_timeout - time.monotonic()
        if not await making.bell.wait(lambda: making.has_begun, max(0.0, min(left, SOON))):
            return
        await making.bell.wait(lambda: making.is_done, max(0.0, left))

    def _require_time(self, making: Making) -> float:
        """Return how many seconds are left; raise where there are none."""
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
        self._require_worth(making, 0, missing, 0)  # before upstream is asked for anything
        config = self._config(making, named.config)
        known = self._documents.look(place.host, named.config, lambda: config)
        if known is None or len(known.diff_ids) != len(named.layers):
            raise _NoWayError("the config does not fit")
        clock = _Clock(lambda: self._require_time(making))
        with Context(str(self._cache.folder / "tmp"), clock) as context:
            repository = context.enter(self._upstreams.repository(place, self._require_time(making)))
            signatures = self._access.signature_check(context.tmp, names=(place.name,))
            fetched = FetchedBundles(repository, signatures.required, context, partial(self._turn, making))
            counted: set[bytes] = set()
            while making.way is None:
                found = self._way(making, fetched, only_signed=signatures.needs_embedded)
                self._require_worth(making, found.size, missing, fetched.received)
                try:
                    with self._cache.pinned({place.key(blob) for base in found.bases for blob, _ in base.named.layers}):
                        bundles = self._fetch(found, fetched, counted, context)
                        self._build(making, found, bundles, signatures, named.config, missing, context)
                    making.way = "delta"
                except _UnfitError as error:
                    fetched.applied += error.is_applied
                    fetched.refuse(error.step.delta.manifest)
                finally:
                    making.fetched = fetched.received
            making.saved = sum(missing.values()) - making.fetched

    def _config(self, making: Making, config: bytes) -> bytes:
        """Return an image's config, from upstream where it is not here."""
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
        """Return the chain of the fewest bytes from the images that are here."""
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
        """Whether upstream gives the client all blobs of a base, in the repository that it pulls from.

        Else whoever pushes a bundle to one repository could find out, by what it makes, what is in another.
        """
        ask = partial(self._upstreams.refusal, making.place, "blobs")
        blobs = {image.named.config, *(digest for digest, _ in image.named.layers)}
        with ThreadPoolExecutor(ASKING, "base") as pool:
            answers = pool.map(ask, blobs)
            return all(answer is None for answer in answers)

    @contextmanager
    def _turn(self, making: Making) -> Iterator[None]:
        """Wait for one of the turns at decoding and making, in which memory is taken."""
        while not self._makers.acquire(timeout=self._require_time(making)):
            pass  # until there is no time left
        try:
            yield
        finally:
            self._makers.release()

    def _look_at_bases(
        self, making: Making, here: dict[bytes, LocalImage], deltas_to: Callable[[bytes], Sequence[Delta]]
    ) -> None:
        """Add to what is here the images that bundles are said to build on, where they are whole."""
        waiting, asked = [making.manifest], {making.manifest}
        for image in waiting:  # which grows
            for delta in deltas_to(image):
                for base in sorted(delta.bases - asked):
                    asked.add(base)
                    found = here.get(base) or self._bases.find(making.place, base)
                    if found:
                        here[base] = found
                    elif len(asked) < MOST_IMAGES:
                        waiting.append(base)

    def _require_worth(self, making: Making, size: int, missing: dict[bytes, int], received: int) -> None:
        """Raise where the layers are no more bytes than ``size`` and those ``received`` in vain, or are here sooner."""
        whole = sum(missing.values())
        if received + size >= whole:
            raise _NoWayError("the layers are no more bytes")
        speed = self._downloads.speed(making.place) or FAST
        own = self._speeds.get(making.place.host, SPEED)
        if self._options.prefer == "speed" and size / speed + whole / own >= whole / speed:
            self._speeds[making.place.host] = own + (SPEED - own) / 16  # or a slow one would be the last
            raise _NoWayError("fetching the layers is faster")

    def _fetch(self, found: _Found, fetched: FetchedBundles, counted: set[bytes], context: Context) -> list[Spool]:
        """Fetch the bundles of a chain; the cache counts them until ``context`` ends, ``counted`` has those it does."""
        spools, left = [], MAX_MANIFEST
        for step in found.chain:
            try:
                if step.delta.manifest not in counted:
                    context.enter(self._cache.reserved(step.delta.told.size))
                    counted.add(step.delta.manifest)
            except CacheFullError:
                raise _NoWayError("the bundles do not fit into the cache") from None
            try:
                spools.append(fetched.get(step, left))
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
        """Make the missing layers of the image with this ID and put them into the cache."""
        place = making.place
        limits = RebuildOptions(max_size=2 * sum(missing.values()) + _SLACK + _sizes(found.bases))
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
        """Put the layers of an archive into the cache, each by the digest that it really has."""
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
    """Return images that have all layers which a chain needs of what is here, few of them."""
    needed = {digest for step in chain for digest in step.delta.told.needs}
    found: list[LocalImage] = []
    for image in sorted(images, key=lambda image: (-len(needed & image.digests), image.manifest)):
        if needed & image.digests and len(found) < MAX_BASES:
            found.append(image)
            needed -= image.digests
    return found

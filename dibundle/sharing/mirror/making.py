"""Rebuild layers from local images and bundles while a client waits for them."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory
from typing import Final
from weakref import WeakValueDictionary

from dibundle.errors import DibError
from dibundle.files import digest as digests
from dibundle.files.compression import RATIO
from dibundle.files.context import Context
from dibundle.files.readat import Spool
from dibundle.format.constants import HEADER_SIZE, MAX_MANIFEST
from dibundle.format.header import Header
from dibundle.sharing.fetching import FetchedBundles
from dibundle.sharing.mirror.bases import MAX_PARSED, Bases, Documents, ImageManifest, OpenFile
from dibundle.sharing.mirror.bell import Bell
from dibundle.sharing.mirror.cache import Cache, CacheFullError
from dibundle.sharing.mirror.downloads import Downloads
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.planning import Goal, NoWayError, Planner, Way
from dibundle.sharing.mirror.upstream import Document, Upstreams, all_hold, threads
from dibundle.sharing.mirror.worker import Job, JobFailedError, RebuiltLayer, run
from dibundle.sharing.ways import ChainStep
from dibundle.sources.access import Access
from dibundle.sources.registry.transport import ConnectionFailure

MAKERS: Final = 2  # maximum images that are rebuilt at once, because each rebuild may take 200 MB of memory
# planner threads per upstream; with only one thread, an image would wait while other images are rebuilt
PLANNERS: Final = 16
# maximum planners for one repository; users who push to one repository must not block pulls from others
OF_ONE: Final = 2
MOST: Final = 256  # maximum images of an upstream that are planned or wait for a planner
MOST_OF_ONE: Final = 32  # maximum images of one repository that wait for a planner
PATIENCE: Final = 10.0  # maximum seconds that an image waits for a slot; a hostile bundle may hold a slot for a minute
SOON: Final = 2.0  # maximum seconds that a request for a layer waits until the planner begins
MIN_MEASURED: Final = 1 << 20  # the measured speed changes only if at least this many bytes of layers are rebuilt
SPEED: Final = 25e6  # assumed speed of rebuilding before the first measurement: bytes of compressed layers per second
FAST: Final = 100e6  # assumed speed of upstream before the first measurement: bytes per second
_SLACK: Final = 64 << 20  # maximum bytes that an archive has in addition to its layers

Report = Callable[["Making"], object]


@dataclass(slots=True)
class Making:
    """An image that a client has begun to pull, and how the mirror gets its layers.

    ``way`` is "delta", "image" or, if all layers are in the cache, "cached". ``way`` is None until the mirror has
    decided. ``reason`` says why no delta is used. ``fetched`` is the size of the fetched bundles. ``saved`` is the size
    of the rebuilt layers minus ``fetched``.
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
        """The key that identifies the image among its upstream's images."""
        return self.place.repository, self.manifest


class _UnfitError(Exception):
    """The error if the bundle of a step cannot be used.

    ``is_applied`` is true if dib had begun to apply the bundle. Attempts to apply a bundle take time, so they are
    counted.
    """

    def __init__(self, step: ChainStep, *, is_applied: bool = False) -> None:
        super().__init__()
        self.step, self.is_applied = step, is_applied


class Maker:
    """A thread-safe rebuilder of layers. An image is never rebuilt twice at the same time."""

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
        self._of_repository: WeakValueDictionary[tuple[str, str], threading.Semaphore] = WeakValueDictionary()
        hosts = len(self._pools)
        self._of_host = {host: threading.Semaphore(MAKERS if hosts == 1 else 1) for host in self._pools}
        self._planner = Planner(self._bases, upstreams)
        self._lock = threading.Lock()
        self._running: dict[str, dict[tuple[str, bytes], Making]] = {host: {} for host in self._pools}
        self._waiting: defaultdict[tuple[str, str], deque[Callable[[], object]]] = defaultdict(deque)  # by repository
        self._busy: Counter[tuple[str, str]] = Counter()  # planners of each repository
        self._speeds: dict[str, float] = {}  # speed of rebuilding, in bytes per second, by upstream

    def close(self) -> None:
        """Start no work on further images."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, place: UpstreamPlace, manifest: bytes, named: ImageManifest) -> None:
        """Let a thread search for a delta to an image. If a delta is found, the thread rebuilds the image's layers."""
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
        """After an image of a repository is finished, start the next waiting image of this repository."""
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
        with suppress(RuntimeError):  # the pool was shut down
            self._pools[place.host].submit(run)

    def making(self, place: UpstreamPlace, layer: bytes) -> Making | None:
        """Return the running :class:`Making` of an image with this layer in this repository.

        Return None if no such image is being rebuilt.
        """
        with self._lock:
            for making in self._running[place.host].values():
                if layer in making.layers and making.place.repository == place.repository:
                    return making
        return None

    async def wait(self, making: Making) -> None:
        """Wait until the layers are rebuilt, or the rebuild has failed, or the time is over."""
        left = making.begun + self._options.make_timeout - time.monotonic()
        if not await making.bell.wait(lambda: making.has_begun, max(0.0, min(left, SOON))):
            return
        await making.bell.wait(lambda: making.is_done, max(0.0, left))

    def _require_time(self, making: Making) -> float:
        """Return the number of seconds that are left. Raise an error if no time is left."""
        left = making.begun + self._options.make_timeout - time.monotonic()
        if left <= 0:
            raise NoWayError("it takes too long")
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
        except NoWayError as why:
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
            raise NoWayError("the layers do not fit into the cache")
        self._require_worth(making, 0, missing, 0)  # check this before the first request to upstream
        with Context(str(self._cache.folder / "tmp")) as context:
            repository = context.enter(self._upstreams.repository(place, self._require_time(making)))
            signatures = self._access.signature_check(context.tmp, names=(place.name,))
            growing = self._cache.growing
            fetched = FetchedBundles(repository, signatures.required, context, growing=growing, is_decoded=False)
            require_time = partial(self._require_time, making)
            goal = Goal(place, making.manifest, only_signed=signatures.needs_embedded)
            is_offered = False
            while making.way is None:
                found = self._planner.way(goal, fetched, require_time)
                self._require_worth(making, found.size, missing, fetched.received)
                self._require_config(making, named)
                if not is_offered:
                    self._require_offer(making, missing)
                    is_offered = True
                try:
                    with self._cache.pinned({place.key(blob) for base in found.bases for blob, _ in base.named.layers}):
                        self._build(making, found, self._fetch(found, fetched), named, missing)
                    making.way = "delta"
                except _UnfitError as error:
                    fetched.applied += error.is_applied
                    fetched.refuse(error.step.delta.manifest)
                finally:
                    making.fetched = fetched.received
            making.saved = sum(missing.values()) - making.fetched

    def _require_offer(self, making: Making, missing: dict[bytes, int]) -> None:
        """Raise an error if upstream does not let the client read a missing layer, or if its size is wrong.

        Without this check, a small bundle for layers that do not exist could displace all other content of the cache.
        """
        place = making.place
        has = self._upstreams.has_blob
        if not all_hold(lambda item: has(place, *item), missing.items(), partial(self._require_time, making)):
            raise NoWayError("upstream does not have the layers")

    def _require_config(self, making: Making, named: ImageManifest) -> None:
        """Raise an error if the image's config is not available, or does not have a diffID for each layer."""
        config = self._config(making, named.config)
        known = self._documents.look(making.place.host, named.config, lambda: config)
        if known is None or len(known.diff_ids) != len(named.layers):
            raise NoWayError("the config does not fit")

    def _config(self, making: Making, config: bytes) -> bytes:
        """Return an image's config. If the config is not in the cache, fetch the config."""
        place, key = making.place, making.place.key(config)
        if self._upstreams.refusal(place, "blobs", config):
            raise NoWayError("upstream does not give the config")
        while True:
            found = self._cache.read(key, MAX_PARSED)
            if found is not None:
                return found
            if self._cache.has(key):
                raise NoWayError("the config does not fit")
            left = self._require_time(making)
            download = self._downloads.running(key) or self._downloads.begin(place, config)
            if isinstance(download, Document):
                raise NoWayError("upstream does not give the config")
            if download:
                try:
                    if download.size > MAX_PARSED:
                        raise NoWayError("the config does not fit")
                    if not download.wait(left) or not self._cache.has(key):
                        raise NoWayError("upstream does not give the config")
                finally:
                    download.leave()

    @contextmanager
    def _turn(self, making: Making) -> Iterator[None]:
        """Wait for a slot to rebuild, and hold the slot. The number of slots is limited to save memory.

        Each repository has at most one slot at a time. If there are several registries, no single registry can use all
        slots.
        """
        place, end = making.place, time.monotonic() + PATIENCE
        with self._lock:
            of_repository = self._of_repository.setdefault((place.host, place.repository), threading.Semaphore())
        with ExitStack() as held:
            for turns in (of_repository, self._of_host[place.host], self._makers):
                left = min(self._require_time(making), max(0.0, end - time.monotonic()))
                if not turns.acquire(timeout=left):
                    raise NoWayError("other images are rebuilt first")
                held.callback(turns.release)
            yield

    def _require_worth(self, making: Making, size: int, missing: dict[bytes, int], received: int) -> None:
        """Raise an error unless the bundles (``received`` + ``size`` bytes) are smaller than the layers.

        If the option ``prefer`` is "speed", rebuilding must also be faster than fetching the layers.
        """
        whole = sum(missing.values())
        if received + size >= whole:
            raise NoWayError("the layers are no more bytes")
        speed = self._downloads.speed(making.place) or FAST
        own = self._speeds.get(making.place.host, SPEED)
        if self._options.prefer == "speed" and size / speed + whole / own >= whole / speed:
            # forget slow rebuilds over time, because a single slow rebuild must not prevent all later rebuilds
            self._speeds[making.place.host] = own + (SPEED - own) / 16
            raise NoWayError("fetching the layers is faster")

    def _fetch(self, found: Way, fetched: FetchedBundles) -> list[Spool]:
        """Fetch the bundles of a chain. A bundle takes space in the cache from its arrival until it is dropped."""
        spools, left = [], MAX_MANIFEST
        for step in found.chain:
            try:
                spools.append(fetched.get(step, left))
            except CacheFullError:
                raise NoWayError("the bundles do not fit into the cache") from None
            except DibError as error:
                raise _UnfitError(step) from error
            left -= Header.decode(spools[-1].read_at(0, HEADER_SIZE)).size
        return spools

    def _build(
        self, making: Making, found: Way, fetched: list[Spool], named: ImageManifest, missing: dict[bytes, int]
    ) -> None:
        """Rebuild the missing layers of an image in a separate process, and put the layers into the cache."""
        place, tmp = making.place, self._cache.folder / "tmp"
        # the manifest only claims these sizes, so the cache accepts no more bytes than claimed
        wanted = min(sum(missing.values()), self._cache.most)
        with (
            self._turn(making),
            self._cache.growing() as taken,
            ExitStack() as files,
            TemporaryDirectory(dir=tmp) as own,
        ):
            begun = time.monotonic()
            bases = tuple(self._bases.open(place, base, files.callback) for base in found.bases)
            stored = {digest: os.fstat(file.fd).st_size for base in bases for digest, file in base.files.items()}
            others = stored | {digest: self._cache.size_of(place.key(digest)) or 0 for digest, _ in named.layers}
            names = [digests.text(step.delta.manifest) for step in found.chain]
            job = Job(
                bundles=tuple(OpenFile(spool.fileno(), name) for spool, name in zip(fetched, names, strict=True)),
                bases=bases,
                image=named.config,
                wanted=dict(missing),
                max_size=wanted + sum(others.values()) + _SLACK,
                # without this limit, small layers of zeros could displace all other content of the cache
                max_base=RATIO * sum(stored.values()) + _SLACK,
                names=(place.name,),
                signers=self._access.signers,
                checks_signatures=self._access.checks_signatures,
                tmp=own,  # this folder is deleted later, with any files that a killed process left in it
            )
            try:
                with closing(run(job, partial(self._require_time, making), taken)) as layers:
                    for layer in layers:
                        self._keep(place, layer)
            except CacheFullError:
                raise NoWayError("the rebuilt image does not fit into the cache") from None
            except JobFailedError as error:
                raise _UnfitError(found.chain[error.bundle], is_applied=error.is_applied) from error
        if not all(self._cache.has(place.key(digest)) for digest in missing):
            raise _UnfitError(found.chain[-1], is_applied=True)
        if (size := sum(missing.values())) >= MIN_MEASURED:
            old = self._speeds.get(place.host, SPEED)
            self._speeds[place.host] = (old + size / max(time.monotonic() - begun, 0.01)) / 2

    def _keep(self, place: UpstreamPlace, layer: RebuiltLayer) -> None:
        """Put a rebuilt layer into the cache. The layer's digest is computed again."""
        new = self._cache.new()
        try:
            for piece in layer.pieces:
                new.write(piece)
            if new.digest == layer.digest:
                new.keep(place.space)
        finally:
            new.close()

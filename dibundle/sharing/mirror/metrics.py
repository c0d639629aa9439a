"""Metrics of a mirror, in the format of Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS: Final = (0.1, 0.3, 1, 3, 10, 30, 60)


class Metrics:
    """The counters of one mirror."""

    def __init__(self) -> None:
        # leave out the "_created" metrics, because they are times with names like those of counters
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for it
        self._registry = CollectorRegistry()
        own = self._registry
        self.upstream = Counter(
            "dib_mirror_upstream_bytes", "Bytes of images from upstream registries, without bundles.", registry=own
        )
        self.bundles = Counter("dib_mirror_bundle_bytes", "Bytes of bundles fetched.", registry=own)
        self.served = Counter("dib_mirror_served_bytes", "Bytes of blobs sent to clients.", registry=own)
        self.saved = Counter("dib_mirror_saved_bytes", "Bytes of made layers, less their bundles.", registry=own)
        self.deltas = Counter("dib_mirror_deltas", "Images whose layers were made of a bundle.", registry=own)
        self.fallbacks = Counter("dib_mirror_fallbacks", "Images fetched without a bundle.", ["reason"], registry=own)
        self.requests = Counter("dib_mirror_requests", "Requests answered.", ["kind", "status"], registry=own)
        self.cache = Gauge("dib_mirror_cache_bytes", "Bytes in the cache.", registry=own)
        self.seconds = Histogram(
            "dib_mirror_make_seconds", "Seconds to make the layers of an image.", buckets=_SECONDS, registry=own
        )

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

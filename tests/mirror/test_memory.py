"""After a pull, no objects are left for the garbage collector. The collector starts after a number of objects, so a few
large objects would not start it.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator

import pytest

from dibundle.sharing.fetching import FetchedBundles
from dibundle.sharing.mirror.options import MirrorOptions
from dibundle.sources.access import Access
from dibundle.sources.registry.listing import Delta, Listing
from tests.mirror.conftest import Running, mirroring
from tests.mirror.test_hostile import beside, eventually, write
from tests.sources.server import Registry, Request


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(*kinds: type) -> list[object]:
    return [item for item in gc.get_objects() if isinstance(item, kinds)]


def test_a_pull_keeps_no_list_of_bundles(options: MirrorOptions, access: Access, stocked: Registry) -> None:
    before = len(kept(Delta, Listing, FetchedBundles))
    with mirroring(options, access) as mirror:
        mirror.client.pull("v1")
        mirror.client.pull("v2")
        assert mirror.last()["way"] == "delta"
        assert eventually(lambda: len(kept(Delta, Listing, FetchedBundles)) <= before)


@pytest.mark.parametrize("kind", ["manifests/v9", "referrers/sha256:" + "0" * 64, "tags/list"])
def test_a_document_that_is_cut_off_keeps_no_bytes(
    kind: str, options: MirrorOptions, access: Access, stocked: Registry
) -> None:
    body = os.urandom(1 << 20)

    def cut(request: Request) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: 2000000"
        return write(request, head, body)

    with beside(options, access, cut) as (_, evil):
        evil.get(kind)
        tracemalloc.start()
        try:
            for _ in range(10):
                assert evil.get(kind).status in (404, 502)
            assert eventually(lambda: tracemalloc.get_traced_memory()[0] < 3 << 20)
        finally:
            tracemalloc.stop()


def test_the_mirror_collects_as_usual(mirror: Running) -> None:
    from dibundle.cli.commands import mirror as command

    assert command._COLLECTIONS[0] <= 2000

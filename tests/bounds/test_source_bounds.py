"""Limits on the cost of archives with many bundles, and of chains with many segments."""

from __future__ import annotations

import io
import json
import time

import pytest

from dibundle.applying import chain
from dibundle.errors import BundleError
from dibundle.files.context import Context
from dibundle.format import labels
from dibundle.format.header import Header
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive
from dibundle.sources import opened as opened_module
from dibundle.sources import wrapped as wrapped_images
from dibundle.sources.access import Access
from dibundle.sources.bundles import Reread, peek
from dibundle.sources.opening import open_sources
from tests.bounds.measure import dib
from tests.bounds.tars import tar
from tests.builders import sha256
from tests.fuzz.bounds import target, written

MIB = 1 << 20
Bundle, Program = written.Bundle, written.Program


def wrapped(bundles: list[bytes]) -> bytes:
    """Return an archive of images that each hold a bundle."""
    members, images = {}, []
    for number, bundle in enumerate(bundles):
        layer = tar({"bundle.dib": bundle}) + bytes(512 * number)
        diff_id = f"sha256:{sha256(layer)}"
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {labels.BUNDLE: labels.BUILT}},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
        ).encode()
        places = [f"blobs/sha256/{sha256(data)}" for data in (layer, config)]
        members |= dict(zip(places, (layer, config), strict=True))
        images.append({"Config": places[1], "RepoTags": [], "Layers": [places[0]]})
    return tar({**members, "manifest.json": json.dumps(images).encode()})


def bundle_of(names: int, size: int = 512) -> bytes:
    """Return a bundle whose manifest has this many deleted names, each of one byte."""
    more = {4: written.msgpack([[b"", b"a\0" * names]])}
    return Bundle([], [target(size, Program().do("zero", zero=size))], more=more).encode()


def test_equal_bundles_are_read_once(tmp_path, monkeypatch):
    read = []
    real = opened_module.read_bundle
    monkeypatch.setattr(opened_module, "read_bundle", lambda *given: read.append(given[1]) or real(*given))
    path, plain = tmp_path / "many.tar", tmp_path / "one.dib"
    path.write_bytes(wrapped([bundle_of(10)] * 20))
    plain.write_bytes(bundle_of(10))
    with Context() as context:
        opened = open_sources([str(path), str(plain)], Access(), context)
        assert len(opened.read_bundles()) == 1
    assert len(read) == 1


def test_a_hundred_copies_of_a_bundle_take_what_one_takes(tmp_path):
    path = tmp_path / "many.tar"
    path.write_bytes(wrapped([bundle_of(10_000_000)] * 60))
    taken = dib("apply", path, "-o", tmp_path / "out.tar")
    assert taken.status == 0
    assert taken.seconds < 4
    assert taken.memory < 350 * MIB


def test_manifests_of_different_bundles_in_archives_are_bounded(tmp_path, monkeypatch):
    bundles = [bundle_of(100, 512 * row) for row in range(1, 5)]
    sizes = [Header.decode(bundle[:64]).size for bundle in bundles]
    path = tmp_path / "many.tar"
    path.write_bytes(wrapped(bundles))
    for most, is_read in ((sum(sizes), True), (sum(sizes) - 1, False)):
        monkeypatch.setattr(opened_module, "MAX_MANIFEST", most)
        with Context() as context:
            opened = open_sources([str(path)], Access(), context)
            if is_read:
                assert len(opened.read_bundles()) == 4
            else:
                with pytest.raises(BundleError, match="manifests"):
                    opened.read_bundles()


def test_what_was_peeked_at_is_read_again():
    data = bytes(range(200))
    for size in (0, 64, 300):
        stream = Reread(io.BytesIO(data[3:]).read, data[:3])
        assert peek(stream, size) == data[:size]
        assert b"".join(iter(lambda: stream.read(50), b"")) == data  # noqa: B023


def test_a_chain_compares_what_others_build_on_alone():
    """Only the segments that other bundles need are compared. Before the fix, for each bundle, dib built the sets of
    segments of all the other bundles again.
    """
    count, segments = 6, 1 << 14
    readers = []
    for row in range(count):
        size = segments * 128
        made = target(size, Program().do("zero", zero=size))
        made.segments = [(1, 1)] * (segments - 1) + [(size - segments + 1, 1)]
        made.own = b"".join(bytes([row, 1]) * 16 if number == 5 else bytes(32) for number in range(segments))
        needs = [(1, 512, bytes([row - 1, 1]) * 16)] if row else []
        readers.append(BundleReader(io.BytesIO(Bundle([], [made], objects=needs).encode())))
    start = time.process_time()
    links = chain._links(readers, [])
    assert time.process_time() - start < 1
    assert sum(len(link.makes) for link in links.values()) == count - 1
    makes = [[chain._makes_for(a, b, links) for b in readers] for a in readers]
    assert makes == [[b == a + 1 for b in range(count)] for a in range(count)]


def test_labels_are_looked_at_in_so_many_bytes_of_configs(tmp_path, monkeypatch):
    """dib reads labels only until the total size of the configs reaches a limit.

    Before the fix, 15 configs of 8 MiB took 2 GiB of memory and a minute.
    """
    path = tmp_path / "wrapped.tar"
    path.write_bytes(wrapped([b"x"]))
    with open_archive(path) as archive, Context() as context:
        assert len(list(wrapped_images.find(archive, context))) == 1
        monkeypatch.setattr(wrapped_images, "_CONFIGS", 100)
        assert list(wrapped_images.find(archive, context)) == []

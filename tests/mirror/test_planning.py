"""Planning ends within a time limit, no matter which bases the bundles declare."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dibundle.sharing.mirror import planning, upstream
from dibundle.sharing.mirror.bases import Bases, Documents, ImageManifest, LocalImage
from dibundle.sharing.mirror.cache import Cache
from dibundle.sharing.mirror.options import UpstreamPlace
from dibundle.sharing.mirror.planning import Goal, NoWayError, Planner

PLACE = UpstreamPlace("site.example", "evil/x", "space")
NAMED = [number.to_bytes(32, "big") for number in range(1, 2001)]


def fetched(*bases: bytes) -> Any:
    """Return a stand-in for the fetched bundles, which lists one bundle with these bases."""
    told = SimpleNamespace(is_signed=False, size=1, needs=frozenset({bytes(32)}))
    delta = SimpleNamespace(told=told, manifest=b"bundle", bases=frozenset(bases))
    listing = SimpleNamespace(deltas_to=lambda image: [delta])
    return SimpleNamespace(has_failed=False, refused=set(), listing=listing)


def goal() -> Goal:
    return Goal(PLACE, bytes(32), only_signed=False)


@pytest.fixture
def bases(tmp_path: Path) -> Bases:
    (tmp_path / "store").mkdir()
    return Bases(Cache(tmp_path / "cache", 1 << 20), Documents(), [(PLACE.host, tmp_path / "store")])


def test_a_plan_ends_after_half_a_second(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        end = time.thread_time() + 0.06  # as long as parsing a document of a megabyte takes
        while time.thread_time() < end:
            pass

    monkeypatch.setattr(bases, "cached", lambda place: NAMED)
    monkeypatch.setattr(bases, "find", slow)
    begun = time.thread_time()
    with pytest.raises(NoWayError, match="too long"):
        Planner(bases, None).way(goal(), fetched(), lambda: None)  # type: ignore[arg-type]
    assert time.thread_time() - begun < 0.8


def test_blobs_that_nobody_pulled_as_images_are_no_bases(
    bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dib parses only images that clients pulled, and manifests in a store. At most 1,024 names are looked up."""
    parsed: list[bytes] = []
    monkeypatch.setattr(bases, "find", lambda place, base: parsed.append(base))
    for number in (10, 1999):
        (tmp_path / "store" / NAMED[number].hex()).write_bytes(b"{}")
    with pytest.raises(NoWayError, match="no base"):
        Planner(bases, None).way(goal(), fetched(*NAMED), lambda: None)  # type: ignore[arg-type]
    assert parsed == [NAMED[10]]


def test_a_plan_waits_for_others_only_for_a_while(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_WAITING", 0.1)
    planner = Planner(bases, None)  # type: ignore[arg-type]
    with planner._computing, pytest.raises(NoWayError, match="first"):
        planner.way(goal(), fetched(), lambda: None)
    with pytest.raises(NoWayError, match="no base"):
        planner.way(goal(), fetched(), lambda: None)


def test_a_base_that_is_refused_takes_few_requests(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the fix, the mirror requested all layers of all bases, with 6,000 requests for one pull."""
    asked: list[bytes] = []
    secret = frozenset(NAMED[200:])

    def refusal(place: UpstreamPlace, kind: str, item: bytes) -> object:
        asked.append(item)
        time.sleep(0.002)
        return "refused" if item in secret else None

    image = LocalImage(bytes(32), ImageManifest(NAMED[0], tuple((layer, 1) for layer in NAMED[100:300])), ())
    planner = Planner(bases, SimpleNamespace(refusal=refusal))  # type: ignore[arg-type]
    assert not planner._may_read(PLACE, image, lambda: None)
    assert asked[:2] == [bytes(32), NAMED[0]]  # the manifest and the config come before the layers
    assert len(secret.intersection(asked)) <= 3 * upstream.ASKING
    assert not planner._may_read(PLACE, image._replace(manifest=NAMED[300]), lambda: None)
    assert asked[-1] == NAMED[300]
    monkeypatch.setattr(upstream, "ASKING", 1)
    asked.clear()

    def end() -> None:
        raise NoWayError("the time is over")

    with pytest.raises(NoWayError, match="over"):
        planner._may_read(PLACE, image, end)
    assert len(asked) < 10


def test_a_document_of_many_values_is_not_parsed() -> None:
    layer = '{"digest":"sha256:%s","size":1}' % ("0" * 64)
    config = '{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s"}' % ("1" * 64)
    image = '{"schemaVersion":2,"config":%s,"layers":[%s],"x":[%s]}'
    documents = Documents()
    for count, is_parsed in ((1, True), (140_000, False)):
        content = (image % (config, layer, ",".join("0" * count))).encode()
        known = documents.look(PLACE.host, bytes([is_parsed]), lambda content=content: content)  # type: ignore[misc]
        assert known
        assert bool(known.named) == is_parsed

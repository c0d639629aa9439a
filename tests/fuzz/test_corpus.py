"""All stored inputs and seeds, one by one. CI runs only this part of fuzzing."""

from __future__ import annotations

import random

import pytest

from dibundle.errors import BundleError
from tests.fuzz import corpus, targets
from tests.fuzz.bundles import Open, flipped

MUTATIONS = 400  # number of mutations of the vectors' bundles; each run uses the same mutations


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.fuzz
def test_seeds(name: str) -> None:
    inputs = set(targets.seeds(name))
    assert inputs
    for data in inputs:
        targets.TARGETS[name](data)


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.fuzz
def test_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "ASKED_SHARE", 1)  # the reference decoder gets every input
    monkeypatch.setattr(targets, "ASKED_LARGEST", targets.LARGEST)
    inputs = list(corpus.kept(name))
    assert inputs
    for data in inputs:
        targets.TARGETS[name](data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_odd_inputs(name: str) -> None:
    for data in (b"", b"\0", b"\xff", bytes(40), b"\xff" * 40, bytes(3000)):
        targets.TARGETS[name](data)


def test_mutated_bundles() -> None:
    chance = random.Random(6)
    inputs = sorted(targets.seeds("bundle"))
    for _ in range(MUTATIONS):
        opened = targets.opened_input(chance.choice(inputs)).mutated(chance, flipped)
        targets.bundle(targets.bundle_input(opened))


def test_an_opened_bundle_is_the_same_when_it_is_closed() -> None:
    data = (targets.VECTORS / "ok" / "worked-example.dib").read_bytes()
    opened = Open.of(data)
    again = opened.encode()
    assert Open.of(again) == opened
    assert targets.made(again, checked=True) == targets.made(data, checked=True)
    assert targets.made(opened.with_output(0, targets.made(data)).encode(), checked=True) == targets.made(data)


def test_a_reader_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = next(data for data in targets.seeds("vcdiff_plain") if targets.vcdiff_plain(data) is not BundleError)
    monkeypatch.setattr(targets, "ASKED_SHARE", 1)
    targets.vcdiff_plain(data)
    monkeypatch.setattr(targets.vcdiff, "decode", lambda *_: b"something else")
    with pytest.raises(targets.BrokenError):
        targets.vcdiff_plain(data)

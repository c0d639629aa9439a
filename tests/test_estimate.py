"""Estimates compared with real sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibundle.creating import estimate
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import write_bundle
from dibundle.files.context import Context
from dibundle.images.archive import open_archive
from tests import pairs
from tests.pairs import Pair

PLAIN = CreateOptions()


def of(pair: Pair, how: CreateOptions = PLAIN) -> estimate.Estimate:
    with open_archive(pair.base) as base, open_archive(pair.target) as target, Context() as context:
        return estimate.estimate_opened([base], [target], how, context)


def test_what_is_little_work_is_all_done(pair: Pair) -> None:
    found = of(pair)
    assert found.exact
    assert abs(found.size - pair.bundle.stat().st_size) <= 100


def made(pair: Pair, how: CreateOptions) -> int:
    with open_archive(pair.base) as base, open_archive(pair.target) as target, Context() as context:
        return write_bundle([base], [target], lambda data: None, how, context).size


def test_a_sample_is_near_and_always_the_same(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ALL", 0)
    monkeypatch.setattr(estimate, "LOOKS", 0)
    monkeypatch.setattr(estimate, "LEAST_SAMPLE", 1)
    monkeypatch.setattr("dibundle.creating.compose.frames.UNIT", 1 << 17)
    found = of(pair, CreateOptions(workers=1))
    assert found.sampled < found.frames
    assert abs(found.size - made(pair, PLAIN)) <= 20_000
    assert of(pair, CreateOptions(workers=3)).size == found.size


def test_large_programs_are_looked_at_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ALL", 0)
    for name in ("SMALL", "LEAST"):
        monkeypatch.setattr(f"dibundle.codecs.encode.sample.{name}", 1 << 16)
    pair = pairs.make_programs(tmp_path)
    found = of(pair)
    assert not found.exact
    assert abs(found.size - pair.bundle.stat().st_size) <= 20_000


@pytest.mark.parametrize(
    "how",
    [CreateOptions(level=1), CreateOptions(level=5), CreateOptions(profile="core")],
    ids=["level 1", "level 5", "core"],
)
def test_any_way_of_encoding_is_sampled(pair: Pair, monkeypatch: pytest.MonkeyPatch, how: CreateOptions) -> None:
    monkeypatch.setattr(estimate, "ALL", 0)
    for name in ("SMALL", "LEAST"):
        monkeypatch.setattr(f"dibundle.codecs.encode.sample.{name}", 1 << 16)
    monkeypatch.setattr("dibundle.codecs.encode.sample.WHOLE", 1 << 16)
    size = made(pair, how)
    assert abs(of(pair, how).size - size) <= max(20_000, 0.15 * size)

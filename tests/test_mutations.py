"""A short run of the mutations, of which a long one is described in mutations.py."""

from __future__ import annotations

from pathlib import Path

from tests import mutations

COUNT = 240


def test_mutated_bundles(tmp_path: Path) -> None:
    counts = mutations.run(mutations.generated(tmp_path), COUNT, 6, tmp_path)
    assert counts.faults == []
    assert sum(counts.codes.values()) == COUNT
    assert counts.codes["meaning", 0]

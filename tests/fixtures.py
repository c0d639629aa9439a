"""The third-party archives beside the repository, for tests that read them where they lie."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("DIB_FIXTURES") or Path(__file__).resolve().parents[2] / "shared" / "fixtures")


@dataclass(frozen=True)
class Fixture:
    """One file of the collection, or a stand-in that skips when the collection is not there."""

    name: str
    kind: str
    flavour: str
    note: str
    pair_with: str | None = None

    @property
    def path(self) -> Path:
        """Where the file lies; skips the test, or fails it where fixtures are required."""
        if not self.name:
            why = f"no fixtures at ../shared/fixtures or $DIB_FIXTURES ({_ROOT.name})"
            if os.environ.get("DIB_REQUIRE") == "1":
                pytest.fail(why)
            pytest.skip(why)
        return _ROOT / self.name

    def __str__(self) -> str:
        return self.name or "absent"


def fixtures(*kinds: str) -> list[Fixture]:
    """Return the fixtures of the given kinds, or one stand-in that skips or fails."""
    index = _ROOT / "index.json"
    if not index.is_file():
        return [Fixture("", "", "", "")]
    return [
        Fixture(item["file"], item["kind"], item["flavour"], item.get("note", ""), item.get("pair_with"))
        for item in json.loads(index.read_text())
        if item["kind"] in kinds
    ]

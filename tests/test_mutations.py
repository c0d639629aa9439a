"""A short run of the mutations. mutations.py describes a long run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.decoders import Comparison

COUNT = "160"


@pytest.mark.fuzz
def test_mutated_bundles() -> None:
    command = [sys.executable, "-m", "tests.mutations", "--count", COUNT, "--seed", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 faults\n" in done.stdout


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore:This process")
def test_decoders_end_alike(tmp_path: Path):
    comparison = Comparison(3, [], tmp_path)
    for number in range(60):
        comparison.mutate(number)
    assert comparison.differences == []
    assert comparison.ended["taken"] > 0

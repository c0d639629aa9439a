"""A short run of the mutations; mutations.py describes a long one."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = "160"


@pytest.mark.fuzz
def test_mutated_bundles() -> None:
    command = [sys.executable, "-m", "tests.mutations", "--count", COUNT, "--seed", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 faults\n" in done.stdout

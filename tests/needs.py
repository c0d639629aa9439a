"""What a test needs of the machine: programs, root, mounts. Absent, the test is skipped with the reason.

With DIB_REQUIRE=1 in the environment every skip is a failure (see conftest.py): nothing goes untested in silence.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def programs(*names: str) -> None:
    """Skip the test unless every program is on the PATH."""
    absent = [name for name in names if shutil.which(name) is None]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")


def plugin(program: str, name: str) -> None:
    """Skip the test unless a program knows a command that comes as a package of its own."""
    programs(program)
    if subprocess.run([program, name, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"not installed: {program} {name}")


def root() -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

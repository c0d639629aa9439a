"""Requirements of tests, such as programs, root and mounts.

If the machine lacks a requirement, the test is skipped with a reason. With DIB_REQUIRE=1 in the environment, every skip
is a failure (see conftest.py), so that a missing program is noticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

PACKAGES = {
    "ctr": "containerd",
    "docker": "docker.io docker-cli",
    "dockerd": "docker.io",
    "go": "golang-go",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "qemu-aarch64": "qemu-user",
    "ssh-keygen": "openssh-client",
    "ssh-agent": "openssh-client",
}
"""Debian's packages of programs, if the names differ."""


def programs(*names: str) -> None:
    """Skip the test if a program is not on the PATH."""
    absent = [name for name in names if shutil.which(name) is None]
    if absent:
        packages = " ".join(PACKAGES.get(name, name) for name in absent)
        pytest.skip(f"not installed: {', '.join(absent)}; on Debian: apt-get install {packages}")


def plugin(program: str, name: str) -> None:
    """Skip the test if a program lacks a command that is packaged separately."""
    programs(program)
    if subprocess.run([program, name, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"not installed: {program} {name}; on Debian: apt-get install {program}-{name}")


def root() -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run pytest as root")

"""What dib is built of and with: the same bytes each time, everything pinned by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / ".ci" / "lock.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SBOM = json.loads((ROOT / "sbom.cdx.json").read_text())
UNTOLD = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", "*.so", ".venv", "dist", "build")


def _built(source: Path, umask: int) -> dict[str, str]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(source / "dist")]
    subprocess.run(command, cwd=source, env=environment, umask=umask, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (source / "dist").iterdir()}


def test_sdist_and_wheel_are_the_same_wherever_they_are_built(tmp_path: Path) -> None:
    folders = (tmp_path / "one", tmp_path / "another" / "place")
    shutil.copytree(ROOT, folders[0], ignore=UNTOLD)
    shutil.copytree(folders[0], folders[1])
    one, other = (_built(folder, umask) for folder, umask in zip(folders, (0o022, 0o077), strict=True))
    assert sorted(name.partition("-")[0] for name in one) == ["dibundle", "dibundle"]
    assert one == other


def _names(requirements: list[str]) -> set[str]:
    return {re.split("[^A-Za-z0-9_.-]", item)[0].lower() for item in requirements}


def test_the_lock_has_all_and_each_with_a_hash() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", LOCK.partition("bash .ci/lock\n")[2])
    pinned = {block.partition("==")[0]: block for block in blocks}
    assert [name for name, block in pinned.items() if "--hash=sha256:" not in block] == []
    wanted = PROJECT["project"]["dependencies"] + [
        item
        for several in ("dependency-groups", "optional-dependencies")
        for group in {**PROJECT, **PROJECT["project"]}[several].values()
        for item in group
    ]
    assert _names(wanted) <= pinned.keys()
    assert "://" not in LOCK


@pytest.mark.parametrize("part", ["dependencies", "registry"])
def test_the_sbom_has_all_that_dib_runs_with(part: str) -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] if part == "dependencies" else project["optional-dependencies"][part]
    components = {item["name"]: item["version"] for item in SBOM["components"]}
    assert _names(wanted) <= components.keys()
    assert [name for name, version in components.items() if f"\n{name}=={version} " not in f"\n{LOCK}"] == []
    assert SBOM["metadata"]["component"]["version"] == project["version"]

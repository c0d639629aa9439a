"""The supply chain of dib. Repeated builds give the same bytes, and all dependencies are pinned by hash."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

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


@pytest.mark.slow
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


RUNTIME = (ROOT / ".ci" / "runtime.txt").read_text()
BUILD = (ROOT / ".ci" / "build.txt").read_text()


def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_smaller_locks_agree_with_the_large_one() -> None:
    large, runtime, build = (
        [re.sub(r" ; .*? \\\n", " \\\n", block).strip() for block in re.split(r"\n(?=[a-z0-9])", lock)[1:]]
        for lock in (LOCK, RUNTIME, BUILD)
    )  # ignore the markers, because a package's markers depend on the packages that require it
    for blocks in (runtime, build):
        assert blocks
        assert [block for block in blocks if block not in large] == []
    assert {item["name"] for item in SBOM["components"]} <= _module(".ci/sbom.py").hashes(RUNTIME).keys()


def test_the_sbom_has_the_hashes_of_the_lock() -> None:
    known = _module(".ci/sbom.py").hashes(LOCK)
    for component in SBOM["components"]:
        found = [item["content"] for item in component["hashes"]]
        assert found == known[component["name"]]
        assert found


@pytest.mark.parametrize("name", ["zstandard"])
def test_the_sbom_has_the_native_libraries_that_are_in_wheels(name: str) -> None:
    """The SBOM lists the native libraries in wheels.

    Installed packages of the same version report the same libraries.
    """
    (component,) = (item for item in SBOM["components"] if item["name"] == name)
    if importlib.metadata.version(name) != component["version"]:
        pytest.skip(f"another version of {name} is installed")
    told = {part["name"]: part.get("version") for part in component["components"]}
    assert told == _module(".ci/sbom.py").inside(name)
    assert "zstd" in told


@pytest.mark.parametrize(
    ("base", "taken"),
    [
        ("docker.io/library/python@sha256:" + "0a" * 32, True),
        ("registry.example:5000/python:3.13@sha256:" + "0a" * 32, True),
        ("docker.io/library/python:3.13-slim", False),
        ("python", False),
        ("", False),
        ("python@sha256:" + "0a" * 31, False),
        ("python@sha256:" + "0A" * 32, False),
        ("python@sha256:" + "0a" * 31 + "zz", False),
    ],
)
def test_the_container_is_built_of_a_digest_alone(base: str, taken: bool) -> None:
    dockerfile = (ROOT / "container" / "Dockerfile").read_text()
    assert re.findall("^ARG .*", dockerfile, re.MULTILINE) == ["ARG PYTHON", "ARG PYTHON"]  # no default value
    assert set(re.findall("^FROM (\\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON}"}
    (check,) = re.findall(r"^RUN (digest=(?:.*\\\n)+.*)", dockerfile, re.MULTILINE)
    run = subprocess.run(["sh", "-c", check], env={**os.environ, "PYTHON": base}, capture_output=True, check=False)
    assert (run.returncode == 0) is taken
    assert taken or b"wanted NAME@sha256:DIGEST" in run.stderr


def test_what_the_container_and_the_pyz_take_has_a_hash() -> None:
    dockerfile = (ROOT / "container" / "Dockerfile").read_text()
    installs = re.findall("pip install [^&\n]*", dockerfile)
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command or "--no-index --no-deps" in command
    make = (ROOT / "pyz" / "make.py").read_text()
    assert make.count('"download"') == 1
    assert "--require-hashes" in make
    lock = _module("pyz/make.py").pinned(RUNTIME, ("click", "msgpack", "zstandard"))
    assert lock.count("==") == 3
    assert lock.count("--hash=sha256:") > 50

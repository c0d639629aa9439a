"""Fixtures for all tests. With DIB_REQUIRE=1, a test that would be skipped fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import engines, pairs
from tests.compat import images

NOT_BY_DEFAULT = ("slow", "engine", "registry", "fuzz", "root")
"""Markers of tests that ``pytest`` leaves out, unless it is given ``--all`` or ``-m``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help=f"run tests with a marker, too: {', '.join(NOT_BY_DEFAULT)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all") or config.getoption("-m"):
        return
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in NOT_BY_DEFAULT)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_configure() -> None:
    """Let programs that tests start receive SIGINT, even if a shell runs the tests in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport]:
    report = yield
    if os.environ.get("DIB_REQUIRE") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {reason} (DIB_REQUIRE=1: nothing may be skipped)"
    return report


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.tar and b.tar: two versions of an image, built by a real Docker (classic store)."""
    folder = tmp_path_factory.mktemp("built")
    with engines.docker("classic") as docker:
        images.build(docker, folder)
        docker.save(folder / "a.tar", images.OLD)
        docker.save(folder / "again.tar", images.OLD)
        docker.save(folder / "b.tar", images.NEW, images.ALSO_NEW)
    return folder


@pytest.fixture(scope="session")
def built_containerd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like ``built``, but from a Docker with the containerd store.

    The archives have compressed layers, and an index for each image.
    """
    folder = tmp_path_factory.mktemp("built-containerd")
    with engines.docker("containerd") as docker:
        images.build(docker, folder)
        docker.save(folder / "a.tar", images.OLD)
        docker.save(folder / "b.tar", images.NEW, images.ALSO_NEW)
    return folder


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> pairs.Pair:
    """A pair of generated archives of about 3 MB, and its bundles. Tests do not change the files of the pair."""
    return pairs.make(tmp_path_factory.mktemp("pair"), megabytes=3)

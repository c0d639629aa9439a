"""The same archives and options give the same bundle on any machine, with any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pairs import Pair
from tests.program import succeed

SURROUNDINGS = {
    "again": {},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "another locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_surroundings(surroundings: dict[str, str], pair: Pair, tmp_path: Path) -> None:
    succeed("create", pair.base, pair.target, tmp_path / "out.dib", env=surroundings)
    assert (tmp_path / "out.dib").read_bytes() == pair.bundle.read_bytes()


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("options", [(), ("--profile", "core"), ("-9",), ("-1", "--names", "all")])
def test_workers(workers: str, options: tuple[str, ...], pair: Pair, tmp_path: Path) -> None:
    succeed("create", *options, pair.base, pair.target, tmp_path / "default.dib")
    succeed("create", *options, "--workers", workers, pair.base, pair.target, tmp_path / "out.dib")
    assert (tmp_path / "out.dib").read_bytes() == (tmp_path / "default.dib").read_bytes()


def test_names_and_times_of_the_files(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path, name in ((pair.base, "old"), (pair.target, "new")):
        (tmp_path / "elsewhere" / name).write_bytes(path.read_bytes())
    succeed("create", "old", "new", "out.dib", cwd=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "out.dib").read_bytes() == pair.bundle.read_bytes()


def test_a_bundle_through_pipes(pair: Pair) -> None:
    created = succeed("create", pair.base, pair.target, "-o", "-")
    assert created.out == pair.bundle.read_bytes()

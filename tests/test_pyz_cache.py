"""dib.pyz unpacks itself into a folder in which no other user can replace a checked file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAIN = Path(__file__).parents[1] / "pyz" / "main.py"
OTHER = 12345


@pytest.fixture
def code() -> dict[str, Any]:
    """Return the functions of the start-up code, without running it."""
    names: dict[str, Any] = {}
    exec(compile(MAIN.read_text().partition("\ntry:\n    main()")[0], str(MAIN), "exec"), names)
    return names


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    (tmp_path / "home").mkdir(mode=0o755)
    return tmp_path / "home"


def test_a_place_beneath_folders_of_ones_own(code: dict[str, Any], home: Path) -> None:
    place = home / ".cache" / "dib"
    code["check"](str(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    code["check"](str(place))


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


def _of_another(home: Path) -> Path:
    os.chown(home, OTHER, OTHER)
    return home / ".cache" / "dib"


def _cache_of_another(home: Path) -> Path:
    (home / ".cache").mkdir()
    os.chown(home / ".cache", OTHER, OTHER)
    return home / ".cache" / "dib"


def _writable_by(mode: int) -> Callable[[Path], Path]:
    def make(home: Path) -> Path:
        (home / ".cache").mkdir()
        (home / ".cache").chmod(mode)
        return home / ".cache" / "dib"

    return make


def _link_of_another(home: Path) -> Path:
    (home / "real").mkdir()
    (home / ".cache").symlink_to(home / "real")
    os.chown(home / ".cache", OTHER, OTHER, follow_symlinks=False)
    return home / ".cache" / "dib"


def _link_to_anothers(home: Path) -> Path:
    (home / "real").mkdir()
    os.chown(home / "real", OTHER, OTHER)
    (home / ".cache").symlink_to(home / "real")
    return home / ".cache" / "dib"


def _sticky_of_another(home: Path) -> Path:
    (home / ".cache").mkdir()
    (home / ".cache").chmod(0o1777)
    os.chown(home / ".cache", OTHER, OTHER)
    return home / ".cache" / "dib"


@as_root
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_of_another, "belongs to another user"),
        (_cache_of_another, "belongs to another user"),
        (_link_of_another, "belongs to another user"),
        (_link_to_anothers, "belongs to another user"),
        (_sticky_of_another, "belongs to another user"),
        (_writable_by(0o777), "others may write"),
        (_writable_by(0o775), "others may write"),
    ],
)
def test_a_place_that_someone_else_can_swap(code: dict[str, Any], home: Path, make, why: str) -> None:
    place = make(home)
    before = sorted(home.rglob("*"))
    with pytest.raises(OSError, match=why):
        code["check"](str(place))
    assert sorted(home.rglob("*")) == before  # dib.pyz creates nothing in this folder


def test_a_place_beneath_a_folder_as_tmp_is(code: dict[str, Any], home: Path) -> None:
    code["check"](str(_writable_by(0o1777)(home)))


@as_root
def test_root_with_the_home_of_another(code: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If root's home belongs to another user, dib.pyz unpacks into a private temporary folder."""
    os.chown(home, OTHER, OTHER)
    temporary = home.parent / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    made = []
    code["good"] = lambda folder, wanted: False
    code["unpack"] = lambda bundle, wanted, folder: made.append(folder)
    assert code["find"](None, {}, "name") == str(temporary / "dib-0" / "name")
    assert made == [str(temporary / "dib-0" / "name")]
    assert list(home.iterdir()) == []

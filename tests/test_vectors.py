"""The vectors beside the specification: what they cover, that they can be made again, and that both decoders agree."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dibundle.apply import ApplyOptions, apply
from dibundle.cli.sources import one_bundle, open_sources
from dibundle.errors import DibError

SPEC = Path(__file__).parent.parent / "spec"
FOLDER = SPEC / "vectors"


def loaded(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module


runner = loaded(FOLDER / "run.py")
VECTORS = list(runner.vectors())
each = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["bundle"])


@cache
def reference() -> ModuleType:
    return loaded(SPEC / "reference_decoder.py")


def named(arguments: list[str]) -> tuple[str | None, list[str]]:
    return (arguments[1], arguments[2:]) if arguments[0] == "--target" else (None, arguments)


def by_dib(arguments: list[str]) -> Any:
    target, paths = named(arguments)
    out = io.BytesIO()
    with ExitStack() as stack:
        try:
            opened = open_sources(paths, stack)
            apply(opened.archives, one_bundle(opened), out.write, ApplyOptions(target=target))
        except DibError as error:
            return runner.Ended(error.exit_code, out.getvalue())
    return runner.Ended(0, out.getvalue())


def by_reference(arguments: list[str]) -> Any:
    target, paths = named(arguments)
    out = io.BytesIO()
    try:
        reference().decode([Path(path) for path in paths], out, target)
    except reference().Refused as error:
        return runner.Ended(error.code, out.getvalue())
    return runner.Ended(0, out.getvalue())


@each
def test_dib_agrees(vector: dict[str, Any]) -> None:
    assert runner.fault(vector, by_dib(runner.arguments(vector))) is None


@each
def test_the_reference_decoder_agrees(vector: dict[str, Any]) -> None:
    assert runner.fault(vector, by_reference(runner.arguments(vector))) is None


def test_there_are_enough() -> None:
    good = [vector for vector in VECTORS if vector["codes"][0] == 0]
    assert len(good) >= 40
    assert len(VECTORS) - len(good) >= 120
    assert len({vector["bundle"] for vector in VECTORS}) == len(VECTORS)


def test_they_can_be_made_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(FOLDER / "make.py"), str(tmp_path)], check=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = [path for name in ("base", "ok", "bad") for path in (FOLDER / name).iterdir()]
    kept = {path.relative_to(FOLDER): path.read_bytes() for path in (*names, FOLDER / "index.json")}
    assert sorted(made) == sorted(kept)
    assert [path for path in made if made[path] != kept[path]] == []


def test_the_runner_tells_right_from_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    some = [vector for vector in VECTORS if vector["name"] in {"stored", "magic", "second-of-two-targets"}]
    monkeypatch.setattr(runner, "vectors", lambda: some)
    monkeypatch.setattr(sys, "argv", ["run.py", sys.executable, "-I", str(SPEC / "reference_decoder.py")])
    assert runner.main() == 0
    assert capsys.readouterr().out == "3 vectors, 3 right, 0 wrong\n"
    monkeypatch.setattr(sys, "argv", ["run.py", sys.executable, "-c", "print('something else')"])
    assert runner.main() == 1
    told = capsys.readouterr().out
    assert "ok/stored.dib: another output, of 15 bytes, wanted 1000\n" in told
    assert "bad/magic.dib: exit code 0, wanted 5\n" in told
    assert told.endswith("3 vectors, 0 right, 3 wrong\n")


@pytest.mark.parametrize("released", [b"anything else", bytes(512)])
def test_the_runner_sees_what_was_released_too_early(released: bytes) -> None:
    (vector,) = (vector for vector in VECTORS if vector["name"] == "rest-digest")
    assert "released" in runner.fault(vector, runner.Ended(7, released))

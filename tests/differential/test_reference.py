"""The reference decoder judges archives as dib does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.differential.archives import Case, cases
from tests.differential.check import applied

ALL = list(cases())


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).parents[2] / "spec" / "reference_decoder.py"
    spec = importlib.util.spec_from_file_location("reference_decoder", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def verdict(reference: ModuleType, case: Case, path: Path) -> bool:
    path.write_bytes(case.archive)
    try:
        reference.judge(path, case.good.hex())
    except reference.Refused as error:
        return bool(error.code != 8)
    return True


def test_both_take_the_same(reference: ModuleType, tmp_path: Path) -> None:
    found = {case.label: verdict(reference, case, tmp_path / "archive.tar") for case in ALL}
    assert found == {case.label: applied(case).reason is None for case in ALL}

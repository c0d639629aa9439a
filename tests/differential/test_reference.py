"""The reference decoder accepts the same archives as dib."""

from __future__ import annotations

from pathlib import Path

from tests.differential.archives import Case, cases
from tests.differential.check import applied
from tests.reference import decoder

ALL = list(cases())


def verdict(case: Case, path: Path) -> bool:
    path.write_bytes(case.archive)
    try:
        decoder().judge(path, [case.good.hex()])
    except decoder().Refused as error:
        return bool(error.code != 8)
    return True


def test_both_take_the_same(tmp_path: Path) -> None:
    found = {case.label: verdict(case, tmp_path / "archive.tar") for case in ALL}
    assert found == {case.label: applied(case).reason is None for case in ALL}

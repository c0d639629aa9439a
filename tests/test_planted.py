"""The faults of planted.py can be planted. The code of each fault is found at exactly one place."""

from __future__ import annotations

import pytest

from tests import planted


@pytest.mark.parametrize("fault", planted.FAULTS, ids=lambda fault: fault.what)
def test_it_can_be_planted(fault: planted.Fault) -> None:
    planted.planted((planted.ROOT / "dibundle" / fault.file).read_text(), fault)


def test_the_table_has_them_all() -> None:
    table = (planted.ROOT / "tests" / "planted.md").read_text()
    for number, fault in enumerate(planted.FAULTS, 1):
        assert f"| {number} | {fault.what} | {fault.file} | " in table

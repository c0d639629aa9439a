"""Every program loads the expected image from an archive that passes ``--expect``, or refuses the archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.archives import Case, cases
from tests.differential.check import applied, loaded
from tests.differential.loaders import Loader, Skopeo, loaders

ALL = list(cases())
LOADED = [case for case in ALL if case.is_honest][::4] + [case for case in ALL if not case.is_honest][::9]


def test_there_are_enough_archives() -> None:
    assert len(ALL) >= 400
    assert sum(case.is_honest for case in ALL) >= 100
    assert len(LOADED) >= 80
    assert len({case.archive for case in ALL}) == len(ALL)


def test_what_honest_programs_write_is_taken() -> None:
    refused = {case.label: applied(case).reason for case in ALL if case.is_honest and applied(case).reason}
    assert refused == {}


def test_hostile_archives_are_refused() -> None:
    """Hostile archives are refused, unless all programs read them in the same way. The next test loads the archives
    that all programs read in the same way.
    """
    taken = [case.label for case in ALL if not case.is_honest and applied(case).reason is None]
    assert all("repositories_lead_elsewhere" in label for label in taken), taken


@pytest.fixture(scope="module")
def programs() -> Iterator[list[Loader | Skopeo]]:
    with loaders() as started:
        yield started


@pytest.mark.engine
@pytest.mark.parametrize("case", LOADED, ids=lambda case: case.label)
def test_no_program_has_another_image(case: Case, programs: list[Loader | Skopeo]) -> None:
    good = frozenset((case.good.hex(),))
    passed = applied(case).reason is None
    for program in programs:
        if passed:
            taken = program.take(case.archive, case.before)
            assert taken.configs <= good, f"{program.name}: {taken}"
        if isinstance(program, Loader):
            taken = loaded(case, program)
            assert taken.configs == (frozenset() if taken.code else good), f"{program.name}: {taken}"
            assert not (case.is_honest and taken.code), f"{program.name}: {taken}"

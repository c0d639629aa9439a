"""Damaged bundles and bases. dib exits with the right code. The output may end too early, but has no wrong bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dibundle.codecs import decoders
from tests import damage, engines, pairs
from tests.damage import Trials
from tests.manyruns import ManyRuns
from tests.pairs import KEPT, PATCHED, Pair
from tests.program import dib, shell_code, start

BUNDLES = ("bundle", "vcdiff", "alone")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyRuns]:
    with ManyRuns(tmp_path_factory.mktemp("runs")) as many:
        yield many


@pytest.fixture(scope="module")
def trials(pair: Pair, runs: ManyRuns, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(pair, tmp_path_factory.mktemp("trials"), runs)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pairs.make_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pairs.make_packed(tmp_path_factory.mktemp("packed"))


def test_the_bundles_have_every_region(pair: Pair, programs: Pair, packed: Pair) -> None:
    bundles = (*pair.bundles, programs.bundle, packed.bundle, packed.vcdiff)
    found = {part.name for path in bundles for part in damage.regions(path.read_bytes())}
    assert {f"{name} frame" for name in decoders.NAMES.values()} <= found


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.fuzz
def test_cut_bundles(name: str, pair: Pair, trials: Trials) -> None:
    bundle = getattr(pair, name).read_bytes()
    cases = list(damage.cuts(bundle, 100, seed=1))
    assert [fault for case in cases if (fault := trials.to_stdout(bundle, case))] == []


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.fuzz
def test_flipped_bits(name: str, pair: Pair, trials: Trials) -> None:
    bundle = getattr(pair, name).read_bytes()
    cases = list(damage.flips(bundle, 200, seed=2))
    assert [fault for case in cases if (fault := trials.to_stdout(bundle, case))] == []


@pytest.mark.fuzz
def test_damaged_bundles_of_what_is_packed_again(packed: Pair, runs: ManyRuns, tmp_path: Path) -> None:
    bundle = packed.bundle.read_bytes()
    trials = Trials(packed, tmp_path, runs)
    cases = [*damage.cuts(bundle, 60, seed=1), *damage.flips(bundle, 200, seed=2)]
    assert [fault for case in cases if (fault := trials.to_stdout(bundle, case))] == []


def test_damaged_patches_of_programs(programs: Pair, runs: ManyRuns, tmp_path: Path) -> None:
    bundle = programs.bundle.read_bytes()
    trials = Trials(programs, tmp_path, runs)
    cases = [*damage.cuts(bundle, 30, seed=6), *damage.flips(bundle, 60, seed=6)]
    assert [fault for case in cases if (fault := trials.to_stdout(bundle, case))] == []


def test_damaged_bundles_leave_no_file(pair: Pair, trials: Trials) -> None:
    bundle = pair.bundle.read_bytes()
    cases = [*damage.cuts(bundle, 0, seed=3), *damage.flips(bundle, 20, seed=3)]
    assert [fault for case in cases if (fault := trials.to_file(bundle, case))] == []


def test_damaged_bundles_from_a_pipe(pair: Pair, trials: Trials) -> None:
    bundle = pair.bundle.read_bytes()
    cases = [*damage.cuts(bundle, 5, seed=4), *damage.flips(bundle, 20, seed=4)]
    assert [fault for case in cases if (fault := trials.to_stdout(bundle, case, from_stdin=True))] == []


def test_bytes_after_the_end(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "long.dib").write_bytes(pair.bundle.read_bytes() + b"\0")
    ended = dib("apply", pair.base, tmp_path / "long.dib")
    assert ended.code == 5
    assert pair.target.read_bytes().startswith(ended.out)
    assert len(ended.out) < pair.target.stat().st_size


@pytest.mark.engine
@pytest.mark.parametrize("kind", engines.LOADERS)
def test_damaged_bundles_into_a_loader(kind: engines.Kind, pair: Pair, trials: Trials) -> None:
    bundle = pair.bundle.read_bytes()
    cases = [*list(damage.cuts(bundle, 3, seed=5))[-6:], *damage.flips(bundle, 10, seed=5)]
    with engines.engine(kind) as engine:
        assert [fault for case in cases if (fault := trials.to_loader(bundle, case, engine))] == []


def test_a_wrong_base(pair: Pair, tmp_path: Path) -> None:
    ended = dib("apply", damage.wrong_base(tmp_path), pair.bundle)
    assert (ended.code, ended.out) == (6, b"")
    assert "example.com/app:1" in ended.err
    assert "dib: hint: " in ended.err


def test_a_wrong_base_leaves_no_file(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    ended = dib("apply", damage.wrong_base(tmp_path), pair.bundle, "-o", tmp_path / "out" / "b.tar")
    assert ended.code == 6
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.engine
@pytest.mark.parametrize("kind", engines.LOADERS)
def test_a_wrong_base_into_a_loader(kind: engines.Kind, pair: Pair, trials: Trials, tmp_path: Path) -> None:
    """For a wrong base, dib writes nothing. Every loader refuses an empty stream, so a pipeline in a shell fails even
    without the option pipefail.
    """
    with engines.engine(kind) as engine:
        code, loaded = trials.pipe(engine, "apply", damage.wrong_base(tmp_path), pair.bundle)
        assert (code, engine.images()) == (6, [])
    assert loaded.code != 0, loaded


@pytest.mark.parametrize("content", [KEPT, PATCHED], ids=["kept", "patched"])
@pytest.mark.parametrize("offset", [0, 700, 4095])
def test_flipped_bits_in_what_the_bundle_uses_of_the_base(
    content: bytes, offset: int, pair: Pair, runs: ManyRuns, tmp_path: Path
) -> None:
    base = bytearray(pair.base.read_bytes())
    place = base.index(content) + offset
    base[place] ^= 4
    (tmp_path / "a.tar").write_bytes(base)
    ended = runs.run("apply", tmp_path / "a.tar", pair.bundle)
    assert ended.code == 6, ended.err
    _is_unfinished(ended.out, pair)


@pytest.mark.fuzz
def test_flipped_bits_anywhere_in_the_base(pair: Pair, runs: ManyRuns, tmp_path: Path) -> None:
    """If the bundle uses the byte with the flipped bit, dib refuses the base. If not, the result is right."""
    whole = pair.base.read_bytes()
    for number in range(40):
        place = number * len(whole) // 40 + 13 * number
        (tmp_path / "a.tar").write_bytes(damage.Damage("flip", "base", place, number % 8).of(whole))
        ended = runs.run("apply", tmp_path / "a.tar", pair.bundle)
        assert ended.code in (0, 4, 6), (place, ended.err)
        if ended.code:
            _is_unfinished(ended.out, pair)
        else:
            assert ended.out == pair.target.read_bytes(), place


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two archives with far more bytes than pipes and buffers hold, so that a slow reader blocks the writer."""
    return pairs.make(tmp_path_factory.mktemp("large"), megabytes=20)


@pytest.mark.parametrize("change", ["overwritten", "cut"])
@pytest.mark.fuzz
def test_a_base_that_changes_while_it_is_read(change: str, large: Pair, tmp_path: Path) -> None:
    base = tmp_path / "a.tar"
    base.write_bytes(large.base.read_bytes())
    with start("apply", base, large.bundle) as process:
        assert process.stdout
        assert process.stderr
        written = process.stdout.read(1000)
        with base.open("r+b") as stream:
            if change == "cut":
                stream.truncate(1_000_000)
            else:
                stream.seek(1_000_000)
                stream.write(bytes(base.stat().st_size - 1_000_000))
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
        reader.start()
        written += process.stdout.read()
        reader.join()
    assert shell_code(process.returncode) == 6, said
    assert b"Traceback" not in said[0]
    _is_unfinished(written, large)


def test_a_base_replaced_by_name_while_it_is_read(large: Pair, tmp_path: Path) -> None:
    """If a base is replaced while dib reads it, the result is right. dib opens the base by name only once."""
    base = tmp_path / "a.tar"
    base.write_bytes(large.base.read_bytes())
    with ExitStack() as stack:
        process = stack.enter_context(start("apply", base, large.bundle))
        assert process.stdout
        written = process.stdout.read(1000)
        (tmp_path / "new").write_bytes(b"something else")
        os.replace(tmp_path / "new", base)  # noqa: PTH105
        written += process.stdout.read()
    assert process.returncode == 0
    assert written == large.target.read_bytes()


def _is_unfinished(written: bytes, pair: Pair) -> None:
    """Assert that the output from a damaged base ends before the files that a loader needs."""
    tail = pair.target.read_bytes().index(b"index.json")
    assert len(written) <= tail

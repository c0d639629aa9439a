"""Bundles in parts. Parts of a bundle are written, read in order, and joined by cat. If a part is missing, or if parts
are swapped, the error names the part.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import dib, succeed

PART = 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    old = build_layer([file("a", noise(1, 1000))])
    new = build_layer([file("a", noise(1, 1000)), file("b", noise(2, 450_000))])
    (folder / "old.tar").write_bytes(docker_save([TestImage([old], ["example.com/app:1"])]))
    (folder / "new.tar").write_bytes(docker_save([TestImage([new], ["example.com/app:2"])]))
    succeed("create", folder / "old.tar", folder / "new.tar", folder / "out.dib", "--split", str(PART))
    return folder


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("out.dib.*"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    for path in (*parts(made), made / "old.tar"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_parts_have_the_size_that_was_asked_for(made: Path):
    assert [path.name for path in parts(made)] == [f"out.dib.00{number}" for number in range(1, 6)]
    assert [path.stat().st_size for path in parts(made)[:-1]] == 4 * [PART]
    assert not (made / "out.dib").exists()


def test_programs_get_the_name_of_a_part_that_is_there(made: Path, tmp_path: Path):
    arguments = (made / "old.tar", made / "new.tar", tmp_path / "out.dib", "--split", PART, "--json")
    assert json.loads(succeed("create", *arguments).out)["output"] == str(tmp_path / "out.dib.001")


def test_a_part_that_is_an_input_is_not_overwritten(made: Path, tmp_path: Path):
    base = tmp_path / "b.dib.001"
    shutil.copy(made / "old.tar", base)
    before = base.read_bytes()
    ended = dib("create", base, made / "new.tar", tmp_path / "b.dib", "--split", PART, "--json")
    assert (ended.code, json.loads(ended.out)["code"]) == (2, "output.is_input")
    assert base.read_bytes() == before


def test_parts_are_read_in_order(made: Path):
    new = (made / "new.tar").read_bytes()
    assert succeed("apply", made / "old.tar", made / "out.dib.001").out == new
    assert succeed("apply", *reversed(parts(made)), made / "old.tar").out == new
    assert b"undamaged" in succeed("verify", made / "out.dib.001").out
    assert b"undamaged" in succeed("verify", *reversed(parts(made))).out
    assert b"rebuilds" in succeed("verify", *parts(made), "--base", made / "old.tar").out
    assert b"makes" in succeed("inspect", made / "out.dib.001").out


def test_cat_puts_them_together(made: Path):
    joined = b"".join(path.read_bytes() for path in parts(made))
    assert succeed("apply", made / "old.tar", "-", stdin=joined).out == (made / "new.tar").read_bytes()


@pytest.mark.parametrize("number", [2, 5])
def test_a_missing_part_is_named(copy: Path, number: int):
    (copy / f"out.dib.00{number}").unlink()
    ended = dib("apply", copy / "old.tar", copy / "out.dib.001", "-o", copy / "new.tar")
    assert ended.code == 5
    assert f"out.dib.00{number} is missing" in ended.err
    assert not (copy / "new.tar").exists()


@pytest.mark.parametrize("given", [["001"], ["002"], ["005"], ["002", "003", "004", "005"]])
def test_the_first_part_that_is_missing_is_named(copy: Path, given: list[str]):
    (copy / "out.dib.001").unlink()
    named = [copy / f"out.dib.{number}" for number in given]
    for arguments in (["apply", copy / "old.tar", *named, "-o", copy / "new.tar"], ["verify", named[0]]):
        ended = dib(*arguments)
        assert (ended.code, ended.out) == (3, b"")
        assert f"the first part is missing: {copy / 'out.dib.001'}\n" in ended.err
        assert "copy it to the folder of the other parts" in ended.err
        assert not (copy / "new.tar").exists()


def test_a_last_part_that_is_cut_short_is_told(copy: Path):
    last = copy / "out.dib.005"
    last.write_bytes(last.read_bytes()[:-1])
    ended = dib("apply", copy / "old.tar", copy / "out.dib.001", "-o", copy / "new.tar")
    assert ended.code == 5
    first = copy / "out.dib.001"
    assert f"truncated bundle: {last}, the last part, is cut short, or {first} is of another bundle: " in ended.err
    assert "copy these parts again, all from the same bundle" in ended.err
    assert not (copy / "new.tar").exists()


@pytest.mark.parametrize("number", [1, 3])
def test_a_part_before_the_last_that_is_cut_short_is_told(copy: Path, number: int):
    part = copy / f"out.dib.00{number}"
    part.write_bytes(part.read_bytes()[:-1])
    ended = dib("apply", copy / "old.tar", copy / "out.dib.001", "-o", copy / "new.tar")
    assert ended.code == 5
    one = "it" if number == 1 else f"it or {copy / 'out.dib.001'}"
    assert f"truncated bundle: {part} is cut short, or {one} is of another bundle: " in ended.err
    assert "copy these parts again, all from the same bundle" in ended.err
    assert not (copy / "new.tar").exists()


def test_of_three_parts_the_first_signed_the_one_that_is_cut_short_is_told(made: Path, tmp_path: Path):
    needs.programs("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    succeed("create", made / "old.tar", made / "new.tar", tmp_path / "out.dib", "--split", "200000")
    assert len(parts(tmp_path)) == 3
    succeed("sign", "--key", tmp_path / "key", tmp_path / "out.dib.001")
    first, two, _ = parts(tmp_path)
    assert first.stat().st_size > two.stat().st_size
    two.write_bytes(two.read_bytes()[:-1])
    ended = dib("verify", first)
    assert (ended.code, ended.out) == (5, b"")
    assert f"{two} is cut short" in ended.err


@pytest.mark.parametrize("command", ["verify", "apply"])
def test_parts_of_an_older_longer_bundle_are_named(copy: Path, command: str):
    older = copy / "out.dib.006"
    older.write_bytes(b"older")
    (copy / "out.dib.007").write_bytes(b"older")
    base = [copy / "old.tar", "-o", copy / "new.tar"] if command == "apply" else []
    ended = dib(command, copy / "out.dib.001", *base)
    size = sum(path.stat().st_size for path in parts(copy)[:5])
    assert ended.code == 5
    assert (
        f"{older} belongs to an older bundle: this bundle of {size:,} bytes is complete without this file" in ended.err
    )
    assert f"rm {older}" in ended.err
    assert not (copy / "new.tar").exists()


@pytest.mark.parametrize("number", [3, 5])
def test_a_part_that_is_too_long_is_told(copy: Path, number: int):
    size = sum(path.stat().st_size for path in parts(copy))
    part = copy / f"out.dib.00{number}"
    # dib reports damage, because the bundle's end is not at the end of a part
    part.write_bytes(part.read_bytes() + b"more")
    ended = dib("apply", copy / "old.tar", copy / "out.dib.001", "-o", copy / "new.tar")
    assert ended.code == 5
    told = f"{part} is too long, or {copy / 'out.dib.001'} is of another bundle"
    assert f"its last frame: found {size + 4:,} bytes, wanted {size:,} ({told})" in ended.err
    assert "copy these parts again, all from the same bundle" in ended.err
    assert not (copy / "new.tar").exists()


@pytest.mark.parametrize("layer", [150_000, 1_000_000])
def test_a_first_part_of_another_bundle_is_told(copy: Path, tmp_path_factory: pytest.TempPathFactory, layer: int):
    other = tmp_path_factory.mktemp("other")
    new = build_layer([file("b", noise(3, layer))])
    (other / "new.tar").write_bytes(docker_save([TestImage([new], ["example.com/app:3"])]))
    succeed("create", copy / "old.tar", other / "new.tar", other / "out.dib", "--split", str(PART))
    first = copy / "out.dib.001"
    shutil.copy(other / "out.dib.001", first)
    ended = dib("verify", first)
    assert (ended.code, ended.out) == (5, b"")
    assert f"or {first} is of another bundle" in ended.err
    assert "all from the same bundle" in ended.err


def test_a_missing_last_part_is_named_where_the_first_is_signed(made: Path, tmp_path: Path):
    needs.programs("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    succeed("create", made / "old.tar", made / "new.tar", tmp_path / "out.dib", "--split", "200000")
    succeed("sign", "--key", tmp_path / "key", tmp_path / "out.dib.001")
    (tmp_path / "out.dib.003").unlink()
    ended = dib("verify", tmp_path / "out.dib.001")
    assert (ended.code, ended.out) == (5, b"")
    assert f"truncated bundle: {tmp_path / 'out.dib.003'} is missing, or " in ended.err


@pytest.mark.parametrize("size", [1000, PART])
def test_a_first_part_of_zeros_is_no_empty_archive(copy: Path, size: int):
    first = copy / "out.dib.001"
    first.write_bytes(bytes(size) + first.read_bytes()[size:])
    for arguments in (("verify", first), ("load", copy / "old.tar", *parts(copy)), ("apply", copy / "old.tar", first)):
        ended = dib(*arguments)
        assert (ended.code, ended.out) == (5, b"")
        assert rf"{first} is not a bundle: it begins with '\x00\x00" in ended.err


def test_swapped_parts_are_named(copy: Path):
    two, three = copy / "out.dib.002", copy / "out.dib.003"
    first = two.read_bytes()
    two.write_bytes(three.read_bytes())
    three.write_bytes(first)
    ended = dib("apply", copy / "old.tar", copy / "out.dib.001")
    assert ended.code == 7
    assert "out.dib.002" in ended.err


def test_a_bad_size_and_a_failed_run_leave_nothing(made: Path, tmp_path: Path):
    for size in ("much", "0", "1K", "-5"):
        ended = dib("create", made / "old.tar", made / "new.tar", tmp_path / "x.dib", f"--split={size}")
        assert ended.code == 2
        assert ("at least 65,536 bytes (64K)" in ended.err) is (size in ("0", "1K"))
    for size in ("64K", "66kB", "64KiB"):
        ended = succeed("create", made / "old.tar", made / "old.tar", tmp_path / "y.dib", f"--split={size}")
        assert f"{tmp_path}/y.dib.001: " in ended.err  # the only file
        (tmp_path / "y.dib.001").unlink()
    ended = dib("create", made / "old.tar", made / "absent.tar", tmp_path / "x.dib", "--split", "1M")
    assert ended.code == 3
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_an_older_bundle_is_told_before_anything_is_written(made: Path, tmp_path: Path):
    (tmp_path / "x.dib.006").write_bytes(b"older")
    ended = dib("create", made / "old.tar", made / "new.tar", tmp_path / "x.dib", "--split", str(PART))
    assert ended.code == 3
    assert "x.dib.006 belongs to an older bundle" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.dib.006"]


def test_parts_on_fat32(made: Path, tmp_path: Path):
    needs.programs("mkfs.fat", "mcopy")
    stick = tmp_path / "stick.img"
    with stick.open("wb") as image:
        image.truncate(40 << 20)
    subprocess.run(["mkfs.fat", "-F", "32", stick], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", stick, *parts(made), "::"], check=True)
    far = tmp_path / "far"
    far.mkdir()
    subprocess.run(["mcopy", "-i", stick, "::*", far], check=True)
    assert succeed("apply", made / "old.tar", far / "out.dib.001").out == (made / "new.tar").read_bytes()

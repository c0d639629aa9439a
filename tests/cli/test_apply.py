"""Requirements of ``apply``. ``apply`` needs no encoder, no engine, and no files except its inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dibundle.errors import human
from dibundle.images.archive import open_archive
from dibundle.images.reader import read_images
from tests import pairs
from tests.builders import docker_save
from tests.pairs import Pair
from tests.program import dib, succeed

WITHOUT = """
import sys
for name in ("dibundle.creating.pipeline", "dibundle.creating.compose", "dibundle.creating.match"):
    sys.modules[name] = None
sys.argv = ["dib", "apply", *sys.argv[1:]]
from dibundle.cli.main import run
run()
"""


def test_no_encoder_is_imported(pair: Pair) -> None:
    for bundle in pair.bundles:
        command = [sys.executable, "-c", WITHOUT, pair.base, bundle]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": ""})
        assert done.returncode == 0, done.stderr
        assert done.stdout == pair.target.read_bytes()


WITH_ROOM = """
import shutil, sys
free = int(sys.argv.pop(1))
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1 << 40, 0, free - written)
from dibundle.files.readat import Spool
write, write_at, written = Spool.write, Spool.write_at, 0
def counted_at(spool, offset, data, added):
    global written
    written += added
    write_at(spool, offset, data, added)
def counted(spool, data):
    global written
    written += len(data)
    return write(spool, data)
Spool.write, Spool.write_at = counted, counted_at
from dibundle.cli import main
code = main._run(sys.argv[1:])
sys.stdout.flush()
print(written, file=sys.stderr)
sys.exit(code)
"""


def with_room(free: int, *arguments: str | Path) -> tuple[int, str, int]:
    """Run dib as if each disk had ``free`` free bytes. Return the exit code, stderr and the size of temporary files."""
    command = [sys.executable, "-c", WITH_ROOM, str(free), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    *told, written = done.stderr.decode().splitlines()
    return done.returncode, "\n".join(told), int(written)


@pytest.mark.parametrize(
    "options", [(), ("--thin",), ("--format", "oci-archive"), ("--thin", "--expect")], ids=" ".join
)
@pytest.mark.slow
def test_check_tells_the_temporary_space_and_misses_room_for_it(
    options: tuple[str, ...], pair: Pair, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.tar"
    packed.write_bytes(docker_save([pairs.images(3)[0]], "c8d", "gzip"))
    document = json.loads(succeed("apply", "--check", "--json", packed, pair.bundle).out)
    more = (document["target"]["sha256"],) if "--expect" in options else ()
    arguments = ("apply", packed, pair.bundle, *options, *more)
    need = json.loads(succeed(*arguments, "--check", "--json").out)["temporary_space"]
    assert with_room(1 << 40, *arguments)[2] == need
    assert with_room(need, *arguments, "--check")[0] == 0
    code, told, written = with_room(need - 1, *arguments, "--check")
    assert (code, written) == (3, 0)
    assert f"temporary files need {human(need)}" in told
    assert "--tmp DIR" in told


@pytest.mark.slow
def test_temporary_files_are_told_of_where_they_take_most_of_a_disk(pair: Pair, tmp_path: Path) -> None:
    packed = tmp_path / "packed.tar"
    packed.write_bytes(docker_save([pairs.images(3)[0]], "c8d", "gzip"))
    arguments = ("apply", packed, pair.bundle)
    need = json.loads(succeed(*arguments, "--check", "--json").out)["temporary_space"]
    for free, told in ((need, True), (2 * need, False)):
        code, text, _ = with_room(free, *arguments)
        assert (code, "to use another folder: --tmp DIR" in text) == (0, told), text
    assert with_room(need, *arguments, "-q")[:2] == (0, "")


def inspected(path: Path) -> str:
    """Return the output of an engine's inspect for the image in an archive."""
    with open_archive(path) as archive:
        (image,) = read_images(archive).images
    layers = json.dumps([f"sha256:{layer.hex()}" for layer in image.diff_ids], separators=(",", ":"))
    return f"sha256:{image.config_digest.hex()} {layers} null"


@pytest.mark.parametrize("options", [(), ("--thin",), ("--format", "oci-archive")], ids=" ".join)
@pytest.mark.slow
def test_what_an_engine_saved_counts_as_temporary_space(
    options: tuple[str, ...], pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "docker"
    cases = f"*Size*) echo 1000;; save*) exec cat {pair.base};; *) echo '{inspected(pair.base)}';;"
    engine.write_text(f"#!/bin/sh\ncase $* in {cases} esac\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    arguments = ("apply", "docker-daemon:app:1", pair.bundle, *options)
    need = json.loads(succeed(*arguments, "--check", "--json").out)["temporary_space"]
    # only the sizes of layers are exact; other sizes are estimates
    assert need - (64 << 10) < with_room(1 << 40, *arguments)[2] <= need
    assert with_room(need, *arguments)[0] == with_room(need, *arguments, "--check")[0] == 0
    code, told, _ = with_room(need - 1, *arguments, "--check")
    assert code == 3
    assert f"temporary files need {human(need)}" in told
    assert f"has {human(need - 1)} free" in told


@pytest.mark.parametrize("check", [("--check",), ()], ids=["check", "apply"])
@pytest.mark.parametrize(
    "form", [(), ("--format", "oci-archive"), ("--format", "oci:"), ("-o", "folder/")], ids=" ".join
)
@pytest.mark.slow
def test_the_disk_of_the_output_is_compared_too(
    form: tuple[str, ...], check: tuple[str, ...], pair: Pair, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.tar"
    packed.write_bytes(docker_save([pairs.images(3)[0]], "c8d", "gzip"))
    out, size = tmp_path / "out", pair.target.stat().st_size
    outputs = {"oci:": ("--format", f"oci:{out}"), "folder/": ("-o", f"{out}/")}
    options = outputs.get(form[-1], (*form, "-o", str(out))) if form else ("-o", str(out))
    for base in (pair.base, packed):
        arguments = ("apply", base, pair.bundle, *options, "--tmp", tmp_path)
        need = json.loads(succeed(*arguments, "--check", "--json").out)["temporary_space"]
        code, told, _ = with_room(size + need - 1, *arguments, *check)
        assert code == 3
        assert f"it needs {human(size)}" + (f" beside {human(need)} of temporary files" if need else "") in told
        assert not out.exists()
        assert with_room(size + need, *arguments, "--check")[0] == 0


def test_a_file_that_is_replaced_keeps_its_mode_but_for_bits_that_give_rights(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    for before, after in ((0o640, 0o640), (0o4755, 0o755)):
        out.write_bytes(b"old")
        out.chmod(before)
        succeed("apply", "-q", pair.base, pair.bundle, "-o", out)
        assert out.stat().st_mode & 0o7777 == after
    if os.geteuid() == 0:  # also test a file of another user, whose mode changes
        out.write_bytes(b"old")
        os.chown(out, 65534, 65534)
        out.chmod(0o777)
        succeed("apply", "-q", pair.base, pair.bundle, "-o", out)
        assert out.stat().st_mode & 0o002 == 0


@pytest.mark.parametrize("has_base", [True, False])
def test_check_asks_an_engine_for_layers_and_has_nothing_saved(has_base: bool, pair: Pair, tmp_path: Path) -> None:
    told = inspected(pair.base) if has_base else f"sha256:{'0' * 64} null null"
    engine = tmp_path / "docker"
    cases = f"*Size*) echo 1000;; save*) touch {tmp_path}/saved;; *) echo '{told}';;"
    engine.write_text(f"#!/bin/sh\ncase $* in {cases} esac\n")
    engine.chmod(0o755)
    words = ("apply", "--check", "docker-daemon:app:1", pair.bundle, "--json")
    ended = dib(*words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == (0 if has_base else 6), ended.err
    assert not (tmp_path / "saved").exists()
    if has_base:
        found = json.loads(ended.out)
        assert found["temporary_space"] > 0  # bytes of the archive that the engine is going to save
        assert found["memory"] > 60 << 20

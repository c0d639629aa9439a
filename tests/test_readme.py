"""The commands in the README, run with stand-ins for the network and for the engine."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dibundle.cli.main import main
from docs import session
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import edited, noise, text

README = Path(__file__).parents[1] / "README.md"
ELSEWHERE = {
    "python3 -m venv": ".ci/run types it, in a fresh clone",
}
"""Blocks that this test does not run. Each has its beginning, and the test or file that covers it."""

STAND_INS = {
    "dib": f'exec {sys.executable} -m dibundle "$@"',
    "scp": 'for last; do :; done\nfor file; do [ "$file" = "$last" ] || cp "$file" "$FAR"; done',
    "ssh": 'cd "$FAR" && exec sh -c "$2"',
    "docker": """case "$*" in
load) cat > "$LOADED";;
"image inspect"*) echo 1000;;
"save -- app:1") cat "$FAR/old.tar";;
*) exit 9;;
esac""",
}


def blocks() -> list[str]:
    """Return the indented blocks in the form in which a user would paste them."""
    found: list[list[str]] = [[]]
    for line in README.read_text().splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif line or not found[-1]:
            found.append([])
        else:
            found[-1].append("")
    return ["\n".join(block).strip() for block in found if any(block)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with both archives. Its subfolder ``far`` is the other machine, and has the old archive."""
    words = text(1, 200_000)
    for name, content in (("old", words), ("new", edited(words, 3))):
        layers = [build_layer([file("data", noise(1, 300_000))]), build_layer([file("app", content)])]
        image = TestImage(layers, [f"app:{1 + (name == 'new')}"])
        (tmp_path / f"{name}.tar").write_bytes(docker_save([image], "v25"))
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old.tar").write_bytes((tmp_path / "old.tar").read_bytes())
    (tmp_path / "bin").mkdir()
    for name, script in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return tmp_path


def paste(block: str, folder: Path, *command: str) -> bytes:
    """Run a block, and return the archive that the block loaded into the engine."""
    loaded = folder / "loaded"
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "FAR": f"{folder}/far", "LOADED": str(loaded)}
    subprocess.run([*command, block], cwd=folder, env=env, check=True, timeout=300)
    return loaded.read_bytes() if loaded.exists() else b""


def test_every_block_is_known():
    kinds = [block.split()[0] for block in blocks()]
    assert kinds.count("dib") == 2
    assert kinds.count("import") == 1
    others = [block for block in blocks() if block.split()[0] not in {"dib", "import"}]
    assert all(block.startswith(tuple(ELSEWHERE)) for block in others), others


def test_the_first_use_and_the_one_without_a_file(folder: Path):
    first, thin = (block for block in blocks() if block.startswith("dib "))
    assert paste(first, folder, "bash", "-ec") == (folder / "new.tar").read_bytes()
    taken = paste(thin, folder, "bash", "-ec")
    assert 0 < len(taken) < 250_000
    assert b"app:2" in taken


def test_the_functions(folder: Path):
    (block,) = (block for block in blocks() if block.startswith("import "))
    paste(block, folder, sys.executable, "-c")
    assert (folder / "again.tar").read_bytes() == (folder / "new.tar").read_bytes()


def test_every_command_and_option_that_is_named_is_there():
    context = click.Context(main)
    for name, rest in re.findall(r"`dib ([a-z]+)([^`]*)`", README.read_text()):
        command = main.get_command(context, name)
        assert command, name
        assert set(re.findall(r"--[a-z-]+", rest)) <= {word for param in command.params for word in param.opts}, name


def test_the_recorded_session_is_what_the_program_writes():
    """The recorded session has the same output as the program.

    Figures and digests may differ, because they depend on libraries.
    """
    pictured = [html.unescape(re.sub("<[^>]*>", "", line)) for line in session.PICTURE.read_text().splitlines()]
    assert list(without_figures(pictured)) == list(without_figures(session.recorded()))


def without_figures(lines: list[str]) -> Iterator[str]:
    for line in filter(None, lines):
        text = " ".join(re.sub("sha256:[0-9a-f]+", "sha256:", line).split())
        yield re.sub(r"\b[\d.,]+( [kM]?B| bytes)?", "0", text)


def test_it_fits_two_screens():
    assert len(README.read_text().splitlines()) <= 110

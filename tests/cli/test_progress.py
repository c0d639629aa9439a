"""Progress is shown as lines, as bars (only on a terminal), or not at all. No byte of progress goes to stdout."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from dibundle.cli import display
from tests import needs
from tests.pairs import Pair
from tests.program import DIB, succeed


def on_a_terminal(columns: int, *arguments: object, env: dict[str, str] | None = None) -> tuple[bytes, str]:
    """Run ``dib`` with a terminal of this many columns as stderr. Return stdout, and the bytes that were written to the
    terminal.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [*DIB, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **(env or {})},
    ) as process:
        os.close(theirs)
        assert process.stdout
        out = process.stdout.read()
        told = b""
        with contextlib.suppress(OSError):  # EIO means that dib has closed the terminal
            while piece := os.read(ours, 4096):
                told += piece
        os.close(ours)
    assert process.returncode == 0, told
    return out, told.decode()


def drawn(told: str) -> list[str]:
    """Return the lines that were drawn, without colours."""
    return [re.sub(r"\x1b\[[0-9]*m", "", line) for line in re.split(r"\r\x1b\[K|\r\n", told) if line]


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_a_bar_is_never_wider_than_the_terminal(pair: Pair, columns: int) -> None:
    out, told = on_a_terminal(columns, "apply", pair.base, pair.bundle)
    assert out == pair.target.read_bytes()
    bars = [line for line in drawn(told) if line.startswith("applying")]
    assert bars
    assert max(map(len, bars)) < columns
    assert told.rstrip().endswith(" s")  # the output ends with the summary, because dib has removed the bar
    assert "applying" not in drawn(told)[-1]


def test_the_bar_is_gone_when_a_passphrase_is_asked_for(pair: Pair, tmp_path: Path) -> None:
    needs.programs("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    asking = tmp_path / "bin" / "ssh-keygen"
    asking.parent.mkdir()
    asking.write_text(f'#!/bin/sh\nprintf "PROMPT\\n" > /proc/$PPID/fd/2\nexec {shutil.which("ssh-keygen")} "$@"\n')
    asking.chmod(0o755)
    env = {"PATH": f"{asking.parent}:{os.environ['PATH']}"}
    arguments = ("--key", tmp_path / "key", pair.bundle, "-o", tmp_path / "signed.dib")
    _, told = on_a_terminal(80, "sign", *arguments, env=env)
    assert any(line.startswith("checking") for line in drawn(told))
    assert {line for line in drawn(told) if "PROMPT" in line} == {"PROMPT"}


def test_no_color(pair: Pair) -> None:
    # without colour, the only escape sequence of a bar is the sequence that clears the line
    _, told = on_a_terminal(100, "apply", pair.base, pair.bundle, env={"NO_COLOR": "1"})
    assert set(re.findall(r"\x1b\[[0-9]*[a-zA-Z]", told)) == {"\x1b[K"}


def test_a_dumb_terminal_and_modes(pair: Pair) -> None:
    _, told = on_a_terminal(80, "apply", pair.base, pair.bundle, env={"TERM": "dumb"})
    assert "\x1b" not in told
    for mode, wanted in (("off", r"stdout: [^\r\n]*\r\n"), ("lines", r"dib: applying: .*\r\nstdout: [^\r\n]*\r\n")):
        _, told = on_a_terminal(80, "apply", "--progress", mode, pair.base, pair.bundle)
        assert re.fullmatch(wanted, told, re.DOTALL), told
    _, told = on_a_terminal(80, "apply", "-q", pair.base, pair.bundle)
    assert told == ""


def test_verbose_says_what_each_phase_took(pair: Pair, tmp_path: Path) -> None:
    told = succeed("create", "-v", pair.base, pair.target, tmp_path / "o.dib").err
    for phase in ("reading", "comparing", "encoding"):
        assert re.search(rf"^dib: {phase}: .* s", told, re.MULTILINE)


@pytest.mark.parametrize("command", ["create", "diff", "verify", "apply"])
def test_each_phase_gets_to_its_total(pair: Pair, tmp_path: Path, command: str) -> None:
    arguments = {
        "create": (pair.base, pair.target, tmp_path / "o.dib"),
        "diff": (pair.base, pair.target),
        "verify": (pair.bundle,),
        "apply": (pair.base, pair.bundle, "-o", tmp_path / "o.tar"),
    }[command]
    told = succeed(command, "--progress", "json", *arguments).err
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    totals = {line["phase"]: line.get("total") or 0 for line in lines if line["event"] == "begin"}
    assert totals
    assert {line["phase"]: line["done"] for line in lines if line["event"] == "end"} == totals


def test_the_output_is_the_same_whatever_is_shown(pair: Pair, tmp_path: Path) -> None:
    for mode in display.MODES:
        out = tmp_path / f"{mode}.dib"
        assert succeed("create", "--progress", mode, pair.base, pair.target, out).out == b""
        assert out.read_bytes() == pair.bundle.read_bytes()


class Recorder(display.Bars):
    def __init__(self, columns: int) -> None:
        import io

        super().__init__(io.StringIO(), color=False)
        self.columns = columns
        self.lines: list[str] = []

    def _columns(self) -> int:
        return self.columns

    def _draw(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("columns", [10, 24, 30, 60, 80, 200])
def test_what_is_said_where_there_is_little_room(columns: int) -> None:
    bar = Recorder(columns)
    bar.phase("encoding", 300_000_000)
    for _ in range(3):
        bar._shown = 0
        bar.advance(100_000_000)
    bar.close()
    assert max(map(len, bar.lines)) < columns
    assert any("66 %" in line for line in bar.lines) or columns < 24
    assert bar.lines[-1] == ""

"""Record what a terminal shows: a first use, from the installation to the loaded image, and the help of every command.

    python -m docs.record           # in the checkout; needs root and docker, as the tests with engines do, and pyte

Writes docs/recordings/{first-use,help}-{80,120}.txt: the text that is left on the screen, what progress bars drew over
each other included as it ended.
"""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import struct
import subprocess
import tempfile
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pyte

from dibundle.cli.main import main as program
from tests import engines
from tests.compat import images

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
WIDTHS = (80, 120)
LINES = 4000  # of the screen: nothing is to scroll away

FIRST_USE = (
    "python3 -m venv venv && venv/bin/pip install -q ./dib && export PATH=$PWD/venv/bin:$PATH",
    "dib --version",
    "dib demo",
    f"docker save -o old.tar {images.OLD}",
    f"docker save -o new.tar {images.NEW}",
    "dib create --dry-run old.tar new.tar",
    "dib create old.tar new.tar update.dib",
    "ls -l --time-style=+ *.tar *.dib | cut -d' ' -f5-",
    "dib inspect update.dib",
    "dib inspect --list update.dib",
    "dib apply old.tar update.dib | cmp - new.tar && echo the same",
    f"docker rmi {images.NEW} {images.ALSO_NEW} > /dev/null; dib apply --check docker-daemon:{images.OLD} update.dib",
    f"dib load docker-daemon:{images.OLD} update.dib",
    f"docker images {images.NEW} --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}'",
    "dib apply old.tar new.tar",
)


def main() -> None:
    """Write the recordings."""
    out = HERE / "recordings"
    out.mkdir(exist_ok=True)
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder, engines.docker("classic") as docker:
            work = Path(folder)
            (work / "images").mkdir()
            images.build(docker, work / "images")
            subprocess.run(["git", "clone", "-q", CHECKOUT, work / "dib"], check=True)
            (out / f"first-use-{width}.txt").write_text(record(FIRST_USE, work, width, docker.env))
            env = {**docker.env, "PATH": f"{work}/venv/bin:{os.environ['PATH']}"}
            (out / f"help-{width}.txt").write_text(record(_helps(), work, width, env))


def _helps() -> list[str]:
    """Return the commands that show each command's help."""
    names = program.list_commands(click.Context(program))
    return ["dib --help", *(f"dib {name} --help" for name in names)]


def record(commands: Sequence[str], folder: Path, width: int, env: Mapping[str, str]) -> str:
    """Return what a terminal of ``width`` columns shows when these commands are typed one after the other."""
    screen = pyte.Screen(width, LINES)
    stream = pyte.ByteStream(screen)
    shell = folder / "typed.sh"
    lines = [f"printf '$ %s\\n' {shlex.quote(command)}\n{command}" for command in commands]
    shell.write_text("\n".join(lines) + "\n")
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    ends = {"stdin": inner, "stdout": inner, "stderr": inner}
    shown = {**env, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    child = subprocess.Popen(["bash", shell.name], cwd=folder, env=shown, start_new_session=True, **ends)
    os.close(inner)
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not piece:
            break
        stream.feed(piece)
    child.wait()
    os.close(terminal)
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n") + "\n"


if __name__ == "__main__":
    main()

"""Running the ``dib`` command as users do: as a process, with its exit code, its two streams and its signals."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DIB = (sys.executable, "-m", "dibundle")
TIMEOUT = 300


@dataclass(frozen=True)
class Ended:
    """A finished command: exit code (as a shell shows it), stdout, stderr."""

    code: int
    out: bytes
    err: str


def dib(
    *arguments: str | Path,
    stdin: bytes | IO[bytes] | None = None,
    stdout: IO[bytes] | int = subprocess.PIPE,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run ``dib`` with these arguments to its end; ``stdin`` is what it reads (None: nothing)."""
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin or subprocess.DEVNULL}
    done = subprocess.run(
        [*DIB, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=TIMEOUT,
        check=False,
        **given,  # type: ignore[call-overload]
    )
    return Ended(shell_code(done.returncode), done.stdout or b"", done.stderr.decode(errors="replace"))


def start(
    *arguments: str | Path,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.PIPE,
    env: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``dib`` and return its process, with stderr in a pipe."""
    return subprocess.Popen(
        [*DIB, *map(str, arguments)],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )


def shell_code(returncode: int) -> int:
    """Return a process's exit code as a shell shows it: 128 + the number of the signal that ended it."""
    return 128 - returncode if returncode < 0 else returncode


def succeed(*arguments: str | Path, **options: object) -> Ended:
    """Run ``dib`` and expect exit code 0."""
    ended = dib(*arguments, **options)  # type: ignore[arg-type]
    assert ended.code == 0, ended.err
    return ended

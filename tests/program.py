"""Run the ``dib`` command in this process, or in a separate process with its own streams and signals."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DIB = (sys.executable, "-m", "dibundle")
TIMEOUT = 300
FOR_PYTHON = ("LANG", "LC_ALL", "TZ", "DIB_DEBUG")  # these variables take effect only when a process starts


@dataclass(frozen=True)
class Ended:
    """A finished command, with its exit code (as a shell shows it), stdout and stderr."""

    code: int
    out: bytes
    err: str


def dib(
    *arguments: str | Path,
    stdin: bytes | IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run ``dib`` with these arguments to its end, in this process. ``stdin`` is the input of ``dib``; None means an
    empty input.

    Starting Python takes longer than most commands. If a test needs a separate process, use :func:`process`.
    """
    if any(name in FOR_PYTHON or name.startswith("PYTHON") for name in env or {}):
        return process(*arguments, stdin=stdin, stdout=stdout, env=env, cwd=cwd)
    from dibundle.cli import main

    written: list[bytes] = []
    with _descriptors(stdin, stdout, written), _environment(env), _folder(cwd):
        code = main._run([str(item) for item in arguments])
    return Ended(code, written[0], written[1].decode(errors="replace"))


def process(
    *arguments: str | Path,
    stdin: bytes | IO[bytes] | None = None,
    stdout: IO[bytes] | int | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run ``dib`` as users do, in a separate process."""
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin or subprocess.DEVNULL}
    done = subprocess.run(
        [*DIB, *map(str, arguments)],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=TIMEOUT,
        check=False,
        **given,  # type: ignore[call-overload]
    )
    return Ended(shell_code(done.returncode), done.stdout or b"", done.stderr.decode(errors="replace"))


@contextmanager
def _descriptors(stdin: bytes | IO[bytes] | None, stdout: IO[bytes] | None, written: list[bytes]) -> Iterator[None]:
    """Replace the three standard streams with files.

    At the end, append the content of stdout and stderr to ``written``.
    """
    kept = [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if isinstance(stdin, bytes):
            given.write(stdin)
            given.seek(0)
        source = open(os.devnull, "rb") if stdin is None else given if isinstance(stdin, bytes) else stdin  # noqa: PTH123, SIM115
        for stream in streams[1:]:
            stream.flush()
        try:
            for number, file in enumerate((source, stdout or out, err)):
                os.dup2(file.fileno(), number)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            yield
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
        finally:
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.close()
            sys.stdin, sys.stdout, sys.stderr = streams
            for number, before in enumerate(kept):
                os.dup2(before, number)
                os.close(before)
            if stdin is None:
                source.close()
        for file in (out, err):
            file.seek(0)
            written.append(file.read())


@contextmanager
def _environment(more: dict[str, str] | None) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more or {})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _folder(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        yield
    finally:
        os.chdir(before)


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
    """Return a process's exit code as a shell shows it. If a signal ended the process, the code is 128 plus the
    signal's number.
    """
    return 128 - returncode if returncode < 0 else returncode


def succeed(*arguments: str | Path, **options: object) -> Ended:
    """Run ``dib`` and expect exit code 0."""
    ended = dib(*arguments, **options)  # type: ignore[arg-type]
    assert ended.code == 0, ended.err
    return ended

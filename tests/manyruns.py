"""Hundreds of runs of ``dib``. A process that has imported dib forks for every command.

Each command is the real command, with its own descriptors and exit code. Only the time to start Python is saved. When
this module runs as a program, it is the process that forks. The process reads commands as lines of JSON, and answers
each command with an exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.program import Ended, shell_code


class ManyRuns:
    """A context manager that runs commands one after the other, with its own files in ``work``."""

    def __init__(self, work: Path) -> None:
        self._out, self._err = work / "stdout", work / "stderr"
        root = str(Path(__file__).resolve().parents[1])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.manyruns"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def run(self, *arguments: str | Path, stdin: Path | None = None) -> Ended:
        """Run one command to its end."""
        self.begin(*arguments, stdin=stdin, stdout=self._out)
        code = self.end()
        return Ended(code, self._out.read_bytes(), self._err.read_text(errors="replace"))

    def begin(self, *arguments: str | Path, stdin: Path | None = None, stdout: Path) -> None:
        """Begin a command that writes to ``stdout``, a file or a named pipe."""
        command = {"arguments": [str(item) for item in arguments], "stdin": str(stdin or os.devnull)}
        assert self._server.stdin
        print(json.dumps({**command, "stdout": str(stdout), "stderr": str(self._err)}), file=self._server.stdin)
        self._server.stdin.flush()

    def end(self) -> int:
        """Wait for the command that :meth:`begin` started, and return its exit code."""
        assert self._server.stdout
        return int(self._server.stdout.readline())


def _serve() -> None:
    """Answer commands until the input ends. Return only in a child process, whose ``sys.argv`` holds its command."""
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if not child:
            _become(command)
            return
        _, status = os.waitpid(child, 0)
        print(shell_code(os.waitstatus_to_exitcode(status)), flush=True)
    sys.exit()


def _become(command: dict[str, object]) -> None:
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", new), ("stderr", new))):
        opened = os.open(str(command[name]), flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    arguments = command["arguments"]
    assert isinstance(arguments, list)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.argv = ["dib", *arguments]


if __name__ == "__main__":
    import dibundle.cli.commands.apply
    import dibundle.codecs.cover
    import dibundle.codecs.vcdiff  # noqa: F401 - imported here once, not in every child
    from dibundle.cli.main import run

    _serve()
    run()

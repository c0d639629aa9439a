"""Runs of dib in a separate process, with the memory and CPU time of each run."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_RUN: Final = """
import atexit, os, sys
leave = os._exit
def told(status=None):
    sys.stderr.flush()
    with open("/proc/self/status") as lines:
        print("peak", *(line.split()[1] for line in lines if line.startswith("VmHWM:")), file=sys.stderr, flush=True)
    if status is not None:
        leave(status)
os._exit = told
atexit.register(told)
from dibundle.__main__ import main
main()
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """The peak memory in bytes, the CPU time in seconds, the exit code, and the output."""

    memory: int
    seconds: float
    status: int
    out: str
    err: str


def dib(*words: str | Path, limit: int = 120) -> Taken:
    """Run a command and measure it. Kill the command after ``limit`` seconds of CPU time."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        preexec_fn=bound,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    *err, peak = ended.stderr.splitlines()
    memory = int(peak.removeprefix("peak ")) << 10
    return Taken(memory, seconds, ended.returncode, ended.stdout, "\n".join(err))

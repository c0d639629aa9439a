"""Measure whole processes: wall and CPU seconds, and peak memory including all descendants.

Memory is the proportional set size from /proc, summed over the process tree and sampled every 20 ms. If a run is
shorter than 20 ms, the memory is reported as 0.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE = 0.02  # seconds between two samples of the memory


@dataclass(frozen=True)
class Run:
    """Cost of a process: wall seconds, CPU seconds, MiB of memory."""

    wall: float
    cpu: float
    memory: float


class FailedRunError(Exception):
    """The exception for a failed process; the text is the end of the process's error output."""


def run(command: Sequence[str | Path], *, stdin: Path | None = None, stdout: Path | None = None) -> Run:
    """Run a command and measure it; raise :class:`FailedRunError` if it fails."""
    with tempfile.TemporaryFile() as errors:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, str(stdin or os.devnull), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(stdout or os.devnull), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        words = [str(word) for word in command]
        start = time.monotonic()
        pid = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
        peak = _Peak(pid)
        _, status, used = os.wait4(pid, 0)
        wall = time.monotonic() - start
        memory = peak.stop()
        if os.waitstatus_to_exitcode(status):
            errors.seek(0)
            raise FailedRunError(f"{words[0]}: {errors.read()[-300:].decode(errors='replace')}")
        return Run(wall, used.ru_utime + used.ru_stime, memory)


class _Peak:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE):
            self._peak = max(self._peak, sum(map(_pss, _tree(self._pid))))

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._peak


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _pss(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def same(left: Path, right: Path) -> bool:
    """Return whether two files are equal."""
    return subprocess.run(["cmp", "-s", left, right], check=False).returncode == 0

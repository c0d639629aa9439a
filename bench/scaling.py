"""Estimate how much faster create would be with more cores, from the output of `dib create --timings`.

    dib create --workers 8 --timings t.json a.tar b.tar out.dib && python bench/scaling.py t.json

Frames go to workers in dib's order: the largest first, each to a free worker. A worker without a frame helps with the
pieces of other workers. Other work is not divided among workers. Run create with the number of workers to estimate for,
because this number also affects how tables are built.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path
from typing import Any

Steps = list[float | list[float]]


class Job:
    """A frame in progress: the next steps of its worker, and the pieces that no worker has begun."""

    def __init__(self, steps: Steps) -> None:
        self._left = deque(steps)
        self.open: deque[float] = deque()
        self.running = 0

    def proceed(self) -> float | None:
        """Return how many seconds the job's next step or piece takes, or None.

        None means that the job waits for other workers, or has ended.
        """
        while True:
            if self.open:
                self.running += 1
                return self.open.popleft()
            if self.running or not self._left:
                return None
            step = self._left.popleft()
            if isinstance(step, float):
                return step
            self.open.extend(step)

    @property
    def is_done(self) -> bool:
        """Whether all steps and pieces of the job are done."""
        return not (self._left or self.open or self.running)


def simulated(document: dict[str, Any], workers: int) -> float:
    """Return the seconds that ``workers`` workers take."""
    frames = sorted(document["frames"], key=lambda frame: -(frame["size"] + 2 * frame["source_size"]))
    waiting = deque(Job([float(s) if not isinstance(s, list) else s for s in frame["cpu_seconds"]]) for frame in frames)
    own: dict[int, Job] = {}  # by worker
    # for each worker: the time at which it becomes free, its job, and whether it works on a piece
    busy: dict[int, tuple[float, Job, bool]] = {}
    now = 0.0
    while waiting or own:
        for worker in range(workers):
            if worker in busy:
                continue
            if worker in own and own[worker].is_done:
                del own[worker]
            if worker not in own and waiting:
                own[worker] = waiting.popleft()
            job = own.get(worker) or next((job for job in own.values() if job.open), None)
            if job is None:
                continue
            is_piece = bool(job.open)
            before = job.running
            length = job.proceed() if worker in own else (job.open.popleft() if job.open else None)
            if length is None:
                continue
            if worker not in own:
                job.running += 1
            busy[worker] = (now + length, job, is_piece or job.running > before)
        if not busy:
            continue
        worker = min(busy, key=lambda worker: busy[worker][0])
        now, job, is_piece = busy.pop(worker)
        job.running -= is_piece
    return float(document["other_seconds"]) + now


def main() -> None:
    """Print a line for each number of workers."""
    document = json.loads(Path(sys.argv[1]).read_text())
    alone = simulated(document, 1)
    longest = max(sum(max(s) if isinstance(s, list) else s for s in f["cpu_seconds"]) for f in document["frames"])
    other = document["other_seconds"]
    print(
        f"{len(document['frames'])} frames, {longest:.1f} s for the longest if all can help; {other:.1f} s beside them"
    )
    for workers in (1, 2, 4, 8, 16):
        seconds = simulated(document, workers)
        print(f"{workers:>2} workers: {seconds:.1f} s, {alone / seconds:.2f} times as fast as one")


if __name__ == "__main__":
    main()

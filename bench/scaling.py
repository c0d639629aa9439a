"""Say how much faster create would be with more cores, from what `dib create --timings` wrote.

    dib create --timings t.json a.tar b.tar out.dib && python bench/scaling.py t.json

Frames are given to workers as dib gives them: the largest first, each to who is free. All else counts once.
"""

from __future__ import annotations

import heapq
import json
import sys
from pathlib import Path
from typing import Any


def simulated(document: dict[str, Any], workers: int) -> float:
    """Return the seconds that so many workers take."""
    frames = sorted(document["frames"], key=lambda frame: -(frame["size"] + 2 * frame["source_size"]))
    busy = [0.0] * workers
    for frame in frames:
        heapq.heapreplace(busy, busy[0] + frame["cpu_seconds"])
    return float(document["other_seconds"]) + max(busy)


def main() -> None:
    """Print a line for each number of workers."""
    document = json.loads(Path(sys.argv[1]).read_text())
    alone = simulated(document, 1)
    slowest = max(frame["cpu_seconds"] for frame in document["frames"])
    other = document["other_seconds"]
    print(f"{len(document['frames'])} frames, the slowest {slowest:.1f} s; {other:.1f} s beside them")
    for workers in (1, 2, 4, 8, 16):
        seconds = simulated(document, workers)
        print(f"{workers:>2} workers: {seconds:.1f} s, {alone / seconds:.2f} times as fast as one")


if __name__ == "__main__":
    main()

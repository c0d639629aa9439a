"""Measure dib and its peers on pairs of archives, and write bench/RESULTS.md and its pictures.

    python bench/run.py FOLDER [--as drawn|compressed|levels] [--tools dib,...] [--pairs a,b]

FOLDER has a folder for each pair with a.tar and b.tar. Run the script in a virtual environment with dib; Debian's
xdelta3 and zstd must be installed. It replaces stored rows of the same pair and tool.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import FailedRunError, Run, same
from report import keep
from tools import LEVELS, TOOLS


@dataclass(frozen=True)
class Row:
    """The results of one tool for one pair: bytes of target and delta, and the cost of both directions."""

    pair: str
    tool: str
    target: int
    size: int
    create: Run
    apply: Run
    exact: bool


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as", dest="part", choices=("corpus", "drawn", "compressed", "levels"), default="corpus")
    parser.add_argument("--tools", help="default: all of them, for levels dib at each level")
    parser.add_argument("--pairs")
    arguments = parser.parse_args()
    found = sorted((p.stat().st_size, p.parent.name) for p in arguments.folder.glob("*/b.tar"))
    for pair in arguments.pairs.split(",") if arguments.pairs else [name for _, name in found]:
        for tool in arguments.tools.split(",") if arguments.tools else LEVELS if arguments.part == "levels" else TOOLS:
            row = compare(arguments.folder / pair, tool)
            if row:
                print(line(row), flush=True)
                keep(arguments.part, [asdict(row)], identity=("pair", "tool"))


def compare(folder: Path, tool: str) -> Row | None:
    """Measure a tool on a pair; if the tool fails, report the failure and return None."""
    base, target = folder / "a.tar", folder / "b.tar"
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        delta, result = Path(work, "delta"), Path(work, "result")
        try:
            made, used = (TOOLS | LEVELS)[tool](base, target, delta, result)
        except (FailedRunError, OSError) as error:
            print(f"{folder.name}: {tool}: {error}", flush=True)
            return None
        sizes = target.stat().st_size, delta.stat().st_size
        return Row(folder.name, tool, *sizes, made, used, same(target, result))


def line(row: Row) -> str:
    """Return a row as it is printed."""
    times = [f"{run.wall:.1f} s, CPU {run.cpu:.1f} s, {run.memory:.0f} MiB" for run in (row.create, row.apply)]
    exact = "" if row.exact else "; NOT EXACT"
    return f"{row.pair}: {row.tool}: {row.size:,}; create {times[0]}; apply {times[1]}{exact}"


if __name__ == "__main__":
    main()

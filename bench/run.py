"""Measure dib beside its peers on pairs of archives and write bench/RESULTS.md and bench/results.svg.

    python bench/run.py FOLDER [--tools dib,...] [--pairs a,b]

FOLDER holds a folder for each pair with a.tar and b.tar. Run it in the virtual environment that dib is installed in,
with Debian's xdelta3 and zstd.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chart import draw
from measure import FailedRunError, Run, same
from tools import TOOLS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A tool on a pair."""

    pair: str
    tool: str
    size: int
    made: Run
    used: Run
    exact: bool


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--pairs")
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md")
    arguments = parser.parse_args()
    pairs = (
        arguments.pairs.split(",")
        if arguments.pairs
        else sorted(p.parent.name for p in arguments.folder.glob("*/b.tar"))
    )
    rows: list[Row] = []
    for pair in pairs:
        for tool in arguments.tools.split(","):
            row = compare(arguments.folder / pair, tool)
            if row:
                rows.append(row)
                print(line(row), flush=True)
    sizes = {pair: (arguments.folder / pair / "b.tar").stat().st_size for pair in pairs}
    arguments.results.write_text(report(rows, sizes))
    arguments.results.with_name("results.svg").write_text(draw(rows))


def compare(folder: Path, tool: str) -> Row | None:
    """Measure a tool on a pair; None where it fails, which is told."""
    base, target = folder / "a.tar", folder / "b.tar"
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        delta, result = Path(work, "delta"), Path(work, "result")
        try:
            made, used = TOOLS[tool](base, target, delta, result)
        except (FailedRunError, OSError) as error:
            print(f"{folder.name}: {tool}: {error}", flush=True)
            return None
        return Row(folder.name, tool, delta.stat().st_size, made, used, same(target, result))


def line(row: Row) -> str:
    """Return a row of the table."""
    cells = [
        row.pair,
        row.tool,
        f"{row.size:,}",
        *(f"{value:.1f}" for value in (row.made.wall, row.made.cpu)),
        f"{row.made.memory:.0f}",
        *(f"{value:.2f}" for value in (row.used.wall, row.used.cpu)),
        f"{row.used.memory:.0f}",
        "yes" if row.exact else "NO",
    ]
    return "| " + " | ".join(cells) + " |"


def report(rows: list[Row], sizes: dict[str, int]) -> str:
    """Return RESULTS.md."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    head = [
        "# Measured",
        "",
        f"{today}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()};"
        f" {', '.join(versions())}.",
        "",
        "Whole processes, one after the other; memory is the peak of the proportional set size over all processes.",
        "Times are this machine's: compare them within a pair.",
        "",
        "| pair | b.tar, bytes |",
        "|---|---|",
        *(f"| {pair} | {size:,} |" for pair, size in sizes.items()),
        "",
        "| pair | tool | delta, bytes | create, s | CPU, s | MiB | apply, s | CPU, s | MiB | exact |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(line, rows), "", "![sizes](results.svg)", ""])


def versions() -> list[str]:
    """Return the versions of what was compared."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in ("dibundle", "hdiffpatch", "zstandard")]
    for command in (["xdelta3", "-V"], ["zstd", "--version"]):
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            continue
        words = (told.stdout + told.stderr).replace(",", " ").split()
        found.append(f"{command[0]} " + next((word for word in words if word.strip("v")[:1].isdigit()), "?").strip("v"))
    return found


if __name__ == "__main__":
    main()

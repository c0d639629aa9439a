"""Results as JSON in bench/results/, and the report from these results: RESULTS.md with its pictures.

    python bench/report.py

Each measuring script stores its rows with ``keep``, which then writes the report again. A part that is not measured
again keeps its rows, with the date and versions of their measurement.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from chart import Bar, Curve, bars, curves
from tools import LEVELS, TOOLS

HERE = Path(__file__).parent
KEPT = HERE / "results"
DIB, PEER = "dib", "HDiffPatch zstd"

RUNS = ("create", "apply")
FORMS = {"wall": ".1f", "cpu": ".1f", "memory": ".0f"}

Row = dict[str, Any]


def keep(part: str, rows: Iterable[Row], *, identity: Sequence[str]) -> None:
    """Store rows of a part, and write the report. A row replaces an older row with the same ``identity`` values."""
    KEPT.mkdir(exist_ok=True)
    old = load(part)
    merged = {tuple(row[key] for key in identity): row for row in old["rows"]}
    for row in rows:
        merged[tuple(row[key] for key in identity)] = row
    kept = {"about": about(), "rows": list(merged.values())}
    (KEPT / f"{part}.json").write_text(json.dumps(kept, indent=1) + "\n")
    write()


def load(part: str) -> dict[str, Any]:
    """Return the stored results of a part."""
    path = KEPT / f"{part}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"about": "", "rows": []}
    return found


def about() -> str:
    """Return date, machine and versions."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    found = [f"{name} {importlib.metadata.version(name)}" for name in ("dibundle", "hdiffpatch", "zstandard")]
    for command in (["xdelta3", "-V"], ["zstd", "--version"]):
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            continue
        words = (told.stdout + told.stderr).replace(",", " ").split()
        found.append(f"{command[0]} " + next((word for word in words if word.strip("v")[:1].isdigit()), "?").strip("v"))
    return (
        f"{today}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {', '.join(found)}"
    )


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through the logarithms of the points."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def write() -> None:
    """Write RESULTS.md and the pictures."""
    text = [
        "# Measured",
        "",
        "Whole processes, one after the other; memory is the peak of the proportional set size over all processes.",
        "Times are this machine's and disturbed by others: compare them within a pair. Every result was",
        "compared with the target and equals it, unless the row says otherwise.",
        "",
    ]
    for part, title, section in PARTS:
        kept = load(part)
        if kept["rows"]:
            text += [f"## {title}", "", f"{kept['about']}.", "", *section(kept["rows"]), ""]
    (HERE / "RESULTS.md").write_text("\n".join(text).rstrip() + "\n")
    _write_readme(_in_order(load("corpus")["rows"]))


def _write_readme(rows: list[Row]) -> None:
    """Update the sizes of the corpus in the README's table, and draw the README's picture."""
    readme = HERE.parent / "README.md"
    size = {(row["pair"], row["tool"]): f"{row['size']:,}" for row in rows}
    target = {row["pair"]: f"{row['target'] / 1e6:.0f} MB" for row in rows}
    text = readme.read_text() if readme.exists() else ""
    for pair, shown in target.items():
        ours, *others = (size.get((pair, tool), "-") for tool in README_TOOLS)
        line = f"| {pair} ({shown}) | **{ours}** | " + " | ".join(others) + " |"
        text = re.sub(rf"^\| {re.escape(pair)} \(.*\|$", line, text, flags=re.MULTILINE)
    shown = [Bar(row["pair"], row["tool"], (row["size"],)) for row in rows if row["tool"] in README_TOOLS]
    (HERE / "sizes.svg").write_text(bars([("bytes", ",.0f")], shown))
    if rows and text:
        readme.write_text(text)


README_TOOLS = (DIB, "dib -1", PEER, "HDiffPatch LZMA2", "zstd -3 --patch-from")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]


# pairs: {pair, tool, target, size, create: {wall, cpu, memory}, apply: {...}, exact}


def _corpus(rows: list[Row]) -> list[str]:
    rows = _in_order(rows)
    size = {(row["pair"], row["tool"]): row["size"] for row in rows}
    head = ("pair", *(f"{ours} / {peer}" for ours, peer in RATIOS))
    cells = []
    for pair in dict.fromkeys(row["pair"] for row in rows):
        got = [(size.get((pair, ours)), size.get((pair, peer))) for ours, peer in RATIOS]
        cells.append([pair, *(f"{ours / peer:.2f}" if ours and peer else "-" for ours, peer in got)])
    _draw_bars("results.svg", rows)
    return ["Sizes:", "", *_table(head, cells), "", *_every_run(rows), "", "![size, CPU and memory](results.svg)"]


RATIOS = ((DIB, PEER), ("dib -9", "HDiffPatch LZMA2"), ("dib -1", "zstd -3 --patch-from"))


def _in_order(rows: list[Row]) -> list[Row]:
    """Return the rows sorted by size of the pair, then in the order of the tools."""
    order = list(TOOLS)
    return sorted(rows, key=lambda row: (row["target"], row["pair"], order.index(row["tool"])))


def _draw_bars(name: str, rows: list[Row]) -> None:
    columns = [("bytes", ",.0f"), ("CPU of create, s", ".1f"), ("memory of create, MiB", ".0f")]
    made = [Bar(r["pair"], r["tool"], (r["size"], r["create"]["cpu"], r["create"]["memory"])) for r in rows]
    (HERE / name).write_text(bars(columns, made))


def _every_run(rows: list[Row]) -> list[str]:
    head = ("pair", "tool", "delta, bytes", "create, s", "CPU, s", "MiB", "apply, s", "CPU, s", "MiB")
    cells = []
    for row in rows:
        size = f"{row['size']:,}" + ("" if row["exact"] else " NOT EXACT")
        times = [f"{row[k][t]:{f}}" for k in RUNS for t, f in FORMS.items()]
        cells.append([row["pair"], row["tool"], size, *times])
    return _table(head, cells)


def _drawn(rows: list[Row]) -> list[str]:
    rows = _in_order(rows)
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    sizes = {(row["pair"], row["tool"]): row for row in rows}
    cells, ratios = [], []
    for pair in pairs:
        here = {tool: sizes[pair, tool]["size"] for tool in tools if (pair, tool) in sizes}
        target = next(row["target"] for row in rows if row["pair"] == pair)
        ratio = here[DIB] / here[PEER] if DIB in here and PEER in here else math.nan
        ratios.append(ratio)
        told = [f"{here[tool]:,}" if tool in here else "-" for tool in tools]
        cells.append([pair, f"{target / 1e6:.1f}", *told, f"{ratio:.2f}"])
    _draw_bars("drawn.svg", rows)
    inexact = [f"{row['pair']} by {row['tool']}" for row in rows if not row["exact"]]
    return [
        "Pairs of releases drawn by `python bench/draw.py OUT --seed 1`; bytes of the delta.",
        f"dib is at most 0.90 of {PEER} on {sum(r <= 0.9 for r in ratios)} of {len(ratios)}, larger on"
        f" {sum(r > 1 for r in ratios)}." + (f" Not exact: {', '.join(inexact)}." if inexact else ""),
        "",
        *_table(("pair", "MB", *tools, f"dib / {PEER}"), cells),
        "",
        "![size, CPU and memory](drawn.svg)",
    ]


# levels: the same fields as pairs


def _levels(rows: list[Row]) -> list[str]:
    """Write the table and the picture of levels, relative to the default level.

    Write the table into the docs page, too.
    """
    found = {(row["pair"], row["tool"]): row for row in rows}
    pairs = [row["pair"] for row in sorted(rows, key=lambda row: row["target"]) if row["tool"] == DEFAULT_LEVEL]
    cells: list[list[str]] = []
    lines: dict[str, list[tuple[float, float]]] = {"size": [], "create": [], "apply": []}
    for level, tool in enumerate(LEVELS, 1):
        here = [(found[pair, tool], found[pair, DEFAULT_LEVEL]) for pair in pairs if (pair, tool) in found]
        if not here or len(here) < len(pairs):
            continue
        lines["size"].append((level, _mean([row["size"] / usual["size"] for row, usual in here])))
        for what in RUNS:
            lines[what].append((level, _mean([row[what]["cpu"] / usual[what]["cpu"] for row, usual in here])))
        sizes = [f"{row['size']:,}" for row, _ in here]
        memory = max(row["create"]["memory"] for row, _ in here)
        cells.append([f"-{level}", *sizes, *(f"{line[-1][1]:.2f}" for line in lines.values()), f"{memory:.0f}"])
    if not cells:
        return []
    docs = HERE.parent / "docs" / "explanation"
    title = "next to the default level"
    made = [Curve(title, what, tuple(points)) for what, points in lines.items()]
    (docs / "levels.svg").write_text(curves([(title, "level")], made))
    table = _table(("level", *pairs, *lines, "MiB"), cells)
    between = re.compile(r"(?<=<!-- levels -->\n)(.|\n)*(?=<!-- end -->)")
    page = docs / "speed.md"
    page.write_text(between.sub(lambda _: "\n" + "\n".join(table) + "\n\n", page.read_text()))
    return [
        "dib at each level (`python bench/run.py FOLDER --as levels`): bytes; size and CPU next to the default level as"
        " geometric means over the pairs; the most memory of create.",
        "",
        *table,
    ]


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


DEFAULT_LEVEL = "dib -6"


# relinking: relink.Measured


def _relink(rows: list[Row]) -> list[str]:
    head = ("language", "files", "package", "machine", "MB", "off, bytes", "on, bytes", "saved")
    cells = []
    for row in sorted(rows, key=lambda r: (r["language"], r["files"], r["package"], r["machine"])):
        words = [row[key] for key in ("language", "files", "package", "machine")]
        words += [f"{row['size'] / 1e6:.1f}", f"{row['off']:,}", f"{row['on']:,}", f"{1 - row['on'] / row['off']:.0%}"]
        words += [f"{row[k][1]:.1f} / {row[k][0]:.1f}" for k in ("create", "apply")]
        cells.append(words)
    return [
        "The ELF files of two releases of a package, `dib create` with relinking and with it switched off"
        " (`python bench/relink.py`).",
        "",
        *_table((*head, "create CPU, off / on", "apply CPU, off / on"), cells),
    ]


# compressed: the same fields as pairs


def _compressed(rows: list[Row]) -> list[str]:
    return [
        "Pairs of the corpus saved again with gzip layers, the base like the target: A6 by docker push and a pull into"
        " containerd's store or a copy by skopeo (Go's encoder), B by skopeo alone (pgzip); `-raw`: as it was.",
        "",
        *_every_run(_in_order(rows)),
    ]


# layers: layers.Row


def _layers(rows: list[Row]) -> list[str]:
    head = ("written by", "layers", "found", "not found", "archive, MB", "bundle", "create, CPU s", "apply, CPU s")
    cells, others = [], []
    for row in rows:
        found = [f"{count} x {name}" for name, count in row["found"].items()]
        lost = [f"{count} {name}" for name, count in (("zstd", row["zstd"]), ("gzip", row["unknown"])) if count]
        words = [row["archive"], str(row["layers"]), "; ".join(found) or "-", ", ".join(lost) or "-"]
        exact = "" if row["exact"] else " NOT EXACT"
        if row["kind"] == "third party":
            others.append([*words, f"{row['bundle'] / row['target']:.3f}{exact}"])
            continue
        times = [f"{row[what]['cpu']:.1f}" for what in RUNS]
        cells.append([*words, f"{row['target'] / 1e6:.1f}", f"{row['bundle']:,}{exact}", *times])
    gzip = [row for row in rows if row["layers"] > row["zstd"]]
    told = [
        f"{sum(sum(row['found'].values()) for row in gzip if row['kind'] == kind)} of"
        f" {sum(row['layers'] - row['zstd'] for row in gzip if row['kind'] == kind)} gzip layers {words}"
        for kind, words in (
            ("usual", "as programs write them unasked"),
            ("options", "with levels and formats that were asked for"),
            ("third party", "of third-party archives"),
        )
    ]
    return [
        "One image by many programs, against its older version with raw layers (`python bench/layers.py`). A layer is"
        " found if an encoder gives its very bytes again; the others travel as they are. Images of two sizes.",
        f"Found: {'; '.join(told)}.",
        "",
        *_table(head, cells),
        "",
        "Third-party archives, without a base:",
        "",
        *_table(("archive", *head[1:4], "bundle / archive"), others),
    ]


# growth: {series, value, gib, files, bundle, create, apply, other}


def _growth(rows: list[Row]) -> list[str]:
    head = ("image", "bundle", "create, s", "CPU, s", "MiB", "apply, s", "CPU, s", "MiB", "create but for encoding, s")
    cells, fits, lines = [], [], []
    for series, axis in SERIES:
        here = sorted((row for row in rows if row["series"] == series), key=lambda row: float(row["value"]))
        for row in here:
            times = [f"{row[k][t]:{f}}" for k in RUNS for t, f in FORMS.items()]
            # rows of older measurements do not have this field
            other = f"{row['other']:.1f}" if "other" in row else "-"
            cells.append([f"{row['gib']:g} GiB, {row['files']:,} files", f"{row['bundle']:,}", *times, other])
        for kind, title in (("cpu", "CPU seconds"), ("memory", "MiB")):
            for what in ("create", "apply"):
                points = tuple((float(row["value"]), max(row[what][kind], 0.01)) for row in here)
                lines.append(Curve(f"{title} against {axis}", what, points))
        if len(here) > 1:
            told = []
            for what in ("create", "apply"):
                wall, cpu = (exponent([(row["value"], row[what][k]) for row in here]) for k in ("wall", "cpu"))
                told.append(f"{what} {wall:.2f} (CPU {cpu:.2f})")
            fits.append(f"Exponent of the time that fits best, against {axis}: {', '.join(told)}.")
            if series == "files":
                fits.append(_per_file(here))
    panels = [(f"{title} against {axis}", axis) for title in ("CPU seconds", "MiB") for _, axis in SERIES]
    (HERE / "growth.svg").write_text(curves(panels, lines))
    return ["Made-up images (`python bench/growth.py`).", "", *_table(head, cells), "", *fits, "", "![](growth.svg)"]


SERIES = (("size", "GiB"), ("files", "number of files"))


def _per_file(rows: list[Row]) -> str:
    few, many = rows[0], rows[-1]
    more = many["files"] - few["files"]
    told = [f"{what} {(many[what]['memory'] - few[what]['memory']) * (1 << 20) / more:,.0f}" for what in RUNS]
    return f"Bytes of memory per file, from {few['files']:,} to {many['files']:,} files: {', '.join(told)}."


PARTS: tuple[tuple[str, str, Callable[[list[Row]], list[str]]], ...] = (
    ("corpus", "The corpus", _corpus),
    ("levels", "Levels", _levels),
    ("drawn", "Other pairs", _drawn),
    ("relink", "Relinking", _relink),
    ("growth", "Growth", _growth),
    ("layers", "Compressed layers", _layers),
    ("compressed", "Compressed pairs", _compressed),
)

if __name__ == "__main__":
    write()

"""Pictures of the results: bars for each tool on each pair, and curves of cost against size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LABEL, COLUMN, BAR, GAP = 170, 250, 16, 26
OURS, THEIRS = "#2a6fb0", "#b9b9b9"
COLOURS = ("#2a6fb0", "#c2571a", "#3a8a4d", "#8a4d9e")


@dataclass(frozen=True)
class Bar:
    """The results of one tool for one pair: one value for each column."""

    pair: str
    tool: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A series of points in a panel; both axes are logarithmic."""

    panel: str
    name: str
    points: tuple[tuple[float, float], ...]


def bars(columns: Sequence[tuple[str, str]], rows: Sequence[Bar]) -> str:
    """Return an SVG with a bar for each row in each column.

    Each element of ``columns`` has a title and the format of its values.
    """
    parts = [
        f'<text x="{LABEL + k * COLUMN}" y="16" font-weight="bold">{escape(title)}</text>'
        for k, (title, _) in enumerate(columns)
    ]
    y = 40
    for pair in dict.fromkeys(row.pair for row in rows):
        group = [row for row in rows if row.pair == pair]
        largest = [max(row.values[k] for row in group) or 1 for k in range(len(columns))]
        parts.append(f'<text x="0" y="{y}" font-weight="bold">{escape(pair)}</text>')
        y += 8
        for row in group:
            colour = OURS if row.tool.startswith("dib") else THEIRS
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row.tool)}</text>')
            for k, (_, form) in enumerate(columns):
                x, length = LABEL + k * COLUMN, max(1, (COLUMN - 90) * row.values[k] / largest[k])
                parts.append(f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR - 3}" fill="{colour}"/>')
                parts.append(f'<text x="{x + length + 5:.1f}" y="{y + 12}">{row.values[k]:{form}}</text>')
            y += BAR
        y += GAP
    return _svg(LABEL + COLUMN * len(columns), y, parts)


def curves(panels: Sequence[tuple[str, str]], lines: Sequence[Curve], *, columns: int = 2) -> str:
    """Return an SVG of panels with their curves.

    Each element of ``panels`` has a title and the name of the horizontal axis.
    """
    width, height, left, top = 400, 240, 60, 30
    parts: list[str] = []
    for k, (title, axis) in enumerate(panels):
        x0, y0 = k % columns * (width + 40) + left, k // columns * (height + 50) + top
        w, h = width - left, height - 40
        drawn = [line for line in lines if line.panel == title and line.points]
        if not drawn:
            continue
        xs, ys = ([p[i] for line in drawn for p in line.points] for i in (0, 1))
        x_low, x_span = math.log(min(xs)), math.log(max(xs) / min(xs)) or 1.0
        y_low, y_span = math.log(min(ys)), math.log(max(ys) / min(ys)) or 1.0

        def place(p: tuple[float, float], a: tuple[float, ...] = (x0, y0, w, h, x_low, x_span, y_low, y_span)) -> str:
            x = a[0] + a[2] * (math.log(p[0]) - a[4]) / a[5]
            y = a[1] + a[3] - a[3] * (math.log(p[1]) - a[6]) / a[7]
            return f"{x:.1f},{y:.1f}"

        parts.append(f'<text x="{x0}" y="{y0 - 12}" font-weight="bold">{escape(title)}</text>')
        parts.append(f'<path d="M{x0},{y0} V{y0 + h} H{x0 + w}" fill="none" stroke="#999"/>')
        for value in (min(ys), max(ys)):
            y = place((min(xs), value)).partition(",")[2]
            parts.append(f'<text x="{x0 - 6}" y="{float(y) + 4}" text-anchor="end">{value:,.4g}</text>')
        for value in sorted(set(xs)):
            x = place((value, min(ys))).partition(",")[0]
            parts.append(f'<text x="{x}" y="{y0 + h + 16}" text-anchor="middle">{value:,g}</text>')
        parts.append(f'<text x="{x0 + w}" y="{y0 + h + 32}" text-anchor="end">{escape(axis)}</text>')
        for n, line in enumerate(drawn):
            points, colour = [place(p) for p in line.points], COLOURS[n % len(COLOURS)]
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in points]
            parts.append(f'<text x="{x0 + 10}" y="{y0 + 14 + 15 * n}" fill="{colour}">{escape(line.name)}</text>')
    rows = -(-len(panels) // columns)
    return _svg(columns * (width + 40), rows * (height + 50) + top, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    style = "font-family: sans-serif; font-size: 12px; fill: #333"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="background: white">'
        f'<g style="{style}">{"".join(parts)}</g></svg>\n'
    )

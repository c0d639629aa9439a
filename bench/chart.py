"""A picture of the results: for each pair, the size of each tool's delta as a bar, relative to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

WIDTH, BAR, GAP, LABEL = 760, 16, 26, 190
OURS, THEIRS = "#2a6fb0", "#b9b9b9"


class Row(Protocol):
    """What the chart needs of a row."""

    @property
    def pair(self) -> str:
        """Its pair of archives."""
        ...

    @property
    def tool(self) -> str:
        """The tool."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the delta."""
        ...


def draw(rows: Sequence[Row]) -> str:
    """Return an SVG."""
    parts: list[str] = []
    y = 20
    for pair in dict.fromkeys(row.pair for row in rows):
        group = [row for row in rows if row.pair == pair]
        largest = max(row.size for row in group)
        parts.append(f'<text x="0" y="{y}" font-weight="bold">{escape(pair)}</text>')
        y += 8
        for row in group:
            length = max(1, (WIDTH - LABEL - 110) * row.size / largest)
            colour = OURS if row.tool.startswith("dib") else THEIRS
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row.tool)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 12}">{row.size:,}</text>')
            y += BAR
        y += GAP
    style = "font-family: sans-serif; font-size: 12px; fill: #333"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" style="background: white">'
        f'<g style="{style}">{"".join(parts)}</g></svg>\n'
    )

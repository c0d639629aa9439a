"""Record a terminal session with dib, and write it as a picture for the README.

python docs/session.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_suffix(".svg")
COMMANDS = (
    "dib create old.tar new.tar update.dib",
    "dib inspect update.dib | head -15",
    "dib apply old.tar update.dib -o again.tar",
    "cmp again.tar new.tar && echo the same bytes",
)
LINE, LEFT, TOP, CHARACTER = 18, 14, 30, 7.83
BACK, TEXT, PROMPT, TYPED = "#1b1f24", "#c9d1d9", "#6e7681", "#ffffff"


def recorded() -> list[str]:
    """Run the commands on the images of ``dib demo``; the lines of a terminal, where ``$`` begins what was typed."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        dib = f'dib() {{ "{sys.executable}" -m dibundle "$@"; }}'
        subprocess.run([sys.executable, "-m", "dibundle", "demo", "--keep", folder], check=True, capture_output=True)
        Path(folder, "update.dib").unlink()
        for command in COMMANDS:
            done = subprocess.run(
                ["bash", "-c", f"{dib}; {command}"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
            )
            lines += ([""] if lines else []) + [f"$ {command}", *done.stdout.splitlines()]
    return lines


def drawn(lines: list[str]) -> str:
    """Return the lines as an SVG."""
    width, height = round(2 * LEFT + max(map(len, lines)) * CHARACTER), TOP + LINE * len(lines)
    parts = [f'<rect width="{width}" height="{height}" rx="8" fill="{BACK}"/>']
    for number, line in enumerate(lines):
        y = TOP + LINE * number
        if line.startswith("$ "):
            text = (
                f'<tspan fill="{PROMPT}">$ </tspan><tspan fill="{TYPED}" font-weight="bold">{escape(line[2:])}</tspan>'
            )
        else:
            text = escape(line)
        parts.append(f'<text x="{LEFT}" y="{y}" xml:space="preserve">{text}</text>')
    font = 'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f'{head} {font} fill="{TEXT}">', *parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(drawn(recorded()))

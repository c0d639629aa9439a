"""List what readers must do: ``python3 spec/vectors/requirements.py`` writes ../requirements.md from the texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SPEC = HERE.parent
MOST = 4  # vectors that are named

HEAD = """\
# Requirements of readers

Each numbered requirement: where it is stated, the vectors that test it, and the exit codes of the bad ones.
[requirements.py](vectors/requirements.py) writes this list.

| requirement | where | vectors | exit codes |
|---|---|---|---|
"""


class Requirement(NamedTuple):
    """A requirement: its number, and where it is stated."""

    name: str
    file: str
    section: str


def requirements() -> list[Requirement]:
    """Find them in the texts, in the order of their numbers."""
    found = [
        requirement
        for path in sorted(SPEC.glob("*.md"))
        if path.stem != "requirements"
        for requirement in _within(path)
    ]
    return sorted(found, key=lambda requirement: (requirement.name[0], int(requirement.name[1:])))


def _within(path: Path) -> Iterator[Requirement]:
    for section, block in _blocks(path.read_text()):
        for marker in re.finditer(r"\[([MS][0-9]+)\]", block):
            yield Requirement(marker[1], path.name, section)


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield paragraphs, items of lists and rows of tables, each with the heading it is under."""
    section, block = "", ""
    for line in [*text.splitlines(), ""]:
        begins = not line or line.startswith(("#", "|", "- ")) or re.match(r"[0-9]+\. ", line)
        if begins and block:
            yield section, block
            block = ""
        if line.startswith("#"):
            section = line.strip("# ")
        else:
            block = f"{block} {line.strip()}".strip()


def text() -> str:
    """Return the whole page."""
    index = json.loads((HERE / "index.json").read_text())
    return HEAD + "".join(f"{_row(requirement, index)}\n" for requirement in requirements())


def _row(requirement: Requirement, index: dict[str, Any]) -> str:
    vectors = [vector for kind in ("bad", "ok") for vector in index[kind] if requirement.name in vector["tests"]]
    names = [vector["bundle"].removesuffix(".dib") for vector in vectors]
    listed = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    codes = sorted({code for vector in vectors for code in vector["codes"] if code})
    where = f"[{requirement.file}]({requirement.file}), {requirement.section}"
    exits = ", ".join(map(str, codes)) or "-"
    return f"| {requirement.name} | {where} | {listed or 'tests'} | {exits} |"


def write() -> None:
    """Write the page anew."""
    (SPEC / "requirements.md").write_text(text())


if __name__ == "__main__":
    write()

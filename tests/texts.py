"""All error texts, in one table. ``python -m tests.texts`` writes tests/texts.txt."""

from __future__ import annotations

from pathlib import Path

from dibundle.cli.error_codes import every

TABLE = Path(__file__).with_name("texts.txt")


def table() -> str:
    """Return the table, which has the code, text and hint of each error."""
    lines = ["Code, text and hint of every error, by code; python -m tests.texts writes this file.", ""]
    for _, _, message in every():
        lines.append(f"{message.code}: {message.text}")
        if message.hint:
            lines.append(f"    {message.hint}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table())

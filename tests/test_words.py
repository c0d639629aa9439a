"""Text for people has short sentences and standard words.

This rule applies to pages, help and errors (CONTRIBUTING.md, Words).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dibundle.cli.error_codes import every
from dibundle.cli.man import every_command

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
MOST_WORDS = 25
NOT = {
    r"tells?|told|said": "show, print, report",
    r"parcels?": "bundle",
    r"dut(y|ies)": "requirement",
    r"carriers?": "transport",
    r"makes? again|made again|compressed? again": "rebuild, recompress",
    r"is no (?!longer|network|client)[a-z]+": "is not a",
    r"room": "free space",
    r"passed over": "skipped",
    r"be it": "whether",
    r"judges?|judged": "check",
}
"""Patterns of words to avoid. The message names the better word."""


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences that are not in blocks, tables or headings."""
    lines, is_block = [], False
    for line in markdown.splitlines():
        is_block ^= line.startswith("```")
        if is_block or line.startswith(("```", "    ", "|", "#", "<", "!")):
            lines.append("")
        else:
            item = re.match(r"([-*]|\d+\.) ", line)
            lines += ["", line[item.end() :]] if item else [line.strip()]
    for paragraph in re.split(r"\n{2,}", "\n".join(lines)):
        yield from filter(None, re.split(r"(?<=[.!?:])\s+(?=[A-Z`\"\[*-])", " ".join(paragraph.split())))


def helps() -> Iterator[tuple[str, str]]:
    """Yield the name of each command and its help text."""
    for context in every_command():
        paragraphs = re.split(r"\n\s*\n", context.command.help or "")
        yield context.command_path, "\n\n".join(text for text in paragraphs if "\b" not in text)


def texts() -> Iterator[tuple[str, str]]:
    """Yield the location of each text, and the text."""
    yield from ((str(path.relative_to(ROOT)), path.read_text()) for path in PAGES)
    yield from helps()


def test_sentences_are_short() -> None:
    long = [
        (where, sentence)
        for where, text in texts()
        for sentence in sentences(text)
        if len(sentence.split()) > MOST_WORDS
    ]
    assert long == []


@pytest.mark.parametrize("pattern", NOT)
def test_words_are_standard(pattern: str) -> None:
    found = [
        (where, sentence)
        for where, text in (
            *texts(),
            *((message.code, f"{message.text}. {message.hint or ''}") for _, _, message in every()),
        )
        for sentence in sentences(text)
        if re.search(rf"\b({pattern})\b", re.sub(r"[{`][^}`]*[}`]", "", sentence))
    ]
    assert found == [], f"better: {NOT[pattern]}"


def test_summaries_and_options_are_short() -> None:
    for context in every_command():
        command = context.command
        assert len(command.short_help or "") <= 60, context.command_path
        for option in command.params:
            if isinstance(option, click.Option):
                assert len((option.help or "").split()) <= MOST_WORDS, (context.command_path, option.name)

"""Manual pages, made of what --help is made of when the package is built: see native/build_hook.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

import click

from dibundle import __version__
from dibundle.cli.exit_codes import EXIT_CODES
from dibundle.cli.main import main


def pages() -> dict[str, str]:
    """Return the manual pages by their file names: dib.1, dib-create.1 and so on."""
    context = click.Context(main, info_name="dib")
    assert isinstance(main, click.Group)
    wanted: list[tuple[str, click.Command]] = [("dib", main)]
    for name in main.list_commands(context):
        found = main.get_command(context, name)
        assert found
        wanted.append((f"dib-{name}", found))
    return {f"{title}.1": "\n".join(_page(title, item, context)) + "\n" for title, item in wanted}


def _page(title: str, item: click.Command, main: click.Context) -> Iterator[str]:
    """Yield the lines of a page."""
    info = title.replace("-", " ", 1)
    context = main if item is main.command else click.Context(item, info_name=info.split(" ", 1)[1], parent=main)
    short = item.short_help or "delta bundles for container images, as files"
    yield f'.TH "{title.upper()}" "1" "" "dib {__version__}" "dib manual"'
    yield ".SH NAME"
    yield f"{_text(title)} \\- {_text(short[:1].lower() + short[1:].rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f".B {_text(info)}"
    yield _text(" ".join(item.collect_usage_pieces(context)))
    yield ".SH DESCRIPTION"
    yield from _description(item.help or "")
    options = [
        record
        for option in item.get_params(context)
        if isinstance(option, click.Option) and (record := option.get_help_record(context))
    ]
    if options:
        yield ".SH OPTIONS"
        yield from _terms(options)
    if isinstance(item, click.Group):
        yield ".SH COMMANDS"
        yield from _terms([(f"dib-{name}(1)", _short(item, context, name)) for name in item.list_commands(context)])
        yield ".SH EXIT STATUS"
        yield from _terms([(str(code), text) for code, text in EXIT_CODES])
    else:
        yield ".SH SEE ALSO"
        yield ".BR dib (1)"


def _short(group: click.Group, context: click.Context, name: str) -> str:
    found = group.get_command(context, name)
    return (found.short_help or "") if found else ""


def _description(text: str) -> Iterator[str]:
    """Yield paragraphs; those that click does not wrap stay as they are, too."""
    kept = False
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            kept, lines = True, lines[1:]
        elif not lines[0].startswith("    "):
            kept = False
        yield ".PP"
        if kept:
            yield ".nf"
            yield from (_text(line) for line in lines)
            yield ".fi"
        else:
            yield from (_text(line.strip()) for line in lines)


def _terms(items: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, text in items:
        yield ".TP"
        yield f".B {_text(term)}"
        yield _text(" ".join(text.split()))


def _text(text: str) -> str:
    """Return text as troff takes it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped

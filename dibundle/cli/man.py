"""Manual pages, generated from the texts of --help when the package is built (see native/build_hook.py)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

import click

from dibundle import __version__
from dibundle.cli.environment import FILES, VARIABLES
from dibundle.cli.exit_codes import EXIT_CODES
from dibundle.cli.main import main


def pages() -> dict[str, str]:
    """Return the manual pages by file name, such as dib.1 and dib-create.1."""
    return {
        f"{context.command_path.replace(' ', '-')}.1": "\n".join(_page(context)) + "\n" for context in every_command()
    }


def every_command(context: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the click contexts of a command and all its subcommands. Without ``context``, the command is ``dib``."""
    context = context or click.Context(main, info_name="dib")
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            found = context.command.get_command(context, name)
            assert found
            yield from every_command(click.Context(found, info_name=name, parent=context))


def _page(context: click.Context) -> Iterator[str]:
    """Yield the lines of a page."""
    item, info = context.command, context.command_path
    title = info.replace(" ", "-")
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
        yield from _terms([(f"{title}-{name}(1)", _short(item, context, name)) for name in item.list_commands(context)])
    if item is main:
        yield ".SH EXIT STATUS"
        yield from _terms([(str(code), text) for code, text in EXIT_CODES])
        yield ".SH ENVIRONMENT"
        yield from _terms(VARIABLES)
        yield ".SH FILES"
        yield from _terms(FILES)
    else:
        yield ".SH SEE ALSO"
        yield ".BR dib (1)"


def _short(group: click.Group, context: click.Context, name: str) -> str:
    found = group.get_command(context, name)
    return (found.short_help or "") if found else ""


def _description(text: str) -> Iterator[str]:
    """Yield paragraphs. Wrap only the paragraphs that click would wrap."""
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
    """Return text escaped for troff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped

"""``dib man``: manual pages made of what --help is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dibundle import __version__
from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.errors import UsageError
from dibundle.files.destination import Destination

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_CODES = (
    (0, "Done."),
    (1, "A bug in dib."),
    (2, "The command line makes no sense."),
    (3, "A file or the system refused."),
    (4, "Not an image archive."),
    (5, "The bundle is malformed or over a limit."),
    (6, "The base is another one, or damaged."),
    (7, "The bundle is damaged."),
    (8, "A signature is missing or wrong, or it is another image than expected."),
    (9, "A registry failed."),
    (130, "Interrupted; 143: terminated, 129: its terminal went away."),
    (141, "Whoever read the output went away."),
)


def _commands(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    main = context.find_root()
    return main.command.shell_complete(main, typed)


@click.command("man", short_help="Write the manual pages.")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=_commands)
@click.option("-o", "--output", metavar="DIR", help="Write all of them there: dib.1, dib-create.1 and so on.")
@console_options(progress=False)
@click.pass_context
def command(context: click.Context, name: str | None, output: str | None, console: Console) -> None:
    """Write the manual page of dib, or of one of its commands, to stdout.

    \b
        dib man create | man -l -
        dib man -o /usr/local/share/man/man1
    """
    main = context.find_root()
    group = main.command
    assert isinstance(group, click.Group)
    if name is not None and name not in group.list_commands(main):
        raise UsageError(messages.OPTION_UNKNOWN_COMMAND, name=name)
    names = group.list_commands(main) if output else [name] if name else []
    wanted: list[tuple[str, click.Command]] = [("dib", group)] if output or name is None else []
    for item in names:
        found = group.get_command(main, item)
        assert found
        wanted.append((f"dib-{item}", found))
    pages = {f"{title}.1": "\n".join(_page(title, item, main)) + "\n" for title, item in wanted}
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        for title, text in pages.items():
            with Destination(str(Path(output, title))) as destination:
                destination.write(text.encode())
        console.answer("dib.man/1", {"pages": pages})
    else:
        console.answer("dib.man/1", {"pages": pages}, "".join(pages.values()).rstrip("\n"))


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

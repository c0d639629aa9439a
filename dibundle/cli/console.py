"""A command's output, and the options -q, -v, --progress and --json, which all commands have.

With --json, stdout has exactly one document, which is the result or the error. If a command normally writes an archive
or a bundle to stdout, --json requires a file for this data.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import click

from dibundle.cli import display, messages, terminal
from dibundle.errors import DibError, UsageError
from dibundle.files import wording
from dibundle.files.destination import Destination

Document = dict[str, object]
ERROR: Final = "dib.error/1"
_PIECE: Final = 1 << 16
# lone surrogates, except those that Python uses for bytes that are not UTF-8
_NO_BYTES: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")

_JSON = click.option("--json", "as_json", is_flag=True, help="Write the result or the error as JSON to stdout.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Print the time of each phase.")
_PROGRESS = click.option(
    "--progress",
    "mode",
    type=click.Choice(display.MODES),
    default="auto",
    show_default=True,
    help="Progress on stderr; auto: bars on a terminal.",
)


class Console:
    """A command's output. The library reports to ``progress``, and the command calls the other methods."""

    def __init__(
        self, *, mode: str = "auto", quiet: bool = False, verbose: bool = False, as_json: bool = False
    ) -> None:
        self.quiet, self.json = quiet, as_json
        self.progress = display.display(mode, quiet=quiet, verbose=verbose)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds since the command began."""
        return time.monotonic() - self._started

    def keep_stdout(self, destination: Destination) -> None:
        """Refuse to write data to stdout if the JSON document goes to stdout."""
        if self.json and destination.descriptor == 1:
            raise UsageError(messages.OPTION_JSON_AND_STDOUT)

    def say(self, text: str) -> None:
        """End the display of progress, and print a line on stderr."""
        self.progress.close()
        if not self.quiet:
            terminal.message(text)

    def say_signed(self, signed_by: Sequence[str]) -> None:
        """Print the accepted signers."""
        if signed_by:
            self.say("signed by " + ", ".join(map(wording.escape, signed_by)))

    def answer(self, schema: str, document: Document, lines: Iterable[str]) -> None:
        """Print the answer on stdout: the document with --json, otherwise ``lines`` as text."""
        self.result(schema, document)
        self.print_lines(lines)

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print lines of text to stdout while they are produced. If the JSON document goes to stdout, print nothing."""
        if not self.json:
            _echo(line + "\n" for line in lines)

    def result(self, schema: str, document: Document) -> None:
        """End the display of progress, and print the document if it was requested."""
        self.progress.close()
        if self.json:
            write(schema, document)


def write(schema: str, document: Document) -> None:
    """Write a document to stdout, in ASCII, so that the document cannot control a terminal.

    The document is written in pieces. An iterator in the document is written as a list, and is read one member at a
    time.
    """
    _echo(chain(_pieces({"schema": schema, **document}, "\n"), "\n"))


def _echo(pieces: Iterable[str]) -> None:
    """Write text to stdout, many pieces at a time."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > _PIECE:
            click.echo("".join(held), nl=False)
            held.clear()
            size = 0
    if held:
        click.echo("".join(held), nl=False)


def _pieces(value: object, line: str) -> Iterator[str]:
    """Yield the same JSON as :func:`json.dumps` with an indent of 2. ``line`` is a line break plus the indent."""
    if isinstance(value, dict) and value:
        inner, text = line + "  ", "{"
        for key, item in value.items():
            text += f"{inner}{encode_basestring_ascii(key)}: "
            if isinstance(item, str):
                text += encode_basestring_ascii(item)
            elif type(item) is int:
                text += str(item)
            else:
                yield text
                yield from _pieces(item, inner)
                text = ""
            text += ","
        yield text[:-1] + line + "}"
    elif isinstance(value, list | tuple | Iterator):
        inner, begins = line + "  ", "["
        for item in value:
            yield begins + inner
            yield from _pieces(item, inner)
            begins = ","
        yield "[]" if begins == "[" else line + "]"
    else:
        yield json.dumps(value)


def write_error(error: DibError, hint: str | None) -> None:
    """Write the document of an error."""
    document = {"class": _kind(error), "code": error.code, "exit_code": error.exit_code}
    write(ERROR, {**document, "message": _plain(error.message), "hint": hint and _plain(hint), "sizes": error.sizes})


def _kind(error: DibError) -> str:
    """Return the name of an error's class. If the class is not public, return the name of its public base class."""
    import dibundle

    names = [kind.__name__ for kind in type(error).__mro__]
    return next((name for name in names if name in dibundle.__all__ and name != "DibError"), names[0])


def _plain(text: str) -> str:
    """Return text without lone surrogates, which JSON does not allow."""
    return _NO_BYTES.sub("\ufffd", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def options(*, progress: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the output options to a command.

    The command's function gets the values of these options as ``console``. Without ``progress``, add only --json.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**others: Any) -> None:  # noqa: ANN401 - the command's own parameters
            told = {name: others.pop(name) for name in ("mode", "quiet", "verbose", "as_json") if name in others}
            console = Console(**told)
            try:
                command(console=console, **others)
            finally:
                console.progress.close()

        decorated: Callable[..., None] = run
        for option in (_JSON, _PROGRESS, _VERBOSE, _QUIET) if progress else (_JSON,):
            decorated = option(decorated)
        return decorated

    return decorate

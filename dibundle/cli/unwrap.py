"""``dib unwrap``."""

from __future__ import annotations

import click

from dibundle.cli import documents
from dibundle.cli.console import Console
from dibundle.cli.session import session
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.unwrap import TakenBundle, unwrap
from dibundle.sources.access import Access


@click.command("unwrap", short_help="Take the bundle out of an image that was made of it.")
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", metavar="OUT", help="The bundle to write, whole or not at all; default is stdout.")
@session(signatures=True)
def command(source: str, output: str | None, access: Access, context: Context, console: Console) -> None:
    """Write the bundle in an image that "dib wrap" made, in any archive of it, after checking it.

    \b
        dib unwrap docker-daemon:app:1-2 -o update.dib
    """
    destination = Destination("-" if output is None else output)
    console.keep_stdout(destination)
    print_taken("dib.unwrap/1", source, destination.name, unwrap(source, destination, access, context), console)


def print_taken(schema: str, source: str, output: str, taken: TakenBundle, console: Console) -> None:
    """Say what was written."""
    document = {
        **documents.name("source", source),
        **documents.name("output", output),
        "size": taken.size,
        "targets": documents.targets(taken.targets),
    }
    console.result(schema, document)
    if output != "-":
        console.say(f"{wording.escape(output)}: {wording.human(taken.size)}, undamaged")

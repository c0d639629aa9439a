"""``dib unwrap``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.results.unwrap import show
from dibundle.cli.session import session
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.unwrap import unwrap
from dibundle.sources.access import Access


@click.command("unwrap", cls=Command, short_help="Extract the bundle from a wrapped image.")
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", metavar="OUT", help="Bundle to write. Default: stdout.")
@session(signatures=True)
def command(source: str, output: str | None, access: Access, context: Context, console: Console) -> None:
    """Extract the bundle from an image that "dib wrap" made, and check it.

    \b
        dib unwrap docker-daemon:app:1-2 -o update.dib
    """
    destination = Destination("-" if output is None else output)
    console.keep_stdout(destination)
    show("dib.unwrap/1", source, destination.name, unwrap(source, destination, access, context), console)

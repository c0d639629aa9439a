"""``dib pull``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results.unwrap import show
from dibundle.cli.session import session
from dibundle.errors import Hint, shell_words
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.unwrap import pull
from dibundle.sources.access import Access


@click.command("pull", cls=Command, short_help="Pull a bundle from a registry.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option("-o", "--output", metavar="OUT", required=True, help="Bundle to write.")
@session(signatures=True)
def command(name: str, output: str, access: Access, context: Context, console: Console) -> None:
    """Pull a bundle from a registry, and check it.

    The bundle may be an artifact ("dib push") or inside an image ("dib wrap").

    \b
        dib pull docker://registry.example/app:1-2 -o update.dib
    """
    destination = Destination(output)
    console.keep_stdout(destination)
    image = Hint.of("to get an image: {dib} update {name} -o new.tar", name=shell_words(name))
    with hints({"source.no_bundle": image}):
        taken = pull(name, destination, access, context)
    show("dib.pull/1", name, destination.name, taken, console)

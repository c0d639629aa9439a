"""``dib inventory``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.session import session
from dibundle.creating.inventory import inventory
from dibundle.files.context import Context
from dibundle.sources.access import Access


@click.command("inventory", cls=Command, short_help="Write an inventory of local layers for the sender.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@session(progress=False)
def command(sources: tuple[str, ...], access: Access, context: Context, console: Console) -> None:
    """Write an inventory of the layers in archives or engines to stdout, for "dib create --inventory".

    \b
        dib inventory docker-daemon:app:1 > far.json              # at the receiver
        dib create --inventory far.json --base old.tar new.tar update.dib

    The output is JSON, with or without --json.
    """
    del console
    click.echo(inventory(sources, access, context))

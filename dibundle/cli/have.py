"""``dib have``."""

from __future__ import annotations

from contextlib import ExitStack

import click

from dibundle.cli import registries
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import open_archives
from dibundle.creating.inventory import list_of


@click.command("have", short_help="List the layers that are here, for a sender who has the images.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options(progress=False)
def command(sources: tuple[str, ...], tmp: str | None, console: Console) -> None:
    """Write the list of the layers in archives, or of images that an engine is asked for, to stdout.

    \b
        dib have docker-daemon:app:1 > far.json              # at the receiver
        dib create --have far.json --base old.tar new.tar update.dib

    The list is JSON already: --json changes nothing but the errors.
    """
    del console
    with ExitStack() as stack:
        click.echo(list_of(open_archives(sources, stack, tmp=tmp).archives))

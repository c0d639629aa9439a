"""``dib unwrap``."""

from __future__ import annotations

from contextlib import ExitStack

import click

from dibundle.cli import documents, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import one_stream, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.files.destination import Destination
from dibundle.files.readat import copy_chunks
from dibundle.sharing.wrap import keep


@click.command("unwrap", short_help="Take the bundle out of an image that was made of it.")
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", metavar="OUT", help="The bundle to write, whole or not at all; default is stdout.")
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(source: str, output: str | None, tmp: str | None, trust: Trust, console: Console) -> None:
    """Write the bundle in an image that "dib wrap" made, in any archive of it, after checking it.

    \b
        dib unwrap docker-daemon:app:1-2 -o update.dib
    """
    write_bundle(source, output, tmp, trust, console, "dib.unwrap/1")


def write_bundle(
    source: str,
    output: str | None,
    tmp: str | None,
    trust: Trust,
    console: Console,
    schema: str,
    *,
    hint: str | None = None,
) -> None:
    """Write the one bundle behind a name, undamaged; ``hint`` is for a name with none behind it."""
    with ExitStack() as stack:
        destination = Destination("-" if output is None else output)
        console.keep_stdout(destination)
        opened = open_sources([source], stack, trust=trust.check, tmp=tmp)
        opened.refuse_overwriting(destination)
        bundle = keep(one_stream(opened, hint=hint), stack, tmp)
        with destination:
            for piece in copy_chunks(bundle.content, 0, bundle.content.size):
                destination.write(piece)
    manifest = bundle.manifest
    console.result(
        schema,
        {
            **documents.name("source", source),
            **documents.name("output", destination.name),
            "size": destination.written,
            "targets": documents.targets(manifest),
        },
    )
    if output is not None:
        console.say(f"{terminal.escape(output)}: {terminal.human(destination.written)}, undamaged")

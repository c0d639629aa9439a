"""``dib merge``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.levels import level_options
from dibundle.cli.option_groups import Command
from dibundle.cli.results.create import document
from dibundle.cli.session import max_size, session
from dibundle.creating.merge import merge
from dibundle.creating.options import CreateOptions
from dibundle.errors import human
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access


@click.command("merge", cls=Command, short_help="Merge bundles that build on each other into one.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@click.option("-o", "--output", metavar="OUT", required=True, help="Bundle to write.")
@level_options
@max_size
@session(signatures=True)
def command(
    sources: tuple[str, ...],
    output: str,
    level: int | None,
    max_size: int,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Merge a chain of bundles into one bundle. SOURCEs are the bundles and the base of the first bundle.

    \b
        dib merge v1.tar v1-v2.dib v2-v3.dib -o v1-v3.dib

    dib rebuilds the last target into a temporary file. Then it creates the new bundle from the base and this file. If
    one bundle adds content and the next bundle removes this content, the new bundle does not contain this content.
    Merging takes as long as "dib apply" and "dib create" together.
    """
    destination = Destination(output)
    console.keep_stdout(destination)
    result = merge(sources, destination, CreateOptions(level=level), access, context, max_size=max_size)
    console.result("dib.merge/1", document(output, result, console.seconds))
    console.say(
        f"{wording.escape(output)}: {human(result.size)} for {human(result.target_size)}, in {console.seconds:.1f} s"
    )

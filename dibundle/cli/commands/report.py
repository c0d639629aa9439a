"""``dib report``."""

from __future__ import annotations

import click

from dibundle.applying.options import RebuildOptions
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import max_size, session
from dibundle.errors import Hint, human
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.inspecting.report import report
from dibundle.sources.access import Access


@click.command("report", cls=Command, short_help="Write an HTML report on the contents of a bundle.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("-o", "--output", default="-", metavar="FILE", help="Write to FILE. Default: stdout.")
@click.option("--target", metavar="NAME", help="Target to show, by tag or digest, if the bundle has several.")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="BASE",
    help="Base to compare with; may be repeated.",
)
@max_size
@session(signatures=True)
def command(
    bundle: str,
    output: str,
    target: str | None,
    bases: tuple[str, ...],
    max_size: int,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Write an HTML page about BUNDLE: a map of its bytes, a list of paths, and changes between the images.

    \b
        dib report update.dib -o report.html
        dib report update.dib --base old.tar -o report.html

    The page loads nothing from elsewhere. With --base, the target is rebuilt into a temporary file, and its packages
    and config are compared with those of the first base.
    """
    destination = Destination(output)
    options = RebuildOptions(target=target, max_size=max_size)
    console.keep_stdout(destination)
    with hints({"source.no_bundle": Hint.of("give the .dib file in place of {name}", name=bundle)}):
        result = report(bundle, bases, destination, options, access, context)
    document = {
        **documents.name("bundle", bundle),
        **documents.name("output", destination.name),
        "size": result.size,
        "sha256": result.sha256,
        "paths": result.paths,
        "compared": result.compared,
    }
    console.result("dib.report/1", document)
    console.say(f"{wording.escape(destination.name)}: {result.paths:,} paths, {human(result.size)}")

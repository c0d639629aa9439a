"""``dib update``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.results.update import show, show_plan
from dibundle.cli.session import max_size, session
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access
from dibundle.sources.engines import ENGINES


@click.command("update", short_help="Fetch an image over the smallest chain of deltas.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option("--base", "bases", multiple=True, metavar="IMAGE", help="Image that is here; absent ones are skipped.")
@click.option(
    "--engine", type=click.Choice(sorted(ENGINES)), help="Default: that of an IMAGE, else docker, podman, ctr."
)
@click.option("-o", "--output", metavar="FILE", help="Write the image archive there instead of loading it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@max_size
@session(signatures=True, expect=True, platform="Which image to get where a name stands for several.")
def command(
    name: str,
    bases: tuple[str, ...],
    engine: str | None,
    output: str | None,
    dry_run: bool,
    max_size: int,
    expect: frozenset[bytes],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Get an image from a registry, by the bundles there that lead to it from what is here ("dib push").

    \b
        dib update docker://registry.example/app:2 --base docker-daemon:app:1
        dib update docker://registry.example/app:2 --base old.tar -o new.tar

    Of all chains of bundles that of the fewest bytes is taken, or the image itself where that is less. What comes out
    must be the very image under that name, else nothing is loaded. Nothing is fetched if the engine has it already. A
    bundle that was deleted or is damaged is passed over. With --allowed-signers one that none of them signed is, too
    (--dry-run does not fetch any, and cannot tell), and the image itself is never fetched.

    A wrapped bundle ("dib wrap --push") is applied: of it the bundle alone is fetched where an IMAGE has the rest.
    """
    from dibundle.sharing.update import UpdateOptions, plan_update, update  # needs urllib3

    options = UpdateOptions(engine=engine, expect=expect, max_size=max_size)
    destination = Destination(output) if output is not None else None
    if destination:
        console.keep_stdout(destination)
    if dry_run:
        show_plan(name, plan_update(name, bases, destination, options, access, context), console)
        return
    with context:
        result = update(name, bases, destination, options, access, context)
    show(name, result, console)

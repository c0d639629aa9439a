"""``dib update``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.results.update import show, show_plan
from dibundle.cli.session import max_size, session
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access
from dibundle.sources.engines import ENGINES


@click.command("update", cls=Command, short_help="Fetch an image over the smallest chain of deltas.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="IMAGE",
    help="Local image; skipped if missing. May be repeated.",
)
@click.option(
    "--engine",
    type=click.Choice(sorted(ENGINES)),
    help="Engine to load into. Default: the engine of an IMAGE, else docker, podman or ctr.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the image to FILE, an archive with the same blobs as in the registry; load nothing.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be fetched.")
@max_size
@session(signatures=True, expect=True, platform="Platform to fetch if the reference is an index.")
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
    """Fetch an image from a registry, by the smallest chain of deltas or in full; then load and verify it.

    \b
        dib update docker://registry.example/app:2 --base docker-daemon:app:1
        dib update docker://registry.example/app:2 --base old.tar -o new.tar

    The bundles are those that "dib push" attached to images in the repository. Missing and damaged bundles are skipped.
    The result must be exactly the image that the registry has under this name; else nothing is loaded. If the engine
    already has this image under this name, nothing is fetched.

    With --allowed-signers, bundles without a trusted signature are skipped, and the image is never fetched in full.
    --dry-run fetches no bundle, so it cannot check signatures.

    If the name leads to a wrapped bundle ("dib wrap --push"), this bundle is applied. If an IMAGE already has the base
    layers of the wrapped image, only the layer with the bundle is fetched.
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

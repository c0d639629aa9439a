"""``dib load``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dibundle.applying.loading import LoadOptions, load
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import PLATFORM, base, max_size, session
from dibundle.codecs.native.library import reuse_memory
from dibundle.errors import Hint, shell_words
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.sources.access import Access
from dibundle.sources.engines import ENGINES


@click.command("load", cls=Command, short_help="Apply a bundle and load the image into an engine.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@click.option(
    "--engine",
    type=click.Choice(sorted(ENGINES)),
    help="Engine to load into. Default: the engine of a SOURCE, else docker, podman or ctr.",
)
@base
@click.option("--target", metavar="NAME", help="Target to load, by tag or digest, if the bundle has several.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the engine has already.")
@max_size
@session(signatures=True, expect=True, platform=PLATFORM)
def command(
    sources: tuple[str, ...],
    bases: tuple[str, ...],
    engine: str | None,
    target: str | None,
    thin: bool,
    max_size: int,
    expect: frozenset[bytes],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Apply a bundle, load the image into an engine, and verify that the engine has it.

    \b
        dib load old.tar update.dib
        dib load --engine podman old.tar update.dib
        dib load update.dib --base docker-daemon:app:1 --base app-1.dib

    With --expect, the engine gets only the expected image, and dib compares the ID of the loaded image. Otherwise, dib
    only checks that the engine has images with the names and IDs in the bundle's description.

    A --base that does not exist is skipped, so that one command fits all machines.

    If "dib apply" would fail, the exit code is the same as from "dib apply". Otherwise, the exit code comes from the
    loader. Engines are found as their own clients find them (DOCKER_HOST, CONTAINERS_STORAGE_CONF, CONTAINERD_ADDRESS,
    ...).
    """
    reuse_memory()
    options = LoadOptions(engine=engine, target=target, expect=expect, max_size=max_size, thin=thin)
    with hints({"source.no_bundle": _without_bundle(sources)}), context:
        result = load(sources, options, access, context, candidates=bases)
    console.progress.close()
    document = {
        "engine": result.engine,
        "images": documents.images(result.images),
        "checked": result.is_checked,
        "signed_by": result.signed_by,
        "seconds": round(console.seconds, 3),
    }
    console.result("dib.load/1", document)
    console.say_signed(result.signed_by)
    for image in result.images:
        names = ", ".join(wording.escape(name) for name in image.names) or "image"
        which = f"loaded and checked, sha256:{image.id.hex()}" if result.is_checked else "loaded"
        console.say(f"{names}: {which}, in {console.seconds:.1f} s")


def _without_bundle(sources: Sequence[str]) -> Hint | None:
    """Return the hint for sources without a bundle: an engine can load a single archive without dib."""
    (first, *others) = sources
    if others or not Path(first).is_file():
        return None
    return Hint.of("an archive is loaded by the engine itself: {load} {name}", name=shell_words(first))

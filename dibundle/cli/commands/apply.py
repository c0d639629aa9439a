"""``dib apply``."""

from __future__ import annotations

import click

from dibundle.applying.pipeline import ApplyOptions, apply
from dibundle.cli.arguments import FORMS, parse_output, source_hints
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.results.apply import show, show_check
from dibundle.cli.session import PLATFORM, base, max_size, session
from dibundle.codecs.native.library import reuse_memory
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access


@click.command("apply", short_help="Rebuild an image archive from its base and a bundle.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]", required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write there, whole or not at all; a folder gets a file for each target. Default: stdout.",
)
@click.option(
    "--format",
    "form",
    metavar="FORM",
    shell_complete=lambda context, option, typed: [form for form in FORMS if form.startswith(typed)],
    help="Write docker-archive, oci-archive or oci:FOLDER instead of the exact target.",
)
@base
@click.option("--target", metavar="NAME", help="Which one to make, of a bundle that makes several archives.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the receiver has loaded.")
@click.option(
    "--check", "only_check", is_flag=True, help="Only say whether it would work here; reads heads and metadata."
)
@max_size
@session(signatures=True, expect=True, platform=PLATFORM)
def command(
    sources: tuple[str, ...],
    bases: tuple[str, ...],
    output: str | None,
    form: str | None,
    target: str | None,
    thin: bool,
    only_check: bool,
    max_size: int,
    expect: frozenset[bytes],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Rebuild the image archive that a bundle makes, byte for byte.

    \b
        dib apply old.tar update.dib | docker load
        dib apply old.tar update.dib -o new.tar
        dib apply v1.tar v1-v2.dib v2-v3.dib -o v3.tar
        dib apply docker-daemon:app:1 update.dib | docker load
        dib apply old.tar release.dib -o new/

    Each SOURCE is recognised by its content: bundles are applied, archives (of any form that holds the same layers)
    are bases. Bundles that build on each other may come in any order. An OCI layout in a folder is an archive too, and
    docker-daemon:NAME or containers-storage:NAME asks docker or podman to save an image; docker://HOST/NAME:TAG is in a
    registry, image or bundle. An image that "dib wrap" made is base and bundle at once. "-" is stdin.

    --check reads heads and metadata, and asks engines which layers they have: nothing is saved or made.

    A --base is a SOURCE that may be absent: an image, or a bundle that makes it, which is applied only if it is needed.

    With --allowed-signers, each bundle must be signed (see "dib sign"), which is checked before anything else is read.
    A signature does not say that a bundle is the latest one, or yours: --expect does.
    """
    reuse_memory()
    wanted, where = parse_output(output, form)
    options = ApplyOptions(target=target, expect=expect, max_size=max_size, form=wanted, thin=thin)
    with hints(source_hints(sources)):
        if only_check:
            from dibundle.applying.check import check

            show_check(check(sources, where, options, access, context, candidates=bases), console)
            return
        if isinstance(where, Destination):
            console.keep_stdout(where)
        show(apply(sources, where, options, access, context, candidates=bases), console)

"""``dib apply``."""

from __future__ import annotations

import click

from dibundle.applying.pipeline import ApplyOptions, apply
from dibundle.cli.arguments import FORMS, parse_output, source_hints
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results.apply import show, show_check
from dibundle.cli.session import PLATFORM, base, max_size, session
from dibundle.codecs.native.library import reuse_memory
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access


@click.command("apply", cls=Command, short_help="Rebuild an image archive from its base and a bundle.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]", required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write to FILE, or one file per target to FOLDER/. Default: stdout.",
)
@click.option(
    "--format",
    "form",
    metavar="FORM",
    shell_complete=lambda context, option, typed: [form for form in FORMS if form.startswith(typed)],
    help="Write docker-archive, oci-archive or oci:FOLDER in place of the exact archive.",
)
@base
@click.option("--target", metavar="NAME", help="Target to rebuild, by tag or digest, if the bundle has several.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the engine has already.")
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Check quickly whether the bundle can be applied, and list what is missing.",
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
    """Rebuild the target archive of a bundle, byte for byte.

    \b
        dib apply old.tar update.dib | docker load
        dib apply old.tar update.dib -o new.tar
        dib apply docker-daemon:app:1 update.dib | docker load
        dib apply v1.tar v1-v2.dib v2-v3.dib -o v3.tar
        dib apply old.tar release.dib -o new/

    SOURCEs are bundles and bases in any order; dib recognises each by its content. A base is any archive or OCI layout
    that holds the needed layers. It may also be an image in an engine (docker-daemon:NAME, containers-storage:NAME) or
    in a registry (docker://HOST/NAME:TAG). Bundles may be in a registry, too. An image from "dib wrap --linked" holds
    both base and bundle. "-" is stdin.

    With --allowed-signers, an unsigned bundle is refused before it is parsed. A signature proves who made a bundle, but
    not that the bundle is the latest. To require a certain image, use --expect.
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

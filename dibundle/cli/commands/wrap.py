"""``dib wrap``."""

from __future__ import annotations

import click

from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import session
from dibundle.errors import Hint, UsageError, human
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.wrap import WrapOptions, push_wrapped, wrap
from dibundle.sources.access import Access


@click.command("wrap", cls=Command, short_help="Wrap a bundle as a container image.")
@click.argument("sources", nargs=-1, metavar="BUNDLE", required=True)
@click.option(
    "--linked", "kind", flag_value="linked", help="Build on the base's layers, and add a layer that holds the bundle."
)
@click.option(
    "--unlinked", "kind", flag_value="unlinked", help="Build an image with only one layer, which holds the bundle."
)
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Base image, for --linked.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Name of the image; may be repeated.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE. Default: stdout.")
@click.option("--push", "target", metavar="docker://HOST/NAME:TAG", help="Push the image instead of writing it.")
@session(signatures=True, platform="Platform of an unlinked image, or of the image to export.")
def command(
    sources: tuple[str, ...],
    kind: str | None,
    bases: tuple[str, ...],
    tags: tuple[str, ...],
    output: str | None,
    target: str | None,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Wrap BUNDLE as a container image. Registries and engines store and copy it like any other image.

    \b
        dib wrap update.dib --linked --base old.tar --tag app:1-2 | docker load
        dib wrap update.dib --unlinked --tag app:delta -o delta.tar
        dib wrap update.dib --linked --base docker://registry.example/app:1 --push docker://registry.example/app:1-2

    A linked image has the base's own layers and one more layer. This image contains everything that "dib apply" needs.
    Do not run a wrapped image: apply it.
    """
    if kind is None:
        raise UsageError(messages.WRAP_KIND)
    if len(sources) > 1:
        raise UsageError(messages.WRAP_ARGUMENTS, sources_count=len(sources))
    if (kind == "linked") != bool(bases):
        raise UsageError(messages.WRAP_NO_BASE if kind == "linked" else messages.WRAP_BASE)
    options = WrapOptions(tags=tags, platform=access.platform)
    with hints({"source.no_bundle": Hint.of("give the .dib file in place of {name}", name=sources[0])}):
        if target is not None:
            pushed = push_wrapped(sources[0], bases, target, options, access, context)
            document = {"output": str(pushed.reference), "kind": kind, "size": pushed.size}
            console.result("dib.wrap/1", {**document, "tags": [pushed.reference.tag or "latest"]})
            console.say(f"{pushed.reference}: {pushed.sent} of {pushed.blobs} blobs sent, {human(pushed.size)}")
            return
        destination = Destination("-" if output is None else output)
        console.keep_stdout(destination)
        names = wrap(sources[0], bases, destination, options, access, context)
    document = {**documents.name("output", destination.name), "kind": kind, "size": destination.written}
    console.result("dib.wrap/1", {**document, "tags": list(names)})
    if output is not None:
        console.say(f"{wording.escape(output)}: {kind} image, {human(destination.written)}")

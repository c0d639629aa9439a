"""``dib inspect``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import inspect as results
from dibundle.cli.results import listing
from dibundle.cli.session import session
from dibundle.errors import Hint, shell_words
from dibundle.files.context import Context
from dibundle.inspecting.inspection import inspect
from dibundle.inspecting.listing import DEPTH, OF_BUNDLE, Choice, top, tree
from dibundle.inspecting.operations import layers_of
from dibundle.sources.access import Access


@click.command("inspect", cls=Command, short_help="Show what a bundle needs and what it contains.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--list", "show", flag_value="list", help="List the operation of each path.")
@click.option("--tree", "show", flag_value="tree", help="Show where the bytes go, by folder.")
@click.option("--layers", "show", flag_value="layers", help="Show what each layer is rebuilt from.")
@click.option("--target", metavar="NAME", help="Target to list, by tag or digest, if the bundle has several.")
@listing.options(OF_BUNDLE)
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="BASE",
    help="Base, to list all paths and sizes; may be repeated.",
)
@session(signatures=True, progress=False)
def command(
    bundle: str,
    show: str | None,
    target: str | None,
    choice: Choice,
    bases: tuple[str, ...],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Show what BUNDLE needs, what it rebuilds and where its bytes go.

    \b
        dib inspect update.dib
        dib inspect update.dib --list --op patch --sort stored
        dib inspect update.dib --list --path 'usr/lib/*' --base old.tar
        dib inspect update.dib --tree --depth 2

    Files that are patched together share a frame. The frame's bytes are divided among these files by size. Without
    --base, the sizes of patched files are unknown, and count as equal.

    "mode" means that only metadata changed: permissions, owner or time. "dib diff" shows a change of only the time as a
    separate operation.
    """
    listing.require(choice, show)
    of_an_archive = Hint.of(
        "to compare an archive with another one: {dib} diff {name} NEW.tar", name=shell_words(bundle)
    )
    with hints({"source.no_bundle": of_an_archive}):
        found = inspect(bundle, bases, access, context, target=target, lines_wanted=show is not None)
    lines = found.lines
    document = results.document(found)
    if found.number is not None:
        document["top"] = [listing.line_json(line) for line in top(lines, results.TOP)]
        document["layers"] = map(listing.layer_json, layers_of(lines))
    if show == "list":
        chosen = choice.of(lines)
        document["operations"] = map(listing.line_json, chosen)
        text = listing.table(chosen, stored=True)
    elif show == "tree":
        folders = tree(choice.of(lines), choice.depth or DEPTH)
        document["tree"] = map(listing.folder_json, folders)
        text = listing.tree_table(folders, stored=True)
    elif show == "layers":
        text = listing.layer_table(layers_of(lines))
    else:
        text = results.summary(bundle, found)
    console.answer("dib.inspect/1", document, text)

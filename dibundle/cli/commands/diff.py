"""``dib diff``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.results import diff as results
from dibundle.cli.results import listing
from dibundle.cli.session import PLATFORM, session
from dibundle.files.context import Context
from dibundle.inspecting.image_diff import diff
from dibundle.inspecting.listing import DEPTH, OF_IMAGES, Choice, tree
from dibundle.sources.access import Access


@click.command("diff", cls=Command, short_help="Compare two images without creating a bundle.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--list", "show", flag_value="list", help="List every path that changed.")
@click.option("--tree", "show", flag_value="tree", help="Show the changes by folder.")
@listing.options(OF_IMAGES)
@session(platform=PLATFORM)
def command(
    old: str,
    new: str,
    show: str | None,
    choice: Choice,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Compare the image in OLD with the image in NEW: paths, sizes, packages and config. No bundle is created.

    \b
        dib diff old.tar new.tar
        dib diff old.tar new.tar --list --op patch --sort size
        dib diff docker-daemon:app:1 docker-daemon:app:2 --tree

    The root filesystems are compared: a file that only moved to another layer is unchanged. "time" means that only
    the time of a path changed; "mode" means that permissions, owner, type or link target changed.
    """
    listing.require(choice, show, listed=console.json)
    changes = diff(old, new, access, context)
    document = results.document(changes)
    chosen = choice.of(changes.lines)
    document["operations"] = map(listing.line_json, chosen)
    if show == "tree":
        folders = tree(chosen, choice.depth or DEPTH)
        document["tree"] = map(listing.folder_json, folders)
        text = listing.tree_table(folders, stored=False)
    elif show == "list":
        text = listing.table(chosen, stored=False)
    else:
        text = results.summary(old, new, changes)
    console.answer("dib.diff/1", document, text)

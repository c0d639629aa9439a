"""``dib delete``."""

from __future__ import annotations

import click

from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.results.catalog import show_deleted
from dibundle.cli.session import session
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.sharing.delete import delete_bundles, delete_orphans
from dibundle.sources.access import Access


@click.command("delete", cls=Command, short_help="Delete bundles from a registry.")
@click.argument("names", nargs=-1, required=True, metavar="docker://HOST/NAME[:TAG|@DIGEST]...")
@click.option("--orphans", is_flag=True, help="In a repository, delete the bundles whose image or blob is missing.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted.")
@session()
def command(
    names: tuple[str, ...], orphans: bool, dry_run: bool, access: Access, context: Context, console: Console
) -> None:
    """Delete bundles and all their tags from a registry. Name each bundle by tag or digest. Images are never deleted.

    \b
        dib delete docker://registry.example/app:delta-1-2
        dib delete docker://registry.example/app@sha256:DIGEST
        dib delete --orphans docker://registry.example/app

    "dib list" shows tags and digests. --orphans takes a repository, and deletes the bundles whose image or blob is
    missing. Space is freed when the registry collects garbage.
    """
    if orphans and len(names) > 1:
        raise UsageError(messages.DELETE_SEVERAL, count=len(names))
    if orphans:
        result = delete_orphans(names[0], access, context, dry_run=dry_run)
    else:
        result = delete_bundles(names, access, context, dry_run=dry_run)
    show_deleted(result, console, dry_run=dry_run)

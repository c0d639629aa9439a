"""``dib list``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.results.catalog import show_list
from dibundle.cli.session import session
from dibundle.files.context import Context
from dibundle.sharing.catalog import list_bundles
from dibundle.sources.access import Access


@click.command("list", cls=Command, short_help="List the bundles in a repository.")
@click.argument("name", metavar="docker://HOST/NAME")
@session(signatures=True)
def command(name: str, access: Access, context: Context, console: Console) -> None:
    """List the bundles in a repository: size, date, base and target images, tags and digest.

    \b
        dib list docker://registry.example/app

    Bundles are found by their tags and by the images that they are attached to. STATE shows what is missing: the target
    image, the bundle, or the manifest of a bundle. "dib delete --orphans" deletes bundles with missing parts.

    With --allowed-signers, the beginning of each bundle is fetched. SIGNED BY then shows the trusted signer, and the
    images shown are those in the signed bundle. All other columns show only what the registry claims.
    """
    found = list_bundles(name, access, context)
    show_list(found, console, with_signers=access.signature_check().required is not None)

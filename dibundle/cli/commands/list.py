"""``dib list``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.results.catalog import show_list
from dibundle.cli.session import session
from dibundle.files.context import Context
from dibundle.sharing.catalog import list_bundles
from dibundle.sources.access import Access


@click.command("list", short_help="List the bundles in a repository.")
@click.argument("name", metavar="docker://HOST/NAME")
@session(signatures=True)
def command(name: str, access: Access, context: Context, console: Console) -> None:
    """List the bundles in a repository: size, date, the images each needs and makes, its tags and its digest.

    \b
        dib list docker://registry.example/app

    Bundles are found by their tags and by the images that lead to them. STATE names what is gone: the image that the
    bundle makes, the bundle, or the manifest that a list still names. "dib delete --orphans" deletes these.

    With --allowed-signers the head of each bundle is fetched. SIGNED BY names who of them signed it, and a signed
    bundle itself says which images it needs and makes. All else is as the registry lists it: nothing proves that.
    """
    found = list_bundles(name, access, context)
    show_list(found, console, with_signers=access.signature_check().required is not None)

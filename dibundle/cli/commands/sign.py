"""``dib sign``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import session
from dibundle.errors import Hint
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.sign import SignOptions, sign
from dibundle.sources.access import Access


@click.command("sign", cls=Command, short_help="Sign a bundle with an SSH key.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--key", metavar="KEY", help="Private key, or public key whose private key is in an SSH agent.")
@click.option("--signature", metavar="FILE", help="Store this signature, which ssh-keygen made elsewhere.")
@click.option("--detach", is_flag=True, help="Write the signature to BUNDLE.sig, not into the bundle.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead.")
@session()
def command(
    bundle: str,
    key: str | None,
    signature: str | None,
    detach: bool,
    output: str | None,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Check every byte of BUNDLE, and sign it with an SSH key. The signature is stored in the bundle.

    \b
        dib sign --key ~/.ssh/id_ed25519 update.dib
        dib verify --allowed-signers signers update.dib

    The signature covers the first 64 bytes, which hold the digest of everything else. An old signature is replaced. A
    detached signature can be checked without dib:

    \b
        head -c 64 update.dib | ssh-keygen -Y verify -n dib -f signers -I me@example.com -s update.dib.sig

    If a bundle was split into parts, the signature is stored in the first part. To sign a bundle in a registry, use
    --detach -o FILE, or pull it, sign it and push it again.
    """
    if output is not None:
        console.keep_stdout(Destination(output))
    options = SignOptions(key=key, signature=signature, detach=detach, output=output)
    with hints({"source.no_bundle": Hint.of("give the .dib file in place of {name}", name=bundle)}):
        result = sign(bundle, options, access, context)
    document = {
        **documents.name("output", result.output),
        "key": result.key,
        "detached": detach,
        "replaced": result.replaced,
    }
    console.result("dib.sign/1", document)
    console.say(
        f"{wording.escape(result.output)}: signed by key {result.key}"
        + (", in place of another" if result.replaced else "")
    )

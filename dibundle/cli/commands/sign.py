"""``dib sign``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.results import documents
from dibundle.cli.session import session
from dibundle.errors import Hint
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.sign import SignOptions, sign
from dibundle.sources.access import Access


@click.command("sign", short_help="Sign a bundle with an SSH key.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--key", metavar="KEY", help="A private key, or a public one whose other half an agent holds.")
@click.option("--signature", metavar="FILE", help="Put in this signature, made by ssh-keygen elsewhere.")
@click.option("--detach", is_flag=True, help="Leave the bundle as it is; write BUNDLE.sig.")
@click.option("-o", "--output", metavar="FILE", help="Write there instead.")
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
    """Sign BUNDLE, once every byte of it is checked; the signature goes into the bundle itself.

    \b
        dib sign --key ~/.ssh/id_ed25519 update.dib
        dib verify --allowed-signers signers update.dib

    What is signed is the first 64 bytes, which commit to all the rest. A signature that is there already is replaced.
    A detached one can be checked without dib:

    \b
        head -c 64 update.dib | ssh-keygen -Y verify -n dib -f signers -I me@example.com -s update.dib.sig

    Of a bundle in parts the first part is signed, and grows by the signature. One in a registry: pull it, sign it, push
    it again; with --detach -o FILE it is signed where it is.
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

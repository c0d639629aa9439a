"""``dib push``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import session
from dibundle.errors import Hint, human, shell_words
from dibundle.files.context import Context
from dibundle.sharing.push import push
from dibundle.sources.access import Access
from dibundle.sources.names import SCHEME


@click.command("push", cls=Command, short_help="Push a bundle to a registry.")
@click.argument("bundle", metavar="BUNDLE")
@click.argument("name", metavar="docker://HOST/NAME[:TAG]")
@click.option("--subject", metavar="TAG|DIGEST", help="Target image in the repository. Default: the tag in the bundle.")
@session(signatures=True)
def command(bundle: str, name: str, subject: str | None, access: Access, context: Context, console: Console) -> None:
    """Push BUNDLE to a registry as an OCI artifact that is attached to the target image.

    \b
        dib push update.dib docker://registry.example/app:delta-1-2

    The bundle is attached to its target image in the same repository. The target image is the image that --subject
    names. Without --subject, the target image is found by the tag that it had when the bundle was created. "dib update"
    and "dib mirror" find the bundle through this image. Without TAG, the bundle can be found only through this image.

    If TAG belongs to an image, the push is refused, because engines could no longer pull that image.
    """
    image = shell_words(name.removeprefix(SCHEME))
    with hints({"source.no_bundle": Hint.of("an image is pushed by its engine: {docker} push {image}", image=image)}):
        result = push(bundle, name, access, context, subject=subject)
    document = {
        **documents.name("bundle", bundle),
        "name": result.name,
        "digest": result.digest,
        "size": result.size,
        "sent": result.sent,
        "refers_to": result.refers_to,
    }
    console.result("dib.push/1", document)
    what = f"{human(result.size)} sent" if result.sent else "was there already"
    if result.has_tag:
        what = what if result.sent else "nothing sent, now under this name"
        what += f", in place of {result.replaced}" if result.replaced else ""
    console.say(f"{result.name}: {what}" + (f", refers to {result.refers_to}" if result.refers_to else ""))

"""``dib sign``."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import ExitStack

import click

from dibundle.applying.verify import check_integrity
from dibundle.cli import documents, messages, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import in_place_of, one_bundle, open_sources
from dibundle.errors import UsageError
from dibundle.files.destination import Destination
from dibundle.format import signing
from dibundle.format.reader import BundleReader
from dibundle.sources import parts


@click.command("sign", short_help="Sign a bundle with an SSH key.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--key", metavar="KEY", help="A private key, or a public one whose other half an agent holds.")
@click.option("--signature", "given", metavar="FILE", help="Put in this signature, made by ssh-keygen elsewhere.")
@click.option("--detach", is_flag=True, help="Leave the bundle as it is; write BUNDLE.sig.")
@click.option("-o", "--output", metavar="FILE", help="Write there instead.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    bundle: str,
    key: str | None,
    given: str | None,
    detach: bool,
    output: str | None,
    tmp: str | None,
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
    if (key is None) == (given is None):
        raise UsageError(messages.SIGN_KEY_OR_SIGNATURE, bundle=shlex.quote(bundle))
    aside = detach and output is not None  # nothing is written where the bundle is
    if registries.is_reference(bundle) and not aside:
        if detach:
            by = ["--key", key] if key is not None else ["--signature", given or ""]
            again = shlex.join(["dib", "sign", *by, "--detach", bundle, "-o", "update.dib.sig"])
            raise UsageError(messages.SIGN_DETACHED_IN_REGISTRY, bundle=bundle, again=again)
        again = shlex.quote(bundle.partition("@")[0])
        raise UsageError(messages.SIGN_IN_REGISTRY, bundle=bundle, bundle_2=shlex.quote(bundle), again=again)
    with ExitStack() as stack:
        opened = open_sources([bundle], stack, trust=None, tmp=tmp, bundle_first=True)
        reader = one_bundle(opened, hint=in_place_of(bundle))
        name = opened.bundles[0][0]
        if name not in (bundle, "stdin") and not parts.is_first(name) and not aside:
            raise UsageError(messages.SIGN_WRAPPED, bundle=bundle, bundle_2=shlex.quote(bundle))
        destination = Destination(output or _default(bundle, name, detach=detach))
        console.keep_stdout(destination)
        if detach:
            opened.refuse_overwriting(destination)
        check_integrity(reader, console.progress)
        console.progress.close()  # ssh-keygen may ask for a passphrase, on a line of its own
        data = signing.sign(reader.header_bytes, key) if key is not None else signing.read_file(given or "")
        signature = signing.check_own(reader.header_bytes, data, tmp)
        if detach:
            with destination:
                destination.write(signature.armored())
        else:
            _embed(name, reader, signature.armored(), destination, whole=output is not None)
    replaced = bool(reader.signature) and not detach
    console.result(
        "dib.sign/1",
        {
            **documents.name("output", destination.name),
            "key": signature.fingerprint,
            "detached": detach,
            "replaced": replaced,
        },
    )
    console.say(
        f"{terminal.escape(destination.name)}: signed by key {signature.fingerprint}"
        + (", in place of another" if replaced else "")
    )


def _default(bundle: str, name: str, *, detach: bool) -> str:
    """Return where the result goes if nothing is said: beside the bundle, or in its place."""
    if bundle == "-" or not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - any name that the system takes
        raise UsageError(messages.SIGN_NO_PLACE, name=name)
    if not detach:
        return name
    return (name.removesuffix(".001") if parts.is_first(name) else name) + ".sig"


def _embed(name: str, reader: BundleReader, signature: bytes, destination: Destination, *, whole: bool) -> None:
    """Write the bundle with its signature: all parts into one file, or the one file, or the first part."""
    with ExitStack() as stack:
        if parts.is_first(name) and whole:
            read = parts.PartsReader(name, stack).read
        elif name == "stdin":
            raise UsageError(messages.SIGN_STDIN)
        else:
            read = stack.enter_context(open(name, "rb")).read  # noqa: PTH123
        with destination:
            for piece in signing.with_signature(read, reader.header_bytes, signature):
                destination.write(piece)

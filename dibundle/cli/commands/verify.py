"""``dib verify``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dibundle.applying.options import RebuildOptions
from dibundle.applying.verify import verify
from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.cli.session import max_size, session
from dibundle.errors import Hint, UsageError, human
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.sources.access import Access
from dibundle.sources.detect import firsts, is_named_so


@click.command("verify", cls=Command, short_help="Check a bundle; with a base, rebuild it in full.")
@click.argument("bundles", nargs=-1, metavar="BUNDLE", required=True)
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Base for a full rebuild; may be repeated.")
@max_size
@session(signatures=True, expect=True)
def command(
    bundles: tuple[str, ...],
    bases: tuple[str, ...],
    max_size: int,
    expect: frozenset[bytes],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Check every byte of BUNDLE against its digests. With --base, rebuild the target and check it, too.

    --expect needs --base.
    """
    bundle = _one(bundles)
    with hints({"source.no_bundle": Hint.of("give the .dib file in place of {name}", name=bundle)}):
        result = verify(bundle, bases, RebuildOptions(expect=expect, max_size=max_size), access, context)
    made = ", ".join(f"{target.sha256} ({human(target.size)})" for target in result.targets)
    told = f"{human(result.size)}, " + (f"rebuilds {made}" if result.rebuilt else "undamaged")
    more = "" if result.rebuilt else " (give --base to check a rebuild)"
    lines = [f"{wording.escape(bundle)}: signed by {wording.escape(who)}" for who in result.signed_by]
    if result.is_signed and not result.signed_by:
        lines.append(f"{wording.escape(bundle)}: signed, but the signature is not checked (give --allowed-signers)")
    lines.append(f"{wording.escape(bundle)}: {told}{more}")
    document = {
        **documents.name("bundle", bundle),
        "size": result.size,
        "signed_by": result.signed_by,
        "rebuilt": result.rebuilt,
        "targets": documents.targets(result.targets),
        "seconds": round(console.seconds, 3),
    }
    console.answer("dib.verify/1", document, lines if not console.quiet else ())


def _one(names: Sequence[str]) -> str:
    """Return the named bundle. If several parts of one bundle are named, return the first part."""
    if len(names) == 1:
        return names[0]
    bundle, *others = firsts(names)
    if others:
        alone = all(map(is_named_so, others))
        raise UsageError(
            messages.VERIFY_SEVERAL if alone else messages.VERIFY_ARGUMENTS,
            names_count=len(names),
        )
    return bundle

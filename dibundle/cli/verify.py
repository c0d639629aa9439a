"""``dib verify``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import click

from dibundle.applying.pipeline import ApplyOptions
from dibundle.applying.verify import check_integrity, check_rebuild
from dibundle.cli import documents, limits, messages, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import in_place_of, one_bundle, open_sources
from dibundle.cli.trust import Trust
from dibundle.cli.trust import options as trust_options
from dibundle.errors import UsageError
from dibundle.files import digest
from dibundle.sources.detect import is_named_so
from dibundle.sources.parts import firsts


@click.command("verify", short_help="Check a bundle, alone or by a full rebuild that is thrown away.")
@click.argument("bundles", nargs=-1, metavar="BUNDLE", required=True)
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Rebuild from this base and check the result.")
@limits.max_size
@trust_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    bundles: tuple[str, ...], bases: tuple[str, ...], max_size: int, tmp: str | None, trust: Trust, console: Console
) -> None:
    """Check that every byte of BUNDLE is as its header promises; with --base, rebuild and check the result too."""
    bundle = _one(bundles)
    with ExitStack() as stack:
        opened = open_sources([bundle, *bases], stack, trust=trust.check, tmp=tmp, bundle_first=True)
        reader = one_bundle(opened, hint=in_place_of(bundle))
        full = bool(bases) or not reader.manifest.objects
        if trust.expect and not full:
            raise UsageError(messages.VERIFY_EXPECT_WITHOUT_BASE)
        if full:
            check_rebuild(
                opened.archives, reader, ApplyOptions(tmp=tmp, max_size=max_size, expect=trust.expect), console.progress
            )
        else:
            check_integrity(reader, console.progress)
    manifest = reader.manifest
    made = ", ".join(f"{digest.text(target.digest)} ({terminal.human(target.size)})" for target in manifest.targets)
    told = f"{terminal.human(reader.size)}, " + (f"rebuilds {made}" if full else "undamaged")
    hint = "" if full else " (give --base to check a rebuild)"
    signed_by = trust.signed_by([reader])
    lines = [f"{terminal.escape(bundle)}: signed by {terminal.escape(who)}" for who in signed_by]
    lines.append(f"{terminal.escape(bundle)}: {told}{hint}")
    document = {
        **documents.name("bundle", bundle),
        "size": reader.size,
        "signed_by": signed_by,
        "rebuilt": full,
        "targets": documents.targets(manifest),
        "seconds": round(console.seconds, 3),
    }
    console.answer("dib.verify/1", document, *(lines if not console.quiet else ()))


def _one(names: Sequence[str]) -> str:
    """Return the one bundle that is named, of one in parts the first part where several are."""
    if len(names) == 1:
        return names[0]
    bundle, *others = firsts(names)
    if others:
        alone = all(map(is_named_so, others))
        raise UsageError(
            messages.VERIFY_ARGUMENTS,
            names_count=len(names),
            hint="verify them one at a time" if alone else "dib verify BUNDLE --base OLD.tar",
        )
    return bundle

"""``dib create``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import click

from dibundle.applying.targets import made_targets
from dibundle.cli import documents, messages
from dibundle.cli.console import Console, Document
from dibundle.cli.hints import hints
from dibundle.cli.levels import level_options
from dibundle.cli.session import PLATFORM, session
from dibundle.codecs.encode import choose
from dibundle.creating.estimate import Estimate, estimate
from dibundle.creating.inventory import read_list
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import CreateResult, create
from dibundle.errors import Hint, UsageError
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access
from dibundle.sources.detect import is_named_so
from dibundle.sources.names import is_reference
from dibundle.sources.parts import PartsWriter, part_name

LEAST_PART: Final = 65536


@click.command("create", short_help="Write what changed between two image archives into a bundle.")
@click.argument("archives", nargs=-1, metavar="BASE TARGET... OUT")
@click.option("-o", "--output", metavar="OUT", help="The bundle to write, in place of the last argument.")
@click.option("--base", "more_bases", multiple=True, metavar="BASE", help="A base; may be given more than once.")
@click.option("--no-base", is_flag=True, help="TARGET OUT alone: a bundle that needs no base.")
@level_options
@click.option(
    "--codec", type=click.Choice(choose.CODEC_NAMES), default="auto", show_default=True, help="Kind of patch."
)
@click.option(
    "--names",
    type=click.Choice(["auto", "all", "none"]),
    default="auto",
    show_default=True,
    help="Names for listing alone: auto keeps them under 5 % of the bundle or 2 kB.",
)
@click.option("--workers", type=click.IntRange(0, 256), default=0, help="Threads; 0 means one per core.")
@click.option("--have", metavar="FILE", help='Use no layer that is not in this list, which "dib have" made far away.')
@click.option(
    "--split", metavar="SIZE", help="Write parts of at most SIZE, OUT.001 and so on; 64K or more, for example 3900M."
)
@click.option("--portable", is_flag=True, help="Compress no layer again on apply; compressed ones travel as they are.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say about how large OUT would be, and how long it takes.")
@session(platform=PLATFORM)
def command(
    archives: tuple[str, ...],
    output: str | None,
    more_bases: tuple[str, ...],
    no_base: bool,
    level: int | None,
    codec: str,
    names: Literal["auto", "all", "none"],
    workers: int,
    have: str | None,
    split: str | None,
    portable: bool,
    dry_run: bool,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Write what changed from the images in BASE to the archive TARGET into the bundle OUT.

    \b
        dib create old.tar new.tar update.dib
        dib create --no-base app.tar app.dib
        dib create docker-daemon:app:1 docker-daemon:app:2 update.dib
        dib create --base web1.tar --base api1.tar web2.tar api2.tar -o release.dib

    Several TARGETs, for which -o and --base (or --no-base) are needed, share what they have in common. Of many bases
    those are used that help.

    An archive may be compressed (gzip, bzip2, xz, zstd): the bundle then makes the tar inside. "-" is stdin.
    """
    if dry_run and output is None and len(archives) == (1 if no_base or more_bases else 2):
        output = "-"  # nothing is written: OUT may be left out
    bases, targets, out = _arguments(archives, output, more_bases, no_base=no_base)
    if is_reference(out):
        raise UsageError(messages.OPTION_OUTPUT_IS_REGISTRY, out=shlex.quote(out))
    options = CreateOptions(
        level=level,
        codec=codec,
        names=names,
        workers=workers,
        have=read_list(have) if have else None,
        portable=portable,
    )
    with hints({"source.bundle_not_archive": _in_order(archives)}):
        if dry_run:
            _print_estimate(estimate(bases, targets, options, access, context), console)
            return
        destination = Destination(out)
        if split and destination.descriptor is not None:
            raise UsageError(messages.OPTION_SPLIT_TO_STDOUT)
        with hints({"option.json_and_stdout": Hint.of("name a file in place of {out}", out=out)}):
            console.keep_stdout(destination)
        written = PartsWriter(out, _size(split)) if split else destination
        result = create(bases, targets, written, options, access, context)
    first = last = out
    if isinstance(written, PartsWriter):
        first, last = part_name(out, 1), part_name(out, written.count)
    console.result("dib.create/1", document(first, result, console.seconds))
    _summary(first if first == last else f"{first} to {last}", result, console)


def _in_order(names: Sequence[str]) -> Hint | None:
    """Return the command with its arguments in order, the bundle last; None where the order is not what is wrong."""
    ordered = sorted(names, key=lambda name: name.endswith(".dib"))
    if ordered == list(names) or sum(name.endswith(".dib") for name in names) > 1:
        return None
    words = shlex.join(ordered) if len(names) == 3 else "OLD.tar NEW.tar OUT.dib"
    return Hint.of("the order is: {dib} create {words}", words=words)


def _size(text: str) -> int:
    """Read a size such as 3900M; 3900MB and 3900MiB are the same."""
    found = re.fullmatch(r"([0-9]{1,15})(?:([KMG]?)|([KMG])I?)B?", text.upper())
    if not found:
        raise UsageError(messages.OPTION_SPLIT_SIZE, found=text)
    size = int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2] or found[3] or ""]
    if size < LEAST_PART:
        raise UsageError(messages.OPTION_SPLIT_TOO_SMALL, found=text, least_part=LEAST_PART)
    return size


def _arguments(
    archives: tuple[str, ...], output: str | None, more_bases: tuple[str, ...], *, no_base: bool
) -> tuple[list[str], list[str], str]:
    """Return the names of the bases, of the targets and of the output."""
    names = list(archives)
    several = output is not None and (no_base or bool(more_bases))
    if output is None:
        if not names:
            raise UsageError(messages.OPTION_NO_ARCHIVES)
        output = names.pop()
    if no_base and more_bases:
        raise UsageError(messages.OPTION_NO_BASE_AND_BASE)
    alone = no_base or bool(more_bases)
    if (len(names) < 1) if several else (len(names) != (1 if alone else 2)):
        shape = "TARGET... -o OUT" if several else "TARGET OUT" if alone else "BASE TARGET OUT"
        hint = Hint.of("{dib} create OLD.tar NEW.tar OUT.dib")
        if not alone and len(archives) == 2:
            hint = _two_arguments(archives)
        if alone and len(names) > 1:
            bases = ["--no-base"] if no_base else [word for name in more_bases for word in ("--base", name)]
            words = shlex.join([*bases, *names, "-o", output])
            hint = Hint.of("several targets need -o: {dib} create {words}", words=words)
        given = wording.count(len(archives), "argument")
        raise UsageError(messages.OPTION_ARGUMENT_COUNT, archives_count=given, shape=shape, hint=hint)
    return ([*more_bases], names, output) if alone else ([names[0]], names[1:], output)


def _two_arguments(archives: Sequence[str]) -> Hint:
    words = shlex.join(archives)
    if _is_new_bundle(archives[1]):
        return Hint.of("give the base too: {dib} create OLD.tar {words}; --no-base is for one without", words=words)
    return Hint.of("name the bundle to write: {dib} create {words} update.dib", words=words)


def _is_new_bundle(name: str) -> bool:
    """Whether a name is likely meant for the bundle to write: by how it ends, or as nothing is there."""
    return is_named_so(name) or not (":" in name or Path(name).exists())


def _print_estimate(found: Estimate, console: Console) -> None:
    """Say what would be made."""
    looked_at = "encoded" if found.exact else "sampled"
    line = (
        f"{'' if found.exact else 'about '}{wording.human(found.size)} for {wording.human(found.target_size)}"
        f" ({wording.times(found.target_size, found.size)}), in about {found.seconds:.0f} s"
        f" ({found.sampled:,} of {found.frames:,} frames were {looked_at}, in {console.seconds:.1f} s)"
    )
    document: Document = {
        "size": found.size,
        "seconds": round(found.seconds, 1),
        "base_size": found.base_size,
        "target_size": found.target_size,
        "frames": found.frames,
        "sampled": found.sampled,
        "exact": found.exact,
    }
    console.answer("dib.estimate/1", document, (line,))


def document(out: str, result: CreateResult, seconds: float) -> Document:
    """Return what was made, for programs."""
    counts = result.counts
    return {
        **documents.name("output", out),
        "size": result.size,
        "base_size": result.base_size,
        "target_size": result.target_size,
        "manifest_size": result.manifest_size,
        "seconds": round(seconds, 3),
        "bases": documents.images(result.manifest.about.bases if result.manifest.about else ()),
        "targets": documents.targets(made_targets(result.manifest)),
        "entries": {
            "kept": counts.kept,
            "mode": counts.mode,
            "patched": counts.patched,
            "added": counts.added,
            "repeated": counts.repeated,
            "raw": counts.raw_entries,
        },
        "opaque_layers": counts.opaque_layers,
    }


def _summary(out: str, result: CreateResult, console: Console) -> None:
    counts = result.counts
    console.say(
        f"{wording.escape(out)}: {wording.human(result.size)} for {wording.human(result.target_size)}"
        f" ({wording.times(result.target_size, result.size)}), in {console.seconds:.1f} s"
    )
    console.say(
        f"  new layers: {counts.kept:,} kept, {counts.mode:,} other metadata, {counts.patched:,} patched,"
        f" {counts.added:,} added, {counts.repeated:,} repeated"
        + (f", {counts.raw_entries:,} raw" if counts.raw_entries else "")
        + (f", {counts.opaque_layers:,} opaque layers" if counts.opaque_layers else "")
    )

"""``dib create``."""

from __future__ import annotations

from typing import Final, Literal

import click

from dibundle.cli import messages
from dibundle.cli.arguments import order_hint, parse_names, part_size
from dibundle.cli.console import Console
from dibundle.cli.hints import hints
from dibundle.cli.levels import level_options
from dibundle.cli.option_groups import Command
from dibundle.cli.results.create import show, show_estimate, timings_document
from dibundle.cli.session import PLATFORM, session
from dibundle.cli.size import read_size
from dibundle.codecs.encode import choose
from dibundle.creating.estimate import estimate
from dibundle.creating.inventory import read_list
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import create
from dibundle.errors import Hint, UsageError, shell_words
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access
from dibundle.sources.names import is_reference
from dibundle.sources.parts import PartsWriter, part_name

LEAST_PART: Final = 65536


@click.command("create", cls=Command, short_help="Create a bundle from two image archives.")
@click.argument("archives", nargs=-1, metavar="BASE TARGET... OUT")
@click.option("-o", "--output", metavar="OUT", help="Bundle to write, instead of the last argument.")
@click.option("--base", "more_bases", multiple=True, metavar="BASE", help="Base archive or image; may be repeated.")
@click.option("--no-base", is_flag=True, help="Create a bundle that needs no base.")
@level_options
@click.option(
    "--profile",
    type=click.Choice(choose.PROFILES),
    default="full",
    show_default=True,
    help="core: only zstd and VCDIFF patches, for simple readers; the bundles are larger.",
)
@click.option(
    "--names",
    type=click.Choice(["auto", "all", "none"]),
    default="auto",
    show_default=True,
    help="Names to store for listings; auto: store names only if the names add at most 5 % or 2 kB to the bundle.",
)
@click.option("--workers", type=click.IntRange(0, 256), default=0, help="Number of threads. Default: one per core.")
@click.option(
    "--inventory", metavar="FILE", help="Use only base layers that the receiver has, according to this inventory."
)
@click.option(
    "--split",
    type=read_size,
    metavar="SIZE",
    help="Split into parts of at most SIZE (3900M, 4GB; at least 64K): OUT.001, ...",
)
@click.option("--no-recompress", is_flag=True, help="Store compressed layers as they are.")
@click.option(
    "--raw-layers",
    is_flag=True,
    help="Rebuild the images with uncompressed layers; image IDs and tags stay the same.",
)
@click.option("--timings", metavar="FILE", help="Write the CPU seconds of each frame to FILE, as JSON.")
@click.option("--dry-run", is_flag=True, help="Estimate size and time, but write nothing; OUT is not needed.")
@session(platform=PLATFORM)
def command(
    archives: tuple[str, ...],
    output: str | None,
    more_bases: tuple[str, ...],
    no_base: bool,
    level: int | None,
    profile: Literal["full", "core"],
    names: Literal["auto", "all", "none"],
    workers: int,
    inventory: str | None,
    split: int | None,
    no_recompress: bool,
    raw_layers: bool,
    timings: str | None,
    dry_run: bool,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Create the bundle OUT. Anyone with the images of BASE can rebuild the archive TARGET from OUT.

    \b
        dib create old.tar new.tar update.dib
        dib create docker-daemon:app:1 docker-daemon:app:2 update.dib
        dib create --no-base app.tar app.dib
        dib create --base web1.tar --base api1.tar web2.tar api2.tar -o release.dib

    A release of several TARGETs needs -o and --base (or --no-base). Content that the TARGETs share is stored once. If
    several bases are given, only the useful bases are used.

    If an archive is compressed (gzip, bzip2, xz or zstd), the bundle rebuilds the tar inside it. "-" is stdin.
    """
    if dry_run and output is None and len(archives) == (1 if no_base or more_bases else 2):
        output = "-"  # nothing is written, so OUT is optional
    bases, targets, out = parse_names(archives, output, more_bases, no_base=no_base)
    if is_reference(out):
        raise UsageError(messages.OPTION_OUTPUT_IS_REGISTRY, out=shell_words(out))
    options = CreateOptions(
        level=level,
        profile=profile,
        names=names,
        workers=workers,
        inventory=read_list(inventory) if inventory else None,
        recompress=not no_recompress,
        raw_layers=raw_layers,
    )
    bases_given = "".join(f" --base {shell_words(base)}" for base in more_bases)
    no_base_given, output_given = " --no-base" * no_base, f" -o {shell_words(output)}" if output else ""
    raw_command = f"dib create --raw-layers{no_base_given}{bases_given} {shell_words(*archives)}{output_given}"
    with hints({"source.bundle_not_archive": order_hint(archives)}):
        if dry_run:
            show_estimate(estimate(bases, targets, options, access, context), raw_command, console)
            return
        destination = Destination(out)
        if split is not None and destination.descriptor is not None:
            raise UsageError(messages.OPTION_SPLIT_TO_STDOUT)
        with hints({"option.json_and_stdout": Hint.of("name a file in place of {out}", out=out)}):
            console.keep_stdout(destination)
        written = PartsWriter(out, part_size(split)) if split is not None else destination
        result = create(bases, targets, written, options, access, context)
    first = last = out
    if isinstance(written, PartsWriter):
        first, last = part_name(out, 1), part_name(out, written.count)
    if timings is not None:
        with Destination(timings) as file:
            file.write(timings_document(result).encode())
    show(first, last, result, raw_command, console)

"""``dib create``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from dibundle.cli import documents, messages, registries, terminal
from dibundle.cli.console import Console, Document
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import open_archives
from dibundle.codecs.encode import choose
from dibundle.creating.estimate import Estimate, estimate
from dibundle.creating.inventory import read_list
from dibundle.creating.pipeline import CreateOptions, CreateResult, create
from dibundle.errors import UsageError
from dibundle.files.destination import Destination
from dibundle.files.progress import Progress
from dibundle.sources.detect import is_named_so
from dibundle.sources.parts import PartsWriter, part_name

LEAST_PART = 65536
CUT_SHORT = "the archive is cut short in an entry"  # such an archive is refused, which says it all
SHOWN_LEVEL = f"{choose.DEFAULT_LEVEL}; {choose.PLAIN_LEVEL} without hdiffpatch"
_SHORT_LEVELS = tuple(f"-{level}" for level in choose.LEVELS)
_WITH_VALUE = (  # of all commands that make bundles
    *("-o", "--output", "--base", "-l", "--level", "--codec", "--names", "--workers", "--have", "--split"),
    *("--platform", "--tmp"),
)


class WithLevels(click.Command):
    """Takes -1 to -9 for --level, as compressors do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate the short levels before the "--" that ends options."""
        end = args.index("--") if "--" in args else len(args)
        before = ["", *args]
        words = [_long(arg) if before[number] not in _WITH_VALUE else arg for number, arg in enumerate(args[:end])]
        return super().parse_args(ctx, words + args[end:])


def _long(word: str) -> str:
    """Return a short level as the option that it stands for, any other word as it is."""
    if word in _SHORT_LEVELS:
        return f"--level={word[1]}"
    if re.fullmatch("-[0-9]+", word):
        raise UsageError(messages.LEVEL_UNKNOWN, word=word[1:])
    return word


level_option = click.option(
    "-l",
    "--level",
    type=click.IntRange(1, 9),
    show_default=SHOWN_LEVEL,
    help="1 is fast, 9 is small; also as -1 to -9.",
)


@click.command("create", cls=WithLevels, short_help="Write what changed between two image archives into a bundle.")
@click.argument("archives", nargs=-1, metavar="BASE TARGET... OUT")
@click.option("-o", "--output", metavar="OUT", help="The bundle to write, in place of the last argument.")
@click.option("--base", "more_bases", multiple=True, metavar="BASE", help="A base; may be given more than once.")
@click.option("--no-base", is_flag=True, help="TARGET OUT alone: a bundle that needs no base.")
@level_option
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
@click.option("--platform", metavar="OS/ARCH", help="Which one to save, of names that an engine is asked for.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    archives: tuple[str, ...],
    output: str | None,
    more_bases: tuple[str, ...],
    no_base: bool,
    level: int | None,
    codec: str,
    names: str,
    workers: int,
    have: str | None,
    split: str | None,
    portable: bool,
    dry_run: bool,
    platform: str | None,
    tmp: str | None,
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
    if out.startswith("docker://"):
        raise UsageError(messages.OPTION_OUTPUT_IS_REGISTRY, out=shlex.quote(out))
    progress = console.progress
    options = CreateOptions(
        patch=choose.Options(level=level or default_level(progress, codec), codec=codec, portable=portable),
        names=names,
        workers=workers,
        have=read_list(have) if have else None,
        tmp=tmp,
    )
    with ExitStack() as stack:
        destination = Destination(out)
        if split and not dry_run and destination.descriptor is not None:
            hint = "name the bundle in place of it; its parts are called update.dib.001 and so on"
            raise UsageError(messages.OPTION_SPLIT_TO_STDOUT, hint=hint)
        if not dry_run:
            console.keep_stdout(destination, f"name a file in place of {out}")
        sources = open_archives([*bases, *targets], stack, tmp=tmp, platform=platform, hint=_in_order(archives))
        sources.refuse_overwriting(destination)
        if not dry_run:
            _refuse_archive(out, destination)
        opened = sources.archives
        for archive in opened:
            if archive.compression:
                progress.note(f"{terminal.escape(archive.name)}: {archive.compression} removed; the tar inside counts")
            if archive.index.problem and not archive.index.problem.startswith(CUT_SHORT):
                progress.note(f"{terminal.escape(archive.name)}: {archive.index.problem}; kept as it is")
        if dry_run:
            _tell_estimate(estimate(opened[: len(bases)], opened[len(bases) :], options, progress), console)
            return
        with PartsWriter(out, _size(split)) if split else destination as written:
            result = create(opened[: len(bases)], opened[len(bases) :], written.write, options, progress)
    first = last = out
    if isinstance(written, PartsWriter):
        first, last = part_name(out, 1), part_name(out, written.count)
    console.result("dib.create/1", document(first, result, console.seconds))
    _summary(first if first == last else f"{first} to {last}", result, console)


def default_level(progress: Progress, codec: str = "auto") -> int:
    """Return the level to take where none is asked for; tell of one that makes larger bundles than usual."""
    level = choose.default_level(codec)
    if level != choose.DEFAULT_LEVEL:
        progress.note(f"level {level}, not {choose.DEFAULT_LEVEL}: hdiffpatch is not installed, the bundle gets larger")
    return level


def _in_order(names: Sequence[str]) -> str | None:
    """Return the command with its arguments in order, the bundle last; None where the order is not what is wrong."""
    ordered = sorted(names, key=lambda name: name.endswith(".dib"))
    if ordered == list(names) or sum(name.endswith(".dib") for name in names) > 1:
        return None
    return "the order is: dib create " + (shlex.join(ordered) if len(names) == 3 else "OLD.tar NEW.tar OUT.dib")


def _refuse_archive(out: str, destination: Destination) -> None:
    """Refuse to put a bundle in the place of an archive: ``dib create *.tar`` would."""
    if destination.identity is None or destination.descriptor is not None or not Path(out).is_file():
        return
    with Path(out).open("rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar":
        raise UsageError(messages.OUTPUT_IS_ARCHIVE, out=out)


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
    usage = "dib create OLD.tar NEW.tar OUT.dib"
    several = output is not None and (no_base or bool(more_bases))
    if output is None:
        if not names:
            raise UsageError(messages.OPTION_NO_ARCHIVES, hint=usage)
        output = names.pop()
    if no_base and more_bases:
        raise UsageError(messages.OPTION_NO_BASE_AND_BASE)
    alone = no_base or bool(more_bases)
    if (len(names) < 1) if several else (len(names) != (1 if alone else 2)):
        shape = "TARGET... -o OUT" if several else "TARGET OUT" if alone else "BASE TARGET OUT"
        hint = usage
        if not alone and len(archives) == 2:
            hint = f"name the bundle to write: dib create {shlex.join(archives)} update.dib"
            if _is_new_bundle(archives[1]):
                hint = f"give the base too: dib create OLD.tar {shlex.join(archives)}; --no-base is for one without"
        if alone and len(names) > 1:
            bases = ["--no-base"] if no_base else [word for name in more_bases for word in ("--base", name)]
            hint = "several targets need -o: " + shlex.join(["dib", "create", *bases, *names, "-o", output])
        raise UsageError(
            messages.OPTION_ARGUMENT_COUNT,
            archives_count=terminal.count(len(archives), "argument"),
            shape=shape,
            hint=hint,
        )
    return ([*more_bases], names, output) if alone else ([names[0]], names[1:], output)


def _is_new_bundle(name: str) -> bool:
    """Whether a name is likely meant for the bundle to write: by how it ends, or as nothing is there."""
    return is_named_so(name) or not (":" in name or Path(name).exists())


def _tell_estimate(found: Estimate, console: Console) -> None:
    """Say what would be made."""
    looked_at = "encoded" if found.exact else "sampled"
    line = (
        f"{'' if found.exact else 'about '}{terminal.human(found.size)} for {terminal.human(found.target_size)}"
        f" ({terminal.times(found.target_size, found.size)}), in about {found.seconds:.0f} s"
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
    console.answer("dib.estimate/1", document, line)


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
        "targets": documents.targets(result.manifest),
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
        f"{terminal.escape(out)}: {terminal.human(result.size)} for {terminal.human(result.target_size)}"
        f" ({terminal.times(result.target_size, result.size)}), in {console.seconds:.1f} s"
    )
    console.say(
        f"  new layers: {counts.kept:,} kept, {counts.mode:,} other metadata, {counts.patched:,} patched,"
        f" {counts.added:,} added, {counts.repeated:,} repeated"
        + (f", {counts.raw_entries:,} raw" if counts.raw_entries else "")
        + (f", {counts.opaque_layers:,} opaque layers" if counts.opaque_layers else "")
    )

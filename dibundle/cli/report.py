"""``dib report``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import PurePath

import click

from dibundle.applying.pipeline import ApplyOptions, apply, choose_target
from dibundle.cli import documents, page, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.inspect import lines_with_base, signature_told
from dibundle.cli.sources import Sources, in_place_of, one_bundle, one_stream, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.errors import ArchiveError
from dibundle.files import digest
from dibundle.files.destination import Destination
from dibundle.files.readat import Spool, Stream
from dibundle.format.manifest import AboutImage
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive, open_made
from dibundle.inspecting.image_diff import Changes, compare
from dibundle.inspecting.operations import Line, stored_by_kind
from dibundle.sharing.wrap import keep

_WITHOUT_BASE = "Give --base to see this: the image that the bundle makes is then rebuilt and compared with it."


@click.command("report", short_help="Write a page that shows where a bundle's bytes go.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("-o", "--output", default="-", metavar="FILE", help="Write there, whole or not at all. Default: stdout.")
@click.option("--target", metavar="NAME", help="Which one to show, of a bundle that makes several archives.")
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Tell every path and what changed in the image.")
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    bundle: str,
    output: str,
    target: str | None,
    bases: tuple[str, ...],
    tmp: str | None,
    trust: Trust,
    console: Console,
) -> None:
    """Write one page of HTML about BUNDLE: a map of its bytes, its paths, and what changed between the images.

    \b
        dib report update.dib -o report.html
        dib report update.dib --base old.tar -o report.html

    The page is whole in itself: it fetches nothing, and works where there is no network. With --base, the image is
    rebuilt into a temporary file and compared with the one in the first base: settings of its config and packages.
    """
    with ExitStack() as stack:
        destination = Destination(output)
        console.keep_stdout(destination)
        opened = open_sources([bundle, *bases], stack, trust=trust.check, tmp=tmp, bundle_first=True)
        opened.refuse_overwriting(destination)
        opened.ask_engines()  # for all of the base: what the bundle does not use may have changed too
        kept = keep(one_stream(opened, hint=in_place_of(bundle)), stack, tmp).content  # it is read twice
        opened.sizes[opened.bundles[0][0]] = kept.size
        opened.bundles = [(opened.bundles[0][0], Stream(kept))]
        reader = one_bundle(opened)
        number = choose_target(reader.manifest, ApplyOptions(target=target))
        lines = lines_with_base(reader, number, opened, stack, tmp, given=bool(bases))
        changes, note = None, _WITHOUT_BASE
        if bases:
            opened.bundles = [(opened.bundles[0][0], Stream(kept))]
            base = opened.archives[-len(bases)]  # an image that holds the bundle comes before
            changes, note = _changes(opened, base, ApplyOptions(target=target, tmp=tmp), stack, console)
        content = page.build(_page(bundle, reader, number, lines, changes, note, trust.signed_by([reader])))
        with destination:
            destination.write(content)
    shown = sum(line.operation not in ("keep", "member") for line in lines)
    console.result(
        "dib.report/1",
        {
            **documents.name("bundle", bundle),
            **documents.name("output", destination.name),
            "size": len(content),
            "sha256": digest.text(digest.sha256(content)),
            "paths": shown,
            "compared": changes is not None,
        },
    )
    console.say(f"{terminal.escape(destination.name)}: {shown:,} paths, {terminal.human(len(content))}")


def _changes(
    opened: Sources, base: Archive, options: ApplyOptions, stack: ExitStack, console: Console
) -> tuple[Changes | None, str]:
    """Rebuild the image and compare it with the one in ``base``; where that cannot be, say why."""
    made = stack.enter_context(closing(Spool(options.tmp)))
    bundle = one_bundle(opened)
    size = bundle.manifest.targets[choose_target(bundle.manifest, options)].size
    apply(opened.archives, bundle, made.write, replace(options, kept=size), console.progress)
    try:
        new = stack.enter_context(open_made(made, "the image that the bundle makes"))
        return compare(base, new, options.tmp, console.progress), ""
    except ArchiveError as error:
        return None, f"Not compared: {error.message}."


def _page(
    name: str,
    reader: BundleReader,
    number: int,
    lines: list[Line],
    changes: Changes | None,
    note: str,
    signed_by: Sequence[str],
) -> page.Page:
    manifest = reader.manifest
    target = manifest.targets[number]
    about = manifest.about
    facts = [("Bundle", f"{terminal.human(reader.size)}, {terminal.times(target.size, reader.size)}")]
    facts += [("Makes", _image(image)) for image in (about.targets[number] if about else ())]
    facts.append(("", f"{terminal.human(target.size)}, {digest.text(target.digest)}"))
    if len(manifest.targets) > 1:
        facts.append(("", f"target {number + 1} of {len(manifest.targets)}; the map shows the others as the rest"))
    facts += [("Needs", _image(image)) for image in (about.bases if about else ())]
    if not manifest.objects:
        facts.append(("Needs", "no base"))
    facts.append(("Signed", signature_told(reader, signed_by)))
    kept = [line for line in lines if line.operation == "keep"]
    if any(line.path is not None for line in kept):
        count = "1 path" if len(kept) == 1 else f"{len(kept):,} paths"
        facts.append(("As in the base", f"{count}, {terminal.human(sum(line.size or 0 for line in kept))}"))
    elif kept:
        facts.append(("As in the base", terminal.human(sum(line.count for line in kept))))
    shown = "stdin" if name == "-" else PurePath(name).name
    return page.Page(
        title=f"{shown}: what is in this bundle",
        facts=facts,
        stored=reader.size,
        kinds=stored_by_kind(manifest),
        lines=lines,
        changes=changes,
        note=note,
    )


def _image(image: AboutImage) -> str:
    names = ", ".join(image.names) or "(no name)"
    return f"{names}  {digest.text(image.id) if len(image.id) == digest.SIZE else '(no config)'}"

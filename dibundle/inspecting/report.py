"""The report on a bundle.

The report is an HTML page with a map of the bundle's bytes, a list of its paths, and the changes between images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.applying.space import Space
from dibundle.applying.targets import choose_target
from dibundle.errors import ArchiveError, human
from dibundle.files import digest, wording
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import Stream
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images.archive import Archive, open_made
from dibundle.inspecting import page
from dibundle.inspecting.image_diff import Changes, compare
from dibundle.inspecting.inspection import lines_with_base, signed_text, signing_key
from dibundle.inspecting.operations import Line, stored_by_kind
from dibundle.sources.access import Access
from dibundle.sources.bundles import read_bundle, read_whole
from dibundle.sources.opened import OpenedSources
from dibundle.sources.opening import Source, open_sources

_WITHOUT_BASE: Final = "Give --base to see this: the image that the bundle makes is then rebuilt and compared with it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """A page, with its size in bytes, its digest, the number of paths on it, and whether the images were compared."""

    size: int
    sha256: str
    paths: int
    compared: bool


def report(
    bundle: Source,
    bases: Sequence[Source],
    output: Output,
    options: RebuildOptions,
    access: Access,
    context: Context,
) -> ReportResult:
    """Write a page about a bundle. The page is self-contained and fetches nothing.

    With bases, the target is rebuilt into a temporary file, and its image is compared with the image in the first base.
    Temporary files take at most twice the ``max_size`` of the options. The options' ``expect`` is not used.
    """
    opened = open_sources([bundle, *bases], access, context, bundle_first=True)
    opened.refuse_overwriting(output.name, output.identity)
    # the page compares the whole base, because parts that the bundle does not use may have changed too
    opened.ask_engines()
    # keep the whole bundle, because it is read twice
    whole = read_whole(opened.bundle_stream(), context, opened.check, opened.bundles[0][0]).content

    def reader() -> BundleReader:
        return read_bundle(Stream(whole), opened.bundles[0][0], whole.size, opened.check)

    changes, note = None, _WITHOUT_BASE
    if bases:  # do this before the lines are read, because the lines and a rebuild together would take more memory
        # skip the image that contains the bundle; this image is listed before the base
        base = opened.archives[-len(bases)]
        changes, note = _changes(opened, reader(), base, options, context)
    first = reader()
    number = choose_target(first.manifest, options)
    lines = lines_with_base(first, number, opened.archives, context, given=bool(bases))
    signed_by = opened.signatures.signed_by([first])
    name = opened.bundles[0][0] if not isinstance(bundle, str) or bundle == "-" else bundle
    hashed = hashlib.sha256()
    with output:
        for piece in page.build(_page(name, first, number, lines, changes, note, signed_by)):
            hashed.update(piece)
            output.write(piece)
    return ReportResult(
        size=output.written,
        sha256=digest.text(hashed.digest()),
        paths=sum(line.operation not in ("keep", "member") for line in lines),
        compared=changes is not None,
    )


def _changes(
    opened: OpenedSources, bundle: BundleReader, base: Archive, options: RebuildOptions, context: Context
) -> tuple[Changes | None, str]:
    """Rebuild the image and compare it with the image in ``base``. If this is not possible, return the reason."""
    made = context.spool()
    size = bundle.manifest.targets[choose_target(bundle.manifest, options)].size
    rebuild_target(opened.archives, bundle, made.write, options, context, space=Space(kept=size))
    try:
        new = context.enter(open_made(made, "the image that the bundle makes"))
        return compare(base, new, context, 2 * options.max_size - size), ""
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
    facts = [("Bundle", f"{human(reader.size)}, {wording.times(target.size, reader.size)}")]
    facts += [("Makes", _image(image)) for image in (about.targets[number] if about else ())]
    facts.append(("", f"{human(target.size)}, {digest.text(target.digest)}"))
    if len(manifest.targets) > 1:
        facts.append(("", f"target {number + 1} of {len(manifest.targets)}; the map shows the others as the rest"))
    facts += [("Needs", _image(image)) for image in (about.bases if about else ())]
    if not manifest.needed():
        facts.append(("Needs", "no base"))
    facts.append(
        ("Signed", signed_text(is_signed=bool(reader.signature), key=signing_key(reader), signed_by=signed_by))
    )
    kept = [line for line in lines if line.operation == "keep"]
    if any(line.path is not None for line in kept):
        count = "1 path" if len(kept) == 1 else f"{len(kept):,} paths"
        facts.append(("As in the base", f"{count}, {human(sum(line.size or 0 for line in kept))}"))
    elif kept:
        facts.append(("As in the base", human(sum(line.count for line in kept))))
    return page.Page(
        title=f"{PurePath(name).name}: what is in this bundle",
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

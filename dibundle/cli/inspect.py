"""``dib inspect``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from dibundle.applying.targets import made_targets
from dibundle.cli import documents, listing
from dibundle.cli.console import Console, Document
from dibundle.cli.hints import hints
from dibundle.cli.session import session
from dibundle.codecs import decoders
from dibundle.errors import Hint
from dibundle.files import digest, wording
from dibundle.files.context import Context
from dibundle.format.constants import KIND_CONFIG, KIND_LAYER
from dibundle.format.values import AboutImage
from dibundle.inspecting.inspection import Inspection, inspect
from dibundle.inspecting.listing import DEPTH, OF_BUNDLE, Choice, top, tree
from dibundle.inspecting.operations import layers_of, stored_by_kind
from dibundle.sources.access import Access

_KINDS = {KIND_LAYER: "layer", KIND_CONFIG: "config"}
_TOP = 5


@click.command("inspect", short_help="Show what a bundle needs, what it makes and where its bytes go.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--list", "show", flag_value="list", help="Show the operations per path.")
@click.option("--tree", "show", flag_value="tree", help="Show where the bytes go, by folder.")
@click.option("--layers", "show", flag_value="layers", help="Show what each layer was made of.")
@click.option("--target", metavar="NAME", help="Which one to list, of a bundle that makes several archives.")
@listing.options(OF_BUNDLE)
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Tell every path and its sizes, deleted ones too.")
@session(signatures=True, progress=False)
def command(
    bundle: str,
    show: str | None,
    target: str | None,
    choice: Choice,
    bases: tuple[str, ...],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Show what BUNDLE needs, what it makes and where its bytes go.

    \b
        dib inspect update.dib
        dib inspect update.dib --list --op patch --sort stored
        dib inspect update.dib --list --path 'usr/lib/*' --base old.tar
        dib inspect update.dib --tree --depth 2

    What a path takes in the bundle is its share of the frame that it lies in, by size: files that are patched together
    are not told apart. Without --base the sizes of patched files are not known, and count as equally large.

    "mode" is what differs in metadata alone, be it the time; "dib diff" tells these apart.
    """
    listing.require(choice, show)
    of_an_archive = Hint.of("of an archive: {dib} diff {name} NEW.tar", name=shlex.quote(bundle))
    with hints({"source.no_bundle": of_an_archive}):
        found = inspect(bundle, bases, access, context, target=target, lines_wanted=show is not None)
    lines = found.lines
    document = _document(found)
    if found.number is not None:
        document["top"] = [listing.line_json(line) for line in top(lines, _TOP)]
        document["layers"] = map(listing.layer_json, layers_of(lines))
    if show == "list":
        chosen = choice.of(lines)
        document["operations"] = map(listing.line_json, chosen)
        text = listing.table(chosen, stored=True)
    elif show == "tree":
        folders = tree(choice.of(lines), choice.depth or DEPTH)
        document["tree"] = map(listing.folder_json, folders)
        text = listing.tree_table(folders, stored=True)
    elif show == "layers":
        text = listing.layer_table(layers_of(lines))
    else:
        text = _summary(bundle, found)
    console.answer("dib.inspect/1", document, text)


def _summary(name: str, found: Inspection) -> Iterator[str]:
    manifest = found.manifest
    about = manifest.about
    size = sum(target.size for target in manifest.targets)
    yield (
        f"{wording.escape(name)}: dib bundle, format version 1, {wording.human(found.size)},"
        f" {wording.times(size, found.size)}"
    )
    for number, target in enumerate(manifest.targets):
        yield f"makes  {wording.human(target.size)}, {digest.text(target.digest)}"
        for image in about.targets[number] if about else ():
            yield f"       {_image(image)}"
    for key, value in about.notes if about else ():
        yield f"       {wording.escape(key)}: {wording.escape(value)}"
    if manifest.objects:
        total = sum(item.size for item in manifest.objects)
        count = len(manifest.objects)
        yield f"needs  {count} {'object' if count == 1 else 'objects'} of {wording.human(total)}"
        for image in about.bases if about else ():
            yield f"       {_image(image)}"
        for item in manifest.objects:
            yield f"       {_KINDS.get(item.kind, 'blob'):6} {digest.text(item.digest)}  {wording.human(item.size)}"
    else:
        yield "needs  no base"
    yield f"signed {wording.escape(found.signed)}"
    yield "bytes"
    stored_manifest = found.size - sum(frame.stored for frame in manifest.frames)
    for kind, stored, decoded in stored_by_kind(manifest):
        yield f"  {stored:>12,}  {100 * stored / found.size:5.1f} %  {kind}, makes {wording.human(decoded)}"
    yield f"  {stored_manifest:>12,}  {100 * stored_manifest / found.size:5.1f} %  header and manifest"
    largest = top(found.lines, _TOP)
    if largest:
        yield "most of them (see --list, --tree)"
    for line in largest:
        share = 100 * line.stored / found.size
        yield f"  {line.stored:>12,}  {share:5.1f} %  {line.operation} {wording.escape(line.path or b'')}"


def _image(image: AboutImage) -> str:
    names = ", ".join(wording.escape(name) for name in image.names) or "(no name)"
    return f"image  {names}  {digest.text(image.id) if len(image.id) == digest.SIZE else '(no config)'}"


def _document(found: Inspection) -> Document:
    manifest = found.manifest
    about = manifest.about
    return {
        "size": found.size,
        "signed": found.is_signed,
        "signed_by": found.key,
        "header_sha256": found.header_digest,
        "targets": documents.targets(made_targets(manifest)),
        "base": {
            "objects": [
                {"kind": _KINDS.get(item.kind, "other"), "size": item.size, "sha256": digest.text(item.digest)}
                for item in manifest.objects
            ],
            "images": documents.images(about.bases if about else ()),
        },
        "codecs": [decoders.NAMES[number] for number in manifest.codecs],
        "bytes": [
            {"kind": kind, "stored": stored, "decoded": decoded} for kind, stored, decoded in stored_by_kind(manifest)
        ],
        "notes": dict(about.notes) if about else {},
    }

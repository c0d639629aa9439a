"""``dib inspect``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import click

from dibundle.applying.pipeline import ApplyOptions, choose_target, find_base, target_name
from dibundle.cli import documents, listing, messages, registries, terminal
from dibundle.cli.console import Console, Document
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import Sources, one_bundle, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.codecs import decoders
from dibundle.errors import BaseMismatchError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.format.constants import KIND_CONFIG, KIND_LAYER
from dibundle.format.manifest import AboutImage
from dibundle.format.reader import BundleReader
from dibundle.format.signing import Signature
from dibundle.format.uses import objects_used
from dibundle.inspecting.operations import Line, ListingError, layers_of, stored_by_kind
from dibundle.inspecting.operations import listing as lines_of

_KINDS = {KIND_LAYER: "layer", KIND_CONFIG: "config"}
_TOP = 5


@click.command("inspect", short_help="Show what a bundle needs, what it makes and where its bytes go.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--list", "show", flag_value="list", help="Show the operations per path.")
@click.option("--tree", "show", flag_value="tree", help="Show where the bytes go, by folder.")
@click.option("--layers", "show", flag_value="layers", help="Show what each layer was made of.")
@click.option("--target", metavar="NAME", help="Which one to list, of a bundle that makes several archives.")
@listing.options(listing.OF_BUNDLE)
@click.option("--base", "bases", multiple=True, metavar="BASE", help="Tell every path and its sizes, deleted ones too.")
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options(progress=False)
def command(
    bundle: str,
    show: str | None,
    target: str | None,
    choice: listing.Choice,
    bases: tuple[str, ...],
    tmp: str | None,
    trust: Trust,
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
    choice.require(show)
    with ExitStack() as stack:
        opened = open_sources([bundle, *bases], stack, trust=trust.check, tmp=tmp, bundle_first=True)
        reader = one_bundle(opened, hint=f"of an archive: dib diff {shlex.quote(bundle)} NEW.tar")
        several = len(reader.manifest.targets) > 1
        if several and show and target is None:
            choose_target(reader.manifest, ApplyOptions())  # says which there are
        number = choose_target(reader.manifest, ApplyOptions(target=target)) if target or not several else None
        try:
            lines = lines_with_base(reader, number, opened, stack, tmp, given=bool(bases)) if number is not None else []
        except ListingError as error:
            if show:
                raise
            console.progress.note(f"the summary is without paths: {error.message}")
            lines, number = [], None
    document = _document(reader)
    if number is not None:
        document["top"] = [listing.line_json(line) for line in listing.top(lines, _TOP)]
        document["layers"] = [listing.layer_json(layer) for layer in layers_of(lines)]
    if show == "list":
        chosen = choice.of(lines)
        document["operations"] = [listing.line_json(line) for line in chosen]
        text = listing.table(chosen, stored=True)
    elif show == "tree":
        folders = listing.tree(choice.of(lines), choice.depth or listing.DEPTH)
        document["tree"] = [listing.folder_json(folder) for folder in folders]
        text = listing.tree_table(folders, stored=True)
    elif show == "layers":
        text = listing.layer_table(layers_of(lines))
    else:
        text = _summary(bundle, reader, lines, trust.signed_by([reader]))
    console.answer("dib.inspect/1", document, *text)


def lines_with_base(
    reader: BundleReader, number: int, opened: Sources, stack: ExitStack, tmp: str | None, *, given: bool
) -> list[Line]:
    """Return the lines of a target, with a base's help where there is one; one that is ``given`` must be it."""
    if not opened.archives:
        return lines_of(reader, number)
    used = objects_used(reader.manifest, number)
    try:
        base = find_base(reader.manifest, opened.archives, ApplyOptions(tmp=tmp), [number])
    except BaseMismatchError:
        if given:
            raise
        return lines_of(reader, number)  # a wrapped bundle's own archive need not be a base
    stack.callback(base.close)
    if base.missing(used):
        raise UsageError(messages.BASE_EARLIER_TARGET_NAMED, target_name=target_name(reader.manifest, number))
    base.prepare(used)
    return lines_of(reader, number, base)


def _summary(name: str, reader: BundleReader, lines: list[Line], signed_by: Sequence[str]) -> Iterator[str]:
    manifest = reader.manifest
    about = manifest.about
    size = sum(target.size for target in manifest.targets)
    yield (
        f"{terminal.escape(name)}: dib bundle, format version 1, {terminal.human(reader.size)},"
        f" {terminal.times(size, reader.size)}"
    )
    for number, target in enumerate(manifest.targets):
        yield f"makes  {terminal.human(target.size)}, {digest.text(target.digest)}"
        for image in about.targets[number] if about else ():
            yield f"       {_image(image)}"
    for key, value in about.notes if about else ():
        yield f"       {terminal.escape(key)}: {terminal.escape(value)}"
    if manifest.objects:
        total = sum(item.size for item in manifest.objects)
        count = len(manifest.objects)
        yield f"needs  {count} {'object' if count == 1 else 'objects'} of {terminal.human(total)}"
        for image in about.bases if about else ():
            yield f"       {_image(image)}"
        for item in manifest.objects:
            yield f"       {_KINDS.get(item.kind, 'blob'):6} {digest.text(item.digest)}  {terminal.human(item.size)}"
    else:
        yield "needs  no base"
    yield f"signed {terminal.escape(signature_told(reader, signed_by))}"
    yield "bytes"
    stored_manifest = reader.size - sum(frame.stored for frame in manifest.frames)
    for kind, stored, decoded in stored_by_kind(manifest):
        yield f"  {stored:>12,}  {100 * stored / reader.size:5.1f} %  {kind}, makes {terminal.human(decoded)}"
    yield f"  {stored_manifest:>12,}  {100 * stored_manifest / reader.size:5.1f} %  header and manifest"
    found = listing.top(lines, _TOP)
    if found:
        yield "most of them (see --list, --tree)"
    for line in found:
        share = 100 * line.stored / reader.size
        yield f"  {line.stored:>12,}  {share:5.1f} %  {line.operation} {terminal.escape(line.path or b'')}"


def signature_told(reader: BundleReader, signed_by: Sequence[str]) -> str:
    """Return who signed a bundle, of those who were asked for, else which key it says it is signed by."""
    if signed_by:
        return "by " + ", ".join(signed_by)
    return f"by {signer(reader) or 'what this dib does not know'}, not checked" if reader.signature else "no"


def signer(reader: BundleReader) -> str | None:
    """Return the key that a bundle says it is signed by; None where its signature is none."""
    try:
        return Signature.parse(reader.signature).fingerprint
    except SignatureError:
        return None


def _image(image: AboutImage) -> str:
    names = ", ".join(terminal.escape(name) for name in image.names) or "(no name)"
    return f"image  {names}  {digest.text(image.id) if len(image.id) == digest.SIZE else '(no config)'}"


def _document(reader: BundleReader) -> Document:
    manifest = reader.manifest
    about = manifest.about
    return {
        "size": reader.size,
        "signed": bool(reader.signature),
        "signed_by": signer(reader) if reader.signature else None,
        "header_sha256": digest.text(digest.sha256(reader.header_bytes)),
        "targets": documents.targets(manifest),
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

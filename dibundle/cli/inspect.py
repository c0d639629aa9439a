"""``dib inspect``."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import ExitStack

import click

from dibundle import digest
from dibundle.applying import ApplyOptions, find_base
from dibundle.bundle.constants import KIND_CONFIG, KIND_LAYER
from dibundle.bundle.manifest import AboutImage, Manifest
from dibundle.bundle.reader import BundleReader
from dibundle.bundle.uses import objects_used
from dibundle.cli import registries, terminal
from dibundle.cli.sources import one_bundle, open_sources
from dibundle.delta import codecs
from dibundle.errors import SignatureError
from dibundle.report import Line, listing, listing_with_base, stored_by_kind
from dibundle.signing import Signature

_KINDS = {KIND_LAYER: "layer", KIND_CONFIG: "config"}


@click.command("inspect", short_help="Show what a bundle needs, what it makes and where its bytes go.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--list", "show_list", is_flag=True, help="Show the operations per path.")
@click.option("--base", "bases", multiple=True, metavar="BASE", help="With --list: name every path, deleted ones too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
def command(bundle: str, show_list: bool, bases: tuple[str, ...], as_json: bool, tmp: str | None) -> None:
    """Show what BUNDLE needs, what it makes and where its bytes go."""
    with ExitStack() as stack:
        opened = open_sources([bundle, *bases], stack, tmp=tmp)
        reader = one_bundle(opened)
        lines: Iterable[Line] | None = None
        if show_list and opened.archives:
            base = find_base(reader.manifest, opened.archives, ApplyOptions(tmp=tmp))
            stack.callback(base.close)
            base.prepare(objects_used(reader.manifest, 0))
            lines = listing_with_base(reader, base)
        elif show_list:
            lines = listing(reader)
        if as_json:
            click.echo(json.dumps(_as_json(reader, lines), indent=2))
        elif lines is not None:
            _print_lines(lines)
        else:
            _print_summary(bundle, reader)


def _print_summary(name: str, reader: BundleReader) -> None:
    manifest = reader.manifest
    target = manifest.targets[0]
    about = manifest.about
    echo = click.echo
    echo(f"{terminal.escape(name)}: dib bundle, format version 1, {terminal.human(reader.size)}")
    echo(f"makes  {terminal.human(target.size)}, {digest.text(target.digest)}")
    for image in about.targets[0] if about else ():
        echo(f"       {_image(image)}")
    for key, value in about.notes if about else ():
        echo(f"       {terminal.escape(key)}: {terminal.escape(value)}")
    if manifest.objects:
        echo(f"needs  {len(manifest.objects)} objects of {terminal.human(sum(item.size for item in manifest.objects))}")
        for image in about.bases if about else ():
            echo(f"       {_image(image)}")
        for item in manifest.objects:
            echo(f"       {_KINDS.get(item.kind, 'blob'):6} {digest.text(item.digest)}  {terminal.human(item.size)}")
    else:
        echo("needs  no base")
    echo(
        "signed "
        + (f"by {_signer(reader) or 'what this dib does not know'}, not checked" if reader.signature else "no")
    )
    echo("bytes")
    stored_manifest = reader.size - sum(frame.stored for frame in manifest.frames)
    for kind, stored, decoded in stored_by_kind(manifest):
        echo(f"  {stored:>12,}  {100 * stored / reader.size:5.1f} %  {kind}, makes {terminal.human(decoded)}")
    echo(f"  {stored_manifest:>12,}  {100 * stored_manifest / reader.size:5.1f} %  header and manifest")


def _signer(reader: BundleReader) -> str | None:
    """Return the key that a bundle says it is signed by; None where its signature is none."""
    try:
        return Signature.parse(reader.signature).fingerprint
    except SignatureError:
        return None


def _image(image: AboutImage) -> str:
    names = ", ".join(terminal.escape(name) for name in image.names) or "(no name)"
    return f"image  {names}  {digest.text(image.id) if len(image.id) == digest.SIZE else '(no config)'}"


def _print_lines(lines: Iterable[Line]) -> None:
    for line in lines:
        if line.operation == "keep" and line.path is None:
            text = f"({terminal.human(line.count)} as in the base)"
        elif line.path is not None:
            text = terminal.escape(line.path)
        elif line.operation == "mode":
            text = f"({line.count:,} {'entry' if line.count == 1 else 'entries'})"
        else:
            text = "(a name that the bundle does not tell)"
        size = f"{line.size:,}" if line.size is not None else ""
        click.echo(f"{line.operation:9} {size:>13}  {text}")


def _as_json(reader: BundleReader, lines: Iterable[Line] | None) -> dict[str, object]:
    manifest: Manifest = reader.manifest
    about = manifest.about
    result: dict[str, object] = {
        "schema": "dib.inspect/1",
        "size": reader.size,
        "signed": bool(reader.signature),
        "signed_by": _signer(reader),
        "header_sha256": digest.text(digest.sha256(reader.header_bytes)),
        "targets": [
            {
                "size": target.size,
                "sha256": digest.text(target.digest),
                "images": [_image_json(image) for image in about.targets[number]] if about else [],
            }
            for number, target in enumerate(manifest.targets)
        ],
        "base": {
            "objects": [
                {"kind": _KINDS.get(item.kind, "other"), "size": item.size, "sha256": digest.text(item.digest)}
                for item in manifest.objects
            ],
            "images": [_image_json(image) for image in about.bases] if about else [],
        },
        "codecs": [codecs.NAMES[number] for number in manifest.codecs],
        "bytes": [
            {"kind": kind, "stored": stored, "decoded": decoded} for kind, stored, decoded in stored_by_kind(manifest)
        ],
        "notes": dict(about.notes) if about else {},
    }
    if lines is not None:
        result["operations"] = [_line_json(line) for line in lines]
    return result


def _image_json(image: AboutImage) -> dict[str, object]:
    return {
        "names": list(image.names),
        "id": digest.text(image.id),
        "diff_ids": [digest.text(item) for item in image.diff_ids],
    }


def _line_json(line: Line) -> dict[str, object]:
    result: dict[str, object] = {"operation": line.operation, "count": line.count}
    if line.path is not None:
        result["path"] = line.path.decode("utf-8", "replace")
        try:
            line.path.decode()
        except UnicodeDecodeError:
            result["path_b64"] = base64.b64encode(line.path).decode()
    if line.size is not None:
        result["size"] = line.size
    return result

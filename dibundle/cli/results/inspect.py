"""The results of ``dib inspect``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibundle.applying.targets import made_targets
from dibundle.cli.console import Document
from dibundle.cli.results import documents
from dibundle.codecs import decoders, reencoders
from dibundle.errors import human
from dibundle.files import digest, wording
from dibundle.format.constants import KIND_CONFIG, KIND_LAYER
from dibundle.format.values import AboutImage
from dibundle.inspecting.inspection import Inspection
from dibundle.inspecting.listing import top
from dibundle.inspecting.operations import stored_by_kind

_KINDS = {KIND_LAYER: "layer", KIND_CONFIG: "config"}
TOP: Final = 5  # number of paths in a summary


def summary(name: str, found: Inspection) -> Iterator[str]:
    """Yield the lines of the summary."""
    manifest = found.manifest
    about = manifest.about
    size = sum(target.size for target in manifest.targets)
    yield (
        f"{wording.escape(name)}: dib bundle, format version 1, {manifest.profile} profile, {human(found.size)},"
        f" {wording.times(size, found.size)}"
    )
    for number, target in enumerate(manifest.targets):
        yield f"makes  {human(target.size)}, {digest.text(target.digest)}"
        for image in about.targets[number] if about else ():
            yield f"       {_image(image)}"
    for key, value in about.notes if about else ():
        yield f"       {wording.escape(key)}: {wording.escape(value)}"
    objects = [manifest.objects[number] for number in manifest.needed()]
    if objects:
        total = sum(item.size for item in objects)
        count = len(objects)
        yield f"needs  {count} {'object' if count == 1 else 'objects'} of {human(total)}"
        for image in about.bases if about else ():
            yield f"       {_image(image)}"
        for item in objects:
            yield f"       {_KINDS.get(item.kind, 'blob'):6} {digest.text(item.digest)}  {human(item.size)}"
    else:
        yield "needs  no base"
    for library in reencoders.libraries_of(manifest.reencoders):
        yield f"needs  {library} in Python's zstandard, to compress zstd layers again"
    yield f"signed {wording.escape(found.signed)}"
    yield "bytes"
    stored_manifest = found.size - sum(frame.stored for frame in manifest.frames)
    for kind, stored, decoded in stored_by_kind(manifest):
        yield f"  {stored:>12,}  {100 * stored / found.size:5.1f} %  {kind}, makes {human(decoded)}"
    yield f"  {stored_manifest:>12,}  {100 * stored_manifest / found.size:5.1f} %  header and manifest"
    largest = top(found.lines, TOP)
    if largest:
        yield "most of them (see --list, --tree)"
    for line in largest:
        share = 100 * line.stored / found.size
        yield f"  {line.stored:>12,}  {share:5.1f} %  {line.operation} {wording.escape(line.path or b'')}"


def _image(image: AboutImage) -> str:
    names = ", ".join(wording.escape(name) for name in image.names) or "(no name)"
    return f"image  {names}  {digest.text(image.id) if len(image.id) == digest.SIZE else '(no config)'}"


def document(found: Inspection) -> Document:
    """Return the inspection as a JSON document."""
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
                for item in (manifest.objects[number] for number in manifest.needed())
            ],
            "images": documents.images(about.bases if about else ()),
        },
        "profile": manifest.profile,
        "codecs": [decoders.NAMES[number] for number in manifest.codecs],
        "libraries": reencoders.libraries_of(manifest.reencoders),
        "bytes": [
            {"kind": kind, "stored": stored, "decoded": decoded} for kind, stored, decoded in stored_by_kind(manifest)
        ],
        "notes": dict(about.notes) if about else {},
    }

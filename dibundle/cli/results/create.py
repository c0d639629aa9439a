"""The results of ``dib create``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dibundle.applying.targets import made_targets
from dibundle.cli.console import Console, Document
from dibundle.cli.results import documents
from dibundle.codecs import reencoders
from dibundle.creating.compose.recompressed import CarriedLayer
from dibundle.creating.estimate import Estimate
from dibundle.creating.pipeline import CreateResult
from dibundle.errors import human
from dibundle.files import digest, wording


def show_estimate(found: Estimate, raw_command: str, console: Console) -> None:
    """Print the estimate."""
    looked_at = "encoded" if found.exact else "sampled"
    line = (
        f"{'' if found.exact else 'about '}{human(found.size)} for {human(found.target_size)}"
        f" ({wording.times(found.target_size, found.size)}), in {_span(found.seconds, found.most_seconds)} s"
        f" ({found.sampled:,} of {found.frames:,} frames were {looked_at}, in {console.seconds:.1f} s)"
    )
    document: Document = {
        "size": found.size,
        "seconds": round(found.seconds, 1),
        "most_seconds": round(found.most_seconds, 1),
        "base_size": found.base_size,
        "target_size": found.target_size,
        "frames": found.frames,
        "sampled": found.sampled,
        "exact": found.exact,
        "carried_layers": _carried(found.carried),
    }
    console.answer("dib.estimate/1", document, (line,))
    _show_carried(found.carried, raw_command, console)


def document(out: str, result: CreateResult, seconds: float) -> Document:
    """Return the result as a JSON document."""
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
        "carried_layers": _carried(result.carried),
        "libraries": reencoders.libraries_of(result.manifest.reencoders),
    }


def _carried(layers: Sequence[CarriedLayer]) -> list[Document]:
    return [
        {
            "digest": digest.text(layer.digest),
            "compression": layer.compression,
            "size": layer.size,
            "content_size": layer.content_size,
            "writer": layer.writer,
        }
        for layer in layers
    ]


def timings_document(result: CreateResult) -> str:
    """Return the timings as a JSON document."""
    other, frames = result.timings
    found = zip(result.manifest.frames, frames, strict=True)
    rows = [
        {
            "size": frame.size,
            "source_size": frame.source_size,
            "stored": frame.stored,
            "cpu_seconds": [_rounded(step) for step in steps],
        }
        for frame, steps in found
    ]
    return json.dumps({"schema": "dib.timings/1", "other_seconds": round(other, 4), "frames": rows}, indent=1) + "\n"


def _span(least: float, most: float) -> str:
    """Return a range of seconds as text. A time below one second is shown as one second."""
    first, last = max(1, round(least)), max(1, round(most))
    return f"{first} to {last}" if last > first else f"about {first}"


def _rounded(step: float | list[float]) -> float | list[float]:
    return [round(piece, 4) for piece in step] if isinstance(step, list) else round(step, 4)


def show(first: str, last: str, result: CreateResult, raw_command: str, console: Console) -> None:
    """Print the result. The bundle is in one file, or in parts from ``first`` to ``last``.

    ``raw_command`` is the command that creates the bundle with raw layers.
    """
    console.result("dib.create/1", document(first, result, console.seconds))
    out = first if first == last else f"{first} to {last}"
    counts = result.counts
    console.say(
        f"{wording.escape(out)}: {human(result.size)} for {human(result.target_size)}"
        f" ({wording.times(result.target_size, result.size)}), in {console.seconds:.1f} s"
    )
    console.say(
        f"  files in new layers: {counts.kept:,} kept, {counts.mode:,} other metadata, {counts.patched:,} patched,"
        f" {counts.added:,} added, {counts.repeated:,} repeated"
        + (f", {counts.raw_entries:,} raw" if counts.raw_entries else "")
        + (f", {counts.opaque_layers:,} opaque layers" if counts.opaque_layers else "")
    )
    _show_carried(result.carried, raw_command, console)
    for library in reencoders.libraries_of(result.manifest.reencoders):
        console.say(
            f"  applying needs {library} in Python's zstandard, to compress zstd layers again\n"
            f"dib: hint: for receivers without this library, run {raw_command}, which gives the same images "
            f"with raw layers"
        )


def _show_carried(carried: Sequence[CarriedLayer], raw_command: str, console: Console) -> None:
    """Print the size of the compressed layers that are stored unchanged, and a command that avoids them."""
    if not carried:
        return
    size = human(sum(layer.size for layer in carried))
    which = "1 compressed layer is" if len(carried) == 1 else f"{len(carried)} compressed layers are"
    console.say(f"  {which} in it whole, {size}: no encoder here makes the same bytes again")
    console.say(
        f"dib: hint: for the same images with raw layers, run {raw_command}\n"
        "  (the image ID stays the same in docker's classic store and in podman, but changes in containerd's "
        "store, which uses the manifest's digest; --dry-run shows the size)"
    )

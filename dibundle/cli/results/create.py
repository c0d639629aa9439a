"""What ``dib create`` says."""

from __future__ import annotations

import json

from dibundle.applying.targets import made_targets
from dibundle.cli.console import Console, Document
from dibundle.cli.results import documents
from dibundle.creating.estimate import Estimate
from dibundle.creating.pipeline import CreateResult
from dibundle.errors import human
from dibundle.files import wording


def show_estimate(found: Estimate, console: Console) -> None:
    """Say what would be made."""
    looked_at = "encoded" if found.exact else "sampled"
    line = (
        f"{'' if found.exact else 'about '}{human(found.size)} for {human(found.target_size)}"
        f" ({wording.times(found.target_size, found.size)}), in {found.seconds:.0f} to {found.most_seconds:.0f} s"
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


def timings_document(result: CreateResult) -> str:
    """Return what took how long, for programs."""
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


def _rounded(step: float | list[float]) -> float | list[float]:
    return [round(piece, 4) for piece in step] if isinstance(step, list) else round(step, 4)


def show(first: str, last: str, result: CreateResult, console: Console) -> None:
    """Say what was made, in one file or in parts from ``first`` to ``last``."""
    console.result("dib.create/1", document(first, result, console.seconds))
    out = first if first == last else f"{first} to {last}"
    counts = result.counts
    console.say(
        f"{wording.escape(out)}: {human(result.size)} for {human(result.target_size)}"
        f" ({wording.times(result.target_size, result.size)}), in {console.seconds:.1f} s"
    )
    console.say(
        f"  new layers: {counts.kept:,} kept, {counts.mode:,} other metadata, {counts.patched:,} patched,"
        f" {counts.added:,} added, {counts.repeated:,} repeated"
        + (f", {counts.raw_entries:,} raw" if counts.raw_entries else "")
        + (f", {counts.opaque_layers:,} opaque layers" if counts.opaque_layers else "")
    )

"""Verifying a bundle: its own integrity, or a whole rebuild that is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dibundle.applying.pipeline import ApplyOptions, apply_several
from dibundle.files.progress import Progress, Silent
from dibundle.format.output import Piece
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive


def check_integrity(bundle: BundleReader, progress: Progress | None = None) -> None:
    """Read every frame and check it against its digest; nothing is decoded, no base is needed."""
    progress = progress or Silent()
    progress.phase("checking", sum(frame.stored for frame in bundle.manifest.frames))
    for _ in bundle.manifest.frames:
        _, stored = bundle.frame()
        progress.advance(len(stored))
    bundle.finish()


def check_rebuild(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
    progress: Progress | None = None,
) -> None:
    """Rebuild every target, check every digest and the whole archives', keep nothing."""
    sinks = dict.fromkeys(range(len(bundle.manifest.targets)), _nowhere)
    apply_several(bases, bundle, sinks, replace(options, whole=True), progress)


def _nowhere(piece: Piece) -> None:
    del piece

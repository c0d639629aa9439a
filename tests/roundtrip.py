"""Create and apply in one process, on archives in memory, with ``bundle_of`` and ``rebuilt``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import CreateResult, write_bundle
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive

FAST = CreateOptions(level=3)


def bundle_of(
    folder: Path, bases: Sequence[bytes], target: bytes, options: CreateOptions = FAST
) -> tuple[bytes, CreateResult]:
    """Return the bundle that rebuilds ``target``, and the result of create."""
    out = io.BytesIO()
    opened = [open_archive(path) for path in _written(folder, "base", bases)]
    try:
        with open_archive(_written(folder, "target", [target])[0]) as archive, Context() as context:
            result = write_bundle(opened, [archive], out.write, options, context)
    finally:
        for base in opened:
            base.close()
    return out.getvalue(), result


def rebuilt(folder: Path, bases: Sequence[bytes], bundle: bytes) -> bytes:
    """Return the output of the bundle, and check every digest."""
    out = io.BytesIO()
    opened = [open_archive(path) for path in _written(folder, "far", bases)]
    try:
        with Context() as context:
            reader = BundleReader(io.BytesIO(bundle))
            rebuild_target(opened, reader, out.write, RebuildOptions(), context, whole=True)
    finally:
        for base in opened:
            base.close()
    return out.getvalue()


def check(folder: Path, bases: Sequence[bytes], target: bytes, options: CreateOptions = FAST) -> CreateResult:
    """Assert that apply rebuilds the target byte for byte. Return the result of create."""
    bundle, result = bundle_of(folder, bases, target, options)
    assert rebuilt(folder, bases, bundle) == target
    assert result.size == len(bundle)
    return result


def _written(folder: Path, name: str, archives: Sequence[bytes]) -> list[Path]:
    paths = []
    for number, data in enumerate(archives):
        path = folder / f"{name}{number}.tar"
        path.write_bytes(data)
        paths.append(path)
    return paths

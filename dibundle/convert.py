"""Applying into another form than the target's own, with the layers left out that the receiver has (``thin``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from dibundle.applying import ApplyOptions, apply, base_names, choose_target
from dibundle.archive.opener import Archive, from_fd
from dibundle.archive.readat import Spool
from dibundle.bundle.manifest import Manifest, Target
from dibundle.bundle.reader import BundleReader
from dibundle.destination import Destination
from dibundle.errors import FileError
from dibundle.image import forms
from dibundle.image.reader import read_images
from dibundle.progress import Progress, Silent


class _Kept:
    """A sink that keeps a target in a sparse temporary file, without the stretches at ``holes``."""

    def __init__(self, spool: Spool, holes: Sequence[tuple[int, int]]) -> None:
        self._spool = spool
        self._holes = list(holes)
        self._at = 0

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the target."""
        view = memoryview(piece)
        while view:
            while self._holes and self._holes[0][1] <= self._at:
                self._holes.pop(0)
            start, end = self._holes[0] if self._holes else (1 << 62, 1 << 62)
            within = start <= self._at
            part = view[: (end if within else start) - self._at]
            if within:
                self._spool.skip(len(part))
            else:
                self._spool.write(part)
            self._at += len(part)
            view = view[len(part) :]


def apply_as(
    bases: Sequence[Archive],
    bundle: BundleReader,
    form: forms.Form,
    write: Callable[[bytes], object],
    options: ApplyOptions,
    progress: Progress | None = None,
    *,
    thin: bool = False,
    names: tuple[str, ...] | None = None,
) -> list[bytes]:
    """Write the images that a bundle makes as an archive of ``form``; return the digests of the layers left out.

    ``names`` are for the images in place of their own.

    Everything is verified before the first byte is written; only what is written lies in a temporary file.
    """
    with ExitStack() as stack:
        parts, left = _rebuilt(bases, bundle, options, stack, progress, thin=thin, names=names)
        forms.write(parts, form, write)
        return left


def apply_to_folder(
    bases: Sequence[Archive],
    bundle: BundleReader,
    folder: str,
    options: ApplyOptions,
    progress: Progress | None = None,
    *,
    thin: bool = False,
) -> list[bytes]:
    """Write the images as an OCI layout in a folder that is not there yet; return the layers left out."""
    if os.path.lexists(folder):
        raise FileError(f"{folder} is there already", hint="name a folder that is not")
    with ExitStack() as stack:
        parts, left = _rebuilt(bases, bundle, options, stack, progress, thin=thin)
        final = Path(folder)
        beside: Path | None = None
        try:
            beside = Path(tempfile.mkdtemp(prefix=f".{final.name[:64]}.", suffix=".part", dir=final.parent))
            beside.chmod(0o755)
            (beside / "blobs" / "sha256").mkdir(parents=True)
            for name, content in forms.files(parts, "oci-archive"):
                with Destination(str(beside / name)) as file:
                    for piece in forms.chunks(content):
                        file.write(piece)
            beside.rename(final)
        except OSError as error:
            raise FileError(f"cannot write {folder}: {error.strerror}") from error
        finally:
            if beside is not None and beside.is_dir():
                shutil.rmtree(beside)
        return left


def _rebuilt(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions,
    stack: ExitStack,
    progress: Progress | None,
    *,
    thin: bool,
    names: tuple[str, ...] | None = None,
) -> tuple[forms.Layout, list[bytes]]:
    progress = progress or Silent()
    number = choose_target(bundle.manifest, options)
    holes = _of_the_base(bundle.manifest, bundle.manifest.targets[number]) if thin else []
    options = replace(options, kept=kept_size(bundle.manifest, number, thin=thin))
    spool = stack.enter_context(closing(Spool(options.tmp)))
    kept = _Kept(spool, [(start, end) for start, end, _ in holes])
    apply(bases, bundle, kept.write, options, progress)
    archive = stack.enter_context(from_fd(spool.start(), "the target", spool_dir=options.tmp))
    images = read_images(archive)
    parts = forms.layout(images, frozenset(start for start, _, _ in holes), names)
    if holes:
        told = ", ".join(base_names(bundle.manifest)) or "the base"
        progress.note(f"without {len(holes)} layer{'s' * (len(holes) > 1)} of {told}, which must be loaded already")
    return parts, [digest for _, _, digest in holes]


def kept_size(manifest: Manifest, number: int, *, thin: bool) -> int:
    """Return how many bytes of a target lie in a temporary file before they are written in another form."""
    target = manifest.targets[number]
    return target.size - sum(end - start for start, end, _ in (_of_the_base(manifest, target) if thin else ()))


def _of_the_base(manifest: Manifest, target: Target) -> list[tuple[int, int, bytes]]:
    """Return start, end and digest of the members of a target that the base has as layers, as far as it is told."""
    here = {item.digest for item in manifest.objects}
    here |= {digest for image in (manifest.about.bases if manifest.about else ()) for digest in image.diff_ids}
    found = []
    at = 0
    for segment in target.segments:
        if segment.digest in here and segment.length:
            found.append((at, at + segment.length, segment.digest or b""))
        at += segment.length
    return found

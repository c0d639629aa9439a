"""Applying into another form than the target's own, with the layers left out that the receiver has (``thin``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from dibundle.applying import ApplyOptions, apply, choose_target
from dibundle.archive.opener import Archive, open_made
from dibundle.archive.readat import Spool
from dibundle.bundle.manifest import Manifest
from dibundle.bundle.reader import BundleReader
from dibundle.destination import Destination
from dibundle.errors import ArchiveError, FileError
from dibundle.image import forms
from dibundle.image.model import Image
from dibundle.image.reader import read_images
from dibundle.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a receiver has loaded: the images of the archives that are given here, as these claim them.

    ``names`` of images; ``chains``: the diffIDs of the layers of each, the lowest first; ``diff_ids``: that of each
    stored form of a layer, by its digest.
    """

    names: tuple[str, ...]
    chains: tuple[tuple[bytes, ...], ...]
    diff_ids: Mapping[bytes, bytes]

    def shared(self, chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the lowest layers of an image, as far as one that is loaded has the same: engines know no others."""
        return chain[: max((_shared(chain, other) for other in self.chains), default=0)]


def _shared(chain: Sequence[bytes], other: Sequence[bytes]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(chain, other, strict=False)))


def loaded(archives: Sequence[Archive]) -> Loaded:
    """Return what a receiver has who has loaded these archives."""
    found: list[Image] = []
    for archive in archives:
        with suppress(ArchiveError):  # what is no image archive holds nothing
            found += read_images(archive).images
    diff_ids = {diff_id: diff_id for image in found for diff_id in image.diff_ids}
    for image in found:
        diff_ids |= {blob.digest: blob.diff_id for blob in image.layers if blob and blob.digest and blob.diff_id}
    names = tuple(name for image in found for name in image.names)
    return Loaded(names, tuple(image.diff_ids for image in found), diff_ids)


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
    without: Loaded | None = None,
    names: tuple[str, ...] | None = None,
) -> None:
    """Write the images that a bundle makes as an archive of ``form``, without the layers that a receiver has.

    ``names`` are for the images in place of their own.

    Everything is verified before the first byte is written; only what is written lies in a temporary file.
    """
    with ExitStack() as stack:
        forms.write(_rebuilt(bases, bundle, options, stack, progress, without, names), form, write)


def apply_to_folder(
    bases: Sequence[Archive],
    bundle: BundleReader,
    folder: str,
    options: ApplyOptions,
    progress: Progress | None = None,
    *,
    without: Loaded | None = None,
) -> None:
    """Write the images as an OCI layout in a folder that is not there yet; else as :func:`apply_as`."""
    if os.path.lexists(folder):
        raise FileError(f"{folder} is there already", hint="name a folder that is not")
    with ExitStack() as stack:
        parts = _rebuilt(bases, bundle, options, stack, progress, without)
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


def _rebuilt(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions,
    stack: ExitStack,
    progress: Progress | None,
    without: Loaded | None,
    names: tuple[str, ...] | None = None,
) -> forms.Layout:
    progress = progress or Silent()
    number = choose_target(bundle.manifest, options)
    holes = _left_out(bundle.manifest, number, without)
    options = replace(options, kept=kept_size(bundle.manifest, number, without))
    spool = stack.enter_context(closing(Spool(options.tmp)))
    kept = _Kept(spool, holes)
    apply(bases, bundle, kept.write, options, progress)
    archive = stack.enter_context(open_made(spool, "the target"))
    images = read_images(archive)
    parts = forms.layout(images, frozenset(start for start, _ in holes), names)
    if without:
        told = ", ".join(without.names) or "the base"
        note = f"without {len(holes)} layer{'s' * (len(holes) > 1)} of {told}, which must be loaded already"
        none = (
            f"nothing is left out: {told} has no layer in the form that the new image has it in;"
            " where the bundle was made from a registry, give the base as docker://HOST/NAME:TAG"
        )
        progress.note(note if holes else none)
    return parts


def kept_size(manifest: Manifest, number: int, without: Loaded | None) -> int:
    """Return how many bytes of a target lie in a temporary file before they are written in another form."""
    return manifest.targets[number].size - sum(end - start for start, end in _left_out(manifest, number, without))


def needed(manifest: Manifest, number: int, without: Loaded) -> list[tuple[bytes, ...]]:
    """Return the layers, by their diffIDs, the lowest first, that each image of a target is left without."""
    images = manifest.about.targets[number] if manifest.about else ()
    return [without.shared(image.diff_ids) for image in images]


def _left_out(manifest: Manifest, number: int, without: Loaded | None) -> list[tuple[int, int]]:
    """Return start and end of the members of a target that are layers which every image with them finds loaded."""
    if without is None or manifest.about is None:
        return []
    chains = needed(manifest, number, without)
    images = manifest.about.targets[number]
    left = {diff_id for chain in chains for diff_id in chain}
    left -= {diff_id for image, chain in zip(images, chains, strict=True) for diff_id in image.diff_ids[len(chain) :]}
    found = []
    at = 0
    for segment in manifest.targets[number].segments:
        if segment.digest and segment.length and without.diff_ids.get(segment.digest) in left:
            found.append((at, at + segment.length))
        at += segment.length
    return found

"""Write a target in a different format, or without the layers that the receiver has."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dibundle.applying import messages
from dibundle.applying.expected import Expectation, UnexpectedError, named_digest, refuse_others, verified_digests
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_targets
from dibundle.applying.space import NO_SPACE, Space
from dibundle.applying.targets import choose_target
from dibundle.errors import ArchiveError, BundleError, FileError
from dibundle.files import digest, wording
from dibundle.files import messages as file_messages
from dibundle.files.context import Context
from dibundle.files.destination import Destination, temporary_name
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.format.values import Target
from dibundle.images import writers
from dibundle.images.archive import Archive, open_made
from dibundle.images.model import Image, ImageArchive, chain_ids
from dibundle.images.reader import read_images

if TYPE_CHECKING:
    from dibundle.images.pinned import PinnedImage, Stored


class Loaded(NamedTuple):
    """The images that a receiver has loaded. The given archives claim to hold these images.

    ``names`` are the names of the images. ``chain_ids`` has, for each image, the chain IDs of its lowest layer, its
    lowest two layers, and so on. ``diff_ids`` maps the digest of each stored (possibly compressed) layer to its diffID.
    """

    names: tuple[str, ...]
    chain_ids: Set[bytes]
    diff_ids: Mapping[bytes, bytes]

    def shared(self, chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the lowest layers that an image shares with a loaded image.

        Engines share a layer only if all lower layers are shared too.
        """
        return chain[: sum(1 for _ in takewhile(self.chain_ids.__contains__, chain_ids(chain)))]


def loaded(archives: Sequence[Archive]) -> Loaded:
    """Return the images that a receiver has after loading these archives."""
    found: list[Image] = []
    for archive in archives:
        with suppress(ArchiveError):  # ignore a file that is not an image archive
            found += read_images(archive).images
    # images that share a config also share one tuple of diffIDs
    by_config = {id(image.diff_ids): image.diff_ids for image in found}
    diff_ids = {diff_id: diff_id for chain in by_config.values() for diff_id in chain}
    for image in found:
        diff_ids |= {blob.digest: blob.diff_id for blob in image.layers if blob and blob.digest and blob.diff_id}
    names = tuple(name for image in found for name in image.names)
    return Loaded(names, {chain_id for chain in by_config.values() for chain_id in chain_ids(chain)}, diff_ids)


class _Kept:
    """A sink that keeps a target in a sparse temporary file, without the ranges in ``holes`` (start, end)."""

    def __init__(self, spool: Spool, holes: Sequence[tuple[int, int]]) -> None:
        self._spool = spool
        self._holes = deque(holes)
        self._at = 0

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the target."""
        view = memoryview(piece)
        while view:
            while self._holes and self._holes[0][1] <= self._at:
                self._holes.popleft()
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
    form: writers.ArchiveForm,
    write: Callable[[bytes], object],
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
    without: Loaded | None = None,
) -> None:
    """Write a target's images as an archive in the format ``form``, without the layers that a receiver has.

    No byte is written before everything is verified. The temporary file has only the content that will be written.
    """
    with context.within() as own:
        parts = _rebuilt(bases, bundle, options, own, space, without)
        _check_size(parts, options)
        writers.write(parts, form, write)


def apply_to_layout(
    bases: Sequence[Archive],
    bundle: BundleReader,
    folder: str,
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
    without: Loaded | None = None,
) -> None:
    """Write the images as an OCI layout into a new folder. Everything else is as in :func:`apply_as`."""
    if os.path.lexists(folder):
        raise FileError(messages.FILE_EXISTS, folder=folder)
    with context.within() as own:
        parts = _rebuilt(bases, bundle, options, own, space, without)
        _check_size(parts, options)
        final = Path(folder)
        beside: Path | None = None
        try:
            beside = final.parent / temporary_name(final.name)
            beside.mkdir()
            (beside / "blobs" / "sha256").mkdir(parents=True)
            for name, content in writers.files(parts, "oci-archive"):
                with Destination(str(beside / name)) as file:
                    for piece in writers.chunks(content):
                        file.write(piece)
            beside.rename(final)
        except OSError as error:
            raise FileError(messages.FILE_CANNOT_WRITE, folder=folder, reason=error.strerror) from error
        except ValueError as error:  # the name has a NUL, or half a surrogate pair
            raise FileError(file_messages.FILE_NAME, path=folder) from error
        finally:
            if beside is not None and beside.is_dir():
                shutil.rmtree(beside)


def _check_size(parts: writers.ImageParts, options: RebuildOptions) -> None:
    """Refuse an output archive that is larger than allowed.

    The output may be larger than the target, because the output's documents may be larger.
    """
    size = sum(map(writers.size_of, parts.blobs.values())) + len(parts.index_json) + len(parts.manifest)
    if size > options.max_size:
        raise BundleError(messages.LIMIT_MAX_SIZE_AS_FORM, size=size, max_size=options.max_size)


def _rebuilt(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: RebuildOptions,
    context: Context,
    space: Space,
    without: Loaded | None,
) -> writers.ImageParts:
    number = choose_target(bundle.manifest, options)
    images, holes = rebuild_images(bases, bundle, options, context, space, without)
    starts = frozenset(start for start, _ in holes)
    if without:
        _note_left_out(context.progress, without, holes, any(needed(bundle.manifest, number, without)))
    expected = options.expectation.without_archive(bundle.manifest.targets[number].digest)
    if not expected:
        verified = verified_digests(bundle.manifest.targets[number])
        return writers.layout(images, starts, verified=verified)
    found = pin(images, expected, bases, holes, bundle.manifest.targets[number], without)
    from dibundle.images import pinned

    return pinned.layout(found)


def rebuild_images(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: RebuildOptions,
    context: Context,
    space: Space = NO_SPACE,
    without: Loaded | None = None,
) -> tuple[ImageArchive, list[tuple[int, int]]]:
    """Rebuild a target into a temporary file. Return the images, and the start and end of each range that was left out.

    The digests of the target's segments are checked. If the caller expects the digest of the whole target, this digest
    is checked too. The images are checked by :func:`pin`.
    """
    target = bundle.manifest.targets[choose_target(bundle.manifest, options)]
    holes = _left_out(bundle.manifest, choose_target(bundle.manifest, options), without)
    kept = target.size - sum(end - start for start, end in holes)
    is_archive_expected = target.digest in options.expect or named_digest(options.target) == target.digest
    spool = context.spool()
    sinks = {choose_target(bundle.manifest, options): _Kept(spool, holes).write}
    unjudged = replace(options, target=None, expect=frozenset())
    rebuild_targets(bases, bundle, sinks, unjudged, context, space=space._replace(kept=kept), whole=is_archive_expected)
    archive = context.enter(open_made(spool, "the target"))
    return read_images(archive), holes


def pin(
    images: ImageArchive,
    expected: Expectation,
    bases: Sequence[Archive],
    holes: Sequence[tuple[int, int]],
    target: Target,
    without: Loaded | None,
) -> list[tuple[PinnedImage, tuple[str, ...]]]:
    """Return a target's expected images with their names. Raise ``UnexpectedError`` if the target has no such image."""
    # imported only in functions, because apply without --expect does not need this module
    from dibundle.images import pinned
    from dibundle.images.pinned import LayerStore
    from dibundle.images.profile import canonical_name

    try:
        found = pinned.find(images, expected.wanted)
        if not found:
            refuse_others(expected.wanted, (image.config_digest for image in images.images))
            raise UnexpectedError(messages.EXPECT_NOT_MADE, wanted=digest.text(min(expected.wanted)))
        store = LayerStore([images], frozenset(start for start, _ in holes))
        left_out = _stored_in(bases, holes, target, without) if holes else {}
        made = [
            pinned.assemble(
                item,
                store,
                left_out,
                is_manifest_expected=digest.sha256(item.config) not in expected.wanted,
            )
            for item in found
        ]
    except ArchiveError as error:
        raise UnexpectedError(messages.EXPECT_UNCLEAR, reason=error.message) from error
    for image in made if expected.named else ():
        if expected.images and not image.ids & expected.images:
            refuse_others(expected.images, (image.id,))
    named: defaultdict[bytes, dict[str, None]] = defaultdict(dict)
    for listed in images.images:
        named[listed.config_digest].update(dict.fromkeys(listed.names))
    owners: dict[str, bytes] = {}
    for image in made:
        for name in named[image.id]:
            if owners.setdefault(canonical_name(name), image.id) != image.id:
                raise UnexpectedError(messages.EXPECT_NAME_TWICE, name=name[:100])
    return [(image, tuple(named[image.id])) for image in made]


def _stored_in(
    bases: Sequence[Archive], holes: Sequence[tuple[int, int]], target: Target, without: Loaded | None
) -> dict[bytes, Stored]:
    """Return the left-out layers of a target by diffID. Each layer has the form in which the base stores it."""
    from dibundle.images.pinned import LayerStore

    store = LayerStore(stored_images(bases))
    starts = {start for start, _ in holes}
    found: dict[bytes, Stored] = {}
    at = 0
    for segment in target.segments:
        if at in starts and segment.digest and without:
            diff_id = without.diff_ids[segment.digest]
            if layer := store.find(segment.digest, diff_id):
                found[diff_id] = layer
        at += segment.length
    return found


def stored_images(archives: Sequence[Archive]) -> list[ImageArchive]:
    """Return the images in archives. If an archive is not an image archive, it is ignored."""
    found = []
    for archive in archives:
        with suppress(ArchiveError):
            found.append(read_images(archive))
    return found


def _note_left_out(progress: Progress, without: Loaded, holes: Sequence[tuple[int, int]], is_shared: bool) -> None:
    """Print how many layers were left out.

    If no layer was left out, print why. ``is_shared`` is true if the target and the base share a layer.
    """
    told = wording.some(without.names) or "the base"
    if holes:
        note = f"without {wording.count(len(holes), 'layer')} of {told}, which must be loaded already"
    elif is_shared:
        note = (
            f"nothing is left out: {told} has no layer in the form that the new image has it in;"
            " where the bundle was made from a registry, give the base as docker://HOST/NAME:TAG"
        )
    else:
        note = f"nothing is left out: the new image does not begin with a layer of {told}"
    progress.note(note)


def written_size(manifest: Manifest, number: int, without: Loaded | None) -> int:
    """Return the size of the temporary file for a target that will be written in another format."""
    return manifest.targets[number].size - sum(end - start for start, end in _left_out(manifest, number, without))


def needed(manifest: Manifest, number: int, without: Loaded) -> list[tuple[bytes, ...]]:
    """Return the layers to leave out of each image of a target.

    Each layer is given by its diffID. The lowest layer is first.
    """
    images = manifest.about.targets[number] if manifest.about else ()
    return [without.shared(image.diff_ids) for image in images]


def _left_out(manifest: Manifest, number: int, without: Loaded | None) -> list[tuple[int, int]]:
    """Return the start and end of each layer to leave out of a target.

    Leave out a layer only if each image with this layer shares the layer with an image that the receiver has loaded.
    """
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

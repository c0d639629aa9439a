"""The steps of applying: open the sources, follow the chain of bundles, and write the target of the last bundle."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from dibundle.applying import messages
from dibundle.applying.chain import follow
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.applying.space import Space
from dibundle.applying.targets import MadeTarget, choose_target, made_target
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.files.destination import Destination, check_room
from dibundle.files.readat import room
from dibundle.format.manifest import Manifest
from dibundle.sources.access import Access
from dibundle.sources.opened import OpenedSources
from dibundle.sources.opening import Source, open_sources

if TYPE_CHECKING:
    from dibundle.format.reader import BundleReader
    from dibundle.images.archive import Archive
    from dibundle.images.writers import ArchiveForm

OutputFormat = Literal["docker-archive", "oci-archive", "oci"]
"""The formats other than the exact target: an archive as engines write it, or an OCI layout in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions(RebuildOptions):
    """The options of apply. ``form`` is the output format, or None for the exact target.

    ``thin`` leaves out the layers of the base, which the receiver must already have.
    """

    form: OutputFormat | None = None
    thin: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the output is the target, byte for byte."""
        return self.form is None and not self.thin


class Folder(NamedTuple):
    """An output folder for several archives or for one OCI layout."""

    path: str


class Written(NamedTuple):
    """A written file or folder: its name, its size in bytes (None for a folder), and the target in it."""

    name: str
    size: int | None
    target: MadeTarget


class ApplyResult(NamedTuple):
    """The written outputs, and the signers of the bundles."""

    outputs: tuple[Written, ...]
    signed_by: tuple[str, ...]


def apply(
    sources: Sequence[Source],
    output: Destination | Folder,
    options: ApplyOptions,
    access: Access,
    context: Context,
    *,
    candidates: Sequence[Source] = (),
) -> ApplyResult:
    """Rebuild the target of the last bundle in ``sources`` from the archives in ``sources``, and write the target.

    ``candidates`` are possible bases: archives, and bundles that rebuild an archive. Missing candidates are skipped.

    If the output is a folder, each target is written to a file of its own. With the form "oci", the folder becomes the
    layout of one target. Everything is verified before the last byte is written. Raises:

    - :class:`BaseMismatchError` for a wrong or damaged base
    - :class:`BundleError` and :class:`DigestError` for a malformed or damaged bundle
    - :class:`SignatureError` for a bundle without a trusted signature, or with a target that is not expected
    """
    require_one_image(output, options)
    opened = open_sources(sources, access, context, candidates=candidates)
    if isinstance(output, Destination):
        opened.refuse_overwriting(output.name, output.identity)
    bundles = opened.read_bundles()
    # limits for the earlier bundles of the chain; the options for target and expectation concern only the last bundle
    limits = RebuildOptions(max_size=options.max_size)
    archives, bundle = follow(opened.archives, bundles, limits, context, spare=opened.spare)
    manifest = bundle.manifest
    signed_by = opened.signatures.signed_by(bundles)
    if isinstance(output, Folder) and options.form is None:
        numbers = wanted_targets(manifest, options)
        space = beside(output, sum(manifest.targets[number].size for number in numbers), context)
        from dibundle.applying.directory import apply_into

        files = apply_into(archives, bundle, output.path, numbers, options, context, space=space)
        written = [
            Written(name=file.name, size=file.written, target=made_target(manifest, number))
            for number, file in zip(numbers, files, strict=True)
        ]
        return ApplyResult(outputs=tuple(written), signed_by=signed_by)
    if isinstance(output, Folder) or not options.is_exact:
        return _rewrite(opened, archives, bundle, output, options, context, signed_by)
    number = choose_target(manifest, options)
    space = beside(output, manifest.targets[number].size, context)
    with output:
        rebuild_target(archives, bundle, output.write, options, context, space=space)
    return ApplyResult(
        outputs=(Written(name=output.name, size=output.written, target=made_target(manifest, number)),),
        signed_by=signed_by,
    )


def _rewrite(
    opened: OpenedSources,
    archives: Sequence[Archive],
    bundle: BundleReader,
    output: Destination | Folder,
    options: ApplyOptions,
    context: Context,
    signed_by: tuple[str, ...],
) -> ApplyResult:
    """Write a target in a different format, or without the layers of the base."""
    from dibundle.applying.rewrite import apply_as, apply_to_layout, loaded, written_size

    manifest = bundle.manifest
    without = loaded(opened.archives) if options.thin else None
    number = choose_target(manifest, options)
    space = beside(output, written_size(manifest, number, without), context)
    if isinstance(output, Folder):
        apply_to_layout(archives, bundle, output.path, options, context, space=space, without=without)
        return ApplyResult(
            outputs=(Written(name=output.path, size=None, target=made_target(manifest, number)),), signed_by=signed_by
        )
    form: ArchiveForm = "oci-archive" if options.form == "oci-archive" else "docker-archive"
    with output:
        apply_as(archives, bundle, form, output.write, options, context, space=space, without=without)
    return ApplyResult(
        outputs=(Written(name=output.name, size=output.written, target=made_target(manifest, number)),),
        signed_by=signed_by,
    )


def require_one_image(output: Destination | Folder, options: ApplyOptions) -> None:
    """Refuse an output folder if the options request a single archive."""
    if isinstance(output, Folder) and options.form != "oci" and not options.is_exact:
        raise UsageError(messages.OPTION_AS_ONE_IMAGE)


def wanted_targets(manifest: Manifest, options: RebuildOptions) -> Collection[int]:
    """Return the targets for a folder.

    If the options name a target, only this target is returned. Otherwise, all targets are returned.
    """
    return range(len(manifest.targets)) if options.target is None else [choose_target(manifest, options)]


def beside(output: Destination | Folder, size: int, context: Context) -> Space:
    """Return the :class:`Space` for a rebuild whose output takes ``size`` bytes.

    The output's folder need not exist yet.
    """
    if isinstance(output, Destination):
        return Space.beside(output, size, context.tmp)
    path = output.path
    place = path if Path(path).is_dir() else os.path.dirname(path.rstrip("/"))  # noqa: PTH120
    check = partial(check_room, path, place)
    return Space(check_output=lambda temporary: check(size, temporary, room(context.tmp)[0]))

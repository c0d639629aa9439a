"""Compute the size of temporary files for rebuilding, and check free space and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dibundle.applying import messages
from dibundle.applying.base import FoundBase
from dibundle.applying.options import RebuildOptions
from dibundle.applying.targets import check_size
from dibundle.errors import BundleError
from dibundle.files.destination import Destination
from dibundle.files.readat import room
from dibundle.format.manifest import Manifest
from dibundle.format.uses import used_by
from dibundle.images.archive import Archive


class Space(NamedTuple):
    """The disk space that sinks and the output use while targets are rebuilt.

    ``kept`` is the maximum size of the temporary files that the sinks write. ``spared`` is the estimated number of
    bytes of ``kept`` that the sinks will not write. ``withheld`` is the number of further bytes that the sinks write
    only for some contents. ``check_output`` gets the size of the temporary files before the files are written.
    ``check_output`` raises an error if too little space would be left for the output.
    """

    kept: int = 0
    spared: int = 0
    withheld: int = 0
    check_output: Callable[[int], object] = lambda temporary: None

    @classmethod
    def beside(cls, output: Destination, size: int, tmp: str | None, *, kept: int = 0) -> Space:
        """Return the :class:`Space` for a rebuild whose output takes ``size`` bytes."""
        return cls(kept=kept, check_output=lambda temporary: output.check_room(size, temporary, room(tmp)[0]))


NO_SPACE = Space()


def temporary_space(manifest: Manifest, base: FoundBase, options: RebuildOptions, space: Space) -> int:
    """Return the size of the temporary files for the targets of ``base``, as far as known in advance."""
    return base.spooled.of(used_by(manifest, base.order)) + _kept(manifest, base, options, space) - space.spared


def _kept(manifest: Manifest, base: FoundBase, options: RebuildOptions, space: Space) -> int:
    """Return how many bytes of targets are in temporary files while the targets of ``base`` are rebuilt."""
    judged = [manifest.targets[number].size for number in base.wanted] if options.expectation else []
    return sum(manifest.targets[number].size for number in base.kept) + max(judged, default=0) + space.kept


def check_sizes(
    manifest: Manifest, base: FoundBase, bases: Sequence[Archive], options: RebuildOptions, space: Space
) -> int:
    """Refuse targets above ``max_size``, temporary files above twice ``max_size``, and bases above ``max_base``.

    Intermediate targets are checked too. Only temporary files with targets, or with targets' decompressed layers, are
    counted. The targets of earlier bundles, which are in ``bases``, count too. Returns the size of the temporary files
    for the targets, in bytes.
    """
    for number in base.order:
        check_size(manifest, number, options)
    if options.max_base is not None and base.spooled_of_given > options.max_base:
        raise BundleError(messages.LIMIT_BASE, size=base.spooled_of_given, max_base=options.max_base)
    kept = made_size(bases) + _kept(manifest, base, options, space)
    check_temporary(kept + base.spooled_of_made + space.withheld, options)
    return kept


def check_temporary(kept: int, options: RebuildOptions) -> None:
    """Refuse temporary files with a total size above twice the maximum size of a target.

    ``kept`` is the total size in bytes.
    """
    if kept > 2 * options.max_size:
        raise BundleError(messages.LIMIT_TEMPORARY_FILES, kept=kept, max_size=options.max_size, kept_2=(kept + 1) // 2)


def made_size(archives: Iterable[Archive]) -> int:
    """Return the size of the temporary files for archives that bundles have rebuilt."""
    return sum(archive.bytes.size - archive.spared for archive in archives if archive.is_made)

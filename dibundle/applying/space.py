"""How many bytes of temporary files making targets takes, and whether they have room."""

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
    """What else takes space while targets are made.

    ``kept``: bytes of temporary files that the sinks may write, of which about so many are ``spared`` that are not
    expected to be, ``withheld``: those that they write or not, which depends on the content. ``check_output`` is given
    how many bytes of temporary files there will be, before there are, and raises where the output has no room beside
    them.
    """

    kept: int = 0
    spared: int = 0
    withheld: int = 0
    check_output: Callable[[int], object] = lambda temporary: None

    @classmethod
    def beside(cls, output: Destination, size: int, tmp: str | None, *, kept: int = 0) -> Space:
        """Return the space beside an output of ``size`` bytes."""
        return cls(kept=kept, check_output=lambda temporary: output.check_room(size, temporary, room(tmp)[0]))


NO_SPACE = Space()


def temporary_space(manifest: Manifest, base: FoundBase, options: RebuildOptions, space: Space) -> int:
    """Return how many bytes of temporary files making the targets of ``base`` takes, as far as it is known before."""
    return base.spooled.of(used_by(manifest, base.order)) + _kept(manifest, base, options, space) - space.spared


def _kept(manifest: Manifest, base: FoundBase, options: RebuildOptions, space: Space) -> int:
    """Return how many bytes of targets, or parts of them, lie in temporary files while those of ``base`` are made."""
    judged = [manifest.targets[number].size for number in base.wanted] if options.expectation else []
    return sum(manifest.targets[number].size for number in base.kept) + max(judged, default=0) + space.kept


def check_sizes(
    manifest: Manifest, base: FoundBase, bases: Sequence[Archive], options: RebuildOptions, space: Space
) -> int:
    """Refuse targets that are larger than allowed, also on the way, and temporary files of twice that in all.

    Those count that hold targets, or layers of these decompressed: of this bundle, and among ``bases`` of bundles
    before it. Return how many bytes of targets there will be.
    """
    for number in base.order:
        check_size(manifest, number, options)
    kept = made_size(bases) + _kept(manifest, base, options, space)
    check_temporary(kept + base.spooled_of_made + space.withheld, options)
    return kept


def check_temporary(kept: int, options: RebuildOptions) -> None:
    """Refuse more temporary files than twice what a target may have."""
    if kept > 2 * options.max_size:
        raise BundleError(messages.LIMIT_TEMPORARY_FILES, kept=kept, max_size=options.max_size, kept_2=(kept + 1) // 2)


def made_size(archives: Iterable[Archive]) -> int:
    """Return how many bytes of temporary files hold those archives that bundles have made."""
    return sum(archive.bytes.size - archive.spared for archive in archives if archive.is_made)

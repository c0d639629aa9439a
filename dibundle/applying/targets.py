"""The targets of a bundle: how a target is chosen and named, and how its size is checked."""

from __future__ import annotations

from typing import NamedTuple

from dibundle.applying import messages
from dibundle.applying.expected import named_digest
from dibundle.applying.options import RebuildOptions
from dibundle.errors import BundleError, UsageError
from dibundle.files import digest
from dibundle.format.manifest import Manifest
from dibundle.format.values import AboutImage


class MadeTarget(NamedTuple):
    """A target of a bundle: its size in bytes, its digest (``sha256:...``) and its images.

    An image's ``id`` and ``diff_ids`` are digests of 32 bytes. To expect an image, pass its ID as
    ``f"sha256:{image.id.hex()}"`` in ``expect``.
    """

    size: int
    sha256: str
    images: tuple[AboutImage, ...]


def made_target(manifest: Manifest, number: int) -> MadeTarget:
    """Return one target of a bundle."""
    target = manifest.targets[number]
    images = manifest.about.targets[number] if manifest.about else ()
    return MadeTarget(size=target.size, sha256=digest.text(target.digest), images=images)


def made_targets(manifest: Manifest) -> tuple[MadeTarget, ...]:
    """Return all targets of a bundle."""
    return tuple(made_target(manifest, number) for number in range(len(manifest.targets)))


def choose_target(manifest: Manifest, options: RebuildOptions) -> int:
    """Return the index of the target to rebuild. If there are several targets, ``options.target`` must name one."""
    if options.target is None:
        if len(manifest.targets) > 1:
            raise UsageError(
                messages.TARGET_AMBIGUOUS,
                targets_count=len(manifest.targets),
                target_names=", ".join(_target_names(manifest)),
            )
        number = 0
    else:
        named = named_digest(options.target)
        if named is None and options.target.lower().startswith("sha256:"):
            # refuse a short digest, because the bundle may contain an image that has this text as its name
            raise UsageError(messages.TARGET_SHORT_DIGEST, target=options.target)
        name = digest.text(named) if named else options.target
        found = [index for index in range(len(manifest.targets)) if name in _names_of(manifest, index)]
        if len(found) != 1:
            raise UsageError(
                messages.TARGET_UNKNOWN,
                found_count=len(found) or "no",
                target=options.target,
                target_names=", ".join(_target_names(manifest)),
            )
        (number,) = found
    check_size(manifest, number, options)
    return number


def check_size(manifest: Manifest, number: int, options: RebuildOptions) -> None:
    """Refuse a target that is larger than allowed."""
    size = manifest.targets[number].size
    if size > options.max_size:
        raise BundleError(messages.LIMIT_MAX_SIZE, size=size, max_size=options.max_size)


def _names_of(manifest: Manifest, number: int) -> set[str]:
    """Return all names and digests that identify a target."""
    images = manifest.about.targets[number] if manifest.about else ()
    names = {name for image in images for name in image.names if not named_digest(name)}
    digests = {manifest.targets[number].digest, *(image.id for image in images)}
    return names | {digest.text(item) for item in digests}


def _target_names(manifest: Manifest) -> list[str]:
    """Return a name for each target."""
    return [target_name(manifest, number) for number in range(len(manifest.targets))]


def target_name(manifest: Manifest, number: int) -> str:
    """Return the first name of a target's images. If the images have no name, return the target's digest."""
    images = manifest.about.targets[number] if manifest.about else ()
    names = [name for image in images for name in image.names]
    return names[0] if names else digest.text(manifest.targets[number].digest)

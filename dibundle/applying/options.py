"""The options of a rebuild: the target, its expected digests, and its maximum size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dibundle.applying.expected import Expectation, named_digest

MAX_TARGET: Final = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """The options of a rebuild. ``max_size`` is the maximum size of a target in bytes.

    ``max_base`` is the maximum size of temporary files for the base's decompressed layers, in bytes. None means no
    limit.

    If the bundle has several targets, ``target`` chooses a target by image name, image ID or archive digest. If
    ``expect`` is not empty, the target, or each of its images, must have one of the digests in ``expect``.
    """

    target: str | None = None
    expect: frozenset[bytes] = frozenset()
    max_size: int = MAX_TARGET
    max_base: int | None = None

    @property
    def expectation(self) -> Expectation:
        """The expected digests. If ``target`` is a digest, the expectation includes this digest."""
        return Expectation(self.expect, named_digest(self.target))


def limit(max_size: int | None) -> int:
    """Return the maximum size of targets in bytes. None gives the default."""
    return MAX_TARGET if max_size is None else max_size

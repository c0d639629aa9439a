"""What a caller says of a rebuild: which target, what is expected of it, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dibundle.applying.expected import Expectation, named_digest

MAX_TARGET: Final = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """How to rebuild: ``max_size`` bytes of a target at most, ``target``: which one, of a bundle that makes several.

    ``target`` is a name of an image, an image ID or an archive's digest. ``expect``: digests, if any, of which the
    target must have one, or all of its images their IDs.
    """

    target: str | None = None
    expect: frozenset[bytes] = frozenset()
    max_size: int = MAX_TARGET

    @property
    def expectation(self) -> Expectation:
        """What a target is judged by: what is expected, and the digest that it is named by, if it is by one."""
        return Expectation(self.expect, named_digest(self.target))


def limit(max_size: int | None) -> int:
    """Return what targets may come to, in bytes; None is the default."""
    return MAX_TARGET if max_size is None else max_size

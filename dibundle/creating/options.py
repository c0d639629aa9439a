"""Options for creating a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dibundle.codecs.encode import choose
from dibundle.creating import messages
from dibundle.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """The options of create.

    ``level`` is 1 (fast) to 9 (small), or None for the default. If ``workers`` is 0, there is one worker per core.
    ``profile`` is "full", or "core" for bundles that simple readers can apply. ``names`` selects the names that are
    stored for listings. "auto" limits the size of these names. ``inventory`` has the diffIDs of the receiver's layers,
    and the bundle builds only on these layers. With ``recompress``, ``apply`` may recompress layers and files. With
    ``raw_layers``, if a target has compressed layers, the bundle rebuilds an archive of the same images with raw
    layers.
    """

    level: int | None = None
    profile: Literal["full", "core"] = "full"
    names: Literal["auto", "all", "none"] = "auto"
    workers: int = 0
    inventory: frozenset[bytes] | None = None
    recompress: bool = True
    raw_layers: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid values before anything is opened."""
        if self.level is not None and self.level not in choose.LEVELS:
            raise UsageError(messages.LEVEL_UNKNOWN, level=self.level)
        if self.workers < 0:
            raise UsageError(messages.WORKERS_NEGATIVE, workers=self.workers)

    def effort(self) -> choose.Effort:
        """Return the effort of encoding."""
        level = choose.DEFAULT_LEVEL if self.level is None else self.level
        return choose.Effort(level=level, codecs=self.profile, recompress=self.recompresses)

    @property
    def recompresses(self) -> bool:
        """Whether applying the bundle may recompress layers and files."""
        return self.recompress and self.profile == "full"

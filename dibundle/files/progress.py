"""How long work tells that it goes on: phases with a number of bytes to do."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the stories, shown by whoever cares; called from one thread at a time."""

    def phase(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` bytes (0: not known); the phase before it ends."""

    def advance(self, count: int) -> None:
        """Count bytes done in the current phase."""

    def note(self, text: str) -> None:
        """Tell something that a user wants to know."""


class Silent:
    """Shows nothing."""

    def phase(self, name: str, total: int) -> None:
        """Ignore a phase."""

    def advance(self, count: int) -> None:
        """Ignore progress."""

    def note(self, text: str) -> None:
        """Ignore a note."""

"""Messages on stderr."""

from __future__ import annotations

import contextlib
import sys


def message(text: str) -> None:
    """Write a line to stderr; a stderr that is gone is no reason to fail."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

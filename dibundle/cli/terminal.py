"""Messages on stderr."""

from __future__ import annotations

import contextlib
import sys


def message(text: str) -> None:
    """Write a line to stderr. Do nothing if stderr is closed."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

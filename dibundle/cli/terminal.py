"""Messages on stderr."""

from __future__ import annotations

import contextlib
import sys


def message(text: str) -> None:
    """Write a line to stderr; ignore a closed stderr."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

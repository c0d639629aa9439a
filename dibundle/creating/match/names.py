"""Names for matching. The names are cleaned paths, and paths without the parts that change from release to release."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 4096
"""The number of bytes at a path's end that are compared. A path in a PAX header may have a million bytes."""

_CHANGING = re.compile(rb"[0-9a-f]{7,}|[0-9]+(?:[.\-_][0-9]+)*")
_LEADING = re.compile(rb"(?:\./|/)+")
_HASH_PART = re.compile(rb"[-.][0-9A-Za-z_]{8,}(?=\.|$)")


def clean(path: bytes) -> bytes:
    """Return ``path`` without a leading ``./``, and without leading and trailing slashes.

    So each path has only one spelling.
    """
    if path and path[0] not in b"./" and path[-1] != 0x2F:
        return path
    start = _LEADING.match(path)
    return (path[start.end() :] if start else path).rstrip(b"/")


def versionless(path: bytes) -> bytes:
    """Replace digits and hashes in ``path``, so that the same file has the same path in two releases."""
    return _CHANGING.sub(b"#", path[-LONGEST:])


def stem(path: bytes) -> bytes:
    """Return the last part of ``path`` without version and hash parts."""
    name = path[-LONGEST:].rpartition(b"/")[2]
    return _CHANGING.sub(b"#", _HASH_PART.sub(b"", name))

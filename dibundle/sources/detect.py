"""What a file is by its first bytes: a bundle, an image archive, or neither."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Final

from dibundle.errors import AbsentError, ArchiveError, BundleError
from dibundle.format.constants import MAGIC
from dibundle.images.archive import Archive, NoArchiveError
from dibundle.sources import messages, parts

STDIN: Final = "stdin"
STREAM: Final = "a stream"
"""Names of what has none."""
_NAME: Final = re.compile(r".*\.dib(\.[0-9]{3})?", re.DOTALL)


def is_bundle(head: bytes) -> bool:
    """Tell a bundle by its first bytes, even one that is cut short within them or has a few of them damaged."""
    same = sum(a == b for a, b in zip(head, MAGIC, strict=False))
    return same >= 6 or (0 < len(head) < len(MAGIC) and same == len(head))


def is_named_so(name: str) -> bool:
    """Whether a name is one as bundles and their parts have."""
    return _NAME.fullmatch(name) is not None


def open_other(name: str, head: bytes, open_it: Callable[[], Archive], *, wanted: bool) -> Archive:
    """Open the archive that is in what is no bundle; ``wanted``: a bundle was expected there.

    Then :class:`BundleError` tells so of what is no archive either, and :class:`AbsentError` of a part of a bundle that
    the first one is missing.
    """
    try:
        archive = open_it()
        if wanted and not archive.index.entries:  # zeros, as a bad disk gives them, are a tar of no entries
            raise NoArchiveError(messages.ARCHIVE_NO_ENTRIES, name=name)
    except ArchiveError as error:
        if parts.missing_first(name):
            raise first_part_missing(name) from error
        if not wanted or not isinstance(error, NoArchiveError):
            raise
        begins = f"it begins with '{head.decode(errors='surrogateescape')}'" if head else "it is empty"
        look = "" if name in (STDIN, STREAM) else f"; see what this is: head -c 64 {shlex.quote(name)} | od -c"
        raise BundleError(messages.SOURCE_NOT_A_BUNDLE, name=name, begins=begins, look=look) from error
    return archive


def first_part_missing(name: str) -> AbsentError:
    """Return the error of a part, whose first one is not there."""
    return AbsentError(messages.PARTS_FIRST_MISSING, missing_first=parts.missing_first(name))

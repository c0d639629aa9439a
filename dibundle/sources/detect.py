"""Detection of a file's kind by its first bytes. A file is a bundle, an image archive, or neither."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from typing import Final

from dibundle.errors import AbsentError, ArchiveError, BundleError, FileError, shell_words
from dibundle.format.constants import MAGIC
from dibundle.images.archive import Archive, NoArchiveError
from dibundle.images.tar.entries import BLOCK
from dibundle.sources import messages, parts

STDIN: Final = "stdin"
STREAM: Final = "a stream"
"""Names in messages for sources that have no name."""
_NAME: Final = re.compile(r".*\.dib(\.[0-9]{3})?", re.DOTALL)


def is_bundle(head: bytes) -> bool:
    """Return whether a file's first bytes show that the file is a bundle.

    Some of these bytes may be missing or damaged.
    """
    same = sum(a == b for a, b in zip(head, MAGIC, strict=False))
    return same >= 6 or (0 < len(head) < len(MAGIC) and same == len(head))


def is_named_so(name: str) -> bool:
    """Return whether a name looks like the name of a bundle or of a part."""
    return _NAME.fullmatch(name) is not None


def firsts(names: Sequence[str]) -> list[str]:
    """Return ``names`` with each bundle's first part in place of all the bundle's parts.

    Users may give the parts in any order.

    A name alone does not show that a file is a part. Even if base.001 exists, base.002 may be something else.
    """
    kept: list[str] = []
    for name in names:
        first = parts.first_of(name)
        is_part = first != name and is_bundle(_head(first)) and (first in names or not _begins_as_source(_head(name)))
        if not is_part:
            kept.append(name)
        elif first not in names and first not in kept:
            kept.append(first)
    return kept


def _head(name: str) -> bytes:
    """Return the first bytes of a regular file. Other files are not read, because they may be readable only once."""
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - any name that the system accepts
            return b""
        with open(name, "rb") as file:  # noqa: PTH123
            return file.read(BLOCK)
    except (OSError, ValueError):  # opening the file later reports the error
        return b""


def _begins_as_source(head: bytes) -> bool:
    """Return whether a file's first block shows a bundle or a tar archive.

    A later part of a bundle begins neither like a bundle nor like an archive.
    """
    return is_bundle(head) or head[257:262] == b"ustar"


def open_other(name: str, head: bytes, open_it: Callable[[], Archive], *, wanted: bool) -> Archive:
    """Open the archive in a file that is not a bundle. ``wanted`` is true if the file should be a bundle.

    If ``wanted`` is true and the file is not an archive, raises :class:`BundleError`. Raises :class:`AbsentError` for a
    part of a bundle whose first part is missing.
    """
    try:
        archive = open_it()
        # refuse a file of zeros, for example from a bad disk, because it looks like a tar without entries
        if wanted and not archive.index.entries:
            raise NoArchiveError(messages.ARCHIVE_NO_ENTRIES, name=name)
    except ArchiveError as error:
        if parts.missing_first(name):
            raise first_part_missing(name) from error
        if not wanted or not isinstance(error, NoArchiveError):
            raise
        begins = f"it begins with '{head.decode(errors='surrogateescape')}'" if head else "it is empty"
        look = "" if name in (STDIN, STREAM) else f"; see what this is: head -c 64 {shell_words(name)} | od -c"
        raise BundleError(messages.SOURCE_NOT_A_BUNDLE, name=name, begins=begins, look=look) from error
    return archive


def first_part_missing(name: str) -> AbsentError:
    """Return the error for a part whose first part is missing."""
    return AbsentError(messages.PARTS_FIRST_MISSING, missing_first=parts.missing_first(name))


def read_some(fd: int, name: str, size: int) -> bytes:
    """Read up to ``size`` bytes of a file."""
    try:
        return os.read(fd, size)
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_READ, name=name, reason=error.strerror) from error


def read_head(fd: int, name: str) -> bytes:
    """Read the bytes that distinguish a bundle from an archive. For a folder, return no bytes."""
    head = b""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return head
    while len(head) < len(MAGIC) and (piece := read_some(fd, name, len(MAGIC) - len(head))):
        head += piece
    return head

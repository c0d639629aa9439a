"""The outer members of an archive by name, the way loaders look them up."""

from __future__ import annotations

import posixpath
from typing import Final

from dibundle.archive.opener import Archive
from dibundle.archive.readat import copy_chunks
from dibundle.archive.tar import Entry
from dibundle.errors import ArchiveError
from dibundle.image import document

_HOPS: Final = 16
_LINKS: Final = b"12"


class Members:
    """Members by normalised name; of several with one name the last counts, as if they were unpacked in order."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._by_name = {normalise(entry.path): entry for entry in archive.index.entries}

    @property
    def names(self) -> list[bytes]:
        """All names, in the archive's order."""
        return list(self._by_name)

    def find(self, name: bytes) -> Entry | None:
        """Return the regular member behind ``name``, through links between members."""
        for _ in range(_HOPS):
            name = normalise(name)
            entry = self._by_name.get(name)
            if entry is None or entry.is_file:
                return entry
            if entry.type not in _LINKS:
                return None
            symbolic = entry.type == 0x32 and not entry.link.startswith(b"/")
            name = posixpath.join(posixpath.dirname(name), entry.link) if symbolic else entry.link
        return None

    def find_text(self, name: str) -> Entry | None:
        """Return the regular member behind a name from JSON."""
        return self.find(name.encode("utf-8", "surrogatepass"))

    def read(self, entry: Entry) -> bytes:
        """Return the content of a member that should be small."""
        if entry.size > document.SIZE_LIMIT:
            name = shown(entry.path)
            raise ArchiveError(f"{name} has {entry.size} bytes, more than the {document.SIZE_LIMIT} that JSON may have")
        return b"".join(copy_chunks(self.archive.bytes, entry.content, entry.size))

    def head(self, entry: Entry, length: int) -> bytes:
        """Return the first bytes of a member."""
        return self.archive.bytes.read_at(entry.content, min(length, entry.size))


def normalise(name: bytes) -> bytes:
    """Return ``name`` relative to the archive's root, without ``.``, ``..`` and doubled slashes."""
    if b"/" not in name and not name.startswith(b"."):
        return name
    return posixpath.normpath(b"/" + name).lstrip(b"/")


def shown(name: bytes) -> str:
    """Return a member's name as text for a message."""
    return name.decode("utf-8", "backslashreplace")

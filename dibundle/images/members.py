"""The members of an archive's outer tar, by name. Names are looked up by the same rules as in loaders."""

from __future__ import annotations

import posixpath
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files.readat import copy_chunks
from dibundle.images import document, messages
from dibundle.images.archive import Archive
from dibundle.images.tar.entries import LONGEST_NAME, UNNAMED, UNNAMED_FOLDER, Entry

MADE_DOCUMENTS: Final = 8 << 20
MAX_DOCUMENTS: Final = 128 << 20
"""The maximum number of bytes of all documents of an archive. If a bundle rebuilt the archive, the limit is lower.

A parsed document takes up to 44 times its size.
"""
_HOPS: Final = 16
_LINKS: Final = b"12"


class Members:
    """Members by normalised name.

    If several members have the same name, the last is used, because unpacking would overwrite the earlier members.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._most = self._left = MADE_DOCUMENTS if archive.is_made else MAX_DOCUMENTS
        self._found: dict[bytes, Entry | None] = {}
        self._by_name = {
            normalise(entry.path): entry
            for entry in archive.index.entries
            if entry.path is not UNNAMED and entry.path is not UNNAMED_FOLDER
        }

    @property
    def names(self) -> list[bytes]:
        """All names, in the archive's order."""
        return list(self._by_name)

    def find(self, name: bytes) -> Entry | None:
        """Return the regular member with the name ``name``. Follow links between members."""
        passed: list[bytes] = []
        found: Entry | None = None
        for _ in range(_HOPS):
            name = normalise(name)
            if name in self._found:  # cached, because documents may use the same link many times, and links may be long
                found = self._found[name]
                break
            passed.append(name)
            entry = self._by_name.get(name)
            if entry is None or entry.is_file:
                found = entry
                break
            if entry.type not in _LINKS or len(entry.link) > LONGEST_NAME:
                break
            symbolic = entry.type == 0x32 and not entry.link.startswith(b"/")
            name = posixpath.join(posixpath.dirname(name), entry.link) if symbolic else entry.link
        self._found |= dict.fromkeys(passed, found)
        return found

    def find_text(self, name: str) -> Entry | None:
        """Return the regular member for a name from JSON."""
        return self.find(name.encode("utf-8", "surrogatepass"))

    def read(self, entry: Entry) -> bytes:
        """Return the content of a member that should be small."""
        if entry.size > document.SIZE_LIMIT:
            name = shown(entry.path)
            raise ArchiveError(messages.JSON_SIZE_LIMIT, name=name, size=entry.size, size_limit=document.SIZE_LIMIT)
        self._left -= entry.size
        if self._left < 0:
            raise ArchiveError(messages.ARCHIVE_DOCUMENTS_TOTAL, made_documents=self._most >> 20)
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

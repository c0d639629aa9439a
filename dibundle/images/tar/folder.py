"""Read a folder as a tar.

Names are sorted, and times and owners are left out, so that the same files give the same bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from dibundle.errors import ArchiveError, FileError
from dibundle.files.readat import FileBytes, Joined, MemoryBytes
from dibundle.images import messages

_BLOCK = 512
_MOST = 1 << 20  # maximum number of files in a folder; an OCI layout has a few files for each layer


class TreeBytes(Joined):
    """The bytes of a folder's tar. Headers are in memory, and contents are read from the files when needed."""

    def __init__(self, folder: str, closers: list[Callable[[], None]]) -> None:
        super().__init__()
        for path, name in _files(folder):
            self._add(path, name, closers)
        self.append(MemoryBytes(bytes(2 * _BLOCK), folder))

    def _add(self, path: str, name: str, closers: list[Callable[[], None]]) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise FileError(messages.FILE_CANNOT_OPEN_2, path=path, reason=error.strerror) from error
        file = FileBytes(fd, path)
        closers.append(file.close)
        import tarfile

        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = file.size, 0o644
        header = entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        self.append(MemoryBytes(header, path))
        self.append(file)
        if file.size % _BLOCK:
            self.append(MemoryBytes(bytes(-file.size % _BLOCK), path))


def is_layout(folder: str) -> bool:
    """Return whether a folder looks like an OCI layout, or an unpacked image archive."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in ("oci-layout", "manifest.json"))  # noqa: PTH118


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the name of each regular file below ``folder``, sorted by the bytes of the names."""
    found: list[tuple[bytes, str]] = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.append((os.fsencode(os.path.relpath(path, folder)), path))
        if len(found) > _MOST:
            raise ArchiveError(messages.ARCHIVE_FOLDER_FILES, folder=folder, most=_MOST)
    for name_bytes, path in sorted(found):
        yield path, os.fsdecode(name_bytes)

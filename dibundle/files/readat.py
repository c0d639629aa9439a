"""Immutable bytes with random access: files, parts of files, memory, and temporary files for other sources."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from dibundle.errors import FileError, NoRoomError
from dibundle.files import messages

_LOCK: Final = threading.Lock()
# open spools; error messages include the disk space of these spools
_OPEN: Final[weakref.WeakSet[Spool]] = weakref.WeakSet()


class ReadAt(Protocol):
    """Random access to bytes that do not change. Several threads may read at the same time."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on. Raise ``FileError`` if some bytes are missing."""
        ...

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on, without an intermediate copy if possible."""
        ...


class MemoryBytes:
    """Bytes in memory."""

    def __init__(self, data: bytes, name: str = "data") -> None:
        self._data = data
        self._name = name

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        _check_range(self._name, self.size, offset, length)
        return self._data[offset : offset + length]

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        view[:] = self.read_at(offset, len(view))


class FileBytes:
    """An open file that is read at any offset. The name is used only in messages: the file is never opened again."""

    def __init__(self, fd: int, name: str = "file", *, owned: bool = True) -> None:
        self._fd = fd
        self._name = name
        self._owned = owned
        self._size = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        """The number of bytes when the file was opened."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        _check_range(self._name, self._size, offset, length)
        return _read_fully(self._fd, self._name, offset, length)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        _check_range(self._name, self._size, offset, len(view))
        _fill(self._fd, self._name, offset, view)

    def close(self) -> None:
        """Close the file if this object owns the file. Closing twice is harmless."""
        if self._owned:
            self._owned = False
            os.close(self._fd)


class Slice:
    """A part of another source."""

    def __init__(self, parent: ReadAt, offset: int, size: int) -> None:
        _check_range("the source", parent.size, offset, size)
        self._parent = parent
        self._offset = offset
        self._size = size

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on, counted from the start of the part."""
        _check_range("part of the source", self._size, offset, length)
        return self._parent.read_at(self._offset + offset, length)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on, counted from the start of the part."""
        _check_range("part of the source", self._size, offset, len(view))
        self._parent.read_into(self._offset + offset, view)


def root(source: ReadAt, offset: int) -> tuple[ReadAt, int]:
    """Return the source to which a part (or a part of a part) belongs, and the offset in this source."""
    while isinstance(source, Slice):
        offset += source._offset
        source = source._parent
    return source, offset


class Joined:
    """Several sources that are read as one source, in the given order."""

    def __init__(self, parts: Iterable[ReadAt] = ()) -> None:
        self._starts: list[int] = []
        self._parts: list[ReadAt] = []
        self._size = 0
        for part in parts:
            self.append(part)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size

    def append(self, part: ReadAt) -> None:
        """Append a source to the joined sources."""
        if part.size:
            self._starts.append(self._size)
            self._parts.append(part)
            self._size += part.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        data = bytearray(length)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        _check_range("the source", self._size, offset, len(view))
        number = bisect_right(self._starts, offset) - 1
        while view:
            part, within = self._parts[number], offset - self._starts[number]
            count = min(len(view), part.size - within)
            part.read_into(within, view[:count])
            offset, view, number = offset + count, view[count:], number + 1


class Stream:
    """A reader that reads a source once, from its beginning to its end."""

    def __init__(self, source: ReadAt) -> None:
        self._source = source
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return an empty result."""
        piece = self._source.read_at(self._at, min(size, self._source.size - self._at))
        self._at += len(piece)
        return piece

    def give_back(self, data: bytes) -> None:
        """Put back the bytes that were read most recently. The next read returns these bytes again."""
        self._at -= len(data)


def _nameless(directory: str) -> int:
    """Open a new file without a name. If the system cannot do this, the file has a name for a short time."""
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):  # some file systems do not support O_TMPFILE; any other error occurs again below
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    import tempfile

    fd, path = tempfile.mkstemp(prefix="dib-", dir=directory)  # O_EXCL, mode 0600
    Path(path).unlink()
    return fd


class Spool:
    """A temporary file without a name. The file is written in order, and then read at any offset.

    The file is deleted when it is closed, or when the process ends for any reason.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or default_spool_dir()
        self._size = 0
        try:
            fd = _nameless(self.directory)
        except OSError as error:
            raise _spool_error(self.directory, error) from error
        self._fd = fd
        self._open = True
        self._written = 0
        with _LOCK:
            _OPEN.add(self)

    @property
    def size(self) -> int:
        """The number of bytes that are already written."""
        return self._size

    def taken_in(self, directory: str) -> int:
        """Return the number of bytes of disk space that this file takes in ``directory``.

        Skipped bytes take no space.
        """
        return self._written if self._open and self.directory == directory else 0

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._fd

    def start(self) -> int:
        """Return the descriptor of the file, positioned at its beginning."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return self._fd

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append ``data`` and return the offset of ``data``."""
        start = self._size
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._fd, rest)
                self._size += written
                self._written += written
                rest = rest[written:]
        except OSError as error:
            raise _spool_error(self.directory, error) from error
        return start

    def reserve(self, length: int) -> SpoolRange:
        """Append ``length`` bytes that are written later."""
        start = self._size
        self.skip(length)
        return SpoolRange(self, start)

    def write_at(self, offset: int, data: bytes, added: int) -> None:
        """Write reserved bytes, of which ``added`` bytes are written for the first time."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._fd, rest, offset)
                offset += written
                rest = rest[written:]
        except OSError as error:
            raise _spool_error(self.directory, error) from error
        with _LOCK:
            self._written += added

    def skip(self, length: int) -> None:
        """Append zeros that take no disk space."""
        self._size += length
        try:
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
        except OSError as error:
            raise _spool_error(self.directory, error) from error

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` on."""
        _check_range("temporary file", self._size, offset, length)
        return _read_fully(self._fd, "temporary file", offset, length)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        _check_range("temporary file", self._size, offset, len(view))
        _fill(self._fd, "temporary file", offset, view)

    def close(self) -> None:
        """Free the disk space. Closing twice is harmless."""
        if self._open:
            self._open = False
            os.close(self._fd)
            with _LOCK:
                _OPEN.discard(self)


class SpoolRange:
    """A reserved range of a temporary file. One thread writes each range; several ranges may be written at once."""

    def __init__(self, spool: Spool, start: int) -> None:
        self._spool, self._start = spool, start
        self._at = self._written = 0

    def begin(self) -> None:
        """Begin to write the range from its start, even if it was written before."""
        self._at = 0

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        at, self._at = self._at, self._at + len(data)
        added = max(0, self._at - self._written)
        self._written += added
        self._spool.write_at(self._start + at, data, added)

    def source(self, size: int) -> ReadAt:
        """Return the first ``size`` bytes of the range."""
        return Slice(self._spool, self._start, size)


def copy_chunks(source: ReadAt, offset: int, length: int, chunk: int = 1 << 20) -> Iterator[bytes]:
    """Yield ``length`` bytes of ``source`` from ``offset`` on, at most ``chunk`` at a time."""
    end = offset + length
    while offset < end:
        piece = source.read_at(offset, min(chunk, end - offset))
        yield piece
        offset += len(piece)


def default_spool_dir() -> str:
    """Return the default folder for temporary files: $TMPDIR if it is set, otherwise /var/tmp.

    Unlike /tmp, /var/tmp is seldom a file system in memory.
    """
    return os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - files there are created exclusively and have no name


def room(directory: str | None) -> tuple[str, int]:
    """Return the folder for temporary files and its free bytes. The folder is ``directory`` (None: the default)."""
    import shutil

    place = directory or default_spool_dir()
    try:
        return place, shutil.disk_usage(place).free
    except OSError as error:
        raise _spool_error(place, error) from error


def taken(directory: str | None) -> int:
    """Return the size of this process's temporary files in ``directory`` (None: the default)."""
    place = directory or default_spool_dir()
    with _LOCK:
        return sum(spool.taken_in(place) for spool in _OPEN)


def check_room(directory: str | None, size: int) -> None:
    """Raise ``FileError`` if ``directory`` (None: the default) has less than ``size`` bytes of free space.

    In the message, the needed and the free bytes both include this process's temporary files in ``directory``.
    """
    place, free = room(directory)
    if size > free:
        there = taken(directory)
        raise NoRoomError(messages.FILE_NO_TEMPORARY_SPACE, needed=there + size, place=place, free=there + free)


def _check_range(name: str, size: int, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise FileError(messages.FILE_SHRUNK, name=name, size=size, offset=offset + length)


def _read_fully(fd: int, name: str, offset: int, length: int) -> bytes:
    """Read a range. Raise :class:`FileError` if the file has become too short."""
    try:
        piece = os.pread(fd, length, offset)
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_READ, name=name, reason=error.strerror) from error
    if len(piece) == length:
        return piece
    # continue after a short read: the system reads at most 2 GiB at a time, and less from some files
    data = bytearray(length)
    data[: len(piece)] = piece
    _fill(fd, name, offset + len(piece), memoryview(data)[len(piece) :])
    return bytes(data)


def _fill(fd: int, name: str, offset: int, view: memoryview) -> None:
    try:
        while view:
            got = os.preadv(fd, [view], offset)
            if not got:
                raise FileError(messages.FILE_SHRUNK_2, name=name, offset=offset, offset_2=offset + len(view))
            offset += got
            view = view[got:]
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_READ, name=name, reason=error.strerror) from error


def _spool_error(directory: str, error: OSError) -> FileError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    place = "with more free space" if full else "that can be written"
    kind = NoRoomError if full else FileError
    return kind(messages.FILE_CANNOT_WRITE_TEMPORARY, directory=directory, reason=error.strerror, place=place)

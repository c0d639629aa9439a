"""Opening files as archives. The format of a file is recognised by the file's content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from dibundle.errors import ArchiveError, BundleError, FileError, shell_words
from dibundle.files import compression
from dibundle.files.readat import FileBytes, ReadAt, Slice, Spool, check_room, copy_chunks
from dibundle.images import messages
from dibundle.images.tar.entries import TarIndex, scan
from dibundle.images.tar.folder import TreeBytes, is_layout

if TYPE_CHECKING:
    from dibundle.images.model import ImageArchive

_HEAD = 1024
_CHUNK = 1 << 20
MAX_MADE_ENTRIES = 65_536
"""The maximum number of members to read from an archive that a bundle rebuilt (spec/dib.md, 3.1)."""
MADE_NAMES: Final = 16 << 20
"""The maximum number of bytes of names and links that are kept for all archives of a chain together.

Objects are found without names.
"""


class OtherFormatError(ArchiveError):
    """The file is not an image archive."""


class NoArchiveError(OtherFormatError):
    """The file is not in any known format, so it may be a damaged bundle."""


@dataclass(eq=False)
class Archive:
    """An opened outer archive. At the end of a ``with`` block, the archive closes the files that it opened.

    ``name`` is the path as the user typed it. ``bytes`` is the uncompressed tar. ``compression`` is the compression of
    the file that was opened. ``identity`` is the device and inode of the file.
    """

    name: str
    bytes: ReadAt
    index: TarIndex
    compression: str | None
    identity: tuple[int, int] | None
    _closers: list[Callable[[], None]] = field(default_factory=list, repr=False)
    is_made: bool = False  # whether a bundle rebuilt this archive as an intermediate target
    spared: int = 0  # number of bytes of this archive that take no disk space
    carries: bool = False  # whether this archive contained a bundle
    # the blobs without the images, cached when the archive is first read
    blobs: ImageArchive | None = field(default=None, repr=False)
    # if this is a placeholder: everything that is known about the archive
    claims: ImageArchive | None = field(default=None, repr=False)
    budget: int = 0  # bytes that may still be decompressed for the bundles in this archive

    @property
    def is_of_bundle(self) -> bool:
        """Whether this archive's content is under the control of a bundle's author."""
        return self.is_made or self.carries

    def forget(self) -> None:
        """Drop the index. Keep the bytes."""
        self.blobs = None
        self.index = TarIndex([], 0, 0, None)

    def defer(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when this archive is closed."""
        self._closers.append(callback)

    def close(self) -> None:
        """Close files and delete temporary files. Closing twice is harmless."""
        while self._closers:
            self._closers.pop()()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_archive(path: str | os.PathLike[str], *, spool_dir: str | None = None, ratio: int | None = None) -> Archive:
    """Open the archive at ``path``.

    Raise ``FileError`` if the system refuses to open the file, and ``ArchiveError`` if the file is not a tar. ``ratio``
    limits the decompressed size as in :func:`compression.decompress_iter`.
    """
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise FileError(messages.FILE_CANNOT_OPEN, name=name, system_reason=_system_reason(error)) from error
    return _open(fd, name, spool_dir, [lambda: os.close(fd)], ratio)


def from_fd(fd: int, name: str, *, spool_dir: str | None = None, ratio: int | None = None) -> Archive:
    """Open the archive in the open file ``fd``, from the current position on.

    The caller closes ``fd`` after closing the archive.
    """
    return _open(fd, name, spool_dir, [], ratio)


def open_made(
    spool: Spool, name: str, *, owned: bool = False, entries: int = MAX_MADE_ENTRIES, names: int = MADE_NAMES
) -> Archive:
    """Open the archive that a bundle rebuilt in a temporary file. Raise ``ArchiveError`` if the file is not a tar.

    Only the first ``entries`` members are read, and at most ``names`` bytes of their names are kept. If ``owned`` is
    true, closing the archive deletes the file. A target is
    never treated as a compressed file, even if its first bytes look like a compressed file.
    """
    archive = view_made(spool, name, entries, names)
    if not archive.index.entries and not _is_empty_tar(spool):
        raise NoArchiveError(messages.ARCHIVE_NOT_TAR, name=name, problem=archive.index.problem or "it has no entry")
    if owned:
        archive.defer(spool.close)
    return archive


def view_made(source: ReadAt, name: str, entries: int = MAX_MADE_ENTRIES, names: int = MADE_NAMES) -> Archive:
    """Return the archive that a bundle rebuilt, without copying it. The limits are the same as in :func:`open_made`."""
    return Archive(name, source, scan(source, entries, names), None, None, is_made=True)


def _open(
    fd: int,
    name: str,
    spool_dir: str | None,
    closers: list[Callable[[], None]],
    ratio: int | None = None,
    entries: int | None = None,
    names: int | None = None,
) -> Archive:
    try:
        status = os.fstat(fd)
        source = (
            _folder(fd, name, closers)
            if stat.S_ISDIR(status.st_mode)
            else _random_access(fd, name, status, spool_dir, closers)
        )
        kind = compression.sniff(_head(source))
        budget = (compression.RATIO if ratio is None else ratio) * source.size + compression.RATIO_FLOOR
        if kind is not None:
            source = _inflated(source, kind, name, spool_dir, closers, ratio)
        _refuse_other_formats(name, _head(source), kind)
        index = scan(source, entries, names)
        if not index.entries and not _is_empty_tar(source):
            raise NoArchiveError(messages.ARCHIVE_NOT_TAR, name=name, problem=index.problem or "it has no entry")
    except OSError as error:
        _run(closers)
        raise FileError(messages.FILE_CANNOT_READ, name=name, system_reason=_system_reason(error)) from error
    except BaseException:
        _run(closers)
        raise
    if ratio is not None and kind is not None:
        budget = max(0, budget - source.size)
    return Archive(name, source, index, kind, (status.st_dev, status.st_ino), closers, budget=budget)


def _folder(fd: int, name: str, closers: list[Callable[[], None]]) -> ReadAt:
    """Return the tar that is equivalent to an OCI layout in a folder."""
    folder = f"/proc/self/fd/{fd}" if Path("/proc/self/fd").exists() else name
    if not is_layout(folder):
        raise ArchiveError(messages.ARCHIVE_PLAIN_DIRECTORY, name=name)
    return TreeBytes(folder, closers)


def _random_access(
    fd: int, name: str, status: os.stat_result, spool_dir: str | None, closers: list[Callable[[], None]]
) -> ReadAt:
    """Return the bytes of ``fd`` from the current position on. If ``fd`` cannot seek, copy it to a temporary file."""
    if stat.S_ISREG(status.st_mode):
        file = FileBytes(fd, name, owned=False)
        position = min(os.lseek(fd, 0, os.SEEK_CUR), file.size)
        return Slice(file, position, file.size - position) if position else file
    spool = Spool(spool_dir)
    closers.append(spool.close)
    while chunk := os.read(fd, _CHUNK):
        spool.write(chunk)
    return spool


def _inflated(
    source: ReadAt,
    kind: str,
    name: str,
    spool_dir: str | None,
    closers: list[Callable[[], None]],
    ratio: int | None,
) -> ReadAt:
    """Decompress ``source`` into a temporary file. Refuse content that begins like a file in another format."""
    check_room(spool_dir, source.size)
    spool = Spool(spool_dir)
    closers.append(spool.close)
    try:
        for chunk in compression.decompress_iter(kind, copy_chunks(source, 0, source.size), ratio=ratio):
            begins = spool.size < _HEAD
            spool.write(chunk)
            if begins and spool.size >= _HEAD:
                _refuse_other_formats(name, _head(spool), kind)
    except compression.RatioError as error:
        raise compression.RatioError(messages.ARCHIVE_RATIO, name=name, reason=error.message) from error
    except OtherFormatError:
        raise
    except ArchiveError as error:
        raise error.within(name) from error.__cause__
    return spool


def _head(source: ReadAt) -> bytes:
    return source.read_at(0, min(_HEAD, source.size))


def _refuse_other_formats(name: str, head: bytes, packed: str | None) -> None:
    """Refuse formats that users easily mistake for image archives. The error names the format."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise NoArchiveError(messages.ARCHIVE_EMPTY, name=name)
    if head.startswith(b"\x89DIB\r\n\x1a\n") and packed:
        raise OtherFormatError(messages.SOURCE_COMPRESSED_BUNDLE, name=name, packed=packed)
    if head.startswith(b"\x89DIB\r\n\x1a\n"):
        raise OtherFormatError(messages.SOURCE_BUNDLE_NOT_ARCHIVE, name=name, name_2=shell_words(name))
    if head.startswith(b"\x89DIB"):
        raise BundleError(messages.HEADER_TEXT_MODE_FILE, name=name)
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise OtherFormatError(messages.SOURCE_WEB_PAGE, name=name)
    if head.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise OtherFormatError(messages.SOURCE_SIGNATURE, name=name, name_2=shell_words(name))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise OtherFormatError(messages.SOURCE_ZIP, name=name)
    if head.startswith(b"hsqs"):
        raise NoArchiveError(messages.SOURCE_SQUASHFS, name=name)
    if text.startswith((b"{", b"[")) and b"\0" not in head:
        raise NoArchiveError(messages.SOURCE_JSON, name=name)


def _is_empty_tar(source: ReadAt) -> bool:
    """Return whether a file is a tar without entries. Such a tar has only zero blocks."""
    return source.size >= 1024 and not _head(source).strip(b"\0")


def _system_reason(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _run(closers: list[Callable[[], None]]) -> None:
    while closers:
        closers.pop()()

"""A cache of blobs by digest, in a folder of limited size. The least recently used blob is deleted first.

Blobs of different registries are kept apart: no registry uses another registry's blobs. While a blob is written to a
temporary file, it is hashed. Then the file is renamed to the digest. A blob is hashed again if its file has changed. If
another process wrote a blob, the blob is also hashed before its first use.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from dibundle.errors import FileError
from dibundle.files import messages as file_messages
from dibundle.sharing.mirror import messages
from dibundle.sharing.mirror.options import Key
from dibundle.sources.policy import walk

_PIECE: Final = 1 << 20
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_FILES: Final = (errno.EMFILE, errno.ENFILE)
_MAX_IMAGES: Final = 1024  # maximum number of images that are remembered as bases, for each registry
_BLOCK: Final = 4096  # minimum bytes of disk space for a file


class _State(NamedTuple):
    """A file's state when its content was hashed. ``changed`` is the file's ctime, which programs cannot set."""

    inode: int
    changed: int
    size: int


def _taken(size: int) -> int:
    """Return how many bytes a file adds to the size of the cache."""
    return max(size, _BLOCK)


class CacheFullError(Exception):
    """The error that the cache raises if it has no space for a blob. The blob is then served, but not cached."""


class Turns:
    """Locks, one for each blob. One thread at a time works on a blob, and other threads wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[Key, tuple[threading.Lock, int]] = {}  # the lock, and how many threads wait for it or hold it

    @contextmanager
    def of(self, key: Key) -> Iterator[None]:
        """Wait for the lock of a blob, and hold the lock."""
        with self._lock:
            turn, waiting = self._turns.get(key, (threading.Lock(), 0))
            self._turns[key] = turn, waiting + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._turns.pop(key)
                if waiting > 1:
                    self._turns[key] = turn, waiting - 1


class NewBlob:
    """A new blob of the cache. Its bytes are written in order. Then it is deleted, or stored under its digest."""

    def __init__(self, cache: Cache, fd: int, path: Path) -> None:
        self._cache, self._path = cache, path
        self._hash = hashlib.sha256()
        self._kept: Key | None = None
        self.fd = fd
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raise :class:`CacheFullError` if there is no space."""
        self._cache._reserve(_taken(self.size + len(data)) - _taken(self.size))
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise (CacheFullError() if error.errno in _NO_SPACE else error) from error
        self._hash.update(data)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the bytes so far."""
        return self._hash.digest()

    def hash(self) -> hashlib._Hash:
        """Return a copy of the running SHA-256, which the caller can continue."""
        return self._hash.copy()

    def keep(self, space: str) -> None:
        """Rename the file to its digest. Until :meth:`close`, the cache cannot delete the file."""
        key = space, self.digest
        self._cache.pin([key])
        try:
            self._cache._keep(key, self._path, self.fd, self.size)
        except OSError:
            self._cache.unpin([key])
            raise
        self._kept = key

    def close(self) -> None:
        """Close the file. If the blob was not kept, delete the file."""
        os.close(self.fd)
        if self._kept:
            self._cache.unpin([self._kept])
        else:
            self._path.unlink(missing_ok=True)
            self._cache._reserve(-_taken(self.size))


class Cache:
    """The thread-safe cache of one process. The process locks the cache's folder."""

    def __init__(self, folder: Path, most: int) -> None:
        """Open or create a cache of at most ``most`` bytes. Raise :class:`FileError` if another process uses the cache.

        The same error is raised if the folder is not writable.
        """
        self.folder, self.most = folder, most
        self._lock = threading.RLock()
        self._sizes: OrderedDict[Key, int] = OrderedDict()  # least recently used first
        self._checked: dict[Key, _State] = {}
        self._pinned: dict[Key, int] = {}
        self._images: dict[str, int] = {}  # upper bound for the number of remembered images, by registry
        self._hashing = Turns()
        self._total = self._number = 0
        self._evictable = 0  # total bytes of the listed blobs that are not pinned
        try:
            for above in (*reversed(folder.absolute().parents), folder):
                # with parents=True, the umask would set the mode, so other users might be able to write
                above.mkdir(mode=0o700, exist_ok=True)
            for part in ("blobs", "images", "tmp"):
                (folder / part).mkdir(mode=0o700, exist_ok=True)
                _require_own(folder / part)
            for part in ("blobs", "images"):
                for below in (folder / part).iterdir():
                    _require_own(below)
            for place, status in walk(str(folder)):
                _require_safe(status, place)
            self._held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._held)
                raise FileError(messages.MIRROR_CACHE_IN_USE, folder=folder) from None
            for left in (folder / "tmp").iterdir():
                _delete(left)
            self._load()
        except OSError as error:
            raise FileError(file_messages.FILE_CANNOT_WRITE, folder=folder, reason=error.strerror) from error

    def close(self) -> None:
        """Release the folder for other processes."""
        os.close(self._held)

    @property
    def size(self) -> int:
        """The total size of all blobs and bundles, including blobs that are being written."""
        return self._total

    def _load(self) -> None:
        found = []
        for path in (self.folder / "blobs").glob("*/*"):
            with suppress(ValueError, OSError):
                key = path.parent.name, bytes.fromhex(path.name)
                status = path.lstat()
                found.append((max(status.st_atime_ns, status.st_mtime_ns), key, status.st_size))
        for _, key, size in sorted(found):
            self._sizes[key] = size
            self._total += _taken(size)
            self._evictable += _taken(size)
        for folder in (self.folder / "images").iterdir():
            self._images[folder.name] = len(self.images(folder.name))
        self._make_space()

    def _path(self, key: Key) -> Path:
        return self.folder / "blobs" / key[0] / key[1].hex()

    def has(self, key: Key) -> bool:
        """Return whether the cache lists a blob. :meth:`open` may still find that the blob is damaged."""
        return key in self._sizes

    def open(self, key: Key) -> int | None:
        """Check a blob's digest, and return a descriptor of its file. Return None if the blob is missing or damaged.

        Raises ``OSError`` if too many files are open.
        """
        if key not in self._sizes:
            return None
        fd = None
        try:
            fd = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            is_right = self._is_checked(key, fd) or self._check(key, fd)
        except OSError as error:
            if error.errno in NO_FILES:  # too many open files do not mean that the blob is damaged
                raise
            is_right = False
        if is_right:
            with self._lock:
                if key in self._sizes:
                    self._sizes.move_to_end(key)
            return fd
        if fd is not None:
            os.close(fd)
        self.remove(key)
        return None

    def is_hashed(self, key: Key) -> bool:
        """Return whether a blob was hashed in this process. If the file has changed, :meth:`open` hashes it again."""
        return key in self._checked

    def size_of(self, key: Key) -> int | None:
        """Return the size of a listed blob in bytes. Return None if the blob is not listed."""
        return self._sizes.get(key)

    def is_sound(self, key: Key) -> bool:
        """Return whether a blob exists and matches its digest."""
        fd = self.open(key)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def _is_checked(self, key: Key, fd: int) -> bool:
        return self._checked.get(key) == _state(fd)

    def _check(self, key: Key, fd: int) -> bool:
        """Hash a blob once for all threads that open it. Return whether the blob matches its digest."""
        with self._hashing.of(key):
            if self._is_checked(key, fd):
                return True
            state = _state(fd)
            if not stat.S_ISREG(os.fstat(fd).st_mode) or _sha256(fd) != key[1]:
                return False
            self._checked[key] = state
            return True

    def read(self, key: Key, most: int) -> bytes | None:
        """Return a blob's bytes. Return None if the blob is missing, is damaged or has more than ``most`` bytes."""
        fd = self.open(key) if self._sizes.get(key, 0) <= most else None
        if fd is None:
            return None
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, size, 0) if size <= most else None
        finally:
            os.close(fd)

    def new(self) -> NewBlob:
        """Return a blob to write. Raise :class:`CacheFullError` if there is no space for its file."""
        with self._lock:
            self._number += 1
            path = self.folder / "tmp" / str(self._number)
        self._reserve(_BLOCK)
        try:
            return NewBlob(self, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path)
        except OSError as error:
            self._reserve(-_BLOCK)
            raise CacheFullError from error

    def put(self, space: str, content: bytes) -> bytes:
        """Keep a small blob if there is space. Return its digest."""
        digest = hashlib.sha256(content).digest()
        if not self.has((space, digest)):
            with suppress(CacheFullError, OSError):
                blob = self.new()
                try:
                    blob.write(content)
                    blob.keep(space)
                finally:
                    blob.close()
        return digest

    def _reserve(self, size: int) -> None:
        """Reserve space for bytes that are being written, and delete blobs if necessary.

        If deleting all unused blobs would not suffice, no blob is deleted, and :class:`CacheFullError` is raised.
        """
        with self._lock:
            if size > 0 and self._total + size - self._evictable > self.most:
                raise CacheFullError
            self._total += size
            self._make_space()

    def _keep(self, key: Key, path: Path, fd: int, size: int) -> None:
        with self._lock:
            self.remove(key)
            place = self._path(key)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            path.replace(place)
            self._sizes[key] = size
            self._evictable += 0 if key in self._pinned else _taken(size)
            self._checked[key] = _state(fd)

    def remove(self, key: Key) -> None:
        """Delete a blob."""
        with self._lock:
            if key in self._sizes:
                taken = _taken(self._sizes.pop(key))
                self._total -= taken
                self._evictable -= 0 if key in self._pinned else taken
            self._checked.pop(key, None)
            _delete(self._path(key))

    def prune(self, most: int) -> int:
        """Delete blobs until at most ``most`` bytes are left. Return the number of deleted bytes."""
        before, kept = self._total, self.most
        self.most = most
        try:
            self._make_space()
        finally:
            self.most = kept
        return before - self._total

    def _make_space(self) -> None:
        with self._lock:
            while self._total > self.most:
                oldest = next((key for key in self._sizes if key not in self._pinned), None)
                if oldest is None:
                    return
                self.remove(oldest)

    @contextmanager
    def growing(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that adds bytes to the cache's size. At the end, these bytes are subtracted again.

        The function raises :class:`CacheFullError` if there is no space.
        """
        total = 0

        def add(size: int) -> None:
            nonlocal total
            self._reserve(size)
            total += size

        try:
            yield add
        finally:
            self._reserve(-total)

    @contextmanager
    def pinned(self, keys: Collection[Key]) -> Iterator[None]:
        """Keep blobs in the cache while the context is open."""
        self.pin(keys)
        try:
            yield
        finally:
            self.unpin(keys)

    def pin(self, keys: Collection[Key]) -> None:
        """Keep blobs in the cache until :meth:`unpin`, because deleting an open file frees no space."""
        with self._lock:
            for key in keys:
                if key not in self._pinned and key in self._sizes:
                    self._evictable -= _taken(self._sizes[key])
                self._pinned[key] = self._pinned.get(key, 0) + 1

    def unpin(self, keys: Collection[Key]) -> None:
        """Undo :meth:`pin`."""
        with self._lock:
            for key in keys:
                self._pinned[key] -= 1
                if not self._pinned[key]:
                    del self._pinned[key]
                    self._evictable += _taken(self._sizes[key]) if key in self._sizes else 0
            self._make_space()

    def note_image(self, key: Key) -> None:
        """Remember that a blob is the manifest of an image, so that the image can be a base."""
        if not self.has(key):
            return
        with self._lock, suppress(OSError):
            folder = self.folder / "images" / key[0]
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / key[1].hex()
            self._images[key[0]] = self._images.get(key[0], 0) + (not path.exists())
            path.touch()
            if self._images[key[0]] > 2 * _MAX_IMAGES:
                self._images[key[0]] = len(self.images(key[0]))

    def images(self, space: str) -> list[bytes]:
        """Return the manifest digests of remembered images, the latest first. Forget images that are not cached."""
        found = []
        for path in (self.folder / "images" / space).glob("*"):
            with suppress(ValueError, OSError):
                digest = bytes.fromhex(path.name)
                if self.has((space, digest)):
                    found.append((path.stat().st_mtime_ns, digest))
                else:
                    path.unlink()
        latest = [digest for _, digest in sorted(found, reverse=True)]
        for digest in latest[_MAX_IMAGES:]:
            (self.folder / "images" / space / digest.hex()).unlink(missing_ok=True)
        return latest[:_MAX_IMAGES]


def _require_own(path: Path) -> None:
    """Refuse a path that is not a folder, or a folder that other users can change.

    The cache deletes files in its folders, so nobody else may change these folders.
    """
    status = path.lstat()
    is_open = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or is_open:
        raise FileError(messages.MIRROR_CACHE_FOREIGN, folder=path)


def _require_safe(status: os.stat_result, place: Path) -> None:
    """Refuse the cache if other users can change ``place``, a folder or link on the cache's path."""
    is_open = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)
    is_sticky = status.st_mode & stat.S_ISVTX  # in a sticky folder such as /tmp, users cannot replace others' files
    if status.st_uid not in (0, os.geteuid()) or (is_open and not is_sticky):
        raise FileError(messages.MIRROR_CACHE_FOREIGN, folder=place)


def _state(fd: int) -> _State:
    status = os.fstat(fd)
    return _State(status.st_ino, status.st_ctime_ns, status.st_size)


def _delete(path: Path) -> None:
    """Delete a file or folder, if it exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _sha256(fd: int) -> bytes:
    found, at = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE, at):
        found.update(piece)
        at += len(piece)
    return found.digest()

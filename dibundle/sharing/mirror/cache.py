"""Blobs by their digest in a folder, within a size: the least recently used go first.

What is in the cache under a digest has that digest: a blob is written to a temporary file, hashed on the way and
renamed; before it is used for the first time, and whenever its file has changed, it is hashed again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from dibundle.errors import FileError
from dibundle.files import messages as file_messages
from dibundle.sharing.mirror import messages

_PIECE: Final = 1 << 20
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_IMAGES: Final = 4096  # that are remembered as bases


class _State(NamedTuple):
    """What a file was when its content was hashed."""

    inode: int
    changed: int
    size: int


class CacheFullError(Exception):
    """There is no space for a blob: it is served without being kept."""


class NewBlob:
    """A blob on its way into the cache: written in order, then kept under its digest or given up."""

    def __init__(self, cache: Cache, fd: int, path: Path) -> None:
        self._cache, self._path = cache, path
        self._hash = hashlib.sha256()
        self.fd = fd
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes; :class:`CacheFullError` where there is no space."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise (CacheFullError() if error.errno in _NO_SPACE else error) from error
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of what was written so far."""
        return self._hash.digest()

    def keep(self) -> None:
        """Put it in place under its digest."""
        self._cache._keep(self._path, self.digest, self.size, os.fstat(self.fd))

    def close(self) -> None:
        """Close the file; what was not kept goes."""
        os.close(self.fd)
        self._path.unlink(missing_ok=True)


class Cache:
    """The cache of one process, which holds a lock on its folder. Safe for threads."""

    def __init__(self, folder: Path, most: int) -> None:
        """Open or make a cache; :class:`FileError` where that fails, or another process has it."""
        self.folder, self._most = folder, most
        self._lock = threading.RLock()
        self._sizes: OrderedDict[bytes, int] = OrderedDict()  # the least recently used first
        self._checked: dict[bytes, _State] = {}
        self._pinned: dict[bytes, int] = {}
        self._total = self._number = 0
        try:
            for part in ("blobs", "images", "tmp"):
                (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._held)
                raise FileError(messages.MIRROR_CACHE_IN_USE, folder=folder) from None
            for left in (folder / "tmp").iterdir():
                left.unlink()
            self._load()
        except OSError as error:
            raise FileError(file_messages.FILE_CANNOT_WRITE, folder=folder, reason=error.strerror) from error

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._held)

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return self._total

    def _load(self) -> None:
        found = []
        for path in (self.folder / "blobs").iterdir():
            try:
                name = bytes.fromhex(path.name)
                status = path.stat()
            except (ValueError, OSError):
                continue
            found.append((status.st_atime_ns, name, status.st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self._total += size
        self._make_space()

    def _path(self, digest: bytes) -> Path:
        return self.folder / "blobs" / digest.hex()

    def has(self, digest: bytes) -> bool:
        """Whether a blob is said to be here: it may turn out to be damaged when it is opened."""
        return digest in self._sizes

    def open(self, digest: bytes) -> int | None:
        """Return a descriptor of a blob, which has its digest; None where it is not here, or was damaged."""
        if digest not in self._sizes:
            return None
        path = self._path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            self.remove(digest)
            return None
        status = os.fstat(fd)
        state = _State(status.st_ino, status.st_mtime_ns, status.st_size)
        if self._checked.get(digest) != state:
            if _sha256(fd) != digest:
                os.close(fd)
                self.remove(digest)
                return None
            self._checked[digest] = state
        with self._lock:
            if digest in self._sizes:
                self._sizes.move_to_end(digest)
        with suppress(OSError):
            os.utime(fd, ns=(time.time_ns(), status.st_mtime_ns))  # the order in which they go, after a restart too
        return fd

    def read(self, digest: bytes, most: int) -> bytes | None:
        """Return a blob of at most ``most`` bytes."""
        fd = self.open(digest)
        if fd is None:
            return None
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, size, 0) if size <= most else None
        finally:
            os.close(fd)

    def new(self) -> NewBlob:
        """Return a blob to write; :class:`CacheFullError` where there is no space for its file."""
        with self._lock:
            self._number += 1
            path = self.folder / "tmp" / str(self._number)
        try:
            return NewBlob(self, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path)
        except OSError as error:
            raise CacheFullError from error

    def put(self, content: bytes) -> bytes:
        """Keep a small blob if there is space; return its digest."""
        digest = hashlib.sha256(content).digest()
        if not self.has(digest):
            with suppress(CacheFullError):
                blob = self.new()
                try:
                    blob.write(content)
                    blob.keep()
                finally:
                    blob.close()
        return digest

    def _keep(self, path: Path, digest: bytes, size: int, status: os.stat_result) -> None:
        with self._lock:
            path.replace(self._path(digest))
            self._total += size - self._sizes.pop(digest, 0)
            self._sizes[digest] = size
            self._checked[digest] = _State(status.st_ino, status.st_mtime_ns, size)
            self._make_space()

    def remove(self, digest: bytes) -> None:
        """Give a blob up."""
        with self._lock:
            self._total -= self._sizes.pop(digest, 0)
            self._checked.pop(digest, None)
            self._path(digest).unlink(missing_ok=True)

    def prune(self, most: int) -> int:
        """Give blobs up until at most ``most`` bytes are left; return how many bytes went."""
        before, kept = self._total, self._most
        self._most = most
        try:
            self._make_space()
        finally:
            self._most = kept
        return before - self._total

    def _make_space(self) -> None:
        with self._lock:
            for digest in list(self._sizes):
                if self._total <= self._most:
                    break
                if digest not in self._pinned:
                    self.remove(digest)

    @contextmanager
    def pinned(self, digests: Collection[bytes]) -> Iterator[None]:
        """Keep blobs that something is made of."""
        with self._lock:
            for digest in digests:
                self._pinned[digest] = self._pinned.get(digest, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                for digest in digests:
                    self._pinned[digest] -= 1
                    if not self._pinned[digest]:
                        del self._pinned[digest]
                self._make_space()

    def note_image(self, manifest: bytes) -> None:
        """Remember that a manifest is one of an image, which may be a base."""
        with suppress(OSError):
            (self.folder / "images" / manifest.hex()).touch()

    def images(self) -> list[bytes]:
        """Return the manifests of images that are known, the latest first; those whose blobs went are forgotten."""
        found = []
        for path in (self.folder / "images").iterdir():
            with suppress(ValueError, OSError):
                digest = bytes.fromhex(path.name)
                if self.has(digest):
                    found.append((path.stat().st_mtime_ns, digest))
                else:
                    path.unlink()
        return [digest for _, digest in sorted(found, reverse=True)[:_MAX_IMAGES]]


def _sha256(fd: int) -> bytes:
    found, at = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE, at):
        found.update(piece)
        at += len(piece)
    return found.digest()

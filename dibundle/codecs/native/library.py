"""The shared library of the C files in this folder, which is called through ctypes.

Importing this module works without the library, so that ``dib doctor`` can report a missing library. Each call of a
library function then raises ``FileError``.
"""

from __future__ import annotations

import ctypes
import mmap
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Never, cast

from dibundle.codecs import messages
from dibundle.codecs.native import build
from dibundle.errors import FileError, install_hint

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes for the C functions."""

_I64 = ctypes.c_int64
_PTR = ctypes.c_void_p
_SIGNATURES: Final[dict[str, list[type]]] = {
    "dib_vcdiff_window": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _PTR, _I64, _PTR, _I64],
    "dib_vcdiff_encode": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _I64, _I64, _PTR, _PTR, _PTR, _I64, _PTR],
    "dib_cover_split": [_PTR, _PTR, _I64, _PTR, _I64, _PTR, _PTR],
    "dib_cover_join": [_PTR, _PTR, _I64, _I64, _PTR, _PTR, _I64],
    "dib_cover_context": [_PTR, _I64, _PTR, _I64, _I64, _PTR, _I64],
    "dib_cover_fits": [_PTR, _PTR, _PTR, _I64, _I64, _I64],
    "dib_cover_whole": [_PTR, _I64, _PTR, _PTR, _I64, _PTR, _PTR, _I64, _PTR, _I64, _PTR, _I64],
    "dib_cover_columns": [_PTR, _I64, _PTR, _PTR],
    "dib_cover_place": [_PTR, _PTR, _PTR, _I64, _I64, _I64, _PTR],
    "dib_numbers_put": [_PTR, _I64, _PTR],
    "dib_numbers_get": [_PTR, _I64, _PTR, _I64],
    "dib_sparse_split": [_PTR, _I64, _PTR, _PTR, _PTR, _PTR],
    "dib_sparse_join": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _PTR, _I64],
    "dib_relink": [_PTR, _PTR, _I64, _PTR, _I64, _I64],
    "dib_relink_steps": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _I64, _PTR, _I64, _PTR, _I64],
    "dib_relink_votes": [_PTR, _PTR, _PTR, _I64, _PTR, _I64, _PTR, _I64, _I64, _PTR, _I64, _I64, _PTR, _I64],
    "dib_relink_pieces": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _I64, _PTR, _I64],
    "dib_derive": [_PTR, _PTR, _I64, _I64],
    "dib_absolute": [_PTR, _PTR, _I64, _I64, _I64, _I64],
    "dib_match_words": [_I64],
    "dib_match_table": [_PTR, _I64, _PTR, _I64, _I64, _I64],
    "dib_match": [_PTR, _I64, _PTR, _PTR, _I64, _I64, _I64, _PTR, _I64],
    "dib_anchors_words": [_I64, _I64],
    "dib_anchors_table": [_PTR, _I64, _PTR, _I64],
    "dib_anchors": [_PTR, _I64, _PTR, _PTR, _I64, _I64, _I64, _PTR, _I64],
    "dib_bridge": [_PTR, _I64, _I64],
    "dib_model_encode": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _PTR, _I64],
    "dib_model_decode": [_PTR, _I64, _PTR, _I64, _PTR, _I64, _PTR, _I64],
    "dib_deflate_new": [_I64, _I64, _I64],
    "dib_deflate_free": [_PTR],
    "dib_deflate_write": [_PTR, _PTR, _I64, _I64],
    "dib_deflate_take": [_PTR, _PTR, _I64],
    "dib_deflate_marks": [_PTR, _PTR, _I64],
    "dib_deflate_frame": [_PTR, _I64],
    "dib_deflate_block": [_I64, _I64, _PTR, _I64, _PTR, _I64, _I64, _PTR, _I64],
    "dib_deflate_piece": [_I64, _I64, _PTR, _I64, _I64, _I64, _I64, _I64],
    "dib_deflate_piece_free": [_PTR],
    "dib_deflate_joiner": [],
    "dib_deflate_join": [_PTR, _PTR, _PTR],
    "dib_inflate_new": [],
    "dib_inflate_free": [_PTR],
    "dib_inflate_run": [_PTR, _PTR, _I64, _PTR, _I64, _PTR],
    "dib_inflate_marks": [_PTR, _PTR, _I64],
    "dib_zstd_new": [_I64, _I64, _I64],
    "dib_zstd_free": [_PTR],
    "dib_zstd_write": [_PTR, _PTR, _I64, _I64],
    "dib_zstd_reset": [_PTR, _I64],
    "dib_zstd_take": [_PTR, _PTR, _I64],
    "dib_zstd_marks": [_PTR, _PTR, _I64],
    "dib_take_large_pages": [_PTR, _I64],
    "dib_bits_same": [_PTR, _I64, _PTR, _I64, _I64],
    "dib_bits_copy": [_PTR, _I64, _PTR, _I64, _I64],
}


class _Missing:
    """A replacement for a library that cannot be loaded. Each call raises the error."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __getattr__(self, name: str) -> Never:
        raise FileError(messages.LIBRARY_MISSING, reason=self.reason, install_hint=install_hint("--force-reinstall ."))


def _load() -> ctypes.CDLL | _Missing:
    """Load the library beside this file, if the library was built with this dib.h."""
    try:
        library = ctypes.CDLL(str(build.FOLDER / build.LIBRARY))
    except OSError:
        return _Missing("not there, or of another machine")
    try:
        library.dib_open.restype = _I64
        if library.dib_open() != build.header():
            return _Missing("of another version")
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype = _I64
            function.argtypes = arguments
    except AttributeError:
        return _Missing("of another version")
    return library


_LOADED: Final = _load()
LIBRARY: Final = cast(ctypes.CDLL, _LOADED)


def fault() -> str | None:
    """Return the reason why the library cannot be used. Return None if the library can be used."""
    return _LOADED.reason if isinstance(_LOADED, _Missing) else None


# address for empty buffers: in C, even adding 0 to a null pointer is undefined
_NOTHING: Final = ctypes.create_string_buffer(1)


def scratch(size: int) -> mmap.mmap:
    """Return zeroed memory for results of unknown size.

    Unlike a bytearray, this memory takes physical pages only where something is written.
    """
    return mmap.mmap(-1, max(1, size))


_UNFILLED: Final = ctypes.pythonapi.PyByteArray_FromStringAndSize
_UNFILLED.restype = ctypes.py_object
_UNFILLED.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]


def unfilled(size: int) -> bytearray:
    """Return uninitialised memory. The caller must write every byte before it reads any byte.

    ``bytearray(size)`` would write zeros, and would block all other threads during this time. For node-app, writing
    zeros took a sixth of the time of an apply. Large memory pages saved a further 6 % of the time.
    """
    made: bytearray = _UNFILLED(None, size)
    if size >= _LARGE:
        LIBRARY.dib_take_large_pages(Pinned(made), size)
    return made


def apart(data: bytes | bytearray | memoryview) -> memoryview:
    """Return a copy in separate memory pages.

    These pages return to the system when the copy is freed. In the heap, freed copies would leave holes.

    If frames of growing sizes were kept, the heap had 450 MiB of holes; if only small frames, 300 MiB.
    """
    pages = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages[:] = data
    return memoryview(pages)


def reuse_memory() -> None:
    """Make glibc keep and reuse the memory that this process frees, instead of returning it to the system each time.

    Call this at the start of a process that belongs to dib alone. The system clears returned pages when they are
    requested again. For node-app, clearing 90,000 pages took 0.1 s of 1.6 s of CPU time. All threads use one arena, so
    that the peak of memory stays the same.
    """
    _set_malloc((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _NEVER))


def share_memory() -> None:
    """Make glibc use two arenas for all threads. With more arenas, each thread keeps its peak memory.

    Call this at the start of a process that belongs to dib alone. With more arenas, sixteen threads kept 700 MB after
    each of them had read a bundle. Blocks of at least 1 MiB are returned to the system. Otherwise, parsed lists of
    bundles left 900 MB of holes.
    """
    _set_malloc((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 1 << 20))


def _set_malloc(*options: tuple[int, int]) -> None:
    with suppress(AttributeError, OSError, TypeError):  # musl and other systems have no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in options:
            mallopt(option, value)


_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_NEVER: Final = 1 << 30
# minimum size of blocks that free() returns to the system: with a larger size, 85 MiB of holes remain
_LARGE: Final = 32 << 20


class _PyBuffer(ctypes.Structure):
    """``Py_buffer``, part of the stable ABI from Python 3.11 on."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _address(view: memoryview) -> int:
    """Return the address of the bytes of a read-only view. ctypes has no function for this.

    The address is valid while the view lives.
    """
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return buffer.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


class Pinned:
    """A buffer as an argument of a C function. The function receives the address of the buffer's first byte.

    During the call, ctypes holds a reference to this object, and this object holds the buffer. No method returns the
    address alone, because the buffer could then be freed before C reads the bytes.
    """

    __slots__ = ("_as_parameter_", "_kept", "size")

    def __init__(self, data: Buffer | array[int] | mmap.mmap) -> None:
        view = memoryview(data)
        if not view.contiguous:
            view = memoryview(bytes(view))
        self.size = view.nbytes
        self._kept: object
        if view.readonly:
            self._kept = view
            self._as_parameter_ = _address(view)
        elif view.nbytes:
            self._kept = (ctypes.c_char * view.nbytes).from_buffer(view.cast("B"))
            self._as_parameter_ = ctypes.addressof(self._kept)
        else:
            self._kept = _NOTHING
            self._as_parameter_ = ctypes.addressof(_NOTHING)

    def at(self, offset: int) -> Pinned:
        """Return an argument for the same buffer, with the address of the byte at ``offset``."""
        if not 0 <= offset <= self.size:
            raise IndexError(f"no byte {offset} in a buffer of {self.size}")
        part = object.__new__(Pinned)
        part.size = self.size - offset
        part._kept, part._as_parameter_ = self._kept, self._as_parameter_ + offset
        return part


def rows_from(room: int, call: Callable[[Pinned, int], int]) -> array[int]:
    """Return rows of three numbers.

    ``call`` writes the rows into space for ``room`` rows, and returns the number of rows.

    If there are more than ``room`` rows, ``call`` is called again with enough space.
    """
    while True:
        out = array("q", bytes(24 * room))
        size = call(Pinned(out), room)
        if size <= room:
            return out[: 3 * size]
        room = size

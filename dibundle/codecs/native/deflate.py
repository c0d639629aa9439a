"""The deflate functions of the shared library (``deflate/``), or ``None``: they have no Python twins."""

from __future__ import annotations

import ctypes
from typing import Final

from dibundle.codecs.native.library import LIBRARY

_I64 = ctypes.c_int64
_PTR = ctypes.c_void_p
_SIGNATURES: Final[dict[str, list[type]]] = {
    "dib_deflate_new": [_I64, _I64, _I64],
    "dib_deflate_free": [_PTR],
    "dib_deflate_write": [_PTR, _PTR, _I64, _I64],
    "dib_deflate_take": [_PTR, _PTR, _I64],
    "dib_deflate_marks": [_PTR, _PTR, _I64],
    "dib_deflate_frame": [_PTR, _I64],
    "dib_deflate_block": [_I64, _PTR, _I64, _PTR, _I64, _I64, _PTR, _I64],
    "dib_inflate_new": [],
    "dib_inflate_free": [_PTR],
    "dib_inflate_run": [_PTR, _PTR, _I64, _PTR, _I64, _PTR],
    "dib_inflate_marks": [_PTR, _PTR, _I64],
    "dib_bits_same": [_PTR, _I64, _PTR, _I64, _I64],
    "dib_bits_copy": [_PTR, _I64, _PTR, _I64, _I64],
}


def _bind() -> ctypes.CDLL | None:
    """Declare the functions; ``None`` if the library is absent or was built without them."""
    if LIBRARY is None:
        return None
    try:
        for name, arguments in _SIGNATURES.items():
            function = getattr(LIBRARY, name)
            function.restype = _I64
            function.argtypes = arguments
    except AttributeError:
        return None
    return LIBRARY


DEFLATE: Final[ctypes.CDLL | None] = _bind()

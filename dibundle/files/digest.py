"""SHA-256 digests: 32 raw bytes internally, ``sha256:<hex>`` for display."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SIZE = 32


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte SHA-256 of ``data``."""
    return hashlib.sha256(data).digest()


def text(digest: bytes) -> str:
    """Return ``sha256:<64 hex digits>``, the form that registries and engines show."""
    return "sha256:" + digest.hex()


def short(digest: bytes) -> str:
    """Return the first twelve hex digits, the usual short form for images."""
    return digest.hex()[:12]


def sha256_of(chunks: Iterable[bytes]) -> bytes:
    """Return the 32-byte SHA-256 of all ``chunks`` in order."""
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    return whole.digest()


def nth(digests: bytes, index: int) -> bytes:
    """Return the digest at ``index`` from digests that are stored one after the other."""
    return digests[index * SIZE : (index + 1) * SIZE]

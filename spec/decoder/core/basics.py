"""What all parts use: refusals, digests, sizes."""

from __future__ import annotations

import hashlib
import mmap
from typing import IO

MiB = 1 << 20
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
Content = bytes | mmap.mmap


class Refused(Exception):  # noqa: N818  (the specification's word)
    """The end of the work: what the exit code says."""

    def __init__(self, text: str, code: int = 5) -> None:
        super().__init__(text)
        self.code = code


def need(condition: object, text: str, code: int = 5) -> None:
    """Refuse unless the condition holds; the bundle as malformed if nothing else is said."""
    if not condition:
        raise Refused(text, code)


def sha256(data: bytes | mmap.mmap | memoryview) -> bytes:
    """Give the digest of some bytes."""
    return hashlib.sha256(data).digest()


def mapped(file: IO[bytes]) -> Content:
    """Map a file."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.seek(0, 2) else b""

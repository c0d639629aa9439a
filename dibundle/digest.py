"""SHA-256 digests: 32 raw bytes inside, ``sha256:<hex>`` where people read them; hashing beside other work."""

from __future__ import annotations

import hashlib
import queue
import threading

SIZE = 32


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte SHA-256 of ``data``."""
    return hashlib.sha256(data).digest()


def text(digest: bytes) -> str:
    """Return ``sha256:<64 hex digits>``, the form that registries and engines show."""
    return "sha256:" + digest.hex()


def short(digest: bytes) -> str:
    """Return the twelve hex digits by which people know an image."""
    return digest.hex()[:12]


class BackgroundHash:
    """A SHA-256 that runs in a thread of its own; at most a few chunks wait, so memory stays bounded.

    hashlib drops the GIL for all but the smallest updates, so reading or writing goes on meanwhile.
    """

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes | memoryview | None] = queue.Queue(maxsize=4)
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash.update(chunk)

    def update(self, chunk: bytes | memoryview) -> None:
        """Queue ``chunk``, which must not change afterwards."""
        self._chunks.put(chunk)

    def digest(self) -> bytes:
        """Wait for what is queued and return the digest; no update may follow."""
        self._chunks.put(None)
        self._thread.join()
        return self._hash.digest()

"""The 64 bytes that commit to a whole bundle, and the signature area behind them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from dibundle.errors import BundleError
from dibundle.format.constants import HEADER_SIZE, MAGIC, MAX_MANIFEST, MAX_SIGNATURE, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first 64 bytes say: the manifest as stored (length, SHA-256) and its size when decoded, in bytes."""

    stored: int
    size: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        return b"".join(
            (
                MAGIC,
                VERSION.to_bytes(4, "little"),
                bytes(4),
                self.stored.to_bytes(8, "little"),
                self.size.to_bytes(8, "little"),
                self.digest,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Parse exactly 64 bytes; :class:`BundleError` on anything that version 1 does not allow."""
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            raise BundleError(
                f"truncated bundle: {len(data)} bytes, the header alone has {HEADER_SIZE}",
                hint="fetch the bundle again",
            )
        if data[:4] == MAGIC[:4] and data[:8] != MAGIC:
            raise BundleError(
                "malformed bundle: its first bytes show that it went through a text-mode transfer",
                hint="copy the file again in binary mode",
            )
        if data[:8] != MAGIC:
            raise BundleError("not a dib bundle: the magic bytes are missing")
        if len(data) != HEADER_SIZE:
            raise BundleError(
                f"truncated bundle: {len(data)} bytes, the header alone has {HEADER_SIZE}",
                hint="fetch the bundle again",
            )
        version = int.from_bytes(data[8:12], "little")
        if version != VERSION:
            raise BundleError(
                f"bundle of format version {version}, this dib reads version {VERSION}", hint="use a newer dib"
            )
        if data[12:16] != bytes(4):
            raise BundleError("malformed bundle: reserved header bytes are not zero")
        header = cls(
            stored=int.from_bytes(data[16:24], "little"),
            size=int.from_bytes(data[24:32], "little"),
            digest=data[32:64],
        )
        for what, value in (("stored", header.stored), ("decoded", header.size)):
            if not 1 <= value <= MAX_MANIFEST:
                raise BundleError(f"bundle over a limit: manifest of {value} {what} bytes, at most {MAX_MANIFEST}")
        return header


def encode_signature_area(signature: bytes) -> bytes:
    """Return length (u32), the signature's bytes and the CRC-32 of both."""
    body = len(signature).to_bytes(4, "little") + signature
    return body + zlib.crc32(body).to_bytes(4, "little")


def signature_length(prefix: bytes) -> int:
    """Return how many signature bytes follow the area's 4-byte ``prefix``."""
    length = int.from_bytes(prefix, "little")
    if len(prefix) != 4 or length > MAX_SIGNATURE:
        raise BundleError(f"malformed bundle: signature area of {length} bytes, at most {MAX_SIGNATURE}")
    return length


def check_signature_area(prefix: bytes, rest: bytes) -> bytes:
    """Return the signature in an area given as its 4-byte ``prefix`` and all that follows, its checksum included."""
    if len(rest) != signature_length(prefix) + 4 or zlib.crc32(prefix + rest[:-4]).to_bytes(4, "little") != rest[-4:]:
        raise BundleError("malformed bundle: the signature area is damaged")
    return rest[:-4]


def _truncated(data: bytes) -> BundleError:
    text = f"truncated bundle: {len(data)} bytes, the header alone has {HEADER_SIZE}"
    return BundleError(text, hint="fetch the bundle again")

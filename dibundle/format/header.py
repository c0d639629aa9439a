"""The header of 64 bytes, which determines the whole bundle, and the signature area after the header."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from dibundle.errors import BundleError
from dibundle.format import messages
from dibundle.format.constants import HEADER_SIZE, MAGIC, MAX_MANIFEST, MAX_SIGNATURE, VERSION


class Header(NamedTuple):
    """The header of a bundle. It has the manifest's stored length, SHA-256 and decoded size. Sizes are in bytes."""

    stored: int
    size: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the header as 64 bytes."""
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
        """Parse exactly 64 bytes. Raise :class:`BundleError` for anything that version 1 does not allow."""
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            raise BundleError(messages.HEADER_TRUNCATED, data_count=len(data), header_size=HEADER_SIZE)
        if data[:4] == MAGIC[:4] and data[:8] != MAGIC:
            raise BundleError(messages.HEADER_TEXT_MODE)
        if data[:8] != MAGIC:
            raise BundleError(messages.HEADER_MAGIC)
        if len(data) != HEADER_SIZE:
            raise BundleError(messages.HEADER_TRUNCATED, data_count=len(data), header_size=HEADER_SIZE)
        version = int.from_bytes(data[8:12], "little")
        if version != VERSION:
            raise BundleError(messages.HEADER_VERSION, version=version, version_2=VERSION)
        if data[12:16] != bytes(4):
            raise BundleError(messages.HEADER_RESERVED)
        header = cls(
            stored=int.from_bytes(data[16:24], "little"),
            size=int.from_bytes(data[24:32], "little"),
            digest=data[32:64],
        )
        for what, value in (("stored", header.stored), ("decoded", header.size)):
            if not 1 <= value <= MAX_MANIFEST:
                raise BundleError(messages.LIMIT_MANIFEST, value=value, subject=what, max_manifest=MAX_MANIFEST)
        return header


def encode_signature_area(signature: bytes) -> bytes:
    """Return the signature area: a length (u32), the signature's bytes and the CRC-32 of both."""
    body = len(signature).to_bytes(4, "little") + signature
    return body + zlib.crc32(body).to_bytes(4, "little")


def signature_length(prefix: bytes) -> int:
    """Return the number of signature bytes that follow the area's 4-byte ``prefix``."""
    length = int.from_bytes(prefix, "little")
    if len(prefix) != 4 or length > MAX_SIGNATURE:
        raise BundleError(messages.HEADER_SIGNATURE_AREA_SIZE, length=length, max_signature=MAX_SIGNATURE)
    return length


def check_signature_area(prefix: bytes, rest: bytes) -> bytes:
    """Return the signature of an area.

    ``prefix`` is the area's first 4 bytes. ``rest`` is the signature and the checksum.
    """
    if len(rest) != signature_length(prefix) + 4 or zlib.crc32(prefix + rest[:-4]).to_bytes(4, "little") != rest[-4:]:
        raise BundleError(messages.HEADER_SIGNATURE_AREA_DAMAGED)
    return rest[:-4]

"""Numbers in payloads. Each number is stored in groups of seven bits, the lowest group first (spec/cover.md)."""

from __future__ import annotations

from array import array

from dibundle.codecs import messages
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import BundleError


def turned(value: int) -> int:
    """Convert a signed value to an unsigned value: 2n for n >= 0, -2n - 1 for n < 0."""
    return value << 1 if value >= 0 else ~value << 1 | 1


def turned_back(value: int) -> int:
    """Undo :func:`turned`."""
    return ~(value >> 1) if value & 1 else value >> 1


def number(value: int) -> bytes:
    """Return ``value`` in groups of seven bits, the lowest group first.

    The top bit of each byte is set, except in the last byte.
    """
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Numbers:
    """A reader that decodes numbers below 2**63 from ``data``. Each number must have as few bytes as possible."""

    __slots__ = ("at", "data")

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """Return the next byte."""
        if self.at >= len(self.data):
            raise BundleError(messages.PAYLOAD_TRUNCATED)
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 56:
                raise BundleError(messages.PAYLOAD_NUMBER_TOO_LONG)
        if byte == 0 and shift:
            raise BundleError(messages.PAYLOAD_NUMBER_NOT_SHORTEST)
        return value

    def take(self, length: int) -> Buffer:
        """Return the next ``length`` bytes. Raise ``BundleError`` if fewer bytes are left."""
        if length > len(self.data) - self.at:
            raise BundleError(messages.PAYLOAD_TRUNCATED)
        self.at += length
        return self.data[self.at - length : self.at]

    def end(self) -> None:
        """Raise ``BundleError`` if bytes are left."""
        if self.at != len(self.data):
            raise BundleError(messages.PAYLOAD_BYTES_AFTER_COLUMN)

    def numbers(self, count: int) -> array[int]:
        """Decode the remaining data as ``count`` numbers. The data must have at least ``count`` bytes."""
        if len(self.data) - self.at < count:
            raise BundleError(messages.PAYLOAD_TRUNCATED)
        values = array("q", bytes(8 * count))
        rest = self.data[self.at :]
        if LIBRARY.dib_numbers_get(Pinned(rest), len(rest), Pinned(values), count):
            for _ in range(count):
                self.number()  # one of these calls raises the error with the exact reason
            raise BundleError(messages.PAYLOAD_BYTES_AFTER_COLUMN)
        self.at = len(self.data)
        return values


def pack(values: array[int]) -> bytes:
    """Encode ``values`` one after another."""
    out = bytearray(9 * len(values))
    size = LIBRARY.dib_numbers_put(Pinned(values), len(values), Pinned(out))
    return bytes(out[:size])

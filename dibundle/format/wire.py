"""The encoding of values. The structure is strict msgpack. Long runs of numbers are LEB128 columns.

Every value can be encoded in exactly one way. The reader, not the data, decides which type comes next. Therefore,
hostile bytes cannot create values that the reader did not request.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

import msgpack

from dibundle.codecs.native.library import LIBRARY, Pinned
from dibundle.errors import BundleError
from dibundle.format import messages

MAX_VARINT = (1 << 63) - 1
_MORE: Final = bytes(range(0x80, 0x100))  # the possible values of a byte that is not the last byte of its number

_ARRAY: Final = (0x90, 0xA0, {0xDC: 2, 0xDD: 4})
_INTEGER: Final = (0x00, 0x80, {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8})
_BIN: Final = (0, 0, {0xC4: 1, 0xC5: 2, 0xC6: 4})
_TEXT: Final = (0xA0, 0xC0, {0xD9: 1, 0xDA: 2, 0xDB: 4})
_Form = tuple[int, int, dict[int, int]]


def pack(value: object) -> bytes:
    """Return the canonical msgpack bytes of nested lists of int >= 0, bytes and str."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


class Structure:
    """A typed cursor over canonical msgpack. ``where`` is the name of this data in messages.

    Data is copied only when it is read.
    """

    def __init__(self, data: bytes | memoryview, where: str) -> None:
        self._data = memoryview(data)
        self._where = where
        self._at = 0

    def _fail(self, wanted: str) -> BundleError:
        return BundleError(messages.MANIFEST_STRUCTURE, wanted=wanted, where=self._where, at=self._at)

    def array(self, what: str, *, minimum: int = 0, maximum: int) -> int:
        """Enter an array and return its length, which must lie in ``minimum..maximum``."""
        start = self._at
        length = self._number(_ARRAY, f"array of {what}")
        if not minimum <= length <= maximum:
            self._at = start
            raise self._fail(f"canonical array of {minimum} to {maximum} {what}")
        return length

    def integer(self, what: str, *, maximum: int = MAX_VARINT) -> int:
        """Read an integer in ``0..maximum``."""
        value = self._number(_INTEGER, what)
        if value > maximum:
            raise self._fail(f"{what} of at most {maximum}")
        return value

    def blob(self, what: str, *, maximum: int | None = None, exactly: int | None = None) -> bytes:
        """Read a byte string. The length of the string is at most ``maximum``, or equal to ``exactly``."""
        return bytes(self.view(what, maximum=maximum, exactly=exactly))

    def view(self, what: str, *, maximum: int | None = None, exactly: int | None = None) -> memoryview:
        """Read a byte string as :meth:`blob` does, but without a copy."""
        size = self._number(_BIN, what)
        if maximum is not None and size > maximum:
            raise self._fail(what)
        if exactly is not None and size != exactly:
            raise self._fail(f"{what} of {exactly} bytes")
        return self._take(size, what)

    def text(self, what: str, *, maximum: int = 4096) -> str:
        """Read a UTF-8 string of at most ``maximum`` bytes."""
        size = self._number(_TEXT, what)
        if size > maximum:
            raise self._fail(what)
        try:
            return str(self._take(size, what), "utf-8")
        except UnicodeDecodeError as error:
            raise self._fail(what) from error

    def column(self, what: str) -> Column:
        """Read a byte string that holds a column of numbers."""
        return Column(self.blob(what), what)

    def end(self) -> None:
        """Refuse bytes after the last value."""
        if self._at != len(self._data):
            raise self._fail("the end")

    def _take(self, size: int, what: str) -> memoryview:
        if size > len(self._data) - self._at:
            raise self._fail(what)
        self._at += size
        return self._data[self._at - size : self._at]

    def _number(self, form: _Form, what: str) -> int:
        """Read an integer, or the length of another type. Refuse a number that is not stored in its shortest form."""
        low, high, widths = form
        if self._at >= len(self._data):
            raise self._fail(what)
        first = self._data[self._at]
        if low <= first < high:
            self._at += 1
            return first - low
        width = widths.get(first)
        if width is None or width >= len(self._data) - self._at:
            raise self._fail(what)
        value = int.from_bytes(self._data[self._at + 1 : self._at + 1 + width], "big")
        shorter = [1 << 8 * other for other in widths.values() if other < width]
        if value < max(shorter, default=high - low):
            raise self._fail(f"canonical {what}")
        self._at += 1 + width
        return value


class Column:
    """A column of LEB128 numbers. A column is read lazily, and takes no more memory than its bytes."""

    __slots__ = ("data", "position", "what")

    def __init__(self, data: bytes = b"", what: str = "column") -> None:
        self.data = data
        self.position = 0
        self.what = what

    def next(self) -> int:
        """Return the next number, 0..2**63-1."""
        data, position = self.data, self.position
        try:
            byte = data[position]
            position += 1
            if byte < 0x80:
                self.position = position
                return byte
            value, shift = byte & 0x7F, 7
            while True:
                byte = data[position]
                position += 1
                value |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift > 56:
                    break
        except IndexError:
            raise BundleError(messages.MANIFEST_COLUMN_TRUNCATED, subject=self.what) from None
        if byte == 0 or byte >= 0x80:
            raise BundleError(messages.MANIFEST_COLUMN_NOT_CANONICAL, subject=self.what)
        self.position = position
        return value

    def signed(self) -> int:
        """Return the next number of a column of zigzag numbers (0, -1, 1, -2, ...)."""
        value = self.next()
        return (value >> 1) ^ -(value & 1)

    def all(self, count: int) -> array[int]:
        """Return all numbers of the column, as eight bytes each. The column must have exactly ``count`` numbers."""
        self.position = 0
        if count > len(self.data):
            raise BundleError(messages.MANIFEST_COLUMN_TRUNCATED, subject=self.what)
        values = array("q", bytes(8 * count))
        if LIBRARY.dib_numbers_get(Pinned(self.data), len(self.data), Pinned(values), count):
            for _ in range(count):
                self.next()  # one of these calls, or end(), raises the error with the exact reason
            self.end()
        return values

    def count(self) -> int:
        """Count the numbers in the column, without reading them."""
        return len(self.data.translate(None, _MORE))

    def rewound(self) -> Column:
        """Return a new column with the same bytes, positioned at its beginning."""
        return Column(self.data, self.what)

    def end(self) -> None:
        """Refuse numbers that were not read."""
        if self.position != len(self.data):
            raise BundleError(messages.MANIFEST_COLUMN_LEFT, subject=self.what)


class ColumnWriter:
    """A writer of a column of numbers."""

    __slots__ = ("data",)

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.data = bytearray()
        for value in values:
            self.add(value)

    def add(self, value: int) -> None:
        """Append a number, 0..2**63-1."""
        while value >= 0x80:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def add_signed(self, value: int) -> None:
        """Append a signed number as zigzag."""
        self.add(value << 1 if value >= 0 else (-value << 1) - 1)

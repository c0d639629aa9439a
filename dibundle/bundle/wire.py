"""How values are written: strict msgpack for structure, LEB128 columns for long runs of numbers.

Every value has exactly one byte form. A reader is driven by what it expects, never by what it finds, so hostile bytes
cannot make it build anything that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgpack

from dibundle.errors import BundleError

MAX_VARINT = (1 << 63) - 1


def pack(value: object) -> bytes:
    """Return the canonical msgpack bytes of nested lists of int >= 0, bytes and str."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


class Structure:
    """A typed cursor over canonical msgpack; ``where`` names the place for messages."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=True)
        self._unpacker.feed(data)

    def _fail(self, wanted: str) -> BundleError:
        return BundleError(f"malformed bundle: {wanted} expected in {self._where} at byte {self._unpacker.tell()}")

    def array(self, what: str, *, minimum: int = 0, maximum: int) -> int:
        """Enter an array and return its length, which must lie in ``minimum..maximum``."""
        start = self._unpacker.tell()
        if not self._next_is(0x90, 0xA0, 0xDC, 0xDE):
            raise self._fail(f"array of {what}")
        try:
            length: int = self._unpacker.read_array_header()
        except (ValueError, msgpack.UnpackException) as error:
            raise self._fail(f"array of {what}") from error
        canonical: bytes = msgpack.Packer().pack_array_header(length)
        if not minimum <= length <= maximum or self._data[start : self._unpacker.tell()] != canonical:
            raise self._fail(f"canonical array of {minimum} to {maximum} {what}")
        return length

    def integer(self, what: str, *, maximum: int = MAX_VARINT) -> int:
        """Read an integer in ``0..maximum``."""
        value = self._scalar(what, (0x00, 0x80), (0xCC, 0xD0))
        if not isinstance(value, int) or value > maximum:
            raise self._fail(f"{what} of at most {maximum}")
        return value

    def blob(self, what: str, *, maximum: int | None = None, exactly: int | None = None) -> bytes:
        """Read a byte string of at most ``maximum`` or ``exactly`` so many bytes."""
        value = self._scalar(what, (0xC4, 0xC7))
        if not isinstance(value, bytes) or (maximum is not None and len(value) > maximum):
            raise self._fail(what)
        if exactly is not None and len(value) != exactly:
            raise self._fail(f"{what} of {exactly} bytes")
        return value

    def text(self, what: str, *, maximum: int = 4096) -> str:
        """Read a UTF-8 string of at most ``maximum`` bytes."""
        value = self._scalar(what, (0xA0, 0xC0), (0xD9, 0xDC))
        if not isinstance(value, str) or len(value.encode()) > maximum:
            raise self._fail(what)
        return value

    def column(self, what: str) -> Column:
        """Read a byte string that holds a column of numbers."""
        return Column(self.blob(what), what)

    def end(self) -> None:
        """Refuse bytes after the last value."""
        if self._unpacker.tell() != len(self._data):
            raise self._fail("the end")

    def _next_is(self, *bounds: int) -> bool:
        position = self._unpacker.tell()
        if position >= len(self._data):
            return False
        byte = self._data[position]
        return any(low <= byte < high for low, high in zip(bounds[::2], bounds[1::2], strict=True))

    def _scalar(self, what: str, *bounds: tuple[int, int]) -> object:
        start = self._unpacker.tell()
        if not self._next_is(*(bound for pair in bounds for bound in pair)):
            raise self._fail(what)
        try:
            value: object = self._unpacker.unpack()
        except (ValueError, msgpack.UnpackException) as error:
            raise self._fail(what) from error
        if self._data[start : self._unpacker.tell()] != pack(value):
            raise self._fail(f"canonical {what}")
        return value


class Column:
    """A column of numbers, LEB128 one after the other, read lazily so that it costs no more memory than its bytes."""

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
        except IndexError:
            raise BundleError(f"malformed bundle: column {self.what} ends early") from None
        if byte == 0 or shift > 56:
            raise BundleError(f"malformed bundle: column {self.what} holds a number that is not canonical")
        self.position = position
        return value

    def signed(self) -> int:
        """Return the next number of a column of zigzag numbers (0, -1, 1, -2, ...)."""
        value = self.next()
        return (value >> 1) ^ -(value & 1)

    def rewound(self) -> Column:
        """Return a reader of the same bytes that stands at the beginning."""
        return Column(self.data, self.what)

    def end(self) -> None:
        """Refuse numbers that nothing asked for."""
        if self.position != len(self.data):
            raise BundleError(f"malformed bundle: column {self.what} holds more than is used")


class ColumnWriter:
    """Collects a column of numbers."""

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
        """Append a number as zigzag."""
        self.add(value << 1 if value >= 0 else (-value << 1) - 1)

"""Values: msgpack and columns (dib.md, 2)."""

from __future__ import annotations

from itertools import pairwise

from decoder.core.basics import U32, Refused, need


class Msgpack:
    """The strict msgpack of section 2.1, one value after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        """Take that many bytes."""
        need(self.at + length <= len(self.data), "msgpack ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, width: int, least: int) -> int:
        """Take a big-endian number, which must need that many bytes."""
        value = int.from_bytes(self.take(width), "big")
        need(value >= least, "a msgpack number is not in its shortest form")
        return value

    def head(self, forms: dict[int, tuple[int, int]], short: range) -> int:
        """Take a value's head: a short form holds the number, the others say how wide it is."""
        byte = self.take(1)[0]
        if byte in short:
            return byte - short.start
        need(byte in forms, f"msgpack type {byte:#x} is not what belongs here")
        return self.number(*forms[byte])

    def uint(self) -> int:
        """Take an unsigned integer."""
        value = self.head({0xCC: (1, 128), 0xCD: (2, 256), 0xCE: (4, 65536), 0xCF: (8, 1 << 32)}, range(128))
        need(value < 1 << 63, "a msgpack integer of 2^63 or above")
        return value

    def array(self, length: int | None = None, most: int = U32) -> int:
        """Take an array's head and give its length."""
        count = self.head({0xDC: (2, 16), 0xDD: (4, 65536)}, range(0x90, 0xA0))
        need(count == length if length is not None else count <= most, "a msgpack array of another length")
        return count

    def bin(self, length: int | None = None) -> bytes:
        """Take a byte string."""
        data = self.take(self.head({0xC4: (1, 0), 0xC5: (2, 256), 0xC6: (4, 65536)}, range(0)))
        need(length is None or len(data) == length, "a byte string of another length")
        return data

    def text(self, most: int = U32) -> str:
        """Take a UTF-8 string."""
        head = self.head({0xD9: (1, 32), 0xDA: (2, 256), 0xDB: (4, 65536)}, range(0xA0, 0xC0))
        need(head <= most, "a string over its limit")
        try:
            return self.take(head).decode()
        except UnicodeDecodeError as error:
            raise Refused("a string is not UTF-8") from error

    def numbers(self) -> list[int]:
        """Take an array of ascending integers."""
        values = [self.uint() for _ in range(self.array(most=65536))]
        need(all(a < b for a, b in pairwise(values)), "numbers do not ascend")
        return values

    def column(self) -> Column:
        """Take a column."""
        return Column(self.bin())

    def end(self) -> None:
        """Refuse bytes after the last value."""
        need(self.at == len(self.data), "bytes after the last msgpack value")


def unsign(number: int) -> int:
    """Give a signed number of what is written of it."""
    return -(number >> 1) - 1 if number & 1 else number >> 1


class Column:
    """LEB128 numbers: a column (section 2.2), and the numbers of cover.md."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def next(self) -> int:
        """Take a number."""
        value = shift = 0
        while True:
            need(self.at < len(self.data), "numbers end early")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(byte or shift == 7, "a number is not in its shortest form")
                return value
            need(shift < 63, "a number of more than nine bytes")

    def take(self, length: int) -> bytes:
        """Take bytes that stand between numbers."""
        need(self.at + length <= len(self.data), "bytes end early")
        self.at += length
        return self.data[self.at - length : self.at]

    def some(self, count: int) -> list[int]:
        """Take that many numbers."""
        return [self.next() for _ in range(count)]

    def signed(self) -> int:
        """Take a signed number."""
        return unsign(self.next())

    def positive(self) -> int:
        """Take a number of at least 1."""
        value = self.next()
        need(value, "a length or count of 0")
        return value

    def end(self) -> None:
        """Refuse numbers that are left over."""
        need(self.at == len(self.data), "numbers are left over")

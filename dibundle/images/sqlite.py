"""The rows of a table in an SQLite database.

The rows are read without parsing SQL. The time is linear in the database's size. SQLite itself may take unlimited time
in two cases: all pages of a schema refer to the same child, or rows share a long chain of pages. The format is
described at https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_MAGIC: Final = b"SQLite format 3\0"
_SCHEMA: Final = 1  # the root page of the schema, which lists all tables
_INTERIOR, _LEAF = 5, 13  # kinds of pages of a table
_HEADER: Final = {_INTERIOR: 12, _LEAF: 8}  # bytes before the offsets of a page's cells
_LEAST_CELL: Final = 6  # minimum bytes of a cell and its offset
_WIDTHS: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)  # bytes of a value by its type, for types with a fixed size

MAX_ROWS: Final = 1 << 18
"""The maximum number of rows to read from a table."""


class DamagedDatabaseError(Exception):
    """The error for a database that cannot be read completely."""


def blobs(content: bytes, table: str, column: int, longest: int) -> Iterator[bytes]:
    """Yield the blobs in a column of a table. Columns are numbered from 0.

    Rows of more than ``longest`` bytes are skipped. Rows may share pages. Therefore, a row is also skipped if the total
    of all rows would exceed the size of ``content``. Time and memory are linear in ``content``.
    :class:`DamagedDatabaseError` may be raised after some blobs were yielded.
    """
    try:
        database = _Database(content, longest)
        root = database.root(table.encode())
        for row in database.rows(root) if root else ():
            kind, value = _value(row, column)
            if _is_blob(kind):
                yield value
    except (IndexError, struct.error) as error:  # a page ends within a number, or an offset is beyond the end of a page
        raise DamagedDatabaseError from error


class _Database:
    def __init__(self, content: bytes, longest: int) -> None:
        size = struct.unpack_from(">H", content, 16)[0]
        self._size = 1 << 16 if size == 1 else size
        self._usable = self._size - content[20]
        if content[:16] != _MAGIC or self._size < 512 or self._usable < 480:
            raise DamagedDatabaseError
        self._content = memoryview(content)
        self._longest = longest
        self._left = len(content)

    def root(self, name: bytes) -> int | None:
        """Return the root page of a table. Return None if there is no such table, or if the name belongs to a view."""
        for row in self.rows(_SCHEMA):
            if _value(row, 0)[1] == b"table" and _value(row, 1)[1] == name:
                return int.from_bytes(_value(row, 3)[1], "big")
        return None

    def rows(self, root: int) -> Iterator[bytes]:
        """Yield the records of a table in order."""
        pages = len(self._content) // self._size
        seen = bytearray(pages + 1)  # visited pages, by page number; bytes that are never written take no memory
        waiting = [root]
        left = MAX_ROWS
        while waiting:
            number = waiting.pop()
            page = self._page(number)
            seen[number] = True
            kind, cells = self._cells(page, 100 if number == _SCHEMA else 0)
            if kind == _LEAF:
                left -= len(cells)
                if left < 0:
                    raise DamagedDatabaseError
                for at in cells:
                    row = self._row(page, at)
                    if row is not None:
                        yield row
                continue
            for at in reversed(cells):
                child = int.from_bytes(page[at : at + 4], "big")
                if child > pages or seen[child]:
                    raise DamagedDatabaseError
                seen[child] = True
                waiting.append(child)

    def _page(self, number: int) -> memoryview:
        page = self._content[(number - 1) * self._size : number * self._size][: self._usable]
        if number < 1 or len(page) != self._usable:
            raise DamagedDatabaseError
        return page

    def _cells(self, page: memoryview, at: int) -> tuple[int, list[int]]:
        """Return the kind of a page and the offsets of its cells. An interior page's last child counts as a cell."""
        kind = page[at]
        count = struct.unpack_from(">H", page, at + 3)[0]
        if kind not in _HEADER or count > self._usable // _LEAST_CELL:
            raise DamagedDatabaseError
        cells = list(struct.unpack_from(f">{count}H", page, at + _HEADER[kind]))
        return kind, [*cells, at + 8] if kind == _INTERIOR else cells

    def _row(self, page: memoryview, at: int) -> bytes | None:
        """Return a leaf cell's record, with its parts on other pages. Return None if the record is too long."""
        size, at = _number(page, at)
        _, at = _number(page, at)
        if size > min(self._longest, self._left):
            return None
        self._left -= size
        most, each = self._usable - 35, self._usable - 4
        if size <= most:
            return self._exactly(page[at : at + size].tobytes(), size)
        least = (self._usable - 12) * 32 // 255 - 23
        here = least + (size - least) % each
        here = here if here <= most else least
        pieces = [page[at : at + here]]
        following = page[at + here : at + here + 4]
        for start in range(here, size, each):
            page = self._page(int.from_bytes(following, "big"))
            following = page[:4]
            pieces.append(page[4 : 4 + size - start])
        return self._exactly(b"".join(pieces), size)

    def _exactly(self, row: bytes, size: int) -> bytes:
        if len(row) != size:
            raise DamagedDatabaseError
        return row


def _number(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return a number that is stored in one to nine bytes, and the offset after the number."""
    value = 0
    for index in range(at, at + 8):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    return value << 8 | data[at + 8], at + 9


def _value(row: bytes, column: int) -> tuple[int, bytes]:
    """Return the type and the bytes of a value. The type is NULL if the row does not have the value."""
    at, number = 0, 0
    end, at = _number(row, at)
    begins = end
    while at < end:
        kind, at = _number(row, at)
        length = (kind - 12) // 2 if kind >= len(_WIDTHS) else _WIDTHS[kind]
        if number == column:
            return kind, row[begins : begins + length]
        begins += length
        number += 1
    return 0, b""


def _is_blob(kind: int) -> bool:
    return kind >= len(_WIDTHS) and not kind % 2

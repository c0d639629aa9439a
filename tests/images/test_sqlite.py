"""dib reads the same rows from a table of an SQLite database as SQLite itself. A hostile database takes little time."""

from __future__ import annotations

import random
import sqlite3
import struct
import time
from contextlib import closing, suppress

import pytest

from dibundle.images.sqlite import MAX_ROWS, DamagedDatabaseError, blobs

PAGE = 4096
LONGEST = 16 << 20


def made(rows: list[object], page: int = PAGE, reserve: str = "Packages(hnum INTEGER PRIMARY KEY, blob)") -> bytes:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA page_size = {page}")
        for number in range(60):
            database.execute(f"CREATE TABLE other{number} (a, b, c)")
        database.execute(f"CREATE TABLE {reserve}")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(row,) for row in rows])
        database.commit()
        return database.serialize()


@pytest.mark.parametrize("page", [512, 1024, PAGE, 1 << 16])
def test_rows_are_those_of_sqlite(page):
    chance = random.Random(page)
    sizes = [0, 1, 400, page - 40, page - 36, page - 35, page - 34, page - 4, page, 2 * page, 40_000]
    rows = [chance.randbytes(size + chance.randrange(3)) for size in sizes for _ in range(40)]
    content = made([*rows, "text", 7, None, 1.5], page)
    assert list(blobs(content, "Packages", 1, LONGEST)) == rows
    assert list(blobs(content, "Packages", 0, LONGEST)) == []
    assert list(blobs(content, "Packages", 2, LONGEST)) == []
    assert list(blobs(content, "other1", 1, LONGEST)) == []
    assert list(blobs(content, "none", 1, LONGEST)) == []


def test_long_rows_are_left_out():
    content = made([b"a", bytes(9000), b"b"])
    assert list(blobs(content, "Packages", 1, 8000)) == [b"a", b"b"]


def test_a_table_by_another_key_is_damaged():
    content = made([b"a"], reserve="Packages(hnum, blob PRIMARY KEY) WITHOUT ROWID")
    with pytest.raises(DamagedDatabaseError):
        list(blobs(content, "Packages", 1, LONGEST))


@pytest.mark.parametrize("seed", range(300))
def test_damage_is_told_in_one_way(seed):
    chance = random.Random(seed)
    content = bytearray(made([b"a" * 10_000, b"b", b"c" * 5000], 512))
    for _ in range(chance.randrange(1, 30)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    del content[chance.choice([1 << 30, chance.randrange(len(content))]) :]
    with suppress(DamagedDatabaseError):
        list(blobs(bytes(content), "Packages", 1, LONGEST))


def varint(value: int) -> bytes:
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([value & 0x7F | 0x80]) + out
    return out


def record(*values: bytes | str | int) -> bytes:
    heads, body = b"", b""
    for value in values:
        if isinstance(value, int):
            heads, body = heads + b"\1", body + bytes([value])
        else:
            data = value.encode() if isinstance(value, str) else value
            heads, body = heads + varint(12 + 2 * len(data) + isinstance(value, str)), body + data
    return varint(len(heads) + 1) + heads + body


def leaf(cells: list[bytes], *, same: int = 1) -> bytes:
    """Return a leaf page in which each cell is listed ``same`` times."""
    return node(13, cells, b"", same)


def interior(child: int, same: int = 500) -> bytes:
    """Return an interior page whose children are all the same page."""
    return node(5, [struct.pack(">I", child) + b"\1"], struct.pack(">I", child), same)


def node(kind: int, cells: list[bytes], last: bytes, same: int) -> bytes:
    places, body = b"", b""
    for cell in cells:
        body = cell + body
        places += struct.pack(">H", PAGE - len(body)) * same
    head = bytes([kind]) + struct.pack(">HHHB", 0, len(cells) * same, PAGE - len(body), 0) + last + places
    return head + bytes(PAGE - len(head) - len(body)) + body


def database(first: bytes, *others: bytes) -> bytes:
    head = b"SQLite format 3\0" + struct.pack(">HBBBBBB", PAGE, 1, 1, 0, 64, 32, 32) + bytes(32) + struct.pack(">I", 1)
    cells = 8 + 2 * struct.unpack_from(">H", first, 3)[0] + 4 * (first[0] == 5)
    return head.ljust(100, b"\0") + first[:cells] + first[cells + 100 :] + b"".join(others)


def schema(root: int) -> bytes:
    sql = "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)"
    row = record("table", "Packages", "Packages", root, sql)
    return leaf([varint(len(row)) + b"\1" + row])


def cell(row: bytes, following: int | None = None, size: int = 0) -> bytes:
    return varint(size or len(row)) + b"\1" + row + (struct.pack(">I", following) if following else b"")


def test_what_these_tests_make_is_a_database():
    content = database(schema(2), leaf([cell(record(0, b"package"))]))
    assert list(blobs(content, "Packages", 1, LONGEST)) == [b"package"]
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.deserialize(content)
        assert opened.execute("SELECT blob FROM Packages").fetchall() == [(b"package",)]


@pytest.mark.parametrize(
    "content",
    [
        database(interior(2), interior(3), interior(4), schema(5)),  # a schema of 125 million rows
        database(interior(1)),
        database(schema(2), interior(3), interior(4), interior(5), leaf([cell(record(0, b"a"))])),
    ],
)
def test_pages_with_the_same_child_end_it(content):
    start = time.process_time()
    with pytest.raises(DamagedDatabaseError):
        list(blobs(content, "Packages", 1, LONGEST))
    assert time.process_time() - start < 1


def test_pages_that_are_not_there_take_no_memory():
    """Pages that are not in the database take no memory. Before the fix, references to millions of absent pages took
    five gigabytes.
    """
    names = [struct.pack(">I", 1000 + page) + b"\1" for page in range(300)]
    content = database(schema(2), node(5, names, struct.pack(">I", 3), 1), leaf([cell(record(0, b"a"))]))
    with pytest.raises(DamagedDatabaseError):
        list(blobs(content, "Packages", 1, LONGEST))


def test_a_long_chain_of_pages_takes_time_as_its_length():
    chain = [node(5, [], struct.pack(">I", number), 0) for number in range(3, 16_000)]
    content = database(schema(2), *chain, leaf([cell(record(0, b"a"))]))
    start = time.process_time()
    assert list(blobs(content, "Packages", 1, LONGEST)) == [b"a"]
    assert time.process_time() - start < 1


def test_rows_in_the_same_place_are_bounded():
    """The number of rows in the same place is limited. A page may list one row many times, and this row may occupy a
    long chain of pages.
    """
    size = 4000 * (PAGE - 4)
    heads = varint(13 + 2 * (size - 7)) + varint(14)
    assert len(heads) == 5
    row = varint(6) + heads
    page = leaf([cell(row.ljust(489, b"\0"), 4, size)], same=500)
    chain = b"".join(struct.pack(">I", number) + bytes(PAGE - 4) for number in range(5, 4100))
    content = database(schema(2), page, bytes(PAGE), chain)
    start = time.process_time()
    assert list(blobs(content, "Packages", 1, LONGEST)) == [b"\0"]
    assert time.process_time() - start < 1


def test_rows_are_counted():
    pages = MAX_ROWS // 600 + 1
    root = node(5, [struct.pack(">I", 3 + page) + b"\1" for page in range(pages)], struct.pack(">I", 3 + pages), 1)
    content = database(schema(2), root, leaf([cell(record(0, b"a"))], same=600) * (pages + 1))
    start = time.process_time()
    with pytest.raises(DamagedDatabaseError):
        list(blobs(content, "Packages", 1, LONGEST))
    assert time.process_time() - start < 8

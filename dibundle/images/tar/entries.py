"""An index of a tar, with the offsets of each entry's headers and content, and with the headers' fields.

Reading follows Go's archive/tar, because the programs that load images are written in Go. Unusual content raises no
error, because this is only an index. Data that cannot be read as an entry belongs to the tail, which is plain bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from dibundle.files.readat import ReadAt

BLOCK: Final = 512
EXTENSION_LIMIT: Final = 1 << 20
LONGEST_NAME: Final = 4096
MAX_ENTRIES: Final = 1 << 19
MAX_ENTRY_NAMES: Final = 64 << 20
"""The maximum number of entries, and of bytes of their names, to read from layers that a bundle's author controls."""
UNNAMED: Final = b"?" * (LONGEST_NAME + 1)
UNNAMED_FOLDER: Final = UNNAMED + b"/"
"""Replacements for names that are not kept, one for files and one for folders. Compare them with ``is``."""

_FREE_RECORDS: Final = 65_536
# one further PAX record is allowed for every _RECORD bytes of a tar; a real record and its entry take at least 50 bytes
_RECORD: Final = 32
_ZEROS: Final = bytes(BLOCK)
_WINDOW: Final = 256 << 10
_SHORT_WINDOW: Final = 4 << 10
_HEADER_ONLY: Final = frozenset(b"123456")  # types that have no content, even if the size field is not 0
_EXTENSIONS: Final = frozenset(b"xgLK")
_SUM_MODULUS: Final = 65521


class Entry(NamedTuple):
    """One logical entry. All offsets are absolute, and names are unchanged bytes from the tar.

    ``head`` is the number of bytes from the main header to the content. ``cut`` is the number of missing bytes of
    padding. Nearly all entries have the same ``head`` and ``cut``, so an index of 300,000 entries stores few different
    numbers. ``plain`` is true if a walk by blocks gives the same entry. Such a walk begins at ``start``. After each
    header, it skips the content. The header's size field gives the size unambiguously, and the size is rounded up to a
    multiple of 512. The walk ends exactly at ``end``, and its last header is the main header.
    """

    start: int
    header: int
    head: int
    size: int
    cut: int
    path: bytes
    link: bytes
    type: int
    plain: bool

    @property
    def content(self) -> int:
        """The offset of the content."""
        return self.header + self.head

    @property
    def end(self) -> int:
        """The offset of the next entry."""
        return self.header + self.head + (self.size + 511 & ~511) - self.cut

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file whose content is stored in the tar unchanged."""
        return self.type in b"07" or (self.type == 0 and not self.path.endswith(b"/"))


class TarIndex(NamedTuple):
    """The entries of a tar, without gaps from 0 to ``entries_end``, and then the tail, which may have any bytes.

    ``problem`` is the reason why reading stopped early. It is None if the archive has an end-of-archive block or a
    clean end. ``is_cut_short`` is true for an incomplete download. ``names`` is the size of the kept names and links.
    """

    entries: list[Entry]
    entries_end: int
    size: int
    problem: str | None
    is_cut_short: bool = False
    names: int = 0


def most_names(size: int) -> int:
    """Return the maximum bytes of names to keep for a user's tar of ``size`` bytes.

    For real images, all names are kept: real layers have fifty bytes for each byte of a name.
    """
    return (32 << 20) + size // 16


def scan(source: ReadAt, most: int | None = None, names: int | None = None) -> TarIndex:
    """Index the entries of ``source``, or only the first ``most`` entries. Raise only errors from reading ``source``.

    ``names`` is the maximum number of bytes of names and links to keep for all entries. A name of more than
    :data:`LONGEST_NAME` bytes is not kept. Without ``names``, :func:`most_names` is the only limit.
    """
    most_kept = left = most_names(source.size) if names is None else names
    longest = left if names is None else LONGEST_NAME
    headers = _Headers(source)
    entries: list[Entry] = []
    end = 0
    problem, is_cut_short = None, False
    try:
        for entry in islice(_entries(headers), most):
            end = entry.end
            size = len(entry.path) + len(entry.link)
            if size <= min(left, longest):
                left -= size
            else:
                kept = _within(entry, left, longest)
                left -= sum(len(name) for name in (kept.path, kept.link) if name not in _SHARED)
                entries.append(kept)
                continue
            entries.append(entry)
    except _StopReading as stop:
        problem, is_cut_short = f"{stop} at byte {stop.offset}", isinstance(stop, _CutShort)
    return TarIndex(entries, end, source.size, problem, is_cut_short, most_kept - left)


_SHARED: Final = (UNNAMED, UNNAMED_FOLDER)


def is_unnamed(entry: Entry) -> bool:
    """Return whether an entry's name or link was dropped."""
    return any(name is shared for name in (entry.path, entry.link) for shared in _SHARED)


def scan_all(sources: Iterable[ReadAt], most: int, names: int) -> list[TarIndex] | None:
    """Index several tars. Return None for more than ``most`` entries or ``names`` bytes of names in total."""
    found = []
    for source in sources:
        index = scan(source, most + 1, names)
        most -= len(index.entries)
        names -= index.names
        if most < 0 or names < 0 or any(map(is_unnamed, index.entries)):
            return None
        found.append(index)
    return found


def _within(entry: Entry, left: int, longest: int) -> Entry:
    """Return ``entry``. Drop its name and its link if they have more than ``longest`` or more than ``left`` bytes."""
    path, link = entry.path, entry.link
    if len(path) > min(longest, left):
        path = UNNAMED_FOLDER if path.endswith(b"/") else UNNAMED
    else:
        left -= len(path)
    if len(link) > min(longest, left):
        link = UNNAMED
    return entry if path is entry.path and link is entry.link else entry._replace(path=path, link=link)


def arriving(source: ReadAt) -> Iterator[Entry]:
    """Yield the entries of a tar that is still arriving.

    Yield each entry as soon as its headers are complete. Raise no errors. ``source`` may report a size above its real
    size. At its end, ``source`` may return fewer bytes than requested.
    """
    with suppress(_StopReading):
        yield from _entries(_Headers(source))


class _StopReading(Exception):  # noqa: N818 - it marks the end of an index, and never leaves this module
    """The exception for data that cannot be read as an entry."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset


class _CutShort(_StopReading):
    """The exception for an archive that ends within an entry."""


class _Headers:
    """The header blocks of a source. A window reads ahead if entries are small."""

    def __init__(self, source: ReadAt) -> None:
        self.source = source
        self.size = source.size
        self._window = b""
        self._start = 0
        self._records = _FREE_RECORDS + source.size // _RECORD  # maximum number of PAX records that are read

    def spend(self, records: int, offset: int) -> None:
        """Count PAX records, and stop at a limit, because many small records would take too much time."""
        self._records -= records
        if self._records < 0:
            raise _StopReading(offset, "more records in PAX headers than are read")

    def block(self, offset: int) -> bytes:
        """Return the block at ``offset``. At the end of the source, the block may be shorter."""
        at = offset - self._start
        if at < 0 or at + BLOCK > len(self._window):
            near = at <= len(self._window) + _WINDOW // 4
            length = min(_WINDOW if near else _SHORT_WINDOW, self.size - offset)
            if length <= 0:
                return b""
            self._window = self.source.read_at(offset, length)
            self._start = offset
            at = 0
        return self._window[at : at + BLOCK]

    def content(self, offset: int, size: int) -> bytes:
        """Return the content of an extension record."""
        at = offset - self._start
        if at >= 0 and at + size <= len(self._window):
            return self._window[at : at + size]
        return self.source.read_at(offset, size)


class _Extensions:
    """The x, L and K records before a header. As in Go, the last record of each kind is used. g records are ignored."""

    __slots__ = ("link", "path", "pax")

    def __init__(self) -> None:
        self.path: bytes | None = None
        self.link: bytes | None = None
        self.pax = b""

    def add(self, kind: int, content: bytes) -> None:
        """Add one record."""
        if kind == 0x78:  # x
            self.pax = content
        elif kind == 0x4C:  # L
            self.path = _text(content)
        elif kind == 0x4B:  # K
            self.link = _text(content)


def _entries(headers: _Headers) -> Iterator[Entry]:
    """Yield entries until an end-of-archive block or the end of the source.

    If no header comes after extension records, the records become a separate entry with the type of the last record.
    """
    offset = start = 0
    extensions: _Extensions | None = None
    dangling: Entry | None = None
    plain = True
    try:
        while (block := _header_block(headers, offset, extensions)) is not None:
            kind = block[156]
            size, is_one = _size(block[124:136])
            if size < 0:
                raise _StopReading(offset, "a header whose size cannot be read")
            plain = plain and is_one
            if kind in _EXTENSIONS:
                content = offset + BLOCK
                extensions = extensions or _Extensions()
                extensions.add(kind, _extension_content(headers, offset, size))
                cut = max(0, content + (size + 511 & ~511) - headers.size)
                name = block[:100].split(b"\0", 1)[0]
                dangling = Entry(start, offset, BLOCK, size, cut, name, b"", kind, plain and not cut)
                offset = dangling.end
                continue
            entry = _entry(headers, start, offset, block, size, extensions, plain=plain)
            extensions = dangling = None
            plain = True
            yield entry
            offset = start = entry.end
    except _StopReading:
        if dangling:
            yield dangling
        raise


def _header_block(headers: _Headers, offset: int, extensions: _Extensions | None) -> bytes | None:
    """Return the header block at ``offset``. Return None at the end of the archive."""
    block = headers.block(offset)
    if len(block) < BLOCK:
        if block.strip(b"\0") or extensions is not None:
            raise _StopReading(offset, "the archive is cut short in a header")
        return None
    if block == _ZEROS:
        if extensions is not None:
            raise _StopReading(offset, "an end-of-archive block follows an extension header")
        return None
    if not _checksum_fits(block):
        raise _StopReading(offset, "no tar header: wrong checksum")
    return block


def _extension_content(headers: _Headers, offset: int, size: int) -> bytes:
    """Return the content of the extension record whose header is at ``offset``."""
    if size > EXTENSION_LIMIT:
        raise _StopReading(offset, f"an extension header of {size} bytes, more than {EXTENSION_LIMIT}")
    if offset + BLOCK + size > headers.size:
        raise _StopReading(offset, "the archive is cut short in an extension header")
    return headers.content(offset + BLOCK, size)


def _entry(
    headers: _Headers,
    start: int,
    header: int,
    block: bytes,
    field_size: int,
    extensions: _Extensions | None,
    *,
    plain: bool,
) -> Entry:
    """Read the main header in ``block`` and compute the offsets of the entry."""
    kind = block[156]
    path = block[:100].split(b"\0", 1)[0]
    link = block[157:257].split(b"\0", 1)[0] if block[157] else b""
    if block[345]:
        path = _with_prefix(block, path)
    size = field_size
    if extensions is not None:
        pax, count = _pax_records(extensions.pax)
        headers.spend(count, header)
        if pax:
            path = pax.get(b"GNU.sparse.name") or pax.get(b"path") or path
            link = pax.get(b"linkpath") or link
            size = _decimal(pax.get(b"size"), size)
            if size < 0:
                raise _StopReading(header, "a header whose size cannot be read")
        path = path if extensions.path is None else extensions.path
        link = link if extensions.link is None else extensions.link
    # v7 marks a directory only by a slash at the end of its name
    if kind in _HEADER_ONLY or (kind == 0 and path.endswith(b"/")):
        size = 0
    content = header + BLOCK
    if kind == 0x53 and block[257:265] == b"ustar  \0":
        content = _after_sparse_map(headers, content, block[482])
    head = BLOCK if content == header + BLOCK else content - header
    cut = max(0, content + (size + 511 & ~511) - headers.size)  # Go accepts missing padding in the last entry
    if content + size > headers.size:
        raise _CutShort(header, "the archive is cut short in an entry")
    if header == start:
        header = start  # reuse the int object, so that the number is stored only once
    plain = plain and size == field_size and head == BLOCK and not cut
    return Entry(start, header, head, size, cut, path, link, kind, plain)


def _with_prefix(block: bytes, path: bytes) -> bytes:
    """Put the content of the header's prefix field before ``path``, and return the result."""
    magic = block[257:265]
    if magic == b"ustar\x0000":
        # in this field, star stores times in the last 24 bytes; other programs use the whole field for the prefix
        star = block[508:512] == b"tar\0"
        return block[345 : 476 if star else 500].split(b"\0", 1)[0] + b"/" + path
    if magic == b"ustar  \0" and (_number(block[345:357]) is None or _number(block[357:369]) is None):
        # GNU tar has atime and ctime in this field. Go before 1.8, and old versions of docker, wrote a prefix there.
        prefix = block[345:500].split(b"\0", 1)[0]
        return prefix + b"/" + path if prefix.isascii() else path
    return path


def _after_sparse_map(headers: _Headers, offset: int, more: int) -> int:
    """Return the offset of the content, after the blocks that continue the map of an old GNU sparse file."""
    while more:
        block = headers.block(offset)
        if len(block) < BLOCK:
            raise _StopReading(offset, "the archive is cut short in a sparse map")
        more = block[504]
        offset += BLOCK
    return offset


def _checksum_fits(block: bytes) -> bool:
    """Check a header's checksum: the sum of its bytes, with spaces in the checksum field."""
    whole = _whole_sum(block[148:156])
    # the low half of Adler-32 is the sum of the bytes plus one, modulo 65521; Adler-32 is far faster than sum()
    total = ((zlib.adler32(block) & 0xFFFF) - 1) % _SUM_MODULUS
    if whole is None or total == whole:
        return whole is not None
    high = sum(1 for byte in block[:148] + block[156:] if byte & 0x80)  # some old programs summed signed bytes
    return (whole - total + 256 * high) % _SUM_MODULUS == 0


@lru_cache(maxsize=8192)
def _whole_sum(field: bytes) -> int | None:
    """Return the byte sum, modulo 65521, that a header with this checksum field should have."""
    stated = _number(field)
    return None if stated is None else (stated + sum(field) - 256) % _SUM_MODULUS


@lru_cache(maxsize=8192)
def _size(field: bytes) -> tuple[int, bool]:
    """Return a size (-1 if it cannot be read), and whether all programs agree on this size."""
    size = _number(field)
    return -1 if size is None else size, _is_one_number(field)


@lru_cache(maxsize=8192)
def _number(field: bytes) -> int | None:
    """Read a numeric field, which is octal, or base-256 in two's complement.

    Return 0 for an empty field, and None for an invalid field.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        return value if -(1 << 63) <= value < 1 << 63 else None
    digits = field.strip(b" \0").split(b"\0", 1)[0]
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        return None
    return int(digits, 8)


def _is_one_number(field: bytes) -> bool:
    """Return whether a field has nothing after its number. Go reads up to a NUL, other programs read only digits."""
    return bool(field[0] & 0x80) or b"\0" not in field.strip(b" \0")


def _pax_records(content: bytes) -> tuple[dict[bytes, bytes], int]:
    """Read ``length key=value`` records up to the first malformed record. Return the records and their number."""
    records: dict[bytes, bytes] = {}
    at = count = 0
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        digits = content[at:space]
        if space < 0 or not digits.isdigit():
            break
        end = at + int(digits)
        equals = content.find(b"=", space, end)
        if end > len(content) or equals < 0 or content[end - 1 : end] != b"\n":
            break
        records[content[space + 1 : equals]] = content[equals + 1 : end - 1]
        at = end
        count += 1
    return records, count


def _decimal(text: bytes | None, otherwise: int) -> int:
    """Return a PAX number, or ``otherwise`` if there is no such record. Return -1 if the number cannot be read."""
    if not text:
        return otherwise
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if not digits.isdigit() or len(digits) > 19:
        return -1
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else -1


def _text(content: bytes) -> bytes:
    """Return a GNU long name up to its NUL."""
    return content.split(b"\0", 1)[0]

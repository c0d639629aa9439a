"""Tars that all programs read in the same way.

In such a tar, all headers have the same form (ustar or GNU). All names are plain, and all members are files, folders or
links. If different programs could read a tar differently, ``ArchiveError`` is raised. This applies to GNU long names,
sparse files, PAX records that change names, headers with a wrong checksum, and bytes after the end.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from dibundle.errors import ArchiveError
from dibundle.files.readat import ReadAt, copy_chunks
from dibundle.images import messages

BLOCK: Final = 512
MAX_MEMBERS: Final = 65_536
FILE, FOLDER = b"05"
HARD_LINK, LINK = b"12"

_NAME: Final = re.compile(rb"[A-Za-z0-9._:@+=,-]+(?:/[A-Za-z0-9._:@+=,-]+)*")
_PAX_NAME: Final = re.compile(rb"[ -~]*\0*")
_OCTAL: Final = re.compile(rb" *([0-7]{1,12})[ \0]*")
# a length has at most six digits, because programs read longer lengths in different ways
_PAX: Final = re.compile(rb"([1-9]\d{0,5}) ([^=\n]+)=([^\n\0]*)\n")
_PAX_SIZE: Final = re.compile(rb"[1-9]\d{0,18}")
_PAX_KEYS: Final = frozenset((b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname"))
_MAX_PAX: Final = 65_536
_MAGICS: Final = (b"ustar\x0000", b"ustar  \0")
_BIG: Final = 1 << 33  # from this size on, a size does not fit into the field's octal digits
_PAX_HEADER: Final = b"x"[0]
_PERMISSIONS: Final = 0o7777
# file types in the mode field: some programs use the mode's type instead of the type flag
_MODE_TYPES: Final = {
    FILE: (0, stat.S_IFREG),
    FOLDER: (0, stat.S_IFDIR),
    HARD_LINK: (0, stat.S_IFREG),
    LINK: (0, stat.S_IFLNK),
    _PAX_HEADER: (0, stat.S_IFREG),
}


class PlainMember(NamedTuple):
    """A member of a tar.

    ``name`` is its cleaned name, and ``kind`` is its type flag. ``start`` and ``size`` give the position of the
    content, and ``leads_to`` is the target of a link.
    """

    name: str
    kind: int
    start: int
    size: int
    leads_to: str = ""


def members(source: ReadAt) -> Iterator[PlainMember]:
    """Yield the members of a tar. Raise ``ArchiveError`` for a member that readers may read differently."""
    at, size, count = 0, source.size, 0
    if size % BLOCK:
        raise ArchiveError(messages.TAR_SIZE, size=size, block=BLOCK)
    larger = 0  # size in a PAX header for the next member
    is_extended = False
    while at < size and any(block := source.read_at(at, BLOCK)):
        kind, length = _header(block, at)
        content = at + BLOCK
        if kind == _PAX_HEADER:
            if is_extended or length > _MAX_PAX or content + length > size:
                raise ArchiveError(messages.TAR_PAX_TWICE, at=at)
            larger, is_extended = _pax_size(source.read_at(content, length), at), True
        elif larger and (kind != FILE or length not in (0, larger)):
            raise ArchiveError(messages.TAR_PAX_SIZE, at=at)
        else:
            member = PlainMember(_name(block, kind), kind, content, larger or length, _leads_to(block, at))
            length, larger, is_extended = member.size, 0, False
            count += 1
            if count > MAX_MEMBERS:
                raise ArchiveError(messages.TAR_MEMBERS, most=MAX_MEMBERS)
            if content + length > size:
                raise ArchiveError(messages.TAR_TRUNCATED)
            yield member
        at = content + (length + BLOCK - 1) // BLOCK * BLOCK
    if is_extended or at > size:
        raise ArchiveError(messages.TAR_TRUNCATED)
    for piece in copy_chunks(source, at, size - at):
        if piece.count(0) != len(piece):
            raise ArchiveError(messages.TAR_TRAILING_DATA)


def read_header(block: bytes) -> tuple[str, int, int]:
    """Return the cleaned name, the type flag and the size of a member. Raise ``ArchiveError`` for a PAX header."""
    kind, size = _header(block, 0)
    if kind == _PAX_HEADER:
        raise ArchiveError(messages.TAR_PAX_FIRST)
    return _name(block, kind), kind, size


def _header(block: bytes, at: int) -> tuple[int, int]:
    """Return the type flag and the size of a header. Refuse a header that can be read in more than one way."""
    if block[257:265] not in _MAGICS or any(block[500:]):
        raise ArchiveError(messages.TAR_MAGIC, at=at)
    if _octal(block[148:156], at) != sum(block) - sum(block[148:156]) + 8 * 32:
        raise ArchiveError(messages.TAR_CHECKSUM, at=at)
    kind = block[156] or FILE
    if kind not in (FILE, HARD_LINK, LINK, FOLDER, _PAX_HEADER):
        raise ArchiveError(messages.TAR_TYPE, at=at, chr=chr(kind))
    _refuse_other_names(block, kind, at)
    mode = block[100:108]
    if (_octal(mode, at) if mode.strip(b"\0") else 0) & ~_PERMISSIONS not in _MODE_TYPES[kind]:
        raise ArchiveError(messages.TAR_MODE, at=at)
    if kind not in (HARD_LINK, LINK) and block[157:257].strip(b"\0"):
        raise ArchiveError(messages.TAR_NO_LINK, at=at)
    field = block[124:136]
    if field[0] == 0x80:
        length = int.from_bytes(field[1:], "big")
        if not _BIG <= length < 1 << 62:
            raise ArchiveError(messages.TAR_MEMBER_SIZE, at=at)
    else:
        length = _octal(field, at)
    if length and kind not in (FILE, _PAX_HEADER):
        raise ArchiveError(messages.TAR_LINK_SIZE, at=at)
    return kind, length


def _refuse_other_names(block: bytes, kind: int, at: int) -> None:
    """Refuse odd names of PAX headers. Also refuse a tar whose first name looks like compressed data."""
    if kind == _PAX_HEADER and not (_PAX_NAME.fullmatch(block[:100]) and _PAX_NAME.fullmatch(block[345:500])):
        raise ArchiveError(messages.TAR_PAX_NAME, at=at)
    if not at and block.startswith(b"BZh"):  # engines recognise bzip2 by only these three bytes
        raise ArchiveError(messages.TAR_NAME, name=block[:40])


def _leads_to(block: bytes, at: int) -> str:
    """Return a header's link name."""
    name, _, rest = block[157:257].partition(b"\0")
    if rest.strip(b"\0") or not name.isascii():
        raise ArchiveError(messages.TAR_NO_LINK, at=at)
    return name.decode("ascii")


def _octal(field: bytes, at: int) -> int:
    found = _OCTAL.fullmatch(field)
    if not found:
        raise ArchiveError(messages.TAR_NUMBER, at=at)
    return int(found[1], 8)


def _pax_size(content: bytes, at: int) -> int:
    """Return the size in a PAX header, or 0 if the header has no size. All other keys must be times or owners."""
    size, where, seen = 0, 0, set()
    while where < len(content):
        found = _PAX.match(content, where)
        if not found or found.end() - where != int(found[1]) or found[2] in seen:
            raise ArchiveError(messages.TAR_PAX_MALFORMED, at=at)
        seen.add(found[2])
        if found[2] == b"size" and _PAX_SIZE.fullmatch(found[3]) and _BIG <= int(found[3]) < 1 << 62:
            size = int(found[3])
        elif found[2] not in _PAX_KEYS:
            raise ArchiveError(messages.TAR_PAX_KEY, at=at, found=found[2][:40])
        where = found.end()
    return size


def _name(block: bytes, kind: int) -> str:
    """Return a member's name without a leading ``./`` and, for a folder, without a trailing ``/``."""
    name, _, rest = block[:100].partition(b"\0")
    prefix, _, more = block[345:500].partition(b"\0")
    if rest.strip(b"\0") or more.strip(b"\0"):
        raise ArchiveError(messages.TAR_NAME_END, name=name[:40])
    if prefix:
        if block[257:265] != _MAGICS[0]:
            raise ArchiveError(messages.TAR_PREFIX, name=name[:40])
        name = prefix + b"/" + name
    if kind == FOLDER:
        name = name.removesuffix(b"/")
        if name == b".":
            return "."
    name = name.removeprefix(b"./")
    parts = name.split(b"/")
    if not _NAME.fullmatch(name) or any(part.endswith(b".") for part in parts) or b"/.wh." in b"/" + name:
        raise ArchiveError(messages.TAR_NAME, name=name[:100])
    return name.decode("ascii")

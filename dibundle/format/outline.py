"""A program in readable form, with one operation for each path or run of entries. Only the text stream is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dibundle.errors import BundleError
from dibundle.format import messages, records
from dibundle.format.constants import (
    OP_ADD,
    OP_BEGIN,
    OP_END,
    OP_HEADER,
    OP_KEEP,
    OP_MODE,
    OP_PATCH,
    OP_RAW,
    OP_REPEAT,
    OP_REPLACE,
    OP_SEEK,
    OP_ZERO,
    TEXT_STREAM,
)
from dibundle.format.program import BaseHeaders, Cursor
from dibundle.format.records import EMPTY, FIELDS, padded
from dibundle.format.steps import REGISTER_OUTER, REGISTER_RECORD, REGISTERS, Columns, Head, Text

_TYPES = {0x31: "link", 0x32: "symlink", 0x33: "device", 0x34: "device", 0x35: "directory", 0x36: "fifo"}
_SYMLINK: Final = 0x32
_TYPEFLAG, _LINKNAME = 7, 8  # fields of a header
_EXTENSIONS = b"xgLK"
MAX_PATH: Final = 4096
"""The maximum number of bytes of a path in a listing. No system has longer paths."""
_MAX_RECORDS: Final = 1 << 20  # maximum bytes of PAX records to read, the same limit as for images
_MAX_WORK: Final = 1 << 22
"""The maximum total of operations, edits, fields of edits, and headers of the base. A new file counts as about five."""
UNKNOWN = 1 << 62  # without a base, this number replaces the content size of a base record


@dataclass(slots=True)  # not frozen: for the maximum number of operations, freezing would add 1 s
class Operation:
    """An operation: its kind, its number of entries (for keep: of bytes), and its path and size, if known.

    ``place`` is the object and offset in the base at which the operation begins. ``old_size`` is the size of the base
    content that is patched. Without a base, ``place`` and ``old_size`` are unknown. ``stream`` is the stream of the
    content. ``stream`` is None if there is no content, or if the content is text. ``target`` and ``old_target`` are the
    new and the old target of a symbolic link, if known.
    """

    kind: str
    count: int
    path: bytes | None = None
    size: int | None = None
    place: tuple[int, int] | None = None
    old_size: int | None = None
    stream: int | None = None
    target: bytes | None = None
    old_target: bytes | None = None


class ListingError(BundleError):
    """The error for a listing that would take too much time or memory.

    The bundle can still be applied, because applying needs no listing.
    """


class _Outline:
    """A reader of a program's columns in the order of :func:`dibundle.format.program.walk`, with or without a base."""

    def __init__(self, columns: Columns, text: bytes | None, base: BaseHeaders | None, object_sizes: list[int]) -> None:
        self.columns = columns.rewound()
        self.base = base
        self.cursor = Cursor(self.columns, base, object_sizes)
        self._text = text
        self._text_at = 0
        self._texts: dict[int, bytes] = {}
        self._registers: list[bytes | None] = [EMPTY, EMPTY]
        # types of the last blocks; a type may be known even if the rest of its block is unknown
        self._types: list[bytes | None] = [b"", b""]
        self._long_name: bytes | None = None
        self._left = _MAX_WORK

    def spend(self, work: int) -> None:
        """Count operations, edits or fields. Raise :class:`ListingError` if there are too many."""
        self._left -= work
        if self._left < 0:
            raise ListingError(messages.LIMIT_OUTLINE, max_work=_MAX_WORK)

    def take_text(self, length: int) -> bytes | None:
        """Return the next bytes of the text stream. Return None if these bytes are not known."""
        if length >= UNKNOWN // 2:
            self._text = None  # if a length is unknown, the offset of the next text is unknown too
        start = self._text_at
        self._text_at += length
        return self._text[start : start + length] if self._text is not None else None

    def place(self) -> tuple[int, int] | None:
        """Return the object and the offset of the cursor. Return None without a base."""
        return (self.cursor.object, self.cursor.offset) if self.base else None

    def edit(self, register: int, reference: bytes | None, *, from_base: bool) -> bytes | None:
        """Read an edit and return the resulting block. Return None if the edit's reference or text is not known."""
        known = reference if from_base else self._registers[register]
        size = (records.record_size(reference) if reference else UNKNOWN) if from_base else None
        head, _ = self.cursor.edit(register, None, size)
        self.spend(1 + len(head.values))
        block = self._make(head, known)
        self._registers[register] = block
        if block:
            self._types[register] = block[156:157]
        elif head.shape >> _TYPEFLAG & 1:
            self._types[register] = self._texts.get(_TYPEFLAG)
        elif from_base:
            self._types[register] = None
        return block

    def kind(self, register: int, otherwise: str) -> str:
        """Return the entry kind of the last block in a register. If the block is not known, return ``otherwise``."""
        kind = self._types[register]
        return _TYPES.get(kind[0], otherwise) if kind else otherwise

    def link(self, register: int, block: bytes | None) -> bytes | None:
        """Return the target of the symbolic link in the last block of a register.

        Return None if the target is not known.
        """
        return _link(block) if block or self._types[register] != b"2" else self._texts.get(_LINKNAME)

    def _make(self, head: Head, reference: bytes | None) -> bytes | None:
        values: list[int | bytes] = []
        missing = reference is None
        for bit, value in zip(_changed(head.shape), head.values, strict=True):
            if not isinstance(value, Text):
                values.append(value)
                continue
            piece = self.take_text(value.length)
            if piece is None:
                missing = True
                continue
            self._texts[bit] = piece
            values.append(piece)
        if missing or reference is None:
            return None
        return records.apply_edit(reference, head.shape, values)

    def name(self, block: bytes | None) -> bytes | None:
        """Return the path of a block. If an extension header before the block gives a path, return that path."""
        if self._long_name is not None:
            name, self._long_name = self._long_name, None
            return name
        if block is None:
            return self._texts.get(0)
        name = block[:100].partition(b"\0")[0]
        prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
        return prefix + b"/" + name if prefix else name

    def extension(self, block: bytes | None, content: bytes | None) -> bool:
        """Return whether a block is an extension header. If so, remember the path that the header's content gives."""
        if block is None or block[156] not in _EXTENSIONS:
            return False
        if content and block[156] == 0x4C:
            self._long_name = cut_path(content[: MAX_PATH + 1].partition(b"\0")[0])
        elif content and block[156] == 0x78:
            found, count = _pax_path(content[:_MAX_RECORDS])
            self.spend(count)
            self._long_name = cut_path(found) if found else self._long_name
        return True


@lru_cache(maxsize=1024)
def _changed(shape: int) -> tuple[int, ...]:
    """Return the numbers of the fields that a shape changes."""
    return tuple(bit for bit in range(len(FIELDS)) if shape >> bit & 1)


def cut_path(path: bytes) -> bytes:
    """Return a path. If the path has more than ``MAX_PATH`` bytes, replace the end of the path by dots."""
    return path if len(path) <= MAX_PATH else path[: MAX_PATH - 3] + b"..."


def _pax_path(content: bytes) -> tuple[bytes | None, int]:
    """Return the path in PAX records or None, and the number of records read. Stop at the first malformed record."""
    at = count = 0
    path = None
    while (space := content.find(b" ", at, at + 10)) > 0:
        digits = content[at:space]
        end = at + int(digits) if digits.isdigit() else 0
        equals = content.find(b"=", space, end)
        if equals < 0 or content[end - 1 : end] != b"\n":
            break
        path = content[equals + 1 : end - 1] if content[space + 1 : equals] == b"path" else path
        at = end
        count += 1
    return path, count


def outline(
    columns: Columns,
    text: bytes | None,
    base: BaseHeaders | None = None,
    object_sizes: list[int] | None = None,
) -> Iterator[Operation]:
    """Yield a program's operations in tar order. With a base, each entry has its own operation and position.

    ``text`` is the decoded stream 0. If ``text`` is None, the names of added entries are missing.
    """
    state = _Outline(columns, text, base, object_sizes or [])
    for op in state.columns.ops.data:
        step = _STEPS.get(op)
        if step is None:
            raise BundleError(messages.PROGRAM_UNKNOWN_OPERATION, op=op)
        state.spend(1)
        yield from step(state)


def _seek(state: _Outline) -> Iterator[Operation]:
    if state.base:
        state.cursor.seek()
    else:
        state.columns.seek_object.next()
        state.columns.seek_offset.next()
    yield from ()


def _keep(state: _Outline) -> Iterator[Operation]:
    place = state.place()
    length = state.columns.keep.next()
    if state.base:
        state.cursor.take(length)
    yield Operation("keep", length, place=place)


def _base_block(state: _Outline) -> tuple[bytes | None, tuple[int, int] | None]:
    """Return the header block at the cursor, and its position. Move the cursor behind the record.

    Without a base, both values are None.
    """
    if not state.base:
        return None, None
    place = state.place()
    state.spend(1)
    block = state.cursor.read_header()
    state.cursor.take(padded(records.record_size(block) or 0))
    return block, place


def _mode(state: _Outline) -> Iterator[Operation]:
    count = state.columns.count.next()
    shape = state.columns.shape
    if count > len(shape.data) - shape.position:
        raise BundleError(messages.MANIFEST_COLUMN_TRUNCATED, subject=shape.what)
    for _ in range(count):
        block, place = _base_block(state)
        made = state.edit(REGISTER_RECORD, block, from_base=True)
        if state.base and not state.extension(made, None):
            size, target, old = records.record_size(made or EMPTY), _link(made), _link(block)
            kind = "mode" if target == old or target is None else "symlink"
            yield Operation(kind, 1, state.name(made), size, place, target=target, old_target=old)
    if not state.base:
        yield Operation("mode", count)


def _patch(state: _Outline) -> Iterator[Operation]:
    block, place = _base_block(state)
    made = state.edit(REGISTER_RECORD, block, from_base=True)
    stream = state.columns.stream.next()
    size = records.record_size(made) if made else None
    if state.extension(made, None):
        yield Operation("raw", 1, None, size, stream=stream)
    else:
        old = records.record_size(block) if block else None
        yield Operation("patch", 1, state.name(made) if made else None, size, place, old, stream)


def _add(state: _Outline) -> Iterator[Operation]:
    made = state.edit(REGISTER_RECORD, None, from_base=False)
    size = state.cursor.register_sizes[REGISTER_RECORD]
    content = None
    stream: int | None = state.columns.stream.next()
    if stream == TEXT_STREAM:
        content, stream = state.take_text(size), None
    if not state.extension(made, content):
        known = size if size < UNKNOWN // 2 else None
        kind, target = state.kind(REGISTER_RECORD, "add"), state.link(REGISTER_RECORD, made)
        yield Operation(kind, 1, state.name(made), known, stream=stream, target=target)


def _link(block: bytes | None) -> bytes | None:
    """Return the target of a symbolic link. Return None if the block is not a symbolic link."""
    return block[157:257].partition(b"\0")[0] if block and block[156] == _SYMLINK else None


def _repeat(state: _Outline) -> Iterator[Operation]:
    state.columns.repeat_frame.next()
    state.columns.repeat_offset.next()
    state.columns.repeat.next()
    yield from ()


def _raw(state: _Outline) -> Iterator[Operation]:
    length = state.columns.raw.next()
    stream = state.columns.stream.next()
    if stream == TEXT_STREAM:
        state.take_text(length)
    else:
        yield Operation("raw", 1, None, length, stream=stream)


def _replace(state: _Outline) -> Iterator[Operation]:
    length = state.columns.raw.next()
    source = state.columns.replace.next()
    stream = state.columns.stream.next()
    if stream == TEXT_STREAM:
        state.take_text(length)
    if state.base:
        state.cursor.take(source)
    yield Operation("replace", 1, None, length, None, source, stream)


def _zero(state: _Outline) -> Iterator[Operation]:
    state.columns.zero.next()
    yield from ()


def _header(state: _Outline) -> Iterator[Operation]:
    register = state.columns.register.next()
    if register >= REGISTERS:
        raise BundleError(messages.PROGRAM_REGISTER, register=register, registers=REGISTERS)
    made = state.edit(register, None, from_base=False)
    if register == REGISTER_OUTER:
        yield Operation("member", 1, state.name(made), records.record_size(made) if made else None)
    elif not state.extension(made, None):
        size = records.record_size(made) if made else None
        yield Operation(state.kind(register, "copy"), 1, state.name(made), size, target=state.link(register, made))


def _begin(state: _Outline) -> Iterator[Operation]:
    state.take_text(state.columns.packing.next())
    yield Operation("packed", 1, None, state.columns.packed.next())


def _end(state: _Outline) -> Iterator[Operation]:
    del state
    yield from ()


_STEPS = {
    OP_SEEK: _seek,
    OP_KEEP: _keep,
    OP_MODE: _mode,
    OP_PATCH: _patch,
    OP_ADD: _add,
    OP_REPEAT: _repeat,
    OP_RAW: _raw,
    OP_REPLACE: _replace,
    OP_ZERO: _zero,
    OP_HEADER: _header,
    OP_BEGIN: _begin,
    OP_END: _end,
}

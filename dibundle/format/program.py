"""Programs. Programs are instructions that rebuild a target, byte after byte, from base objects and decoded streams.

A program is a set of columns. :func:`walk` reads each column once, from beginning to end, and yields steps. A walk
needs the header blocks of the base objects, because a program gives a run's length in records, not in bytes. A walk
never reads the content of the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dibundle.errors import BaseMismatchError, BundleError
from dibundle.format import messages, records
from dibundle.format.constants import (
    MAX_PACKING,
    MAX_SHAPES,
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
    OPS,
    STREAMS,
)
from dibundle.format.records import BLOCK, FIELDS, RAW_SHIFT, Field, padded
from dibundle.format.steps import (
    COLUMN_NAMES,
    REGISTER_RECORD,
    REGISTERS,
    Begin,
    Columns,
    Copy,
    Data,
    End,
    Head,
    ProgramStep,
    Repeat,
    Text,
    Zero,
)
from dibundle.format.wire import Column

NO_SOURCE = Copy(0, 0, 0)


class BaseHeaders(Protocol):
    """The source of the header blocks of base objects for :func:`walk`."""

    def header(self, object_index: int, offset: int) -> bytes:
        """Return the 512 bytes at ``offset``. Raise :class:`BaseMismatchError` if the object is too short."""


class Cursor:
    """The state of a walk: the place in the base, and the content sizes of the registers."""

    def __init__(self, columns: Columns, base: BaseHeaders | None, object_sizes: list[int]) -> None:
        self.columns = columns
        self.base = base
        self.object_sizes = object_sizes
        self.object = 0
        self.offset = 0
        self.register_sizes = [0, 0]
        self.shapes = self._read_shapes()

    def _read_shapes(self) -> list[tuple[int, tuple[tuple[Field, Column | None], ...]]]:
        """Return each shape with the fields that the shape changes. Each numeric field has its own column."""
        shapes: list[tuple[int, tuple[tuple[Field, Column | None], ...]]] = []
        column = self.columns.shapes
        while column.position < len(column.data):
            shape = column.next()
            if len(shapes) >= MAX_SHAPES or not records.valid_shape(shape):
                raise BundleError(messages.PROGRAM_UNKNOWN_SHAPE, shape=shape)
            changed = (bit for bit in range(len(FIELDS)) if shape >> bit & 1)
            parts = (
                (FIELDS[bit], None if shape >> bit + RAW_SHIFT & 1 else getattr(self.columns, FIELDS[bit].name))
                for bit in changed
            )
            shapes.append((shape, tuple(parts)))
        return shapes

    def seek(self) -> None:
        """Read the next seek, and move the cursor to the place that the seek gives."""
        target = self.columns.seek_object.next()
        delta = self.columns.seek_offset.signed()
        if target >= len(self.object_sizes):
            raise BundleError(messages.PROGRAM_SEEK_OBJECT, target=target, object_sizes_count=len(self.object_sizes))
        self.offset = self.offset + delta if target == self.object else delta
        self.object = target
        if not 0 <= self.offset <= self.object_sizes[target]:
            raise BundleError(messages.PROGRAM_SEEK_OUT_OF_BOUNDS)

    def take(self, length: int) -> Copy:
        """Return the next ``length`` bytes of the base object as a :class:`Copy`, and move the cursor."""
        if self.object >= len(self.object_sizes):  # without objects, even a copy of 0 bytes is invalid
            raise BundleError(messages.PROGRAM_NO_OBJECT)
        offset, size = self.offset, self.object_sizes[self.object]
        if length > size - offset:
            raise BundleError(messages.PROGRAM_READ_BEYOND_END)
        self.offset += length
        return Copy(self.object, offset, length)

    def read_header(self) -> bytes:
        """Return the header block at the cursor."""
        assert self.base is not None
        copy = self.take(BLOCK)
        return self.base.header(copy.object, copy.offset)

    def edit(self, register: int, reference: bytes | None, reference_size: int | None) -> tuple[Head, int]:
        """Read an edit. Return the header step and the content size of the resulting block.

        ``reference_size`` is the content size of the base block to which the edit applies. If ``reference_size`` is
        None, the edit applies to the register's last block. In this case, the size stays the same, unless the edit has
        a new size. A new size is stored as the difference from 0.
        """
        columns = self.columns
        index = columns.shape.next()
        if index >= len(self.shapes):
            raise BundleError(messages.PROGRAM_SHAPE_NUMBER, index=index, shapes_count=len(self.shapes))
        shape, changed = self.shapes[index]
        size = self.register_sizes[register] if reference_size is None else reference_size
        values: list[int | Text] = []
        for item, column in changed:
            if column is None:
                text = Text(columns.text.next())
                if text.length > item.end - item.start:
                    raise BundleError(messages.PROGRAM_TEXT_TOO_LONG, name=item.name)
                values.append(text)
                continue
            if item.name == "size":
                size = (reference_size or 0) + column.signed()
                if not 0 <= size < 1 << 63:
                    raise BundleError(messages.PROGRAM_HEADER_FIELD, name=item.name, value=size)
                values.append(size)
            else:
                values.append(column.next())
        self.register_sizes[register] = size
        return Head(reference, register, shape, tuple(values)), size


def walk(columns: Columns, base: BaseHeaders, object_sizes: list[int]) -> Iterator[ProgramStep]:
    """Yield the steps of a program in the order of the target's bytes.

    ``object_sizes`` are the sizes of the base objects in bytes. Every column must be read to its end. Raises
    :class:`BundleError` if the program is invalid for every base. Raises :class:`BaseMismatchError` if a header block
    of the base differs from the expected block.
    """
    columns = columns.rewound()
    cursor = Cursor(columns, base, object_sizes)
    last = -1
    within = False
    for op in columns.ops.data:
        if op >= OPS:
            raise BundleError(messages.PROGRAM_UNKNOWN_OPERATION, op=op)
        if op in (OP_BEGIN, OP_END):
            if (op == OP_END) != within:
                raise BundleError(messages.PROGRAM_NESTED_BEGIN)
            within = not within
        if op == OP_SEEK:
            if last == OP_SEEK:
                raise BundleError(messages.PROGRAM_SEEK_AFTER_SEEK)
            cursor.seek()
        else:
            yield from _OPERATIONS[op](cursor)
        last = op
    if within:
        raise BundleError(messages.PROGRAM_BEGIN_WITHOUT_END)
    columns.ops.position = len(columns.ops.data)
    for name in COLUMN_NAMES:
        getattr(columns, name).end()


def _stream(cursor: Cursor) -> int:
    stream = cursor.columns.stream.next()
    if stream >= STREAMS:
        raise BundleError(messages.PROGRAM_UNKNOWN_STREAM, stream=stream, streams=STREAMS)
    return stream


def _base_record(cursor: Cursor) -> tuple[bytes, int]:
    """Return the header block at the cursor and its content size."""
    block = cursor.read_header()
    size = records.record_size(block)
    if size is None:
        raise BaseMismatchError(messages.BASE_HEADER_BLOCK)
    return block, size


def _positive(column: Column) -> int:
    """Read a length or count, and refuse 0.

    Each operation therefore yields at least one byte, so the output's size limits the number of operations.
    """
    value = column.next()
    if not value:
        raise BundleError(messages.PROGRAM_EMPTY_OPERATION, subject=column.what)
    return value


def _keep(cursor: Cursor) -> Iterator[ProgramStep]:
    yield cursor.take(_positive(cursor.columns.keep))


def _mode(cursor: Cursor) -> Iterator[ProgramStep]:
    for _ in range(_positive(cursor.columns.count)):
        block, size = _base_record(cursor)
        head, new_size = cursor.edit(REGISTER_RECORD, block, size)
        if new_size != size:
            raise BundleError(messages.PROGRAM_MODE_CHANGES_SIZE)
        yield head
        if size:
            yield cursor.take(padded(size))


def _patch(cursor: Cursor) -> Iterator[ProgramStep]:
    block, old_size = _base_record(cursor)
    head, size = cursor.edit(REGISTER_RECORD, block, old_size)
    source = cursor.take(old_size)
    cursor.take(padded(old_size) - old_size)
    yield head
    yield from _content(Data(_stream(cursor), size, source))


def _content(data: Data) -> Iterator[ProgramStep]:
    if data.length:
        yield data
    if padded(data.length) != data.length:
        yield Zero(padded(data.length) - data.length)


def _add(cursor: Cursor) -> Iterator[ProgramStep]:
    head, size = cursor.edit(REGISTER_RECORD, None, None)
    yield head
    yield from _content(Data(_stream(cursor), size, NO_SOURCE))


def _repeat(cursor: Cursor) -> Iterator[ProgramStep]:
    columns = cursor.columns
    yield Repeat(columns.repeat_frame.next(), columns.repeat_offset.next(), _positive(columns.repeat))


def _header(cursor: Cursor) -> Iterator[ProgramStep]:
    register = cursor.columns.register.next()
    if register >= REGISTERS:
        raise BundleError(messages.PROGRAM_REGISTER, register=register, registers=REGISTERS)
    head, _ = cursor.edit(register, None, None)
    yield head


def _raw(cursor: Cursor) -> Iterator[ProgramStep]:
    yield Data(_stream(cursor), _positive(cursor.columns.raw), NO_SOURCE)


def _replace(cursor: Cursor) -> Iterator[ProgramStep]:
    length, source = _positive(cursor.columns.raw), cursor.columns.replace.next()
    yield Data(_stream(cursor), length, cursor.take(source))


def _zero(cursor: Cursor) -> Iterator[ProgramStep]:
    yield Zero(_positive(cursor.columns.zero))


def _begin(cursor: Cursor) -> Iterator[ProgramStep]:
    packing = _positive(cursor.columns.packing)
    if packing > MAX_PACKING:
        raise BundleError(messages.LIMIT_RECIPE, packing=packing, max_packing=MAX_PACKING)
    yield Begin(packing, cursor.columns.packed.next())


def _end(cursor: Cursor) -> Iterator[ProgramStep]:
    del cursor
    yield End()


_OPERATIONS = {
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

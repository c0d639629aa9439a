"""Programs: the instructions that rebuild a target, byte after byte, from base objects and decoded streams.

A program is a set of columns. :func:`walk` reads them once, front to back, and yields steps; it needs the header
blocks of the base objects, never their content, because a run of records is counted, not measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Protocol

from dibundle.errors import BaseMismatchError, BundleError
from dibundle.format import messages, records
from dibundle.format.constants import (
    MAX_PACKING,
    MAX_PIECE_TEXT,
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
from dibundle.format.wire import Column, ColumnWriter

NUMBER_COLUMNS = ("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor")


@dataclass(slots=True)
class Columns:
    """The columns of a program, in the order in which they are written. ``ops`` holds one byte per operation."""

    ops: Column = field(default_factory=Column)
    seek_object: Column = field(default_factory=Column)
    seek_offset: Column = field(default_factory=Column)
    keep: Column = field(default_factory=Column)
    count: Column = field(default_factory=Column)
    stream: Column = field(default_factory=Column)
    raw: Column = field(default_factory=Column)
    replace: Column = field(default_factory=Column)
    zero: Column = field(default_factory=Column)
    repeat_frame: Column = field(default_factory=Column)
    repeat_offset: Column = field(default_factory=Column)
    repeat: Column = field(default_factory=Column)
    register: Column = field(default_factory=Column)
    shapes: Column = field(default_factory=Column)
    shape: Column = field(default_factory=Column)
    mode: Column = field(default_factory=Column)
    uid: Column = field(default_factory=Column)
    gid: Column = field(default_factory=Column)
    size: Column = field(default_factory=Column)
    mtime: Column = field(default_factory=Column)
    devmajor: Column = field(default_factory=Column)
    devminor: Column = field(default_factory=Column)
    shared: Column = field(default_factory=Column)
    text: Column = field(default_factory=Column)
    packing: Column = field(default_factory=Column)
    packed: Column = field(default_factory=Column)

    def rewound(self) -> Columns:
        """Return the same columns, each standing at its beginning."""
        return Columns(*(getattr(self, item.name).rewound() for item in fields(self)))


COLUMN_NAMES = tuple(item.name for item in fields(Columns))


class Text(NamedTuple):
    """A raw field still to be read: ``shared`` bytes of the field's last text, then ``length`` bytes of stream 0."""

    shared: int
    length: int


class Copy(NamedTuple):
    """``length`` bytes of base object ``object`` from ``offset`` on."""

    object: int
    offset: int
    length: int


class Head(NamedTuple):
    """A header block: ``reference`` (None: the last block in ``register``) edited; raw fields are :class:`Text`."""

    reference: bytes | None
    register: int
    shape: int
    values: tuple[int | Text, ...]


class Data(NamedTuple):
    """``length`` bytes of a stream; as a source they have ``source`` (length 0: none)."""

    stream: int
    length: int
    source: Copy


class Zero(NamedTuple):
    """``length`` zero bytes."""

    length: int


class Repeat(NamedTuple):
    """``length`` bytes of a decoded frame from ``offset`` on."""

    frame: int
    offset: int
    length: int


class Begin(NamedTuple):
    """What follows, up to the next :class:`End`, is content that a packing makes ``packed`` bytes of.

    The packing and its plain bytes are the next ``packing`` bytes of the text stream.
    """

    packing: int
    packed: int


class End(NamedTuple):
    """The content that :class:`Begin` began is complete."""


Step = Copy | Head | Data | Zero | Repeat | Begin | End
NO_SOURCE = Copy(0, 0, 0)
REGISTER_RECORD, REGISTER_OUTER = 0, 1
REGISTERS = 2


class BaseHeaders(Protocol):
    """Where :func:`walk` reads the header blocks of base objects."""

    def header(self, object_index: int, offset: int) -> bytes:
        """Return the 512 bytes at ``offset``; :class:`BaseMismatchError` when the object ends before."""


class Cursor:
    """State of a walk: the place in the base, the registers' content sizes, the last value of each number column."""

    def __init__(self, columns: Columns, base: BaseHeaders | None, object_sizes: list[int]) -> None:
        self.columns = columns
        self.base = base
        self.object_sizes = object_sizes
        self.object = 0
        self.offset = 0
        self.register_sizes = [0, 0]
        self.last = dict.fromkeys(NUMBER_COLUMNS, 0)
        self.shapes = self._read_shapes()

    def _read_shapes(self) -> list[tuple[int, tuple[tuple[Field, Column | None], ...]]]:
        """Return each shape with the fields that it changes; a field given as a number with its column."""
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
        """Put the cursor where the next seek says."""
        target = self.columns.seek_object.next()
        delta = self.columns.seek_offset.signed()
        if target >= len(self.object_sizes):
            raise BundleError(messages.PROGRAM_SEEK_OBJECT, target=target, object_sizes_count=len(self.object_sizes))
        self.offset = self.offset + delta if target == self.object else delta
        self.object = target
        if not 0 <= self.offset <= self.object_sizes[target]:
            raise BundleError(messages.PROGRAM_SEEK_OUT_OF_BOUNDS)

    def take(self, length: int) -> Copy:
        """Return the next ``length`` bytes of the base object and step behind them."""
        if self.object >= len(self.object_sizes):  # there are none: not even 0 bytes can be taken
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
        """Read an edit; return the header step and the content size of the block that it will make.

        ``reference_size`` is the content size of a base block; None where the register's last block is edited, whose
        size stays unless the edit gives another, which then does not depend on it.
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
                text = Text(columns.shared.next(), columns.text.next())
                if text.shared + text.length > item.end - item.start or text.length > MAX_PIECE_TEXT:
                    raise BundleError(messages.PROGRAM_TEXT_TOO_LONG, name=item.name)
                values.append(text)
                continue
            is_size = item.name == "size"
            value = (reference_size or 0 if is_size else self.last[item.name]) + column.signed()
            if not 0 <= value < 1 << 63:
                raise BundleError(messages.PROGRAM_HEADER_FIELD, name=item.name, value=value)
            if is_size:
                size = value
            else:
                self.last[item.name] = value
            values.append(value)
        self.register_sizes[register] = size
        return Head(reference, register, shape, tuple(values)), size


def walk(columns: Columns, base: BaseHeaders, object_sizes: list[int]) -> Iterator[Step]:
    """Yield the steps of a program in the order of the target's bytes.

    ``object_sizes`` are the sizes of the base objects in bytes. Raises :class:`BundleError` for what no base could
    satisfy and :class:`BaseMismatchError` where a header block of the base is not what the program counts on. Every
    column is read to its end.
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
    """Read a length or count; every operation yields at least one byte, so that the output bounds the work."""
    value = column.next()
    if not value:
        raise BundleError(messages.PROGRAM_EMPTY_OPERATION, subject=column.what)
    return value


def _keep(cursor: Cursor) -> Iterator[Step]:
    yield cursor.take(_positive(cursor.columns.keep))


def _mode(cursor: Cursor) -> Iterator[Step]:
    for _ in range(_positive(cursor.columns.count)):
        block, size = _base_record(cursor)
        head, new_size = cursor.edit(REGISTER_RECORD, block, size)
        if new_size != size:
            raise BundleError(messages.PROGRAM_MODE_CHANGES_SIZE)
        yield head
        if size:
            yield cursor.take(padded(size))


def _patch(cursor: Cursor) -> Iterator[Step]:
    block, old_size = _base_record(cursor)
    head, size = cursor.edit(REGISTER_RECORD, block, old_size)
    source = cursor.take(old_size)
    cursor.take(padded(old_size) - old_size)
    yield head
    yield from _content(Data(_stream(cursor), size, source))


def _content(data: Data) -> Iterator[Step]:
    if data.length:
        yield data
    if padded(data.length) != data.length:
        yield Zero(padded(data.length) - data.length)


def _add(cursor: Cursor) -> Iterator[Step]:
    head, size = cursor.edit(REGISTER_RECORD, None, None)
    yield head
    yield from _content(Data(_stream(cursor), size, NO_SOURCE))


def _repeat(cursor: Cursor) -> Iterator[Step]:
    columns = cursor.columns
    yield Repeat(columns.repeat_frame.next(), columns.repeat_offset.next(), _positive(columns.repeat))


def _header(cursor: Cursor) -> Iterator[Step]:
    register = cursor.columns.register.next()
    if register >= REGISTERS:
        raise BundleError(messages.PROGRAM_REGISTER, register=register, registers=REGISTERS)
    head, _ = cursor.edit(register, None, None)
    yield head


def _raw(cursor: Cursor) -> Iterator[Step]:
    yield Data(_stream(cursor), _positive(cursor.columns.raw), NO_SOURCE)


def _replace(cursor: Cursor) -> Iterator[Step]:
    length, source = _positive(cursor.columns.raw), cursor.columns.replace.next()
    yield Data(_stream(cursor), length, cursor.take(source))


def _zero(cursor: Cursor) -> Iterator[Step]:
    yield Zero(_positive(cursor.columns.zero))


def _begin(cursor: Cursor) -> Iterator[Step]:
    packing = _positive(cursor.columns.packing)
    if packing > MAX_PACKING:
        raise BundleError(messages.LIMIT_RECIPE, packing=packing, max_packing=MAX_PACKING)
    yield Begin(packing, cursor.columns.packed.next())


def _end(cursor: Cursor) -> Iterator[Step]:
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


class ProgramWriter:
    """Writes the columns of a program; its methods mirror the operations and keep the state that a walk keeps."""

    def __init__(self) -> None:
        self._columns = {name: ColumnWriter() for name in COLUMN_NAMES}
        self._object = 0
        self._offset = 0
        self._last = dict.fromkeys(NUMBER_COLUMNS, 0)
        self._shapes: dict[int, int] = {}
        self._texts: dict[int, bytes] = {}
        self._mode_run = False
        self._counts: list[int] = []
        self.registers = [records.EMPTY, records.EMPTY]

    @property
    def operations(self) -> int:
        """How many there are so far."""
        return len(self._columns["ops"].data)

    def seek(self, object_index: int, offset: int) -> None:
        """Put the cursor at ``offset`` of a base object; nothing is written where it stands there already."""
        if (object_index, offset) == (self._object, self._offset):
            return
        self._op(OP_SEEK)
        self._columns["seek_object"].add(object_index)
        self._columns["seek_offset"].add_signed(offset - self._offset if object_index == self._object else offset)
        self._object, self._offset = object_index, offset

    def keep(self, length: int) -> None:
        """Copy ``length`` bytes from the cursor on; adjacent copies become one."""
        self._op(OP_KEEP)
        self._columns["keep"].add(length)
        self._offset += length

    def mode(self, edit: records.Edit, block: bytes, size: int) -> bytes:
        """Edit the header of the record at the cursor, keep its content; return the text that stream 0 must hold."""
        if not self._mode_run:
            self._op(OP_MODE)
            self._counts.append(0)
            self._mode_run = True
        self._counts[-1] += 1
        text = self._edit(edit, block, REGISTER_RECORD, size)
        self._offset += BLOCK + padded(size)
        return text

    def patch(self, edit: records.Edit, block: bytes, old_size: int, stream: int) -> bytes:
        """Edit the record's header at the cursor, take its new content from ``stream``; return the text."""
        self._op(OP_PATCH)
        text = self._edit(edit, block, REGISTER_RECORD, old_size)
        self._columns["stream"].add(stream)
        self._offset += BLOCK + padded(old_size)
        return text

    def add(self, edit: records.Edit, block: bytes, stream: int) -> bytes:
        """Edit the last record's header, take its content bytes from ``stream``; return the text."""
        self._op(OP_ADD)
        text = self._edit(edit, block, REGISTER_RECORD, 0)
        self._columns["stream"].add(stream)
        return text

    def repeat(self, length: int, frame: int, offset: int) -> None:
        """Take ``length`` bytes of a decoded frame from ``offset`` on."""
        self._op(OP_REPEAT)
        self._columns["repeat_frame"].add(frame)
        self._columns["repeat_offset"].add(offset)
        self._columns["repeat"].add(length)

    def header(self, edit: records.Edit, block: bytes, register: int) -> bytes:
        """Edit the last header in ``register``; the content follows as operations of its own. Return the text."""
        self._op(OP_HEADER)
        self._columns["register"].add(register)
        return self._edit(edit, block, register, 0)

    def raw(self, length: int, stream: int) -> None:
        """Take ``length`` bytes from ``stream``."""
        self._op(OP_RAW)
        self._columns["stream"].add(stream)
        self._columns["raw"].add(length)

    def replace(self, length: int, source: int, stream: int) -> None:
        """Take ``length`` bytes from ``stream``; their source is ``source`` bytes at the cursor."""
        self._op(OP_REPLACE)
        self._columns["stream"].add(stream)
        self._columns["raw"].add(length)
        self._columns["replace"].add(source)
        self._offset += source

    def zero(self, length: int) -> None:
        """Write ``length`` zero bytes."""
        self._op(OP_ZERO)
        self._columns["zero"].add(length)

    def begin(self, packing: int, packed: int) -> None:
        """Pack what follows, by so many bytes of the text stream, into ``packed`` bytes."""
        self._op(OP_BEGIN)
        self._columns["packing"].add(packing)
        self._columns["packed"].add(packed)

    def end(self) -> None:
        """End what is packed."""
        self._op(OP_END)

    def finish(self) -> Columns:
        """Return the finished columns."""
        for count in self._counts:
            self._columns["count"].add(count)
        for shape in self._shapes:
            self._columns["shapes"].add(shape)
        return Columns(*(Column(bytes(self._columns[name].data), name) for name in COLUMN_NAMES))

    def _op(self, op: int) -> None:
        self._columns["ops"].data.append(op)
        self._mode_run = False

    def _edit(self, edit: records.Edit, block: bytes, register: int, reference_size: int) -> bytes:
        """Write an edit whose result is ``block``; return the text that its raw fields take from stream 0."""
        self._columns["shape"].add(self._shapes.setdefault(edit.shape, len(self._shapes)))
        texts = []
        values = iter(edit.values)
        for bit, item in enumerate(FIELDS):
            if not edit.shape >> bit & 1:
                continue
            value = next(values)
            if isinstance(value, int):
                before = reference_size if item.name == "size" else self._last[item.name]
                self._columns[item.name].add_signed(value - before)
                self._last[item.name] = value
            else:
                texts.append(self._text(bit, value))
        self.registers[register] = block
        return b"".join(texts)

    def _text(self, bit: int, value: bytes) -> bytes:
        last = self._texts.get(bit, b"")
        shared = 0
        for a, b in zip(last, value, strict=False):
            if a != b:
                break
            shared += 1
        self._texts[bit] = value
        self._columns["shared"].add(shared)
        self._columns["text"].add(len(value) - shared)
        return value[shared:]

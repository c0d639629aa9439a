"""Write programs: operations as columns, and header blocks as edits of other header blocks."""

from __future__ import annotations

from functools import lru_cache

from dibundle.format import records
from dibundle.format.constants import (
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
)
from dibundle.format.records import BLOCK, FIELDS, padded
from dibundle.format.steps import COLUMN_NAMES, REGISTER_RECORD, Columns
from dibundle.format.wire import Column, ColumnWriter


@lru_cache(maxsize=1024)
def _fields(shape: int) -> tuple[str, ...]:
    """Return the name of each field that a shape changes."""
    return tuple(item.name for bit, item in enumerate(FIELDS) if shape >> bit & 1)


class ProgramWriter:
    """A writer of a program's columns, with a method for each operation. It has the same state as a reader's walk."""

    def __init__(self) -> None:
        self._columns = {name: ColumnWriter() for name in COLUMN_NAMES}
        self._object = 0
        self._offset = 0
        self._shapes: dict[int, int] = {}
        self._mode_run = False
        self._counts: list[int] = []
        self.registers = [records.EMPTY, records.EMPTY]

    @property
    def operations(self) -> int:
        """The number of operations that are already written."""
        return len(self._columns["ops"].data)

    def find_edit(self, reference: bytes, block: bytes) -> records.HeaderEdit | None:
        """Return the edit from ``reference`` to ``block``.

        Return None if there is no such edit, or if the edit would need too many shapes.
        """
        edit = records.find_edit(reference, block)
        if edit is not None and edit.shape not in self._shapes and len(self._shapes) == MAX_SHAPES:
            return None
        return edit

    def seek(self, object_index: int, offset: int) -> None:
        """Move the cursor to ``offset`` of a base object. If the cursor is already there, write nothing."""
        if (object_index, offset) == (self._object, self._offset):
            return
        self._op(OP_SEEK)
        self._columns["seek_object"].add(object_index)
        self._columns["seek_offset"].add_signed(offset - self._offset if object_index == self._object else offset)
        self._object, self._offset = object_index, offset

    def keep(self, length: int) -> None:
        """Copy ``length`` bytes from the cursor on. If ``length`` is 0, write nothing."""
        if not length:
            return
        self._op(OP_KEEP)
        self._columns["keep"].add(length)
        self._offset += length

    def mode(self, edit: records.HeaderEdit, block: bytes, size: int) -> bytes:
        """Edit the header of the record at the cursor, and keep the content. Return the text for stream 0."""
        if not self._mode_run:
            self._op(OP_MODE)
            self._counts.append(0)
            self._mode_run = True
        self._counts[-1] += 1
        text = self._edit(edit, block, REGISTER_RECORD, size)
        self._offset += BLOCK + padded(size)
        return text

    def patch(self, edit: records.HeaderEdit, block: bytes, old_size: int, stream: int) -> bytes:
        """Edit the header of the record at the cursor, and take the new content from ``stream``. Return the text."""
        self._op(OP_PATCH)
        text = self._edit(edit, block, REGISTER_RECORD, old_size)
        self._columns["stream"].add(stream)
        self._offset += BLOCK + padded(old_size)
        return text

    def add(self, edit: records.HeaderEdit, block: bytes, stream: int) -> bytes:
        """Edit the previous record's header and take the content from ``stream``. Return the text."""
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

    def header(self, edit: records.HeaderEdit, block: bytes, register: int) -> bytes:
        """Edit the most recent header in ``register``. Return the text. The next operations must write the content."""
        self._op(OP_HEADER)
        self._columns["register"].add(register)
        return self._edit(edit, block, register, 0)

    def raw(self, length: int, stream: int) -> None:
        """Take ``length`` bytes from ``stream``."""
        self._op(OP_RAW)
        self._columns["stream"].add(stream)
        self._columns["raw"].add(length)

    def replace(self, length: int, source: int, stream: int) -> None:
        """Take ``length`` bytes from ``stream``. As their source, use the next ``source`` bytes at the cursor."""
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
        """Recompress the output of the next operations into ``packed`` bytes.

        The recipe is the next ``packing`` bytes of the text stream.
        """
        self._op(OP_BEGIN)
        self._columns["packing"].add(packing)
        self._columns["packed"].add(packed)

    def end(self) -> None:
        """Mark the end of the content to recompress."""
        self._op(OP_END)

    def finish(self) -> Columns:
        """Return the finished columns."""
        for count in self._counts:
            self._columns["count"].add(count)
        for shape in self._shapes:
            self._columns["shapes"].add(shape)
        return Columns(**{name: Column(bytes(self._columns[name].data), name) for name in COLUMN_NAMES})

    def _op(self, op: int) -> None:
        self._columns["ops"].data.append(op)
        self._mode_run = False

    def _edit(self, edit: records.HeaderEdit, block: bytes, register: int, reference_size: int) -> bytes:
        """Write an edit with the result ``block``. Return the text that the edit's raw fields take from stream 0."""
        self._columns["shape"].add(self._shapes.setdefault(edit.shape, len(self._shapes)))
        texts = []
        for name, value in zip(_fields(edit.shape), edit.values, strict=True):
            if not isinstance(value, int):
                self._columns["text"].add(len(value))
                texts.append(value)
            elif name == "size":
                self._columns[name].add_signed(value - reference_size)
            else:
                self._columns[name].add(value)
        self.registers[register] = block
        return b"".join(texts)

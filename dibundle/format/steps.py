"""The instructions of a program as values, and the columns that they are stored in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

from dibundle.format.wire import Column

REGISTER_RECORD, REGISTER_OUTER = 0, 1
REGISTERS = 2
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


ProgramStep = Copy | Head | Data | Zero | Repeat | Begin | End

"""The steps of a program as values, and the columns that store its operations."""

from __future__ import annotations

from typing import NamedTuple

from dibundle.format.wire import Column

REGISTER_RECORD, REGISTER_OUTER = 0, 1
REGISTERS = 2


class Columns:
    """The columns of a program, in file order. ``ops`` has one byte per operation."""

    ops: Column
    seek_object: Column
    seek_offset: Column
    keep: Column
    count: Column
    stream: Column
    raw: Column
    replace: Column
    zero: Column
    repeat_frame: Column
    repeat_offset: Column
    repeat: Column
    register: Column
    shapes: Column
    shape: Column
    mode: Column
    uid: Column
    gid: Column
    size: Column
    mtime: Column
    devmajor: Column
    devminor: Column
    text: Column
    packing: Column
    packed: Column

    def __init__(self, **columns: Column) -> None:
        """Set the named columns. All other columns are empty."""
        for name in COLUMN_NAMES:
            setattr(self, name, columns.get(name) or Column())

    def rewound(self) -> Columns:
        """Return the same columns, with each column at its beginning."""
        return Columns(**{name: getattr(self, name).rewound() for name in COLUMN_NAMES})


COLUMN_NAMES = tuple(Columns.__annotations__)


class Text(NamedTuple):
    """A raw field that is not read yet. The field has ``length`` bytes of stream 0."""

    length: int


class Copy(NamedTuple):
    """``length`` bytes of the base object ``object``, from ``offset`` on."""

    object: int
    offset: int
    length: int


class Head(NamedTuple):
    """A header block, as an edit of ``reference`` (None: of the most recent block in ``register``).

    Raw fields are :class:`Text`.
    """

    reference: bytes | None
    register: int
    shape: int
    values: tuple[int | Text, ...]


class Data(NamedTuple):
    """``length`` bytes of a stream. ``source`` is the source of these bytes in the base (length 0: no source)."""

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
    """The start of content that ends at the next :class:`End`. A recipe recompresses the content into ``packed`` bytes.

    The recipe and its plain bytes are the next ``packing`` bytes of the text stream.
    """

    packing: int
    packed: int


class End(NamedTuple):
    """The end of the content that the previous :class:`Begin` started."""


ProgramStep = Copy | Head | Data | Zero | Repeat | Begin | End

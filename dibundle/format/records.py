"""Tar header blocks, encoded as edits of other header blocks.

An edit has the changed fields, except the checksum, which is computed.

A *record* is a 512-byte header block and its content. The size field has the length of the content. In the archive, the
content is padded to a multiple of 512 bytes. PAX and GNU extension headers are records too. A number is written in the
style of the reference block. This style includes the leading spaces, the number of digits, and the bytes after the
digits. Therefore, no tar dialect needs separate code.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

BLOCK = 512
EMPTY = bytes(BLOCK)


class Field(NamedTuple):
    """A header field: its name, its position, and whether it can be edited as a number."""

    name: str
    start: int
    end: int
    numeric: bool


FIELDS = (
    Field("name", 0, 100, numeric=False),
    Field("mode", 100, 108, numeric=True),
    Field("uid", 108, 116, numeric=True),
    Field("gid", 116, 124, numeric=True),
    Field("size", 124, 136, numeric=True),
    Field("mtime", 136, 148, numeric=True),
    Field("chksum", 148, 156, numeric=False),
    Field("typeflag", 156, 157, numeric=False),
    Field("linkname", 157, 257, numeric=False),
    Field("magic", 257, 265, numeric=False),
    Field("uname", 265, 297, numeric=False),
    Field("gname", 297, 329, numeric=False),
    Field("devmajor", 329, 337, numeric=True),
    Field("devminor", 337, 345, numeric=True),
    Field("prefix", 345, 500, numeric=False),
    Field("rest", 500, 512, numeric=False),
)
SIZE_FIELD, MTIME_FIELD, CHKSUM_FIELD = 4, 5, 6
MTIME, CHKSUM = FIELDS[MTIME_FIELD], FIELDS[CHKSUM_FIELD]
RAW_SHIFT = len(FIELDS)  # shape = changed fields | (fields given as raw bytes << RAW_SHIFT)
NUMERIC_MASK = sum(1 << i for i, field in enumerate(FIELDS) if field.numeric)
TEXT_MASK = (1 << len(FIELDS)) - 1 - NUMERIC_MASK


def valid_shape(shape: int) -> bool:
    """Return whether version 1 allows a shape.

    Text fields must be raw, the size must not be raw, and other numbers may be raw.
    """
    changed, raw = shape & (1 << RAW_SHIFT) - 1, shape >> RAW_SHIFT
    return (
        raw >> RAW_SHIFT == 0 and raw & ~changed == 0 and changed & TEXT_MASK & ~raw == 0 and not raw >> SIZE_FIELD & 1
    )


_OCTAL = re.compile(rb"( *)([0-7]+)([\0 ]*)")
_DIGITS = re.compile(rb"[0-7]+")


class Style(NamedTuple):
    """The style of a numeric field.

    Digits are padded to ``width`` with spaces (if ``spaces``) or zeros. Then ``tail`` follows.
    """

    spaces: bool
    width: int
    tail: bytes

    def format(self, value: int) -> bytes | None:
        """Return the field's bytes. Return None if ``value`` has more than ``width`` digits."""
        digits = b"%o" % value
        if len(digits) > self.width:
            return None
        return digits.rjust(self.width, b" " if self.spaces else b"0") + self.tail


@lru_cache(maxsize=8192)  # cached, because a few modes, owners and times occur in most headers
def number_style(field: bytes) -> Style | None:
    """Return the style of a numeric field of a reference block. Return None if the field is not octal text."""
    if not field.strip(b"\0"):
        return Style(spaces=False, width=len(field) - 1, tail=b"\0")
    found = _OCTAL.fullmatch(field)
    if not found:
        return None
    return Style(spaces=found.end(1) > 0, width=found.end(2), tail=found[3])


@lru_cache(maxsize=8192)
def _number_field(reference: bytes, value: int) -> bytes | None:
    """Return ``value`` in the style of a reference field. Return None if this style cannot represent the value."""
    style = number_style(reference)
    return style.format(value) if style else None


@lru_cache(maxsize=8192)
def read_number(field: bytes) -> int | None:
    """Return the value of an octal or base-256 field.

    Return None if the field has a different form, or a negative value.
    """
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & (1 << 8 * len(field) - 1) - 1 if not field[0] & 0x40 else None
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    return int(digits, 8) if _DIGITS.fullmatch(digits) else None


def record_size(block: bytes) -> int | None:
    """Return the length of the content, in bytes, from the size field of a header block.

    Return None if the field cannot be read.
    """
    size = read_number(block[124:136])
    return size if size is not None and size < 1 << 63 else None


def padded(size: int) -> int:
    """Return ``size`` rounded up to whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


def checksum_field(block: bytearray, reference: bytes) -> bytes | None:
    """Return the checksum field of ``block`` in the style of ``reference``.

    Return None if that style has too few digits. For the sum, the checksum field in ``block`` is first overwritten with
    spaces, as tar requires.
    """
    block[148:156] = b"        "
    # the low half of Adler-32 is the sum of the bytes plus one; this is exact for up to 256 bytes, and far faster than
    # sum()
    total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    field = reference[148:156]
    return _number_field(field if field.strip(b"\0") else b"000000\0 ", total)


class HeaderEdit(NamedTuple):
    """The difference between two header blocks.

    An edit has a shape, and a value (int or raw bytes) for each field in the shape.
    """

    shape: int
    values: tuple[int | bytes, ...]


UNCHANGED = HeaderEdit(0, ())


def apply_edit(reference: bytes, shape: int, values: Sequence[int | bytes]) -> bytes | None:
    """Apply an edit to ``reference`` and return the block of 512 bytes. Return None if a number cannot be written."""
    if not shape:
        return reference
    block = bytearray(reference)
    for (start, end), value in zip(_places(shape), values, strict=True):
        if isinstance(value, int):
            number = _number_field(reference[start:end], value)
            if number is None:
                return None
            block[start:end] = number
        else:
            block[start:end] = value.ljust(end - start, b"\0")
    if not shape >> CHKSUM_FIELD & 1:
        checksum = checksum_field(block, reference)
        if checksum is None:
            return None
        block[148:156] = checksum
    return bytes(block)


@lru_cache(maxsize=1024)
def _places(shape: int) -> tuple[tuple[int, int], ...]:
    """Return the start and end of each field that a shape changes."""
    return tuple((field.start, field.end) for bit, field in enumerate(FIELDS) if shape >> bit & 1)


def _changed(reference: bytes, block: bytes) -> Iterator[tuple[int, Field]]:
    """Yield all fields of those groups of adjacent fields in which the blocks differ."""
    for start, end, fields in _STRETCHES:
        if reference[start:end] != block[start:end]:
            yield from fields


_STRETCHES = tuple(
    (FIELDS[first].start, FIELDS[last - 1].end, tuple(enumerate(FIELDS))[first:last])
    for first, last in ((0, 4), (4, 7), (7, len(FIELDS)))
)


@lru_cache(maxsize=8192)
def _time_edit(reference: bytes, field: bytes) -> HeaderEdit | None:
    """Return the edit that turns the time field ``reference`` into ``field``.

    Return None if the fields are equal, or if no number produces the new field.
    """
    value = read_number(field)
    is_number = reference != field and value is not None and _number_field(reference, value) == field
    return HeaderEdit(1 << MTIME_FIELD, (value,)) if is_number and value is not None else None


def find_edit(reference: bytes, block: bytes) -> HeaderEdit | None:
    """Return the smallest edit from ``reference`` to ``block``.

    Return None if no edit produces ``block``, for example because of an unusual size field.
    """
    if reference == block:
        return UNCHANGED
    if reference[: MTIME.start] == block[: MTIME.start] and reference[CHKSUM.end :] == block[CHKSUM.end :]:
        edit = _time_edit(reference[MTIME.start : MTIME.end], block[MTIME.start : MTIME.end])
        if edit and checksum_field(bytearray(block), reference) == block[CHKSUM.start : CHKSUM.end]:
            return edit
    shape = 0
    values: list[tuple[int, int | bytes]] = []
    for index, field in _changed(reference, block):
        old, new = reference[field.start : field.end], block[field.start : field.end]
        if old == new or index == CHKSUM_FIELD:
            continue
        shape |= 1 << index
        style = number_style(old) if field.numeric else None
        value = read_number(new) if style else None
        if style and value is not None and style.format(value) == new:
            values.append((index, value))
            continue
        if index == SIZE_FIELD:
            return None
        shape |= 1 << index + RAW_SHIFT
        text = new.rstrip(b"\0")
        values.append((index, text))
    edit = HeaderEdit(shape, tuple(value for _, value in values))
    if apply_edit(reference, *edit) == block:
        return edit
    shape |= 1 << CHKSUM_FIELD | 1 << CHKSUM_FIELD + RAW_SHIFT
    values.append((CHKSUM_FIELD, block[148:156].rstrip(b"\0")))
    edit = HeaderEdit(shape, tuple(value for _, value in sorted(values, key=lambda pair: pair[0])))
    return edit if apply_edit(reference, *edit) == block else None

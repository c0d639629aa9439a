"""Which base objects a target needs, and which targets before it make some of them.

Objects are sets of bits here: a bundle may have a thousand targets that use sixty thousand objects each.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Final

from dibundle.errors import BundleError
from dibundle.files.digest import SIZE, nth
from dibundle.format import messages
from dibundle.format.constants import OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE, OP_SEEK
from dibundle.format.manifest import Manifest
from dibundle.format.tables import FrameTable
from dibundle.format.wire import Column

_TAKE = bytes((OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE))


def objects_used(manifest: Manifest, number: int) -> set[int]:
    """Return the numbers of the objects that target ``number`` takes something from."""
    return set(members(uses(manifest, number)))


def uses(manifest: Manifest, number: int, *, malformed: int | None = None) -> int:
    """Return the objects that target ``number`` takes something from, as bits; worked out once.

    Of a program that is malformed, :class:`BundleError` or ``malformed``.
    """
    known = manifest.uses.get(number)
    if known is None:
        try:
            known = _uses(manifest, number)
        except BundleError as error:
            known = error
        manifest.uses[number] = known
    if isinstance(known, BundleError):
        if malformed is None:
            raise known.with_traceback(None)
        return malformed
    return known


def _uses(manifest: Manifest, number: int) -> int:
    target = manifest.targets[number]
    columns = target.columns
    _check_seeks(columns.ops.data, columns.seek_object)
    used = _numbers(columns.seek_object)
    if manifest.objects and any(op in columns.ops.data.partition(bytes((OP_SEEK,)))[0] for op in _TAKE):
        used.add(0)  # where the cursor stands at first
    first = sum(before.frames for before in manifest.targets[:number])
    table = FrameTable.of(manifest.frames)
    used.update(table.ranges.objects[table.firsts[first] : table.firsts[first + target.frames]])
    return bits_of(item for item in used if item < len(manifest.objects))


def _check_seeks(ops: bytes, column: Column) -> None:
    """Refuse a column of objects that has not one for each seek, before it is read: it may be as large as a manifest.

    A walk finds the same, and two seeks in a row, but much later.
    """
    seeks = ops.count(OP_SEEK)
    numbers = column.count()
    if numbers > seeks:
        raise BundleError(messages.MANIFEST_COLUMN_LEFT, subject=column.what)
    if numbers < seeks:
        raise BundleError(messages.MANIFEST_COLUMN_TRUNCATED, subject=column.what)
    if bytes((OP_SEEK, OP_SEEK)) in ops:
        raise BundleError(messages.PROGRAM_SEEK_AFTER_SEEK)


def _numbers(column: Column) -> set[int]:
    """Return the numbers in a column, each once; a column of a million of them is read a stretch at a time."""
    if column.data.isascii():  # one byte for each
        return set(column.data)
    found: set[bytes] = set()
    at, data = 0, column.data
    while at < len(data):
        part = data[at : at + _STRETCH]
        stretch = _NUMBER.findall(part)
        whole = b"".join(stretch)
        if not stretch or not part.startswith(whole):
            raise BundleError(messages.MANIFEST_COLUMN_NUMBER, subject=column.what)
        found.update(item for item in set(stretch) if len(item) <= _LONGEST)  # a walk refuses those beyond all objects
        at += len(whole)
    return {Column(item, column.what).next() for item in found}


_NUMBER: Final = re.compile(rb"[\x80-\xff]{0,8}[\x00-\x7f]")  # of nine bytes at most: more would take time squared
_STRETCH: Final = 1 << 20
_LONGEST: Final = 3  # bytes of the number of an object


def bits_of(members: Iterable[int]) -> int:
    """Return a set of small numbers as bits."""
    found = bytearray(1)
    for item in members:
        if item >> 3 >= len(found):
            found += bytes((item >> 3) + 1)
        found[item >> 3] |= 1 << (item & 7)
    return int.from_bytes(found, "little")


def members(bits: int) -> list[int]:
    """Return the numbers in a set of bits, ascending."""
    found: list[int] = []
    for place, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        if byte:
            found += [8 * place + bit for bit in _IN_BYTE[byte]]
    return found


_IN_BYTE: Final = [[bit for bit in range(8) if byte >> bit & 1] for byte in range(256)]


def used_by(manifest: Manifest, targets: Iterable[int]) -> int:
    """Return the objects that some targets use together, as bits."""
    return reduce(or_, (uses(manifest, number) for number in targets), 0)


class Sums:
    """Adds up numbers of objects, such as sizes, for any set of them: that takes no step for each object.

    For each bit of the numbers there is the set of the objects that have it.
    """

    def __init__(self, numbers: Mapping[int, int]) -> None:
        places = range(max(numbers.values(), default=0).bit_length())
        self._sets = [bits_of(item for item, number in numbers.items() if number >> place & 1) for place in places]

    def of(self, items: int) -> int:
        """Return the sum for a set of objects (bits)."""
        return sum((having & items).bit_count() << place for place, having in enumerate(self._sets))


def still_needed(manifest: Manifest, order: Collection[int], missing: int) -> list[int]:
    """Return the targets in ``order`` after which others there still use some of the ``missing`` objects (bits)."""
    found, later = [], 0
    for number in sorted(order, reverse=True):
        if later & missing:
            found.append(number)
        later |= uses(manifest, number)
    return found


class LastUses:
    """Which objects the targets to be made, in ``order``, still use after one of them: a number for each object."""

    def __init__(self, manifest: Manifest, order: Iterable[int]) -> None:
        self._last = array("i", [-1]) * len(manifest.objects)
        seen = 0
        for number in sorted(order, reverse=True):
            used = uses(manifest, number)
            for item in members(used & ~seen):
                self._last[item] = number
            seen |= used

    def after(self, number: int, among: Iterable[int]) -> list[int]:
        """Return those of some objects that targets after ``number`` use."""
        return [item for item in among if self._last[item] > number]


class Order:
    """Which targets are to be made so that others can be; ``missing`` objects are in no base.

    For an object, that is the first target before with a segment of its digest; where there is none, all before: it may
    be the content of a compressed layer of any.
    """

    def __init__(self, manifest: Manifest, missing: Collection[int]) -> None:
        self._manifest = manifest
        self._missing = bits_of(missing)
        self._holders = _holders(manifest, {manifest.objects[item].digest for item in missing})
        self._first: dict[int, int] = {}  # as bits, the targets to be made just before one

    def of(self, wanted: Collection[int]) -> list[int]:
        """Return the targets to make for those ``wanted``, in order."""
        todo = bits_of(wanted)
        for number in range(max(wanted, default=0), 0, -1):
            if todo >> number & 1:
                before = self._before(number)
                todo |= before
                if before == (1 << number) - 1:
                    break  # nothing is left to find out
        return members(todo)

    def _before(self, number: int) -> int:
        known = self._first.get(number)
        if known is None:
            known = 0
            for item in members(uses(self._manifest, number) & self._missing):
                holder = self._holders.get(self._manifest.objects[item].digest, number)
                if holder >= number:
                    known = (1 << number) - 1
                    break
                known |= 1 << holder
            self._first[number] = known
        return known


def _holders(manifest: Manifest, wanted: Collection[bytes]) -> dict[bytes, int]:
    """Return for each of the digests ``wanted`` the first target with such a segment, if there is one."""
    found: dict[bytes, int] = {}
    if not wanted:
        return found
    for index, target in enumerate(manifest.targets):
        digests = target.own_digests()
        for own in range(len(digests) // SIZE):
            digest = nth(digests, own)
            if digest in wanted:
                found.setdefault(digest, index)
    return found

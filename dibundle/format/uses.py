"""The base objects that a target needs, and the earlier targets that contain some of these objects.

A set of objects is stored as bits of an integer. A bundle may have a thousand targets, and each target may use sixty
thousand objects.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Final

from dibundle.errors import BundleError
from dibundle.format import messages
from dibundle.format.constants import OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE, OP_SEEK
from dibundle.format.manifest import Manifest
from dibundle.format.tables import FrameTable
from dibundle.format.wire import Column

_TAKE = bytes((OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE))


def objects_used(manifest: Manifest, number: int) -> set[int]:
    """Return the indexes of the objects that the target with the index ``number`` uses."""
    return set(members(uses(manifest, number)))


def uses(manifest: Manifest, number: int, *, malformed: int | None = None) -> int:
    """Return, as bits, the objects that the target with the index ``number`` uses. The result is cached.

    If the program is malformed, return ``malformed``. If ``malformed`` is None, raise :class:`BundleError` instead.
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
        used.add(0)  # the cursor starts at object 0
    first = sum(before.frames for before in manifest.targets[:number])
    table = FrameTable.of(manifest.frames)
    used.update(table.ranges.objects[table.firsts[first] : table.firsts[first + target.frames]])
    return bits_of(item for item in used if item < len(manifest.objects))


def _check_seeks(ops: bytes, column: Column) -> None:
    """Refuse two consecutive seeks. Also refuse a column of objects if its length differs from the number of seeks.

    This check runs before the column is read, because the column may be as large as a manifest.
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
    """Return the set of numbers in a column. Read the column piece by piece, because it may have a million numbers."""
    if column.data.isascii():  # every number has one byte
        return set(column.data)
    found: set[bytes] = set()
    at, data = 0, column.data
    while at < len(data):
        part = data[at : at + _STRETCH]
        stretch = _NUMBER.findall(part)
        whole = b"".join(stretch)
        if not stretch or not part.startswith(whole):
            raise BundleError(messages.MANIFEST_COLUMN_NUMBER, subject=column.what)
        found.update(item for item in set(stretch) if len(item) <= _LONGEST)  # a walk refuses longer numbers
        at += len(whole)
    return {Column(item, column.what).next() for item in found}


# a number has at most nine bytes; without this limit, the search would take quadratic time
_NUMBER: Final = re.compile(rb"[\x80-\xff]{0,8}[\x00-\x7f]")
_STRETCH: Final = 1 << 20
_LONGEST: Final = 3  # maximum bytes of an object's number


def bits_of(members: Iterable[int]) -> int:
    """Return a set of small numbers as bits."""
    found = bytearray(1)
    for item in members:
        if item >> 3 >= len(found):
            found += bytes((item >> 3) + 1)
        found[item >> 3] |= 1 << (item & 7)
    return int.from_bytes(found, "little")


def members(bits: int) -> list[int]:
    """Return the numbers in a set of bits in ascending order."""
    found: list[int] = []
    for place, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        if byte:
            found += [8 * place + bit for bit in _IN_BYTE[byte]]
    return found


_IN_BYTE: Final = [[bit for bit in range(8) if byte >> bit & 1] for byte in range(256)]


def used_by(manifest: Manifest, targets: Iterable[int]) -> int:
    """Return, as bits, the objects that the given targets use."""
    return reduce(or_, (uses(manifest, number) for number in targets), 0)


class Sums:
    """Fast sums over sets of objects, for example over their sizes, without a loop over the objects.

    Each object has a number. For each bit position, this class keeps the set of objects whose number has this bit.
    """

    def __init__(self, numbers: Mapping[int, int]) -> None:
        places = range(max(numbers.values(), default=0).bit_length())
        self._sets = [bits_of(item for item, number in numbers.items() if number >> place & 1) for place in places]

    def of(self, items: int) -> int:
        """Return the sum for a set of objects (bits)."""
        return sum((having & items).bit_count() << place for place, having in enumerate(self._sets))


class Order:
    """The order of targets. If objects are ``missing`` in all bases, some targets must be rebuilt before other targets.

    A missing object is read from its place in an earlier target. If no earlier target has a missing object, the object
    counts as lacking.
    """

    def __init__(self, manifest: Manifest, missing: Iterable[int]) -> None:
        self._manifest = manifest
        self._missing = bits_of(missing)
        self._placed = _placed(manifest, self._missing)
        self._holding = sorted(self._placed)  # the targets that contain missing objects
        self._absent = [self._missing]  # item n has the missing objects that are not in the first n targets of _holding
        for target in self._holding:
            self._absent.append(self._absent[-1] & ~self._placed[target])
        self._before: dict[int, int] = {}

    def of(self, wanted: Collection[int]) -> list[int]:
        """Return, in order, the targets that must be rebuilt to get the ``wanted`` targets."""
        todo = bits_of(wanted)
        for number in range(max(wanted, default=0), 0, -1):
            if todo >> number & 1:
                todo |= self._read(number)
        return members(todo)

    def kept(self, order: Iterable[int]) -> int:
        """Return, as bits, the targets from which the targets in ``order`` read objects."""
        return reduce(or_, (self._read(number) for number in order), 0)

    def lacking(self, number: int) -> int:
        """Return, as bits, the objects of a target that are in no base and in no earlier target."""
        return uses(self._manifest, number) & self._absent[bisect_left(self._holding, number)]

    def _read(self, number: int) -> int:
        """Return, as bits, the earlier targets from which a target reads objects."""
        known = self._before.get(number)
        if known is None:
            known = 0
            left = uses(self._manifest, number) & self._missing & ~self.lacking(number)
            while left:
                place = self._manifest.objects[left.bit_length() - 1].place
                assert place
                known |= 1 << place.target
                left &= ~self._placed[place.target]
            self._before[number] = known
        return known


def _placed(manifest: Manifest, among: int) -> dict[int, int]:
    """Return, by target, the objects of ``among`` that the target contains. Objects are given as bits."""
    found: dict[int, list[int]] = {}
    for number in members(among):
        if place := manifest.objects[number].place:
            found.setdefault(place.target, []).append(number)
    return {target: bits_of(numbers) for target, numbers in found.items()}

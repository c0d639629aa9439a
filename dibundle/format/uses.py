"""Which base objects a target needs, and which targets before it make some of them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable
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
    target = manifest.targets[number]
    used = _numbers(target.columns.seek_object)
    if manifest.objects and any(op in target.columns.ops.data.partition(bytes((OP_SEEK,)))[0] for op in _TAKE):
        used.add(0)  # where the cursor stands at first
    first = sum(before.frames for before in manifest.targets[:number])
    table = FrameTable.of(manifest.frames)
    used.update(table.ranges.objects[table.firsts[first] : table.firsts[first + target.frames]])
    return {item for item in used if item < len(manifest.objects)}


def _numbers(column: Column) -> set[int]:
    """Return the numbers in a column, each once; a column of a million of them is read a stretch at a time."""
    found: set[bytes] = set()
    at, data = 0, column.data
    while at < len(data):
        part = data[at : at + _STRETCH]
        stretch = _NUMBER.findall(part)
        whole = b"".join(stretch)
        if not stretch or not part.startswith(whole):
            raise BundleError(messages.MANIFEST_COLUMN_NUMBER, subject=column.what)
        found.update(stretch)
        at += len(whole)
    return {Column(item, column.what).next() for item in found}


_NUMBER: Final = re.compile(rb"[\x80-\xff]{0,8}[\x00-\x7f]")  # of nine bytes at most: more would take time squared
_STRETCH: Final = 1 << 20


class LastUses:
    """Which objects the targets to be made, in ``order``, still use after one of them: a number for each object."""

    def __init__(self, manifest: Manifest, order: Iterable[int]) -> None:
        self._last = array("i", [-1]) * len(manifest.objects)
        for number in order:
            for item in objects_used(manifest, number):
                self._last[item] = number

    def after(self, number: int, among: Iterable[int]) -> list[int]:
        """Return those of some objects that targets after ``number`` use."""
        return [item for item in among if self._last[item] > number]


def order(manifest: Manifest, wanted: Collection[int], missing: Collection[int]) -> list[int]:
    """Return the targets to make, in order, so that those ``wanted`` can be; ``missing`` objects are in no base.

    For an object, that is the first target before with a segment of its digest; where there is none, all before: it may
    be the content of a compressed layer of any.
    """
    todo = set(wanted)
    holders = _holders(manifest, {manifest.objects[item].digest for item in missing})
    for number in range(len(manifest.targets) - 1, 0, -1):
        if number not in todo:
            continue
        for item in objects_used(manifest, number).intersection(missing):
            holder = holders.get(manifest.objects[item].digest, number)
            if holder >= number:
                todo.update(range(number))
                return sorted(todo)  # all before: nothing is left to find out
            todo.add(holder)
    return sorted(todo)


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

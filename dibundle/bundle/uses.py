"""Which base objects a target needs, and which targets before it make some of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dibundle.bundle.constants import OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE, OP_SEEK
from dibundle.bundle.manifest import Manifest

_TAKE = bytes((OP_KEEP, OP_MODE, OP_PATCH, OP_REPLACE))


def objects_used(manifest: Manifest, number: int) -> set[int]:
    """Return the numbers of the objects that target ``number`` takes something from."""
    target = manifest.targets[number]
    used: set[int] = set()
    column = target.columns.seek_object.rewound()
    while column.position < len(column.data):
        used.add(column.next())
    if manifest.objects and any(op in _TAKE for op in target.columns.ops.data.partition(bytes((OP_SEEK,)))[0]):
        used.add(0)  # where the cursor stands at first
    first = sum(before.frames for before in manifest.targets[:number])
    for frame in manifest.frames[first : first + target.frames]:
        used.update(source.object for source in frame.sources)
    return {item for item in used if item < len(manifest.objects)}


def makers(manifest: Manifest, number: int, objects: Iterable[int]) -> set[int]:
    """Return the targets before ``number`` that are to be made first so that they serve for ``objects``.

    A target holds what one of its segments is; what none is may be the content of a compressed layer of any.
    """
    found: set[int] = set()
    for item in objects:
        digest = manifest.objects[item].digest
        holder = next(
            (
                index
                for index, target in enumerate(manifest.targets[:number])
                if any(segment.digest == digest for segment in target.segments)
            ),
            None,
        )
        found.update(range(number) if holder is None else (holder,))
    return found


def order(manifest: Manifest, wanted: Collection[int], missing: Collection[int]) -> list[int]:
    """Return the targets to make, in order, so that those ``wanted`` can be; ``missing`` objects are in no base."""
    todo = set(wanted)
    for number in range(len(manifest.targets) - 1, 0, -1):
        if number in todo:
            todo |= makers(manifest, number, objects_used(manifest, number).intersection(missing))
    return sorted(todo)

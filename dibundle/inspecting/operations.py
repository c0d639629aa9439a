"""The content of a bundle: its base images, targets, operations per path, and the use of its bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, TypeVar

from dibundle.applying.base_store import BaseObjects
from dibundle.codecs import decoders
from dibundle.codecs.excess import Excess
from dibundle.format.constants import FRAME_COST, KIND_LAYER, STREAMS, TEXT_STREAM
from dibundle.format.manifest import Manifest
from dibundle.format.outline import ListingError, Operation, cut_path, outline
from dibundle.format.reader import BundleReader
from dibundle.format.tables import FrameTable
from dibundle.format.uses import objects_used
from dibundle.images.tar.entries import MAX_ENTRIES, MAX_ENTRY_NAMES, Entry, TarIndex, scan, scan_all
from dibundle.inspecting import messages
from dibundle.inspecting.costs import Shares

MAX_LINES: Final = 1 << 19
MAX_TEXT: Final = 64 << 20
"""The maximum number of decoded bytes of text and of its sources. Bytes of slow codecs count several times."""
MAX_NAMES: Final = 96 << 20
"""The maximum number of bytes of the paths and layer names on all lines, including repeated names.

If layers have a digest as a name, this allows paths of 100 bytes on the maximum number of lines.
"""
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b'"&<>\\'))
_ESCAPED: Final = 4
"""The weight of a byte outside of ``_PLAIN``. --json or a page may write such a byte as 7 bytes.

Escaping such a byte takes 70 ns, so all lines take less than 2 s.
"""
_SLOW: Final = frozenset({decoders.COVER, decoders.RELINK, decoders.UNPACK})
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a listing.

    A line stands for ``count`` entries with the same kind of change, or for a single path with its sizes in bytes.
    ``stored`` is the approximate size of the line's content in the bundle: its share of the frames with this content.
    ``layer`` is the name of the outer member that has the path. A path of more than 4,096 bytes is shortened, and ends
    with dots. ``target`` is the target of a symbolic link. ``old_target`` is the link's old target, if known.
    """

    operation: str
    count: int = 1
    path: bytes | None = None
    size: int | None = None
    old_size: int | None = None
    stored: int = 0
    layer: bytes | None = None
    target: bytes | None = None
    old_target: bytes | None = None


@dataclass(slots=True, kw_only=True)
class LayerLine:
    """A line for a member of the archive: the number of entries for each operation, and sizes in bytes."""

    path: bytes
    size: int | None
    stored: int = 0
    kept: int = 0
    operations: dict[str, int] = field(default_factory=dict)


def _bounded(lines: Iterable[_T]) -> Iterator[_T]:
    """Yield lines or operations. Raise :class:`ListingError` if there are too many for a listing."""
    for number, line in enumerate(lines):
        if number == MAX_LINES:
            raise ListingError(messages.LIMIT_LINES, max_lines=MAX_LINES)
        yield line


def _written(name: bytes | None) -> int:
    """Estimate the number of bytes that a name takes when it is displayed."""
    return len(name) + (_ESCAPED - 1) * len(name.translate(None, _PLAIN)) if name else 0


def _listed(lines: Iterable[Line]) -> list[Line]:
    """Return lines. Raise :class:`ListingError` if there are too many lines, or if all names together are too long."""
    left = MAX_NAMES
    found = []
    for line in _bounded(lines):
        left -= _written(line.path) + _written(line.layer)
        if left < 0:
            raise ListingError(messages.LIMIT_TEXT, max_text=MAX_NAMES >> 20)
        found.append(line)
    return found


def text_of(bundle: BundleReader, number: int = 0) -> bytes | None:
    """Read all frames of a target. Return the decoded text stream, which has the names of added paths.

    Return None if decoding the stream needs a base.
    """
    manifest = bundle.manifest
    target = manifest.targets[number]
    frames = _frames_of(manifest, number)
    wanted = _text_frames(manifest, frames)
    hex_digits = target.digest_text() if wanted else b""
    excess = Excess()
    parts = []
    bundle.skip_to(number)
    for index in frames:
        frame, stored = bundle.frame()
        if wanted and index in wanted:
            source = b"".join(hex_digits[item.offset : item.offset + item.length] for item in frame.sources)
            parts.append(decoders.decode(frame.codec, stored, source, frame.size, manifest.reencoders, excess))
    return b"".join(parts) if wanted is not None else None


def _frames_of(manifest: Manifest, number: int) -> range:
    """Return the numbers of a target's frames."""
    first = sum(before.frames for before in manifest.targets[:number])
    return range(first, first + manifest.targets[number].frames)


def _text_frames(manifest: Manifest, frames: range) -> Collection[int] | None:
    """Return the frames of the text stream. Return None if a frame needs a base.

    Raises :class:`ListingError` if decoding the frames would take too long.
    """
    table = FrameTable.of(manifest.frames)
    found = {index for index in frames if table.streams[index] == TEXT_STREAM}
    for index in found:
        if any(
            item != len(manifest.objects)
            for item in table.ranges.objects[table.firsts[index] : table.firsts[index + 1]]
        ):
            return None
    work = sum(_work(table.sizes[n] + table.source_sizes[n], table.codecs[n]) for n in found)
    if work > MAX_TEXT:
        raise ListingError(messages.LIMIT_TEXT, max_text=MAX_TEXT >> 20)
    return found


def _work(size: int, codec: int) -> int:
    """Return the estimated work of decoding a frame with ``size`` bytes of content and source.

    For slow codecs, the work includes filling tables.
    """
    return FRAME_COST + (8 * size if codec in _SLOW else size)


def listing(
    bundle: BundleReader, number: int = 0, base: BaseObjects | None = None, *, limited: bool = False
) -> list[Line]:
    """Return the operations of a target for each path, in the archive's order.

    Deletions come last. This function reads the frames. Without a base, a run of entries with the same kind of change
    is one line, and the sizes of patched files are unknown. With a base, every path has its own line. Before this call,
    call ``base.prepare`` with the objects that the target uses. ``limited`` is true if the user did not name the base.
    Such a base is not used if its layers have too many entries.
    """
    manifest = bundle.manifest
    target = manifest.targets[number]
    indexes = _indexes(manifest, number, base, limited=limited) if base else None
    base = base if indexes is not None else None
    text = text_of(bundle, number)
    sizes = manifest.object_sizes
    operations = list(_bounded(outline(target.columns, text, base, sizes if base else None)))
    shares = Shares(FrameTable.of(manifest.frames), _frames_of(manifest, number), operations)
    if indexes is not None:
        return _listed(_every_path(indexes, operations, shares))
    names = manifest.names
    deleted = (Line(operation="delete", path=cut_path(path)) for path in (names.deleted[number] if names else ()))
    return _listed(chain(_with_runs(operations, shares, names.patched[number] if names else ()), deleted))


def _with_runs(operations: Sequence[Operation], shares: Shares, patched: Sequence[bytes]) -> Iterator[Line]:
    """Yield lines.

    Between two named paths, there is one line for the kept entries, and one line for the entries with new metadata.
    """
    names = iter(patched)
    runs = {"keep": 0, "mode": 0}
    layer = None
    for operation in operations:
        if operation.kind in runs:
            runs[operation.kind] += operation.count
            continue
        if operation.kind == "member":
            yield from _run_lines(runs, layer)
            layer = operation.path
        yield from _run_lines(runs, layer)
        if operation.kind == "patch":
            path = next(names, None)
            # an empty name means an extension header, which belongs to the following entry
            yield _line(operation if path != b"" else replace(operation, kind="raw"), shares, path or None, layer)
        else:
            yield _line(operation, shares, operation.path, layer)
    yield from _run_lines(runs, layer)


def _line(operation: Operation, shares: Shares, path: bytes | None, layer: bytes | None) -> Line:
    if operation.kind == "raw" and path is None:
        path = layer  # bytes without a separate operation belong to a whole member, for example a config or a manifest
    return Line(
        operation="patch" if operation.kind == "replace" else operation.kind,
        count=operation.count,
        path=cut_path(path) if path else path,
        size=operation.size,
        old_size=operation.size if operation.kind in ("mode", "symlink") and operation.place else operation.old_size,
        stored=shares.cost(operation),
        layer=layer,
        target=operation.target,
        old_target=operation.old_target,
    )


def _run_lines(runs: dict[str, int], layer: bytes | None) -> Iterator[Line]:
    for kind, count in runs.items():
        if count:
            yield Line(operation=kind, count=count, layer=layer)
            runs[kind] = 0


def _indexes(manifest: Manifest, number: int, base: BaseObjects, *, limited: bool) -> dict[int, TarIndex] | None:
    """Return indexes of the base layers that a target uses, by object.

    Return None if the layers have too many entries.
    """
    used = objects_used(manifest, number)
    layers = [index for index, item in enumerate(manifest.objects) if item.kind == KIND_LAYER and index in used]
    if not limited:
        return {index: scan(base.source(index)) for index in layers}
    found = scan_all(map(base.source, layers), MAX_ENTRIES, MAX_ENTRY_NAMES)
    return None if found is None else dict(zip(layers, found, strict=True))


def _every_path(indexes: dict[int, TarIndex], operations: Sequence[Operation], shares: Shares) -> Iterator[Line]:
    entries = _BaseEntries(indexes)
    live: set[bytes] = set()
    layer = None
    for operation in operations:
        layer = operation.path if operation.kind == "member" else layer
        for line in entries.lines(operation, shares, layer):
            live.add((line.path or b"").rstrip(b"/"))
            yield line
    for entry in entries.unused(live):
        yield Line(operation="delete", path=entry.path, old_size=entry.size)


class _BaseEntries:
    """The entries of the base's layers, by the positions of their blocks.

    Long paths are shortened as in the lines of a listing.
    """

    def __init__(self, indexes: dict[int, TarIndex]) -> None:
        self._by_start: dict[tuple[int, int], Entry] = {}
        self._by_header: dict[tuple[int, int], Entry] = {}
        for number, index in indexes.items():
            for found in index.entries:
                path = cut_path(found.path)
                entry = found if path is found.path else found._replace(path=path)
                self._by_start[number, entry.start] = entry
                self._by_header[number, entry.header] = entry

    def lines(self, operation: Operation, shares: Shares, layer: bytes | None) -> Iterator[Line]:
        """Yield the lines of an operation. A kept range gives a line for each entry."""
        if operation.kind == "keep" and operation.place:
            number, at = operation.place
            end = at + operation.count
            while at < end and (entry := self._by_start.get((number, at))):
                yield Line(operation="keep", path=entry.path, size=entry.size, old_size=entry.size, layer=layer)
                at = entry.end
            return
        path = operation.path
        if operation.place and (entry := self._by_header.get(operation.place)) and len(entry.path) > 99:
            path = entry.path
        yield _line(operation, shares, path, layer)

    def unused(self, live: set[bytes]) -> list[Entry]:
        """Return the base's entries whose paths are not among ``live``."""
        found = {entry.path: entry for entry in self._by_start.values() if entry.path.rstrip(b"/") not in live}
        return [found[path] for path in sorted(found)]


def layers_of(lines: Iterable[Line]) -> list[LayerLine]:
    """Return the archive's members that have lines, each with the totals of its lines."""
    found: dict[bytes, LayerLine] = {}
    for line in lines:
        if line.layer is None:
            continue
        layer = found.setdefault(line.layer, LayerLine(path=line.layer, size=None))
        if line.operation == "member":
            layer.size = line.size
            continue
        layer.stored += line.stored
        if line.operation == "keep" and line.path is None:
            layer.kept += line.count
        elif line.operation != "raw":
            layer.operations[line.operation] = layer.operations.get(line.operation, 0) + line.count
    return [layer for layer in found.values() if layer.operations or layer.kept]


def stored_by_kind(manifest: Manifest) -> list[tuple[str, int, int]]:
    """Return (kind, bytes stored, bytes decoded) for each kind of frame. The largest kind comes first."""
    totals: dict[str, list[int]] = {}
    table = FrameTable.of(manifest.frames)
    for stream, codec, stored, size in zip(table.streams, table.codecs, table.stored, table.sizes, strict=True):
        kind = _KINDS[stream][codec]
        total = totals.setdefault(kind, [0, 0])
        total[0] += stored
        total[1] += size
    return sorted(((kind, stored, made) for kind, (stored, made) in totals.items()), key=lambda row: -row[1])


_STREAM_NAMES = {
    0: "names and headers",
    1: "patches of small files",
    2: "added content",
    3: "patches of large files",
    4: "configs and manifests",
}
_KINDS: Final = [
    {codec: f"{_STREAM_NAMES.get(stream, 'other')} ({name})" for codec, name in decoders.NAMES.items()}
    for stream in range(STREAMS)
]

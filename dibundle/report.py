"""What a bundle says about itself: what it needs, what it makes, the operations per path, where its bytes go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dibundle.archive.tar import Entry, scan
from dibundle.bundle.constants import KIND_LAYER, TEXT_STREAM
from dibundle.bundle.manifest import Manifest
from dibundle.bundle.outline import Operation, outline
from dibundle.bundle.reader import BundleReader
from dibundle.delta import codecs
from dibundle.image.serve import BaseObjects


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a listing: ``count`` entries that change alike, or one path with its new size in bytes."""

    operation: str
    count: int
    path: bytes | None
    size: int | None


def text_of(bundle: BundleReader) -> bytes | None:
    """Return the decoded text stream of the first target, which names what is added; reads all frames.

    None where it takes a base to decode it.
    """
    manifest = bundle.manifest
    target = manifest.targets[0]
    hex_digits = target.digest_text()
    parts = []
    readable = True
    for _ in range(target.frames):
        frame, stored = bundle.frame()
        if frame.stream != TEXT_STREAM:
            continue
        if any(item.object != len(manifest.objects) for item in frame.sources):
            readable = False
            continue
        source = b"".join(hex_digits[item.offset : item.offset + item.length] for item in frame.sources)
        parts.append(codecs.decode(frame.codec, stored, source, frame.size, manifest.reencoders))
    return b"".join(parts) if readable else None


def listing(bundle: BundleReader) -> Iterator[Line]:
    """Yield the operations per path of the first target, runs that change alike as one line; no base is needed."""
    manifest = bundle.manifest
    text = text_of(bundle)
    names = manifest.names
    patched = iter(names.patched[0] if names else ())
    runs = {"keep": 0, "mode": 0}
    for operation in outline(manifest.targets[0].columns, text):
        if operation.kind in runs:
            runs[operation.kind] += operation.count
            continue
        yield from _run_lines(runs)
        if operation.kind == "patch":
            name = next(patched, None)
            if name != b"":  # an extension header of the entry that follows
                yield Line(operation="patch", count=1, path=name, size=None)
        else:
            yield Line(operation=operation.kind, count=operation.count, path=operation.path, size=operation.size)
    yield from _run_lines(runs)
    for path in names.deleted[0] if names else ():
        yield Line(operation="delete", count=1, path=path, size=None)


def _run_lines(runs: dict[str, int]) -> Iterator[Line]:
    """Yield a line for what was kept and one for what changed in metadata alone since the last named path."""
    for kind, count in runs.items():
        if count:
            yield Line(operation=kind, count=count, path=None, size=None)
            runs[kind] = 0


def listing_with_base(bundle: BundleReader, base: BaseObjects) -> Iterator[Line]:
    """Yield one line for every path, deletions included, with names and sizes taken from the base."""
    manifest = bundle.manifest
    text = text_of(bundle)
    sizes = [item.size for item in manifest.objects]
    entries = _BaseEntries(manifest, base)
    live: set[bytes] = set()
    for operation in outline(manifest.targets[0].columns, text, base, sizes):
        for line in entries.lines(operation):
            live.add((line.path or b"").rstrip(b"/"))
            yield line
    for path in entries.unused(live):
        yield Line(operation="delete", count=1, path=path, size=None)


class _BaseEntries:
    """The entries of the base's layers by the place of their blocks."""

    def __init__(self, manifest: Manifest, base: BaseObjects) -> None:
        self._by_start: dict[tuple[int, int], Entry] = {}
        self._by_header: dict[tuple[int, int], Entry] = {}
        for number, item in enumerate(manifest.objects):
            if item.kind != KIND_LAYER:
                continue
            for entry in scan(base.source(number)).entries:
                self._by_start[number, entry.start] = entry
                self._by_header[number, entry.header] = entry

    def lines(self, operation: Operation) -> Iterator[Line]:
        """Yield the lines of an operation: a kept stretch is told entry by entry."""
        if operation.kind == "keep" and operation.place:
            number, at = operation.place
            end = at + operation.count
            while at < end and (entry := self._by_start.get((number, at))):
                yield Line(operation="keep", count=1, path=entry.path, size=entry.size)
                at = entry.end
            return
        path = operation.path
        if operation.place and (entry := self._by_header.get(operation.place)) and len(entry.path) > 99:
            path = entry.path
        yield Line(operation=operation.kind, count=operation.count, path=path, size=operation.size)

    def unused(self, live: set[bytes]) -> list[bytes]:
        """Return the base's paths that are not among ``live``."""
        return sorted({entry.path for entry in self._by_start.values() if entry.path.rstrip(b"/") not in live})


def stored_by_kind(manifest: Manifest) -> list[tuple[str, int, int]]:
    """Return, for each kind of frame, (what it holds, bytes stored, bytes decoded), the largest first."""
    totals: dict[str, list[int]] = {}
    for frame in manifest.frames:
        kind = _STREAM_NAMES.get(frame.stream, "other") + f" ({codecs.NAMES[frame.codec]})"
        total = totals.setdefault(kind, [0, 0])
        total[0] += frame.stored
        total[1] += frame.size
    return sorted(((kind, stored, made) for kind, (stored, made) in totals.items()), key=lambda row: -row[1])


_STREAM_NAMES = {
    0: "names and headers",
    1: "patches of small files",
    2: "added content",
    3: "patches of large files",
    4: "configs and manifests",
}

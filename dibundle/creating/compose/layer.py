"""Operations for the entries of a tar.

The operations keep content that the base has, patch changed content, and add all other content.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from dibundle.creating.compose.frames import ADD_STREAM, LONG_TEXT, FramePlanner, stream_for
from dibundle.creating.compose.objects import ObjectTable
from dibundle.creating.match.base import BaseIndex, Layer, Mark, is_file
from dibundle.creating.match.matcher import Match, Matcher
from dibundle.files.window import Window
from dibundle.format import records
from dibundle.format.constants import TEXT_STREAM
from dibundle.format.program_writer import ProgramWriter
from dibundle.format.records import BLOCK, padded
from dibundle.format.steps import REGISTER_RECORD, Copy
from dibundle.images.tar.entries import Entry

LONGEST_ZEROS = 1 << 20  # maximum size of a tail for which dib checks whether all bytes are zeros
_MORE = 4  # for each extension header of a new entry, at most this many headers of the base entry are read
REPEAT_FROM = 64  # content of at least this many bytes is written as a repeat when it occurs again


@dataclass(slots=True)
class Counts:
    """The counts of a program's operations, for reports."""

    kept: int = 0
    mode: int = 0
    patched: int = 0
    added: int = 0
    repeated: int = 0
    raw_entries: int = 0
    opaque_layers: int = 0
    layers: int = 0
    names: list[bytes] = field(default_factory=list)  # one name for each patch operation, in order


class _Record(NamedTuple):
    """A header block, its offset, and the size of the content that follows."""

    offset: int
    block: bytes
    size: int

    @property
    def content(self) -> int:
        return self.offset + BLOCK

    @property
    def end(self) -> int:
        return self.content + padded(self.size)

    @property
    def extension(self) -> bool:
        return self.block[156] in b"xgLK"


def _record(offset: int, window: Window) -> _Record:
    block = window.read_at(offset, BLOCK)
    size = records.record_size(block)
    assert size is not None
    return _Record(offset, block, size)


def records_of(entry: Entry, window: Window) -> list[_Record]:
    """Return the records of a plain entry. The records of the entry's extension headers come first."""
    found: list[_Record] = []
    offset = entry.start
    while offset < entry.end:
        found.append(_record(offset, window))
        offset = found[-1].end
    return found


def _base_records(entry: Entry, window: Window, most: int) -> list[_Record]:
    """Return at most ``most`` extension headers of a plain base entry, and then the entry's own record.

    The same base entry may be read for many target entries, and may have any number of extension headers.
    """
    found: list[_Record] = []
    offset = entry.start
    while offset < entry.header and len(found) < most:
        found.append(_record(offset, window))
        offset = found[-1].end
    return [*found, _record(entry.header, window)]


def _tail_size(layer: Layer) -> int:
    return layer.source.size - layer.index.entries_end


class LayerComposer:
    """A writer of the operations that rebuild target layers from one base, one layer after the other."""

    def __init__(
        self,
        writer: ProgramWriter,
        frames: FramePlanner,
        objects: ObjectTable,
        base: BaseIndex,
        matcher: Matcher,
        counts: Counts,
    ) -> None:
        self._writer = writer
        self._frames = frames
        self._objects = objects
        self._base = base
        self._matcher = matcher
        self._counts = counts
        self._windows = [Window(layer.source) for layer in base.layers]
        self._opaque: list[tuple[int, int]] | None = (
            None  # (size of the tail, number) of each base layer without entries
        )
        self._sent: dict[Mark, list[tuple[int, int, int]]] = {}
        self._keep: Copy | None = None

    def compose(self, layer: Layer) -> None:
        """Write the operations for a whole layer, which may have any bytes."""
        self._counts.layers += 1
        self._target = Window(layer.source)
        for number, entry in enumerate(layer.index.entries):
            mark = layer.mark_of(number)
            self._entry(entry, self._matcher.find(layer, entry, mark), mark)
        self._flush_keep()
        self._tail(layer)

    def _tail(self, layer: Layer) -> None:
        """Write the bytes after the last entry.

        Write runs of zeros with the operation ``zero``. Write any other tail as a patch of a base's tail, if possible.
        """
        start, end = layer.index.entries_end, layer.source.size
        if end - start <= LONGEST_ZEROS and not self._target.read_at(start, end - start).strip(b"\0"):
            self._zero(end - start)
            return
        if not layer.index.entries:
            self._counts.opaque_layers += 1
        number = self._counterpart(layer)
        if number is None:
            self._plain_bytes(start, end)
            return
        old = self._base.layers[number]
        source = Copy(self._object(number), old.index.entries_end, old.source.size - old.index.entries_end)
        stream = stream_for(end - start, source.length)
        self._writer.seek(source.object, source.offset)
        self._writer.replace(end - start, source.length, stream)
        self._frames.patch(stream, self._reader(start), end - start, source)

    def _counterpart(self, layer: Layer) -> int | None:
        """Return the base layer whose tail becomes the source of this layer's tail.

        This is the base layer with the most recent match. If that layer has no tail, return the layer of the nearest
        size among the layers without entries.
        """
        layers, expected, size = self._base.layers, self._matcher.expected_layer, layer.source.size
        if layer.index.entries and expected < len(layers) and _tail_size(layers[expected]):
            return expected
        if self._opaque is None:
            found = ((_tail_size(old), number) for number, old in enumerate(layers) if not old.index.entries)
            self._opaque = sorted(item for item in found if item[0])
        above = bisect_left(self._opaque, (size, -1))
        near = self._opaque[above : above + 1]
        if above:  # the first of the layers with the next smaller size
            near.append(self._opaque[bisect_left(self._opaque, (self._opaque[above - 1][0], -1))])
        return min(near, key=lambda item: (abs(item[0] - size), item[1]), default=(0, None))[1]

    def _entry(self, entry: Entry, match: Match | None, mark: Mark | None) -> None:
        old = self._base.entry(match.place) if match else None
        if match and old and match.same and self._keep_or_edit(entry, match, old):
            return
        self._flush_keep()
        # read the records before the padding, because a window only moves forward
        new_records = records_of(entry, self._target) if entry.plain else []
        padding = self._target.read_at(entry.content + entry.size, entry.end - entry.content - entry.size)
        if not new_records or padding.strip(b"\0"):
            self._raw_entry(entry, match, old)
            return
        old_records: list[_Record] = []
        if match and old and old.plain:
            most = _MORE * (len(new_records) - 1)
            old_records = _base_records(old, self._windows[match.place.layer], most)
        layer = match.place.layer if match else 0
        self._extensions(entry, new_records[:-1], old_records[:-1], layer)
        self._main(entry, new_records[-1], old_records[-1] if old_records else None, match, mark)

    def _keep_or_edit(self, entry: Entry, match: Match, old: Entry) -> bool:
        """Write an entry that has the base's content and a single header. Return whether the entry was written.

        Nearly all entries can be written in this way. This method writes the same operations as :meth:`_keep_whole` and
        :meth:`_main`, in a third of the time.
        """
        start, size, layer = entry.start, entry.size, match.place.layer
        if not (entry.plain and old.plain and size == old.size and start == entry.header and old.start == old.header):
            return self._keep_whole(entry, match, old)
        window = self._windows[layer]
        new_block, old_block = self._target.read_at(start, BLOCK), window.read_at(old.start, BLOCK)
        padding = self._target.read_at(start + BLOCK + size, -size % BLOCK)
        if padding.strip(b"\0") or window.read_at(old.start + BLOCK + size, -size % BLOCK) != padding:
            return self._keep_whole(entry, match, old)
        if new_block == old_block:
            self._keep_entry(layer, old.start, BLOCK + padded(size))
            return True
        edit = self._writer.find_edit(old_block, new_block)
        if edit is None or records.record_size(new_block) != size:
            return False
        self._flush_keep()
        self._writer.seek(self._object(layer), old.start)
        self._frames.text(self._writer.mode(edit, new_block, size))
        self._counts.mode += 1
        return True

    def _keep_whole(self, entry: Entry, match: Match, old: Entry) -> bool:
        """Keep an entry if all of its bytes are equal to the base's bytes."""
        if entry.end - entry.start != old.end - old.start or entry.content - entry.start != old.content - old.start:
            return False
        window = self._windows[match.place.layer]
        head = entry.content - entry.start
        if window.read_at(old.start, head) != self._target.read_at(entry.start, head):
            return False
        after = entry.content + entry.size
        if window.read_at(old.content + old.size, old.end - old.content - old.size) != self._target.read_at(
            after, entry.end - after
        ):
            return False
        self._keep_entry(match.place.layer, old.start, entry.end - entry.start)
        return True

    def _keep_entry(self, layer: int, start: int, length: int) -> None:
        """Write an operation that copies ``length`` bytes of a base layer. Adjacent ranges become one operation."""
        index = self._object(layer)
        keep = self._keep
        if keep and keep.object == index and keep.offset + keep.length == start:
            self._keep = Copy(index, keep.offset, keep.length + length)
        else:
            self._flush_keep()
            self._keep = Copy(index, start, length)
        self._counts.kept += 1

    def _flush_keep(self) -> None:
        if self._keep:
            self._copy(self._keep)
            self._keep = None

    def _copy(self, copy: Copy) -> None:
        if copy.length:
            self._writer.seek(copy.object, copy.offset)
            self._writer.keep(copy.length)

    def _object(self, layer: int) -> int:
        return self._objects.layer(self._base.layers[layer])

    def _extensions(self, entry: Entry, new: list[_Record], old: list[_Record], layer: int) -> None:
        """Write the extension headers of an entry. If the base has a counterpart, write an edit of the counterpart."""
        places: dict[int, list[int]] = {}
        for place, item in enumerate(old):
            places.setdefault(item.block[156], []).append(place)
        first = 0
        for record in new:
            alike = places.get(record.block[156], [])
            found = bisect_left(alike, first)
            counterpart = old[alike[found]] if found < len(alike) else None
            first = alike[found] + 1 if counterpart else first
            self._extension(entry, record, counterpart, layer)

    def _extension(self, entry: Entry, record: _Record, old: _Record | None, layer: int) -> None:
        content = self._target.read_at(record.content, record.size)
        padding = self._target.read_at(record.content + record.size, padded(record.size) - record.size)
        if padding.strip(b"\0"):
            self._raw_bytes(record.offset, record.block + content + padding)
            return
        edit = self._writer.find_edit(old.block, record.block) if old else None
        if old and edit is not None:
            offset = old.offset
            old_content = self._windows[layer].read_at(old.content, padded(old.size))
            self._writer.seek(self._object(layer), offset)
            if old.size == record.size and old_content == content + padding:
                self._frames.text(self._writer.mode(edit, record.block, record.size))
                return
            if record.size:
                stream = stream_for(record.size, old.size)
                self._frames.text(self._writer.patch(edit, record.block, old.size, stream))
                self._counts.names.append(b"")
                source = Copy(self._object(layer), old.content, old.size)
                self._frames.patch(stream, self._reader(record.content), record.size, source)
                return
        edit = self._writer.find_edit(self._writer.registers[REGISTER_RECORD], record.block)
        if edit is None:
            self._raw_bytes(record.offset, record.block + content + padding)
        else:
            self._frames.text(self._writer.add(edit, record.block, TEXT_STREAM))
            self._text(record.content, content)

    def _main(self, entry: Entry, record: _Record, old: _Record | None, match: Match | None, mark: Mark | None) -> None:
        edit = self._writer.find_edit(old.block, record.block) if old else None
        if match and old and edit is not None:
            if match.same and old.size == record.size and self._is_padded_with_zeros(old, match.place.layer):
                self._writer.seek(self._object(match.place.layer), old.offset)
                self._frames.text(self._writer.mode(edit, record.block, record.size))
                self._counts.mode += 1
                return
            if not match.same and record.size and old.size:
                if not self._repeat(record, mark):
                    self._patch(entry, record, old, edit, match.place.layer, mark)
                return
        if match and match.same and record.size:
            source = self._base.entry(match.place)
            self._header_from_last(record)
            self._copy(Copy(self._object(match.place.layer), source.content, source.size))
            self._zero(padded(record.size) - record.size)
            self._counts.mode += 1
        elif not self._repeat(record, mark):
            self._add(record, mark)

    def _is_padded_with_zeros(self, old: _Record, layer: int) -> bool:
        """Return whether a base record's padding is all zeros. If so, the padding can be kept with the record."""
        after = old.content + old.size
        return not self._windows[layer].read_at(after, padded(old.size) - old.size).strip(b"\0")

    def _patch(
        self, entry: Entry, record: _Record, old: _Record, edit: records.HeaderEdit, layer: int, mark: Mark | None
    ) -> None:
        index = self._object(layer)
        stream = stream_for(record.size, old.size)
        self._writer.seek(index, old.offset)
        self._frames.text(self._writer.patch(edit, record.block, old.size, stream))
        source = Copy(index, old.content, old.size)
        self._remember(mark, self._frames.patch(stream, self._reader(record.content), record.size, source))
        self._counts.patched += 1
        self._counts.names.append(entry.path)

    def _add(self, record: _Record, mark: Mark | None) -> None:
        self._counts.added += 1
        edit = self._writer.find_edit(self._writer.registers[REGISTER_RECORD], record.block)
        if edit is not None:
            self._frames.text(self._writer.add(edit, record.block, ADD_STREAM))
            self._remember(mark, self._frames.add(self._reader(record.content), record.size))
            return
        self._raw_bytes(record.offset, record.block)
        if record.size:
            self._add_content(record.content, record.size, mark)
            self._zero(padded(record.size) - record.size)

    def _repeat(self, record: _Record, mark: Mark | None) -> bool:
        """If the content occurred earlier in this target, write a repeat of decoded frames, and return True."""
        places = self._sent.get(mark) if mark else None
        if not places or record.size < REPEAT_FROM or not self._frames.keep(places):
            return False
        self._header_from_last(record)
        for frame, offset, length in places:
            self._writer.repeat(length, frame, offset)
        self._zero(padded(record.size) - record.size)
        self._counts.repeated += 1
        return True

    def _remember(self, mark: Mark | None, places: list[tuple[int, int, int]]) -> None:
        if mark:
            self._sent.setdefault(mark, places)

    def _header_from_last(self, record: _Record) -> None:
        edit = self._writer.find_edit(self._writer.registers[REGISTER_RECORD], record.block)
        if edit is None:
            self._raw_bytes(record.offset, record.block)
        else:
            self._frames.text(self._writer.header(edit, record.block, REGISTER_RECORD))

    def _add_content(self, offset: int, size: int, mark: Mark | None) -> None:
        self._writer.raw(size, ADD_STREAM)
        self._remember(mark, self._frames.add(self._reader(offset), size))

    def _raw_bytes(self, offset: int, data: bytes) -> None:
        """Write the bytes at ``offset`` unchanged, as part of the text."""
        if data:
            self._writer.raw(len(data), 0)
            self._text(offset, data)

    def _text(self, offset: int, data: bytes) -> None:
        """Add the bytes at ``offset`` as text.

        Long texts are not kept in memory. Such texts are read again when their frame is encoded, after all operations
        are written.
        """
        if len(data) < LONG_TEXT:
            self._frames.text(data)
        else:
            self._frames.text_at(self._reader(offset), len(data))

    def _zero(self, length: int) -> None:
        if length:
            self._writer.zero(length)

    def _reader(self, offset: int) -> Callable[[int, int], bytes]:
        source = self._target.source
        return lambda start, length: source.read_at(offset + start, length)

    def _raw_entry(self, entry: Entry, match: Match | None, old: Entry | None) -> None:
        """Write an entry whose headers or padding cannot be written as records.

        The headers are written unchanged. The content is taken from the base, if possible.
        """
        self._counts.raw_entries += 1
        head = entry.content - entry.start
        self._writer.raw(head, TEXT_STREAM)
        self._frames.text_at(self._reader(entry.start), head)
        if match and old and match.same:
            self._copy(Copy(self._object(match.place.layer), old.content, entry.size))
        elif match and old and old.size and is_file(old):
            index = self._object(match.place.layer)
            stream = stream_for(entry.size, old.size)
            self._writer.seek(index, old.content)
            self._writer.replace(entry.size, old.size, stream)
            source = Copy(index, old.content, old.size)
            self._frames.patch(stream, self._reader(entry.content), entry.size, source)
        elif entry.size:
            self._add_content(entry.content, entry.size, None)
        self._plain_bytes(entry.content + entry.size, entry.end)

    def _plain_bytes(self, start: int, end: int) -> None:
        """Write bytes outside of entries: runs of zeros with ``zero``, and all other bytes with ``raw``."""
        zeros = 0
        for offset in range(start, end, 1 << 20):
            data = self._target.read_at(offset, min(1 << 20, end - offset))
            if data.strip(b"\0"):
                self._zero(zeros)
                zeros = 0
                self._writer.raw(len(data), ADD_STREAM)
                self._frames.add(self._reader(offset), len(data))
            else:
                zeros += len(data)
        self._zero(zeros)

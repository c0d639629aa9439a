"""Operations for a whole archive.

The operations write the headers of members, and each member's content in the cheapest form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from dibundle.creating.compose.frames import ADD_STREAM, DOCUMENT_STREAM, LONG_TEXT, FramePlanner
from dibundle.creating.compose.layer import records_of
from dibundle.files.readat import ReadAt, copy_chunks
from dibundle.files.window import Window
from dibundle.format.constants import TEXT_STREAM
from dibundle.format.program_writer import ProgramWriter
from dibundle.format.records import BLOCK, padded
from dibundle.format.steps import REGISTER_OUTER
from dibundle.format.tables import Segment
from dibundle.images.tar.entries import Entry, TarIndex

TEXT_CONTENT = 256 << 10  # maximum size of ranges (configs, manifests) that are stored in the document stream
# members of at least this size get a separate digest, so that damage is found early and the error names the member
OWN_DIGEST = 64 << 10
TAIL_MARKS = (b"index.json", b"manifest.json")
LONGEST_TAIL = 16 << 20


@dataclass(slots=True)
class OuterMember:
    """A member's content during creation.

    ``compose`` writes the operations for the whole content. ``compose`` is None if the content is stored unchanged.
    ``named`` is true if the member's digest occurs in a name or in JSON. Such a member gets a separate digest, so that
    frames can copy the digest into the name or the JSON.
    """

    entry: Entry
    digest: bytes
    named: bool
    compose: Callable[[], None] | None = None


class Segments:
    """The target's digests under construction.

    Each large or named member has a separate digest, and all other bytes together have one digest.
    """

    def __init__(self, source: ReadAt) -> None:
        self.source = source
        self.found: list[Segment] = []
        self.position = 0
        self._rest = hashlib.sha256()

    def member(self, start: int, size: int, digest: bytes) -> None:
        """Give the ``size`` bytes at ``start`` a separate digest.

        The bytes between the previous member and ``start`` go into the common digest.
        """
        self._rest_until(start)
        self.found.append(Segment(size, digest))
        self.position = start + size

    def finish(self) -> bytes:
        """Add the remaining bytes to the common digest, and return this digest."""
        self._rest_until(self.source.size)
        return self._rest.digest()

    def _rest_until(self, end: int) -> None:
        if end > self.position:
            for chunk in copy_chunks(self.source, self.position, end - self.position):
                self._rest.update(chunk)
            self.found.append(Segment(end - self.position, None))
            self.position = end


class ArchiveComposer:
    """A writer of the operations that rebuild an outer archive."""

    def __init__(self, source: ReadAt, index: TarIndex, writer: ProgramWriter, frames: FramePlanner) -> None:
        self._source = source
        self._index = index
        self._window = Window(source)
        self._writer = writer
        self._frames = frames
        self.segments = Segments(source)

    def compose(self, members: dict[int, OuterMember]) -> None:
        """Write all operations. ``members`` maps the numbers of entries to members."""
        for number, entry in enumerate(self._index.entries):
            self._headers(entry)
            member = members.get(number)
            if member and entry.size and (member.named or entry.size >= OWN_DIGEST):
                self.segments.member(entry.content, entry.size, member.digest)
            if member and member.compose and entry.size:
                member.compose()
            else:
                self._bytes(entry.content, entry.size)
            self._bytes(entry.content + entry.size, entry.end - entry.content - entry.size)
        end = self._index.entries_end
        self._bytes(end, self._source.size - end)

    def tail(self) -> int:
        """Return the offset of the tail. The tail is withheld from output until everything is verified."""
        entries = self._index.entries
        size = self._source.size
        marked = [entry.start for entry in entries if entry.path.removeprefix(b"./") in TAIL_MARKS]
        if marked and size - min(marked) <= LONGEST_TAIL:
            return min(marked)
        filled = [entry for entry in entries if entry.size]
        if filled and size - filled[-1].content <= LONGEST_TAIL + filled[-1].size:
            return max(filled[-1].content + filled[-1].size - 1, size - LONGEST_TAIL)
        return max(0, size - 1)

    def _headers(self, entry: Entry) -> None:
        if not entry.plain:
            self._text(entry.start, entry.content - entry.start)
            return
        for record in records_of(entry, self._window):
            edit = self._writer.find_edit(self._writer.registers[REGISTER_OUTER], record.block)
            if edit is None:
                self._text(record.offset, BLOCK)
            else:
                self._frames.text(self._writer.header(edit, record.block, REGISTER_OUTER))
            if record.extension:
                self._bytes(record.content, padded(record.size))

    def _text(self, start: int, length: int, stream: int = TEXT_STREAM) -> None:
        """Write a range of the archive as literal bytes. Long ranges are read only when frames are encoded."""
        self._writer.raw(length, stream)
        if length < LONG_TEXT:
            self._frames.text(self._window.read_at(start, length), stream)
        else:
            self._frames.text_at(lambda offset, size: self._source.read_at(start + offset, size), length, stream)

    def _bytes(self, start: int, length: int) -> None:
        """Write a range of the archive.

        Use ``zero`` for runs of zeros, text for a short range, and content without a source for any other range.
        """
        if not length:
            return
        if length > TEXT_CONTENT:
            self._writer.raw(length, ADD_STREAM)
            self._frames.add(lambda offset, size: self._source.read_at(start + offset, size), length)
            return
        if self._source.read_at(start, length).strip(b"\0"):
            self._text(start, length, DOCUMENT_STREAM)
        else:
            self._writer.zero(length)

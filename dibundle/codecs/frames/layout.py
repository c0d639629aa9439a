"""The offsets of frames and blocks in zstd data. Only the headers of frames and blocks are read (RFC 8878, 3.1)."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from dibundle.codecs import messages
from dibundle.errors import ArchiveError

MAGIC: Final = b"\x28\xb5\x2f\xfd"
MOST_BLOCK: Final = 128 << 10

_SKIPPABLE: Final = 0x184D2A5
_RUN: Final = 1
_RESERVED: Final = 3


class Bytes(Protocol):
    """The data that contains the frames."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes."""


class FrameHead(NamedTuple):
    """A frame's header: the header's size in bytes, the window, and the content's size if it is declared."""

    size: int
    window: int
    content: int | None
    is_single: bool
    has_checksum: bool


class Layout(NamedTuple):
    """A frame, with its header, the start of each block, and its end. Offsets count from the start of the file."""

    head: FrameHead
    blocks: list[int]
    end: int


def skippable_size(data: Bytes, at: int) -> int | None:
    """Return the size of the skippable frame at ``at``.

    Return None if there is no such frame, or if the data ends within it.
    """
    head = data.read_at(at, min(8, data.size - at))
    if len(head) < 8 or int.from_bytes(head[:4], "little") >> 4 != _SKIPPABLE:
        return None
    size = 8 + int.from_bytes(head[4:], "little")
    return size if size <= data.size - at else None


def read_head(data: Bytes, at: int) -> FrameHead | None:
    """Read the header of the frame at ``at``. Return None if there is no frame, or if the frame needs a dictionary."""
    head = data.read_at(at, min(18, data.size - at))
    if head[:4] != MAGIC or len(head) < 6 or head[4] & 0b1011:
        return None
    flags, is_single = head[4], bool(head[4] >> 5 & 1)
    width = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
    place = 5 if is_single else 6
    if len(head) < place + width:
        return None
    content = int.from_bytes(head[place : place + width], "little") + (256 if width == 2 else 0) if width else None
    window = content or 0
    if not is_single:
        window = 1 << 10 + (head[5] >> 3)
        window += window // 8 * (head[5] & 7)
    return FrameHead(place + width, window, content, is_single, bool(flags >> 2 & 1))


def find_blocks(data: Bytes, at: int, most: int) -> Layout:
    """Return the layout of the frame at ``at``, up to ``most`` blocks. Raise ``ArchiveError`` for a damaged frame."""
    head = read_head(data, at)
    if head is None:
        raise ArchiveError(messages.FRAMES_DAMAGED)
    place, blocks, is_last = at + head.size, list[int](), False
    window, start = b"", 0
    while not is_last:
        # no read-ahead, because the headers are far apart, or the frame is small
        if not start <= place <= start + len(window) - 3:
            start, window = place, data.read_at(place, min(_AHEAD, data.size - place)) if place < data.size else b""
        numbers = window[place - start : place - start + 3]
        if len(numbers) < 3 or len(blocks) == most:
            raise ArchiveError(messages.FRAMES_DAMAGED)
        number = int.from_bytes(numbers, "little")
        kind, size = number >> 1 & 3, number >> 3
        if kind == _RESERVED or size > MOST_BLOCK:
            raise ArchiveError(messages.FRAMES_DAMAGED)
        blocks.append(place)
        place += 3 + (1 if kind == _RUN else size)
        is_last = bool(number & 1)
    end = place + 4 * head.has_checksum
    if end > data.size:
        raise ArchiveError(messages.FRAMES_DAMAGED)
    return Layout(head, blocks, end)


_AHEAD: Final = 4 << 10  # bytes per read

"""VCDIFF (RFC 3284) as xdelta3 reads and writes it, with the default code table and without secondary compression.

See spec/vcdiff.md for the subset. A window's source segment may be in the source, or in the part of the target that is
already decoded. The decoder also supports xdelta3's Adler-32 of each window, and xdelta3's application header. The
encoder uses only segments in the source.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.codecs import messages
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import BundleError

if TYPE_CHECKING:
    from dibundle.codecs.encode.covers import Covers

MAGIC: Final = b"\xd6\xc3\xc4\x00"
WINDOW_SIZE: Final = 8 << 20
"""The number of target bytes in a window that :func:`encode` writes. xdelta3 refuses windows above 16 MiB."""

VCD_SECONDARY, VCD_CODETABLE, VCD_APPHEADER = 1, 2, 4  # header indicator
VCD_SOURCE, VCD_TARGET, VCD_ADLER32 = 1, 2, 4  # window indicator

MAX_WINDOWS: Final = 16
WINDOW_LEAST: Final = 4096
"""The minimum size of a window's target if there are over 16 windows.

Each window takes as long as thousands of bytes.
"""

COPY_LENGTH: Final = 6
"""The shortest run of equal bytes that :func:`encode` copies. With this length, zstd gave the smallest size."""
RUN_LENGTH: Final = 24

_NOOP, _ADD, _RUN, _COPY = range(4)


class _Window(NamedTuple):
    """One window with the sizes that its header declares. The sections are parts of the file."""

    segment_kind: int
    segment_at: int
    segment_size: int
    target_size: int
    checksum: bytes
    data: memoryview
    codes: memoryview
    addresses: memoryview


def decode(delta: bytes, source: Buffer, target_size: int) -> bytearray:
    """Decode ``delta`` with ``source`` into ``target_size`` bytes. Raise ``BundleError`` if decoding fails.

    All window headers are read, and their sizes added up, before the target is allocated.
    """
    _check_windows(delta, target_size)
    view = memoryview(source).cast("B")
    target = bytearray(target_size)
    whole = memoryview(target)
    at = 0
    for number, window in enumerate(_windows(delta)):
        end = window.segment_at + window.segment_size
        if end > (len(view) if window.segment_kind == VCD_SOURCE else at) and window.segment_kind:
            raise _malformed(f"window {number} has a segment up to byte {end}, beyond what there is")
        segment = whole if window.segment_kind == VCD_TARGET else view
        piece = whole[at : at + window.target_size]
        if not _decode_window(window, segment[window.segment_at : end], piece):
            raise _malformed(f"window {number} is damaged")
        if window.checksum and zlib.adler32(piece).to_bytes(4, "big") != window.checksum:
            raise _malformed(f"window {number} has another checksum than it declares")
        at += window.target_size
    return target


def encode(source: bytes, target: bytes, covers: Covers) -> bytes:
    """Return a VCDIFF file that turns ``source`` into ``target``. The equal ranges are in ``covers``.

    The sections of the result are not compressed, so the caller should compress the result. Raises ``ValueError`` if
    covers do not fit.
    """
    covers.check(len(source), len(target))
    parts = [MAGIC, b"\0"]
    first = 0
    rows = list(covers)
    for start in range(0, max(1, len(target)), WINDOW_SIZE):
        end = min(start + WINDOW_SIZE, len(target))
        inside: list[tuple[int, int, int]] = []
        while first < len(rows) and rows[first].target < end:
            cover = rows[first]
            skip = max(0, start - cover.target)
            stop = min(cover.length, end - cover.target)
            inside.append((cover.source + skip, cover.target + skip - start, stop - skip))
            if stop < cover.length:
                break
            first += 1
        parts.append(_window(source, target[start:end], inside))
    return b"".join(parts)


def _malformed(what: str) -> BundleError:
    return BundleError(messages.PAYLOAD_VCDIFF, subject=what)


class _Reader:
    """A reader of bytes and RFC 3284 integers in ``data``, from offset ``at`` on."""

    __slots__ = ("at", "data")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise _malformed("ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value = 0
        for _ in range(9):
            byte = self.byte()
            value = value << 7 | byte & 127
            if byte < 128 and value < 1 << 62:
                return value
        raise _malformed("has a number of more than 62 bits or 9 bytes")

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise _malformed("ends too early")
        self.at += size
        return self.data[self.at - size : self.at]


def _windows(delta: bytes) -> Iterator[_Window]:
    """Read the file's header and yield its windows."""
    reader = _Reader(memoryview(delta))
    magic = bytes(reader.take(4))
    if magic != MAGIC:
        raise _malformed(f"starts with {magic.hex()}, wanted {MAGIC.hex()}")
    indicator = reader.byte()
    if indicator & ~VCD_APPHEADER:
        raise _malformed(f"header asks for secondary compression or a code table of its own (0x{indicator:02x})")
    if indicator & VCD_APPHEADER:
        reader.take(reader.number())
    yield _read_window(reader)
    while reader.at < len(delta):
        yield _read_window(reader)


def _check_windows(delta: bytes, target_size: int) -> None:
    """Refuse empty windows, too many windows, and windows that do not add up to ``target_size`` bytes."""
    left = target_size
    most = MAX_WINDOWS + target_size // WINDOW_LEAST
    for number, window in enumerate(_windows(delta)):
        left -= window.target_size
        if left < 0:
            raise _malformed(f"makes more than the {target_size} bytes wanted")
        if not window.target_size and (number or target_size):
            raise _malformed(f"window {number} makes nothing")
        if number >= most:
            raise BundleError(messages.LIMIT_VCDIFF_WINDOWS, most=most, target_size=target_size)
    if left:
        raise _malformed(f"makes {target_size - left} bytes, wanted {target_size}")


def _read_window(reader: _Reader) -> _Window:
    """Read one window. Leave the sections of the window unparsed."""
    indicator = reader.byte()
    kind = indicator & (VCD_SOURCE | VCD_TARGET)
    if indicator & ~(VCD_SOURCE | VCD_TARGET | VCD_ADLER32) or kind == VCD_SOURCE | VCD_TARGET:
        raise _malformed(f"window indicator 0x{indicator:02x} is unknown")
    segment_size = reader.number() if kind else 0
    segment_at = reader.number() if kind else 0
    length = reader.number()
    start = reader.at
    target_size = reader.number()
    if reader.byte():
        raise _malformed("window has compressed sections")
    sizes = [reader.number() for _ in range(3)]
    checksum = bytes(reader.take(4)) if indicator & VCD_ADLER32 else b""
    data, codes, addresses = (reader.take(size) for size in sizes)
    if reader.at - start != length:
        raise _malformed(f"window is {reader.at - start} bytes long, declared {length}")
    return _Window(
        segment_kind=kind,
        segment_at=segment_at,
        segment_size=segment_size,
        target_size=target_size,
        checksum=checksum,
        data=data,
        codes=codes,
        addresses=addresses,
    )


def _decode_window(window: _Window, segment: memoryview, target: memoryview) -> bool:
    """Write the output of a window's instructions to ``target``.

    Return whether the instructions are valid and fill ``target``.
    """
    sections = [Pinned(part) for part in (window.data, window.codes, window.addresses, segment, target)]
    return not LIBRARY.dib_vcdiff_window(*(value for part in sections for value in (part, part.size)))


def _window(source: bytes, target: bytes, covers: list[tuple[int, int, int]]) -> bytes:
    """Return a window with the smallest source segment that its covers allow."""
    low = min((cover[0] for cover in covers), default=0)
    high = max((cover[0] + cover[2] for cover in covers), default=0)
    rows = array("q", (value for s, t, n in covers for value in (s - low, t, n)))
    segment = memoryview(source)[low:high]
    data, codes, addresses = _encode_window(segment, target, rows)
    rest = b"".join([_number(len(target)), b"\0", _number(len(data)), _number(len(codes)), _number(len(addresses))])
    length = _number(len(rest) + len(data) + len(codes) + len(addresses))
    head = bytes([VCD_SOURCE]) + _number(high - low) + _number(low) if high else b"\0"
    return b"".join([head, length, rest, data, codes, addresses])


def _encode_window(segment: memoryview, target: bytes, rows: array[int]) -> tuple[Buffer, Buffer, Buffer]:
    """Return the three sections of one window: data, instructions and addresses."""
    room = 2 * len(target) + 64
    sections = (bytearray(room), bytearray(room), bytearray(room))
    sizes = array("q", [0, 0, 0])
    inputs = (Pinned(segment), Pinned(target))
    LIBRARY.dib_vcdiff_encode(
        *(value for part in inputs for value in (part, part.size)),
        *(Pinned(rows), len(rows) // 3, COPY_LENGTH, RUN_LENGTH),
        *(Pinned(section) for section in sections),
        *(room, Pinned(sizes)),
    )
    data, codes, addresses = (bytes(memoryview(s)[:n]) for s, n in zip(sections, sizes, strict=True))
    return data, codes, addresses


def _number(value: int) -> bytes:
    """Return ``value`` as an RFC 3284 integer: groups of seven bits, the highest group first."""
    out = [value & 127]
    while value := value >> 7:
        out.append(value & 127 | 128)
    return bytes(reversed(out))

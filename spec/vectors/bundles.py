"""Bundles built field by field, so that any one of them can be wrong: what make.py makes vectors of.

Nothing here checks anything. Every length and digest follows from what it is about, at the moment of encoding, unless
it has been set: a fault is made behind the digests. zstd frames are written by hand, as raw blocks, so that the bytes
do not depend on a library's version.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

MAGIC = bytes.fromhex("894449420d0a1a0a")
COLUMNS = (
    *("ops", "seek_object", "seek_offset", "keep", "count", "stream", "raw", "replace", "zero"),
    *("repeat_frame", "repeat_offset", "repeat", "register", "shapes", "shape"),
    *("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor", "text", "packing", "packed"),
)
OPERATIONS = (*("seek", "keep", "mode", "patch", "add", "repeat", "raw", "replace", "zero", "header", "begin", "end"),)
FIELDS = {
    **{"name": (0, 100), "mode": (100, 108), "uid": (108, 116), "gid": (116, 124), "size": (124, 136)},
    **{"mtime": (136, 148), "chksum": (148, 156), "typeflag": (156, 157), "linkname": (157, 257)},
    **{"magic": (257, 265), "uname": (265, 297), "gname": (297, 329), "devmajor": (329, 337)},
    **{"devminor": (337, 345), "prefix": (345, 500), "rest": (500, 512)},
}
BITS = {name: bit for bit, name in enumerate(FIELDS)}


def sha256(data: bytes | memoryview) -> bytes:
    """Return a digest."""
    return hashlib.sha256(data).digest()


# --- values -----------------------------------------------------------------------------------------------------------


def msgpack(value: Any) -> bytes:
    """Return the one form of a value; ``Raw`` goes in as it is."""
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, list | tuple):
        return _head(len(value), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(msgpack, value))
    if isinstance(value, bytes | bytearray):
        return _head(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + bytes(value)
    if isinstance(value, str):
        return _head(len(value.encode()), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + value.encode()
    return _head(value, 0, 128, (0xCC, 0xCD, 0xCE, 0xCF))


def _head(number: int, short: int, below: int, wide: tuple[int | None, ...]) -> bytes:
    if number < below:
        return bytes((short + number,))
    widths = (1, 2, 4, 8) if wide[0] is not None or len(wide) > 3 else (1, 2, 4)
    for width, form in zip(widths, wide, strict=False):
        if form is not None and number < 1 << 8 * width:
            return bytes((form,)) + number.to_bytes(width, "big")
    raise ValueError(number)


@dataclass(frozen=True)
class Raw:
    """Bytes that stand where a value should."""

    data: bytes


def number(value: int) -> bytes:
    """Return a number of a column or of a payload."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def numbers(*values: int) -> bytes:
    """Return several."""
    return b"".join(map(number, values))


def signed(value: int) -> int:
    """Return what is written of a signed number."""
    return 2 * value if value >= 0 else -2 * value - 1


def zframe(data: bytes, *, size: int | None = None, block: int = 1 << 17) -> bytes:
    """Return a zstd frame of raw and repeated blocks, a single segment that declares its content size (or ``size``)."""
    declared = len(data) if size is None else size
    if declared < 256:
        head = b"\x20" + bytes((declared,))
    elif declared < 65792:
        head = b"\x60" + (declared - 256).to_bytes(2, "little")
    else:
        head = b"\xa0" + declared.to_bytes(4, "little")
    if not data:
        return b"\x28\xb5\x2f\xfd" + head + b"\1\0\0"
    parts = list(_blocks(data, block))
    body = b"".join(
        ((size << 3) | (kind << 1) | (index == len(parts) - 1)).to_bytes(3, "little") + part
        for index, (kind, size, part) in enumerate(parts)
    )
    return b"\x28\xb5\x2f\xfd" + head + body


def _blocks(data: bytes, most: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, size and bytes of blocks: long runs of a byte as what they are, all else raw."""
    at = 0
    for found in re.finditer(rb"(.)\1{1023,}", data, re.DOTALL):
        yield from _raw(data[at : found.start()], most)
        for start in range(found.start(), found.end(), most):
            yield 1, min(most, found.end() - start), found[1]
        at = found.end()
    yield from _raw(data[at:], most)


def _raw(data: bytes, most: int) -> Iterator[tuple[int, int, bytes]]:
    for at in range(0, len(data), most):
        piece = data[at : at + most]
        yield 0, len(piece), piece


# --- programs ---------------------------------------------------------------------------------------------------------


class Program:
    """The 26 columns; operations are added by name with the numbers that each of their columns gets."""

    def __init__(self) -> None:
        self.columns: dict[str, bytearray] = {name: bytearray() for name in COLUMNS}
        self._shapes: list[int] = []

    def do(self, name: str, **given: int) -> Program:
        """Add an operation; signed numbers are to be given as they are written."""
        self.columns["ops"].append(OPERATIONS.index(name))
        return self.put(**given)

    def put(self, **given: int) -> Program:
        """Add numbers to columns."""
        for name, value in given.items():
            self.columns[name] += number(value)
        return self

    def edit(self, *fields: str, shape: int | None = None, **given: int) -> Program:
        """Add an edit: ``fields`` change, those named ``raw:...`` by text. The size is a difference."""
        if shape is None:
            shape = 0
            for name in fields:
                bit = BITS[name.removeprefix("raw:")]
                shape |= 1 << bit | (1 << 16 + bit if name.startswith("raw:") else 0)
        if shape not in self._shapes:
            self._shapes.append(shape)
            self.put(shapes=shape)
        self.put(shape=self._shapes.index(shape))
        return self.put(**{name: signed(value) if name == "size" else value for name, value in given.items()})

    def text(self, length: int) -> Program:
        """Add the number of a text."""
        return self.put(text=length)


# --- bundles ----------------------------------------------------------------------------------------------------------

Place = tuple[int, int] | tuple[int, int, int]
"""Where an object lies in a target: its number and an offset; where it is compressed, the length there too."""


@dataclass
class Frame:
    """A frame: its bytes as stored and what the table says; ``spans``: explicit, ``implied``: the source's size."""

    data: bytes
    size: int
    stream: int = 1
    codec: int = 0
    implied: int | None = None
    spans: list[tuple[int, int, int]] | None = None
    kind: int | None = None
    stored: int | None = None
    digest: bytes | None = None


@dataclass
class Target:
    """A target: the bytes it has, and what is said of it."""

    out: bytes
    program: Program
    frames: int
    segments: list[tuple[int, int]] | None = None  # length and kind
    tail: int = 0
    size: int | None = None
    digest: bytes | None = None
    rest: bytes | None = None
    own: bytes | None = None  # the digests of segments of kind 1

    def value(self) -> list[Any]:
        """Return what section 7 has of it."""
        segments = self.segments if self.segments is not None else ([(len(self.out), 0)] if self.out else [])
        own, rest, at, view = b"", hashlib.sha256(), 0, memoryview(self.out)
        for length, kind in segments:
            piece = view[at : at + length]
            if kind:
                own += sha256(piece)
            else:
                rest.update(piece)
            at += length
        return [
            len(self.out) if self.size is None else self.size,
            sha256(self.out) if self.digest is None else self.digest,
            rest.digest() if self.rest is None else self.rest,
            self.tail,
            self.frames,
            [
                b"".join(number(length) for length, _ in segments),
                bytes(kind for _, kind in segments),
                own if self.own is None else self.own,
            ],
            [bytes(self.program.columns[name]) for name in COLUMNS],
        ]


@dataclass
class Bundle:
    """A whole bundle. The ``on_...`` functions change what has been encoded, before digests are taken of it."""

    frames: list[Frame]
    targets: list[Target]
    objects: list[tuple[int, int, bytes] | tuple[int, int, bytes, Place]] = field(default_factory=list)
    codecs: list[int] | None = None
    transforms: list[int] = field(default_factory=list)
    reencoders: list[int] = field(default_factory=list)
    more: dict[int, bytes] = field(default_factory=dict)  # further sections
    magic: bytes = MAGIC
    version: int = 1
    reserved: int = 0
    stored_length: int | None = None
    decoded_size: int | None = None
    digest: bytes | None = None
    signature: bytes = b""
    area: bytes | None = None
    behind: bytes = b""
    on_objects: Callable[[list[Any]], object] | None = None  # the 6 values of section 3
    on_frames: Callable[[list[Any]], object] | None = None  # the 11 values of section 5
    on_targets: Callable[[list[Any]], object] | None = None  # the values of section 7
    on_sections: Callable[[list[Any]], object] | None = None  # [id, bytes] each
    on_manifest: Callable[[bytes], bytes] | None = None
    on_stored: Callable[[bytes], bytes] | None = None
    on_file: Callable[[bytes], bytes] | None = None

    @property
    def target(self) -> Target:
        """The first target."""
        return self.targets[0]

    @property
    def columns(self) -> dict[str, bytearray]:
        """The columns of the first target's program."""
        return self.target.program.columns

    @property
    def profile(self) -> str:
        """The profile that a reader needs to see what is right or wrong in it."""
        codecs = {frame.codec for frame in self.frames} if self.codecs is None else self.codecs
        begins = any(OPERATIONS.index("begin") in target.program.columns["ops"] for target in self.targets)
        is_full = begins or self.reencoders or 6 in self.more or any(4 <= codec <= 6 for codec in codecs)
        return "full" if is_full else "core"

    def encode(self) -> bytes:
        """Return the file."""
        sections = [[number_, self._section(number_)] for number_ in sorted({1, 3, 5, 7} | self.more.keys())]
        if self.on_sections:
            self.on_sections(sections)
        manifest = msgpack(sections)
        if self.on_manifest:
            manifest = self.on_manifest(manifest)
        stored = zframe(manifest)
        if self.on_stored:
            stored = self.on_stored(stored)
        header = (
            self.magic
            + self.version.to_bytes(4, "little")
            + self.reserved.to_bytes(4, "little")
            + (len(stored) if self.stored_length is None else self.stored_length).to_bytes(8, "little")
            + (len(manifest) if self.decoded_size is None else self.decoded_size).to_bytes(8, "little")
            + (sha256(stored) if self.digest is None else self.digest)
        )
        area = len(self.signature).to_bytes(4, "little") + self.signature
        area += zlib.crc32(area).to_bytes(4, "little")
        frames = b"".join(frame.data for frame in self.frames)
        whole = header + (area if self.area is None else self.area) + stored + frames + self.behind
        return self.on_file(whole) if self.on_file else whole

    def _section(self, number_: int) -> bytes:
        if number_ in self.more:
            return self.more[number_]
        if number_ == 1:
            codecs = sorted({frame.codec for frame in self.frames}) if self.codecs is None else self.codecs
            return msgpack([codecs, self.transforms, self.reencoders])
        if number_ == 3:
            values = self._object_table()
            if self.on_objects:
                self.on_objects(values)
            return msgpack(values)
        if number_ == 5:
            values = self._frame_table()
            if self.on_frames:
                self.on_frames(values)
            return msgpack(values)
        values = [target.value() for target in self.targets]
        if self.on_targets:
            self.on_targets(values)
        return msgpack(values)

    def _object_table(self) -> list[Any]:
        places = [item[3] for item in self.objects if len(item) == 4]
        kinds = [item[0] + (0 if len(item) == 3 else 32 if len(item[3]) == 3 else 16) for item in self.objects]
        return [
            bytes(kinds),
            numbers(*(item[1] for item in self.objects)),
            b"".join(item[2] for item in self.objects),
            numbers(*(place[0] for place in places)),
            numbers(*(place[1] for place in places)),
            numbers(*(place[2] for place in places if len(place) == 3)),
        ]

    def _frame_table(self) -> list[Any]:
        frames = self.frames
        kinds = [
            frame.kind if frame.kind is not None else 1 if frame.implied is not None else 2 if frame.spans else 0
            for frame in frames
        ]
        spans = [span for frame in frames for span in frame.spans or ()]
        return [
            bytes(frame.stream for frame in frames),
            bytes(frame.codec for frame in frames),
            bytes(kinds),
            numbers(*(len(frame.data) if frame.stored is None else frame.stored for frame in frames)),
            numbers(*(frame.size for frame in frames)),
            numbers(*(frame.implied for frame in frames if frame.implied is not None)),
            numbers(*(len(frame.spans) for frame in frames if frame.spans)),
            numbers(*(span[0] for span in spans)),
            numbers(*(span[1] for span in spans)),
            numbers(*(span[2] for span in spans)),
            b"".join(sha256(frame.data) if frame.digest is None else frame.digest for frame in frames),
        ]


# --- tar blocks -------------------------------------------------------------------------------------------------------


def block(name: str | bytes = b"", *, size: int = 0, **given: bytes) -> bytes:
    """Return a header block as ustar has it, ``given`` fields as they are; its checksum is right unless given."""
    fields = {
        "name": name.encode() if isinstance(name, str) else name,
        **{"mode": b"0000644\0", "uid": b"0000000\0", "gid": b"0000000\0", "size": b"%011o\0" % size},
        **{"mtime": b"00000000000\0", "typeflag": b"0", "magic": b"ustar\00000"},
        **{"devmajor": b"0000000\0", "devminor": b"0000000\0"},
        **given,
    }
    out = bytearray(512)
    for key, (start, end) in FIELDS.items():
        value = fields.get(key, b"")
        out[start:end] = value.ljust(end - start, b"\0")
    if "chksum" not in given:
        out[148:156] = b"%06o\0 " % checksum(bytes(out))
    return bytes(out)


def checksum(header: bytes) -> int:
    """Return the sum that a header block's chksum field is to hold."""
    return sum(header) - sum(header[148:156]) + 8 * 32


def padded(content: bytes) -> bytes:
    """Return content filled up to whole blocks."""
    return content + bytes(-len(content) % 512)


def record(header: bytes, content: bytes = b"") -> bytes:
    """Return a record."""
    return header + padded(content)

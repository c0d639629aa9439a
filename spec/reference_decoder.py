"""Decode dib bundles, slowly and plainly: the specification in this directory, as a program.

    python3 -I reference_decoder.py [--target NAME] [--expect sha256:HEX] [BASE...] BUNDLE > OUT

It is written from the texts beside it alone and shares nothing with any other implementation. The sections that a
part stands for are named in its comments. Of several targets NAME chooses one: the name of an image, or sha256: and
the digits of an image ID or of the target's digest. --expect refuses what is not this image or archive (profile.md).

Exit codes: 0 done, 2 usage, 3 file or system, 5 the bundle is malformed or over a limit, 6 the base is wrong or
damaged, 7 the bundle is damaged, 8 another image than expected.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import math
import mmap
import re
import struct
import sys
import tarfile
import tempfile
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MiB = 1 << 20
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
Content = bytes | mmap.mmap


class Refused(Exception):  # noqa: N818  (the specification's word)
    """The end of the work: what the exit code says."""

    def __init__(self, text: str, code: int = 5) -> None:
        super().__init__(text)
        self.code = code


def need(condition: object, text: str, code: int = 5) -> None:
    """Refuse unless the condition holds; the bundle as malformed if nothing else is said."""
    if not condition:
        raise Refused(text, code)


def sha256(data: bytes) -> bytes:
    """Give the digest of some bytes."""
    return hashlib.sha256(data).digest()


# --- dib.md, 1.3: zstd frames ---------------------------------------------------------------------------------------


def zstd_decode(frame: bytes, size: int, source: bytes) -> bytes:
    """Decode one zstd frame whose form is already checked."""
    source = source if len(source) >= 8 else b""
    if sys.version_info >= (3, 14):
        from compression import zstd

        words = zstd.ZstdDict(source, is_raw=True).as_prefix if source else None
        try:
            return zstd.decompress(frame, words)
        except zstd.ZstdError as error:
            raise Refused(f"zstd: {error}") from error
    import zstandard

    raw = zstandard.ZstdCompressionDict(source, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if source else None
    try:
        return zstandard.ZstdDecompressor(dict_data=raw).decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise Refused(f"zstd: {error}") from error


def zstd_reader(file: BinaryIO) -> IO[bytes]:
    """Open a zstd file of any number of frames."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdFile(file)
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file, read_across_frames=True)


def broken() -> tuple[type[Exception], ...]:
    """List the errors that damaged compressed files give."""
    known = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
    if sys.version_info >= (3, 14):
        from compression import zstd

        return *known, zstd.ZstdError
    import zstandard

    return *known, zstandard.ZstdError


def uncompressed(data: bytes, most: int) -> bytes:
    """Decompress gzip members or zstd frames that are whole; no more than is needed to see that it is too much."""
    if data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data)) as stream:
            return stream.read(most + 1)
    need(head_is_zstd(io.BytesIO(data)), "neither gzip nor zstd", 6)
    out = bytearray()
    while data and len(out) <= most:
        engine, ended = zstd_engine(), False
        for at in range(0, len(data), 4096):
            out += engine.decompress(data[at : at + 4096])
            ended = engine.eof
            if ended or len(out) > most:
                data = engine.unused_data + data[at + 4096 :]
                break
        need(ended or len(out) > most, "a zstd frame that is cut off", 6)
    return bytes(out)


def zstd_engine() -> Any:  # noqa: ANN401 - of one library or the other
    """Begin a zstd frame of any window."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def zstd_head(frame: bytes) -> tuple[int, int, int]:
    """Read a frame's header: its length, the window and the content size."""
    need(frame[:4] == b"\x28\xb5\x2f\xfd" and len(frame) > 5, "not a zstd frame")
    flags = frame[4]
    need(not flags & 3, "a zstd frame with a dictionary id")
    need(not flags & 8, "a zstd frame with a reserved bit")
    single = flags >> 5 & 1
    need(single or flags >> 6, "a zstd frame that does not declare its content size")
    at = 5 if single else 6
    width = 1 << (flags >> 6)
    need(len(frame) >= at + width, "a zstd frame ends early")
    size = int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)
    window = size if single else (8 + (frame[5] & 7) << 7) << (frame[5] >> 3)
    return at + width, window, size


def zstd_end(frame: bytes, at: int) -> int:
    """Find where a frame ends whose blocks begin at an offset."""
    last = 0
    while not last:
        need(len(frame) >= at + 3, "a zstd frame ends early")
        head = int.from_bytes(frame[at : at + 3], "little")
        last, kind, length = head & 1, head >> 1 & 3, head >> 3
        at += 3 + (1 if kind == 1 else length)
    return at + (4 if frame[4] & 4 else 0)


def unzstd(frame: bytes, size: int | None = None, source: bytes = b"", most: int = 64 * MiB) -> bytes:
    """Decode a stored zstd frame under the rules of section 1.3."""
    at, window, declared = zstd_head(frame)
    need(window <= 64 * MiB, "a zstd window of more than 64 MiB")
    need(declared == size if size is not None else declared <= most, "a zstd frame declares another size")
    need(zstd_end(frame, at) == len(frame), "something follows a zstd frame, or it ends early")
    result = zstd_decode(frame, declared, source) if declared else b""
    need(len(result) == declared, "a zstd frame holds another size than it declares")
    return result


# --- dib.md, 2: values ----------------------------------------------------------------------------------------------


class Msgpack:
    """The strict msgpack of section 2.1, one value after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        """Take that many bytes."""
        need(self.at + length <= len(self.data), "msgpack ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, width: int, least: int) -> int:
        """Take a big-endian number, which must need that many bytes."""
        value = int.from_bytes(self.take(width), "big")
        need(value >= least, "a msgpack number is not in its shortest form")
        return value

    def head(self, forms: dict[int, tuple[int, int]], short: range) -> int:
        """Take a value's head: a short form holds the number, the others say how wide it is."""
        byte = self.take(1)[0]
        if byte in short:
            return byte - short.start
        need(byte in forms, f"msgpack type {byte:#x} is not what belongs here")
        return self.number(*forms[byte])

    def uint(self) -> int:
        """Take an unsigned integer."""
        return self.head({0xCC: (1, 128), 0xCD: (2, 256), 0xCE: (4, 65536), 0xCF: (8, 1 << 32)}, range(128))

    def array(self, length: int | None = None, most: int = U32) -> int:
        """Take an array's head and give its length."""
        count = self.head({0xDC: (2, 16), 0xDD: (4, 65536)}, range(0x90, 0xA0))
        need(count == length if length is not None else count <= most, "a msgpack array of another length")
        return count

    def bin(self, length: int | None = None) -> bytes:
        """Take a byte string."""
        data = self.take(self.head({0xC4: (1, 0), 0xC5: (2, 256), 0xC6: (4, 65536)}, range(0)))
        need(length is None or len(data) == length, "a byte string of another length")
        return data

    def text(self, most: int = U32) -> str:
        """Take a UTF-8 string."""
        head = self.head({0xD9: (1, 32), 0xDA: (2, 256), 0xDB: (4, 65536)}, range(0xA0, 0xC0))
        need(head <= most, "a string over its limit")
        try:
            return self.take(head).decode()
        except UnicodeDecodeError as error:
            raise Refused("a string is not UTF-8") from error

    def numbers(self) -> list[int]:
        """Take an array of ascending integers."""
        values = [self.uint() for _ in range(self.array(most=65536))]
        need(all(a < b for a, b in pairwise(values)), "numbers do not ascend")
        return values

    def column(self) -> Column:
        """Take a column."""
        return Column(self.bin())

    def end(self) -> None:
        """Refuse bytes after the last value."""
        need(self.at == len(self.data), "bytes after the last msgpack value")


def unsign(number: int) -> int:
    """Give a signed number of what is written of it."""
    return -(number >> 1) - 1 if number & 1 else number >> 1


class Column:
    """LEB128 numbers: a column (section 2.2), and the numbers of cover.md."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def next(self) -> int:
        """Take a number."""
        value = shift = 0
        while True:
            need(self.at < len(self.data), "numbers end early")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(byte or shift == 7, "a number is not in its shortest form")
                return value
            need(shift < 63, "a number of more than nine bytes")

    def take(self, length: int) -> bytes:
        """Take bytes that stand between numbers."""
        need(self.at + length <= len(self.data), "bytes end early")
        self.at += length
        return self.data[self.at - length : self.at]

    def some(self, count: int) -> list[int]:
        """Take that many numbers."""
        return [self.next() for _ in range(count)]

    def signed(self) -> int:
        """Take a signed number."""
        return unsign(self.next())

    def positive(self) -> int:
        """Take a number of at least 1."""
        value = self.next()
        need(value, "a length or count of 0")
        return value

    def end(self) -> None:
        """Refuse numbers that are left over."""
        need(self.at == len(self.data), "numbers are left over")


# --- dib.md, 1 and 3: the file and its manifest ---------------------------------------------------------------------

MAGIC = bytes.fromhex("8944 4942 0D0A 1A0A")


class Span(NamedTuple):
    """A range of an object."""

    object: int
    offset: int
    length: int


@dataclass
class Frame:
    """A frame as section 5 of the manifest has it."""

    stream: int
    codec: int
    kind: int
    stored: int
    at: int
    size: int
    source_size: int
    spans: list[Span]
    digest: bytes


@dataclass
class Form:
    """How a compressed layer of the base is made of its content (section 3.5)."""

    object: int
    size: int
    digest: bytes
    packing: bytes


@dataclass
class Place:
    """Where an object lies in a target of its own bundle (section 3.1)."""

    target: int
    offset: int
    length: int
    is_compressed: bool


@dataclass
class Target:
    """A target as section 7 of the manifest has it."""

    size: int
    digest: bytes
    rest: bytes
    tail: int
    first: int
    frames: int
    segments: list[tuple[int, bytes]]
    program: list[bytes]
    names: set[str] = field(default_factory=set)  # all that it may be called by

    @property
    def digest_text(self) -> bytes:
        """Object number `objects` of section 3.2."""
        return b"".join(digest.hex().encode() for _, digest in self.segments)


@dataclass
class Bundle:
    """All that a bundle says, frames aside."""

    data: Content
    codecs: list[int] = field(default_factory=list)
    encoders: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    kinds: bytes = b""
    places: dict[int, Place] = field(default_factory=dict)
    forms: list[Form] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    excess: int = 64 * MiB  # what packings and frames of codec 6 may still cost beyond what is free (4.6)
    form_excess: int = 64 * MiB  # the same of forms


def take(data: Content, at: int, length: int) -> bytes:
    """Read bytes of the file."""
    need(at + length <= len(data), "the bundle is cut off")
    return data[at : at + length]


def read_bundle(data: Content) -> Bundle:
    """Read header, signature area and manifest (sections 1 and 3)."""
    head = take(data, 0, 64)
    magic, version, reserved, stored, size, digest = struct.unpack("<8sIIQQ32s", head)
    need(magic == MAGIC and version == 1 and reserved == 0, "not a bundle of version 1")
    need(1 <= stored <= 64 * MiB and 1 <= size <= 64 * MiB, "a manifest length out of range")
    length = int.from_bytes(take(data, 64, 4), "little")
    need(length <= MiB, "a signature of more than 1 MiB")
    area = take(data, 64, length + 8)
    need(zlib.crc32(area[:-4]) == int.from_bytes(area[-4:], "little"), "the signature area's checksum is wrong")
    manifest = take(data, 72 + length, stored)
    need(sha256(manifest) == digest, "the manifest's digest is wrong", 7)
    bundle = Bundle(data)
    read_sections(bundle, unzstd(manifest, size), 72 + length + stored)
    return bundle


def read_sections(bundle: Bundle, manifest: bytes, at: int) -> None:
    """Read the manifest's sections (section 3)."""
    pack = Msgpack(manifest)
    sections: dict[int, bytes] = {}
    last = 0
    for _ in range(pack.array(most=256)):
        pack.array(2)
        number = pack.uint()
        need(last < number <= 1 << 31, "section ids do not ascend or are out of range")
        need(number in {1, 3, 5, 7} or number % 2 == 0, f"critical section {number} is unknown")
        sections[number], last = pack.bin(), number
    pack.end()
    need(sections.keys() >= {1, 3, 5, 7}, "a section is missing")
    read_requires(bundle, Msgpack(sections[1]))
    read_objects(bundle, Msgpack(sections[3]))
    end = read_frames(bundle, Msgpack(sections[5]), at)
    read_targets(bundle, Msgpack(sections[7]))
    if 2 in sections:
        read_about(bundle, Msgpack(sections[2]))
    if 4 in sections:
        read_names(Msgpack(sections[4]), len(bundle.targets))
    if 6 in sections:
        read_forms(bundle, Msgpack(sections[6]))
    need(end == len(bundle.data), "the bundle is cut off, or bytes follow the last frame")


def read_requires(bundle: Bundle, pack: Msgpack) -> None:
    """Section 1: requires."""
    pack.array(3)
    bundle.codecs, transforms, bundle.encoders = pack.numbers(), pack.numbers(), pack.numbers()
    pack.end()
    need(all(codec <= 6 for codec in bundle.codecs) and not transforms, "the bundle requires what is unknown")
    for number in bundle.encoders:
        need(number % 16 in ENCODERS.get(number // 16, ()), f"re-encoder {number} is unknown")


def read_objects(bundle: Bundle, pack: Msgpack) -> None:
    """Section 3: base objects."""
    pack.array(6)
    kinds, sizes, digests = pack.bin(), pack.column(), pack.bin()
    targets, offsets, lengths = (pack.column() for _ in range(3))
    pack.end()
    count = len(kinds)
    need(count <= 65536 and len(digests) == 32 * count, "too many objects, or digests missing")
    need(all(kind % 16 in (1, 2, 3) and kind // 16 < 3 for kind in kinds), "an object of an unknown kind")
    bundle.kinds = bytes(kind % 16 for kind in kinds)
    bundle.sizes = sizes.some(count)
    for number, kind in enumerate(kinds):
        if kind >= 16:
            target, offset, is_compressed = targets.next(), offsets.next(), kind >= 32
            length = lengths.next() if is_compressed else bundle.sizes[number]
            bundle.places[number] = Place(target, offset, length, is_compressed)
    for column in (sizes, targets, offsets, lengths):
        column.end()
    bundle.digests = [digests[at : at + 32] for at in range(0, len(digests), 32)]
    need(len(set(bundle.digests)) == count, "an object occurs twice")


def read_frames(bundle: Bundle, pack: Msgpack, at: int) -> int:
    """Section 5: the frame table; gives the offset behind the last frame."""
    pack.array(11)
    streams, codecs, kinds = pack.bin(), pack.bin(), pack.bin()
    columns = [pack.column() for _ in range(7)]
    digests = pack.bin()
    pack.end()
    count = len(streams)
    need(count == len(codecs) == len(kinds) and len(digests) == 32 * count, "frame columns differ in length")
    need(count <= 1 << 20, "too many frames")
    for number in range(count):
        stored, size = columns[0].next(), columns[1].next()
        kind, codec, stream = kinds[number], codecs[number], streams[number]
        need(stored <= 80 * MiB and 1 <= size <= 64 * MiB, "a frame over its limits")
        need(kind <= 2 and stream <= 31, "a frame of an unknown kind or stream")
        need(codec in bundle.codecs, "a frame's codec is not listed")
        implied = columns[2].next() if kind == 1 else 0
        spans = read_spans(columns[3:]) if kind == 2 else []
        total = implied + sum(span.length for span in spans)
        need(total <= 128 * MiB, "a source of more than 128 MiB")
        digest = digests[32 * number : 32 * number + 32]
        bundle.frames.append(Frame(stream, codec, kind, stored, at, size, total, spans, digest))
        at += stored
    for column in columns:
        column.end()
    need(sum(len(frame.spans) for frame in bundle.frames) <= 1 << 20, "too many ranges")
    return at


def read_spans(columns: list[Column]) -> list[Span]:
    """Read the ranges of an explicit source."""
    count = columns[0].positive()
    need(count <= 1 << 20, "too many ranges")
    return [Span(columns[1].next(), columns[2].next(), columns[3].positive()) for _ in range(count)]


def read_targets(bundle: Bundle, pack: Msgpack) -> None:
    """Section 7: targets."""
    count = pack.array(most=1024)
    need(count, "a bundle without targets")
    first = excess = 0
    for _ in range(count):
        target = read_target(pack, first)
        first += target.frames
        need(first <= len(bundle.frames), "targets have more frames than there are")
        check_spans(bundle, target)
        bundle.targets.append(target)
        excess += max(0, cost(bundle, target) - 8 * target.size)
    pack.end()
    need(excess <= 64 * MiB, "the targets cost too much")
    need(sum(len(target.segments) for target in bundle.targets) <= 1 << 20, "too many segments")
    need(first == len(bundle.frames), "frames that belong to no target")
    check_places(bundle)


def check_places(bundle: Bundle) -> None:
    """Check that objects can lie where they should, and that no more is compressed than targets hold (3.1)."""
    left = [target.size for target in bundle.targets]
    for number, place in bundle.places.items():
        need(place.target < len(left), "an object in a target that is not there")
        size = bundle.targets[place.target].size
        need(place.offset + place.length <= size, "an object that ends beyond its target")
        if place.is_compressed:
            left[place.target] -= place.length
            need(left[place.target] >= 0, "more compressed objects than their target holds")
            need(bundle.sizes[number] <= 16 * place.length + 16384, "a compressed object that holds too much")


def read_target(pack: Msgpack, first: int) -> Target:
    """Read one target."""
    pack.array(7)
    size, digest, rest, tail, frames = pack.uint(), pack.bin(32), pack.bin(32), pack.uint(), pack.uint()
    need(tail <= max(size - 1, 0) and tail >= size - 64 * MiB, "a tail out of range")
    pack.array(3)
    lengths, kinds, digests = pack.column(), pack.bin(), pack.bin()
    need(len(kinds) <= 1 << 20 and set(kinds) <= {0, 1}, "too many segments, or of unknown kinds")
    need(len(digests) == 32 * kinds.count(1), "digests of segments are missing or left over")
    segments, at = [], 0
    for kind in kinds:
        segments.append((lengths.positive(), digests[at : at + 32 * kind]))
        at += 32 * kind
    lengths.end()
    need(sum(length for length, _ in segments) == size, "the segments do not add up to the target")
    pack.array(26)
    program = [pack.bin() for _ in range(26)]
    return Target(size, digest, rest, tail, first, frames, segments, program, {f"sha256:{digest.hex()}"})


def check_spans(bundle: Bundle, target: Target) -> None:
    """Refuse explicit ranges outside of their object, and too many operations (4.5)."""
    sizes = [*bundle.sizes, len(target.digest_text)]
    for frame in bundle.frames[target.first : target.first + target.frames]:
        for span in frame.spans:
            need(span.object < len(sizes), "a range of an object that is not there")
            need(span.offset + span.length <= sizes[span.object], "a range outside of its object")
    need(len(target.program[0]) <= 65536 + target.size // 32, "a program has too many operations")


def cost(bundle: Bundle, target: Target) -> int:
    """Add up what a target costs (4.5)."""
    frames = bundle.frames[target.first : target.first + target.frames]
    of_frames = sum(16384 + frame.size + frame.source_size + 256 * len(frame.spans) for frame in frames)
    shapes = sum(byte < 128 for byte in target.program[13])
    return of_frames + 1024 * len(target.segments) + 256 * len(target.program[0]) + 512 * shapes


@dataclass
class Left:
    """How much more section 2 may hold (3.4)."""

    images: int = 65536
    names: int = 65536
    diff_ids: int = 262144
    text: int = 4 * MiB

    def read(self, pack: Msgpack, most: int = 4096) -> str:
        """Read a text."""
        text = pack.text(most)
        self.text -= len(text.encode())
        need(self.text >= 0, "too much text")
        return text


def read_about(bundle: Bundle, pack: Msgpack) -> None:
    """Section 2, which has no influence on the output: check its form (3.4), and note what targets are called."""
    left = Left()
    pack.array(3)
    read_images(pack, left)
    pack.array(len(bundle.targets))
    for target in bundle.targets:
        target.names |= read_images(pack, left)
    for _ in range(pack.array(most=1024)):
        pack.array(2)
        left.read(pack)
        left.read(pack, 65536)
    pack.end()


def read_images(pack: Msgpack, left: Left) -> set[str]:
    """Check the form of an array of images, and give their names and ids."""
    names = set()
    for _ in range(pack.array(most=left.images)):
        left.images -= 1
        pack.array(3)
        count = pack.array(most=left.names)
        left.names -= count
        names |= {left.read(pack) for _ in range(count)}
        image_id = pack.bin()
        need(len(image_id) in {0, 32}, "an image id of another length")
        names.add(f"sha256:{image_id.hex()}")
        diff_ids = pack.bin()
        left.diff_ids -= len(diff_ids) // 32
        need(len(diff_ids) % 32 == 0 and left.diff_ids >= 0, "diffIDs of another length, or too many")
    return names


def read_names(pack: Msgpack, targets: int) -> None:
    """Section 4, which has no influence: check its form (3.4)."""
    pack.array(1)
    for _ in range(pack.array(2 * targets)):
        paths = pack.bin()
        need(not paths or paths.endswith(b"\0"), "a path does not end with NUL")
    pack.end()


def read_forms(bundle: Bundle, pack: Msgpack) -> None:
    """Section 6: forms (3.5)."""
    last = -1
    alike: dict[bytes, int] = {}
    count = pack.array(most=65536)
    need(count, "no forms")
    for _ in range(count):
        pack.array(4)
        form = Form(pack.uint(), pack.uint(), pack.bin(32), pack.bin())
        need(last < form.object < len(bundle.sizes), "forms do not ascend")
        is_stored = bundle.kinds[form.object] == 3 and form.object not in bundle.places
        need(is_stored and len(form.packing) <= 16 * MiB, "a form of another object")
        last = form.object
        bundle.forms.append(form)
        alike[form.digest] = alike.get(form.digest, 0) + 1
        need(alike[form.digest] <= 4, "five forms of one content")
    pack.end()


# --- dib.md, 3.1: what a target uses, and which targets are made first ----------------------------------------------

SEEK, TAKES = 0, bytes((1, 2, 3, 7))  # keep, mode, patch and replace take from the cursor


def used_objects(bundle: Bundle, target: Target) -> set[int]:
    """List the objects that a target uses."""
    used, seeks = set(), Column(target.program[1])
    while seeks.at < len(seeks.data):
        used.add(seeks.next())
    before, _, _ = target.program[0].partition(bytes((SEEK,)))
    if any(operation in TAKES for operation in before):
        used.add(0)
    for frame in bundle.frames[target.first : target.first + target.frames]:
        used.update(span.object for span in frame.spans)
    return {number for number in used if number < len(bundle.sizes)}


# --- dib.md, 3.1 and 3.5: the base ----------------------------------------------------------------------------------


def make_form(bundle: Bundle, form: Form, content: bytes) -> bytes:
    """Make a compressed layer of its content; section 1 does not list the re-encoders of forms."""
    packing = read_packing(form.packing, [16 * encoder + level for encoder in ENCODERS for level in ENCODERS[encoder]])
    check_encoders([body.encoder for body in packing.bodies])
    need(packing.takes == form.size == len(content), "a form of another size")
    bundle.form_excess -= max(0, packing.cost - 16 * bundle.sizes[form.object])
    need(bundle.form_excess >= 0, "forms cost too much")
    return pack(packing, iter([content]))


def mapped(file: IO[bytes]) -> Content:
    """Map a file."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.seek(0, 2) else b""


class Objects:
    """The contents of the base that a bundle asks for, by their digests."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.wanted = set(bundle.digests) | {form.digest for form in bundle.forms}
        self.found: dict[bytes, Content] = {}

    def offer(self, reader: IO[bytes]) -> None:
        """Hash a content and keep it if it is wanted."""
        with tempfile.TemporaryFile() as file:
            digest = hashlib.sha256()
            while piece := reader.read(MiB):
                digest.update(piece)
                file.write(piece)
            file.flush()
            key = digest.digest()
            if key in self.wanted and key not in self.found:
                self.found[key] = mapped(file)

    def search(self, path: Path) -> None:
        """Look through the members of an archive."""
        try:
            with (
                path.open("rb") as plain,
                opened(plain) as stream,
                tarfile.open(fileobj=stream, mode="r|") as tar,
            ):
                for member in tar:
                    if member.isfile() and (data := tar.extractfile(member)):
                        self.offer_forms(data)
        except broken() as error:
            raise Refused(f"{path}: {error}", 6) from error

    def offer_forms(self, data: IO[bytes]) -> None:
        """Offer a member as stored and, where it is gzip or zstd, inflated."""
        with tempfile.TemporaryFile() as file:
            while piece := data.read(MiB):
                file.write(piece)
            file.seek(0)
            self.offer(file)
            file.seek(0)
            if file.read(4)[:2] == b"\x1f\x8b" or head_is_zstd(file):
                file.seek(0)
                try:
                    with opened(file) as stream:
                        self.offer(stream)
                except broken():
                    return  # a member that only looks compressed

    def make_forms(self, used: set[int]) -> None:
        """Make objects that the base has in another form only (3.5)."""
        for form in self.bundle.forms:
            wanted = self.bundle.digests[form.object]
            content = self.found.get(form.digest)
            if form.object not in used or wanted in self.found or content is None:
                continue
            try:
                made = make_form(self.bundle, form, bytes(content))
            except Refused as error:
                raise Refused(f"the base cannot serve as {wanted.hex()}: {error}", 6) from error
            if sha256(made) == wanted:
                self.found[wanted] = made

    def take(self, number: int, made: Content) -> None:
        """Take an object from its place in a target that was made."""
        place, size = self.bundle.places[number], self.bundle.sizes[number]
        content = bytes(made[place.offset : place.offset + place.length])
        if place.is_compressed:
            try:
                content = uncompressed(content, size)
            except broken() as error:
                raise Refused(f"what should be compressed is damaged: {error}", 6) from error
            need(len(content) == size, "a compressed object of another size", 6)
        self.found[self.bundle.digests[number]] = content

    def missing(self, used: set[int]) -> set[int]:
        """List those objects that are not there, nor can be made of what is."""
        forms = {form.object for form in self.bundle.forms if form.digest in self.found}
        return {number for number in used - forms if self.bundle.digests[number] not in self.found}

    def all(self, used: set[int]) -> list[Content]:
        """Give the objects in their order, those that are not used as nothing; or say that the base is another."""
        self.make_forms(used)
        result: list[Content] = [b""] * len(self.bundle.sizes)
        for number in used:
            digest = self.bundle.digests[number]
            need(digest in self.found, f"no base has the content {digest.hex()}", 6)
            right = len(self.found[digest]) == self.bundle.sizes[number]
            need(right, f"the content {digest.hex()} has another size than the bundle says", 6)
            result[number] = self.found[digest]
        return result


def head_is_zstd(file: IO[bytes]) -> bool:
    """Tell whether a file begins like zstd, a skippable frame included."""
    file.seek(0)
    head = file.read(4)
    return head == b"\x28\xb5\x2f\xfd" or (len(head) == 4 and head[0] & 0xF0 == 0x50 and head[1:] == b"\x2a\x4d\x18")


def opened(file: IO[bytes]) -> IO[bytes]:
    """Open a file that may be compressed as a whole."""
    file.seek(0)
    head = file.read(6)
    zstd = head_is_zstd(file)
    file.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip.open(file)  # type: ignore[return-value]
    if head[:3] == b"BZh":
        return bz2.BZ2File(file)
    if head == b"\xfd7zXZ\0":
        return lzma.LZMAFile(file)
    return zstd_reader(file) if zstd else file  # type: ignore[arg-type]


# --- dib.md, 4.1 and 4.2: header blocks and edits -------------------------------------------------------------------

FIELDS = [  # the first byte of each field, and the one behind it
    *[(0, 100), (100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (148, 156), (156, 157), (157, 257)],
    *[(257, 265), (265, 297), (297, 329), (329, 337), (337, 345), (345, 500), (500, 512)],
]
SIZE, CHKSUM = 4, 6
NUMERIC = {1: 15, 2: 16, 3: 17, 4: 18, 5: 19, 12: 20, 13: 21}  # field: its column
MOST = (1 << 63) - 1


def content_length(block: bytes) -> int:
    """Read the size field of a header block."""
    text = block[124:136]
    if text[0] & 0xC0 == 0x80:
        value = int.from_bytes(text, "big") & ((1 << 95) - 1)
        need(value <= MOST, "a record's size is out of range", 6)
        return value
    digits = text.strip(b"\0 ")
    need(not digits.strip(b"01234567"), "a record's size is no number", 6)
    return int(digits or b"0", 8)


def styled(reference: bytes, number: int, blank: str, fault: int) -> bytes:
    """Write a number in the style of a field; `blank` is the style of a field that is all NUL."""
    if not reference.strip(b"\0"):
        text = (blank % number).encode()
    else:
        form = re.fullmatch(rb"( *)([0-7]+)([\0 ]*)", reference)
        if form is None:
            raise Refused("a field whose style is not known", fault)
        spaces, digits, rest = form.groups()
        width = len(spaces) + len(digits)
        text = (b"%o" % number).rjust(width, b" " if spaces else b"0") + rest
    need(len(text) == len(reference), "a number does not fit into its field", fault)
    return text


@dataclass
class Change:
    """What becomes of a field: a number, or text that shares its first bytes with the field's last text."""

    field: int
    number: int = 0
    text: Draw | None = None
    shared: int = 0


@dataclass
class Draw:
    """A piece drawn from a stream: where its bytes are in the frames."""

    pieces: list[tuple[int, int, int]]  # frame, offset, length

    @property
    def length(self) -> int:
        """Count the bytes."""
        return sum(length for _, _, length in self.pieces)


@dataclass
class Copy:
    """Bytes of the base."""

    span: Span


@dataclass
class Zeros:
    """Zero bytes."""

    length: int


@dataclass
class Edit:
    """A header block, made of one of the base or of a register."""

    register: int
    base: Span | None
    changes: list[Change]


@dataclass
class Begin:
    """The content of a packing begins."""

    packing: Draw
    packed: int


@dataclass
class End:
    """The content of a packing ends."""


Step = Draw | Copy | Zeros | Edit | Begin | End


# --- dib.md, 4.3 to 4.5: the program, gone through without making anything -------------------------------------------


class Plan:
    """What a target's program does, step by step, with all numbers resolved.

    Where the program leads depends on the base and on the columns alone, so that everything about frames and their
    implied sources is known, and checked, before anything is output.
    """

    def __init__(self, bundle: Bundle, target: Target, objects: list[Content]) -> None:
        self.bundle, self.target, self.objects = bundle, target, objects
        self.columns = [Column(column) for column in target.program]
        self.steps: list[Step] = []
        self.object = self.offset = 0
        self.lengths = [0, 0]  # content lengths of the registers
        self.texts = [0] * 16  # lengths of the last texts
        self.numbers = [0] * 16
        self.frames: list[list[int]] = [[] for _ in range(32)]  # of each stream, those not used up
        for number in range(target.first, target.first + target.frames):
            self.frames[bundle.frames[number].stream].append(number)
        self.drawn = dict.fromkeys(range(target.first, target.first + target.frames), 0)
        self.next_frame = target.first
        self.sources: dict[int, list[Span]] = {}
        self.repeats: dict[int, int] = {}  # frame: the last step that repeats of it
        self.starts: dict[int, int] = {}  # frame: the step that draws first
        self.ends: dict[int, int] = {}  # frame: the step that uses it up
        self.yielded = self.packed_from = self.content = 0
        self.last = -1
        self.within = False
        self.run()

    def run(self) -> None:
        """Go through all operations."""
        self.shapes()
        doing = [
            *[self.seek, self.keep, self.mode, self.patch, self.add, self.repeat, self.raw, self.replace, self.zero],
            *[self.header, self.begin, self.end],
        ]
        for operation in self.columns[0].data:
            need(operation < len(doing), "an unknown operation")
            doing[operation]()
            self.last = operation
        self.check()

    def shapes(self) -> None:
        """Read the table of shapes."""
        column, self.table = self.columns[13], []
        while column.at < len(column.data):
            shape = column.next()
            bits, raw = shape & 0xFFFF, shape >> 16
            must = sum(1 << number for number in range(16) if number not in NUMERIC) & bits
            need(raw < 1 << 16 and not raw & ~bits, "a shape with unknown bits")
            need(raw & must == must and not raw >> SIZE & 1, "a shape that gives a field in the wrong way")
            self.table.append(shape)
        need(len(self.table) <= 4096, "too many shapes")

    def emit(self, step: Step, length: int) -> None:
        """Note a step and what it yields."""
        if length or isinstance(step, End | Begin):
            self.steps.append(step)
            self.yielded += length

    def draw(self, stream: int, length: int, source: Span | None = None) -> Draw:
        """Take bytes of a stream: note which frames they come from, and their source."""
        need(stream < 32, "a stream of too high a number")
        pieces: list[tuple[int, int, int]] = []
        while length:
            need(self.frames[stream], "a stream ends early")
            number = self.frames[stream][0]
            frame, offset = self.bundle.frames[number], self.drawn[number]
            if not offset:
                need(number == self.next_frame, "frames are not needed in their order")
                self.next_frame += 1
                self.starts[number] = len(self.steps)
            part = min(length, frame.size - offset)
            if frame.kind == 1 and source and source.length:
                need(part == length and not pieces, "a piece with a source goes beyond its frame")
                self.sources.setdefault(number, []).append(source)
            pieces.append((number, offset, part))
            self.drawn[number] += part
            length -= part
            if self.drawn[number] == frame.size:
                self.ends[number] = len(self.steps)
                del self.frames[stream][0]
        return Draw(pieces)

    def read(self, length: int) -> Span:
        """Take that many bytes from the cursor."""
        need(self.object < len(self.objects), "the cursor is in no object")
        span = Span(self.object, self.offset, length)
        self.offset += length
        need(self.offset <= len(self.objects[self.object]), "the cursor leaves its object")
        return span

    def at(self, span: Span) -> bytes:
        """Get bytes of the base."""
        return self.objects[span.object][span.offset : span.offset + span.length]

    def edit(self, register: int, base: Span | None = None, old: int = 0) -> int:
        """Plan an edit (4.2) and give the content length of the new block."""
        number = self.columns[14].next()
        need(number < len(self.table), "a shape that is not in the table")
        shape = self.table[number]
        changes = []
        length = self.lengths[register] if base is None else old
        for bit in range(16):
            if not shape >> bit & 1:
                continue
            if shape >> 16 + bit & 1:
                changes.append(self.text(bit))
            else:
                changes.append(Change(bit, self.number(bit, old)))
                length = changes[-1].number if bit == SIZE else length
        self.emit(Edit(register, base, changes), 512)
        self.lengths[register] = length
        return length

    def text(self, bit: int) -> Change:
        """Plan a field given as text."""
        shared, length = self.columns[22].next(), self.columns[23].next()
        need(shared <= self.texts[bit], "more bytes shared than the last text has")
        need(shared + length <= FIELDS[bit][1] - FIELDS[bit][0], "a text is longer than its field")
        self.texts[bit] = shared + length
        return Change(bit, text=self.draw(0, length), shared=shared)

    def number(self, bit: int, old: int) -> int:
        """Plan a field given as a number."""
        value = self.columns[NUMERIC[bit]].signed() + (old if bit == SIZE else self.numbers[bit])
        need(0 <= value <= MOST, "a number out of range")
        self.numbers[bit] = value
        return value

    def record(self) -> tuple[Span, int]:
        """Take the header block at the cursor, and read its content length."""
        span = self.read(512)
        return span, content_length(self.at(span))

    def seek(self) -> None:
        """Operation 0."""
        need(self.last != 0, "two seeks in a row")
        number, offset = self.columns[1].next(), self.columns[2].signed()
        need(number < len(self.objects), "a seek to an object that is not there")
        self.offset = offset + (self.offset if number == self.object else 0)
        self.object = number
        need(0 <= self.offset <= len(self.objects[number]), "a seek to outside of an object")

    def keep(self) -> None:
        """Operation 1."""
        length = self.columns[3].positive()
        self.emit(Copy(self.read(length)), length)

    def mode(self) -> None:
        """Operation 2."""
        for _ in range(self.columns[4].positive()):
            span, old = self.record()
            need(self.edit(0, span, old) == old, "a mode operation that changes a size")
            length = old + -old % 512
            self.emit(Copy(self.read(length)), length)

    def patch(self) -> None:
        """Operation 3."""
        span, old = self.record()
        new = self.edit(0, span, old)
        source = self.read(old)
        self.read(-old % 512)
        self.emit(self.draw(self.columns[5].next(), new, source), new)
        self.emit(Zeros(-new % 512), -new % 512)

    def add(self) -> None:
        """Operation 4."""
        new = self.edit(0)
        self.emit(self.draw(self.columns[5].next(), new), new)
        self.emit(Zeros(-new % 512), -new % 512)

    def repeat(self) -> None:
        """Operation 5."""
        number, offset, length = self.columns[9].next(), self.columns[10].next(), self.columns[11].positive()
        need(self.drawn.get(number), "a repeat of a frame that was not drawn from")
        need(offset + length <= self.bundle.frames[number].size, "a repeat goes beyond its frame")
        self.repeats[number] = len(self.steps)
        self.emit(Draw([(number, offset, length)]), length)

    def raw(self) -> None:
        """Operation 6."""
        length = self.columns[6].positive()
        self.emit(self.draw(self.columns[5].next(), length), length)

    def replace(self) -> None:
        """Operation 7."""
        length, source = self.columns[6].positive(), self.read(self.columns[7].next())
        self.emit(self.draw(self.columns[5].next(), length, source), length)

    def zero(self) -> None:
        """Operation 8."""
        length = self.columns[8].positive()
        self.emit(Zeros(length), length)

    def header(self) -> None:
        """Operation 9."""
        register = self.columns[12].next()
        need(register < 2, "a register that is not there")
        self.edit(register)

    def begin(self) -> None:
        """Operation 10."""
        need(not self.within, "a begin within a packing")
        length, packed = self.columns[24].positive(), self.columns[25].next()
        need(length <= 16 * MiB, "a packing of more than 16 MiB")
        self.emit(Begin(self.draw(0, length), packed), packed)
        self.within, self.packed_from = True, self.yielded

    def end(self) -> None:
        """Operation 11."""
        need(self.within, "an end without a begin")
        self.content += self.yielded - self.packed_from
        self.within, self.yielded = False, self.packed_from
        self.emit(End(), 0)

    def check(self) -> None:
        """Refuse what is left over, and what is over the limits."""
        need(not self.within, "a begin without an end")
        need(self.yielded == self.target.size, "the program yields another size")
        need(self.content <= 16 * self.target.size + self.bundle.excess, "too much content within packings")
        for column in self.columns[1:]:
            column.end()
        need(not any(self.frames), "frames are not used up")
        for number in self.drawn:
            frame = self.bundle.frames[number]
            if frame.kind == 1:
                spans = self.sources.get(number, [])
                need(frame.source_size == sum(span.length for span in spans), "an implied source of another size")
            else:
                self.sources[number] = frame.spans
        self.check_temporary()

    def check_temporary(self) -> None:
        """Refuse more than 128 MiB of frames kept for repeats, and 144 MiB with those that are not used up (4.4)."""
        sizes = {number: self.bundle.frames[number].size for number in self.starts}
        sizes |= {number: -(-sizes[number] // 4096) * 4096 for number in self.repeats}
        changes = [(self.starts[number], sizes[number]) for number in self.repeats]
        changes += [(last + 1, -sizes[number]) for number, last in self.repeats.items()]
        need(highest(changes) <= 128 * MiB, "too much kept for repeats")
        changes = []
        for number, start in self.starts.items():
            end = max(self.ends[number], self.repeats.get(number, 0))
            changes += [(start, sizes[number]), (end, -sizes[number])] if end > start else []
        need(highest(changes) <= 144 * MiB, "too much of frames that are not used up")


def highest(changes: list[tuple[int, int]]) -> int:
    """Give the highest sum of changes, in the order of their steps; of one step, what is let go comes first."""
    most = sum_ = 0
    for _, change in sorted(changes):
        sum_ += change
        most = max(most, sum_)
    return most


# --- dib.md, 4: the program, run ------------------------------------------------------------------------------------


class Run:
    """Makes a target's bytes by its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.bundle, self.target = plan, plan.bundle, plan.target
        self.registers = [bytes(512), bytes(512)]
        self.texts = [b""] * 16
        self.decoded: dict[int, bytes] = {}
        self.uses = Counter(number for step in plan.steps for number in used_frames(step))
        self.cost = 0

    def output(self) -> Iterator[bytes]:
        """Give the target in pieces."""
        steps = iter(self.plan.steps)
        for step in steps:
            if isinstance(step, Begin):
                yield self.packed(step, steps)
            else:
                yield from self.made(step)

    def made(self, step: Step) -> Iterator[bytes]:
        """Give what a step yields."""
        if isinstance(step, Copy):
            for at in range(0, step.span.length, MiB):
                part = min(MiB, step.span.length - at)
                yield self.plan.at(Span(step.span.object, step.span.offset + at, part))
        elif isinstance(step, Zeros):
            for at in range(0, step.length, MiB):
                yield bytes(min(MiB, step.length - at))
        elif isinstance(step, Edit):
            yield self.edit(step)
        elif isinstance(step, Draw):
            yield from self.draw(step)

    def draw(self, draw: Draw) -> Iterator[bytes]:
        """Give the bytes of a piece; frames are decoded when first needed and dropped behind their last use."""
        for number, offset, length in draw.pieces:
            if number not in self.decoded:
                self.decoded[number] = self.decode(number)
            yield self.decoded[number][offset : offset + length]
            self.uses[number] -= 1
            if not self.uses[number]:
                del self.decoded[number]

    def decode(self, number: int) -> bytes:
        """Check and decode a frame (1.3, 5)."""
        frame = self.bundle.frames[number]
        stored = take(self.bundle.data, frame.at, frame.stored)
        need(sha256(stored) == frame.digest, f"the digest of frame {number} is wrong", 7)
        text = self.target.digest_text
        count = len(self.bundle.sizes)
        parts = []
        for span in self.plan.sources.get(number, []):
            whole: Content = text if span.object == count else self.plan.objects[span.object]
            parts.append(whole[span.offset : span.offset + span.length])
        return decode_frame(frame.codec, stored, frame.size, b"".join(parts), self.bundle)

    def edit(self, step: Edit) -> bytes:
        """Make a header block (4.2)."""
        reference = self.registers[step.register] if step.base is None else self.plan.at(step.base)
        fault = 5 if step.base is None else 6
        block = bytearray(reference)
        for change in step.changes:
            first, end = FIELDS[change.field]
            if change.text is None:
                block[first:end] = styled(reference[first:end], change.number, f"%0{end - first - 1}o\0", fault)
            else:
                text = self.texts[change.field][: change.shared] + b"".join(self.draw(change.text))
                self.texts[change.field] = text
                block[first:end] = text.ljust(end - first, b"\0")
        if step.changes and all(change.field != CHKSUM for change in step.changes):
            total = sum(block) - sum(block[148:156]) + 8 * 32
            block[148:156] = styled(reference[148:156], total, "%06o\0 ", fault)
        self.registers[step.register] = bytes(block)
        return self.registers[step.register]

    def packed(self, begin: Begin, steps: Iterator[Step]) -> bytes:
        """Make packed bytes of the content up to the next end (4.6)."""
        packing = read_packing(b"".join(self.draw(begin.packing)), self.bundle.encoders)
        self.cost += packing.cost
        need(self.cost <= 16 * self.target.size + self.bundle.excess, "packings cost too much")
        packed = pack(packing, self.content(steps))
        need(len(packed) == begin.packed, "a packing makes another number of bytes")
        return packed

    def content(self, steps: Iterator[Step]) -> Iterator[bytes]:
        """Give the content of a packing."""
        for step in steps:
            if isinstance(step, End):
                return
            yield from self.made(step)


def used_frames(step: Step) -> list[int]:
    """List the frames that a step draws from, each as often as it does."""
    if isinstance(step, Draw):
        draws = [step]
    elif isinstance(step, Begin):
        draws = [step.packing]
    elif isinstance(step, Edit):
        draws = [change.text for change in step.changes if change.text]
    else:
        draws = []
    return [number for draw in draws for number, _, _ in draw.pieces]


# --- dib.md, 6: output ----------------------------------------------------------------------------------------------


class Output:
    """Passes a target on and checks its digests; never ends at a multiple of 512 before the end."""

    def __init__(self, target: Target, file: IO[bytes], fault: int) -> None:
        self.target, self.file, self.fault = target, file, fault
        self.whole, self.rest, self.own = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.segments = iter(target.segments)
        self.left, self.expected = 0, b""
        self.next_segment()
        self.held = bytearray()
        self.at = 0  # of the first byte that is held

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.whole.update(piece)
        self.held += piece
        while piece:
            part, piece = piece[: self.left], piece[self.left :]
            (self.own if self.expected else self.rest).update(part)
            self.left -= len(part)
            if not self.left:
                self.next_segment()
        self.release(min(self.target.tail, self.at + len(self.held)))

    def next_segment(self) -> None:
        """Check a segment that is whole, and go to the next one that is not empty."""
        while not self.left:
            if self.expected:
                self.same(self.own.digest(), self.expected)
                self.own = hashlib.sha256()
            self.left, self.expected = next(self.segments, (1 << 64, b""))

    def release(self, end: int) -> None:
        """Pass on what lies before an offset, but never up to a multiple of 512."""
        end -= end % 512 == 0
        if end > self.at:
            self.file.write(self.held[: end - self.at])
            del self.held[: end - self.at]
            self.at = end

    def same(self, digest: bytes, expected: bytes) -> None:
        """Refuse a wrong digest."""
        need(digest == expected, "a digest of the output is wrong", self.fault)

    def finish(self) -> None:
        """Check everything, then pass on the rest."""
        self.same(self.rest.digest(), self.target.rest)
        need(self.whole.digest() == self.target.digest, "the target's digest is not that of its segments", 7)
        self.file.write(self.held)
        self.file.flush()


# --- dib.md, 4.6: packings ------------------------------------------------------------------------------------------


@dataclass
class Body:
    """A body: how many bytes of content, and the recipe that makes it."""

    size: int
    encoder: int = 0
    parameter: int = 0
    edits: list[tuple[int, int, int]] = field(default_factory=list)
    literals: list[bytes] = field(default_factory=list)


@dataclass
class Packing:
    """A packing: its parts, bodies or plain bytes, and what is known of their sizes."""

    parts: list[Body | int]
    plain: bytes

    @property
    def bodies(self) -> list[Body]:
        """List the bodies."""
        return [part for part in self.parts if isinstance(part, Body)]

    @property
    def takes(self) -> int:
        """Count the content of all bodies."""
        return sum(body.size for body in self.bodies)

    @property
    def cost(self) -> int:
        """Weigh the content by what its encoders cost, and all else by the piece (4.6)."""
        pieces = 128 * len(self.parts) + 64 * sum(len(body.edits) for body in self.bodies)
        numbers = [body.encoder for body in self.bodies]
        starts = sum(start_cost(number, before) for number, before in zip(numbers, [0, *numbers], strict=False))
        contents = sum(body.size * byte_cost(*divmod(body.encoder, 16)) for body in self.bodies)
        return 1024 + pieces + 2048 * len(numbers) + starts + contents


def start_cost(number: int, before: int) -> int:
    """Give what a body costs beside, by its encoder and level, and those of the body before it."""
    encoder, level = divmod(number, 16)
    if encoder >= 48:
        return 65536 if encoder == 49 or level >= 10 else 8192
    return 8192 if encoder >= 32 and number != before else 0


def byte_cost(encoder: int, level: int) -> int:
    """Give what a byte of content costs."""
    if encoder >= 48:
        return 2 if encoder == 49 or level >= 14 else 1
    if level == 9 and encoder in (4, 5, 8):
        return 8
    return 2 if encoder >= 32 and level == 4 else 4 if level >= 7 else 1


def read_packing(data: bytes, encoders: list[int], plain: bool = True) -> Packing:
    """Read a packing, with or without its plain bytes behind it."""
    numbers = Column(data)
    count = numbers.next()
    need(count <= 65536, "too many parts")
    parts: list[Body | int] = []
    for _ in range(count):
        kind = numbers.next()
        parts.append(read_body(numbers, kind >> 1, encoders) if kind & 1 else kind >> 1)
    packing = Packing(parts, b"")
    need(sum(len(body.edits) for body in packing.bodies) <= 65536, "too many edits")
    for body in packing.bodies:
        for _, _, bits in body.edits:
            body.literals.append(numbers.take(-(-bits // 8)))
            spare = -bits % 8
            need(not spare or not body.literals[-1][-1] >> 8 - spare, "bits behind the literals")
    if plain:
        packing.plain = numbers.take(sum(part for part in parts if isinstance(part, int)))
    numbers.end()
    return packing


def read_body(numbers: Column, size: int, encoders: list[int]) -> Body:
    """Read a body's recipe and check it (deflate.md, Recipes)."""
    body = Body(size, numbers.next(), numbers.next())
    need(body.encoder in encoders, "a re-encoder that is not listed")
    kind = body.encoder // 16
    right = {6: body.parameter in {8, 9}}.get(kind, body.parameter == 0)
    if kind in {3, 4, 5, 8}:
        right = 16385 <= body.parameter <= 1 << 30
    elif kind == 9:
        right = 128 <= body.parameter < 16388
    elif kind >= 32:
        right = body.parameter < (8 if kind >= 48 else 65536)
    need(right, "a parameter out of range")
    count = numbers.next()
    need(count <= 65536, "too many edits")
    for number in range(count):
        edit = numbers.next(), numbers.next(), numbers.next()
        need(max(edit) < 1 << 62, "an edit out of range")
        need(edit[1] or edit[2], "an edit that does nothing")
        need(edit[0] or not number, "an edit right behind another")
        body.edits.append(edit)
    return body


def pack(packing: Packing, content: Iterator[bytes]) -> bytes:
    """Make the packed bytes of the content."""
    waiting = bytearray()
    at, out = 0, []
    for part in packing.parts:
        if isinstance(part, int):
            out.append(packing.plain[at : at + part])
            at += part
            continue
        while len(waiting) < part.size:
            piece = next(content, None)
            if piece is None:
                raise Refused("less content than the bodies take")
            waiting += piece
        out.append(make_body(part, bytes(waiting[: part.size])))
        del waiting[: part.size]
    need(not waiting and not any(content), "more content than the bodies take")
    return b"".join(out)


# --- dib.md, 5: codecs ----------------------------------------------------------------------------------------------


def decode_frame(codec: int, stored: bytes, size: int, source: bytes, bundle: Bundle) -> bytes:
    """Decode the stored bytes of a frame."""
    if codec == 0:
        result = stored
    elif codec == 1:
        result = unzstd(stored, size)
    elif codec == 2:
        result = unzstd(stored, size, source)
    elif codec == 3:
        result = vcdiff(unzstd(stored, most=2 * size + 65536), size, source)
    elif codec == 4:
        result = Cover(stored, size, len(source)).apply(source)
    elif codec == 5:
        result = relink(stored, size, source)
    else:
        result = unpack(stored, size, source, bundle)
    need(len(result) == size, "a frame yields another size")
    return result


# --- vcdiff.md ------------------------------------------------------------------------------------------------------


class Integers:
    """The integers of VCDIFF: seven bits to a byte, the highest first (RFC 3284, 2)."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        """Take a byte."""
        return self.take(1)[0]

    def take(self, length: int) -> bytes:
        """Take bytes."""
        need(self.at + length <= len(self.data), "a VCDIFF section ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def next(self) -> int:
        """Take an integer."""
        value = 0
        for _ in range(9):
            byte = self.byte()
            value = value << 7 | byte & 127
            need(value < 1 << 62, "a VCDIFF integer of 2^62 or above")
            if byte < 128:
                return value
        raise Refused("a VCDIFF integer of more than 9 bytes")


NOOP, ADD, RUN, COPY = range(4)
Code = tuple[int, int, int]  # instruction, size, mode


@cache
def code_table() -> list[tuple[Code, Code]]:
    """Make the default code table (RFC 3284, 5.6)."""
    none = (NOOP, 0, 0)
    table = [((RUN, 0, 0), none)] + [((ADD, size, 0), none) for size in range(18)]
    for mode in range(9):
        table += [((COPY, size, mode), none) for size in (0, *range(4, 19))]
    for mode in range(9):
        for size in range(1, 5):
            table += [((ADD, size, 0), (COPY, copied, mode)) for copied in (range(4, 7) if mode < 6 else (4,))]
    return table + [((COPY, 4, mode), (ADD, 1, 0)) for mode in range(9)]


@dataclass
class Window:
    """A window of a VCDIFF file, its head read."""

    indicator: int
    length: int
    at: int
    size: int
    adler: int
    data: bytes
    instructions: bytes
    addresses: bytes


def read_windows(delta: bytes) -> list[Window]:
    """Read the heads of all windows."""
    file = Integers(delta)
    need(file.take(4) == b"\xd6\xc3\xc4\x00", "not a VCDIFF file")
    indicator = file.byte()
    need(indicator in {0, 4}, "a VCDIFF header indicator that is not known")
    if indicator:
        file.take(file.next())
    windows: list[Window] = []
    while not windows or file.at < len(delta):
        windows.append(read_window(file))
    return windows


def read_window(file: Integers) -> Window:
    """Read one window's head and sections."""
    indicator = file.byte()
    need(indicator < 8 and indicator & 3 != 3, "a VCDIFF window indicator that is not known")
    length, at = (file.next(), file.next()) if indicator & 3 else (0, 0)
    encoded = file.next()
    start = file.at
    size = file.next()
    need(file.byte() == 0, "a VCDIFF delta indicator that is not 0")
    data, instructions, addresses = file.next(), file.next(), file.next()
    adler = int.from_bytes(file.take(4), "big") if indicator & 4 else 0
    window = Window(indicator, length, at, size, adler, file.take(data), file.take(instructions), file.take(addresses))
    need(file.at - start == encoded, "a VCDIFF delta of another length")
    return window


def vcdiff(delta: bytes, size: int, source: bytes) -> bytes:
    """Decode a VCDIFF file."""
    windows = read_windows(delta)
    need(sum(window.size for window in windows) == size, "VCDIFF windows make another size")
    need(all(window.size for window in windows) or len(windows) == 1, "a VCDIFF window that makes nothing")
    need(len(windows) <= 16 + size // 4096, "too many VCDIFF windows")
    target = bytearray()
    for window in windows:
        whole = source if window.indicator & 1 else target
        need(window.at + window.length <= len(whole), "a VCDIFF source segment that is not there")
        segment = whole[window.at : window.at + window.length]
        made = Vcdiff(window, bytes(segment)).run()
        need(not window.indicator & 4 or zlib.adler32(made) == window.adler, "a VCDIFF window's Adler-32 is wrong")
        target += made
    return bytes(target)


class Vcdiff:
    """The decoding of one window."""

    def __init__(self, window: Window, segment: bytes) -> None:
        self.window, self.segment = window, segment
        self.data, self.addresses = Integers(window.data), Integers(window.addresses)
        self.made = bytearray()
        self.near, self.same, self.slot = [0] * 4, [0] * 768, 0

    def run(self) -> bytes:
        """Follow the instructions."""
        instructions = Integers(self.window.instructions)
        while instructions.at < len(instructions.data):
            for code, fixed, mode in code_table()[instructions.byte()]:
                if code == NOOP:
                    continue
                size = fixed or instructions.next()
                need(len(self.made) + size <= self.window.size, "a VCDIFF window makes too much")
                if code == ADD:
                    self.made += self.data.take(size)
                elif code == RUN:
                    self.made += self.data.take(1) * size
                else:
                    self.copy(self.address(mode), size)
        need(len(self.made) == self.window.size, "a VCDIFF window makes too little")
        need(self.data.at == len(self.data.data), "VCDIFF data is left over")
        need(self.addresses.at == len(self.addresses.data), "VCDIFF addresses are left over")
        return bytes(self.made)

    def address(self, mode: int) -> int:
        """Decode an address (RFC 3284, 5.3)."""
        here = len(self.segment) + len(self.made)
        if mode == 0:
            address = self.addresses.next()
        elif mode == 1:
            address = here - self.addresses.next()
        elif mode < 6:
            address = self.near[mode - 2] + self.addresses.next()
        else:
            address = self.same[(mode - 6) * 256 + self.addresses.byte()]
        need(0 <= address < here, "a VCDIFF address out of range")
        self.near[self.slot] = address
        self.slot = (self.slot + 1) % 4
        self.same[address % 768] = address
        return address

    def copy(self, address: int, size: int) -> None:
        """Copy from the source segment and the window, which may overlap what is written."""
        part = self.segment[address : address + size]
        self.made += part
        size -= len(part)
        start = max(0, address - len(self.segment))
        while size:
            part = bytes(self.made[start : start + size])
            self.made += part
            size -= len(part)


# --- cover.md -------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """A stream header."""

    packer: int
    stored: int
    size: int


def stream_headers(numbers: Column, count: int, packers: Iterable[int] = (0, 1, 2)) -> list[Stored]:
    """Read stream headers."""
    headers = []
    for _ in range(count):
        header = Stored(numbers.take(1)[0], numbers.next(), numbers.next())
        need(header.packer in packers, "a packer that is not known here")
        need(header.size or not header.packer, "an empty stream that is not stored")
        headers.append(header)
    return headers


def unpacked(header: Stored, data: bytes, source: bytes = b"") -> bytes:
    """Unpack a stream (packers 0, 1, 2 and 5)."""
    if header.packer == 0:
        result = data
    elif header.packer == 1:
        result = unzstd(data, header.size)
    elif header.packer == 5:
        result = unzstd(data, header.size, source)
    else:
        words = min(max(header.size, 4096), 64 * MiB)
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": words}])
        try:
            result = decoder.decompress(data, header.size + 1)
            if not decoder.eof:
                result += decoder.decompress(b"", 1)
        except (lzma.LZMAError, EOFError) as error:
            raise Refused(f"LZMA2: {error}") from error
        need(decoder.eof and not decoder.unused_data, "LZMA2 without its end mark, or with more behind it")
    need(len(result) == header.size, "a stream holds another size than it declares")
    return result


def add_bytes(one: bytes, other: bytes) -> bytes:
    """Add byte by byte, modulo 256."""
    out = []
    for at in range(0, len(other), 4096):
        part = other[at : at + 4096]
        if not part.strip(b"\0"):
            out.append(one[at : at + len(part)])
            continue
        low = int.from_bytes(b"\x7f" * len(part), "little")
        a, b = int.from_bytes(one[at : at + len(part)], "little"), int.from_bytes(part, "little")
        out.append((((a & low) + (b & low)) ^ ((a ^ b) & ~low & (low << 1 | low))).to_bytes(len(part), "little"))
    return b"".join(out)


class Piece(NamedTuple):
    """A cover: where it is in the target and in the source."""

    target: int
    source: int
    length: int


PACKERS = [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2, 3, 4}, {0, 1, 2, 5}]


class Cover:
    """A cover payload: its streams, with the covers unpacked and checked."""

    def __init__(self, payload: bytes, size: int, source_size: int) -> None:
        numbers = Column(payload)
        count = numbers.next()
        need(count <= min(size, 1 << 20), "too many covers")
        self.headers = stream_headers(numbers, 5, range(6))
        need(sum(header.stored for header in self.headers) == len(payload) - numbers.at, "streams of another length")
        for number, header in enumerate(self.headers):
            need(header.packer in PACKERS[number], "a packer that is not for this stream")
            need(number > 2 or count <= header.size <= 9 * count, "a stream of covers of an impossible size")
        need(self.headers[3].size + self.headers[4].size == size, "streams do not add up to the target")
        self.data = [numbers.take(header.stored) for header in self.headers]
        self.size = size
        self.covers = self.read(count, source_size)

    def read(self, count: int, source_size: int) -> list[Piece]:
        """Unpack and check the covers."""
        gaps, lengths, seeks = (Column(unpacked(self.headers[i], self.data[i])) for i in range(3))
        covers, target, source = [], 0, 0
        for _ in range(count):
            gap, length = gaps.next(), lengths.positive()
            target += gap
            source += gap + seeks.signed()
            need(source >= 0 and source + length <= source_size, "a cover outside of the source")
            need(target + length <= self.size, "a cover outside of the target")
            covers.append(Piece(target, source, length))
            target, source = target + length, source + length
        for numbers in (gaps, lengths, seeks):
            numbers.end()
        need(sum(cover.length for cover in covers) == self.headers[3].size, "covers of another length in all")
        return covers

    def differences(self, source: bytes) -> bytes:
        """Unpack stream 3."""
        header, data = self.headers[3], self.data[3]
        if header.packer == 3:
            need(
                data and 1 << (data[0] & 223) <= max(1 << 10, 4 * header.size), "a model too large for its differences"
            )
            return Model(data, source).run(self.covers)
        return sparse(data, header.size) if header.packer == 4 else unpacked(header, data)

    def context(self, source: bytes) -> bytes:
        """Gather the context of the literals."""
        out = bytearray()
        end = behind = 0  # of the cover before, in the target and in the source
        for cover in self.covers:
            if cover.target > end:
                out += source[behind : behind + min(512, 8 * MiB - len(out))]
                out += source[max(cover.source - min(512, 8 * MiB - len(out)), 0) : cover.source]
            end, behind = cover.target + cover.length, cover.source + cover.length
        return bytes(out + source[behind : behind + min(512, 8 * MiB - len(out))])

    def apply(self, source: bytes, machine: int = 0) -> bytes:
        """Make the target; `machine` is whose operands in literals are absolute."""
        literals = unpacked(self.headers[4], self.data[4], self.context(source) if self.headers[4].packer == 5 else b"")
        turned, end, at = [], 0, 0
        for piece in [*self.covers, Piece(self.size, 0, 0)]:
            run = bytearray(literals[at : at + piece.target - end])
            turned.append(RELATIVE[machine](run, end, self.size))
            end, at = piece.target + piece.length, at + len(run)
        literals = b"".join(turned)
        differences = self.differences(source)
        out, literal, covered, end = [], 0, 0, 0
        for cover in self.covers:
            gap = cover.target - end
            out.append(literals[literal : literal + gap])
            part = source[cover.source : cover.source + cover.length]
            out.append(add_bytes(part, differences[covered : covered + cover.length]))
            literal, covered, end = literal + gap, covered + cover.length, cover.target + cover.length
        out.append(literals[literal:])
        return b"".join(out)


def sparse(data: bytes, size: int) -> bytes:
    """Unpack packer 4: runs between zeros."""
    numbers = Column(data)
    headers = stream_headers(numbers, 3)
    need(sum(header.size for header in headers) <= size * 3 // 2 + 3, "the streams of runs are too long")
    need(sum(header.stored for header in headers) == len(data) - numbers.at, "streams of another length")
    gaps, lengths, values = (unpacked(header, numbers.take(header.stored)) for header in headers)
    out, runs, run, at = bytearray(), Column(gaps), Column(lengths), 0
    while runs.at < len(gaps):
        gap, length = runs.next(), run.positive()
        need(len(out) + gap + length <= size and at + length <= len(values), "runs end beyond the stream")
        out += bytes(gap) + values[at : at + length]
        at += length
    run.end()
    need(at == len(values), "values are left over")
    return bytes(out) + bytes(size - len(out))


# --- cover.md, the model --------------------------------------------------------------------------------------------

GOLD = 0x9E3779B1
RATE = [131072 // (2 * n + 3) for n in range(16)]


@cache
def squash_table() -> list[int]:
    """Give squash(x) at x + 2048."""
    table, power = [32768] * 4097, 1 << 32
    for x in range(2049):
        table[2048 + x] = (1 << 48) // ((1 << 32) + power)
        table[2048 - x] = 65536 - table[2048 + x]
        power = power * 4278222832 >> 32
    return table


@cache
def stretch_table() -> list[int]:
    """Give stretch(p) at p."""
    squash, table, x = squash_table(), [], -2047
    for p in range(4096):
        while x < 2047 and squash[x + 2048] < 16 * p + 8:
            x += 1
        table.append(x)
    return table


def mixed_hash(key: int) -> int:
    """Give H(key)."""
    return key * 0x9E3779B97F4A7C15 >> 32 & U32


class Coder:
    """The arithmetic decoder."""

    def __init__(self, data: bytes) -> None:
        need(len(data) >= 4, "an arithmetic-coded stream is too short")
        self.data, self.at = data, 4
        self.range, self.code = U32, int.from_bytes(data[:4], "big")
        need(self.code < self.range, "an arithmetic-coded stream begins with a number out of range")

    def bit(self, chance: int) -> int:
        """Decode a bit that is 1 with chance / 65536."""
        bound = (self.range >> 16) * min(max(chance, 32), 65504)
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 24:
            need(self.at < len(self.data), "an arithmetic-coded stream ends early")
            self.range <<= 8
            self.code = self.code << 8 | self.data[self.at]
            self.at += 1
        return bit

    def end(self) -> None:
        """Check the end of the stream."""
        need(self.at == len(self.data) and not self.code, "an arithmetic-coded stream ends wrongly")


class Counters:
    """Counters: probabilities of 12 bits and counts."""

    def __init__(self, size: int, p: int) -> None:
        self.p, self.n = array("H", [p]) * size, array("B", [0]) * size

    def learn(self, at: int, bit: int) -> None:
        """Learn a bit."""
        p, n = self.p[at], self.n[at]
        self.p[at] = p + (((65535 if bit else 15) - 16 * p - n >> 1) * RATE[n] >> 19)
        self.n[at] = min(n + 1, 15)

    def alone(self, coder: Coder, at: int) -> int:
        """Decode a bit with one counter alone, and learn it."""
        bit = coder.bit(16 * self.p[at])
        self.learn(at, bit)
        return bit


class Model:
    """Packer 3: the differences, arithmetic-coded."""

    def __init__(self, data: bytes, source: bytes) -> None:
        need(data, "a model stream is too short")
        self.bits = data[0] & 223
        need(10 <= self.bits <= 18, "a model's bits out of range")
        self.rare = 256 if data[0] & 32 else 64
        self.coder = Coder(data[1:])
        self.source = bytes(3) + source + bytes(4)  # 0 outside; offsets are three higher
        self.flag, self.guess = Counters(3 << self.bits, 256), Counters(2 << self.bits, 2048)
        self.value, self.span = Counters(4 << self.bits, 2048), Counters(256, 2048)
        self.weights = {"flag": [24576] * 96, "guess": [24576] * 2048, "value": [24576] * 4096}
        self.near, self.far, self.more = [0] * 65536, [0] * 65536, [0] * 65536
        self.words = [(0, 0)] * 65536
        self.seen = self.spans = self.hits = self.last = 0
        self.still = 32

    def run(self, covers: list[Piece]) -> bytes:
        """Decode the differences of all covers."""
        out = bytearray()
        for cover in covers:
            moved = cover.target - cover.source & U32
            at, end = cover.source, cover.source + cover.length
            while at < end:
                passed = self.still == 32 and end - at >= 32 and self.unchanged()
                made = bytes(32) if passed else self.next(at, end, moved)
                out += made
                at += len(made)
        self.coder.end()
        return bytes(out)

    def unchanged(self) -> int:
        """Step 1."""
        bit = self.span.alone(self.coder, self.spans & 255)
        self.spans = (self.spans * 2 + bit) & 255
        if not bit:
            self.still = 0
        return bit

    def mix(self, counters: Counters, places: list[int], name: str, number: int) -> int:
        """Decode a bit mixed from counters."""
        p, weights, count = counters.p, self.weights[name], len(places)
        x = [stretch_table()[p[at]] for at in places]
        weight = weights[count * number : count * (number + 1)]
        q = squash_table()[min(max(sum(map(mul, x, weight)) >> 16, -2048), 2047) + 2048]
        bit = self.coder.bit(q)
        error, most = 65536 * bit - q, (1 << 18) - 1
        weights[count * number : count * (number + 1)] = [
            min(max(w + ((v * error + 8192) >> 14), -most), most) for w, v in zip(weight, x, strict=True)
        ]
        for at in places:
            counters.learn(at, bit)
        return bit

    def places(self, hashes: list[int]) -> list[int]:
        """Give the counters of tables, one after the other, at the highest bits of hashes."""
        return [(i << self.bits) + (h >> 32 - self.bits) for i, h in enumerate(hashes)]

    def next(self, at: int, end: int, moved: int) -> bytes:
        """Decode an unchanged byte, or a group (steps 2 to 6)."""
        p3, p2, p1 = self.source[at : at + 3]
        word = int.from_bytes(self.source[at + 3 : at + 7], "little")
        slot = mixed_hash(256 * word + p1) >> 16
        old, group = self.words[slot]
        known = int(group != 0 and old == word)
        if not self.flagged(word, p1, p2, p3, known):
            return b"\0"
        size = min(4, end - at)
        mask = (1 << 8 * size) - 1
        aim = at + word & U32
        near, far = mixed_hash(aim) >> 16, aim >> 12 & 65535
        of_near, of_far = (
            by_bytes(word + shift - moved & U32, word, -1) & mask if shift else 0
            for shift in (self.near[near], self.far[far])
        )
        of_more = by_bytes(word + self.more[word >> 16] & U32, word, -1) & mask
        guesses = [of_near, group & mask if known else 0, self.last & mask, of_far, of_more]
        made = self.guessed(guesses, p1, p2)
        if made is None:
            made = self.spelled(size, word, p1, p2, of_near)
        if size == 4:
            self.more[word >> 16] = by_bytes(word, made, 1) - word & U32
            self.near[near] = self.far[far] = self.more[word >> 16] + moved & U32
        self.words[slot], self.last = (word, made), made
        return made.to_bytes(size, "little")

    def flagged(self, word: int, p1: int, p2: int, p3: int, known: int) -> int:
        """Step 2: whether a group begins."""
        before, two = self.seen, p1 + 256 * p2
        hashes = [
            mixed_hash(4096 * p1 + (before & 4095)),
            mixed_hash(65536 * two + 256 * (word >> 24) + known),
            mixed_hash(256 * (two + 65536 * p3) + (word & 255)),
        ]
        places = self.places(hashes)
        if self.flag.p[places[0]] < self.rare and self.flag.n[places[0]] >= 8:
            bit = self.flag.alone(self.coder, places[0])
        else:
            bit = self.mix(self.flag, places, "flag", known + 2 * (before & 15))
        self.seen = (before * 2 + bit) & U32
        self.still = 0 if bit else min(self.still + 1, 32)
        return bit

    def guessed(self, guesses: list[int], p1: int, p2: int) -> int | None:
        """Step 4: the guess that is right, if one is."""
        for j, guess in enumerate(guesses):
            if not guess & 255 or guess in guesses[:j]:
                continue
            alike = sum((guesses[k] == guess) << k - 1 for k in range(j + 1, 5))
            what = j + 8 * alike
            hashes = [
                mixed_hash(256 * what + (self.hits & 255)),
                mixed_hash(65536 * what + p1 + 256 * p2),
            ]
            bit = self.mix(self.guess, self.places(hashes), "guess", what + 128 * (self.hits & 7))
            self.hits = (self.hits * 2 + bit) & 255
            if bit:
                return guess
        return None

    def spelled(self, size: int, word: int, p1: int, p2: int, near: int) -> int:
        """Step 5: a group byte by byte."""
        made = previous = 0
        for j in range(size):
            here, of_near, of_last = (value >> 8 * j & 255 for value in (word, near, self.last))
            contexts = [
                mixed_hash(256 * made + j),
                mixed_hash(65536 * (here + 256 * p1) + 256 * previous + j),
                mixed_hash(65536 * of_near + 256 * of_last + j),
                mixed_hash(65536 * (p1 + 256 * p2) + 256 * previous + j),
            ]
            previous = self.byte(contexts, j)
            made |= previous << 8 * j
        return made

    def byte(self, contexts: list[int], j: int) -> int:
        """Decode a byte of a group."""
        tree, node, lines = 1, 1, [0] * 4
        for b in range(7, -1, -1):
            if b in {7, 3}:
                t, node = tree * GOLD if b == 3 else 0, 1
                spots = [((context + t) * GOLD & U32) >> 36 - self.bits for context in contexts]
                lines = [(i << self.bits) + 16 * spot for i, spot in enumerate(spots)]
            if b == 7 and j and not self.mix(self.value, lines, "value", 256 * j):
                return 0
            bit = self.mix(self.value, [line + node for line in lines], "value", 256 * j + tree)
            tree, node = 2 * tree + bit, 2 * node + bit
        return tree - 256


def by_bytes(one: int, other: int, sign: int) -> int:
    """Add or subtract two words byte by byte, modulo 256."""
    return sum(((one >> s & 255) + sign * (other >> s & 255) & 255) << s for s in (0, 8, 16, 24))


# --- relink.md ------------------------------------------------------------------------------------------------------

HOLE, DATA, TABLE, CODE = range(4)


@dataclass
class Region:
    """A region of the source."""

    start: int
    length: int
    address: int
    base: int
    mode: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + self.length


def bounded(value: int) -> int:
    """Refuse an address out of range."""
    need(0 <= value <= 1 << 61, "an address out of range")
    return value


def read_regions(data: bytes, count: int, size: int, modes: set[int]) -> list[Region]:
    """Read stream 0 or 1: the regions of the source, or the sections of the target."""
    numbers, regions, at, address = Column(data), [], 0, 0
    for _ in range(count):
        start, length = at + numbers.next(), numbers.positive()
        address = bounded(address + numbers.signed())
        mode = numbers.next()
        need(mode in modes, "an unknown mode")
        base = bounded(address + numbers.signed()) if mode in {3, 7, 8, 9, 10, 13, 14} else address
        region = Region(start, length, address, base, mode)
        at, address = region.end, bounded(address + length)
        need(at <= size, "a region that ends beyond the source, or a section beyond the target")
        regions.append(region)
    numbers.end()
    need(sum(region.mode in {6, 8} for region in regions) <= 16, "too many regions of tables")
    return regions


@dataclass
class Fixed:
    """A step of the map."""

    address: int
    shift: int
    kind: int


def read_steps(at: bytes, shift: bytes, kinds: bytes) -> list[Fixed]:
    """Read streams 2 to 4: the fixed steps."""
    places, shifts = Column(at), Column(shift)
    steps: list[Fixed] = []
    address = moved = 0
    for kind in kinds:
        distance = places.next()
        need(distance or not steps, "fixed steps that do not ascend")
        address, moved = bounded(address + distance), moved + shifts.signed()
        need(-(1 << 61) < moved < 1 << 61 and kind <= CODE, "a fixed step with a shift or kind out of range")
        steps.append(Fixed(address, moved, kind))
    places.end()
    shifts.end()
    return steps


class Move(NamedTuple):
    """A piece of a cover: source addresses that moved by a shift."""

    start: int
    end: int
    shift: int


def moves(covers: list[Piece], least: int, regions: list[Region], sections: list[Region]) -> list[Move]:
    """Cut covers into pieces, and put these in order (The map, 1 and 2)."""
    starts, targets = [region.start for region in regions], [section.start for section in sections]
    result = []
    for cover in covers:
        if cover.length < least:
            continue
        distance, end = cover.target - cover.source, cover.source + cover.length
        for region in regions[max(bisect_right(starts, cover.source) - 1, 0) : bisect_right(starts, end)]:
            low, high = max(region.start, cover.source), min(region.end, end)
            first = max(bisect_right(targets, low + distance) - 1, 0)
            for section in sections[first : bisect_right(targets, high + distance)]:
                begin = max(low, section.start - distance)
                length = min(high, section.end - distance) - begin
                if length >= least:
                    start = region.address + begin - region.start
                    moved = section.address + begin + distance - section.start
                    result.append(Move(start, start + length, moved - start))
                    need(len(result) <= 1 << 21, "too many pieces")
    return sorted(result, key=lambda move: (move.start, move.start - move.end))


def without_overlaps(pieces: list[Move]) -> list[Move]:
    """Keep what does not overlap (The map, 3)."""
    kept: list[Move] = []
    for piece in pieces:
        start, end, shift = piece
        while kept and start < kept[-1].end:
            if end - start <= kept[-1].end - kept[-1].start:
                start = kept[-1].end
            elif start > kept[-1].start:
                kept[-1] = Move(kept[-1].start, start, kept[-1].shift)
                break
            else:
                kept.pop()
        if start < end:
            kept.append(Move(start, end, shift))
    return kept


def merge_steps(fixed: list[Fixed], pieces: list[Move]) -> list[Fixed]:
    """Merge fixed steps and pieces (The map, 4)."""
    steps: list[Fixed] = []
    waiting = iter([*pieces, Move(1 << 65, 1 << 65, 0)])
    piece = next(waiting)
    while fixed and piece.start < fixed[0].address:
        piece = next(waiting)
    for number, step in enumerate(fixed):
        steps.append(step)
        end = fixed[number + 1].address if number + 1 < len(fixed) else 1 << 64
        while piece.start < end:
            if step.kind != HOLE and piece.shift != steps[-1].shift:
                if steps[-1].address == piece.start:
                    steps.pop()
                steps.append(Fixed(piece.start, piece.shift, step.kind))
            piece = next(waiting)
    return steps


class Derived:
    """Takes fields that follow from others off a source, or puts them back into a target."""

    def __init__(self, data: bytearray, parts: list[Region], put_back: bool) -> None:
        self.data, self.put_back = data, put_back
        self.parts = sorted(parts, key=lambda part: part.address)
        self.addresses = [part.address for part in self.parts]
        self.met: set[int] = set()
        ways = [(9, self.relocations), (4, self.index), (5, self.frames)]
        for mode, way in reversed(ways) if put_back else ways:
            for part in parts:
                if part.mode == mode:
                    way(part)

    def part_at(self, address: int) -> Region | None:
        """Find the part at an address."""
        number = bisect_right(self.addresses, address)
        return self.parts[number - 1] if number else None

    def get(self, at: int, width: int = 4) -> int:
        """Read a field."""
        return int.from_bytes(self.data[at : at + width], "little")

    def put(self, at: int, value: int, width: int = 4) -> None:
        """Write a field."""
        self.data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")

    def turn(self, at: int, other: int, width: int = 4) -> int:
        """Make a field a distance, or what that is of; gives the original."""
        before = self.get(at, width)
        self.put(at, before + other if self.put_back else before - other, width)
        return self.get(at, width) if self.put_back else before

    def relocations(self, part: Region) -> None:
        """Mode 9."""
        first = 0
        for at in range(part.start, part.end - 23, 24):
            first = self.turn(at, first, 8)
            if self.get(at + 8, 8) in {8, 1027}:
                place = first + part.base & U64
                other = self.part_at(place)
                held = 0
                if other and other.mode not in {4, 5, 9} and place + 8 <= other.address + other.length:
                    held = self.get(other.start + place - other.address, 8)
                self.turn(at + 16, held, 8)

    def records(self, part: Region) -> Iterator[tuple[int, int]]:
        """Yield offset and size of the records in a part of frames."""
        at = part.start
        while at + 16 <= part.end:
            size = self.get(at) + 4
            if size < 8 or at + size > part.end:
                return
            yield at, size
            at += size

    def frames(self, part: Region) -> None:
        """Mode 5."""
        end = table = 0
        for at, size in self.records(part):
            given = self.get(at + 4)
            self.put(at + 4, at - part.start + 4 - given)
            if (self.get(at + 4) if self.put_back else given) == 0 or size < 16:
                continue
            place = part.address + at - part.start
            end = place + 8 + self.exchange(at + 8, (end + 15 & U32 & ~15) - (place + 8)) + self.get(at + 12) & U32
            if size >= 21 and self.data[at + 16] == 4:
                table = place + 17 + self.exchange(at + 17, table - (place + 17)) & U32

    def exchange(self, at: int, expected: int) -> int:
        """Exchange a word; gives the original."""
        word, high = self.get(at), 1 << 31
        other, expected = word, expected & U32
        if (expected - high + 8192 & U32) >= 16384:
            if (word - expected & U32) < 8192:
                other = word - expected + high
            elif (word - high & U32) < 8192:
                other = word - high + expected
        self.put(at, other)
        return self.get(at) if self.put_back else word

    def index(self, part: Region) -> None:
        """Mode 4."""
        if part.length < 12 or self.data[part.start : part.start + 4] != b"\1\x1b\3\x3b":
            return
        word = self.get(part.start + 4)
        address = part.address + 4 + (word ^ 1 << 31) - (1 << 31) & U64
        other = self.part_at(address)
        if other is None or other.address != address or other.mode != 5 or other.start in self.met:
            return
        self.met.add(other.start)
        pairs = []
        for at, size in self.records(other):
            if self.get(at + 4) and size >= 16:
                frame = address - part.address + at - other.start
                pairs.append((frame + 8 + self.get(at + 8) & U32, frame & U32))
        pairs = pairs[: (part.length - 12) // 8]
        pairs.sort(key=lambda pair: (pair[0] ^ 1 << 31, pair[1]))
        for number, pair in enumerate(pairs):
            self.turn(part.start + 12 + 8 * number, pair[0])
            self.turn(part.start + 16 + 8 * number, pair[1])


class Relink:
    """Computes the addresses in the source anew."""

    def __init__(self, source: bytes, steps: list[Fixed]) -> None:
        self.data = bytearray(source)
        self.steps, self.addresses = steps, [step.address for step in steps]
        self.marked: set[int] = set()
        self.hole = Fixed(0, 0, HOLE)
        self.region = Region(0, 0, 0, 0, 0)

    def run(self, regions: list[Region]) -> bytes:
        """Relink all regions."""
        ways: list[Callable[[], None]] = [
            *[lambda: None, self.x86, self.aarch64, self.pointers, lambda: None, self.frames, self.tables, self.x86],
            *[self.tables, self.relocations, self.symbols, self.riscv, self.thumb, self.words, self.go],
        ]
        Derived(self.data, regions, put_back=False)
        late = [region for region in regions if region.mode in {6, 8}]
        for self.region in [region for region in regions if region.mode not in {6, 8}] + late:
            ways[self.region.mode]()
        return bytes(self.data)

    def step(self, address: int) -> Fixed:
        """Find the step of an address."""
        address &= U64
        number = bisect_right(self.addresses, address)
        return self.steps[number - 1] if number and address < 1 << 63 else self.hole

    def place(self, at: int) -> int:
        """Give the address of an offset."""
        return self.region.address + at - self.region.start

    def word(self, at: int) -> int:
        """Read a word."""
        return int.from_bytes(self.data[at : at + 4], "little")

    def write(self, at: int, word: int) -> None:
        """Write a word."""
        self.data[at : at + 4] = (word & U32).to_bytes(4, "little")

    def mark(self, address: int, kind: int) -> None:
        """Mark a target in a table."""
        if kind == TABLE:
            self.marked.add(address & U64)

    def distance(self, at: int, zero: int, least: int, own: bool) -> bool:
        """Relink a distance from an address; `own`: what moves is the place of the word."""
        word = self.word(at)
        target = zero + (word ^ 1 << 31) - (1 << 31)
        step = self.step(target)
        if step.kind < least:
            return False
        self.write(at, word + step.shift - self.step(self.place(at) if own else zero).shift)
        self.mark(target, step.kind)
        return True

    def aligned(self, width: int) -> range:
        """List the offsets of whole words at places that a width divides."""
        first = self.region.start + -self.region.address % width
        return range(first, self.region.end - width + 1, width)

    def pointers(self) -> None:
        """Mode 3."""
        for at in self.aligned(8):
            self.pointer(at)

    def pointer(self, at: int, base: int | None = None) -> bool:
        """Relink a pointer."""
        value = int.from_bytes(self.data[at : at + 8], "little")
        step = self.step(value + (self.region.base if base is None else base))
        if not value or step.kind == HOLE:
            return False
        self.data[at : at + 8] = (value + step.shift & U64).to_bytes(8, "little")
        return True

    def relocations(self) -> None:
        """Mode 9."""
        for at in range(self.region.start + 16, self.region.end - 7, 24):
            self.pointer(at)

    def symbols(self) -> None:
        """Mode 10."""
        base = self.region.base
        for at in range(self.region.start, self.region.end - 23, 24):
            step = self.step(base + self.word(at))
            if step.kind != HOLE:
                self.write(at, self.word(at) + step.shift - self.step(base).shift)
            self.pointer(at + 8, base >> 40 << 40)

    def tables(self) -> None:
        """Modes 6 and 8."""
        zero: int | None = None
        at = self.region.start
        while at + 4 <= self.region.end:
            place = self.place(at)
            if place in self.marked:
                zero = place
            if zero is not None and not self.distance(at, zero, CODE, own=False):
                zero = None
            free = self.region.mode == 8 and zero is None and place % 8 == 0 and at + 8 <= self.region.end
            at += 8 if free and self.pointer(at) else 4

    def frames(self) -> None:
        """Mode 5."""
        at, end = self.region.start, self.region.end
        while at + 16 <= end:
            size = self.word(at) + 4
            if size < 8 or at + size > end:
                return
            if self.word(at + 4) != at - self.region.start + 4 and size >= 16:
                self.own_distance(at + 8, CODE)
                if self.data[at + 16 : at + 17] == b"\4" and size >= 21:
                    self.own_distance(at + 17, DATA)
            at += size

    def own_distance(self, at: int, least: int) -> None:
        """Relink a distance from its own place, unless it is exchanged."""
        if not 1 << 31 <= self.word(at) < (1 << 31) + 8192:
            self.distance(at, self.place(at), least, own=True)

    def words(self) -> None:
        """Mode 13."""
        for at in self.aligned(4):
            step = self.step(self.word(at) + self.region.base)
            if self.word(at) and step.kind != HOLE:
                self.write(at, self.word(at) + step.shift)

    def go(self) -> None:
        """Mode 14."""
        region = self.region
        if region.length < 72:
            return
        count, names, programs, functions = (
            int.from_bytes(self.data[region.start + at : region.start + at + 8], "little") for at in (8, 32, 56, 64)
        )
        if max(names, programs, functions) > region.length or count > (region.length - functions) // 8:
            return
        end = 0
        for number in range(count):
            entry = region.start + functions + 8 * number
            record = region.start + functions + self.word(entry + 4)
            self.offset(entry, region.base, CODE)
            self.offset(entry + 4, region.address + functions, DATA)
            if record < end or record + 44 > region.end:
                continue
            more = min(self.word(record + 28), 8)
            end = record + 44 + 4 * more
            self.offset(record, region.base, CODE)
            self.offset(record + 4, region.address + names, DATA)
            for at in (16, 20, 24, *range(44, 44 + 4 * more, 4)):
                if record + at + 4 <= region.end and self.word(record + at):
                    self.offset(record + at, region.address + programs, DATA)

    def offset(self, at: int, zero: int, least: int) -> None:
        """Relink an offset from an address."""
        step = self.step(zero + self.word(at))
        if step.kind >= least:
            self.write(at, self.word(at) + step.shift - self.step(zero).shift)

    def riscv(self) -> None:
        """Mode 11."""
        self.pages = {}
        at, end = self.region.start + self.region.address % 2, self.region.end
        while at + 4 <= end:
            op = self.word(at)
            if op & 3 != 3:
                at += 2
                continue
            kind, register = op & 127, op >> 7 & 31
            if kind == 0x6F:
                self.jump(at, op)
                self.pages.pop(register, None)
            elif kind == 0x17:
                page = self.place(at) + ((op & 0xFFFFF000) ^ 1 << 31) - (1 << 31)
                self.pages.pop(register, None)
                if self.step(page - 2048).kind != HOLE or self.step(page + 2047).kind != HOLE:
                    self.pages[register] = (at, page, False)
            else:
                if kind in {3, 7, 0x23, 0x27} or (kind in {0x13, 0x67} and not op & 0x7000):
                    self.riscv_low(at, op, kind in {0x23, 0x27})
                if kind not in {7, 0x23, 0x27, 0x63}:
                    self.pages.pop(register, None)
            at += 4

    def jump(self, at: int, op: int) -> None:
        """Relink a JAL."""
        number = (op >> 21 & 1023) << 1 | (op >> 20 & 1) << 11 | (op >> 12 & 255) << 12 | op >> 31 << 20
        distance, place = (number ^ 1 << 20) - (1 << 20), self.place(at)
        step = self.step(place + distance)
        if step.kind == CODE:
            far = distance + step.shift - self.step(place).shift
            bits = (far >> 20 & 1) << 31 | (far >> 1 & 1023) << 21 | (far >> 11 & 1) << 20 | (far >> 12 & 255) << 12
            self.write(at, op & 4095 | bits)

    def riscv_low(self, at: int, op: int, store: bool) -> None:
        """Relink what adds to a page, and the AUIPC that set it."""
        register = op >> 15 & 31
        where, page, done = self.pages.get(register, (-1000, 0, False))
        if at - where > 256:
            return
        low = op >> 25 << 5 | op >> 7 & 31 if store else op >> 20
        target = page + (low ^ 2048) - 2048
        step = self.step(target)
        if step.kind == HOLE:
            return
        self.mark(target, step.kind)
        place = self.place(where)
        far = target + step.shift - place - self.step(place).shift
        if store:
            self.write(at, op & 0x01FFF07F | (far >> 5 & 127) << 25 | (far & 31) << 7)
        else:
            self.write(at, op & 0xFFFFF | (far & 4095) << 20)
        if not done:
            self.pages[register] = (where, page, True)
            self.write(where, self.word(where) & 4095 | far + 2048 & 0xFFFFF000)

    def thumb(self) -> None:
        """Mode 12."""
        loaded: dict[int, tuple[int, int]] = {}  # register: where, from where
        at, start, end = self.region.start + self.region.address % 2, self.region.start, self.region.end
        while at + 2 <= end:
            op = int.from_bytes(self.data[at : at + 2], "little")
            size = 4 if op & 0xF800 >= 0xE800 else 2
            if at + size > end:
                return
            op = self.word(at) if size == 4 else op
            base = start + (self.place(at) + 4 & ~3) - self.region.address
            source, register = -1, 0
            if size == 4 and op & 0xF800 == 0xF000 and op >> 16 & 0xD000 in {0x9000, 0xC000, 0xD000}:
                self.thumb_branch(at, op)
            elif size == 4 and op & 0xFF7F == 0xF85F:
                source, register = base + (1 if op & 128 else -1) * (op >> 16 & 4095), op >> 28
            elif size == 2 and op & 0xF800 == 0x4800:
                source, register = base + 4 * (op & 255), op >> 8 & 7
            elif size == 2 and op & 0xFF78 == 0x4478:
                where, literal = loaded.pop(op & 7 | op >> 4 & 8, (-1000, 0))
                if at - where <= 256:
                    self.literal(at, literal)
            if start <= source <= end - 4:
                loaded[register] = (at, source)
            at += size

    def literal(self, at: int, literal: int) -> None:
        """Relink a word in a literal pool that a place is added to."""
        word = self.word(literal)
        target = self.place(at) + 4 + (word ^ 1 << 31) - (1 << 31)
        step = self.step(target)
        if step.kind != HOLE:
            self.mark(target, step.kind)
            self.write(literal, word + step.shift - self.step(self.place(at)).shift)

    def thumb_branch(self, at: int, op: int) -> None:
        """Relink BL, BLX and B.W."""
        s = op >> 10 & 1
        first, second = int(op >> 29 & 1 == s), int(op >> 27 & 1 == s)
        number = s << 24 | first << 23 | second << 22 | (op & 1023) << 12 | (op >> 16 & 2047) << 1
        distance, place = (number ^ 1 << 24) - (1 << 24), self.place(at)
        step = self.step((place + 4 & ~3 if op >> 16 & 0xD000 == 0xC000 else place + 4) + distance)
        if step.kind != CODE:
            return
        far = distance + step.shift - self.step(place).shift
        s = far >> 24 & 1
        bits = s << 10 | int(far >> 23 & 1 == s) << 29 | int(far >> 22 & 1 == s) << 27
        self.write(at, op & 0xD000F800 | bits | far >> 12 & 1023 | (far >> 1 & 2047) << 16)

    def x86(self) -> None:
        """Modes 1 and 7."""
        fixed = self.region.mode == 7
        pattern = re.compile(rb"." if fixed else rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d\x80-\x8f\xe8\xe9]", re.DOTALL)
        at, end = self.region.start + 1, self.region.end
        while found := pattern.search(self.data, at, end - 4):
            at = found.start()
            if self.x86_distance(at):
                at += 5
            else:
                at = self.x86_address(at) if fixed else at + 1

    def x86_distance(self, at: int) -> bool:
        """Relink the distance behind a byte, if there is one."""
        byte = self.data[at]
        if byte in {0xE8, 0xE9} or (byte & 0xF0 == 0x80 and self.data[at - 1] == 0x0F):
            return self.distance(at + 1, self.place(at + 5), CODE, own=True)
        return byte & 0xC7 == 5 and self.distance(at + 1, self.place(at + 5), DATA, own=True)

    def x86_address(self, at: int) -> int:
        """Relink addresses behind a byte (mode 7); gives the next offset to look at."""
        byte, before = self.data[at], self.data[at - 1]
        if (
            (0xB8 <= byte <= 0xBF and before != 0x0F)
            or byte in {0x68, 0x3D}
            or (byte & 7 == 5 and before & 0xC7 == 4)
            or (byte & 0xF8 == 0xC0 and before in {0xC7, 0x81})
            or (byte & 0xF8 == 0xF8 and before == 0x81)
        ) and self.address(at + 1):
            return at + 5
        if byte in {0xC7, 0x81}:
            m = self.data[at + 1]
            where = at + 2 + (m & 7 == 4) + (0, 1, 4, 0)[m >> 6]
            if m < 0xC0 and m & 0xC7 != 5 and where + 4 <= self.region.end and self.address(where):
                return where + 4
        return at + 1

    def address(self, at: int) -> bool:
        """Relink a word that is an address (mode 7)."""
        word = self.word(at)
        step = self.step(self.region.base + word)
        if step.kind == HOLE:
            return False
        self.write(at, word + step.shift)
        self.mark(self.region.base + word, step.kind)
        return True

    def aarch64(self) -> None:
        """Mode 2."""
        self.pages: dict[int, tuple[int, int, bool]] = {}  # register: offset of its ADRP, page, whether that is done
        for at in self.aligned(4):
            op = self.word(at)
            if op & 0x7C000000 == 0x14000000:
                self.branch(at, op, (0, 26), CODE)
            elif op & 0xFF000010 == 0x54000000 or op & 0x7E000000 == 0x34000000 or op & 0x3B000000 == 0x18000000:
                self.branch(at, op, (5, 19), DATA)
            elif op & 0x9F000000 == 0x90000000:
                self.adrp(at, op)
            elif op & 0xFFC00000 == 0x91000000 or op & 0x3B000000 == 0x39000000:
                self.low_bits(at, op)
                if op & 31 != 31:
                    self.pages.pop(op & 31, None)

    def branch(self, at: int, op: int, bits: tuple[int, int], least: int) -> None:
        """Relink an immediate that counts words from its place."""
        first, count = bits
        mask = (1 << count) - 1
        distance = 4 * (((op >> first & mask) ^ 1 << count - 1) - (1 << count - 1))
        place = self.place(at)
        step = self.step(place + distance)
        if step.kind >= least:
            fresh = (distance + step.shift - self.step(place).shift) >> 2
            self.write(at, op & ~(mask << first) | (fresh & mask) << first)

    def adrp(self, at: int, op: int) -> None:
        """Remember the page of an ADRP."""
        pages = (op >> 5 & 0x7FFFF) << 2 | op >> 29 & 3
        page = (self.place(at) & ~4095) + 4096 * ((pages ^ 1 << 20) - (1 << 20))
        self.pages.pop(op & 31, None)
        if self.step(page).kind != HOLE or self.step(page + 4095).kind != HOLE:
            self.pages[op & 31] = (at, page, False)

    def low_bits(self, at: int, op: int) -> None:
        """Relink an ADD or a load or store by a page, and the ADRP that set it."""
        register = op >> 5 & 31
        where, page, done = self.pages.get(register, (-1000, 0, False))
        if at - where > 256:
            return
        scale = 4 if op & 0x04800000 == 0x04800000 else op >> 30
        if op & 0xFFC00000 == 0x91000000:
            scale = 0
        low = (op >> 10 & 4095) << scale
        step = self.step(page + low)
        if low >= 4096 or step.kind == HOLE:
            return
        self.mark(page + low, step.kind)
        fresh = page + low + step.shift & U64
        if fresh % (1 << scale):
            return
        self.write(at, op & ~(4095 << 10) | (fresh & 4095) >> scale << 10)
        if not done:
            self.pages[register] = (where, page, True)
            place = self.place(where)
            pages = (fresh >> 12) - ((place + self.step(place).shift & U64) >> 12)
            self.write(where, self.word(where) & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)


BEFORE = {0x10, 0x11, 0x15, 0x25, 0x28, 0x29, 0x39, 0x3B, 0x63, 0x6F, 0x7F, 0x80, 0x83, 0x89, 0x8B, 0x8D, 0xC7, 0xFF}


def relative_x86(run: bytearray, start: int, size: int) -> bytes:
    """Make the operands of x86-64 code relative again."""
    before, i = 0, 0
    while i + 5 <= len(run):
        byte = run[i]
        jump = byte in {0xE8, 0xE9} or (before == 0x0F and byte >> 4 == 8)
        if jump or (byte & 0xC7 == 5 and before in BEFORE):
            word, place = int.from_bytes(run[i + 1 : i + 5], "big"), start + i + 5
            if word < size:
                word -= place
            elif word >= (1 << 32) - place:
                word += size
            run[i + 1 : i + 5] = (word & U32).to_bytes(4, "little")
            byte, i = 0, i + 4
        before, i = byte, i + 1
    return bytes(run)


def relative_arm(run: bytearray, start: int, size: int) -> bytes:
    """Make the operands of aarch64 code relative again."""
    for i in range(-start % 4, len(run) - 3, 4):
        op, here = int.from_bytes(run[i : i + 4], "little"), start + i >> 2
        if op & 0x7C000000 == 0x14000000:
            op = op & 0xFC000000 | op - here & 0x03FFFFFF
        elif op & 0x9F000000 == 0x90000000:
            page = (op >> 3 & 0x1FFFFC | op >> 29 & 3) - (here >> 10)
            op = op & 0x9F00001F | (page & 3) << 29 | page << 3 & 0xFFFFE0
        run[i : i + 4] = op.to_bytes(4, "little")
    return bytes(run)


RELATIVE: list[Callable[[bytearray, int, int], bytes]] = [
    lambda run, start, size: bytes(run),
    relative_x86,
    relative_arm,
]


def relink(payload: bytes, size: int, source: bytes) -> bytes:
    """Decode a relink payload."""
    numbers = Column(payload)
    need(numbers.take(1) == b"\1", "a relink payload of another version")
    machine = numbers.take(1)[0]
    need(machine <= 2, "a relink payload of an unknown machine")
    least = numbers.positive()
    need(least < 1 << 61, "a least length out of range")
    counts = numbers.some(3)
    need(max(counts[:2]) <= min(4096, 128 + len(source) // 256), "too many regions or sections")
    need(counts[2] <= min(1 << 20, 128 + len(source) // 16), "too many steps")
    headers = stream_headers(numbers, 5)
    rows = [counts[0], counts[1], counts[2], counts[2], counts[2]]
    for header, count, (low, high) in zip(headers, rows, [(4, 45), (4, 45), (1, 9), (1, 9), (1, 1)], strict=True):
        need(low * count <= header.size <= high * count, "a stream of an impossible size")
    packed = [numbers.take(header.stored) for header in headers]
    cover = Cover(payload[numbers.at :], size, len(source))
    data = [unpacked(header, stream) for header, stream in zip(headers, packed, strict=True)]
    regions = read_regions(data[0], counts[0], len(source), set(range(15)))
    sections = read_regions(data[1], counts[1], size, {0, 4, 5, 9})
    pieces = without_overlaps(moves(cover.covers, least, regions, sections))
    steps = merge_steps(read_steps(data[2], data[3], data[4]), pieces)
    target = bytearray(cover.apply(Relink(source, steps).run(regions), machine))
    Derived(target, sections, put_back=True)
    return bytes(target)


# --- unpack.md ------------------------------------------------------------------------------------------------------


def next_local_header(source: bytes, at: int) -> int:
    """Find where the deflate stream behind the next local header of a zip begins."""
    while (at := source.find(b"PK\3\4", at)) >= 0:
        need(at + 30 <= len(source), "a local header is cut off")
        if source[at + 8 : at + 10] == b"\x08\x00":
            return at + 30 + sum(int.from_bytes(source[at + i : at + i + 2], "little") for i in (26, 28))
        at += 4
    raise Refused("no further local header")


def unpacked_source(source: bytes, gaps: list[int], content: int, whole: int) -> tuple[bytes, bytes]:
    """Unpack the source; gives too the numbers that are the table's dictionary."""
    outside, inside, streams, words = [], [], [], bytearray()
    end = held = 0
    for gap in gaps:
        start = end + gap - 1 if gap else next_local_header(source, end)
        need(start <= len(source), "a stream begins beyond the source")
        decoder = zlib.decompressobj(-15)
        try:
            data = decoder.decompress(source[start:], content - held + 1)
            data += decoder.decompress(decoder.unconsumed_tail, 1) if not decoder.eof else b""
        except zlib.error as error:
            raise Refused("a deflate stream of the source is damaged") from error
        held += len(data)
        need(decoder.eof and held <= content, "a deflate stream of the source goes on too far")
        outside.append(source[end:start])
        words += leb(2 * (start - end)) + leb(2 * len(data) + 1)
        end = len(source) - len(decoder.unused_data)
        inside.append(data)
        streams.append(source[start:end] if whole else b"")
    need(held == content, "the source's streams hold another size")
    return b"".join([*outside, source[end:], *inside, *streams]), bytes(words)


def leb(number: int) -> bytes:
    """Write a number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def spend(bundle: Bundle, excess: int) -> None:
    """Take from what packings and frames of codec 6 share (4.6)."""
    bundle.excess -= max(0, excess)
    need(bundle.excess >= 0, "packings and frames of codec 6 cost too much")


def unpack(payload: bytes, size: int, source: bytes, bundle: Bundle) -> bytes:
    """Decode an unpack payload."""
    numbers = Column(payload)
    inner, whole = numbers.take(2)
    need(inner < 6 and whole <= 1, "an inner codec or flag that is not known")
    content, count = numbers.next(), numbers.next()
    most = 64 * (len(source) + size) + 65536
    need(content <= min(128 * MiB - len(source), most), "too much content")
    need(count <= min(65536, len(source) // 16), "too many streams")
    spend(bundle, content * (4 if inner == 5 else 1) + 256 * count - 16 * size - len(source))
    most = 64 * size + 65536
    (header,) = stream_headers(numbers, 1)
    need(count <= header.size <= 9 * count, "gaps of an impossible size")
    stored, table_size = numbers.next(), numbers.next()
    need(table_size <= min(16 * MiB, most), "a table that is too long")
    gaps = Column(unpacked(header, numbers.take(header.stored)))
    table = numbers.take(stored)
    places = gaps.some(count)
    gaps.end()
    source, words = unpacked_source(source, places, content, whole)
    deflate = [number for number in bundle.encoders if number < 512]
    packing = read_packing(unzstd(table, table_size, words), deflate, plain=False)
    plain = sum(part for part in packing.parts if isinstance(part, int))
    need(plain + packing.takes <= 64 * MiB, "an unpacked target of more than 64 MiB")
    need(packing.cost <= most, "a packing costs too much")
    spend(bundle, packing.cost - 64 * size)
    need(plain <= size, "more plain bytes than the frame has")
    target = decode_frame(inner, payload[numbers.at :], plain + packing.takes, source, bundle)
    packing.plain = target[:plain]
    return pack(packing, iter([target[plain:]]))


# --- deflate.md: bits, codes, blocks --------------------------------------------------------------------------------

ENCODERS: dict[int, Sequence[int]] = {
    **{1: range(10), 2: (1, 5, 6), 3: (5,), 4: range(1, 10), 5: range(1, 10), 6: range(1, 10), 7: range(1, 10)},
    **{8: (4, 7, 8, 9), 9: range(1, 10)},
    **{32: range(1, 5), 33: range(1, 5), 34: range(1, 5), 48: range(1, 16), 49: range(1, 5)},
}
ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
END_OF_BLOCK = 256
Bits = list[tuple[int, int]]  # values and how many bits each has


class Writer:
    """Writes bits, the lowest of a byte first."""

    def __init__(self) -> None:
        self.done = bytearray()
        self.held = self.count = 0

    def put(self, value: int, count: int) -> None:
        """Write bits."""
        self.held |= value << self.count
        self.count += count
        if self.count > 512:
            whole = self.count >> 3
            self.done += (self.held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
            self.held >>= 8 * whole
            self.count &= 7

    def put_all(self, bits: Iterable[tuple[int, int]]) -> None:
        """Write several."""
        for value, count in bits:
            self.put(value, count)

    def pad(self) -> None:
        """Fill the last byte."""
        whole = -(-self.count // 8)
        self.done += self.held.to_bytes(whole, "little")
        self.held = self.count = 0

    def stored(self, data: bytes, last: int = 0) -> None:
        """Write a stored block."""
        self.put(last, 3)
        self.pad()
        self.done += struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


@cache
def length_symbols() -> list[tuple[int, int, int]]:
    """Give symbol, extra bits and their number for each match length (RFC 1951, 3.2.5)."""
    table = [(0, 0, 0)] * 259
    length = 3
    for symbol in range(257, 285):
        extra = max(0, (symbol - 261) // 4)
        for value in range(1 << extra):
            if length < 259:
                table[length] = (symbol, value, extra)
            length += 1
    table[258] = (285, 0, 0)
    return table


@cache
def distance_symbols() -> list[tuple[int, int, int]]:
    """Give symbol, extra bits and their number for each distance."""
    table = [(0, 0, 0)]
    for symbol in range(30):
        extra = max(0, symbol // 2 - 1)
        table += [(symbol, value, extra) for value in range(1 << extra)]
    return table


def match(length: int, distance: int) -> int:
    """Make the token of a match; a literal's is its byte."""
    return length << 16 | distance


class Counts:
    """How often each symbol occurs in some tokens, and the extra bits of all."""

    def __init__(self, tokens: Iterable[int], ends: int = 1) -> None:
        self.literals, self.distances, self.extra, self.tokens, self.matches = [0] * 286, [0] * 30, 0, 0, 0
        lengths, distances = length_symbols(), distance_symbols()
        for token, count in Counter(tokens).items():
            self.tokens += count
            if token < 256:
                self.literals[token] += count
            else:
                length, distance = lengths[token >> 16], distances[token & 0xFFFF]
                self.literals[length[0]] += count
                self.distances[distance[0]] += count
                self.extra += count * (length[2] + distance[2])
                self.matches += count
        self.literals[END_OF_BLOCK] = ends

    def bits(self, code: Code2) -> int:
        """Count the bits of these with a code, without extra bits."""
        literals: Iterable[int] = map(mul, self.literals, code.literals)
        distances: Iterable[int] = map(mul, self.distances, code.distances)
        return sum(literals) + sum(distances)


def merged_lengths(counts: Sequence[int], limit: int) -> list[int]:
    """Code lengths, merged."""
    leaves = sorted((count, symbol) for symbol, count in enumerate(counts) if count)
    n = len(leaves)
    lengths = [0] * len(counts)
    if n <= 2:
        for _, symbol in leaves:
            lengths[symbol] = 1
        return lengths
    weights = [count for count, _ in leaves]
    rows: list[list[tuple[int, bool]]] = [[(weight, True) for weight in weights]]
    for _ in range(min(limit, n - 1) - 1):
        above = rows[-1]
        packages = [above[i][0] + above[i + 1][0] for i in range(0, len(above) - 1, 2)]
        items = [(weight, 1, True) for weight in weights] + [(weight, 0, False) for weight in packages]
        rows.append([(weight, leaf) for weight, _, leaf in sorted(items)])
    bought = 2 * n - 2
    for row in reversed(rows):
        taken = sum(leaf for _, leaf in row[:bought])
        for _, symbol in leaves[:taken]:
            lengths[symbol] += 1
        bought = 2 * (bought - taken)
    return lengths


class Heap:
    """The heap of code lengths, treed: places from 1 on."""

    def __init__(self, weights: dict[int, int]) -> None:
        self.weights, self.depths = dict(weights), dict.fromkeys(weights, 0)
        self.places = [-1, *weights]

    def lighter(self, a: int, b: int) -> bool:
        """Compare two nodes."""
        return (self.weights[a], self.depths[a]) <= (self.weights[b], self.depths[b])

    def sift(self, place: int) -> None:
        """Sift down from a place."""
        places = self.places
        node = places[place]
        while (child := 2 * place) < len(places):
            if child + 1 < len(places) and self.lighter(places[child + 1], places[child]):
                child += 1
            if self.lighter(node, places[child]):
                break
            places[place] = places[child]
            place = child
        places[place] = node


def treed_lengths(counts: Sequence[int], limit: int) -> list[int]:
    """Code lengths, treed."""
    weights = {symbol: count for symbol, count in enumerate(counts) if count}
    highest = max(weights, default=-1)
    while len(weights) < 2:
        symbol = highest = highest + 1 if highest < 2 else highest
        if symbol in weights:
            symbol = 0
        weights[symbol] = 1
    heap = Heap(weights)
    places = heap.places
    for place in range((len(places) - 1) // 2, 0, -1):
        heap.sift(place)
    taken: list[int] = []
    parents: dict[int, int] = {}
    fresh = len(counts)
    while len(places) > 2:
        first, places[1] = places[1], places[-1]
        places.pop()
        heap.sift(1)
        second = places[1]
        taken += [first, second]
        parents[first] = parents[second] = fresh
        heap.weights[fresh] = heap.weights[first] + heap.weights[second]
        heap.depths[fresh] = max(heap.depths[first], heap.depths[second]) + 1
        places[1] = fresh
        heap.sift(1)
        fresh += 1
    return leaf_lengths(taken, parents, len(counts), limit)


def leaf_lengths(taken: list[int], parents: dict[int, int], count: int, limit: int) -> list[int]:
    """Give the leaves of a tree their lengths, within the limit."""
    depths = {parents[taken[-1]]: 0}
    excess = 0
    for node in reversed(taken):
        depths[node] = depths[parents[node]] + 1
        if depths[node] > limit:
            depths[node] = limit
            excess += 1
    leaves = [node for node in taken if node < count]
    have = Counter(depths[node] for node in leaves)
    if not excess:
        return [depths.get(symbol, 0) for symbol in range(count)]
    while excess > 0:
        length = next(length for length in range(limit - 1, 0, -1) if have[length])
        have[length] -= 1
        have[length + 1] += 2
        have[limit] -= 1
        excess -= 2
    lengths = [0] * count
    order = iter(leaves)
    for length in range(limit, 0, -1):
        for _ in range(have[length]):
            lengths[next(order)] = length
    return lengths


def codes(lengths: Sequence[int]) -> Bits:
    """Make the canonical code (RFC 1951, 3.2.2), its bits reversed as they are written."""
    code = 0
    result = [(0, 0)] * len(lengths)
    for length in range(1, 16):
        code <<= 1
        for symbol, own in enumerate(lengths):
            if own == length:
                result[symbol] = (int(f"{code:0{length}b}"[::-1], 2), length)
                code += 1
    return result


class Code2:
    """The two codes of a block."""

    def __init__(self, literals: list[int], distances: list[int]) -> None:
        self.literals, self.distances = literals, distances

    def lacks(self, counts: Counts) -> bool:
        """Tell whether something that counts has no code."""
        pairs = [*zip(counts.literals, self.literals, strict=True), *zip(counts.distances, self.distances, strict=True)]
        return any(count and not length for count, length in pairs)

    def write(self, writer: Writer, tokens: Iterable[int], end: bool = True) -> None:
        """Write tokens."""
        literals, distances = codes(self.literals), codes(self.distances)
        lengths, places = length_symbols(), distance_symbols()
        made = {token: literals[token] for token in range(256)}
        for token in tokens:
            if token not in made:
                (symbol, more, extra), (place, far, wide) = lengths[token >> 16], places[token & 0xFFFF]
                value, count = literals[symbol]
                value, count = value | more << count, count + extra
                value, count = value | distances[place][0] << count, count + distances[place][1]
                made[token] = value | far << count, count + wide
            writer.put(*made[token])
        if end:
            writer.put(*literals[END_OF_BLOCK])

    def end(self, writer: Writer) -> None:
        """Write the end of the block."""
        writer.put(*codes(self.literals)[END_OF_BLOCK])


@cache
def fixed_code() -> Code2:
    """Give the fixed code (RFC 1951, 3.2.6)."""
    return Code2([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8, [5] * 32)


def runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Write code lengths as runs: symbols, extra bits and their number."""
    at = 0
    while at < len(lengths):
        length, left = lengths[at], 1
        while at + left < len(lengths) and lengths[at + left] == length:
            left += 1
        at += left
        if length:
            yield length, 0, 0
            left -= 1
        while left >= 3:
            part = min(left, 6 if length else 138)
            if length:
                yield 16, part - 3, 2
            else:
                yield (18, part - 11, 7) if part >= 11 else (17, part - 3, 3)
            left -= part
        yield from [(length, 0, 0)] * left


def trimmed(lengths: list[int], least: int) -> list[int]:
    """Leave out what has no code at the end."""
    end = len(lengths)
    while end > least and not lengths[end - 1]:
        end -= 1
    return lengths[:end]


def header(code: Code2, treed: bool = False, whole: bool = False) -> Bits:
    """Make the header of a dynamic block, behind its three bits."""
    literals, distances = code.literals, code.distances
    if not whole:
        literals, distances = trimmed(literals, 257), trimmed(distances, 1)
    items = [*runs(literals), *runs(distances)] if treed else list(runs(literals + distances))
    counts = [0] * 19
    for symbol, _, _ in items:
        counts[symbol] += 1
    lengths = treed_lengths(counts, 7) if treed else merged_lengths(counts, 7)
    listed = trimmed([lengths[symbol] for symbol in ORDER], 4)
    bits = [(len(literals) - 257, 5), (len(distances) - 1, 5), (len(listed) - 4, 4)]
    bits += [(length, 3) for length in listed]
    own = codes(lengths)
    for symbol, value, extra in items:
        bits += [own[symbol], (value, extra)]
    return bits


def width(bits: Bits) -> int:
    """Count bits."""
    return sum(count for _, count in bits)


def own_code(counts: Counts) -> Code2:
    """Make a block's own code, merged; distance 0 counts once if none occurs."""
    if not any(counts.distances):
        counts.distances[0] = 1
    return Code2(merged_lengths(counts.literals, 15), merged_lengths(counts.distances, 15))


FIXED, DYNAMIC = 2, 4  # the three bits that begin a block, not the last


def same(data: bytes | bytearray, p: int, q: int, most: int) -> int:
    """Count the equal bytes from two positions on."""
    done = 0
    step = 16
    while done < most:
        part = min(step, most - done)
        one, other = data[p + done : p + done + part], data[q + done : q + done + part]
        if one != other:
            unlike = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
            return done + (((unlike & -unlike).bit_length() - 1) >> 3)
        done += part
        step *= 4
    return most


# --- deflate.md, 1: Go ----------------------------------------------------------------------------------------------

GO_LEVELS = {  # lazy, nice, chain, inserted
    **{2: (0, 16, 8, 5), 3: (0, 32, 32, 6), 4: (4, 16, 16, 0), 5: (16, 32, 32, 0), 6: (16, 128, 128, 0)},
    **{7: (32, 128, 256, 0), 8: (128, 258, 1024, 0), 9: (258, 258, 4096, 0)},
}


class GoWindow:
    """Go's levels 2 to 9."""

    def __init__(self, data: bytes, level: int) -> None:
        self.data, self.writer = data, Writer()
        self.lazy, self.nice, self.chain, self.inserted = GO_LEVELS[level]
        self.base, self.end = 0, min(65536, len(data))
        self.heads: dict[int, int] = {}
        self.before = [-1] * 32768
        self.head = -1
        self.tokens: list[int] = []
        self.start = self.covered = 0  # of the block

    def run(self) -> Writer:
        """Encode all."""
        if self.lazy:
            self.slow()
        else:
            self.fast()
        if self.tokens:
            self.block()
        self.writer.stored(b"", 1)
        return self.writer

    def settle(self, at: int) -> None:
        """Move the window when it is full and little is ahead."""
        while self.end - at < 262 and self.end < len(self.data):
            self.base += 32768
            self.end = min(self.base + 65536, len(self.data))

    def insert(self, at: int) -> int:
        """Index a position and give what headed its chain."""
        key = (int.from_bytes(self.data[at : at + 4], "big") * 0x1E35A7BD & U32) >> 15
        head = self.heads.get(key, -1)
        self.before[at & 32767] = head
        self.heads[key] = at
        return head

    def search(self, at: int) -> tuple[int, int]:
        """Look for a match: its length and distance, or 3."""
        data, before, best, distance = self.data, self.before, 3, 0
        most = min(self.end - at, 258)
        nice, candidate = min(self.nice, most), self.head
        for _ in range(self.chain):
            if data[candidate + best] == data[at + best]:
                n = same(data, candidate, at, most)
                if n > best and (n > 4 or at - candidate <= 4096):
                    best, distance = n, at - candidate
                    if n >= nice:
                        break
            if candidate == at - 32768:
                break
            candidate = before[candidate & 32767]
            if candidate < at - 32768 or candidate < self.base:
                break
        return best, distance

    def look(self, at: int) -> bool:
        """Insert a position; tells whether a search is made."""
        if at < self.end - 3:
            self.head = self.insert(at)
        return self.head >= max(self.base, at - 32768) and self.end - at > 3

    def emit(self, token: int) -> None:
        """Emit a token."""
        self.tokens.append(token)
        self.covered += token >> 16 or 1
        if len(self.tokens) == 16384:
            self.block()

    def fast(self) -> None:
        """Levels 2 and 3."""
        at = 0
        self.settle(at)
        while at < self.end:
            best, distance = self.search(at) if self.look(at) else (3, 0)
            if best >= 4:
                if best <= self.inserted:
                    for inside in range(at + 1, min(at + best, self.end - 3)):
                        self.insert(inside)
                at += best
                self.emit(match(best, distance))
            else:
                at += 1
                self.emit(self.data[at - 1])
            self.settle(at)

    def slow(self) -> None:
        """Levels 4 to 9."""
        at, best, distance, waits = 0, 3, 0, False
        self.settle(at)
        while at < self.end:
            last, far = best, distance
            search = self.look(at) and last < self.lazy and last < self.end - at
            best, distance = self.search(at) if search else (3, 0)
            if last >= 4 and best <= last:
                for inside in range(at + 1, min(at - 1 + last, self.end - 3)):
                    self.insert(inside)
                at += last - 1
                best, waits = 3, False
                self.emit(match(last, far))
            else:
                if waits:
                    self.emit(self.data[at - 1])
                waits = True
                at += 1
            self.settle(at)
        if waits:
            self.emit(self.data[at - 1])

    def block(self) -> None:
        """End a block."""
        data = self.data[self.start : self.covered]
        storable = self.start >= self.base and len(data) <= 65535
        counts = Counts(self.tokens)
        code = own_code(counts)
        head = header(code)
        extra = counts.extra if storable else 0
        fixed = 3 + counts.bits(fixed_code()) + extra
        dynamic = 3 + width(head) + counts.bits(code) + extra
        if storable and 8 * (len(data) + 5) < min(fixed, dynamic):
            self.writer.stored(data)
        elif dynamic < fixed:
            self.writer.put_all([(DYNAMIC, 3), *head])
            code.write(self.writer, self.tokens)
        else:
            self.writer.put(FIXED, 3)
            fixed_code().write(self.writer, self.tokens)
        self.start, self.tokens = self.covered, []


class GoFast:
    """Go's level 1."""

    def __init__(self, data: bytes) -> None:
        self.data, self.writer = data, Writer()
        self.table: dict[int, int] = {}

    def run(self) -> Writer:
        """Encode all."""
        for start in range(0, len(self.data), 65535):
            end = min(start + 65535, len(self.data))
            if end - start <= 16:
                self.writer.stored(self.data[start:end])
            else:
                # below 128 bytes there is no token, so that it is a literal block
                self.block(start, end, self.tokens(start, end) if end - start >= 128 else None)
        self.writer.stored(b"", 1)
        return self.writer

    def exchange(self, at: int, put: int | None = None) -> int:
        """Read the entry of a position's hash and replace it; gives a position that matches, or -1."""
        word = self.data[at : at + 4]
        key = (int.from_bytes(word, "little") * 0x1E35A7BD & U32) >> 18
        found = self.table.get(key, -1)
        self.table[key] = at
        return found if found >= 0 and at - found <= 32768 and self.data[found : found + 4] == word else -1

    def tokens(self, start: int, end: int) -> list[int]:
        """Make the tokens of a chunk."""
        tokens: list[int] = []
        at = emitted = start
        limit = end - 15
        while (found := self.scan(at, limit)) is not None:
            at, candidate = found
            tokens += self.data[emitted:at]
            while True:
                length = 4 + same(self.data, candidate + 4, at + 4, min(254, end - at - 4))
                tokens.append(match(length, at - candidate))
                at = emitted = at + length
                if at >= limit:
                    return tokens + list(self.data[emitted:end])
                self.exchange(at - 1)
                candidate = self.exchange(at)
                if candidate < 0:
                    at += 1
                    break
        return tokens + list(self.data[emitted:end])

    def scan(self, at: int, limit: int) -> tuple[int, int] | None:
        """Look for the next match (step 1)."""
        skip = 32
        while True:
            step = skip >> 5
            skip += step
            if at + step > limit:
                return None
            candidate = self.exchange(at)
            if candidate >= 0:
                return at, candidate
            at += step

    def block(self, start: int, end: int, tokens: list[int] | None) -> None:
        """Write a chunk."""
        size = end - start
        literal = tokens is None or len(tokens) > size - (size >> 4)
        counts = Counts(self.data[start:end] if tokens is None or literal else tokens)
        code = own_code(counts)
        head = header(code)
        bits = 3 + width(head) + counts.bits(code)
        if 8 * (size + 5) < bits + (bits >> 4):
            self.writer.stored(self.data[start:end])
            return
        self.writer.put_all([(DYNAMIC, 3), *head])
        code.write(self.writer, self.data[start:end] if tokens is None or literal else tokens)


# --- deflate.md, 2 to 5: klauspost ----------------------------------------------------------------------------------


def single(value: float) -> float:
    """Round to IEEE single precision."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def log2(value: float) -> float:
    """Give the rough logarithm of the estimate."""
    bits = int.from_bytes(struct.pack("<f", value), "little")
    e = single((bits >> 23 & 255) - 128)
    m = float(struct.unpack("<f", struct.pack("<I", bits & ~(255 << 23) | 127 << 23))[0])
    a, b, c = single(-0.34484843), single(2.02466578), single(0.67487759)
    return single(e + single(single(single(single(a * m) + b) * m) - c))


def estimate(counts: Counts, tokens: int) -> int:
    """Estimate the bits of so many tokens with a code of their own."""
    total = 0.0

    def add(symbols: Sequence[int], share: float) -> None:
        nonlocal total
        for count in symbols:
            if count:
                value = min(max(-log2(single(single(count) * share)), 1.0), 15.0)
                total = single(total + single(value * single(count)))

    share = single(1 / single(tokens))
    add(counts.literals[:256], share)
    total = single(total + 15)
    add(counts.literals[257:], share)
    if counts.matches:
        add(counts.distances, single(1 / single(counts.matches)))
    return int(total) + counts.extra


class Klauspost:
    """klauspost/compress: the blocks of one stream, and the matchers of levels 1 to 6."""

    def __init__(self, writer: Writer, encoder: int, level: int) -> None:
        self.writer, self.encoder, self.level = writer, encoder, level
        self.align = 0 if encoder == 3 else 2
        self.data = b""
        self.base = self.end = 0  # of the history
        self.near: dict[int, int] = {}
        self.far: dict[int, tuple[int, int]] = {}
        self.open: Code2 | None = None
        self.open_bits = 0
        self.open_literal = False
        self.tokens: list[int] = []
        self.emitted = self.repeat = 0

    def chunk(self, start: int, end: int, sync: bool) -> None:
        """Encode a chunk."""
        size = end - start
        data = self.data[start:end]
        if size < 128:
            if 0 < size <= 32:
                self.stored(data)
            elif size:
                self.literal_block(data, sync)
            return
        self.find(start, end)
        if not self.tokens:
            self.stored(data)
        elif len(self.tokens) > size - (size >> 4):
            self.literal_block(data, sync)
        else:
            self.token_block(data, sync)

    def find(self, start: int, end: int) -> None:
        """Put a chunk into the history and find its matches."""
        if end - self.base > 327675:
            self.base = start - 32768
        self.end, self.limit = end, end - 11
        self.emitted, self.repeat, self.tokens = start, 1, []
        finders = {1: self.level_one, 2: self.level_two, 3: self.level_three, 4: self.level_four}
        finders.get(self.level, self.level_five)(start)
        if self.tokens:
            self.tokens += self.data[self.emitted : end]

    # the hashes and tables

    def near_hash(self, at: int) -> int:
        """Hash 4 bytes."""
        return (int.from_bytes(self.data[at : at + 4], "little") * 2654435761 & U32) >> 17

    def long_hash(self, at: int) -> int:
        """Hash 7 bytes, 5 at levels 1 to 3."""
        if self.level <= 3:
            kept = {1: 15, 2: 17, 3: 16}[self.level]
            return ((int.from_bytes(self.data[at : at + 5], "little") << 24) * 889523592379 & U64) >> 64 - kept
        return ((int.from_bytes(self.data[at : at + 7], "little") << 8) * 58295818150454627 & U64) >> 49

    def put_near(self, at: int) -> None:
        """Insert a position in near."""
        self.near[self.near_hash(at)] = at

    def put_far(self, at: int) -> None:
        """Insert a position in far."""
        key = self.long_hash(at)
        self.far[key] = at, self.far.get(key, NOWHERE)[0]

    def put(self, at: int) -> None:
        """Insert a position in both."""
        self.put_near(at)
        self.put_far(at)

    def reaches(self, at: int, candidate: int) -> bool:
        """Tell whether a position reaches another."""
        return at - candidate < 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]

    def capped(self, at: int, candidate: int) -> int:
        """Give a capped length."""
        return 4 + same(self.data, at + 4, candidate + 4, min(254, self.end - at - 4))

    def full(self, at: int, candidate: int) -> int:
        """Give a full length."""
        return same(self.data, at, candidate, self.end - at)

    # level 5 and 6

    def level_five(self, at: int) -> None:
        """Find matches at levels 5 and 6."""
        while True:
            found = self.scan(at)
            if found is None:
                return
            at, candidate, follow = found
            at, candidate, length = self.better(at, candidate)
            end = at + length
            self.emit(at, candidate, length)
            at = follow + 1 if follow >= end else end
            if self.level == 6:
                if self.index_six(follow, at):
                    return
            elif at >= self.limit:
                return
            else:
                self.index_five(at, self.last_length)

    def scan(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match: its position, candidate, and `next` (steps 1 to 3)."""
        skip = 7 if self.level == 6 else 6
        while True:
            follow = at + 1 + ((at - self.emitted) >> skip)
            if follow > self.limit:
                return None
            near, (latest, before) = self.near.get(self.near_hash(at), -MiB), self.far.get(self.long_hash(at), NOWHERE)
            self.put(at)
            if at - latest < 32768:
                if self.reaches(at, latest):
                    self.put(follow)
                    if self.reaches(at, before) and self.capped(at, before) > self.capped(at, latest):
                        return at, before, follow
                    return at, latest, follow
                if self.reaches(at, before):
                    self.put(follow)
                    return at, before, follow
            if self.reaches(at, near):
                return (*self.near_match(at, near, follow), follow)
            at = follow

    def near_match(self, at: int, near: int, follow: int) -> tuple[int, int]:
        """Step 3: near reaches; look for something longer at `next`."""
        length = self.capped(at, near)
        latest, before = self.far.get(self.long_hash(follow), NOWHERE)
        self.put(follow)
        best = at, near
        if self.level == 6:
            other = at + 1 - self.repeat
            if other >= self.base and self.data[at + 1 : at + 5] == self.data[other : other + 4]:
                longer = self.capped(at + 1, other)
                if longer > length:
                    return at + 1, other
        if follow - latest >= 32768:
            return best
        if self.reaches(follow, latest) and (longer := self.capped(follow, latest)) > length:
            best, length = (follow, latest), longer
            if self.level == 5:
                return best
        if self.reaches(follow, before) and self.capped(follow, before) > length:
            best = follow, before
        return best

    def better(self, at: int, candidate: int) -> tuple[int, int, int]:
        """Step 4: the full length, and a match that the end of this one leads to."""
        length = self.full(at, candidate)
        if at + length >= self.limit or (self.level == 5 and length >= 30):
            return at, candidate, length
        start, entries = at, self.far.get(self.long_hash(at + length), NOWHERE)
        for entry in entries[: 2 if self.level == 6 else 1]:
            place, other = start + self.align, entry - length + self.align
            if place - other >= 32768:
                break
            if other >= self.base and place - other >= 1 and (longer := self.full(place, other)) > length:
                at, candidate, length = place, other, longer
        return at, candidate, length

    def emit(self, at: int, candidate: int, length: int) -> None:
        """Step 5: grow backwards, then emit literals and match."""
        data = self.data
        while candidate > self.base and at > self.emitted and data[candidate - 1] == data[at - 1]:
            at, candidate, length = at - 1, candidate - 1, length + 1
        self.tokens += data[self.emitted : at]
        self.emitted, self.repeat, self.last_length = at + length, at - candidate, length
        while length:
            part = length if length <= 258 else 255 if length <= 261 else 258
            self.tokens.append(match(part, at - candidate))
            length -= part

    def index_five(self, at: int, length: int) -> None:
        """Step 6."""
        i = at - length + 1
        if i < at - 1:
            self.put(i)
            self.put_far(i + 1)
            self.put_near(i + 2)
            for place in range(i + 4, at - 1, 3):
                self.put_far(place)
                self.put_near(place + 1)
        self.put(at - 1)

    def index_six(self, follow: int, at: int) -> bool:
        """Level 6 in place of step 6; tells whether the chunk is at its end."""
        if at >= self.limit:
            for i in range(follow + 1, self.end - 8, 2):
                self.put(i)
            return True
        for i in range(follow + 1, at - 1, 2):
            self.put(i)
            self.put_far(i + 1)
        return False

    # level 1

    def enter(self, at: int) -> int:
        """Read the entry of a position and replace it."""
        key = self.long_hash(at)
        found = self.near.get(key, -MiB)
        self.near[key] = at
        return found

    def level_one(self, at: int) -> None:
        """Find matches at level 1."""
        found = self.scan_one(at)
        while found is not None:
            at, candidate, follow = found
            length = self.full(at, candidate)
            self.emit(at, candidate, length)
            at = self.emitted
            if follow >= at:
                at = follow + 1
            if at >= self.limit:
                return
            self.enter(at - 2)
            candidate = self.enter(at)
            if at - candidate <= 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]:
                found = at, candidate, follow
            else:
                found = self.scan_one(at + 1)

    def scan_one(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 1."""
        while True:
            follow = at + 2 + ((at - self.emitted) >> 5)
            if follow > self.limit:
                return None
            for here, after in ((at, follow), (follow, follow + 1)):
                candidate = self.enter(here)
                if self.reaches(here, candidate):
                    self.near[self.long_hash(after if here == at else here)] = after
                    return here, candidate, after
            at = follow + 1

    # levels 2 to 4

    def level_two(self, at: int) -> None:
        """Find matches at level 2."""
        found = self.scan_two(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                return
            for place in range(at - self.last_length + 2, at - 5, 7):
                self.enter(place)
                self.enter(place + 2)
                four = int.from_bytes(self.data[place + 4 : place + 8], "little")  # and a zero
                self.near[((four << 24) * 889523592379 & U64) >> 47] = place + 4
            self.enter(at - 2)
            self.enter(at - 1)
            candidate = self.enter(at)
            if at - candidate <= 32768 and self.data[at : at + 4] == self.data[candidate : candidate + 4]:
                found = at, candidate, follow
            else:
                found = self.scan_two(at + 1)

    def scan_two(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 2."""
        while True:
            follow = at + 2 + ((at - self.emitted) >> 5)
            if follow > self.limit:
                return None
            candidate = self.enter(at)
            if self.reaches(at, candidate):
                self.enter(follow)
                return at, candidate, follow
            candidate = self.enter(follow)
            if self.reaches(follow, candidate):
                return follow, candidate, follow + 1
            at = follow + 1

    def level_three(self, at: int) -> None:
        """Find matches at level 3."""
        found = self.scan_three(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                place = self.emitted - self.repeat
                if place + 8 < self.end:
                    self.put_far(place)
                return
            for place in (*range(at - self.last_length + 2, at - 5, 6), at - 2, at - 1):
                self.put_far(place)
            latest, before = self.far.get(self.long_hash(at), NOWHERE)
            self.put_far(at)
            if latest > at - 32764 and self.same_four(at, latest):
                found = at, latest, follow
            elif latest > at - 32764 and before > at - 32764 and self.same_four(at, before):
                found = at, before, follow
            else:
                found = self.scan_three(at + 1)

    def scan_three(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 3."""
        while True:
            follow, least = at + 1 + ((at - self.emitted) >> 7), at - 32764
            if follow > self.limit:
                return None
            latest, before = self.far.get(self.long_hash(at), NOWHERE)
            self.put_far(at)
            if latest >= least and self.same_four(at, latest):
                both = before >= least and self.same_four(at, before)
                longer = both and self.full(at, before) > self.full(at, latest)
                return at, before if longer else latest, follow
            if latest >= least and before > least and self.same_four(at, before):
                return at, before, follow
            at = follow

    def same_four(self, at: int, candidate: int) -> bool:
        """Tell whether 4 bytes are the same."""
        return self.data[at : at + 4] == self.data[candidate : candidate + 4]

    def level_four(self, at: int) -> None:
        """Find matches at level 4."""
        found = self.scan_four(at)
        while found is not None:
            at, candidate, follow = found
            self.emit(at, candidate, self.full(at, candidate))
            at = max(self.emitted, follow + 1)
            if at >= self.limit:
                if at + 8 < self.end:
                    self.put(at)
                return
            for place in range(follow, at - 1, 3):
                self.put_far(place)
                self.put(place + 1)
            self.put(at - 1)
            found = self.scan_four(at)

    def scan_four(self, at: int) -> tuple[int, int, int] | None:
        """Look for the next match at level 4."""
        while True:
            follow = at + 1 + ((at - self.emitted) >> 6)
            if follow > self.limit:
                return None
            near, (far, _) = self.near.get(self.near_hash(at), -MiB), self.far.get(self.long_hash(at), NOWHERE)
            self.put(at)
            if self.reaches(at, far):
                return at, far, follow
            if self.reaches(at, near):
                other, _ = self.far.get(self.long_hash(follow), NOWHERE)
                if self.reaches(follow, other):
                    place = other if self.encoder == 4 else self.base + follow - other
                    if self.full(follow + 4, place + 4) > self.full(at + 4, near + 4):
                        return follow, other, follow
                return at, near, follow
            at = follow

    # blocks

    def close(self) -> None:
        """Close the open block."""
        if self.open:
            self.open.end(self.writer)
            self.open, self.open_bits = None, 0

    def stored(self, data: bytes) -> None:
        """Write a stored block."""
        self.close()
        self.writer.stored(data)

    def token_block(self, data: bytes | None, sync: bool) -> None:
        """Write a block of tokens; without its data it is not stored."""
        fixed, size = fixed_code(), 8 * (len(data) + 5) if data is not None else 1 << 62
        counts = Counts(self.tokens, ends=1 if self.encoder in {2, 5} else int(sync))
        count = counts.tokens + sync
        if not counts.matches and (sync or self.encoder in {2, 5}):
            counts.distances[0] = 1
        if self.open and (self.open_literal or self.open.lacks(counts)):
            self.close()
        if self.open:
            fresh = self.open_bits + estimate(counts, count)
            fresh += self.open.literals[END_OF_BLOCK] + (fresh >> (7 if self.level < 7 else 8))
            bits = counts.bits(self.open) + counts.extra
            if fresh < bits:
                self.close()
                bits = fresh
            if data is not None and size <= bits:
                self.stored(data)
                return
            if count < 250 and 3 + counts.bits(fixed) + counts.extra + 7 < bits:
                self.fixed()
                return
        if not self.open:
            self.fresh_block(counts, count, data, sync)
            return
        self.open.write(self.writer, self.tokens, end=False)
        if sync:
            self.close()

    def fresh_block(self, counts: Counts, count: int, data: bytes | None, sync: bool) -> None:
        """Write a block of tokens where none is open."""
        counts.literals[END_OF_BLOCK] = 1
        size = 8 * (len(data) + 5) if data is not None else 1 << 62
        whole = self.encoder in {3, 4, 8} and not sync
        code = own_code(counts)
        if whole and not counts.matches:
            counts.distances[0], code.distances[0] = 0, 0
        head = header(code, whole=whole)
        bits = 3 + width(head) + counts.bits(code) + counts.extra
        fixed = 3 + counts.bits(fixed_code()) + counts.extra
        if count < 250 and fixed <= bits:
            if data is not None and size <= fixed:
                self.stored(data)
            else:
                self.fixed()
            return
        if data is not None and size <= bits:
            self.stored(data)
            return
        self.writer.put_all([(DYNAMIC, 3), *head])
        self.begin(code, 3 + width(head), literal=False)
        code.write(self.writer, self.tokens, end=False)
        if sync:
            self.close()

    def fixed(self) -> None:
        """Write the tokens as a fixed block."""
        self.close()
        self.writer.put(FIXED, 3)
        fixed_code().write(self.writer, self.tokens)

    def begin(self, code: Code2, bits: int, literal: bool) -> None:
        """Leave a block open."""
        self.open, self.open_bits, self.open_literal = code, bits, literal

    def literal_block(self, data: bytes, sync: bool) -> None:
        """Write a literal block."""
        size = len(data)
        counts = Counts(data)
        if size > 1024 and sum((count - size / 256) ** 2 for count in counts.literals[:256]) < 2 * size:
            self.stored(data)
            return
        code = Code2(merged_lengths(counts.literals, 15), [1] + [0] * 29)
        bits = counts.bits(code) + (self.open_bits if self.open else 560)
        bits += bits >> 7
        if 8 * (size + 5) <= bits:
            self.stored(data)
            return
        if self.open:
            plain = Counts(data, ends=0)
            if self.open.lacks(plain) or bits < plain.bits(self.open):
                self.close()
        if not self.open:
            head = header(code)
            self.writer.put_all([(DYNAMIC, 3), *head])
            self.begin(code, 3 + width(head), literal=True)
        if self.open:
            self.open.write(self.writer, data, end=False)
        if sync:
            self.close()


NOWHERE = (-MiB, -MiB)


def klauspost(data: bytes, level: int) -> Writer:
    """Encode with encoder 2."""
    encoder = Klauspost(Writer(), 2, level)
    encoder.data = data
    starts = range(0, len(data), 65535)
    for start in starts:
        encoder.chunk(start, min(start + 65535, len(data)), sync=start == starts[-1])
    encoder.close()
    encoder.writer.put_all([(FIXED + 1, 3), (0, 7)])
    encoder.writer.pad()
    return encoder.writer


class Lazy(Klauspost):
    """Levels 7 to 9: positions count from the start of the dictionary."""

    def __init__(self, writer: Writer, encoder: int, level: int) -> None:
        super().__init__(writer, encoder, level)
        self.lazy, self.nice, self.chain = {7: (12, 16, 24), 8: (30, 40, 64), 9: (258, 258, 1024)}[level]
        self.heads: dict[int, int] = {}
        self.before = [-MiB] * 32768
        self.at = self.begun = self.indexed = self.idle = self.length = self.distance = 0
        self.head = -MiB
        self.waits = self.sync = False
        self.costs: list[int] = []
        self.costs_from = 0

    def run(self, words: int) -> None:
        """Encode everything behind the dictionary, whose length is given."""
        for place in range(words - 3):
            self.insert(place)
        self.at = self.end = words
        self.begun = words if self.encoder == 5 else 0
        while self.end < len(self.data):
            if self.end - self.base == 65536:
                self.step()
            if self.at - self.base >= 65536 - 262:
                self.base += 32768
            self.end = min(self.base + 65536, len(self.data))
        self.sync = True
        self.step()

    def insert(self, place: int) -> int:
        """Insert a position; return what headed its chain."""
        key = (int.from_bytes(self.data[place : place + 4], "little") * 2654435761 & U32) >> 15
        head = self.heads.get(key, -MiB)
        self.before[place & 32767] = head
        self.heads[key] = place
        return head

    def look_up(self) -> None:
        """Insert the position, and begin a search at what headed its chain."""
        if self.at < self.indexed:
            self.head = self.insert(self.at)

    def weigh(self) -> None:
        """Level 9: find what bytes cost as literals."""
        ahead = self.data[self.at : self.end]
        counted = Counter(ahead[:32768] if self.encoder == 5 else ahead)
        lengths = merged_lengths([counted[byte] & 65535 for byte in range(256)], 15)
        self.costs, self.costs_from = [0], self.at
        for byte in ahead:
            self.costs.append(self.costs[-1] + lengths[byte])

    def step(self) -> None:
        """Go through what is in the window, as far as more than 261 bytes are ahead or nothing follows."""
        if self.end - self.at < 262 and not self.sync:
            return
        if self.level == 9 and self.end > self.at:
            self.weigh()
        self.indexed = self.end - 3
        while ahead := self.end - self.at:
            if ahead < 262 and not self.sync:
                return
            self.look_up()
            length, distance, lowest = self.length, self.distance, max(self.at - 32768, self.base)
            self.length = self.distance = 0
            if self.head >= lowest and ahead > max(length, 3) and length < self.lazy:
                self.search(self.head, ahead, lowest)
            if length >= 4 and self.length <= length:
                self.take(length, distance, ahead, lowest)
            else:
                self.literal()
        if self.waits:
            self.tokens.append(self.data[self.at - 1])
        self.waits = False
        if self.tokens:
            self.block()

    def search(self, candidate: int, ahead: int, lowest: int) -> None:
        """Find the longest match, at level 9 one that gains."""
        best, gained = 3, 0 if self.encoder == 4 else 4
        for _ in range(self.chain):
            if self.data[candidate + best] == self.data[self.at + best]:
                n = same(self.data, candidate, self.at, min(258, ahead))
                gain = self.gain(n, self.at - candidate) if n > best and self.level == 9 else gained + 1
                if n > best and gain > gained:
                    best, gained = n, gain
                    self.length, self.distance = n, self.at - candidate
                    if n >= min(self.nice, ahead):
                        return
            if candidate <= lowest:
                return
            candidate = self.before[candidate & 32767]
            if candidate < lowest:
                return

    def gain(self, length: int, distance: int) -> int:
        """Compare literals with a match."""
        start = self.at - self.costs_from
        saved = self.costs[start + length] - self.costs[start] - (6 if self.encoder == 4 else 3)
        far = distance_symbols()[distance + 1][2] if distance < 32768 else 6
        return saved - far - length_symbols()[length][2]

    def take(self, length: int, distance: int, ahead: int, lowest: int) -> None:
        """Emit the match of the position before, or a better one that its end leads to."""
        start = self.at - 1
        if self.encoder == 4:
            if start + length + 2 < self.indexed:
                other = self.headed(start + length - 2) - length + 2
                longer = same(self.data, start, other, min(ahead, 258)) if other > lowest else 0
                if longer > length:
                    length, distance = longer, start - other
        elif length < 256 and start + length < self.indexed:
            other = self.headed(start + length) - length
            if start - other != distance and other > lowest + 2:
                longer = same(self.data, start + 2, other + 2, min(ahead, 260) - 2)
                if longer > length:
                    length, distance = self.later(start, other, longer), start - other
        self.tokens.append(match(length, distance))
        follow = self.at + length - 1
        for place in range(self.at + 1, min(follow, self.indexed)):
            self.insert(place)
        self.at, self.waits, self.length, self.idle = follow, False, 0, 0
        if len(self.tokens) == 32768:
            self.block()

    def headed(self, place: int) -> int:
        """Return what heads the chain of a position that is not inserted."""
        return self.heads.get((int.from_bytes(self.data[place : place + 4], "little") * 2654435761 & U32) >> 15, -MiB)

    def later(self, start: int, other: int, length: int) -> int:
        """Lengthen a match that begins at the third byte backwards; the bytes before it are literals."""
        for i in (1, 0):
            if length >= 258 or self.data[start + i] != self.data[other + i]:
                for j in range(i + 1):
                    self.emit_literal(start + j)
                    self.at += 1
                    self.look_up()
                break
            length += 1
        return length

    def emit_literal(self, place: int) -> None:
        """Emit a literal; a block ends with it."""
        self.tokens.append(self.data[place])
        if len(self.tokens) == 32768:
            self.block()

    def literal(self) -> None:
        """Emit the literal that waits; after many, more of them."""
        if self.length:
            self.idle = 0
        if not self.waits:
            self.at += 1
            self.waits = True
            return
        self.idle = (self.idle + 1) % 65536
        self.emit_literal(self.at - 1)
        self.at += 1
        if self.idle <= self.chain:
            return
        for _ in range(1 + (self.idle - self.chain >> 6)):
            if self.at >= self.end - 1:
                break
            self.emit_literal(self.at - 1)
            self.look_up()
            self.at += 1
        self.waits = False
        self.emit_literal(self.at - 1)

    def block(self) -> None:
        """End a block."""
        storable = self.begun >= self.base and self.at - self.begun <= 65535
        self.token_block(self.data[self.begun : self.at] if storable else None, self.sync)
        self.begun, self.tokens = self.at, []


def pgzip(data: bytes, encoder: int, level: int, block: int) -> Writer:
    """Encode with encoders 3 to 5, and 8."""
    writer = Writer()
    for start in range(0, len(data) + 1, block):
        one = (Klauspost if level < 7 else Lazy)(writer, encoder, level)
        words = data[max(start - 16384, 0) : start] if start and block > 16384 else b""
        one.data = words + data[start : start + block]
        if isinstance(one, Lazy):
            one.run(len(words))
        else:
            if words:
                one.find(0, len(words))
            for at in range(len(words), len(one.data), 65535):
                end = min(at + 65535, len(one.data))
                one.chunk(at, end, sync=end == len(one.data))
        one.close()
        writer.stored(b"")
    writer.put_all([(3, 8), (0, 8)])
    writer.pad()
    return writer


# --- deflate.md, 6 and 7: zlib and gzip -----------------------------------------------------------------------------

ZLIB_LEVELS = {  # good, lazy, nice, chain
    **{1: (4, 4, 8, 4), 2: (4, 5, 16, 8), 3: (4, 6, 32, 32), 4: (4, 4, 16, 16), 5: (8, 16, 32, 32)},
    **{6: (8, 16, 128, 128), 7: (8, 32, 128, 256), 8: (32, 128, 258, 1024), 9: (32, 258, 258, 4096)},
}


class Zlib:
    """zlib and GNU gzip."""

    def __init__(self, data: bytes, level: int, memory: int) -> None:
        self.gzip = not memory
        self.level = level
        self.size = len(data)
        self.data = data
        self.writer = Writer()
        self.good, self.lazy, self.nice, self.chain = ZLIB_LEVELS[level]
        self.most_tokens = (1 << (memory + 6)) - 1 if memory else 32767
        self.hash_bits = memory + 7 if memory else 15
        self.hash_shift = (self.hash_bits + 2) // 3
        self.base, self.end, self.ended = 0, min(65536, len(data)), False
        self.heads: dict[int, int] = {}
        self.before = [-1] * 32768
        self.tokens: list[int] = []
        self.start = self.covered = self.at = 0
        self.matches = self.distance_bits = 0

    def run(self) -> Writer:
        """Encode all."""
        self.settle(0)
        self.find()
        self.block(1)
        self.writer.pad()
        return self.writer

    def find(self) -> None:
        """Make tokens of all that is ahead."""
        if self.level <= 3:
            self.fast()
        else:
            self.slow()

    def settle(self, at: int) -> None:
        """Move the window where little is ahead."""
        while self.end - at < 262 and not self.ended:
            if at - self.base >= 65274:
                self.base += 32768
            filled = min(self.base + 65536, self.size)
            if filled == self.end:
                if self.gzip:
                    self.end_gzip()
                break
            self.end = filled

    def end_gzip(self) -> None:
        """Put behind the content what gzip's window holds there."""
        self.ended = True
        behind = bytearray(2)
        for at in range(self.size + 2, self.size + 260):
            old = at - 32768
            behind.append(self.data[old] if self.base and old >= 0 and at - self.base >= self.stale_from() else 0)
        self.data += bytes(behind)

    def stale_from(self) -> int:
        """Where in the window old content begins: zeros of the first window stay when its upper half moves down."""
        return 32768 if self.base == 32768 else 0

    def insert(self, at: int) -> int:
        """Index a position; gives what headed its chain."""
        a, b, c = self.data[at : at + 3]
        key = (a << 2 * self.hash_shift ^ b << self.hash_shift ^ c) & (1 << self.hash_bits) - 1
        head = self.heads.get(key, -1)
        self.before[at & 32767] = head
        self.heads[key] = at
        return head

    def look(self, at: int) -> int:
        """Insert a position; gives the candidate of a search, or -1."""
        if not self.gzip and self.end - at < 3:
            return -1
        head = self.insert(at)
        if self.gzip and at - self.base > 65274:
            return -1
        return head if head > self.base and at - head <= 32506 else -1

    def search(self, at: int, candidate: int, best: int) -> tuple[int, int]:
        """Look for a match longer than `best`: its length and distance."""
        data, distance, limit = self.data, 0, max(at - 32506, self.base)
        ahead = self.end - at
        most, nice = (258, self.nice) if self.gzip else (min(258, ahead), min(self.nice, ahead))
        for _ in range(self.chain >> 2 if best >= self.good else self.chain):
            if best < most and data[candidate + best] == data[at + best] and data[candidate] == data[at]:
                n = same(data, candidate, at, most)
                if n > best:
                    best, distance = n, at - candidate
                    if n >= nice:
                        break
            candidate = self.before[candidate & 32767]
            if candidate <= limit:
                break
        return min(best, ahead), distance

    def emit(self, token: int, at: int) -> None:
        """Emit a token; `at` is the position that is being looked at."""
        self.tokens.append(token)
        self.covered += token >> 16 or 1
        if token > 255:
            self.matches += 1
            self.distance_bits += 5 + distance_symbols()[token & 0xFFFF][2]
        if len(self.tokens) == self.most_tokens or (self.gzip and self.early(at)):
            self.block(0)

    def early(self, at: int) -> bool:
        """Tell whether gzip ends a block before it is full."""
        count = len(self.tokens)
        if self.level < 3 or count % 4096 or self.matches >= count // 2:
            return False
        return (8 * count + self.distance_bits) >> 3 < (at - self.start) // 2

    def fast(self) -> None:
        """Levels 1 to 3."""
        at = self.at
        while at < self.end:
            head = self.look(at)
            best, distance = self.search(at, head, 2) if head >= 0 else (2, 0)
            if best >= 3 and distance:
                self.emit_fast(at, best, distance)
                at += best
            else:
                self.emit(self.data[at], at)
                at += 1
            self.settle(at)
        self.at = at

    def emit_fast(self, at: int, best: int, distance: int) -> None:
        """Emit a match, and insert its positions if it is short."""
        if best <= self.lazy and (self.gzip or self.end - at - best >= 3):
            for inside in range(at + 1, at + best):
                self.insert(inside)
        self.emit(match(best, distance), at)

    def slow(self) -> None:
        """Levels 4 to 9."""
        at, best, distance, waits = self.at, 2, 0, False
        while at < self.end:
            last, far = best, distance
            best, distance = 2, 0
            head = self.look(at)
            if head >= 0 and last < self.lazy:
                best, distance = self.search(at, head, last)
                if best == 3 and at - distance < at - 4096:
                    best = 2
            if last >= 3 and best <= last:
                for inside in range(at + 1, at - 1 + last):
                    if self.gzip or self.end - inside >= 3:
                        self.insert(inside)
                self.emit(match(last, far), at)
                at += last - 1
                best, waits = 2, False
            else:
                if waits:
                    self.emit(self.data[at - 1], at)
                waits = True
                at += 1
            self.settle(at)
        if waits:
            self.tokens.append(self.data[at - 1])
            self.covered += 1
        self.at = at

    def block(self, last: int) -> None:
        """End a block."""
        counts = Counts(self.tokens)
        code = Code2(treed_lengths(counts.literals, 15), treed_lengths(counts.distances, 15))
        head = header(code, treed=True)
        dynamic = (width(head) + counts.bits(code) + counts.extra + 10) >> 3
        fixed = (counts.bits(fixed_code()) + counts.extra + 10) >> 3
        if self.start >= self.base and self.covered - self.start + 4 <= min(dynamic, fixed):
            self.writer.stored(self.data[self.start : self.covered], last)
        elif fixed <= dynamic:
            self.writer.put(FIXED | last, 3)
            fixed_code().write(self.writer, self.tokens)
        else:
            self.writer.put_all([(DYNAMIC | last, 3), *head])
            code.write(self.writer, self.tokens)
        self.start, self.tokens, self.matches, self.distance_bits = self.covered, [], 0, 0


# --- deflate.md, 9: pigz --------------------------------------------------------------------------------------------


class Pigz(Zlib):
    """A job of pigz: positions count from the start of its dictionary."""

    def __init__(self, writer: Writer, data: bytes, words: int, level: int) -> None:
        super().__init__(data, level, 8)
        self.writer = writer
        self.size = self.end = self.at = self.start = self.covered = words
        for place in range(words - 2):
            self.insert(place)
        self.waiting = min(words, 2)

    def piece(self, size: int, last: bool) -> None:
        """Encode content up to a position."""
        self.size = size
        self.settle(self.at)
        while self.waiting and self.end - self.at + self.waiting >= 3:
            self.insert(self.at - self.waiting)
            self.waiting -= 1
        self.find()
        self.waiting = min(self.at, 2)
        if last:
            self.block(1)
            self.writer.pad()
        elif self.tokens:
            self.block(0)

    def flush(self, independent: bool) -> None:
        """Get to the end of a byte."""
        if self.writer.count % 2 or independent:
            self.writer.stored(b"")
        while self.writer.count % 8:
            self.writer.put(FIXED, 10)
        if independent:
            self.writer.stored(b"")


def rsyncable_jobs(data: bytes, size: int) -> Iterator[list[int]]:
    """Give the ends of the pieces of each job."""
    value, taken, hits = 0x7FF, 0, []
    for end, byte in enumerate(data, 1):
        value = (value << 1 ^ byte) & 0xFFF
        if value == 0x7FF and 64 * taken < end + 4096:
            taken += 1
            hits.append(end)
    start = first = 0
    while start < len(data) or not data:
        most, after = min(start + size, len(data)), first
        while after < len(hits) and hits[after] <= most:
            after += 1
        ends = hits[first:after]
        if not ends or (len(data) <= (start // size + 1) * size and ends[-1] < most):
            ends.append(most)
        yield ends
        if not data:
            return
        start, first = ends[-1], after


def pigz(data: bytes, level: int, parameter: int) -> Writer:
    """Encode with encoder 9."""
    size, mode = parameter >> 2 << 10, parameter & 3
    ends = [*range(size, len(data), size), len(data)]
    jobs = rsyncable_jobs(data, size) if mode == 2 else [ends] if mode == 3 else ([end] for end in ends)
    writer, start = Writer(), 0
    for job in jobs:
        words = 0 if mode == 1 else min(start, 32768)
        one = Pigz(writer, data[start - words : job[-1]], words, level)
        for end in job:
            one.piece(end - start + words, last=end == len(data))
            if end < len(data):
                one.flush(independent=mode == 1)
        start = job[-1]
    return writer


# --- zstd.md: shares, codes, blocks ---------------------------------------------------------------------------------

NEVER = 1 << 32  # what cannot be taken costs so much
LITERAL_BITS = (*[0] * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
LENGTH_BITS = (*[0] * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
PRESETS = [  # literal lengths, offsets, match lengths (RFC 8878, 3.1.1.3.2.2)
    (6, [4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4]),
    (5, [*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5]),
    (6, [1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7]),
]
BEAT = [0, 473195, 504333, 520860, 550000, 700000, 750000, 830000]


def high(number: int) -> int:
    """Give the place of the highest bit that is set; for 0 that is -1."""
    return number.bit_length() - 1


def table_log(limit: int, total: int, symbols: int, count: int) -> int:
    """Choose how many bits a table's states have (zstd.md, Tables)."""
    least = min(high(count) + 1, high(symbols - 1) + 2)
    return max(5, min(max(min(limit, (high(total - 1) - 2) % 256), least), 8))


class States:
    """Shares of symbols, and the states that follow from them; ``only``: all are one symbol."""

    def __init__(self, log: int, shares: list[int], only: bool = False) -> None:
        self.log, self.shares, self.only = log, shares, only
        self.bits: dict[int, tuple[int, int]] = {}
        if not only:
            self.spread()

    def spread(self) -> None:
        """Give the states to symbols (RFC 8878, 4.1.1)."""
        size = 1 << self.log
        rare = [symbol for symbol, share in enumerate(self.shares) if share < 0]
        table = [0] * (size - len(rare)) + rare[::-1]
        at = 0
        for symbol, share in enumerate(self.shares):
            for _ in range(share):
                table[at] = symbol
                at = (at + (size >> 1) + (size >> 3) + 3) % size
                while at >= size - len(rare):
                    at = (at + (size >> 1) + (size >> 3) + 3) % size
        self.of: dict[int, list[int]] = {symbol: [] for symbol, share in enumerate(self.shares) if share}
        for state, symbol in enumerate(table):
            self.of[symbol].append(size + state)

    def first(self, symbol: int) -> int:
        """Give the state that writes nothing."""
        if self.only:
            return 0
        count, least = self.change(symbol)
        bits = (count << 16) - least
        whole = bits + (1 << 15) >> 16
        return self.of[symbol][((whole << 16) - bits >> whole) - abs(self.shares[symbol])]

    def change(self, symbol: int) -> tuple[int, int]:
        """Give how many bits a state may lose, and below what it loses one less."""
        share = abs(self.shares[symbol])
        count = self.log - high(share - 1) if share > 1 else self.log
        return count, share << count

    def step(self, state: int, symbol: int) -> tuple[int, int, int]:
        """Give the bits that a state loses, their number, and the next state."""
        if self.only:
            return 0, 0, 0
        count, least = self.change(symbol)
        if state < least:
            count -= 1
        return state & (1 << count) - 1, count, self.of[symbol][(state >> count) - abs(self.shares[symbol])]

    def cost(self, counts: list[int]) -> int:
        """Estimate the bits of symbols (zstd.md, Tables)."""
        total = 0
        if self.only or len(self.shares) < len(counts):
            return NEVER
        for symbol, count in enumerate(counts):
            if not count:
                continue
            if not self.shares[symbol]:
                return NEVER
            most, least = self.change(symbol)
            bits = (most << 16) - least >> 16
            beyond = (bits + 1 << 16) - ((most << 16) - least + (1 << self.log))
            each = (bits + 1) * 256 - ((beyond << 8) >> self.log)
            if each > self.log + 1 << 8:
                return NEVER
            total += count * each
        return total >> 8

    def write(self, writer: Writer) -> None:
        """Write the shares (RFC 8878, 4.1.1), in whole bytes."""
        left, threshold, width = (1 << self.log) + 1, 1 << self.log, self.log + 1
        writer.put(self.log - 5, 4)
        at, after_none = 0, False
        while left > 1:
            if after_none:
                none = next(number for number, share in enumerate(self.shares[at:]) if share)
                at += none
                for _ in range(none // 3):
                    writer.put(3, 2)
                writer.put(none % 3, 2)
            share = self.shares[at]
            at += 1
            most = 2 * threshold - 1 - left
            left -= abs(share)
            value = share + 1 + (most if share + 1 >= threshold else 0)
            writer.put(value, width - (value < most))
            after_none = value == 1
            while left < threshold:
                width, threshold = width - 1, threshold >> 1
        writer.pad()


def share_out(counts: list[int], log: int) -> list[int] | None:
    """Choose shares (zstd.md, Tables)."""
    total, shares = sum(counts), list[int]()
    step, shift = (1 << 62) // total, 62 - log
    left, largest, most = 1 << log, 0, 0
    for number, count in enumerate(counts):
        if count <= total >> log:
            shares.append(-1 if count else 0)
        else:
            share = count * step >> shift
            if share < 8 and count * step - (share << shift) > BEAT[share] << shift - 20:
                share += 1
            if share > most:
                largest, most = number, share
            shares.append(share)
        left -= abs(shares[-1])
    if -left >= shares[largest] >> 1:
        return share_again(counts, log)
    shares[largest] += left
    return shares


def share_again(counts: list[int], log: int) -> list[int] | None:
    """Choose shares where rounding has given too much."""
    total = left = sum(counts)
    shares: list[int | None] = []
    for count in counts:
        share = 0 if not count else -1 if count <= total >> log else 1 if count <= 3 * total >> log + 1 else None
        shares.append(share)
        left -= count if share else 0
    rest = (1 << log) - sum(1 for share in shares if share)
    one = 3 * total >> log + 1
    if left // rest > one:
        one = left * 3 // (rest * 2)
        for number, count in enumerate(counts):
            if shares[number] is None and count <= one:
                shares[number] = 1
                left -= count
        rest = (1 << log) - sum(1 for share in shares if share)
    if not left:
        good = [number for number, share in enumerate(shares) if share == 1]
        for turn in range(rest if good else 0):
            number = good[turn % len(good)]
            shares[number] = (shares[number] or 0) + 1
        return [share or 0 for share in shares] if good else None
    shift = 62 - log
    at = half = (1 << shift - 1) - 1
    step = ((rest << shift) + half) // left
    for number, count in enumerate(counts):
        if shares[number] is None:
            shares[number] = (at + count * step >> shift) - (at >> shift)
            at += count * step
            if not shares[number]:
                return None
    return [share or 0 for share in shares]


class Huffman:
    """A code for literals."""

    def __init__(self, counts: list[int]) -> None:
        self.symbols = len(counts)
        total = sum(counts)
        least = min(high(total) + 1, high(self.symbols - 1) + 2)
        limit = max(5, min(max(min(11, (high(total - 1) - 1) % 256), least), 11))
        order = sorted((symbol for symbol in range(self.symbols) if counts[symbol]), key=lambda one: -counts[one])
        lengths = limited(tree_depths([counts[one] for one in order]), [counts[one] for one in order], limit)
        self.longest = max(lengths)
        self.lengths = [0] * self.symbols
        for symbol, length in zip(order, lengths, strict=True):
            self.lengths[symbol] = length
        value, self.values = 0, [0] * self.symbols
        for length in range(self.longest, 0, -1):
            for symbol in range(self.symbols):
                if self.lengths[symbol] == length:
                    self.values[symbol] = value
                    value += 1
            value >>= 1

    def has_all(self, counts: list[int]) -> bool:
        """Check whether all literals have a code."""
        return all(not count or self.lengths[one : one + 1] > [0] for one, count in enumerate(counts))

    def size(self, counts: list[int]) -> int:
        """Estimate the bytes of literals."""
        return sum(map(mul, self.lengths, counts)) + 7 >> 3

    def head(self) -> bytes | None:
        """Write the weights (RFC 8878, 4.2.1)."""
        weights = [self.longest + 1 - length if length else 0 for length in self.lengths[:-1]]
        packed = packed_weights(weights) if len(weights) > 2 else None
        if packed is not None and len(packed) < self.symbols >> 1:
            return bytes([len(packed)]) + packed
        if len(weights) > 128:
            return None
        weights.append(0)
        pairs = zip(weights[0::2], weights[1::2], strict=False)
        return bytes([127 + len(weights) - 1, *(one << 4 | other for one, other in pairs)])

    def write(self, data: bytes) -> bytes:
        """Write literals in one stream below 1,024, else in four."""
        if len(data) < 1024:
            return self.stream(data)
        part = (len(data) + 3) // 4
        streams = [self.stream(data[at : at + part]) for at in range(0, 4 * part, part)]
        return b"".join([*(struct.pack("<H", len(stream)) for stream in streams[:3]), *streams])

    def stream(self, data: bytes) -> bytes:
        """Write literals, the last first."""
        writer = Writer()
        for byte in reversed(data):
            writer.put(self.values[byte], self.lengths[byte])
        writer.put(1, 1)
        writer.pad()
        return bytes(writer.done)


def tree_depths(counts: list[int]) -> list[int]:
    """Give the depths of leaves, the most frequent first: a leaf goes before an inner node only if it weighs less."""
    leaf, inner = len(counts) - 1, len(counts)
    weights, parents = list(counts), [0] * (2 * len(counts))
    for made in range(len(counts), 2 * len(counts) - 1):
        total = 0
        for _ in range(2):
            if leaf >= 0 and (inner >= made or weights[leaf] < weights[inner]):
                taken, leaf = leaf, leaf - 1
            else:
                taken, inner = inner, inner + 1
            parents[taken] = made
            total += weights[taken]
        weights.append(total)
    depths = [0] * len(weights)
    for node in range(len(weights) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(counts)]


def limited(lengths: list[int], counts: list[int], limit: int) -> list[int]:
    """Bring lengths down to a limit (zstd.md, Literals)."""
    largest = lengths[-1]
    if largest <= limit:
        return lengths
    owed = sum((1 << largest - limit) - (1 << largest - length) for length in lengths if length > limit)
    lengths = [min(length, limit) for length in lengths]
    at = sum(1 for length in lengths if length < limit) - 1
    lasts = {limit - length: node for node, length in enumerate(lengths) if length < limit}
    owed >>= largest - limit
    while owed > 0:
        owed -= pay(lengths, counts, lasts, owed, limit)
    while owed < 0:
        if 1 not in lasts:
            while lengths[at] == limit:
                at -= 1
            lasts[1] = at
        lasts[1] += 1
        lengths[lasts[1]] -= 1
        owed += 1
    return lengths


def pay(lengths: list[int], counts: list[int], lasts: dict[int, int], owed: int, limit: int) -> int:
    """Make a code longer by a bit, and return what that pays."""
    by = high(owed) + 1
    while by > 1:
        if by in lasts and (by - 1 not in lasts or counts[lasts[by]] <= 2 * counts[lasts[by - 1]]):
            break
        by -= 1
    while by not in lasts:
        by += 1
    node = lasts.pop(by)
    lasts.setdefault(by - 1, node)
    lengths[node] += 1
    if node and lengths[node - 1] == limit - by:
        lasts[by] = node - 1
    return 1 << by - 1


def packed_weights(weights: list[int]) -> bytes | None:
    """Write weights with two states that take turns."""
    counts = [weights.count(weight) for weight in range(max(weights) + 1)]
    if max(counts) in {len(weights), 1} or max(counts) < len(weights) >> 7:
        return None
    log = table_log(6, len(weights), len(counts), len(weights) - 1)
    shares = share_out(counts, log)
    if shares is None:
        return None
    writer, states = Writer(), States(log, shares)
    states.write(writer)
    turn = (len(weights) + 1) % 2
    held = {turn: states.first(weights[-1]), 1 - turn: states.first(weights[-2])}
    for weight in reversed(weights[:-2]):
        value, count, held[turn] = states.step(held[turn], weight)
        writer.put(value, count)
        turn = 1 - turn
    for state in (held[1], held[0]):
        writer.put(state & (1 << log) - 1, log)
    writer.put(1, 1)
    writer.pad()
    return bytes(writer.done) if len(writer.done) < len(weights) else None


class Triple(NamedTuple):
    """Literals, then a match: how many, its length less 3, and its offset as it is written."""

    literals: int
    length: int
    offset: int

    @property
    def codes(self) -> tuple[int, int, int]:
        """Give the codes of the three (RFC 8878, 3.1.1.3.2.1.1)."""
        return coded(LITERAL_BITS, self.literals), high(self.offset), coded(LENGTH_BITS, self.length)


@cache
def coded(bits: Sequence[int], number: int) -> int:
    """Give the code of a number, by the extra bits of codes."""
    start = 0
    for code, count in enumerate(bits):
        start += 1 << count
        if number < start:
            return code
    raise AssertionError(number)


class Alphabet:
    """One of the three alphabets of sequences: its default table, and the one that may be used again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.preset = States(*PRESETS[number])
        self.before: States | None = None

    def choose(self, codes: list[int], newer: bool) -> tuple[int, States]:
        """Choose a table for codes: 0 the default one, 1 a single symbol, 2 a new one, 3 the one before."""
        counts = [0] * (max(codes) + 1)
        for code in codes:
            counts[code] += 1
        if max(counts) == len(codes):
            return 1, States(0, [0] * (len(counts) - 1) + [1], only=True)
        log = table_log(8, len(codes), len(counts), len(codes))
        shares = share_out(counts, log)
        assert shares is not None
        own = States(log, shares)
        cost = own.cost(counts) + ((len(counts) * log >> 3) + 3) * 8
        cost += cost + 256 >> 4
        preset, before, beside = self.preset.cost(counts), NEVER, cost
        if self.before:
            before = self.before.cost(counts)
        if newer:
            if self.before and before < NEVER:
                writer = Writer()
                own.write(writer)
                beside = own.cost(counts) + 8 * len(writer.done)
                before += self.before.log
            preset += self.preset.log if preset < NEVER else 0
            cost, beside = cost + log, beside + log
        if preset <= before and preset <= cost:
            return 0, self.preset
        if self.before and before <= beside:
            return 3, self.before
        return 2, own

    def used(self, how: int, states: States) -> None:
        """Remember what a block used."""
        if how != 3:
            self.before = None if how == 0 else states


class Frame2:
    """A frame in the making (zstd.md)."""

    def __init__(self, content: bytes, encoder: int, level: int, first: int) -> None:
        self.content, self.newer, self.older, self.level = content, encoder == 33, encoder == 34, level
        self.window, self.block = (1 << 22, 1 << 16) if level == 1 else (1 << 23, 1 << 17)
        self.first = first or self.block
        self.alphabets = [Alphabet(number) for number in range(3)]
        self.huffman: Huffman | None = None
        self.may_repeat = False
        if self.older and level > 2:
            self.window *= 2 if level == 3 else 4
        self.finder = (OLDER if self.older else FINDERS)[level](content, self.window)

    def run(self) -> bytes:
        """Make the frame."""
        size = len(self.content)
        if not size and not self.newer:
            return b""
        if size and size < self.first:
            out = [self.alone_head(), self.put_block(0, size, True, True)]
        else:
            out = [b"\x28\xb5\x2f\xfd\x04", bytes([(high(self.window) - 10) << 3])]
            ends = [*range(self.first, size, self.block), *([size] if size else [])]
            full = not size or (size - self.first) % self.block == 0
            starts = [0, *ends][: len(ends)]
            out += [
                self.put_block(at, end, end == size and not full, False) for at, end in zip(starts, ends, strict=True)
            ]
            out += [b"\1\0\0"] if full else []
        return b"".join([*out, struct.pack("<I", xxh64(self.content) & 0xFFFFFFFF)])

    def alone_head(self) -> bytes:
        """Make the head of a frame with one block."""
        size = len(self.content)
        kind = 0 if size < 256 else 1 if size < 65792 else 2
        single = size > 1024
        head = b"\x28\xb5\x2f\xfd" + bytes([kind << 6 | single << 5 | 4])
        head += b"" if single else bytes([8 if size == 1024 else 0])
        return head + [b"", struct.pack("<H", (size - 256) & 0xFFFF), struct.pack("<I", size)][kind]

    def put_block(self, start: int, end: int, last: bool, alone: bool) -> bytes:
        """Make a block."""
        data = self.content[start:end]
        found = self.finder.find(start, end, alone)
        if not found and self.older and len(data) == self.block:
            return block_head(0, len(data), last) + data
        if not found:
            return self.put_bytes(data, last)
        literals, at = bytearray(), start
        for one in found:
            literals += self.content[at : at + one.literals]
            at += one.literals + one.length + 3
        literals += self.content[at:end]
        if not self.older and len(found) == 1 and len(literals) <= 1 and found[0][::2] == (len(literals), 4):
            return block_head(1, end - start, last) + data[:1]
        if len(data) - len(literals) - (len(data) >> (5 if self.older else 6)) < 16:
            return self.put_bytes(data, last)
        out = self.put_literals(bytes(literals))
        sequences, used = self.put_sequences(found)
        out += sequences
        if len(out) >= len(data):
            self.may_repeat = False
            return block_head(0, len(data), last) + data
        for alphabet, (how, states) in zip(self.alphabets, used, strict=True):
            alphabet.used(how, states)
        return block_head(2, len(out), last) + out

    def put_bytes(self, data: bytes, last: bool) -> bytes:
        """Make a block without sequences."""
        is_coded = len(data) > 32 and self.level > 1 if self.older else len(data) >= 32 and self.level > 2
        kind, packed = self.coded(data) if is_coded else (0, b"")
        if (
            kind > 1
            and not self.older
            and len(packed) + 5 > len(data)
            and len(packed) + coded_head(data, packed) >= len(data)
        ):
            kind = 0
        if kind < 2:
            return block_head(kind, len(data), last) + (data[:1] if kind else data)
        self.may_repeat = True
        out = literal_head(kind, data, packed) + packed + b"\0"
        return block_head(2, len(out), last) + out

    def put_literals(self, data: bytes) -> bytes:
        """Make the literals section."""
        kind, packed = self.coded(data) if len(data) > (32 if self.older else 16) else (0, b"")
        plain = 1 if len(data) < 16 else 2 if len(data) < 2048 else 3
        least = len(data) + plain
        if (
            kind > 1
            and not self.older
            and len(packed) + 5 > len(data)
            and len(packed) + coded_head(data, packed) >= least
        ):
            kind = 0
        if kind < 2:
            number = len(data) << (3 if plain == 1 else 4) | [0, 0, 4, 12][plain] | kind
            return number.to_bytes(plain, "little") + (data[:1] if kind else data)
        self.may_repeat = True
        return literal_head(kind, data, packed) + packed

    def coded(self, data: bytes) -> tuple[int, bytes]:
        """Put bytes into a code: 0 not at all, 1 a byte that is repeated, 2 a new code, 3 the one before."""
        if not self.may_repeat:
            self.huffman = None
        counts = [data.count(byte) for byte in range(max(data) + 1)]
        if max(counts) == len(data):
            return 1, b""
        if max(counts) == 1 or max(counts) < len(data) >> 7:
            return 0, b""
        wanted = len(data) - (len(data) >> 4)
        own, before = Huffman(counts), self.huffman
        if before and before.has_all(counts) and (before.size(counts) <= own.size(counts) or wanted <= 12):
            packed = before.write(data)
            return (3, packed) if len(packed) < wanted else (0, b"")
        head = own.head()
        if head is None:
            return 0, b""
        packed = head + own.write(data)
        if len(packed) >= wanted:
            return 0, b""
        self.huffman = own
        return 2, packed

    def put_sequences(self, found: list[Triple]) -> tuple[bytes, list[tuple[int, States]]]:
        """Make the sequences section."""
        count = len(found)
        if count < 0x7F00:
            out = bytes([count]) if count < 128 else bytes([128 + (count >> 8), count & 255])
        else:
            out = b"\xff" + struct.pack("<H", count - 0x7F00)
        codes = [one.codes for one in found]
        used = [alphabet.choose([three[alphabet.number] for three in codes], self.newer) for alphabet in self.alphabets]
        out += bytes([used[0][0] << 6 | used[1][0] << 4 | used[2][0] << 2])
        for number, (how, states) in enumerate(used):
            writer = Writer()
            if how == 1:
                writer.put(codes[0][number], 8)
            elif how == 2:
                states.write(writer)
            writer.pad()
            out += bytes(writer.done)
        writer, held = Writer(), [0, 0, 0]
        for place in range(count - 1, -1, -1):
            one, three = found[place], codes[place]
            for number in (1, 2, 0):
                states = used[number][1]
                if place == count - 1:
                    held[number] = states.first(three[number])
                else:
                    value, width, held[number] = states.step(held[number], three[number])
                    writer.put(value, width)
            for value, width in (
                (one.literals, LITERAL_BITS[three[0]]),
                (one.length, LENGTH_BITS[three[2]]),
                (one.offset, three[1]),
            ):
                writer.put(value & (1 << width) - 1, width)
        for number in (2, 1, 0):
            log = used[number][1].log
            writer.put(held[number] & (1 << log) - 1, log)
        writer.put(1, 1)
        writer.pad()
        return out + bytes(writer.done), used


def block_head(kind: int, size: int, last: bool) -> bytes:
    """Make the head of a block."""
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


def coded_head(data: bytes, packed: bytes) -> int:
    """Give the size of the head of coded literals."""
    most = max(len(data), len(packed))
    return 3 if most < 1024 else 4 if most < 16384 else 5


def literal_head(kind: int, data: bytes, packed: bytes) -> bytes:
    """Make the head of coded literals."""
    size = coded_head(data, packed)
    width = {3: 10, 4: 14, 5: 18}[size]
    number = kind | [0, 2, 3][size - 3] << 2 | len(data) << 4 | len(packed) << 4 + width
    return number.to_bytes(size, "little")


def xxh64(data: bytes) -> int:
    """Make XXH64 with seed 0."""
    one, two, three, four, five = (
        *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
    )
    mask = (1 << 64) - 1

    def turned(value: int, by: int) -> int:
        return (value << by | value >> 64 - by) & mask

    def round_(total: int, value: int) -> int:
        return turned((total + value * two) & mask, 31) * one & mask

    total, whole = five, len(data) & -32
    if whole:
        lanes = [one + two & mask, two, 0, -one & mask]
        for words in struct.iter_unpack("<4Q", data[:whole]):
            lanes = [round_(lane, word) for lane, word in zip(lanes, words, strict=True)]
        total = sum(turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
        for lane in lanes:
            total = (total ^ round_(0, lane)) * one + four & mask
    total = total + len(data) & mask
    rest = data[whole:]
    while len(rest) >= 8:
        total = turned(total ^ round_(0, int.from_bytes(rest[:8], "little")), 27) * one + four & mask
        rest = rest[8:]
    if len(rest) >= 4:
        total = turned(total ^ int.from_bytes(rest[:4], "little") * one & mask, 23) * two + three & mask
        rest = rest[4:]
    for byte in rest:
        total = turned(total ^ byte * five & mask, 11) * one & mask
    total = (total ^ total >> 33) * two & mask
    total = (total ^ total >> 29) * three & mask
    return total ^ total >> 32


# --- zstd.md: matches -----------------------------------------------------------------------------------------------

Pair = tuple[int, int]  # the last two positions with a hash; those before the window are as good as none
FAR_AWAY = -(1 << 40)


class Finder:
    """What finds matches; positions count from the start of the frame."""

    margin = 0
    least = 16

    def __init__(self, content: bytes, window: int) -> None:
        self.content, self.window = content, window
        self.short: dict[int, int] = {}
        self.long: dict[int, int] = {}
        self.pairs: dict[int, Pair] = {}
        self.short_pairs: dict[int, Pair] = {}
        self.found: list[Triple] = []
        self.emitted = self.end = self.limit = 0

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block."""
        self.found, self.emitted, self.end, self.limit = [], start, end, end - self.margin
        self.near, self.far, self.third = 1, 4, 8
        if end - start >= self.least:
            self.search(start, alone)
        return self.found

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block that is long enough."""
        raise NotImplementedError

    def load(self, at: int, size: int) -> int:
        """Read bytes, the lowest first."""
        return int.from_bytes(self.content[at : at + size], "little")

    def same(self, one: int, other: int) -> int:
        """Count the bytes that are the same, up to the block's end."""
        data, at, most = self.content, 0, self.end - one
        while at < most:
            size = min(64, most - at)
            if data[one + at : one + at + size] == data[other + at : other + at + size]:
                at += size
                continue
            while data[one + at] == data[other + at]:
                at += 1
            return at
        return at

    def reaches(self, s: int, at: int, size: int, to: int | None = None) -> bool:
        """Check whether a position is within the window of s, and has the bytes of s (or of `to`)."""
        return s - at < self.window and self.load(at, size) == self.load(s if to is None else to, size)

    def emit(self, at: int, length: int, offset: int) -> int:
        """Add a sequence, and return where it ends."""
        self.found.append(Triple(at - self.emitted, length - 3, offset))
        self.emitted = at + length
        return self.emitted

    def emit_repeated(self, s: int, at: int, most: int) -> int:
        """Add a match with the offset of the last one, grown backwards but for a literal."""
        back, length = at - self.near, 4 + self.same(at + 4, at + 4 - self.near)
        least = max(s - self.window, 0)
        while (
            back > least and at > self.emitted + 1 and self.content[back - 1] == self.content[at - 1] and length < most
        ):
            back, at, length = back - 1, at - 1, length + 1
        return self.emit(at, length, 1)

    def emit_match(self, s: int, t: int, length: int) -> int:
        """Add a match, grown backwards."""
        self.near, self.far = s - t, self.near
        least = max(s - self.window, 0)
        while t > least and s > self.emitted and self.content[t - 1] == self.content[s - 1] and length < 131074:
            s, t, length = s - 1, t - 1, length + 1
        return self.emit(s, length, self.near + 3)

    def repeats_far(self, s: int) -> bool:
        """Check for the offset before the last one, right behind a match."""
        return s < self.limit and self.load(s - self.far, 4) == self.load(s, 4)

    def emit_far(self, s: int) -> int:
        """Add a match with that offset."""
        end = self.emit(s, 4 + self.same(s + 4, s + 4 - self.far), 1)
        self.near, self.far = self.far, self.near
        return end


def hashed(value: int, size: int, log: int) -> int:
    """Hash the lowest bytes of a value."""
    if size == 4:
        return (value * 2654435761 & 0xFFFFFFFF) >> 32 - log
    factor = {5: 889523592379, 6: 227718039650203, 8: 0xCF1BBCDCB7A56463}[size]
    return ((value << 64 - 8 * size) * factor & (1 << 64) - 1) >> 64 - log


class Fastest(Finder):
    """Level 1."""

    margin, least = 8, 10

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, t = len(self.found) > 2, FAR_AWAY
            while s < self.limit:
                value = self.load(s, 8)
                one, two = hashed(value, 6, 15), hashed(value >> 8, 6, 15)
                first, second = self.short.get(one, FAR_AWAY), self.short.get(two, FAR_AWAY)
                self.short[one], self.short[two] = s, s + 1
                may_repeat = len(self.found) > 2 if alone else may_repeat
                if may_repeat and self.load(s + 2 - self.near, 4) == value >> 16 & 0xFFFFFFFF:
                    s = self.emit_repeated(s, s + 2, 131074)
                    continue
                if self.reaches(s, first, 4):
                    t = first
                    break
                if s + 1 - second < self.window and self.load(second, 4) == value >> 8 & 0xFFFFFFFF:
                    s, t = s + 1, second
                    break
                s += 2 + (s - self.emitted >> 5)
            if t == FAR_AWAY:
                return
            s = self.emit_match(s, t, 4 + self.same(s + 4, t + 4))
            if s >= self.limit:
                return
            may_repeat = len(self.found) > 2 if alone else may_repeat
            if may_repeat and self.repeats_far(s):
                self.short[hashed(self.load(s, 8), 6, 15)] = s
                s = self.emit_far(s)


class Default(Finder):
    """Level 2."""

    margin = 10

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, t = len(self.found) > 2, FAR_AWAY
            while s < self.limit:
                value = self.load(s, 8)
                one, two = hashed(value, 8, 17), hashed(value, 5, 15)
                first, second = self.long.get(one, FAR_AWAY), self.short.get(two, FAR_AWAY)
                self.long[one] = self.short[two] = s
                may_repeat = len(self.found) > 2 if alone else may_repeat
                if may_repeat and self.load(s + 1 - self.near, 4) == value >> 8 & 0xFFFFFFFF:
                    s = self.emit_repeated(s, s + 1, 131073)
                    continue
                if self.reaches(s, first, 4):
                    t = first
                    break
                if self.reaches(s, second, 4):
                    t, after = second, hashed(self.load(s + 1, 8), 8, 17)
                    first, self.long[after] = self.long.get(after, FAR_AWAY), s + 1
                    if self.reaches(s + 1, first, 4):
                        s, t = s + 1, first
                    break
                s += 1 + (s - self.emitted >> 7)
            if t == FAR_AWAY:
                return
            s = self.emit_match(s, t, 4 + self.same(s + 4, t + 4))
            if s >= self.limit:
                return
            begin = s - self.found[-1].length - 3
            for at in (begin + 1, s - 2):
                self.long[hashed(self.load(at, 8), 8, 17)] = at
            for at in (begin + 2, s - 1):
                self.short[hashed(self.load(at, 8), 5, 15)] = at
            here = hashed(self.load(s, 8), 5, 15)
            may_repeat = len(self.found) > 2 if alone else may_repeat
            while may_repeat and self.repeats_far(s):
                value = self.load(s, 8)
                self.long[hashed(value, 8, 17)] = s
                self.short[here if alone else hashed(value, 5, 15)] = s
                s = self.emit_far(s)


NO_PAIR = (FAR_AWAY, FAR_AWAY)


class Better(Finder):
    """Level 3."""

    margin = 10

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block: of one byte that is repeated it is one, and nothing is entered."""
        data = self.content[start:end]
        if len(data) > 3 and data == data[:1] * len(data):
            return [Triple(1, len(data) - 4, 4)]
        return super().find(start, end, alone)

    def enter(self, at: int, s: int) -> None:
        """Enter every second position."""
        for place in range(at, s - 1, 2):
            self.swap(place)
            self.short[hashed(self.load(place + 1, 5), 5, 13)] = place + 1

    def first_step(self, entered: int, s: int) -> int:
        """Return from where on positions behind a match are entered."""
        return entered

    def swap(self, at: int) -> Pair:
        """Enter a position into the pairs, and return the pair that was there."""
        key = hashed(self.load(at, 8), 8, 19)
        pair = self.pairs.get(key, NO_PAIR)
        self.pairs[key] = at, pair[0]
        return pair

    def longest(self, s: int, pair: Pair, entry: int) -> tuple[int, int, int]:
        """Find the longest match at s, or at s + 1 behind a short one: its place, where from, its length or 0."""
        t, matched = FAR_AWAY, 0
        for at in pair:
            if self.reaches(s, at, 8) and 8 + self.same(s + 8, at + 8) > matched:
                t, matched = at, 8 + self.same(s + 8, at + 8)
        if matched or not self.reaches(s, entry, 4):
            return s, t, matched
        t, matched = entry, 4 + self.same(s + 4, entry + 4)
        for at in self.swap(s + 1):
            if self.reaches(s, at, 8, s + 1) and 8 + self.same(s + 9, at + 8) > matched:
                return s + 1, at, 8 + self.same(s + 9, at + 8)
        return s, t, matched

    def behind(self, s: int, t: int, matched: int) -> tuple[int, int, int]:
        """Find a longer match that what is behind a match leads to."""
        if s + matched < self.limit:
            begin = s + 3
            for at in self.pairs.get(hashed(self.load(s + matched, 8), 8, 19), NO_PAIR):
                back = at - matched + 3
                if 0 <= back < begin and self.reaches(begin, back, 4):
                    length = 4 + self.same(begin + 4, back + 4)
                    if length > matched:
                        t, s, matched = back, begin, length
        return s, t, matched

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, matched, t, entered = len(self.found) > 2, 0, 0, 0
            while s < self.limit:
                value = self.load(s, 8)
                two = hashed(value, 5, 13)
                pair, entry = self.swap(s), self.short.get(two, FAR_AWAY)
                self.short[two], entered = s, s + 1
                if may_repeat and self.load(s + 1 - self.near, 4) == value >> 8 & 0xFFFFFFFF:
                    after = self.emit_repeated(s, s + 1, 131073)
                    if after < self.limit:
                        self.enter(s + 1, after)
                    s = after
                    continue
                s, t, matched = self.longest(s, pair, entry)
                if matched:
                    break
                s += 1 + (s - self.emitted >> 8)
            if not matched:
                return
            s = self.emit_match(*self.behind(s, t, matched))
            if s >= self.limit:
                return
            self.enter(self.first_step(entered, s), s)
            while may_repeat and self.repeats_far(s):
                self.swap(s)
                self.short[hashed(self.load(s, 8), 5, 13)] = s
                s = self.emit_far(s)


class Match(NamedTuple):
    """A match of level 4: from where, at what position, how long, which offset it repeats, what it costs."""

    back: int
    at: int
    length: int
    repeat: int
    cost: int


class Best(Better):
    """Level 4."""

    margin = 12

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block."""
        self.measure(self.content[start:end])
        return super().find(start, end, alone)

    def measure(self, data: bytes) -> None:
        """Measure what a byte costs as a literal."""
        self.presets = [States(*preset) for preset in PRESETS]
        bits = sum(math.ceil(-binary_log(count * (1.0 / len(data))) * count) for count in Counter(data).values())
        self.literal = max(1024, bits * 1024 // len(data))

    def cost(self, s: int, at: int, length: int, repeat: int) -> int:
        """Estimate the bits that a match costs more than literals."""
        code, offset = coded(LENGTH_BITS, length - 3), high(s - at + 3 if repeat < 0 else repeat & 3)
        bits = offset + LENGTH_BITS[code]
        for preset, symbol in ((self.presets[1], offset), (self.presets[2], code)):
            most, least = preset.change(symbol)
            bits += (most << 16) - least >> 16
        return bits - (length * self.literal >> 10)

    def improve(self, back: int, at: int, repeat: int, first: int | None = None) -> None:
        """Take a match if it is better than the best so far."""
        best = self.best
        if not 0 < at - back < self.window or self.load(back, 4) != (self.load(at, 4) if first is None else first):
            return
        if best.length > 16:
            left, check = self.end - best.at - best.length, best.length - (at - best.at) - 8
            if left <= 0:
                return
            if left > 2 and check > 4 and self.load(back + check, 4) != self.load(at + check, 4):
                return
        length = 4 + self.same(at + 4, back + 4)
        if best.repeat <= 0:
            least = max(at - self.window, 0)
            while (
                back > least
                and at > self.emitted
                and self.content[back - 1] == self.content[at - 1]
                and length < 131074
            ):
                back, at, length = back - 1, at - 1, length + 1
        cost = self.cost(at, back, length, repeat)
        found = Match(back, at, 0, repeat, UNLIKELY) if cost > 0 else Match(back, at, length, repeat, cost)
        if best.cost >= UNLIKELY or found.cost - best.cost + ((found.at - best.at) * self.literal >> 10) < 0:
            self.best = found

    def enter_all(self, at: int, end: int) -> None:
        """Enter positions."""
        for place in range(at, end):
            for pairs, key in self.keys(place):
                pairs[key] = place, pairs.get(key, NO_PAIR)[0]

    def keys(self, at: int) -> list[tuple[dict[int, Pair], int]]:
        """Give both tables with the hash of a position."""
        value = self.load(at, 8)
        return [(self.pairs, hashed(value, 8, 22)), (self.short_pairs, hashed(value & 0xFFFFFFFF, 4, 18))]

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, keys = len(self.found) > 2, self.keys(s)
            self.best = Match(0, s, 0, 0, UNLIKELY)
            for pairs, key in keys:
                for at in pairs.get(key, NO_PAIR):
                    self.improve(at, s, -1)
            if may_repeat and self.best.length < 250:
                self.try_repeats(s)
            self.enter_all(s, s + 1)
            if self.best.length < 250:
                if self.best.length < 4:
                    s += 1 + (s - self.emitted >> 9)
                    continue
                self.look_ahead(s)
            best, near, far = self.best, self.near, self.far
            entered, s = s + 1, best.at + best.length
            if best.repeat > 0:
                self.emit(best.at, best.length, best.repeat & 3)
                self.enter_all(entered, min(s, self.limit + 4))
                if best.repeat in {2, 5}:
                    self.near, self.far = far, near
                elif best.repeat in {3, 6}:
                    self.near, self.far, self.third = self.third, near, far
                elif best.repeat == 7:
                    self.near, self.far, self.third = near - 1, near, far
            else:
                self.near, self.far, self.third = best.at - best.back, near, far
                self.emit(best.at, best.length, self.near + 3)
                self.enter_all(entered, min(s, self.limit - 4))

    def try_repeats(self, s: int) -> None:
        """Try the last offsets at s, s + 1 and s + 3."""
        if s == self.emitted:
            self.improve(s - self.far, s, 5)
            self.improve(s - self.third, s, 6)
            if self.near > 1:
                self.improve(s - self.near + 1, s, 7)
        for step in (1, 3):
            if self.best.repeat <= 0 if step == 1 else self.best.repeat < 0:
                for repeat, offset in ((1, self.near), (2, self.far), (3, self.third)):
                    self.improve(s + step - offset, s + step, repeat)
            else:
                return

    def look_ahead(self, s: int) -> None:
        """Try what begins behind s, and what covers most of the best match."""
        short = self.short_pairs.get(hashed(self.load(s + 1, 4), 4, 18), NO_PAIR)
        longs = [self.pairs.get(hashed(self.load(s + step, 8), 8, 22), NO_PAIR) for step in (1, 2)]
        self.improve(short[0], s + 1, -1)
        for step, pair in enumerate(longs, 1):
            for at in pair:
                self.improve(at, s + step, -1)
        behind = self.best.at + self.best.length
        if self.best.at > s - 2 and behind < self.limit:
            for at in self.pairs.get(hashed(self.load(behind, 8), 8, 22), NO_PAIR):
                back = at - self.best.length + 2
                if back < 0:
                    return
                self.improve(back, self.best.at + 2, -1)


UNLIKELY = 131074 * 8
FINDERS: dict[int, type[Finder]] = {1: Fastest, 2: Default, 3: Better, 4: Best}


class OlderBetter(Better):
    """Level 3 of encoder 34."""

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block, of whatever bytes."""
        return Finder.find(self, start, end, alone)

    def first_step(self, entered: int, s: int) -> int:
        """Return from where on positions behind a match are entered."""
        return s - self.found[-1].length - 3 + 1


class OlderBest(Best):
    """Level 4 of encoder 34."""

    def find(self, start: int, end: int, alone: bool) -> list[Triple]:
        """Find the sequences of a block, of whatever bytes."""
        self.measure(self.content[start:end])
        return Finder.find(self, start, end, alone)

    def improve(self, back: int, at: int, repeat: int, first: int | None = None) -> None:
        """Take a match unless the best so far is better."""
        best, found = self.best, Match(0, at, 0, 0, LESS_UNLIKELY)
        if 0 < at - back < self.window and self.load(back, 4) == self.load(at, 4):
            length = 4 + self.same(at + 4, back + 4)
            cost = self.cost(at, back, length, repeat)
            found = Match(back, at, 0, repeat, LESS_UNLIKELY) if cost > 0 else Match(back, at, length, repeat, cost)
        ahead, behind = ((by * self.literal) >> 10 for by in (best.at - found.at, found.at - best.at))
        if best.cost + ahead >= found.cost + behind:
            self.best = found

    def search(self, s: int, alone: bool) -> None:
        """Find the sequences of a block."""
        while s < self.limit:
            may_repeat, begin = len(self.found) > 2, s
            self.best = Match(0, s, 0, 0, LESS_UNLIKELY)
            for pairs, key in self.keys(s):
                for at in pairs.get(key, NO_PAIR):
                    self.improve(at, s, -1)
            if may_repeat and self.best.length < 100:
                self.try_repeats(s)
            self.enter_all(s, s + 1)
            if self.best.length < 100:
                if self.best.length < 4:
                    s = begin + 1 + (begin - self.emitted >> 9)
                    continue
                self.look_ahead(s)
            s = self.take(self.best)
            while self.best.repeat <= 0 and may_repeat and self.repeats_far(s):
                self.enter_all(s, s + 1)
                s = self.emit_far(s)

    def try_repeats(self, s: int) -> None:
        """Try the last offsets at s + 1 and, if there is a match, at s + 3."""
        for step in (1, 3):
            if step == 1 or self.best.length > 0:
                for repeat, offset in ((1, self.near), (2, self.far), (3, self.third)):
                    self.improve(s + step - offset, s + step, repeat)

    def take(self, best: Match) -> int:
        """Add the best match, grown backwards, and return where it ends."""
        back, at, length, repeat, near, far = *best[:4], self.near, self.far
        least, stop = max(at - self.window, 0), self.emitted + (repeat > 0)
        most = 131073 if repeat > 0 else 131074
        while back > least and at > stop and self.content[back - 1] == self.content[at - 1] and length < most:
            back, at, length = back - 1, at - 1, length + 1
        if repeat > 0:
            self.near, self.far = {1: (near, far), 2: (far, near), 3: (self.third, near)}[repeat]
            self.third = far if repeat == 3 else self.third
            s = self.emit(at, length, repeat)
        else:
            self.near, self.far, self.third = at - back, near, far
            s = self.emit(at, length, self.near + 3)
        if s < self.limit:
            self.enter_all(best.at if repeat > 0 else at + 1, s - 1)
        return s

    def look_ahead(self, s: int) -> None:
        """Try what begins behind s, and what ends where the best match does."""
        short = self.short_pairs.get(hashed(self.load(s + 1, 4), 4, 18), NO_PAIR)
        longs = [self.pairs.get(hashed(self.load(s + step, 8), 8, 22), NO_PAIR) for step in (1, 2)]
        self.improve(short[0], s + 1, -1)
        for step, pair in enumerate(longs, 1):
            for at in pair:
                self.improve(at, s + step, -1)
        best = self.best
        if best.at + best.length < self.limit:
            for at in self.pairs.get(hashed(self.load(best.at + best.length, 8), 8, 22), NO_PAIR):
                if at - best.length < 0:
                    return
                self.improve(at - best.length, best.at, -1)


LESS_UNLIKELY = 25000
OLDER: dict[int, type[Finder]] = {1: Fastest, 2: Default, 3: OlderBetter, 4: OlderBest}


def binary_log(x: float) -> float:
    """Make the binary logarithm of a number up to 1, as Go's math.Log2 does."""
    part, exponent = math.frexp(x)
    if part == 0.5:
        return exponent - 1
    down = part < 0.70710678118654752440
    f, k = (2 * part if down else part) - 1, -1.0 if down else 0.0
    s = f / (2 + f)
    s2 = s * s
    s4 = s2 * s2
    one = s2 * (
        6.666666666666735130e-01
        + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860510658591e-01))
    )
    two = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01))
    r, half = one + two, 0.5 * f * f
    natural = k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f)
    return natural * (1 / 0.693147180559945309417232121458176568) + exponent


# --- deflate.md, Recipes --------------------------------------------------------------------------------------------


def encode(content: bytes, encoder: int, level: int, parameter: int) -> bytes:
    """Make what an encoder makes of some content."""
    if encoder == 1 and level == 0:
        writer = Writer()
        for start in range(0, len(content), 65535):
            writer.stored(content[start : start + 65535])
        writer.stored(b"", 1)
    elif encoder == 1:
        writer = GoFast(content).run() if level == 1 else GoWindow(content, level).run()
    elif encoder == 2:
        writer = klauspost(content, level)
    elif encoder in {3, 4, 5, 8}:
        writer = pgzip(content, encoder, level, parameter)
    elif encoder == 9:
        writer = pigz(content, level, parameter)
    elif encoder >= 48:
        return libzstd(content, level if encoder == 48 else level + 15, parameter)
    elif encoder <= 9:
        writer = Zlib(content, level, parameter).run()
    else:
        return Frame2(content, encoder, level, parameter).run()
    return bytes(writer.done)


def libzstd(content: bytes, level: int, flags: int) -> bytes:
    """Let the library make a frame, which has to be the version that zstd.md names."""
    try:
        import zstandard
    except ImportError as error:
        raise Refused("libzstd 1.5.7 is needed: pip install zstandard==0.25.0") from error
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    need(version == "1.5.7", f"libzstd 1.5.7 is needed (zstandard 0.25.0), here is {version}")
    frames = zstandard.ZstdCompressor(
        level=level, write_checksum=bool(flags & 1), write_content_size=bool(flags & 2), threads=flags >> 2
    )
    frame = frames.compressobj(size=len(content)) if flags & 2 else frames.compressobj()
    return bytes(frame.compress(content) + frame.flush())


def make_body(body: Body, content: bytes) -> bytes:
    """Follow a recipe."""
    made = encode(content, body.encoder // 16, body.encoder % 16, body.parameter)
    if not body.edits:
        return made
    writer, at = Writer(), 0
    for (copied, dropped, count), literals in zip(body.edits, body.literals, strict=True):
        need(at + copied + dropped <= 8 * len(made), "an edit goes beyond the encoder's output")
        copy_bits(writer, made, at, copied)
        writer.put(int.from_bytes(literals, "little"), count)
        at += copied + dropped
    copy_bits(writer, made, at, 8 * len(made) - at)
    need(writer.count % 8 == 0, "a body does not end with a whole byte")
    writer.pad()
    return bytes(writer.done)


def copy_bits(writer: Writer, data: bytes, at: int, count: int) -> None:
    """Copy bits."""
    while count:
        part = min(count, 8192)
        some = int.from_bytes(data[at >> 3 : (at + part + 7) >> 3], "little")
        writer.put(some >> (at & 7) & (1 << part) - 1, part)
        at, count = at + part, count - part


# --- deflate.md: known bodies, for section 3 of dib.md --------------------------------------------------------------


def known_content() -> bytes:
    """Make content on which the encoders and their levels differ: 70,000 bytes of text, digests, zeros."""
    text = b"".join(b"%d:%s\n" % (i, hashlib.md5(b"%d" % (i % 97)).hexdigest().encode()) for i in range(1500))  # noqa: S324
    noise = b"".join(sha256(b"%d" % i) for i in range(300))
    return text + noise + bytes(2000) + text[7000:13000] + noise[:900] + b"end"


KNOWN = {  # encoder, level, parameter: the first digits of the body's SHA-256, as the real encoders write it
    **{(1, 0, 0): "226815750b29"},
    **{(1, 1, 0): "762a90ffaed8", (1, 2, 0): "7f1dad19a68e", (1, 3, 0): "7ffc795f09dc"},
    **{(1, 4, 0): "cb4be73debb7", (1, 5, 0): "13bfe6aea3bb", (1, 6, 0): "2053084706e8"},
    **{(1, 7, 0): "2053084706e8", (1, 8, 0): "2053084706e8", (1, 9, 0): "2053084706e8"},
    **{(2, 1, 0): "647124a4dca3", (2, 5, 0): "f457e463ba47", (2, 6, 0): "a0768b6f4d4a"},
    **{(3, 5, 65536): "259be56389d0", (4, 5, 65536): "d5a1056513f7", (5, 5, 65536): "0739d0700160"},
    **{(6, 1, 8): "1498799deb55", (6, 1, 9): "69dfefe53bb0", (6, 2, 8): "7bba40ed6f27"},
    **{(6, 2, 9): "0aa45ccc0654", (6, 3, 8): "f9c3789e87a2", (6, 3, 9): "9111ac8bb40f"},
    **{(6, 4, 8): "79a9103537f1", (6, 4, 9): "8992c0162242", (6, 5, 8): "b6d4809d3096"},
    **{(6, 5, 9): "b6d4809d3096", (6, 6, 8): "72554561a58e", (6, 6, 9): "72554561a58e"},
    **{(6, 7, 8): "72554561a58e", (6, 7, 9): "72554561a58e", (6, 8, 8): "72554561a58e"},
    **{(6, 8, 9): "72554561a58e", (6, 9, 8): "72554561a58e", (6, 9, 9): "72554561a58e"},
    **{(7, 1, 0): "fe2f62e11f0a", (7, 2, 0): "1b3d43b211cb", (7, 3, 0): "d6274bc72ea6"},
    **{(7, 4, 0): "7a26a8dc9f72", (7, 5, 0): "12e153867fc9", (7, 6, 0): "6d28508dc69c"},
    **{(7, 7, 0): "6d28508dc69c", (7, 8, 0): "6d28508dc69c", (7, 9, 0): "6d28508dc69c"},
    **{(4, 1, 65536): "845f38c8a89c", (4, 2, 65536): "44c3061abc76", (4, 3, 65536): "cf319fc7fff3"},
    **{(4, 4, 65536): "c0690b23046b", (4, 6, 65536): "45ee13113108", (4, 7, 65536): "28de39def4e1"},
    **{(4, 8, 65536): "a2cc5211bc44", (4, 9, 65536): "62bddd10cb7f", (5, 1, 65536): "f4eb5e243786"},
    **{(5, 2, 65536): "8165acee8a91", (5, 3, 65536): "a11ba08110d2", (5, 4, 65536): "2d9048ac57b1"},
    **{(5, 6, 65536): "aef9d8ae6fcb", (5, 7, 65536): "a3558b7bf775", (5, 8, 65536): "28b721432d69"},
    **{(5, 9, 65536): "9e5e0f65f3a1", (8, 4, 65536): "01bacec0f5b7", (8, 7, 65536): "a3558b7bf775"},
    **{(8, 8, 65536): "28b721432d69", (8, 9, 65536): "7d8cfe405b64", (9, 1, 128): "8c04b1537b04"},
    **{(9, 2, 128): "bf466410c01d", (9, 3, 128): "4597cb2cb98a", (9, 4, 128): "989f28d54256"},
    **{(9, 5, 128): "7b25bcf99cd4", (9, 6, 128): "bb473289a2a0", (9, 7, 128): "bb473289a2a0"},
    **{(9, 8, 128): "bb473289a2a0", (9, 9, 128): "bb473289a2a0", (9, 6, 129): "cc4bf3c8daea"},
    **{(9, 6, 130): "6a25ac5af480", (9, 6, 131): "bb473289a2a0", (9, 1, 130): "0eeb31b4ea02"},
    **{(32, 1, 0): "433666f82033", (32, 2, 0): "ec5b7773d15f"},
    **{(32, 3, 0): "2c80984bac02", (32, 4, 0): "316a6f3f2af4"},
    **{(33, 1, 0): "433666f82033", (33, 2, 0): "ec5b7773d15f"},
    **{(33, 3, 0): "2c80984bac02", (33, 4, 0): "316a6f3f2af4"},
    **{(34, 1, 0): "433666f82033", (34, 2, 0): "ec5b7773d15f"},
    **{(34, 3, 0): "613ca5f0c1d9", (34, 4, 0): "45e2f9474b6c"},
    **{(48, 1, 1): "8015cbc2f326", (48, 2, 1): "a9e70a2c757c"},
    **{(48, 3, 1): "aa2397252600", (48, 4, 1): "4cade577e26f"},
    **{(48, 5, 1): "8578f7074d7a", (48, 6, 1): "f2d2c1473cf4"},
    **{(48, 7, 1): "8ef614df0da3", (48, 8, 1): "84fb01cea96c"},
    **{(48, 9, 1): "b82c01c859a7", (48, 10, 1): "eb3888e3ae86"},
    **{(48, 11, 1): "eb3888e3ae86", (48, 12, 1): "eb3888e3ae86"},
    **{(48, 13, 1): "ba90f17ac010", (48, 14, 1): "ba90f17ac010"},
    **{(48, 15, 1): "ba90f17ac010", (49, 1, 1): "5e345b53ad7b"},
    **{(49, 2, 1): "6b929b64e7b5", (49, 3, 1): "21cf46a8b5ec"},
    **{(49, 4, 1): "c739215086cf"},
}


def check_encoders(numbers: list[int]) -> None:
    """Refuse re-encoders that do not make what they should."""
    for number in numbers:
        for (encoder, level, parameter), digest in KNOWN.items():
            if (encoder, level) == (number // 16, number % 16):
                made = sha256(encode(known_content(), encoder, level, parameter)).hex()[:12]
                need(made == digest, f"re-encoder {number} does not make what it should here")


# --- profile.md -----------------------------------------------------------------------------------------------------

OCI, DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
INDEXES = {OCI + "index.v1+json", DOCKER + "distribution.manifest.list.v2+json"}
MANIFESTS = {OCI + "manifest.v1+json", DOCKER + "distribution.manifest.v2+json"}
CONFIGS = {OCI + "config.v1+json", DOCKER + "container.image.v1+json"}
LAYERS = {OCI + "layer.v1.tar": None, DOCKER + "image.rootfs.diff.tar": None} | {
    **{OCI + "layer.v1.tar+gzip": "gzip", DOCKER + "image.rootfs.diff.tar.gzip": "gzip"},
    **{OCI + "layer.v1.tar+zstd": "zstd"},
}
PLATFORM = {"architecture", "os", "variant", "os.version", "os.features"}
CONFIG = {*PLATFORM, "rootfs", "config", "history", "created", "author"}
DESCRIPTOR = {"mediaType", "digest", "size", "annotations", "platform", "artifactType"}
PART = rb"[A-Za-z0-9._:@+=,-]+"


def fits(condition: object, rule: str) -> None:
    """Refuse an archive that breaks a rule of the profile."""
    need(condition, f"not every reader would find the same images: {rule} of profile.md is broken", 8)


class Member(NamedTuple):
    """A member of an archive: its type flag, and its content."""

    flag: int
    content: memoryview
    leads_to: str


def octal(field: bytes) -> int:
    """Read a number in octal digits."""
    found = re.fullmatch(rb" *([0-7]{1,12})[ \0]*", field)
    fits(found, "P2")
    assert found
    return int(found[1], 8)


def read_members(data: memoryview) -> dict[str, Member]:
    """Read a tar that has one reading."""
    fits(len(data) % 512 == 0 and data[:3] != b"BZh", "P1")
    members: dict[str, Member] = {}
    at, large = 0, None
    while at < len(data) and any(block := bytes(data[at : at + 512])):
        fits(block[257:265] in (b"ustar\x0000", b"ustar  \0") and not any(block[500:]), "P2")
        fits(octal(block[148:156]) == sum(block[:148]) + 256 + sum(block[156:]), "P2")
        flag = block[156] or 48
        fits(flag in b"0125x", "P3")
        size = int.from_bytes(block[125:136], "big") if block[124] == 128 else octal(block[124:136])
        fits(block[124] != 128 or 1 << 33 <= size < 1 << 62, "P2")
        fits(size == 0 or flag in b"0x", "P3")
        kind = {48: 0o100000, 49: 0o100000, 50: 0o120000, 53: 0o40000, 120: 0o100000}[flag]
        mode = octal(block[100:108]) if any(block[100:108]) else 0
        fits(mode & ~0o7777 in (0, kind), "P3")
        fits(flag in b"12" or not any(block[157:257]), "P3")
        at += 512
        if flag == ord("x"):
            fits(large is None and size <= 65536 and at + size <= len(data), "P5")
            fits(all(re.fullmatch(rb"[ -~]*\0*", part) for part in (block[:100], block[345:500])), "P5")
            large = pax_size(bytes(data[at : at + size]))
        else:
            fits(not large or (flag == 48 and size in (0, large)), "P5")
            size, large = large or size, None
            fits(at + size <= len(data), "P1")
            name = member_name(block, flag)
            fits(name not in members, "P6")
            fits(re.fullmatch(rb"[\x01-\x7f]*\0*", block[157:257]), "P26")
            leads_to = block[157:257].rstrip(b"\0").decode("ascii")
            members[name] = Member(flag, data[at : at + size], leads_to)
        at += -(-size // 512) * 512
    fits(large is None and at <= len(data), "P1")
    fits(not any(bytes(data[at:]).strip(b"\0")), "P1")
    fits(len(members) <= 65536, "P6")
    fits(len({name.lower() for name in members}) == len(members), "P6")
    spellings = {name.lower(): name for name in members}
    documents = {"manifest.json", "index.json", "oci-layout", "repositories", "blobs", "blobs/sha256"}
    for name, member in members.items():
        above = [name, *(name[: found.start()] for found in re.finditer("/", name))]
        fits(all(part in documents or part.lower() not in documents for part in above), "P25")
        if member.flag in b"12":
            parts, rest = name.split("/")[:-1] if member.flag == ord("2") else [], member.leads_to
            while parts and rest.startswith("../"):
                parts, rest = parts[:-1], rest[3:]
            led = members.get("/".join([*parts, rest]))
            fits(led and led.flag == 48, "P26")
        for end in (found.start() for found in re.finditer("/", name)):
            fits(name[:end] not in members or members[name[:end]].flag == ord("5"), "P7")
            fits(spellings.get(name[:end].lower(), name[:end]) == name[:end], "P7")
    return members


def pax_size(content: bytes) -> int:
    """Return the size in a PAX header, 0 if there is none."""
    values: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        found = re.compile(rb"([1-9]\d*) ([^=\n]+)=([^\n\0]*)\n").match(content, at)
        fits(found and found[1] == b"%d" % (found.end() - at) and found[2] not in values, "P5")
        assert found
        values[found[2]], at = found[3], found.end()
    fits(values.keys() <= {b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"size"}, "P5")
    if b"size" not in values:
        return 0
    fits(re.fullmatch(rb"[1-9]\d{0,18}", values[b"size"]) and 1 << 33 <= int(values[b"size"]) < 1 << 62, "P5")
    return int(values[b"size"])


def member_name(block: bytes, flag: int) -> str:
    """Return the name of a member."""
    fits(re.fullmatch(rb"[^\0]*\0*", block[:100]) and re.fullmatch(rb"[^\0]*\0*", block[345:500]), "P4")
    name, prefix = block[:100].strip(b"\0"), block[345:500].strip(b"\0")
    fits(not prefix or block[257:265] == b"ustar\x0000", "P4")
    name = prefix + b"/" + name if prefix else name
    if flag == ord("5"):
        name = name.removesuffix(b"/")
        if name == b".":
            return "."
    name = name.removeprefix(b"./")
    fits(re.fullmatch(PART + rb"(?:/" + PART + rb")*", name), "P4")
    fits(b"./" not in name + b"/" and b"/.wh." not in b"/" + name, "P4")
    return name.decode()


def document(content: memoryview) -> Any:  # noqa: ANN401 - what JSON holds
    """Read strict JSON."""
    fits(len(content) <= 4 * MiB and content[:1] in (b"{", b"["), "P8")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fits(len({key for key, _ in pairs}) == len(pairs), "P8")
        return dict(pairs)

    def no_number(text: str) -> None:
        fits(False, "P8")

    try:
        value = json.loads(bytes(content).decode(), object_pairs_hook=once, parse_constant=no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        fits(False, "P8")
    return value


def keyed(value: object, keys: set[str], more: bool = False) -> dict[str, Any]:
    """Check the keys of an object."""
    fits(isinstance(value, dict), "P9")
    assert isinstance(value, dict)
    folded = {key.casefold() for key in keys}
    for key in value:
        fits(key in keys or (more and key.casefold() not in folded), "P9")
    fits(len({key.casefold() for key in value}) == len(value), "P9")
    return dict(value)


def listed(value: object, null: bool = False) -> list[Any]:
    """Check a list."""
    value = [] if null and value is None else value
    fits(isinstance(value, list) and len(value) <= 4096, "P10")
    assert isinstance(value, list)
    return list(value)


def worded(value: object) -> str:
    """Check a text."""
    fits(isinstance(value, str), "P10")
    return str(value)


def hex_of(value: object) -> str:
    """Return the digits of a digest."""
    fits(re.fullmatch("sha256:[0-9a-f]{64}", worded(value)), "P10")
    return str(value)[7:]


def platform(value: dict[str, Any]) -> list[str]:
    """Return os, architecture and variant, up to the last that is there."""
    parts = [worded(value.get(key) or "") for key in ("os", "architecture", "variant")]
    fits(not any("/" in part for part in parts), "P20")
    while parts and not parts[-1]:
        parts.pop()
    return parts


def overlap(one: list[str], other: list[str]) -> bool:
    """Tell whether two platforms may be taken for each other."""
    return len(one) < 2 or len(other) < 2 or one[:2] == other[:2]


def described(value: object) -> dict[str, Any]:
    """Check a descriptor."""
    found = keyed(value, DESCRIPTOR)
    worded(found.get("mediaType"))
    hex_of(found.get("digest"))
    size = found.get("size")
    fits(type(size) is int and 0 <= size < 1 << 62, "P10")
    fits(found.get("artifactType") in (None, *CONFIGS), "P11")
    annotations = keyed({} if found.get("annotations") is None else found["annotations"], set(), True)
    found["annotations"] = {key: worded(item) for key, item in annotations.items()}
    if "platform" in found:
        found["platform"] = platform(keyed(found["platform"], PLATFORM))
    return found


class Images:
    """The images of an archive: pairs of the digests of config and manifest."""

    def __init__(self, data: memoryview) -> None:
        self.members = read_members(data)
        self.left, self.excess = 64 * MiB, 4 << 30
        self.contents: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.acted_on: list[tuple[str, str]] = []  # with annotations that programs act on
        self.found: list[tuple[str, str]] = []
        if "manifest.json" in self.members:
            self.docker(listed(self.document(self.file("manifest.json"))))
        else:
            legacy = "repositories|[^/]+/(?:json|layer[.]tar|VERSION)"
            fits(not any(re.fullmatch(legacy, name) for name in self.members), "P13")
        before = {config for config, _ in self.found}
        fits(("index.json" in self.members) == ("oci-layout" in self.members), "P13")
        if "index.json" in self.members:
            fits(self.document(self.file("oci-layout")) == {"imageLayoutVersion": "1.0.0"}, "P13")
            self.found += self.layout()
            fits(not before or before == {config for config, _ in self.found}, "P22")
            fits(not before or before == {config for config, manifest in self.found if manifest}, "P22")
        fits(self.found, "P13")

    def file(self, name: str) -> memoryview:
        """Return the content of a file that is referred to."""
        fits(name in self.members and self.members[name].flag == 48, "P14")
        return self.members[name].content

    def document(self, content: memoryview) -> Any:  # noqa: ANN401 - what JSON holds
        """Read a document, of which there are not too many."""
        self.left -= len(content) + 1024
        fits(self.left >= 0, "P8")
        return document(content)

    def name(self, name: str, config: str) -> None:
        """Note the name of an image."""
        host = next((host for host in ("docker.io/", "index.docker.io/", "localhost/") if name.startswith(host)), "")
        name = name.removeprefix(host).removeprefix("library/")
        name += "" if ":" in name.split("/")[-1] else ":latest"
        fits(self.names.setdefault(name, config) == config, "P23")

    def config(self, content: memoryview) -> tuple[list[str], list[str]]:
        """Return the diffIDs of a config, and its platform."""
        value = keyed(self.document(content), CONFIG, True)
        fits(not {"manifests", "layers", "schemaVersion", "fsLayers", "mediaType"} & value.keys(), "P12")
        root = keyed(value.get("rootfs"), {"type", "diff_ids"})
        fits(root.get("type") == "layers", "P12")
        return [hex_of(item) for item in listed(root.get("diff_ids"), True)], platform(value)

    def check_layers(self, names: list[str], diff_ids: list[str]) -> list[str | None]:
        """Check the layers of an image; return how they are compressed."""
        fits(len(names) == len(diff_ids), "P15")
        kinds = []
        for name, diff_id in zip(names, diff_ids):  # noqa: B905
            data = self.file(name)
            kind = "gzip" if data[:3] == b"\x1f\x8b\x08" else "zstd" if data[:4] == b"\x28\xb5\x2f\xfd" else None
            odd = (
                bytes(data[:3]) == b"BZh"
                or data[:6] == b"\xfd7zXZ\0"
                or re.match(rb"[P-_]\x2a\x4d\x18", bytes(data[:4]))
            )
            fits(kind or not odd, "P21")
            if name not in self.contents:
                self.contents[name] = self.expanded_digest(data, kind)
            fits(self.contents[name] == diff_id, "P21")
            kinds.append(kind)
        return kinds

    def docker(self, entries: list[Any]) -> None:
        """Read manifest.json."""
        fits(entries, "P15")
        parents = []
        for value in entries:
            is_jib = isinstance(value, dict) and "config" in value
            keys = ("config", "repoTags", "layers") if is_jib else ("Config", "RepoTags", "Layers")
            entry = keyed(value, {*keys} if is_jib else {*keys, "LayerSources", "Parent"})
            content = self.file(worded(entry.get(keys[0])))
            config = sha256(content).hex()
            names = [worded(item) for item in listed(entry.get(keys[2]), True)]
            diff_ids = self.config(content)[0]
            self.check_layers(names, diff_ids)
            for diff_id, source in keyed(entry.get("LayerSources") or {}, set(), True).items():
                found = described(source)
                fits(not found["annotations"], "P24")
                fits(hex_of(diff_id) in diff_ids and found["mediaType"] in LAYERS, "P15")
                data = self.file(names[diff_ids.index(hex_of(diff_id))])
                fits((found["size"], hex_of(found["digest"])) == (len(data), sha256(data).hex()), "P15")
            for name in listed(entry.get(keys[1]), True):
                self.name(worded(name), config)
            parents += [hex_of(entry["Parent"])] if entry.get("Parent") else []
            self.found.append((config, ""))
        fits(set(parents) <= {config for config, _ in self.found}, "P15")

    def blob(self, descriptor: dict[str, Any]) -> memoryview:
        """Return the content of a blob, which is what its descriptor says."""
        data = self.file(f"blobs/sha256/{hex_of(descriptor['digest'])}")
        fits((len(data), sha256(data).hex()) == (descriptor["size"], hex_of(descriptor["digest"])), "P16")
        return data

    def head(self, content: memoryview, keys: set[str], types: set[str], media_type: str | None) -> dict[str, Any]:
        """Read an index or a manifest."""
        value = keyed(self.document(content), {"schemaVersion", "mediaType", "annotations", *keys})
        fits(type(value.get("schemaVersion")) is int and value["schemaVersion"] == 2, "P11")
        own = value.get("mediaType", media_type or OCI + "index.v1+json")
        fits(isinstance(own, str) and own in types and media_type in (None, own), "P11")
        annotations = value.get("annotations")
        for item in keyed({} if annotations is None else annotations, set(), True).values():
            worded(item)
        return value

    def layout(self) -> list[tuple[str, str]]:
        """Read index.json."""
        found: list[tuple[str, str]] = []
        self.attestations = 0
        for value in listed(self.head(self.file("index.json"), {"manifests"}, INDEXES, None).get("manifests")):
            descriptor = described(value)
            notes = descriptor["annotations"]
            name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name")
            here = self.follow(descriptor, 0)
            for config, _ in here if name else ():
                self.name(name, config)
            found += here
        fits(found, "P16")
        return found

    def follow(self, descriptor: dict[str, Any], depth: int) -> list[tuple[str, str]]:
        """Return the images that a descriptor leads to."""
        media_type = descriptor["mediaType"]
        fits(media_type in INDEXES | MANIFESTS, "P16")
        digest = hex_of(descriptor["digest"])
        fits(f"blobs/sha256/{digest}" in self.members, "P18")
        content = self.blob(descriptor)
        if media_type in INDEXES:
            fits(depth < 2, "P16")
            below = listed(self.head(content, {"manifests"}, INDEXES, media_type).get("manifests"))
            images, before = [], self.attestations
            for value in below:
                found = self.follow(described(value), depth + 1)
                fits(not found or self.attestations == before, "P19")
                images += found
            fits(images, "P16")
            return images
        value = self.head(content, {"config", "layers"}, MANIFESTS, media_type)
        own = keyed(value.get("annotations") or {}, set(), True)
        config, layers = described(value.get("config")), [described(item) for item in listed(value.get("layers"))]
        unknown = descriptor.get("platform") == ["unknown", "unknown"]
        if unknown or "vnd.docker.reference.type" in descriptor["annotations"]:
            fits(unknown and depth and layers, "P19")
            fits(all(layer["mediaType"] == "application/vnd.in-toto+json" for layer in layers), "P19")
            fits(self.config(self.blob(config))[1] == ["unknown", "unknown"], "P19")
            self.attestations += 1
            return []
        fits(config["mediaType"] in CONFIGS, "P17")
        diff_ids, machine = self.config(self.blob(config))
        for layer in layers:
            self.blob(layer)
        kinds = self.check_layers([f"blobs/sha256/{hex_of(layer['digest'])}" for layer in layers], diff_ids)
        fits(all(LAYERS.get(layer["mediaType"], "") == kind for layer, kind in zip(layers, kinds)), "P17")  # noqa: B905
        fits(not descriptor.get("platform") or overlap(descriptor["platform"], machine), "P20")
        notes = [key for found in (own, *(item["annotations"] for item in (config, *layers))) for key in found]
        parts = any(key in item for item in (config, *layers) for key in ("platform", "artifactType"))
        if parts or not all(key.startswith("org.opencontainers.image.") for key in notes):
            self.acted_on.append((hex_of(config["digest"]), digest))
        return [(hex_of(config["digest"]), digest)]

    def expanded_digest(self, data: memoryview, kind: str | None) -> str:
        """Return the digest of a layer's content."""
        if not kind:
            return hashlib.sha256(data).hexdigest()
        whole, left = hashlib.sha256(), len(data) * 1100
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            try:
                with gzip.GzipFile(fileobj=file) if kind == "gzip" else zstd_reader(file) as content:
                    while piece := content.read(MiB):
                        left -= len(piece)
                        fits(left + self.excess >= 0, "P21")
                        whole.update(piece)
            except broken():
                fits(False, "P21")
        self.excess += min(left, 0)
        return whole.hexdigest()


def judge(path: Path, expected: str, alone: bool = True) -> None:
    """Refuse an archive unless it is the expected one, or every image in it (not alone: one of them) is."""
    with path.open("rb") as file:
        data = memoryview(mapped(file))
        if sha256(data).hex() == expected:
            fits(data[:1] not in (b"{", b"["), "P27")
            return
        read = Images(data)
        images = read.found
        pinned = {expected} | {config for config, manifest in images if manifest == expected}
        right = [expected in image or (not image[1] and image[0] in pinned) for image in images]
        need(all(right) if alone else any(right), "the bundle makes another image than is expected", 8)
        noted = [manifest for config, manifest in read.acted_on if alone or config == expected]
        fits(all(manifest == expected for manifest in noted), "P24")


# --- the command ----------------------------------------------------------------------------------------------------


USAGE = "usage: reference_decoder.py [--target NAME] [--expect sha256:HEX] [BASE...] BUNDLE > OUT"


def split_arguments(paths: list[Path]) -> tuple[Path, list[Path]]:
    """Tell the bundle from the bases by its magic."""
    bundles = []
    for path in paths:
        with path.open("rb") as file:
            if file.read(8) == MAGIC:
                bundles.append(path)
    bundles = bundles or paths[-1:]  # none: say what is wrong with the last
    need(len(bundles) == 1, USAGE, 2)
    return bundles[0], [path for path in paths if path not in bundles]


def choose(bundle: Bundle, name: str | None) -> int:
    """Give the number of the target to make: the only one, or the one that is called so."""
    named = [number for number, target in enumerate(bundle.targets) if name is None or name in target.names]
    need(len(named) == 1, f"{len(named)} targets, --target NAME is to choose one", 2)
    return named[0]


def decode(paths: list[Path], out: IO[bytes], name: str | None = None, expected: str | None = None) -> None:
    """Rebuild a target of a bundle; one that is expected, or named by a digest, is judged before it is put out (10)."""
    named = name[7:] if name and re.fullmatch("sha256:[0-9a-f]{64}", name) else None
    if not expected and not named:
        rebuild(paths, out, name)
        return
    with tempfile.NamedTemporaryFile() as file:
        rebuild(paths, file, name)
        file.flush()
        if expected:
            judge(Path(file.name), expected)
        if named:
            judge(Path(file.name), named, alone=False)
        file.seek(0)
        while piece := file.read(MiB):
            out.write(piece)


def rebuild(paths: list[Path], out: IO[bytes], name: str | None) -> None:
    """Rebuild a target of a bundle."""
    path, bases = split_arguments(paths)
    with path.open("rb") as file:
        bundle = read_bundle(mapped(file))
    wanted = choose(bundle, name)
    check_encoders(bundle.encoders)
    objects = Objects(bundle)
    for base in bases:
        objects.search(base)
    make(bundle, wanted, objects, out)


def make(bundle: Bundle, wanted: int, objects: Objects, out: IO[bytes]) -> None:
    """Make a target, and before it, into temporary files, those that it builds on (3.1)."""
    todo = {wanted}
    needs: dict[int, set[int]] = {}
    placed: dict[int, set[int]] = {}
    for number in range(wanted, -1, -1):
        if number in todo:  # the programs of others are no concern
            needs[number] = used_objects(bundle, bundle.targets[number])
            for item in objects.missing(needs[number]):
                place = bundle.places.get(item)
                here = place is not None and place.target < number
                need(here, f"no base has the content {bundle.digests[item].hex()}", 6)
                if place:
                    placed.setdefault(place.target, set()).add(item)
                    todo.add(place.target)
    for number in sorted(todo - {wanted}):
        with tempfile.TemporaryFile() as file:
            make_one(bundle, number, objects, needs[number], file)
            file.flush()
            made = mapped(file)
        for item in placed[number]:
            objects.take(item, made)
    make_one(bundle, wanted, objects, needs[wanted], out)


def make_one(bundle: Bundle, number: int, objects: Objects, used: set[int], out: IO[bytes]) -> None:
    """Make one target of objects that are there."""
    plan = Plan(bundle, bundle.targets[number], objects.all(used))
    output = Output(plan.target, out, 6 if used else 7)
    run = Run(plan)
    for piece in run.output():
        output.write(piece)
    spend(bundle, run.cost - 16 * plan.target.size)
    output.finish()


def main() -> int:
    """Run the command."""
    try:
        arguments = sys.argv[1:]
        options: dict[str, str] = {}
        while arguments[:1] in (["--target"], ["--expect"]):
            need(len(arguments) > 2, USAGE, 2)
            options[arguments[0]] = arguments[1]
            del arguments[:2]
        expected = options.get("--expect")
        need(expected is None or re.fullmatch("sha256:[0-9a-f]{64}", expected), USAGE, 2)
        paths = [Path(argument) for argument in arguments]
        decode(paths, sys.stdout.buffer, options.get("--target"), expected and expected[7:])
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The file and its manifest (dib.md, 1 and 3)."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from decoder.core.basics import MiB, need, sha256
from decoder.core.values import Msgpack
from decoder.core.zstd import unzstd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.core.basics import Content
    from decoder.core.values import Column

MAGIC = bytes.fromhex("8944 4942 0D0A 1A0A")
ENCODERS: dict[int, Sequence[int]] = {
    **{1: range(10), 2: (1, 5, 6), 3: (5,), 4: range(1, 10), 5: range(1, 10), 6: range(1, 10), 7: range(1, 10)},
    **{8: (4, 7, 8, 9), 9: range(1, 10)},
    **{32: range(1, 5), 33: range(1, 5), 34: range(1, 5), 48: range(1, 16), 49: range(1, 5)},
}


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
    packed = Counter(place.target for place in bundle.places.values() if place.is_compressed)
    for number in range(count):
        target = read_target(pack, first)
        first += target.frames
        need(first <= len(bundle.frames), "targets have more frames than there are")
        check_spans(bundle, target)
        bundle.targets.append(target)
        excess += max(0, cost(bundle, target) + 8192 * packed[number] - 8 * target.size)
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
    pack.array(25)
    program = [pack.bin() for _ in range(25)]
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
    """Add up what a target costs (4.5), without the objects that lie in it."""
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
        read = [left.read(pack) for _ in range(count)]
        names |= {name for name in read if not re.fullmatch("(?:sha256:)?[0-9a-f]{64}", name, re.ASCII | re.IGNORECASE)}
        image_id = pack.bin()
        need(len(image_id) in {0, 32}, "an image id of another length")
        names |= {f"sha256:{image_id.hex()}"} if image_id else set()
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


def spend(bundle: Bundle, excess: int) -> None:
    """Take from what packings and frames of codec 6 share (4.6)."""
    bundle.excess -= max(0, excess)
    need(bundle.excess >= 0, "packings and frames of codec 6 cost too much")

"""Bundles whose values are near the limits of the format. The cost of each bundle must stay within the bounds of
spec/dib.md, 10.1.

``python -m tests.fuzz.bounds [SECONDS [SEED [CLASS...]]]`` generates random bundles of each class in turn. It applies
each bundle in its own process. The script prints the memory and CPU time of each class, and the bounds. In each class,
a few bytes of a bundle cause much work of one kind. Code of spec/vectors writes the bundles field by field, with right
digests.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import zstandard

VECTORS: Final = Path(__file__).parents[2] / "spec" / "vectors"
sys.path.append(str(VECTORS))

import bundles as written  # noqa: E402 - of the vectors, as are the next three
import good  # noqa: E402
import payloads  # noqa: E402
from bundles import Bundle, Frame, Program, Target, msgpack, number, numbers, sha256  # noqa: E402

from dibundle.format.constants import COST_FACTOR  # noqa: E402

KIB: Final = 1 << 10
MIB: Final = 1 << 20
MOST_MEMORY: Final = 832 * MIB
MEMORY_PER_MANIFEST_BYTE: Final = 8
SECONDS: Final = 10.0
NANOSECONDS: Final = 400.0  # nanoseconds per byte of a bundle,
NANOSECONDS_MADE: Final = 3000.0  # and per byte of its targets,
NANOSECONDS_EARLIER: Final = 1000.0  # and per byte of a base that an earlier bundle makes
"""The limits of 10.1, on a core of about 2.5 GHz.

They are nanoseconds for each byte of the bundle and of its targets.
"""

LARGEST_TARGET: Final = 64 * MIB  # limit of generated sizes, so that a run can test many bundles
WITHOUT_BASE: Final = frozenset({0})

Draw = Callable[[random.Random], Bundle]
CLASSES: dict[str, Draw] = {}


def bundle_class(draw: Draw) -> Draw:
    CLASSES[draw.__name__] = draw
    return draw


def frame_of(data: bytes) -> bytes:
    """Return a small zstd frame."""
    packed: bytes = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(data)
    return packed


written.zframe = lambda data, **_: frame_of(data)  # type: ignore[assignment] # in real blocks: a manifest of zeros is small


def edge(chance: random.Random, limit: int, least: int = 0) -> int:
    """Return a count near ``limit`` or near ``least``. The count may exceed ``limit`` by up to a quarter."""
    values = (least, least + 1, limit // 16, limit // 2, limit - 1, limit, limit, limit, limit + 1, limit + limit // 4)
    return max(least, chance.choice(values))


def drawn(chance: random.Random, frame: Frame, **given: Any) -> Bundle:
    """Return a bundle whose target is the content of one frame, sometimes followed by zeros."""
    size = min(frame.size, LARGEST_TARGET)
    program = Program().do("raw", raw=size, stream=frame.stream)
    rest = chance.choice((0, 0, 0, 1, MIB))
    if rest:
        program.do("zero", zero=rest)
    return one(size + rest, program, frame, **given)


def one(size: int, program: Program, *frames: Frame, **given: Any) -> Bundle:
    """Return a bundle of one target. The target's digest is that of zeros, because nothing compares its bytes."""
    return Bundle(list(frames), [target(size, program, len(frames))], **given)


def target(size: int, program: Program, frames: int = 0) -> Target:
    """Return a target of zeros, with the longest tail that is allowed."""
    return Target(zeros(size), program, frames, tail=max(0, size - 64 * MIB))


@cache
def zeros(size: int) -> bytes:
    """Return zeros; calls with the same size return the same object."""
    return bytes(size)


def explicit(frame: Frame, size: int) -> Frame:
    """Give a frame a source of zeros."""
    whole, rest = divmod(size, MIB)
    frame.spans = [(0, 0, MIB)] * whole + ([(0, 0, rest)] if rest else [])
    return frame


ZEROS: Final = (1, MIB, sha256(bytes(MIB)))


# --- codecs


@bundle_class
def vcdiff_windows(chance: random.Random) -> Bundle:
    size = chance.choice((1, 1000, 4096, MIB, 8 * MIB))
    count = chance.choice((edge(chance, 16 + size // 4096, 1), 100_000, 1_000_000))
    each = chance.choice((0, 1, size // count))
    small = payloads.window(b"", b"", b"", 0) if not each else payloads.window(b"x", b"\0" + number_(each), b"", each)
    count = min(count, (2 * size + 65536) // len(small))
    left = max(0, size - each * count)
    rest = payloads.window(b"r", b"\0" + number_(left), b"", left)
    return drawn(chance, Frame(frame_of(b"\xd6\xc3\xc4\0\0" + small * count + rest), size, codec=3))


def number_(value: int, padding: int = 0) -> bytes:
    made: bytes = payloads.integer(value)
    return b"\x80" * min(padding, 9 - len(made)) + made


@bundle_class
def vcdiff_padded_integers(chance: random.Random) -> Bundle:
    """A payload with the maximum number of codes. Each code has a size or an address that takes the maximum number of
    bytes.
    """
    size, padding = chance.choice((1, 4096, MIB)), chance.choice((0, 7, 8, 9, 60_000))
    code = chance.choice((b"\1", b"\x13", b"\0"))
    integer_ = b"\x80" * padding + b"\0"
    count = min((2 * size + 60_000) // len(code + integer_), edge(chance, 65536))
    codes = (code + integer_) * count + b"\0" + number_(size)
    data = bytes(count if code == b"\0" else 0) + b"r"
    addresses = integer_ * count if code == b"\x13" else b""
    body = payloads.window(data, codes, addresses, size)
    return drawn(chance, Frame(frame_of(b"\xd6\xc3\xc4\0\0" + body), size, codec=3))


@bundle_class
def vcdiff_instructions_of_nothing(chance: random.Random) -> Bundle:
    size = chance.choice((1, 4096, MIB))
    count = edge(chance, 2 * size + 65536 - 40)
    codes = chance.choice((b"\1\0", b"\x13\0"))[:2] * (count // 3)
    addresses = bytes(count // 3) if codes[:1] == b"\x13" else b""
    window = payloads.window(b"r", b"\0" + number_(size) + codes, addresses, size)
    return drawn(chance, Frame(frame_of(b"\xd6\xc3\xc4\0\0" + window), size, codec=3))


@bundle_class
def cover_rows(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((1, 4096, MIB)), 1)
    size = max(count, chance.choice((count, 2 * count)))
    columns = [bytes(count), b"\1" * count, b"\0" + b"\1" * (count - 1), bytes(count), bytes(size - count)]
    packers = {k: (1, frame_of(data)) for k, data in enumerate(columns) if data}
    streams = {k: (packed[0], len(packed[1]), len(columns[k]), packed[1]) for k, packed in packers.items()}
    payload = good.cover([], b"", b"", count=count, streams=streams)
    frame = explicit(Frame(payload, size, codec=4), MIB)
    return drawn(chance, frame, objects=[ZEROS])


@bundle_class
def cover_contexts(chance: random.Random) -> Bundle:
    count = edge(chance, 8192, 1)
    columns = [b"\1" * count, b"\1" * count, b"\0" * count, bytes(count), bytes(count)]
    streams = {k: (1, len(frame_of(data)), len(data), frame_of(data)) for k, data in enumerate(columns)}
    streams[4] = (5, *streams[4][1:])
    payload = good.cover([], b"", b"", count=count, streams=streams)
    return drawn(chance, explicit(Frame(payload, 2 * count, codec=4), MIB), objects=[ZEROS])


@bundle_class
def models(chance: random.Random) -> Bundle:
    frames = []
    size = chance.choice((1, 64, 4096, 262144, MIB))
    for _ in range(edge(chance, 64, 1)):
        length = chance.choice((4, 8, 1000, size, 2 * size))
        coded = bytes((chance.choice((10, 12, 16, 18)),)) + chance.choice((bytes, chance.randbytes))(length)
        payload = good.cover([(0, size, 0)], bytes(size), b"", packers={3: (3, coded)})
        frames.append(explicit(Frame(payload, size, codec=4), MIB))
    program = Program().do("raw", raw=size * len(frames), stream=1)
    return one(size * len(frames), program, *frames, objects=[ZEROS])


@bundle_class
def lzma_dictionaries(chance: random.Random) -> Bundle:
    import lzma

    size = chance.choice((1, 5000, MIB, 32 * MIB))
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": max(4096, size), "preset": 0}]
    data = lzma.compress(zeros(size), lzma.FORMAT_RAW, filters=filters)
    payload = good.cover([], b"", b"", streams={4: (2, len(data), size, data)})
    return drawn(chance, Frame(payload, size, codec=4))


@bundle_class
def sparse_differences(chance: random.Random) -> Bundle:
    size = chance.choice((1, 4096, MIB))
    columns = [bytes(size // 2), b"\1" * (size // 2), b"\1" * (size // 2)]
    packed = [frame_of(column) if column else b"" for column in columns]
    head = b"".join(
        bytes((1 if data else 0,)) + numbers(len(data), len(column))
        for data, column in zip(packed, columns, strict=True)
    )
    payload = good.cover([(0, size, 0)], bytes(size), b"", packers={3: (4, head + b"".join(packed))})
    return drawn(chance, explicit(Frame(payload, size, codec=4), MIB), objects=[ZEROS])


@bundle_class
def zstd_frames(chance: random.Random) -> Bundle:
    size = edge(chance, 64 * MIB, 1)
    data = frame_of(zeros(min(size, 70 * MIB)))
    codec = chance.choice((1, 2))
    frame = Frame(data, size, codec=codec)
    if codec == 2:
        explicit(frame, chance.choice((1, 7, 8, MIB, 128 * MIB)))
    return drawn(chance, frame, objects=[ZEROS])


@bundle_class
def relink_tables(chance: random.Random) -> Bundle:
    source = chance.choice((1, 65536, MIB, 16 * MIB))
    most = min(4096, 128 + source // 256)
    counts = [min(edge(chance, most), source), edge(chance, most), edge(chance, 128 + source // 16)]
    size = chance.choice((1, 4096, MIB))
    counts[1] = min(counts[1], size)
    length = min(source // max(1, counts[0]), 1 << 20)  # so that the total length of all regions is at most `source`
    modes = chance.sample((0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14), 3)
    rows = [
        b"".join(
            numbers(0, length, 0, mode) + (number(0) if mode in (3, 7, 8, 9, 10, 13, 14) else b"")
            for mode in chance.choices(modes, k=counts[0])
        ),
        b"".join(
            numbers(0, size // counts[1], 0, mode) + (number(0) if mode == 9 else b"")
            for mode in chance.choices((0, 4, 5, 9), k=counts[1])
        ),
        b"\1" * counts[2],
        bytes(counts[2]),
        bytes((chance.randrange(4),)) * counts[2],
    ]
    packed = [frame_of(row) if row else b"" for row in rows]
    payload = b"\1" + bytes((chance.randrange(3),)) + number(chance.choice((1, 8, 32))) + numbers(*counts)
    for row, data in zip(rows, packed, strict=True):
        payload += (b"\1" if row else b"\0") + numbers(len(data), len(row))
    count = min(size, source, chance.choice((1, 4096, MIB)))
    columns = [bytes(count), b"\1" * count, bytes(count), bytes(count), bytes(size - count)]
    streams = {k: (1, len(frame_of(data)), len(data), frame_of(data)) for k, data in enumerate(columns) if data}
    payload += b"".join(packed) + good.cover([], b"", b"", count=count, streams=streams)
    return drawn(chance, explicit(Frame(payload, size, codec=5), source), objects=[ZEROS])


@bundle_class
def frames_of_a_kind(chance: random.Random) -> Bundle:
    """Nearly the maximum number of frames, each of nearly the maximum cost."""
    bundle = CLASSES[chance.choice(OF_A_FRAME)](chance)
    frame = bundle.frames[0]
    source = sum(length for _, _, length in frame.spans or ())
    cost = 16384 + frame.size + source + 256 * len(frame.spans or ()) - COST_FACTOR * frame.size
    count = min(65536, LARGEST_TARGET // max(1, frame.size), 64 * MIB // max(1, cost))
    count = max(1, chance.choice((count, count, count // 4, 2)))
    program = Program().do("raw", raw=frame.size * count, stream=frame.stream)
    bundle.frames, bundle.targets = [frame] * count, [target(frame.size * count, program, count)]
    return bundle


OF_A_FRAME: Final = (
    *("vcdiff_windows", "vcdiff_instructions_of_nothing", "vcdiff_padded_integers", "cover_rows", "cover_contexts"),
    *("models", "lzma_dictionaries", "sparse_differences", "zstd_frames", "relink_tables", "inner_payloads"),
)


# --- recompression recipes


ENCODERS: Final = tuple(
    (encoder, level, parameter)
    for encoder, levels, parameter in (
        *((1, (1, 2, 6, 9), 0), (2, (1, 5, 6), 0), (3, (5,), 16385), (4, (5,), MIB), (5, (5,), 1 << 30)),
        *((6, (1, 6, 9), 8), (7, (1, 6, 9), 0), (4, (1, 2, 3, 4, 6, 7, 8, 9), MIB), (8, (4, 7, 9), 16385)),
        *((48, (1, 3, 9, 13, 15), flags) for flags in (0, 3, 5)),
        *((49, (1, 4), flags) for flags in (1, 7)),
        *((9, (1, 6, 9), 4 * size + mode) for size in (32, 128, 4096) for mode in range(4)),
    )
    for level in levels
)


def packed(chance: random.Random, tables: list[bytes], content: list[int], reencoders: set[int]) -> Bundle:
    """Return a bundle whose recipes compress zeros. The declared length of the output is a guess, because the real
    length is unknown. At a wrong length, the rebuild stops.
    """
    program = Program()
    total = 0
    for table, size in zip(tables, content, strict=True):
        out = max(0, size // chance.choice((900, 300)))
        program.do("begin", packing=len(table), packed=out)
        if size:
            program.do("zero", zero=size)
        program.do("end")
        total += out
    rest = chance.choice((0, KIB, MIB))
    if rest:
        program.do("zero", zero=rest)
    data = b"".join(tables)
    frames = [
        Frame(frame_of(data[at : at + 32 * MIB]), len(data[at : at + 32 * MIB]), 0, codec=1)
        for at in range(0, len(data), 32 * MIB)
    ]
    return one(total + rest, program, *frames, reencoders=sorted(reencoders))


@bundle_class
def bodies(chance: random.Random) -> Bundle:
    encoder, level, parameter = chance.choice(ENCODERS)
    number_of = 16 * encoder + level
    size = chance.choice((0, 0, 1, 100))
    count = edge(chance, 65536, 1)
    table = number(count) + numbers(2 * size + 1, number_of, parameter, 0) * count
    return packed(chance, [table], [count * size], {number_of})


@bundle_class
def empty_packings(chance: random.Random) -> Bundle:
    count = edge(chance, 32768, 1)
    return packed(chance, [b"\0"] * count, [0] * count, set())


@bundle_class
def packing_parts(chance: random.Random) -> Bundle:
    count = edge(chance, 65536)
    table = number(count) + bytes(count)
    times = edge(chance, 256, 1)
    return packed(chance, [table] * times, [0] * times, set())


@bundle_class
def edits(chance: random.Random) -> Bundle:
    encoder, level, parameter = chance.choice(ENCODERS)
    number_of = 16 * encoder + level
    count = edge(chance, 65536)
    each = numbers(chance.choice((1, 100)), 1, chance.choice((0, 1)))
    parts = chance.choice((1, 2, 64))
    body = numbers(2 * MIB + 1, number_of, parameter, count) + each * count
    literals = bytes(count) if each[-1:] == b"\1" else b""
    table = number(parts) + body * parts + literals * parts
    return packed(chance, [table], [MIB * parts], {number_of})


@bundle_class
def pgzip_blocks(chance: random.Random) -> Bundle:
    encoder, level = chance.choice(((3, 5), (4, 5), (5, 5), (4, 2), (4, 7), (5, 9), (8, 9)))
    parameter = chance.choice((16385, MIB, 4 * MIB, 4 * MIB + 1, 64 * MIB, 1 << 30))
    size = edge(chance, chance.choice((MIB, 64 * MIB)))
    table = number(1) + numbers(2 * size + 1, 16 * encoder + level, parameter, 0)
    return packed(chance, [table], [size], {16 * encoder + level})


@bundle_class
def slow_content(chance: random.Random) -> Bundle:
    """The slowest content for the encoders: short repeats, each followed by different bytes."""
    encoder, level, parameter = chance.choice(ENCODERS)
    number_of = 16 * encoder + level
    size = chance.choice((KIB, 64 * KIB, MIB))
    data = tangled(chance, size)
    times = max(1, edge(chance, (64 * MIB) // size) // (4 if level >= 7 else 1) // 4)
    table = number(1) + numbers(2 * size * times + 1, number_of, parameter, 0)
    # an upper bound of the real size, which is known only after compression
    most = size * times + size * times // 8 + 65536
    program = Program().do("raw", raw=size, stream=1).do("begin", packing=len(table), packed=most)
    for _ in range(times):
        program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=size)
    program.do("end")
    frames = [Frame(frame_of(data), size, codec=1), Frame(table, len(table), 0)]
    return one(size + most, program, *frames, reencoders=[number_of])


def tangled(chance: random.Random, size: int) -> bytes:
    """Return bytes of a random kind: few values, a repeated unit, zeros, or random bytes."""
    kind = chance.randrange(4)
    if kind == 0:
        return bytes(chance.choices(b"ab", k=size))
    if kind == 1:
        unit = bytes(chance.choices(b"abcd", k=chance.randrange(3, 300)))
        return b"".join(unit + bytes((k & 255,)) for k in range(size // len(unit) + 1))[:size]
    if kind == 2:
        return zeros(size)
    return chance.randbytes(size)


@bundle_class
def inner_payloads(chance: random.Random) -> Bundle:
    """Frames of codec 6, with many source streams, target parts or bodies, or much inflated content."""
    streams = edge(chance, chance.choice((1, 100, 65536)))
    content = chance.choice((0, 1, 1000, MIB))
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = stream.compress(zeros(content)) + stream.flush()
    source = deflated * streams
    encoder, level, parameter = chance.choice(ENCODERS)
    number_of = 16 * encoder + level
    count = edge(chance, chance.choice((1, 65536)))
    size = chance.choice((0, 1, 1000))
    plain = chance.choice((0, 1, 64 * MIB))
    table = number(count + 1) + numbers(2 * size + 1, number_of, parameter, 0) * count + number(2 * plain)
    table = frame_of(table)
    head = bytes((1, chance.randrange(2))) + numbers(content * streams, streams)
    gaps = frame_of(b"\1" * streams) if streams else b""
    head += (b"\1" if streams else b"\0") + numbers(len(gaps), streams)
    head += numbers(len(table), zstandard.get_frame_parameters(table).content_size)
    payload = head + gaps + table + frame_of(zeros(min(48 * MIB, size * count + plain)))
    source = source[: 16 * MIB]
    frame = Frame(payload, chance.choice((1, 1000, MIB)), 1, codec=6)
    if source:
        frame.spans = [(0, 0, len(source))]
    base = (1, max(1, len(source)), sha256(source or b"\0"))
    made = target(frame.size, Program().do("raw", raw=frame.size, stream=1), 1)
    return Bundle([frame], [made], objects=[base], reencoders=[number_of], more={IN_BASE: source})


IN_BASE: Final = 0x40000000
"""The key under which a class puts the base's layer. The other keys are numbers of sections."""
IN_CHAIN: Final = 0x40000001
"""The key under which a class puts an earlier bundle, which rebuilds the base of the class's bundle."""


# --- the manifest


def hello(**given: Any) -> Bundle:
    """Return a bundle with a target of a few bytes."""
    return one(5, Program().do("raw", raw=5, stream=1), Frame(b"\0" * 5, 5), **given)


def about(bases: list[Any], targets: list[Any], notes: list[Any]) -> dict[int, bytes]:
    return {2: msgpack([bases, targets, notes])}


@bundle_class
def names(chance: random.Random) -> Bundle:
    count = edge(chance, 65536)
    name = "n" * chance.choice((0, 1, 31, 64, 4096, 4097))
    count = min(count, 60 * MIB // (len(name) + 3))
    return hello(more=about([[[name] * count, b"", b""]], [[]], []))


@bundle_class
def images(chance: random.Random) -> Bundle:
    each = chance.choice(([[], b"", b""], [["a"], bytes(32), bytes(32)], [[""] * 16, b"", b""]))
    count = edge(chance, 65536)
    return hello(more=about([each] * count, [[each] * chance.choice((0, 1, count))], []))


@bundle_class
def diff_ids(chance: random.Random) -> Bundle:
    count = edge(chance, 262144)
    times = chance.choice((1, 2, 4))
    return hello(more=about([[[], b"", bytes(32 * (count // times))]] * times, [[]], []))


@bundle_class
def notes(chance: random.Random) -> Bundle:
    text = chance.choice(("", "x" * 4096, "x" * 65536, "x" * 65532 + "\U0001f600"))
    return hello(more=about([], [[]], [["k", text]] * min(edge(chance, 1024), 60 * MIB // (len(text) + 8))))


@bundle_class
def paths(chance: random.Random) -> Bundle:
    path = b"p" * chance.choice((0, 1, 100)) + b"\0"
    count = edge(chance, 30 * MIB // len(path))
    return hello(more={4: msgpack([[path * count, path * chance.choice((0, count))]])})


@bundle_class
def unknown_sections(chance: random.Random) -> Bundle:
    return hello(more={100 + 2 * k: bytes(edge(chance, 240 * KIB)) for k in range(edge(chance, 252))})


@bundle_class
def ranges(chance: random.Random) -> Bundle:
    bundle = hello(objects=[ZEROS])
    size = chance.choice((0, 26 * MIB, 40 * MIB))
    if size:
        bundle.targets = [target(5 + size, Program().do("raw", raw=5, stream=1).do("zero", zero=size), 1)]
    count = edge(chance, MIB)
    bundle.frames[0].spans = [(0, 0, chance.choice((0, 1, 1, 128)))] * count
    return bundle


@bundle_class
def segments(chance: random.Random) -> Bundle:
    kind = chance.choice((0, 1))
    count = edge(chance, 16384 if kind else chance.choice((65536, MIB)), 1)
    times = chance.choice((1, 2, 64)) if count <= 16384 else 1
    size = chance.choice((count, 8 * MIB, 48 * MIB)) + count
    made = target(size, Program().do("zero", zero=size))
    each = chance.choice((0, 1, 1))
    made.segments = [(each, kind)] * (count - 1) + [(size - each * (count - 1), 0)]
    made.own = (sha256(b"\0" * each) * (count - 1)) if kind else b""
    made.rest = hashlib.sha256(zeros(size if not kind else made.segments[-1][0])).digest()
    return Bundle([], [made] * times)


@bundle_class
def objects_and_segments(chance: random.Random) -> Bundle:
    objects = [(chance.choice((1, 3)), 5, sha256(b"%d" % k)) for k in range(edge(chance, chance.choice((100, 65536))))]
    count = edge(chance, chance.choice((16, 16384)), 1)
    times = edge(chance, chance.choice((1, 1024)) if count < 100 else 4, 1)
    made = target(count, Program().do("zero", zero=count))
    made.segments, made.own = [(1, 1)] * count, sha256(b"\0") * count
    last = Program()
    for k in range(len(objects)):
        last.do("seek", seek_object=k, seek_offset=0).do("keep", keep=1)
    last.do("zero", zero=1)
    return Bundle([], [*[made] * times, target(len(objects) + 1, last)], objects=objects)


@bundle_class
def objects(chance: random.Random) -> Bundle:
    count = edge(chance, 65536)
    return hello(
        objects=[(chance.choice((1, 2, 3)), chance.choice((0, 5, 1 << 60)), sha256(b"%d" % k)) for k in range(count)]
    )


@bundle_class
def targets(chance: random.Random) -> Bundle:
    frames = edge(chance, chance.choice((0, 1, 1024)))
    times = edge(chance, 1024, 1)
    frames = min(frames, 200_000 // times)
    program = Program().do("raw", raw=frames, stream=1) if frames else Program()
    return Bundle([Frame(b"\0", 1) for _ in range(frames * times)], [target(frames, program, frames)] * times)


@bundle_class
def shapes_of_targets(chance: random.Random) -> Bundle:
    """Up to the maximum number of targets, with many shapes that no header block uses."""
    count, targets_ = edge(chance, 4096, 1), edge(chance, chance.choice((1, 1024)), 1)
    made = []
    for _ in range(targets_):
        program = Program().do("zero", zero=512)
        program.columns["shapes"][:] = numbers(chance.choice((0, 0x10001))) * count
        made.append(target(512, program))
    return Bundle([], made)


@bundle_class
def chains_of_targets(chance: random.Random) -> Bundle:
    """Targets that each build on the previous target."""
    times = edge(chance, chance.choice((16, 256, 1024)), 2)
    size = chance.choice((1, 1000))
    made, contents, objects = [], [], []
    for k in range(times):
        content = b"%d" % k * size
        layer = good.archive({"l": content}, [], "l")
        start = contents[-1] if k else b""
        out = layer + start
        program = Program().do("raw", raw=len(layer), stream=1)
        if k:
            program.do("seek", seek_object=k - 1, seek_offset=0).do("keep", keep=len(start))
        made.append(Target(out, program, 1, tail=len(out) - 1))
        objects.append((1, len(content), sha256(content), (k, layer.index(content))))
        contents.append(content)
    frames = [Frame(link.out[: len(link.out) - (len(contents[k - 1]) if k else 0)], 1) for k, link in enumerate(made)]
    for frame in frames:
        frame.size = len(frame.data)
    return Bundle(frames, made, objects=objects)


@bundle_class
def objects_that_lie_compressed(chance: random.Random) -> Bundle:
    """The maximum number of compressed objects in a target. The next target takes bytes from each object."""
    count = edge(chance, chance.choice((16, 4096, 65_536)), 1)
    content = bytes(chance.choice((16_384, 100)))
    stored = chance.choice((frame_of, gzip.compress))(content)
    objects = [(1, len(content), sha256(b"%d" % k), (0, k * len(stored), len(stored))) for k in range(count)]
    program = Program()
    for k in range(count):
        program.do("seek", seek_object=k, seek_offset=0).do("keep", keep=len(content))
    first = Target(stored * count, Program().do("raw", raw=len(stored) * count, stream=1), 0)
    whole = len(stored) * count
    frames = [Frame(part, len(part)) for at in range(0, whole, 32 * MIB) if (part := first.out[at : at + 32 * MIB])]
    first.frames, first.tail = len(frames), whole - 1
    return Bundle(frames, [first, target(len(content) * count, program)], objects=objects)


@bundle_class
def frames(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((4096, 65536)), 1)
    size = chance.choice((1, 100, 4096))
    program = Program().do("raw", raw=count * size, stream=1)
    data = chance.choice(((b"\0" * size, 0), (frame_of(bytes(size)), 1)))
    return one(count * size, program, *[Frame(data[0], size, codec=data[1])] * count)


@bundle_class
def open_streams(chance: random.Random) -> Bundle:
    count = edge(chance, 31, 1)
    size = chance.choice((MIB, 4 * MIB, 48 * MIB, 64 * MIB))
    count = max(1, min(count, 9 * MIB * 64 // size))
    program = Program()
    for stream in range(1, count + 1):
        program.do("raw", raw=1, stream=stream)
    for stream in range(1, count + 1):
        program.do("raw", raw=size - 1, stream=stream)
    data = frame_of(zeros(size))
    return one(count * size, program, *(Frame(data, size, stream, codec=1) for stream in range(1, count + 1)))


@bundle_class
def kept_frames(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((2, 128)), 1)
    size = edge(chance, max(1, 128 * MIB // count), 1)
    size = min(size, 64 * MIB)
    program = Program()
    for _ in range(count):
        program.do("raw", raw=size, stream=1)
    times = edge(chance, 10_000, 1)
    each = chance.choice((1, min(size, 65536)))
    for k in range(times):
        program.do("repeat", repeat_frame=k % count, repeat_offset=0, repeat=each)
    data = frame_of(zeros(size))
    return one(count * size + times * each, program, *(Frame(data, size, codec=1) for _ in range(count)))


class Drawn:
    """The frames of a program, which uses the whole content of each frame, in order. Until the program has repeated one
    byte of a frame, dib must keep the frame in memory.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.program, self.made = Program(), 0

    def add(self, frame: Frame) -> int:
        """Add a frame, and let the program use it. Return the frame's number."""
        self.frames.append(frame)
        self.program.do("raw", raw=frame.size, stream=frame.stream)
        self.made += frame.size
        return len(self.frames) - 1

    def draw(self, size: int) -> int:
        """Add a frame of zeros, and let the program use it. Return the frame's number."""
        return self.add(Frame(frame_of(zeros(size)), size, codec=1))

    def give_up(self, index: int) -> None:
        """Repeat a byte of a frame. After this last use, dib frees the frame."""
        self.program.do("repeat", repeat_frame=index, repeat_offset=0, repeat=1)
        self.made += 1


@bundle_class
def small_frames_beside_large_ones(chance: random.Random) -> Bundle:
    """Many frames of about one memory page. dib keeps them, then frees most. Then come a large frame and a tail."""
    drawn = Drawn()
    held: list[int] = []
    for size in chance.choice(((1000,), (1000, 2100, 4040), (4097,), (1000, 4097))):
        pages = -(-size // 4096)
        new = [
            drawn.draw(size)
            for _ in range(26_000 // pages - sum(-(-drawn.frames[index].size // 4096) for index in held))
        ]
        kept = chance.choice((1, 2, 8))
        for row, index in enumerate(new):
            if row % kept:
                drawn.give_up(index)
        held += new[::kept]
    cost = sum(16384 + frame.size + 768 for frame in drawn.frames) + 256 * len(held) + 300 * MIB
    for _ in range(max(0, (cost - 64 * MIB) // 8 - drawn.made) // MIB + 64):
        drawn.program.do("zero", zero=MIB)
        drawn.made += MIB
    last = Frame(frame_of(zeros(64 * MIB)), 64 * MIB, codec=2)
    drawn.add(explicit(last, 128 * MIB))
    for index in held:
        drawn.give_up(index)
    bundle = one(drawn.made, drawn.program, *drawn.frames, objects=[ZEROS])
    bundle.target.tail = drawn.made - 64 * MIB
    return bundle


@bundle_class
def frames_that_leave_holes(chance: random.Random) -> Bundle:
    """Frames of increasing sizes. Every second frame is freed, but the freed memory is too small for later frames."""
    drawn = Drawn()
    size = chance.choice((16, 32, 128, 1024)) * KIB
    held: list[tuple[int, int]] = []
    while size < 32 * MIB:
        room = 126 * MIB - sum(taken for taken, _ in held)
        held += [(size, drawn.draw(size - 64)) for _ in range(room // size)]
        for _, index in held[1::2]:
            drawn.give_up(index)
        held = held[::2]
        size *= 2
    for _, index in held[chance.choice((1, 2)) :]:
        drawn.give_up(index)
    kept = [drawn.draw((126 * MIB - sum(taken for taken, _ in held[:2])) // 2 - 64) for _ in range(2)]
    last = Frame(frame_of(zeros(64 * MIB)), 64 * MIB, codec=2)
    drawn.add(explicit(last, 128 * MIB))
    for index in (*kept, *(index for _, index in held[: chance.choice((1, 2))])):
        drawn.give_up(index)
    return one(drawn.made, drawn.program, *drawn.frames, objects=[ZEROS])


@bundle_class
def noise_beside_kept_frames(chance: random.Random) -> Bundle:
    """A recipe with many edits and one large frame of noise, while dib keeps as many frames as possible."""
    frame, source = _large_frame(chance)
    return _beside_kept_frames(chance, [frame], source, chance.choice((1, 65536)))


@bundle_class
def frames_beside_kept_frames(chance: random.Random) -> Bundle:
    """A large frame of codec 6, and frames of codec 5 with a million steps each. At the same time, dib keeps other
    frames in memory.

    The peak memory depends on the timing of the threads.
    """
    noise, size = chance.choice((0, 0, 1, 8)) * MIB, chance.choice((4, 12, 12, 20)) * MIB
    data = chance.randbytes(noise) + zeros(64 * MIB - noise)
    frame, source = _embedded(5, _with_index(len(data), data), len(data), size, chance.choice((1, 65536)))
    count, each = chance.choice(((1, 13), (1, 16), (4, 9), (6, 7), (6, 8)))
    frames = [frame, *(_of_a_million_steps(each * MIB) for _ in range(count))]
    if chance.randrange(4) == 0:
        chance.shuffle(frames)
    return _beside_kept_frames(chance, frames, source, chance.choice((1, 65536)))


def _beside_kept_frames(
    chance: random.Random, frames: list[Frame], source: bytes, bodies: int, edits: int = 0
) -> Bundle:
    """Return a bundle that uses ``frames`` in a recipe, while dib keeps as many frames as possible.

    The base of the frames is an archive with the layer ``source``. ``edits`` header blocks, each with 15 empty texts,
    come before the recipe.
    """
    drawn = Drawn()
    if edits:
        drawn.program.columns["shapes"] += number(sum(1 << bit | 1 << 16 + bit for bit in range(16) if bit != 4))
        drawn.program.do("mode", count=edits)
        drawn.program.columns["shape"] += bytes(edits)
        drawn.program.columns["text"] += bytes(15 * edits)
        drawn.made += 512 * edits
    held = [drawn.add(Frame(noise := chance.randbytes(16 * MIB), len(noise), 1))]
    held += [drawn.draw(16 * MIB) for _ in range(7)]
    each = MIB - 65536
    drawn.frames += [Frame(frame_of(zeros(each)), each, stream, codec=1) for stream in range(2, 17)]
    for stream in range(2, 17):
        drawn.program.do("raw", raw=1, stream=stream)
    drawn.made += 15
    start = drawn.made
    for _ in range(chance.choice((46, 62))):
        drawn.program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=MIB)
        drawn.made += MIB
    size = sum(frame.size for frame in frames)
    content = 16 * MIB - 4096 + size + 15 * (each - 1)
    table = _of_edits(content, 16 * 4 + 6, 4 * MIB, bodies)
    drawn.frames += [Frame(frame_of(table), len(table), 0, codec=1), *frames]
    drawn.program.do("begin", packing=len(table), packed=17 * MIB)
    drawn.program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=16 * MIB - 4096)
    drawn.program.do("raw", raw=size, stream=1)
    for stream in range(2, 17):
        drawn.program.do("raw", raw=each - 1, stream=stream)
    drawn.program.do("end")
    drawn.made += 17 * MIB
    for index in held:
        drawn.give_up(index)
    made = one(drawn.made, drawn.program, *drawn.frames, objects=[(1, len(source), sha256(source))])
    made.reencoders, made.more = [17, 16 * 4 + 6], {IN_BASE: source}
    made.target.tail = max(start, drawn.made - 64 * MIB)
    return made


@bundle_class
def pieces_beside_kept_frames(chance: random.Random) -> Bundle:
    """Frames of codec 5 with two million pieces each, and many edits. At the same time, dib keeps as many other frames
    as possible.
    """
    size = 16 * MIB
    frames = [_of_two_million_pieces(size, chance.choice((255, 8))) for _ in range(2 * chance.choice((1, 2)))]
    if chance.randrange(2):
        frames.insert(0, Frame(frame_of(zeros(64 * MIB)), 64 * MIB, 1, codec=1))
    edits = chance.choice((0, 4096, 65000))
    return _beside_kept_frames(chance, frames, zeros(size + 18 * MIB), chance.choice((1, 65536)), edits)


def _of_two_million_pieces(size: int, long: int) -> Frame:
    """Return a frame whose source of ``size`` bytes has 4,096 regions. The frame has ``long`` long covers, and each
    long cover spans all regions.
    """
    regions = 4096
    steps, count = min(MIB, 128 + size // 16), MIB
    short = count - long
    made = long * regions + short
    rows = [
        b"".join(numbers(0, 1, 0, 0) for _ in range(regions - 1)) + numbers(0, size - regions + 1, 0, 0),
        *(numbers(0, made, 0, 0), b"\1" * steps, b"\2" * steps, b"\3" * steps),
    ]
    seeks = numbers(2 * (regions - 1)) + bytes(short - 1)
    seeks += numbers(2 * (regions - 1 + short) - 1) + numbers(2 * regions - 1) * (long - 1)
    columns = [bytes(count), b"\1" * short + numbers(regions) * long, seeks, bytes(made)]
    frame = Frame(_relinked(rows, (regions, 1, steps), columns), made, 1, codec=5)
    frame.spans = [(0, 0, size)]
    return frame


EDIT: Final = numbers(1 << 30, 1 << 30, 1824)  # an edit at a distant place, with 228 bytes of replacement data


def _of_edits(content: int, number_of: int, parameter: int, count: int) -> bytes:
    """Return a recipe of 65,536 edits in ``count`` bodies. The first body has nearly all of the content."""
    edits = 65536 // count
    bodies = [content - count + 1] + [1] * (count - 1)
    table = b"".join(numbers(2 * size + 1, number_of, parameter, edits) + EDIT * edits for size in bodies)
    return number(count) + table + bytes(228 * 65536)


def _with_index(size: int, noise: bytes) -> bytes:
    """Return a payload of codec 5 that derives an index with as many unwinding entries as fit into ``size`` bytes."""
    count = MIB
    entries = (size - count - 16) // 28
    frames, index = bytearray(noise[: 20 * entries]), bytearray(noise[: size - count - 20 * entries])
    frames[0::20] = b"\x10" * entries
    for at in (1, 2, 3):
        frames[at::20] = bytes(entries)
    index[:8] = b"\1\x1b\3\x3b" + (-(len(frames) + 4)).to_bytes(4, "little", signed=True)
    columns = [bytes(count), b"\1" * count, bytes(count), bytes(count), bytes(frames + index)]
    streams = {at: (1, len(frame_of(data)), len(data), frame_of(data)) for at, data in enumerate(columns)}
    inner = good.cover([], b"", b"", count=count, streams=streams)
    sections = [(count, len(frames), 0, 0, 5), (0, len(index), 0, 0, 4)]
    return payloads.relinked([], sections, [], inner)


def _large_frame(chance: random.Random) -> tuple[Frame, bytes]:
    """Return a frame that needs much memory, and the layer of its base. The frame's payload is incompressible."""
    codec = chance.choice((2, 4, 5))
    is_embedded = chance.randrange(2)
    half = chance.choice((0, 32, 64)) * MIB
    data = chance.randbytes(64 * MIB)
    differences, literals = data[:half], data[half:]
    packers = {index: (1, frame_of(part)) for index, part in ((3, differences), (4, literals)) if part}
    payload = {
        2: lambda: frame_of(data),
        4: lambda: payloads.cover([(0, half, 0)] if half else [], differences, literals, packers=packers),
        5: lambda: _with_index(len(data), data),
    }[codec]()
    if not is_embedded:
        return explicit(Frame(payload, len(data), codec=codec), 128 * MIB), zeros(MIB)
    return _embedded(codec, payload, len(data), 28 * MIB, chance.choice((1, 65536)))


def _embedded(codec: int, payload: bytes, content: int, size: int, bodies: int) -> tuple[Frame, bytes]:
    """Return a frame of codec 6 whose inner payload makes ``content`` bytes, and the layer of its base."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = b"".join([*(stream.compress(zeros(MIB)) for _ in range(62)), stream.flush()])
    source = deflated + bytes(2 * MIB - len(deflated))
    packed = frame_of(table := _of_edits(content, 17, 0, bodies))
    head = bytes((codec, 0)) + numbers(62 * MIB, 1) + b"\0" + numbers(1, 1) + numbers(len(packed), len(table))
    frame = Frame(head + b"\1" + packed + payload, size, 1, codec=6)
    frame.spans = [(0, 0, len(source))]
    return frame, source


def _of_a_million_steps(size: int) -> Frame:
    """Return a frame of codec 5, of ``size`` bytes, with the maximum number of fixed steps and a million covers."""
    steps, count = min(MIB, 128 + size // 16), MIB
    rows = [numbers(0, size, 0, 1), numbers(0, size, 0, 0), b"\1" * steps, b"\2" * steps, b"\3" * steps]
    columns = [bytes(count), b"\1" * count, bytes(count), bytes(count), bytes(size - count)]
    return explicit(Frame(_relinked(rows, (1, 1, steps), columns), size, 1, codec=5), size)


def _relinked(rows: list[bytes], counts: tuple[int, int, int], columns: list[bytes]) -> bytes:
    """Return a payload of codec 5. ``counts`` has the numbers of regions, sections and steps; ``columns`` are the
    columns of the covers.
    """
    packed = [frame_of(row) for row in rows]
    head = bytes((1, 0)) + number(1) + numbers(*counts)
    for row, data in zip(rows, packed, strict=True):
        head += b"\1" + numbers(len(data), len(row))
    streams = {at: (1, len(frame_of(data)), len(data), frame_of(data)) for at, data in enumerate(columns)}
    inner: bytes = good.cover([], b"", b"", count=len(columns[0]), streams=streams)
    return head + b"".join(packed) + inner


@bundle_class
def pieces_beside_large_frames(chance: random.Random) -> Bundle:
    """Threads compress a body from a large frame, while dib keeps other frames and a withheld tail in memory."""
    drawn = Drawn()
    noise = chance.choice((0, 1, 4)) * MIB
    held = [drawn.add(Frame(frame_of(chance.randbytes(noise)), noise, codec=1))] if noise else []
    held += [drawn.draw(chance.choice((15, 60)) * MIB)]
    while sum(drawn.frames[index].size for index in held) < 110 * MIB:
        held.append(drawn.draw(15 * MIB))
    for _ in range(chance.choice((0, 64))):
        drawn.program.do("zero", zero=MIB)
        drawn.made += MIB
    content = 64 * MIB + 16 * noise
    number_of = 16 + chance.choice((4, 6))  # Go
    table = number(1) + numbers(2 * content + 1, number_of, 0, 0)
    last = Frame(frame_of(zeros(64 * MIB)), 64 * MIB, codec=2)
    drawn.frames += [Frame(table, len(table), 0), explicit(last, 128 * MIB)]
    most = content + content // 8  # an upper bound of the real size, which is known only after compression
    drawn.program.do("begin", packing=len(table), packed=most)
    for _ in range(16 if noise else 0):
        drawn.program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=noise)
    drawn.program.do("raw", raw=last.size, stream=last.stream).do("end")
    drawn.made += most
    for index in held:
        drawn.give_up(index)
    bundle = one(drawn.made, drawn.program, *drawn.frames, objects=[ZEROS], reencoders=[number_of])
    bundle.target.tail = drawn.made - chance.choice((1, 64)) * MIB
    return bundle


@bundle_class
def operations(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((65536, 65536 * 3)), 1)
    kind = chance.choice(("zero", "keep", "seek", "raw", "repeat", "header", "replace"))
    program = Program()
    columns, size = program.columns, count
    values = {
        "zero": ("zero",),
        "keep": ("keep",),
        "raw": ("raw",),
        "repeat": ("repeat",),
        "replace": ("raw", "replace"),
    }
    op = written.OPERATIONS.index
    given: list[Frame] = [Frame(frame_of(bytes(count)), count, codec=1)] if kind in ("raw", "replace") else []
    if kind == "seek":
        columns["ops"] += bytes((op("seek"), op("keep"))) * count
        columns["seek_object"] += bytes(count)
        columns["seek_offset"] += b"\1" + b"\1" * (count - 1) if chance.random() < 0.2 else b"\0" + b"\1" * (count - 1)
        columns["keep"] += b"\1" * count
    elif kind == "header":
        columns["ops"] += bytes((op("header"),)) * count
        columns["register"] += bytes(count)
        columns["shapes"] += number(1 << 1)
        columns["shape"] += bytes(count)
        columns["mode"] += bytes(count)
        size = 512 * count
    else:
        if kind == "repeat":
            given = [Frame(b"\0", 1)]
            program.do("raw", raw=1, stream=1)
            size += 1
        columns["ops"] += bytes((op(kind),)) * count
        for name in values[kind]:
            columns[name] += b"\1" * count
        if kind in ("raw", "replace"):
            columns["stream"] += b"\1" * count
        if kind == "repeat":
            columns["repeat_frame"] += bytes(count)
            columns["repeat_offset"] += bytes(count)
    size = min(size, LARGEST_TARGET)
    rest = chance.choice((0, 4 * MIB))
    if rest:
        program.do("zero", zero=rest)
    return one(size + rest, program, *given, objects=[ZEROS])


@bundle_class
def columns_of_others(chance: random.Random) -> Bundle:
    """A target that is not rebuilt has large columns, which are never read. The rebuilt target has smaller columns."""
    bundle = hello(objects=[ZEROS])
    column = chance.choice(("seek_object", "seek_offset", "keep", "shape", "text", "mtime", "stream"))
    other = target(1, Program().do("zero", zero=1))
    other.program.columns[column] += bytes((chance.choice((0, 1, 127)),)) * edge(chance, 30 * MIB)
    bundle.targets.insert(0, other)
    bundle.more = about([], [[[["other"], b"", b""]], [[["made"], b"", b""]]], [])
    return bundle


@bundle_class
def shapes(chance: random.Random) -> Bundle:
    program = Program()
    count = edge(chance, 4096)
    program.columns["shapes"] += number(chance.choice((0, 2, (1 << 32) - 1 & ~(1 << 20)))) * count
    times = edge(chance, chance.choice((1, 1024)), 1)
    program.do("zero", zero=5)
    return Bundle([], [target(5, program)] * times)


@bundle_class
def texts(chance: random.Random) -> Bundle:
    """Header blocks in which every field is a text."""
    count = edge(chance, 32768, 1)
    program = Program()
    shape = sum(1 << bit | 1 << 16 + bit for bit in range(16) if bit != 4)
    program.columns["shapes"] += number(shape)
    program.columns["ops"] += bytes((9,)) * count
    program.columns["register"] += bytes(count)
    program.columns["shape"] += bytes(count)
    length = chance.choice((0, 1))
    program.columns["text"] += bytes((length,)) * 15 * count
    given = [Frame(frame_of(bytes(15 * count)), 15 * count, 0, codec=1)] if length else []
    return one(512 * count, program, *given)


@bundle_class
def forms(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((1, 65536)), 1)
    objects = [(3, 5, sha256(b"%d" % k)) for k in range(count)]
    table = chance.choice((b"\0", number(1) + numbers(2 * MIB + 1, 102, 8, 0), bytes(500), bytes(16 * MIB)))
    count = min(count, 50 * MIB // (len(table) + 40))
    rows = [[k, MIB, ZEROS[2], table] for k in range(count)]
    program = Program()
    for k in range(min(count, edge(chance, 2048, 1))):
        program.do("seek", seek_object=k, seek_offset=0).do("keep", keep=1)
    size = len(program.columns["ops"]) // 2
    return one(size, program, objects=objects, more={6: msgpack(rows)})


@bundle_class
def tails(chance: random.Random) -> Bundle:
    size = edge(chance, 64 * MIB, 1)
    size = min(size, 64 * MIB)
    program = Program()
    data = frame_of(zeros(MIB))
    count = max(1, size // MIB)
    for _ in range(count):
        program.do("raw", raw=MIB, stream=1)
    bundle = one(count * MIB, program, *[Frame(data, MIB, codec=1)] * count)
    bundle.target.tail = max(0, count * MIB - 64 * MIB)
    return bundle


@bundle_class
def seeks(chance: random.Random) -> Bundle:
    """Seeks to objects. Their column of objects has too many entries, the right number, or too few."""
    count = edge(chance, chance.choice((1, 65536, 4 * MIB)), 1)
    value = number(chance.choice((0, 1, 127, 128, 65535, 1 << 20)))
    program = Program()
    program.columns["ops"] += b"\0\1" * min(count, 32000) + b"\x08"
    program.columns["zero"] += number(5)
    program.columns["seek_object"] += value * chance.choice((count, min(count, 32000)))
    program.columns["seek_offset"] += bytes(min(count, 32000))
    program.columns["keep"] += b"\1" * min(count, 32000)
    times = edge(chance, chance.choice((1, 8)), 1)
    return Bundle([], [target(min(count, 32000) + 5, program)] * times, objects=[ZEROS])


@bundle_class
def names_on_the_way(chance: random.Random) -> Bundle:
    """A first target is an archive with long names. dib may have to search this archive for objects of the second
    target.
    """
    size = edge(chance, chance.choice((100, 4096, MIB)), 1)
    entry = written.block("././@LongLink", size=size, typeflag=b"L", magic=b"ustar  \0") + bytes(size).replace(
        b"\0", b"n"
    )
    entry += bytes(-size % 512) + written.block("x", magic=b"ustar  \0")
    data = entry * max(1, chance.choice((1, MIB, 8 * MIB)) // len(entry))
    times = edge(chance, max(1, 64 * MIB // len(data)), 1)
    program = Program().do("raw", raw=len(data), stream=1)
    for _ in range(times - 1):
        program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=len(data))
    first = Target(data * times, program, 1, tail=max(0, times * len(data) - 64 * MIB))
    asking = target(512, Program().do("keep", keep=512))
    return Bundle([Frame(frame_of(data), len(data), codec=1)], [first, asking], objects=[(1, 512, sha256(b"none"))])


# --- chains


@bundle_class
def layers_on_the_way(chance: random.Random) -> Bundle:
    """A first bundle makes an image with a layer of tiny pieces. The second bundle uses the layer's content, and a
    member to which no document refers.
    """
    piece, content = chance.choice(TINY)(chance)
    count = edge(chance, chance.choice((1, MIB, 16 * MIB)) // len(piece), 1)
    ends = b"the end of the layer".ljust(512)
    end = frame_of(ends) if piece[:4] == ZSTD_MAGIC else gzip.compress(ends, mtime=0)
    layer, hidden = piece * count + end, b"a member that no document names".ljust(512)
    raw = content * count + ends
    image = good.archive({"l": layer, "config.json": good.config(raw), "x": hidden}, ["l"], "config.json")
    size = min(len(image), 64 * MIB)
    earlier = Bundle([Frame(frame_of(image[:size]), size, codec=1)], [], more=links(b"base", b"made"))
    if len(image) > size:
        earlier.frames.append(Frame(frame_of(image[size:]), len(image) - size, codec=1))
    program = Program().do("raw", raw=len(image), stream=1)
    earlier.targets.append(Target(image, program, len(earlier.frames), tail=max(0, len(image) - 64 * MIB)))
    uses = Program().do("keep", keep=512).do("seek", seek_object=1, seek_offset=0).do("keep", keep=min(512, len(raw)))
    objects = [(3, 512, sha256(hidden)), (1, len(raw), sha256(raw))]
    out = hidden + raw[:512]
    return Bundle([], [Target(out, uses, 0)], objects=objects, more={IN_CHAIN: earlier, **links(b"made", b"end")})


def links(base: bytes, made: bytes) -> dict[int, bytes]:
    """Return the section with the images of base and target. Bundles with such sections form a chain."""
    return about([[[base.decode()], sha256(base), b""]], [[[[made.decode()], sha256(made), b""]]], [])


ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def empty_frame(chance: random.Random) -> tuple[bytes, bytes]:
    return ZSTD_MAGIC + b"\0\0" + bytes(3 * chance.choice((0, 1, 8, 100, 1000))) + b"\1\0\0", b""


def short_frame(chance: random.Random) -> tuple[bytes, bytes]:
    size = chance.choice((1, 23, 100))
    return ZSTD_MAGIC + b"\0\0" + (size << 3 | 1).to_bytes(3, "little") + b"a" * size, b"a" * size


def short_blocks(chance: random.Random) -> tuple[bytes, bytes]:
    blocks = (1 << 3 | chance.choice((0, 2))).to_bytes(3, "little") + b"a"
    count = chance.choice((1, 100, 10_000))
    return ZSTD_MAGIC + b"\0\0" + blocks * count + b"\1\0\0", b"a" * count


def short_member(chance: random.Random) -> tuple[bytes, bytes]:
    content = bytes(chance.choices(b"abcdef", k=chance.choice((0, 1, 20, 300))))
    return gzip.compress(content, 9, mtime=0), content


def deflate_tables(chance: random.Random) -> tuple[bytes, bytes]:
    """Return a gzip member of many blocks, each with its own Huffman tables for few bytes."""
    content = chance.randbytes(chance.choice((40, 100, 400)))
    coder = zlib.compressobj(9, zlib.DEFLATED, 31, 1)
    times = chance.choice((1, 100, 1000))
    skewed = bytes(content[k * k % len(content)] & 0x3F for k in range(2 * len(content)))
    parts = [coder.compress(skewed) + coder.flush(zlib.Z_FULL_FLUSH) for _ in range(times)]
    return b"".join(parts) + coder.flush(), skewed * times


TINY: Final = (empty_frame, short_frame, short_blocks, short_member, deflate_tables)


# --- listings: nothing is rebuilt


LISTED: Final[set[str]] = set()


def listed_class(draw: Draw) -> Draw:
    """Register a class of bundles that are listed, not applied."""
    LISTED.add(draw.__name__)
    return bundle_class(draw)


@listed_class
def listed_edits(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((1, 1 << 20, 1 << 22)), 1)
    program = Program()
    program.columns["shapes"] += number(chance.choice((0, 2, 2 | 4 | 8 | 32)))
    program.columns["shape"] += bytes(count)
    for column in ("mode", "uid", "gid", "mtime"):
        program.columns[column] += bytes(count)
    program.do("mode", count=chance.choice((1, count, count + 1, 1 << 62)))
    return one(1024, program, objects=[(1, 1 << 40, sha256(b"large"))])


@listed_class
def listed_headers(chance: random.Random) -> Bundle:
    count = edge(chance, chance.choice((1, 1 << 19)), 1)
    program = Program()
    program.columns["ops"] += b"\x09" * count
    program.columns["register"] += bytes((chance.choice((0, 1)),)) * count
    program.columns["shapes"] += number(0)
    program.columns["shape"] += bytes(count)
    bundle = one(0, program)
    bundle.target.size, bundle.target.tail, bundle.target.segments = 512 * count, 512 * count - 1, [(512 * count, 1)]
    return bundle


@listed_class
def listed_names(chance: random.Random) -> Bundle:
    path = b"p/" * chance.choice((0, 1, 50, 2048, MIB)) + b"\0"
    count = min(edge(chance, 1 << 19), 60 * MIB // len(path))
    return hello(more={4: msgpack([[b"", path * count]])})


@listed_class
def listed_text(chance: random.Random) -> Bundle:
    size = edge(chance, chance.choice((1, MIB, 32 * MIB, 64 * MIB)), 1)
    frames = []
    for _ in range(chance.choice((1, 2, 500))):
        codec = chance.choice((0, 1, 4))
        content = zeros(min(size, MIB) if codec == 0 else min(size, 64 * MIB))
        data = content if codec == 0 else frame_of(content)
        if codec == 4:
            content = zeros(min(size, 8 * MIB))
            data = good.cover([], b"", b"", streams={4: (1, len(frame_of(content)), len(content), frame_of(content))})
        frames.append(Frame(data, len(content), 0, codec=codec))
        if len(frames) * size > 100 * MIB:
            break
    made = sum(frame.size for frame in frames)
    bundle = one(0, Program().do("raw", raw=made, stream=0), *frames)
    bundle.target.size, bundle.target.tail, bundle.target.segments = made, max(0, made - 64 * MIB), [(made, 1)]
    return bundle


# --- measured cost


@dataclass(frozen=True, slots=True)
class Taken:
    """The cost of applying a bundle (bytes of memory, CPU seconds), the exit status, and the bounds."""

    memory: int
    seconds: float
    status: int
    most_memory: int
    most_seconds: float

    @property
    def is_kept(self) -> bool:
        """Return whether the cost was within the bounds."""
        return self.memory <= self.most_memory and self.seconds <= self.most_seconds and self.status in (0, 5, 6, 7, 2)


def base_of(layer: bytes) -> bytes:
    """Return an archive of one layer."""
    made: bytes = good.archive({"l": layer, "config.json": good.config(layer)}, ["l"], "config.json")
    return made


BASE: Final = base_of(bytes(MIB))


class Case(NamedTuple):
    """A bundle to apply, and the data that this bundle needs.

    ``made`` is the declared size of the bundle's targets. ``target`` selects one of the targets. A chain begins with
    ``earlier``, a bundle that rebuilds ``earlier_made`` bytes from ``base``.
    """

    bundle: bytes
    made: int
    base: bytes
    target: str | None = None
    earlier: bytes = b""
    earlier_made: int = 0


def promised(case: Case) -> tuple[int, float]:
    """Return the maximum memory (bytes) and time (seconds) for a case, as in spec/dib.md, 10.1.

    In a chain, the bounds hold for each bundle. If an earlier bundle makes an archive, the allowed time grows with the
    archive's size.
    """
    manifest = min(int.from_bytes(case.bundle[24:32], "little"), 64 * MIB)
    size = len(case.bundle) + len(case.earlier) + manifest // COST_FACTOR
    nanoseconds = NANOSECONDS * size + NANOSECONDS_MADE * (case.made + case.earlier_made)
    nanoseconds += NANOSECONDS_EARLIER * case.earlier_made
    seconds = SECONDS * (2 if case.earlier else 1)
    return MOST_MEMORY + MEMORY_PER_MANIFEST_BYTE * manifest, seconds + nanoseconds / 1e9


def take(case: Case, limit: float = 300) -> Taken:
    """Apply a bundle in its own process and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "bundle"), Path(folder, "base"), *([Path(folder, "earlier")] if case.earlier else ())]
        for path, content in zip(paths, (case.bundle, case.base, case.earlier), strict=False):
            path.write_bytes(content)
        names = [str(paths.pop(1))] + ([] if case.target is None else [case.target])
        arguments = ["+".join(map(str, reversed(paths))), *names]
        command = [sys.executable, "-m", "tests.fuzz.apply_one", f"{limit:.0f}", *arguments]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(command, cwd=VECTORS.parents[1], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory, seconds = promised(case)
    return Taken(int(ended.stdout or b"-1") * KIB, taken, ended.returncode, memory, seconds)


def case_of(name: str, chance: random.Random) -> Case:
    """Return a random bundle of a class, with its base."""
    made = CLASSES[name](chance)
    chosen = None
    if len(made.targets) > 1:
        made.more.setdefault(2, msgpack([[], [[[[f"{k}"], b"", b""]] for k in range(len(made.targets))], []]))
        chosen = "made" if name == "columns_of_others" else f"{len(made.targets) - 1}"
    size = made_size(made)
    if name in LISTED:
        size, chosen = 0, ":inspect"
    extra = made.more.pop(IN_BASE, None)
    base = BASE if extra is None else base_of(extra or b"\0")
    earlier: Bundle | None = made.more.pop(IN_CHAIN, None)  # type: ignore[assignment] # a bundle, not a section
    if earlier:
        return Case(made.encode(), size, base, chosen, earlier.encode(), made_size(earlier))
    return Case(made.encode(), size, base, chosen)


def made_size(bundle: Bundle) -> int:
    """Return the declared size of a bundle's targets."""
    return sum(item.size if item.size is not None else len(item.out) for item in bundle.targets)


def run(seconds: float, seed: int, wanted: list[str]) -> int:
    """Generate and measure bundles until the time limit.

    Print the worst bundle of each class, and all bundles above the bounds.
    """
    end = time.monotonic() + seconds
    worst: dict[str, list[float]] = {name: [0, 0, 0, 0, 0, 0] for name in wanted}
    broken = count = 0
    while time.monotonic() < end:
        for name in wanted:
            given = case_of(name, random.Random(f"{name} {seed} {count}"))
            taken = take(given)
            row = worst[name]
            row[0] += 1
            row[1] = max(row[1], taken.memory / MIB)
            row[2] = max(row[2], taken.seconds)
            row[3] = max(row[3], taken.memory / taken.most_memory)
            row[4] = max(row[4], taken.seconds / taken.most_seconds)
            row[5] += taken.status == 0
            if not taken.is_kept:
                broken += 1
                place = Path(tempfile.gettempdir()) / f"bounds-{name}-{seed}-{count}.dib"
                place.write_bytes(given.bundle)
                print(
                    f"broken: {name} {count}: {taken}, {len(given.bundle)} bytes, makes {given.made}: {place}",
                    flush=True,
                )
        count += 1
    for name, row in worst.items():
        print(f"| {name} | {row[0]:.0f} | {row[5]:.0f} | {row[1]:.0f} | {row[2]:.2f} | {row[3]:.2f} | {row[4]:.2f} |")
    print(f"{sum(int(row[0]) for row in worst.values())} bundles of {len(worst)} classes, {broken} broke the promise")
    return 1 if broken else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(run(float(words[0]) if words else 60, int(words[1]) if len(words) > 1 else 0, words[2:] or list(CLASSES)))

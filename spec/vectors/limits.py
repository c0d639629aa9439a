"""Bad vectors that are right but for one limit or check: a decoder that forgets it makes the target, or another one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from bundles import Bundle, Frame, Program, numbers, padded, sha256, signed, zframe
from faults import MIB, Change, bad
from good import (
    AT,
    CODE,
    HELLO,
    LAYER,
    PACKED_CONTENT,
    RECORDS,
    SECOND,
    C,
    L,
    cover,
    deflated,
    drawn,
    having,
    noise,
    one,
    packing,
    packs,
    plain,
)
from payloads import relinked, unpacked


def instead(make: Callable[[], Bundle]) -> Change:
    """Replace the good bundle as a whole."""
    return lambda bundle: bundle.__dict__.update(make().__dict__)


@cache
def of_zeros(size: int) -> bytes:
    """Return a zstd frame of zeros."""
    return zframe(bytes(size))


def zeros(size: int, stream: int = 1) -> Frame:
    """Return a frame of zeros."""
    return Frame(of_zeros(size), size, stream, codec=1)


@bad("frame-too-large", "stored", "frames.size", "M30")
@instead
def _frame() -> Bundle:
    bundle = drawn(zeros(64 * MIB + 1), bytes(64 * MIB + 1))
    whole = bundle.frames[0].data  # as one segment its window is too large too: here it is 2 MiB
    bundle.frames[0].data = whole[:4] + b"\x80\x58" + whole[5:]
    bundle.target.tail = 64 * MIB
    return bundle


@bad("too-many-ranges", "stored", "frames.source count", "M30")
@instead
def _ranges() -> Bundle:
    bundle = drawn(plain(HELLO), HELLO)
    bundle.frames[0].spans, bundle.objects = [(0, 0, 0)] * (MIB + 1), [C]
    return bundle


@bad("cost-of-sources", "stored", "M62")
@instead
def _sources() -> Bundle:
    bundle = drawn(plain(HELLO), HELLO)
    bundle.frames[0].spans, bundle.objects = [(0, 0, 127)] * 530000, [C]
    return bundle


@bad("a-frame-of-no-target", "stored", "target.frames", "M34")
def _no_target(bundle: Bundle) -> None:
    bundle.frames.append(plain(b"more", 2))


@bad("kept-too-much", "repeat", "M61")
@instead
def _kept() -> Bundle:
    """Have three frames of 44 MiB, of which each is repeated at the end."""
    size, program = 44 * MIB, Program()
    for stream in (1, 2, 3):
        program.do("raw", raw=size, stream=stream)
    for index in range(3):
        program.do("repeat", repeat_frame=index, repeat_offset=0, repeat=1)
    bundle = one(bytes(3 * size + 3), program, *(zeros(size, stream) for stream in (1, 2, 3)))
    bundle.target.tail = 3 * size
    return bundle


@bad("cost-of-packings", "packs-nothing", "M70")
@instead
def _cost() -> Bundle:
    """Make 17 MiB of zeros cost 68 at level 9."""
    size = 17 * MIB
    table, packed = packing((size, 25, 0, [])), deflated(bytes(size), 1, 9)
    program = Program().do("begin", packing=len(table), packed=len(packed)).do("zero", zero=size).do("end")
    bundle = one(packed, program, plain(table, 0))
    bundle.reencoders = [25]
    return bundle


@bad("packing-too-large", "packs-plain-parts-alone", "column.packing", "M64")
@instead
def _packing() -> Bundle:
    size = 16 * MIB
    table = packing(size) + bytes(size)
    bundle = packs(packing(size), b"", bytes(size))
    bundle.columns["packing"][:] = numbers(len(table))
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


@bad("packing-parts-too-many", "packs-plain-parts-alone", "packing.parts", "M65")
@instead
def _parts() -> Bundle:
    table = packing(*[0] * 65537)
    bundle = packs(table, b"", b"")
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


def edited(body: bytes, edits: list[tuple[int, int, int]], literals: str) -> bytes:
    """Return a body with bits dropped and put in; ``literals``: the bits of all edits."""
    bits = "".join(f"{byte:08b}"[::-1] for byte in body)
    out, at, taken = [], 0, 0
    for copied, dropped, count in edits:
        out += [bits[at : at + copied], literals[taken : taken + count]]
        at, taken = at + copied + dropped, taken + count
    whole = "".join(out) + bits[at:]
    return bytes(int(whole[start : start + 8][::-1], 2) for start in range(0, len(whole), 8))


@bad("packing-edits-too-many", "packs-with-edits", "packing.edits", "M65")
@instead
def _edits() -> Bundle:
    content = noise("edits", 17000)
    edits = [(1, 1, 1)] * 65537
    packed = edited(deflated(content, 6, 6, 8), edits, "0" * len(edits))
    table = packing((len(content), 102, 8, edits), literals=bytes(len(edits)))
    bundle = packs(table, content, packed, 102)
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


@bad("recipe-bits-behind-the-literals", "packs-with-edits", "packing.literals", "M78")
@instead
def _behind() -> Bundle:
    edits = [(8, 7, 7)]
    packed = edited(deflated(PACKED_CONTENT, 6, 6, 8), edits, "1" * 7)
    return packs(packing((3000, 102, 8, edits), literals=b"\xff"), PACKED_CONTENT, packed, 102)


@bad("keep-beyond-the-object", "keep-and-seek", "column.keep", "M50")
@instead
def _beyond() -> Bundle:
    program = Program().do("seek", seek_object=0, seek_offset=signed(len(SECOND) - 600)).do("keep", keep=1000)
    second = (1, len(SECOND), sha256(SECOND))
    return one(SECOND[-600:] + bytes(400), program, objects=[second])


bad("keep-without-an-object", "stored", "column.keep", "M50")(
    instead(lambda: one(HELLO[:5], Program().do("keep", keep=5)))
)


@bad("text-longer-than-its-field", "every-field-as-text", "column.text", "M44")
@instead
def _text() -> Bundle:
    name = b"n" * 101
    program = Program().do("header", register=0).edit("raw:name").text(0, len(name))
    return one(having(bytes(512), name=name[:100]), program, plain(name, 0))


@bad("text-longer-with-what-it-shares", "every-field-as-text", "column.shared", "M44")
@instead
def _shared() -> Bundle:
    program = Program().do("header", register=0).edit("raw:uname").text(0, 20)
    program.do("header", register=1).edit("raw:uname").text(20, 13)
    first = having(bytes(512), uname=b"u" * 20)
    return one(first + having(bytes(512), uname=b"u" * 32), program, plain(b"u" * 33, 0))


@bad("shape-with-the-size-as-text", "every-field-as-text", "column.shapes", "M42")
@instead
def _size() -> Bundle:
    size = b"00000000005\0"
    program = Program().do("header", register=0).edit("raw:size").text(0, 12)
    return one(having(bytes(512), size=size), program, plain(size, 0))


@bad("shape-with-text-of-no-field", "every-field-as-text", "column.shapes", "M42")
@instead
def _no_field() -> Bundle:
    program = Program().do("header", register=0).edit(shape=1 << 16)
    return one(having(bytes(512)), program)


@bad("mode-changes-the-size", "records", "M54")
@instead
def _mode() -> Bundle:
    program = Program().do("seek", seek_object=0, seek_offset=signed(AT["hello"])).do("mode", count=1)
    program.edit("size", size=1)
    header = having(RECORDS["hello"][:512], size=b"%011o\0" % (len(HELLO) + 1))
    return one(header + padded(HELLO), program, objects=[L])


def through(codec: int, payload: bytes, source: bytes, out: bytes, *, of: tuple[int, int, bytes] = C) -> Bundle:
    """Return a bundle of one frame, with the first bytes of an object as its source."""
    bundle = drawn(Frame(payload, len(out), codec=codec), out)
    if source:
        bundle.frames[0].spans, bundle.objects = [(0, 0, len(source))], [of]
    return bundle


@bad("cover-too-many-covers", "cover-stored", "cover.covers", "M92")
@instead
def _covers() -> Bundle:
    """Have a byte for each cover, always the same one."""
    count = MIB + 1
    covers = [(0, 1, 0), *[(0, 1, -1)] * (count - 1)]
    streams = (bytes(count), b"\1" * count, b"\0" + b"\1" * (count - 1), bytes(count))
    packers = {number: (1, zframe(data)) for number, data in enumerate(streams)}
    return through(4, cover(covers, bytes(count), b"", packers=packers), CODE, CODE[:1] * count)


@bad("relink-too-many-regions", "relink-raw", "relink.regions, sections, fixed steps", "M105", base="base")
@instead
def _regions() -> Bundle:
    payload = relinked([(0, 1, 0, 0, 0)] * 4097, [], [], cover([(0, 4097, 0)], bytes(4097), b""))
    return through(5, payload, LAYER[:4097], LAYER[:4097], of=L)


@bad("relink-too-many-steps", "relink-raw", "relink.regions, sections, fixed steps", "M105", base="base")
@instead
def _steps() -> Bundle:
    count = MIB + 1
    rows = [b"", b"", b"\1" * count, bytes(count), b"\3" * count]
    packed = [zframe(row) if row else b"" for row in rows]
    payload = b"\1\x08" + numbers(0, 0, count)
    for row, data in zip(rows, packed, strict=True):
        payload += (b"\1" if row else b"\0") + numbers(len(data), len(row))
    payload += b"".join(packed) + cover([(0, 3000, 0)], bytes(3000), b"")
    return through(5, payload, CODE, CODE)


@bad("unpack-packing-that-costs-too-much", "unpack-without-a-source", "unpack.table", "M122")
@instead
def _unpack_cost() -> Bundle:
    size = 2 * MIB
    out = deflated(bytes(size), 7, 9)
    bundle = through(6, unpacked([], packing((size, 121, 0, [])), zframe(bytes(size)), codec=1), b"", out)
    bundle.reencoders = [121]
    return bundle


@bad("unpack-inner-codec-6", "unpack-without-a-source", "unpack.inner codec", "M112")
@instead
def _nested() -> Bundle:
    inner = unpacked([], packing(len(HELLO)), HELLO, codec=0)
    return through(6, unpacked([], packing(len(HELLO)), inner, codec=6), b"", HELLO)


@bad("segments-too-short", "stored", "segments.lengths", "M33")
@instead
def _segments() -> Bundle:
    """Leave the last byte under no digest, not even the rest's."""
    bundle = drawn(plain(HELLO), HELLO)
    bundle.target.segments, bundle.target.rest = [(999, 0)], sha256(HELLO)
    return bundle

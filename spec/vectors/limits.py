"""Bad vectors that are right but for one limit or check: a decoder that forgets it makes the target, or another one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from bundles import Bundle, Frame, Program, Target, msgpack, number, numbers, padded, sha256, signed, zframe
from faults import MIB, Change, bad, body, column, put
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
from payloads import (
    COVERS,
    MADE,
    SPARSE_DIFFERENCE,
    SPARSE_OUT,
    a_window,
    integer,
    relinked,
    sparse,
    unpacked,
    vcdiff,
    window,
)


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
    bundle.frames[0].spans, bundle.objects = [(0, 0, 1)] * (MIB + 1), [C]
    size = 26 * MIB
    bundle.target.program.do("zero", zero=size)
    bundle.target.out += bytes(size)
    bundle.target.tail = size
    return bundle


@bad("cost-of-sources", "stored", "M62", base="base")
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


@bad("packing-edits-of-two-bodies-too-many", "packs-with-edits", "packing.edits", "M65")
@instead
def _edits_of_two() -> Bundle:
    content = noise("edits", 17000)
    edits = [(1, 1, 1)] * 32769
    packed = edited(deflated(content, 6, 6, 8), edits, "0" * len(edits))
    body = (len(content), 102, 8, edits)
    table = packing(body, body, literals=bytes(2 * len(edits)))
    bundle = packs(table, 2 * content, 2 * packed, 102)
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


@bad("vcdiff-window-of-nothing", "vcdiff-source-window", "M130")
@instead
def _window_of_nothing() -> Bundle:
    return through(3, vcdiff(a_window(), window(b"", b"", b"", 0)), CODE, MADE)


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
    program = Program().do("header", register=0).edit("raw:name").text(len(name))
    return one(having(bytes(512), name=name[:100]), program, plain(name, 0))


@bad("shape-with-the-size-as-text", "every-field-as-text", "column.shapes", "M42")
@instead
def _size() -> Bundle:
    size = b"00000000005\0"
    program = Program().do("header", register=0).edit("raw:size").text(12)
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
    payload = b"\1\0\x08" + numbers(0, 0, count)
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


@bad("unpack-packing-too-large", "unpack-without-a-source", "unpack.table", "M121")
@instead
def _unpack_size() -> Bundle:
    size = 64 * MIB + 1
    table = packing((size, 22, 0, []))
    bundle = through(6, unpacked([], table, zframe(bytes(size)), codec=1), b"", deflated(bytes(2 * MIB), 1, 0))
    bundle.reencoders = [22]
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


# --- what another check would find too, if it were a little different -------------------------------------------------


bad("zstd-frame-with-a-dictionary-id-of-0", "zstd-raw-blocks", "codec.1", "M10")(
    body(b"\x28\xb5\x2f\xfd\x61\0" + zframe(HELLO)[5:])
)
bad("manifest-zstd-dictionary-id-of-0", "stored", "M10")(
    put(on_stored=lambda data: data[:4] + bytes((data[4] | 1,)) + b"\0" + data[5:])
)
bad("msgpack-bin-ends-early", "stored", "M12")(
    put(on_manifest=lambda data: bytes((data[0] + 1,)) + data[1:] + b"\x92\x08\xc4\5abcd")
)
bad("object-size-of-ten-bytes", "an-object-that-no-operation-uses", "objects.sizes", "M14")(
    put(objects=[(1, 1 << 63, sha256(b"nowhere"))])
)
bad("number-that-wraps-at-64-bits", "stored", "column.raw", "M14")(column(raw=number((1 << 64) + len(HELLO))))


@bad("manifest-a-byte-too-large", "stored", "header.manifest, decoded size", "M3")
@instead
def _manifest() -> Bundle:
    """Have 64 MiB of zeros and a byte, in all, in a window of 2 MiB."""
    bundle = drawn(plain(HELLO), HELLO)
    bundle.more = {8: bytes(64 * MIB)}
    bundle.on_sections = lambda values: values[-1].__setitem__(1, bytes(64 * MIB + 1 - _around(values)))
    bundle.on_stored = lambda data: data[:4] + b"\x80\x58" + data[5:]
    return bundle


def _around(sections: list[Any]) -> int:
    """Count the bytes of a manifest but for its last section's content."""
    return len(msgpack([*sections[:-1], [sections[-1][0], b"x" * 65536]])) - 65536


@bad("too-many-frames-of-another-target", "first-of-two-targets", "frames.stored length", "M30")
@instead
def _frames() -> Bundle:
    """Have more than a million frames of no byte; the target that is made needs one other."""
    count = MIB + 1
    bundle = Bundle([plain(HELLO)], [Target(HELLO, Program().do("raw", raw=1000, stream=1), 1)])
    bundle.targets.append(Target(b"2", Program().do("raw", raw=1, stream=1), count - 1))

    def table(values: list[Any]) -> None:
        more = count - 1
        values[:5] = [b"\1" * count, bytes(count), bytes(count), values[3] + bytes(more), values[4] + b"\1" * more]
        values[10] += bytes(32 * more)

    bundle.on_frames = table
    return bundle


@bad("explicit-source-too-large", "stored", "frames.source length", "M30")
@instead
def _source() -> Bundle:
    """Have as many ranges as may be, of more than 128 MiB; codec 0 has no use for them."""
    out = HELLO + bytes(9 * MIB)
    bundle = one(out, Program().do("raw", raw=1000, stream=1).do("zero", zero=9 * MIB), plain(HELLO), objects=[C])
    bundle.frames[0].spans = [(0, 0, 127)] * (MIB - 400) + [(0, 0, 3000)] * 400
    return bundle


def crossing(*kinds: int | None) -> Change:
    """Have a piece with a source over two frames, whose implied sources are of these sizes, if they have any."""

    def change(bundle: Bundle) -> None:
        made = noise("made", 1000)
        bundle.frames[:] = [
            Frame(piece if kind is None else zframe(piece), len(piece), codec=0 if kind is None else 2, implied=kind)
            for piece, kind in zip((made[:400], made[400:]), kinds, strict=True)
        ]
        bundle.target.frames = 2

    return change


_PIECES = "implied-source-of-several-pieces"
for _what, _kinds in (
    ("counts-for-both", (400, 700)),
    ("counts-for-the-last", (0, 700)),
    ("of-which-the-first-has-none", (None, 700)),
    ("of-which-the-first-has-none-of-it", (None, 300)),
    ("of-which-the-last-has-none", (400, None)),
):
    bad(f"piece-crosses-frames-and-{_what}", _PIECES, "M59")(crossing(*_kinds))


@bad("packing-within-a-packing", "packs-nothing", "M56")
@instead
def _within() -> Bundle:
    """Have what a decoder with a stack would make: the inner one's bytes are content of the outer one."""
    inner, content = packing(3) + b"abc", b"abc"
    packed = deflated(content, 1, 6)
    outer = packing((3, 22, 0, []))
    program = Program().do("begin", packing=len(outer), packed=len(packed))
    program.do("begin", packing=len(inner), packed=3).do("end").do("end")
    bundle = one(packed, program, plain(outer + inner, 0))
    bundle.reencoders = [22]
    return bundle


@bad("begin-within-a-packing-of-nothing", "packs-nothing", "M56")
@instead
def _begin() -> Bundle:
    outer, inner = packing(3) + b"abc", packing()
    program = Program().do("begin", packing=len(outer), packed=3).do("begin", packing=len(inner), packed=0).do("end")
    return one(b"abc", program, plain(outer + inner, 0))


@bad("begin-without-an-end-of-nothing", "packs-nothing", "M56")
@instead
def _no_end() -> Bundle:
    table = packing(3) + b"abc"
    return one(b"abc", Program().do("begin", packing=len(table), packed=3), plain(table, 0))


bad("end-before-anything", "stored", "M56")(
    instead(lambda: one(HELLO, Program().do("end").do("raw", raw=1000, stream=1), plain(HELLO)))
)


@bad("content-of-packings-behind-output", "packs-nothing", "M69")
@instead
def _content() -> Bundle:
    """Be over the limit in all: a reader that sees it when it comes to the packing has put out a byte."""
    size = 64 * MIB + 16 * 3
    table = packing((size, 22, 0, []))
    program = Program().do("raw", raw=2, stream=1).do("begin", packing=len(table), packed=0).do("zero", zero=size)
    bundle = one(b"<>", program.do("end"), plain(table, 0), plain(b"<>"))
    bundle.frames.reverse()
    bundle.reencoders, bundle.target.tail = [22], 1
    return bundle


bad("vcdiff-integer-that-wraps-at-64-bits", "vcdiff-source-window", "M84")(
    body(vcdiff(a_window(segment=((1 << 64) + len(CODE), 0))))
)


@bad("vcdiff-windows-that-trade-a-byte", "vcdiff-source-window", "M88")
@instead
def _trade() -> Bundle:
    """Have a window make a byte more than its size, and the next one a byte less."""
    windows = window(HELLO[:12], b"\x0d", b"", 11), window(HELLO[12:13], b"\2", b"", 2)
    return through(3, vcdiff(*windows), CODE, HELLO[:13])


def _prefixed(payload: bytes, row: bytes) -> bytes:
    """Give a payload's stored stream the packer that is for literals alone."""
    head = b"\0" + numbers(len(row), len(row))
    packed = zframe(row)
    before, _, behind = payload.partition(head)
    return before + b"\5" + numbers(len(packed), len(row)) + behind.replace(row, packed, 1)


@bad("relink-packer-5", "relink-raw", "relink.5 stream headers", "M99", base="base")
@instead
def _relink_packer() -> Bundle:
    regions, inner = [(0, 3000, 0x400000, 0, 0)], cover([(0, 3000, 0)], bytes(3000), b"")
    length = len(relinked(regions, [], [], inner)) - len(relinked([], [], [], inner))
    payload = relinked(regions, [(0, 3000, 0x400000)], [(1, 0, 3)], inner, heads={0: (5, length, length)})
    return through(5, payload, CODE, CODE)


@bad("cover-sparse-with-packer-5", "cover-sparse", "packer.sparse", "M98")
@instead
def _sparse_packer() -> Bundle:
    runs = sparse([1501, 3], [2, 400], b"ab" + b"c" * 400)
    packed = _prefixed(runs, b"ab" + b"c" * 400)
    payload = cover(COVERS, SPARSE_DIFFERENCE, b"insertedthe end", packers={3: (4, packed)})
    return through(4, payload, CODE, SPARSE_OUT)


# Packers of empty streams: what they hold is right, and empty
_NOTHING, _PLAIN = zframe(b""), packing(1000)
_INNER = cover([(0, 3000, 0)], bytes(3000), b"", packers={3: (1, zframe(bytes(3000)))})
_REGIONS: list[tuple[int, ...]] = [(0, 3000, 0x400000, 0, 0)]
_SECTIONS: list[tuple[int, ...]] = [(0, 3000, 0x400000)]
_SPARSE_OF_NOTHING = sparse([], [], b"", {2: (2, 1, 0)}) + b"\0"
_EMPTY_GAPS = (1, len(_NOTHING), 0, len(zframe(_PLAIN)), len(_PLAIN))
for _name, _of, _codec, _payload, _source, _out in (
    (
        *("relink-packer-1-of-nothing", "relink-raw", 5),
        relinked(_REGIONS, _SECTIONS, [], _NOTHING + _INNER, heads={4: (1, len(_NOTHING), 0)}),
        *(CODE, CODE),
    ),
    (
        *("cover-sparse-with-packer-2-of-nothing", "cover-sparse", 4),
        cover(COVERS, bytes(2500), b"insertedthe end", packers={3: (4, _SPARSE_OF_NOTHING)}),
        *(CODE, CODE[:1000] + b"inserted" + CODE[1000:2500] + b"the end"),
    ),
    (
        *("unpack-gaps-with-packer-1-of-nothing", "unpack-without-a-source", 6),
        unpacked([], _PLAIN, HELLO, codec=0, table=_NOTHING + zframe(_PLAIN), heads=_EMPTY_GAPS),
        *(b"", HELLO),
    ),
):
    bad(_name, _of, "M99", base="base")(instead(lambda given=(_codec, _payload, _source, _out): through(*given)))

bad("unpack-packs-fewer-bytes", "unpack-without-a-source", "unpack.table", "M71")(
    instead(lambda: through(6, unpacked([], packing(999), HELLO[:999], codec=0), b"", HELLO))
)
bad("unpack-gaps-with-packer-5", "unpack-streams-of-a-zip", "unpack.gaps", "M99")(
    lambda b: b.frames[0].__setattr__("data", _prefixed(b.frames[0].data, b"\7\0\0"))
)


@bad("cover-from-before-the-source", "cover-stored", "cover stream.seek", "M96")
@instead
def _before() -> Bundle:
    """Read what an offset that counts from the end would give."""
    return through(4, cover([(0, 3, -5)], bytes(3), b""), CODE, CODE[-5:-2])


@bad("vcdiff-outer-frame-with-a-window-too-large", "vcdiff-source-window", "M11")
@instead
def _vcdiff_window() -> Bundle:
    """Have an application header of 64 MiB in the one segment of the outer frame, which the target's size allows."""
    size = 33 * MIB
    payload = vcdiff(
        window(b"\0", b"\0" + integer(size), b"", size), indicator=4, head=integer(64 * MIB) + bytes(64 * MIB)
    )
    bundle = through(3, payload, CODE, bytes(size))
    bundle.target.tail = size - 1
    return bundle

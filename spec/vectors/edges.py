"""Vectors at limits: good ones just within, each with a bad one just beyond where that can be small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bundles import Bundle, Frame, Program, Raw, Target, msgpack, sha256, signed, zframe
from faults import MIB, bad, body, more, put
from good import (
    BASES,
    CODE,
    GZ_FORM,
    HELLO,
    PACKED_CONTENT,
    C,
    archive,
    config,
    cover,
    deflated,
    drawn,
    form,
    good,
    kept_blob,
    noise,
    one,
    packing,
    packs,
    plain,
    stored,
)
from limits import edited, instead, through, zeros
from payloads import ADDED, INSTRUCTIONS, MADE, VCDIFF, a_window, integer, vcdiff, window

ZEROS = bytes(MIB)
Z = (1, MIB, sha256(ZEROS))
BASES["zeros"] = archive({"config.json": config(ZEROS), "layer.zst": zframe(ZEROS)}, ["layer.zst"], "config.json")


def pair(
    name: str, of: str, *tests: str, beyond: str, base: str = "base", target: int | None = None
) -> Callable[[Callable[[int], Bundle]], Callable[[int], Bundle]]:
    """Name a good vector and a bad one: what is called with 0 and with 1, how far it is beyond the limit."""

    def note(make: Callable[[int], Bundle]) -> Callable[[int], Bundle]:
        def within() -> Bundle:
            return make(0)

        within.__name__ = name.replace("-", "_")
        if target is None:
            good(*tests, base=base)(within)
        else:
            good(*tests, base=base, target=target, name=str(target + 1))(within)
        arguments = None if target is None else ["--target", str(target + 1)]
        bad(beyond, of, *tests, base=base, arguments=arguments)(instead(lambda: make(1)))
        return make

    return note


# --- zstd and msgpack -------------------------------------------------------------------------------------------------


@pair("zstd-window-of-64-mib", "zstd-raw-blocks", "M11", beyond="zstd-window-of-72-mib")
def _window(over: int) -> Bundle:
    return drawn(Frame(b"\x28\xb5\x2f\xfd\x40" + bytes((0x80 + over,)) + zframe(HELLO)[5:], 1000, codec=1), HELLO)


@good("M3", "header.manifest, decoded size")
def manifest_of_64_mib() -> Bundle:
    """Have 64 MiB, mostly of zeros, in a window of 2 MiB."""
    bundle = stored()
    bundle.more = {8: bytes(65536)}

    def fill(values: list[Any]) -> None:
        values[-1][1] = bytes(64 * MIB - len(msgpack(values)) + 65536)

    bundle.on_sections = fill
    bundle.on_stored = lambda data: data[:4] + b"\x80\x58" + data[5:]
    return bundle


for _name, _tail in (("127", b"\xcc\x7f"), ("255", b"\xcd\0\xff"), ("65535", b"\xce\0\0\xff\xff")):

    @bad(f"msgpack-{_name}-not-shortest", "stored", "M12")
    @instead
    def _tail_of(value: bytes = _tail) -> Bundle:
        bundle = one(HELLO + bytes(70000), Program().do("raw", raw=1000, stream=1).do("zero", zero=70000), plain(HELLO))
        bundle.on_targets = lambda values: values[0].__setitem__(3, Raw(value))
        return bundle


for _name, _data in (
    ("bin-of-255-bytes", b"\xc5\0\xff" + bytes(255)),
    ("bin-of-65535-bytes", b"\xc6\0\0\xff\xff" + bytes(65535)),
):
    bad(f"msgpack-{_name}-not-shortest", "stored", "M12")(
        put(on_sections=lambda values, data=_data: values.append([8, Raw(data)]))
    )
for _name, _names in (
    ("array-of-15", b"\xdc\0\x0f" + b"\xa0" * 15),
    ("array-of-65535", b"\xdd\0\0\xff\xff" + b"\xa0" * 65535),
    ("str-of-31-bytes", b"\x91\xd9\x1f" + b"n" * 31),
    ("str-of-255-bytes", b"\x91\xda\0\xff" + b"n" * 255),
):
    bad(f"msgpack-{_name}-not-shortest", "stored", "M12")(more(s2=msgpack([[[Raw(_names), b"", b""]], [[]], []])))

bad("msgpack-integer-of-2-to-the-63", "a-form-that-is-not-needed", "M12", "form.size")(
    more(s6=msgpack([form(GZ_FORM, size=1 << 63)]))
)


@good("M12", "M40", "form.size")
def form_of_2_to_the_63_minus_1_bytes() -> Bundle:
    return kept_blob(form(GZ_FORM, size=(1 << 63) - 1))


for _name, _about in (
    ("bin-for-the-name-of-an-image", [[[[b"name"], b"", b""]], [[]], []]),
    ("integer-for-the-key-of-a-note", [[], [[]], [[3, "text"]]]),
    ("array-for-the-text-of-a-note", [[], [[]], [["key", ["text"]]]]),
):
    bad(f"msgpack-{_name}", "stored", "M12")(more(s2=msgpack(_about)))
for _name, _digests in (("a-byte-short", sha256(b"nowhere")[:-1]), ("one-too-many", sha256(b"nowhere") + bytes(32))):
    bad(f"object-digests-{_name}", "an-object-that-no-operation-uses", "M12", "objects.digests")(
        put(on_objects=lambda values, digests=_digests: values.__setitem__(2, digests))
    )


@good("M12")
def msgpack_of_every_width() -> Bundle:
    """Have strs and arrays with the least and the most that each form may have; notes as large as they may be."""
    bundle = stored()
    names = ["n" * length for length in (0, 31, 32, 255, 256, 4096)]
    notes = [["k" * 4096, "x" * 65536], ["", "x" * 65535], *[["", ""]] * 13]
    images = [[names, b"", bytes(32 * 65536)], [[""] * 65530, b"", b""], *[[[], b"", b""]] * 65534], [[]]
    bundle.more = {
        2: msgpack([*images, notes]),
        4: msgpack([[b"", b""]]),
        **{size: bytes(size) for size in (8, 10, 254, 256, 65534, 65536)},
        **{1 << 30: b"", 1 << 31: b""},
    }
    bundle.more |= dict.fromkeys(range(300, 300 + 2 * (252 - len(bundle.more)), 2), b"")  # 256 sections in all
    return bundle


@good("M14", "objects.sizes")
def object_size_of_nine_bytes() -> Bundle:
    bundle = stored()
    bundle.objects = [(1, (1 << 63) - 1, sha256(b"nowhere"))]
    return bundle


# --- the manifest -----------------------------------------------------------------------------------------------------


@good("M30", "frames.size")
def frame_of_64_mib() -> Bundle:
    bundle = drawn(zeros(64 * MIB), bytes(64 * MIB))
    bundle.target.tail = 64 * MIB - 1
    return bundle


@bad("frame-of-no-byte", "stored", "M30", "frames.size")
@instead
def _no_byte() -> Bundle:
    bundle = drawn(plain(HELLO), HELLO)
    bundle.frames.append(Frame(b"", 0, 2))
    bundle.target.frames = 2
    return bundle


@pair("source-of-128-mib", "stored", "M30", "frames.source length", beyond="source-a-byte-too-large", base="zeros")
def _source(over: int) -> Bundle:
    """Codec 0 has no use for it."""
    out = HELLO + bytes(9 * MIB)
    bundle = one(out, Program().do("raw", raw=1000, stream=1).do("zero", zero=9 * MIB), plain(HELLO), objects=[Z])
    bundle.frames[0].spans = [(0, 0, MIB)] * 128 + [(0, 0, 1)] * over
    bundle.target.tail = len(out) - 1
    return bundle


@pair(
    "implied-source-of-128-mib",
    "stored",
    "M30",
    "frames.source size",
    beyond="implied-source-a-byte-too-large",
    base="zeros",
)
def _implied(over: int) -> Bundle:
    program = Program()
    for index in range(128 + over):
        if index:
            program.do("seek", seek_object=0, seek_offset=signed(-MIB))
        program.do("replace", raw=1, replace=MIB if index < 128 else 1, stream=1)
    size = 128 + over
    bundle = one(b"x" * size + bytes(9 * MIB), program.do("zero", zero=9 * MIB), objects=[Z])
    bundle.frames = [Frame(b"x" * size, size, implied=128 * MIB + over)]
    bundle.target.frames, bundle.target.tail = 1, size
    return bundle


@good("M30", "frames.source count")
def ranges_as_many_as_may_be() -> Bundle:
    return with_ranges(MIB)


def with_ranges(*counts: int) -> Bundle:
    """Return a bundle of frames with so many ranges each, and with zeros behind that make up for what these cost."""
    size = 26 * MIB
    program = Program()
    for _ in counts:
        program.do("raw", raw=1000, stream=1)
    out = HELLO * len(counts) + bytes(size)
    bundle = one(out, program.do("zero", zero=size), *(plain(HELLO) for _ in counts))
    for frame, count in zip(bundle.frames, counts, strict=True):
        frame.spans = [(0, 0, 1)] * count
    bundle.objects, bundle.target.tail = [C], len(out) - 1
    return bundle


bad("ranges-in-all-too-many", "stored", "frames.source count", "M30")(
    instead(lambda: with_ranges(MIB // 2, MIB // 2 + 1))
)


@bad("explicit-range-of-no-byte", "explicit-source-of-several-ranges", "frames.source length", "M127")
@instead
def _range_of_no_byte() -> Bundle:
    bundle = with_ranges(2)
    assert bundle.frames[0].spans
    bundle.frames[0].spans[0] = (0, 0, 0)
    return bundle


@pair("tail-of-64-mib", "stored", "M32", "target.tail", beyond="tail-a-byte-too-long")
def _tail_at(over: int) -> Bundle:
    size = 64 * MIB
    bundle = one(HELLO + bytes(size), Program().do("raw", raw=1000, stream=1).do("zero", zero=size), plain(HELLO))
    bundle.target.tail = 1000 - over
    return bundle


@good("M33", "M128", "segments.lengths")
def segments_of_one_byte() -> Bundle:
    bundle = stored()
    bundle.target.segments = [(1, number % 2) for number in range(len(HELLO))]
    return bundle


@bad("too-many-segments", "segments-of-one-byte", "M33")
@instead
def _segments() -> Bundle:
    """Have two targets that have more segments than may be in both."""
    size = 65 * MIB
    program = Program().do("zero", zero=size)
    targets = [Target(bytes(size), program, 0, tail=size - 1) for _ in range(2)]
    for target, count in zip(targets, (MIB // 2, MIB // 2 + 1), strict=True):
        target.segments = [(1, 0)] * (count - 1) + [(size - count + 1, 0)]
    return named_targets(targets)


def named_targets(targets: list[Target], frames: list[Frame] | None = None, **given: Any) -> Bundle:
    """Return a bundle of targets that are called 1, 2 and so on."""
    names = [[[[str(number + 1)], b"", b""]] for number in range(len(targets))]
    return Bundle(frames or [], targets, more={2: msgpack([[], names, []])}, **given)


@pair("excess-of-two-targets", "stored", "M62", beyond="excess-of-two-targets-a-byte-too-much", base="zeros", target=0)
def _excess(over: int) -> Bundle:
    """Have two targets that take 32 MiB more than 8 times their size, the one that is not made a byte more."""
    frames, targets = [], []
    for beyond in (0, over):
        frame = plain(HELLO)
        frame.spans = [(0, 0, MIB)] * 31 + [(0, 0, MIB + 7000 - 16384 - 32 * 256 - 1024 - 256 + beyond)]
        frames.append(frame)
        targets.append(Target(HELLO, Program().do("raw", raw=1000, stream=1), 1))
    return named_targets(targets, frames, objects=[Z])


@pair("live-144-mib", "stored", "M129", beyond="live-a-byte-too-much")
def _live(over: int) -> Bundle:
    """Draw a byte of each of three frames of 48 MiB, then the rest of them."""
    sizes = [48 * MIB, 48 * MIB, 48 * MIB + over]
    program = Program()
    for stream in (1, 2, 3):
        program.do("raw", raw=1, stream=stream)
    for stream, size in enumerate(sizes, 1):
        program.do("raw", raw=size - 1, stream=stream)
    bundle = one(bytes(sum(sizes)), program, *(zeros(size, stream) for stream, size in enumerate(sizes, 1)))
    bundle.target.tail = sum(sizes) - 1
    return bundle


@pair("cost-at-its-limit", "stored", "M62", beyond="cost-a-byte-too-much", base="zeros")
def _cost(over: int) -> Bundle:
    bundle = drawn(plain(HELLO), HELLO)
    bundle.objects = [Z]
    bundle.columns["shapes"][:] = b"\0"
    rest = MIB + 7000 - 16384 - 64 * 256 - 1024 - 256 - 512 + over
    bundle.frames[0].spans = [(0, 0, MIB)] * 63 + [(0, 0, rest)]
    return bundle


@pair("operations-at-their-limit", "stored", "M63", beyond="an-operation-too-many")
def _operations(over: int) -> Bundle:
    count = 67650 + over  # 65,536 plus a 32nd of as many bytes
    program = Program()
    program.columns["ops"][:], program.columns["zero"][:] = b"\x08" * count, b"\1" * count
    return one(bytes(count), program)


@good("M38", "form.packing")
def form_packing_as_large_as_may_be() -> Bundle:
    return kept_blob(form(bytes(16 * MIB)))


# --- programs ---------------------------------------------------------------------------------------------------------


@good("M43", "column.shapes")
def shapes_as_many_as_may_be() -> Bundle:
    program = Program().do("header", register=0).put(shape=4095)
    program.columns["shapes"][:] = bytes(4096)
    return one(bytes(512), program)


bad("keep-a-byte-beyond-the-object", "keep-and-seek", "column.keep", "M50")(
    instead(
        lambda: one(
            CODE[-5:] + b"\0",
            Program().do("seek", seek_object=0, seek_offset=signed(len(CODE) - 5)).do("keep", keep=6),
            objects=[C],
        )
    )
)


@pair("packing-of-16-mib", "packs-nothing", "M64", "column.packing", beyond="packing-a-byte-too-large")
def _packing(over: int) -> Bundle:
    size = 16 * MIB - 5 + over
    table = packing(size) + bytes(size)
    assert len(table) == 16 * MIB + over
    bundle = one(bytes(size), Program().do("begin", packing=len(table), packed=size).do("end"))
    bundle.frames, bundle.target.frames = [Frame(zframe(table), len(table), 0, codec=1)], 1
    bundle.target.tail = size - 1
    return bundle


@good("M65", "packing.parts")
def packing_of_65536_parts() -> Bundle:
    table = packing(*[0] * 65536)
    bundle = packs(table, b"", b"")
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


@good("M65", "packing.edits")
def packing_of_65536_edits() -> Bundle:
    content, edits = noise("edits", 17000), [(1, 1, 1)] * 65536
    packed = edited(deflated(content, 6, 6, 8), edits, "0" * len(edits))
    table = packing((len(content), 102, 8, edits), literals=bytes(len(edits)))
    bundle = packs(table, content, packed, 102)
    bundle.frames[1] = Frame(zframe(table), len(table), 0, codec=1)
    return bundle


for _encoder, _parameter, _what in (
    ((1, 6, 0), 1, "go"),
    ((2, 5, 0), 1, "klauspost"),
    ((4, 5, 16385), 16384, "block-too-small"),
    ((4, 5, 1 << 30), (1 << 30) + 1, "block-too-large"),
    ((6, 6, 9), 10, "memory"),
    ((7, 9, 0), 1, "gzip"),
):

    @bad(f"recipe-parameter-that-would-do-{_what}", "packs-gzip", "packing.parameter", "M77")
    @instead
    def _parameter_of(which: tuple[int, int, int] = _encoder, parameter: int = _parameter) -> Bundle:
        """Pack what the nearest parameter makes too."""
        packed, reencoder = deflated(PACKED_CONTENT, *which), 16 * which[0] + which[1]
        return packs(packing((3000, reencoder, parameter, [])), PACKED_CONTENT, packed, reencoder)


@good("M69", "M70")
def content_of_packings_at_its_limit() -> Bundle:
    """Pack as many zeros as 64 MiB and 16 times the target's size allow, at level 1: the cost is at its limit."""
    size = 220000
    content = 64 * MIB + 16 * size - 1024 - 128 - 2048
    packed, table = deflated(bytes(content), 1, 1), packing((content, 17, 0, []))
    program = Program().do("begin", packing=len(table), packed=len(packed)).do("zero", zero=content).do("end")
    program.do("zero", zero=size - len(packed))
    bundle = one(packed + bytes(size - len(packed)), program, plain(table, 0))
    bundle.reencoders = [17]
    return bundle


@bad("cost-of-packings-a-byte-too-much", "packs-nothing", "M70")
@instead
def _cost_of_packings() -> Bundle:
    """Pack a byte at level 9, then what is left of the content that may be, at level 1."""
    first, packed = packing((1, 25, 0, [])), deflated(b"\0", 1, 9)
    content = 64 * MIB + 16 * len(packed) + 1 - 4 - 2 * (1024 + 128 + 2048)
    second = packing((content, 17, 0, []))
    program = Program().do("begin", packing=len(first), packed=len(packed)).do("zero", zero=1).do("end")
    program.do("begin", packing=len(second), packed=0).do("zero", zero=content).do("end")
    bundle = one(packed, program, plain(first + second, 0))
    bundle.reencoders = [17, 25]
    return bundle


@pair("zstd-bodies-at-their-cost", "packs-nothing", "M70", beyond="zstd-bodies-above-their-cost")
def _cost_of_zstd_bodies(over: int) -> Bundle:
    """Pack a byte by each of six zstd bodies, of which the third alone has the encoder and level of the one before."""
    numbers = [(32, 1), (33, 1), (33, 1), (33, 2), (48, 9), (48, 10)]
    first = packing(*((1, 16 * encoder + level, 0, []) for encoder, level in numbers))
    packed = b"".join(deflated(b"\0", *number) for number in numbers)
    size = 400000
    content = 64 * MIB + 16 * size + over - 2 * 1024 - 7 * (128 + 2048) - 4 * 8192 - 65536 - 6
    second, zeros = packing((content, 17, 0, [])), deflated(bytes(content), 1, 1)
    program = Program().do("begin", packing=len(first), packed=len(packed)).do("zero", zero=6).do("end")
    program.do("begin", packing=len(second), packed=len(zeros)).do("zero", zero=content).do("end")
    rest = bytes(size - len(packed) - len(zeros))
    bundle = one(packed + zeros + rest, program.do("zero", zero=len(rest)), plain(first + second, 0))
    bundle.reencoders = [17, *(16 * encoder + level for encoder, level in sorted(set(numbers)))]
    return bundle


@pair("kept-128-mib", "repeat", "M61", beyond="kept-a-byte-too-much")
def _kept(over: int) -> Bundle:
    """Repeat of two frames of 64 MiB at the end, and of one of a byte."""
    size = 64 * MIB
    program = Program().do("raw", raw=size, stream=1).do("raw", raw=size, stream=2)
    frames = [zeros(size, 1), zeros(size, 2)]
    if over:
        program.do("raw", raw=1, stream=3)
        frames.append(plain(b"\0", 3))
    for index in range(2 + over):
        program.do("repeat", repeat_frame=index, repeat_offset=size - 1 if index < 2 else 0, repeat=1)
    bundle = one(bytes(2 * size + 2 + 2 * over), program, *frames)
    bundle.target.tail = 2 * size
    return bundle


@bad("kept-frames-count-as-whole-pages", "repeat", "M61")
@instead
def _pages() -> Bundle:
    """Keep frames of 2 bytes less than 128 MiB together, of which two end with a byte on a page."""
    sizes = [64 * MIB - 4095, 64 * MIB - 4096, 4097]
    program = Program()
    for stream, size in enumerate(sizes, 1):
        program.do("raw", raw=size, stream=stream)
    for index in range(3):
        program.do("repeat", repeat_frame=index, repeat_offset=0, repeat=1)
    bundle = one(bytes(sum(sizes) + 3), program, *(zeros(size, stream) for stream, size in enumerate(sizes, 1)))
    bundle.target.tail = sum(sizes)
    return bundle


# --- codec 3 ----------------------------------------------------------------------------------------------------------


@pair("vcdiff-windows-as-many-as-may-be", "vcdiff-source-window", "M130", beyond="vcdiff-windows-one-too-many")
def _windows(over: int) -> Bundle:
    """Have windows of a byte each, and one of all that is left."""
    count = 16 + 2
    size = 2 * 4096
    small = [window(b"x", b"\x02", b"", 1) for _ in range(count - 1 + over)]
    rest = window(b"r", b"\0" + integer(size - len(small)), b"", size - len(small))
    out = b"x" * len(small) + b"r" * (size - len(small))
    return through(3, vcdiff(*small, rest), CODE, out)


@pair("cover-model-as-large-as-may-be", "cover-model", "M131", beyond="cover-model-too-large")
def _model(over: int) -> Bundle:
    """Have a model of 11 bits for 512 bytes, or one less."""
    from array import array

    from dibundle.codecs import model

    size = 512 - over
    differences = bytes(1 + at % 5 for at in range(size))
    coded = model.encode(CODE, array("q", (0, 0, size)), bytearray(differences), bits=11)
    payload = cover([(0, size, 0)], differences, b"", packers={3: (3, b"\x0b" + coded)})
    return through(4, payload, CODE, bytes((a + b) % 256 for a, b in zip(CODE, differences, strict=False)))


@pair("vcdiff-outer-frame-at-its-limit", "vcdiff-source-window", "M72", beyond="vcdiff-outer-frame-a-byte-too-large")
def _outer(over: int) -> Bundle:
    """Have an application header of the right length, which is written in three bytes."""
    filler = 2 * len(MADE) + 65536 + over - len(VCDIFF) - 1 - 3 - len(a_window())
    return through(3, vcdiff(a_window(), indicator=4, head=integer(filler) + bytes(filler)), CODE, MADE)


bad("vcdiff-window-indicator-8-alone", "vcdiff-source-window", "vcdiff.window indicator", "M83")(
    instead(lambda: through(3, vcdiff(window(ADDED, b"\x0c", b"", 11, indicator=8)), CODE, ADDED))
)
bad("vcdiff-address-of-minus-1", "vcdiff-source-window", "M89")(
    body(
        vcdiff(
            window(
                ADDED + b"R",
                INSTRUCTIONS,
                integer(100) + integer(len(CODE) + len(MADE) - 12 + 1),
                len(MADE),
                segment=(len(CODE), 0),
            )
        )
    )
)


@good("M89", "vcdiff address mode.1")
def vcdiff_copy_of_the_last_byte() -> Bundle:
    """Copy from just before what is made, and from the very first byte, by modes 1 and 0."""
    out = b"ab" + b"b" * 18 + CODE[:4]
    instructions = bytes((3, 16 + 19)) + integer(18) + bytes((20,))
    return through(
        3, vcdiff(window(b"ab", instructions, integer(1) + integer(0), 24, segment=(len(CODE), 0))), CODE, out
    )

"""The bad vectors of the codecs: payloads with one fault each, under digests that are right."""

from __future__ import annotations

from typing import Any

from bundles import Bundle, Frame, Program, numbers, zframe
from faults import MIB, Change, bad, body, put
from good import CODE, HELLO, C, cover, deflated, packing
from payloads import (
    ADDED,
    CONTEXT_FRAME,
    CONTEXT_LITERALS,
    COVERS,
    DIFFERENCE,
    INSTRUCTIONS,
    MADE,
    NEW_A,
    NOISY,
    OLD_A,
    OLD_C,
    PARTS,
    SPARSE_DIFFERENCE,
    UNPACK_SOURCE,
    VCDIFF,
    ZIPPED,
    a_window,
    integer,
    lzma2,
    modelled,
    relinked,
    sparse,
    unpack_case,
    vcdiff,
    window,
)

# --- codecs 0 to 2 ----------------------------------------------------------------------------------------------------

bad("stored-frame-of-another-size", "stored", "codec.0", "M71")(body(HELLO + b"x"))
bad("zstd-frame-of-another-size", "zstd-raw-blocks", "codec.1", "M9")(body(zframe(HELLO[:999])))
bad("zstd-frame-that-holds-less", "zstd-raw-blocks", "codec.1", "M9")(body(zframe(HELLO[:999], size=1000)))
bad("zstd-frame-that-holds-more", "zstd-raw-blocks", "codec.1", "M9")(body(zframe(HELLO + b"x", size=1000)))
bad("zstd-frame-and-a-byte", "zstd-raw-blocks", "codec.1", "M8")(body(zframe(HELLO) + b"\0"))
bad("zstd-frame-cut", "zstd-raw-blocks", "codec.1", "M8")(body(zframe(HELLO)[:-1]))
bad("zstd-frame-with-a-dictionary-id", "zstd-raw-blocks", "codec.1", "M10")(
    body(b"\x28\xb5\x2f\xfd\x61\x07" + zframe(HELLO)[5:])
)
bad("zstd-frame-with-a-reserved-bit", "zstd-raw-blocks", "codec.1", "M8")(
    body(b"\x28\xb5\x2f\xfd\x68" + zframe(HELLO)[5:])
)
bad("zstd-frame-with-a-reserved-block", "zstd-raw-blocks", "codec.1", "M8")(
    body(zframe(HELLO)[:7] + bytes((zframe(HELLO)[7] | 6,)) + zframe(HELLO)[8:])
)
bad("zstd-frame-of-a-skippable-one-behind", "zstd-raw-blocks", "codec.1", "M8")(
    body(zframe(HELLO) + b"\x50\x2a\x4d\x18\0\0\0\0")
)
bad("zstd-frame-without-a-size", "zstd-raw-blocks", "codec.1", "M9")(
    body(b"\x28\xb5\x2f\xfd\x00\x00" + zframe(HELLO)[7:])
)
_WIDE = b"\x28\xb5\x2f\xfd\x40\x88"  # a head whose window is 128 MiB, where the content's size has two bytes
bad("zstd-frame-with-a-window-too-large", "zstd-raw-blocks", "codec.1", "M11")(body(_WIDE + zframe(HELLO)[5:]))
bad("zstd-frame-damaged", "zstd-compressed-blocks", "codec.1", "M8")(
    lambda b: b.frames[0].__setattr__("data", b.frames[0].data[:9] + b"\xff" + b.frames[0].data[10:])
)
bad("zstd-checksum", "zstd-with-a-window-and-a-checksum", "codec.1", "M8")(
    lambda b: b.frames[0].__setattr__("data", b.frames[0].data[:-1] + b"\0")
)
bad("zstd-prefix-frame-without-its-source", "zstd-prefix", "codec.2", "M8")(
    lambda b: b.frames[0].__setattr__("spans", [(0, 0, 10)])
)

# --- codec 3 ----------------------------------------------------------------------------------------------------------

_V = "vcdiff-source-window"
_ADDRESSES = integer(100) + integer(5)


def _windows(*windows: bytes, **given: Any) -> Change:
    return body(vcdiff(*windows, **given))


def _instructions(instructions: bytes, data: bytes = ADDED + b"R", addresses: bytes = _ADDRESSES) -> Change:
    return _windows(window(data, instructions, addresses, len(MADE), segment=(len(CODE), 0)))


bad("vcdiff-magic", _V, "codec.3", "M82")(body(zframe(b"\xd6\xc3\xc4S\0" + a_window())))
bad("vcdiff-secondary-compression", _V, "M82")(_windows(a_window(), indicator=1, head=b"\1"))
bad("vcdiff-code-table", _V, "M82")(_windows(a_window(), indicator=2, head=b"\0"))
bad("vcdiff-header-bit-unknown", _V, "M82")(_windows(a_window(), indicator=8))
bad("vcdiff-application-header-cut", _V, "M82")(_windows(indicator=4, head=integer(10) + b"app"))
bad("vcdiff-without-a-window", _V, "M86")(_windows())
bad("vcdiff-delta-indicator", _V, "vcdiff.delta indicator", "M82")(_windows(a_window(delta=1)))
bad("vcdiff-window-indicator-8", _V, "M83")(_windows(a_window(indicator=9)))
bad("vcdiff-window-of-source-and-target", _V, "M83")(_windows(a_window(indicator=3)))
bad("vcdiff-integer-too-large", _V, "M84")(
    _windows(a_window().replace(integer(len(CODE)), b"\xc0" + b"\x80" * 7 + b"\0", 1))
)
bad("vcdiff-integer-of-ten-bytes", _V, "M84")(
    _windows(a_window().replace(integer(len(CODE)), b"\x80" * 8 + integer(len(CODE)), 1))
)
bad("vcdiff-delta-length", _V, "M85")(_windows(a_window(length=len(a_window()) + 1)))
bad("vcdiff-delta-length-that-ends-within", _V, "M85")(_windows(a_window(length=len(a_window()) - 1)))
bad("vcdiff-windows-too-large", _V, "M86")(_windows(a_window(), window(b"x", b"\2", b"", 1)))
bad("vcdiff-windows-too-small", _V, "M86")(_windows(window(ADDED, b"\x0c", b"", 11)))
bad("vcdiff-a-byte-behind", _V, "M86")(body(zframe(VCDIFF + b"\0" + a_window() + b"\0")))
bad("vcdiff-outer-frame-too-large", _V, "codec.3", "M72")(
    _windows(a_window(), indicator=4, head=integer(70000) + bytes(70000))
)
bad("vcdiff-segment-beyond-the-source", _V, "M87")(_windows(a_window(segment=(len(CODE), 1))))
bad("vcdiff-empty-segment-behind-the-source", _V, "M87")(
    _windows(window(MADE, bytes((1,)) + integer(len(MADE)), b"", len(MADE), segment=(0, len(CODE) + 1)))
)
bad("vcdiff-segment-beyond-the-target", _V, "M87")(_windows(a_window(segment=(1, 0), indicator=2)))
bad("vcdiff-instructions-make-too-much", _V, "M88")(_instructions(INSTRUCTIONS + b"\0\1", ADDED + b"RR"))
bad("vcdiff-instructions-make-too-little", _V, "M88")(_instructions(INSTRUCTIONS[:-1] + integer(11)))
bad("vcdiff-data-left-over", _V, "M88")(_instructions(INSTRUCTIONS, ADDED + b"RR"))
bad("vcdiff-data-missing", _V, "M88")(_instructions(INSTRUCTIONS, ADDED))
bad("vcdiff-addresses-left-over", _V, "M88")(_instructions(INSTRUCTIONS, addresses=_ADDRESSES + b"\0"))
bad("vcdiff-addresses-missing", _V, "M88")(_instructions(INSTRUCTIONS, addresses=integer(100)))
bad("vcdiff-instruction-cut", _V, "M88")(_instructions(INSTRUCTIONS[:-1]))
bad("vcdiff-address-at-here", _V, "M89")(_instructions(INSTRUCTIONS, addresses=integer(len(CODE) + 11) + b"\5"))
bad("vcdiff-address-below-0", _V, "M89")(_instructions(INSTRUCTIONS, addresses=integer(100) + integer(5000)))
bad("vcdiff-adler-32", _V, "M90")(_windows(a_window(adler=bytes(4))))

# --- codec 4 ----------------------------------------------------------------------------------------------------------

_C = "cover-stored"
_LITERALS = b"insertedthe end"


def _cover(**given: Any) -> Change:
    return body(cover(COVERS, DIFFERENCE, _LITERALS, **given))


def _covers(*covers: tuple[int, int, int]) -> Change:
    return body(cover(list(covers), DIFFERENCE, _LITERALS))


def _stream(index: int, packer: int, packed: bytes, decoded: int) -> Change:
    return _cover(streams={index: (packer, len(packed), decoded, packed)})


_GAPS, _LENGTHS = numbers(0, 8, 0), numbers(1000, 1000, 500)
bad("cover-number-not-shortest", _C, "cover.covers", "M91")(body(b"\x83\0" + cover(COVERS, DIFFERENCE, _LITERALS)[1:]))
bad("cover-of-no-bytes", _C, "cover.covers", "M91")(body(b""))
bad("cover-more-covers-than-bytes", "cover-of-nothing", "cover.covers", "M92")(
    body(cover([(0, 1, 0)] * 1001, bytes(1000), b""))
)
bad("cover-of-more-numbers-than-covers", _C, "cover.covers", "M95")(_cover(count=2))
bad("cover-of-fewer-numbers-than-covers", _C, "cover.covers", "M94")(_cover(count=4))
bad("cover-packer-6", _C, "cover.5 stream headers", "M99")(_stream(4, 6, _LITERALS, 15))
bad("cover-packer-3-for-literals", _C, "cover.5 stream headers", "M99")(_stream(4, 3, _LITERALS, 15))
bad("cover-packer-4-for-gaps", _C, "cover.5 stream headers", "M99")(_stream(0, 4, sparse([], [], b""), 4))
bad("cover-packer-5-for-differences", _C, "cover.5 stream headers", "M99")(_stream(3, 5, zframe(DIFFERENCE), 2500))
bad("cover-packer-1-of-nothing", "cover-of-nothing", "cover.5 stream headers", "M99")(
    body(cover([], b"", HELLO, packers={3: (1, zframe(b""))}))
)
bad("cover-packer-5-of-nothing", _C, "packer.prefixed", "M99")(
    body(cover([(0, 1000, 0), (0, 1515, 0)], bytes(2515), b"", packers={4: (5, zframe(b""))}))
)
bad("cover-and-a-byte", _C, "cover.5 stream headers", "cover.5 streams", "M93")(
    body(cover(COVERS, DIFFERENCE, _LITERALS) + b"\0")
)
bad("cover-cut", _C, "cover.5 stream headers", "cover.5 streams", "M93")(
    body(cover(COVERS, DIFFERENCE, _LITERALS)[:-1])
)
bad("cover-gaps-too-short", _C, "cover.5 stream headers", "M94")(_stream(0, 0, numbers(0, 8), 2))
bad("cover-gaps-too-long", _C, "cover.5 stream headers", "M94")(_stream(0, 0, bytes(28), 28))
bad("cover-literals-too-long", _C, "cover.5 stream headers", "M94")(_stream(4, 0, _LITERALS + b"x", 16))
bad("cover-stored-stream-of-another-length", _C, "cover.5 stream headers", "M100")(
    _cover(streams={0: (0, 4, 3, _GAPS + b"\0")})
)
bad("cover-gap-left-over", _C, "cover stream.gap", "M95")(_stream(0, 0, _GAPS + b"\0", 4))
bad("cover-length-left-over", _C, "cover stream.length", "M95")(_stream(1, 0, _LENGTHS + b"\1", 7))
bad("cover-seek-left-over", _C, "cover stream.seek", "M95")(_stream(2, 0, numbers(0, 15, 0, 0), 4))
bad("cover-length-0", _C, "cover stream.length", "M96")(_covers((0, 1000, 0), (8, 1500, -8), (0, 0, 0)))
bad("cover-before-the-source", _C, "cover stream.seek", "M96")(_covers((0, 1000, 0), (8, 1000, -1009), (0, 500, 0)))
bad("cover-behind-the-source", _C, "cover stream.seek", "M96")(_covers((0, 1000, 0), (8, 1000, -8), (0, 500, 501)))
bad("cover-behind-the-target", _C, "cover stream.gap", "M96")(_covers((0, 1000, 0), (8, 1000, -8), (16, 500, -16)))
bad("cover-lengths-of-another-sum", _C, "cover stream.difference", "M97")(
    _covers((0, 1000, 0), (8, 1000, -8), (0, 499, 0))
)
bad("cover-zstd-stream-and-a-byte", _C, "packer.zstd", "M8")(_stream(4, 1, zframe(_LITERALS) + b"\0", 15))
bad("cover-zstd-stream-of-another-length", _C, "packer.zstd", "M9")(_stream(4, 1, zframe(_LITERALS + b"x"), 15))
bad("cover-zstd-stream-with-a-dictionary-id", _C, "packer.zstd", "M10")(
    _stream(4, 1, b"\x28\xb5\x2f\xfd\x21\7" + zframe(_LITERALS)[5:], 15)
)
bad("cover-zstd-stream-with-a-window-too-large", _C, "packer.zstd", "M11")(
    _stream(3, 1, _WIDE + zframe(DIFFERENCE)[5:], 2500)
)
bad("cover-prefixed-stream-with-a-window-too-large", "cover-with-literals-in-context", "packer.prefixed", "M11")(
    body(
        cover(
            [(700, 1000, 300), (8, 1000, -8)],
            bytes(2000),
            CONTEXT_LITERALS,
            packers={4: (5, _WIDE + CONTEXT_FRAME[5:])},
        )
    )
)
bad("cover-lzma2-without-its-end", _C, "packer.LZMA2", "M101")(_stream(4, 2, lzma2(_LITERALS)[:-1], 15))
bad("cover-lzma2-and-a-byte", _C, "packer.LZMA2", "M101")(_stream(4, 2, lzma2(_LITERALS) + b"\0", 15))
bad("cover-lzma2-of-more", _C, "packer.LZMA2", "M100")(_stream(4, 2, lzma2(_LITERALS + b"x"), 15))
bad("cover-lzma2-of-less", _C, "packer.LZMA2", "M100")(_stream(4, 2, lzma2(_LITERALS[:-1]), 15))
bad("cover-lzma2-damaged", _C, "packer.LZMA2", "M101")(_stream(4, 2, b"\x7f" + lzma2(_LITERALS)[1:], 15))


def _differences(packer: int, packed: bytes, of: bytes) -> Change:
    return body(cover(COVERS, of, _LITERALS, packers={3: (packer, packed)}))


_MODEL = modelled(10)
for _name, _packed in (
    ("with-9-bits", b"\x09" + _MODEL[1:]),
    ("with-19-bits", b"\x13" + _MODEL[1:]),
    ("with-a-bit-of-64", b"\x4a" + _MODEL[1:]),
    ("of-no-bytes", b""),
    ("cut", _MODEL[:-1]),
    ("and-a-byte", _MODEL + b"\0"),
    ("that-begins-out-of-range", _MODEL[:1] + b"\xff\xff\xff\xff" + _MODEL[5:]),
    ("that-ends-with-another-code", _MODEL[:-1] + bytes((_MODEL[-1] ^ 1,))),
):
    bad(f"cover-model-{_name}", "cover-model", "packer.model", "M102")(_differences(3, _packed, NOISY))

for _name, _packer, _packed in (("model", 3, b"\x0a" + bytes(4)), ("sparse", 4, bytes(9))):
    bad(f"cover-{_name}-of-nothing", "cover-stored", "M100")(
        body(cover([], b"", _LITERALS, streams={3: (_packer, len(_packed), 0, _packed)}))
    )

_VALUES = b"ab" + b"c" * 400
for _name, _packed in (
    ("run-of-0", sparse([1501, 3, 0], [2, 400, 0], _VALUES)),
    ("beyond-the-stream", sparse([1501, 3], [2, 993 + 2], b"ab" + b"c" * 995)),
    ("gap-beyond-the-stream", sparse([1501, 600], [2, 400], _VALUES)),
    ("gap-too-many", sparse([1501, 3, 1], [2, 400], _VALUES)),
    ("length-too-many", sparse([1501, 3], [2, 400, 1], _VALUES)),
    ("value-left-over", sparse([1501, 3], [2, 400], _VALUES + b"x")),
    ("value-missing", sparse([1501, 3], [2, 400], _VALUES[:-1])),
    ("and-a-byte", sparse([1501, 3], [2, 400], _VALUES) + b"\0"),
    ("cut", sparse([1501, 3], [2, 400], _VALUES)[:-1]),
    ("with-packer-4", sparse([1501, 3], [2, 400], _VALUES, {2: (4, 402, 402)})),
    ("value-of-another-length", sparse([1501, 3], [2, 400], _VALUES, {2: (0, 402, 401)})),
):
    bad(f"cover-sparse-{_name}", "cover-sparse", "packer.sparse", "M98")(_differences(4, _packed, SPARSE_DIFFERENCE))

_IN_CONTEXT = [(700, 1000, 300), (8, 1000, -8)]
bad("cover-prefixed-and-a-byte", "cover-with-literals-in-context", "packer.prefixed", "M8")(
    body(cover(_IN_CONTEXT, bytes(2000), CONTEXT_LITERALS, packers={4: (5, CONTEXT_FRAME + b"\0")}))
)
bad("cover-prefixed-of-another-length", "cover-with-literals-in-context", "packer.prefixed", "M9")(
    body(cover(_IN_CONTEXT, bytes(2000), CONTEXT_LITERALS, packers={4: (5, zframe(CONTEXT_LITERALS[1:]))}))
)

# --- codec 5 ----------------------------------------------------------------------------------------------------------

_R = "relink-raw"
_WHOLE = cover([(0, 3000, 0)], bytes(3000), b"")
_REGIONS: list[tuple[int, ...]] = [(0, 3000, 0x400000, 0, 0)]
_SECTIONS: list[tuple[int, ...]] = [(0, 3000, 0x400010)]
_STEPS: list[tuple[int, ...]] = [(0x400000, 16, 3), (500, 32, 1)]
_TOP = 1 << 61


def _relink(
    regions: list[tuple[int, ...]] = _REGIONS,
    sections: list[tuple[int, ...]] = _SECTIONS,
    steps: list[tuple[int, ...]] = _STEPS,
    inner: bytes = _WHOLE,
    **given: Any,
) -> Change:
    return body(relinked(regions, sections, steps, inner, **{"least": 1 << 60, **given}))


for _name, _change in (
    ("version-0", _relink(version=0)),
    ("version-2", _relink(version=2)),
):
    bad(f"relink-{_name}", _R, "relink.version", "M103")(_change)
bad("relink-machine-3", _R, "relink.machine", "M133")(_relink(machine=3))
bad("relink-least-0", _R, "relink.least", "M104")(_relink(least=0))
bad("relink-least-too-large", _R, "relink.least", "M104")(_relink(least=_TOP))
bad("relink-too-many-sections", _R, "relink.regions, sections, fixed steps", "M105")(
    _relink(sections=[(0, 1, 0)] * 4097)
)
bad("relink-packer-3", _R, "relink.5 stream headers", "M100", "M99")(_relink(heads={0: (3, 12, 12)}))
bad("relink-stream-longer-than-it-says", _R, "relink.5 stream headers", "M100")(_relink(heads={4: (0, 1, 2)}))
bad("relink-regions-of-2-bytes-each", _R, "relink.5 stream headers", "M106")(
    _relink([(0, 1, 0, 0, 0)], counts=(2, 1, 2))
)
bad("relink-kinds-of-another-count", _R, "relink stream.kind", "M106")(_relink(heads={4: (0, 2, 3)}))
bad("relink-at-of-too-few-bytes", _R, "relink stream.at", "M106")(_relink(steps=[(1, 0, 3)] * 2, heads={2: (0, 2, 1)}))
bad("relink-region-left-over", _R, "relink stream.regions", "M107")(
    _relink([*_REGIONS, (0, 1, 0, 0, 0)], counts=(1, 1, 2))
)
bad("relink-section-left-over", _R, "relink stream.sections", "M107")(
    _relink(sections=[*_SECTIONS, (0, 1, 0)], counts=(1, 1, 2))
)
bad("relink-region-of-0", _R, "relink stream.regions", "M108")(_relink([(0, 0, 0x400000, 0, 0)]))
bad("relink-region-beyond-the-source", _R, "relink stream.regions", "M108")(_relink([(1, 3000, 0x400000, 0, 0)]))
bad("relink-region-of-mode-15", _R, "relink stream.regions", "M108")(_relink([(0, 3000, 0x400000, 0, 15)]))
bad("relink-section-of-code", _R, "relink stream.sections", "M108")(_relink(sections=[(0, 3000, 0x400000, 0, 1)]))
bad("relink-section-beyond-the-target", _R, "relink stream.sections", "M108")(_relink(sections=[(0, 3001, 0x400000)]))
bad("relink-17-regions-of-tables", _R, "relink stream.regions", "M108")(_relink([(0, 8, 0, 0, 6), (0, 8, 0, 0, 8)] * 9))
bad("relink-region-below-0", _R, "relink stream.regions", "M109")(_relink([(0, 3000, -1, 1, 3)]))
bad("relink-region-too-high", _R, "relink stream.regions", "M109")(_relink([(0, 3000, _TOP - 2999, 0, 0)]))
bad("relink-base-below-0", _R, "relink stream.regions", "M109")(_relink([(0, 3000, 0, -1, 3)]))
bad("relink-base-too-high", _R, "relink stream.regions", "M109")(_relink([(0, 3000, 0, _TOP + 1, 3)]))
bad("relink-section-of-0", _R, "relink stream.sections", "M108")(_relink(sections=[(0, 0, 0)]))
bad("relink-section-below-0", _R, "relink stream.sections", "M109")(_relink(sections=[(0, 3000, -1)]))
bad("relink-section-too-high", _R, "relink stream.sections", "M109")(_relink(sections=[(0, 3000, _TOP - 2999)]))
bad("relink-section-too-far", _R, "relink stream.sections", "M108")(_relink(sections=[(_TOP, 1, 0)]))
bad("relink-steps-at-one-address", _R, "relink stream.at", "M110")(_relink(steps=[(5, 0, 3), (0, 1, 3)]))
bad("relink-step-too-high", _R, "relink stream.at", "M109")(_relink(steps=[(_TOP + 1, 0, 3)]))
bad("relink-shift-too-high", _R, "relink stream.shift", "M110")(_relink(steps=[(5, _TOP, 3)]))
bad("relink-shift-too-low", _R, "relink stream.shift", "M110")(_relink(steps=[(5, -_TOP, 3)]))
bad("relink-kind-4", _R, "relink stream.kind", "M110")(_relink(steps=[(5, 0, 4)]))


@bad("relink-too-many-pieces", _R, "M111", base="base")
def _pieces(bundle: Bundle) -> None:
    """Have 139 regions of a byte, 15,100 covers of all of them, and every piece of a byte count: 2,098,900."""
    regions, count = 139, 15_100
    size = regions * count
    covers = [(0, regions, -regions if n else 0) for n in range(count)]
    inner = cover(covers, bytes(size), b"", packers={3: (1, zframe(bytes(size)))})
    payload = relinked([(0, 1, 0, 0, 0)] * regions, [(0, size, 0)], [], inner, least=1)
    target = bundle.target
    target.out = CODE[:regions] * count
    target.program = Program().do("raw", raw=size, stream=1)
    bundle.frames[0] = Frame(payload, size, codec=5, spans=[(0, 0, 3000)])
    bundle.objects[:] = [C]


bad("relink-inner-payload-cut", _R, "relink.cover payload", "M93")(_relink(inner=_WHOLE[:-1]))
bad("relink-without-an-inner-payload", _R, "relink.cover payload", "M91")(_relink(inner=b""))

# --- codec 6 ----------------------------------------------------------------------------------------------------------

_U = "unpack-streams-of-a-zip"
_PARTS_AND_A_BYTE = packing(
    3, (len(NEW_A), 6 * 16 + 6, 8, [(8, 0, 8)]), len(ZIPPED), (len(OLD_C), 7 * 16 + 9, 0, []), 3, literals=b"x"
)
_WIDE_TABLE = b"\x28\xb5\x2f\xfd\x80\x88" + len(PARTS).to_bytes(4, "little") + zframe(PARTS)[6:]


def _unpack(**given: Any) -> Change:
    def change(bundle: Bundle) -> None:
        bundle.frames[0].data = unpack_case(**given).frames[0].data

    return change


for _name, _tests, _given in (
    ("inner-codec-7", ("unpack.inner codec", "M112"), {"codec": 7}),
    ("inner-codec-0", ("unpack.inner payload", "M71"), {"codec": 0}),
    ("whole-2", ("unpack.whole", "M113"), {"whole": 2}),
    ("content-of-more", ("unpack.content", "M120"), {"content": 1301}),
    ("content-of-less", ("unpack.content", "M120"), {"content": 1299}),
    ("content-too-large", ("unpack.content", "M116"), {"content": 128 * MIB}),
    ("too-many-streams", ("unpack.streams", "M114"), {"streams": 65537}),
    ("fewer-streams-than-gaps", ("unpack.streams", "unpack.gaps", "M117"), {"streams": 2}),
    ("more-streams-than-gaps", ("unpack.streams", "unpack.gaps", "M117"), {"streams": 4}),
    ("no-further-header", ("unpack.gaps", "M118"), {"streams_": [(7, 500), (0, 200), (0, 600), (0, 0)]}),
    ("stream-beyond-the-source", ("unpack.gaps", "M119"), {"streams_": [(7, 500), (9000, 200), (0, 600)]}),
    ("stream-damaged", ("unpack.gaps", "M119"), {"streams_": [(8, 500), (0, 200), (0, 600)]}),
    ("gaps-with-packer-3", ("unpack.gaps", "M99"), {"heads": (3, 3, 3, None, 16)}),
    ("gaps-of-another-length", ("unpack.gaps", "M100"), {"heads": (0, 3, 4, None, 16)}),
    ("table-that-is-no-zstd", ("unpack.table", "M8"), {"table": b"table"}),
    ("table-with-a-window-too-large", ("unpack.table", "M11"), {"table": _WIDE_TABLE}),
    ("table-of-another-length", ("unpack.table", "M9"), {"heads": (0, 3, 3, None, 5)}),
    ("table-too-large", ("unpack.table", "M115"), {"heads": (0, 3, 3, None, 16 * MIB + 1)}),
    ("packing-with-plain-bytes", ("unpack.table", "M66"), {"behind": b"x"}),
    ("packs-another-size", ("unpack.table", "M71"), {"packing_": _PARTS_AND_A_BYTE}),
    ("inner-payload-missing", ("unpack.inner payload", "M91"), {"inner_": b""}),
):
    bad(f"unpack-{_name}", _U, *_tests)(_unpack(**_given))

bad("unpack-local-header-cut", _U, "unpack.gaps", "M118")(
    lambda b: b.frames[0].__setattr__("spans", [(0, 0, UNPACK_SOURCE.rindex(b"PK\3\4") + 12)])
)
bad("unpack-re-encoders-not-listed", _U, "M24", "requires.re-encoders")(put(reencoders=[]))
bad("unpack-stream-that-goes-on", _U, "unpack.gaps", "M119")(
    lambda b: b.frames[0].__setattr__("spans", [(0, 0, 6 + len(deflated(OLD_A, 6, 6, 8)) - 1)])
)

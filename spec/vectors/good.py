"""The good vectors: bundles that every reader must apply, each with the bytes that it makes, written down beside it."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from bundles import (
    Bundle,
    Frame,
    Program,
    Target,
    block,
    msgpack,
    number,
    numbers,
    record,
    sha256,
    signed,
    zframe,
)

# --- contents and bases -----------------------------------------------------------------------------------------------


def noise(seed: str, size: int) -> bytes:
    """Return bytes without any order, always the same."""
    return b"".join(sha256(b"%s %d" % (seed.encode(), i)) for i in range(size // 32 + 1))[:size]


def text(size: int) -> bytes:
    """Return lines of text, always the same."""
    lines = b"".join(b"%d: %s\n" % (i, hashlib.sha256(b"%d" % (i % 7)).hexdigest()[:20].encode()) for i in range(size))
    return lines[:size]


HELLO = text(1000)
SPACED = text(300)
LARGE = noise("large", 700)
RECORDS = {
    "hello": record(block("hello.txt", size=1000), HELLO),
    "dir": record(block("dir/", typeflag=b"5", mode=b"0000755\0")),
    "spaced": record(
        block(
            "spaced",
            **{"mode": b"   644 \0", "uid": b"  1000 \0", "gid": b"  1000 \0"},
            **{"mtime": b"   14371573 ", "chksum": b"  7000\0 "},
        )[:124]
        + b"        454 "
        + block("spaced", mtime=b"   14371573 ", chksum=b"  7000\0 ")[136:],
        SPACED,
    ),
    "large": record(block("large", **{"devmajor": b"", "devminor": b"", "magic": b"ustar  \0"}), b""),
    "base256": b"",
    "blank": record(block("blank", chksum=b"", mtime=b"", uid=b"", magic=b"")),
    "again": record(block("again.txt", size=5, uname=b"root", gname=b"root"), b"12345"),
    "odd": record(block("odd", mtime=b"yesterday")),
    "narrow": record(block("narrow", uid=b"7\0\0\0\0\0\0\0")),
    "negative": record(block("negative")[:124] + b"\xff" * 12 + block("negative")[136:]),
    "immense": record(block("immense")[:124] + b"\x80" + (1 << 63).to_bytes(11, "big") + block("immense")[136:]),
    "unreadable": record(block("unreadable")[:124] + b"12x\0" + bytes(8) + block("unreadable")[136:]),
}
RECORDS["base256"] = record(
    block("base256")[:124] + b"\x80" + (700).to_bytes(11, "big") + block("base256")[136:], LARGE
)
AT: dict[str, int] = {}
LAYER = b""
for _name, _record in RECORDS.items():
    AT[_name] = len(LAYER)
    LAYER += _record
LAYER += bytes(1024)
SECOND = record(block("second", size=2000), text(2000)) + bytes(1024)
CODE = noise("code", 3000)
PACKED_CONTENT = text(3000)


def gzipped(body: bytes, content: bytes) -> bytes:
    """Return a gzip file around a body."""
    return GZIP_HEAD + body + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")


GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def deflated(content: bytes, encoder: int, level: int, parameter: int = 0) -> bytes:
    """Return what an encoder of deflate.md makes."""
    from dibundle.codecs.deflate.recipe import Recipe, rebuild

    return b"".join(rebuild(Recipe(encoder=encoder, level=level, parameter=parameter), [content], len(content)))


GZ = gzipped(deflated(PACKED_CONTENT, 6, 6, 8), PACKED_CONTENT)


def config(*layers: bytes) -> bytes:
    """Return an image's config."""
    ids = [f"sha256:{sha256(layer).hex()}" for layer in layers]
    value = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}
    return json.dumps(value, separators=(",", ":")).encode()


CONFIG = config(LAYER, SECOND, PACKED_CONTENT)


def archive(members: dict[str, bytes], layers: list[str], config_name: str) -> bytes:
    """Return a docker archive."""
    manifest = [{"Config": config_name, "RepoTags": ["example.com/vector:1"], "Layers": layers}]
    every = {**members, "manifest.json": json.dumps(manifest, separators=(",", ":")).encode()}
    return b"".join(record(block(name, size=len(data)), data) for name, data in every.items()) + bytes(1024)


def base(*, layer: bytes = LAYER, gz: bytes = GZ) -> bytes:
    """Return the base of most vectors: an image of three layers, and a file beside them."""
    members = {
        "config.json": CONFIG,
        "1/layer.tar": layer,
        "2/layer.tar": SECOND,
        "3/layer.tar": gz,
        "code.bin": CODE,
    }
    return archive(members, ["1/layer.tar", "2/layer.tar", "3/layer.tar"], "config.json")


OTHER = record(block("x", size=3), b"xyz") + bytes(1024)
BASES: dict[str, bytes] = {
    "base": base(),
    "raw": base(gz=PACKED_CONTENT),
    "damaged": base(layer=LAYER.replace(HELLO, HELLO[:500] + b"?" + HELLO[501:])),
    "other": archive({"config.json": config(OTHER), "1/layer.tar": OTHER}, ["1/layer.tar"], "config.json"),
}
L, S, K, C, G = (
    (kind, len(data), sha256(data)) for kind, data in ((1, LAYER), (1, SECOND), (2, CONFIG), (3, CODE), (3, GZ))
)


# --- the cases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Good:
    """A case: what makes its bundle, which rules and fields it is about, its bases, and which target is made.

    ``name``: what the target is called on the command line; its digest if nothing is said and there are several.
    """

    make: Callable[[], Bundle]
    tests: tuple[str, ...]
    bases: tuple[str, ...]
    optional: bool = False
    target: int = 0
    name: str | None = None

    def arguments(self, bundle: Bundle) -> list[str]:
        """Return what comes before the bases."""
        if self.name is None and len(bundle.targets) == 1:
            return []
        return ["--target", self.name or f"sha256:{sha256(bundle.targets[self.target].out).hex()}"]


GOOD: dict[str, Good] = {}
Maker = Callable[[], Bundle]


def good(
    *tests: str, base: str = "base", optional: bool = False, target: int = 0, name: str | None = None
) -> Callable[[Maker], Maker]:
    """Name a case after its function; an ``optional`` one may also be refused for its base. Bases are apart by +."""

    def note(make: Maker) -> Maker:
        bases = tuple(base.split("+")) if base else ()
        GOOD[make.__name__.replace("_", "-")] = Good(make, tests, bases, optional, target, name)
        return make

    return note


def one(out: bytes, program: Program, *frames: Frame, objects: list[tuple[int, int, bytes]] | None = None) -> Bundle:
    """Return a bundle of one target."""
    return Bundle(list(frames), [Target(out, program, len(frames))], objects=objects or [])


def plain(data: bytes, stream: int = 1) -> Frame:
    """Return a stored frame."""
    return Frame(data, len(data), stream)


def drawn(frame: Frame, out: bytes) -> Bundle:
    """Return a bundle that makes one frame's content."""
    return one(out, Program().do("raw", raw=len(out), stream=frame.stream), frame)


def patched(codec: int, payload: bytes, source: bytes, out: bytes) -> Bundle:
    """Return a bundle whose one frame has the file beside the layers as its source."""
    assert source == CODE
    return one(
        out,
        Program().do("raw", raw=len(out), stream=1),
        Frame(payload, len(out), codec=codec, spans=[(0, 0, len(source))]),
        objects=[C],
    )


@good("target.size", "target.frames", "target.tail")
def empty_target() -> Bundle:
    return one(b"", Program())


@good(
    "file.header",
    "file.manifest",
    "file.frames",
    "header.magic",
    "header.version",
    "header.reserved",
    "header.manifest, stored length",
    "header.manifest, decoded size",
    "header.manifest digest",
    "source kind.0",
    "section.requires",
    "section.objects",
    "section.frames",
    "operation.raw",
    "codec.0",
    "frames.stored length",
    "frames.size",
    base="",
)
def stored() -> Bundle:
    return drawn(plain(HELLO), HELLO)


@good("file.signature area", "area.n", "area.signature", "area.CRC-32", "M5")
def signature_area_holds_anything() -> Bundle:
    bundle = stored()
    bundle.signature = b"not a signature"
    return bundle


@good("M19")
def unknown_even_sections() -> Bundle:
    bundle = stored()
    bundle.more = {8: b"whatever", 1000: b"", 1 << 31: b"\xc1"}
    return bundle


@good("section.about", "section.names", "names.lists")
def sections_for_people() -> Bundle:
    bundle = stored()
    image = [["example.com/a:1", "\u20ac"], sha256(b"id"), sha256(b"1") + sha256(b"2")]
    bare = [[], b"", b""]
    bundle.more = {
        2: msgpack([[image, bare], [[bare]], [["key", "text " * 100]]]),
        4: msgpack([[b"a/b\0\0\xff\0", b""]]),
    }
    return bundle


@good("target.tail", "M75")
def tail_at_the_last_byte() -> Bundle:
    program = Program()
    pieces = [noise(f"piece {n}", 600) for n in range(4)]
    for _ in pieces:
        program.do("raw", raw=600, stream=1)
    bundle = one(b"".join(pieces), program, *map(plain, pieces))
    bundle.target.tail = 2399
    bundle.target.segments = [(600, 0), (600, 1), (600, 0), (600, 1)]
    return bundle


@good("M12", "M33", "target.segments", "segments.lengths", "segments.kinds", "segments.digests")
def segments_of_every_kind() -> Bundle:
    bundle = stored()
    bundle.target.segments = [(100, 1), (300, 0), (512, 1), (88, 0)]
    bundle.target.tail = 999
    return bundle


@good("codec.1", "M8")
def zstd_raw_blocks() -> Bundle:
    return drawn(Frame(zframe(HELLO, block=300), 1000, codec=1), HELLO)


@good("codec.1")
def zstd_with_a_window_and_a_checksum() -> Bundle:
    # single-segment flag off, window 1 KiB, content size of 2 bytes, checksum; one RLE and one raw block
    out = b"A" * 700 + b"end"
    head = b"\x28\xb5\x2f\xfd" + b"\x44\x00" + (len(out) - 256).to_bytes(2, "little")
    blocks = (700 << 3 | 2).to_bytes(3, "little") + b"A" + (3 << 3 | 1).to_bytes(3, "little") + b"end"
    return drawn(Frame(head + blocks + ZSTD_CHECKSUM, len(out), codec=1), out)


ZSTD_CHECKSUM = bytes.fromhex("4c1c69b4")
ZSTD_TEXT = bytes.fromhex(
    "28b52ffd60e802950500d24d2110a0e901a45955a0b5bb259be87eb959017464249ab033b35b1919198917bfdbff3a9d8cc4"
    "127565f5aaa2222381d99ed41d8c995574b0934341406b8cfe88a6f1e66bdf1c8a008da7f074eddee6af17ca013e843a7459"
    "8f62d025f18562a08d98198b05de180bcbdb500e1497149f3eebb6bce2500ca5c005d9618de374232a1f6e110a0523a81150"
    "edfdbf1ba0b30f31043384ffde0fedc6c66dc9a797239b18c2fab2ebb5c072b3be4214056815"
)
PREFIXED = bytes.fromhex("28b52ffd608f098d000020696e6577020011d90bfe43d7d57e7805")


@good("codec.1")
def zstd_compressed_blocks() -> Bundle:
    return drawn(Frame(ZSTD_TEXT, 1000, codec=1), HELLO)


@good("codec.2", "source kind.2")
def zstd_prefix() -> Bundle:
    out = CODE[100:1500] + b"new" + CODE[1600:2900]
    return patched(2, PREFIXED, CODE, out)


@good("codec.2")
def zstd_prefix_without_a_source() -> Bundle:
    return drawn(Frame(zframe(HELLO), 1000, codec=2), HELLO)


@good("codec.0")
def stored_with_a_source_of_no_use() -> Bundle:
    return patched(0, HELLO, CODE, HELLO)


# Operations


@good(
    "operation.seek",
    "operation.keep",
    "object kind.1",
    "object kind.2",
    "object kind.3",
    "objects.kinds",
    "objects.sizes",
    "objects.digests",
    "M26",
)
def keep_and_seek() -> Bundle:
    program = Program().do("keep", keep=700)
    program.do("seek", seek_object=0, seek_offset=signed(-500)).do("keep", keep=100)
    program.do("seek", seek_object=1, seek_offset=signed(10)).do("keep", keep=20)
    program.do("seek", seek_object=1, seek_offset=signed(5)).do("keep", keep=len(SECOND) - 35)
    program.do("seek", seek_object=2, seek_offset=signed(0)).do("keep", keep=len(CONFIG))
    program.do("seek", seek_object=3, seek_offset=signed(len(CODE)))
    program.do("zero", zero=3)
    out = LAYER[:700] + LAYER[200:300] + SECOND[10:30] + SECOND[35:] + CONFIG + bytes(3)
    return one(out, program, objects=[L, S, K, C])


@good("operation.zero", "operation.raw", "M57", "frames.stream")
def two_streams_in_turn() -> Bundle:
    program = Program().do("raw", raw=100, stream=1).do("raw", raw=50, stream=31).do("raw", raw=400, stream=1)
    program.do("zero", zero=1000).do("raw", raw=250, stream=31).do("raw", raw=500, stream=1)
    a, b = text(1000), noise("b", 300)
    out = a[:100] + b[:50] + a[100:500] + bytes(1000) + b[50:] + a[500:]
    frames = [plain(a[:300], 1), plain(b[:200], 31), plain(a[300:], 1), plain(b[200:], 31)]
    return one(out, program, *frames)


@good("operation.repeat", "column.repeat_frame", "column.repeat_offset", "column.repeat")
def repeat() -> Bundle:
    program = Program().do("raw", raw=600, stream=1).do("raw", raw=10, stream=2)
    program.do("repeat", repeat_frame=0, repeat_offset=100, repeat=900)
    program.do("raw", raw=400, stream=1).do("repeat", repeat_frame=1, repeat_offset=0, repeat=10)
    program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=1)
    out = HELLO[:600] + b"0123456789" + HELLO[100:] + HELLO[600:] + b"0123456789" + HELLO[:1]
    return one(out, program, plain(HELLO), plain(b"0123456789", 2))


@good("operation.mode", "operation.header", "column.register", "operation.add", "operation.patch")
def records() -> Bundle:
    """Make a mode run over three records, a patch, an add and a header in each register."""
    program = Program().do("mode", count=3)
    program.edit("mtime", mtime=7).edit("mtime", mtime=7).edit()
    program.do("seek", seek_object=0, seek_offset=signed(AT["again"] - AT["large"]))
    program.do("patch").edit("size", size=2, shape=None).put(stream=1)
    program.do("add").edit("raw:name", "size", size=600).text(3).put(stream=1)
    program.do("header", register=1).edit("raw:name", "mode", mode=0o644).text(2)
    program.do("header", register=0).edit("raw:name").text(2)
    hello, folder = bytearray(RECORDS["hello"]), bytearray(RECORDS["dir"])
    for data in (hello, folder):
        data[136:148] = b"00000000007\0"
        data[148:156] = b"%06o\0 " % _sum(bytes(data[:512]))
    patch_block = having(RECORDS["again"][:512], size=b"%011o\0" % 7)
    add_block = having(patch_block, name=b"new", size=b"%011o\0" % 600)
    outer = having(bytes(512), name=b"nX", mode=b"0000644\0")
    last = having(add_block, name=b"nX")
    content = noise("n", 600)
    out = bytes(hello) + bytes(folder) + RECORDS["spaced"] + record(patch_block, b"1234567")
    out += record(add_block, content) + outer + last
    frames = [plain(b"1234567" + content), plain(b"newnXnX", 0)]
    return one(out, program, *frames, objects=[L])


@good("operation.header", "operation.add")
def add_with_the_size_of_the_header_before() -> Bundle:
    """Have an edit say a size once, for the content that operations make, and for that of the next record."""
    program = Program().do("header", register=0).edit("raw:name", "size", size=300).text(1)
    program.do("raw", raw=300, stream=1).do("zero", zero=212)
    program.do("add").edit("raw:name").text(1).put(stream=1)
    content, size = noise("twice", 600), b"%011o\0" % 300
    out = record(having(bytes(512), name=b"a", size=size), content[:300])
    out += record(having(bytes(512), name=b"b", size=size), content[300:])
    return one(out, program, plain(b"ab", 0), plain(content))


def _sum(header: bytes) -> int:
    return sum(header) - sum(header[148:156]) + 8 * 32


def having(header: bytes, **fields: bytes) -> bytes:
    """Return a block with fields set and the checksum of six digits."""
    from bundles import FIELDS

    out = bytearray(header)
    for name, value in fields.items():
        start, end = FIELDS[name]
        out[start:end] = value.ljust(end - start, b"\0")
    if "chksum" not in fields:
        out[148:156] = b"%06o\0 " % _sum(bytes(out))
    return bytes(out)


RAW_TEXTS = {
    **{"name": b"n" * 100, "mode": b"mode", "uid": b"uid", "gid": b"gid", "mtime": b"mtime", "chksum": b"chk"},
    **{"typeflag": b"7", "linkname": b"l" * 99, "magic": b"magic", "uname": b"u", "gname": b"g" * 32},
    **{"devmajor": b"\x80\xff", "devminor": b"min", "prefix": b"", "rest": b"rest"},
}


@good(*(f"field.{name}" for name in RAW_TEXTS), "column.shapes", "column.shape", "column.text")
def every_field_as_text() -> Bundle:
    program = Program().do("header", register=0).edit(*(f"raw:{name}" for name in RAW_TEXTS))
    for value in RAW_TEXTS.values():
        program.text(len(value))
    program.do("header", register=1).edit(*(f"raw:{name}" for name in RAW_TEXTS))
    for value in RAW_TEXTS.values():
        program.text(len(value))
    out = having(bytes(512), **RAW_TEXTS)
    return one(out + out, program, plain(2 * b"".join(RAW_TEXTS.values()), 0))


NUMERIC = ("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor")


@good(*(f"column.{name}" for name in NUMERIC), "field.size")
def every_number_in_a_blank_block() -> Bundle:
    """In a block of NULs: zero-padded digits and a NUL; the size is a difference to 0."""
    program = Program().do("header", register=0).edit(*NUMERIC, **{name: 100 + n for n, name in enumerate(NUMERIC)})
    values = {name: 500 if name == "size" else 97 + n for n, name in enumerate(NUMERIC)}
    program.do("header", register=0).edit(*NUMERIC, **values)
    widths = {"size": 11, "mtime": 11}
    first = having(bytes(512), **{name: b"%0*o\0" % (widths.get(name, 7), 100 + n) for n, name in enumerate(NUMERIC)})
    second = having(first, **{name: b"%0*o\0" % (widths.get(name, 7), value) for name, value in values.items()})
    return one(first + second, program)


@good()
def numbers_in_the_style_of_their_field() -> Bundle:
    """Spaces and what follows the digits stay; so does the style of the checksum, or six digits, NUL, space."""
    program = Program().do("seek", seek_object=0, seek_offset=signed(AT["spaced"]))
    program.do("mode", count=1).edit("mode", "uid", "mtime", mode=0o7777777 // 8, uid=1, mtime=0o777)
    program.do("seek", seek_object=0, seek_offset=signed(AT["blank"] - AT["large"]))
    program.do("mode", count=1).edit("mtime", "gid", mtime=0o777, gid=8)
    spaced = bytearray(RECORDS["spaced"])
    spaced[100:108] = b"%6o \0" % (0o7777777 // 8)
    spaced[108:116] = b"%6o \0" % 1
    spaced[136:148] = b"%11o " % 0o777
    spaced[148:156] = b"%6o\0 " % _sum(bytes(spaced[:512]))
    blank = having(RECORDS["blank"], mtime=b"%011o\0" % 0o777, gid=b"%07o\0" % 8)
    return one(bytes(spaced) + blank, program, objects=[L])


@good()
def a_size_in_base_256_is_read() -> Bundle:
    program = Program().do("seek", seek_object=0, seek_offset=signed(AT["base256"]))
    program.do("mode", count=1).edit("raw:name").text(3)
    out = having(RECORDS["base256"][:512], name=b"new") + RECORDS["base256"][512:]
    return one(out, program, plain(b"new", 0), objects=[L])


@good()
def a_checksum_of_its_own() -> Bundle:
    program = Program().do("mode", count=1).edit("mtime", "raw:chksum", mtime=1).text(8)
    out = having(RECORDS["hello"][:512], mtime=b"00000000001\0", chksum=b"chksum?!") + RECORDS["hello"][512:]
    return one(out, program, plain(b"chksum?!", 0), objects=[L])


@good("operation.patch", "operation.keep", "object kind.1", base="other")
def worked_example() -> Bundle:
    """Change the content and the time of a layer's one file; dib.md has these bytes."""
    program = Program().do("patch").edit("size", "mtime", size=3, mtime=1700000000).put(stream=1)
    program.do("keep", keep=1024)
    header = having(OTHER[:512], size=b"%011o\0" % 6, mtime=b"%011o\0" % 1700000000)
    out = record(header, b"hello\n") + OTHER[1024:]
    bundle = one(out, program, plain(b"hello\n"), objects=[(1, len(OTHER), sha256(OTHER))])
    bundle.target.segments, bundle.target.tail = [(len(out), 1)], len(out) - 1
    return bundle


# Sources


@good("source kind.1", "operation.replace", "column.replace", "frames.source kind", "frames.source size")
def implied_source_of_several_pieces() -> Bundle:
    """zstd-prefix with the pieces' old content as its source; pieces without a source and of 0 bytes beside them."""
    program = Program().do("replace", raw=500, replace=400, stream=1).do("raw", raw=100, stream=1)
    program.do("replace", raw=200, replace=0, stream=1).do("keep", keep=100).do(
        "replace", raw=200, replace=300, stream=1
    )
    made = noise("made", 1000)
    out = made[:800] + LAYER[400:500] + made[800:]
    frame = Frame(zframe(made), 1000, codec=2, implied=700)
    return one(out, program, frame, objects=[L])


@good("source kind.1", "M59")
def a_patch_to_nothing_draws_from_no_frame() -> Bundle:
    """Its stream, 9, is in the column; there is no frame of it."""
    program = Program().do("patch").edit("size", size=-1000).put(stream=9)
    program.do("seek", seek_object=0, seek_offset=signed(AT["again"] - AT["dir"]))
    program.do("patch").edit().put(stream=1)
    emptied = having(RECORDS["hello"][:512], size=b"%011o\0" % 0)
    out = emptied + record(RECORDS["again"][:512], b"54321")
    return one(out, program, Frame(cover_of(b"12345", b"54321"), 5, codec=4, implied=5), objects=[L])


def cover_of(source: bytes, target: bytes) -> bytes:
    """Return a cover payload with one cover over all of the shorter side."""
    length = min(len(source), len(target))
    difference = bytes((b - a) % 256 for a, b in zip(source, target, strict=False))
    return cover([(0, length, 0)], difference, target[length:])


def cover(
    covers: list[tuple[int, int, int]],
    difference: bytes,
    literals: bytes,
    *,
    packers: dict[int, tuple[int, bytes]] | None = None,
    count: int | None = None,
    streams: dict[int, tuple[int, int, int, bytes]] | None = None,
) -> bytes:
    """Return a payload of cover.md: covers as gap, length, seek; ``packers``: other than stored for these streams."""
    contents = [
        numbers(*(gap for gap, _, _ in covers)),
        numbers(*(length for _, length, _ in covers)),
        numbers(*(signed(seek) for _, _, seek in covers)),
        difference,
        literals,
    ]
    head, body = number(len(covers) if count is None else count), b""
    for index, content in enumerate(contents):
        packer, packed = (packers or {}).get(index, (0, content))
        stored_length, decoded = len(packed), len(content)
        if streams and index in streams:
            packer, stored_length, decoded, packed = streams[index]
        head += bytes((packer,)) + numbers(stored_length, decoded)
        body += packed
    return head + body


@good(
    "source kind.2",
    "frames.source count",
    "frames.source object",
    "frames.source offset",
    "frames.source length",
    "M29",
)
def explicit_source_of_several_ranges() -> Bundle:
    """Two objects and the digest text; zstd frames make nothing of it, covers do."""
    out = b"-" + sha256(b"-" * 10).hex().encode()
    bundle = one(
        b"-" * 10 + LAYER[5:10] + CODE[7:27] + b"!",
        Program().do("raw", raw=10, stream=1).do("raw", raw=26, stream=2),
        plain(b"-" * 10),
        objects=[L, C],
    )
    target = bundle.target
    target.segments = [(10, 1), (26, 0)]
    target.out += out
    target.segments.append((len(out), 0))
    target.program.do("raw", raw=len(out), stream=2)
    source = LAYER[5:10] + CODE[7:27] + out[1:]
    spans = [(0, 5, 5), (1, 7, 20), (2, 0, 64)]
    payload = cover([(0, 25, 0), (2, 64, -2)], bytes(89), b"!-")
    assert len(source) == 89
    bundle.frames.append(Frame(payload, 26 + len(out), stream=2, codec=4, spans=spans))
    target.frames = 2
    return bundle


# Packings


def packing(*parts: int | tuple[int, int, int, list[tuple[int, int, int]]], literals: bytes = b"") -> bytes:
    """Return a packing without its plain bytes: plain lengths, or content, re-encoder, parameter and edits."""
    out = number(len(parts))
    for part in parts:
        if isinstance(part, int):
            out += number(2 * part)
            continue
        size, encoder, parameter, edits = part
        out += numbers(2 * size + 1, encoder, parameter, len(edits)) + b"".join(numbers(*edit) for edit in edits)
    return out + literals


def packs(packing_: bytes, content: bytes, packed: bytes, *reencoders: int) -> Bundle:
    """Return a bundle that packs a content, between a byte before and one behind."""
    program = Program().do("raw", raw=1, stream=1)
    program.do("begin", packing=len(packing_), packed=len(packed))
    if content:
        program.do("raw", raw=len(content), stream=1)
    program.do("end").do("raw", raw=1, stream=1)
    bundle = one(b"<" + packed + b">", program, plain(b"<" + content + b">"), plain(packing_, 0))
    bundle.reencoders = list(reencoders)
    return bundle


@good(
    "operation.begin",
    "operation.end",
    "column.packing",
    "column.packed",
    "packing.for each part",
    "requires.re-encoders",
)
def packs_gzip() -> Bundle:
    trailer = gzipped(b"", PACKED_CONTENT)[10:]
    table = packing(10, (3000, 102, 8, []), 8) + GZIP_HEAD + trailer
    return packs(table, PACKED_CONTENT, GZ, 102)


@good("packing.parts")
def packs_nothing() -> Bundle:
    return packs(packing(), b"", b"")


@good("packing.for each part")
def packs_plain_parts_alone() -> Bundle:
    return packs(packing(3, 0, 2) + b"abcde", b"", b"abcde")


@good("packing.parts", "packing.parameter")
def packs_empty_bodies() -> Bundle:
    packed = b"".join(deflated(b"", *which) for which in ((1, 6), (2, 5), (6, 1, 9), (7, 9)))
    table = packing((0, 22, 0, []), (0, 37, 0, []), (0, 97, 9, []), (0, 121, 0, []))
    return packs(table, b"", packed, 22, 37, 97, 121)


@good("packing.edits", "packing.literals", "packing.for each edit")
def packs_with_edits() -> Bundle:
    """Bits dropped and put in; the literals of two edits, each in whole bytes."""
    body = deflated(PACKED_CONTENT, 6, 6, 8)
    bits = "".join(f"{byte:08b}"[::-1] for byte in body)
    edited = "101" + bits[0:40] + "1" * 9 + bits[40 + 9 : 100] + bits[100 + 3 :]
    assert len(edited) % 8 == 0
    packed = bytes(int(edited[at : at + 8][::-1], 2) for at in range(0, len(edited), 8))
    table = packing((3000, 102, 8, [(0, 0, 3), (40, 9, 9), (51, 3, 0)]), literals=bytes((0b101,)) + b"\xff\1")
    return packs(table, PACKED_CONTENT, packed, 102)


ENCODERS = {
    **{1: ([(level, 0) for level in range(1, 10)], text(2500) + noise("1", 300) + text(1500))},
    **{2: ([(1, 0), (5, 0), (6, 0)], text(2500) + noise("2", 300) + text(1500))},
    **{3: ([(5, 16385), (5, 1 << 30)], text(20000)), 4: ([(5, 16385)], text(20000)), 5: ([(5, 16400)], text(20000))},
    **{
        6: ([(level, memory) for level in range(1, 10) for memory in (8, 9)], text(2500) + bytes(400) + noise("6", 100))
    },
    **{7: ([(level, 0) for level in range(1, 10)], text(2500) + bytes(400) + noise("7", 100))},
}


def _encoder(encoder: int) -> Bundle:
    variants, content = ENCODERS[encoder]
    bodies = [(len(content), 16 * encoder + level, parameter, []) for level, parameter in variants]
    packed = b"".join(deflated(content, encoder, level, parameter) for level, parameter in variants)
    table = packing(*bodies)
    program = Program().do("begin", packing=len(table), packed=len(packed)).do("raw", raw=len(content), stream=1)
    for _ in variants[1:]:
        program.do("repeat", repeat_frame=1, repeat_offset=0, repeat=len(content))
    bundle = one(packed, program.do("end"), plain(table, 0), plain(content))
    bundle.reencoders = sorted({16 * encoder + level for level, _ in variants})
    return bundle


@good("encoder.1")
def encoder_go() -> Bundle:
    return _encoder(1)


@good("encoder.2")
def encoder_klauspost() -> Bundle:
    return _encoder(2)


@good("encoder.3")
def encoder_pgzip_old() -> Bundle:
    return _encoder(3)


@good("encoder.4")
def encoder_pgzip() -> Bundle:
    return _encoder(4)


@good("encoder.5")
def encoder_pgzip_new() -> Bundle:
    return _encoder(5)


@good("encoder.6")
def encoder_zlib() -> Bundle:
    return _encoder(6)


@good("encoder.7")
def encoder_gzip() -> Bundle:
    return _encoder(7)


@good("operation.begin", "M67")
def packs_content_that_operations_make() -> Bundle:
    """Ranges of the base, a stream, zeros; then a second packing."""
    program = Program()
    first = LAYER[:512] + HELLO
    body = deflated(first + b"zz" + bytes(7), 1, 6)
    table = packing((1521, 22, 0, []))
    program.do("begin", packing=len(table), packed=len(body)).do("keep", keep=1512)
    program.do("raw", raw=2, stream=1).do("zero", zero=7).do("end")
    second = packing(1) + b"!"
    program.do("begin", packing=len(second), packed=1).do("end")
    bundle = one(body + b"!", program, plain(table + second, 0), plain(b"zz"), objects=[L])
    bundle.reencoders = [22]
    return bundle


# Forms


def form(packing_: bytes, *, object_: int = 0, size: int = 3000, digest: bytes | None = None) -> list[object]:
    """Return a form of the compressed layer."""
    return [object_, size, sha256(PACKED_CONTENT) if digest is None else digest, packing_]


GZ_FORM = packing(10, (3000, 102, 8, []), 8) + GZIP_HEAD + gzipped(b"", PACKED_CONTENT)[10:]


def kept_blob(*forms: list[object]) -> Bundle:
    """Return a bundle that keeps the compressed layer."""
    bundle = one(GZ, Program().do("keep", keep=len(GZ)), objects=[G])
    if forms:
        bundle.more = {6: msgpack(list(forms))}
    return bundle


@good("section.forms", base="base")
def a_form_that_is_not_needed() -> Bundle:
    return kept_blob(form(GZ_FORM))


@good("section.forms", base="raw", optional=True)
def a_form_that_is_needed() -> Bundle:
    return kept_blob(form(GZ_FORM))


@good("M40", base="base")
def a_form_that_cannot_be_followed() -> Bundle:
    """Give what is no packing; the object is there, so it is no reason to refuse."""
    return kept_blob(form(b"\xff"))


@good("M27")
def an_object_that_no_operation_uses() -> Bundle:
    bundle = stored()
    bundle.objects = [(1, 12345, sha256(b"nowhere"))]
    return bundle

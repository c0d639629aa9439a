"""The good vectors of codecs 3 to 6: VCDIFF, cover, relink, unpack."""

from __future__ import annotations

import lzma
import zlib

from bundles import Bundle, Frame, Program, number, numbers, sha256, signed, zframe
from good import (
    BASES,
    CODE,
    CONFIG,
    GZIP_HEAD,
    HELLO,
    archive,
    cover,
    deflated,
    drawn,
    good,
    noise,
    one,
    packing,
    patched,
    text,
)

# Codec 3


def integer(value: int) -> bytes:
    """Return an integer of VCDIFF."""
    out = [value & 127]
    while value := value >> 7:
        out.append(value & 127 | 128)
    return bytes(reversed(out))


def window(
    data: bytes,
    instructions: bytes,
    addresses: bytes,
    size: int,
    *,
    segment: tuple[int, int] | None = None,
    indicator: int | None = None,
    adler: bytes = b"",
    delta: int = 0,
    length: int | None = None,
) -> bytes:
    """Return a window of VCDIFF; ``segment`` is the source segment's size and position."""
    kind = (1 if segment else 0) | (4 if adler else 0) if indicator is None else indicator
    head = bytes((kind,)) + (integer(segment[0]) + integer(segment[1]) if segment else b"")
    body = integer(size) + bytes((delta,)) + integer(len(data)) + integer(len(instructions)) + integer(len(addresses))
    body += adler + data + instructions + addresses
    return head + integer(len(body) if length is None else length) + body


VCDIFF = b"\xd6\xc3\xc4\0"
ADDED = b"added bytes"
# ADD 11; COPY 20 mode 0 (self) at 100; COPY 4 mode 0 + RUN 9; COPY of here - 5, overlapping what it makes
INSTRUCTIONS = bytes((12,)) + bytes((19,)) + integer(20) + bytes((0,)) + integer(9) + bytes((35,)) + integer(12)
MADE = ADDED + CODE[100:120] + b"R" * 9
MADE += (MADE[-5:] * 3)[:12]


def vcdiff(*windows: bytes, indicator: int = 0, head: bytes = b"") -> bytes:
    """Return a stored frame's bytes for codec 3."""
    return zframe(VCDIFF + bytes((indicator,)) + head + b"".join(windows))


def a_window(**given: object) -> bytes:
    """Return a window that makes MADE."""
    values: dict[str, object] = {"segment": (len(CODE), 0), **given}
    return window(ADDED + b"R", INSTRUCTIONS, integer(100) + integer(5), len(MADE), **values)  # type: ignore[arg-type]


@good("codec.3", "M81", *(f"vcdiff.{name}" for name in ("window indicator", "length", "size", "lengths", "sections")))
def vcdiff_source_window() -> Bundle:
    return patched(3, vcdiff(a_window()), CODE, MADE)


@good("codec.3", "M81", "vcdiff.segment", "vcdiff.Adler-32")
def vcdiff_header_checksum_and_target_window() -> Bundle:
    """Have an application header, an integer of nine bytes, Adler-32, a window on the target made before."""
    adler = zlib.adler32(MADE).to_bytes(4, "big")
    first = a_window(adler=adler)
    # a copy that crosses from the segment (the last 10 bytes of MADE) into the window
    crossing = window(
        b"XY", bytes((3, 19)) + b"\x80" * 8 + integer(14), integer(4), 16, segment=(10, len(MADE) - 10), indicator=2
    )
    made = bytearray(MADE[-10:] + b"XY")
    for at in range(4, 18):
        made.append(made[at])
    return patched(3, vcdiff(first, crossing, indicator=4, head=integer(3) + b"app"), CODE, MADE + bytes(made[10:]))


CODES_OF_TABLE = (
    *("0", "1", "2 to 18", "19 + 16 m, m = 0 to 8", "20 + 16 m to 34 + 16 m, m = 0 to 8"),
    *("163 + 12 m + 3 (a - 1) + (c - 4), m = 0 to 5", "235 + 4 (m - 6) + (a - 1), m = 6 to 8", "247 + m, m = 0 to 8"),
)


@good(
    "M81",
    *(f"vcdiff codes.{codes}" for codes in CODES_OF_TABLE),
    *(f"vcdiff address mode.{modes}" for modes in ("0", "1", "2 to 5", "6 to 8")),
)
def vcdiff_every_instruction() -> Bundle:
    """All 256 codes of the default table, in every address mode; sizes of 0 in the stream among them."""
    out, data, instructions, addresses = b"", b"", b"", b""
    near, same, slot = [0] * 4, [0] * 768, 0
    segment = len(CODE)

    def add(size: int) -> None:
        nonlocal out, data
        piece = noise(f"add {len(out)}", size)
        out, data = out + piece, data + piece

    def copy(size: int, mode: int) -> None:
        nonlocal out, addresses, slot
        here = segment + len(out)
        if mode == 0:
            address = (len(out) * 7) % (segment - 40)
            addresses += integer(address)
        elif mode == 1:
            address = here - 50 - size
            addresses += integer(here - address)
        elif mode < 6:
            address = near[mode - 2] + 1
            addresses += integer(1)
        else:
            index = (mode - 6) * 256 + len(out) % 256
            address = same[index]
            addresses += bytes((len(out) % 256,))
        near[slot], slot = address, (slot + 1) % 4
        same[address % 768] = address
        whole = bytearray(CODE + out)
        for at in range(address, address + size):
            whole.append(whole[at])
        out = bytes(whole[segment:])

    add_size = 60
    instructions += bytes((1,)) + integer(add_size)
    add(add_size)
    table = _code_table()
    for code, pair in enumerate(table):
        instructions += bytes((code,))
        for kind, size, mode in pair:
            if kind == "none":
                continue
            real = size
            if size == 0:
                real = code % 5 * 3
                instructions += integer(real)
            if kind == "run":
                data += b"r"
                out += b"r" * real
            elif kind == "add":
                add(real)
            else:
                copy(real, mode)
    whole = vcdiff(window(data, instructions, addresses, len(out), segment=(segment, 0)))
    return patched(3, whole, CODE, out)


def _code_table() -> list[tuple[tuple[str, int, int], ...]]:
    """Return the default code table (RFC 3284, 5.6)."""
    table: list[tuple[tuple[str, int, int], ...]] = [(("run", 0, 0),)]
    table += [(("add", size, 0),) for size in range(18)]
    for mode in range(9):
        table += [(("copy", size, mode),) for size in (0, *range(4, 19))]
    for mode in range(9):
        for size in range(1, 5):
            copies = range(4, 7) if mode < 6 else (4,)
            table += [(("add", size, 0), ("copy", copied, mode)) for copied in copies]
    table += [(("copy", 4, mode), ("add", 1, 0)) for mode in range(9)]
    return table


# Codec 4

EDITED = CODE[:1000] + b"inserted" + CODE[1000:2000] + bytes((byte + 1) % 256 for byte in CODE[2000:2500]) + b"the end"
COVERS = [(0, 1000, 0), (8, 1000, -8), (0, 500, 0)]
DIFFERENCE = bytes(2000) + b"\1" * 500


@good("codec.4", "cover.covers", "packer.stored", "cover stream.gap", "cover stream.length", "cover stream.seek")
def cover_stored() -> Bundle:
    return patched(4, cover(COVERS, DIFFERENCE, b"insertedthe end"), CODE, EDITED)


@good("codec.4")
def cover_of_nothing() -> Bundle:
    return patched(4, cover([], b"", HELLO), CODE, HELLO)


@good("packer.zstd", "packer.LZMA2", "cover stream.difference", "cover stream.literal")
def cover_with_zstd_and_lzma2() -> Bundle:
    streams = {
        0: (1, zframe(numbers(0, 8, 0))),
        1: (2, lzma2(numbers(1000, 1000, 500))),
        3: (2, lzma2(DIFFERENCE)),
        4: (1, zframe(b"insertedthe end")),
    }
    return patched(4, cover(COVERS, DIFFERENCE, b"insertedthe end", packers=streams), CODE, EDITED)


def lzma2(data: bytes) -> bytes:
    """Return LZMA2: chunks of LZMA, or uncompressed ones if these are smaller."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": max(4096, len(data)), "lc": 1, "lp": 2, "pb": 1}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def modelled(bits: int) -> bytes:
    """Return EDITED's difference as packer 3 has it."""
    from array import array

    from dibundle.codecs import model

    rows = array("q", (0, 0, 1000, 1000, 1008, 1000, 2000, 2008, 500))
    return bytes((bits,)) + model.encode(CODE, rows, bytearray(NOISY), bits=bits)


NOISY = bytes(1500) + b"\0\1\0\0\xff\xff\0\0" * 62 + bytes(4) + b"\1" * 500
NOISY_OUT = CODE[:1000] + b"inserted"
NOISY_OUT += bytes((a + b) % 256 for a, b in zip(CODE[1000:2500], NOISY[1000:], strict=True)) + b"the end"


@good("packer.model")
def cover_model() -> Bundle:
    payload = cover(COVERS, NOISY, b"insertedthe end", packers={3: (3, modelled(10))})
    return patched(4, payload, CODE, NOISY_OUT)


def sparse(
    gaps: list[int], lengths: list[int], values: bytes, heads: dict[int, tuple[int, int, int]] | None = None
) -> bytes:
    """Return packer 4 of stored streams."""
    streams = [numbers(*gaps), numbers(*lengths), values]
    head = b""
    for index, stream in enumerate(streams):
        packer, stored_length, decoded = (heads or {}).get(index, (0, len(stream), len(stream)))
        head += bytes((packer,)) + numbers(stored_length, decoded)
    return head + b"".join(streams)


SPARSE = sparse([1501, 3], [2, 400], b"ab" + b"c" * 400)
SPARSE_DIFFERENCE = bytes(1501) + b"ab" + bytes(3) + b"c" * 400 + bytes(2500 - 1906)
SPARSE_OUT = CODE[:1000] + b"inserted"
SPARSE_OUT += bytes((a + b) % 256 for a, b in zip(CODE[1000:2500], SPARSE_DIFFERENCE[1000:], strict=True)) + b"the end"


@good("packer.sparse")
def cover_sparse() -> Bundle:
    payload = cover(COVERS, SPARSE_DIFFERENCE, b"insertedthe end", packers={3: (4, SPARSE)})
    return patched(4, payload, CODE, SPARSE_OUT)


CONTEXT_COVERS = [(700, 1000, 300), (8, 1000, -8), (0, 300, 0)]
CONTEXT_LITERALS = CODE[200:880] + b"!" * 20 + b"inserted" + CODE[2300:2500]
CONTEXT_FRAME = bytes.fromhex("28b52ffd608c02ed0000588221696e736572746564220400c4cd32756f726d236735687656f315")


@good("packer.prefixed")
def cover_with_literals_in_context() -> Bundle:
    """Literals before a cover, between covers and behind the last one; the dictionary is made of all three places."""
    out = CONTEXT_LITERALS[:700] + CODE[1000:2000] + b"inserted" + CODE[2000:3000]
    covers = [(700, 1000, 300), (8, 1000, -8)]
    out += CONTEXT_LITERALS[708:]
    payload = cover(covers, bytes(2000), CONTEXT_LITERALS, packers={4: (5, CONTEXT_FRAME)})
    return patched(4, payload, CODE, out)


# Codec 5


def _region(gap: int, length: int, moved: int, base: int = 0, mode: int = 0) -> bytes:
    return numbers(gap, length, signed(moved), mode) + (
        number(signed(base)) if mode in (3, 7, 8, 9, 10, 13, 14) else b""
    )


def relinked(
    regions: list[tuple[int, ...]],
    sections: list[tuple[int, ...]],
    steps: list[tuple[int, ...]],
    inner: bytes,
    **given: object,
) -> bytes:
    """Return a payload of relink.md: rows as they are written, but for the turning of signed numbers."""
    rows = [
        b"".join(_region(*region) for region in regions),
        b"".join(_region(*section) for section in sections),
        b"".join(number(at) for at, _, _ in steps),
        b"".join(number(signed(shift)) for _, shift, _ in steps),
        bytes(kind for _, _, kind in steps),
    ]
    head = bytes((given.get("version", 1), given.get("machine", 0)))  # type: ignore[arg-type]
    head += number(given.get("least", 8))  # type: ignore[arg-type]
    head += numbers(*given.get("counts", (len(regions), len(sections), len(steps))))  # type: ignore[arg-type]
    for index, row in enumerate(rows):
        packer, stored_length, decoded = given.get("heads", {}).get(index, (0, len(row), len(row)))  # type: ignore[attr-defined]
        head += bytes((packer,)) + numbers(stored_length, decoded)
    return head + b"".join(rows) + inner


def relink_case(*modes: int, kinds: tuple[int, ...] = (3, 1, 2, 3, 0, 1)) -> Bundle:
    """Return a bundle whose frame is a source relinked, by steps all over, as one region or two."""
    from dibundle.codecs import relink

    source, start = CODES[modes], 0x400000
    shifts = (16, 48, -8, 4096, 0, 64)
    at = [start + 500 * n for n in range(6)]
    steps = [
        (here - before, shift - last, kind)
        for here, before, shift, last, kind in zip(at, [0, *at], shifts, [0, *shifts], kinds, strict=False)
    ]
    first = 3000 if len(modes) == 1 else 1000
    regions = [(0, first, start, 0, modes[0]), *((0, 3000 - first, 0, -first, mode) for mode in modes[1:])]
    payload = relinked(regions, [(0, 3000, start + 16)], steps, cover([(0, 3000, 0)], bytes(3000), b""), least=1 << 60)
    out = bytes(relink.decode(payload, source, 3000))
    frame = Frame(payload, 3000, codec=5, spans=[(0, 0, 3000)])
    return one(out, Program().do("raw", raw=3000, stream=1), frame, objects=[(3, 3000, sha256(source))])


def code_like(mode: int, start: int = 0, end: int = 3000) -> bytes:
    """Return 3000 bytes in which much, between two offsets, looks like what a mode rewrites."""
    out = bytearray(noise(f"mode {mode}", 3000))
    for n in range(start, end - 8, 8):
        draw = int.from_bytes(sha256(b"%d %d" % (mode, n))[:6], "little")
        target = draw % 3000
        if mode in (1, 7):
            opcodes = (
                b"\xe8",
                b"\xe9",
                b"\x8d\x05",
                b"\x0f\x84",
                b"\x8d\x3d",
                b"\xb8",
                b"\x68",
                b"\x04\x25",
                b"\xc7\xc0",
            )
            opcode = opcodes[(draw >> 20) % (5 if mode == 1 else 9)]
            value = target if opcode in opcodes[5:] else target - n - len(opcode) - 4
            out[n : n + len(opcode) + 4] = opcode + (value & 0xFFFFFFFF).to_bytes(4, "little")
        elif mode == 2:
            words = (
                0x94000000 | (target - n) // 4 & 0x3FFFFFF,
                0x54000000 | ((target - n) // 4 & 0x7FFFF) << 5,
                0x90000000 | n // 8 % 31,
                0x91000000 | (draw >> 24 & 0xFFF) << 10 | (n // 8 - 1) % 31 << 5 | n // 8 % 31,
                0xF9400000 | (draw >> 24 & 0x1FF) << 10 | (n // 8 - 2) % 31 << 5 | n // 8 % 31,
                0x34000000 | ((target - n) // 4 & 0x7FFFF) << 5,
            )
            out[n : n + 4] = words[n // 8 % 6].to_bytes(4, "little")
        elif mode in (3, 8):
            out[n : n + 8] = target.to_bytes(8, "little")
        elif mode == 6:
            out[n : n + 4] = (target & 0xFFFFFFFF).to_bytes(4, "little")
            out[n + 4 : n + 8] = ((-target) & 0xFFFFFFFF).to_bytes(4, "little")
    if mode == 5:
        at = 0
        while at + 24 <= 2900:
            value = (at * 3) % 2900 - at - 8
            out[at : at + 24] = (
                (20).to_bytes(4, "little")
                + (at % 7 * 4 + 4).to_bytes(4, "little")
                + (value & 0xFFFFFFFF).to_bytes(4, "little")
                + bytes(4)
                + b"\x04"
                + (value & 0xFFFFFFFF).to_bytes(4, "little")
                + bytes(3)
            )
            at += 24
    return bytes(out)


def _with_tables(code: int, tables: int) -> bytes:
    """Return code of one mode that points, by much, into tables of another, which lead back to code."""
    out = bytearray(code_like(code, 0, 1000))
    for n in range(0, 992, 8):
        draw = int.from_bytes(sha256(b"table %d" % n)[:4], "little")
        if draw & 1:
            out[n : n + 7] = b"\x48\x8d\x05" + (1000 + draw % 125 * 4 - n - 7 & 0xFFFFFFFF).to_bytes(4, "little")
    for n in range(1000, 3000, 4):
        draw = int.from_bytes(sha256(b"word %d %d" % (tables, n))[:4], "little")
        out[n : n + 4] = ((draw % 500 + (1500 if draw & 1024 else 0) - n) & 0xFFFFFFFF).to_bytes(4, "little")
    for n in range(2400, 3000, 8):
        out[n : n + 8] = (n * 7 % 3000).to_bytes(8, "little")
    return bytes(out)


CODES = {(mode,): code_like(mode) for mode in (0, 1, 2, 3, 5, 7)} | {
    (1, 6): _with_tables(1, 6),
    (7, 8): _with_tables(7, 8),
}
BASES["code"] = archive(
    {"config.json": CONFIG, **{f"code{'-'.join(map(str, key))}": data for key, data in CODES.items()}},
    [],
    "config.json",
)


@good("relink mode.raw", base="code")
def relink_raw() -> Bundle:
    return relink_case(0)


@good(
    "relink mode.x86-64 code",
    "codec.5",
    "relink.version",
    "relink.5 stream headers",
    "relink.5 streams",
    "relink.cover payload",
    base="code",
)
def relink_x86_64() -> Bundle:
    return relink_case(1)


@good("relink mode.aarch64 code", base="code")
def relink_aarch64() -> Bundle:
    return relink_case(2)


@good("relink mode.pointers", base="code")
def relink_pointers() -> Bundle:
    return relink_case(3)


@good("relink mode.frames", base="code")
def relink_frames() -> Bundle:
    return relink_case(5)


@good("relink mode.tables", base="code")
def relink_tables() -> Bundle:
    return relink_case(1, 6)


@good("relink mode.fixed x86-64 code", base="code")
def relink_fixed_code() -> Bundle:
    return relink_case(7)


@good("relink mode.fixed tables", base="code")
def relink_fixed_tables() -> Bundle:
    return relink_case(7, 8)


@good(
    "relink stream.regions",
    "relink stream.sections",
    "relink stream.at",
    "relink stream.shift",
    "relink stream.kind",
    "relink.regions, sections, fixed steps",
    "relink.least",
)
def relink_by_covers() -> Bundle:
    """Take steps from covers: pieces that overlap, are too short, lie in a hole, agree with the step before."""
    from dibundle.codecs import relink

    covers = [(0, 400, 0), (20, 300, 30), (0, 6, 0), (5, 500, -300), (0, 700, 100), (40, 200, -900)]
    size = sum(gap + length for gap, length, _ in covers) + 10
    literals = noise("relinked", sum(gap for gap, _, _ in covers) + 10)
    inner = cover(covers, bytes(sum(length for _, length, _ in covers)), literals)
    regions = [(10, 1500, 0x1000, 0, 1), (100, 1000, 0x100, -0x1000, 3)]
    sections = [(0, 900, 0x1100), (50, size - 950, 0x40)]
    steps = [(0x1000, 0, 3), (0x300, 0x20, 0), (0x60, -0x20, 1), (0x200, 1, 2)]
    payload = relinked(regions, sections, steps, inner, least=8)
    return patched(5, payload, CODE, bytes(relink.decode(payload, CODE, size)))


# Codec 6

ZIP_HEADER = b"PK\3\4" + bytes(22) + (3).to_bytes(2, "little") + (2).to_bytes(2, "little") + b"a/bxx"
ZIPPED = ZIP_HEADER[:8] + b"\x08\0" + ZIP_HEADER[10:]
STORED_ENTRY = ZIP_HEADER + b"not compressed"


def unpacked(
    source_streams: list[tuple[int, int]],
    packing_: bytes,
    inner: bytes,
    *,
    codec: int = 4,
    whole: int = 0,
    content: int | None = None,
    **given: object,
) -> bytes:
    """Return a payload of unpack.md; ``source_streams``: the number that says where each begins, and its content."""
    gaps = numbers(*(gap for gap, _ in source_streams))
    total = sum(size for _, size in source_streams) if content is None else content
    packer, stored_length, decoded, table_stored, table_decoded = given.get(  # type: ignore[misc]
        "heads", (0, len(gaps), len(gaps), None, len(packing_))
    )
    table = zframe(packing_) if "table" not in given else given["table"]
    assert isinstance(table, bytes)
    head = bytes((codec, whole)) + numbers(total, given.get("streams", len(source_streams)))  # type: ignore[arg-type]
    head += bytes((packer,)) + numbers(stored_length, decoded)
    head += numbers(len(table) if table_stored is None else table_stored, table_decoded)
    return head + gaps + table + inner


OLD_A, OLD_B, OLD_C = text(500), noise("b", 200), text(900)[300:]
NEW_A = OLD_A[:200] + b"changed" + OLD_A[200:]
UNPACK_SOURCE = b"before" + deflated(OLD_A, 6, 6, 8) + b"between" + STORED_ENTRY + ZIPPED + deflated(OLD_B, 1, 6)
UNPACK_SOURCE += ZIPPED + deflated(OLD_C, 7, 9) + b"after"
BASES["zip"] = archive({"config.json": CONFIG, "old.zip": UNPACK_SOURCE}, [], "config.json")
OUTSIDE = b"before" + b"between" + STORED_ENTRY + ZIPPED + ZIPPED + b"after"
PARTS = packing(3, (len(NEW_A), 6 * 16 + 6, 8, []), len(ZIPPED), (len(OLD_C), 7 * 16 + 9, 0, []), 3)


def unpack_case(
    *,
    whole: int = 0,
    packing_: bytes | None = None,
    streams_: list[tuple[int, int]] | None = None,
    inner_: bytes | None = None,
    behind: bytes = b"",
    **given: object,
) -> Bundle:
    """Return a bundle whose frame has two streams, one of them changed, packed again."""
    plain_ = b"new" + ZIPPED + b"end"
    held = OLD_A + OLD_B + OLD_C
    inner_target = plain_ + NEW_A + OLD_C
    inner_source = OUTSIDE + held
    covers = [(len(plain_), 200, len(OUTSIDE) - len(plain_)), (7, 300, -7), (0, len(OLD_C), len(OLD_B))]
    inner = cover(covers, bytes(500 + len(OLD_C)), plain_ + b"changed")
    assert inner_source[len(OUTSIDE) :] == held
    assert len(inner_target) == len(plain_) + 507 + len(OLD_C)
    out = b"new" + deflated(NEW_A, 6, 6, 8) + ZIPPED + deflated(OLD_C, 7, 9) + b"end"
    streams = [(7, len(OLD_A)), (0, len(OLD_B)), (0, len(OLD_C))]
    packing_ = (packing_ or PARTS) + behind
    payload = unpacked(streams_ or streams, packing_, inner if inner_ is None else inner_, whole=whole, **given)  # type: ignore[arg-type]
    bundle = one(
        out,
        Program().do("raw", raw=len(out), stream=1),
        Frame(payload, len(out), codec=6, spans=[(0, 0, len(UNPACK_SOURCE))]),
        objects=[(3, len(UNPACK_SOURCE), sha256(UNPACK_SOURCE))],
    )
    bundle.reencoders = [6 * 16 + 6, 7 * 16 + 9]
    bundle.codecs = [6]
    return bundle


@good(
    "codec.6",
    "unpack.inner codec",
    "unpack.content",
    "unpack.gaps, table",
    "unpack.inner payload",
    "unpack.table",
    "unpack.streams",
    base="zip",
)
def unpack_streams_of_a_zip() -> Bundle:
    return unpack_case()


@good("unpack.whole", base="zip")
def unpack_with_the_streams_as_they_are() -> Bundle:
    return unpack_case(whole=1)


@good("codec.6")
def unpack_without_a_source() -> Bundle:
    out = GZIP_HEAD + deflated(HELLO, 1, 6) + b"trailer!"
    parts = packing(10, (1000, 22, 0, []), 8)
    payload = unpacked([], parts, GZIP_HEAD + b"trailer!" + HELLO, codec=0)
    bundle = drawn(Frame(payload, len(out), codec=6), out)
    bundle.reencoders = [22]
    return bundle

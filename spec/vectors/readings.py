"""Vectors for what could be read in another way: inner codecs, extension headers, contexts that are full."""

from __future__ import annotations

from bundles import Bundle, Frame, Program, block, numbers, record, sha256, signed, zframe
from edges import Z, pair
from faults import MIB, bad
from good import BASES, CODE, archive, config, cover, deflated, good, having, one, packing, plain
from limits import instead, through
from payloads import (
    COVERS,
    OLD_A,
    OLD_B,
    OLD_C,
    OUTSIDE,
    UNPACK_SOURCE,
    VCDIFF,
    ZIPPED,
    integer,
    relinked,
    sparse,
    unpacked,
    window,
)

# An extension header is a record like any other: what it says of the next one's size changes nothing

PAX = record(block("PaxHeaders/a", size=38, typeflag=b"x"), b"20 size=1234567890\n19 path=longer/name\n"[:38])
PAX += record(block("a", size=5), b"12345") + bytes(1024)


def letters(length: int) -> bytes:
    """Return a deflate stream of 20 letters: codes of ``length`` bits for them, of a bit less for the only distance."""
    bits: list[tuple[int, int]] = [(1, 1), (2, 2), (0, 5), (0, 5), (14, 4)]  # one block; 257, 1 and 18 lengths
    lengths = {18: 1, length - 1: 2, length: 2}
    bits += [(lengths.get(symbol, 0), 3) for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)]
    zeros, shorter, longer = (0, 1), (0b01, 2), (0b11, 2)  # the codes of these three, as they are written
    bits += [zeros, (97 - 11, 7), longer, zeros, (138 - 11, 7), zeros, (20 - 11, 7), longer, shorter]
    bits += [*[(0, length)] * 20, (1 << length - 1, length)]  # twenty letters and the end
    value = at = 0
    for number, count in bits:
        value, at = value | number << at, at + count
    return value.to_bytes(-(-at // 8), "little")


INCOMPLETE, NO_DISTANCE = letters(2), letters(1)
BASES["pax"] = archive(
    {"config.json": config(PAX), "layer.tar": PAX, "incomplete.bin": INCOMPLETE, "no-distance.bin": NO_DISTANCE},
    ["layer.tar"],
    "config.json",
)


@good("operation.mode", "operation.patch", base="pax")
def records_of_an_extension_header() -> Bundle:
    """Change the time of both, then both contents: the first says that the second is larger."""
    program = Program().do("mode", count=2).edit("mtime", mtime=1).edit("mtime", mtime=2)
    program.do("seek", seek_object=0, seek_offset=2 * 2048 - 1)
    program.do("patch").edit("size", size=1).put(stream=1).do("patch").edit("size", size=-4).put(stream=1)
    first, second = PAX[:512], PAX[1024:1536]
    times = (b"00000000001\0", b"00000000002\0")
    out = having(first, mtime=times[0]) + PAX[512:1024] + having(second, mtime=times[1]) + PAX[1536:2048]
    changed = b"20 size=9999999999\n20 path=another/name"
    out += record(having(first, size=b"%011o\0" % 39), changed) + record(having(second, size=b"%011o\0" % 1), b"1")
    content = changed + b"1"
    return one(out, program, plain(content), objects=[(1, len(PAX), sha256(PAX))])


# The inner codecs of codec 6: their source is the unpacked one

STREAMS = [(7, len(OLD_A)), (0, len(OLD_B)), (0, len(OLD_C))]
UNPACKED = OUTSIDE + OLD_A + OLD_B + OLD_C
ZIP = (3, len(UNPACK_SOURCE), sha256(UNPACK_SOURCE))


def packs_by(codec: int, inner: bytes, made: bytes) -> Bundle:
    """Return a bundle that packs, behind three plain bytes, what an inner codec made of the unpacked source."""
    out = made[:3] + deflated(made[3:], 6, 6, 8)
    payload = unpacked(STREAMS, packing(3, (len(made) - 3, 102, 8, [])), inner, codec=codec)
    bundle = through(6, payload, UNPACK_SOURCE, out, of=ZIP)
    bundle.reencoders = [102]
    return bundle


@good("unpack.inner codec", base="zip")
def unpack_with_inner_zstd() -> Bundle:
    return packs_by(1, zframe(OLD_A[::-1]), OLD_A[::-1])


@good("unpack.inner codec", base="zip")
def unpack_with_inner_prefix() -> Bundle:
    """Have a zstd frame that takes all from its dictionary, but for the first three bytes."""
    return packs_by(2, INNER_PREFIXED, b"new" + UNPACKED[100:1100])


INNER_PREFIXED = bytes.fromhex("28b52ffd60eb025d0000186e65770100e57faaf210")


@bad("unpack-inner-codec-3", "unpack-without-a-source", "unpack.inner codec", "M112", base="zip")
@instead
def _vcdiff() -> Bundle:
    made = b"new" + UNPACKED[100:1100]
    instructions = bytes((4, 19)) + integer(1000)
    return packs_by(
        3, zframe(VCDIFF + b"\0" + window(b"new", instructions, integer(100), 1003, segment=(len(UNPACKED), 0))), made
    )


@good("unpack.inner codec", base="zip")
def unpack_with_inner_relink() -> Bundle:
    """Every sixth word of letters or digits is the place of a name, which moved by one."""
    from dibundle.codecs import relink

    size = len(UNPACKED)
    inner = relinked([(100, 1001, 0, 0, 10)], [], [(0x20000000, 1, 3)], cover([(0, size, 0)], bytes(size), b""))
    made = bytes(relink.decode(inner, UNPACKED, size))
    assert made != UNPACKED
    return packs_by(5, inner, made)


@good("unpack.whole", base="zip")
def unpack_to_a_stream_of_the_source() -> Bundle:
    """Copy the second stream as it is: it lies behind the first one, and that behind the content of all."""
    first, second = deflated(OLD_A, 6, 6, 8), deflated(OLD_B, 1, 6)
    start = len(UNPACKED) + len(first)
    inner = cover([(0, len(second), start)], bytes(len(second)), b"")
    return through(6, unpacked(STREAMS, packing(len(second)), inner, whole=1), UNPACK_SOURCE, second, of=ZIP)


@bad("unpack-stream-with-an-incomplete-code", "unpack-without-a-source", "unpack.gaps", "M119", base="pax")
@instead
def _incomplete() -> Bundle:
    return twenty_letters(INCOMPLETE)


@good("unpack.gaps", "M119", base="pax")
def unpack_stream_without_a_code_for_distances() -> Bundle:
    return twenty_letters(NO_DISTANCE)


def twenty_letters(source: bytes) -> Bundle:
    """Return a bundle that makes them of a source that is a single stream."""
    payload = unpacked([(1, 20)], packing(20), zframe(b"a" * 20), codec=1)
    return through(6, payload, source, b"a" * 20, of=(3, len(source), sha256(source)))


TABLE = bytes.fromhex(
    "28b52ffd800008000000 5d0000 20 02660800 01 54 010301 0b"
)  # RFC 8878, 3.1.1.3: a literal, a match 8 back


@good("unpack.table", base="zip")
def unpack_table_of_its_dictionary() -> Bundle:
    """Have the two numbers of the second stream of the source in the packing, by way of the dictionary."""
    size = len(OUTSIDE) - len(b"before") - len(ZIPPED) - len(b"after")
    made = OUTSIDE[:size] + OLD_A[: len(OLD_B)]
    out = made[:size] + deflated(made[size:], 6, 6, 8)
    assert packing(size, (len(OLD_B), 102, 8, [])) == b"\2" + numbers(2 * size, 2 * len(OLD_B) + 1) + b"\x66\x08\0"
    payload = unpacked(STREAMS, b"", zframe(made), codec=1, table=TABLE, heads=(0, 3, 3, len(TABLE), 8))
    bundle = through(6, payload, UNPACK_SOURCE, out, of=ZIP)
    bundle.reencoders = [102]
    return bundle


@pair("unpack-cost-at-its-limit", "unpack-without-a-source", "M122", beyond="unpack-cost-beyond-its-limit")
def _cost(over: int) -> Bundle:
    """Have content that counts four times: with its packing that is 64 times 2,366 bytes and 64 KiB."""
    content = bytes((64 * 2366 + 65536 - 1024 - 2 * 128 - 2048) // 4 + over)
    body = deflated(content, 7, 9)
    filler = 2366 - len(body)
    payload = unpacked([], packing((len(content), 121, 0, []), filler), zframe(bytes(filler) + content), codec=1)
    bundle = through(6, payload, b"", body + bytes(filler))
    bundle.reencoders = [121]
    return bundle


@pair("unpack-packings-share-64-mib", "unpack-without-a-source", "M132", beyond="unpack-packings-exceed-64-mib")
def _shared(over: int) -> Bundle:
    """Have 1,025 frames with a packing of 504 parts each, which costs 65,472 beyond 64 times a byte."""
    payload = unpacked([], packing(1, *[0] * 503), b"x", codec=0)
    count = 1025 + over
    return one(b"x" * count, Program().do("raw", raw=count, stream=1), *[Frame(payload, 1, codec=6)] * count)


HELD = (
    2 * MIB + 9668
)  # four times those, 256 and a packing of 1,152, but not 16 and 64 times a byte and once 40,000: 8 MiB
INFLATES = deflated(bytes(HELD), 6, 6, 8).ljust(40000, b"\0")
BASES["inflates"] = archive({"config.json": config(INFLATES), "layer.tar": INFLATES}, ["layer.tar"], "config.json")


@pair(
    "unpack-sources-share-64-mib",
    "unpack-without-a-source",
    "M132",
    beyond="unpack-sources-exceed-64-mib",
    base="inflates",
)
def _inflated(over: int) -> Bundle:
    """Have eight frames of a byte whose sources are relinked; the last one has a byte less of what is no stream."""
    payload = unpacked([(1, HELD)], packing(1), relinked([], [], [], cover([], b"", b"x")), codec=5)
    frames = [Frame(payload, 1, codec=6, spans=[(0, 0, 40000)]) for _ in range(8)]
    frames[7].spans = [(0, 0, 40000 - over)]
    bundle = one(b"x" * 8, Program().do("raw", raw=8, stream=1), *frames)
    bundle.objects = [(1, 40000, sha256(INFLATES))]
    return bundle


@pair(
    "packings-and-frames-share-64-mib",
    "unpack-without-a-source",
    "M132",
    beyond="packings-and-frames-exceed-64-mib",
    base="inflates",
)
def _together(over: int) -> Bundle:
    """Have four of these frames, and a packing of zeros that costs 32 MiB beyond 16 times the target's size."""
    payload = unpacked([(1, HELD)], packing(1), relinked([], [], [], cover([], b"", b"x")), codec=5)
    size = 120000
    content = 32 * MIB + 16 * size + over - 1024 - 128 - 2048
    packed, table = deflated(bytes(content), 1, 1), packing((content, 17, 0, []))
    program = Program().do("raw", raw=4, stream=1).do("begin", packing=len(table), packed=len(packed))
    program.do("zero", zero=content).do("end").do("zero", zero=size - 4 - len(packed))
    frames = [Frame(payload, 1, codec=6, spans=[(0, 0, 40000)]) for _ in range(4)]
    out = b"x" * 4 + packed + bytes(size - 4 - len(packed))
    bundle = one(out, program, *frames, plain(table, 0))
    bundle.objects, bundle.reencoders = [(1, 40000, sha256(INFLATES))], [17]
    return bundle


# The context of literals: what lies behind a cover and before the next, up to a limit


def in_context(covers: list[tuple[int, int, int]], literals: bytes, frame: bytes) -> Bundle:
    """Return a bundle of covers, each as its gap, length and place in the source, without differences."""
    rows, end, made, taken = [], 0, b"", 0
    for gap, length, at in covers:
        rows.append((gap, length, at - end - gap))
        made += literals[taken : taken + gap] + CODE[at : at + length]
        end, taken = at + length, taken + gap
    columns = [numbers(*(row[index] if index < 2 else signed(row[2]) for row in rows)) for index in range(3)]
    differences = bytes(sum(length for _, length, _ in covers))
    packers = {index: (1, zframe(data)) for index, data in enumerate([*columns, differences])}
    payload = cover(rows, differences, literals, packers={**packers, 4: (5, frame)})
    return through(4, payload, CODE, made + literals[taken:])


def context(covers: list[tuple[int, int, int]]) -> bytes:
    """Return the context of literals, as cover.md says."""
    out, behind = bytearray(), 0
    for gap, length, at in covers:
        if gap:
            out += CODE[behind : behind + min(512, 8 * MIB - len(out))]
            out += CODE[max(at - min(512, 8 * MIB - len(out)), 0) : at]
        behind = at + length
    return bytes(out + CODE[behind : behind + min(512, 8 * MIB - len(out))])


PLACES = [(5, 100, 50), (3, 10, 2600), (0, 300, 700), (9, 200, 2000)]


@good("packer.prefixed")
def cover_with_literals_of_every_place() -> Bundle:
    """Have literals of the context's begin, its end and between; one cover has none before it."""
    return in_context(PLACES, LITERALS, PLACES_FRAME)


FIRST = [(1, 1, 100)]  # a hundred bytes before it
FULL = [(1, 1, 1000 + n % 1400) for n in range(1, 8193)]
ENDING = b"l" * 8193


@good("packer.prefixed")
def cover_with_a_context_full_behind_a_cover() -> Bundle:
    """Of what lies behind a cover the first bytes are taken: literals are the last of the context."""
    covers = FIRST + FULL
    return in_context(covers, ENDING + context(covers)[-700:], BEHIND_FRAME)


@good("packer.prefixed")
def cover_with_a_context_full_before_a_cover() -> Bundle:
    """Of what lies before a cover the last bytes are taken."""
    covers = [*FIRST, (1, 1, 2800), *FULL[1:]]
    return in_context(covers, ENDING + context(covers)[-700:], BEFORE_FRAME)


LITERALS = context(PLACES)[:17] + context(PLACES)[1200:1600] + context(PLACES)[-300:]
PLACES_FRAME = bytes.fromhex("28b52ffd60cd018500000827030029d0840a8d9667156a84c02b")
BEHIND_FRAME = bytes.fromhex("28b52ffd60bd219d0000086c030099c082ad54a183aa3aa442fff7e00a")
BEFORE_FRAME = bytes.fromhex("28b52ffd60bd219d0000106c2603005160512921cff668a50afddf832b")


# The model's and the sparse packer's parameters at their limits


def by_model(bits: int) -> Bundle:
    """Return a bundle of one cover, whose differences are all 0, so that ``bits`` makes none."""
    from array import array

    from dibundle.codecs import model

    coded = bytes((bits,)) + model.encode(CODE, array("q", (0, 0, 3000)), bytearray(3000), bits=10)
    return through(4, cover([(0, 3000, 0)], bytes(3000), b"", packers={3: (3, coded)}), CODE, CODE)


@pair(
    "cover-model-of-18-bits",
    "cover-model",
    "packer.model",
    "M102",
    beyond="cover-model-of-19-bits-that-would-do",
    base="zeros",
)
def _bits(over: int) -> Bundle:
    """Have differences of 128 KiB, as 18 bits and 19 may have, nearly all of them zeros that are passed over."""
    from array import array

    from dibundle.codecs import model

    size, bits = 1 << 17, 18 + over
    differences = bytearray(size)
    differences[100:164] = CODE[:64]
    covers, rows = [(0, size, 0)], array("q", (0, 0, size))
    coded = bytes((bits,)) + model.encode(bytes(size), rows, differences, bits=min(bits, 18))
    payload = cover(covers, bytes(differences), b"", packers={3: (3, coded)})
    return through(4, payload, bytes(size), bytes(differences), of=Z)


@good("packer.model", base="zeros")
def cover_model_in_which_less_is_rare() -> Bundle:
    """Have changes as often as one counter alone codes where `rare` is 256, and three do where it is 64."""
    from array import array

    from dibundle.codecs import model

    size = 1 << 17
    differences = bytearray(size)
    differences[100:4000:29] = bytes([3]) * len(range(100, 4000, 29))
    coded = [model.encode(bytes(size), array("q", (0, 0, size)), differences, bits=bits) for bits in (12, 44)]
    assert coded[0] != coded[1]
    payload = cover([(0, size, 0)], bytes(differences), b"", packers={3: (3, b"\x2c" + coded[1])})
    return through(4, payload, bytes(size), bytes(differences), of=Z)


@pair("cover-model-of-10-bits", "cover-model", "packer.model", "M102", beyond="cover-model-of-9-bits-that-would-do")
def _fewest(over: int) -> Bundle:
    return by_model(10 - over)


@pair("cover-sparse-to-the-end", "cover-sparse", "packer.sparse", "M98", beyond="cover-sparse-a-byte-beyond-the-end")
def _sparse(over: int) -> Bundle:
    """Have a run of zeros that ends where the stream does; a byte more of it would be of no use."""
    runs = sparse([2500 - 400], [400 + over], bytes(400 + over))
    payload = cover(COVERS, bytes(2500), b"insertedthe end", packers={3: (4, runs)})
    return through(4, payload, CODE, CODE[:1000] + b"inserted" + CODE[1000:2500] + b"the end")


@pair("cover-sparse-of-most-bytes", "cover-sparse", "packer.sparse", "M98", beyond="cover-sparse-of-more-bytes")
def _wasteful(over: int) -> Bundle:
    """Have three bytes for each one that is not zero: as many as the streams may have, or three more."""
    count = (3 * 2500 // 2 + 3) // 3 + over
    runs = sparse([0] * count, [1] * count, b"\1" * count)
    payload = cover(COVERS, bytes(2500), b"insertedthe end", packers={3: (4, runs)})
    made = bytes((byte + (place < count)) % 256 for place, byte in enumerate(CODE[:2500]))
    return through(4, payload, CODE, made[:1000] + b"inserted" + made[1000:] + b"the end")

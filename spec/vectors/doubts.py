"""Vectors for what the texts left open to those who wrote a decoder from them alone."""

from __future__ import annotations

import lzma

from bundles import Bundle, Frame, Program, Target, block, msgpack, number, numbers, record, sha256, signed, zframe
from edges import pair
from encoding import A, D, E, F, Piece, a, bodies
from faults import EITHER, MIB, bad, column, frame, in_base, more, of_one_block
from good import (
    AT,
    BASES,
    CODE,
    GZ,
    GZIP_HEAD,
    HELLO,
    LAYER,
    PACKED_CONTENT,
    RECORDS,
    SECOND,
    G,
    L,
    archive,
    config,
    cover,
    deflated,
    drawn,
    form,
    good,
    gzipped,
    having,
    noise,
    one,
    packing,
    packs,
    plain,
)
from limits import instead, through
from payloads import relinked, unpacked
from relinking import FAR, START, Source, differences, le, relinking_by, relinks
from targets import OWN, chained, image, one_is_an_image, two, whole, with_segment

# --- encoders ---------------------------------------------------------------------------------------------------------


def both(size: int) -> list[Piece]:
    """Return E and F in turn, so many bytes in all."""
    pieces: list[Piece] = []
    while size:
        data = (E, F)[len(pieces) % 2]
        part = min(size, len(data))
        pieces.append((data, 0, part))
        size -= part
    return pieces


@good("encoder.6", "encoder.7", base="long")
def encoder_blocks_full_at_the_end() -> Bundle:
    """Have a last token with the block's last number: a literal that waits, behind which no empty block is, or not."""
    cases = [((6, 6, 8), 141776), ((6, 6, 8), 141777), ((7, 4, 0), 237746), ((7, 4, 0), 237748)]
    return bodies(*((key, both(size)) for key, size in cases))


@good("encoder.1", base="long")
def encoder_go_window_full_at_the_end() -> Bundle:
    """Have 65,536 bytes, of which the last 200 are in the window's lower half too: it does not move any more."""
    return bodies(
        *(((1, level, 0), [a(65336), a(65536 - far, 65336 - far)]) for level, far in ((9, 32700), (6, 32600)))
    )


def _of(*parts: tuple[bytes, int, int]) -> list[Piece]:
    """Return stretches of objects, each with its start and its length."""
    return [(data, start, start + length) for data, start, length in parts]


@good("encoder.2", "encoder.5", base="long")
def encoder_klauspost_estimates() -> Bundle:
    """Have the last chunk's estimate a bit from the other choice, by the shares of the end of block and of lengths."""
    return bodies(
        ((2, 5, 0), _of((D, 17013, 20000), (E, 18425, 500), (A, 252408, 20000), (E, 50, 3000), (F, 4882, 27808))),
        ((5, 5, 1 << 20), _of((E, 0, 34000), (F, 19568, 3000), (A, 213061, 500), (F, 5836, 20000), (A, 237356, 12339))),
        ((2, 5, 0), _of((E, 0, 34000), (D, 39973, 34000), (D, 33370, 500), (E, 17861, 1851))),
    )


@good("encoder.2", base="long")
def encoder_literal_blocks_a_bit_from_stored() -> Bundle:
    """Have bytes whose code saves just as much as the bound says: distance symbol 0 does not count."""
    cases = ((10, 120, 12), (189, 127, 14))
    return bodies(
        *(((2, 1, 0), [bytes(97 + b % letters for b in noise(f"literals {n}", size))]) for n, size, letters in cases)
    )


def _far(size: int) -> list[Piece]:
    """Return content whose 262nd byte from the end begins what is elsewhere just as far back as a match may be."""
    found, first = b"\0\1found there alone", size - 261 - 32506
    between = 32506 - len(found) - 1
    return [a(first - 1), b"\2" + found, a(between + 300, 300), b"\3" + found, a(361 - len(found), 100)]


@good("encoder.6", "encoder.7", base="long")
def encoder_windows_that_move_at_their_end() -> Bundle:
    """Have fewer than 262 bytes ahead first where the window just moves, a byte before, and a byte behind."""
    return bodies(
        *(((encoder, 6, 8 * (encoder == 6)), _far(size)) for encoder in (6, 7) for size in (65534, 65535, 65536))
    )


def _first_window(size: int, last: bytes, zeros: int, far: bytes) -> list[Piece]:
    """Return content that ends like it did twice before, with zeros behind it, or, farther back, something else."""
    start, near, again = size + 2 - 32768, last + bytes(zeros) + b"\1", noise("again", 258)
    return [
        *(a(start), STALE, a(40000, start + len(STALE)), last + far, a(45000, 40000 + len(last + far)), again),
        *(a(50000, 45258), near, a(size - len(last) - 258, 50000 + len(near)), again, last),
    ]


STALE = b"Q" * 40


@good("encoder.7", base="long")
def encoder_gzip_first_window_that_moves_before_it_is_full() -> Bundle:
    """Have zeros behind the content up to position 65,536: not what is 32,768 bytes before there."""
    return bodies(
        *(
            ((7, level, 0), _first_window(size, last, 2, bytes(2) + STALE))
            for size in (65300, 65400, 65411, 65533)
            for level, last in ((1, b"<the "), (6, b"<the end"), (9, b"<the end"))
        )
    )


@good("encoder.7", base="long")
def encoder_gzip_first_window_of_zeros_and_what_was_there_before() -> Bundle:
    """Have just as many zeros as there are up to that position, then what is 32,768 bytes before, from there on."""
    cases = [(65534, 1, b"<the "), *((size, level, b"<the end") for size in (65400, 65450, 65534) for level in (6, 9))]
    return bodies(
        *(
            ((7, level, 0), _first_window(size, last, zeros, bytes(zeros) + (A[32768:32788] if zeros > 2 else STALE)))
            for size, level, last in cases
            for zeros in (65536 - size,)
        )
    )


@good("packing.edits")
def packs_with_edits_of_padding() -> Bundle:
    """Copy the bits that pad a body and put a byte behind them; drop one of them and put another there."""
    body = deflated(PACKED_CONTENT, 6, 6, 8)
    assert body[-1] < 128
    size = 8 * len(body)
    table = packing((3000, 102, 8, [(size, 0, 8)]), (0, 102, 8, [(15, 1, 1)]), literals=b"\xa5\1")
    return packs(table, PACKED_CONTENT, body + b"\xa5" + b"\3\x80", 102)


# --- the manifest -----------------------------------------------------------------------------------------------------

_SECOND = "second-of-two-targets"


@bad("codec-not-listed-of-another-target", _SECOND, "M23", "frames.codec")
def _codec(bundle: Bundle) -> None:
    """Have it in a row of section 5 of a target that is not made; so in those that follow."""
    bundle.frames[0].codec, bundle.codecs = 1, [0]


bad("range-of-another-target-beyond-its-object", _SECOND, "M29", "frames.source offset")(
    frame(spans=[(0, len(LAYER), 1)])
)
bad("frame-of-another-target-of-0-bytes", _SECOND, "M30", "frames.size")(frame(size=0))
bad("cost-of-another-target", _SECOND, "M62")(frame(size=64 * MIB, implied=MIB))


@bad("operations-of-another-target-too-many", _SECOND, "M63")
def _operations(bundle: Bundle) -> None:
    count = 67700
    program = Program()
    program.columns["ops"][:], program.columns["zero"][:] = b"\x08" * count, b"\1" * count
    bundle.targets[0] = Target(bytes(count), program, 1)


@good("target.program", target=1)
def program_of_another_target_is_not_looked_at() -> Bundle:
    """Have an operation that is none, and a column that ends within a number."""
    bundle = two()
    bundle.columns["ops"][:], bundle.columns["seek_object"][:] = b"\x0c", b"\x80"
    return bundle


bad("names-not-within-an-array", "stored", "M12", "names.lists")(more(s4=msgpack([b"", b""])))

# --- base objects -----------------------------------------------------------------------------------------------------

bad("the-archive-itself-is-no-object", "worked-example", "M26", code=6)(
    instead(
        lambda: one(
            BASES["other"],
            Program().do("keep", keep=len(BASES["other"])),
            objects=[(3, len(BASES["other"]), sha256(BASES["other"]))],
        )
    )
)


def _replaces(objects: list[tuple[int, int, bytes]]) -> Bundle:
    return one(HELLO, Program().do("replace", raw=1000, replace=0, stream=1), plain(HELLO), objects=objects)


@good("operation.replace", "column.replace")
def replace_of_nothing() -> Bundle:
    return _replaces([L])


bad("replace-of-nothing-without-an-object", "stored", "M50", "column.replace")(instead(lambda: _replaces([])))
bad("replace-of-nothing-uses-the-first-object", "stored", "M26", "column.replace", code=6, base="other")(
    instead(lambda: _replaces([L]))
)


@bad(
    "rest-digest-of-a-target-made-of-one-before",
    "target-made-of-a-layer-of-the-one-before",
    "M73",
    "M76",
    code=EITHER,
)
def _rest(bundle: Bundle) -> None:
    """No base has the object: it is the base's fault all the same."""
    bundle.targets[1].rest, bundle.targets[1].tail = bytes(32), 0


@bad("form-of-content-of-a-target-before", "target-at-the-end-of-a-chain", "M26", "section.forms", code=6)
@instead
def _form_of_made() -> Bundle:
    """Have the content of a form in a target before: it is looked for in bases alone."""
    body = deflated(OWN, 6, 6, 8)
    blob = gzipped(body, OWN)
    bundle = chained()
    bundle.targets[1:] = [Target(HELLO, whole(HELLO), 1), Target(blob, Program().do("keep", keep=len(blob)), 0)]
    bundle.frames[1:] = [plain(HELLO)]
    bundle.objects = [(3, len(blob), sha256(blob))]
    packed = packing(10, (len(OWN), 102, 8, []), 8) + blob[:10] + blob[-8:]
    bundle.more = {6: msgpack([[0, len(OWN), sha256(OWN), packed]])}
    return bundle


# --- programs ---------------------------------------------------------------------------------------------------------


@good("operation.mode", "field.size")
def mode_that_writes_the_size_anew() -> Bundle:
    """Change the field, by the number, to the same one."""
    return one(RECORDS["hello"], Program().do("mode", count=1).edit("size", size=0), objects=[L])


@bad("base-record-that-goes-beyond-its-object", "records", "M50")
@instead
def _beyond() -> Bundle:
    """Begin within a block, so that its time is where a size should be: 3,273,595 bytes."""
    program = Program().do("seek", seek_object=0, seek_offset=signed(AT["spaced"] + 12)).do("mode", count=1).edit()
    return one(bytes(512), program, objects=[L])


@bad("register-with-a-block-of-the-base-without-a-style", "records", "M46", "M76")
@instead
def _register() -> Bundle:
    program = Program().do("seek", seek_object=0, seek_offset=signed(AT["odd"])).do("mode", count=1).edit()
    return one(bytes(1024), program.do("header", register=0).edit("mtime", mtime=1), objects=[L])


@good("column.shapes")
def shapes_that_no_edit_has() -> Bundle:
    bundle = one(HELLO, Program().do("raw", raw=1000, stream=1), plain(HELLO))
    bundle.columns["shapes"][:] = numbers(0, 1 << 16 | 1, 2, 2)
    return bundle


bad("shape-with-an-unknown-bit-that-no-edit-has", "stored", "M42", "column.shapes")(column(shapes=number(1 << 32)))


@good("operation.add", "field.size", "column.size")
def register_with_a_block_of_the_base_is_none_of_it() -> Bundle:
    """Take a block into the register unchanged, and another of it: its size is a difference from 0."""
    program = Program().do("mode", count=1).edit()
    program.do("add").edit("size", size=5).put(stream=1)
    head = having(RECORDS["hello"][:512], size=b"00000000005\0")
    return one(RECORDS["hello"] + record(head, b"added"), program, plain(b"added"), objects=[L])


@bad("size-below-0-of-a-block-of-the-base", "records", "M45", "M76")
@instead
def _below() -> Bundle:
    """Take a byte more from the size than it has: the bundle's fault, though the size is the base's."""
    return one(bytes(512), Program().do("patch").edit("size", size=-1001).put(stream=1), objects=[L])


@good("M46")
def number_in_a_field_full_of_digits() -> Bundle:
    """Have nothing behind the digits, in a register as a text made it."""
    texts = b"00000644", b"   000000017"
    program = Program().do("header", register=0).edit("raw:mode", "raw:mtime").text(8).text(12)
    program.do("header", register=0).edit("mode", "mtime", mode=0o755, mtime=8)
    first = having(bytes(512), mode=texts[0], mtime=texts[1])
    return one(
        first + having(first, mode=b"00000755", mtime=b"          10"), program, plain(b"00000644   000000017", 0)
    )


CUT = record(block("cut", size=100), bytes(100))[:612]


@bad("base-record-without-its-padding", "records", "M50", base="doubts")
@instead
def _padding() -> Bundle:
    program = Program().do("mode", count=1).edit()
    return one(bytes(1024), program, objects=[(3, len(CUT), sha256(CUT))])


# --- dictionaries of fewer than 8 bytes -------------------------------------------------------------------------------


def _referring(literals: bytes, before: int, length: int, distance: int) -> bytes:
    """Return a zstd frame with one match of 3 to 34 bytes, up to 12 back, and ``before`` of its literals before it."""
    bits = (distance + 3).bit_length() - 1
    sequence = bytes((1, 0x54, before, bits, length - 3, distance + 3))  # codes that occur alone, the offset's low bits
    data = bytes((len(literals) << 3,)) + literals + sequence
    head = b"\x28\xb5\x2f\xfd\x80\0" + (len(literals) + length).to_bytes(4, "little")  # the window: 1 KiB
    return head + (len(data) << 3 | 5).to_bytes(3, "little") + data


def _after_source(size: int) -> Bundle:
    """Have a source of that size as dictionary, and a frame that begins with its first 7 bytes."""
    return through(2, _referring(b"xyz", 0, 7, size), CODE[:size], CODE[:7] + b"xyz")


def _in_context(size: int) -> Bundle:
    """Have it as the context of literals, which are all there is."""
    out = CODE[:7] + b"xyz"
    return through(4, cover([], b"", out, packers={4: (5, _referring(b"xyz", 0, 7, size))}), CODE[:size], out)


@good("codec.2", "M126")
def zstd_prefix_of_8_bytes() -> Bundle:
    return _after_source(8)


@good("packer.prefixed", "M126")
def cover_with_a_context_of_8_bytes() -> Bundle:
    return _in_context(8)


bad("zstd-prefix-of-7-bytes", "zstd-prefix-of-8-bytes", "codec.2", "M126")(instead(lambda: _after_source(7)))
bad("cover-with-a-context-of-7-bytes", "cover-with-a-context-of-8-bytes", "packer.prefixed", "M126")(
    instead(lambda: _in_context(7))
)


def _gz_again(referring: bool) -> Bundle:
    """Make the compressed layer of itself: what its one stream has in the dictionary, 3 bytes, is in the table too."""
    parts = packing(10, (3000, 102, 8, []), 8)
    table = _referring(parts[:1] + parts[4:], 1, 3, 4) if referring else zframe(parts)
    inner = GZIP_HEAD + gzipped(b"", PACKED_CONTENT)[10:] + PACKED_CONTENT
    bundle = through(6, unpacked([(11, 3000)], parts, inner, codec=0, table=table), GZ, GZ, of=G)
    bundle.reencoders = [102]
    return bundle


@good("unpack.table")
def unpack_with_a_dictionary_of_3_bytes() -> Bundle:
    """Have a table that does not refer to it."""
    return _gz_again(referring=False)


bad("unpack-refers-to-a-dictionary-of-3-bytes", "unpack-with-a-dictionary-of-3-bytes", "unpack.table", "M126")(
    instead(lambda: _gz_again(referring=True))
)

# --- unpack -----------------------------------------------------------------------------------------------------------


@bad("unpack-table-beyond-its-payload", "unpack-to-nothing", "unpack.table", "M91")
def _table(bundle: Bundle) -> None:
    """Have a table that is longer than what is left, which is a whole frame all the same."""
    table = packing((0, 102, 8, []))
    bundle.frames[0].data = unpacked([], table, b"", codec=0, heads=(0, 0, 0, len(zframe(table)) + 1, len(table)))


@good("unpack.inner payload")
def unpack_to_nothing() -> Bundle:
    """Have a body of no content, and no bytes beside it."""
    out = deflated(b"", 6, 6, 8)
    bundle = through(6, unpacked([], packing((0, 102, 8, [])), b"", codec=0), b"", out)
    bundle.reencoders = [102]
    return bundle


bad("number-too-large-for-a-blank-field-of-the-base", "records", "M47", "M76", code=EITHER)(
    lambda bundle: of_one_block(bundle, in_base("blank", "uid", uid=1 << 21))
)

# --- relink -----------------------------------------------------------------------------------------------------------


def _jumps() -> Source:
    """Have bytes 85 and B8, which begin something else behind a byte 0F, behind words whose last byte becomes so."""
    source = Source("jumps")
    words = (0x0E000010, 0x0F000010, 0x0E800010)
    code = bytearray(b"\x90")
    for word in words:
        code += b"\xe8" + le(word) + b"\x85"
        code += le(FAR + 16 - (source.here + len(code) + 4)) + b"\x90"
    source.region(1, bytes(code) + bytes(8))
    source.region(7, b"\x90" + b"".join(b"\xe8" + le(word) + b"\xb8" + le(FAR + 16) for word in words) + bytes(8))
    return source


def _words() -> Source:
    """Have a word for every second address that the covers below tell of."""
    source = Source("words", 0x10000)
    source.region(0, noise("words", 500))
    source.region(4, b"".join(le(at) for at in range(0, 520, 2)), base=0x10000, address=0x20000)
    return source


def _passed() -> Source:
    """Have pointers whose second words are marked, and tables that nothing but a pointer leads to."""
    source = Source("passed")
    at = -(-source.here // 8) * 8
    words = b"".join(le(target - FAR - 4096, 8) for target in (FAR, FAR + 256)) + le(-1) * 2
    source.region(8, words, base=FAR + 4096, address=at)
    source.region(7, b"\x90" + b"".join(b"\x68" + le(at + word) for word in (4, 12, 20)) + bytes(8))
    table = source.here + 100
    source.region(6, le(FAR - table) * 3, address=table)
    source.region(3, le(table, 8) + le(FAR, 8), address=table + 16 + -(table + 16) % 8)
    return source


def _register_31() -> Source:
    """Have pages in register 31, which loads do not take away, but another page does."""
    source = Source("31", -(len(noise("31", 7)) + 3) % 4096 + START // 4096 * 4096)
    page = (FAR >> 12) - (source.here >> 12)
    adrp = 0x9000001F | (page & 3) << 29 | (page >> 2 & 0x7FFFF) << 5
    add = 0x91000000 | 31 << 5
    words = (adrp, add | 64 << 10 | 31, add | 128 << 10 | 1, 0x9000001F, add | 64 << 10 | 2, adrp | 1, add | 64 << 10)
    source.region(2, b"".join(map(le, words)))
    return source


def _twice() -> Source:
    """Have C7 behind C7: as the first byte of an address that is in a hole, and of what has one two bytes on."""
    source = Source("twice")
    source.region(7, b"\x90\xc7\xc7\x00" + le(FAR + 16) + bytes(8))
    return source


def _unmarked() -> Source:
    """Have tables that a B.cond, a CBZ and an LDR of a literal lead to, and nothing else."""
    source = Source("unmarked", -(len(noise("unmarked", 7)) + 3) % 4096 + START // 4096 * 4096)
    table = source.here + 400
    words = (0x54000000, 0x34000001, 0x18000002)
    at = source.here
    source.region(2, b"".join(le(op | (table + 8 * n - at - 4 * n) // 4 << 5) for n, op in enumerate(words)))
    source.region(6, b"".join(le(FAR - table - 8 * n) + le(1 << 30) for n in range(3)), address=table)
    return source


def _hole() -> Source:
    """Have words whose zero is in a hole, the shift of which counts."""
    source = Source("hole", 0x10000)
    source.region(0, noise("hole", 500))
    source.region(4, b"".join(map(le, range(190, 400, 2))), base=0x10000 + 100, address=0x20000)
    return source


JUMPS, WORDS, PASSED, REGISTER_31 = _jumps(), _words(), _passed(), _register_31()
UNMARKED, HOLE, TWICE = _unmarked(), _hole(), _twice()
BASES["doubts"] = archive(
    {
        **{"c": config(), "jumps": bytes(JUMPS.data), "words": bytes(WORDS.data), "cut": CUT},
        **{"passed": bytes(PASSED.data), "31": bytes(REGISTER_31.data)},
        **{"unmarked": bytes(UNMARKED.data), "hole": bytes(HOLE.data), "twice": bytes(TWICE.data)},
    },
    [],
    "c",
)


@good("relink mode.fixed tables", "relink mode.pointers", base="doubts")
def relink_words_that_are_passed_over() -> Bundle:
    """Rewrite a pointer to what it was, and another; what follows each is no table, nor is what a pointer leads to."""
    at, table = PASSED.regions[0][2], PASSED.regions[2][2]
    steps = [(at - 8, 64, 3)]
    for word in (4, 12, 20):
        steps += [(at + word, 96, 2), (at + word + 4, 64, 3)]
    steps += [(table, 16, 2), (table + 12, 64, 3), (FAR, 0, 3), (FAR + 256, 4096, 3), (FAR + 8192, 0, 0)]
    return relinks(PASSED, differences(steps))


@good("relink mode.aarch64 code", base="doubts")
def relink_by_pages_in_register_31() -> Bundle:
    steps = [(REGISTER_31.start - 4096, 0, 3), (FAR // 4096 * 4096, 4096 + 16, 1), (FAR + 65536, 0, 0)]
    return relinks(REGISTER_31, differences(steps))


@good("relink mode.aarch64 code", "relink mode.tables", base="doubts")
def relink_branches_and_literals_that_do_not_mark() -> Bundle:
    table = UNMARKED.regions[1][2]
    steps = [(UNMARKED.start, 0, 3), *((table + 8 * n + by, 16, 2 + by // 4) for n in range(3) for by in (0, 4))]
    return relinks(UNMARKED, differences([*steps, (FAR, 4096, 3), (FAR + 64, 0, 0)]))


@good("relink mode.fixed x86-64 code", base="doubts")
def relink_where_the_first_of_two_addresses_is_in_a_hole() -> Bundle:
    return relinks(TWICE, differences([(START - 8, 0, 3), (FAR, 64, 3), (FAR + 256, 0, 0)]))


@good("relink.least", "relink stream.kind", base="doubts")
def relink_by_a_piece_in_a_hole() -> Bundle:
    """Have a piece there with another shift, which counts for nothing."""
    steps = [(0x10000 + 8, 64, 0), (0x10000 + 290, 4096, 3), (0x10000 + 600, 0, 0)]
    return relinking_by(HOLE, [(HOLE.regions[0][0] + 40, 0, 40)], differences(steps))


@good("M111", "relink.least")
def relink_pieces_that_are_dropped_are_not_counted() -> Bundle:
    """Have 2,100,000 pieces of a byte, where two count."""
    count, length = 15200, 139
    size = count * length
    covers = [(0, length, -length if n else 0) for n in range(count)]
    inner = cover(covers, bytes(size), b"", packers={3: (1, zframe(bytes(size)))})
    regions = [(0, 1, 0, 0, 0)] * length
    return through(5, relinked(regions, [(0, size, 0)], [], inner, least=2), CODE, CODE[:length] * count)


@good("relink mode.x86-64 code", base="doubts")
def relink_behind_a_byte_that_was_rewritten() -> Bundle:
    far = 0x1000000
    steps = [
        (START - 8, 0, 3),
        (FAR, 64, 3),
        (FAR + 256, 0, 0),
        (START + 0x0E000000, far, 3),
        (START + 0x0E700000, 0, 3),
        (START + 0x0EF00000, -far, 3),
    ]
    return relinks(JUMPS, differences(steps))


@good("relink stream.kind", "relink stream.shift", base="doubts")
def relink_by_pieces_of_the_same_shift() -> Bundle:
    """Compare a piece with a fixed step that began since the piece before, also where that one was in a hole."""
    start = WORDS.regions[0][0]
    shift = 0x20000 - 60
    steps = [
        *((0x10000 + at, by, kind) for at, by, kind in ((20, 64, 3), (120, 4096, 3), (260, 64, 0), (320, 4096, 1))),
        *((0x10000 + at, by, kind) for at, by, kind in ((400, shift, 1), (470, 64, 3))),
    ]
    return relinking_by(WORDS, [(start + at, at - 60, 40) for at in (60, 200, 280, 340, 400, 450)], differences(steps))


def of_packings(over: int) -> Bundle:
    """Have a target that is made first exceed 16 times its size by 40 MiB of packings, and another one by 24 MiB."""
    size, made, frames = 300000, [], []
    for start, excess in ((image(OWN), 40 * MIB), (OWN[:100], 24 * MIB + over)):
        content = excess + 16 * size - 1024 - 128 - 2048
        packed, table = deflated(bytes(content), 1, 1), packing((content, 17, 0, []))
        program = Program()
        if made:
            program.do("seek", seek_object=0, seek_offset=0).do("keep", keep=len(start))
            frames.append(plain(table, 0))
        else:
            program.do("raw", raw=len(start), stream=1)
            frames += [plain(start), plain(table, 0)]
        program.do("begin", packing=len(table), packed=len(packed)).do("zero", zero=content).do("end")
        rest = size - len(start) - len(packed)
        out = start + packed + bytes(rest)
        made.append(Target(out, program.do("zero", zero=rest), 1, tail=len(out) - 1))
    made[0] = with_segment(made[0].out, OWN, made[0].program, 2)
    names = [[[["first"], b"", b""]], [[["second"], b"", b""]]]
    return Bundle(
        frames,
        made,
        objects=[(1, len(OWN), sha256(OWN), (0, made[0].out.index(OWN)))],
        reencoders=[17],
        more={2: msgpack([[], names, []])},
    )


@good("M70", base="", target=1, name="second")
def packing_excess_of_two_targets() -> Bundle:
    return of_packings(0)


bad("packing-excess-of-two-targets-too-large", "packing-excess-of-two-targets", "M70", released=100)(
    instead(lambda: of_packings(1))
)


# --- names that are digests -------------------------------------------------------------------------------------------

_ID = f"sha256:{sha256(config(OWN)).hex()}"


def _called(*names: str) -> Bundle:
    """Have the image of the first target called so; the second has the ID."""
    bundle = one_is_an_image()
    images = [[[[*names], sha256(b"1"), b""]], [[["two"], sha256(config(OWN)), sha256(OWN)]]]
    bundle.more = {2: msgpack([[], images, []])}
    return bundle


@good("about.targets", "images.names", target=1, name=_ID)
def target_by_an_id_that_another_image_is_called() -> Bundle:
    return _called(_ID)


for _name, _what in (
    ("a" * 64, "without-its-algorithm"),
    ("SHA256:" + "A" * 64, "in-capitals"),
    ("sha256:" + "a" * 64, ""),
):
    bad(
        f"target-by-a-name-that-is-a-digest-{_what}".rstrip("-"),
        "first-of-two-targets",
        "M123",
        code=2,
        arguments=["--target", _name],
    )(instead(lambda name=_name: _called(name)))


@bad(
    "target-of-another-digest",
    "target-by-the-id-of-its-image",
    "S6",
    code=(5, 6, 7, 8),
    arguments=["--target", f"sha256:{'5' * 64}"],
)
@instead
def _other_digest() -> Bundle:
    """Have a target whose digest, which chooses it, is not that of its bytes; those of its segments are."""
    bundle = one_is_an_image()
    out = bundle.targets[1].out
    bundle.targets[1] = with_segment(out, OWN, whole(out), 1)
    bundle.targets[1].digest = bytes.fromhex("5" * 64)
    return bundle


# --- blocks of zstd ---------------------------------------------------------------------------------------------------


def _block(data: bytes, size: int) -> Bundle:
    """Return a bundle with a zstd frame with a window of 1 KiB and one compressed block, of ``size`` bytes ``z``."""
    head = b"\x28\xb5\x2f\xfd\x80\0" + size.to_bytes(4, "little")
    return drawn(Frame(head + (len(data) << 3 | 5).to_bytes(3, "little") + data, size, codec=1), b"z" * size)


def _of_literals(size: int, *, is_stored: bool) -> bytes:
    """Return a block of literals ``z`` alone."""
    head = (size << 4 | (4 if is_stored else 5)).to_bytes(2, "little")
    return head + b"z" * (size if is_stored else 1) + b"\0"


@pair(
    "zstd-compressed-block-of-its-maximum", "zstd-raw-blocks", "codec.1", "M8", beyond="zstd-compressed-block-too-large"
)
def _compressed_block(over: int) -> Bundle:
    return _block(_of_literals(1021 + over, is_stored=True), 1021 + over)


@pair("zstd-block-of-the-most-content", "zstd-raw-blocks", "codec.1", "M8", beyond="zstd-block-of-too-much-content")
def _content_of_block(over: int) -> Bundle:
    return _block(_of_literals(1024 + over, is_stored=False), 1024 + over)


for _bit in (1, 2):
    bad(f"zstd-sequences-with-reserved-bit-{_bit}", "zstd-prefix-of-8-bytes", "codec.2", "M8")(
        instead(
            lambda bit=_bit: through(
                2, _referring(b"xyz", 0, 7, 8).replace(b"\1\x54", bytes((1, 0x54 | bit))), CODE[:8], CODE[:7] + b"xyz"
            )
        )
    )

# --- LZMA2 ------------------------------------------------------------------------------------------------------------

_FIRST, _NEXT = b"z" * 701, noise("lzma2", 20) * 30  # the first ends between two positions of literals


def _chunk(data: bytes, control: int = 0xE0, *, properties: bool = True, size: int | None = None) -> bytes:
    """Return a chunk of LZMA2 that resets what ``control`` says, and has that many bytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4096, "lc": 0, "lp": 2, "pb": 1}]
    made = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    assert (made[0], made[-1], int.from_bytes(made[3:5]) + 8) == (0xE0, 0, len(made))
    length = (len(data) if size is None else size) - 1
    return bytes((control,)) + length.to_bytes(2) + made[3:5] + made[5 if properties else 6 : -1]


def _uncompressed(data: bytes, control: int) -> bytes:
    return bytes((control,)) + (len(data) - 1).to_bytes(2) + data


def _of_lzma2(*chunks: bytes, out: bytes) -> Bundle:
    """Return a bundle with literals in these chunks, and their end."""
    payload = cover([], b"", out, packers={4: (2, b"".join(chunks) + b"\0")})
    return drawn(Frame(payload, len(out), codec=4), out)


@good("packer.LZMA2", "M101")
def lzma2_with_two_dictionaries() -> Bundle:
    """Count positions from the second reset of the dictionary on."""
    return _of_lzma2(_chunk(_FIRST), _chunk(_NEXT), _uncompressed(b"end", 1), out=_FIRST + _NEXT + b"end")


@good("packer.LZMA2", "M101")
def lzma2_with_properties_that_go_on() -> Bundle:
    """Reset the state alone, and the state and the properties; and no dictionary."""
    first = _FIRST[:700]
    chunks = [_chunk(first), _chunk(_NEXT, 0xA0, properties=False), _uncompressed(b"end!", 2), _chunk(_NEXT, 0xC0)]
    return _of_lzma2(*chunks, out=first + _NEXT + b"end!" + _NEXT)


for _name, _chunks, _out in (
    ("without-properties", (_uncompressed(b"four", 1), _chunk(_NEXT, 0xA0, properties=False)), b"four" + _NEXT),
    ("without-a-dictionary", (_chunk(_NEXT, 0xC0),), _NEXT),
    ("uncompressed-without-a-dictionary", (_uncompressed(b"four", 2),), b"four"),
    ("with-a-match-beyond-its-chunk", (_chunk(b"z" * 300, size=299),), b"z" * 299),
    ("with-an-unknown-control", (_uncompressed(b"four", 3),), b"four"),
):
    bad(f"cover-lzma2-{_name}", "lzma2-with-two-dictionaries", "packer.LZMA2", "M101")(
        instead(lambda chunks=_chunks, out=_out: _of_lzma2(*chunks, out=out))
    )

# --- limits -----------------------------------------------------------------------------------------------------------


@pair("live-until-its-last-repeat", "repeat", "M129", beyond="live-until-its-last-repeat-a-byte-too-much")
def _live_until(over: int) -> Bundle:
    """Use up a frame of 48 MiB, draw a byte of two others, then the rest of them, and repeat the first."""
    sizes = [48 * MIB, 48 * MIB, 48 * MIB + over]
    program = Program().do("raw", raw=sizes[0], stream=1)
    for stream in (2, 3):
        program.do("raw", raw=1, stream=stream)
    for stream in (2, 3):
        program.do("raw", raw=sizes[stream - 1] - 1, stream=stream)
    program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=1)
    frames = [Frame(zframe(bytes(size)), size, stream, codec=1) for stream, size in enumerate(sizes, 1)]
    bundle = one(bytes(sum(sizes) + 1), program, *frames)
    bundle.target.tail = sum(sizes)
    return bundle


def _of_forms(over: int) -> Bundle:
    """Return a bundle of eight objects; the form of each has three bodies and as many empty plain parts as fit."""
    tables, made, program, left = [], [], Program(), 64 * MIB
    empty = deflated(b"", 1, 1)
    for at in range(8):
        content = (PACKED_CONTENT, SECOND)[at // 4]
        made.append(bytes((at,)) + deflated(content, 1, 1) + empty * 2)
        left -= 1024 + 3 * 2048 + len(content) - 16 * len(made[at])
        parts = 65536 if at < 7 else left // 128 + over
        left -= 128 * parts
        table = packing(1, *[(size, 17, 0, []) for size in (len(content), 0, 0)], *[0] * (parts - 4)) + bytes((at,))
        tables.append(form(table, object_=at, size=len(content), digest=sha256(content)))
        if at:
            program.do("seek", seek_object=at, seek_offset=0)
        program.do("keep", keep=len(made[at]))
    bundle = one(b"".join(made), program, objects=[(3, len(data), sha256(data)) for data in made])
    bundle.more = {6: msgpack(tables)}
    return bundle


@good("section.forms", "M40", base="raw", optional=True)
def forms_that_share_their_excess() -> Bundle:
    return _of_forms(0)


bad("forms-that-exceed-what-they-share", "forms-that-share-their-excess", "M40", code=6)(instead(lambda: _of_forms(1)))

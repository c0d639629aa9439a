import random
import zlib
from itertools import pairwise

import pytest

from dibundle.codecs.deflate.encoders import (
    DYNAMIC,
    GNU,
    GO,
    KLAUSPOST,
    PGZIP_0,
    PGZIP_1,
    PGZIP_3,
    STORED,
    ZLIB,
    encode_frame,
)
from dibundle.codecs.deflate.recipe import Recipe, RecipeEdit, rebuild
from dibundle.codecs.deflate.search import CANDIDATES, Candidate, find, probe
from dibundle.errors import ArchiveError, BundleError
from tests.codecs.bodies import MIXTURE, NOISE, NUMBERS, SHORT, SLIDING, TEXT, Bits, encode, inflate, pieces

KEYS = [
    (GO, 6, 0),
    (GO, 1, 0),
    (KLAUSPOST, 6, 0),
    (PGZIP_1, 5, 1 << 17),
    (PGZIP_3, 5, 1 << 17),
    (ZLIB, 6, 8),
    (GNU, 9, 0),
]
FEW = tuple(Candidate(encoder, level, 0 if parameter > 9 else parameter) for encoder, level, parameter in KEYS)


def find_and_rebuild(body, behind=b"behind", candidates=FEW, size=99_999):
    """Find the recipe of a body, check that the recipe rebuilds the body, and return the recipe, or ``None``."""
    content = []
    found = find(pieces(body + behind, size), content.append, candidates)
    whole = b"".join(content)
    assert whole == zlib.decompress(body, -15)
    assert (found.used, found.content) == (len(body), len(whole))
    if found.recipe:
        assert b"".join(rebuild(found.recipe, pieces(whole, 70_001))) == body
    return found.recipe


def bits_of(recipe):
    return sum(edit.added for edit in recipe.edits)


@pytest.mark.parametrize("key", [*KEYS, (PGZIP_0, 5, 100_000), (GO, 2, 0), (ZLIB, 1, 9), (GNU, 4, 0)], ids=str)
def test_bodies_as_encoders_write_them(key):
    recipe = find_and_rebuild(encode(*key, SLIDING), candidates=CANDIDATES)
    assert recipe == Recipe(encoder=key[0], level=key[1], parameter=key[2])


@pytest.mark.parametrize("size", [1, 1000, 1 << 22])
def test_pieces_make_no_difference(size):
    body = encode(GO, 6, 0, SHORT[:200_000])[: 60_000 if size == 1 else None]
    if size == 1:
        body = encode(GO, 6, 0, SHORT[:5_000])
    assert find_and_rebuild(body, size=size) == Recipe(encoder=GO, level=6, parameter=0)


@pytest.mark.parametrize("content", [b"", b"a", SHORT[:100], SHORT[:70_000]], ids=len)
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_small_bodies(key, content):
    recipe = find_and_rebuild(encode(*key, content))
    assert recipe is not None
    assert not recipe.edits


@pytest.mark.parametrize(
    ("frame", "size"), [(1 << 20, 300_000), (1 << 18, 1 << 18), (1 << 18, (1 << 18) + 1), (20_000, 60_000)]
)
def test_block_sizes_are_seen(frame, size):
    recipe = find_and_rebuild(encode(PGZIP_1, 5, frame, MIXTURE[:size]))
    assert recipe.parameter == frame
    assert not recipe.edits


def test_one_large_pgzip_block():
    recipe = find_and_rebuild(encode(PGZIP_1, 5, 1 << 22, MIXTURE[:1_500_000]))
    assert recipe.parameter == 1_500_001
    assert not recipe.edits


def cut(data, at):
    return data[at : at + 65_535]


def replaced(body, number, content):
    """Return the body in which block ``number`` (at most 65,535 bytes) is replaced by a stored block. Other blocks are
    unchanged, bit for bit.
    """
    marks = [*inflate(body)[1], None]
    bits = Bits()
    for at, (block, after) in enumerate(pairwise(marks)):
        if at == number or block.type == STORED:  # stored blocks after the replaced block are aligned to bytes anew
            bits.stored(content[block.content : after.content if after else None], int(block.last))
        else:
            bits.copy(body, block.bit, after.bit if after else 8 * len(body))
    other = bits.done()
    return other[: inflate(other)[2].used]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_block_that_is_stored(key):
    dull = bytes(byte & 63 for byte in NOISE)
    content = b"".join(
        part for at in range(0, 190_000, 65_535) for part in (cut(TEXT, at), cut(dull, at), cut(NUMBERS, at))
    )
    body = encode(*key, content)
    marks = inflate(body)[1]
    sizes = [after.content - before.content for before, after in pairwise(marks)]
    number = next(i for i in range(3, len(sizes)) if 1000 < sizes[i] <= 65_535 and marks[i].type == DYNAMIC)
    other = replaced(body, number, content)
    assert other != body
    recipe = find_and_rebuild(other)
    assert (recipe.encoder, recipe.level) == key[:2]
    # the edit has the block with its header; if the encoder's next block is aligned differently, the edit also has
    # padding
    assert bits_of(recipe) < 8 * sizes[number] + 3000
    assert len(recipe.edits) <= 2 + sum(mark.type == STORED for mark in marks)


def test_a_frame_of_another_version():
    frame, body, before = 70_000, b"", b""
    for number, block in enumerate(pieces(TEXT[:140_000] + NUMBERS + TEXT[:200_000], frame)):
        version = PGZIP_0 if number == 3 else PGZIP_1
        body += encode_frame(version, 5, before, block, last=len(block) < frame)
        before = block[-16384:]
    recipe = find_and_rebuild(body)
    assert (recipe.encoder, recipe.parameter) == (PGZIP_1, frame)
    assert 0 < recipe.literal_bytes < 30_000


def test_padding_that_is_not_zero():
    for key in ((ZLIB, 6, 8), (GNU, 6, 0)):
        body = next(body for size in range(90_000, 90_100) if (body := encode(*key, SHORT[:size]))[-1] < 128)
        recipe = find_and_rebuild(body[:-1] + bytes([body[-1] | 128]))
        if recipe is not None:  # the changed bit is padding, or a part of the last code
            assert bits_of(recipe) <= 8


def test_an_end_that_is_another():
    body = encode(GO, 6, 0, SHORT)
    assert body.endswith(b"\0\0\xff\xff")
    other = inflate(body)[1][-1].bit
    recipe = find_and_rebuild(Bits().copy(body, 0, other).add(3, 10).done())
    assert recipe.encoder == GO
    assert bits_of(recipe) < 64


def test_a_flush_in_the_middle():
    real = zlib.compressobj(6, zlib.DEFLATED, -15)
    content = SHORT + TEXT
    body = (
        real.compress(content[:400_000])
        + real.flush(zlib.Z_SYNC_FLUSH)
        + real.compress(content[400_000:])
        + real.flush()
    )
    recipe = find_and_rebuild(body)
    # after a flush, blocks of the body and of the encoder's output begin at different bytes, and may never align again
    if recipe is not None:
        assert recipe.encoder == ZLIB


def test_bodies_that_none_of_them_wrote():
    for level, bits, strategy in ((6, -12, 0), (6, -15, zlib.Z_RLE), (9, -15, zlib.Z_HUFFMAN_ONLY), (0, -15, 0)):
        real = zlib.compressobj(level, zlib.DEFLATED, bits, 8, strategy)
        assert find_and_rebuild(real.compress(TEXT[:400_000]) + real.flush(), candidates=CANDIDATES) is None


def test_probe():
    assert [c.encoder for c in probe(encode(GO, 6, 0, MIXTURE)[: 1 << 20], FEW)] == [GO]
    assert {c.encoder for c in probe(encode(PGZIP_1, 5, 1 << 18, SHORT), FEW)} <= {PGZIP_1, PGZIP_3}
    real = zlib.compressobj(6, zlib.DEFLATED, -12)
    assert probe(real.compress(SHORT) + real.flush()) == []
    assert probe(b"\xff" * 100) == []
    assert probe(encode(GO, 6, 0, MIXTURE)[:10], FEW) == list(FEW)


def test_empty_blocks_without_end():
    flood = Bits().add(2, 10)
    for _ in range(17):  # double the length 17 times, to 1.3 million bits
        flood = Bits().add(flood.value | flood.value << flood.count, 2 * flood.count)
    body = flood.add(3, 10).done()
    assert find_and_rebuild(body, candidates=CANDIDATES) is None


def test_damage_is_told():
    body = encode(GO, 6, 0, SHORT)
    for bad, message in ((body[:-1], "too early"), (b"", "too early"), (b"\x07" + body, "damaged")):
        with pytest.raises(ArchiveError, match=message):
            find([bad], lambda content: None, FEW)


# ---------------------------------------------------------------- edits

PLAIN = Recipe(encoder=GO, level=6, parameter=0)


def edited(*edits):
    return PLAIN._replace(edits=tuple(RecipeEdit(copied=c, dropped=d, added=n, literals=lit) for c, d, n, lit in edits))


def rebuilt(recipe, content=SHORT[:20_000], size=777):
    return b"".join(rebuild(recipe, pieces(content, size)))


def test_edits_at_random():
    body = encode(GO, 6, 0, SHORT[:20_000])
    chance = random.Random(3)
    for _ in range(60):
        bits, at, edits = Bits(), 0, []
        for number in range(chance.randrange(1, 6)):
            copied = chance.randrange(bool(number), 9_000)
            dropped, count = chance.randrange(1, 200), chance.randrange(200)
            value = chance.getrandbits(200) & ((1 << count) - 1)
            bits.copy(body, at, at + copied).add(value, count)
            at += copied + dropped
            edits.append((copied, dropped, count, value.to_bytes((count + 7) // 8, "little")))
        bits.copy(body, at, 8 * len(body))
        if bits.count % 8:
            with pytest.raises(BundleError, match="whole byte"):
                rebuilt(edited(*edits))
        else:
            assert rebuilt(edited(*edits), size=chance.choice((777, 20_000, 3))) == bits.done()


def test_edits_at_the_ends():
    body = encode(GO, 6, 0, SHORT[:20_000])
    everything = 8 * len(body)
    assert rebuilt(edited((0, 0, 8, b"a"))) == b"a" + body
    assert rebuilt(edited((everything, 0, 8, b"a"))) == body + b"a"
    assert rebuilt(edited((0, everything, 16, b"ab"))) == b"ab"
    assert rebuilt(edited((0, everything, 0, b""))) == b""
    assert rebuilt(edited((0, 8, 0, b""))) == body[1:]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (edited((-1, 0, 8, b"a")), "edit 0 .* out of range"),
        (edited((1, -1, 8, b"a")), "edit 0 .* out of range"),
        (edited((1 << 62, 0, 8, b"a")), "edit 0 .* out of range"),
        (edited((1, 0, -8, b"a")), "edit 0 .* out of range"),
        (edited((1, 0, 9, b"a")), "edit 0 .* stores 9 bits in 1 bytes"),
        (edited((1, 0, 8, b"ab")), "edit 0 .* stores 8 bits in 2 bytes"),
        (edited((1, 0, 7, b"\x80")), "edit 0 .* padding bits that are not zero"),
        (edited((1, 0, 0, b"")), "edit 0 .* changes nothing"),
        (edited((0, 0, 8, b"a"), (0, 0, 8, b"a")), "edit 1 .* without a gap"),
        (PLAIN._replace(encoder=99), "unknown encoder 99"),
        (PLAIN._replace(level=77), "level 77"),
        (PLAIN._replace(parameter=5), "parameter 5"),
    ],
)
def test_recipes_that_make_no_sense(recipe, message):
    with pytest.raises(BundleError, match=message):
        rebuild(recipe, [])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ((1 << 40, 0, 8, b"a"), "beyond its end"),
        ((8, 1 << 40, 8, b"a"), "beyond its end"),
        ((8, 0, 9, b"a\0"), "whole byte"),
        ((8, 1, 0, b""), "whole byte"),
    ],
)
def test_recipes_that_do_not_fit(edit, message):
    with pytest.raises(BundleError, match=message):
        rebuilt(edited(edit))


def test_noise_between():
    content = TEXT[:100_000] + NOISE[:150_000] + TEXT[:100_000]
    for key in KEYS:
        assert find_and_rebuild(encode(*key, content)) == Recipe(encoder=key[0], level=key[1], parameter=key[2])

"""Recompression recipes.

Recipes give exact bytes, invalid recipes are refused, and parallel and serial pgzip give the same bytes.
"""

import gzip
import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import recompression
from dibundle.codecs.deflate import encoders, parallel
from dibundle.codecs.deflate.recipe import Rebuilder, Recipe, RecipeEdit
from dibundle.codecs.recompression import Body, Plain, Recompressor
from dibundle.errors import BundleError
from tests.content import text

ZLIB = Recipe(encoder=encoders.ZLIB, level=6, parameter=8)


def packed(parts, plain, pieces, pool=None):
    packer = Recompressor(parts, plain, pool)
    out = b"".join(b"".join(map(bytes, packer.write(piece))) for piece in pieces)
    return out + b"".join(map(bytes, packer.finish()))


def test_plain_bytes_and_bodies_in_their_order():
    a, b = text(1, 5000), text(2, 300)
    parts = [Plain(3), Body(len(a), ZLIB), Plain(2), Body(0, ZLIB), Body(len(b), ZLIB)]
    whole = packed(parts, b"abcde", [a + b])
    assert whole.startswith(b"abc")
    rest = zlib.decompressobj(-15)
    assert rest.decompress(whole[3:]) == a
    assert rest.unused_data[:2] == b"de"
    content = a + b
    for step in (1, 7, 4096):
        assert packed(parts, b"abcde", [content[k : k + step] for k in range(0, len(content), step)]) == whole


@pytest.mark.parametrize("size", [0, 1, 69_999, 70_000, 70_001, 300_000])
def test_blocks_side_by_side_are_those_one_after_the_other(size):
    content = text(3, size)
    recipe = Recipe(encoder=encoders.PGZIP_1, level=5, parameter=70_000)
    parts = [Body(size, recipe)]
    with ThreadPoolExecutor(2) as pool:
        together = packed(parts, b"", [content[k : k + 10_000] for k in range(0, size, 10_000)], pool)
    alone = packed(parts, b"", [content])
    assert together == alone
    assert zlib.decompressobj(-15).decompress(together) == content


ZEROS, PERIOD, NOISE = bytes(300_000), random.Random(5).randbytes(33_000) * 9, random.Random(6).randbytes(150_000)


@pytest.mark.parametrize("content", [text(7, 700_000), ZEROS, PERIOD, NOISE, text(8, 90_001) + ZEROS + PERIOD + NOISE])
@pytest.mark.parametrize("level", range(4, 10))
def test_pieces_side_by_side_make_the_body_of_one_encoder(content, level):
    """Joined pieces give the same body as a single encoder. In some cases, the searches of neighbouring pieces meet."""
    with ThreadPoolExecutor(2) as pool:
        for size in (len(content), 1 << 17, (1 << 17) - 1, (1 << 17) + 1, 3 * (1 << 16) + 1, 1 << 16, 40_000, 0):
            alone = encoders.Encoder(encoders.GO, level, 0)
            pieces = parallel.PieceEncoder(level, pool, 1 << 16)
            made = b"".join(pieces.write(content[k : min(size, k + 50_000)]) for k in range(0, size, 50_000))
            assert made + pieces.finish() == alone.write(content[:size]) + alone.finish()


def test_edits_apply_to_bodies_of_threads():
    content = text(9, 3 << 20)
    edit = RecipeEdit(copied=8_000, dropped=11, added=3, literals=b"\5")
    parts = [Body(len(content), Recipe(encoder=encoders.GO, level=6, parameter=0, edits=(edit,)))]
    with ThreadPoolExecutor(2) as pool:
        assert packed(parts, b"", [content], pool) == packed(parts, b"", [content])


def test_searches_that_never_meet_are_given_up():
    content, met = bytes(60 << 16), []
    join = encoders.Joiner.join

    def joined(self, piece):
        found = join(self, piece)
        met.append((piece.is_searched, found[1]))
        return found

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders.Joiner, "join", joined)
        pieces = parallel.PieceEncoder(6, pool, 1 << 16)
        assert zlib.decompressobj(-15).decompress(pieces.write(content) + pieces.finish()) == content
    assert met[0] == (True, True)
    assert sum(is_searched for is_searched, _ in met) < 20


@pytest.mark.parametrize(
    ("level", "start", "size", "before", "after"),
    [
        (3, 0, 1 << 17, 0, 0),
        (10, 0, 1 << 17, 0, 0),
        (6, 100, 1 << 17, 100, 0),
        (6, 1 << 16, 1 << 17, 1 << 15, 0),
        (6, 1 << 15, 1 << 17, 1 << 16, 0),
        (6, 0, 1 << 17, 0, 1 << 14),
        (6, 0, (1 << 17) + 1, 0, 1 << 15),
        (6, 1 << 16, 1 << 16, 1 << 16, 0),
        (6, 1 << 16, (1 << 16) + 20_000, 1 << 16, 0),
    ],
)
def test_odd_pieces_are_refused(level, start, size, before, after):
    with pytest.raises(MemoryError):
        encoders.SearchedPiece(level, start, bytes(size), before, after)


def test_pieces_follow_one_another():
    joiner = encoders.Joiner()
    with pytest.raises(ValueError, match="order"):
        joiner.join(encoders.SearchedPiece(6, 1 << 16, bytes(1 << 17), 1 << 16, 0))
    joiner.join(encoders.SearchedPiece(6, 0, b"a", 0, 0))
    with pytest.raises(ValueError, match="order"):
        joiner.join(encoders.SearchedPiece(6, 0, b"a", 0, 0))


@pytest.mark.parametrize(
    ("parts", "plain", "content"),
    [
        ([Plain(3)], b"ab", b""),
        ([Plain(2)], b"ab", b"c"),
        ([Body(4, ZLIB)], b"", b"abc"),
        ([Body(4, ZLIB)], b"", b"abcde"),
        ([Body(4, Recipe(encoder=99, level=6, parameter=8))], b"", b"abcd"),
        ([Body(4, Recipe(encoder=encoders.ZLIB, level=6, parameter=3))], b"", b"abcd"),
    ],
)
def test_what_does_not_fit_is_refused(parts, plain, content):
    with pytest.raises(BundleError):
        packed(parts, plain, [content])


numbers = st.integers(0, 1 << 40)
edits = st.builds(
    lambda copied, dropped, literals: RecipeEdit(
        copied=copied, dropped=dropped, added=8 * len(literals), literals=literals
    ),
    st.integers(1, 1 << 30),
    numbers,
    st.binary(min_size=1, max_size=9),
)
recipes = st.builds(
    lambda level, memory, changes: Recipe(encoder=encoders.ZLIB, level=level, parameter=memory, edits=tuple(changes)),
    st.integers(1, 9),
    st.integers(8, 9),
    st.lists(edits, max_size=3),
)
parts_of = st.lists(st.one_of(st.builds(Plain, numbers), st.builds(Body, numbers, recipes)), max_size=8)


@given(parts_of, st.binary(max_size=20))
@settings(max_examples=200, deadline=None)
def test_packings_come_back(parts, rest):
    assert recompression.read(recompression.write(parts) + rest) == (parts, rest)


@given(st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_random_bytes_are_refused_or_a_packing(data):
    try:
        parts, rest = recompression.read(data)
    except BundleError:
        return
    assert recompression.read(recompression.write(parts) + rest) == (parts, rest)


def test_broken_packings_raise_bundle_error_alone():
    rng = random.Random(4)
    content = text(5, 4000)
    parts = [Plain(10), Body(len(content), Recipe(encoder=encoders.GO, level=6, parameter=0)), Plain(8)]
    data = recompression.write(parts) + bytes(18)
    for _ in range(500):
        broken = bytearray(data)
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            found, plain = recompression.read(bytes(broken))
            if recompression.content_size(found) <= 1 << 20:
                packed(found, plain, [content])
        except BundleError:
            pass


def test_the_cost_counts_slow_levels_more():
    slow = Recipe(encoder=encoders.GNU, level=9, parameter=0)
    parts = [Plain(5), Body(10, ZLIB), Body(10, slow)]
    assert recompression.cost(parts) == 1024 + 3 * 128 + (2048 + 10) + (2048 + 4 * 10)


def test_what_gzip_made_is_made_again():
    content = text(6, 100_000)
    member = gzip.compress(content, 9, mtime=5)
    parts = [Plain(10), Body(len(content), Recipe(encoder=encoders.ZLIB, level=9, parameter=8)), Plain(8)]
    if "zlib-ng" in zlib.ZLIB_RUNTIME_VERSION:
        pytest.skip("this Python's zlib is zlib-ng, whose bytes are others")
    assert packed(parts, member[:10] + member[-8:], [content]) == member
    assert list(Rebuilder(ZLIB).finish()) == [b"\x03\x00"]

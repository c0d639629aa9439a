"""dib's encoders of zstd frames give the bytes of the real encoders, for input pieces of any size. The search finds a
frame's encoder.
"""

import hashlib
import random
from pathlib import Path

import pytest
import zstandard

from dibundle.codecs import reencoders
from dibundle.codecs.deflate.recipe import Recipe, rebuild
from dibundle.codecs.frames import encoders
from dibundle.codecs.frames.candidates import CANDIDATES, FrameCandidate
from dibundle.codecs.frames.encoders import (
    BEST,
    BETTER,
    DEFAULT,
    FAMILIES,
    FASTEST,
    KLAUSPOST_15,
    KLAUSPOST_17,
    KLAUSPOST_20,
    FrameEncoder,
)
from dibundle.codecs.frames.layout import find_blocks, skippable_size
from dibundle.codecs.frames.libzstd import LIBZSTD_157, LIBZSTD_157_HIGH
from dibundle.codecs.frames.search import FrameSearch
from dibundle.errors import ArchiveError, BundleError, FileError
from dibundle.files.readat import MemoryBytes
from tests.codecs.bodies import NOISE, NUMBERS, TEXT, ZEROS
from tests.reference import decoder

MIXTURE = TEXT[:300_000] + NOISE[:100_000] + NUMBERS[:200_000] + ZEROS + TEXT[100_000:300_000]
CONTENTS = {"empty": b"", "Z": ZEROS, "R": NOISE, "T": TEXT, "N": NUMBERS, "M": MIXTURE, "S": TEXT[:60_000]}
SHORT = TEXT[:90_000] + NOISE[:20_000] + NUMBERS[:50_000] + bytes(140_000) + TEXT[40_000:60_000]
TABLE = (Path(__file__).parents[2] / "spec" / "vectors" / "frames.csv").read_text()
ROWS = [line.split(",") for line in TABLE.splitlines()[1:]]
VECTORS = {tuple(map(int, row[:3])): row[3:] for row in ROWS}


def encode(encoder, level, first, content, sizes=()):
    """Return a frame. The encoder first gets pieces of the given ``sizes``, then the remaining content."""
    it, frame, at = FrameEncoder(encoder, level, first, tested=False), b"", 0
    for size in sizes:
        frame += it.write(content[at : at + size])
        at += size
    return frame + it.write(content[at:]) + it.finish()


def found(frame, candidates=CANDIDATES):
    """Return the recipe of a frame.

    Assert that the frame's content is right, and that the recipe rebuilds the frame.
    """
    stored, content = MemoryBytes(frame), bytearray()
    recipe = FrameSearch(candidates).find(stored, find_blocks(stored, 0, 1 << 20), 0, content.extend)
    if recipe is not None:
        assert b"".join(rebuild(recipe, [content], len(content))) == frame
    return recipe


@pytest.mark.parametrize("key", VECTORS, ids=str)
def test_frames_of_the_real_encoders(key):
    digests = [hashlib.sha256(encode(*key, content)).hexdigest()[:12] for content in CONTENTS.values()]
    assert digests == VECTORS[key]


def test_the_table_has_every_encoder():
    assert {key[:2] for key in VECTORS} == {(number, level) for number, one in FAMILIES.items() for level in one.levels}


@pytest.mark.parametrize("key", VECTORS, ids=str)
def test_pieces_make_no_difference(key):
    whole = encode(*key, SHORT)
    chance = random.Random(str(key))
    sizes = (0, 1, 7, 65_535, 65_536, 131_072, *(chance.randrange(1, 9_000) for _ in range(9)))
    assert encode(*key, SHORT, [chance.choice(sizes) for _ in range(40)]) == whole
    assert encode(*key, SHORT[:3000], [1] * 3000) == encode(*key, SHORT[:3000])
    assert zstandard.ZstdDecompressor().decompressobj().decompress(whole) == SHORT


@pytest.mark.parametrize("level", [FASTEST, DEFAULT, BETTER, BEST])
def test_an_encoder_that_is_used_again_gives_what_a_new_one_gives(level):
    encoder = FrameEncoder(KLAUSPOST_17, level, tested=False)
    encoder.finish()
    for content, first in ((SHORT, 0), (b"", 0), (SHORT[:1024], 0), (SHORT, 100), (SHORT[5000:], 0), (NOISE[:9], 0)):
        encoder.restart(first)
        assert encoder.write(content) + encoder.finish() == encode(KLAUSPOST_17, level, first, content)


@pytest.mark.parametrize("level", [FASTEST, DEFAULT, BETTER, BEST])
@pytest.mark.parametrize("encoder", [KLAUSPOST_15, KLAUSPOST_17, KLAUSPOST_20])
def test_the_reference_decoder_makes_the_same(encoder, level):
    for content in (SHORT[85_000:230_000], SHORT[:1500], SHORT[60_000:95_000]):
        assert decoder().encode(content, encoder, level, 0) == encode(encoder, level, 0, content)


def test_history_that_moves():
    """Frames are right even if the encoder moves the data in its history buffer. Level 1 has a window of 4 MiB, and a
    history of 8 MiB.
    """
    content = b"".join(hashlib.sha256(b"%d" % (k % 60_000)).digest() * 3 for k in range(150_000))
    frame = encode(KLAUSPOST_17, FASTEST, 0, content)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(frame) == content
    assert hashlib.sha256(frame).hexdigest()[:12] == "0d5c12c51d89"


def test_marks_are_where_blocks_start():
    for key in VECTORS:
        encoder = FrameEncoder(*key, tested=False)
        frame = encoder.write(SHORT) + encoder.finish()
        assert find_blocks(MemoryBytes(frame), 0, 100).blocks == encoder.marks()


def test_order_of_calls():
    encoder = FrameEncoder(KLAUSPOST_17, DEFAULT)
    with pytest.raises(ValueError, match="wrong order"):
        encoder.restart()
    encoder.finish()
    for call in (encoder.finish, lambda: encoder.write(b"a")):
        with pytest.raises(ValueError, match="wrong order"):
            call()


def test_every_encoder_proves_itself():
    for number, family in FAMILIES.items():
        for level in family.levels:
            reencoders.prove(number, level)


def test_an_encoder_that_does_not_work_is_refused(monkeypatch):
    monkeypatch.setitem(encoders._PROOFS, KLAUSPOST_17, {BEST: "0" * 16})
    encoders.prove.cache_clear()
    with pytest.raises(FileError, match=r"klauspost/compress zstd .* does not work at level 4 on this machine"):
        FrameEncoder(KLAUSPOST_17, BEST)
    encoders.prove.cache_clear()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((35, 1, 0), "unknown encoder 35"),
        ((LIBZSTD_157, 0, 0), "level 0"),
        ((LIBZSTD_157_HIGH, 5, 0), "level 5"),
        ((LIBZSTD_157, 1, 8), "parameter 8 .* is not between 0 and 7"),
        ((KLAUSPOST_17, 0, 0), "level 0"),
        ((KLAUSPOST_17, 5, 0), "level 5"),
        ((KLAUSPOST_20, 1, 65536), "parameter 65536 .* is not between 0 and 65535"),
    ],
)
def test_what_the_table_does_not_have(key, message):
    with pytest.raises(BundleError, match=message):
        reencoders.check(*key)


# ---------------------------------------------------------------- search for the encoder


@pytest.mark.parametrize("key", [key for key in VECTORS if key[2] == 0], ids=str)
def test_every_encoder_is_found(key):
    recipe = found(encode(*key, MIXTURE))
    assert recipe
    assert not recipe.edits
    assert recipe.level == key[1]


@pytest.mark.parametrize("first", [1, 8, 65_535])
def test_a_first_block_that_was_flushed_is_seen(first):
    assert found(encode(KLAUSPOST_17, DEFAULT, first, SHORT)) == Recipe(KLAUSPOST_17, DEFAULT, first)


def test_a_beginning_that_another_level_gives_too():
    """The first blocks have no matches, so several levels give the same bytes. Only later blocks show which level was
    used.
    """
    skewed = NOISE[:150_000].translate(bytes(range(64)) * 4)
    for key in ((KLAUSPOST_17, BETTER, 8), (KLAUSPOST_17, BETTER, 0), (KLAUSPOST_20, BEST, 0)):
        recipe = found(encode(*key, skewed + TEXT[:300_000]))
        assert recipe
        assert (recipe.level, recipe.edits) == (key[1], ())


def test_blocks_that_differ_are_given():
    """If blocks differ from the encoder's output, a recipe stores these blocks as edits.

    In the test, one block of the frame comes from another level, as if an unknown encoder had written this block.
    """
    one, other = (encode(KLAUSPOST_17, level, 0, MIXTURE) for level in (BETTER, BEST))
    places, others = (find_blocks(MemoryBytes(frame), 0, 100).blocks for frame in (one, other))
    frame = one[: places[3]] + other[others[3] : others[4]] + one[places[4] :]
    stored, content = MemoryBytes(frame), bytearray()
    layout = find_blocks(stored, 0, 100)
    try:
        recipe = FrameSearch().find(stored, layout, 0, content.extend)
    except ArchiveError:
        pytest.skip("the blocks do not go together")
    assert recipe
    assert len(recipe.edits) == 1
    assert b"".join(rebuild(recipe, [content])) == frame


def test_the_frames_of_other_programs_are_given_up_early():
    for level in (1, 3, 12, 19):
        for options in ({"write_content_size": False}, {"write_checksum": True}):
            settings = zstandard.ZstdCompressionParameters.from_level(level, hash_log=8, chain_log=8, **options)
            frame = zstandard.ZstdCompressor(compression_params=settings).compress(MIXTURE)
            assert found(frame) is None
    taken = bytearray()
    frame = bytearray(encode(KLAUSPOST_17, BEST, 0, MIXTURE * 4))
    stored = MemoryBytes(bytes(frame))
    wrong = [FrameCandidate(KLAUSPOST_17, DEFAULT)]
    assert FrameSearch(wrong).find(stored, find_blocks(stored, 0, 1 << 20), 0, taken.extend) is None
    assert len(taken) < 3 << 20


def test_damaged_frames_are_errors():
    frame = encode(KLAUSPOST_17, DEFAULT, 0, SHORT)
    chance = random.Random(1)
    for _ in range(200):
        data = bytearray(frame)
        for _ in range(chance.randrange(1, 4)):
            data[chance.choice((chance.randrange(20), chance.randrange(len(data))))] ^= 1 << chance.randrange(8)
        stored = MemoryBytes(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        try:
            layout = find_blocks(stored, 0, 1000)
            FrameSearch().find(stored, layout, 0, len)
        except ArchiveError:
            continue


def test_skippable_frames():
    frame = bytes.fromhex("502a4d1803000000") + b"abc"
    assert skippable_size(MemoryBytes(frame), 0) == 11
    assert skippable_size(MemoryBytes(frame[:-1]), 0) is None
    assert skippable_size(MemoryBytes(frame[:5]), 0) is None
    assert skippable_size(MemoryBytes(encode(KLAUSPOST_17, 1, 0, b"abc")), 0) is None

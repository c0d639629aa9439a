import random
import zlib

import pytest

from dibundle.codecs.deflate.encoders import DYNAMIC, FIXED, STORED, Mark
from dibundle.codecs.deflate.inflate import Inflater
from dibundle.errors import ArchiveError
from tests.codecs.bodies import MIXTURE, SHORT, SLIDING, Bits, encode, inflate

STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


def bodies():
    """Return bodies with every type of block, some with flushes inside."""
    for strategy in STRATEGIES:
        for level, bits in ((0, -15), (1, -9), (6, -15), (9, -12)):
            real = zlib.compressobj(level, zlib.DEFLATED, bits, 8, strategy)
            body = real.compress(SLIDING[:60_000]) + real.flush(zlib.Z_SYNC_FLUSH) + real.flush(zlib.Z_PARTIAL_FLUSH)
            yield body + real.compress(SLIDING[60_000:]) + real.flush(), SLIDING


def test_what_zlib_writes():
    for body, content in bodies():
        assert inflate(body)[0] == content


@pytest.mark.parametrize(("size", "limit"), [(1, 1 << 20), (1 << 20, 1), (7, 300), (333, 259), (1 << 20, 1 << 20)])
def test_pieces_make_no_difference(size, limit):
    # this content has several blocks, and is larger than the window
    content = SHORT[140_000:155_000] + SHORT[195_000:210_000] + bytes(9_000)
    body = encode(1, 6, 0, content)
    decoded, marks, inflater = inflate(body + b"behind", size, limit)
    assert decoded == content
    assert marks == inflate(body)[1]
    assert inflater.ended
    assert inflater.used == len(body)


def test_marks():
    body = Bits().stored(b"").stored(b"abc").copy(b"\x02\x00", 0, 10).stored(b"defg", last=1).done()
    content, marks, _ = inflate(body)
    assert content == b"abcdefg"
    assert marks == [
        Mark(0, 0, STORED, False),
        Mark(40, 0, STORED, False),
        Mark(104, 3, FIXED, False),
        Mark(114, 3, STORED, True),
    ]
    assert {mark.type for mark in inflate(encode(1, 6, 0, MIXTURE))[1]} == {STORED, DYNAMIC}


def verdict(body):
    """Return "damaged", or a body's content and the number of bytes after the body. If the body does not end, the
    number is None.
    """
    try:
        content, _, inflater = inflate(body, 999)
    except ArchiveError:
        return "damaged"
    return (content, len(body) - inflater.used) if inflater.ended else (content, None)


def zlibs_verdict(body):
    real = zlib.decompressobj(-15)
    try:
        content = real.decompress(body)
    except zlib.error:
        return "damaged"
    return content, len(real.unused_data) if real.eof else None


def test_damaged_bodies_are_judged_as_zlib_does():
    chance = random.Random(4)
    whole = [encode(1, 6, 0, SHORT[:9_000]), encode(6, 9, 8, SHORT[195_000:215_000]), encode(4, 5, 0, SHORT[:700]), b""]
    whole.append(zlib.compress(SHORT[:900], 9, -15))
    seen = set()
    for _ in range(4_000):
        body = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(4)):
            if body:
                body[chance.randrange(min(len(body), chance.choice((10, 100, 99_999))))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.3:
            body = body[: chance.randrange(len(body) + 1)]
        if chance.random() < 0.1:
            body = bytearray(chance.randbytes(chance.randrange(60)))
        expected = zlibs_verdict(bytes(body))
        assert verdict(bytes(body)) == expected
        seen.add(expected if isinstance(expected, str) else expected[1] is None)
    assert seen == {"damaged", True, False}


def test_an_end_that_does_not_come():
    inflater = Inflater()
    inflater.feed(encode(1, 6, 0, SHORT)[:-1])
    with pytest.raises(ArchiveError, match="ends too early"):
        inflater.finish()

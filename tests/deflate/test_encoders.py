import hashlib
import random
import re
import subprocess
import zlib

import pytest

from dibundle.deflate import encoders
from dibundle.deflate.encoders import FAMILIES, GNU, GO, KLAUSPOST, PGZIP_0, PGZIP_1, PGZIP_3, ZLIB, Encoder
from dibundle.errors import BundleError, FileError
from dibundle.native.deflate import DEFLATE
from tests import needs
from tests.deflate.bodies import CONTENTS, MIXTURE, NOISE, NUMBERS, SHORT, SLIDING, TEXT, encode, inflate

pytestmark = pytest.mark.skipif(DEFLATE is None, reason="the C library was not built")

# The first 8 digits of the SHA-256 of bodies that the real encoders wrote: empty, Z, R, T, N, M
VECTORS = {
    (GO, 6, 0): "f067985d 8204d14b efdc59fa a861d5bd 027fd3cf 5451fa67",
    (GO, 1, 0): "f067985d 4ebb9639 2de75dc7 b4ebdd60 dbcbea0f 33e8fbb4",
    (KLAUSPOST, 6, 0): "9b4fb24e 612fd7ea 734f764f 95a51af6 27a79e15 8452e7f9",
    (KLAUSPOST, 1, 0): "9b4fb24e 4bc28ab9 734f764f acb823d4 9ec5e5a5 7df7ce41",
    (PGZIP_1, 5, 1 << 20): "5f56d302 425681d3 a2cb436a b8ea5600 acbde718 ed596f6a",
    (PGZIP_1, 5, 1 << 18): "5f56d302 f9663de6 ae3c803d 5714f26f b44200c7 f65db989",
    (PGZIP_3, 5, 1 << 20): "5f56d302 180fabe4 a2cb436a 88301722 7e2b0ac2 5a65396e",
    (PGZIP_3, 5, 1 << 18): "5f56d302 8d983be6 ae3c803d 205fbaef 01abca53 e75d5e43",
    (ZLIB, 6, 8): "9b4fb24e 4dfd593e 6116d6e6 447194e3 9f3d432b a518faaf",
}
ONE_OF_EACH = [
    *VECTORS,
    (GO, 9, 0),
    (GO, 2, 0),
    (KLAUSPOST, 5, 0),
    (PGZIP_0, 5, 70_000),
    (PGZIP_1, 5, 65_535),
    (ZLIB, 1, 9),
    (GNU, 9, 0),
    (GNU, 3, 0),
]


@pytest.mark.parametrize("key", VECTORS, ids=str)
def test_bodies_of_the_real_encoders(key):
    digests = [hashlib.sha256(encode(*key, content)).hexdigest()[:8] for content in CONTENTS.values()]
    assert digests == VECTORS[key].split()


@pytest.mark.parametrize("memory", [8, 9])
@pytest.mark.parametrize("level", range(1, 10))
def test_zlib_as_the_interpreter_has_it(level, memory):
    if not re.fullmatch(r"1\.[23](\.\d+)*", zlib.ZLIB_RUNTIME_VERSION):
        pytest.skip(f"this zlib is {zlib.ZLIB_RUNTIME_VERSION}, not plain zlib 1.2 or 1.3")
    for content in (b"", b"ab", SLIDING, NUMBERS[200_000:], TEXT[:140_000] + TEXT[:70]):
        real = zlib.compressobj(level, zlib.DEFLATED, -15, memory)
        assert encode(ZLIB, level, memory, content) == real.compress(content) + real.flush()


@pytest.mark.parametrize("level", range(1, 10))
def test_gnu_gzip_as_the_machine_has_it(level, tmp_path):
    needs.programs("gzip")
    version = subprocess.run(["gzip", "--version"], capture_output=True, text=True, check=False).stdout
    if not version.startswith("gzip 1."):
        pytest.skip("this gzip is not GNU gzip 1")
    # ends that gzip compares beyond: what lies behind them in its window decides which match is taken
    for number, content in enumerate(
        (b"", b"a", b"abcabcabc", SLIDING, NUMBERS[200_000:], TEXT[:131_000], TEXT[:65_400] + TEXT[:60])
    ):
        path = tmp_path / str(number)
        path.write_bytes(content)
        real = subprocess.run(["gzip", "-nc", f"-{level}", path], capture_output=True, check=True).stdout
        assert encode(GNU, level, 0, content) == real[10:-8]


@pytest.mark.parametrize("key", ONE_OF_EACH, ids=str)
def test_pieces_make_no_difference(key):
    whole = encode(*key, SHORT)
    chance = random.Random(str(key))
    sizes = (0, 1, 7, 511, 65_274, 65_535, 65_536, *(chance.randrange(1, 9_000) for _ in range(9)))
    assert encode(*key, SHORT, [chance.choice(sizes) for _ in range(90)]) == whole
    assert encode(*key, SHORT[:3000], [1] * 3000) == encode(*key, SHORT[:3000])
    assert zlib.decompress(whole, -15) == SHORT


@pytest.mark.parametrize("key", ONE_OF_EACH, ids=str)
def test_marks_are_those_of_the_body(key):
    encoder = Encoder(*key, tested=False)
    body, marks = b"", []
    for at in range(0, len(SHORT), 50_000):
        body += encoder.write(SHORT[at : at + 50_000])
        marks += encoder.marks()
    body += encoder.finish()
    marks += encoder.marks()
    content, real, _ = inflate(body)
    assert content == SHORT
    assert marks == real
    assert marks[0].bit == marks[0].content == 0
    assert [mark.last for mark in marks] == [False] * (len(marks) - 1) + [True]


@pytest.mark.parametrize("size", [0, 1, 70_000, 140_000, len(MIXTURE)])
@pytest.mark.parametrize("encoder", [PGZIP_0, PGZIP_1, PGZIP_3])
def test_frames_one_by_one(encoder, size):
    content, frame, body, before = MIXTURE[:size], 70_000, b"", b""
    for at in range(0, size + 1, frame):
        block = content[at : at + frame]
        body += encoders.encode_frame(encoder, before, block, last=len(block) < frame)
        before = block[-encoders.DICTIONARY :]
    assert body == encode(encoder, 5, frame, content)


def test_block_size_may_come_later():
    for first in (0, 50_000, 70_000):
        encoder = Encoder(PGZIP_1, 5, 0)
        body = encoder.write(SHORT[:first]) + encoder.frame(70_000) + encoder.write(SHORT[first:]) + encoder.finish()
        assert body == encode(PGZIP_1, 5, 70_000, SHORT)
    encoder.__init__(PGZIP_1, 5, 0)
    encoder.write(SHORT[:70_001])
    with pytest.raises(ValueError, match="wrong order"):
        encoder.frame(70_000)


def test_order_of_calls():
    encoder = Encoder(GO, 6, 0)
    encoder.finish()
    for call in (encoder.finish, lambda: encoder.write(b"a")):
        with pytest.raises(ValueError, match="wrong order"):
            call()
    with pytest.raises(ValueError, match="not a pgzip encoder"):
        encoders.encode_frame(GO, b"", b"", last=True)
    with pytest.raises(ValueError, match="more than 16 KiB"):
        encoders.encode_frame(PGZIP_1, bytes(20_000), b"", last=True)


def test_every_encoder_proves_itself():
    for number, family in FAMILIES.items():
        for level in family.levels:
            encoders.prove(number, level)


def test_an_encoder_that_does_not_work_is_refused(monkeypatch):
    monkeypatch.setitem(encoders._PROOFS, GO, {6: "0" * 16})
    encoders.prove.cache_clear()
    with pytest.raises(FileError, match=r"Go compress/flate up to 1\.26, level 6, does not work on this machine"):
        Encoder(GO, 6, 0)
    encoders.prove.cache_clear()


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(encoders, "DEFLATE", None)
    with pytest.raises(FileError, match="need dib's C library") as told:
        Encoder(GO, 6, 0)
    assert told.value.hint


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 6, 0), "unknown encoder 0"),
        ((8, 6, 0), "unknown encoder 8"),
        ((GO, 0, 0), "level 0"),
        ((GO, 10, 0), "level 10"),
        ((KLAUSPOST, 2, 0), "level 2"),
        ((GO, 6, 1), "parameter 1 .* is not between 0 and 0"),
        ((PGZIP_1, 5, 16 << 10), "parameter 16384 .* is not between 16385 and 1073741824"),
        ((PGZIP_1, 5, (1 << 30) + 1), "parameter 1073741825"),
        ((ZLIB, 6, 7), "parameter 7"),
        ((ZLIB, 6, 10), "parameter 10"),
    ],
)
def test_what_the_table_does_not_have(key, message):
    with pytest.raises(BundleError, match=message):
        encoders.check(*key)


def test_noise_is_stored():
    for key in ONE_OF_EACH:
        assert len(encode(*key, NOISE)) < len(NOISE) * 1.001 + 100

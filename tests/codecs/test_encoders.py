import hashlib
import random
import re
import subprocess
import zlib
from pathlib import Path

import pytest

from dibundle.codecs.deflate import encoders
from dibundle.codecs.deflate.encoders import (
    FAMILIES,
    GNU,
    GO,
    KLAUSPOST,
    PGZIP_0,
    PGZIP_1,
    PGZIP_2,
    PGZIP_3,
    PIGZ,
    ZLIB,
    Encoder,
)
from dibundle.errors import BundleError, FileError
from tests import needs
from tests.codecs.bodies import CONTENTS, MIXTURE, NOISE, NUMBERS, SHORT, SLIDING, TEXT, encode, inflate

TABLE = (Path(__file__).parents[2] / "spec" / "vectors" / "bodies.csv").read_text()
ROWS = [line.split(",") for line in TABLE.splitlines()[1:]]
VECTORS = {tuple(map(int, row[:3])): row[3:] for row in ROWS}
ONE_OF_EACH = [
    *VECTORS,
    (PGZIP_0, 5, 70_000),
    (PGZIP_1, 5, 65_535),
    (ZLIB, 1, 9),
    (GNU, 3, 0),
    (PGZIP_1, 3, 70_000),
    (PGZIP_1, 8, 70_000),
    *((PIGZ, level, 4 * 32 + mode) for mode in range(4) for level in (1, 6)),
]


@pytest.mark.parametrize("key", VECTORS, ids=str)
def test_bodies_of_the_real_encoders(key):
    digests = [hashlib.sha256(encode(*key, content)).hexdigest()[:8] for content in CONTENTS.values()]
    assert digests == VECTORS[key]


def test_the_table_has_every_encoder():
    assert {encoder for encoder, _, _ in VECTORS} == set(range(1, 10))
    assert [VECTORS[PGZIP_0, 5, size] == VECTORS[PGZIP_1, 5, size] for size in (1 << 18, 1 << 20)] == [False, False]


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
    # gzip also compares old bytes that follow the input's end in the window; these bytes can decide which match it uses
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
@pytest.mark.parametrize(
    ("encoder", "level"), [(PGZIP_0, 5), (PGZIP_1, 5), (PGZIP_3, 5), (PGZIP_1, 2), (PGZIP_2, 4), (PGZIP_3, 7)]
)
def test_frames_one_by_one(encoder, level, size):
    content, frame, body, before = MIXTURE[:size], 70_000, b"", b""
    for at in range(0, size + 1, frame):
        block = content[at : at + frame]
        body += encoders.encode_frame(encoder, level, before, block, last=len(block) < frame)
        before = block[-encoders.DICTIONARY :]
    assert body == encode(encoder, level, frame, content)


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
        encoders.encode_frame(GO, 5, b"", b"", last=True)
    with pytest.raises(ValueError, match="more than 16 KiB"):
        encoders.encode_frame(PGZIP_1, 5, bytes(20_000), b"", last=True)


def test_every_encoder_proves_itself():
    for number, family in FAMILIES.items():
        for level in family.levels:
            encoders.prove(number, level)


def test_an_encoder_that_does_not_work_is_refused(monkeypatch):
    monkeypatch.setitem(encoders._PROOFS, GO, {6: "0" * 16})
    encoders.prove.cache_clear()
    with pytest.raises(FileError, match=r"Go compress/flate up to 1\.26 does not work at level 6 on this machine"):
        Encoder(GO, 6, 0)
    encoders.prove.cache_clear()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 6, 0), "unknown encoder 0"),
        ((10, 6, 0), "unknown encoder 10"),
        ((ZLIB, 0, 8), "level 0"),
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

"""The unpack codec. dib patches the content of compressed files, and rebuilds these files byte for byte."""

import contextlib
import gzip
import io
import random
import subprocess
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import decoders, embedded
from dibundle.codecs.deflate.encoders import Encoder
from dibundle.codecs.encode import choose, embedded_streams
from dibundle.codecs.encode.choose import Effort
from dibundle.codecs.numbers import number
from dibundle.errors import BundleError
from tests import needs
from tests.content import noise, text

EFFORT = Effort(level=3)
OLD = text(1, 60_000)
NEW = OLD[:30_000] + b"one line more\n" + OLD[30_000:]


def jar(files, level=6, *, streamed=False):
    out = io.BytesIO()
    sink = _Unseekable(out) if streamed else out
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, level)
    return out.getvalue()


class _Unseekable(io.RawIOBase):
    """A stream that cannot seek. For such a stream, zipfile writes sizes after the data."""

    def __init__(self, out):
        self.out = out

    def writable(self):
        return True

    def write(self, data):
        return self.out.write(data)


def check(target, source, options=EFFORT):
    encoded = choose.encode(target, source, options)
    assert decoders.decode(encoded.codec, encoded.payload, bytearray(source), len(target)) == target
    assert decoders.decode(encoded.codec, encoded.payload, source, len(target)) == target
    return encoded


def classes(number_of, changed=()):
    return {
        f"com/example/C{n}.class": (b"new" if n in changed else b"") + noise(n, 200) + text(n, 3000)
        for n in range(number_of)
    }


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("level", [6, 9])
def test_a_jar_of_which_one_class_changed(level, streamed):
    old, new = jar(classes(60), level, streamed=streamed), jar(classes(60, {30}), level, streamed=streamed)
    encoded = check(new, old)
    assert encoded.codec == decoders.UNPACK
    assert len(encoded.payload) < 600


@pytest.mark.parametrize("level", [1, 6, 9])
def test_a_changelog_as_gzip_makes_it(level, tmp_path):
    needs.programs("gzip")
    old, new = (
        subprocess.run(["gzip", f"-{level}n"], input=data, capture_output=True, check=True).stdout
        for data in (OLD, NEW)
    )
    encoded = check(b"before" + new + b"after", b"before" + old + b"after")
    assert encoded.codec == (decoders.UNPACK if level in (6, 9) else encoded.codec)
    if level in (6, 9):
        assert len(encoded.payload) < 200


def test_content_alone_is_compressed_better_than_what_is_compressed():
    target = jar({str(n): text(n, 2000) + text(9, 2000) for n in range(50)})
    encoded = check(target, b"")
    assert encoded.codec == decoders.UNPACK
    assert len(encoded.payload) < 0.7 * len(target)


def test_streams_that_nobody_can_make_stay_as_they_are():
    strange = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY)
    data = text(5, 5000)
    member = gzip.compress(data, mtime=0)[:10] + strange.compress(data) + strange.flush() + gzip.compress(data)[-8:]
    target = member + gzip.compress(NEW, 6, mtime=0)
    source = noise(1, 100) + member + gzip.compress(OLD, 6, mtime=0)
    encoded = check(target, source)
    assert encoded.codec == decoders.UNPACK
    assert len(encoded.payload) < 300  # the payload is small, because the unknown member is copied from the source, too


def test_no_compressed_file_no_unpack_codec():
    assert check(NEW, OLD).codec != decoders.UNPACK
    assert check(NEW + b"\x1f\x8b\x08 and PK\x03\x04 mean nothing here", OLD).codec != decoders.UNPACK
    new, old = (gzip.compress(content, 6, mtime=0) for content in (NEW, OLD))
    assert check(new, old, Effort(recompress=False)).reencoders == set()


def test_a_bomb_is_left_alone():
    bomb = gzip.compress(bytes(400 << 20), 9, mtime=0)
    tracemalloc.start()
    assert embedded_streams.find(bomb, bomb) is None
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


def test_tries_in_vain_take_no_more_than_making_may(monkeypatch):
    tried = []

    class Counting(Encoder):
        def write(self, data):
            tried.append(len(data))
            return super().write(data)

    monkeypatch.setattr(embedded_streams, "Encoder", Counting)
    content = bytes(1 << 20)
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    # only the end of the stream shows that no encoder fits
    odd = stream.compress(content) + stream.flush(zlib.Z_FULL_FLUSH) + stream.flush()
    member = gzip.compress(content, mtime=0)[:10] + odd + gzip.compress(content)[-8:]
    target = member * 20
    assert embedded_streams.find(target, b"") is None
    assert sum(tried) <= 64 * len(target) + (64 << 10) + 2 * len(content)


def payload_of():
    old, new = jar(classes(20)), jar(classes(20, {3, 4}))
    encoded = check(new, old)
    assert encoded.codec == decoders.UNPACK
    return old, new, encoded.payload


def test_broken_payloads_raise_bundle_error_alone():
    old, new, payload = payload_of()
    rng = random.Random(6)
    for _ in range(600):
        broken = bytearray(payload)
        broken[rng.randrange(len(broken) if rng.random() < 0.5 else 40)] = rng.randrange(256)
        with contextlib.suppress(BundleError):
            decoders.decode(decoders.UNPACK, bytes(broken), old, len(new))


@given(st.binary(max_size=80), st.integers(0, 500))
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_bundle_error_alone(payload, size):
    source = gzip.compress(OLD[:2000], mtime=0)
    with contextlib.suppress(BundleError):
        decoders.decode(decoders.UNPACK, payload, source, size)


def test_a_source_with_other_streams_is_refused():
    old, new, payload = payload_of()
    for source in (b"", bytes(len(old)), old[:-200], old[200:]):
        with pytest.raises(BundleError):
            decoders.decode(decoders.UNPACK, payload, source, len(new))


def test_limits_come_before_memory():
    old = gzip.compress(bytes(100 << 20), 9, mtime=0)
    head = bytes([decoders.STORED, 0]) + number(1 << 50)
    tracemalloc.start()
    for total in (1 << 50, 200 << 20, 50 << 20):
        payload = bytes([decoders.STORED, 0]) + number(total) + b"\1\0\1\1\0\0" + number(11)
        with pytest.raises(BundleError):
            decoders.decode(decoders.UNPACK, payload, old, 100)
    with pytest.raises(BundleError):
        decoders.decode(decoders.UNPACK, head, old, 100)
    assert tracemalloc.get_traced_memory()[1] < 120 << 20
    tracemalloc.stop()


def test_a_payload_within_a_payload_is_refused():
    old, new, payload = payload_of()
    with pytest.raises(BundleError, match="codec 6 is not allowed within"):
        decoders.decode(decoders.UNPACK, bytes([decoders.UNPACK]) + payload[1:], old, len(new))


def test_zip_starts_follow_the_local_header():
    data = jar({"a": text(1, 100), "b": text(2, 100)})
    first = embedded.zip_start(data, 0)
    assert first is not None
    content, end, _ = embedded.inflate(data, first, 1000)
    assert content == text(1, 100)
    assert embedded.inflate(data, embedded.zip_start(data, end), 1000)[0] == text(2, 100)
    assert embedded.zip_start(data, len(data) - 50) is None

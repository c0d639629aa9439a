"""The decoder that was written only from the specification must agree with dib."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import pytest
import zstandard

from tests import pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import edited, noise, text
from tests.reference import DECODER, decoder
from tests.roundtrip import bundle_of

KEPT = text(7, 30_000) + noise(8, 3000) + bytes(3000)
USAGE, SYSTEM, MALFORMED, WRONG_BASE, DAMAGED = 2, 3, 5, 6, 7


def decode(*paths: Path) -> tuple[int, bytes]:
    run = subprocess.run([sys.executable, "-I", str(DECODER), *map(str, paths)], capture_output=True, check=False)
    return run.returncode, run.stdout


def gzipped(data: bytes, *, encoder: int, level: int, parameter: int) -> bytes:
    end = struct.pack("<II", zlib.crc32(data), len(data))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + decoder().encode(data, encoder, level, parameter) + end


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> pairs.Pair:
    return pairs.make(tmp_path_factory.mktemp("ordinary"), megabytes=1)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> pairs.Pair:
    return pairs.make_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> pairs.Pair:
    return pairs.make_packed(tmp_path_factory.mktemp("packed"))


@pytest.mark.parametrize("kind", ["ordinary", "programs", "packed"])
@pytest.mark.slow
def test_makes_the_same_bytes(kind: str, request: pytest.FixtureRequest) -> None:
    pair = request.getfixturevalue(kind)
    target = pair.target.read_bytes()
    assert decode(pair.base, pair.bundle) == (0, target)
    assert decode(pair.vcdiff, pair.base) == (0, target)
    assert decode(pair.alone) == (0, target)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_reads_a_base_that_is_compressed_as_a_whole(compress, tmp_path: Path) -> None:
    layers = [build_layer([file("t", data)]) for data in (KEPT, KEPT + b"more")]
    base, target = (docker_save([TestImage([layer], ["n:1"])]) for layer in layers)
    bundle, _ = bundle_of(tmp_path, [base], target)
    (tmp_path / "a.tar.x").write_bytes(compress(base))
    (tmp_path / "a.dib").write_bytes(bundle)
    assert decode(tmp_path / "a.tar.x", tmp_path / "a.dib") == (0, target)


@pytest.mark.parametrize(
    ("encoder", "level", "parameter"),
    [
        *[(1, 1, 0), (1, 6, 0), (2, 1, 0), (2, 6, 0), (4, 5, 1 << 18), (5, 5, 1 << 20), (6, 6, 8), (7, 9, 0)],
    ],
)
@pytest.mark.slow
def test_both_encode_layers_alike(encoder: int, level: int, parameter: int, tmp_path: Path) -> None:
    compressed = partial(gzipped, encoder=encoder, level=level, parameter=parameter)
    old, new = (TestImage([build_layer([file("t", data)])], ["n:1"]) for data in (KEPT, edited(KEPT, 9)))
    base, target = docker_save([old], layer_compression=compressed), docker_save([new], layer_compression=compressed)
    bundle, _ = bundle_of(tmp_path, [base], target)
    (tmp_path / "a.tar").write_bytes(docker_save([old]))
    (tmp_path / "a.dib").write_bytes(bundle)
    assert len(bundle) < len(compressed(KEPT)) // 2
    assert decode(tmp_path / "a.tar", tmp_path / "a.dib") == (0, target)


def test_makes_compressed_layers_that_stay_of_their_content(tmp_path: Path) -> None:
    image = TestImage([build_layer([file("t", text(7, 40_000))])], ["n:1"])
    stored = docker_save([image], "classic", partial(gzipped, encoder=1, level=6, parameter=0))
    bundle, _ = bundle_of(tmp_path, [stored], stored)
    (tmp_path / "a.tar").write_bytes(docker_save([image], "classic"))
    (tmp_path / "a.dib").write_bytes(bundle)
    assert decoder().read_bundle(bundle).forms
    assert decode(tmp_path / "a.tar", tmp_path / "a.dib") == (0, stored)


@pytest.mark.parametrize(
    ("where", "code"),
    [(0, MALFORMED), (8, MALFORMED), (12, MALFORMED), (40, DAMAGED), (64, MALFORMED), (90, DAMAGED), (-1, DAMAGED)],
)
def test_refuses_a_changed_byte(where: int, code: int, ordinary: pairs.Pair, tmp_path: Path) -> None:
    data = bytearray(ordinary.bundle.read_bytes())
    data[where] ^= 1
    (tmp_path / "bad.dib").write_bytes(data)
    found, out = decode(ordinary.base, tmp_path / "bad.dib")
    assert found == code
    assert ordinary.target.read_bytes().startswith(out)
    assert not out or len(out) % 512


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:70]])
def test_refuses_a_bundle_of_another_length(change, ordinary: pairs.Pair, tmp_path: Path) -> None:
    (tmp_path / "bad.dib").write_bytes(change(ordinary.bundle.read_bytes()))
    assert decode(ordinary.base, tmp_path / "bad.dib") == (MALFORMED, b"")


def test_tells_a_wrong_base(ordinary: pairs.Pair, programs: pairs.Pair, tmp_path: Path) -> None:
    assert decode(programs.base, ordinary.bundle) == (WRONG_BASE, b"")
    assert decode(ordinary.bundle) == (WRONG_BASE, b"")
    (tmp_path / "cut.tar").write_bytes(ordinary.base.read_bytes()[:-20_000])
    assert decode(tmp_path / "cut.tar", ordinary.bundle) == (WRONG_BASE, b"")
    (tmp_path / "none.tar").write_bytes(b"no archive" * 1000)
    assert decode(tmp_path / "none.tar", ordinary.bundle) == (WRONG_BASE, b"")


def test_takes_objects_from_several_bases(ordinary: pairs.Pair, programs: pairs.Pair) -> None:
    assert decode(programs.base, ordinary.base, ordinary.bundle) == (0, ordinary.target.read_bytes())


def test_tells_usage_and_missing_files(ordinary: pairs.Pair, tmp_path: Path) -> None:
    assert decode() == (USAGE, b"")
    assert decode(ordinary.bundle, ordinary.vcdiff) == (USAGE, b"")
    assert decode(tmp_path / "none", ordinary.bundle) == (SYSTEM, b"")

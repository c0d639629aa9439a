"""The parts of a tar that dib keeps in a temporary file when the tar comes from a pipe."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile

import pytest

from dibundle.files.readat import Spool
from dibundle.images.tar.entries import scan
from dibundle.images.tar.sieve import sieve
from tests.content import noise

LAYER, OTHER = noise(1, 3_000_000), noise(2, 20_000_000)
PACKED = gzip.compress(noise(3, 400_000))


def tar(fmt: int, *files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sieved(data: bytes, sizes: set[int], piece: int) -> tuple[bytes, int]:
    """Return the content of the temporary file, and its size on the disk in bytes."""
    pipe = io.BytesIO(data)
    with contextlib.closing(Spool(None)) as spool:
        sieve(lambda most: pipe.read(min(most, piece)), spool, sizes)
        return spool.read_at(0, spool.size), os.fstat(spool.fileno()).st_blocks * 512


@pytest.mark.parametrize("fmt", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("piece", [1000, 65536, 1 << 20])
def test_what_nobody_reads_is_left_out(fmt: int, piece: int):
    long = "blobs/" + "x" * 300
    data = tar(fmt, ("a", LAYER), (long, OTHER), ("packed", PACKED), ("manifest.json", b"[]"), ("b", OTHER))
    kept, taken = sieved(data, {len(LAYER)}, piece)
    assert len(kept) == len(data)
    assert taken < len(LAYER) + len(PACKED) + 4_000_000
    entries = scan_of(data)
    assert scan_of(kept) == entries
    for entry in entries:
        same = kept[entry.content : entry.content + entry.size] == data[entry.content : entry.content + entry.size]
        assert same == (entry.size != len(OTHER))


@pytest.mark.parametrize("data", [b"", b"no tar" * 40_000, tar(tarfile.PAX_FORMAT, ("a", OTHER))[:9_000_000]])
def test_what_is_no_tar_comes_through(data: bytes):
    kept, _ = sieved(data, {len(OTHER)}, 10_000)
    assert kept == data


def scan_of(data: bytes):
    with contextlib.closing(Spool(None)) as spool:
        spool.write(data)
        return scan(spool).entries

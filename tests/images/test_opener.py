"""Opening files, compressed files, pipes, and data that is not an archive."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from pathlib import Path

import pytest
import zstandard

from dibundle.errors import ArchiveError, BundleError, FileError
from dibundle.images.archive import from_fd, open_archive
from tests.builders import build_layer, file

TAR = build_layer([file("a", b"content"), file("b")])
OPEN_FILES = Path("/proc/self/fd")
PACKED = {
    None: TAR,
    "gzip": gzip.compress(TAR, mtime=0),
    "bzip2": bz2.compress(TAR),
    "xz": lzma.compress(TAR),
    "zstd": zstandard.ZstdCompressor().compress(TAR),
}


def put(tmp_path, data: bytes):
    path = tmp_path / "given"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", PACKED, ids=str)
def test_opens_any_compression(tmp_path, kind):
    path = put(tmp_path, PACKED[kind])
    with open_archive(path, spool_dir=str(tmp_path)) as archive:
        assert archive.name == str(path)
        assert archive.compression == kind
        assert [entry.path for entry in archive.index.entries] == [b"a", b"b"]
        assert archive.bytes.read_at(0, archive.bytes.size) == TAR
        assert archive.identity == (path.stat().st_dev, path.stat().st_ino)
    assert list(tmp_path.iterdir()) == [path]
    archive.close()


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="the system has no /proc/self/fd")
def test_closing_closes_every_file(tmp_path):
    before = len(list(OPEN_FILES.iterdir()))
    open_archive(put(tmp_path, PACKED["gzip"]), spool_dir=str(tmp_path)).close()
    with pytest.raises(ArchiveError):
        open_archive(put(tmp_path, PACKED["gzip"][:-9]), spool_dir=str(tmp_path))
    assert len(list(OPEN_FILES.iterdir())) == before


@pytest.mark.parametrize("kind", PACKED, ids=str)
def test_reads_a_pipe(tmp_path, kind):
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as out:
            out.write(PACKED[kind])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with from_fd(reading, "standard input", spool_dir=str(tmp_path)) as archive:
            assert archive.bytes.read_at(0, archive.bytes.size) == TAR
    finally:
        writer.join()
        os.close(reading)  # the caller still owns the file


def test_a_seekable_input_is_read_from_its_position(tmp_path):
    with put(tmp_path, b"x" * 100 + TAR).open("rb", buffering=0) as given:
        given.seek(100)
        with from_fd(given.fileno(), "standard input") as archive:
            assert archive.bytes.read_at(0, archive.bytes.size) == TAR


def test_a_tar_without_entries_opens(tmp_path):
    with open_archive(put(tmp_path, bytes(10240))) as archive:
        assert archive.index.entries == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89DIB\r\n\x1a\n" + bytes(56), "is a dib bundle, not an image archive"),
        (b"\n <!DOCTYPE html><html>", "is a web page"),
        (b"\xef\xbb\xbf<HTML>", "is a web page"),
        (b"PK\x03\x04" + bytes(600), "is a zip file"),
        (b"hsqs" + bytes(600), "is a squashfs"),
        (b'{"schemaVersion": 2}', "is JSON"),
        (b"just text", "is not a tar archive"),
        (bytes(100), "is not a tar archive"),
        (b"\x9c\x01\xe7" + b"\xff" * 5000, "is not a tar archive"),
        (gzip.compress(b"just text", mtime=0), "is not a tar archive"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(TAR, mtime=0)[:-12], "gzip data ends too early"),
        (gzip.compress(TAR, mtime=0) + b"x", "unexpected bytes after the end of the gzip data"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, data, message):
    path = put(tmp_path, data)
    with pytest.raises(ArchiveError, match=message) as caught:
        open_archive(path, spool_dir=str(tmp_path))
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(str(path))
    assert caught.value.hint or "unexpected bytes" in message


def test_a_bundle_damaged_by_a_text_transfer_is_a_bad_bundle(tmp_path):
    with pytest.raises(BundleError, match="damaged by a text-mode transfer"):
        open_archive(put(tmp_path, b"\x89DIB\n\x1a\n" + bytes(56)))


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="is a directory") as caught:
        open_archive(tmp_path)
    assert "OCI layout" in caught.value.hint


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="absent: No such file or directory") as caught:
        open_archive(tmp_path / "absent")
    assert caught.value.exit_code == 3


def test_an_unreadable_file_is_a_file_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dibundle.images.archive.os.open", refuse)
    with pytest.raises(FileError, match="Permission denied"):
        open_archive(put(tmp_path, TAR))


def test_a_name_with_a_nul_is_a_file_error():
    with pytest.raises(FileError):
        open_archive("a\0b")

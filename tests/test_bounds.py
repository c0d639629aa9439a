"""High costs that a few bytes of input could cause. Memory and time stay within spec/dib.md, 10.1, for any bundle and
any image.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import sqlite3
import time
import zlib
from array import array

import pytest

from dibundle.applying import rebuilding
from dibundle.applying.options import RebuildOptions
from dibundle.codecs.encode import embedded_streams
from dibundle.creating.manifest import about_within
from dibundle.creating.match import names
from dibundle.errors import ArchiveError, BundleError, DibError
from dibundle.files import compression
from dibundle.files.context import Context
from dibundle.format import uses
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.format.steps import Columns
from dibundle.format.tables import FrameTable, RangeTable, Segment, SegmentTable
from dibundle.format.values import AboutImage, Target
from dibundle.format.wire import Column
from dibundle.images import packages
from dibundle.images.archive import open_archive
from tests.builders import TestImage, build_layer, docker_save, file
from tests.fuzz import bounds
from tests.roundtrip import bundle_of

EACH = 2  # number of bundles of each class; runs that are started by hand generate many more (tests/fuzz/LOG.md)
QUICK = 8.0  # maximum seconds of CPU; before the fixes, each case took minutes or did not end


@pytest.mark.parametrize("name", bounds.CLASSES)
@pytest.mark.slow
def test_a_bundle_takes_what_is_promised_at_most(name):
    for number in range(EACH):
        case = bounds.case_of(name, random.Random(f"{name} {number}"))
        taken = bounds.take(case)
        assert taken.is_kept, (number, len(case.bundle), taken)


# --- what create


def columns(ops: bytes = b"") -> Columns:
    return Columns(ops=Column(ops, "ops"))


def many_frames(count: int, size: int) -> FrameTable:
    return FrameTable(
        streams=bytes(count),
        codecs=bytes(count),
        kinds=bytes(count),
        stored=array("q", [size]) * count,
        sizes=array("q", [size]) * count,
        source_sizes=array("q", [size]) * count,
        firsts=array("q", bytes(8 * (count + 1))),
        ranges=RangeTable(array("q"), array("q"), array("q")),
        digests=bytes(32 * count),
    )


def target(size: int, *, frames: int, segments: int, ops: bytes) -> Target:
    lengths = array("q", [1]) * (segments - 1) + array("q", [size - segments + 1])
    return Target(
        size=size,
        digest=bytes(32),
        rest_digest=bytes(32),
        tail=size - 1,
        frames=frames,
        segments=SegmentTable(lengths, b"\1" * segments, bytes(32 * segments)),
        columns=columns(ops),
    )


def test_a_release_of_1024_targets_and_300000_files_is_within_the_limits():
    files = 300_000 // 1024
    one = target(files * 4096, frames=8, segments=2 * 130, ops=bytes(2 * files + 800))
    Manifest(codecs=(0,), objects=(), frames=many_frames(8 * 1024, 100_000), targets=(one,) * 1024).check_limits()


def test_an_image_of_50_gb_and_five_million_files_is_within_the_limits():
    """All files change. For each file, the bundle has a seek, a patch, and nine bytes in other columns."""
    size, files = 50_000_000_000, 5_000_000
    frames = size // (4 << 20)
    whole = target(size, frames=frames, segments=1000, ops=bytes(2 * files))
    whole.columns.shape.data = whole.columns.stream.data = whole.columns.seek_object.data = bytes(files)
    whole.columns.seek_offset.data = whole.columns.size.data = b"\x80\x01" * files
    manifest = Manifest(codecs=(0,), objects=(), frames=many_frames(frames, 4 << 20), targets=(whole,))
    manifest.check_limits()
    encoded = manifest.encode()
    assert len(encoded) < 64 << 20
    Manifest.decode(encoded, (0,))


def test_names_of_images_are_left_out_where_they_are_too_many():
    image = AboutImage(names=("n" * 4096,) * 64, id=bytes(32), diff_ids=(bytes(32),) * 127)
    bases, targets = about_within([image] * 3000, [[image]] * 1024)
    images = [*bases, *(item for found in targets for item in found)]
    assert len(targets) == 1024
    assert sum(len(name.encode()) for item in images for name in item.names) <= 4 << 20
    assert sum(len(item.diff_ids) for item in images) <= 1 << 18
    assert all(found[0].id == bytes(32) for found in targets)


def test_a_table_is_a_sequence_of_its_rows():
    table = SegmentTable(array("q", (1, 2, 3)), b"\0\1\1", bytes(32) + b"\1" * 32)
    rows = [Segment(1, None), Segment(2, bytes(32)), Segment(3, b"\1" * 32)]
    assert list(table) == rows
    assert table == rows
    assert table[-1] == rows[-1]
    assert list(table[1:]) == rows[1:]


def test_a_column_has_just_as_many_numbers_as_are_asked_for():
    assert list(Column(b"\1\x80\1\2").all(3)) == [1, 128, 2]
    for data in (b"\1\2", b"\1\2\3\4", b"\1\2\x80", b"\1\2\x80\0"):
        with pytest.raises(BundleError):
            Column(data).all(3)


# --- hostile images


@contextlib.contextmanager
def within(seconds: float = QUICK):
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


def image(items: list) -> bytes:
    return docker_save([TestImage(layers=[build_layer(items)])])


def test_one_path_many_times_takes_no_longer_than_many_paths(tmp_path):
    old = image([file("same", b"%d" % number) for number in range(10_000)])
    new = image([file("same", b"%d " % number) for number in range(10_000)])
    with within(20):
        bundle_of(tmp_path, [old], new)


def test_one_content_many_times_takes_no_longer_than_many_contents(tmp_path):
    old = image([file(f"old/{number}", b"the same") for number in range(8_000)])
    new = image([file(f"new/{number}", b"the same") for number in range(8_000)])
    with within(20):
        bundle_of(tmp_path, [old], new)


def test_a_path_of_a_megabyte_of_dots_is_cleaned_at_once():
    with within(1):
        assert names.clean(b"./" * 500_000 + b"a") == b"a"
        assert names.clean(b"/./a/") == b"a"


def test_streams_that_begin_within_each_other_are_not_all_inflated():
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = body.compress(bytes(40 << 20)) + body.flush()
    with within(20):
        found = list(embedded_streams.members((b"\x1f\x8b\x08" + bytes(7)) * 2000 + bomb))
    assert len(found) <= 1


def rpm(tmp_path, *statements: str) -> bytes:
    path = tmp_path / "rpmdb.sqlite"
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return path.read_bytes()


HEADER = bytes.fromhex("00000003") + (14).to_bytes(4, "big")
HEADER += b"".join(
    number.to_bytes(4, "big") + (6).to_bytes(4, "big") + at.to_bytes(4, "big") + (1).to_bytes(4, "big")
    for number, at in ((1000, 0), (1001, 5), (1002, 9))
)
HEADER += b"bash\0005.2\0001\0".ljust(14, b"\0")


def read(content: bytes) -> dict:
    return dict(packages.inventory([b"var/lib/rpm/rpmdb.sqlite"], lambda path: content))


def test_an_rpm_database_is_read(tmp_path):
    found = read(
        rpm(
            tmp_path,
            "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)",
            f"INSERT INTO Packages VALUES (1, x'{HEADER.hex()}')",
        )
    )
    assert found == {("rpm", "bash"): {"5.2-1"}}


@pytest.mark.parametrize(
    "statements",
    [
        (
            "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB AS (zeroblob(1000000000)) VIRTUAL)",
            "INSERT INTO Packages VALUES (1), (2), (3)",
        ),
        ("CREATE VIEW Packages AS SELECT 1 AS hnum, zeroblob(1000000000) AS blob",),
        (
            "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM n)"
            " SELECT blob FROM n",
        ),
        ("CREATE VIRTUAL TABLE Packages USING fts5(blob)",),
        (
            "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)",
            "INSERT INTO Packages VALUES (1, zeroblob(40000000))",
        ),
    ],
)
def test_an_rpm_database_that_is_a_program_is_not_run(tmp_path, statements):
    try:
        content = rpm(tmp_path, *statements)
    except sqlite3.Error as error:
        pytest.skip(str(error))
    with within(4):
        assert read(content) == {}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (b"var/lib/dpkg/status", b"Package: " + b" " * 2_000_000 + b"x"),
        (b"var/lib/dpkg/status", b"\n" * 30_000_000),
        (b"lib/apk/db/installed", b"P:" + b" \t" * 2_000_000 + b"x\nV:1"),
        (b"a/node_modules/b/package.json", b"[" + b"[]," * 10_000_000 + b"[]]"),
        (b"a/node_modules/b/package.json", b"[" * 3_000_000),
        (b"a.dist-info/METADATA", b"Name: a\n b\n" * 3_000_000),
        (b"var/lib/dpkg/status", b"P:\n" * 10_000_000),
        (b"var/lib/dpkg/status", b"P:\n\n" * 10_000_000),
        (b"a.dist-info/METADATA", b"a:b\n" * 1_000_000),
        (b"a.dist-info/METADATA", b":\n" * 1_000_000),
    ],
    ids=[
        *("dpkg-spaces", "dpkg-nothing", "apk-spaces", "npm-lists", "npm-deep", "pip-lines"),
        *("dpkg-fields", "dpkg-packages", "pip-fields", "pip-defects"),
    ],
)
def test_lists_of_packages_are_read_in_one_pass(path, content):
    with within(4):
        packages.inventory([path], lambda path: content)


def test_a_header_of_rpm_whose_entries_are_all_the_same_long_text(tmp_path):
    entry = (1000).to_bytes(4, "big") + (6).to_bytes(4, "big") + bytes(4) + (1).to_bytes(4, "big")
    header = (4096).to_bytes(4, "big") + (5000).to_bytes(4, "big") + entry * 4096 + b"\xff" * 5000
    table = "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)"
    content = rpm(tmp_path, table, *[f"INSERT INTO Packages (blob) VALUES (x'{header.hex()}')"] * 300)
    with within(4):
        assert read(content) == {}


def test_names_of_packages_have_a_limit():
    content = b"".join(b"Package: %04000d\nVersion: 1\n\n" % number for number in range(5000))
    found = packages.inventory([b"var/lib/dpkg/status"], lambda path: content)
    assert 2000 < len(found) < 2200


def test_versions_of_packages_have_a_limit():
    """One name may have any number of versions. Before the fix, two million versions took 400 MiB."""
    content = b"".join(b"Package: a\nVersion: %d\n\n" % number for number in range(packages.MOST + 5000))
    found = packages.inventory([b"var/lib/dpkg/status", b"var/lib/dpkg/status.d/a"], lambda path: content)
    assert sum(map(len, found.values())) == packages.MOST


# --- findings of an attacker


@pytest.mark.parametrize("byte", [b"\x80", b"\xff"])
def test_a_number_without_an_end_takes_no_time(byte):
    begun = time.process_time()
    with pytest.raises(BundleError):
        uses._numbers(Column(byte * (1 << 20), "seek_object"))
    assert time.process_time() - begun < QUICK


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        ("zstd", b"\x28\xb5\x2f\xfd\x20\x18\xc1\x00\x00" + bytes(range(24))),
        ("gzip", gzip.compress(bytes(range(24)), mtime=0)),
    ],
)
def test_many_tiny_streams_take_time_by_their_number(kind, stream):
    begun = time.process_time()
    made = sum(map(len, compression.decompress_iter(kind, [stream * 40_000])))
    assert made == 24 * 40_000
    assert time.process_time() - begun < QUICK


@pytest.mark.parametrize("kind", ["zstd", "gzip", "blocks"])
@pytest.mark.slow
def test_more_tiny_pieces_than_any_program_makes_are_refused(kind):
    pieces = {"zstd": b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x", "gzip": gzip.compress(b"x", mtime=0)}
    many = (pieces.get(kind) or b"") * 200_000
    if kind == "blocks":  # a single frame that consists of raw blocks of one byte each
        many = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x08\x00\x00x" * 1_000_000 + b"\x09\x00\x00x"
    begun = time.process_time()
    with pytest.raises(ArchiveError, match="tiny pieces"):
        for _ in compression.decompress_iter("gzip" if kind == "gzip" else "zstd", [many]):
            pass
    assert time.process_time() - begun < QUICK


def test_a_base_that_changes_while_it_is_read_ends_the_work(tmp_path, monkeypatch):
    """After planning, a size in the base changes, so that the bundle's program requires a frame that does not exist."""
    old = build_layer([file("a", b"x" * 10), file("p", bytes(600 << 10)), file("z", b"y" * 10)])
    new = build_layer([file("a", b"1" * 10), file("p", bytes(600 << 10)), file("z", b"2" * 10)])
    bases = [docker_save([TestImage([old])])]
    bundle, _ = bundle_of(tmp_path, bases, docker_save([TestImage([new])]))
    path = tmp_path / "base0.tar"
    content = path.read_bytes()
    plan = rebuilding.make_plan

    def planned(*arguments, **named):
        made = plan(*arguments, **named)
        made.steps = None  # without kept steps, dib goes through the program twice, as for longer programs
        with path.open("r+b") as base:
            at = content.index(b"a\0")
            header = bytearray(content[at : at + 512])
            header[124:136] = b"00000000700\0"
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            base.seek(at)
            base.write(header)
        return made

    monkeypatch.setattr(rebuilding, "make_plan", planned)
    reader = BundleReader(io.BytesIO(bundle))
    with open_archive(path) as base, Context() as context, pytest.raises(DibError):
        rebuilding.rebuild_target([base], reader, lambda piece: None, RebuildOptions(), context)


def test_long_paths_are_compared_at_their_beginning(tmp_path):
    """A file without a counterpart is compared with up to 64 files of the same name. Here, each path has 400 kB."""
    deep = b"a/" * 200_000
    old = docker_save([TestImage([build_layer([file(f"{deep.decode()}{n}/lib-1.0", b"x" * n) for n in range(1, 65)])])])
    new = docker_save([TestImage([build_layer([file(f"b{n}/lib-2.0", b"y" * n) for n in range(1, 301)])])])
    begun = time.process_time()
    bundle_of(tmp_path, [old], new)
    assert time.process_time() - begun < QUICK

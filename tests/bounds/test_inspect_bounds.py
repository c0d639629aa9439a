"""High costs that a small bundle can cause in ``dib inspect``. The bounds of spec/dib.md, 10.1, also apply to ``dib
inspect``, although it rebuilds nothing.
"""

from __future__ import annotations

import io
import json
import time
from hashlib import sha256
from pathlib import Path

import pytest

from dibundle.errors import BundleError
from dibundle.files import wording
from dibundle.format import outline
from dibundle.format.outline import ListingError
from dibundle.format.reader import BundleReader
from dibundle.inspecting import listing as inspected
from dibundle.inspecting import operations
from dibundle.inspecting.listing import tree
from dibundle.inspecting.operations import Line, listing
from tests.bounds.measure import dib
from tests.builders import TestImage, docker_save
from tests.fuzz.bounds import frame_of, msgpack, number, written
from tests.fuzz.bounds import one as bundle_of

MIB = 1 << 20
Frame, Program = written.Frame, written.Program


def lines_of(bundle: written.Bundle) -> list[Line]:
    return listing(BundleReader(io.BytesIO(bundle.encode())))


def layer(size: int = 1 << 40) -> tuple[int, int, bytes]:
    return (1, size, bytes(32))


def modes(count: int, edits: int, *fields: str) -> written.Bundle:
    program = Program().edit(*fields) if fields else Program()
    program.columns["shapes"] = bytearray(program.columns["shapes"] or number(0))
    program.columns["shape"] = bytearray(edits)
    program.do("mode", count=count)
    return bundle_of(1024, program, objects=[layer()])


@pytest.mark.slow
def test_edits_count_though_they_make_no_line():
    start = time.process_time()
    with pytest.raises(ListingError):
        lines_of(modes(6_000_000, 6_000_000))
    assert time.process_time() - start < 20
    assert [line.count for line in lines_of(modes(1000, 1000))] == [1000]


def test_a_count_that_no_column_pays_for_is_refused_at_once():
    start = time.process_time()
    with pytest.raises(BundleError, match="column"):
        lines_of(modes(1 << 62, 3_000_000))
    assert time.process_time() - start < 1


def test_operations_without_lines_count():
    program = Program()
    program.columns["ops"] += b"\x08" * 100
    program.columns["zero"] += b"\x01" * 100
    left = outline._MAX_WORK
    try:
        outline._MAX_WORK = 99
        with pytest.raises(ListingError):
            lines_of(bundle_of(100, program))
    finally:
        outline._MAX_WORK = left
    assert lines_of(bundle_of(100, program)) == []


def test_sources_of_text_frames_count_before_one_is_decoded():
    """The sources of text frames count towards the limit before a frame is decoded.

    The bundle has a few hundred frames of one byte. The source of each frame is a text: the digests of many segments.
    """
    segments, times = 4096, 512
    frame = Frame(b"Q", 1, 0)
    frame.spans = [(0, 0, 64 * segments)] * times
    program = Program().do("raw", raw=1, stream=0)
    size = 20 * MIB
    program.do("zero", zero=size - 1)
    bundle = bundle_of(size, program, frame)
    bundle.target.segments = [(1, 1)] * (segments - 1) + [(size - segments + 1, 1)]
    with pytest.raises(ListingError, match="text"):
        lines_of(bundle)
    frame.spans = frame.spans[:4]
    assert [line.operation for line in lines_of(bundle)] == []


def test_each_text_frame_counts_before_one_is_decoded(monkeypatch):
    """Each text frame counts towards the limit before any frame is decoded.

    The test has two cases: many frames of one byte each, and a few large frames with a slow codec.
    """
    monkeypatch.setattr(operations.decoders, "decode", lambda codec, stored, source, size, *_: bytes(size))

    def bundle(count: int, size: int, codec: int) -> written.Bundle:
        program = Program().do("raw", raw=count * size, stream=0)
        return bundle_of(count * size, program, *[Frame(b"Q", size, 0, codec=codec)] * count)

    assert lines_of(bundle(4095, 1, 0)) == lines_of(bundle(7, MIB, 4)) == []
    for refused in (bundle(4096, 1, 0), bundle(8, MIB, 4)):
        with pytest.raises(ListingError, match="text"):
            lines_of(refused)


def test_frames_of_the_text_share_their_excess(monkeypatch):
    seen = []
    monkeypatch.setattr(
        operations.decoders,
        "decode",
        lambda codec, stored, source, size, reencoders, excess: seen.append(excess) or bytes(size),
    )
    program = Program().do("raw", raw=3, stream=0)
    lines_of(bundle_of(3, program, *[Frame(b"Q", 1, 0)] * 3))
    assert len(seen) == 3
    assert len({id(excess) for excess in seen}) == 1
    assert seen[0] is not None


def test_deleted_names_count_as_lines(monkeypatch):
    program = Program().do("zero", zero=1024)
    more = {4: msgpack([[b"", b"a\0" * 30]])}
    assert len(lines_of(bundle_of(1024, program, more=more))) == 30
    monkeypatch.setattr(operations, "MAX_LINES", 29)
    with pytest.raises(ListingError, match="lines"):
        lines_of(bundle_of(1024, program, more=more))


def test_a_long_name_is_cut():
    assert outline.cut_path(b"a" * 4096) == b"a" * 4096
    assert outline.cut_path(b"a" * 4097) == b"a" * 4093 + b"..."
    program = Program().do("zero", zero=1024)
    more = {4: msgpack([[b"", b"d/" * 3000 + b"\0"]])}
    (line,) = lines_of(bundle_of(1024, program, more=more))
    assert line.path == b"d/" * 2046 + b"d..."
    state = outline._Outline(outline.Columns(), None, None, [])
    block = written.block("x", typeflag=b"L")
    state.extension(block, b"ab/" * 100_000)
    assert len(state.name(None)) == 4096
    state.extension(written.block("x", typeflag=b"x"), b"300012 path=" + b"p" * 299_999 + b"\n")
    assert len(state.name(None)) == 4096


def test_folders_of_a_tree_are_bounded(monkeypatch):
    monkeypatch.setattr(inspected, "_MAX_FOLDERS", MIB)
    lines = [Line(operation="add", path=b"%d/" % row + b"ab/" * 1300 + b"f") for row in range(80)]
    assert len(tree(lines, 3)) == 1 + 3 * 80
    with pytest.raises(ListingError, match="folder names"):
        tree(lines, 100)


def test_a_tree_has_its_folders_in_order():
    paths = [b"a/b/c", b"a-b/c", b"a/b-c/d", b"a.b/d", b"b/x", b"a/b/d/e"]
    folders = tree([Line(operation="add", path=path, size=3, old_size=2, stored=1) for path in paths], 5)
    found = [folder.path for folder in folders]
    assert found == sorted(found, key=lambda path: path.split(b"/") if path else [])
    for folder in folders:
        within = sum(path.startswith(folder.path + b"/" if folder.path else b"") for path in paths)
        assert (folder.count, folder.size, folder.old_size, folder.stored) == (within, 3 * within, 2 * within, within)
        assert folder.depth == len(folder.path.split(b"/")) - (not folder.path)


def sized(size: int, program: written.Program, *frames: written.Frame, **given: object) -> written.Bundle:
    """Return a bundle whose target declares ``size`` bytes, but is never rebuilt."""
    bundle = bundle_of(0, program, *frames, **given)
    bundle.target.size, bundle.target.tail = size, size - 1
    bundle.target.segments = [(size, 1)]
    return bundle


def many_headers(count: int) -> written.Bundle:
    program = Program()
    program.columns["ops"] += b"\x09" * count
    program.columns["register"] += bytes(count)
    program.columns["shapes"] += number(0)
    program.columns["shape"] += bytes(count)
    return sized(512 * count, program)


@pytest.mark.slow
def test_as_many_lines_as_may_be_are_written_as_they_are_made(tmp_path):
    path = tmp_path / "many.dib"
    path.write_bytes(many_headers(operations.MAX_LINES).encode())
    for options in (("--list", "--json"), ("--list",), ("--tree",)):
        taken = dib("inspect", path, *options)
        assert taken.status == 0
        assert taken.memory < 400 * MIB
        assert taken.seconds < 20
        if "--json" in options:
            assert len(json.loads(taken.out)["operations"]) == operations.MAX_LINES


@pytest.mark.slow
def test_more_lines_are_left_out_of_a_summary(tmp_path):
    path = tmp_path / "many.dib"
    path.write_bytes(many_headers(operations.MAX_LINES + 1).encode())
    summary, listed = dib("inspect", path), dib("inspect", path, "--list")
    assert (summary.status, listed.status) == (0, 5)
    assert "the summary lists no paths" in summary.err


def test_control_characters_are_escaped_in_linear_time_and_as_ever():
    start = time.process_time()
    assert wording.escape(b"\x01" * 4_000_000) == "\\x01" * 4_000_000
    assert time.process_time() - start < 2
    assert wording.escape("\\a\u202e\x1b") == "\\\\a\\u202e\\x1b"
    assert wording.printable("\\a\u202e\x1b") == "\\a\\u202e\\x1b"


def long_names(count: int, name: bytes) -> written.Bundle:
    """Return a bundle of ``count`` files with one long name."""
    text = (b"././@LongLink" + b"L" + name + b"x" + b"0") * count
    program = Program()
    shape = sum(1 << written.BITS[name] | 1 << 16 + written.BITS[name] for name in ("name", "typeflag"))
    program.columns["shapes"] += number(shape | 1 << written.BITS["size"])
    program.columns["ops"] += b"\x04" * (2 * count)
    program.columns["shape"] += bytes(2 * count)
    program.columns["stream"] += bytes(2 * count)
    program.columns["size"] += (number(2 * len(name)) + number(0)) * count
    program.columns["text"] += bytes((13, 1, 1, 1)) * count
    frame = Frame(frame_of(text), len(text), 0, codec=1)
    size = count * (1024 + len(name) + -len(name) % 512)
    return sized(size, program, frame)


@pytest.mark.parametrize(("count", "name", "shown"), [(6_000, b"\x01", "\\x01"), (15_000, b"d/", "d/")])
def test_a_long_text_of_names_takes_little(tmp_path, count, name, shown):
    """Listings stay within the bounds. In one case, the names have 24 MB of control characters. In the other case, they
    have 60 MB of text.
    """
    path = tmp_path / "names.dib"
    times = 4000 // len(name)
    path.write_bytes(long_names(count, name * times).encode())
    taken = dib("inspect", path, "--list")
    assert taken.status == 0
    assert taken.out.count(shown * times) == count
    assert taken.memory < 400 * MIB
    assert taken.seconds < 10


def repeated(count: int, name: bytes) -> written.Bundle:
    """Return a bundle whose listing has ``count`` lines. Each line shows the long name of a layer, but takes only a few
    bytes in the bundle.
    """
    program = Program()
    content = name + b"\0"
    program.do("add").edit("size", "raw:typeflag", size=len(content)).text(1).put(stream=0)
    program.do("header", register=1).edit(shape=0)
    program.columns["ops"] += b"\x06" * count
    program.columns["raw"] += b"\x01" * count
    program.columns["stream"] += b"\x01" * count
    text = b"L" + content
    frames = [Frame(frame_of(text), len(text), 0, codec=1), Frame(frame_of(bytes(count)), count, 1, codec=1)]
    return sized(1 << 30, program, *frames)


FORMS = [("inspect", "--list"), ("inspect", "--list", "--json"), ("inspect", "--tree", "--depth", "100"), ("report",)]


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("name", [b"\x81" * 4096, b"a/" * 2048], ids=["escaped", "deep"])
def test_a_path_counts_on_each_of_its_lines(tmp_path, form, name):
    path = tmp_path / "repeated.dib"
    path.write_bytes(repeated(150_000, name).encode())
    assert path.stat().st_size < 1000
    taken = dib(form[0], path, *form[1:])
    assert taken.status == 5
    assert "text to list" in taken.out + taken.err
    assert taken.memory < 200 * MIB
    assert taken.seconds < 5


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize(
    ("count", "name"),
    [
        (3_000, b"\x81" * 4096),
        (12_000, b"a/" * 2048),
        (3_000, b"<" * 4096),
        (3_000, b"\x01" * 4092 + "\U0001f4e6".encode()),
    ],
    ids=["escaped", "deep", "markup", "wide"],
)
@pytest.mark.slow
def test_as_much_text_as_may_be_takes_what_is_promised(tmp_path, form, count, name):
    path = tmp_path / "repeated.dib"
    path.write_bytes(repeated(count, name).encode())
    taken = dib(form[0], path, *form[1:])
    assert taken.status == 0
    assert taken.memory < 400 * MIB
    assert taken.seconds < 10
    assert len(taken.out) < 250 * MIB


def test_as_many_lines_as_may_be_have_room_for_usual_paths():
    path, layer = b"usr/lib/python3/dist-packages/".ljust(100, b"x"), b"blobs/sha256/" + b"0" * 64
    each = operations._written(path) + operations._written(layer)
    assert operations.MAX_LINES * each <= operations.MAX_NAMES


def base_of(path: Path, layer: bytes) -> tuple[int, int, bytes]:
    """Write an archive that holds a layer. Return the entry for this layer in a bundle's list of objects."""
    path.write_bytes(docker_save([TestImage(layers=[layer])]))
    return (1, len(layer), sha256(layer).digest())


def entry(content: bytes, name: str, long: bytes = b"") -> bytes:
    """Return the bytes of a file in a layer. A record with a long name precedes the file."""
    pieces = [written.block("././@LongLink", size=len(long), typeflag=b"L", magic=b"ustar  \0"), padded(long)]
    return b"".join((pieces if long else []) + [written.block(name, size=len(content)), padded(content)])


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


@pytest.mark.parametrize("words", [["--list"], ["--op", "delete", "--list"], ["--tree", "--json"]], ids=" ".join)
@pytest.mark.parametrize("byte", [b"x", b"\x81"])
def test_long_paths_of_the_base_count_on_each_line(tmp_path, words, byte):
    kept = b"".join(entry(b"", f"f{row}", b"d%06d/" % row + byte * 5000) for row in range(1000))
    item = base_of(tmp_path / "base.tar", kept + bytes(1024))
    program = Program()
    for row in range(520):
        program.do("seek", seek_object=0, seek_offset=written.signed(-len(kept) if row else 0)).do(
            "keep", keep=len(kept)
        )
    path = tmp_path / "kept.dib"
    path.write_bytes(sized(520 * len(kept), program, objects=[item]).encode())
    taken = dib("inspect", path, "--base", tmp_path / "base.tar", *words)
    assert taken.status == 5
    assert "text to list" in taken.out + taken.err
    assert taken.memory < 300 * MIB
    assert taken.seconds < 5


def test_a_long_path_that_is_kept_is_not_deleted(tmp_path):
    kept = entry(b"", "f", b"d/" * 3000)
    item = base_of(tmp_path / "base.tar", kept + entry(b"", "g") + bytes(1024))
    program = Program().do("keep", keep=len(kept))
    path = tmp_path / "kept.dib"
    path.write_bytes(sized(len(kept), program, objects=[item]).encode())
    taken = dib("inspect", path, "--base", tmp_path / "base.tar", "--list", "--json")
    found = [(line["operation"], line["path"]) for line in json.loads(taken.out)["operations"]]
    assert found == [("keep", "d/" * 2046 + "d..."), ("delete", "g")]


def test_headers_far_apart_are_read_alone(tmp_path):
    """If consecutive operations seek to opposite ends of the base, dib does not read ahead in the base."""
    gap = 300 << 10
    record = entry(bytes(gap - 512), "x")
    item = base_of(tmp_path / "base.tar", 2 * record + bytes(1024))
    count = 100_000
    program = Program().do("seek", seek_object=0, seek_offset=0).do("mode", count=1).edit()
    program.columns["ops"] += bytes(program.columns["ops"]) * count
    program.columns["seek_object"] += bytes(count)
    program.columns["seek_offset"] += (number(0) + number(written.signed(-2 * gap))) * (count // 2)
    program.columns["count"] += b"\x01" * count
    program.columns["shape"] += bytes(count)
    path = tmp_path / "apart.dib"
    path.write_bytes(sized(gap * (count + 1), program, objects=[item]).encode())
    taken = dib("inspect", path, "--base", tmp_path / "base.tar", "--list")
    assert taken.status == 0
    assert taken.out.count("\nmode") == count + 1
    assert taken.seconds < 4

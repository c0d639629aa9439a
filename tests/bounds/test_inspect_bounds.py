"""What few bytes can ask ``dib inspect`` for: time and memory stay within spec/dib.md, 10.1, with nothing made."""

from __future__ import annotations

import io
import json
import time

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
    """A frame of one byte, with the digest text, of many segments, as its source a few hundred times."""
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
    with pytest.raises(ListingError, match="folders"):
        tree(lines, 100)


def test_a_tree_has_its_folders_in_order():
    paths = [b"a/b/c", b"a-b/c", b"a/b-c/d", b"a.b/d", b"b/x", b"a/b/d/e"]
    found = [folder.path for folder in tree([Line(operation="add", path=path) for path in paths], 5)]
    assert found == sorted(found, key=lambda path: path.split(b"/") if path else [])


def many_headers(count: int) -> written.Bundle:
    program = Program()
    program.columns["ops"] += b"\x09" * count
    program.columns["register"] += bytes(count)
    program.columns["shapes"] += number(0)
    program.columns["shape"] += bytes(count)
    bundle = bundle_of(0, program)
    bundle.target.size, bundle.target.tail = 512 * count, 512 * count - 1
    bundle.target.segments = [(512 * count, 1)]
    return bundle


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
    assert "the summary is without paths" in summary.err


def test_control_characters_are_escaped_in_linear_time_and_as_ever():
    start = time.process_time()
    assert wording.escape(b"\x01" * 4_000_000) == "\\x01" * 4_000_000
    assert time.process_time() - start < 2
    assert wording.escape("\\a\u202e\x1b") == "\\\\a\\u202e\\x1b"
    assert wording.printable("\\a\u202e\x1b") == "\\a\\u202e\\x1b"


def test_a_long_text_of_names_takes_little(tmp_path):
    """Sixty MiB of names of control characters: they are listed within the bound."""
    count, length = 15_000, 4000
    text = (b"././@LongLink" + b"L" + b"\x01" * length + b"x" + b"0") * count
    program = Program()
    shape = sum(1 << written.BITS[name] | 1 << 16 + written.BITS[name] for name in ("name", "typeflag"))
    program.columns["shapes"] += number(shape | 1 << written.BITS["size"])
    program.columns["ops"] += b"\x04" * (2 * count)
    program.columns["shape"] += bytes(2 * count)
    program.columns["stream"] += bytes(2 * count)
    program.columns["size"] += (number(2 * length) + number(0)) * count
    program.columns["shared"] += bytes(4 * count)
    program.columns["text"] += bytes((13, 1, 1, 1)) * count
    frame = Frame(frame_of(text), len(text), 0, codec=1)
    bundle = bundle_of(0, program, frame)
    bundle.target.size = count * (1024 + length + -length % 512)
    bundle.target.tail = bundle.target.size - 1
    bundle.target.segments = [(bundle.target.size, 1)]
    path = tmp_path / "names.dib"
    path.write_bytes(bundle.encode())
    taken = dib("inspect", path, "--list")
    assert taken.status == 0
    assert taken.out.count("\\x01" * 4000) == count
    assert taken.memory < 400 * MIB
    assert taken.seconds < 10

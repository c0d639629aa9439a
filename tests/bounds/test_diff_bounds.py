"""Bounds on the cost of ``dib diff``. The time must grow only with the archives' content, not with the number of
references to this content.
"""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
import time
import tracemalloc
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from dibundle.errors import ArchiveError
from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes
from dibundle.images import packages
from dibundle.images.archive import open_archive
from dibundle.images.model import Image
from dibundle.images.tar.entries import scan_all
from dibundle.inspecting import image_diff, page
from dibundle.sources.access import Access
from tests.bounds.measure import dib
from tests.bounds.tars import tar
from tests.builders import TestImage, build_layer, docker_save, file
from tests.fuzz.bounds import written
from tests.images.test_sqlite import database, interior, schema

MIB = 1 << 20


@dataclass
class OldLayer:
    """The parts of a layer from which a tree is computed."""

    paths: list[str]
    index: object = field(init=False)

    def __post_init__(self) -> None:
        entries = [type("Entry", (), {"path": path.encode()}) for path in self.paths]
        self.index = type("Index", (), {"entries": entries})


def from_the_bottom(layers: list[OldLayer]) -> dict[bytes, tuple[int, object]]:
    """Return the tree of an image, computed directly from the definition. Each layer hides entries of the layers below
    it.
    """
    tree: dict[bytes, tuple[int, object]] = {}
    for layer in layers:
        gone: list[bytes] = []
        added = {}
        for entry in layer.index.entries:
            path = b"/".join(part for part in entry.path.split(b"/") if part not in (b"", b"."))
            folder, _, name = path.rpartition(b"/")
            if name == b".wh..wh..opq":
                gone.append(folder + b"/")
            elif name.startswith(b".wh."):
                hidden = (folder + b"/" if folder else b"") + name[4:]
                gone += [hidden, hidden + b"/"]
            elif path:
                added[path] = (id(layer), entry)
        for path in list(tree):
            if any(path == item or (item.endswith(b"/") and path.startswith(item)) for item in gone):
                del tree[path]
        tree |= added
    return tree


@pytest.mark.parametrize("seed", range(200))
def test_a_tree_from_the_top_is_that_from_the_bottom(seed):
    chance = random.Random(seed)
    names = ["a", "b", ".wh.a", ".wh.b", ".wh..wh..opq", "c"]
    kinds = [
        OldLayer(["/".join(chance.choices(names, k=chance.randrange(1, 4))) for _ in range(chance.randrange(6))])
        for _ in range(4)
    ]
    layers = chance.choices(kinds, k=chance.randrange(1, 7))
    found = image_diff._tree(layers)
    assert {path: (id(node.layer), node.entry) for path, node in found.items()} == from_the_bottom(layers)


def archive(layers: dict[str, bytes], listed: list[str]) -> bytes:
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:b"], "Layers": listed}]).encode()
    return tar({"manifest.json": manifest, "c.json": config, **layers})


def test_a_layer_that_is_listed_often_counts_once(tmp_path):
    name = b"a/" * (1 << 18)
    record = written.block("././@LongLink", size=len(name), typeflag=b"L", magic=b"ustar  \0") + name
    deep = (record + written.block("x", magic=b"ustar  \0")) * 20 + bytes(1024)
    files = b"".join(written.block(f"d/{row:06}") for row in range(10_000)) + bytes(1024)
    whiteout = written.block(".wh.zzz") + bytes(1024)
    images = {
        "empty": archive({}, []),
        "deep": archive({"A": deep}, ["A"] * 50),
        "wide": archive({"A": files, "B": whiteout}, ["A"] + ["B"] * 3000),
    }
    for image, data in images.items():
        (tmp_path / image).write_bytes(data)
    for image in ("deep", "wide"):
        taken = dib("diff", tmp_path / "empty", tmp_path / image)
        assert taken.status == 0
        assert taken.seconds < 4


def test_comparing_long_paths_with_many_whiteouts_is_bounded(monkeypatch):
    monkeypatch.setattr(image_diff, "_MAX_COMPARED", 10_000)
    top = OldLayer(["/".join(["a"] * row + [".wh.b"]) for row in range(1, 100)])
    below = OldLayer(["/".join(["a"] * 100 + [f"{row}"]) for row in range(100)])
    with pytest.raises(ArchiveError, match="white"):
        image_diff._tree([below, top])


def test_whiteouts_cost_what_they_hide():
    files = OldLayer([f"d{row % 100}/{row}" for row in range(50_000)])
    whiteouts = [OldLayer([f"x/.wh.{row}"]) for row in range(3000)]
    start = time.process_time()
    tree = image_diff._tree([files, *whiteouts])
    assert time.process_time() - start < 2
    assert len(tree) == 50_000


def test_a_schema_whose_pages_all_name_the_same_child_takes_no_time(tmp_path):
    """A layer of a few hundred bytes takes little time, although its database lists millions of tables."""
    pages = database(interior(2), interior(3), interior(4), schema(5))
    layer = written.block("var/lib/rpm/rpmdb.sqlite", size=len(pages)) + pages
    for name in ("old", "new"):
        data = gzip.compress(layer + bytes(1024 if name == "old" else 2048), mtime=0)
        (tmp_path / name).write_bytes(archive({"A": data}, ["A"]))
    taken = dib("diff", tmp_path / "old", tmp_path / "new")
    assert taken.status == 0
    assert taken.seconds < 4


def test_a_column_called_rowid_is_no_reason_to_fail():
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE Packages (rowid, blob)")
        database.execute("INSERT INTO Packages VALUES (NULL, x'0102030405060708090a')")
        database.commit()
        content = database.serialize()
    path = b"var/lib/rpm/rpmdb.sqlite"
    assert packages.inventory([path], lambda _: content) == {}


def with_settings(path, settings):
    config = json.dumps({"config": settings, "rootfs": {"diff_ids": []}}).encode()
    path.write_bytes(tar({"c": config, "manifest.json": b'[{"Config":"c","Layers":[]}]'}))
    return path


def test_the_name_of_an_object_counts_for_each_of_its_members(tmp_path, monkeypatch):
    """If a JSON object has many members, the length of the object's name counts for each member.

    Before the fix, a name of 3 MB with 200 members took two gigabytes of memory.
    """
    old = with_settings(tmp_path / "old.tar", {})
    new = with_settings(tmp_path / "new.tar", {"k" * 3_000_000: dict.fromkeys(map(str, range(200)), 0)})
    taken = dib("diff", old, new)
    assert taken.status == 4
    assert "settings" in taken.err
    assert taken.memory < 200 * MIB
    monkeypatch.setattr(image_diff, "_MAX_SETTING_TEXT", 20)
    small = [{"k": {"a": 12345, "b": 12345}, "ab": 12}, {"k": {"a": 12345, "b": 12345}, "ab": 123}]
    # in total, keys and values have 20 characters in the first item of the list, and 21 in the second item
    for number, settings in enumerate(small):
        new = with_settings(tmp_path / "new.tar", settings)
        with Context() as context:
            if number == 0:
                assert len(image_diff.diff(old, new, Access(), context).settings) == 3
            else:
                with pytest.raises(ArchiveError, match="20 characters"):
                    image_diff.diff(old, new, Access(), context)


def test_settings_are_limited_in_number(tmp_path):
    """A config has at most 65,536 settings. Before the fix, 762,000 labels alone took 200 MB of memory."""
    old = with_settings(tmp_path / "old.tar", {})
    new = with_settings(tmp_path / "new.tar", {"Labels": dict.fromkeys(map(str, range(70_000)), "")})
    taken = dib("diff", old, new)
    assert taken.status == 4
    assert "65,536 settings" in taken.err


def test_files_of_packages_are_read_one_after_the_other():
    """The content of a package database is freed before the next database is read."""
    paths = [b"var/lib/dpkg/status.d/%d" % number for number in range(3)]
    tracemalloc.start()
    try:
        assert packages.inventory(paths, lambda _: bytes(16 * MIB)) == {}
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


def test_what_changed_is_written_to_a_page_as_it_is_made():
    """A page that lists changes is escaped and written piece by piece, never as a whole."""
    image = Image((), None, b"", (), (), None, None)
    settings = [image_diff.Setting(key=f"k{row}", old=None, new="<") for row in range(1000)]
    changes = image_diff.Changes(old=image, new=image, lines=[], same=0, settings=settings, packages=[])
    pieces = list(page.build(page.Page(title="t", facts=[], stored=1, kinds=[], lines=[], changes=changes)))
    assert b"".join(pieces).count(b'<td class="new">&lt;</td>') == 1000
    assert len(pieces) > 1000


def test_a_long_text_is_cut_in_a_page():
    """Before the fix, a setting that consists of 8 MiB of apostrophes took 1 GiB of memory. In the page, each
    apostrophe becomes six characters. Each character took four bytes of memory.
    """
    image = Image((), None, b"", (), (), None, None)
    long = image_diff.Setting(key="k", old=None, new="'" * 1_000_000 + "\U0001f600")
    changes = image_diff.Changes(old=image, new=image, lines=[], same=0, settings=[long], packages=[])
    made = b"".join(page.build(page.Page(title="t", facts=[], stored=1, kinds=[], lines=[], changes=changes)))
    assert made.count(b"&#x27;") == 4096
    assert b"&#x27; ... (995,905 more)</td>" in made


def test_what_layers_of_a_bundle_hold_is_bounded(tmp_path, monkeypatch):
    """The memory for a bundle's layers is bounded.

    Before the fix, a bundle of 3 kB made an image whose entries and names took 3 GiB of memory.
    """
    path = tmp_path / "image.tar"
    path.write_bytes(
        docker_save([TestImage([build_layer([file("a", b""), file("b", b"")]), build_layer([file("c", b"")])])])
    )
    with open_archive(path) as old, open_archive(path) as new, Context() as context:
        new.is_made = True
        assert image_diff.compare(old, new, context).lines == []
        for name, most in (("MAX_ENTRIES", 2), ("MAX_ENTRY_NAMES", 2)):
            with monkeypatch.context() as patch:
                patch.setattr(image_diff, name, most)
                with pytest.raises(ArchiveError, match="entries"):
                    image_diff.compare(old, new, context)


@pytest.mark.parametrize(("most", "names", "is_read"), [(3, 3, True), (2, 3, False), (3, 2, False)])
def test_entries_of_several_tars_have_a_limit_together(most, names, is_read):
    tars = [MemoryBytes(build_layer([file(name, b"") for name in given])) for given in ("ab", "c")]
    assert (scan_all(tars, most, names) is not None) == is_read

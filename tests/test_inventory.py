"""Inventories of a receiver's layers, and bundles that use only these layers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.program import dib, succeed


def image(*layers: bytes, name: str) -> TestImage:
    return TestImage(list(layers), [f"example.com/{name}"])


BOTTOM = build_layer([file("usr/data", noise(1, 200_000))])
OLD = build_layer([file("app/words", text(2, 200_000))])
NEW = build_layer([file("app/words", text(2, 200_000) + b"more")])


def test_a_bundle_takes_nothing_that_is_not_there(tmp_path: Path):
    (tmp_path / "old.tar").write_bytes(docker_save([image(BOTTOM, OLD, name="app:1")], "oci", "gzip"))
    (tmp_path / "far.tar").write_bytes(docker_save([image(BOTTOM, name="base:1")], "podman"))
    new = docker_save([image(BOTTOM, NEW, name="app:2")], "oci", "gzip")
    (tmp_path / "new.tar").write_bytes(new)
    (tmp_path / "far.json").write_bytes(succeed("inventory", tmp_path / "far.tar").out)
    common = ("--base", tmp_path / "old.tar", tmp_path / "new.tar")
    succeed("create", "--inventory", tmp_path / "far.json", *common, tmp_path / "have.dib")
    succeed("create", *common, tmp_path / "all.dib")
    assert succeed("apply", tmp_path / "far.tar", tmp_path / "have.dib").out == new
    assert dib("apply", tmp_path / "far.tar", tmp_path / "all.dib").code == 6
    sizes = [(tmp_path / name).stat().st_size for name in ("all.dib", "have.dib", "new.tar")]
    assert sizes[0] < 5_000 < sizes[1] < sizes[2] // 2


def test_a_base_of_which_the_receiver_has_nothing_is_told(tmp_path: Path):
    (tmp_path / "old.tar").write_bytes(docker_save([image(BOTTOM, OLD, name="app:1")]))
    (tmp_path / "new.tar").write_bytes(docker_save([image(BOTTOM, NEW, name="app:2")]))
    files = [tmp_path / name for name in ("old.tar", "new.tar", "out.dib")]
    common = ("--inventory", tmp_path / "far.json", *files)
    note = "dib: the inventory has no layer of the base, so the base is not used"
    for layer, told in ((NEW, True), (BOTTOM, False)):
        (tmp_path / "far.tar").write_bytes(docker_save([image(layer, name="far:1")]))
        (tmp_path / "far.json").write_bytes(succeed("inventory", tmp_path / "far.tar").out)
        assert (note in succeed("create", *common).err) is told
        assert succeed("create", "-q", *common).err == ""


def test_a_list_of_200_layers_fits_into_a_message(tmp_path: Path):
    layers = [build_layer([file(f"f{number}", b"%d" % number)]) for number in range(200)]
    (tmp_path / "many.tar").write_bytes(docker_save([image(*layers, name="many:1")], "v25"))
    text_of = succeed("inventory", tmp_path / "many.tar").out
    assert len(text_of) < 10_000
    assert len(json.loads(text_of)["layers"]) == 200


def test_what_is_no_list_is_refused(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(docker_save([image(OLD, name="app:1")]))
    for wrong in (
        b"[]",
        b"{}",
        b'{"dib_inventory":2,"layers":[]}',
        b'{"dib_inventory":1,"layers":["abc"]}',
        b"\xff" * 9,
    ):
        (tmp_path / "far.json").write_bytes(wrong)
        arguments = ("--inventory", tmp_path / "far.json", tmp_path / "a.tar", tmp_path / "a.tar", tmp_path / "out.dib")
        ended = dib("create", *arguments)
        assert (ended.code, (tmp_path / "out.dib").exists()) == (4, False)
        assert "dib inventory" in ended.err
    assert dib("create", "--inventory", tmp_path / "absent", *arguments[2:]).code == 3

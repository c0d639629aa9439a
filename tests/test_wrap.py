"""Bundles as images: the content of the images, and unwrapping from every form of such an image."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.builders import STYLES, TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.program import dib, succeed

OLD, NEW = "example.com/app:1", "example.com/app:2"


def release(number: int) -> TestImage:
    layers = [build_layer([file("usr/data", noise(1, 100_000))])]
    layers.append(build_layer([file("app/version", b"%d" % number + text(2, 50_000))]))
    return TestImage(layers, [OLD if number == 1 else NEW])


@pytest.fixture(scope="module", params=[None, "gzip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("wrap")
    style = "oci" if request.param else "v25"
    for number, name in ((1, "a"), (2, "b")):
        (work / f"{name}.tar").write_bytes(docker_save([release(number)], style, request.param))
    succeed("create", work / "a.tar", work / "b.tar", work / "out.dib")
    linked = ("--linked", "--base", work / "a.tar", "--tag", "app:1-2")
    succeed("wrap", work / "out.dib", *linked, "-o", work / "linked.tar")
    succeed("wrap", work / "out.dib", "--unlinked", "--tag", "app:delta", "-o", work / "unlinked.tar")
    return work


def documents(archive: Path) -> tuple[dict, dict, dict[str, str]]:
    """Return the manifest and config of an archive's only image, and the sha256 of every blob. Check all digests."""
    with tarfile.open(archive) as tar:
        content = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}
    for name, data in content.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    (entry,) = json.loads(content["index.json"])["manifests"]
    manifest = json.loads(content["blobs/" + entry["digest"].replace(":", "/")])
    return manifest, json.loads(content["blobs/" + manifest["config"]["digest"].replace(":", "/")]), content


def test_a_linked_image_is_the_base_and_one_layer(folder: Path):
    manifest, config, content = documents(folder / "linked.tar")
    base, base_config, base_content = documents(folder / "a.tar")
    assert config["rootfs"]["diff_ids"][:-1] == base_config["rootfs"]["diff_ids"]
    assert [item["digest"] for item in manifest["layers"][:-1]] == [item["digest"] for item in base["layers"]]
    for layer in base["layers"]:
        name = "blobs/" + layer["digest"].replace(":", "/")
        assert content[name] == base_content[name]
    assert manifest["layers"][-1]["size"] < (folder / "out.dib").stat().st_size + 4096


def test_an_unlinked_image_is_one_layer(folder: Path):
    manifest, config, content = documents(folder / "unlinked.tar")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert json.loads(content["manifest.json"])[0]["RepoTags"] == ["app:delta"]


def test_labels_say_what_is_needed_and_made(folder: Path):
    _, config, _ = documents(folder / "unlinked.tar")
    labels = config["config"]["Labels"]
    bundle = (folder / "out.dib").read_bytes()
    assert labels["dibundle.bundle"] == f"sha256:{hashlib.sha256(bundle).hexdigest()}"
    assert labels["dibundle.size"] == str(len(bundle))
    assert (labels["dibundle.needs"], labels["dibundle.makes"]) == (OLD, NEW)
    wanted = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in release(2).layers]
    assert labels["dibundle.makes.layers"].split() == wanted


def test_the_same_twice(folder: Path, tmp_path: Path):
    linked = ("--linked", "--base", folder / "a.tar", "--tag", "app:1-2")
    assert succeed("wrap", folder / "out.dib", *linked).out == (folder / "linked.tar").read_bytes()


def test_apply_finds_base_and_bundle_in_a_linked_image(folder: Path):
    assert succeed("apply", folder / "linked.tar").out == (folder / "b.tar").read_bytes()


def test_apply_takes_an_unlinked_image_and_a_base_in_any_order(folder: Path):
    for order in (("a.tar", "unlinked.tar"), ("unlinked.tar", "a.tar")):
        assert succeed("apply", *(folder / name for name in order)).out == (folder / "b.tar").read_bytes()
    ended = dib("apply", folder / "unlinked.tar")
    assert (ended.code, ended.out) == (6, b"")


@pytest.mark.parametrize("kind", ["linked", "unlinked"])
def test_unwrap_gives_the_bundle_back(folder: Path, tmp_path: Path, kind: str):
    out = tmp_path / "again.dib"
    succeed("unwrap", folder / f"{kind}.tar", "-o", out)
    assert out.read_bytes() == (folder / "out.dib").read_bytes()
    succeed("verify", folder / f"{kind}.tar")
    assert OLD in succeed("inspect", folder / f"{kind}.tar").out.decode()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("stored", [None, "gzip", "zstd"])
def test_every_form_of_a_wrapped_image(folder: Path, tmp_path: Path, style: str, stored: str | None):
    _, config, content = documents(folder / "unlinked.tar")
    manifest, _, _ = documents(folder / "unlinked.tar")
    layer = content["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
    image = TestImage([layer], ["app:delta"], {"config": config["config"]})
    (tmp_path / "x.tar").write_bytes(docker_save([image], style, stored))
    assert succeed("unwrap", tmp_path / "x.tar").out == (folder / "out.dib").read_bytes()


def lying(labels: dict[str, str], layer: bytes, stored: str | None = None) -> bytes:
    return docker_save([TestImage([layer], ["app:delta"], {"config": {"Labels": labels}})], "v25", stored)


@pytest.mark.parametrize(
    ("labels", "layer", "stored", "code", "text"),
    [
        ({"dibundle.bundle": "x"}, build_layer([file("other", b"x")]), None, 4, "contain exactly one bundle.dib"),
        ({"dibundle.bundle": "x"}, build_layer([file("bundle.dib", b"x" * 99)]), None, 5, "not a dib bundle"),
        ({"dibundle.bundle": "x"}, build_layer([file("bundle.dib", bytes(9 << 20))]), "gzip", 4, "more than 20 times"),
        ({}, build_layer([file("bundle.dib", b"x")]), None, 2, "no bundle"),
    ],
)
def test_what_only_looks_wrapped(tmp_path: Path, labels, layer, stored, code, text):
    (tmp_path / "x.tar").write_bytes(lying(labels, layer, stored))
    ended = dib("unwrap", tmp_path / "x.tar", "-o", tmp_path / "out.dib")
    assert (ended.code, text in ended.err) == (code, True), ended.err
    assert not (tmp_path / "out.dib").exists()


def test_a_damaged_bundle_or_base_is_not_wrapped(folder: Path, tmp_path: Path):
    damaged = bytearray((folder / "out.dib").read_bytes())
    damaged[-10] ^= 1
    (tmp_path / "damaged.dib").write_bytes(damaged)
    ended = dib("wrap", tmp_path / "damaged.dib", "--unlinked", "-o", tmp_path / "x.tar")
    assert ended.code == 7, ended.err
    base = bytearray((folder / "a.tar").read_bytes())
    place = base.index(noise(1, 100_000)[:64]) if b"usr/data" in base else len(base) // 2
    base[place] ^= 1
    (tmp_path / "a.tar").write_bytes(base)
    ended = dib("wrap", folder / "out.dib", "--linked", "--base", tmp_path / "a.tar", "-o", tmp_path / "x.tar")
    assert ended.code == 4, ended.err
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "--linked or --unlinked"),
        (("--linked",), 2, "needs the base"),
        (("--unlinked", "--base", "a.tar"), 2, "takes no --base"),
        (("--linked", "--base", "b.tar"), 6, "does not contain"),
        (("--linked", "--base", "missing.tar"), 3, "cannot open"),
        (("--unlinked", "--platform", "linux"), 2, "not a platform"),
    ],
)
def test_wrong_command_lines(folder: Path, arguments, code, text):
    ended = dib("wrap", "out.dib", *arguments, cwd=folder)
    assert (ended.code, ended.out, text in ended.err) == (code, b"", True), ended.err


@pytest.mark.parametrize(
    "name",
    [
        *("BAD::", "App:2", "a b", "a b:1", "app:", "app:-1", "app/", "/app", "team//app", "-app", "app:1:2", ""),
        *("example.com:port/app:1", "example.com/App:1", "app@sha256:" + "0" * 64, "0" * 64, "a" * 256),
    ],
)
def test_names_that_no_engine_takes(folder: Path, tmp_path: Path, name: str):
    ended = dib("wrap", folder / "out.dib", "--unlinked", "--tag", name, "-o", tmp_path / "x.tar")
    assert ended.code == 2
    assert f"error: {name} is not a valid image name: wanted [HOST/]NAME[:TAG] with NAME in lower case\n" in ended.err
    assert "hint: for example team/app:1-2\n" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["app", "team/app__x:1", "localhost/app:1", "Host/app:1", "example.com:5000/team/app"])
def test_names_that_engines_take(folder: Path, tmp_path: Path, name: str):
    succeed("wrap", folder / "out.dib", "--unlinked", "--tag", name, "-o", tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as tar:
        (image,) = json.load(tar.extractfile("manifest.json"))
    assert image["RepoTags"] == [name if ":" in name.rpartition("/")[2] else f"{name}:latest"]


def test_a_bundle_that_is_hidden_in_a_base_is_not_applied(folder: Path, tmp_path: Path):
    """A bundle inside a base is not applied. If it were applied, a base's author could continue the chain with this
    bundle.
    """
    evil = TestImage([*release(2).layers[:1], build_layer([file("app/version", b"evil" + text(2, 50_000))])], [NEW])
    (tmp_path / "evil.tar").write_bytes(docker_save([evil]))
    succeed("create", folder / "b.tar", tmp_path / "evil.tar", tmp_path / "hidden.dib")
    linked = ("--linked", "--base", folder / "a.tar", "--tag", OLD)
    forged, out = tmp_path / "a.tar", tmp_path / "made.tar"
    with pytest.raises(AssertionError, match="base"):  # dib itself wraps a bundle only with its own base
        succeed("wrap", tmp_path / "hidden.dib", *linked, "-o", forged)
    succeed("create", folder / "a.tar", tmp_path / "evil.tar", tmp_path / "hidden.dib")
    succeed("wrap", tmp_path / "hidden.dib", *linked, "-o", forged)
    succeed("apply", forged, folder / "out.dib", "-o", out)
    assert out.read_bytes() == (folder / "b.tar").read_bytes()
    ended = dib("apply", forged, folder / "unlinked.tar", "-o", tmp_path / "other.tar")
    assert (ended.code, (tmp_path / "other.tar").exists()) == (2, False)
    assert "both contain bundles, so it is unclear which one to apply" in ended.err
    succeed("apply", folder / "linked.tar", "-o", out)
    assert out.read_bytes() == (folder / "b.tar").read_bytes()

"""``dib load --expect`` loads into real engines. The tests cover thin images, names, and the digests that engines
print.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zstandard

from dibundle.files.digest import sha256
from dibundle.format.header import Header
from tests import engines
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.differential.loaders import Loader
from tests.engines import Kind
from tests.program import dib, succeed

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", params=["classic", "containerd", "podman", "ctr"])
def engine(request: pytest.FixtureRequest) -> Iterator[Loader]:
    kind: Kind = request.param
    with engines.engine(kind) as started:
        yield Loader(started)


class Versions:
    """Archives of two versions that share a layer, and the bundle from the old version to the new version."""

    def __init__(
        self, folder: Path, seed: int, *, name: str = "example.com/app", tags: tuple[str, ...] = ("2",)
    ) -> None:
        below = build_layer([file("below", noise(seed, 60_000))])
        old = TestImage([below, build_layer([file("app", b"old")])], ["example.com/app:1"])
        self.new = TestImage(
            [below, build_layer([file("app", noise(seed + 1, 9000))])], [f"{name}:{tag}" for tag in tags]
        )
        self.base, self.target, self.bundle = folder / "old.tar", folder / "new.tar", folder / "update.dib"
        self.base.write_bytes(docker_save([old], "v25"))
        self.target.write_bytes(docker_save([self.new], "v25"))
        succeed("create", self.base, self.target, self.bundle)
        self.id = f"sha256:{sha256(self.new.config_bytes()).hex()}"


def load(engine: Loader, *arguments: str | Path):
    return dib("load", "--engine", engine.engine.dib_name, *arguments, env=engine.env)


@pytest.mark.parametrize("thin", [(), ("--thin",)], ids=["whole", "thin"])
def test_the_expected_image_is_loaded(engine: Loader, thin: tuple[str, ...], tmp_path: Path) -> None:
    made = Versions(tmp_path, 100 + len(thin))
    if thin:
        ended = load(engine, "--expect", made.id, made.base, made.bundle, *thin)
        assert ended.code, "the engine has no base yet"
        with made.base.open("rb") as archive:
            engine.engine.run(*engine.engine.load_command, stdin=archive)
    ended = load(engine, "--expect", made.id, made.base, made.bundle, *thin, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"][0]["names"] == ["example.com/app:2"]
    assert made.id[7:] in engine.found(0).configs


def test_the_digest_of_the_manifest_will_do(engine: Loader, tmp_path: Path) -> None:
    made = Versions(tmp_path, 200)
    with tarfile.open(made.target) as archive:
        content = archive.extractfile("index.json")
        assert content
        manifest = json.load(content)["manifests"][0]["digest"]
    ended = load(engine, "--expect", manifest, made.base, made.bundle)
    assert ended.code == 0, ended.err
    assert engine.found(0).configs == {made.id[7:]}


def test_another_image_is_not_loaded(engine: Loader, tmp_path: Path) -> None:
    made = Versions(tmp_path, 300)
    ended = load(engine, "--expect", "sha256:" + "0" * 64, made.base, made.bundle)
    assert ended.code == 8
    assert f"rebuilds image {made.id}, wanted sha256:0000" in ended.err
    assert engine.found(8).configs == frozenset()


def test_names_in_other_repositories_are_not_given(engine: Loader, tmp_path: Path) -> None:
    made = Versions(tmp_path, 400, name="example.com/database")
    ended = load(engine, "--expect", made.id, made.base, made.bundle)
    assert ended.code == 0, ended.err
    assert "does not get the name example.com/database:2" in ended.err
    if engine.name != "ctr":
        told = engine.engine.run(engine.engine.dib_name, "images").decode()
        assert "example.com/database" not in told
    assert engine.found(0).configs == {made.id[7:]}


def test_a_wrapped_bundle_allows_no_names(engine: Loader, tmp_path: Path) -> None:
    made = Versions(tmp_path, 500, name="postgres")
    wrapped = tmp_path / "wrapped.tar"
    succeed("wrap", made.bundle, "--unlinked", "--tag", "postgres:1", "-o", wrapped)
    ended = load(engine, "--expect", made.id, made.base, wrapped)
    assert ended.code == 0, ended.err
    assert "does not get the name postgres:2" in ended.err
    assert engine.found(0).configs == {made.id[7:]}


def test_two_expected_images_do_not_share_a_name(engine: Loader, tmp_path: Path) -> None:
    """Before the fix, docker and ctr stored only one of the two images, but dib reported both."""
    images = [
        TestImage([build_layer([file("app", noise(seed, 9000))])], [name])
        for seed, name in ((700, "example.com/app:2"), (701, "example.com/app:2"))
    ]
    old = TestImage([build_layer([file("app", b"old")])], ["example.com/app:1"])
    (tmp_path / "old.tar").write_bytes(docker_save([old], "v25"))
    (tmp_path / "new.tar").write_bytes(docker_save(images, "classic"))
    succeed("create", tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "x.dib")
    ids = [f"sha256:{sha256(image.config_bytes()).hex()}" for image in images]
    expected = [word for identity in ids for word in ("--expect", identity)]
    ended = load(engine, *expected, tmp_path / "old.tar", tmp_path / "x.dib")
    assert (ended.code, "have the name 'example.com/app:2'" in ended.err) == (8, True), ended.err
    assert engine.found(8).configs == frozenset()


@pytest.mark.parametrize("engine", ["ctr"], indirect=True)
def test_many_images_without_names_are_refused_by_ctr(engine: Loader, tmp_path: Path) -> None:
    """Before the fix, dib started three processes for each of 65,536 images without a name."""
    images = [TestImage([build_layer([file("app", b"%d" % number)])], []) for number in range(65)]
    (tmp_path / "new.tar").write_bytes(docker_save(images, "classic"))
    succeed("create", "--no-base", tmp_path / "new.tar", tmp_path / "x.dib")
    ended = load(engine, tmp_path / "x.dib")
    assert (ended.code, "does not keep images without a name" in ended.err) == (6, True), ended.err
    assert engine.found(6).configs == frozenset()


@pytest.mark.parametrize("engine", ["ctr"], indirect=True)
def test_an_archive_that_is_expected_by_its_digest_is_not_written_anew_for_ctr(engine: Loader, tmp_path: Path) -> None:
    """Before the fix, ctr got only the images that the bundle described, and dib exited with code 0."""
    (tmp_path / "new.tar").write_bytes(docker_save([TestImage([build_layer([file("app", b"one")])], [])], "classic"))
    succeed("create", "--no-base", tmp_path / "new.tar", tmp_path / "x.dib")
    whole = f"sha256:{sha256((tmp_path / 'new.tar').read_bytes()).hex()}"
    for option in ("--expect", "--target"):
        ended = load(engine, option, whole, tmp_path / "x.dib")
        assert (ended.code, "does not keep images without a name" in ended.err) == (6, True), ended.err
    assert engine.found(6).configs == frozenset()


@pytest.mark.parametrize("engine", ["ctr"], indirect=True)
@pytest.mark.parametrize("is_odd", [False, True], ids=["plain", "odd"])
def test_an_image_without_a_name_beside_others_is_refused_by_ctr(engine: Loader, is_odd: bool, tmp_path: Path) -> None:
    """Before the fix, if the strict profile refused the archive, dib reported the image as loaded. However, the engine
    did not have the image.
    """
    images = [
        TestImage([build_layer([file("app", b"one")])], ["example.com/app:2"]),
        TestImage([build_layer([file("app", b"two")])], []),
    ]
    (tmp_path / "new.tar").write_bytes(docker_save(images, "classic"))
    if is_odd:
        with tarfile.open(tmp_path / "new.tar", "a") as archive:
            archive.addfile(tarfile.TarInfo("a~b"))
    succeed("create", "--no-base", tmp_path / "new.tar", tmp_path / "x.dib")
    ended = load(engine, tmp_path / "x.dib")
    assert (ended.code, "does not keep images without a name" in ended.err) == (6, True), ended.err
    assert engine.found(6).configs == frozenset()


@pytest.mark.parametrize("expects", ["", "image", "archive"])
def test_a_thin_image_with_two_names_gets_both(engine: Loader, expects: str, tmp_path: Path) -> None:
    """A thin image gets both names. podman and containerd read a thin image only from an OCI layout with one name."""
    made = Versions(tmp_path, 150 + len(expects), tags=("2", "latest"))
    with made.base.open("rb") as archive:
        engine.engine.run(*engine.engine.load_command, stdin=archive)
    digests = {"image": made.id, "archive": f"sha256:{sha256(made.target.read_bytes()).hex()}"}
    options = ("--expect", digests[expects]) if expects else ()
    ended = load(engine, *options, made.base, made.bundle, "--thin", "--json")
    assert ended.code == 0, ended.err
    names = [name for image in json.loads(ended.out)["images"] for name in image["names"]]
    assert names == ["example.com/app:2", "example.com/app:latest"]
    for tag in ("2", "latest"):
        if engine.engine.dib_name != "ctr":
            shown = engine.engine.run(
                engine.engine.dib_name, "inspect", "--format", "{{.Id}}", f"example.com/app:{tag}"
            )
            assert shown.strip()


@pytest.mark.parametrize("option", ["--expect", "--target"])
def test_a_thin_archive_that_is_expected_has_its_own_names(engine: Loader, option: str, tmp_path: Path) -> None:
    """The names come from the archive, because its digest is checked. The archive's digest does not cover the names in
    the bundle's description.
    """
    made = Versions(tmp_path, 170 + len(option))
    data = made.bundle.read_bytes()
    header = Header.decode(data[:64])
    at = 72 + int.from_bytes(data[64:68], "little")
    sections = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(data[at : at + header.stored], header.size))
    about = next(section for section in sections if section[0] == 2)
    about[1] = about[1].replace(b"example.com/app:2", b"example.com/dev:2")
    manifest = msgpack.packb(sections)
    packed = zstandard.ZstdCompressor().compress(manifest)
    head = Header(stored=len(packed), size=len(manifest), digest=sha256(packed))
    made.bundle.write_bytes(head.encode() + data[64:at] + packed + data[at + header.stored :])
    with made.base.open("rb") as archive:
        engine.engine.run(*engine.engine.load_command, stdin=archive)
    digest = f"sha256:{sha256(made.target.read_bytes()).hex()}"
    ended = load(engine, option, digest, made.base, made.bundle, "--thin", "--json")
    assert ended.code == 0, ended.err
    assert [name for image in json.loads(ended.out)["images"] for name in image["names"]] == ["example.com/app:2"]


def test_several_thin_images_get_their_own_names(engine: Loader, tmp_path: Path) -> None:
    below = build_layer([file("below", noise(190, 60_000))])
    old = TestImage([below], ["example.com/app:1"])
    new = [
        TestImage([below, build_layer([file("app", b"%d" % number)])], [f"example.com/app{number}:2"])
        for number in range(2)
    ]
    base, target, bundle = tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "update.dib"
    base.write_bytes(docker_save([old], "v25"))
    target.write_bytes(docker_save(new, "v25"))
    succeed("create", base, target, bundle)
    with base.open("rb") as archive:
        engine.engine.run(*engine.engine.load_command, stdin=archive)
    ended = load(engine, base, bundle, "--thin", "--json")
    assert ended.code == 0, ended.err
    images = {name: image["id"] for image in json.loads(ended.out)["images"] for name in image["names"]}
    assert images == {image.names[0]: f"sha256:{sha256(image.config_bytes()).hex()}" for image in new}


def test_names_that_dib_makes_of_an_id_are_of_this_image(engine: Loader, tmp_path: Path) -> None:
    """Before the fix, a bundle could give a name that dib had made from one image's ID to another image."""
    made = Versions(tmp_path, 200, name="localhost/dib", tags=("sha256-" + "0" * 64,))
    base = docker_save([TestImage([build_layer([file("app", b"old")])], ["localhost/dib:1"])], "v25")
    made.base.write_bytes(base)
    succeed("create", made.base, made.target, made.bundle)
    ended = load(engine, "--expect", made.id, made.base, made.bundle, "--json")
    assert ended.code == 0, ended.err
    names = [name for image in json.loads(ended.out)["images"] for name in image["names"]]
    assert names == ([f"localhost/dib:{made.id.replace(':', '-')}"] if engine.engine.dib_name == "ctr" else [])

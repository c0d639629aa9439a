"""Bundles with several targets, and with several bases. create uses only the helpful bases."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import code, edited, noise, text
from tests.program import dib, succeed

SERVICES = ("web", "api", "mail")


def runtime(number: int) -> bytes:
    return build_layer([file("usr/lib/runtime", edited(code(7, 400_000), number)), file("usr/data", noise(3, 150_000))])


def service(name: str, number: int, style: str = "v25", packing: str | None = None) -> bytes:
    own = edited(text(len(name), 80_000), number)
    shared = edited(code(9, 200_000), number)
    layers = [
        runtime(number),
        build_layer([file(f"app/{name}", own), file("app/common.so", shared), file("app/new", noise(number, 90_000))]),
    ]
    return docker_save([TestImage(layers, [f"example.com/{name}:{number}"])], style, packing)


@pytest.fixture(scope="module", params=["raw", "gzip", "mixed"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with old and new archives of three services, and release.dib, which rebuilds all new archives."""
    folder = tmp_path_factory.mktemp("release")
    forms = {
        "raw": [("v25", None)] * 3,
        "gzip": [("oci", "gzip")] * 3,
        "mixed": [("oci", "gzip"), ("podman", None), ("oci", "zstd")],
    }[request.param]
    for name, (style, packing) in zip(SERVICES, forms, strict=True):
        (folder / f"{name}1.tar").write_bytes(service(name, 1))
        (folder / f"{name}2.tar").write_bytes(service(name, 2, style, packing))
    bases = [part for name in SERVICES for part in ("--base", folder / f"{name}1.tar")]
    succeed("create", *bases, *(folder / f"{name}2.tar" for name in SERVICES), "-o", folder / "release.dib")
    return folder


def old(folder: Path) -> list[Path]:
    return [folder / f"{name}1.tar" for name in SERVICES]


@pytest.mark.parametrize("name", SERVICES)
def test_one_of_several(release: Path, name: str):
    ended = succeed("apply", *old(release), release / "release.dib", "--target", f"example.com/{name}:2")
    assert ended.out == (release / f"{name}2.tar").read_bytes()


def test_of_two_bases_the_one_that_is_missing_is_named(tmp_path: Path):
    one, two = (build_layer([file(name, noise(at, 90_000))]) for at, name in enumerate("ab"))
    for name, layers in (("one", [one]), ("two", [two]), ("new", [one, two, build_layer([file("c", b"c")])])):
        (tmp_path / f"{name}.tar").write_bytes(docker_save([TestImage(layers, [f"example.com/{name}:1"])]))
    bases = ("--base", tmp_path / "one.tar", "--base", tmp_path / "two.tar")
    succeed("create", *bases, tmp_path / "new.tar", "-o", tmp_path / "new.dib")
    out = tmp_path / "out.tar"
    for here, wanted in (("one", "two"), ("two", "one")):
        ended = dib("apply", tmp_path / f"{here}.tar", tmp_path / "new.dib", "-o", out)
        assert ended.code == 6
        assert f"the base of this bundle: example.com/{wanted}:1 (missing" in ended.err
        assert f'"docker save -o base.tar example.com/{wanted}:1"' in ended.err
        assert not out.exists()
    ended = dib("apply", tmp_path / "new.dib", "-o", out)
    assert "needs a base: example.com/one:1 and example.com/two:1 (missing" in ended.err


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.slow
def test_the_reference_decoder_makes_the_same(release: Path, name: str):
    decoder = Path(__file__).parent.parent / "spec" / "decoder"
    command = [sys.executable, "-I", decoder, "--target", f"example.com/{name}:2", *old(release)]
    done = subprocess.run([*command, release / "release.dib"], capture_output=True, check=True)
    assert done.stdout == (release / f"{name}2.tar").read_bytes()


def test_all_of_several(release: Path, tmp_path: Path):
    succeed("apply", *old(release), release / "release.dib", "-o", f"{tmp_path}/out/")
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert made == {f"example.com_{name}_2.tar": (release / f"{name}2.tar").read_bytes() for name in SERVICES}


def test_one_into_a_folder(release: Path, tmp_path: Path):
    succeed("apply", *old(release), release / "release.dib", "--target", "example.com/api:2", "-o", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["example.com_api_2.tar"]


def test_several_and_none_chosen(release: Path):
    ended = dib("apply", *old(release), release / "release.dib")
    assert (ended.code, ended.out) == (2, b"")
    assert all(f"example.com/{name}:2" in ended.err for name in SERVICES)
    assert "--target" in ended.err
    ended = dib("apply", *old(release), release / "release.dib", "--target", "example.com/web:1")
    assert (ended.code, ended.out) == (2, b"")
    assert "no targets match example.com/web:1" in ended.err


def test_nothing_is_overwritten_and_nothing_half_written(release: Path, tmp_path: Path):
    (tmp_path / "example.com_mail_2.tar").write_bytes(b"mine")
    ended = dib("apply", *old(release), release / "release.dib", "-o", tmp_path)
    assert ended.code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["example.com_mail_2.tar"]
    damaged = bytearray((release / "release.dib").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.dib").write_bytes(damaged)
    ended = dib("apply", *old(release), tmp_path / "damaged.dib", "-o", f"{tmp_path}/out/")
    assert ended.code == 7
    assert not (tmp_path / "out").exists()


def test_a_target_by_its_digests(release: Path):
    told = json.loads(succeed("inspect", release / "release.dib", "--json").out)
    for name, target in zip(SERVICES, told["targets"], strict=True):
        for wanted in (target["sha256"], target["images"][0]["id"]):
            ended = succeed("apply", *old(release), release / "release.dib", "--target", wanted)
            assert ended.out == (release / f"{name}2.tar").read_bytes()


def test_a_whole_release_is_verified(release: Path):
    assert b"rebuilds" in succeed("verify", release / "release.dib", *(f"--base={path}" for path in old(release))).out


def test_a_target_needs_the_bases_it_takes_from_alone(tmp_path: Path):
    for name, seed in (("one", 1), ("two", 2)):
        for number in (1, 2):
            layer = build_layer([file(f"app/{name}", edited(noise(seed, 300_000), number))])
            image = docker_save([TestImage([layer], [f"{name}:{number}"])])
            (tmp_path / f"{name}{number}.tar").write_bytes(image)
    bases = ("--base", tmp_path / "one1.tar", "--base", tmp_path / "two1.tar")
    succeed("create", *bases, tmp_path / "one2.tar", tmp_path / "two2.tar", "-o", tmp_path / "out.dib")
    ended = succeed("apply", tmp_path / "two1.tar", tmp_path / "out.dib", "--target", "two:2")
    assert ended.out == (tmp_path / "two2.tar").read_bytes()
    succeed("apply", "--check", tmp_path / "two1.tar", tmp_path / "out.dib", "--target", "two:2")
    ended = dib("apply", tmp_path / "two1.tar", tmp_path / "out.dib", "--target", "one:2")
    assert (ended.code, ended.out) == (6, b"")
    check = ("apply", "--check", tmp_path / "out.dib")
    both = (tmp_path / "one1.tar", tmp_path / "two1.tar")
    assert succeed(*check, both[1], "--target", "two:2").out.startswith(b"ok: two:1 is here; applying makes two:2")
    lines = succeed(*check, *both).out.decode().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["ok: one:1", "ok: one:1"]
    assert all("one:1, two:1 are here" in line for line in lines)
    told = json.loads(succeed(*check, *both, "--json").out)
    assert [target["images"][0]["names"] for target in told["targets"]] == [["one:2"], ["two:2"]]
    ended = dib(*check, both[1])
    assert ended.code == 6
    assert [line[:4] for line in ended.out.decode().splitlines()] == ["no: ", "ok: "]
    assert "two1.tar does not contain the base of this bundle" in ended.err
    ended = dib("load", *both, tmp_path / "out.dib")
    assert (ended.code, "--target NAME" in ended.err, "-o" in ended.err) == (2, True, False)


def test_what_targets_share_is_there_once(tmp_path: Path):
    """A bundle has shared content only once. Here, ten services share a layer, and each has a similar own layer."""
    names = [f"service{number}" for number in range(10)]
    for number, name in enumerate(names):
        own = build_layer([file("app/common", edited(noise(5, 200_000), number)), file("app/me", text(number, 5_000))])
        layers = [build_layer([file("usr/lib", noise(1, 500_000))]), own]
        (tmp_path / f"{name}.tar").write_bytes(docker_save([TestImage(layers, [f"{name}:1"])]))
    archives = [tmp_path / f"{name}.tar" for name in names]
    succeed("create", "--no-base", *archives, "-o", tmp_path / "all.dib")
    succeed("create", "--no-base", archives[0], tmp_path / "one.dib")
    assert (tmp_path / "all.dib").stat().st_size < 1.15 * (tmp_path / "one.dib").stat().st_size
    ended = succeed("apply", tmp_path / "all.dib", "--target", "service7:1")
    assert ended.out == archives[7].read_bytes()


@pytest.mark.parametrize("damage", [b"", b"junk"], ids=["sound", "damaged"])
def test_a_layer_of_an_earlier_target_may_be_compressed(tmp_path: Path, damage: bytes):
    """The second target uses a file of the first target's compressed layer.

    If junk follows the layer, gzip cannot read the layer.
    """
    shared = noise(11, 300_000)
    packed = [
        gzip.compress(build_layer([file("usr/shared", shared), file(f"usr/{name}", text(row, 9000))]), mtime=0)
        for row, name in enumerate(("one", "two"))
    ]
    packed[0] += damage
    for row, blob in enumerate(packed):
        image = TestImage([gzip.decompress(blob.removesuffix(b"junk"))], [f"app:{row}"])
        entry = {"Config": "c.json", "RepoTags": image.names, "Layers": ["l"]}
        members = [file("c.json", image.config_bytes()), file("l", blob)]
        (tmp_path / f"{row}.tar").write_bytes(
            build_layer([*members, file("manifest.json", json.dumps([entry]).encode())])
        )
    succeed("create", "--no-base", tmp_path / "0.tar", tmp_path / "1.tar", "-o", tmp_path / "all.dib")
    for row in (0, 1):
        made = succeed("apply", tmp_path / "all.dib", "--target", f"app:{row}").out
        assert made == (tmp_path / f"{row}.tar").read_bytes()
    reader = BundleReader(io.BytesIO((tmp_path / "all.dib").read_bytes()))
    places = [item.place for item in reader.manifest.objects]
    assert [place.is_compressed for place in places if place] == ([] if damage else [True])
    assert ((tmp_path / "all.dib").stat().st_size < 350_000) == (not damage)


def test_a_chain_over_several_targets(release: Path, tmp_path: Path):
    (tmp_path / "web3.tar").write_bytes(service("web", 3))
    succeed("create", release / "web2.tar", tmp_path / "web3.tar", tmp_path / "web.dib")
    ended = succeed("apply", *old(release), tmp_path / "web.dib", release / "release.dib")
    assert ended.out == (tmp_path / "web3.tar").read_bytes()


def test_the_bundle_depends_on_nothing_but_its_inputs(release: Path, tmp_path: Path):
    bases = [part for path in old(release) for part in ("--base", path)]
    for workers in ("1", "3"):
        targets = [release / f"{name}2.tar" for name in SERVICES]
        succeed("create", *bases, *targets, "-o", tmp_path / f"{workers}.dib", "--workers", workers)
        assert (tmp_path / f"{workers}.dib").read_bytes() == (release / "release.dib").read_bytes()


def test_of_many_bases_the_best_is_picked(tmp_path: Path):
    """From many bases, create picks the best base.

    With eight versions as bases, a bundle is as small as with the closest version as the only base.
    """
    rng = random.Random(3)
    data = code(1, 600_000)
    versions = []
    for _ in range(9):
        data = edited(data, rng.randrange(1000), 40)
        versions.append(data)
    target = edited(versions[4], 77, 4)
    for number, content in enumerate([*versions[:8], target]):
        layers = [build_layer([file("app/program", content), file("etc/version", b"%d\n" % number)])]
        (tmp_path / f"{number}.tar").write_bytes(docker_save([TestImage(layers, [f"app:{number}"])]))
    sizes = []
    for number in range(8):
        succeed("create", tmp_path / f"{number}.tar", tmp_path / "8.tar", tmp_path / f"{number}.dib")
        sizes.append((tmp_path / f"{number}.dib").stat().st_size)
    bases = [part for number in range(8) for part in ("--base", tmp_path / f"{number}.tar")]
    ended = succeed("create", *bases, tmp_path / "8.tar", "-o", tmp_path / "picked.dib")
    assert "of 8 bases are used: " in ended.err
    assert (tmp_path / "picked.dib").stat().st_size <= 1.05 * min(sizes)
    told = json.loads(succeed("inspect", tmp_path / "picked.dib", "--json").out)
    assert ["app:4"] in [image["names"] for image in told["base"]["images"]]
    assert len(told["base"]["images"]) < 8


def test_about_is_not_needed_to_apply_one_of_several(release: Path, tmp_path: Path):
    bundle = BundleReader(io.BytesIO((release / "release.dib").read_bytes()))
    out = io.BytesIO()
    opened = [open_archive(path) for path in old(release)]
    target = "sha256:" + bundle.manifest.targets[2].digest.hex()
    with Context() as context:
        rebuild_target(opened, bundle, out.write, RebuildOptions(target=target), context)
    for archive in opened:
        archive.close()
    assert out.getvalue() == (release / "mail2.tar").read_bytes()

"""Targets in other formats, and thin archives. Real engines load the same images from them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests import engines, needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import dib, succeed

NAMES = ("example.com/app:1", "example.com/app:2")
STYLES = ("classic", "v25", "podman", "oci", "c8d")
ENGINES = ("classic", "containerd", "podman", "ctr")


def release(number: int) -> TestImage:
    bottom = build_layer([file("usr/data", noise(number_of_bottom, 400_000)) for number_of_bottom in (1,)])
    layers = [bottom, build_layer([file("app/version", b"%d" % number + noise(3, 50_000))])]
    if number == 2:
        layers.append(build_layer([file("app/more", noise(4, 10_000))]))
    return TestImage(layers, [NAMES[number - 1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with old.tar and new.tar of each style, and bundles between them."""
    work = tmp_path_factory.mktemp("forms")
    for style in STYLES:
        stored = "gzip" if style == "c8d" else None
        for number, name in ((1, "old"), (2, "new")):
            (work / f"{style}-{name}.tar").write_bytes(docker_save([release(number)], style, stored))
        succeed("create", work / f"{style}-old.tar", work / f"{style}-new.tar", work / f"{style}.dib")
    return work


def blobs(archive: Path) -> dict[str, int]:
    with tarfile.open(archive) as tar:
        return {member.name: member.size for member in tar if member.isfile()}


@pytest.mark.parametrize("style", STYLES)
def test_canonical_forms_have_the_same_blobs(folder: Path, tmp_path: Path, style: str):
    made = {}
    for form in ("docker-archive", "oci-archive"):
        out = tmp_path / f"{form}.tar"
        succeed("apply", folder / f"{style}-old.tar", folder / f"{style}.dib", "--format", form, "-o", out)
        made[form] = blobs(out)
    succeed("apply", folder / f"{style}-old.tar", folder / f"{style}.dib", "--format", f"oci:{tmp_path / 'layout'}")
    layout = {
        str(path.relative_to(tmp_path / "layout")): path.stat().st_size
        for path in (tmp_path / "layout").rglob("*")
        if path.is_file()
    }
    assert layout == made["oci-archive"]
    assert made["docker-archive"].keys() - made["oci-archive"].keys() == {"manifest.json"}
    again = tmp_path / "again.tar"
    succeed("apply", folder / f"{style}-old.tar", folder / f"{style}.dib", "--format", "oci-archive", "-o", again)
    assert again.read_bytes() == (tmp_path / "oci-archive.tar").read_bytes()
    needs.programs("skopeo")
    looked = subprocess.run(
        ["skopeo", "inspect", "--config", "--raw", f"oci:{tmp_path / 'layout'}"], capture_output=True, check=False
    )
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout)["rootfs"]["diff_ids"][2:]


@pytest.mark.parametrize("style", STYLES)
def test_thin_archives_are_without_what_the_base_has(folder: Path, tmp_path: Path, style: str):
    thin = tmp_path / "thin.tar"
    ended = succeed("apply", folder / f"{style}-old.tar", folder / f"{style}.dib", "--thin", "-o", thin)
    assert "without 1 layer of example.com/app:1" in ended.err
    assert thin.stat().st_size < 150_000


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A folder with three releases of an image (1.tar to 3.tar), and bundles between them.

    Each release has one more layer than the previous release.
    """
    layers = [build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(3)]
    for release in (1, 2, 3):
        image = TestImage(layers[:release], [f"example.com/grown:{release}"])
        (tmp_path / f"{release}.tar").write_bytes(docker_save([image], "v25"))
    for old, new in ((1, 2), (2, 3)):
        succeed("create", tmp_path / f"{old}.tar", tmp_path / f"{new}.tar", tmp_path / f"{old}-{new}.dib")
    return tmp_path


def test_a_thin_archive_of_a_chain_has_what_was_made_on_the_way(grown: Path) -> None:
    thin = grown / "thin.tar"
    sources = (grown / "1.tar", grown / "1-2.dib", grown / "2-3.dib")
    assert "without 1 layer of example.com/grown:1" in succeed("apply", *sources, "--thin", "-o", thin).err
    assert noise(0, 40_000) not in thin.read_bytes()
    assert noise(1, 40_000) in thin.read_bytes()


def test_a_thin_archive_has_what_lies_on_another_layer_than_in_the_base(grown: Path) -> None:
    first, second, third = (build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(3))
    (grown / "other.tar").write_bytes(docker_save([TestImage([first, third, second], ["example.com/grown:4"])], "v25"))
    succeed("create", grown / "2.tar", grown / "other.tar", grown / "other.dib")
    succeed("apply", grown / "2.tar", grown / "other.dib", "--thin", "-o", grown / "thin.tar")
    assert [noise(number, 40_000) in (grown / "thin.tar").read_bytes() for number in range(3)] == [False, True, True]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return a folder with out.dib, and with base.tar in an engine's form. out.dib was created from a registry's
    compressed layers.
    """
    layers = [build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(2)]
    for release, name in ((1, "old"), (2, "new")):
        image = TestImage(layers[:release], [f"example.com/grown:{release}"])
        (tmp_path / f"{name}.tar").write_bytes(docker_save([image], "oci", "gzip"))
    (tmp_path / "base.tar").write_bytes(docker_save([TestImage(layers[:1], ["example.com/grown:1"])], "v25"))
    succeed("create", tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "out.dib")
    return tmp_path


def test_thin_says_that_nothing_is_left_out(packed: Path) -> None:
    """``--thin`` reports if no layer is left out.

    A layer is left out only if its compression is the same as in the base. podman accepts no other compression.
    """
    ended = succeed("apply", "--thin", packed / "base.tar", packed / "out.dib", "-o", packed / "thin.tar")
    assert "dib: nothing is left out: example.com/grown:1 has no layer in the form that the new image has" in ended.err
    assert "give the base as docker://HOST/NAME:TAG\n" in ended.err
    assert (
        "without 1 layer" in succeed("apply", "--thin", packed / "old.tar", packed / "out.dib", "-o", "/dev/null").err
    )


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["classic", "containerd", "podman"])
def test_loading_thin_asks_for_layers_by_whatever_name(grown: Path, kind: str) -> None:
    (grown / "far.json").write_bytes(succeed("inventory", grown / "2.tar").out)
    bases = [word for number in (1, 2) for word in ("--base", grown / f"{number}.tar")]
    succeed("create", "--inventory", grown / "far.json", *bases, grown / "3.tar", "-o", grown / "have.dib")
    with engines.engine(kind) as engine:
        engine.load(grown / "2.tar")
        for sources in ((grown / "2.tar", grown / "have.dib"), (grown / "1.tar", grown / "1-2.dib", grown / "2-3.dib")):
            ended = dib("load", "--thin", "--engine", engine.dib_name, *sources, env=engine.env)
            assert ended.code == 0, ended.err
            assert ": loaded, in" in ended.err


@pytest.mark.engine
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ENGINES)
def test_engines_load_canonical_and_thin_archives(folder: Path, tmp_path: Path, kind: str, style: str):
    old, bundle = folder / f"{style}-old.tar", folder / f"{style}.dib"
    whole, thin = tmp_path / "whole.tar", tmp_path / "thin.tar"
    succeed("apply", old, bundle, "--format", "docker-archive", "-o", whole)
    succeed("apply", old, bundle, "--thin", "-o", thin)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(engines.engine(kind))
        first.load(whole)
        wanted = first.facts(NAMES[1])
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(engines.engine(kind))
        base = tmp_path / "base.tar"
        succeed("apply", old, _whole_base(old, tmp_path), "--format", "docker-archive", "-o", base)
        second.load(base)
        second.load(thin)
        assert second.facts(NAMES[1]) == wanted


def _whole_base(old: Path, tmp_path: Path) -> Path:
    """Return a bundle whose target is also its base, so that apply can write the base in a form for all engines."""
    bundle = tmp_path / "base.dib"
    if not bundle.exists():
        succeed("create", old, old, bundle)
    return bundle


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["classic", "containerd", "podman"])
def test_loading_thin_asks_for_the_base_first(folder: Path, kind: str):
    old, bundle = folder / "v25-old.tar", folder / "v25.dib"
    with engines.engine(kind) as engine:
        ended = dib("load", "--thin", "--engine", engine.dib_name, old, bundle, env=engine.env)
        assert ended.code == 6
        assert "leaves out the layers of example.com/app:1" in ended.err
        assert engine.images() == []
        engine.load(old)
        ended = dib("load", "--thin", "--engine", engine.dib_name, old, bundle, env=engine.env)
        assert ended.code == 0, ended.err
        assert ": loaded, in" in ended.err


@pytest.mark.engine
@pytest.mark.parametrize(("kind", "transport"), [("classic", "docker-daemon"), ("podman", "containers-storage")])
def test_a_running_engine_gives_the_base(folder: Path, kind: str, transport: str):
    with engines.engine(kind) as engine:
        engine.load(folder / "v25-old.tar")
        ended = dib("apply", f"{transport}:{NAMES[0]}", folder / "v25.dib", env=engine.env)
        assert ended.code == 0, ended.err
        assert ended.out == (folder / "v25-new.tar").read_bytes()


def test_a_form_that_is_none(folder: Path):
    ended = dib("apply", folder / "v25-old.tar", folder / "v25.dib", "--format", "zip")
    assert (ended.code, ended.out) == (2, b"")


def test_a_folder_that_is_there_already(folder: Path, tmp_path: Path):
    ended = dib("apply", folder / "v25-old.tar", folder / "v25.dib", "--format", f"oci:{tmp_path}")
    assert ended.code == 3
    assert not list(tmp_path.iterdir())


def test_a_folder_leaves_what_is_beside_it_alone(folder: Path, tmp_path: Path):
    """Applying into a folder does not change files beside the folder.

    A folder that has the name of a possible temporary folder stays unchanged, too. A failed run leaves no folder.
    """
    other = tmp_path / "layout.part"
    other.mkdir()
    (other / "mine").write_text("kept")
    succeed("apply", folder / "v25-old.tar", folder / "v25.dib", "--format", f"oci:{tmp_path / 'layout'}")
    ended = dib(
        "apply", folder / "v25-old.tar", folder / "v25.dib", "--format", f"oci:{tmp_path / 'absent' / 'layout'}"
    )
    assert ended.code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout", "layout.part"]
    assert (other / "mine").read_text() == "kept"


def _drop_layers(engine: engines.Engine, namespace: str) -> None:
    """Delete the layers from containerd's store, like containerd's option discard_unpacked_layers."""
    command = ["ctr", "-a", engine.env["CONTAINERD_ADDRESS"], "-n", namespace, "content"]
    rows = [row.split() for row in engine.run(*command, "ls").decode().splitlines()[1:]]
    for digest, size, *_ in rows:
        if size.endswith(("MB", "MiB", "kB", "KiB")) and float(size.rstrip("kKMiB")) > 20:
            engine.run(*command, "rm", digest)


@pytest.mark.engine
def test_a_containerd_that_discards_unpacked_layers_cannot_save(folder: Path, tmp_path: Path):
    with engines.engine("containerd") as engine:
        engine.load(folder / "v25-old.tar")
        _drop_layers(engine, "moby")
        out = tmp_path / "out.tar"
        ended = dib("apply", f"docker-daemon:{NAMES[0]}", folder / "v25.dib", "-o", out, env=engine.env)
        assert ended.code == 3
        assert "discard_unpacked_layers = false" in ended.err
        assert not out.exists()


@pytest.mark.engine
def test_a_containerd_that_discards_unpacked_layers_takes_thin_archives(folder: Path, tmp_path: Path):
    with engines.engine("ctr") as engine:
        old = tmp_path / "old.tar"
        succeed("apply", folder / "v25-old.tar", _whole_base(folder / "v25-old.tar", tmp_path), "-o", old)
        engine.load(old)
        _drop_layers(engine, "test")
        ended = dib("load", "--thin", "--engine", "ctr", old, folder / "v25.dib", env=engine.env)
        assert ended.code == 0, ended.err
        assert engine.export(NAMES[1])

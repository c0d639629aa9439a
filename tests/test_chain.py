"""Chains of bundles, and merged bundles. Inputs may also be folders and names of images."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from dibundle.applying import base_store
from tests.builders import TestImage, build_layer, docker_save, extract, file
from tests.content import noise, text
from tests.program import dib, succeed


def release(number: int) -> bytes:
    words = text(1, 200_000)
    files = [
        file("usr/data", noise(1, 200_000)),
        file("app/words", words[: 1000 * number] + b"version %d" % number + words[1000 * number :]),
    ]
    if number == 2:
        files.append(file("app/only-in-two", noise(2, 300_000)))
    return docker_save([TestImage([build_layer(files)], [f"example.com/app:{number}"])], "oci")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with v1.tar to v4.tar, and bundles between neighbouring versions."""
    folder = tmp_path_factory.mktemp("versions")
    for number in range(1, 5):
        (folder / f"v{number}.tar").write_bytes(release(number))
    for number in range(1, 4):
        bundle = folder / f"v{number}-v{number + 1}.dib"
        succeed("create", folder / f"v{number}.tar", folder / f"v{number + 1}.tar", bundle)
    return folder


def bundles(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.dib" for name in names]


@pytest.mark.parametrize(
    "names", [("v1-v2", "v2-v3", "v3-v4"), ("v3-v4", "v1-v2", "v2-v3"), ("v2-v3", "v3-v4", "v1-v2")]
)
def test_a_chain_in_any_order(versions: Path, names: tuple[str, ...]):
    ended = succeed("apply", *bundles(versions, *names), versions / "v1.tar")
    assert ended.out == (versions / "v4.tar").read_bytes()


def test_a_chain_leaves_nothing_behind(versions: Path, tmp_path: Path):
    succeed(
        "apply", versions / "v1.tar", *bundles(versions, "v1-v2", "v2-v3"), "-o", tmp_path / "v3.tar", "--tmp", tmp_path
    )
    assert (tmp_path / "v3.tar").read_bytes() == (versions / "v3.tar").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["v3.tar"]


@pytest.mark.parametrize("limit", [(), ("--max-size", "600kB")], ids=["room", "little room"])
def test_a_long_chain(tmp_path: Path, limit: tuple[str, ...]):
    """Each version keeps content of all earlier versions.

    Stored targets refer to earlier targets, but a chain of references has at most eight levels.
    """
    noises = [noise(number, 20_000) for number in range(12)]
    for number in range(1, 13):
        files = [file(f"app/{index}", noises[index]) for index in range(number)]
        layers = [build_layer(files), build_layer([file("app/version", b"%d" % number)])]
        image = TestImage(layers, [f"example.com/app:{number}"])
        (tmp_path / f"{number}.tar").write_bytes(docker_save([image], "v25"))
    steps = [(number, number + 1) for number in range(1, 12)]
    for old, new in steps:
        succeed("create", tmp_path / f"{old}.tar", tmp_path / f"{new}.tar", tmp_path / f"{old}.dib")
    chain = [tmp_path / f"{old}.dib" for old, _ in steps]
    assert succeed("apply", tmp_path / "1.tar", *chain, *limit).out == (tmp_path / "12.tar").read_bytes()
    assert dib("apply", "--check", tmp_path / "1.tar", *chain, *limit).code == 0


def test_a_chain_with_a_gap(versions: Path, tmp_path: Path):
    out = tmp_path / "out.tar"
    ended = dib("apply", versions / "v1.tar", *bundles(versions, "v1-v2", "v3-v4"), "-o", out)
    assert (ended.code, ended.out) == (6, b"")
    assert f"{versions}/v3-v4.dib builds on example.com/app:3" in ended.err
    assert "add example.com/app:3, or a bundle that rebuilds example.com/app:3" in ended.err
    ended = dib("apply", versions / "v4.tar", *bundles(versions, "v1-v2", "v2-v3"), "-o", out)
    assert ended.code == 6
    assert f"{versions}/v1-v2.dib builds on example.com/app:1; {versions}/v2-v3.dib builds on" in ended.err
    assert "the bundle that is missing between" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_of_before_is_named(versions: Path, tmp_path: Path):
    chain = ("apply", versions / "v2.tar", *bundles(versions, "v1-v2", "v2-v3"), "-o", tmp_path / "out.tar")
    ended = dib(*chain, "--tmp", tmp_path)
    assert ended.code == 6
    assert f"lack an image that a bundle builds on: {versions}/v1-v2.dib builds on example.com/app:1\n" in ended.err
    assert "omit this bundle if you do not need it" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_chain_is_checked(versions: Path):
    chain = bundles(versions, "v1-v2", "v2-v3")
    ended = succeed("apply", "--check", versions / "v1.tar", *chain, "--json")
    assert json.loads(ended.out)["target"]["images"][0]["names"] == ["example.com/app:3"]
    assert [image["names"] for image in json.loads(ended.out)["needs"]] == [["example.com/app:1"]]
    assert "ok: example.com/app:1 is here; " in succeed("apply", "--check", versions / "v1.tar", *chain).out.decode()
    assert json.loads(ended.out)["temporary_space"] < (versions / "v2.tar").stat().st_size
    assert dib("apply", "--check", versions / "v3.tar", *chain).code == 6
    assert dib("apply", "--check", versions / "v1.tar", *bundles(versions, "v1-v2", "v3-v4")).code == 6


def test_bundles_that_are_no_chain(versions: Path, tmp_path: Path):
    other = tmp_path / "other.dib"
    succeed("create", versions / "v1.tar", versions / "v4.tar", other)
    ended = dib("apply", versions / "v1.tar", other, versions / "v1-v2.dib")
    assert ended.code == 2
    assert f"none builds on another: {other} (it makes example.com/app:4) and {versions}/v1-v2.dib (it" in ended.err


def test_the_same_bundle_given_twice_counts_once(versions: Path):
    twice = succeed("apply", versions / "v1.tar", *bundles(versions, "v1-v2", "v2-v3", "v1-v2"))
    assert twice.out == (versions / "v3.tar").read_bytes()
    ended = dib("apply", versions / "v4.tar", *bundles(versions, "v1-v2", "v1-v2"))
    assert (ended.code, "does not contain the base of this bundle" in ended.err) == (6, True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like ``versions``.

    All versions have the same lowest layer, and a further bundle leads back from v2 to v1.
    """
    folder = tmp_path_factory.mktemp("shared")
    below = build_layer([file("usr/data", noise(1, 200_000))])
    for number in range(1, 5):
        image = TestImage([below, build_layer([file("app/version", b"%d" % number)])], [f"example.com/app:{number}"])
        (folder / f"v{number}.tar").write_bytes(docker_save([image], "v25"))
    for old, new in ((1, 2), (2, 3), (3, 4), (2, 1)):
        succeed("create", folder / f"v{old}.tar", folder / f"v{new}.tar", folder / f"v{old}-v{new}.dib")
    return folder


@pytest.mark.parametrize("bases", [(1, 2), (2, 1), (1, 3), (1, 2, 3), (1, 2, 3, 4)])
def test_a_chain_with_the_bases_of_several_steps(shared: Path, bases: tuple[int, ...], tmp_path: Path):
    chain = [shared / f"v{number}.tar" for number in bases] + bundles(shared, "v3-v4", "v1-v2", "v2-v3")
    assert succeed("apply", *chain).out == (shared / "v4.tar").read_bytes()
    succeed("merge", *chain, "-o", tmp_path / "m.dib")
    assert succeed("apply", *chain[: len(bases)], tmp_path / "m.dib").out == (shared / "v4.tar").read_bytes()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_a_layer_that_comes_again_does_not_turn_a_chain_around(tmp_path: Path, order: tuple[int, ...]):
    """A repeated layer does not reverse a chain. If images share layers, their IDs in the bundles decide the order."""
    layers = [build_layer([file(f"{number}/data", noise(number, 30_000))]) for number in range(3)]
    images = [layers[:2], layers[1:2], layers[:2], [layers[0], layers[2]]]
    for number, image in enumerate(images):
        own = [*image, build_layer([file("version", b"%d" % number)])]
        saved = docker_save([TestImage(own, [f"example.com/app:{number}"])], "v25")
        (tmp_path / f"v{number}.tar").write_bytes(saved)
    chain = [tmp_path / f"{number}.dib" for number in range(3)]
    for number, bundle in enumerate(chain):
        succeed("create", tmp_path / f"v{number}.tar", tmp_path / f"v{number + 1}.tar", bundle)
    ended = succeed("apply", tmp_path / "v0.tar", *(chain[number] for number in order))
    assert ended.out == (tmp_path / "v3.tar").read_bytes()


def test_archives_that_do_not_say_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If archives do not claim digests of their content, dib searches the content itself.

    Each blob is hashed once to order the bundles, and once for each step.
    """
    first = [build_layer([file("lib", text(1, 200_000))]), build_layer([file("app", text(2, 50_000))])]
    last = [build_layer([file("lib", text(1, 199_000))]), build_layer([file("app", text(2, 51_000))])]
    for number, layers in enumerate((first, first, first, first, last)):
        image = TestImage(layers, [f"example.com/app:{number}"], {"number": number})
        (tmp_path / f"v{number}.tar").write_bytes(docker_save([image], "podman", "zstd"))
    chain = [tmp_path / f"{number}.dib" for number in range(4)]
    for number, bundle in enumerate(chain):
        succeed("create", tmp_path / f"v{number}.tar", tmp_path / f"v{number + 1}.tar", bundle)
    hashed: list[int] = []
    real = base_store.sha256_of
    monkeypatch.setattr(base_store, "sha256_of", lambda pieces: hashed.append(1) or real(pieces))
    ended = succeed("apply", tmp_path / "v0.tar", *chain[::-1])
    assert ended.out == (tmp_path / "v4.tar").read_bytes()
    assert len(hashed) <= 80
    forged = tmp_path / "forged.tar"
    forged.write_bytes((tmp_path / "v0.tar").read_bytes().replace(b"example.com/app:0", b"example.com/app:x"))
    assert succeed("apply", forged, *chain).out == ended.out


def test_a_bundle_that_is_a_candidate_too_keeps_its_place(versions: Path):
    bundle, chain = versions / "v2-v3.dib", bundles(versions, "v1-v2", "v2-v3")
    ended = succeed("apply", versions / "v1.tar", *chain, "--base", bundle)
    assert ended.out == (versions / "v3.tar").read_bytes()
    for order in ((bundle, "--base", bundle), ("--base", bundle, bundle)):
        assert succeed("apply", versions / "v2.tar", *order).out == (versions / "v3.tar").read_bytes()


def test_a_chain_without_an_end(shared: Path):
    ended = dib("apply", shared / "v1.tar", shared / "v2.tar", *bundles(shared, "v1-v2", "v2-v1"))
    assert (ended.code, ended.out) == (2, b"")
    assert "error: 2 bundles can be applied, but each builds on another: " in ended.err
    assert "hint: apply them one at a time\n" in ended.err


def test_a_damaged_link_of_a_chain(versions: Path, tmp_path: Path):
    damaged = bytearray((versions / "v1-v2.dib").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.dib").write_bytes(damaged)
    ended = dib("apply", versions / "v1.tar", tmp_path / "damaged.dib", versions / "v2-v3.dib")
    assert (ended.code, ended.out) == (7, b"")


def test_merging_leaves_out_what_is_dropped_again(versions: Path, tmp_path: Path):
    merged, direct = tmp_path / "v1-v3.dib", tmp_path / "direct.dib"
    succeed("merge", versions / "v1.tar", *bundles(versions, "v1-v2", "v2-v3"), "-o", merged)
    succeed("create", versions / "v1.tar", versions / "v3.tar", direct)
    assert merged.stat().st_size <= 1.2 * direct.stat().st_size
    assert (versions / "v1-v2.dib").stat().st_size > 300_000
    assert succeed("apply", versions / "v1.tar", merged).out == (versions / "v3.tar").read_bytes()
    ended = dib("merge", versions / "v1.tar", versions / "v1-v2.dib", "-o", tmp_path / "no.dib")
    assert (ended.code, (tmp_path / "no.dib").exists()) == (2, False)


def test_merging_takes_short_levels(versions: Path, tmp_path: Path):
    chain = (versions / "v1.tar", *bundles(versions, "v1-v2", "v2-v3"))
    succeed("merge", "-1", *chain, "-o", tmp_path / "short.dib")
    succeed("merge", *chain, "-o", tmp_path / "long.dib", "--level", "1")
    assert (tmp_path / "short.dib").read_bytes() == (tmp_path / "long.dib").read_bytes()


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        extract(tar, folder)
    return folder


def test_an_oci_layout_in_a_folder(versions: Path, tmp_path: Path):
    old, new = (unpacked(versions / f"v{number}.tar", tmp_path / str(number)) for number in (1, 2))
    assert succeed("apply", old, versions / "v1-v2.dib").out == (versions / "v2.tar").read_bytes()
    assert succeed("apply", f"oci:{old}:latest", versions / "v1-v2.dib").out == (versions / "v2.tar").read_bytes()
    succeed("create", f"oci:{old}", f"oci:{new}", tmp_path / "folders.dib")
    made = succeed("apply", f"oci-archive:{versions / 'v1.tar'}", tmp_path / "folders.dib").out
    (tmp_path / "made.tar").write_bytes(made)
    again = unpacked(tmp_path / "made.tar", tmp_path / "again")
    files = {path.relative_to(new): path.read_bytes() for path in new.rglob("*") if path.is_file()}
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == files


def test_a_folder_that_is_no_layout(tmp_path: Path, versions: Path):
    ended = dib("apply", tmp_path, versions / "v1-v2.dib")
    assert ended.code == 4
    assert "not an OCI layout" in ended.err


def engine(folder: Path, name: str, script: str) -> dict[str, str]:
    """Put a program called ``name`` first on the PATH."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_an_engine_is_asked_for_the_base(versions: Path, tmp_path: Path):
    script = (
        f'[ "$1" = image ] && echo 1000 && exit\n[ "$*" = "save -- app:1" ] && exec cat {versions / "v1.tar"}\nexit 9'
    )
    env = engine(tmp_path, "docker", script)
    ended = dib("apply", "docker-daemon:app:1", versions / "v1-v2.dib", env=env)
    assert (ended.code, ended.out) == (0, (versions / "v2.tar").read_bytes()), ended.err


def test_an_engine_without_the_image(versions: Path, tmp_path: Path):
    env = engine(tmp_path, "docker", "echo 'No such image: app:7' >&2; exit 1")
    ended = dib("apply", "docker-daemon:app:7", versions / "v1-v2.dib", env=env)
    assert ended.code == 3
    assert "No such image: app:7" in ended.err
    ended = dib("apply", "containers-storage:", versions / "v1-v2.dib")
    assert ended.code == 2


def test_a_containerd_that_threw_layers_away(versions: Path, tmp_path: Path):
    script = '[ "$1" = image ] && echo 1 && exit\necho "content digest sha256:abc: not found" >&2; exit 1'
    ended = dib("apply", "docker-daemon:app:1", versions / "v1-v2.dib", env=engine(tmp_path, "docker", script))
    assert ended.code == 3
    assert "discard_unpacked_layers" in ended.err


@pytest.mark.parametrize("client", ["docker", "podman"])
def test_a_client_that_saves_no_platform_of_choice(client: str, versions: Path, tmp_path: Path):
    said = f"unknown flag: --platform\\nSee '{client} save --help'."
    script = f'[ "$1" = image ] && echo 1 && exit\nprintf "{said}\\n" >&2; exit 125'
    name = {"docker": "docker-daemon:app:1", "podman": "containers-storage:app:1"}[client]
    command = ("apply", "--platform", "linux/arm64", name, versions / "v1-v2.dib")
    ended = dib(*command, env=engine(tmp_path, client, script))
    assert ended.code == 3
    assert f"error: {client} could not save app:1: unknown flag: --platform\n" in ended.err
    assert (
        f"hint: this {client} cannot save with --platform: repeat the command without --platform, or use docker"
        in ended.err
    )


def test_a_base_may_be_absent(versions: Path, tmp_path: Path) -> None:
    """A base may be absent. So the same command works whether the old image is present, or only a bundle that rebuilds
    it.
    """
    for number in (1, 2):
        succeed("create", "--no-base", versions / f"v{number}.tar", tmp_path / f"v{number}.dib")
    (update,) = bundles(versions, "v2-v3")
    expected = (versions / "v3.tar").read_bytes()
    absent = tmp_path / "absent.tar"
    for bases in (
        [versions / "v2.tar", tmp_path / "v2.dib"],  # the bundle is not needed
        [absent, tmp_path / "v2.dib"],
        [tmp_path / "v1.dib", tmp_path / "v2.dib", absent],
        [absent, *bundles(versions, "v1-v2"), versions / "v1.tar"],
        [*bundles(versions, "v1-v2"), tmp_path / "v1.dib"],
    ):
        options = [word for base in bases for word in ("--base", base)]
        ended = succeed("apply", update, *options)
        assert ended.out == expected
        assert (f"skipped: cannot open {absent}" in ended.err) is (absent in bases)
    needed = dib("apply", update, "--base", absent, "--base", tmp_path / "v1.dib")
    assert needed.code == 6
    assert "example.com/app:2" in needed.err
    assert dib("apply", update, absent).code == 3


def test_parts_of_a_candidate_are_one(versions: Path, tmp_path: Path) -> None:
    """The parts of a candidate count as one bundle.

    Before the fix, if a candidate had several parts, dib mistook the user's own bundle for a candidate, and left it
    out.
    """
    back = tmp_path / "back.dib"
    succeed("create", versions / "v2.tar", versions / "v1.tar", back)
    whole = back.read_bytes()
    back.unlink()
    parts = [tmp_path / f"back.dib.{number:03}" for number in (1, 2)]
    for part, data in zip(parts, (whole[:600], whole[600:]), strict=True):
        part.write_bytes(data)
    bases = [word for part in parts for word in ("--base", part)]
    ended = succeed("apply", versions / "v1.tar", *bundles(versions, "v1-v2", "v2-v3"), *bases)
    assert ended.out == (versions / "v3.tar").read_bytes()
    assert dib("apply", *bundles(versions, "v1-v2"), versions / "v1.tar", tmp_path / "absent", *bases).code == 3

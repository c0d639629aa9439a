"""Roles of images. For every kind of source, the order on the command line decides which image is the old image."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import engines
from tests.builders import TestImage, build_layer, docker_save, extract, file
from tests.content import noise, text
from tests.program import Ended, succeed
from tests.sources.conftest import put_image
from tests.sources.server import serve

STAND_IN = Path(__file__).parents[1] / "stand_in.py"
RELEASES = (1, 2, 3)
KINDS = ("file", "folder", "stdin", "docker", "podman", "registry")


@dataclass
class Releases:
    """Three releases of an image, in every kind of source. ``of("docker", 1)`` names the first release in docker."""

    folder: Path
    host: str
    env: dict[str, str]

    def of(self, kind: str, number: int) -> str:
        return {
            "file": str(self.archive(number)),
            "folder": f"oci:{self.folder / f'layout{number}'}",
            "stdin": "-",
            "docker": f"docker-daemon:example.com/app:{number}",
            "podman": f"containers-storage:example.com/app:{number}",
            "registry": f"docker://{self.host}/example/app:v{number}",
        }[kind]

    def archive(self, number: int) -> Path:
        return self.folder / f"{number}.tar"

    def id(self, number: int) -> str:
        with tarfile.open(self.archive(number)) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest
            return "sha256:" + Path(json.load(manifest)[0]["Config"]).name

    def ids(self, *numbers: int) -> list[str]:
        return [self.id(number) for number in numbers]

    def run(self, *arguments: object, stdin: int | None = None) -> Ended:
        """Run ``dib`` with release number ``stdin`` on stdin."""
        data = self.archive(stdin).read_bytes() if stdin else None
        return succeed(*map(str, arguments), stdin=data, env=self.env)

    def roles(self, bundle: Path) -> tuple[list[str], list[str]]:
        """Return two lists: the IDs of a bundle's base images, and the IDs of its target images."""
        told = json.loads(succeed("inspect", "--json", bundle).out)
        made = [image["id"] for target in told["targets"] for image in target["images"]]
        return [image["id"] for image in told["base"]["images"]], made


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    folder = tmp_path_factory.mktemp("roles")
    for program in ("docker", "podman"):
        (folder / program).write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} {program} "$@"\n')
        (folder / program).chmod(0o755)
    with serve() as registry:
        env = {"MACHINE": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}
        made = Releases(folder, registry.host, env)
        for number in RELEASES:
            layers = [build_layer([file("data", noise(1, 4000))])]
            layers.append(build_layer([file("version", text(number, 30_000 * number))]))
            made.archive(number).write_bytes(docker_save([TestImage(layers, [f"example.com/app:{number}"])], "v25"))
            with tarfile.open(made.archive(number)) as tar:
                extract(tar, folder / f"layout{number}")
            put_image(registry, made.archive(number), f"v{number}")
            load = [str(folder / "docker"), "load", "-i", str(made.archive(number))]
            subprocess.run(load, env={**os.environ, **env}, check=True)
        yield made


PAIRS = [(old, new) for old, new in itertools.product(KINDS, KINDS) if (old, new) != ("stdin", "stdin")]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_first_is_the_base_and_the_second_the_target(
    old: str, new: str, releases: Releases, tmp_path: Path
) -> None:
    stdin = 1 if old == "stdin" else 3
    out = tmp_path / "out.dib"
    releases.run("create", releases.of(old, 1), releases.of(new, 3), out, stdin=stdin)
    assert releases.roles(out) == (releases.ids(1), releases.ids(3))


@pytest.mark.parametrize(("old", "new"), [("docker", "file"), ("podman", "folder"), ("docker", "stdin"),
                                          ("registry", "file"), ("docker", "registry")])  # fmt: skip
def test_the_other_ways_to_say_it(old: str, new: str, releases: Releases, tmp_path: Path) -> None:
    base, target, out = releases.of(old, 1), releases.of(new, 3), tmp_path / "out.dib"
    releases.run("create", "--base", base, target, "-o", out, stdin=3)
    assert releases.roles(out) == (releases.ids(1), releases.ids(3))
    (tmp_path / "far.json").write_bytes(succeed("inventory", releases.archive(1)).out)
    releases.run("create", "--inventory", tmp_path / "far.json", base, target, out, stdin=3)
    assert releases.roles(out) == (releases.ids(1), releases.ids(3))
    found = json.loads(releases.run("create", "--dry-run", base, target, "--json", stdin=3).out)
    assert found["base_size"] < found["target_size"]
    told = json.loads(releases.run("diff", base, target, "--json", stdin=3).out)
    assert (told["old"]["id"], told["new"]["id"]) == (releases.id(1), releases.id(3))
    shown = releases.run("diff", base, target, stdin=3).out.decode()
    assert f"  {releases.id(1)}\nto " in shown


@pytest.mark.parametrize(
    ("bases", "targets"),
    [
        (["file 1", "docker 2"], ["file 3"]),
        (["docker 2"], ["file 1", "file 3"]),
        (["registry 1", "file 2"], ["podman 3"]),
        (["podman 1"], ["registry 2", "folder 3"]),
    ],
)
def test_several_bases_and_targets(bases: list[str], targets: list[str], releases: Releases, tmp_path: Path) -> None:
    def named(words: list[str]) -> tuple[list[str], list[str]]:
        pairs = [(kind, int(number)) for kind, number in map(str.split, words)]
        return [releases.of(*pair) for pair in pairs], releases.ids(*(number for _, number in pairs))

    old, old_ids = named(bases)
    new, new_ids = named(targets)
    options = [word for name in old for word in ("--base", name)]
    releases.run("create", *options, *new, "-o", tmp_path / "out.dib")
    assert releases.roles(tmp_path / "out.dib") == (old_ids, new_ids)
    releases.run("create", *new, *options, "-o", tmp_path / "later.dib")  # options may come last
    assert releases.roles(tmp_path / "later.dib") == (old_ids, new_ids)


def test_merge_update_report_and_the_receivers_commands(releases: Releases, tmp_path: Path) -> None:
    for old, new in ((1, 2), (2, 3)):
        succeed("create", releases.archive(old), releases.archive(new), tmp_path / f"{old}-{new}.dib")
    chain = (tmp_path / "2-3.dib", releases.of("docker", 1), tmp_path / "1-2.dib")
    releases.run("merge", *chain, "-o", tmp_path / "merged.dib")
    assert releases.roles(tmp_path / "merged.dib") == (releases.ids(1), releases.ids(3))
    assert releases.run("apply", *chain).out == releases.archive(3).read_bytes()
    haves = ("--base", releases.of("docker", 1), "--base", releases.archive(2))
    releases.run("update", releases.of("registry", 3), *haves, "-o", tmp_path / "got.tar")
    told = json.loads(succeed("diff", releases.archive(3), tmp_path / "got.tar", "--json").out)
    assert told["old"]["id"] == told["new"]["id"]
    releases.run(
        "wrap",
        "--linked",
        tmp_path / "1-2.dib",
        "--base",
        releases.of("docker", 1),
        "--tag",
        "x:1",
        "-o",
        tmp_path / "w",
    )
    wrapped = (tmp_path / "w", "--base", releases.of("docker", 1))
    releases.run("report", *wrapped, "-o", tmp_path / "r.html")
    assert "Not compared" not in (tmp_path / "r.html").read_text()


def test_archives_with_numbers_for_endings_are_no_parts(releases: Releases, tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / f"app.00{number}").write_bytes(releases.archive(number).read_bytes())
    succeed("create", tmp_path / "app.001", tmp_path / "app.003", tmp_path / "out.dib")
    assert releases.roles(tmp_path / "out.dib") == (releases.ids(1), releases.ids(3))


@pytest.mark.engine
def test_a_real_engine(releases: Releases, tmp_path: Path) -> None:
    with engines.docker("classic") as engine:
        engine.load(releases.archive(1))
        out = tmp_path / "out.dib"
        succeed("create", releases.of("docker", 1), releases.archive(3), out, env=engine.env)
        assert releases.roles(out) == (releases.ids(1), releases.ids(3))

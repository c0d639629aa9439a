"""``dib update`` from a real registry into real engines. The cases differ in which layers base and image share."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines, needs
from tests.builders import TestImage, build_layer, docker_save, file, folder
from tests.content import noise
from tests.engines import Engine, Kind
from tests.program import dib, succeed

pytestmark = pytest.mark.engine
KINDS: tuple[Kind, ...] = ("classic", "containerd", "podman", "ctr")


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    needs.programs("skopeo")
    with engines.registry() as started:
        yield started


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with engines.engine(request.param) as started:
        yield started


def put(host: str, name: str, image: TestImage, tmp_path: Path) -> str:
    """Put an image into the registry; return its name."""
    archive = tmp_path / "image.tar"
    archive.write_bytes(docker_save([image], "oci", "gzip"))
    target = f"docker://{host}/{name}"
    copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}", target]
    subprocess.run(copy, check=True)
    return target


def layer(seed: int, size: int = 60_000) -> bytes:
    return build_layer([file(f"{seed}/data", noise(seed, size))])


def update(engine: Engine, name: str, *arguments: str | Path):
    return dib("update", name, "--engine", engine.dib_name, *arguments, env=engine.env)


def transport(engine: Engine, name: str) -> str:
    return name.replace("docker://", "docker-daemon:" if engine.dib_name == "docker" else "containers-storage:")


def known(engine: Engine, name: str) -> str:
    """Return what the engine reports for a name."""
    name = name.removeprefix("docker://")
    if engine.dib_name == "ctr":
        rows = engine.run("ctr", "images", "ls").decode().splitlines()
        return next((row.split()[2] for row in rows if row.startswith(f"{name} ")), "")
    found = engine.run(engine.dib_name, "image", "ls", "--quiet", "--no-trunc", name)
    return found.decode().strip()


EMPTY = build_layer([folder("e")])
OTHERS = {
    "a renewed base": ([layer(1), layer(2)], [layer(3), layer(2)]),
    "a layer that repeats": ([layer(4), EMPTY, layer(5), EMPTY], [layer(4), EMPTY, layer(5), EMPTY, EMPTY]),
    "another order": ([layer(6), layer(7)], [layer(7), layer(6)]),
    "a layer above": ([layer(8)], [layer(8), layer(9)]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_layers_of_the_base_are_left_out_only_where_an_engine_shares_them(
    engine: Engine, host: str, case: str, tmp_path: Path
) -> None:
    """Before the fix, ``update`` left out every layer of the base. If these layers were not the image's lowest layers,
    ``update`` failed.
    """
    old, new = OTHERS[case]
    kind = f"{engine.kind}-{sorted(OTHERS).index(case)}"
    first = put(host, f"{kind}:1", TestImage(old, []), tmp_path)
    second = put(host, f"{kind}:2", TestImage(new, []), tmp_path)
    assert update(engine, first).code == 0
    base = () if engine.dib_name == "ctr" else ("--base", transport(engine, first))
    ended = update(engine, second, *base, "--json")
    assert ended.code == 0, ended.err
    assert known(engine, second)
    if base and case == "a layer above":
        assert json.loads(ended.out)["size"] < 62_000


@pytest.mark.parametrize("engine", ["classic", "containerd", "podman"], indirect=True)
def test_an_image_that_an_engine_describes_at_length_stops_no_update(engine: Engine, host: str, tmp_path: Path) -> None:
    """Before the fix, one image with a config of 2.7 MB stopped all updates that leave out layers."""
    first = put(host, f"{engine.kind}-long:1", TestImage([layer(20)], []), tmp_path)
    large = TestImage([layer(21)], [], {"config": {"Cmd": [""] * 900_000}})
    other = put(host, f"{engine.kind}-other:1", large, tmp_path)
    second = put(host, f"{engine.kind}-long:2", TestImage([layer(20), layer(22)], []), tmp_path)
    assert [update(engine, name).code for name in (first, other)] == [0, 0]
    ended = update(engine, second, "--base", transport(engine, first), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["size"] < 62_000


def test_a_failed_update_leaves_a_name_as_it_was(engine: Engine, host: str, tmp_path: Path) -> None:
    """Before the fix, containerd's stores gave the name to an image that could not be unpacked. The next update then
    assumed that the engine already had the image.
    """
    name = put(host, f"{engine.kind}-bad:1", TestImage([layer(30)], []), tmp_path)
    assert update(engine, name).code == 0
    good = known(engine, name)
    put(host, f"{engine.kind}-bad:1", TestImage([b"no tar" * 100], []), tmp_path)
    for _ in range(2):
        assert update(engine, name).code != 0
        assert known(engine, name) == good
        listed = (
            engine.run("ctr", "images", "ls") if engine.dib_name == "ctr" else engine.run(engine.dib_name, "images")
        )
        assert b"loading-" not in listed


@pytest.mark.parametrize("kind", ["containerd", "ctr"])
def test_an_image_without_a_name_is_loaded(kind: Kind, tmp_path: Path) -> None:
    """Before the fix, ctr ignored the archive, and dib asked docker for a digest that docker lacks."""
    (tmp_path / "1.tar").write_bytes(docker_save([TestImage([layer(40)], ["example.com/app:1"])], "v25"))
    (tmp_path / "2.tar").write_bytes(docker_save([TestImage([layer(40), layer(41)], [])], "v25"))
    succeed("create", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "x.dib")
    with engines.engine(kind) as engine:
        sources = (tmp_path / "1.tar", tmp_path / "x.dib")
        ended = dib("load", "--engine", engine.dib_name, *sources, env=engine.env)
        assert ended.code == 0, ended.err
        listed = ("ctr", "images", "ls", "-q") if kind == "ctr" else ("docker", "images", "-q")
        assert len(engine.run(*listed).split()) == 1


def test_a_name_that_ends_the_same_is_another_name(tmp_path: Path) -> None:
    """Before the fix, ``load --expect`` into ctr compared the image with an image of another repository."""
    archive = tmp_path / "1.tar"
    archive.write_bytes(docker_save([TestImage([layer(50)], ["docker.io/evil/app:2"])], "v25"))
    for number, names in ((1, ["app:1"]), (2, ["app:2"])):
        image = TestImage([layer(51), *([layer(52)] if number == 2 else [])], names)
        (tmp_path / f"{number}-app.tar").write_bytes(docker_save([image], "v25"))
    made = dib("create", tmp_path / "1-app.tar", tmp_path / "2-app.tar", tmp_path / "x.dib", "--json")
    found = json.loads(dib("inspect", tmp_path / "x.dib", "--json").out)
    identity = found["targets"][0]["images"][0]["id"]
    assert made.code == 0
    with engines.engine("ctr") as engine:
        with archive.open("rb") as opened:
            engine.run(*engine.load_command, stdin=opened)
        sources = (tmp_path / "1-app.tar", tmp_path / "x.dib")
        ended = dib("load", "--engine", "ctr", "--expect", identity, *sources, env=engine.env)
        assert ended.code == 0, ended.err

"""Bundles loaded into docker, podman and containerd. The result is the same as if the target's archive had been loaded
directly.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import engines, needs
from tests.compat import images
from tests.engines import Engine, Kind
from tests.program import dib, shell_code, start, succeed

pytestmark = pytest.mark.engine

NAMES = (images.NEW, images.ALSO_NEW)
Fresh = Callable[[Kind], Engine]
State = dict[str, Any]


@pytest.fixture
def fresh() -> Iterator[Fresh]:
    """Return a function that starts empty engines. At the end of the test, stop these engines."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(engines.engine(kind))


@pytest.fixture(scope="module")
def docker_pair(built: Path) -> Path:
    """Two archives from the classic store (with raw layers), and the bundle between them."""
    succeed("create", built / "a.tar", built / "b.tar", built / "out.dib")
    return built


@pytest.fixture(scope="module")
def compressed_pair(built_containerd: Path) -> Path:
    """Two archives from the containerd store (with gzip layers), and the bundle between them."""
    succeed("create", built_containerd / "a.tar", built_containerd / "b.tar", built_containerd / "out.dib")
    return built_containerd


@pytest.fixture(scope="module")
def wanted(docker_pair: Path, compressed_pair: Path) -> Callable[[Kind, Path], State]:
    """Return a function that loads a folder's b.tar directly into an empty engine, and returns the engine's state."""
    known: dict[tuple[Kind, Path], State] = {}

    def state(kind: Kind, folder: Path) -> State:
        if (kind, folder) not in known:
            with engines.engine(kind) as engine:
                engine.load(folder / "b.tar")
                known[kind, folder] = _state(engine)
        return known[kind, folder]

    return state


@pytest.fixture(params=["raw layers", "gzip layers"])
def folder(request: pytest.FixtureRequest, docker_pair: Path, compressed_pair: Path) -> Path:
    return docker_pair if request.param == "raw layers" else compressed_pair


@pytest.mark.parametrize("kind", ["classic", "containerd", "podman", "ctr"])
def test_apply_into_the_engines_own_loader(
    kind: Kind, folder: Path, fresh: Fresh, wanted: Callable[[Kind, Path], State]
) -> None:
    engine = fresh(kind)
    with start("apply", folder / "a.tar", folder / "out.dib") as apply:
        assert apply.stdout
        assert apply.stderr
        loaded = engine.try_load(apply.stdout)
        apply.stdout.close()
        said = apply.stderr.read().decode()
    assert (shell_code(apply.returncode), loaded.code) == (0, 0), said + loaded.text
    assert _state(engine) == wanted(kind, folder)


@pytest.mark.parametrize("kind", ["classic", "containerd", "podman", "ctr"])
def test_dib_load(kind: Kind, folder: Path, fresh: Fresh, wanted: Callable[[Kind, Path], State]) -> None:
    engine = fresh(kind)
    succeed("load", folder / "a.tar", folder / "out.dib", "--engine", engine.dib_name, env=engine.env)
    assert _state(engine) == wanted(kind, folder)


@pytest.mark.parametrize("kind", engines.LOADERS)
def test_a_base_that_is_loaded_already_changes_nothing(
    kind: Kind, docker_pair: Path, fresh: Fresh, wanted: Callable[[Kind, Path], State]
) -> None:
    engine = fresh(kind)
    engine.load(docker_pair / "a.tar")
    succeed("load", docker_pair / "a.tar", docker_pair / "out.dib", "--engine", engine.dib_name, env=engine.env)
    known = wanted(kind, docker_pair)
    assert set(known["images"]) < set(engine.images())
    assert _state(engine) | {"images": known["images"]} == known


def _save_again(work: Path, built: Path) -> Path:
    return built / "again.tar"


def _save_with_podman(work: Path, built: Path) -> Path:
    with engines.podman() as podman:
        podman.load(built / "a.tar")
        podman.save(work / "podman.tar", images.OLD)
    return work / "podman.tar"


def _save_with_podman_as_oci(work: Path, built: Path) -> Path:
    with engines.podman() as podman:
        podman.load(built / "a.tar")
        podman.run("podman", "save", "-q", "--format", "oci-archive", "-o", work / "podman-oci.tar", images.OLD)
    return work / "podman-oci.tar"


def _save_from_containerd_store(work: Path, built: Path) -> Path:
    with engines.docker("containerd") as docker:
        docker.load(built / "a.tar")
        docker.save(work / "containerd.tar", images.OLD)
    return work / "containerd.tar"


def _skopeo(kind: str) -> Callable[[Path, Path], Path]:
    def copy(work: Path, built: Path) -> Path:
        needs.programs("skopeo")
        command = ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{built}/a.tar"]
        subprocess.run([*command, f"{kind}:{work}/{kind}.tar:{images.OLD}"], check=True)
        return work / f"{kind}.tar"

    return copy


OTHER_SAVES = {
    "a second docker save": _save_again,
    "podman save": _save_with_podman,
    "podman save as OCI": _save_with_podman_as_oci,
    "containerd store": _save_from_containerd_store,
    "skopeo docker-archive": _skopeo("docker-archive"),
    "skopeo oci-archive": _skopeo("oci-archive"),
}


@pytest.mark.parametrize("save", OTHER_SAVES.values(), ids=OTHER_SAVES)
def test_any_archive_of_the_base_will_do(save: Callable[[Path, Path], Path], docker_pair: Path, tmp_path: Path) -> None:
    base = save(tmp_path, docker_pair)
    applied = succeed("apply", base, docker_pair / "out.dib")
    assert hashlib.sha256(applied.out).hexdigest() == _sha256(docker_pair / "b.tar")


@pytest.mark.parametrize("save", OTHER_SAVES.values(), ids=OTHER_SAVES)
def test_a_bundle_made_from_any_archive_of_the_base(
    save: Callable[[Path, Path], Path], docker_pair: Path, tmp_path: Path
) -> None:
    succeed("create", save(tmp_path, docker_pair), docker_pair / "b.tar", tmp_path / "out.dib")
    succeed("apply", docker_pair / "a.tar", tmp_path / "out.dib", "-o", tmp_path / "b.tar")
    assert _sha256(tmp_path / "b.tar") == _sha256(docker_pair / "b.tar")


def test_targets_as_podman_saves_them(docker_pair: Path, tmp_path: Path) -> None:
    with engines.podman() as podman:
        podman.load(docker_pair / "b.tar")
        podman.save(tmp_path / "b.tar", images.NEW)
    succeed("create", docker_pair / "a.tar", tmp_path / "b.tar", tmp_path / "out.dib")
    applied = succeed("apply", docker_pair / "a.tar", tmp_path / "out.dib")
    assert hashlib.sha256(applied.out).hexdigest() == _sha256(tmp_path / "b.tar")


@pytest.mark.parametrize("kind", engines.LOADERS)
def test_dib_load_of_a_wrong_base_reaches_no_engine(kind: Kind, docker_pair: Path, fresh: Fresh) -> None:
    engine = fresh(kind)
    ended = dib("load", docker_pair / "b.tar", docker_pair / "out.dib", "--engine", engine.dib_name, env=engine.env)
    assert ended.code == 6, ended.err
    assert images.OLD in ended.err
    assert engine.images() == []


@pytest.mark.parametrize("kind", engines.LOADERS)
def test_dib_load_of_a_damaged_bundle_loads_nothing(
    kind: Kind, docker_pair: Path, tmp_path: Path, fresh: Fresh
) -> None:
    engine = fresh(kind)
    damaged = bytearray((docker_pair / "out.dib").read_bytes())
    damaged[-100] ^= 1
    (tmp_path / "damaged.dib").write_bytes(damaged)
    ended = dib("load", docker_pair / "a.tar", tmp_path / "damaged.dib", "--engine", engine.dib_name, env=engine.env)
    assert ended.code == 7, ended.err
    assert engine.images() == []


def _state(engine: Engine) -> State:
    """Return an engine's state: its image IDs and, for each of two images, facts and container files."""
    return {
        "images": engine.images(),
        "facts": {name: engine.facts(name) for name in NAMES},
        "files": engine.export(images.NEW),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Engines pull through ``dib mirror`` from docker-registry.

The second image comes as a delta, but the engines get the same bytes as in a direct pull.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibundle.sharing.mirror.options import Listen, MirrorOptions
from dibundle.sources.access import Access
from tests import engines, needs
from tests.mirror.conftest import Running, mirroring
from tests.program import succeed
from tests.sources.conftest import REPOSITORY, Files, blobs

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def upstream(files: Files) -> Iterator[str]:
    """A docker-registry with v1, v2 and the bundle from v1 to v2."""
    needs.programs("skopeo")
    with engines.registry() as host:
        for number in (1, 2):
            target = f"docker://{host}/{REPOSITORY}:v{number}"
            source = f"oci-archive:{files.archive(number)}"
            subprocess.run(
                ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", source, target], check=True
            )
        succeed("push", files.bundle(1, 2), f"docker://{host}/{REPOSITORY}:v1-v2")
        yield host


@pytest.fixture
def mirror(upstream: str, tmp_path: Path) -> Iterator[Running]:
    options = MirrorOptions(
        upstreams={"site": upstream},
        cache=tmp_path / "cache",
        cache_size=1 << 30,
        listen=Listen("127.0.0.1", 0),
        prefer="bytes",
    )
    with mirroring(options, Access()) as found:
        yield found


def image_id(files: Files, number: int) -> str:
    """Return the image ID of a version, which is the digest of its config."""
    documents = [json.loads(data) for data in blobs(files.archive(number)).values() if data[:1] == b"{"]
    return next(str(value["config"]["digest"]) for value in documents if isinstance(value.get("layers"), list))


def require_delta(mirror: Running) -> None:
    mirror.client.pulls = 2
    assert mirror.last()["way"] == "delta", mirror.lines


@pytest.mark.parametrize("kind", ["classic", "containerd", "podman"])
def test_engines_that_name_the_mirror(kind: engines.Kind, mirror: Running, files: Files) -> None:
    with engines.engine(kind) as engine:
        for number in (1, 2):
            name = f"127.0.0.1:{mirror.client.port}/site/{REPOSITORY}:v{number}"
            options = ("--tls-verify=false",) if kind == "podman" else ()
            engine.run(engine.dib_name, "pull", *options, name)
            told = json.loads(engine.run(engine.dib_name, "image", "inspect", name))[0]
            if kind != "containerd":  # containerd's image IDs are digests of manifests
                assert told["Id"].removeprefix("sha256:") == image_id(files, number).removeprefix("sha256:")
    require_delta(mirror)


@pytest.fixture
def hosts(mirror: Running, upstream: str, tmp_path: Path) -> Path:
    """Return a folder with a hosts.toml that makes containerd pull from upstream through the mirror."""
    folder = tmp_path / "hosts" / upstream
    folder.mkdir(parents=True)
    own = f"http://127.0.0.1:{mirror.client.port}"
    (folder / "hosts.toml").write_text(
        f'server = "http://{upstream}"\n[host."{own}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    return folder.parent


def test_containerd_by_hosts_toml(mirror: Running, upstream: str, hosts: Path) -> None:
    with engines.engine("ctr") as ctr:
        for number in (1, 2):
            command = ("ctr", "images", "pull", "--plain-http", "--hosts-dir", hosts, "--snapshotter", "native")
            ctr.run(*command, f"{upstream}/{REPOSITORY}:v{number}")
    require_delta(mirror)


def test_a_kubernetes_node_by_hosts_toml(mirror: Running, upstream: str, hosts: Path, files: Files) -> None:
    with engines.cri(hosts) as node:
        for number in (1, 2):
            assert node.pull(f"{upstream}/{REPOSITORY}:v{number}") == image_id(files, number)
    require_delta(mirror)


def test_skopeo_by_registries_conf(mirror: Running, files: Files, tmp_path: Path) -> None:
    settings = tmp_path / "registries.conf"
    place = f"127.0.0.1:{mirror.client.port}/site"
    settings.write_text(
        '[[registry]]\nprefix = "app.example"\nlocation = "app.example"\n'
        f'[[registry.mirror]]\nlocation = "{place}"\ninsecure = true\n'
    )
    for number in (1, 2):
        command = ["skopeo", "--insecure-policy", "--registries-conf", settings, "copy", "-q"]
        source = f"docker://app.example/{REPOSITORY}:v{number}"
        subprocess.run([*command, source, f"oci-archive:{tmp_path / f'{number}.tar'}"], check=True)
        got = blobs(tmp_path / f"{number}.tar")
        assert got == blobs(files.archive(number))
    require_delta(mirror)

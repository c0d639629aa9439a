"""Real registries. One of the two registries has the referrers API, and the other registry does not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines, needs
from tests.program import dib, succeed
from tests.sources.conftest import REPOSITORY, Files, blobs

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build tests/sources/serve.go, and run it.

    Debian has the library of serve.go only as source code; .ci/run fetches this source.
    """
    needs.programs("go")
    code = Path(os.environ.get("DIB_GOCODE", "/usr/share/gocode"))
    if not (code / "src/github.com/google/go-containerregistry").is_dir():
        pytest.skip("not installed: golang-github-google-go-containerregistry-dev")
    folder = tmp_path_factory.mktemp("served")
    env = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(code),
        "GOCACHE": str(folder / "cache"),
        "CGO_ENABLED": "0",
    }
    command = ["go", "build", "-o", folder / "serve", Path(__file__).with_name("serve.go")]
    subprocess.run(command, env=env, check=True)
    return folder / "serve"


@pytest.fixture(params=["docker-registry", "go-containerregistry"])
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    needs.programs("skopeo")
    if request.param == "docker-registry":
        with engines.registry() as host:
            yield host
        return
    with subprocess.Popen(
        [request.getfixturevalue("served")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.kill()


def test_bundles_are_found_and_followed(host: str, files: Files, tmp_path: Path) -> None:
    name = f"docker://{host}/{REPOSITORY}"
    for number in range(1, 5):
        source = f"oci-archive:{files.archive(number)}"
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", source, f"{name}:v{number}"]
        subprocess.run(copy, check=True)
    for old, new in ((1, 2), (2, 3), (3, 4), (2, 4)):
        succeed("push", files.bundle(old, new), f"{name}:v{old}-v{new}")
    assert {tuple(item["tags"]) for item in json.loads(succeed("list", name, "--json").out)["bundles"]} == {
        (f"v{old}-v{new}",) for old, new in ((1, 2), (2, 3), (3, 4), (2, 4))
    }
    for old, steps in ((1, ["1-2", "2-4"]), (2, ["2-4"]), (3, ["3-4"])):
        have = ("update", f"{name}:v4", "--base", files.archive(old))
        plan = json.loads(succeed(*have, "--dry-run", "--json").out)
        assert [item["size"] for item in plan["bundles"]] == [
            (files.folder / f"{step}.dib").stat().st_size for step in steps
        ]
        succeed(*have, "-o", tmp_path / "out.tar")
        assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))
    succeed("pull", f"{name}:v1-v2", "-o", tmp_path / "pulled.dib")
    assert (tmp_path / "pulled.dib").read_bytes() == files.bundle(1, 2).read_bytes()


def test_an_image_that_is_here_already_is_not_fetched(files: Files, tmp_path: Path) -> None:
    with engines.registry() as host, engines.docker("classic") as docker:
        docker.load(_loadable(files, tmp_path))
        reference = f"{host}/{REPOSITORY}:v4"
        docker.run("docker", "tag", docker.images()[0], reference)
        docker.run("docker", "push", "-q", reference)
        ended = dib("update", f"docker://{reference}", "--base", f"docker-daemon:{reference}", "--json", env=docker.env)
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["how"] == "here"


def _loadable(files: Files, tmp_path: Path) -> Path:
    """Return the fourth image in the form that docker's classic store loads."""
    succeed("create", "--no-base", files.archive(4), tmp_path / "whole.dib")
    succeed("apply", tmp_path / "whole.dib", "--format", "docker-archive", "-o", tmp_path / "v4.tar")
    return tmp_path / "v4.tar"

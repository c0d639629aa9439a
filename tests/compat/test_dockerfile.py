"""Real builders build the Dockerfiles that dib writes. The results are the same as with dib alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import dib_image, engines, needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.compat import images
from tests.content import noise
from tests.engines import Docker
from tests.program import succeed
from tests.sources.conftest import put_image
from tests.sources.server import Request, serve

pytestmark = pytest.mark.engine

OLD, NEW = images.OLD, images.NEW
WRAPPED = "example.com/app:1-2"


@dataclass
class Site:
    """An engine that has OLD, NEW and dib, a registry that has OLD and NEW, and a folder with their archives."""

    docker: Docker
    registry: str
    context: Path

    def name(self, tag: str) -> str:
        return f"{self.registry}/app:{tag}"

    def build(self, dockerfile: bytes, *options: str | Path) -> None:
        (self.context / "Dockerfile").write_bytes(dockerfile)
        self.docker.run("docker", "build", "--no-cache", "--network", "host", *options, self.context)

    def restore(self, *sources: str | Path) -> bytes:
        """Build the Dockerfile from ``dib dockerfile apply``. Get the archive as this file's first lines describe."""
        dockerfile = succeed("dockerfile", "apply", *sources).out
        if self.docker.env["DOCKER_BUILDKIT"] == "1":
            self.build(dockerfile, "-o", self.context / "out")
            return (self.context / "out" / "image.tar").read_bytes()
        self.build(dockerfile, "--target", "run", "-t", "rebuilt")
        return self.docker.run("docker", "run", "--rm", "--network", "host", "rebuilt")


BUILDERS = ("classic builder", "BuildKit")


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with engines.registry() as registry, engines.docker(_store(request.param)) as docker:
        images.build(docker, folder)
        if request.param != "classic builder":
            needs.plugin("docker", "buildx")
            docker.env["DOCKER_BUILDKIT"] = "1"
        made = Site(docker, registry, folder / "context")
        made.context.mkdir()
        for name, image, tag in (("a.tar", OLD, "1"), ("b.tar", NEW, "2")):
            docker.save(made.context / name, image)
            docker.run("docker", "tag", image, made.name(tag))
            docker.run("docker", "push", "-q", made.name(tag))
        put_dib(docker, folder)
        yield made


def _store(param: str) -> engines.Store:
    return "containerd" if param.endswith("containerd store") else "classic"


def put_dib(docker: Docker, folder: Path) -> None:
    """Load an image of dib into an engine, under the name that the Dockerfiles use."""
    dib_image.write(folder / "root.tar")
    changes = (word for line in dib_image.CHANGES for word in ("-c", line))
    docker.run("docker", "import", *changes, folder / "root.tar", "dib")


@pytest.mark.parametrize("site", BUILDERS, indirect=True)
def test_from_archives_in_the_context(site: Site) -> None:
    site.build(succeed("dockerfile", "create", "--unlinked", "a.tar", "b.tar").out, "-t", WRAPPED)
    site.docker.save(site.context / "unlinked.tar", WRAPPED)
    bundle = succeed("create", site.context / "a.tar", site.context / "b.tar", "-").out
    assert succeed("unwrap", site.context / "unlinked.tar").out == bundle
    wanted = (site.context / "b.tar").read_bytes()
    assert succeed("apply", site.context / "unlinked.tar", site.context / "a.tar").out == wanted
    assert site.restore("unlinked.tar", "a.tar") == wanted


@pytest.mark.parametrize("site", [*BUILDERS, "BuildKit, containerd store"], indirect=True)
def test_from_a_registry(site: Site, tmp_path: Path) -> None:
    """Images are rebuilt from a registry and from a second engine's store. Each has the right image ID."""
    old, new, wrapped = (f"docker://{site.name(tag)}" for tag in ("1", "2", "1-2"))
    site.build(succeed("dockerfile", "create", "--linked", old, new).out, "-t", site.name("1-2"))
    site.docker.run("docker", "push", "-q", site.name("1-2"))
    layers = [_layers(site.docker, name) for name in (OLD, site.name("1-2"))]
    assert layers[1][:-1] == layers[0]

    direct = succeed("create", old, new, "-").out
    assert succeed("unwrap", wrapped).out == direct
    restored = site.restore(wrapped)
    assert restored == succeed("apply", wrapped).out
    (tmp_path / "restored.tar").write_bytes(restored)
    with engines.docker("classic") as other:
        other.load(tmp_path / "restored.tar")
        other.run("docker", "pull", "-q", site.name("1-2"))
        facts = other.facts(site.name("2"))
        assert other.images().count(facts["Id"]) == 1
        env = {key: other.env[key] for key in ("DOCKER_HOST", "DOCKER_CONFIG")}
        again = succeed("apply", f"docker-daemon:{site.name('1-2')}", env=env).out
        assert again == restored
        other.run("docker", "pull", "-q", site.name("2"))
        assert other.facts(site.name("2"))["Id"] == facts["Id"]


@pytest.mark.parametrize("site", BUILDERS, indirect=True)
def test_linked_to_an_image_that_the_engine_has(site: Site) -> None:
    dockerfile = succeed("dockerfile", "create", "--linked", "--base", OLD, "a.tar", "b.tar").out
    site.build(dockerfile, "-t", WRAPPED)
    site.docker.save(site.context / "linked.tar", WRAPPED)
    assert succeed("apply", site.context / "linked.tar").out == (site.context / "b.tar").read_bytes()


@pytest.mark.parametrize("site", BUILDERS, indirect=True)
def test_logins_from_a_secret(site: Site, tmp_path: Path) -> None:
    with serve() as registry:
        for number in (1, 2):
            layers = [build_layer([file("data", noise(9, 300_000))]), build_layer([file("app", noise(number, 999))])]
            (tmp_path / "x.tar").write_bytes(docker_save([TestImage(layers, ["app"])], "oci", "gzip"))
            put_image(registry, tmp_path / "x.tar", str(number), "app")
        registry.hook = _wants_login
        auth = {"auths": {registry.host: {"auth": "dXNlcjpzZWNyZXQ="}}}
        (tmp_path / "config.json").write_text(json.dumps(auth))
        sources = [f"docker://{registry.host}/app:{number}" for number in (1, 2)]
        dockerfile = succeed("dockerfile", "create", "--unlinked", "--secret", "logins", *sources).out
        options = ("-t", WRAPPED, "--secret", f"id=logins,src={tmp_path / 'config.json'}")
        if site.docker.env["DOCKER_BUILDKIT"] != "1":
            with pytest.raises(AssertionError, match="BuildKit"):  # the classic builder does not support secrets
                site.build(dockerfile, *options)
            return
        site.build(dockerfile, *options)
    site.docker.save(tmp_path / "wrapped.tar", WRAPPED)
    succeed("verify", tmp_path / "wrapped.tar")


def _wants_login(request: Request) -> bool:
    if request.headers.get("Authorization") == "Basic dXNlcjpzZWNyZXQ=":
        return False
    return request.fail(401, WWW_Authenticate='Basic realm="x"')


def _layers(docker: Docker, name: str) -> list[str]:
    found: list[str] = json.loads(docker.run("docker", "image", "inspect", name))[0]["RootFS"]["Layers"]
    return found

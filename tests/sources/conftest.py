"""A registry in this process, and the bundles and images in it."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from dibundle.cli import main, session
from dibundle.sources.registry.settings import RegistrySettings
from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.program import succeed
from tests.sources.server import Registry, serve

REPOSITORY = "example/app"


@dataclass
class Files:
    """Archives v1.tar to v4.tar, and bundles such as 1-2.dib between them."""

    folder: Path

    def archive(self, version: int) -> Path:
        return self.folder / f"v{version}.tar"

    def bundle(self, old: int, new: int) -> Path:
        return self.folder / f"{old}-{new}.dib"


def blobs(archive: Path) -> dict[str, bytes]:
    """Return the blobs of an archive by name. Archives with equal blobs have the same image with the same manifest."""
    with tarfile.open(archive) as tar:
        files = [item for item in tar if item.isfile() and item.name.startswith("blobs/")]
        return {item.name: tar.extractfile(item).read() for item in files}  # type: ignore[union-attr]


def version(number: int) -> TestImage:
    base = build_layer([file("usr/data", noise(1, 300_000))])
    layer = build_layer([file("app/version", b"%d" % number), file("app/data", noise(2, 100_000) + text(number, 4000))])
    return TestImage([base, layer], [f"example.com/app:v{number}"])


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = Files(tmp_path_factory.mktemp("versions"))
    for number in range(1, 5):
        made.archive(number).write_bytes(docker_save([version(number)], "oci", "gzip"))
    for old, new in ((1, 2), (2, 3), (3, 4), (2, 4)):
        succeed("create", made.archive(old), made.archive(new), made.bundle(old, new))
    return made


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve() as started:
        yield started


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> RegistrySettings:
    """Return registry settings without waiting times, and make commands use these settings."""
    quick = partial(RegistrySettings, pause=0, timeout=2, sleep=lambda seconds: None)
    monkeypatch.setattr(session, "RegistrySettings", quick)
    return quick()


@dataclass
class Told:
    """The result of a command."""

    code: int
    out: str
    err: str


class Program:
    """Run ``dib`` in this process, so that tests can change dib's settings. The output of ``dib`` must be text."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: object) -> Told:
        self._capfd.readouterr()
        code = main._run([str(item) for item in arguments])
        return Told(code, *self._capfd.readouterr())


@pytest.fixture
def dib(settings: RegistrySettings, capfd: pytest.CaptureFixture[str]) -> Program:
    return Program(capfd)


def put_image(registry: Registry, archive: Path, tag: str, repository: str = REPOSITORY) -> str:
    """Store the image of an OCI archive under a tag. Return the manifest's digest."""
    import json

    with tarfile.open(archive) as tar:
        content = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]
    (entry,) = json.loads(content["index.json"])["manifests"]
    for name, data in content.items():
        if name.startswith("blobs/"):
            registry.blobs[repository, name.removeprefix("blobs/").replace("/", ":")] = data
    body = content["blobs/" + entry["digest"].replace(":", "/")]
    for name in (tag, entry["digest"]):
        registry.manifests[repository, name] = (entry["mediaType"], body)
    return str(entry["digest"])


def signer(folder: Path) -> Path:
    """Make a key, and return a file that allows this key as a signer."""
    needs.programs("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    allowed = folder / "allowed"
    allowed.write_text("release@example.com " + (folder / "key.pub").read_text())
    return allowed


@pytest.fixture
def stocked(registry: Registry, files: Files, dib: Program) -> Registry:
    """Return the registry, with v1 to v4 and all bundles pushed."""
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    for old, new in ((1, 2), (2, 3), (3, 4), (2, 4)):
        ended = dib("push", files.bundle(old, new), f"docker://{registry.host}/{REPOSITORY}:v{old}-v{new}")
        assert ended.code == 0, ended.err
    registry.asked.clear()
    return registry

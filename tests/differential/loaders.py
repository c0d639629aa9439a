"""Real programs that load an archive, and the config digests of their images afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import engines, needs
from tests.differential.archives import NAME
from tests.engines import Engine

PLATFORM = {"architecture": "amd64", "os": "linux"}  # the platform of this machine
NAMESPACE = {"containerd": "moby", "ctr": "test"}


@dataclass(frozen=True)
class Taken:
    """Result of a load: exit code, output, and the config digests of all images that are then in the engine."""

    code: int
    text: str
    configs: frozenset[str]


class Loader:
    """An engine, which is emptied after each archive.

    ``name`` is used in logs. ``engine`` is the value of ``dib load --engine``.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = engine.kind
        self.env = engine.env
        self._is_prepared = False

    def take(self, archive: bytes, before: bytes | None = None) -> Taken:
        """Load an archive with the engine's own program. If ``before`` is given, load the archive ``before`` first."""
        if before is not None:
            self.prepare(before)
        done = subprocess.run(self.engine.load_command, input=archive, env=self.env, capture_output=True, check=False)
        return self.found(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))

    def prepare(self, archive: bytes) -> None:
        """Load an archive, and ignore its images from now on. Afterwards, only images with GOOD's name count."""
        subprocess.run(self.engine.load_command, input=archive, env=self.env, capture_output=True, check=False)
        self._is_prepared = True

    def found(self, code: int, text: str = "") -> Taken:
        """Return the images of the engine, and remove them."""
        found = frozenset().union(*(self._configs(image) for image in self._images()))
        self._empty()
        self._is_prepared = False
        return Taken(code, text.strip(), found)

    def _images(self) -> list[str]:
        if self.name in NAMESPACE:
            rows = self._run("ctr", "-n", NAMESPACE[self.name], "images", "ls").splitlines()[1:]
            return sorted({row.split()[2] for row in rows if not self._is_prepared or row.startswith(NAME)})
        if self._is_prepared:
            form = "{{.Repository}}:{{.Tag}} {{.ID}}"
            rows = self._run(self.engine.dib_name, "image", "ls", "--no-trunc", "--format", form).splitlines()
            return sorted({row.split()[1] for row in rows if row.startswith(NAME)})
        return self.engine.images()

    def _configs(self, image: str) -> set[str]:
        """Return the configs with which an image may run. For an index, return the configs of all present manifests."""
        if self.name not in NAMESPACE:
            return {image.removeprefix("sha256:")}
        done = subprocess.run(
            ["ctr", "-n", NAMESPACE[self.name], "content", "get", image], env=self.env, capture_output=True, check=False
        )
        if done.returncode:
            return set()
        value = json.loads(done.stdout)
        if "manifests" in value and "config" not in value:
            listed = [item for item in value["manifests"] if item.get("platform", PLATFORM) == PLATFORM]
            return set().union(*(self._configs(item["digest"]) for item in listed))
        return {value["config"]["digest"].removeprefix("sha256:")} if "config" in value else {f"no image: {image}"}

    def _empty(self) -> None:
        if self.name in ("classic", "podman"):
            program = self.engine.dib_name
            ids = self.engine.images()
            if ids:
                subprocess.run([program, "rmi", "-f", *ids], env=self.env, capture_output=True, check=False)
            return
        if self.name == "containerd":
            ids = self.engine.images()
            if ids:
                subprocess.run(["docker", "rmi", "-f", *ids], env=self.env, capture_output=True, check=False)
        names = self._run("ctr", "-n", NAMESPACE[self.name], "images", "ls", "-q").split()
        if names:
            self._run("ctr", "-n", NAMESPACE[self.name], "images", "rm", *names)

    def _run(self, *command: str) -> str:
        return self.engine.run(*command).decode()


class Skopeo:
    """The command ``skopeo copy``, which reads the archive first as docker-archive, then as oci-archive."""

    name = "skopeo"

    def take(self, archive: bytes, before: bytes | None = None) -> Taken:
        """Copy an archive into a folder, in both formats."""
        del before  # skopeo has no store, so the archive ``before`` is not needed
        configs: set[str] = set()
        codes, texts = [], []
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "archive.tar")
            source.write_bytes(archive)
            for kind in ("docker-archive", "oci-archive"):
                out = Path(folder, kind)
                done = subprocess.run(
                    ["skopeo", "--insecure-policy", "copy", "-q", f"{kind}:{source}", f"dir:{out}"],
                    capture_output=True,
                    check=False,
                )
                codes.append(done.returncode)
                texts.append(done.stderr.decode(errors="replace"))
                if not done.returncode:
                    configs.add(json.loads((out / "manifest.json").read_text())["config"]["digest"][7:])
        return Taken(min(codes), " ".join(texts).strip(), frozenset(configs))


@contextlib.contextmanager
def loaders() -> Iterator[list[Loader | Skopeo]]:
    """Start docker with both stores, podman and containerd. Each engine is empty. skopeo needs no engine."""
    needs.programs("skopeo")
    with contextlib.ExitStack() as stack:
        kinds: tuple[engines.Kind, ...] = ("classic", "containerd", "podman", "ctr")
        yield [*(Loader(stack.enter_context(engines.engine(kind))) for kind in kinds), Skopeo()]


@contextlib.contextmanager
def environment(env: dict[str, str]) -> Iterator[None]:
    """Set an engine's environment in this process."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

"""Real container engines for tests. Each engine starts empty, with its own store and sockets, and is removed at the
end.

with docker("classic") as engine:
    engine.load(archive)
    engine.facts("example.com/app:1")
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from tests import needs

Kind = Literal["classic", "containerd", "podman", "ctr"]
Store = Literal["classic", "containerd"]
LOADERS: tuple[Kind, ...] = ("classic", "containerd", "podman")
START_SECONDS = 60

# The engine writes these files into every container, with new times. Times of directories are ignored, too: a store
# that copies layers changes these times when it fills directories.
ENGINES_OWN = {".", ".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "proc", "sys", "run", "etc"} | {
    f"etc/{name}" for name in ("hostname", "hosts", "resolv.conf", "mtab")
}


@dataclass(frozen=True)
class Loaded:
    """The result of a loader: its exit code and all its output."""

    code: int
    text: str


class Engine:
    """The interface of all engines.

    ``env`` is the environment of its programs, and ``dib_name`` is the engine's name for ``dib load --engine``.
    """

    kind: Kind
    dib_name: str
    load_command: tuple[str, ...]

    def __init__(self, env: dict[str, str]) -> None:
        self.env = {**os.environ, **env}

    def run(self, *command: str | Path, stdin: IO[bytes] | int = subprocess.DEVNULL) -> bytes:
        """Run a program against this engine. Return its output, or raise an error with its error output."""
        done = subprocess.run(list(map(str, command)), stdin=stdin, env=self.env, capture_output=True, check=False)
        if done.returncode:
            words = " ".join(map(str, command))
            raise AssertionError(f"{words}: exit {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def try_load(self, stdin: IO[bytes] | int) -> Loaded:
        """Run the loader on a stream, and return the result, which may be a failure."""
        done = subprocess.run(
            self.load_command, stdin=stdin, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return Loaded(done.returncode, done.stdout.decode(errors="replace").strip())

    def load(self, archive: Path) -> str:
        """Load an archive and return the loader's output."""
        with archive.open("rb") as stream:
            return self.run(*self.load_command, stdin=stream).decode()

    def images(self) -> list[str]:
        """Return the ID of every image in the store, sorted."""
        raise NotImplementedError

    def facts(self, reference: str) -> dict[str, Any]:
        """Return an engine's description of an image, without values that differ between stores or over time."""
        raise NotImplementedError

    def export(self, reference: str) -> dict[str, tuple[Any, ...]]:
        """Return the files of an image's container, by path. The commands ``create`` and ``export`` are used."""
        raise NotImplementedError


class Docker(Engine):
    """dockerd with one of its two stores."""

    dib_name = "docker"
    load_command = ("docker", "load")

    def __init__(self, kind: Store, env: dict[str, str]) -> None:
        super().__init__(env)
        self.kind = kind

    def images(self) -> list[str]:
        return sorted(set(self.run("docker", "images", "-q", "--no-trunc").decode().split()))

    def build(self, tag: str, context: Path) -> None:
        """Build an image without BuildKit, because BuildKit has more requirements."""
        self.run("docker", "build", "-q", "--no-cache", "--network", "host", "-t", tag, context)

    def save(self, archive: Path, *references: str) -> None:
        self.run("docker", "save", "-o", archive, *references)

    def facts(self, reference: str) -> dict[str, Any]:
        (image,) = json.loads(self.run("docker", "image", "inspect", reference))
        for volatile in ("GraphDriver", "Metadata"):
            image.pop(volatile, None)
        lines = self.run("docker", "history", "--no-trunc", "--format", "{{json .}}", reference).splitlines()
        image["history"] = [
            {key: value for key, value in json.loads(line).items() if key != "CreatedSince"} for line in lines
        ]
        image["RepoTags"] = sorted(image["RepoTags"])
        return image

    def export(self, reference: str) -> dict[str, tuple[Any, ...]]:
        container = self.run("docker", "create", reference, "x").decode().strip()
        return _read_export(["docker", "export", container], self.env)


class Podman(Engine):
    """podman with its own store."""

    kind = "podman"
    dib_name = "podman"
    load_command = ("podman", "load", "-q")

    def images(self) -> list[str]:
        return sorted(set(self.run("podman", "images", "-q", "--no-trunc").decode().split()))

    def save(self, archive: Path, *references: str) -> None:
        self.run("podman", "save", "-q", "-m", "--format", "docker-archive", "-o", archive, *references)

    def facts(self, reference: str) -> dict[str, Any]:
        (image,) = json.loads(self.run("podman", "image", "inspect", reference))
        image.pop("GraphDriver", None)
        for names in ("RepoTags", "RepoDigests", "NamesHistory"):
            image[names] = sorted(image[names])
        return image

    def export(self, reference: str) -> dict[str, tuple[Any, ...]]:
        container = self.run("podman", "create", reference, "x").decode().strip()
        return _read_export(["podman", "export", container], self.env)


class Ctr(Engine):
    """containerd without docker, through ctr."""

    kind = "ctr"
    dib_name = "ctr"
    load_command = ("ctr", "images", "import", "--snapshotter", "native", "-")

    def images(self) -> list[str]:
        rows = self.run("ctr", "images", "ls").decode().splitlines()[1:]
        return sorted({row.split()[2] for row in rows})

    def facts(self, reference: str) -> dict[str, Any]:
        rows = [row.split() for row in self.run("ctr", "images", "ls").decode().splitlines()[1:]]
        (row,) = (row for row in rows if row[0] == reference)
        manifest = json.loads(self.run("ctr", "content", "get", row[2]))
        if "manifests" in manifest:
            manifest = json.loads(self.run("ctr", "content", "get", manifest["manifests"][0]["digest"]))
        config = json.loads(self.run("ctr", "content", "get", manifest["config"]["digest"]))
        return {
            "target": row[2],
            "names": sorted(other[0] for other in rows if other[2] == row[2]),
            "manifest": manifest,
            "config": config,
        }

    def export(self, reference: str) -> dict[str, tuple[Any, ...]]:
        with tempfile.TemporaryDirectory() as folder:
            self.run("ctr", "images", "mount", "--snapshotter", "native", reference, folder)
            try:
                return _read_export(["tar", "-C", folder, "-c", "."], self.env)
            finally:
                self.run("ctr", "images", "unmount", "--snapshotter", "native", folder)


class Cri:
    """containerd with its CRI, the interface that a Kubernetes node uses. Images are pulled by gRPC requests to the
    CRI; curl sends these requests.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self._address = address
        self._folder = folder

    def pull(self, name: str) -> str:
        """Pull an image and return its ID."""
        place = name.encode()
        image = b"\n" + bytes([len(place)]) + place  # PullImageRequest.image.image, below 128 bytes
        message = b"\n" + bytes([len(image)]) + image
        request, headers = self._folder / "request", self._folder / "headers"
        request.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        command = ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", self._address, "-D", str(headers)]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{request}"]
        command += ["http://localhost/runtime.v1.ImageService/PullImage"]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        assert "grpc-status: 0" in headers.read_text(), headers.read_text()
        # skip the frame's header (5 bytes) and the header of PullImageResponse.image_ref (2 bytes)
        return answer[7:].decode()


@contextlib.contextmanager
def cri(hosts: Path) -> Iterator[Cri]:
    """Start containerd with its CRI. ``hosts`` is the folder of its mirror configuration."""
    needs.root()
    needs.programs("containerd", "ctr", "curl")
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    settings = (
        f'[{plugin}]\ndisable_cgroup = true\n[{plugin}.registry]\nconfig_path = "{hosts}"\n'
        f'[{plugin}.containerd]\nsnapshotter = "native"\n'
    )
    with _folder() as folder, _containerd_process(folder, settings) as address:
        yield Cri(address, folder)


@contextlib.contextmanager
def engine(kind: Kind) -> Iterator[Engine]:
    """Start an empty engine. Afterwards, remove its processes, mounts and files."""
    start = {"classic": _classic, "containerd": _containerd_store, "podman": _podman, "ctr": _ctr}[kind]
    with start() as started:
        yield started


@contextlib.contextmanager
def docker(kind: Store) -> Iterator[Docker]:
    """Start an empty Docker engine with the classic or the containerd store."""
    needs.root()
    needs.programs("dockerd", "docker", "containerd")
    settings: dict[str, Any] = {"storage-driver": "vfs"}
    if kind == "containerd":
        settings = {"storage-driver": "native", "features": {"containerd-snapshotter": True}}
    with _folder() as folder, _containerd_process(folder) as address:
        (folder / "daemon.json").write_text(json.dumps(settings))
        host = f"unix://{folder}/docker.sock"
        env = {"DOCKER_HOST": host, "DOCKER_CONFIG": str(folder / "client"), "DOCKER_BUILDKIT": "0"}
        env["CONTAINERD_ADDRESS"] = address
        found = Docker(kind, env)
        found.env.pop("DOCKER_CONTEXT", None)
        command = [
            *("dockerd", "--config-file", str(folder / "daemon.json"), "--containerd", address, "-H", host),
            *("--iptables=false", "--ip6tables=false", "--bridge=none", "--pidfile", str(folder / "docker.pid")),
            *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        ]
        with _process(command, folder / "docker.log", lambda: _answers(["docker", "version"], found.env)):
            yield found


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """Create an empty podman store."""
    needs.root()
    needs.programs("podman")
    with _folder() as folder:
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
        )
        (folder / "containers.conf").write_text(
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\ntmp_dir = "{folder}/tmp"\n'
        )
        yield Podman(
            {
                "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
                "CONTAINERS_CONF": str(folder / "containers.conf"),
                "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            }
        )


@contextlib.contextmanager
def registry(*, deletes: bool = False) -> Iterator[str]:
    """Start an empty registry on this machine, without TLS, and yield its address."""
    with registry_with_config(deletes=deletes) as (host, _):
        yield host


@contextlib.contextmanager
def registry_with_config(*, deletes: bool) -> Iterator[tuple[str, Path]]:
    """Start an empty registry and yield its address and its configuration file."""
    needs.programs("docker-registry")
    with _folder() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
        probe.close()
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}},"
            f" delete: {{enabled: {str(deletes).lower()}}}}}\n"
            f"http: {{addr: {host}:{port}}}\n"
        )

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                return True
            return False

        with _process(["docker-registry", "serve", str(folder / "config.yml")], folder / "registry.log", answers):
            yield f"{host}:{port}", folder / "config.yml"


@contextlib.contextmanager
def _ctr() -> Iterator[Ctr]:
    needs.root()
    needs.programs("containerd", "ctr")
    with _folder() as folder, _containerd_process(folder) as address:
        yield Ctr({"CONTAINERD_ADDRESS": address, "CONTAINERD_SNAPSHOTTER": "native", "CONTAINERD_NAMESPACE": "test"})


def _classic() -> contextlib.AbstractContextManager[Docker]:
    return docker("classic")


def _containerd_store() -> contextlib.AbstractContextManager[Docker]:
    return docker("containerd")


def _podman() -> contextlib.AbstractContextManager[Podman]:
    return podman()


NO_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'


@contextlib.contextmanager
def _containerd_process(folder: Path, settings: str = NO_CRI) -> Iterator[str]:
    """Start containerd with settings for its plugins, and yield its socket."""
    address = f"{folder}/containerd.sock"
    (folder / "containerd.toml").write_text(
        f'version = 2\nroot = "{folder}/content"\nstate = "{folder}/state"\n{settings}[grpc]\naddress = "{address}"\n'
    )
    command = ["containerd", "--config", str(folder / "containerd.toml")]
    env = {**os.environ, "CONTAINERD_ADDRESS": address}
    with _process(command, folder / "containerd.log", lambda: _answers(["ctr", "version"], env)):
        yield address


@contextlib.contextmanager
def _process(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Start a server, wait until it is ready, and stop it when the block ends."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        end = time.monotonic() + START_SECONDS
        while not ready():
            if server.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command[0]} did not come up: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _answers(command: list[str], env: dict[str, str]) -> bool:
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Create a folder with a short path, because a socket's path has at most 107 bytes.

    Afterwards, unmount and remove the folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="dib-engine-", dir="/tmp"))
    try:
        yield folder
    finally:
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{folder}/"):
                subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _read_export(command: list[str], env: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    """Run a program that writes a tar. Return the header fields and the content hash of each entry, by path."""
    entries: dict[str, tuple[Any, ...]] = {}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for item in tar:
                path = item.name.removeprefix("./").strip("/")
                content = tar.extractfile(item) if item.isreg() else None
                digest = hashlib.file_digest(content, "sha256").hexdigest() if content else None  # type: ignore[arg-type]
                mtime = None if path in ENGINES_OWN or item.isdir() else item.mtime
                size = item.size if item.isreg() else 0
                xattrs = sorted((k, v) for k, v in item.pax_headers.items() if k.startswith("SCHILY."))
                entries[path] = (
                    *(item.type, item.mode, item.uid, item.gid, size, mtime, item.linkname),
                    *(item.devmajor, item.devminor, xattrs, digest),
                )
        while process.stdout.read(1 << 20):
            pass
    assert process.returncode == 0, f"{' '.join(command)}: exit {process.returncode}"
    return entries

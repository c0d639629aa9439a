"""Real programs that write archives with compressed layers, from an image with raw layers. with ExitStack() as stack:
source = Source(archive, work, stack) WRITERS["umoci raw add-layer"](source, out)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests import engines, needs

NAME = "example.com/layers:1"
LEVELS = range(1, 10)

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Source:
    """An image as an archive, and in other forms. Each form is created when it is first requested, and exists until
    ``stack`` is closed.
    """

    def __init__(self, archive: Path, work: Path, stack: contextlib.ExitStack) -> None:
        self.archive, self.work = archive, work
        self._stack = stack
        self._reference = ""
        self._layers: list[Path] = []

    def reference(self) -> str:
        """Return the image's name in a registry. docker with its classic store pushed the image there."""
        if not self._reference:
            self._reference = f"{self._stack.enter_context(engines.registry())}/layers:1"
            with engines.docker("classic") as docker:
                docker.load(self.archive)
                docker.run("docker", "tag", docker.images()[0], self._reference)
                docker.run("docker", "push", "-q", self._reference)
        return self._reference

    def layers(self) -> list[Path]:
        """Return the files of the layers; the lowest layer comes first. The folder also has a Dockerfile that adds
        these layers.
        """
        if not self._layers:
            context = self.work / "context"
            context.mkdir()
            with tarfile.open(self.archive) as tar:
                for number, name in enumerate(json.load(_member(tar, "manifest.json"))[0]["Layers"]):
                    path = context / f"{number}.tar"
                    with path.open("wb") as out:
                        stream = _member(tar, name)
                        while piece := stream.read(1 << 20):
                            out.write(piece)
                    self._layers.append(path)
            lines = ["FROM scratch", *(f"ADD {path.name} /" for path in self._layers)]
            (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        return self._layers


Writer = Callable[[Source, Path], None]


def _member(tar: tarfile.TarFile, name: str):
    stream = tar.extractfile(name)
    assert stream, name
    return stream


def pulled_by_docker(source: Source, out: Path) -> None:
    """Pull from the registry into containerd's store, and save the image. The layers were compressed by docker push."""
    reference = source.reference()
    with engines.docker("containerd") as docker:
        docker.run("docker", "pull", "-q", reference)
        docker.save(out, reference)


def fetched_by_ctr(source: Source, out: Path) -> None:
    reference = source.reference()
    with engines.engine("ctr") as ctr:
        ctr.run("ctr", "content", "fetch", "--plain-http", reference)
        ctr.run("ctr", "images", "export", out, reference)


def copied_from_registry(source: Source, out: Path) -> None:
    _skopeo(f"docker://{source.reference()}", out, "--src-tls-verify=false")


def copied_by_skopeo(*options: str) -> Writer:
    return lambda source, out: _skopeo(f"docker-archive:{source.archive}", out, *options)


def _skopeo(source: str, out: Path, *options: str) -> None:
    needs.programs("skopeo")
    command = ["skopeo", "--insecure-policy", "copy", "-q", *options, source, f"oci-archive:{out}:{NAME}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def built_by_buildx(kind: str, *options: str) -> Writer:
    """Return a writer that uses dockerd's BuildKit.

    Each build starts a new engine, because BuildKit would reuse the first compressed form of each layer.
    """

    def write(source: Source, out: Path) -> None:
        source.layers()
        output = ",".join([f"type={kind}", f"dest={out}", f"name={NAME}", *options])
        with engines.docker("containerd") as docker:
            docker.env["DOCKER_BUILDKIT"] = "1"
            if subprocess.run(
                ["docker", "buildx", "version"], env=docker.env, capture_output=True, check=False
            ).returncode:
                needs.programs("docker-buildx")
            docker.run("docker", "buildx", "build", "-q", "--output", output, source.work / "context")

    return write


def saved_by_podman(source: Source, out: Path) -> None:
    with engines.podman() as podman:
        podman.load(source.archive)
        podman.run("podman", "save", "-q", "--format", "oci-archive", "-o", out, podman.images()[0])


def pushed_by_podman(*options: str) -> Writer:
    def write(source: Source, out: Path) -> None:
        with engines.podman() as podman:
            podman.load(source.archive)
            podman.run("podman", "push", "-q", *options, podman.images()[0], f"oci-archive:{out}:{NAME}")

    return write


def committed_by_buildah(source: Source, out: Path) -> None:
    needs.programs("buildah")
    with engines.podman() as podman:
        image = "scratch"
        for layer in source.layers():
            container = podman.run("buildah", "from", image).decode().strip()
            podman.run("buildah", "add", "-q", container, layer, "/")
            image = podman.run("buildah", "commit", "-q", "--rm", container).decode().strip()
        podman.run("buildah", "push", "-q", image, f"oci-archive:{out}:{NAME}")


def added_by_umoci(source: Source, out: Path) -> None:
    needs.programs("umoci")
    with tempfile.TemporaryDirectory(dir=source.work) as folder:
        layout = f"{folder}/layout"
        umoci = partial(subprocess.run, check=True)
        umoci(["umoci", "init", "--layout", layout])
        umoci(["umoci", "new", "--image", f"{layout}:1"])
        for layer in source.layers():
            umoci(["umoci", "raw", "add-layer", "--image", f"{layout}:1", layer])
        _pack(Path(layout), out)


def compressed_by(*command: str, of_file: bool = False, media_type: str = _LAYER) -> Writer:
    """Return a writer of OCI layouts. The given command compresses each layer, from a file or from a pipe."""

    def write(source: Source, out: Path) -> None:
        needs.programs(command[0])
        with tempfile.TemporaryDirectory(dir=source.work) as name:
            folder = Path(name)
            (folder / "blobs" / "sha256").mkdir(parents=True)
            diff_ids, layers = [], []
            for layer in source.layers():
                with layer.open("rb") as stream:
                    diff_ids.append("sha256:" + hashlib.file_digest(stream, "sha256").hexdigest())
                    stream.seek(0)
                    words = [*command, str(layer)] if of_file else command
                    done = subprocess.run(words, stdin=stream, stdout=subprocess.PIPE, check=True)
                layers.append(_blob(folder, done.stdout, media_type))
            config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
            about = _blob(folder, json.dumps(config).encode(), _CONFIG)
            manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": about, "layers": layers}
            top = _blob(folder, json.dumps(manifest).encode(), _MANIFEST)
            (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
            (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
            _pack(folder, out)

    return write


def _blob(folder: Path, data: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _pack(folder: Path, out: Path) -> None:
    subprocess.run(["tar", "-C", folder, "--sort=name", "-cf", out, "."], check=True)


_PYTHON = "import gzip, sys; gzip.GzipFile('', 'wb', 9, sys.stdout.buffer, 0).write(sys.stdin.buffer.read())"

WRITERS: dict[str, Writer] = {
    "docker push; docker pull, docker save (containerd store)": pulled_by_docker,
    "docker push; ctr content fetch, ctr images export": fetched_by_ctr,
    "docker push; skopeo copy to oci-archive": copied_from_registry,
    "docker buildx, type=oci": built_by_buildx("oci"),
    "docker buildx, type=docker": built_by_buildx("docker"),
    "skopeo copy to oci-archive": copied_by_skopeo(),
    "podman save, oci-archive": saved_by_podman,
    "buildah push to oci-archive": committed_by_buildah,
    "umoci raw add-layer": added_by_umoci,
    "gzip -9n": compressed_by("gzip", "-9n"),
    "Python's gzip": compressed_by(sys.executable, "-c", _PYTHON),
}
"""Writers with their usual options."""

WITH_OPTIONS: dict[str, Writer] = {
    **{
        f"docker buildx, type=oci, level {level}": built_by_buildx("oci", f"compression=gzip,compression-level={level}")
        for level in LEVELS
    },
    "docker buildx, type=oci, estargz": built_by_buildx("oci", "compression=estargz"),
    **{
        f"skopeo copy to oci-archive, level {level}": copied_by_skopeo("--dest-compress-level", str(level))
        for level in LEVELS
    },
    "podman push to oci-archive, level 9": pushed_by_podman("--compression-level", "9"),
    "pigz": compressed_by("pigz", "-n"),
    **{f"pigz -{level}": compressed_by("pigz", "-n", f"-{level}") for level in (1, 9)},
    "pigz -R": compressed_by("pigz", "-n", "-R"),
    "pigz -i": compressed_by("pigz", "-n", "-i"),
    "pigz -p 1": compressed_by("pigz", "-n", "-p", "1"),
}
"""Writers with unusual levels and formats. dib finds recipes for only some of them."""

ZSTD: dict[str, Writer] = {
    **{
        f"docker buildx, type=oci, zstd, level {level}": built_by_buildx(
            "oci", f"compression=zstd,compression-level={level}"
        )
        for level in (1, 3, 7, 11)
    },
    **{
        f"skopeo copy to oci-archive, {form}, level {level}": copied_by_skopeo(
            "--dest-compress-format", form, "--dest-compress-level", str(level)
        )
        for form in ("zstd", "zstd:chunked")
        for level in (1, 3, 9)
    },
    **{
        f"podman push to oci-archive, {form}, level {level}": pushed_by_podman(
            "--compression-format", form, "--compression-level", str(level)
        )
        for form in ("zstd", "zstd:chunked")
        for level in (1, 3, 9)
    },
    **{
        f"zstd {' '.join(options)}{', of a file' if of_file else ''}": compressed_by(
            "zstd", "-qc", *options, of_file=of_file, media_type=_ZSTD_LAYER
        )
        for options, of_file in (
            *((("-1",), False), (("-3",), False), (("-9",), False), (("-19",), False)),
            *((("-3", "-T0"), True), (("-3", "--single-thread"), True), (("-9", "--single-thread"), False)),
        )
    },
}
"""Writers of zstd layers. The last ones use libzstd, and all others use klauspost/compress."""

"""Layers that real programs compressed. dib finds their recipes, recompresses them, and makes bundles for any form of
image.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dibundle.codecs.deflate.encoders import GNU, GO, PGZIP_1, ZLIB
from dibundle.codecs.frames.encoders import BEST, BETTER, DEFAULT, FASTEST
from dibundle.codecs.frames.libzstd import LIBZSTD_157, LIBZSTD_157_HIGH
from dibundle.format.reader import BundleReader
from tests import engines
from tests.compat import images
from tests.compat.writers import WRITERS, ZSTD, Source
from tests.program import succeed

pytestmark = pytest.mark.engine

NEXT = "example.com/app:3"
VERSIONS = {"old": images.OLD, "new": images.NEW, "next": NEXT}
"""The version ``next`` is ``old`` with one more layer. ``old`` and ``new`` share no layer."""

FOUND = {
    "docker": (GO, 6),
    "skopeo": (PGZIP_1, 5),
    "podman": (PGZIP_1, 5),
    "buildah": (PGZIP_1, 5),
    "umoci": (PGZIP_1, 5),
    "gzip": (GNU, 9),
    "Python's": (ZLIB, 9),
}
"""Encoders of the programs in Debian 13, by the first word of the writer."""


@pytest.fixture(scope="module")
def source(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with ExitStack() as stack:
        yield Source(built / "b.tar", tmp_path_factory.mktemp("source"), stack)


@pytest.fixture(scope="module")
def saves(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save three versions.

    VERSION-gzip.tar is from containerd's store, after a pull. VERSION-raw.tar is from podman.
    """
    folder = tmp_path_factory.mktemp("saves")
    with engines.registry() as address:
        with engines.docker("classic") as classic:
            classic.load(built / "a.tar")
            classic.load(built / "b.tar")
            (folder / "Dockerfile").write_text(f"FROM {images.OLD}\nCOPY Dockerfile /notes\n")
            classic.build(NEXT, folder)
            for version, reference in VERSIONS.items():
                classic.run("docker", "tag", reference, f"{address}/app:{version}")
                classic.run("docker", "push", "-q", f"{address}/app:{version}")
            classic.save(folder / "all.tar", *VERSIONS.values())
        with engines.docker("containerd") as docker:
            for version, reference in VERSIONS.items():
                docker.run("docker", "pull", "-q", f"{address}/app:{version}")
                docker.run("docker", "tag", f"{address}/app:{version}", reference)
                docker.save(folder / f"{version}-gzip.tar", reference)
    with engines.podman() as podman:
        podman.load(folder / "all.tar")
        for version, reference in VERSIONS.items():
            podman.save(folder / f"{version}-raw.tar", reference)
    return folder


@pytest.fixture(scope="module")
def raw_size(saves: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    bundle = tmp_path_factory.mktemp("raw") / "out.dib"
    succeed("create", saves / "old-raw.tar", saves / "new-raw.tar", bundle)
    return bundle.stat().st_size


@pytest.mark.parametrize("writer", WRITERS)
def test_every_layer_is_made_again(writer: str, source: Source, built: Path, tmp_path: Path, raw_size: int) -> None:
    archive, bundle = tmp_path / "b.tar", tmp_path / "out.dib"
    WRITERS[writer](source, archive)
    said = succeed("create", built / "a.tar", archive, bundle).err
    assert "no encoder here" not in said
    encoder, level = FOUND[writer.partition(" ")[0]]
    assert manifest(bundle).reencoders == (encoder << 4 | level,)
    assert bundle.stat().st_size < raw_size * 1.05 + 20_000
    assert sha256(succeed("apply", built / "a.tar", bundle).out) == sha256(archive.read_bytes())


@pytest.mark.parametrize("writer", ZSTD)
def test_every_zstd_layer_is_made_again(
    writer: str, source: Source, built: Path, tmp_path: Path, raw_size: int
) -> None:
    archive, bundle = tmp_path / "b.tar", tmp_path / "out.dib"
    ZSTD[writer](source, archive)
    assert "no encoder here" not in succeed("create", built / "a.tar", archive, bundle).err
    if writer.startswith("zstd -"):
        level = int(writer.split()[1].strip("-,"))
        number = LIBZSTD_157 << 4 | level if level < 16 else LIBZSTD_157_HIGH << 4 | level - 15
        assert manifest(bundle).reencoders == (number,)
    else:
        level = {1: FASTEST, 3: DEFAULT, 7: BETTER, 9: BETTER, 11: BEST}[int(writer.rpartition(" ")[2])]
        assert {number & 15 for number in manifest(bundle).reencoders} == {level}
    assert bundle.stat().st_size < raw_size * 1.05 + 20_000 + archive.stat().st_size * 3 // 1000
    assert sha256(succeed("apply", built / "a.tar", bundle).out) == sha256(archive.read_bytes())


@pytest.mark.parametrize(("old", "new"), [("raw", "gzip"), ("gzip", "raw"), ("gzip", "gzip")])
def test_between_forms(old: str, new: str, saves: Path, tmp_path: Path, raw_size: int) -> None:
    base, target, bundle = saves / f"old-{old}.tar", saves / f"new-{new}.tar", tmp_path / "out.dib"
    succeed("create", base, target, bundle)
    assert bundle.stat().st_size < raw_size * 1.05 + 20_000
    for form in ("raw", "gzip"):  # an archive of the base in any form works
        assert sha256(succeed("apply", saves / f"old-{form}.tar", bundle).out) == sha256(target.read_bytes())


def test_layers_that_stay_are_made_of_their_content(saves: Path, tmp_path: Path) -> None:
    """The base from containerd's store has compressed blobs for all layers except one. The base from podman has only
    the layers' contents.
    """
    bundle = tmp_path / "out.dib"
    succeed("create", saves / "old-gzip.tar", saves / "next-gzip.tar", bundle)
    assert manifest(bundle).forms
    assert bundle.stat().st_size < 4_000
    for form in ("raw", "gzip"):
        applied = succeed("apply", saves / f"old-{form}.tar", bundle)
        assert sha256(applied.out) == sha256((saves / "next-gzip.tar").read_bytes())


def test_the_image_id_is_the_originals(saves: Path, tmp_path: Path) -> None:
    """In containerd's store, the image ID is a manifest's digest. So the ID depends on the digests of the compressed
    layers.
    """
    succeed("create", saves / "old-raw.tar", saves / "new-gzip.tar", tmp_path / "out.dib")
    succeed("apply", saves / "old-raw.tar", tmp_path / "out.dib", "-o", tmp_path / "applied.tar")
    states = []
    for archive in (saves / "new-gzip.tar", tmp_path / "applied.tar"):
        with engines.docker("containerd") as docker:
            docker.load(archive)
            states.append((docker.images(), docker.facts(images.NEW), docker.export(images.NEW)))
    assert states[0] == states[1]
    assert states[0][0][0].startswith("sha256:")


def manifest(bundle: Path):
    return BundleReader(io.BytesIO(bundle.read_bytes())).manifest


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

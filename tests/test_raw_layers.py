"""``create --raw-layers`` for layers without a recompression recipe, and create's messages about such layers."""

from __future__ import annotations

import json
import shlex
import tarfile
import zlib
from pathlib import Path

import pytest

from tests import engines
from tests.builders import TestImage, build_layer, docker_save, file, sha256
from tests.content import noise, text
from tests.program import dib, succeed

NAME = "example.com/app:2"
HEADER = bytes.fromhex("1f8b08000000000002ff")


def unknown(data: bytes) -> bytes:
    """Compress in a way that no encoder of dib reproduces. Flush every 50,000 bytes, and use a strategy that no tool
    uses.
    """
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, 5, zlib.Z_FILTERED)
    body = b"".join(
        encoder.compress(data[at : at + 50_000]) + encoder.flush(zlib.Z_FULL_FLUSH)
        for at in range(0, len(data), 50_000)
    )
    body += encoder.flush()
    return HEADER + body + zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")


def release(number: int) -> TestImage:
    bottom = build_layer([file("usr/data", noise(1, 300_000)), file("usr/words", text(2, 300_000))])
    words = text(3, 300_000)
    top = build_layer([file("app/words", words[:1000] + b"%d" % number + words[1000:], mtime=number)])
    return TestImage([bottom, top], [f"example.com/app:{number}"])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.tar", tmp_path / "new.tar"
    old.write_bytes(docker_save([release(1)], "podman"))
    new.write_bytes(docker_save([release(2)], "oci", unknown))
    return old, new


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: stream.read() for member in tar if (stream := tar.extractfile(member))}


@pytest.mark.parametrize("stored", [unknown, "gzip", "zstd"])
@pytest.mark.parametrize("style", ["oci", "c8d"])
def test_the_images_have_raw_layers_and_the_same_configs(tmp_path: Path, style, stored):
    old, new, made = tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "made.tar"
    old.write_bytes(docker_save([release(1)], style))
    new.write_bytes(docker_save([release(2)], style, stored))
    succeed("create", "--raw-layers", old, new, tmp_path / "o.dib")
    assert (tmp_path / "o.dib").stat().st_size < 10_000
    succeed("apply", old, tmp_path / "o.dib", "-o", made)
    found = contents(made)
    [entry] = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == [NAME]
    config = found[entry["Config"]]
    assert config in contents(new).values()
    layers = [found[name] for name in entry["Layers"]]
    assert layers == release(2).layers
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{sha256(layer)}" for layer in layers]
    assert succeed("diff", new, made).out  # both archives have the same image
    succeed("apply", old, tmp_path / "o.dib", "--expect", f"sha256:{sha256(config)}", "-o", tmp_path / "expected.tar")


def test_an_archive_with_raw_layers_stays_as_it_is(tmp_path: Path):
    old, new = tmp_path / "old.tar", tmp_path / "new.tar"
    old.write_bytes(docker_save([release(1)], "classic"))
    new.write_bytes(docker_save([release(2)], "classic"))
    succeed("create", "--raw-layers", old, new, tmp_path / "raw.dib")
    succeed("create", old, new, tmp_path / "plain.dib")
    assert (tmp_path / "raw.dib").read_bytes() == (tmp_path / "plain.dib").read_bytes()


def test_create_says_what_it_carries_and_gives_a_command_that_works(pair: tuple[Path, Path], tmp_path: Path):
    old, new = pair
    result = succeed("create", old, new, tmp_path / "o.dib", "--json")
    carried = json.loads(result.out)["carried_layers"]
    sizes = [len(unknown(layer)) for layer in release(2).layers]
    assert [layer["size"] for layer in carried] == sizes
    assert [layer["content_size"] for layer in carried] == [len(layer) for layer in release(2).layers]
    assert all("blocks of 50,000 bytes" in layer["writer"] for layer in carried)
    assert "2 compressed layers are in it whole" in result.err
    command = next(line for line in result.err.splitlines() if "--raw-layers" in line).partition(", run dib ")[2]
    before = (tmp_path / "o.dib").stat().st_size
    succeed(*shlex.split(command))
    assert (tmp_path / "o.dib").stat().st_size < before / 20
    estimate = json.loads(succeed("create", "--dry-run", "--json", old, new).out)
    assert estimate["carried_layers"] == carried


def test_a_layer_that_is_not_the_configs_is_refused(tmp_path: Path):
    image = release(2)
    new = tmp_path / "new.tar"
    data = docker_save([image], "oci", "gzip")
    name = f"sha256:{sha256(image.layers[0])}".encode()
    wrong = bytearray(data)
    at = data.index(name)
    wrong[at + 10 : at + 12] = b"00" if data[at + 10 : at + 12] != b"00" else b"11"
    new.write_bytes(wrong)
    ended = dib("create", "--raw-layers", "--no-base", new, tmp_path / "o.dib")
    assert ended.code != 0
    assert not (tmp_path / "o.dib").exists()


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["classic", "podman", "containerd"])
def test_engines_load_the_same_image(tmp_path: Path, engine):
    """Engines load the same image. Docker's classic store and podman identify an image by its config. containerd's
    store identifies it by its manifest, which differs here.
    """
    old, new, made = tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "made.tar"
    old.write_bytes(docker_save([release(1)], "podman"))
    new.write_bytes(docker_save([release(2)], "c8d", unknown))  # a style that every engine loads
    succeed("create", "--raw-layers", old, new, tmp_path / "o.dib")
    succeed("apply", old, tmp_path / "o.dib", "-o", made)
    loaded = []
    for archive in (new, made):
        with engines.engine(engine) as running:
            running.load(archive)
            loaded.append(running.images())
    if engine == "containerd":
        assert len(loaded[0]) == len(loaded[1])
    else:
        assert loaded[0] == loaded[1]

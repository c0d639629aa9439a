"""Archives of docker before 1.10, which have no manifest.json and no configs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from dibundle.errors import ArchiveError
from dibundle.images import claims
from dibundle.images.archive import open_archive
from dibundle.images.reader import read_images
from tests.builders import build_layer, file
from tests.content import edited, noise, text
from tests.program import dib, succeed

BELOW, FIRST, SECOND = "1" * 64, "a" * 64, "b" * 64
WORDS = text(1, 300_000)


def save(repositories: object, **layers: tuple[str, str | None, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, parent, layer in layers.values():
            about = {"id": name, "created": "2015-01-01T00:00:00Z"} | ({"parent": parent} if parent else {})
            for path, content in (("VERSION", b"1.0"), ("json", json.dumps(about).encode()), ("layer.tar", layer)):
                info = tarfile.TarInfo(f"{name}/{path}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        if repositories is not None:
            info = tarfile.TarInfo("repositories")
            info.size = len(json.dumps(repositories))
            archive.addfile(info, io.BytesIO(json.dumps(repositories).encode()))
    return out.getvalue()


def release(top: str, words: bytes, repositories: object) -> bytes:
    below = build_layer([file("usr/data", noise(1, 500_000))])
    return save(repositories, below=(BELOW, None, below), top=(top, BELOW, build_layer([file("app/words", words)])))


OLD = release(FIRST, WORDS, {"example.com/app": {"1": FIRST}})
NEW = release(SECOND, edited(WORDS, 3), {"example.com/app": {"2": SECOND}})


@pytest.mark.parametrize("repositories", [None, {}, {"other": {"1": "c" * 64}}, {"x": 1, "y": {"1": 2}}, [1]])
def test_images_are_found_by_their_topmost_layers(tmp_path: Path, repositories: object):
    (tmp_path / "a.tar").write_bytes(release(FIRST, WORDS, repositories))
    with open_archive(tmp_path / "a.tar") as archive:
        found = read_images(archive)
    assert found.producer == "docker save (before 1.10)"
    (image,) = found.images
    assert image.names == ()
    assert image.config_digest.hex() == FIRST
    assert [layer and layer.member.path.decode() for layer in image.layers] == [
        f"{BELOW}/layer.tar",
        f"{FIRST}/layer.tar",
    ]


def test_parents_in_a_circle(tmp_path: Path):
    layer = build_layer([file("x")])
    (tmp_path / "a.tar").write_bytes(save({"app": {"1": FIRST}}, a=(FIRST, SECOND, layer), b=(SECOND, FIRST, layer)))
    with open_archive(tmp_path / "a.tar") as archive:
        (image,) = read_images(archive).images
    assert image.names == ("app:1",)
    assert len(image.layers) == 2


@pytest.mark.parametrize(("tags", "is_read"), [(4, True), (5, False)])
def test_the_name_of_a_repository_counts_for_each_of_its_tags(tags, is_read, tmp_path, monkeypatch):
    """Before the fix, an archive of 27 kB took three gigabytes of memory. The archive had a repository name of 30,000
    bytes and 100,000 tags.
    """
    monkeypatch.setattr(claims, "MAX_NAMES_SIZE", 4 * (30_000 + 1))
    named = {"r" * 30_000: {**{str(tag): FIRST for tag in range(tags)}, **{f"x{tag}": "c" * 64 for tag in range(100)}}}
    (tmp_path / "a.tar").write_bytes(save(named, a=(FIRST, None, build_layer([file("x")]))))
    with open_archive(tmp_path / "a.tar") as archive:
        if is_read:
            assert len(read_images(archive).images[0].names) == tags
        else:
            with pytest.raises(ArchiveError, match="exceed"):
                read_images(archive)


def test_layers_of_them_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "MAX_REFERENCES", 3)
    layer = build_layer([file("x")])
    chain = {"a": (BELOW, None, layer), "b": (FIRST, BELOW, layer), "c": (SECOND, BELOW, layer)}
    (tmp_path / "a.tar").write_bytes(save(None, **chain))
    with open_archive(tmp_path / "a.tar") as archive, pytest.raises(ArchiveError, match="more than 3 layers"):
        read_images(archive)


def test_bundles_of_them(tmp_path: Path):
    for name, data in (("a.tar", OLD), ("b.tar", NEW)):
        (tmp_path / name).write_bytes(data)
    bundle = tmp_path / "out.dib"
    succeed("create", tmp_path / "a.tar", tmp_path / "b.tar", bundle)
    assert bundle.stat().st_size < 20_000
    assert succeed("apply", tmp_path / "a.tar", bundle).out == NEW
    assert "example.com/app:2" in succeed("inspect", bundle).out.decode()
    ended = dib("apply", tmp_path / "a.tar", bundle, "--format", "docker-archive")
    assert (ended.code, ended.out) == (4, b"")
    assert "no config" in ended.err

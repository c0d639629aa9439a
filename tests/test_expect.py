"""A receiver's expectations are compared with the output. The bundle's claims have no influence."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

import pytest

from dibundle.applying import loading
from dibundle.applying.expected import UnexpectedError, named_digest, parse
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.files.digest import sha256
from dibundle.files.progress import Silent
from dibundle.format import writer
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images.archive import open_archive
from dibundle.images.pinned import PinnedImage
from tests.builders import STYLES, TestImage, build_layer, docker_save, docker_save_part, file, to_json
from tests.differential.check import written_for
from tests.roundtrip import bundle_of

OLD = TestImage([build_layer([file("a", b"old " * 500)])], ["app:1"])
NEW = TestImage([build_layer([file("a", b"new " * 500)])], ["app:2"])
OTHER = TestImage([build_layer([file("a", b"other " * 500)])], ["app:3"])


def image_id(image: TestImage) -> bytes:
    return sha256(image.config_bytes())


def made(tmp_path: Path, target: bytes, *expected: bytes, bundle: bytes | None = None) -> bytes:
    """Return the output of a bundle for ``target`` with these expectations. If dib refuses the bundle, return b""."""
    base = docker_save([OLD])
    bundle = bundle or bundle_of(tmp_path, [base], target)[0]
    (tmp_path / "base.tar").write_bytes(base)
    out = io.BytesIO()
    options = RebuildOptions(expect=frozenset(expected))
    with open_archive(tmp_path / "base.tar") as archive, Context() as context:
        try:
            rebuild_target([archive], BundleReader(io.BytesIO(bundle)), out.write, options, context)
        except UnexpectedError:
            assert not out.getvalue()
            raise
    return out.getvalue()


def silent(tmp_path: Path, target: bytes, *, claim: bytes | None = None) -> bytes:
    """Return a bundle for ``target`` that does not describe its images, or claims a wrong image."""
    bundle, _ = bundle_of(tmp_path, [docker_save([OLD])], target)
    reader = BundleReader(io.BytesIO(bundle))
    frames = [reader.frame()[1] for _ in reader.manifest.frames]
    about = None
    if claim:
        assert reader.manifest.about
        images = ((AboutImage(names=("app:2",), id=claim, diff_ids=()),),)
        about = reader.manifest.about._replace(targets=images)
    return b"".join(writer.write(dataclasses.replace(reader.manifest, about=about), frames))


@pytest.mark.parametrize("style", STYLES)
def test_takes_the_image_that_is_expected(style, tmp_path: Path) -> None:
    target = docker_save([NEW], style)
    assert made(tmp_path, target, image_id(NEW)) == target
    assert made(tmp_path, target, hashlib.sha256(target).digest()) == target
    assert made(tmp_path, target, image_id(NEW), image_id(OTHER)) == target


def test_refuses_an_image_beside_one_that_is_absent(tmp_path: Path) -> None:
    """An image is refused if the archive also lists an absent image.

    An engine that already has the absent image may prefer it. The absent image's platform is unknown, because only its
    config gives the platform, and this config is absent too.
    """
    target = docker_save_part(NEW)
    with pytest.raises(UnexpectedError, match="is not in the archive"):
        made(tmp_path, target, image_id(NEW))
    assert made(tmp_path, target, hashlib.sha256(target).digest()) == target


@pytest.mark.parametrize("style", STYLES)
def test_refuses_another_image(style, tmp_path: Path) -> None:
    target = docker_save([NEW], style)
    for bundle in (None, silent(tmp_path, target), silent(tmp_path, target, claim=image_id(OTHER))):
        with pytest.raises(UnexpectedError, match=image_id(NEW).hex()):
            made(tmp_path, target, image_id(OTHER), bundle=bundle)
    with pytest.raises(UnexpectedError):
        made(tmp_path, target, bytes(32))


def test_refuses_an_image_beside_the_expected_one(tmp_path: Path) -> None:
    target = docker_save([NEW, OTHER])
    with pytest.raises(UnexpectedError):
        made(tmp_path, target, image_id(NEW), bundle=silent(tmp_path, target))
    assert made(tmp_path, target, image_id(NEW), image_id(OTHER)) == target


def test_a_digest_of_the_archive_that_is_only_declared_does_not_count(tmp_path: Path) -> None:
    target = docker_save([NEW])
    reader = BundleReader(io.BytesIO(silent(tmp_path, target)))
    frames = [reader.frame()[1] for _ in reader.manifest.frames]
    lying = reader.manifest.targets[0]._replace(digest=bytes(32))
    bundle = b"".join(writer.write(dataclasses.replace(reader.manifest, targets=(lying,)), frames))
    out = io.BytesIO()
    options = RebuildOptions(expect=frozenset((bytes(32),)))
    with (
        open_archive(tmp_path / "base0.tar") as archive,
        Context() as context,
        pytest.raises(Exception, match="whole archive"),
    ):
        rebuild_target([archive], BundleReader(io.BytesIO(bundle)), out.write, options, context)
    assert not out.getvalue()


def odd(change) -> bytes:
    """Return an archive of OTHER that also has NEW's config. ``change`` modifies the list of outer members."""
    layer, config = OTHER.layers[0], OTHER.config_bytes()
    items = [
        file("good.json", NEW.config_bytes()),
        file("evil.json", config),
        file("layer.tar", layer),
    ]
    return build_layer([*items, *change(layer)])


def entry(config: str) -> bytes:
    return to_json([{"Config": config, "RepoTags": ["app:2"], "Layers": ["layer.tar"]}])


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: [file("manifest.json", entry("evil.json"))],
        lambda layer: [file("manifest.json", entry("good.json")), file("manifest.json", entry("evil.json"))],
        lambda layer: [file("manifest.json", entry("evil.json")), file("./manifest.json", entry("good.json"))],
        lambda layer: [
            file("manifest.json", entry("good.json").replace(b'"RepoTags"', b'"config":"evil.json","RepoTags"'))
        ],
        lambda layer: [
            file("manifest.json", entry("good.json").replace(b'"RepoTags"', b'"Config":"evil.json","RepoTags"'))
        ],
        lambda layer: [file("manifest.json", b"[]")],
        lambda layer: [file("manifest.json", b"{")],
        lambda layer: [file("manifest.json", entry("good.json")), file("index.json", b"[" + b" " * (8 << 20) + b"]")],
        lambda layer: [file("manifest.json", entry("good.json")), file("index.json", b"?")],
    ],
)
def test_an_archive_that_can_be_read_in_two_ways_is_refused(change, tmp_path: Path) -> None:
    target = odd(change)
    with pytest.raises(UnexpectedError):
        made(tmp_path, target, image_id(NEW), bundle=written_for(target, image_id(NEW)))


def test_digests_are_given_whole() -> None:
    assert parse("SHA256:" + "AB" * 32) == parse("ab" * 32) == b"\xab" * 32
    for text in ("ab" * 6, "sha512:" + "ab" * 32, "app:1", ""):
        with pytest.raises(UsageError):
            parse(text)


@pytest.mark.parametrize("text", ["sha256:" + "ab" * 32, "SHA256:" + "AB" * 32, "ab" * 32])
def test_a_target_named_by_a_digest_is_checked_in_any_spelling(text: str) -> None:
    assert named_digest(text) == parse(text) == b"\xab" * 32


@pytest.mark.parametrize(
    ("engine", "base", "name", "is_given"),
    [
        ("docker", "docker.io/library/app:1", "app:2", True),
        ("docker", "app:1", "docker.io/library/app:2", True),
        ("podman", "docker.io/library/app:1", "app:2", False),  # in podman, app:2 means localhost/app:2
        ("podman", "docker.io/library/app:1", "docker.io/library/app:2", True),
        ("podman", "app:1", "app:2", True),
        ("podman", "localhost/app:1", "app:2", True),
        ("podman", "app:1", "docker.io/library/app:2", False),
        ("podman", "team/app:1", "team/app:2", True),
    ],
)
def test_short_names_are_those_of_the_engine(engine: str, base: str, name: str, is_given: bool):
    image = PinnedImage(config=b"{}", manifest=b"{}", manifest_type="", layers=())
    names = loading.allowed_names(image, [name], {loading.repository_of(base, engine)}, engine, Silent())
    assert bool(names) == is_given

"""Images in the formats of all programs, archives with missing parts, and archives without an image."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.errors import ArchiveError, DibError
from dibundle.files import compression
from dibundle.files.readat import MemoryBytes
from dibundle.images.archive import Archive, open_archive
from dibundle.images.model import ImageArchive
from dibundle.images.reader import read_images
from dibundle.images.tar.entries import scan
from tests.builders import (
    STYLES,
    TarItem,
    TestImage,
    build_layer,
    docker_save,
    file,
    folder,
    hardlink,
    sha256,
    symlink,
    to_json,
)
from tests.fixtures import fixtures
from tests.images.contents import contents

BOTTOM = build_layer([folder("etc/"), file("etc/release", b"one")])
TOP = build_layer([file("app", b"two" * 1000)])
IMAGE = TestImage([BOTTOM, TOP], ["example.com/app:1"])
OTHER = TestImage([BOTTOM, TOP, BOTTOM], ["example.com/other:2"], {"architecture": "arm64", "variant": "v8"})
CONFIG = to_json({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [f"sha256:{sha256(TOP)}"]}})
MANIFEST = to_json([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}])


def archive_of(data: bytes) -> Archive:
    source = MemoryBytes(data)
    return Archive("given.tar", source, scan(source), None, None)


def read(data: bytes) -> ImageArchive:
    images = read_images(archive_of(data))
    check(data, images)
    return images


def check(data: bytes, images: ImageArchive) -> None:
    """Check that each regular member is exactly one blob, in order, and that images consist of blobs."""
    members = [entry for entry in images.archive.index.entries if entry.is_file]
    assert [blob.member for blob in images.blobs] == members
    known = {id(blob) for blob in images.blobs}
    for image in images.images:
        for blob in (image.config, *image.layers):
            assert blob is None or id(blob) in known
    for blob, content in zip(images.blobs, contents(images), strict=True):
        assert content.source.size == blob.member.size
        assert content.claimed is None or len(content.claimed) == 32


def tar_of(*items: TarItem) -> bytes:
    return build_layer(items)


def uncompressed(content) -> bytes:
    stored = content.source.read_at(0, content.source.size)
    if content.compression is None:
        assert content.size == len(stored)
        return stored
    assert content.size is None
    return b"".join(compression.decompress_iter(content.compression, [stored]))


@pytest.mark.parametrize("packing", [None, "gzip", "zstd"])
@pytest.mark.parametrize("style", STYLES)
def test_every_style(style, packing):
    images = read(docker_save([IMAGE, OTHER], style, packing))
    one, other = images.images
    assert one.names == ("example.com/app:1",)
    assert other.names == ("example.com/other:2",)
    assert (one.platform, other.platform) == ("linux/amd64", "linux/arm64/v8")
    assert one.diff_ids == tuple(hashlib.sha256(layer).digest() for layer in (BOTTOM, TOP))
    assert one.config_digest == hashlib.sha256(IMAGE.config_bytes()).digest()
    assert [layer.diff_id for layer in other.layers] == list(other.diff_ids)
    assert other.layers[0] is other.layers[2] is one.layers[0]
    assert {layer.compression for layer in one.layers} == {packing}
    assert (one.manifest_digest is None) == (style in {"classic", "podman"})
    assert sum(blob.kind == "layer" for blob in images.blobs) == 2
    assert sum(blob.kind == "config" for blob in images.blobs) == (3 if style == "c8d" else 2)
    for content in contents(images):
        assert content.claimed in (None, hashlib.sha256(uncompressed(content)).digest())
        assert content.claimed or content.kind == "other"


@pytest.mark.parametrize(
    ("style", "producer"),
    [
        ("classic", "docker save (before 25)"),
        ("v25", "docker save (25 or newer)"),
        ("podman", "podman/skopeo docker-archive"),
        ("oci", "OCI archive"),
        ("c8d", "containerd image store (docker save, ctr or nerdctl)"),
    ],
)
def test_producer(style, producer):
    assert read(docker_save([IMAGE], style)).producer == producer


def test_lower_case_keys_as_jib_writes_them():
    manifest = to_json([{"config": "c.json", "repoTags": ["a:1"], "layers": ["l.tar"]}])
    images = read(tar_of(file("l.tar", TOP), file("c.json", CONFIG), file("manifest.json", manifest)))
    assert images.producer == "jib"
    assert images.images[0].names == ("a:1",)
    assert images.images[0].layers[0].diff_id == hashlib.sha256(TOP).digest()


@pytest.mark.parametrize("prefix", ["./", "/", ".//", "x/../"])
def test_names_are_normalised(prefix):
    images = read(
        tar_of(*(file(prefix + n, d) for n, d in [("manifest.json", MANIFEST), ("c.json", CONFIG), ("l.tar", TOP)]))
    )
    assert images.images[0].config is not None
    assert images.images[0].layers[0] is not None


@pytest.mark.parametrize(
    "links",
    [
        [symlink("l.tar", "real.tar")],
        [symlink("l.tar", "./d/../real.tar")],
        [symlink("l.tar", "/real.tar")],
        [hardlink("l.tar", "real.tar")],
        [symlink("l.tar", "d/one"), symlink("d/one", "../two"), hardlink("two", "real.tar")],
    ],
)
def test_links_between_members_are_followed(links):
    images = read(tar_of(file("real.tar", TOP), *links, file("c.json", CONFIG), file("manifest.json", MANIFEST)))
    assert images.images[0].layers[0].member.path == b"real.tar"


@pytest.mark.parametrize("links", [[symlink("l.tar", "l.tar")], [symlink("l.tar", "m"), symlink("m", "l.tar")], []])
def test_a_layer_that_is_not_there_is_none(links):
    images = read(tar_of(*links, file("c.json", CONFIG), file("manifest.json", MANIFEST)))
    assert images.images[0].layers == (None,)
    assert images.images[0].diff_ids == (hashlib.sha256(TOP).digest(),)


def test_a_config_that_is_not_there_is_none():
    (image,) = read(tar_of(file("l.tar", TOP), file("manifest.json", MANIFEST))).images
    assert (image.config, image.config_digest, image.diff_ids) == (None, b"", ())


def test_diff_ids_count_only_when_there_is_one_for_each_layer():
    manifest = to_json([{"Config": "c.json", "RepoTags": None, "Layers": ["l.tar", "m.tar"]}])
    items = file("l.tar", TOP), file("m.tar", BOTTOM), file("c.json", CONFIG), file("manifest.json", manifest)
    assert [layer.diff_id for layer in read(tar_of(*items)).images[0].layers] == [None, None]


def test_of_two_members_of_one_name_the_last_counts():
    items = file("l.tar", b"old"), file("l.tar", TOP), file("c.json", CONFIG), file("manifest.json", MANIFEST)
    images = read(tar_of(*items))
    assert [blob.kind for blob in images.blobs] == ["other", "layer", "config", "manifest"]


def test_a_layer_that_is_no_tar_is_a_blob():
    (image,) = read(tar_of(file("l.tar", b"hsqs"), file("c.json", CONFIG), file("manifest.json", MANIFEST))).images
    assert image.layers[0].compression is None


def test_a_web_manifest_beside_an_oci_layout_does_not_matter():
    layout = docker_save([IMAGE], "oci")[:-1024]
    assert len(read(layout + tar_of(file("manifest.json", b'{"name": "web"}'))).images) == 1


def test_missing_blobs_of_a_layout_are_normal():
    data = docker_save([IMAGE], "c8d")
    (image,) = read(data).images
    assert image.manifest_digest is not None
    kinds = sorted(blob.kind for blob in read(data).blobs)
    assert kinds == ["config"] * 2 + ["index"] * 2 + ["layer"] * 2 + ["manifest"] * 3 + ["other"] * 2


@pytest.mark.parametrize(
    ("data", "reason", "hint"),
    [
        (bytes(1024), "it is empty", "docker save"),
        (tar_of(file("x")), "a tar without manifest.json", "docker save"),
        (tar_of(*map(folder, ("bin", "etc", "usr", "var"))), "looks like the output of docker export", "docker export"),
        (tar_of(file("a/.wh.b")), "a single layer", "whole archive"),
        (tar_of(file("repositories", b"{}"), file("ab/layer.tar")), "no manifest.json and no layers", "docker save"),
        (tar_of(folder("img/"), file("img/manifest.json", MANIFEST)), "are in a folder", "tar -C img -cf FILE ."),
        (tar_of(file("manifest.json", b"[]")), "its manifest.json lists no image", "docker save"),
        (tar_of(file("manifest.json", b"{}")), "manifest.json is not a list of images", "docker save"),
        (tar_of(file("manifest.json", b"\xff")), "manifest.json is not JSON: invalid UTF-8", None),
        (tar_of(file("manifest.json", b"[1")), "manifest.json is not JSON", None),
        (tar_of(file("manifest.json", b"[" * 500_000)), "manifest.json is nested too deeply", None),
        (tar_of(file("manifest.json", b"[" + b"1" * 5000 + b"]")), "manifest.json is not JSON", None),
        (tar_of(file("manifest.json", bytes(9 << 20))), "manifest.json has 9.4 MB, but a JSON file", None),
        (tar_of(file("manifest.json", b"[NaN]")), r"'manifest.json\[0\].Config' is not a string", None),
        (tar_of(file("manifest.json", b'[{"Config":"c","Layers":[1]}]')), r"Layers\[0\]' is not a string", None),
        (tar_of(file("manifest.json", b'[{"Config":"c","Layers":{}}]')), r"\[0\].Layers' is not a list", None),
        (tar_of(file("index.json", b'{"manifests":[]}')), "none of the manifests in its index.json", None),
        (tar_of(file("a", b"x" * 2000))[:1000] , "cut short in an entry", None),
        (tar_of(file("z"), file("a", b"x" * 2000))[:2000], "cut short in an entry", "again"),
    ],
)  # fmt: skip
def test_what_holds_no_image_is_refused(data, reason, hint):
    with pytest.raises(ArchiveError, match=reason) as caught:
        read(data)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith("given.tar is not an image archive: ")
    assert hint is None or hint in caught.value.hint


def test_an_index_that_points_to_itself_ends():
    def index(digest):
        return to_json({"manifests": [{"digest": f"sha256:{digest}"}] * 50})

    a, b = "a" * 64, "b" * 64
    items = file("index.json", index(a)), file(f"blobs/sha256/{a}", index(b)), file(f"blobs/sha256/{b}", index(a))
    with pytest.raises(ArchiveError, match="none of the manifests"):
        read(tar_of(*items))


def test_odd_values_below_index_json_are_passed_over():
    odd = [
        None,
        1,
        [],
        {},
        {"digest": 1},
        {"digest": "sha256:zz"},
        {"digest": "sha256:../../x"},
        {"digest": "sha256:" + "c" * 64},
    ]
    inner = to_json({"layers": [*odd, 7], "config": "x"})
    name = sha256(inner)
    descriptor = {"digest": f"sha256:{name}", "annotations": 3, "platform": [1]}
    outer = to_json(
        {"manifests": [*odd, descriptor, descriptor | {"annotations": {"org.opencontainers.image.ref.name": "n"}}]}
    )
    (image,) = read(tar_of(file("index.json", outer), file(f"blobs/sha256/{name}", inner))).images
    assert image.names == ("n",)
    assert set(image.layers) == {None}


def test_names_that_are_no_text_do_not_crash():
    manifest = b'[{"Config":"\\ud800","RepoTags":["\\ud800",5],"Layers":["\\udfff"]}]'
    (image,) = read(tar_of(file("manifest.json", manifest))).images
    assert image.names == ("\ud800",)


@pytest.mark.parametrize("fixture", fixtures("image-archive"), ids=str)
def test_third_party_image_archives(fixture, tmp_path):
    with open_archive(fixture.path, spool_dir=str(tmp_path)) as archive:
        data = archive.bytes.read_at(0, archive.bytes.size)
        try:
            images = read_images(archive)
        except ArchiveError as error:
            print(f"{fixture.name}: {error.message}")
            assert fixture.name.rpartition("/")[2] in {
                "no_manifest.tar",
                "null_manifest.tar",
                "emptyLayer.tar",
                "export-no-manifest.tar",
            }
            return
        check(data, images)
        layers = [layer for image in images.images for layer in image.layers]
        print(f"{fixture.name}: {images.producer}, {len(images.images)} images, {len(layers)} layers; {fixture.note}")
        missing = sum(layer is None for layer in layers)
        assert bool(missing) == ("MISSING" in fixture.flavour and "/" not in fixture.flavour.partition("layers")[2])
        if "not matching" not in fixture.note:
            for content in contents(images):
                if content.claimed and content.size != 0 and "on purpose" not in fixture.note:
                    assert hashlib.sha256(uncompressed(content)).digest() == content.claimed


@pytest.mark.parametrize("fixture", fixtures("tar"), ids=str)
def test_third_party_tars_are_refused(fixture, tmp_path):
    with pytest.raises(ArchiveError) as caught, open_archive(fixture.path, spool_dir=str(tmp_path)) as archive:
        read_images(archive)
    print(f"{fixture.name}: {caught.value.message}; {caught.value.hint}")
    assert caught.value.exit_code == 4


SMALL = TestImage([build_layer([file("f", b"1")])])
SAVED = {style: docker_save([SMALL], style) for style in STYLES}


@settings(deadline=None)
@given(st.sampled_from(STYLES), st.data())
def test_mutated_archives_raise_nothing_but_our_errors(style, data):
    tar = bytearray(SAVED[style])
    index = scan(MemoryBytes(bytes(tar)))
    for _ in range(data.draw(st.integers(1, 3))):
        entry = data.draw(st.sampled_from(index.entries))
        at = data.draw(st.integers(entry.start, max(entry.start, entry.content + entry.size - 1)))
        tar[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'{}[]",:0\\')))
        if at < entry.content:
            block = entry.header
            tar[block + 148 : block + 156] = b" " * 8
            tar[block + 148 : block + 156] = b"%06o\0 " % sum(tar[block : block + 512])
    with contextlib.suppress(DibError):
        read(bytes(tar))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["l", "c"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["Config", "layers", "RepoTags", "manifests", "digest", "rootfs", "diff_ids", "annotations", "config"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_any_json_raises_nothing_but_our_errors(manifest, index, blob):
    body = json.dumps(blob).encode()
    pointing = {"manifests": [{"digest": f"sha256:{sha256(body)}"}, index]}
    data = build_layer(
        [
            file("manifest.json", json.dumps(manifest).encode()),
            file("index.json", json.dumps(pointing).encode()),
            file("oci-layout"),
            file("c", body),
            file("l", TOP),
            file(f"blobs/sha256/{sha256(body)}", body),
        ],
        tar_format=tarfile.USTAR_FORMAT,
    )
    with contextlib.suppress(DibError):
        read(data)

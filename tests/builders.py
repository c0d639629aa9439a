"""Build small image archives in memory, in the formats of real programs. The same arguments give the same bytes.

image = TestImage(layers=[build_layer([file("etc/os-release", b"...")])], names=["app:1"]) archive =
docker_save([image], style="v25")
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import zstandard

Style = Literal["classic", "v25", "podman", "oci", "c8d"]
LayerCompression = Literal["gzip", "zstd"] | None | Callable[[bytes], bytes]
"""The stored form of layers. A function compresses them to gzip data."""

STYLES: tuple[Style, ...] = ("classic", "v25", "podman", "oci", "c8d")
CREATED = 1_700_000_000

_MEDIA_SUFFIX = {None: "", "gzip": "+gzip", "zstd": "+zstd"}


@dataclass(frozen=True)
class TarItem:
    """One entry of a tar to build. ``kind`` is tarfile's type byte."""

    path: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    mtime: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class TestImage:
    """An image to build: its uncompressed layers, its tags, and fields to add to its config."""

    __test__ = False  # without this, pytest would collect the class because of its name

    layers: list[bytes]
    names: list[str] = field(default_factory=lambda: ["example.com/app:1"])
    config: dict[str, object] = field(default_factory=dict)

    def config_bytes(self) -> bytes:
        """Return the config as JSON, with the diffIDs of the layers."""
        config: dict[str, object] = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}
        config |= self.config
        config["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in self.layers]}
        return to_json(config)


def file(path: str, data: bytes = b"", *, mode: int = 0o644, mtime: int = 0) -> TarItem:
    """Return a regular file."""
    return TarItem(path, data, mode=mode, mtime=mtime)


def folder(path: str, *, mode: int = 0o755, mtime: int = 0) -> TarItem:
    """Return a directory."""
    return TarItem(path, kind=tarfile.DIRTYPE, mode=mode, mtime=mtime)


def symlink(path: str, target: str, *, mtime: int = 0) -> TarItem:
    """Return a symbolic link."""
    return TarItem(path, kind=tarfile.SYMTYPE, link=target, mode=0o777, mtime=mtime)


def hardlink(path: str, target: str, *, mtime: int = 0) -> TarItem:
    """Return a hard link to an earlier entry."""
    return TarItem(path, kind=tarfile.LNKTYPE, link=target, mtime=mtime)


def build_layer(items: Iterable[TarItem], *, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of ``items``, in order; two zero blocks end the tar, without further padding."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format, encoding="utf-8") as tar:
        for item in items:
            info = tarfile.TarInfo(item.path)
            info.type, info.linkname, info.size = item.kind, item.link, len(item.data)
            info.mode, info.mtime, info.uid, info.gid = item.mode, item.mtime, item.uid, item.gid
            tar.addfile(info, io.BytesIO(item.data))
        end = out.tell()
    return out.getvalue()[:end] + bytes(1024)


def docker_save(images: list[TestImage], style: Style = "v25", layer_compression: LayerCompression = None) -> bytes:
    """Return an image archive in the format that ``style`` names.

    ``classic`` is docker's format before 25, ``v25`` is docker's format since 25, and ``c8d`` is docker's format with
    containerd's image store. ``podman`` is a docker-archive of podman or skopeo. ``oci`` is an OCI layout in a tar.
    """
    write = {"classic": _classic, "v25": _v25, "podman": _podman, "oci": _oci, "c8d": _c8d}[style]
    return build_layer(write(images, layer_compression), tar_format=tarfile.USTAR_FORMAT)


def compress(data: bytes, kind: LayerCompression) -> bytes:
    """Compress a layer into the form that a registry stores."""
    if callable(kind):
        return kind(data)
    if kind == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if kind == "zstd":
        return zstandard.ZstdCompressor(level=3).compress(data)
    return data


def _suffix(kind: LayerCompression) -> str:
    return "+gzip" if callable(kind) else _MEDIA_SUFFIX[kind]


def sha256(data: bytes) -> str:
    """Return the hex sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def to_json(value: object) -> bytes:
    """Return compact JSON in the form that Go writes."""
    return json.dumps(value, separators=(",", ":")).encode()


def _classic(images: list[TestImage], packing: LayerCompression) -> list[TarItem]:
    """Return each layer in its own folder; the folders are sorted by name. If two layers have the same content, the
    second layer is a symlink.
    """
    items: dict[str, TarItem] = {}
    manifest = []
    first: dict[str, str] = {}
    for image in images:
        names = []
        for number, layer in enumerate(image.layers):
            stored = compress(layer, packing)
            identity = sha256(to_json([sha256(below) for below in image.layers[: number + 1]]))
            name = f"{identity}/layer.tar"
            _add(items, folder(f"{identity}/", mtime=CREATED))
            _add(items, file(f"{identity}/VERSION", b"1.0", mtime=CREATED))
            _add(items, file(f"{identity}/json", to_json({"id": identity}), mtime=CREATED))
            known = first.setdefault(sha256(layer), name)
            _add(items, file(name, stored, mtime=CREATED) if known == name else symlink(name, f"../{known}"))
            names.append(name)
        manifest.append(_docker_entry(items, image, f"{sha256(image.config_bytes())}.json", names))
    ordered = [items[name] for name in sorted(items)]
    return [*ordered, file("manifest.json", to_json(manifest)), _repositories(images)]


def _podman(images: list[TestImage], packing: LayerCompression) -> list[TarItem]:
    """Return layers at the top level, named by diffID. Folders in the old format have symlinks to these layers."""
    items: dict[str, TarItem] = {}
    manifest = []
    for image in images:
        names = []
        for layer in image.layers:
            diff_id = sha256(layer)
            _add(items, file(f"{diff_id}.tar", compress(layer, packing), mode=0o444))
            _add(items, symlink(f"{sha256(diff_id.encode())}/layer.tar", f"../{diff_id}.tar"))
            _add(items, file(f"{sha256(diff_id.encode())}/VERSION", b"1.0", mode=0o444))
            names.append(f"{diff_id}.tar")
        manifest.append(_docker_entry(items, image, f"{sha256(image.config_bytes())}.json", names))
    return [*items.values(), file("manifest.json", to_json(manifest), mode=0o444), _repositories(images)]


def _v25(images: list[TestImage], packing: LayerCompression) -> list[TarItem]:
    """Return blobs by digest, with both manifest.json and an OCI index."""
    blobs, descriptors, manifest = _blobs(images, packing)
    for image, entry in zip(images, manifest, strict=True):
        stored = [compress(layer, packing) for layer in image.layers]
        entry["LayerSources"] = {
            f"sha256:{sha256(layer)}": _descriptor(f"application/vnd.oci.image.layer.v1.tar{_suffix(packing)}", blob)
            for layer, blob in zip(image.layers, stored, strict=True)
        }
    index = to_json(_index(descriptors))
    return [
        *_blob_items(blobs, CREATED),
        file("index.json", index),
        file("manifest.json", to_json(manifest)),
        file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        _repositories(images),
    ]


def _oci(images: list[TestImage], packing: LayerCompression) -> list[TarItem]:
    """Return blobs by digest, with only an OCI index."""
    blobs, descriptors, _ = _blobs(images, packing)
    return [
        *_blob_items(blobs, 0),
        file("index.json", to_json(_index(descriptors))),
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    ]


def docker_save_part(image: TestImage) -> bytes:
    """Return an archive with one of an image's two platforms, as docker with containerd's store writes it."""
    return build_layer(_c8d([image], None, part=True))


def _c8d(images: list[TestImage], packing: LayerCompression, *, part: bool = False) -> list[TarItem]:
    """Return blobs as :func:`_v25` does. In addition, each image has an index. Apart from the image's manifest, it
    lists an attestation and a missing platform.
    """
    blobs, descriptors, manifest = _blobs(images, packing)
    top = []
    for image, descriptor in zip(images, descriptors, strict=True):
        annotations = descriptor.pop("annotations")
        config = json.loads(image.config_bytes())
        descriptor["platform"] = {"architecture": config["architecture"], "os": config["os"]}
        statement = to_json({"subject": descriptor["digest"]})
        note_config = to_json(
            {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}
        )
        note = to_json(
            {
                "schemaVersion": 2,
                "config": _put(blobs, "application/vnd.oci.image.config.v1+json", note_config),
                "layers": [_put(blobs, "application/vnd.in-toto+json", statement)],
            }
        )
        note_descriptor = _put(blobs, "application/vnd.oci.image.manifest.v1+json", note)
        note_descriptor["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
        note_descriptor["platform"] = {"architecture": "unknown", "os": "unknown"}
        absent = _descriptor("application/vnd.oci.image.manifest.v1+json", b"absent")
        absent["platform"] = {"architecture": "arm64", "os": "linux"}
        listed = [descriptor, absent, note_descriptor] if part else [descriptor, note_descriptor]
        inner = _put(blobs, "application/vnd.oci.image.index.v1+json", to_json(_index(listed)))
        inner["annotations"] = annotations
        top.append(inner)
    return [
        *_blob_items(blobs, 0),
        file("index.json", to_json(_index(top))),
        file("manifest.json", to_json(manifest)),
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', mode=0o444),
    ]


def _blobs(
    images: list[TestImage], packing: LayerCompression
) -> tuple[dict[str, bytes], list[dict[str, object]], list[dict[str, object]]]:
    """Return all images' blobs, a descriptor of each image's manifest, and manifest.json's entries."""
    blobs: dict[str, bytes] = {}
    descriptors: list[dict[str, object]] = []
    manifest: list[dict[str, object]] = []
    for image in images:
        config = _put(blobs, "application/vnd.oci.image.config.v1+json", image.config_bytes())
        media_type = f"application/vnd.oci.image.layer.v1.tar{_suffix(packing)}"
        layers = [_put(blobs, media_type, compress(layer, packing)) for layer in image.layers]
        body = to_json({"schemaVersion": 2, "config": config, "layers": layers})
        descriptor = _put(blobs, "application/vnd.oci.image.manifest.v1+json", body)
        descriptor["annotations"] = {"io.containerd.image.name": image.names[0]} if image.names else {}
        descriptors.append(descriptor)
        manifest.append(
            {
                "Config": _blob_path(config),
                "RepoTags": image.names,
                "Layers": [_blob_path(layer) for layer in layers],
            }
        )
    return blobs, descriptors, manifest


def _put(blobs: dict[str, bytes], media_type: str, data: bytes) -> dict[str, object]:
    blobs[sha256(data)] = data
    return _descriptor(media_type, data)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data)}


def _blob_path(descriptor: dict[str, object]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


def _index(descriptors: list[dict[str, object]]) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": descriptors}


def _blob_items(blobs: dict[str, bytes], mtime: int) -> list[TarItem]:
    items = [file(f"blobs/sha256/{name}", blobs[name], mtime=mtime) for name in sorted(blobs)]
    return [folder("blobs/", mtime=mtime), folder("blobs/sha256/", mtime=mtime), *items]


def _docker_entry(items: dict[str, TarItem], image: TestImage, config: str, layers: list[str]) -> dict[str, object]:
    _add(items, file(config, image.config_bytes(), mtime=CREATED))
    return {"Config": config, "RepoTags": image.names, "Layers": layers}


def _add(items: dict[str, TarItem], item: TarItem) -> None:
    items.setdefault(item.path, item)


def _repositories(images: list[TestImage]) -> TarItem:
    tags: dict[str, dict[str, str]] = {}
    for image in images:
        for name in image.names:
            repository, _, tag = name.rpartition(":")
            tags.setdefault(repository, {})[tag] = sha256(image.config_bytes())
    return file("repositories", to_json(tags) + b"\n")


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract an archive that a test has made. Python before 3.11.4 may lack extraction filters."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)

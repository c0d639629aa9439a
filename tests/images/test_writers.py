"""Rewritten archives hold the content that dib read, even if members of the old archive have misleading names."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from dibundle.files.readat import MemoryBytes
from dibundle.images import writers
from dibundle.images.archive import view_made
from dibundle.images.reader import read_images
from tests.content import noise

OCI = "application/vnd.oci.image."


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def packed(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def blobs(*contents: bytes) -> list[tuple[str, bytes]]:
    return [(f"blobs/sha256/{sha(content)}", content) for content in contents]


def descriptor(kind: str, content: bytes, name: str | None = None) -> dict[str, object]:
    annotations = {"annotations": {"io.containerd.image.name": name}} if name else {}
    return {"mediaType": OCI + kind, "digest": f"sha256:{sha(content)}", "size": len(content), **annotations}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def config_of(layer: bytes, **config: object) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}"]}
    return as_json({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs})


LAYER = packed([("file", noise(1, 5000))])


def test_names_within_a_nested_index_are_none():
    """Engines take names only from index.json.

    Before the fix, dib also wrote the names in nested indexes into manifest.json.
    """
    config = config_of(LAYER)
    layers = [descriptor("layer.v1.tar", LAYER)]
    manifest = as_json({"schemaVersion": 2, "config": descriptor("config.v1+json", config), "layers": layers})
    below = as_json({"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", manifest, "example.com/a:1")]})
    index = as_json({"schemaVersion": 2, "manifests": [descriptor("index.v1+json", below, "example.com/b:1")]})
    archive = packed([*blobs(LAYER, config, manifest, below), ("index.json", index), ("oci-layout", b"{}")])
    with view_made(MemoryBytes(archive), "it") as opened:
        images = read_images(opened)
        assert [image.names for image in images.images] == [("example.com/b:1",)]
        assert b"example.com/a" not in writers.layout(images, frozenset(), verified={}).manifest


def test_a_blob_is_written_under_its_own_digest():
    """Before the fix, dib could write a wrong member as the config. This member's name was the config's digest."""
    config, other = config_of(LAYER), config_of(LAYER, Entrypoint=["/other"])
    entry = {"Config": f"blobs/sha256/{'a' * 64}", "RepoTags": ["app:1"], "Layers": blobs(LAYER)[0][:1]}
    members = [(entry["Config"], config), (f"blobs/sha256/{sha(config)}", other), *blobs(LAYER)]
    archive = packed([*members, ("manifest.json", as_json([entry]))])
    with view_made(MemoryBytes(archive), "it") as opened:
        made = writers.layout(read_images(opened), frozenset(), verified={})
        written = {digest.hex(): b"".join(writers.chunks(content)) for digest, content in made.blobs.items()}
    assert all(sha(content) == digest for digest, content in written.items())
    (listed,) = json.loads(made.manifest)
    assert written[listed["Config"].removeprefix("blobs/sha256/")] == config

"""Two small but realistic image archives, generated in code: a release of a service and the next one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable

WORDS = ("alpha", "beta", "gamma", "server", "client", "image", "layer", "config", "manifest", "blob", "1.0.0")


def archives() -> tuple[bytes, bytes]:
    """Return two archives in the form of docker save, always the same bytes; the second is the next release."""
    system = _layer(_system_files(), mtime=1_700_000_000)
    old = _layer(_app_files("1.4.2"), mtime=1_710_000_000)
    new = _layer(_app_files("1.5.0"), mtime=1_720_000_000)
    return (
        _save("shop:1.4.2", [system, old], "2024-03-09T16:00:00Z"),
        _save("shop:1.5.0", [system, new], "2024-07-03T09:46:40Z"),
    )


def _system_files() -> Iterable[tuple[str, bytes]]:
    for number in range(40):
        yield f"usr/lib/libpart{number:02}.so", _native(number, 60_000, release=0)
        yield f"usr/share/doc/part{number:02}/changelog.gz", gzip.compress(_prose(number, 8_000), mtime=0)


def _app_files(version: str) -> Iterable[tuple[str, bytes]]:
    release = 0 if version == "1.4.2" else 1
    yield "app/VERSION", version.encode() + b"\n"
    yield "app/bin/shopd", _native(1000, 3_000_000, release)
    for number in range(120):
        body = _prose(2000 + number, 4_000)
        if release and number % 17 == 0:
            body = body.replace(b"server", b"service") + b"# reviewed\n"
        yield f"app/shop/module{number:03}.py", body
    yield f"app/static/bundle-{version}.js", _prose(5000, 200_000).replace(b"1.0.0", version.encode())
    if release:
        yield "app/shop/gift_cards.py", _prose(6000, 12_000)


def _native(seed: int, size: int, release: int) -> bytes:
    """Return bytes like a program's: code that moved by a few bytes, with adjusted addresses."""
    source = random.Random(seed)  # noqa: S311 - content of a demo
    blocks = [source.randbytes(40) for _ in range(200)]
    out = bytearray(b"\x7fELF" + bytes(60))
    shift = 0
    while len(out) < size:
        out += source.choice(blocks) + (len(out) + shift).to_bytes(4, "little")
        if release and source.random() < 0.0005:
            out += source.randbytes(12)
            shift += 12
    return bytes(out[:size])


def _prose(seed: int, size: int) -> bytes:
    source = random.Random(seed)  # noqa: S311 - content of a demo
    lines = []
    while size > 0:
        line = " ".join(source.choices(WORDS, k=9)) + f" {source.randrange(1000)}\n"
        lines.append(line)
        size -= len(line)
    return "".join(lines).encode()


def _layer(files: Iterable[tuple[str, bytes]], mtime: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), mtime, 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _save(name: str, layers: list[bytes], created: str) -> bytes:
    """Write an archive in the form of docker save 25 and newer."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "config": {"Cmd": ["/app/bin/shopd"], "Env": ["PATH=/usr/bin:/bin"]},
            "created": created,
            "history": [{"created": created, "created_by": "COPY"} for _ in layers],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{item}" for item in digests], "type": "layers"},
        },
        separators=(",", ":"),
    ).encode()
    config_digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps(
        [
            {
                "Config": f"blobs/sha256/{config_digest}",
                "RepoTags": [name],
                "Layers": [f"blobs/sha256/{item}" for item in digests],
            }
        ]
    ).encode()
    members = {f"blobs/sha256/{item}": layer for item, layer in zip(digests, layers, strict=True)}
    members[f"blobs/sha256/{config_digest}"] = config
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in (*sorted(members.items()), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()

"""Two versions of a small image, built by a real Docker. Files stay, or are edited, relinked, moved, added, removed."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from tests.builders import TarItem, build_layer, file, folder, symlink
from tests.content import code, edited, noise, relinked, text
from tests.engines import Docker

OLD, NEW = "example.com/app:1", "example.com/app:2"
ALSO_NEW = "example.com/app:latest"
_TIME = 1_700_000_000


def build(docker: Docker, work: Path, seed: int = 1) -> None:
    """Build both versions in ``docker``'s store. NEW has two names."""
    _build_one(docker, work / "old", OLD, _rootfs(seed), _old_files(seed), "ENV RELEASE=1")
    _build_one(docker, work / "new", NEW, _rootfs(seed), _new_files(seed), "COPY extra /extra\nENV RELEASE=2")
    docker.run("docker", "tag", NEW, ALSO_NEW)


def _build_one(docker: Docker, context: Path, tag: str, rootfs: bytes, files: dict[str, bytes], more: str) -> None:
    context.mkdir()
    (context / "rootfs.tar").write_bytes(rootfs)
    for name, data in files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if path.suffix == ".so":
            path.chmod(0o755)
    (context / "lib" / "current").symlink_to("libmain.so")
    for path in sorted(context.rglob("*"), reverse=True):
        os.utime(path, (_TIME, _TIME + len(path.name)), follow_symlinks=False)
    (context / "Dockerfile").write_text(
        "FROM scratch\nADD rootfs.tar /\nCOPY lib /usr/lib/app\nCOPY app /srv/app\n"
        f'LABEL made="by a test, of \u00fcnusual w\u00f6rds"\n{more}\nWORKDIR /srv/app\nCMD ["/srv/app/main"]\n'
    )
    docker.build(tag, context)


def _rootfs(seed: int) -> bytes:
    """Return the bottom layer as a tar, with entries that COPY cannot create."""
    return build_layer(
        [
            folder("bin/", mtime=_TIME),
            file("bin/tool", code(seed, 1_500_000), mode=0o4755, mtime=_TIME),
            TarItem("bin/tool-too", kind=tarfile.LNKTYPE, link="bin/tool", mode=0o4755, mtime=_TIME),
            symlink("bin/sh", "tool", mtime=_TIME),
            folder("var/", mtime=_TIME),
            TarItem("var/queue", kind=tarfile.FIFOTYPE, mode=0o600, mtime=_TIME),
            TarItem("var/owned", text(seed + 1, 30_000), uid=1234, gid=70_000, mode=0o640, mtime=_TIME),
            folder("var/sticky/", mode=0o1777, mtime=_TIME),
            file("var/" + "long/" * 30 + "name", b"deep", mtime=_TIME),
            file("var/\u00e4\u4e2d.txt", b"not ASCII", mtime=_TIME),
            file("var/empty", mtime=_TIME),
        ]
    )


def _old_files(seed: int) -> dict[str, bytes]:
    files = {f"lib/module{number:02}/part.py": text(seed + 100 + number, 20_000) for number in range(40)}
    files |= {f"app/static/{number}.bin": noise(seed + 200 + number, 60_000) for number in range(20)}
    return files | {
        "lib/libmain.so": code(seed + 2, 2_500_000),
        "lib/libmoved-1.0.so": code(seed + 3, 400_000),
        "lib/gone.dat": noise(seed + 4, 100_000),
        "app/main": code(seed + 5, 300_000),
    }


def _new_files(seed: int) -> dict[str, bytes]:
    files = _old_files(seed)
    for number in range(0, 40, 4):
        name = f"lib/module{number:02}/part.py"
        files[name] = edited(files[name], seed + number)
    files["lib/libmain.so"] = relinked(files["lib/libmain.so"], seed)
    files["lib/libmoved-1.1.so"] = relinked(files.pop("lib/libmoved-1.0.so"), seed + 1)
    del files["lib/gone.dat"], files["app/static/3.bin"]
    files["app/static/renamed.bin"] = files.pop("app/static/4.bin")
    files["app/static/new.bin"] = noise(seed + 6, 80_000)
    files["app/main"] = edited(files["app/main"], seed + 7)
    return files | {"extra/notes.txt": text(seed + 8, 50_000), "extra/copy.bin": files["app/static/0.bin"]}

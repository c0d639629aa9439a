"""Archives from many programs. Some are stand-ins that this module generates. The others are third-party files. The
third-party files are read in place.

Tests of stand-ins run by default, so that these cases are tested even if the third-party files are missing. Tests of
third-party files are marked ``slow``.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.builders import STYLES, TestImage, build_layer, docker_save, file
from tests.content import noise, text

_ROOT = Path(os.environ.get("DIB_FIXTURES") or Path(__file__).resolve().parents[2] / "shared" / "fixtures")
_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@dataclass(frozen=True)
class Fixture:
    """A file of the collection, or a stand-in that is generated at first use."""

    name: str
    kind: str
    flavour: str = ""
    note: str = ""
    pair_with: str | None = None
    make: Callable[[], bytes] | None = None

    @property
    def path(self) -> Path:
        """Path of the file."""
        return _made(self) if self.make else _ROOT / self.name

    def __str__(self) -> str:
        return self.name


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dib-stand-ins-")


@cache
def _made(fixture: Fixture) -> Path:
    assert fixture.make
    path = Path(_folder().name, fixture.name)
    path.write_bytes(fixture.make())
    return path


def fixtures(*kinds: str) -> list[object]:
    """Return the stand-ins and the existing fixtures of the given kinds, for ``parametrize``."""
    third = (pytest.param(item, marks=pytest.mark.slow) for item in third_party(*kinds))
    return [*(item for item in _stand_ins() if item.kind in kinds), *third]


def third_party(*kinds: str) -> list[Fixture]:
    """Return the existing fixtures of the given kinds."""
    index = _ROOT / "index.json"
    return [
        Fixture(item["file"], item["kind"], item["flavour"], item.get("note", ""), item.get("pair_with"))
        for item in (json.loads(index.read_text()) if index.is_file() else ())
        if item["kind"] in kinds
    ]


def _stand_ins() -> Iterator[Fixture]:
    for style in STYLES:
        for packing in (None, "gzip"):
            if packing and style == "classic":
                continue
            name = f"{style}-{packing or 'raw'}"
            yield Fixture(f"{name}.tar", "image-archive", make=lambda s=style, p=packing: _images(s, p))
        yield Fixture(f"{style}.tar.gz", "image-archive", make=lambda s=style: gzip.compress(_images(s), mtime=0))
    for label, form in _FORMATS.items():
        yield Fixture(f"{label}.tar", "tar", make=lambda f=form: _tar(f))
        yield Fixture(f"{label}.tar.gz", "tar", make=lambda f=form: gzip.compress(_tar(f), mtime=0))
    yield Fixture("cut-short.tar", "tar", note="truncated", make=lambda: _tar(tarfile.GNU_FORMAT)[:-9000])
    yield Fixture("junk-behind.tar", "tar", make=lambda: _tar(tarfile.USTAR_FORMAT) + b"junk" * 300)


def _images(style: str, packing: str | None = None) -> bytes:
    layers = [
        build_layer([file("etc/os-release", b"NAME=x\n"), file("usr/lib/data", noise(1, 40_000))]),
        build_layer([file("app/words", text(2, 30_000)), file("app/.wh.old", b"")]),
    ]
    images = [TestImage(layers, ["example.com/app:1", "example.com/app:latest"]), TestImage(layers[:1], ["base:1"])]
    return docker_save(images, style, packing)  # type: ignore[arg-type]


def _tar(form: int) -> bytes:
    """Return a tar with all features of a format: long names, links, devices, large numbers, odd values."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number, name in enumerate(("a", "folder/b", "folder/" + "n" * 80, "deep/" * 18 + "c", "mit-\u00e4")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.uname = 700 * number, 0o640 + number, number, f"user{number}"
            entry.mtime = 1_700_000_000 + number
            tar.addfile(entry, io.BytesIO(noise(number, entry.size)))
        if form != tarfile.USTAR_FORMAT:
            entry = tarfile.TarInfo("long/" * 60 + "name")
            entry.size, entry.uid = 1000, 1 << 22
            tar.addfile(entry, io.BytesIO(text(3, 1000)))
        for kind, name, target in ((tarfile.SYMTYPE, "link", "a"), (tarfile.LNKTYPE, "hard", "folder/b")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
        for kind, name in ((tarfile.DIRTYPE, "empty"), (tarfile.CHRTYPE, "dev/null"), (tarfile.FIFOTYPE, "pipe")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.devmajor, entry.devminor = kind, 1, 3
            tar.addfile(entry)
    return out.getvalue()

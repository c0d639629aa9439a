"""Generated pairs of image archives with their bundles, for tests that need no engine.

Call ``make(folder, megabytes=3)``. b.tar has changes of every kind, so that the bundles use every codec except those
for programs and for compressed files. ``make_programs(folder)`` and ``make_packed(folder)`` make pairs for these two
codecs.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.builders import LayerCompression, Style, TarItem, TestImage, build_layer, docker_save, file, folder, symlink
from tests.codecs import programs
from tests.content import code, edited, noise, relinked, text
from tests.program import succeed

OLD_NAME, NEW_NAME = "example.com/app:1", "example.com/app:2"
KEPT = noise(1, 4096)  # content of a file that is the same in the new version
PATCHED = text(2, 4096)  # content of a file that is different in the new version


@dataclass(frozen=True)
class Pair:
    """Two archives, and bundles that rebuild the second archive.

    There is an ordinary bundle from ``create``, a bundle with VCDIFF patches, and a bundle without a base.
    """

    base: Path
    target: Path
    bundle: Path
    vcdiff: Path
    alone: Path

    @property
    def bundles(self) -> tuple[Path, Path, Path]:
        return self.bundle, self.vcdiff, self.alone


def make(work: Path, *, megabytes: int, style: Style = "v25") -> Pair:
    """Write a pair of archives of about ``megabytes`` MB, and create its bundles."""
    return _write(work, *images(megabytes), style)


def make_programs(work: Path) -> Pair:
    """Write a pair of images with programs whose code moved, and create its bundles."""
    files = zip(
        *(programs.versions(machine, 300, 40, 5) for machine in (programs.X86_64, programs.AARCH64)), strict=True
    )
    layers = [
        build_layer([file(f"bin/{number}", data, mode=0o755) for number, data in enumerate(version)])
        for version in files
    ]
    return _write(work, TestImage([layers[0]], [OLD_NAME]), TestImage([layers[1]], [NEW_NAME]), "v25")


def make_packed(work: Path) -> Pair:
    """Write a pair of images with gzip layers that hold compressed files, and create its bundles."""
    layers = []
    for number in range(2):
        news = text(50, 60_000)
        files = [
            file("usr/share/doc/news.gz", gzip.compress(b"release %d\n" % number + news, 6, mtime=0)),
            file("usr/share/doc/notes", b"release %d\n" % number + text(51, 60_000)),
        ]
        if number:
            files.append(file("usr/share/doc/added", text(52, 20_000)))
        layers.append(build_layer(files))
    old, new = TestImage([layers[0]], [OLD_NAME]), TestImage([layers[1]], [NEW_NAME])
    return _write(work, old, new, "c8d", "gzip")


def _write(work: Path, old: TestImage, new: TestImage, style: Style, stored: LayerCompression = None) -> Pair:
    pair = Pair(work / "a.tar", work / "b.tar", work / "out.dib", work / "vcdiff.dib", work / "alone.dib")
    pair.base.write_bytes(docker_save([old], style, stored))
    pair.target.write_bytes(docker_save([new], style, stored))
    succeed("create", pair.base, pair.target, pair.bundle)
    succeed("create", "--profile", "core", pair.base, pair.target, pair.vcdiff)
    succeed("create", "--no-base", pair.target, pair.alone)
    return pair


def images(megabytes: int) -> tuple[TestImage, TestImage]:
    """Return an image and its next version.

    One layer is the same in both images, a second layer changes, and a third layer exists only in the next version.
    """
    unit = megabytes * 100_000
    bottom = build_layer(
        [folder("usr/"), file("usr/tool", code(10, 3 * unit), mode=0o755), file("usr/data", noise(11, unit))]
    )
    old = build_layer(_tree(unit, lambda data, _: data, lambda data, _: data, mtime=1_700_000_000))
    new = build_layer([*_tree(unit, edited, relinked, mtime=1_710_000_000), *_added(unit)])
    top = build_layer([file("etc/notes", noise(12, unit // 4))])
    return TestImage([bottom, old], [OLD_NAME]), TestImage([bottom, new, top], [NEW_NAME])


def _tree(
    unit: int, new_text: Callable[[bytes, int], bytes], new_code: Callable[[bytes, int], bytes], mtime: int
) -> list[TarItem]:
    """Return the layer that changes; ``new_text`` and ``new_code`` change its files for the newer version."""
    texts = [text(100 + number, unit // 20) for number in range(10)]
    return [
        folder("srv/"),
        file("srv/kept", KEPT),
        file("srv/patched", new_text(PATCHED, 3)),
        file("srv/library.so", new_code(code(20, max(4 * unit, 1_200_000)), 4), mode=0o755, mtime=mtime),
        *(file(f"srv/{number}.py", new_text(data, number), mtime=mtime) for number, data in enumerate(texts)),
        *(file(f"srv/still/{number}", noise(30 + number, unit // 20), mtime=mtime) for number in range(10)),
        symlink("srv/current", "library.so", mtime=mtime),
    ]


def _added(unit: int) -> list[TarItem]:
    return [file("srv/added.bin", noise(40, unit // 2)), file("srv/more.bin", noise(41, unit // 4))]

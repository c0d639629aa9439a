"""Measure how dib's cost grows with the size of images and with the number of their files.

    python bench/growth.py [--sizes 0.25,0.5,1,2,4,8] [--files 1000,10000,100000,300000] [--work FOLDER]

Images are made up: files of many sizes (the largest three eighths of the whole), one in forty changed. Prints a
table and the exponent of the time that fits best; needs three times the largest size in FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from measure import Run, run, same

GIB = 1 << 30
BLOCK = 1 << 20


class Repeated:
    """A file of pseudo-random blocks, each made when it is read; ``changed`` blocks are other ones."""

    def __init__(self, seed: int, size: int, *, changed: bool) -> None:
        self._seed, self.size, self._changed = seed, size, changed
        self._at = 0

    def read(self, length: int = -1) -> bytes:
        """Return the next bytes, as tarfile asks for them."""
        length = min(self.size - self._at, self.size if length < 0 else length)
        out = bytearray()
        while len(out) < length:
            number, start = divmod(self._at, BLOCK)
            piece = self._block(number)[start : start + length - len(out)]
            out += piece
            self._at += len(piece)
        return bytes(out)

    def _block(self, number: int) -> bytes:
        block = random.Random(self._seed * 1_000_003 + number).randbytes(BLOCK)
        if self._changed and number % 8 == 0:
            place = number * 7919 % (BLOCK - 64)
            block = block[:place] + b"changed" + block[place + 7 :]
        return block


def sizes_of(total: int, files: int) -> Iterator[int]:
    """Yield the sizes of an image's files: one large, the others spread around the mean."""
    large = total * 3 // 8
    yield large
    source = random.Random(files)
    weights = [source.random() ** 3 + 0.01 for _ in range(files - 1)]
    unit = (total - large) / sum(weights)
    yield from (int(weight * unit) for weight in weights)


def write_image(path: Path, total: int, files: int, *, release: int) -> None:
    """Write an archive as docker save does, of one layer."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for number, size in enumerate(sizes_of(total, files)):
            entry = tarfile.TarInfo(f"srv/{number % 997:03}/file{number}")
            entry.size, entry.mtime = size, 1_700_000_000 + release
            tar.addfile(entry, Repeated(number, size, changed=release > 0 and number % 40 == 0))
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    manifest = json.dumps(
        [{"Config": "config.json", "RepoTags": [f"grow:{release}"], "Layers": ["layer.tar"]}]
    ).encode()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        with layer.open("rb") as stream:
            entry = tarfile.TarInfo("layer.tar")
            entry.size = layer.stat().st_size
            tar.addfile(entry, stream)
        for name, data in (("config.json", config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))
    layer.unlink()


def measure(work: Path, total: int, files: int) -> tuple[Run, Run, int]:
    """Make a pair, its bundle and the result; return what making and applying took, and the bundle's size."""
    base, target, bundle, result = (work / name for name in ("a.tar", "b.tar", "out.dib", "result.tar"))
    for path, release in ((base, 0), (target, 1)):
        write_image(path, total, files, release=release)
    program = Path(sys.executable).with_name("dib")
    made = run([program, "create", "-q", base, target, bundle])
    used = run([program, "apply", "-q", base, bundle], stdout=result)
    if not same(target, result):
        raise SystemExit("the result is not the target")
    size = bundle.stat().st_size
    for path in (base, target, bundle, result):
        path.unlink()
    return made, used, size


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits the logarithms best."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def main() -> None:
    """Measure both kinds of growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="0.25,0.5,1,2,4,8", help="GiB, of images of 2,000 files")
    parser.add_argument("--files", default="1000,10000,100000,300000", help="numbers of files, of images of 1 GiB")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    series = {
        "size, GiB": [
            (size, int(size * GIB), 2000) for size in map(float, arguments.sizes.split(",") if arguments.sizes else [])
        ],
        "files": [
            (count, GIB, int(count)) for count in map(float, arguments.files.split(",") if arguments.files else [])
        ],
    }
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        for name, steps in series.items():
            create, apply = [], []
            for value, total, files in steps:
                made, used, size = measure(Path(work), total, files)
                create.append((value, made.wall))
                apply.append((value, used.wall))
                print(
                    f"{name} {value:g}: bundle {size:,}; create {made.wall:.1f} s, CPU {made.cpu:.1f} s,"
                    f" {made.memory:.0f} MiB; apply {used.wall:.1f} s, CPU {used.cpu:.1f} s, {used.memory:.0f} MiB",
                    flush=True,
                )
            if len(steps) > 1:
                print(f"{name}: exponent of create {exponent(create):.2f}, of apply {exponent(apply):.2f}", flush=True)


if __name__ == "__main__":
    main()

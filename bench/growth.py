"""Measure how dib's cost grows with the size of images and with the number of their files; write bench/RESULTS.md.

    python bench/growth.py [--sizes 0.25,1,4,16] [--files 1000,30000,300000,3000000] [--work FOLDER]

Images are generated. They have files of many sizes; the largest file has three eighths of all bytes. The content
compresses to about 60 % of its size. In the second image of each pair, all timestamps are later. One file in forty is
edited: some bytes are replaced, and a line is inserted. One file in four hundred is replaced by another file. In images
of at least 4 GiB, three blocks in four are zeros, which take no disk space. The free space in FOLDER must be at least
two thirds of the largest image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO

from measure import Run, run, same
from report import keep

GIB = 1 << 30
BLOCK = 1 << 20
POOL = 8 * BLOCK
SPARSE = 4 * GIB
TABLES = 1021
LINE = b"a line that was put in\n"


@dataclass(frozen=True)
class Row:
    """An image and the cost of create and apply; ``other``: seconds of create without encoding."""

    series: str
    value: float
    gib: float
    files: int
    bundle: int
    create: Run
    apply: Run
    other: float


@cache
def pool() -> bytes:
    """Return words and random bytes; all files consist of these."""
    source = random.Random(1)
    words = [source.randbytes(source.randrange(3, 12)) for _ in range(4000)]
    made = bytearray()
    while len(made) < POOL:
        made += b" ".join(source.choices(words, k=5000)) + source.randbytes(5000)
    return bytes(made[:POOL]) * 2  # the pool is doubled, because a block may start near its end


@cache
def tables() -> list[bytes]:
    """Return tables that translate the pool's bytes, so that no two blocks have the same content."""
    source = random.Random(2)
    return [bytes(source.sample(range(256), 256)) for _ in range(TABLES)]


@dataclass(frozen=True)
class File:
    """A file of an image; ``seed`` determines its content; ``sparse``: most of the content is zeros."""

    number: int
    size: int
    seed: int
    edited: bool
    sparse: bool

    def blocks(self) -> Iterator[bytes]:
        """Yield the content."""
        left = self.size - (len(LINE) if self.edited else 0)
        number = 0
        while left:
            seed = self.seed * 10_007 + number * 7_919
            start = seed * 4_099 % POOL
            block = pool()[start : start + min(left, BLOCK)].translate(tables()[seed % TABLES])
            left -= len(block)
            block = bytes(len(block)) if self.sparse and number % 4 else block
            yield self._edit(block, number) if self.edited and number % 40 == 0 else block
            number += 1

    def _edit(self, block: bytes, number: int) -> bytes:
        source = random.Random(number)
        for _ in range(3):
            place = source.randrange(len(block))
            block = block[:place] + b"edited"[: len(block) - place] + block[place + 6 :]
        place = source.randrange(len(block)) if number == 0 else 0
        return block[:place] + LINE + block[place:] if number == 0 else block


def files_of(total: int, count: int, release: int) -> Iterator[File]:
    """Yield an image's files: one large file, and files with sizes around the mean."""
    source = random.Random(count)
    weights = [source.random() ** 3 + 0.01 for _ in range(count - 1)]
    large = total * 3 // 8
    unit = (total - large) / sum(weights)
    for number, size in enumerate([large, *(int(weight * unit) for weight in weights)]):
        edited = release > 0 and number % 40 == 0 and size > 0
        seed = number + (count if release and number % 400 == 7 else 0)
        yield File(number, size + (len(LINE) if edited else 0), seed, edited, total >= SPARSE)


def write_image(path: Path, total: int, count: int, *, release: int) -> None:
    """Write an archive of one layer in the form of docker save, in one pass."""
    files = list(files_of(total, count, release))
    size = sum(512 + file.size + -file.size % 512 for file in files) + 1024
    with path.open("wb") as out:
        out.write(_header("layer.tar", size))
        digest = _Hashed(out)
        for file in files:
            digest.write(_header(f"srv/{file.number % 997:03}/file{file.number}", file.size, 1_700_000_000 + release))
            for block in file.blocks():
                digest.write(block)
            digest.write(bytes(-file.size % 512))
        digest.write(bytes(1024))
        out.write(bytes(-size % 512))
        layers = {"type": "layers", "diff_ids": [f"sha256:{digest.sha256.hexdigest()}"]}
        config = json.dumps({"os": "linux", "rootfs": layers}).encode()
        manifest = [{"Config": "config.json", "RepoTags": [f"grow:{release}"], "Layers": ["layer.tar"]}]
        rest = BytesIO()
        with tarfile.open(fileobj=rest, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in (("config.json", config), ("manifest.json", json.dumps(manifest).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, BytesIO(data))
        out.write(rest.getvalue())


class _Hashed:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.sha256.update(data)
        if len(data) == BLOCK and not any(data):
            self._out.seek(BLOCK, os.SEEK_CUR)
        else:
            self._out.write(data)


def _header(name: str, size: int, mtime: int = 0) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, mtime
    return entry.tobuf(tarfile.GNU_FORMAT)


def measure(work: Path, series: str, value: float, total: int, count: int) -> Row:
    """Generate a pair, create and apply its bundle, and measure both."""
    names = ("a.tar", "b.tar", "out.dib", "result.tar", "timings.json")
    base, target, bundle, result, timings = (work / name for name in names)
    for path, release in ((base, 0), (target, 1)):
        write_image(path, total, count, release=release)
    program = Path(sys.executable).with_name("dib")
    made = run([program, "create", "-q", "--workers", "2", "--timings", timings, base, target, bundle])
    # no comparison is needed, because apply checks every digest
    used = run([program, "apply", "-q", base, bundle, "-o", "/dev/null"])
    if total < SPARSE:
        run([program, "apply", "-q", base, bundle], stdout=result)
        if not same(target, result):
            raise SystemExit("the result is not the target")
        result.unlink()
    size = bundle.stat().st_size
    other = json.loads(timings.read_text())["other_seconds"]
    for path in (base, target, bundle, timings):
        path.unlink()
    return Row(series, value, total / GIB, count, size, made, used, other)


def main() -> None:
    """Measure both kinds of growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="0.25,1,4,16", help="GiB, of images of 2,000 files")
    parser.add_argument("--files", default="1000,30000,300000,3000000", help="numbers of files, of images of 1 GiB")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    steps = [("size", float(word), int(float(word) * GIB), 2000) for word in arguments.sizes.split(",") if word]
    steps += [("files", int(word), GIB, int(word)) for word in arguments.files.split(",") if word]
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
    for step in steps:
        with tempfile.TemporaryDirectory(dir=arguments.work) as work:
            row = measure(Path(work), *step)
        times = [f"{r.wall:.1f} s, CPU {r.cpu:.1f} s, {r.memory:.0f} MiB" for r in (row.create, row.apply)]
        told = f"{row.series} {row.value:g}: bundle {row.bundle:,}; create {times[0]}, {row.other:.1f} s not encoding"
        print(f"{told}; apply {times[1]}", flush=True)
        keep("growth", [asdict(row)], identity=("series", "value"))


if __name__ == "__main__":
    main()

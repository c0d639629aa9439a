"""Run ``dib apply`` on truncated bundles and on bundles with flipped bits, and check the results.

    python -m tests.damage            a pair of 3 MB, some cases of each kind
    python -m tests.damage --full     a pair of 20 MB, 100 random cuts and 500 flips for each bundle, and loaders

Prints a table. The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dibundle.codecs import decoders
from dibundle.format.constants import HEADER_SIZE
from dibundle.format.reader import BundleReader
from tests import engines, pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.manyruns import ManyRuns

REFUSED = (5, 7)


@dataclass(frozen=True)
class Region:
    """A named part of a bundle. The region has the bytes from ``start`` to ``end``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Damage:
    """Damage in ``region`` of a bundle: a cut before ``place``, or a flip of ``bit`` in the byte there."""

    kind: Literal["cut", "flip"]
    region: str
    place: int
    bit: int = 0

    def of(self, data: bytes) -> bytes:
        """Return a copy of ``data`` with this damage."""
        if self.kind == "cut":
            return data[: self.place]
        return data[: self.place] + bytes((data[self.place] ^ 1 << self.bit,)) + data[self.place + 1 :]

    def __str__(self) -> str:
        return f"{self.kind} {self.region} {self.place}" + (f".{self.bit}" if self.kind == "flip" else "")


def regions(bundle: bytes) -> list[Region]:
    """Return the parts of a bundle, in order and without gaps."""
    reader = BundleReader(io.BytesIO(bundle))
    fields = (
        ("magic", 8),
        ("version", 4),
        ("reserved", 4),
        ("stored length", 8),
        ("decoded length", 8),
        ("digest", 32),
    )
    signature = (("signature length", 4), ("signature", len(reader.signature)), ("signature checksum", 4))
    frames = [(f"{decoders.NAMES[frame.codec]} frame", frame.stored) for frame in reader.manifest.frames]
    found, place = [], 0
    for name, size in (*fields, *signature, ("manifest", reader.header.stored), *frames):
        found.append(Region(name, place, place + size))
        place += size
    assert found[5].end == HEADER_SIZE
    assert place == len(bundle)
    return [region for region in found if region.start < region.end]


def cuts(bundle: bytes, count: int, seed: int) -> Iterator[Damage]:
    """Yield three cuts for every boundary: at the boundary, one byte before, and one byte after.

    Then yield ``count`` cuts at random places.
    """
    parts = regions(bundle)
    places = {place for part in parts for place in (part.start - 1, part.start, part.start + 1)} | {len(bundle) - 1}
    chance = random.Random(seed)
    places |= {chance.randrange(len(bundle)) for _ in range(count)}
    for place in sorted(places - {-1}):
        yield Damage("cut", _region_at(parts, place), place)


def flips(bundle: bytes, count: int, seed: int) -> Iterator[Damage]:
    """Yield ``count`` flips, spread evenly over the kinds of regions."""
    chance = random.Random(seed)
    parts: dict[str, list[Region]] = {}
    for part in regions(bundle):
        parts.setdefault(part.name, []).append(part)
    names = sorted(parts)
    for number in range(count):
        part = chance.choice(parts[names[number % len(names)]])
        yield Damage("flip", part.name, chance.randrange(part.start, part.end), chance.randrange(8))


def _region_at(parts: list[Region], place: int) -> str:
    return next(part.name for part in parts if part.start <= place < part.end)


class Trials:
    """A runner that tries damaged bundles of one pair, with files in ``work``. Each method returns the check that
    failed, or None.
    """

    def __init__(self, pair: pairs.Pair, work: Path, runs: ManyRuns) -> None:
        self._pair, self._runs = pair, runs
        self._damaged = work / "damaged.dib"
        self._folder = work / "out"
        self._folder.mkdir()
        self._pipe = work / "pipe"
        os.mkfifo(self._pipe)
        self._target = pair.target.read_bytes()
        self.codes: Counter[tuple[str, str, int]] = Counter()

    def to_stdout(self, bundle: bytes, damage: Damage, *, from_stdin: bool = False) -> str | None:
        """Apply to a stream. dib must refuse the bundle, and the output must be a proper prefix of b.tar."""
        self._damaged.write_bytes(damage.of(bundle))
        source = ("-",) if from_stdin else (self._damaged,)
        ended = self._runs.run("apply", self._pair.base, *source, stdin=self._damaged if from_stdin else None)
        self.codes[damage.kind, damage.region, ended.code] += 1
        if ended.code not in REFUSED:
            return f"{damage}: exit code {ended.code}: {ended.err}"
        if len(ended.out) >= len(self._target) or not self._target.startswith(ended.out):
            return f"{damage}: {len(ended.out)} bytes came out, not the beginning of the archive"
        if "dib: error: " not in ended.err or "Traceback" in ended.err:
            return f"{damage}: said {ended.err!r}"
        return None

    def to_file(self, bundle: bytes, damage: Damage) -> str | None:
        """Apply to a file. dib must refuse the bundle, and no file may be left."""
        self._damaged.write_bytes(damage.of(bundle))
        ended = self._runs.run("apply", self._pair.base, self._damaged, "-o", self._folder / "b.tar")
        left = sorted(path.name for path in self._folder.iterdir())
        if ended.code not in REFUSED:
            return f"{damage}: with -o, exit code {ended.code}: {ended.err}"
        return f"{damage}: left {left}" if left else None

    def to_loader(self, bundle: bytes, damage: Damage, engine: engines.Engine) -> str | None:
        """Pipe the output of apply into a loader. Nothing may be loaded."""
        self._damaged.write_bytes(damage.of(bundle))
        code, loaded = self.pipe(engine, "apply", self._pair.base, self._damaged)
        if code not in (*REFUSED, 141):
            return f"{damage}: into {engine.kind}, exit code {code}"
        if engine.images():
            return f"{damage}: {engine.kind} loaded it (exit {loaded.code}): {loaded.text}"
        return None

    def pipe(self, engine: engines.Engine, *arguments: str | Path) -> tuple[int, engines.Loaded]:
        """Run ``dib ... | loader``. Return dib's exit code and the loader's result."""
        self._runs.begin(*arguments, stdout=self._pipe)
        with self._pipe.open("rb") as stream:
            loaded = engine.try_load(stream)
        return self._runs.end(), loaded


def wrong_base(folder: Path) -> Path:
    """Write an image archive that has nothing in common with any pair."""
    other = TestImage([build_layer([file("else", b"where")])], ["example.com/other:1"])
    path = folder / "other.tar"
    path.write_bytes(docker_save([other]))
    return path


def main() -> int:
    """Run the cases that the command line selects, and print tables."""
    parser = argparse.ArgumentParser(description="Damage bundles in every way and apply them.")
    parser.add_argument("--full", action="store_true", help="the full counts, on a pair of 20 MB, with loaders")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    megabytes, random_cuts, flip_count, per_loader = (20, 100, 500, 50) if asked.full else (3, 20, 60, 0)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name, ManyRuns(Path(name)) as runs:
        work = Path(name)
        for folder in (work / "mixed", work / "programs"):
            folder.mkdir()
        mixed = pairs.make(work / "mixed", megabytes=megabytes)
        programs = pairs.make_programs(work / "programs")
        bundles = [*((mixed, path) for path in mixed.bundles), (programs, programs.bundle)]
        for number, (pair, path) in enumerate(bundles):
            trial_folder = work / str(number)
            trial_folder.mkdir()
            trials = Trials(pair, trial_folder, runs)
            bundle = path.read_bytes()
            cases = [*cuts(bundle, random_cuts, asked.seed), *flips(bundle, flip_count, asked.seed)]
            for case in cases:
                failures += filter(None, (trials.to_stdout(bundle, case), trials.to_file(bundle, case)))
            _print_codes(f"{path.parent.name}/{path.name}", trials, len(bundle))
            if asked.full:
                failures += _into_loaders(trials, bundle, cases, per_loader, asked.seed, wrong_base(work), path)
    print("\n".join([*failures, f"{len(failures)} failures"]))
    return 1 if failures else 0


def _print_codes(name: str, trials: Trials, size: int) -> None:
    print(f"{name}, {size} bytes: apply's exit codes")
    for (kind, region, code), count in sorted(trials.codes.items()):
        print(f"  {kind:5} {region:20} exit {code}: {count:5}")


def _into_loaders(
    trials: Trials, bundle: bytes, cases: list[Damage], count: int, seed: int, other: Path, path: Path
) -> list[str]:
    """Pipe every case into the classic store, and ``count`` cases into every other. Finally, apply the bundle to a
    wrong base, and pipe the output into each loader.
    """
    failures: list[str] = []
    for kind in engines.LOADERS:
        chosen = cases if kind == "classic" else random.Random(seed).sample(cases, count)
        with engines.engine(kind) as engine:
            for case in chosen:
                failures += filter(None, (trials.to_loader(bundle, case, engine),))
            if not BundleReader(io.BytesIO(bundle)).manifest.objects:
                print(f"  {len(chosen)} cases into {kind}")
                continue
            code, loaded = trials.pipe(engine, "apply", other, path)
            images = engine.images()
        if code != 6 or images:
            failures.append(f"wrong base into {kind}: exit code {code}, loaded {images}")
        print(
            f"  {len(chosen)} cases into {kind}; wrong base: dib exits {code}, the loader {loaded.code}: {loaded.text}"
        )
    return failures


if __name__ == "__main__":
    sys.exit(main())

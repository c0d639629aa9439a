"""Measure the benefit and the cost of relinking on programs and shared objects of packages.

    python bench/relink.py WORK [--only Go,Rust] [--machines x86_64,aarch64] [--previous bookworm]

For each package, the ELF files of two consecutive releases are written as a pair of archives into WORK. The archives
stay in WORK, so that a second run only measures. ``dib create`` runs on each pair twice; in the second run, the script
disables the relink codec. The script prints the results and writes bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from draw import Debian, Entry, Pair, PassedOverError, npm, pypi, write_archive
from measure import Run, run, same
from report import keep

OFF = (
    "from dibundle.codecs.encode import choose\nchoose.relinks = lambda effort: False\n"
    "from dibundle.cli.main import run\nrun()\n"
)
LEAST = 100_000  # minimum bytes of an ELF file: smaller files are left out

PACKAGES = (
    # language, kind of the package's ELF files, registry, package (PLATFORM is x64 or arm64)
    ("Go", "programs", "npm", "@esbuild/linux-PLATFORM"),
    ("Go", "programs", "npm", "lefthook-linux-PLATFORM"),
    ("Go", "programs", "release", "skopeo"),
    ("Rust", "programs", "npm", "@biomejs/cli-linux-PLATFORM"),
    ("Rust", "programs", "release", "ripgrep"),
    ("Rust", "shared objects", "pypi", "cryptography"),
    ("Rust", "shared objects", "npm", "@rollup/rollup-linux-PLATFORM-gnu"),
    ("C++", "programs", "updates", "icinga2-bin"),
    ("C++", "programs", "updates", "anope"),
    ("C++", "shared objects", "updates", "libopenexr-3-1-30"),
    ("C++", "shared objects", "updates", "libjavascriptcoregtk-6.0-1"),
    ("C++", "shared objects", "release", "libstdc++6"),
    ("C", "programs", "updates", "php8.4-fpm"),
    ("C", "programs", "updates", "haproxy"),
    ("C", "shared objects", "updates", "libkrb5-3"),
    ("C", "shared objects", "updates", "libruby3.3"),
    ("C", "shared objects", "release", "libxml2"),
)


@dataclass(frozen=True)
class Measured:
    """A pair, with and without relinking: the bundle's size in bytes, and CPU seconds of create and apply."""

    language: str
    files: str
    package: str
    machine: str
    size: int
    on: int
    off: int
    create: tuple[float, float]
    apply: tuple[float, float]


def elf(entries: list[Entry]) -> list[Entry]:
    """Return the ELF files of at least ``LEAST`` bytes."""
    return [(info, data) for info, data in entries if info.isreg() and len(data) >= LEAST and data[:4] == b"\x7fELF"]


class Finder:
    """Find the two releases of a package; fetch apt's lists when they are first needed."""

    def __init__(self, work: Path, previous: str) -> None:
        self._work, self._previous = work, previous
        self._debian: Debian | None = None

    def find(self, registry: str, name: str, machine: str, scratch: Path) -> Pair:
        """Return a package's releases for a machine."""
        if registry == "pypi":
            return pypi(machine, name, scratch)
        if registry == "npm":
            return npm(name, scratch)
        self._debian = debian = self._debian or Debian(self._work, self._previous)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}[machine]
        old, new = (debian.packages(suites, architecture).get(name) for suites in debian.suites(registry))
        if not old or not new or old.version == new.version:
            raise PassedOverError("not in both suites")
        return debian.pair(old, new, architecture, scratch)


def pairs(work: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, str, Path]]:
    """Yield language, kind of files, package, machine and folder of each pair; write missing pairs."""
    with TemporaryDirectory() as apt:
        finder = Finder(Path(apt), arguments.previous)
        for language, files, registry, package in PACKAGES:
            for machine in arguments.machines.split(","):
                if arguments.only and language not in arguments.only.split(","):
                    continue
                name = package.replace("PLATFORM", {"x86_64": "x64", "aarch64": "arm64"}[machine])
                folder = work / f"{name.replace('@', '').replace('/', '-')}-{machine}"
                if not (folder / "b.tar").exists():
                    try:
                        with TemporaryDirectory() as scratch:
                            pair = finder.find(registry, name, machine, Path(scratch))
                            for archive, version in (("a", pair.old), ("b", pair.new)):
                                write_archive(folder / f"{archive}.tar", elf(pair.files(version)), f"relink:{archive}")
                        (folder / "versions").write_text(f"{pair.old} -> {pair.new}")
                    except PassedOverError as why:
                        print(f"{name} {machine}: {why}", flush=True)
                        continue
                yield language, files, f"{name} {(folder / 'versions').read_text()}", machine, folder


def create(folder: Path, bundle: Path, *, relinking: bool) -> tuple[Run, Run]:
    """Create a bundle and apply it; return the cost of both."""
    program = [sys.executable, "-P", "-c", OFF] if not relinking else [Path(sys.executable).with_name("dib")]
    base, target, result = folder / "a.tar", folder / "b.tar", bundle.with_suffix(".tar")
    made = run([*program, "create", "-q", base, target, bundle])
    used = run([Path(sys.executable).with_name("dib"), "apply", "-q", base, bundle], stdout=result)
    if not same(target, result):
        raise SystemExit(f"{folder}: the result is not the target")
    return made, used


def main() -> None:
    """Measure each package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", help="languages")
    parser.add_argument("--machines", default="x86_64,aarch64")
    parser.add_argument("--previous", default="bookworm", help="Debian's release before this machine's")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for language, files, package, machine, folder in pairs(arguments.work, arguments):
        with TemporaryDirectory() as scratch:
            sizes, runs = [], []
            for relinking in (True, False):
                bundle = Path(scratch, f"{relinking}.dib")
                runs.append(create(folder, bundle, relinking=relinking))
                sizes.append(bundle.stat().st_size)
        create_cpu, apply_cpu = ((runs[0][k].cpu, runs[1][k].cpu) for k in (0, 1))
        size = (folder / "b.tar").stat().st_size
        row = Measured(language, files, package, machine, size, sizes[0], sizes[1], create_cpu, apply_cpu)
        print(line(row), flush=True)
        keep("relink", [asdict(row)], identity=("package", "machine"))


def line(row: Measured) -> str:
    """Return a row as it is printed."""
    words = [f"{row.language} {row.files}: {row.package}, {row.machine}:"]
    words += [f"{row.off:,} -> {row.on:,} ({row.on / row.off - 1:+.0%});"]
    for name, (on, off) in (("create", row.create), ("apply", row.apply)):
        words += [f"{name} CPU {off:.2f} s -> {on:.2f} s"]
    return " ".join(words)


if __name__ == "__main__":
    main()

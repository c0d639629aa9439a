"""Build dib.pyz: one file that makes and applies bundles wherever there is a Python, without installing anything.

    python pyz/make.py dib.pyz

It holds dib, click, and for CPython 3.11 to 3.14 on Linux (x86-64 and aarch64, glibc and musl) the extensions of
zstandard and msgpack out of their wheels on PyPI, whose hashes .ci/runtime.txt has, and dib's own C library, which zig
compiles for all four. Needs pip, the network, and the ziglang package.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from runpy import run_path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = {
    "x86_64-linux-gnu": ("x86_64-linux-gnu.2.17", ("manylinux_2_17_x86_64", "manylinux2014_x86_64")),
    "aarch64-linux-gnu": ("aarch64-linux-gnu.2.17", ("manylinux_2_17_aarch64", "manylinux2014_aarch64")),
    "x86_64-linux-musl": ("x86_64-linux-musl", ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64")),
    "aarch64-linux-musl": ("aarch64-linux-musl", ("musllinux_1_2_aarch64", "musllinux_1_1_aarch64")),
}
"""By the ending of a Python's name for its build: zig's name for it, and pip's."""
EXTENSIONS: Final = ("zstandard", "msgpack")
LOCK: Final = ROOT / ".ci" / "runtime.txt"
"""The versions and hashes of all that is taken; pip refuses any other file."""
UNUSED: Final = ("backend_cffi.py", ".pyi", "py.typed")
Groups = dict[str, dict[str, bytes]]
"""Files by the builds that they are for, and by their paths."""


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    groups: Groups = {"common": own_files()}
    with tempfile.TemporaryDirectory() as folder:
        for platform, (zig, _) in PLATFORMS.items():
            groups[platform] = {"dibundle/codecs/native/dib.so": compile_library(zig, Path(folder, "dib.so"))}
        for wheel in fetch(Path(folder, "wheels")):
            add_wheel(groups, wheel)
    write(groups, output)
    print(f"{output}: {output.stat().st_size:,} bytes, for {len(groups) - 1 - len(PLATFORMS)} builds of Python")


def own_files() -> dict[str, bytes]:
    """Return what dib itself needs: no C files, no library of this machine."""
    kept = (".py", ".html", ".css", ".js")
    paths = [path for path in (ROOT / "dibundle").rglob("*") if path.suffix in kept or path.name == "dib.h"]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}


def compile_library(target: str, library: Path) -> bytes:
    """Return dib's C library for one of zig's targets."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    native = ROOT / "dibundle" / "codecs" / "native"
    command += run_path(str(native / "build.py"))["arguments"](library, "-mcpu=baseline", "-O2", "-s", folder=native)
    subprocess.run(command, check=True)
    return library.read_bytes()


def fetch(folder: Path) -> list[Path]:
    """Download the wheels; of each package the same version for all."""
    for python in PYTHONS:
        for _, names in PLATFORMS.values():
            build = ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
            build += [part for name in names for part in ("--platform", name)]
            download(folder, EXTENSIONS, *build)
    download(folder, ("click",))
    wheels = sorted(folder.iterdir())
    versions = {tuple(wheel.name.split("-")[:2]) for wheel in wheels}
    if len(versions) != len(EXTENSIONS) + 1:
        sys.exit(f"several versions of a package: {sorted(versions)}")
    return wheels


def pinned(lock: str, packages: Sequence[str]) -> str:
    """Return what a lock has of some packages."""
    blocks = {block.partition("==")[0]: block for block in re.split(r"\n(?=[a-z0-9])", lock)}
    return "\n".join(blocks[name] for name in packages) + "\n"


def download(folder: Path, packages: Sequence[str], *build: str) -> None:
    """Have pip download wheels of these packages alone, with the hashes of the lock."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pinned(LOCK.read_text(), packages))
        file.flush()
        hashed = ["--require-hashes", "-r", file.name]
        subprocess.run([*pip, "--only-binary=:all:", "--dest", folder, *build, *hashed], check=True)


def add_wheel(groups: Groups, wheel: Path) -> None:
    """Sort a wheel's files into groups; of what is about it, version and licences stay."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            about = ".dist-info/" in name and not name.endswith("/METADATA") and "licen" not in name.lower()
            if about or name.endswith(("/", *UNUSED)):
                continue
            data = archive.read(name)
            if not name.endswith(".so"):
                groups["common"][name] = data
            elif not name.rpartition("/")[2].startswith("_cffi."):
                build = name.split(".")[-2]  # backend_c.cpython-313-x86_64-linux-gnu.so
                groups.setdefault(build, {})[name] = strip(data)


def strip(data: bytes) -> bytes:
    """Return a library without what only debuggers read: all behind its last loaded segment, and the sections' table.

    Nine tenths of zstandard's; done here because a machine's own strip may not know the other architecture.
    """
    (at,) = struct.unpack_from("<Q", data, 32)
    entry_size, count = struct.unpack_from("<HH", data, 54)
    end = at + entry_size * count
    for number in range(count):
        offset, _, _, size = struct.unpack_from("<QQQQ", data, at + entry_size * number + 8)
        end = max(end, offset + size)
    kept = bytearray(data[:end])
    struct.pack_into("<Q", kept, 40, 0)  # e_shoff, then e_shnum and e_shstrndx: there are no sections
    struct.pack_into("<HH", kept, 60, 0, 0)
    return bytes(kept)


def write(groups: Groups, output: Path) -> None:
    """Write the file; the same for the same content."""
    names = {
        group: {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
        for group, files in sorted(groups.items())
    }
    members = {
        "__main__.py": Path(__file__).with_name("main.py").read_bytes(),
        "manifest.json": json.dumps({"groups": names}, separators=(",", ":")).encode(),
    }
    about = [ROOT / "LICENSE", ROOT / "NOTICE", *sorted((ROOT / "LICENSES").iterdir())]
    members |= {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in about}
    members |= {f"{group}/{name}": data for group, files in groups.items() for name, data in files.items()}
    with output.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in sorted(members.items()):
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                archive.writestr(info, data)
    output.chmod(0o755)


if __name__ == "__main__":
    main()

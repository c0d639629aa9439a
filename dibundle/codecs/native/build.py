"""What makes the shared library of the C files: sources and flags, for the build, dib.pyz and the sanitizers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
LIBRARY: Final = "dib.so"
FLAGS: Final = (
    "-std=c99",
    "-fPIC",
    "-fvisibility=hidden",
    "-DNDEBUG",
    "-ffp-contract=off",  # encoders compare sums of doubles as the programs do that they follow
)


def header(folder: Path = FOLDER) -> int:
    """Return what stands for dib.h: a library that was built with another one is not called."""
    return int.from_bytes(hashlib.sha256((folder / "dib.h").read_bytes()).digest()[:7], "big")


def arguments(output: Path, *more: str, folder: Path = FOLDER) -> list[str]:
    """Return what a compiler is to be told, with ``more`` flags, to make the library of the sources in ``folder``."""
    sources = [str(path) for path in sorted(folder.rglob("*.c"))]
    return [*FLAGS, *more, "-shared", f"-DDIB_HEADER={header(folder)}", "-o", str(output), *sources]

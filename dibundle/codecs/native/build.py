"""Sources and flags that build the shared library of the C files, for the build, dib.pyz and the sanitizers."""

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
    # encoders compare sums of doubles; the results must be the same as in the programs whose output they reproduce
    "-ffp-contract=off",
)


def header(folder: Path = FOLDER) -> int:
    """Return a number that identifies this dib.h. Never call a library that was built with another dib.h."""
    return int.from_bytes(hashlib.sha256((folder / "dib.h").read_bytes()).digest()[:7], "big")


def arguments(output: Path, *more: str, folder: Path = FOLDER) -> list[str]:
    """Return the compiler's arguments, with ``more`` flags, to build the library from the sources in ``folder``."""
    sources = [str(path) for path in sorted(folder.rglob("*.c"))]
    return [*FLAGS, *more, "-shared", f"-DDIB_HEADER={header(folder)}", "-o", str(output), *sources]

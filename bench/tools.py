"""The compared tools: dib and its alternatives. Each tool creates a delta between two archives and applies it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from measure import Run, run

# the paths (base, target, delta, result) -> the cost of (creating, applying)
Tool = Callable[[Path, Path, Path, Path], tuple[Run, Run]]


def dib(*options: str) -> Tool:
    """Return the commands of dib with these options of create."""

    def tool(base: Path, target: Path, delta: Path, result: Path) -> tuple[Run, Run]:
        program = Path(sys.executable).with_name("dib")
        made = run([program, "create", "-q", *options, base, target, delta])
        return made, run([program, "apply", "-q", base, delta], stdout=result)

    return tool


def hdiffpatch(compression: str) -> Tool:
    """Return the commands of HDiffPatch for whole archives, with PyPI's hdiffpatch."""
    read = "r = lambda path: open(path, 'rb').read()\n"
    make = (
        f"import hdiffpatch as h, sys\n{read}a, b, d = sys.argv[1:]\n"
        f"open(d, 'wb').write(h.diff(r(a), r(b), compression=h.COMPRESSION_{compression}, validate=False))"
    )
    use = f"import hdiffpatch as h, sys\n{read}a, d, o = sys.argv[1:]\nopen(o, 'wb').write(h.apply(r(a), r(d)))"

    def tool(base: Path, target: Path, delta: Path, result: Path) -> tuple[Run, Run]:
        return run([sys.executable, "-c", make, base, target, delta]), run(
            [sys.executable, "-c", use, base, delta, result]
        )

    return tool


def xdelta3(base: Path, target: Path, delta: Path, result: Path) -> tuple[Run, Run]:
    """Run xdelta3 -9 with LZMA and a source window of 1 GiB."""
    window = str(1 << 30)
    made = run(["xdelta3", "-e", "-D", "-9", "-S", "lzma", "-B", window, "-f", "-s", base, target, delta])
    return made, run(["xdelta3", "-d", "-D", "-R", "-B", window, "-f", "-s", base, delta, result])


def zstd(level: int) -> Tool:
    """Return the commands of zstd --patch-from at a level, with one thread."""

    def tool(base: Path, target: Path, delta: Path, result: Path) -> tuple[Run, Run]:
        made = run(["zstd", f"-{level}", "--long=31", "-T1", "-f", "-q", "--patch-from", base, target, "-o", delta])
        used = run(
            ["zstd", "-d", "--long=31", "--memory=2048MB", "-f", "-q", "--patch-from", base, delta, "-o", result]
        )
        return made, used

    return tool


TOOLS: dict[str, Tool] = {
    "dib": dib(),
    "dib -1": dib("-1"),
    "dib -9": dib("-9"),
    "HDiffPatch zstd": hdiffpatch("ZSTD"),
    "HDiffPatch LZMA2": hdiffpatch("LZMA2"),
    "zstd -19 --patch-from": zstd(19),
    "zstd -3 --patch-from": zstd(3),
    "xdelta3 -9 lzma": xdelta3,
}
LEVELS: dict[str, Tool] = {f"dib -{level}": dib(f"-{level}") for level in range(1, 10)}

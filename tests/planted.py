"""Faults planted in the decoder, one at a time, and what catches each: ``python -m tests.planted [NUMBER...]``.

Each is put into a copy of the package, on which first the vectors are tried, then the fuzz corpora, then other tests.
It prints a table in Markdown (tests/planted.md holds one); exit code 1 if any fault was not caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dibundle", "tests", "spec", "pyproject.toml")
CATCHERS = (  # in their order: the first that fails has caught it
    ("vectors", ("tests/test_vectors.py", "-k", "dib_agrees")),
    ("corpora", ("tests/fuzz/test_corpus.py", "-k", "test_kept or test_seeds or mutated")),
    ("tests", ("tests/format", "tests/codecs", "tests/images", "tests/test_expect.py")),
)


class Fault(NamedTuple):
    """Text of a file and what it is replaced by."""

    what: str
    file: str
    old: str
    new: str


READER, MANIFEST, WIRE = "format/reader.py", "format/manifest.py", "format/wire.py"
PROGRAM, PLAN, OUTPUT, REBUILD = "format/program.py", "format/plan.py", "format/output.py", "format/rebuild.py"
DIB_C, DEFLATE_C = "codecs/native/dib.c", "codecs/native/deflate.c"

FAULTS = (
    Fault(
        "the manifest's digest is not checked", READER, "if digest.sha256(stored) != self.header.digest:", "if False:"
    ),
    Fault("a frame's digest is not checked", READER, "if digest.sha256(stored) != frame.digest:", "if False:"),
    Fault("bytes behind the last frame are allowed", READER, "if self._stream.read(1):", "if False:"),
    Fault(
        "a signature of a byte more than allowed",
        "format/header.py",
        "length > MAX_SIGNATURE",
        "length > MAX_SIGNATURE + 1",
    ),
    Fault("msgpack in longer forms is allowed", WIRE, "if value < max(shorter, default=high - low):", "if False:"),
    Fault("numbers of columns in longer forms", WIRE, "if byte == 0 or byte >= 0x80:", "if byte >= 0x80:"),
    Fault("numbers of columns without a limit", WIRE, "if byte == 0 or byte >= 0x80:", "if byte == 0:"),
    Fault("no limit on what frames cost", MANIFEST, "if beyond > c.COST_FLOOR:", "if False:"),
    Fault(
        "a source may end behind its object",
        MANIFEST,
        "ranges.offsets[row] + ranges.lengths[row] > sizes[item]:",
        "ranges.offsets[row] > sizes[item]:",
    ),
    Fault(
        "a codec that section 1 does not list",
        MANIFEST,
        '_check_bytes(codec_column, codecs, "codec")',
        '_check_bytes(codec_column, range(7), "codec")',
    ),
    Fault("one byte more than the object has", PROGRAM, "if length > size - offset:", "if length > size - offset + 1:"),
    Fault("operations of length 0", PROGRAM, "    if not value:\n", "    if False:\n"),
    Fault("mode may change a size", PROGRAM, "if new_size != size:", "if False:"),
    Fault(
        "a repeat may read past its frame by one",
        PLAN,
        "> self._table.sizes[repeat.frame]:",
        "> self._table.sizes[repeat.frame] + 1:",
    ),
    Fault("no limit on frames kept", PLAN, "if _most(kept) > MAX_LIVE:", "if False:"),
    Fault(
        "decoded bytes may be left over",
        PLAN,
        "if any(self._waiting.values()) or any(self._left.values()):",
        "if False:",
    ),
    Fault(
        "the rest's digest is not checked",
        OUTPUT,
        "partial(self._check, self._rest,",
        "partial(lambda *_: None, self._rest,",
    ),
    Fault(
        "the tail begins a byte later",
        OUTPUT,
        "before_tail = self._target.tail - self._written",
        "before_tail = self._target.tail + 1 - self._written",
    ),
    Fault("a text may share more than there is", REBUILD, "if text.shared > len(last):", "if False:"),
    Fault(
        "a re-encoder that section 1 does not list",
        "codecs/recompression.py",
        "if reencoder not in listed:",
        "if False:",
    ),
    Fault(
        "bits behind the last literal",
        "codecs/deflate/recipe.py",
        "if edit.count % 8 and edit.literals[-1] >> edit.count % 8:",
        "if False:",
    ),
    Fault("a zstd window of any size", "codecs/zstd.py", "if declared.window_size > MAX_WINDOW:", "if False:"),
    Fault("LZMA2 with bytes behind its end", "codecs/streams.py", " or decompressor.unused_data:", ":"),
    Fault(
        "too many regions of tables",
        "codecs/relink.py",
        "for region in regions) > MAX_TABLES:",
        "for region in regions) > 9999:",
    ),
    Fault(
        "C: a cover may start behind the source",
        DIB_C,
        "source > source_size || length > source_size - source",
        "source > source_size",
    ),
    Fault(
        "C: a run of a sparse difference too long by one",
        DIB_C,
        "length > size - at - gap ||",
        "length > size - at - gap + 1 ||",
    ),
    Fault(
        "C: a copy from where nothing is yet",
        DIB_C,
        "if (address < 0 || address >= here)",
        "if (address < 0 || address > here)",
    ),
    Fault("C: bytes left over in a vcdiff window", DIB_C, "d.at == d.end && a.at == a.end", "a.at == a.end"),
    Fault(
        "C: the end of a model's stream is not checked",
        DIB_C,
        "return c.at == c.size && c.code == c.low ?",
        "return c.at == c.size ?",
    ),
    Fault(
        "C: a match from before the content", DEFLATE_C, "return distance > f->kept && distance", "return 0 && distance"
    ),
)


def copy(folder: Path) -> None:
    """Copy the package with the library that is built, and its tests."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def plant(folder: Path, fault: Fault) -> None:
    """Put a fault into a copy; ``ValueError`` if the text is not there, or more than once."""
    path = folder / "dibundle" / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {fault.old!r} {text.count(fault.old)} times")
    path.write_text(text.replace(fault.old, fault.new))
    if path.suffix == ".c":
        flags = ("-std=c99", "-O2", "-shared", "-fPIC", "-ffp-contract=off")
        sources = sorted(path.parent.glob("*.c"))
        subprocess.run(["cc", *flags, "-o", path.with_name("dib.so"), *sources], check=True)


def caught(folder: Path) -> str | None:
    """Return what catches the fault in a copy, and how."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    for name, arguments in CATCHERS:
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
            test = failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else f"ended with {done.returncode}"
            return f"{name} | `{test.rpartition('::')[2]}`"
    return None


def main() -> int:
    """Try all faults, or those whose numbers are given."""
    chosen = [int(item) for item in sys.argv[1:]] or range(1, len(FAULTS) + 1)
    missed = 0
    print("| | fault | file | caught by | the first to fail |\n|---|---|---|---|---|", flush=True)
    for number in chosen:
        fault = FAULTS[number - 1]
        with tempfile.TemporaryDirectory() as name:
            copy(Path(name))
            plant(Path(name), fault)
            found = caught(Path(name))
        missed += found is None
        print(f"| {number} | {fault.what} | {fault.file} | {found or 'nothing |'} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

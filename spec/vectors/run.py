"""Run a decoder over all vectors: ``python3 spec/vectors/run.py [--core] COMMAND [ARGUMENT...]``.

For each vector the command is run as ``COMMAND [--target NAME] [--expect ID] [BASE...] BUNDLE > OUT``; the vectors of
bundles with several targets have ``--target``, those of images that are expected ``--expect``. It is to
end with the exit code, and to have written the bytes, that index.json says;
0 is the exit code of this script if it always does. ``--core``: only the vectors for readers of the core profile
that do not judge images. Standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TIMEOUT = 60  # seconds for one vector


class Ended(NamedTuple):
    """What a decoder did: its exit code and what it wrote."""

    code: int
    out: bytes


Decoder = Callable[[list[str]], Ended]


def vectors(folder: Path = HERE) -> Iterator[dict[str, Any]]:
    """Give the vectors of the index, good ones first."""
    index = json.loads((folder / "index.json").read_text())
    assert index["schema"] == "dib.vectors/1"
    yield from index["ok"]
    yield from index["bad"]


def arguments(vector: dict[str, Any], folder: Path = HERE) -> list[str]:
    """Give the arguments for a vector."""
    files = [*vector["bases"], vector["bundle"]]
    return [*vector["arguments"], *(str(folder / file) for file in files)]


def fault(vector: dict[str, Any], ended: Ended, folder: Path = HERE) -> str | None:
    """Say what a decoder did wrong, if anything."""
    if ended.code not in vector["codes"]:
        return f"exit code {ended.code}, wanted {' or '.join(map(str, vector['codes']))}"
    if ended.code == 0:
        right = len(ended.out) == vector["length"] and _sha256(ended.out) == vector["sha256"]
        return None if right else f"another output, of {len(ended.out)} bytes, wanted {vector['length']}"
    return _released_too_much(vector, ended.out, folder)


def _released_too_much(vector: dict[str, Any], out: bytes, folder: Path) -> str | None:
    """Check what came out before a fault was found: less is always right, but not a whole number of blocks."""
    if not out:
        return None
    allowed = (folder / vector["bundle"]).with_suffix(".out")
    most = allowed.read_bytes() if allowed.exists() else b""
    if not most.startswith(out):
        return f"{len(out)} bytes were released, at most {len(most)} may be"
    return None if len(out) % 512 else f"{len(out)} bytes were released, a multiple of 512"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def command(words: list[str]) -> Decoder:
    """Give a decoder that is a command."""

    def run(more: list[str]) -> Ended:
        try:
            done = subprocess.run([*words, *more], capture_output=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired as error:
            return Ended(-1, error.stdout or b"")
        return Ended(done.returncode, done.stdout)

    return run


def main() -> int:
    """Run all vectors and print what is wrong, then the counts."""
    words = sys.argv[1:]
    is_core = words[:1] == ["--core"]
    if not words[is_core:]:
        sys.stderr.write("usage: run.py [--core] COMMAND [ARGUMENT...]\n")
        return 2
    decoder = command(words[is_core:])
    count = wrong = 0
    for vector in vectors():
        if is_core and (vector["profile"] != "core" or 8 in vector["codes"] or "--expect" in vector["arguments"]):
            continue
        count += 1
        found = fault(vector, decoder(arguments(vector)))
        if found:
            wrong += 1
            print(f"{vector['bundle']}: {found}")
    print(f"{count} vectors, {count - wrong} right, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

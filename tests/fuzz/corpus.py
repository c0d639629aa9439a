"""The stored corpora. For each target, corpus/ has one compressed tar with the target's inputs.

``python -m tests.fuzz.corpus TARGET FOLDER`` stores the files of a folder as a target's corpus, except the seeds. The
folder may be the result of ``-merge=1``.
"""

from __future__ import annotations

import io
import lzma
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import targets

HERE = Path(__file__).parent / "corpus"


def kept(target: str) -> Iterator[bytes]:
    """Yield the stored inputs of a target."""
    path = HERE / f"{target}.tar.xz"
    if path.exists():
        with tarfile.open(path) as archive:
            for entry in archive:
                found = archive.extractfile(entry)
                assert found is not None
                yield found.read()


def keep(target: str, inputs: set[bytes]) -> None:
    """Replace the stored inputs by the given inputs. The same inputs give the same file."""
    HERE.mkdir(exist_ok=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, data in enumerate(sorted(inputs, key=lambda data: (len(data), data))):
            entry = tarfile.TarInfo(f"{number:04}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    (HERE / f"{target}.tar.xz").write_bytes(lzma.compress(out.getvalue(), preset=9))


def main() -> None:
    """Store the files of a folder, except the seeds."""
    _, target, folder = sys.argv
    inputs = {path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    keep(target, inputs - set(targets.seeds(target)))


if __name__ == "__main__":
    main()

"""Plain archives for tests of bounds."""

from __future__ import annotations

import io
import tarfile


def tar(items: dict[str, bytes]) -> bytes:
    """Return a tar of regular files, by their names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in items.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return out.getvalue()

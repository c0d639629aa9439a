"""A root file system with dib and with the Python that runs these tests, for images on machines without a network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

NEEDED = ("dibundle", "click", "msgpack", "zstandard", "urllib3")
LEFT_OUT = {
    "__pycache__",
    "config-3",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "site-packages",
    "test",
    "tkinter",
    "turtledemo",
}
PACKAGES = "/opt/dib"
CHANGES = (f"ENV PYTHONPATH={PACKAGES}", "ENV PATH=/usr/bin", "ENV HOME=/tmp", "USER 65532:65532", "WORKDIR /work")
"""The same settings as in container/Dockerfile."""


def write(archive: Path) -> None:
    """Write the root file system as a tar."""
    python = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(archive, "w", dereference=True) as tar:
        tar.add(python, python)
        tar.add(standard, standard, filter=_without)
        programs = [python, Path("/usr/bin/cat"), *(standard / "lib-dynload").glob("*.so")]
        for name in NEEDED:
            found = importlib.util.find_spec(name)
            assert found
            assert found.origin
            folder = Path(found.origin).parent
            tar.add(folder, f"{PACKAGES}/{name}", filter=_without)
            programs += folder.rglob("*.so")
        tar.add("/usr/bin/cat", "/usr/bin/cat")
        for library in sorted(set(_libraries(programs))):
            tar.add(library, library)
        for path, mode, text in (
            ("usr/bin/dib", 0o755, f"#!{python}\nfrom dibundle.cli.main import run\nrun()\n"),
            ("etc/passwd", 0o644, "root:x:0:0::/:/\n"),
        ):
            item = tarfile.TarInfo(path)
            item.mode, item.size = mode, len(text)
            tar.addfile(item, BytesIO(text.encode()))
        for path in ("tmp", "var/tmp"):
            item = tarfile.TarInfo(path)
            item.mode, item.type = 0o1777, tarfile.DIRTYPE
            tar.addfile(item)


def _without(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(item.name).name
    return None if name in LEFT_OUT or name.startswith(("config-3", "_cffi", "_tkinter")) else item


def _libraries(programs: list[Path]) -> Iterator[str]:
    """Yield the shared libraries that programs need, and the loader."""
    for program in programs:
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        yield from re.findall(r"(?:=> |^\t)(/\S+) \(0x", told, re.MULTILINE)

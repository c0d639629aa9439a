"""Complete an SBOM with what the packages' metadata does not tell: hashes, and the native libraries inside of wheels.

    python .ci/sbom.py sbom.cdx.json .ci/runtime.txt

Run it with a Python that has the packages: their libraries are asked for the versions of what is compiled into them.
``hashes`` of a component are those of all its files that the lock takes; pip refuses any other. A library that has no
version of its own in it is listed without one.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Ask = Callable[[ctypes.CDLL], str | None]
NUMBER: Final = re.compile(rb"[0-9]+(?:\.[0-9]+)+(?:-[0-9]+-g[0-9a-f]+)?")


def text(symbol: str) -> Ask:
    """Ask a function that returns a text."""

    def ask(library: ctypes.CDLL) -> str | None:
        function = getattr(library, symbol)
        function.restype = ctypes.c_char_p
        found = NUMBER.match(function())
        assert found, symbol
        return found[0].decode()

    return ask


def brotli(library: ctypes.CDLL) -> str | None:
    """Ask Brotli, which has its version in the bits of a number."""
    number = library.BrotliDecoderVersion()
    return f"{number >> 24}.{number >> 12 & 0xFFF}.{number & 0xFFF}"


def lzham(library: ctypes.CDLL) -> str | None:
    """Ask LZHAM."""
    number = library.lzham_get_version()
    return f"{number >> 12}.{number >> 4 & 0xFF}.{number & 15}"


def has(symbol: str) -> Ask:
    """Say of a library that tells no version that it is there."""

    def ask(library: ctypes.CDLL) -> str | None:
        getattr(library, symbol)
        return None

    return ask


INSIDE: Final[dict[str, tuple[str, dict[str, Ask]]]] = {
    "hdiffpatch": (
        "hdiffpatch._c_extension",
        {
            "brotli": brotli,
            "bzip2": text("BZ2_bzlibVersion"),
            "hdiffpatch (C++)": has("patch_decompress"),
            "libdeflate": has("libdeflate_alloc_decompressor"),
            "libdivsufsort": text("divsufsort_version"),
            "lz4": text("LZ4_versionString"),
            "lzham": lzham,
            "lzma-sdk": has("LzmaDec_DecodeToBuf"),
            "tamp": has("tamp_compressor_init"),
            "zlib": text("zlibVersion"),
            "zstd": text("ZSTD_versionString"),
        },
    ),
    "zstandard": ("zstandard.backend_c", {}),
}
"""By package: the module that is a native library, and what it has inside."""


def inside(package: str) -> dict[str, str | None]:
    """Return the native libraries in a package that is installed, with their versions."""
    if package not in INSIDE:
        return {}
    module, libraries = INSIDE[package]
    if package == "zstandard":  # it exports none of its symbols, and tells the version itself
        return {"zstd": ".".join(map(str, importlib.import_module("zstandard").ZSTD_VERSION))}
    library = ctypes.PyDLL(importlib.import_module(module).__file__)
    return {name: ask(library) for name, ask in libraries.items()}


def hashes(lock: str) -> dict[str, list[str]]:
    """Return the SHA-256 of the files of each package that a lock takes."""
    blocks = re.split(r"\n(?=[a-z0-9])", "\n" + lock)
    return {block.partition("==")[0]: re.findall("sha256:([0-9a-f]{64})", block) for block in blocks if "==" in block}


def complete(sbom: dict[str, Any], lock: str) -> None:
    """Add to each component its hashes and what is inside."""
    known = hashes(lock)
    for component in sbom["components"]:
        name = component["name"]
        component["hashes"] = [{"alg": "SHA-256", "content": item} for item in known[name]]
        parts = []
        for part, version in sorted(inside(name).items()):
            told = {"version": version, "purl": f"pkg:generic/{part}@{version}"} if version else {}
            parts.append({"bom-ref": f"{component['bom-ref']}/{part}", "name": part, "type": "library", **told})
        if parts:
            component["components"] = parts


if __name__ == "__main__":
    path = Path(sys.argv[1])
    document = json.loads(path.read_text())
    complete(document, Path(sys.argv[2]).read_text())
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")

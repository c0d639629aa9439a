"""Complete an SBOM with what the packages' metadata does not tell: hashes, and the native libraries inside of wheels.

    python .ci/sbom.py sbom.cdx.json .ci/runtime.txt

Run it with a Python that has the packages: their libraries are asked for the versions of what is compiled into them.
``hashes`` of a component are those of all its files that the lock takes; pip refuses any other.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any


def inside(package: str) -> dict[str, str]:
    """Return the native libraries in a package that is installed, with their versions."""
    if package != "zstandard":
        return {}
    return {"zstd": ".".join(map(str, importlib.import_module("zstandard").ZSTD_VERSION))}


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
            told = {"name": part, "version": version, "purl": f"pkg:generic/{part}@{version}"}
            parts.append({"bom-ref": f"{component['bom-ref']}/{part}", "type": "library", **told})
        if parts:
            component["components"] = parts


if __name__ == "__main__":
    path = Path(sys.argv[1])
    document = json.loads(path.read_text())
    complete(document, Path(sys.argv[2]).read_text())
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")

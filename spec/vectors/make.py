"""Make the vectors anew: ``python3 spec/vectors/make.py [FOLDER]``. The same bytes come out every time.

Without a folder ../requirements.md is written anew too, which lists them by requirement.

It needs dibundle, for the encoders of deflate.md, the model of cover.md and the addresses of relink.md: these vectors
hold what dibundle made and the reference decoder confirmed. All else is written down in the scripts beside this one.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

import conditions  # noqa: F401 - adds its cases
import doubts  # noqa: F401 - adds its cases
import edges  # noqa: F401 - adds its cases
import encoding  # noqa: F401 - adds its cases
import expected  # noqa: F401 - adds its cases
import frames  # noqa: F401 - adds its cases
import inflating  # noqa: F401 - adds its cases
import limits  # noqa: F401 - adds its cases
import lzma2  # noqa: F401 - adds its cases
import payload_faults  # noqa: F401 - adds its cases
import payloads  # noqa: F401 - adds its cases
import readings  # noqa: F401 - adds its cases
import relinking  # noqa: F401 - adds its cases
import requirements
import targets  # noqa: F401 - adds its cases
import zstd_blocks  # noqa: F401 - adds its cases
from bundles import Bundle, sha256
from faults import BAD, Bad
from good import BASES, GOOD, Good


def make(folder: Path) -> None:
    """Write bases, bundles and the index."""
    for name in ("base", "ok", "bad"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    for name, data in BASES.items():
        (folder / "base" / f"{name}.tar").write_bytes(data)
    index = {
        "schema": "dib.vectors/1",
        "ok": [_good(folder, name, case) for name, case in sorted(GOOD.items())],
        "bad": [_bad(folder, name, case) for name, case in sorted(BAD.items())],
    }
    (folder / "index.json").write_text(_json(index))


def _json(index: dict[str, Any]) -> str:
    """Return the index with a line for each vector."""
    parts = [f' "schema": {json.dumps(index["schema"])}']
    for key in ("ok", "bad"):
        lines = ",\n".join(f"  {json.dumps(item)}" for item in index[key])
        parts.append(f' "{key}": [\n{lines}\n ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _good(folder: Path, name: str, case: Good) -> dict[str, Any]:
    bundle = case.make()
    (folder / "ok" / f"{name}.dib").write_bytes(bundle.encode())
    out = bundle.targets[case.target].out
    arguments = case.arguments(bundle)
    return {
        "name": name,
        "arguments": arguments,
        "bases": [f"base/{base}.tar" for base in case.bases],
        "bundle": f"ok/{name}.dib",
        "profile": _profile(bundle, arguments),
        "codes": [0, 6] if case.optional else [0],
        "length": len(out),
        "sha256": sha256(out).hex(),
        "tests": sorted(case.tests),
    }


def _profile(bundle: Bundle, arguments: list[str]) -> str:
    """Return the profile of readers; those of the core profile cannot judge a target by an ID."""
    own = {f"sha256:{sha256(target.out).hex()}" for target in bundle.targets}
    return "full" if any(word.startswith("sha256:") and word not in own for word in arguments) else bundle.profile


def _bad(folder: Path, name: str, case: Bad) -> dict[str, Any]:
    bundle = case.good.make()
    case.change(bundle)
    arguments = case.good.arguments(bundle) if case.arguments is None else case.arguments
    (folder / "bad" / f"{name}.dib").write_bytes(bundle.encode())
    released = bundle.targets[case.good.target].out[: case.released] if case.released else b""
    if released:
        (folder / "bad" / f"{name}.out").write_bytes(released)
    return {
        "name": name,
        "arguments": arguments,
        "bases": [f"base/{base}.tar" for base in case.bases],
        "bundle": f"bad/{name}.dib",
        "profile": _profile(bundle, arguments),
        "codes": list(case.codes),
        "released": {"length": len(released), "sha256": sha256(released).hex()},
        "tests": sorted(case.tests),
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
    if len(sys.argv) == 1:
        requirements.write()

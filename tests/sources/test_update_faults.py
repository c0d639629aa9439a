"""``dib update`` from a registry with five faulty bundles. One bundle is deleted, one damaged, one truncated, one
unsigned, and one slow.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.program import succeed
from tests.sources.conftest import REPOSITORY, Files, Program, blobs, put_image, signer
from tests.sources.server import Registry, Request, digest, serve

PAIRS = ((1, 2), (2, 3), (3, 4), (2, 4), (1, 3))
FAULTS = ("deleted", "damaged", "truncated", "unsigned", "slow")
RUNS = 100
Pair = tuple[int, int]


def best(old: int, sizes: dict[Pair, int], usable: set[Pair]) -> int | None:
    """Return the size of the smallest chain of usable bundles that leads from a version to the fourth version."""
    if old == 4:
        return 0
    ways = [
        sizes[pair] + rest for pair in usable if pair[0] == old and (rest := best(pair[1], sizes, usable)) is not None
    ]
    return min(ways, default=None)


@pytest.mark.slow
@pytest.mark.parametrize("is_demanded", [False, True], ids=["no signers", "signers"])
def test_a_hundred_updates_from_a_bad_registry(is_demanded: bool, files: Files, dib: Program, tmp_path: Path) -> None:
    allowed = signer(tmp_path)
    plain, signed = {}, {}
    for old, new in PAIRS:
        plain[old, new] = tmp_path / f"{old}-{new}.dib"
        succeed("create", files.archive(old), files.archive(new), plain[old, new])
        signed[old, new] = tmp_path / f"signed-{old}-{new}.dib"
        shutil.copy(plain[old, new], signed[old, new])
        succeed("sign", "--key", tmp_path / "key", signed[old, new])
    ended_with_image = 0
    for run in range(RUNS):
        chance = random.Random(run)
        faults = dict(zip(PAIRS, chance.sample(FAULTS, len(FAULTS)), strict=True))
        bundles = {pair: plain[pair] if faults[pair] == "unsigned" else signed[pair] for pair in PAIRS}
        with serve() as registry:
            for number in range(1, 5):
                put_image(registry, files.archive(number), f"v{number}")
            for pair in PAIRS:
                assert dib("push", bundles[pair], f"docker://{registry.host}/{REPOSITORY}").code == 0
            break_registry(registry, bundles, faults)
            # v4 as a base is only a file; update does not count it as an engine that already has v4
            old = chance.randrange(1, 4 if is_demanded else 5)
            out = tmp_path / "out.tar"
            trust = ("--allowed-signers", allowed) if is_demanded else ()
            name = f"docker://{registry.host}/{REPOSITORY}:v4"
            ended = dib("update", name, "--base", files.archive(old), "-o", out, "--json", *trust)
        sizes = {pair: bundle.stat().st_size for pair, bundle in bundles.items()}
        usable = {pair for pair in PAIRS if faults[pair] == "slow" or (faults[pair] == "unsigned" and not is_demanded)}
        remaining = best(old, sizes, usable)
        if is_demanded and remaining is None:
            assert (ended.code, out.exists()) == (8, False), (run, faults, old, ended.err)
            continue
        assert ended.code == 0, (run, faults, old, ended.err)
        assert blobs(out) == blobs(files.archive(4))
        found = json.loads(ended.out)
        in_vain = sum(sizes[pair] for pair in PAIRS if faults[pair] in ("damaged", "truncated", "deleted"))
        if old != 4:
            way = found["image_size"] if remaining is None else min(remaining, found["image_size"])
            assert found["size"] <= 1.1 * way + in_vain, (run, faults, old, found)
        out.unlink()
        ended_with_image += 1
    assert ended_with_image == RUNS if not is_demanded else ended_with_image > 0


def break_registry(
    registry: Registry, bundles: dict[tuple[int, int], Path], faults: dict[tuple[int, int], str]
) -> None:
    """Make a registry delete, damage, truncate and delay bundles that are in its lists."""
    slow = ""
    for pair, fault in faults.items():
        data = bundles[pair].read_bytes()
        key = REPOSITORY, digest(data)
        if fault == "deleted":
            del registry.blobs[key]
        elif fault == "damaged":
            registry.blobs[key] = data[:-20] + bytes(20)
        elif fault == "truncated":
            registry.blobs[key] = data[: len(data) // 2]
        elif fault == "slow":
            slow = key[1]

    def hook(request: Request) -> bool:
        if request.path.endswith(slow):
            time.sleep(0.05)
        return False

    registry.hook = hook

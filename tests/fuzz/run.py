"""Fuzz one target. Run ``python -m tests.fuzz.run TARGET [FOLDER...] [-OPTION=VALUE...]`` with libFuzzer's options.

This needs atheris (see README.md). If no folder is given, a new corpus begins with the seeds.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dibundle"]):
    import dibundle.codecs
    import dibundle.creating.compose

    # import these modules now, because a later import would not be instrumented
    for package in (dibundle.codecs, dibundle.creating.compose):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    from tests.fuzz import corpus, targets
    from tests.fuzz.bundles import flipped

LARGEST_INPUT = 40_000


def main() -> None:
    """Fill the first folder with the seeds and the stored inputs, and start libFuzzer."""
    name, *more = sys.argv[1:]
    if "-merge_inner=1" not in more:
        if not any(not item.startswith("-") for item in more):
            more.insert(0, tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        folder = Path(next(item for item in more if not item.startswith("-")))
        folder.mkdir(parents=True, exist_ok=True)
        for data in (*targets.seeds(name), *corpus.kept(name)):
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [f"-max_len={LARGEST_INPUT}", "-rss_limit_mb=2048", "-timeout=20", *more]
    this = f"{sys.executable} -m tests.fuzz.run {name}"  # for a merge, libFuzzer starts this command again
    if name in ("bundle", "listings"):
        atheris.Setup([this, *options], targets.TARGETS[name], custom_mutator=_mutated_bundle)
    else:
        atheris.Setup([this, *options], targets.TARGETS[name])
    atheris.Fuzz()


def _mutated_bundle(data: bytes, most: int, seed: int) -> bytes:
    """Change fields of a bundle or, in a quarter of the calls, bytes anywhere in the input."""
    chance = random.Random(seed)
    if chance.random() < 0.75:
        try:
            opened = targets.opened_input(data)
            choice = data[0] ^ (chance.random() < 0.05)
            return targets.bundle_input(opened.mutated(chance, _by_libfuzzer), choice)[:most]
        except Exception:
            pass
    return bytes(atheris.Mutate(data, most))


def _by_libfuzzer(chance: random.Random, data: bytes) -> bytes:
    return bytes(atheris.Mutate(data, len(data) + 64)) if data and chance.random() < 0.5 else flipped(chance, data)


if __name__ == "__main__":
    main()

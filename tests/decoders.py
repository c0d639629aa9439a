"""A comparison of decoders on mutated vectors. For each, all decoders must give the same bytes, or refuse. python -m
tests.decoders COUNT SEED [COMMAND...] After a mutation, the script corrects the digests of the frames and of the
manifest. If dib rebuilds an output from a mutation, the script also corrects the output's digests. Therefore, no
decoder can detect a mutation by a digest. ``COMMAND`` is a third decoder, in addition to dib and the reference decoder.
The script runs ``COMMAND`` in the same way as the vectors' test runner does. The script prints each difference, then
the numbers of accepted and refused mutations. The exit code is 1 if there was a difference.
"""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dibundle.applying import messages, rebuilding
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive, open_archive
from tests.fuzz import targets
from tests.fuzz.bundles import Open, flipped, sha256
from tests.reference import decoder
from tests.test_vectors import FOLDER, options, runner

LARGEST: Final = 100_000  # maximum bytes of a bundle; its target may have ten times as many bytes
SECONDS: Final = 20  # time limit for the reference decoder, which is slow
TOO_LONG: Final = -14  # the reference decoder's result if its time limit ends it with SIGALRM
TOO_LARGE: Final = -1  # dib's result for a target that is too large
Ended = tuple[int, bytes]


def by_dib(bases: list[Path], bundle: bytes, name: str | None, *, is_checked: bool = True) -> Ended:
    """Return dib's exit code and output for a bundle. Digests are checked only if ``is_checked`` is true."""
    before, out = rebuilding.VerifiedOutput, io.BytesIO()
    if not is_checked:
        rebuilding.VerifiedOutput = targets.Unchecked  # type: ignore[misc]
    try:
        with Context() as context:
            archives: list[Archive] = [context.enter(open_archive(path)) for path in bases]
            reader = BundleReader(io.BytesIO(bundle))
            rebuild_target(archives, reader, out.write, RebuildOptions(target=name, max_size=10 * LARGEST), context)
    except DibError as error:
        return TOO_LARGE if error.code == messages.LIMIT_MAX_SIZE.code else error.exit_code, b""
    finally:
        rebuilding.VerifiedOutput = before  # type: ignore[misc]
    return 0, out.getvalue()


def by_reference(bases: list[Path], bundle: Path, name: str | None, out: Path) -> Ended:
    """Return the reference decoder's exit code and output for a bundle. The decoder runs in its own process."""
    command = decoder().decode.__globals__
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        # skip this check: it takes seconds, and the vectors already test it
        command["check_encoders"] = lambda numbers: None
        code = 99
        try:
            with out.open("wb") as file:
                decoder().decode([*bases, bundle], file, name)
            code = 0
        except decoder().Refused as error:
            code = error.code
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, out.read_bytes() if code == 0 else b""


class Comparison:
    """Mutations of vectors, and the decoders' results for them."""

    def __init__(self, seed: int, command: list[str], work: Path) -> None:
        self._chance = random.Random(seed)
        self._other: Callable[[list[str]], Any] | None = runner.command(command) if command else None
        self._work = work
        good = [
            vector for vector in runner.vectors() if vector["codes"] == [0] and "--expect" not in vector["arguments"]
        ]
        small = [one for one in good if one["length"] <= LARGEST and not one["name"].endswith("mib")]
        self._vectors = [one for one in small if (FOLDER / one["bundle"]).stat().st_size < LARGEST]
        self.ended: Counter[str] = Counter()
        self.differences: list[str] = []

    def mutate(self, number: int) -> None:
        """Compare all decoders on one mutation."""
        vector = self._chance.choice(self._vectors)
        name, _, paths = options([*vector["arguments"], *vector["bases"], vector["bundle"]])
        bases = [FOLDER / path for path in paths[:-1]]
        whole = (FOLDER / vector["bundle"]).read_bytes()
        data = Open.of(whole).mutated(self._chance, flipped).encode()
        if name is None:
            data = self._with_right_output(bases, data)
        bundle = self._work / "mutated.dib"
        bundle.write_bytes(data)
        found = [by_dib(bases, data, name), by_reference(bases, bundle, name, self._work / "out")]
        if self._other:
            found.append(self._other([*vector["arguments"], *map(str, bases), str(bundle)])[:2])
        if {TOO_LONG, TOO_LARGE} & {code for code, _ in found}:
            self.ended["too slow or large"] += 1
            return
        taken = [output for code, output in found if code == 0]
        self.ended["taken" if taken else "refused"] += 1
        if taken and taken != [taken[0]] * len(found):
            kept = Path(tempfile.gettempdir()) / f"difference-{sha256(data).hex()[:12]}.dib"
            kept.write_bytes(data)
            codes = ", ".join(f"{code} ({len(output)} bytes)" for code, output in found)
            self.differences.append(f"{number}, of {vector['bundle']}: {codes}; see {kept}")

    def _with_right_output(self, bases: list[Path], data: bytes) -> bytes:
        try:
            code, output = by_dib(bases, data, None, is_checked=False)
            return Open.of(data).with_output(0, output).encode() if code == 0 else data
        except Exception:  # if data is not a bundle, leave it unchanged
            return data


def main() -> int:
    """Compare the decoders, and print the result."""
    count, seed, *command = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        comparison = Comparison(int(seed), command, Path(work))
        for number in range(int(count)):
            comparison.mutate(number)
            while comparison.differences:
                print(comparison.differences.pop(), flush=True)
                comparison.ended["different"] += 1
    print(", ".join(f"{key}: {value}" for key, value in sorted(comparison.ended.items())))
    return 1 if comparison.ended["different"] else 0


if __name__ == "__main__":
    sys.exit(main())

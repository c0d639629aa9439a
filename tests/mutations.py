"""Mutated bundles, and the result of ``apply`` for each. Half of the mutations change bytes, and the other half change
fields.

    python -m tests.mutations                                    1,000 mutations of generated pairs
    python -m tests.mutations --count 10000                      10,000 of them
    python -m tests.mutations --count 400 a.tar b.tar a-b.dib    400 of a real bundle

After changes of fields, the digests of the frames and of the manifest are corrected. For small pairs, the output's
digests are corrected too, to match the reference decoder's output. So no digest reveals such a mutation. Each bundle is
applied in its own process. The memory and time of the process are measured. The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dibundle.applying import rebuilding
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive
from tests import pairs
from tests.fuzz import targets
from tests.fuzz.bundles import Open, flipped, sha256
from tests.reference import decoder

MOST_MEMORY = 300 << 20
MOST_SECONDS = 5.0
SMALL = 4 << 20  # maximum bytes of a target for the reference decoder
WENT_WRONG = 99


@dataclass
class Real:
    """A real bundle with its base, and the digest of its target."""

    name: str
    base: Path
    bundle: bytes
    digest: bytes
    size: int


@dataclass
class Ended:
    """The result of one attempt: 0 (the output is in the file), another exit code of dib, or ``WENT_WRONG``."""

    code: int
    seconds: float
    memory: int


@dataclass
class Counts:
    """Counts for the final report."""

    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0
    compared: int = 0


class Trials:
    """A runner of mutations, with its own files in ``work``."""

    def __init__(self, work: Path, seed: int) -> None:
        self._out, self._err = work / "out", work / "err"
        self._chance = random.Random(seed)
        self._work = work
        self._reference = decoder()
        self.counts = Counts()

    def anywhere(self, real: Real, number: int) -> None:
        """Change bytes of the file. dib must refuse the bundle, or give the whole target."""
        data = flipped(self._chance, real.bundle)
        ended = self._run(real, data)
        self._judge("anywhere", real, number, ended)
        if ended.code == 0 and _digest(self._out) != real.digest:
            self._fault(real, number, data, "another output was accepted")

    def meaning(self, real: Real, opened: Open, number: int) -> None:
        """Change fields of the bundle. dib must refuse the bundle, or give the reference decoder's output."""
        data = opened.mutated(self._chance, flipped).encode()
        if real.size <= SMALL:
            data = self._with_right_output(real, data)
        ended = self._run(real, data)
        self._judge("meaning", real, number, ended)
        if ended.code:
            return
        if _digest(self._out) == real.digest:
            return
        if real.size > SMALL:
            self._fault(real, number, data, "another output was accepted")
            return
        self.counts.compared += 1
        out = self._out.read_bytes()
        code, other = self._by_reference(real, data)
        if (code, other) != (0, out):
            self._fault(real, number, data, f"the reference decoder ends with {code}, {len(other)} bytes")

    def _with_right_output(self, real: Real, data: bytes) -> bytes:
        """Return the bundle with corrected digests of its output. Without an output, return the bundle unchanged."""
        ended = self._run(real, data, unchecked=True)
        if ended.code:
            return data
        try:
            return Open.of(data).with_output(0, self._out.read_bytes()).encode()
        except Exception:
            return data

    def _judge(self, kind: str, real: Real, number: int, ended: Ended) -> None:
        counts = self.counts
        counts.codes[kind, ended.code] += 1
        counts.seconds, counts.memory = max(counts.seconds, ended.seconds), max(counts.memory, ended.memory)
        where = f"{real.name} {kind} {number}"
        if ended.code == WENT_WRONG:
            counts.faults.append(f"{where}: {self._err.read_text(errors='replace')[-600:]}")
        if ended.seconds > MOST_SECONDS:
            counts.faults.append(f"{where}: {ended.seconds:.1f} s")
        if ended.memory > MOST_MEMORY:
            counts.faults.append(f"{where}: {ended.memory >> 20} MiB")

    def _fault(self, real: Real, number: int, data: bytes, what: str) -> None:
        kept = Path(tempfile.gettempdir()) / f"mutation-{sha256(data).hex()[:12]}.dib"
        kept.write_bytes(data)
        self.counts.faults.append(f"{real.name} {number}: {what}; see {kept}")

    def _run(self, real: Real, data: bytes, *, unchecked: bool = False) -> Ended:
        """Apply a bundle in a child process, and wait until the process ends. Kill the process after 60 s."""
        started = time.monotonic()
        child = os.fork()
        if not child:
            signal.alarm(60)
            os._exit(self._in_child(real, data, unchecked=unchecked))
        _, status, used = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return Ended(code if code >= 0 else WENT_WRONG, time.monotonic() - started, used.ru_maxrss << 10)

    def _in_child(self, real: Real, data: bytes, *, unchecked: bool) -> int:
        try:
            if unchecked:
                rebuilding.VerifiedOutput = targets.Unchecked  # type: ignore[misc]
            with self._out.open("wb") as out, open_archive(real.base) as base, Context() as context:
                reader = BundleReader(io.BytesIO(data))
                rebuild_target([base], reader, out.write, RebuildOptions(), context, whole=not unchecked)
        except DibError as error:
            return error.exit_code
        except BaseException:
            self._err.write_text(traceback.format_exc())
            return WENT_WRONG
        return 0

    def _by_reference(self, real: Real, data: bytes) -> tuple[int, bytes]:
        path, out = self._work / "reference.dib", io.BytesIO()
        path.write_bytes(data)
        try:
            self._reference.decode([real.base, path], out, None)
        except self._reference.Refused as error:
            return error.code, out.getvalue()
        return 0, out.getvalue()


def generated(work: Path) -> list[Real]:
    """Return small pairs, each with bundles that use different codecs."""
    made = []
    for name, make in (("programs", pairs.make_programs), ("packed", pairs.make_packed), ("mixed", _make_mixed)):
        folder = work / name
        folder.mkdir()
        pair = make(folder)
        made += [real(f"{name}/{path.stem}", pair.base, pair.target, path) for path in pair.bundles]
    return made


def _make_mixed(folder: Path) -> pairs.Pair:
    return pairs.make(folder, megabytes=1)


def real(name: str, base: Path, target: Path, bundle: Path) -> Real:
    """Return an existing bundle, with its base."""
    return Real(name, base, bundle.read_bytes(), _digest(target), target.stat().st_size)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def run(reals: list[Real], count: int, seed: int, work: Path) -> Counts:
    """Try ``count`` mutations, in equal numbers for each bundle and kind."""
    trials = Trials(work, seed)
    opened = {item.name: Open.of(item.bundle) for item in reals}
    for number in range(count):
        item = reals[number // 2 % len(reals)]
        if number % 2:
            trials.meaning(item, opened[item.name], number)
        else:
            trials.anywhere(item, number)
    return trials.counts


def main() -> int:
    """Run the mutations that the command line requests, and print the results."""
    parser = argparse.ArgumentParser(description="Mutate bundles and apply them.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*", type=Path, help="base, target and bundle")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        reals = [real(asked.files[2].stem, *asked.files)] if asked.files else generated(work)
        counts = run(reals, asked.count, asked.seed, work)
    for (kind, code), times in sorted(counts.codes.items()):
        print(f"  {kind:8} exit {code:2}: {times:6}")
    print(
        f"{asked.count} mutations of {len(reals)} bundles; {counts.compared} other outputs, compared with the reference"
    )
    print(f"most memory {counts.memory >> 20} MiB, most time {counts.seconds:.2f} s, own {_own_memory()} MiB")
    print("\n".join([*counts.faults, f"{len(counts.faults)} faults"]))
    return 1 if counts.faults else 0


def _own_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    sys.exit(main())

"""Run the differential test by hand with ``python -m tests.differential.run [--every N] [--control]``.

Every archive that ``apply --expect`` accepts is loaded into every program. Every archive is loaded by ``load --expect``
into every engine. With --control, the programs also get the hostile archives directly. A good generator makes many
hostile archives that lead at least one program to a wrong image.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
import time

from tests.differential.archives import Case, cases
from tests.differential.check import applied, loaded
from tests.differential.loaders import Loader, Taken, loaders


def wrong(case: Case, taken: Taken) -> bool:
    """Return whether a program has an image other than GOOD."""
    return bool(taken.configs - {case.good.hex()})


def main() -> int:
    """Print a line for each archive with a wrong result, and a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    chosen = list(cases())[:: options.every]
    counts: collections.Counter[str] = collections.Counter()
    failures = 0
    start = time.monotonic()
    with loaders() as programs:
        for case in chosen:
            kind = "honest" if case.is_honest else "hostile"
            counts[f"{kind}: archives"] += 1
            verdict = applied(case)
            counts[f"{kind}: {'refused' if verdict.reason else 'taken'} by apply --expect"] += 1
            if case.is_honest and verdict.reason:
                failures += 1
                print(f"HONEST REFUSED {case.label}: {verdict.reason}")
            for program in programs:
                if verdict.reason is None or options.control:
                    taken = program.take(case.archive, case.before)
                    if verdict.reason is None:
                        counts[f"{program.name}: archives that passed, loaded"] += not taken.code
                        counts[f"{program.name}: archives that passed, refused"] += bool(taken.code)
                    if wrong(case, taken):
                        counts[f"{program.name}: another image without dib"] += 1
                        if verdict.reason is None:
                            failures += 1
                            print(f"WRONG {program.name} {case.label}: {taken}")
                if isinstance(program, Loader):
                    taken = loaded(case, program)
                    counts[f"{program.name}: load --expect {'refused' if taken.code else 'loaded'}"] += 1
                    if wrong(case, taken) or (not taken.code and case.good.hex() not in taken.configs):
                        failures += 1
                        print(f"WRONG load --expect {program.name} {case.label}: {taken}")
                    if case.is_honest and taken.code:
                        failures += 1
                        print(f"HONEST NOT LOADED {program.name} {case.label}: {taken}")
    for name, count in sorted(counts.items()):
        print(f"{count:5} {name}")
    for command in (["docker", "--version"], ["podman", "--version"], ["ctr", "--version"], ["skopeo", "--version"]):
        print(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    print(f"{failures} failures, {time.monotonic() - start:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

"""Apply a bundle that may be hostile: ``python -m tests.fuzz.apply_one SECONDS BUNDLE BASE [TARGET]``.

The exit code is that of the error, if there is one; a process takes SECONDS of CPU at most. It prints its peak memory
in KiB, as Linux has it for this program: what wait4 tells includes that of the process which started it.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive


def main(limit: str, bundle: str, base: str, target: str | None = None) -> int:
    """Apply it; nothing is kept."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with Path(bundle).open("rb") as file, open_archive(base) as archive, Context() as context:
            options = RebuildOptions(target=target)
            rebuild_target([archive], BundleReader(file), lambda piece: None, options, context)
    except DibError as error:
        return error.exit_code
    finally:
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

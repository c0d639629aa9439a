"""Apply a bundle that may be hostile. Run ``python -m tests.fuzz.apply_one SECONDS BUNDLE BASE [TARGET]``.

BUNDLE may be a chain of bundles, whose names are joined by "+".

If TARGET is ``:inspect``, the bundle is not applied. Instead, its first target is listed, as ``dib inspect --list
--json`` does.

The exit code is 0 or, after an error, the exit code of this error. The process may take at most SECONDS of CPU. The
process itself prints its peak memory in KiB, because the value of wait4 includes the parent process.
"""

from __future__ import annotations

import resource
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

from dibundle.api import apply
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.cli import console
from dibundle.cli.results.listing import line_json
from dibundle.codecs.native.library import reuse_memory
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.format.reader import BundleReader
from dibundle.images.archive import open_archive
from dibundle.inspecting.listing import DEPTH, tree
from dibundle.inspecting.operations import listing

LISTED: Final = ":inspect"


def main(limit: str, bundle: str, base: str, target: str | None = None) -> int:
    """Apply or list the bundle. Discard the output."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reuse_memory()  # as the command itself does
    try:
        if "+" in bundle:
            for _ in apply([base, *bundle.split("+")]):
                pass
            return 0
        with Path(bundle).open("rb") as file, open_archive(base) as archive, Context() as context:
            if target == LISTED:
                lines = listing(BundleReader(file))
                tree(lines, DEPTH)
                with Path("/dev/null").open("w") as null, redirect_stdout(null):
                    console.write("dib.inspect/1", {"operations": map(line_json, lines)})
                return 0
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

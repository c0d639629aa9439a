"""Where ``dib`` and ``python -m dibundle`` begin: Ctrl-C while the rest is imported ends it without a traceback."""

import os
import sys


def main() -> None:
    """Run ``dib``."""
    try:
        if sys.argv[1:] == ["--version"]:
            _tell_version()
        from dibundle.cli.main import run

        run()
    except KeyboardInterrupt:
        os._exit(130)


def _tell_version() -> None:
    """Say the version without what commands need, which takes longer to import than all else; end."""
    from dibundle import __version__

    try:
        os.write(1, f"dib {__version__}\n".encode())
    except OSError:
        return  # as other commands do it
    os._exit(0)


if __name__ == "__main__":
    main()

"""The entry point of ``dib`` and ``python -m dibundle``. Ctrl-C during imports ends the process without a traceback."""

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
    """Print the version and exit. The modules of the commands are not imported, because importing them is slow."""
    from dibundle import __version__

    try:
        os.write(1, f"dib {__version__}\n".encode())
    except OSError:
        return  # run() gets the same error again, and reports the error as for any other command
    os._exit(0)


if __name__ == "__main__":
    main()

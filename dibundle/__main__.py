"""Where ``dib`` and ``python -m dibundle`` begin: Ctrl-C while the rest is imported ends it without a traceback."""

import os


def main() -> None:
    """Run ``dib``."""
    try:
        from dibundle.cli.main import run

        run()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()

"""``python -m dibundle`` is ``dib``."""

from dibundle.cli.main import run

if __name__ == "__main__":
    run()

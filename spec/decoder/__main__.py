"""Run the decoder from its folder: ``python3 -I decoder BASE BUNDLE > OUT``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from decoder.command import main  # noqa: E402 - only now it is found

sys.exit(main())

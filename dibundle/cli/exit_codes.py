"""The exit codes of the command. The docs and the manual page contain this list."""

from __future__ import annotations

from typing import Final

EXIT_CODES: Final = (
    (0, "Done."),
    (1, "A bug in dib."),
    (2, "The command line makes no sense."),
    (3, "A file or the system refused."),
    (4, "Not an image archive."),
    (5, "The bundle is malformed or over a limit."),
    (6, "The base is another one, or damaged."),
    (7, "The bundle is damaged."),
    (8, "A signature is missing or wrong, or it is another image than expected."),
    (9, "A registry failed."),
    (130, "Interrupted; 143: terminated, 129: its terminal went away."),
    (141, "Whoever read the output went away."),
)

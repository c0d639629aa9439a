"""Delta bundles for container images, as files.

>>> import dibundle
>>> dibundle.create("old.tar", "new.tar", "update.dib").size    # doctest: +SKIP
14130
>>> with open("again.tar", "wb") as file:                       # doctest: +SKIP
...     file.writelines(dibundle.apply(["old.tar", "update.dib"]))

What is here is the public interface; all else may change. Nothing is printed, no signal is handled, nothing is global:
every function may be called from several threads at once. What goes wrong raises :class:`DibError`, which has an
``exit_code`` and may have a ``hint``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dibundle.api import Bundle, CreateResult, Line, Made, Source, apply, create, open_bundle
    from dibundle.errors import DibError
    from dibundle.progress import Progress

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "CreateResult",
    "DibError",
    "Line",
    "Made",
    "Progress",
    "Source",
    "apply",
    "create",
    "open_bundle",
]


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: the command line starts in a twentieth of a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    place = {"DibError": "dibundle.errors", "Progress": "dibundle.progress"}.get(name, "dibundle.api")
    return getattr(import_module(place), name)

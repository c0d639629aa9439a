"""Delta bundles for container images, as files.

>>> import dibundle
>>> dibundle.create("old.tar", "new.tar", "update.dib").size    # doctest: +SKIP
14130
>>> with open("again.tar", "wb") as file:                       # doctest: +SKIP
...     file.writelines(dibundle.apply(["old.tar", "update.dib"]))

What is here is the public interface; all else may change. Nothing is printed, no signal is handled, no call changes
what another one does: every function may be called from several threads at once. No variable of the environment counts
but those for temporary files. Archives and bundles are files and streams; names of engines and registries
(``docker-daemon:...``) are the command's. What goes wrong raises a :class:`DibError`, which has an ``exit_code`` and
may have a ``hint``; what the caller's own files and executors raise comes through as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dibundle.api import Bundle, CreateResult, Line, Made, Source, Writable, apply, create, open_bundle
    from dibundle.errors import (
        ArchiveError,
        BaseMismatchError,
        BundleError,
        DibError,
        DigestError,
        FileError,
        SignatureError,
        UsageError,
    )
    from dibundle.files.progress import Progress
    from dibundle.format.manifest import AboutImage
    from dibundle.format.signing import Signers

__version__ = "0.1.0"
__all__ = [
    "AboutImage",
    "ArchiveError",
    "BaseMismatchError",
    "Bundle",
    "BundleError",
    "CreateResult",
    "DibError",
    "DigestError",
    "FileError",
    "Line",
    "Made",
    "Progress",
    "SignatureError",
    "Signers",
    "Source",
    "UsageError",
    "Writable",
    "apply",
    "create",
    "open_bundle",
]
_PLACES = {"AboutImage": "format.manifest", "Progress": "files.progress", "Signers": "format.signing"}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: the command line starts in a twentieth of a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    place = _PLACES.get(name, "errors" if name.endswith("Error") else "api")
    return getattr(import_module(f"dibundle.{place}"), name)


def __dir__() -> list[str]:
    """Name what can be asked for, too."""
    return sorted({*globals(), *__all__})

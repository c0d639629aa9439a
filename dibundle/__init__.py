"""Delta bundles for container images, as files.

>>> import dibundle
>>> dibundle.create("old.tar", "new.tar", "update.dib").size    # doctest: +SKIP
14130
>>> with open("again.tar", "wb") as file:                       # doctest: +SKIP
...     file.writelines(dibundle.apply(["old.tar", "update.dib"]))

What is here is the public interface; all else may change. Nothing is printed, no signal is handled, no call changes
what another one does: every function may be called from several threads at once. No variable of the environment counts
but those for temporary files. A source is a path, an open binary file, or a name as the command line takes it
(``docker-daemon:app:1``, ``docker://HOST/app:1``; ``-`` is stdin). What goes wrong raises a :class:`DibError`, which
has a ``code`` and an
``exit_code``, and may have a ``hint``; what the caller's own files and executors raise comes through as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dibundle.api import (
        AboutImage,
        Access,
        ApplyResult,
        Bundle,
        Changes,
        CreateResult,
        Estimate,
        Line,
        LoadResult,
        MadeTarget,
        PushedWrap,
        PushResult,
        RegistrySettings,
        ReportResult,
        Signers,
        SignResult,
        Source,
        TakenBundle,
        VerifyResult,
        Writable,
        apply,
        apply_to,
        create,
        diff,
        estimate,
        inventory,
        load,
        merge,
        open_bundle,
        plan_update,
        pull,
        push,
        push_wrapped,
        report,
        sign,
        unwrap,
        update,
        verify,
        wrap,
    )
    from dibundle.applying.expected import UnexpectedError
    from dibundle.errors import (
        AbsentError,
        ArchiveError,
        BaseMismatchError,
        BundleError,
        DibError,
        DigestError,
        FileError,
        RegistryError,
        SignatureError,
        UsageError,
    )
    from dibundle.files.progress import Progress
    from dibundle.sharing.update import UpdateResult
    from dibundle.sharing.ways import UpdatePlan
    from dibundle.sources.engines import LoadError

__version__ = "0.1.0"
__all__ = [
    "AboutImage",
    "AbsentError",
    "Access",
    "ApplyResult",
    "ArchiveError",
    "BaseMismatchError",
    "Bundle",
    "BundleError",
    "Changes",
    "CreateResult",
    "DibError",
    "DigestError",
    "Estimate",
    "FileError",
    "Line",
    "LoadError",
    "LoadResult",
    "MadeTarget",
    "Progress",
    "PushResult",
    "PushedWrap",
    "RegistryError",
    "RegistrySettings",
    "ReportResult",
    "SignResult",
    "SignatureError",
    "Signers",
    "Source",
    "TakenBundle",
    "UnexpectedError",
    "UpdatePlan",
    "UpdateResult",
    "UsageError",
    "VerifyResult",
    "Writable",
    "apply",
    "apply_to",
    "create",
    "diff",
    "estimate",
    "inventory",
    "load",
    "merge",
    "open_bundle",
    "plan_update",
    "pull",
    "push",
    "push_wrapped",
    "report",
    "sign",
    "unwrap",
    "update",
    "verify",
    "wrap",
]
_PLACES = {
    "Access": "sources.access",
    "LoadError": "sources.engines",
    "Progress": "files.progress",
    "RegistrySettings": "sources.registry.settings",
    "Signers": "format.signing",
    "UnexpectedError": "applying.expected",
    "UpdatePlan": "sharing.ways",
    "UpdateResult": "sharing.update",
}


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

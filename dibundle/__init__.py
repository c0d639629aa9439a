"""Delta bundles for container images, as files.

>>> import dibundle
>>> dibundle.create("old.tar", "new.tar", "update.dib").size    # doctest: +SKIP
14130
>>> with open("again.tar", "wb") as file:                       # doctest: +SKIP
...     file.writelines(dibundle.apply(["old.tar", "update.dib"]))

This module is the public interface. Everything else may change. No function prints anything or handles signals. Every
function can be called from several threads at once. These functions read environment variables only to choose the
folder of temporary files. A source is a path, an open binary file, or a name as on the command line
(``docker-daemon:app:1``, ``docker://HOST/app:1``; ``-`` is stdin). Each error is a :class:`DibError` with a ``code``,
an ``exit_code`` and optionally a ``hint``. Exceptions from the caller's own files or executors are passed on unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dibundle.api import (
        apply,
        apply_to,
        check,
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
    from dibundle.applying.check import CheckedTarget, CheckResult
    from dibundle.applying.expected import UnexpectedError
    from dibundle.applying.loading import LoadResult
    from dibundle.applying.pipeline import ApplyResult
    from dibundle.applying.targets import MadeTarget
    from dibundle.applying.verify import VerifyResult
    from dibundle.creating.estimate import Estimate
    from dibundle.creating.pipeline import CreateResult
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
    from dibundle.files.destination import Writable
    from dibundle.files.progress import Progress
    from dibundle.format.signing import Signers
    from dibundle.format.values import AboutImage
    from dibundle.inspecting.bundle import Bundle
    from dibundle.inspecting.image_diff import Changes
    from dibundle.inspecting.operations import Line
    from dibundle.inspecting.report import ReportResult
    from dibundle.sharing.catalog import BundleList, StoredBundle
    from dibundle.sharing.delete import DeleteResult
    from dibundle.sharing.functions import delete_bundles, delete_orphans, list_bundles
    from dibundle.sharing.push import PushResult
    from dibundle.sharing.sign import SignResult
    from dibundle.sharing.unwrap import TakenBundle
    from dibundle.sharing.update import UpdateResult
    from dibundle.sharing.ways import UpdatePlan
    from dibundle.sharing.wrap import PushedWrap
    from dibundle.sources.access import Access
    from dibundle.sources.engines import LoadError
    from dibundle.sources.opening import Source
    from dibundle.sources.registry.settings import RegistrySettings

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
    "BundleList",
    "Changes",
    "CheckResult",
    "CheckedTarget",
    "CreateResult",
    "DeleteResult",
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
    "StoredBundle",
    "TakenBundle",
    "UnexpectedError",
    "UpdatePlan",
    "UpdateResult",
    "UsageError",
    "VerifyResult",
    "Writable",
    "apply",
    "apply_to",
    "check",
    "create",
    "delete_bundles",
    "delete_orphans",
    "diff",
    "estimate",
    "inventory",
    "list_bundles",
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
    "AboutImage": "format.values",
    "Access": "sources.access",
    "ApplyResult": "applying.pipeline",
    "Bundle": "inspecting.bundle",
    "BundleList": "sharing.catalog",
    "Changes": "inspecting.image_diff",
    "CheckResult": "applying.check",
    "CheckedTarget": "applying.check",
    "CreateResult": "creating.pipeline",
    "DeleteResult": "sharing.delete",
    "Estimate": "creating.estimate",
    "Line": "inspecting.operations",
    "LoadError": "sources.engines",
    "LoadResult": "applying.loading",
    "MadeTarget": "applying.targets",
    "Progress": "files.progress",
    "PushResult": "sharing.push",
    "PushedWrap": "sharing.wrap",
    "RegistrySettings": "sources.registry.settings",
    "ReportResult": "inspecting.report",
    "SignResult": "sharing.sign",
    "Signers": "format.signing",
    "Source": "sources.opening",
    "StoredBundle": "sharing.catalog",
    "TakenBundle": "sharing.unwrap",
    "UnexpectedError": "applying.expected",
    "UpdatePlan": "sharing.ways",
    "UpdateResult": "sharing.update",
    "VerifyResult": "applying.verify",
    "Writable": "files.destination",
    "delete_bundles": "sharing.functions",
    "delete_orphans": "sharing.functions",
    "list_bundles": "sharing.functions",
}
"""The module of each exported name that neither api.py nor errors.py defines."""


def __getattr__(name: str) -> object:
    """Import a name only at its first use. So the command line starts in 0.05 s."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    place = _PLACES.get(name, "errors" if name.endswith("Error") else "api")
    return getattr(import_module(f"dibundle.{place}"), name)


def __dir__() -> list[str]:
    """List all public names, including names that are not imported yet."""
    return sorted({*globals(), *__all__})

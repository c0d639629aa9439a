"""The one family of errors that dib raises, each with the exit code it ends a command with.

Subclasses that need more than a message live beside the code that raises them. A message is lower case, without a
full stop, and says what was found and what was wanted; ``hint`` is an action for the user, ready to paste.
"""

from __future__ import annotations


class DibError(Exception):
    """Anything that dib refuses or cannot do; ``exit_code`` is the process's exit code, ``hint`` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DibError):
    """The command line or a call asks for something that makes no sense."""

    exit_code = 2


class FileError(DibError):
    """A file or the system refused: missing, unreadable, full, closed."""

    exit_code = 3


class AbsentError(FileError):
    """What was named is not there: no such file, or an engine without that image."""


class ArchiveError(DibError):
    """The input is not an image archive, or one that cannot be read."""

    exit_code = 4


class BundleError(DibError):
    """The bundle is malformed, needs what this version does not know, or asks for more than the limits allow."""

    exit_code = 5


class BaseMismatchError(DibError):
    """The base given is not the one that the bundle was made from, or it is damaged."""

    exit_code = 6


class DigestError(DibError):
    """Bytes inside the bundle do not have the digest that the bundle promises."""

    exit_code = 7


class SignatureError(DibError):
    """A signature is missing, wrong or not trusted."""

    exit_code = 8


class RegistryError(DibError):
    """A registry or the network failed."""

    exit_code = 9


def command(*words: str, name: str) -> str:
    """Return a command for a hint, with ``name`` as its last word: as a shell takes it, whatever is in the name.

    Names come from bundles, archives and registries, and people paste hints. What no shell gives a meaning stands in
    double quotes; a name that begins as an option does is told apart from one.
    """
    import shlex

    text = shlex.join([*words, *(["--"] if name.startswith("-") else []), name])
    return text if "'" in text else f'"{text}"'


def install_hint(arguments: str) -> str:
    """Return the hint that installs with pip, for what ``pip install`` takes as ``arguments``.

    A Python that its system manages refuses pip: there it is a venv that sees what is installed already.
    """
    import importlib.util
    import shlex
    import sys
    import sysconfig
    from pathlib import Path

    python = shlex.quote(sys.executable)
    managed = sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
    if importlib.util.find_spec("pip") and not managed:
        return f"{python} -m pip install {arguments}"
    return (
        "in a venv, whose python then runs dib:"
        f" {python} -m venv --system-site-packages venv && venv/bin/pip install {arguments}"
    )

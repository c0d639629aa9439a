"""The errors that dib raises. Each error has a stable code, an exit code, a message and optionally a hint.

Each package has one table of texts, ``messages.py``. If an error class needs more than a text, the class is defined in
the module that raises the error. A message is in lower case without a full stop. A message states the value that was
found and the value that was expected. A hint is one action, ready to paste.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple, Self


def human(size: int) -> str:
    """Return a size for display in powers of 1000, such as 50 kB or 295 MB. Sizes below 10,000 bytes are exact."""
    if size < 10_000:
        return f"{size:,} bytes" if size != 1 else "1 byte"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


class _Bytes(int):
    """A number that a message can show as a size, with a field such as ``{free:size}``."""

    def __format__(self, form: str) -> str:
        return human(self) if form == "size" else format(int(self), form)


class Message(NamedTuple):
    """A text with named fields, and a code that stays the same when the text changes."""

    code: str
    text: str
    hint: str | None = None


WORDS: Final[Mapping[str, str]] = {
    "dib": "dib",
    "docker": "docker",
    "save": "docker save -o",
    "load": "docker load -i",
    "transport": "docker-daemon:",
    "give": "give docker-daemon:",
}
"""Fields that any hint can use. They are the name of this program, and the commands of the engine in use."""


class Hint(NamedTuple):
    """A suggested action: a text whose fields come from :data:`WORDS` and ``values``. A value may be a hint itself."""

    text: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, text: str, /, **values: object) -> Self:
        """Return a hint with these values."""
        return cls(text, values)

    def render(self, words: Mapping[str, str] = WORDS) -> str:
        """Return the hint as text, with ``words`` for the names of programs."""
        rendered = {
            name: value.render(words) if isinstance(value, Hint) else value for name, value in self.values.items()
        }
        return self.text.format(**rendered, **words)


_FROM_TABLE: Final = object()
_SIZED: Final = re.compile(r"\{(\w+):size\}")


class DibError(Exception):
    """The error for anything that dib refuses or cannot do.

    ``code`` is stable and identifies the text. ``exit_code`` is the process's exit code. ``advice`` is the hint as a
    :class:`Hint`, so that it can be rendered with the names of other programs. ``sizes`` maps field names to sizes, as
    exact numbers of bytes. The message shows the sizes with units, such as 50 kB.
    """

    exit_code = 1

    def __init__(self, message: Message, /, *, hint: object = _FROM_TABLE, **values: object) -> None:
        """Create an error. ``hint`` is a :class:`Hint`, a text or None, and replaces the message's own hint."""
        self.code = message.code
        self.message = message.text.format(**{name: _Bytes(v) if type(v) is int else v for name, v in values.items()})
        self.sizes = {name: value for name in _SIZED.findall(message.text) if isinstance(value := values[name], int)}
        if hint is _FROM_TABLE:
            hint = None if message.hint is None else Hint(message.hint, values)
        elif isinstance(hint, str):
            hint = Hint.of("{text}", text=hint)
        assert hint is None or isinstance(hint, Hint)
        self.advice: Hint | None = hint
        super().__init__(self.message)

    @property
    def hint(self) -> str | None:
        """The suggestion for the next action, as text."""
        return self.advice.render() if self.advice else None

    def within(self, where: str) -> Self:
        """Put the name of a file or bundle before the message. Return this error."""
        self.message = f"{where}: {self.message}"
        self.args = (self.message,)
        return self

    def because(self, reason: str) -> Self:
        """Add the reason after the message. Return this error."""
        self.message = f"{self.message} ({reason})"
        self.args = (self.message,)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.__dict__, self.args)


def _restore(kind: type[DibError], state: dict[str, object], args: tuple[object, ...]) -> DibError:
    """Restore an error that another process raised."""
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = args
    return error


class UsageError(DibError):
    """The command line or a call is invalid."""

    exit_code = 2


class FileError(DibError):
    """A file operation or a system call failed. For example, the file is missing or unreadable, or the disk is full."""

    exit_code = 3


class NoRoomError(FileError):
    """There is not enough free space."""


class AbsentError(FileError):
    """A named source is missing. There is no such file, or the engine has no such image."""


class ArchiveError(DibError):
    """The input is not an image archive, or it cannot be read."""

    exit_code = 4


class BundleError(DibError):
    """The bundle is malformed, needs a newer version, or exceeds a limit."""

    exit_code = 5


class BaseMismatchError(DibError):
    """The given base is not the bundle's base, or it is damaged."""

    exit_code = 6


class DigestError(DibError):
    """Bytes in the bundle do not match the digest that the bundle declares."""

    exit_code = 7


class SignatureError(DibError):
    """A signature is missing, wrong or not trusted."""

    exit_code = 8


class RegistryError(DibError):
    """A registry or the network failed."""

    exit_code = 9


def shell_words(*names: str) -> str:
    """Quote file names for a shell, for use in hints that people paste.

    A name that begins with ``-`` gets the prefix ``./``, so that commands do not take the name for an option.
    """
    return shlex.join(f"./{name}" if name.startswith("-") and name != "-" else name for name in names)


def save_command(name: str) -> Hint:
    """Return the engine's command to save an image, for use in a hint.

    The command is safe to paste, even if the name comes from a hostile bundle, archive or registry.

     A name with special characters is quoted for a shell. For any other name, the whole command is in double quotes. If
     a name begins with ``-``, ``--`` is put before the name.
    """
    quoted = shlex.join([*(["--"] if name.startswith("-") else []), name])
    text = "{save} base.tar {name}"
    return Hint.of(text if "'" in quoted else f'"{text}"', name=quoted)


def install_hint(arguments: str) -> str:
    """Return a hint with a command that runs ``pip install`` with these arguments.

    If the system manages this Python, pip refuses to install packages. For such a Python, the command first creates a
    venv. This venv can use the packages that are already installed.
    """
    import importlib.util
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

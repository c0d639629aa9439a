"""The one family of errors that dib raises: each has a stable code, an exit code, a message and maybe a hint.

Texts are in a table for each package, ``messages.py``. Subclasses that need more than a text live beside the code that
raises them. A message is lower case, without a full stop, and says what was found and what was wanted; a hint is one
action, ready to paste.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple, Self


def human(size: int) -> str:
    """Return a size as people read it, in powers of 1000: 50 kB, 295 MB; exact below 10,000 bytes."""
    if size < 10_000:
        return f"{size:,} bytes" if size != 1 else "1 byte"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


class _Bytes(int):
    """A number that a text may ask for as a size: ``{free:size}``."""

    def __format__(self, form: str) -> str:
        return human(self) if form == "size" else format(int(self), form)


class Message(NamedTuple):
    """A text with named fields, under a code that stays the same when its words change."""

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
"""Fields of every hint: how this program is called, and the commands of the engine that is in use."""


class Hint(NamedTuple):
    """What to do next: a text with the fields of :data:`WORDS` and of ``values``, which may be hints themselves."""

    text: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, text: str, /, **values: object) -> Self:
        """Return a hint with these values."""
        return cls(text, values)

    def render(self, words: Mapping[str, str] = WORDS) -> str:
        """Return the hint with ``words`` for how programs are called."""
        rendered = {
            name: value.render(words) if isinstance(value, Hint) else value for name, value in self.values.items()
        }
        return self.text.format(**rendered, **words)


_FROM_TABLE: Final = object()
_SIZED: Final = re.compile(r"\{(\w+):size\}")


class DibError(Exception):
    """Anything that dib refuses or cannot do.

    ``code`` is stable and says which of the texts it is, ``exit_code`` is the process's exit code, ``advice`` is the
    hint as an object, to be rendered for a program or an engine of another name. ``sizes`` has in bytes,
    by the names of fields, what the message says in units.
    """

    exit_code = 1

    def __init__(self, message: Message, /, *, hint: object = _FROM_TABLE, **values: object) -> None:
        """``hint`` is a :class:`Hint`, a text or None, in place of the message's own."""
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
        """What to do next, as text."""
        return self.advice.render() if self.advice else None

    def within(self, where: str) -> Self:
        """Put the name of what it happened in before the message; return the error itself."""
        self.message = f"{where}: {self.message}"
        self.args = (self.message,)
        return self

    def because(self, reason: str) -> Self:
        """Put the reason why it is an error behind the message; return the error itself."""
        self.message = f"{self.message} ({reason})"
        self.args = (self.message,)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.__dict__, self.args)


def _restore(kind: type[DibError], state: dict[str, object], args: tuple[object, ...]) -> DibError:
    """Make an error again that another process raised."""
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = args
    return error


class UsageError(DibError):
    """The command line or a call asks for something that makes no sense."""

    exit_code = 2


class FileError(DibError):
    """A file or the system refused: missing, unreadable, full, closed."""

    exit_code = 3


class NoRoomError(FileError):
    """There is no room for so many bytes as are wanted."""


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


def shell_words(*names: str) -> str:
    """Return file names as a shell takes them, for hints, which people paste: none of them is an option there."""
    return shlex.join(f"./{name}" if name.startswith("-") and name != "-" else name for name in names)


def save_command(name: str) -> Hint:
    """Return the engine's command that saves an image, for a hint: as a shell takes it, whatever is in the name.

    Names come from bundles, archives and registries, and people paste hints. What no shell gives a meaning stands in
    double quotes; a name that begins as an option does is told apart from one.
    """
    quoted = shlex.join([*(["--"] if name.startswith("-") else []), name])
    text = "{save} base.tar {name}"
    return Hint.of(text if "'" in quoted else f'"{text}"', name=quoted)


def install_hint(arguments: str) -> str:
    """Return the hint that installs with pip, for what ``pip install`` takes as ``arguments``.

    A Python that its system manages refuses pip: there it is a venv that sees what is installed already.
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

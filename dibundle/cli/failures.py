"""Error reports of the command line. A report is text on stderr. With --json, it is also a document on stdout."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final

import click

from dibundle.cli import messages, terminal
from dibundle.errors import WORDS, DibError, FileError, Hint, UsageError, install_hint
from dibundle.files import wording

_OTHER_WORDS: Final = {
    **dict.fromkeys(("delta", "make", "compare"), "create"),
    **dict.fromkeys(("patch", "extract", "rebuild"), "apply"),
    **dict.fromkeys(("info", "show", "list", "ls"), "inspect"),
    **dict.fromkeys(("check", "test"), "verify"),
    **dict.fromkeys(("changes", "changed"), "diff"),
    "docker-file": "dockerfile",  # the name of this command in the tool deltaimage
}
_OTHER_OPTIONS: Final = {
    ("load", "--check"): Hint.of("{dib} apply --check OLD.tar UPDATE.dib"),
}


class InternalError(DibError):
    """A bug in dib."""


class NoSuchCommand(click.UsageError):
    """The first argument is not a command."""

    def __init__(self, name: str, context: click.Context, commands: Sequence[str]) -> None:
        super().__init__(f"No such command {name!r}.", context)
        self.name = name
        self.commands = commands

    @property
    def meant(self) -> str | None:
        """The command that the user likely intended."""
        from difflib import get_close_matches

        near = get_close_matches(self.name, [*self.commands, *_OTHER_WORDS], 1)
        return _OTHER_WORDS.get(near[0], near[0]) if near else None


class Failure:
    """A reporter of a command line's errors. Its hints contain the names of the program and of the engine in use."""

    def __init__(self, arguments: Sequence[str], program: str) -> None:
        self._arguments = arguments
        self._program = program
        self._json = "--json" in arguments
        self._is_verbose = not {"-v", "--verbose"}.isdisjoint(arguments)

    def tell(self, error: DibError) -> int:
        """Report an error and return its exit code."""
        hint = wording.printable(error.advice.render(self._words())) if error.advice else None
        terminal.message(f"dib: error: {wording.escape(error.message)}")
        if error.sizes and self._is_verbose:
            exact = ", ".join(f"{name} {size:,} bytes" for name, size in error.sizes.items())
            terminal.message(f"dib: exactly: {exact}")
        if hint:
            terminal.message(f"dib: hint: {hint}")
        if self._json:
            from dibundle.cli import console

            with contextlib.suppress(OSError):
                console.write_error(error, hint)
        return error.exit_code

    def _words(self) -> dict[str, str]:
        words = WORDS
        # imported late: if the reported error is a missing module or too little memory, the import may fail too
        with contextlib.suppress(ModuleNotFoundError, MemoryError):
            from dibundle.sources.engines import engine_in_use, words_for

            words = words_for(engine_in_use(self._arguments))
        return {**words, "dib": self._program}

    def usage(self, error: click.UsageError, commands: Sequence[str]) -> int:
        """Report a command line that click refuses, and add the command that the user likely intended."""
        path = (error.ctx.command_path if error.ctx else "dib").split(" ")
        text = error.format_message().rstrip(".")
        text = text[:1].lower() + text[1:]
        see_help = Hint.of("{dib} {command}--help", command="".join(f"{word} " for word in path[1:]))
        if isinstance(error, NoSuchCommand):
            meant = Hint.of("{dib} {command} --help", command=error.meant) if error.meant else see_help
            return self.tell(UsageError(messages.OPTION_NO_COMMAND, name=repr(error.name), hint=meant))
        if isinstance(error, click.NoSuchOption):
            moved = self._moved(commands) if len(path) == 1 else None
            if moved:
                return self.tell(UsageError(messages.OPTION_MISPLACED, option=error.option_name, hint=moved))
            meant = _OTHER_OPTIONS.get((path[-1], error.option_name), see_help)
            return self.tell(UsageError(messages.OPTION_UNKNOWN, reason=text, hint=meant))
        return self.tell(UsageError(messages.OPTION_REFUSED, reason=text, hint=see_help))

    def _moved(self, commands: Sequence[str]) -> Hint | None:
        """If options came before the command, return a hint with the command first, else None."""
        words = list(self._arguments)
        place = next((number for number, word in enumerate(words) if word in commands), 0)
        moved = shlex.join([words[place], *words[:place], *words[place + 1 :]])
        return Hint.of("{dib} {moved}", moved=moved) if place else None

    def internal(self, error: Exception) -> int:
        """Report an unexpected error. If DIB_DEBUG is set, raise the error instead."""
        if os.environ.get("DIB_DEBUG"):
            raise error
        if isinstance(error, ModuleNotFoundError):
            return self._lacking(error.name or "")
        return self.tell(InternalError(messages.INTERNAL_ERROR, kind=type(error).__name__, error=error))

    def _lacking(self, module: str) -> int:
        package = module.partition(".")[0]
        if module.lstrip("_") in sys.stdlib_module_names:  # some builds of Python lack some of these modules
            message, action = messages.SYSTEM_NO_STANDARD_MODULE, ""
        elif package == "dibundle":
            message, action = messages.SYSTEM_NO_OWN_MODULE, install_hint("--force-reinstall .")
        else:
            message, action = messages.SYSTEM_NO_MODULE, install_hint(f"--force-reinstall {package}")
        return self.tell(FileError(message, python=sys.executable, module=module, action=action))

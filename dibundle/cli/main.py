"""``dib``: the commands' names, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import click

from dibundle import __version__
from dibundle.cli import terminal
from dibundle.errors import DibError, install_hint

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

CLOSED_PIPE, INTERRUPTED = 141, 130

_COMMANDS = {
    "create": ("create", "Write what changed between two image archives into a bundle."),
    "apply": ("apply", "Rebuild an image archive from the old one and a bundle."),
    "load": ("load", "Apply a bundle straight into an engine and check that the image is there."),
    "inspect": ("inspect", "Show what a bundle needs, what it makes and where its bytes go."),
    "diff": ("diff", "Show what changed between two images, without making a bundle."),
    "report": ("report", "Write a page that shows where a bundle's bytes go."),
    "merge": ("merge", "Make one bundle of several that build on each other."),
    "have": ("have", "List the layers that are here, for a sender who has the images."),
    "verify": ("verify", "Check a bundle, alone or by a full rebuild that is thrown away."),
    "sign": ("sign", "Sign a bundle with an SSH key."),
    "wrap": ("wrap", "Make an image of a bundle, on top of its base's layers or alone."),
    "unwrap": ("unwrap", "Take the bundle out of an image that was made of it."),
    "push": ("push", "Put a bundle into a registry, where the image that it makes leads to it."),
    "pull": ("pull", "Fetch a bundle from a registry."),
    "update": ("update", "Get an image from a registry by the deltas to it that are there."),
    "doctor": ("doctor", "Say what works here and what does not."),
    "completion": ("completion", "Write what makes a shell complete dib's commands and options."),
    "man": ("man", "Write the manual pages."),
    "demo": ("demo", "Show the whole job on two small images made on the spot."),
}

# In a hint, but not in a name that is quoted there: what is put in may hold quotes, too
_COMMAND_LINE = re.compile(rf"'[^']*'|(^|: |&& |= )(dib )(?=(?:--help|{'|'.join(_COMMANDS)})\b)")

_OTHER_WORDS = {
    **dict.fromkeys(("delta", "make", "compare"), "create"),
    **dict.fromkeys(("patch", "extract", "rebuild"), "apply"),
    **dict.fromkeys(("info", "show", "list", "ls"), "inspect"),
    **dict.fromkeys(("check", "test"), "verify"),
    **dict.fromkeys(("changes", "changed"), "diff"),
    **dict.fromkeys(("docker-file", "dockerfile"), "wrap"),  # as deltaimage has it
}


class _ClosedPipe(Exception):  # noqa: N818 - not an error, an end
    """The reader of the output went away."""


class _Commands(click.Group):
    """Loads a command's module when the command is used, so that starting up stays cheap."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"dibundle.cli.{_COMMANDS[cmd_name][0]}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click would turn a closed pipe into exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ClosedPipe from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands' names without importing them."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        found = {name: text for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)}
        return [CompletionItem(name, help=text) for name, text in found.items()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dib", message="%(prog)s %(version)s")
def main() -> None:
    """Delta bundles for container images, as files.

    \b
        dib create old.tar new.tar update.dib       # archives from docker save
        dib apply old.tar update.dib | docker load  # the same new.tar, byte for byte
    """


class _Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception so that everything opened is cleaned up; ``code`` is the exit code."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def run(program: str = "dib") -> None:
    """Run ``dib`` and end the process with the right exit code; ``program``: how a shell calls it."""
    _stand_in_for_closed()
    with contextlib.suppress(ValueError):  # not in the main thread: a library use
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signal.SIGHUP, _terminate)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    code = _run(sys.argv[1:], program)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        code = code or CLOSED_PIPE
    os._exit(code)  # threads that wait for a pipe must not keep the process


def _stand_in_for_closed() -> None:
    """Put what refuses data in the place of standard streams that were closed; words to them go nowhere.

    Else the next file to be opened would be one of them.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated(number)


def _dispatch(arguments: list[str]) -> int:
    try:
        result = main.main(args=arguments, prog_name="dib", standalone_mode=False)
    except SystemExit as error:  # how click ends what a shell asks it to complete
        result = error.code
    return result if isinstance(result, int) else 0


def _run(arguments: list[str], program: str = "dib") -> int:
    failure = _Failure(arguments, program)
    try:
        return _dispatch(arguments)
    except DibError as error:
        return failure.tell(type(error).__name__, error.exit_code, error.message, error.hint)
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.message(error.format_message())
        return 2
    except click.UsageError as error:
        return failure.usage(error)
    except click.ClickException as error:
        return failure.tell("UsageError", 2, error.format_message(), None)
    except (_ClosedPipe, BrokenPipeError):
        return CLOSED_PIPE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except _Terminated as error:
        return error.code
    except OSError as error:
        return failure.tell("FileError", 3, f"{error.filename or 'system'}: {error.strerror or error}", None)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            return failure.internal(error)
        hint = "use fewer workers (--workers 1) or a machine with more memory"
        return failure.tell("FileError", 3, "not enough memory", hint)
    except Exception as error:
        return failure.internal(error)


def _moved(arguments: list[str]) -> str | None:
    """Return the command line with the options that came before the command behind it."""
    import shlex

    place = next((number for number, word in enumerate(arguments) if word in _COMMANDS), 0)
    return shlex.join(["dib", arguments[place], *arguments[:place], *arguments[place + 1 :]]) if place else None


def _meant(text: str, command: str) -> str | None:
    """Return the command that was likely meant."""
    from difflib import get_close_matches

    if command in ("dib apply", "dib load") and re.match("no such option '?--base", text, re.IGNORECASE):
        return f"{command} OLD.tar UPDATE.dib"
    if command == "dib load" and re.match("no such option '?--check", text, re.IGNORECASE):
        return "dib apply --check OLD.tar UPDATE.dib"
    found = re.match("No such command '([^']*)'", text)
    if not found:
        return None
    near = get_close_matches(found[1], [*_COMMANDS, *_OTHER_WORDS], 1)
    return f"dib {_OTHER_WORDS.get(near[0], near[0])} --help" if near else None


class _Failure:
    """Tells of an error: people on stderr, and programs that asked for it in a document on stdout."""

    def __init__(self, arguments: list[str], program: str) -> None:
        self._arguments = arguments
        self._program = program
        self._json = "--json" in arguments

    def tell(self, name: str, code: int, text: str, hint: str | None) -> int:
        """Tell of it and return its exit code; a hint at an engine is at the one that is in use."""
        if hint and "docker" in hint:
            from dibundle.cli.names import engine_in_use
            from dibundle.sources.engines import told_with

            hint = told_with(engine_in_use(self._arguments), hint)
        if hint and self._program != "dib":
            hint = _COMMAND_LINE.sub(lambda found: f"{found[1]}{self._program} " if found[2] else found[0], hint)
        hint = hint and terminal.printable(hint)
        terminal.message(f"dib: error: {terminal.escape(text)}")
        if hint:
            terminal.message(f"dib: hint: {hint}")
        if self._json:
            from dibundle.cli import console

            with contextlib.suppress(OSError):
                console.write_error(name, code, text, hint)
        return code

    def usage(self, error: click.UsageError) -> int:
        """Tell of a command line that click refuses, and of the one that was likely meant."""
        command = error.ctx.command_path if error.ctx else "dib"
        text = error.format_message().rstrip(".")
        moved = _moved(self._arguments) if command == "dib" and text.startswith("No such option") else None
        if moved:
            text = text.partition(". Did you mean")[0] + " before the command"
        hint = moved or _meant(text, command) or f"{command} --help"
        return self.tell("UsageError", 2, text[:1].lower() + text[1:], hint)

    def internal(self, error: Exception) -> int:
        """Tell of what should not happen; raise it where someone wants to look into it."""
        if os.environ.get("DIB_DEBUG"):
            raise error
        if isinstance(error, ModuleNotFoundError):
            return self._lacking(error.name or "")
        text = f"internal error: {type(error).__name__}: {error}"
        return self.tell("InternalError", 1, text, "run it again with DIB_DEBUG=1 and report the output")

    def _lacking(self, module: str) -> int:
        package = module.partition(".")[0]
        hint = install_hint(f"--force-reinstall {package}")
        if package == "dibundle":
            hint = f"in a checkout of dib: {install_hint('--force-reinstall .')}"
        if module.lstrip("_") in sys.stdlib_module_names:  # Pythons are built without some of them
            hint = f"take a Python that has it: python3 -c 'import {module}'"
        return self.tell("FileError", 3, f"{sys.executable} lacks the module {module}", hint)

"""The program ``dib``: the names of all commands, and the only code that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING

import click

from dibundle import __version__
from dibundle.cli import messages, terminal
from dibundle.cli.failures import Failure, NoSuchCommand
from dibundle.errors import DibError, FileError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

CLOSED_PIPE, INTERRUPTED = 141, 130
_COLLECTIONS = (100_000, 20, 100)
"""The thresholds of the garbage collector. The first is the number of new objects between two collections.

With Python's default of 2,000, collections take a fifth of the time to create a bundle of 300,000 files, and save no
memory.
"""

_GROUPS = {
    "Create": {
        "create": ("create", "Create a bundle from two image archives."),
        "merge": ("merge", "Merge bundles that build on each other into one."),
        "sign": ("sign", "Sign a bundle with an SSH key."),
        "inventory": ("inventory", "Write an inventory of local layers for the sender."),
    },
    "Apply": {
        "apply": ("apply", "Rebuild an image archive from its base and a bundle."),
        "load": ("load", "Apply a bundle and load the image into an engine."),
        "update": ("update", "Fetch an image over the smallest chain of deltas."),
        "verify": ("verify", "Check a bundle; with a base, rebuild it in full."),
    },
    "Look": {
        "inspect": ("inspect", "Show what a bundle needs and what it contains."),
        "diff": ("diff", "Compare two images without creating a bundle."),
        "report": ("report", "Write an HTML report on the contents of a bundle."),
    },
    "Share": {
        "push": ("push", "Push a bundle to a registry."),
        "pull": ("pull", "Pull a bundle from a registry."),
        "list": ("list", "List the bundles in a repository."),
        "delete": ("delete", "Delete bundles from a registry."),
        "wrap": ("wrap", "Wrap a bundle as a container image."),
        "unwrap": ("unwrap", "Extract the bundle from a wrapped image."),
        "mirror": ("mirror", "Run a local registry mirror that fetches deltas."),
        "dockerfile": ("dockerfile", "Write a Dockerfile that creates or applies a bundle."),
    },
    "Set up": {
        "doctor": ("doctor", "Check what works on this machine."),
        "completion": ("completion", "Write a completion script for a shell."),
        "demo": ("demo", "Run the whole job on two small generated images."),
    },
}
_COMMANDS = {name: command for group in _GROUPS.values() for name, command in group.items()}


class _ClosedPipe(Exception):  # noqa: N818 - it is not an error
    """The exception that is raised if the reader of the output has closed the pipe."""


class _Commands(click.Group):
    """The group of commands. A command's module is loaded only when the command is used, so that start-up is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help text."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"dibundle.cli.commands.{_COMMANDS[cmd_name][0]}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Catch the error for a closed pipe, because click would exit with code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ClosedPipe from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise NoSuchCommand(args[0], ctx, tuple(_COMMANDS))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing the commands."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        found = {name: text for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)}
        return [CompletionItem(name, help=text) for name, text in found.items()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in their groups without importing the commands."""
        width = max(map(len, _COMMANDS))
        for title, commands in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in commands.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dib", message="%(prog)s %(version)s")
def main() -> None:
    """Delta bundles for container images, as files.

    \b
        dib create old.tar new.tar update.dib       # archives from docker save
        dib apply old.tar update.dib | docker load  # the same new.tar, byte for byte
    """


class _Terminated(BaseException):
    """The exception for SIGTERM and similar signals.

    The exception lets ``with`` and ``finally`` clean up before the process ends. ``code`` is the exit code.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def run(program: str = "dib") -> None:
    """Run ``dib`` and end the process with the right exit code. ``program`` is the name of the command in a shell."""
    _stand_in_for_closed()
    gc.set_threshold(*_COLLECTIONS)
    # if another program calls run() outside of its main thread, signal() raises ValueError
    with contextlib.suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGXCPU):
            signal.signal(number, _terminate)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _terminate)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP, so keep ignoring it
            signal.signal(signal.SIGHUP, _terminate)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.unraisablehook = _send_again
    code = _run(sys.argv[1:], program)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        code = code or CLOSED_PIPE
    os._exit(code)  # end immediately: threads that wait for a pipe must not keep the process alive


def _stand_in_for_closed() -> None:
    """Replace closed standard streams, so that no other file gets their descriptors.

    The new descriptors refuse data, and text for a closed stream is discarded.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the new descriptor gets the lowest free number
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def _terminate(number: int, frame: FrameType | None) -> None:
    if not _sends_again(frame):
        _raised.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated(number)


def _sends_again(frame: FrameType | None) -> bool:
    """Return whether :func:`_send_again` is running.

    Python would discard an exception raised meanwhile. No exception is needed, because the signal is sent again.
    """
    while frame and frame.f_code is not _send_again.__code__:
        frame = frame.f_back
    return frame is not None


_raised: list[int] = []  # signals for which an exception was raised


def _send_again(ignored: sys.UnraisableHookArgs) -> None:
    """Send a signal again if its handler raised inside a callback. Python only prints exceptions in callbacks."""
    error = ignored.exc_value
    if not isinstance(error, KeyboardInterrupt | _Terminated):
        sys.__unraisablehook__(ignored)
        return
    import threading

    number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else error.code - 128
    before = len(_raised)

    def send() -> None:
        while True:
            time.sleep(0.01)  # wait until the callback has ended
            if len(_raised) > before:
                return
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def _dispatch(arguments: list[str]) -> int:
    try:
        result = main.main(args=arguments, prog_name="dib", standalone_mode=False)
    except SystemExit as error:  # click raises this exception after it has printed completions for a shell
        result = error.code
    return result if isinstance(result, int) else 0


def _run(arguments: list[str], program: str = "dib") -> int:
    failure = Failure(arguments, program)
    try:
        return _dispatch(arguments)
    except DibError as error:
        return failure.tell(error)
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.message(error.format_message())
        return 2
    except click.UsageError as error:
        return failure.usage(error, list(_COMMANDS))
    except click.ClickException as error:
        return failure.tell(UsageError(messages.OPTION_REFUSED, reason=error.format_message()))
    except (_ClosedPipe, BrokenPipeError):
        return CLOSED_PIPE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except _Terminated as error:
        return error.code
    except OSError as error:
        reason = error.strerror or error
        return failure.tell(FileError(messages.FILE_SYSTEM, name=error.filename or "system", reason=reason))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            return failure.internal(error)
        return failure.tell(FileError(messages.SYSTEM_NO_MEMORY))
    except Exception as error:
        return failure.internal(error)

"""``dib``: the commands' names, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

import click

from dibundle import __version__
from dibundle.cli import terminal
from dibundle.errors import DibError

CLOSED_PIPE, INTERRUPTED, TERMINATED = 141, 130, 143

_COMMANDS = {
    "create": ("create", "Write what changed between two image archives into a bundle."),
    "apply": ("apply", "Rebuild an image archive from the old one and a bundle."),
    "load": ("load", "Apply a bundle straight into an engine and check that the image is there."),
    "inspect": ("inspect", "Show what a bundle needs, what it makes and where its bytes go."),
    "merge": ("merge", "Make one bundle of several that build on each other."),
    "have": ("have", "List the layers that are here, for a sender who has the images."),
    "verify": ("verify", "Check a bundle, alone or by a full rebuild that is thrown away."),
    "sign": ("sign", "Sign a bundle with an SSH key."),
    "wrap": ("wrap", "Make an image of a bundle, on top of its base's layers or alone."),
    "unwrap": ("unwrap", "Take the bundle out of an image that was made of it."),
    "push": ("push", "Put a bundle into a registry, where the image that it makes leads to it."),
    "pull": ("pull", "Fetch a bundle from a registry."),
    "update": ("update", "Get an image from a registry by the deltas to it that are there."),
    "demo": ("demo", "Show the whole job on two small images made on the spot."),
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
    """SIGTERM, as an exception so that everything opened is cleaned up."""


def run() -> None:
    """Run ``dib`` and end the process with the right exit code."""
    with contextlib.suppress(ValueError):  # not in the main thread: a library use
        signal.signal(signal.SIGTERM, _terminate)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    code = _run(sys.argv[1:])
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        code = code or CLOSED_PIPE
    os._exit(code)  # threads that wait for a pipe must not keep the process


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _run(arguments: list[str]) -> int:
    try:
        result = main.main(args=arguments, prog_name="dib", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except DibError as error:
        _tell(error.message, error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.message(error.format_message())
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "dib"
        text = error.format_message().rstrip(".")
        _tell(text[:1].lower() + text[1:], f'run "{command} --help"')
        return 2
    except click.ClickException as error:
        _tell(error.format_message(), None)
        return 2
    except (_ClosedPipe, BrokenPipeError):
        return CLOSED_PIPE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except _Terminated:
        return TERMINATED
    except OSError as error:
        _tell(f"{error.filename or 'system'}: {error.strerror or error}", None)
        return 3
    except MemoryError:
        _tell("not enough memory", "use fewer workers (--workers 1) or a machine with more memory")
        return 3
    except Exception as error:
        if os.environ.get("DIB_DEBUG"):
            raise
        _tell(f"internal error: {type(error).__name__}: {error}", "run it again with DIB_DEBUG=1 and report the output")
        return 1


def _tell(text: str, hint: str | None) -> None:
    terminal.message(f"dib: error: {terminal.escape(text)}")
    if hint:
        terminal.message(f"dib: hint: {terminal.escape(hint)}")

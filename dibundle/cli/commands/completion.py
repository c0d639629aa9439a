"""``dib completion``, which writes click's completion scripts for shells."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.option_groups import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command, short_help="Write a completion script for a shell.")
@click.argument("shell", type=click.Choice(_SHELLS))
@console_options(progress=False)
def command(shell: str, console: Console) -> None:
    """Write a completion script for a shell to stdout.

    \b
        eval "$(dib completion bash)"                 # in ~/.bashrc
        eval "$(dib completion zsh)"                  # in ~/.zshrc, after compinit
        dib completion fish | source                  # in config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind
    script = kind(click.get_current_context().find_root().command, {}, "dib", "_DIB_COMPLETE").source()
    console.answer("dib.completion/1", {"shell": shell, "script": script}, (script,))

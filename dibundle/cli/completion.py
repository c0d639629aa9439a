"""``dib completion``."""

from __future__ import annotations

import click

from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.errors import UsageError

_VARIABLE = "_DIB_COMPLETE"
_SHELLS = ("bash", "zsh")


@click.command("completion", short_help="Write what makes a shell complete dib's commands and options.")
@click.argument("shell", metavar="[bash|zsh]")
@console_options(progress=False)
def command(shell: str, console: Console) -> None:
    """Write a script for bash or zsh to stdout.

    \b
        eval "$(dib completion bash)"                 # in ~/.bashrc
        eval "$(dib completion zsh)"                  # in ~/.zshrc, after compinit
    """
    if shell not in _SHELLS:
        raise UsageError(f"no completion for {shell}", hint="dib completion bash")
    from click.shell_completion import BashComplete, ZshComplete

    kind = {"bash": BashComplete, "zsh": ZshComplete}[shell]
    # click's own templates, with files where it knows nothing better: they are what our arguments are
    template = kind.source_template.replace("complete -o nosort -F", "complete -o nosort -o bashdefault -o default -F")
    template = template.replace('    if [ -n "$completions" ]; then', _FILES + '    if [ -n "$completions" ]; then')
    function = "_dib_completion"
    script = template % {"complete_func": function, "complete_var": _VARIABLE, "prog_name": "dib"}
    console.answer("dib.completion/1", {"shell": shell, "script": script}, script)


_FILES = """    if [ -z "$completions" ] && [ -z "$completions_with_descriptions" ]; then
        _files
    fi

"""

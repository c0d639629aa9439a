"""``dib completion``."""

from __future__ import annotations

from collections.abc import Callable

import click

from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.errors import UsageError

_VARIABLE = "_DIB_COMPLETE"
_SHELLS = ("bash", "zsh")


def words(*known: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes an argument or the value of an option by ``known`` words."""
    return lambda context, parameter, typed: [word for word in known if word.startswith(typed)]


@click.command("completion", short_help="Write what makes a shell complete dib's commands and options.")
@click.argument("shell", metavar="[bash|zsh]", shell_complete=words(*_SHELLS))
@console_options(progress=False)
def command(shell: str, console: Console) -> None:
    """Write a script for bash or zsh to stdout.

    \b
        eval "$(dib completion bash)"                 # in ~/.bashrc
        eval "$(dib completion zsh)"                  # in ~/.zshrc, after compinit
    """
    if shell not in _SHELLS:
        raise UsageError(messages.OPTION_SHELL, shell=shell)
    from click.shell_completion import BashComplete, ZshComplete

    kind = {"bash": BashComplete, "zsh": ZshComplete}[shell]
    # click's own templates, with files where it knows nothing better: they are what our arguments are
    template = kind.source_template.replace("complete -o nosort -F", "complete -o nosort -o bashdefault -o default -F")
    template = template.replace("    local response\n", "    local response\n" + _JOINED)
    template = template.replace('"${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD', '"${words[*]}" COMP_CWORD=$cword')
    template = template.replace("COMPREPLY+=($value)", "COMPREPLY+=($value); [[ $value != *: ]] || compopt -o nospace")
    at = '    if [ -n "$completions" ]; then'
    template = template.replace(at, _FILES + at).replace("compadd -U", 'compadd -U -i "$IPREFIX"')
    function = "_dib_completion"
    script = template % {"complete_func": function, "complete_var": _VARIABLE, "prog_name": "dib"}
    console.answer("dib.completion/1", {"shell": shell, "script": script}, script)


# bash makes three words of --option=value
_JOINED = """    local words=() cword=$COMP_CWORD at

    for at in "${!COMP_WORDS[@]}"; do
        if [[ ${COMP_WORDS[at]} == = && $at -lt $COMP_CWORD ]]; then
            cword=$((cword - 1))
        else
            words+=("${COMP_WORDS[at]}")
        fi
    done
"""

# zsh makes one, of which the value alone is completed
_FILES = """    [[ $words[CURRENT] != --*=* ]] || compset -P '--*='
    if [ -z "$completions" ] && [ -z "$completions_with_descriptions" ]; then
        _files
    fi

"""

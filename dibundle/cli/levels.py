"""The option --level, and the options -1 to -9 (as in gzip and other compressors)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

from dibundle.cli import messages
from dibundle.codecs.encode import choose
from dibundle.errors import UsageError

_KEY: Final = "dibundle.level"


def level_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the level options to a command. The command's function gets ``level`` (None if the user gives no level)."""

    @wraps(command)
    def run(**others: Any) -> None:  # noqa: ANN401 - the command's own parameters
        command(level=click.get_current_context().meta.get(_KEY), **others)

    decorated: Callable[..., None] = run
    for level in choose.LEVELS:
        decorated = click.option(
            f"-{level}",
            f"level_{level}",
            flag_value=level,
            type=int,
            hidden=True,
            expose_value=False,
            callback=_remember,
        )(decorated)
    return click.option(
        "-l",
        "--level",
        type=click.IntRange(choose.LEVELS[0], choose.LEVELS[-1]),
        expose_value=False,
        callback=_remember,
        show_default=str(choose.DEFAULT_LEVEL),
        help="1: fast, 9: small; also -1 to -9.",
    )(decorated)


def _remember(context: click.Context, parameter: click.Parameter, level: int | None) -> None:
    if level is None:
        return
    if _KEY in context.meta:  # the check also refuses -12, which click reads as -1 and -2
        raise UsageError(messages.OPTION_LEVELS, one=context.meta[_KEY], other=level)
    context.meta[_KEY] = level

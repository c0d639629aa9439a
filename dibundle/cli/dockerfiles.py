"""What ``dib wrap --dockerfile`` and ``dib apply --dockerfile`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final

import click
from click.core import ParameterSource

from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.session import environment_options
from dibundle.errors import UsageError
from dibundle.sources import policy

_OURS: Final = {"dockerfile", "image", "secret"}
_ANYWHERE: Final = {"mode", "quiet", "verbose", "as_json"}  # they do not change what is written
_TOLD: Final = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
_OPTIONS: Final = (
    click.option("--dockerfile", is_flag=True, help="Write a Dockerfile to stdout whose build does it."),
    click.option("--image", metavar="NAME", help="The image of dib for that build. Default: dib."),
    click.option("--secret", metavar="ID", help="BuildKit's secret with the logins for registries, for that build."),
)


def options(own: set[str], passed: set[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, as one argument ``build``, which is None where no Dockerfile is asked for.

    Of the command's other options ``own`` mean something to it, ``passed`` to the dib in the build; others are refused.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(
            *,
            dockerfile: bool,
            image: str | None,
            secret: str | None,
            **others: Any,  # noqa: ANN401 - what the command itself declares
        ) -> None:
            build = None
            if dockerfile:
                if "allowed_signers" not in own and policy.read_policy().demands_signatures:
                    raise UsageError(messages.DOCKERFILE_POLICY, path=policy.PATH)
                given = tuple(_given(click.get_current_context(), own | _OURS | _ANYWHERE, passed))
                from dibundle.sharing.dockerfile import IMAGE, Build

                build = Build(image=IMAGE if image is None else image, options=given, secret=secret)
            elif image is not None or secret is not None:
                raise UsageError(messages.DOCKERFILE_MISSING)
            command(build=build, **others)

        decorated: Callable[..., None] = run
        for option in reversed(_OPTIONS):
            decorated = option(decorated)
        return decorated

    return decorate


def write(text: str, console: Console) -> None:
    """Write a Dockerfile to stdout."""
    console.answer("dib.dockerfile/1", {"dockerfile": text}, (text.removesuffix("\n"),))


def _given(context: click.Context, own: set[str], passed: set[str]) -> Iterator[str]:
    """Yield the options that were given and are to be passed on."""
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if not isinstance(option, click.Option) or source not in _TOLD or name in own:
            continue
        if source is ParameterSource.ENVIRONMENT:  # silence would be no answer to who demands signatures
            unset = "".join(f"{name}= " for name in environment_options(context))
            raise UsageError(
                messages.DOCKERFILE_ENVIRONMENT_OPTION,
                envvar=option.envvar,
                opts=option.opts[-1],
                unset=unset,
                command_path=context.command_path,
            )
        if name not in passed:
            raise UsageError(messages.DOCKERFILE_OPTION, opts=option.opts[-1], command_path=context.command_path)
        values = sorted(context.params[name]) if name == "insecure" else context.params[name]
        for value in values if option.multiple else (values,):
            yield option.opts[-1]
            if not option.is_flag:
                yield str(value)

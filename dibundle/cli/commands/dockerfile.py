"""``dib dockerfile create`` and ``dib dockerfile apply``."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

from dibundle.applying.expected import parse
from dibundle.cli import console as consoles
from dibundle.cli import messages
from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.session import max_size_option
from dibundle.errors import UsageError
from dibundle.sharing.dockerfile import IMAGE, Build, applying, wrapping
from dibundle.sources import policy

_DEMANDS: Final = ("DIB_ALLOWED_SIGNERS", "DIB_REQUIRE_SIGNATURE")
_OPTIONS: Final = (
    click.option(
        "--image", default=IMAGE, show_default=True, metavar="NAME", help="Image that contains dib, for the build."
    ),
    click.option("--secret", metavar="ID", help="BuildKit secret that holds the logins for registries."),
    click.option("--platform", metavar="OS/ARCH", help="Platform of images in a registry."),
    click.option(
        "--insecure", multiple=True, metavar="HOST[:PORT]", help="Use plain HTTP for this registry; may be repeated."
    ),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the common build options to a command, whose function gets them as ``build`` and ``platform``."""

    @wraps(command)
    def run(
        *,
        image: str,
        secret: str | None,
        platform: str | None,
        insecure: tuple[str, ...],
        **others: Any,  # noqa: ANN401 - the command's own parameters
    ) -> None:
        hosts = (word for host in sorted(insecure) for word in ("--insecure", host))
        passed = (*_option("--platform", platform), *hosts)
        command(build=Build(image, passed, secret), platform=platform, **others)

    decorated = consoles.options(progress=False)(run)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@click.group("dockerfile", short_help="Write a Dockerfile that creates or applies a bundle.")
def command() -> None:
    """Write a Dockerfile that creates or applies a bundle, for pipelines that can only build images.

    \b
        dib dockerfile create --linked docker://registry.example/app:1 docker://registry.example/app:2 > Dockerfile
        dib dockerfile apply docker://registry.example/app:1-2 > Dockerfile

    The build needs an image of dib, and takes each source from a registry or from the build context.
    """


@command.command("create", cls=Command, short_help="Write a Dockerfile that wraps a new bundle.")
@click.argument("sources", nargs=-1, metavar="OLD NEW", required=True)
@click.option(
    "--linked", "kind", flag_value="linked", help="Build on the base's layers, and add a layer that holds the bundle."
)
@click.option(
    "--unlinked", "kind", flag_value="unlinked", help="Build an image with only one layer, which holds the bundle."
)
@click.option(
    "--base", metavar="NAME", help="Base of the linked image, by the name that the builder knows. Default: OLD."
)
@_options
def _create(
    sources: tuple[str, ...],
    kind: str | None,
    base: str | None,
    build: Build,
    platform: str | None,
    console: Console,
) -> None:
    """Write a Dockerfile whose build creates the bundle from OLD to NEW and wraps it, as "dib wrap" does.

    \b
        dib dockerfile create --unlinked docker://registry.example/app:1 docker://registry.example/app:2 > Dockerfile
        dib dockerfile create --linked --base app:1 old.tar new.tar > Dockerfile
    """
    if kind is None:
        raise UsageError(messages.DOCKERFILE_KIND)
    if len(sources) != 2:
        raise UsageError(messages.DOCKERFILE_ARGUMENTS, count=len(sources))
    if base is not None and kind != "linked":
        raise UsageError(messages.DOCKERFILE_BASE)
    _write(wrapping(build, *sources, linked=kind == "linked", base=base, platform=platform), console)


@command.command("apply", cls=Command, short_help="Write a Dockerfile that rebuilds an archive.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@click.option("--target", metavar="NAME", help="Archive to rebuild, by tag or digest, if the bundle has several.")
@click.option("--thin", is_flag=True, help="Leave out the layers that the base has.")
@max_size_option(default=None)
@click.option("--expect", multiple=True, metavar="ID", help="Fail unless the archive holds this image ID or digest.")
@_options
def _apply(
    sources: tuple[str, ...],
    target: str | None,
    thin: bool,
    max_size: int | None,
    expect: tuple[str, ...],
    build: Build,
    platform: str | None,
    console: Console,
) -> None:
    """Write a Dockerfile whose build applies a bundle. The build's output is the archive of the image, byte for byte.

    \b
        dib dockerfile apply docker://registry.example/app:1-2 > Dockerfile
        dib dockerfile apply old.tar update.dib > Dockerfile

    The build does not check signatures: use --expect to require a certain image.
    """
    _require_no_signatures()
    for identity in expect:
        parse(identity)
    own = [
        *_option("--target", target),
        *(["--thin"] if thin else []),
        *_option("--max-size", max_size),
        *(word for identity in expect for word in ("--expect", identity)),
    ]
    _write(applying(build._replace(options=(*own, *build.options)), sources), console)


def _require_no_signatures() -> None:
    """Refuse to continue if this machine requires signatures, because the build checks none."""
    if policy.read_policy().demands_signatures:
        raise UsageError(messages.DOCKERFILE_POLICY, path=policy.PATH)
    demanding = [name for name in _DEMANDS if os.environ.get(name)]
    if demanding:
        unset = "".join(f"{name}= " for name in demanding)
        raise UsageError(messages.DOCKERFILE_ENVIRONMENT, name=demanding[0], unset=unset)


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]


def _write(text: str, console: Console) -> None:
    console.answer("dib.dockerfile/1", {"dockerfile": text}, (text.removesuffix("\n"),))

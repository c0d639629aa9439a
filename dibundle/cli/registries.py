"""What commands know of registries: the logins of this user, hosts without TLS, names such as docker://HOST/app:1."""

from __future__ import annotations

import os
import platform as system
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dibundle.errors import UsageError
from dibundle.files.readat import Spool
from dibundle.format import labels
from dibundle.sources import messages
from dibundle.sources.detect import Trust, check_signature, fetch_bundle
from dibundle.sources.registry.reference import SCHEME, Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.client import Repository
    from dibundle.sources.registry.transport import Settings

_KEY: Final = "dibundle.insecure"
_LIMITS: Final = (
    (
        "--min-rate",
        click.IntRange(min=0),
        "BYTES",
        "Least bytes per second that a registry sends; default is 1000.",
    ),
    (
        "--max-time",
        click.FloatRange(min=0, min_open=True),
        "SECONDS",
        "Total time limit for a registry; default is none.",
    ),
)
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


def insecure(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options about registries, which :func:`settings` knows: --insecure, --max-time, --min-rate."""

    def remember(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        context.meta[_KEY] = frozenset(value)

    def remember_limit(context: click.Context, parameter: click.Parameter, value: float | None) -> None:
        context.meta[f"dibundle.{parameter.name}"] = value

    for name, kind, unit, text in _LIMITS:
        command = click.option(name, type=kind, metavar=unit, expose_value=False, callback=remember_limit, help=text)(
            command
        )
    return click.option(
        "--insecure",
        metavar="HOST[:PORT]",
        multiple=True,
        expose_value=False,
        callback=remember,
        help="A registry to speak to without TLS; this machine always is.",
    )(command)


def settings() -> Settings:
    """Return what the user and the command line set."""
    from dibundle.sources.registry.transport import Settings

    given = Settings(logins=tuple(_logins()), insecure=frozenset(insecure_hosts()))
    context = click.get_current_context(silent=True)
    meta = context.meta if context else {}
    rate = meta.get("dibundle.min_rate")
    return replace(
        given, max_time=meta.get("dibundle.max_time"), min_rate=given.min_rate if rate is None else int(rate)
    )


def insecure_hosts() -> list[str]:
    """Return the hosts that --insecure names."""
    context = click.get_current_context(silent=True)
    return sorted(context.meta.get(_KEY, ())) if context else []


def is_reference(name: str) -> bool:
    """Whether a name is one in a registry."""
    return name.startswith(SCHEME)


def platform_here() -> str:
    """Return the platform of images that run here."""
    machine = system.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def repository(reference: Reference, stack: ExitStack, *, write: bool = False) -> Repository:
    """Return a repository to speak to until ``stack`` ends."""
    from dibundle.sources.registry.client import Repository

    return stack.enter_context(Repository(reference, settings(), write=write))


def open_reference(
    name: str,
    stack: ExitStack,
    *,
    tmp: str | None,
    platform: str | None,
    only_bundle: bool,
    trust: Trust | None = None,
) -> tuple[Spool, bool]:
    """Fetch what a name stands for into a temporary file; return it, and whether it is a bundle, no archive.

    ``only_bundle``: of a wrapped bundle that layer alone, as its base is here. ``trust`` gets the header and the
    signature of a bundle before more of it is fetched.
    """
    from dibundle.sharing.wrap import find_in_layer
    from dibundle.sources.registry import artifacts, images

    reference = Reference.parse(name)
    found = repository(reference, stack)
    manifest = found.manifest(reference.wanted)
    spool = stack.enter_context(closing(Spool(tmp)))
    bundle = artifacts.bundle_of(found, manifest)
    if bundle:
        fetch_bundle(found.blob(bundle.digest, bundle.size), bundle.size, name, spool, trust)
        return spool, True
    image = images.resolve(found, manifest, platform or platform_here())
    wrapped = only_bundle and labels.BUNDLE in image.labels
    without = frozenset(blob.digest for blob in image.layers[:-1]) if wrapped else frozenset()
    if trust and labels.BUNDLE in image.labels and image.layers:
        last = image.layers[-1]
        check_signature(find_in_layer(found.blob(last.digest, last.size), name), name, trust)
    names = [reference.name] if reference.name else []
    images.fetch(found, image, names, spool, without=without, tmp=tmp)
    return spool, False


def parse_target(name: str) -> Reference:
    """Return a name to push to."""
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_NAME, name=name)
    reference = Reference.parse(name)
    if reference.digest:
        raise UsageError(messages.PUSH_NAMES_DIGEST, name=name)
    return reference


def _logins() -> Iterable[Path]:
    """Yield the files of logins, in podman's order, then docker's."""
    environment = os.environ
    if environment.get("REGISTRY_AUTH_FILE"):
        yield Path(environment["REGISTRY_AUTH_FILE"])
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"], "containers", "auth.json")
    yield Path(f"/run/containers/{os.getuid()}/auth.json")
    home = Path(environment.get("HOME") or "~").expanduser()
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "containers", "auth.json")
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker", "config.json")

"""Common options of commands: the access to sources, required signers, temporary files, and output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from dibundle.applying.expected import parse
from dibundle.applying.options import MAX_TARGET
from dibundle.cli import console as consoles
from dibundle.cli import messages
from dibundle.cli.size import read_size
from dibundle.errors import FileError, UsageError
from dibundle.files.context import Context
from dibundle.sources.access import Access
from dibundle.sources.policy import read_policy
from dibundle.sources.registry.settings import MIN_RATE, RegistrySettings

if TYPE_CHECKING:
    from dibundle.format.signing import Signers

_SIGNATURES: Final = (
    click.option(
        "--allowed-signers",
        metavar="FILE",
        envvar="DIB_ALLOWED_SIGNERS",
        show_envvar=True,
        help="Require a signature by a key in FILE, and check it before anything is parsed.",
    ),
    click.option("--identity", metavar="WHO", help="Require this signer. Default: anyone in the file."),
    click.option(
        "--signature",
        "detached",
        multiple=True,
        metavar="FILE",
        help="Detached signature; may be repeated. Default: BUNDLE.sig beside an unsigned BUNDLE.",
    ),
    click.option("--revoked", metavar="KRL", help="Revoked keys: a KRL or a list of public keys."),
    click.option(
        "--verify-time",
        metavar="TIME",
        help="Check that keys are valid at this time: YYYYMMDD or YYYYMMDDHHMM. Default: now.",
    ),
    click.option(
        "--require-signature",
        is_flag=True,
        envvar="DIB_REQUIRE_SIGNATURE",
        show_envvar=True,
        help="Require a signature (implied by --allowed-signers).",
    ),
)
_EXPECT: Final = click.option(
    "--expect",
    multiple=True,
    metavar="ID",
    help="Require this image ID, manifest digest or archive digest; may be repeated.",
)
_REGISTRIES: Final = (
    click.option(
        "--insecure",
        metavar="HOST[:PORT]",
        multiple=True,
        help="Use plain HTTP for this registry (always allowed for localhost and loopback addresses).",
    ),
    click.option(
        "--max-time",
        type=float,  # RegistrySettings refuses invalid times
        metavar="SECONDS",
        help="Time limit for each reference in a registry. Default: none.",
    ),
    click.option(
        "--min-rate",
        type=read_size,
        metavar="SIZE",
        help=f"Minimum bytes per second from a registry. Default: {MIN_RATE}.",
    ),
)
_TMP: Final = click.option("--tmp", metavar="DIR", help="Folder for temporary files. Default: $TMPDIR, else /var/tmp.")
PLATFORM: Final = "Platform to export if the source is an image in an engine or a registry."

base = click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="NAME",
    help="Base, or bundle that rebuilds a base; skipped if missing. May be repeated.",
)


def max_size_option(default: int | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option --max-size. ``default`` is its value if the user does not give the option."""
    return click.option(
        "--max-size",
        type=read_size,
        default=default,
        metavar="SIZE",
        help="Maximum size of a rebuilt archive: 1G (GiB), 500MB. Default: 1T.",
    )


max_size = max_size_option(MAX_TARGET)


def session(
    *, signatures: bool = False, expect: bool = False, platform: str | None = None, progress: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Pass ``access``, ``context`` and ``console`` to a command's function.

    With ``expect``, also pass an argument ``expect``. ``signatures`` is true if the command reads bundles. ``platform``
    is the help text of the option --platform. ``progress`` is true if the command may take a long time.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(console: consoles.Console, **others: Any) -> None:  # noqa: ANN401 - the command's own parameters
            tmp = others.pop("tmp")
            if expect:
                others["expect"] = frozenset(map(parse, others["expect"]))
            signers = _signers(others, tmp) if signatures else None
            access = Access(signers=signers, platform=others.pop("platform", None), registries=_registries(others))
            with Context(tmp, console.progress) as context:
                command(access=access, context=context, console=console, **others)

        decorated: Callable[..., None] = run
        options = (
            *((_EXPECT,) if expect else ()),
            *(_SIGNATURES if signatures else ()),
            *((click.option("--platform", metavar="OS/ARCH", help=platform),) if platform else ()),
            *_REGISTRIES,
            _TMP,
        )
        decorated = consoles.options(progress=progress)(decorated)
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _registries(given: dict[str, Any]) -> RegistrySettings:
    """Return the settings for registries, from the user's login files and the command line."""
    rate = given.pop("min_rate")
    return RegistrySettings(
        logins=tuple(_logins()),
        insecure=frozenset(given.pop("insecure")),
        max_time=given.pop("max_time"),
        min_rate=MIN_RATE if rate is None else rate,
    )


def _logins() -> Iterable[Path]:
    """Yield the files with logins. Podman's files come in podman's order, and docker's file comes after them."""
    environment = os.environ
    if environment.get("REGISTRY_AUTH_FILE"):
        yield Path(environment["REGISTRY_AUTH_FILE"])
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"], "containers", "auth.json")
    yield Path(f"/run/containers/{os.getuid()}/auth.json")
    home = Path(environment.get("HOME") or "~").expanduser()
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "containers", "auth.json")
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker", "config.json")


def _signers(given: dict[str, Any], tmp: str | None) -> Signers | None:
    """Return the required signers of bundles, from the options or the environment."""
    allowed, detached = given.pop("allowed_signers"), given.pop("detached")
    asked = {name: given.pop(name) for name in ("require_signature", "identity", "revoked", "verify_time")}
    if allowed is None and os.environ.get("DIB_ALLOWED_SIGNERS") == "":
        raise UsageError(
            messages.SIGNATURE_ENVIRONMENT_EMPTY
            # an empty variable is probably a mistake in a script, and would disable the check of signatures
        )
    is_asked = bool(detached or asked["require_signature"]) or any(
        asked[name] is not None for name in ("identity", "revoked", "verify_time")
    )
    if allowed is not None and _is_from_environment("allowed_signers"):
        _require_named_file(allowed)
    if allowed is None and is_asked:
        machine = read_policy()
        allowed = machine.allowed
        if allowed is None:
            by = (
                "DIB_REQUIRE_SIGNATURE is set"
                if _is_from_environment("require_signature")
                else "an option asks for a signature"
            )
            raise UsageError(messages.SIGNATURE_NO_SIGNERS, asked=by)
    if allowed is None:
        return None
    from dibundle.format.signing import Signers, read_file

    return Signers(
        allowed=allowed,
        identity=asked["identity"],
        signatures=tuple(map(read_file, detached)),
        revoked=asked["revoked"],
        verify_time=asked["verify_time"],
        tmp=tmp,
    )


def _is_from_environment(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def _require_named_file(name: str) -> None:
    """If a file cannot be read, raise an error that names the environment variable for this file."""
    from dibundle.format.signing import require_readable

    try:
        require_readable(name)
    except FileError as error:
        raise FileError(messages.SIGNATURE_ENVIRONMENT_FILE, reason=error.message) from error

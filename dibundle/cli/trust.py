"""The options by which a receiver says whose bundles count, and what they must make; shared by several commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from dibundle.applying.expected import parse
from dibundle.cli import messages
from dibundle.errors import FileError, UsageError
from dibundle.format.reader import BundleReader
from dibundle.format.signing import Signers, read_file, require_readable

_OPTIONS = (
    click.option(
        "--allowed-signers",
        metavar="FILE",
        envvar="DIB_ALLOWED_SIGNERS",
        show_envvar=True,
        help="Refuse bundles that nobody in this file signed.",
    ),
    click.option("--identity", metavar="WHO", help="Who of them it must be; default is anyone."),
    click.option("--signature", "detached", multiple=True, metavar="FILE", help="A signature beside the bundle."),
    click.option("--revoked", metavar="KRL", help="Revoked keys: a KRL or a list of public keys."),
    click.option("--verify-time", metavar="TIME", help="Judge keys as of then: YYYYMMDD or YYYYMMDDHHMM."),
    click.option(
        "--require-signature",
        is_flag=True,
        envvar="DIB_REQUIRE_SIGNATURE",
        show_envvar=True,
        help="Require a signature (implied by --allowed-signers).",
    ),
)
_EXPECT = click.option(
    "--expect", multiple=True, metavar="ID", help="Refuse what is not this image ID or sha256 of an archive."
)


@dataclass
class Trust:
    """What was asked for: ``signers`` (None: signatures do not matter), ``expect``; ``found``: who signed a header."""

    signers: Signers | None = None
    expect: frozenset[bytes] = frozenset()
    found: dict[bytes, str] = field(default_factory=dict)

    @property
    def check(self) -> Callable[[bytes, bytes], None] | None:
        """What a bundle's header and signature are given to before anything else is read."""
        return self._check if self.signers else None

    def _check(self, header: bytes, signature: bytes) -> None:
        assert self.signers
        self.found[header] = self.signers.check(header, signature)

    def signed_by(self, bundles: Iterable[BundleReader]) -> list[str]:
        """Return who signed these bundles, each once; nobody where signatures do not matter."""
        return list(dict.fromkeys(self.found[bundle.header_bytes] for bundle in bundles if self.signers))


def _is_from_environment(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def _require_named_file(name: str) -> None:
    """Tell of a file that cannot be read who named it, as the command line does not."""
    try:
        require_readable(name)
    except FileError as error:
        raise FileError(messages.SIGNATURE_ENVIRONMENT_FILE, reason=error.message) from error


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options and --expect, as one argument ``trust``."""
    return signature_options(_EXPECT(command))


def signature_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that reads bundles the options about their signatures, as one argument ``trust``.

    Each such command but "dib sign" has them, and gives ``trust.check`` to what opens its arguments.
    """

    @wraps(command)
    def run(
        allowed_signers: str | None,
        identity: str | None,
        detached: tuple[str, ...],
        revoked: str | None,
        verify_time: str | None,
        *,
        require_signature: bool,
        **others: Any,  # noqa: ANN401 - what the command itself declares
    ) -> None:
        trust = Trust(expect=frozenset(map(parse, others.pop("expect", ()))))
        if others.get("dockerfile"):
            pass  # it takes none of these options, and says so
        elif allowed_signers is not None:
            if _is_from_environment("allowed_signers"):
                _require_named_file(allowed_signers)
            trust.signers = Signers(
                allowed=allowed_signers,
                identity=identity,
                signatures=tuple(map(read_file, detached)),
                revoked=revoked,
                verify_time=verify_time,
                tmp=others.get("tmp"),
            )
        elif require_signature or identity or detached or revoked or verify_time:
            asked = "DIB_REQUIRE_SIGNATURE is set" if _is_from_environment("require_signature") else "it is asked for"
            raise UsageError(messages.SIGNATURE_NO_SIGNERS, asked=asked)
        command(trust=trust, **others)

    decorated: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated

"""How sources are reached, and whose bundles count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dibundle.errors import SignatureError
from dibundle.files.digest import sha256
from dibundle.format.reader import BundleReader
from dibundle.sources.bundles import CheckSignature
from dibundle.sources.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from dibundle.format.signing import Signers


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to open sources: ``signers`` must have signed every bundle (None: signatures do not matter).

    ``platform`` is that of images that an engine or a registry has for several, as ``os/architecture``.
    """

    signers: Signers | None = None
    platform: str | None = None
    registries: RegistrySettings = field(default_factory=RegistrySettings)

    def __post_init__(self) -> None:
        """Refuse signers that are none, where they are given: a name of their file is an easy mistake."""
        if self.signers is None:
            return
        from dibundle.format.signing import Signers

        if not isinstance(self.signers, Signers):
            raise TypeError(f"signers are Signers(allowed=FILE), not {type(self.signers).__name__}")


class SignatureCheck:
    """Checks the signatures of bundles, of each header until one is accepted, and remembers who made them.

    What is signed is the header, which commits to all of a bundle but its signature. So once it is trusted, it is
    whatever the signature area of a copy holds; whoever varies that would have ssh-keygen asked for each copy.
    """

    def __init__(self, signers: Signers | None) -> None:
        self._signers = signers
        self._signed: dict[bytes, str] = {}  # by header
        self._refused: dict[tuple[bytes, bytes], SignatureError] = {}  # by header and signature

    @property
    def required(self) -> CheckSignature | None:
        """What a bundle's header and signature are given to before anything else is read; None if none are needed."""
        return self._check if self._signers else None

    def _check(self, header: bytes, signature: bytes) -> None:
        assert self._signers
        if header in self._signed:
            return
        key = header, sha256(signature)
        if key in self._refused:
            raise self._refused[key]
        try:
            self._signed[header] = self._signers.check(header, signature)
        except SignatureError as error:
            self._refused[key] = error
            raise

    def signed_by(self, bundles: Iterable[BundleReader]) -> tuple[str, ...]:
        """Return who signed bundles, and with which key, each once; nobody where it does not matter."""
        found = (self._signed.get(bundle.header_bytes) for bundle in bundles)
        return tuple(dict.fromkeys(item for item in found if item))

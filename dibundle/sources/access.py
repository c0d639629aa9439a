"""Access to sources: registry settings, the platform, and required signatures."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.errors import FileError, Hint, SignatureError
from dibundle.files.digest import sha256
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.sources import messages, policy
from dibundle.sources.bundles import CheckManifest, CheckSignature, read_signature_beside
from dibundle.sources.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from dibundle.format.signing import Signers


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Options for opening sources.

    Every bundle must be signed by one of the ``signers``. If ``signers`` is None, the policy's signers are required.
    ``platform`` (``os/architecture``) selects an image if an engine or a registry has it for several platforms. If
    ``checks_signatures`` is false, no signatures are checked, even if the machine's policy requires signatures. Only
    code that signs bundles, or has just created the bundles, may set ``checks_signatures`` to false. The policy for
    registries always applies.
    """

    signers: Signers | None = None
    checks_signatures: bool = True
    platform: str | None = None
    registries: RegistrySettings = field(default_factory=RegistrySettings)

    def __post_init__(self) -> None:
        """Refuse signers of a wrong type. Callers may pass the name of a file with signers by mistake."""
        if self.signers is None:
            return
        from dibundle.format.signing import Signers

        if not isinstance(self.signers, Signers):
            raise TypeError(f"signers are Signers(allowed=FILE), not {type(self.signers).__name__}")
        if not self.checks_signatures:
            raise TypeError("signers are given, and no signatures are to be checked")

    def signature_check(self, tmp: str | None = None, names: Collection[str] = ()) -> SignatureCheck:
        """Return the signature check. Only this method decides whose signatures are required.

        A bundle must satisfy the machine's policy, and must be signed by one of the ``signers``. ``names`` are the
        names that the image will get in addition to the names that bundles declare. Raises the errors of
        :meth:`Policy.signers` and :func:`read_policy`.
        """
        if not self.checks_signatures:
            return SignatureCheck()
        machine = policy.read_policy()
        demanded = machine.signers(self.signers, tmp)
        demands = [_Demand(demanded, is_policy=True)] if demanded else []
        if self.signers and self.signers != demanded:
            demands.append(_Demand(self.signers, is_policy=False))
        return SignatureCheck(demands, machine, names)


_NO_POLICY: Final = policy.Policy()


class _Demand(NamedTuple):
    """Required signers of bundles, and whether the machine's policy requires them."""

    signers: Signers
    is_policy: bool

    def check(self, header: bytes, signature: bytes) -> str:
        """Return the signer of a header. Raise the errors of :meth:`Signers.check`."""
        try:
            return self.signers.check(header, signature)
        except (SignatureError, FileError) as error:
            if not self.is_policy:
                raise
            # replace the error's hint, because the option --verify-time cannot help here
            if error.code in ("signature.expired", "signature.not_yet_valid"):
                error.advice = Hint.of("have the bundle signed again, with a key that is valid now")
            raise error.because(f"required by {policy.PATH}") from error.__cause__


class SignatureCheck:
    """A check of bundles' signatures.

    After a signature for a header is accepted, no other signature for the same header is checked. The signature covers
    the header. The header determines everything in the bundle except the signature. So a trusted header stays trusted,
    even if a copy of the bundle has another signature. Without this rule, ssh-keygen would run for each copy with a
    different signature.
    """

    def __init__(
        self, demands: Collection[_Demand] = (), machine: policy.Policy = _NO_POLICY, names: Collection[str] = ()
    ) -> None:
        self._demands = demands
        self._machine = machine
        self._names = names
        self._signed: dict[bytes, str] = {}  # by header
        # each key is a header and the digest of a signature
        self._refused: dict[tuple[bytes, bytes], SignatureError] = {}
        self._signatures: dict[bytes, bytes] = {}  # accepted signatures, by header
        # (header, identities) pairs where one of the identities signed the header
        self._may_make: set[tuple[bytes, tuple[str, ...]]] = set()

    @property
    def required(self) -> CheckSignature | None:
        """The check of a bundle's header and signature, before any other byte is read.

        The value is None if no check is required.
        """
        return self._check if self._demands else None

    @property
    def needs_embedded(self) -> bool:
        """Whether the signature must be in the bundle itself, because no detached signature is given."""
        return bool(self._demands) and not any(demand.signers.signatures for demand in self._demands)

    @property
    def judges_names(self) -> bool:
        """Whether the policy says which signers may use which image names."""
        return bool(self._demands and self._machine.identities)

    def beside(self, file: str) -> CheckSignature | None:
        """Return a check like ``required`` for the bundle in ``file``. The signature may be in ``file``.sig."""
        return partial(self._check, file=file) if self._demands else None

    def _check(self, header: bytes, signature: bytes, file: str | None = None) -> CheckManifest:
        if header not in self._signed:
            beside = read_signature_beside(file) if file and not signature and self.needs_embedded else None
            found = signature if beside is None else beside.data
            key = header, sha256(found)
            try:
                if key in self._refused:
                    # raise a copy of the error, because raising an error changes the error's context
                    raise copy(self._refused[key])
                signed = [demand.check(header, found) for demand in self._demands]
            except SignatureError as error:
                self._refused.setdefault(key, copy(error))
                raise (error.within(beside.name) if beside else error) from error.__cause__
            self._signed[header] = signed[-1]
            self._signatures[header] = found
        return partial(self._check_manifest, header)

    def _check_manifest(self, header: bytes, manifest: Manifest) -> None:
        """Refuse a bundle if it declares images that other identities must sign."""
        if not self.judges_names:
            return
        images = [image for target in (manifest.about.targets if manifest.about else ()) for image in target]
        nameless = {""} if not images or not all(image.names for image in images) else set()
        self._require_names(header, nameless.union(self._names, *(image.names for image in images)))

    def require_names_of(self, bundle: BundleReader, names: Iterable[str]) -> None:
        """Raise :class:`SignatureError` if the bundle's signer is not allowed to use these image names.

        "" stands for an image without a name.
        """
        try:
            self._require_names(bundle.header_bytes, names)
        except SignatureError as error:
            raise (error if bundle.name is None else error.within(bundle.name)) from error.__cause__

    def _require_names(self, header: bytes, names: Iterable[str]) -> None:
        for wanted, name in self._machine.identities_for(names).items() if self.judges_names else ():
            if (header, wanted) in self._may_make:
                continue
            if not any(self._is_signed_by(who, header) for who in wanted):
                raise SignatureError(
                    messages.POLICY_IDENTITY,
                    name=name or "an image without a name",
                    found=self._signed[header],
                    wanted=" or ".join(wanted),
                    path=policy.PATH,
                )
            self._may_make.add((header, wanted))

    def _is_signed_by(self, identity: str, header: bytes) -> bool:
        signers = next(demand.signers for demand in self._demands if demand.is_policy)
        try:
            replace(signers, identity=identity).check(header, self._signatures[header])
        except SignatureError:
            return False
        return True

    def signed_by(self, bundles: Iterable[BundleReader]) -> tuple[str, ...]:
        """Return each signer of the bundles once, together with the signer's key.

        Return no signers if signatures are not checked.
        """
        found = (self._signed.get(bundle.header_bytes) for bundle in bundles)
        return tuple(dict.fromkeys(item for item in found if item))

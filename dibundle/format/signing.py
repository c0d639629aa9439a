"""Signatures over a bundle's header. OpenSSH creates and checks them, in the format SSHSIG and the namespace ``dib``.

This module itself contains no cryptography. ``ssh-keygen -Y`` signs and verifies with any key that it supports. Keys
may be in files, agents or security keys. The signed data is the 64-byte header, which determines the rest of the
bundle.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self

from dibundle.errors import BundleError, FileError, SignatureError, UsageError, shell_words
from dibundle.format import messages
from dibundle.format.constants import HEADER_SIZE, MAX_SIGNATURE
from dibundle.format.header import check_signature_area, encode_signature_area, signature_length

if TYPE_CHECKING:
    import subprocess

NAMESPACE: Final = "dib"
SIGN_SECONDS: Final = 600  # maximum seconds for a person to type a passphrase, or to touch a security key
CHECK_SECONDS: Final = 60
# if a key has more principals than this, first check the signature once, and only then try the principals
FEW: Final = 4
_COPY: Final = 1 << 20
_ARMOR: Final = re.compile(rb"\s*-----BEGIN SSH SIGNATURE-----\s([A-Za-z0-9+/=\s]*)-----END SSH SIGNATURE-----\s*")
_INVALID: Final = re.compile(
    r"(?P<line>.*): key (?P<why>has expired|is not yet valid)"
    r"(?:: verify time \S+ [<>] valid-(?:before|after) (?P<time>\S+))?"
)
_KEY: Final = re.compile(rb"\s((?:sk-)?(?:ssh|ecdsa)-[\w@.-]+)\s+([A-Za-z0-9+/]+=*)(?:\s|$)")
_NO_REASON: Final = "Could not verify signature"  # if the identity is wrong, ssh-keygen prints only this message
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_TIME: Final = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z?")
ReadFunction = Callable[[int], bytes]


class Signature(NamedTuple):
    """An SSHSIG signature: its bytes without the armor, and the public key that the signature names."""

    blob: bytes
    key: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse an armored signature of at most 1 MiB. If it is not for bundles, raise :class:`SignatureError`."""
        if len(data) > MAX_SIGNATURE:
            raise SignatureError(messages.SIGNATURE_TOO_LARGE, data_count=len(data), max_signature=MAX_SIGNATURE)
        found = _ARMOR.fullmatch(data)
        if not found:
            raise SignatureError(messages.SIGNATURE_NOT_SSHSIG)
        try:
            blob = base64.b64decode(b"".join(found[1].split()), validate=True)
        except binascii.Error as error:
            raise SignatureError(messages.SIGNATURE_ARMOR) from error
        if not blob.startswith(b"SSHSIG\0\0\0\1"):
            raise SignatureError(messages.SIGNATURE_VERSION)
        key, rest = _string(blob[10:])
        namespace, rest = _string(rest)
        for _ in ("reserved", "hash", "signature"):
            _, rest = _string(rest)
        if rest:
            raise SignatureError(messages.SIGNATURE_TRAILING_BYTES)
        if namespace != NAMESPACE.encode():
            shown = namespace[:64].decode(errors="replace")
            raise SignatureError(messages.SIGNATURE_NAMESPACE, shown=shown, namespace=NAMESPACE)
        return cls(blob, key)

    def armored(self) -> bytes:
        """Return the signature with its armor, in the form that ssh-keygen writes."""
        text = base64.b64encode(self.blob)
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return b"\n".join((b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""))

    @property
    def fingerprint(self) -> str:
        """The key in the form ``SHA256:...``, as ``ssh-keygen -l`` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.key).digest()).decode().rstrip("=")


def _string(data: bytes) -> tuple[bytes, bytes]:
    """Return the first string in SSH's wire format, and the bytes after it."""
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise SignatureError(messages.SIGNATURE_TRUNCATED)
    return data[4 : 4 + length], data[4 + length :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Trusted signers in OpenSSH's formats. ``allowed`` is an allowed_signers file, ``revoked`` a KRL or key list.

    ``identity`` is the required signer (None: any in ``allowed``). ``signatures`` are detached signatures to check
    instead of the bundle's embedded signature. Pass the contents of the signature files as bytes, not the file names.
    ``verify_time`` is the time at which keys must be valid (YYYYMMDD[HHMM[SS]][Z]). The default is the current time.
    """

    allowed: str
    identity: str | None = None
    signatures: tuple[bytes, ...] = ()
    revoked: str | None = None
    verify_time: str | None = None
    tmp: str | None = None

    def __post_init__(self) -> None:
        """Refuse file names that were passed instead of file contents."""
        if not all(isinstance(item, bytes) for item in self.signatures):
            raise TypeError("signatures are what the files hold, as a tuple of bytes: Path(name).read_bytes()")

    def check(self, header: bytes, embedded: bytes) -> str:
        """Return the signer of a header, with the key. Without a trusted signature, raise :class:`SignatureError`.

        ``embedded`` is the content of the bundle's signature area.
        """
        for name in filter(None, (self.allowed, self.revoked)):
            require_readable(name)
        if self.verify_time is not None and not _TIME.fullmatch(self.verify_time):
            raise UsageError(messages.SIGNATURE_VERIFY_TIME, verify_time=self.verify_time)
        given = self.signatures or ((embedded,) if embedded else ())
        if not given:
            raise SignatureError(messages.SIGNATURE_MISSING)
        refusal: SignatureError | None = None
        for data in given:
            try:
                return self._check(header, Signature.parse(data))
            except SignatureError as error:
                refusal = error
        assert refusal
        raise refusal

    def _check(self, header: bytes, signature: Signature) -> str:
        by = f"key {signature.fingerprint}"
        with _temporary(".sig", self.tmp) as file:
            file.write(signature.armored())
            file.flush()
            who = [self.identity] if self.identity is not None else self._principals(file.name, by)
            common = ("-Y", "verify", "-n", NAMESPACE, "-f", self.allowed, "-s", file.name, *self._times())
            revoked = ("-r", self.revoked) if self.revoked is not None else ()
            if len(who) > FEW:  # check once, so that an invalid signature is not tried for each of many principals
                _require_valid(_check_alone(header, file.name), by)
            for identity in who:
                run = _ssh_keygen(*common, *revoked, "-I", identity, given=header, seconds=CHECK_SECONDS)
                if run.returncode == 0:
                    return f"{identity} ({by})"
            if self._is_revoked(signature.key):
                raise SignatureError(messages.SIGNATURE_REVOKED, by=by, revoked=self.revoked)
            told = _told(run)
            if self.identity is not None:
                owners = ", ".join(self._principals(file.name, by))
                if told == _NO_REASON:
                    raise SignatureError(
                        messages.SIGNATURE_OTHER_IDENTITY,
                        by=by,
                        identity=self.identity,
                        allowed=shell_words(self.allowed),
                        owners=shell_words(owners),
                    )
        wanted = f" for {self.identity}" if self.identity is not None else ""
        raise SignatureError(messages.SIGNATURE_NOT_ACCEPTED, by=by, wanted=wanted, told=told)

    def _principals(self, file: str, by: str) -> list[str]:
        """Return the principals for which the signature's key is valid. The caller tries each principal."""
        run = _ssh_keygen(
            "-Y", "find-principals", "-s", file, "-f", self.allowed, *self._times(), seconds=CHECK_SECONDS
        )
        found = [line for line in run.stdout.decode(errors="surrogateescape").splitlines() if line]
        invalid = next(filter(None, map(_INVALID.match, run.stderr.decode(errors="replace").splitlines())), None)
        if invalid and not found:
            raise _not_valid(by, **invalid.groupdict())
        if run.returncode or not found:
            is_bare = re.match(rb"(ssh|ecdsa|sk)-\S+ \S+", read_file(self.allowed))
            message = messages.SIGNATURE_BARE_KEY if is_bare else messages.SIGNATURE_NOT_ALLOWED
            raise SignatureError(message, allowed=self.allowed, quoted=shell_words(self.allowed), by=by)
        return found

    def _is_revoked(self, key: bytes) -> bool:
        """Return whether a key is revoked. If a verification fails, ssh-keygen does not say that the key is revoked."""
        if self.revoked is None:
            return False
        # -Q does not work for a list of public keys, because -Q requires a KRL
        if base64.b64encode(key) in read_file(self.revoked).split():
            return True
        kind, _ = _string(key)
        with _temporary(".pub", self.tmp) as file:
            file.write(kind + b" " + base64.b64encode(key) + b"\n")
            file.flush()
            run = _ssh_keygen("-Q", "-f", self.revoked, file.name, seconds=CHECK_SECONDS)
        return run.returncode == 1 and b"REVOKED" in run.stdout

    def _times(self) -> tuple[str, ...]:
        return ("-O", f"verify-time={self.verify_time}") if self.verify_time is not None else ()


def _not_valid(by: str, line: str, why: str, time: str | None) -> SignatureError:
    """Return the error about a key that is not valid now.

    ``time`` is the local time at which the key expired or becomes valid.
    """
    from datetime import datetime, timedelta

    if why != "has expired":
        return SignatureError(messages.SIGNATURE_NOT_YET_VALID, by=by, line=line, time=(time or "?").replace("T", " "))
    try:
        valid = f"{datetime.fromisoformat(time or '') - timedelta(minutes=1):%Y%m%d%H%M}"
    except (ValueError, OverflowError):
        valid = "YYYYMMDD"
    return SignatureError(
        messages.SIGNATURE_EXPIRED, by=by, line=line, time=(time or "?").replace("T", " "), valid=valid
    )


def sign(header: bytes, key: str) -> bytes:
    """Sign a header with ``key``, and return the armored signature.

    ``key`` is the file name of a private key. It may also be the file name of a public key, if an agent or a security
    key holds the private key.
    """
    require_readable(key)
    run = _ssh_keygen("-Y", "sign", "-q", "-n", NAMESPACE, "-f", key, given=header, seconds=SIGN_SECONDS)
    if run.returncode:
        if b"UNPROTECTED PRIVATE KEY" in run.stderr:
            raise SignatureError(messages.SIGNATURE_KEY_PERMISSIONS, key=key, key_2=shell_words(key))
        if b"incorrect passphrase" in run.stderr:
            private = key.removesuffix(".pub")  # if no agent has the key, ssh-keygen uses the private key in this file
            raise SignatureError(messages.SIGNATURE_PASSPHRASE, private=private, private_2=shell_words(private))
        raise _unusable(key, run)
    return Signature.parse(run.stdout).armored()


def _unusable(key: str, run: subprocess.CompletedProcess[bytes]) -> SignatureError:
    """Return the error about a key that cannot sign. For a private key, ssh-keygen -y gives the real reason.

    If the private key cannot be read, ``ssh-keygen -Y`` only reports that the matching public key is missing.
    """
    found = read_file(key)
    if not found:
        return SignatureError(messages.SIGNATURE_KEY_EMPTY, key=key)
    if not _PRIVATE.match(found):
        return SignatureError(messages.SIGNATURE_CANNOT_SIGN, key=key, told=_told(run))
    read = _ssh_keygen("-y", "-P", "", "-f", key, seconds=CHECK_SECONDS)
    if not found.endswith(b"\n") or b"\r" in found:
        lost = "has carriage returns" if b"\r" in found else "lacks its last newline"
        return SignatureError(messages.SIGNATURE_PRIVATE_KEY_UNREADABLE, key=key, lost=lost, told=_told(read))
    return SignatureError(
        messages.SIGNATURE_PRIVATE_KEY_UNUSABLE,
        key=key,
        told=_told(read if read.returncode else run),
        key_2=shell_words(key),
    )


def check_own(header: bytes, data: bytes, tmp: str | None = None) -> Signature:
    """Return the signature in ``data``. The signature must be over ``header``. Any key is accepted."""
    signature = Signature.parse(data)
    with _temporary(".sig", tmp) as file:
        file.write(signature.armored())
        file.flush()
        run = _check_alone(header, file.name)
    if run.returncode:
        raise SignatureError(messages.SIGNATURE_OTHER_BUNDLE)
    return signature


def with_signature(read: ReadFunction, header: bytes, signature: bytes) -> Iterator[bytes]:
    """Yield a bundle (or its first part) with ``signature`` in the signature area. ``read`` returns the bytes in order.

    Raises :class:`BundleError` if the header is not ``header`` or the signature area is damaged.
    """
    found = _exactly(read, HEADER_SIZE)
    if found != header:
        raise BundleError(messages.SIGNATURE_BUNDLE_CHANGED)
    prefix = _exactly(read, 4)
    check_signature_area(prefix, _exactly(read, signature_length(prefix) + 4))
    yield header + encode_signature_area(signature)
    while piece := read(_COPY):
        yield piece


def read_file(name: str) -> bytes:
    """Return the content of a signature file. If the file is too large, return only one byte more than the limit."""
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - any name that the system accepts
            return file.read(MAX_SIGNATURE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(messages.FILE_CANNOT_READ, name=name, reason=reason) from error


def _exactly(read: ReadFunction, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data


def _check_alone(header: bytes, signature: str) -> subprocess.CompletedProcess[bytes]:
    """Check a signature file, and accept any key."""
    return _ssh_keygen("-Y", "check-novalidate", "-n", NAMESPACE, "-s", signature, given=header, seconds=CHECK_SECONDS)


def _require_valid(run: subprocess.CompletedProcess[bytes], by: str) -> None:
    if run.returncode:
        raise SignatureError(messages.SIGNATURE_NOT_ACCEPTED, by=by, wanted="", told=_told(run))


def require_readable(name: str) -> None:
    """Raise :class:`FileError` if a file cannot be read. ssh-keygen's own error would be less clear."""
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(messages.FILE_CANNOT_OPEN, name=name, reason=reason) from error


def count_signers(name: str) -> int:
    """Return the number of lines with a key in an allowed_signers file.

    Raises :class:`FileError` if the file cannot be read, and :class:`SignatureError` if a line has no key or the file
    has no keys. Comments and empty lines are ignored.
    """
    require_readable(name)
    with open(name, "rb") as file:  # noqa: PTH123 - any name that the system accepts
        lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
    keys = [(number, _KEY.search(line)) for number, line in lines if line and not line.startswith(b"#")]
    for number, key in keys:
        if key is None or not base64.b64decode(key[2] + b"==").startswith(len(key[1]).to_bytes(4, "big") + key[1]):
            raise SignatureError(messages.SIGNATURE_SIGNERS, name=f"{name}:{number}", reason="no identity and key")
    if not keys:
        raise SignatureError(messages.SIGNATURE_SIGNERS, name=name, reason="it has no keys")
    return len(keys)


def _temporary(suffix: str, directory: str | None) -> IO[bytes]:
    """Open a temporary file for ssh-keygen, which reads only files with a name."""
    import tempfile

    return tempfile.NamedTemporaryFile(prefix="dib-", suffix=suffix, dir=directory)


_FOLDERS: Final = "/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin"
"""Folders that are searched for ssh-keygen before the folders in $PATH when a signature is checked."""


def _ssh_keygen(*arguments: str, given: bytes = b"", seconds: int) -> subprocess.CompletedProcess[bytes]:
    import subprocess

    # A check decides who is trusted, so the check ignores the environment variables. $PATH could lead to a wrong
    # ssh-keygen, and $TZ would change the time zone for the times of keys. Signing needs the environment variables,
    # because these variables may name an agent and programs.
    is_check = seconds == CHECK_SECONDS
    program = (shutil.which("ssh-keygen", path=_FOLDERS) if is_check else None) or "ssh-keygen"
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"} if is_check else None
    try:
        return subprocess.run(
            (program, *arguments), input=given, capture_output=True, check=False, timeout=seconds, env=environment
        )
    except FileNotFoundError as error:
        raise FileError(messages.SIGNATURE_NO_SSH_KEYGEN) from error
    except subprocess.TimeoutExpired as error:
        raise SignatureError(messages.SIGNATURE_TIMEOUT, seconds=seconds) from error


def _told(run: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line of ssh-keygen's output, because it is more useful than the summary in the last line."""
    lines = (run.stderr + b"\n" + run.stdout).decode(errors="replace").splitlines()
    return next((line.strip().rstrip(".") for line in lines if line.strip()), f"ssh-keygen ended with {run.returncode}")

"""Sign a bundle with an SSH key. The signature is in the bundle itself, or in a file in the same folder."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace

from dibundle.errors import SignatureError, UsageError, shell_words
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.format import signing
from dibundle.format.reader import BundleReader
from dibundle.sharing import messages
from dibundle.sources import parts
from dibundle.sources.access import Access
from dibundle.sources.bundles import check_integrity, name_signature
from dibundle.sources.detect import STDIN
from dibundle.sources.names import is_reference
from dibundle.sources.opening import open_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOptions:
    """Options of sign. Either ``key`` or ``signature`` must be given.

    ``key`` is the file of a private key, or of a public key if an agent holds the private key. ``signature`` is the
    file with an existing signature by ssh-keygen. With ``detach``, write the signature to a separate file, and leave
    the bundle unchanged. ``output`` is the file to write. If ``output`` is None, the bundle is replaced or, with
    ``detach``, BUNDLE.sig is written.
    """

    key: str | None = None
    signature: str | None = None
    detach: bool = False
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignResult:
    """The result of sign: the written file, the key's fingerprint, and whether an older signature was replaced."""

    output: str
    key: str
    replaced: bool


def sign(bundle: str, options: SignOptions, access: Access, context: Context) -> SignResult:
    """Check every byte of a bundle, then sign it.

    The signed data is the header, which determines the rest of the bundle. If the bundle is in parts, the first part is
    signed.
    """
    if (options.key is None) == (options.signature is None):
        raise UsageError(messages.SIGN_KEY_OR_SIGNATURE, bundle=shell_words(bundle))
    # true if only the given file is written: not the bundle, and no file beside the bundle
    aside = options.detach and options.output is not None
    if is_reference(bundle) and not aside:
        raise _in_registry(bundle, options)
    opened = open_sources([bundle], replace(access, checks_signatures=False), context, bundle_first=True)
    reader = opened.read_bundle()
    name = opened.bundles[0][0]
    if name not in (bundle, STDIN) and not parts.is_first(name) and not aside:
        raise UsageError(messages.SIGN_WRAPPED, bundle=bundle, quoted=shell_words(bundle))
    destination = (
        Destination(options.output)
        if options.output
        else Destination(_default(bundle, name, detach=options.detach), is_derived=options.detach)
    )
    if options.detach:
        opened.refuse_overwriting(destination.name, destination.identity)
    check_integrity(reader, context.progress)
    context.end_phase()  # end the progress line, because ssh-keygen may ask for a passphrase
    header = reader.header_bytes
    data = signing.sign(header, options.key) if options.key is not None else signing.read_file(options.signature or "")
    try:
        signature = signing.check_own(header, data, context.tmp)
    except SignatureError as error:
        raise error.within(name) from error.__cause__
    if options.detach:
        with destination:
            destination.write(signature.armored())
    else:
        _embed(name, reader, signature.armored(), destination, context, whole=options.output is not None)
    replaced = bool(reader.signature) and not options.detach
    return SignResult(output=destination.name, key=signature.fingerprint, replaced=replaced)


def _in_registry(bundle: str, options: SignOptions) -> UsageError:
    if options.detach:
        option, file = ("--key", options.key) if options.key is not None else ("--signature", options.signature or "")
        words = f"sign {option} {shell_words(file)} --detach {shell_words(bundle)} -o update.dib.sig"
        return UsageError(messages.SIGN_DETACHED_IN_REGISTRY, bundle=bundle, words=words)
    again = shell_words(bundle.partition("@")[0])
    return UsageError(messages.SIGN_IN_REGISTRY, bundle=bundle, quoted=shell_words(bundle), again=again)


def _default(bundle: str, name: str, *, detach: bool) -> str:
    """Return the default output.

    If the signature is detached, this is a file beside the bundle. Otherwise, it is the bundle itself.
    """
    if bundle == "-" or not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - any name that the system accepts
        raise UsageError(messages.SIGN_NO_PLACE, name=name)
    if not detach:
        return name
    return name_signature(name)


def _embed(
    name: str, reader: BundleReader, signature: bytes, destination: Destination, context: Context, *, whole: bool
) -> None:
    """Write the bundle with its signature.

    If the bundle is in parts, write only the first part or, with ``whole``, the whole bundle as one file.
    """
    with context.within() as own:
        if parts.is_first(name) and whole:
            read = parts.PartsReader(name, own).read
        elif name == STDIN:
            raise UsageError(messages.SIGN_STDIN)
        else:
            read = own.enter(open(name, "rb")).read  # noqa: PTH123, SIM115 - the context closes it
        with destination:
            for piece in signing.with_signature(read, reader.header_bytes, signature):
                destination.write(piece)

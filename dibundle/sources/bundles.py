"""Bundles as streams.

A bundle is read and checked up to its manifest. Its signature is checked before later bytes are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn, Protocol

from dibundle.errors import BundleError, DigestError, shell_words
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.progress import Progress, Silent
from dibundle.files.readat import ReadAt, Spool, check_room, copy_chunks
from dibundle.format import labels
from dibundle.format.constants import HEADER_SIZE, MAX_MANIFEST
from dibundle.format.header import Header
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader, Readable
from dibundle.sources import messages, parts

CheckManifest = Callable[[Manifest], None]
"""A function that gets a bundle's manifest, and raises an error if the signer may not sign its images."""
CheckSignature = Callable[[bytes, bytes], CheckManifest | None]
"""A function that gets a bundle's header and signature, and raises an error if no trusted key signed the header."""


class SignatureBeside(NamedTuple):
    """A detached signature: the name and content of a file in the same folder as the bundle."""

    name: str
    data: bytes


def name_signature(bundle: str) -> str:
    """Return the name of a bundle's detached signature. For a bundle in parts, ``bundle`` names the first part."""
    return (bundle.removesuffix(".001") if parts.is_first(bundle) else bundle) + ".sig"


def read_signature_beside(bundle: str) -> SignatureBeside | None:
    """Return the detached signature of a bundle. Return None if no regular file has the signature's name."""
    name = name_signature(bundle)
    if not os.path.isfile(name):  # noqa: PTH113 - any name that the system accepts
        return None
    from dibundle.format.signing import read_file

    return SignatureBeside(name, read_file(name))


class Rereadable(Readable, Protocol):
    """A stream into which data can be put back."""

    def give_back(self, data: bytes) -> None:
        """Put back the bytes that were read most recently. The next read returns these bytes again."""


class Pieces:
    """A stream of bytes that come in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return an empty result."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def give_back(self, data: bytes) -> None:
        """Put back the bytes that were read most recently. The next read returns these bytes again."""
        self._rest = data + self._rest


class Reread:
    """A stream whose first bytes (``head``) were already read. The given function ``read`` reads the later bytes."""

    def __init__(self, read: Callable[[int], bytes], head: bytes) -> None:
        self._read = read
        self._head = head

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return an empty result."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._read(size)

    def give_back(self, data: bytes) -> None:
        """Put back the bytes that were read most recently. The next read returns these bytes again."""
        self._head = data + self._head


class _Recorded:
    """A stream that keeps a copy of all bytes that were read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        # a bytearray, because a bytes object would be copied at each read, and a read may return a single byte
        self.data = bytearray()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return an empty result."""
        piece = self._stream.read(size)
        self.data += piece
        return piece


class _TrustedError(Exception):
    """The error that stops reading as soon as a signature is accepted."""


def peek(stream: Rereadable, size: int) -> bytes:
    """Return up to ``size`` bytes from a stream, and put these bytes back into the stream."""
    head = b""
    while len(head) < size and (piece := stream.read(size - len(head))):
        head += piece
    stream.give_back(head)
    return head


def check_signature(stream: Rereadable, name: str | None, check: CheckSignature) -> None:
    """Pass a bundle's header and signature to ``check`` before later bytes are read or stored.

    After the call, the stream is at its beginning again. Raises the errors of ``check`` and of :func:`read_bundle`.
    """

    def check_alone(header: bytes, signature: bytes) -> NoReturn:
        check(header, signature)
        raise _TrustedError

    head = _Recorded(stream)
    try:
        read_bundle(head, name, None, check_alone)
    except _TrustedError:
        stream.give_back(bytes(head.data))


def fetch_bundle(
    pieces: Iterable[bytes],
    size: int,
    name: str,
    spool: Spool,
    check: CheckSignature | None,
    *,
    most_manifest: int = MAX_MANIFEST,
    is_decoded: bool = True,
) -> None:
    """Write a bundle of ``size`` bytes into a temporary file while it is fetched.

    ``check`` gets the header and the signature before the rest of the bundle is fetched. If ``is_decoded``, the
    manifest and the bundle's size are also checked before the frames are fetched. Raises :class:`BundleError` if the
    manifest has more than ``most_manifest`` bytes.
    """
    stream = Pieces(pieces)
    if (most_manifest < MAX_MANIFEST or not is_decoded) and (
        Header.decode(peek(stream, HEADER_SIZE)).size > most_manifest
    ):
        raise BundleError(messages.LIMIT_CHAIN_MANIFESTS, max_manifest=MAX_MANIFEST)
    if is_decoded:
        head = _Recorded(stream)
        read_bundle(head, name, size, check)
        stream.give_back(bytes(head.data))
    elif check is not None:
        check_signature(stream, name, check)
    check_room(spool.directory, size)
    while piece := stream.read(1 << 20):
        spool.write(piece)


def read_bundle(
    stream: Readable, name: str | None, size: int | None, check: CheckSignature | None = None
) -> BundleReader:
    """Read and check a bundle up to its manifest. If ``size`` is known, refuse a bundle of any other size."""
    in_parts = stream if isinstance(stream, parts.PartsReader) else None
    try:
        bundle = BundleReader(stream, in_parts.where if in_parts else None, check, name)
    except (BundleError, DigestError) as error:
        if name is None:
            raise
        raise error.within(name) from error.__cause__
    if in_parts:
        _check_parts(in_parts, bundle)
    elif size is not None and size != bundle.size:
        what = "truncated bundle" if size < bundle.size else "malformed bundle: bytes follow its last frame"
        raise BundleError(messages.BUNDLE_FILE_SIZE, subject=what, name=name, size=size, size_2=bundle.size)
    return bundle


def _check_parts(found: parts.PartsReader, bundle: BundleReader) -> None:
    """Refuse missing or surplus parts. The header and the manifest determine the total size."""
    sizes = f"{found.size:,} of {bundle.size:,} bytes are here"
    if found.size < bundle.size:
        raise BundleError(messages.PARTS_TRUNCATED, lacking=found.lacking(len(bundle.signature)), sizes=sizes)
    older = found.left_over(bundle.size)
    if older:
        raise BundleError(messages.PARTS_LEFT_OVER, older=older, size=bundle.size, older_2=shell_words(older))
    if found.size > bundle.size:
        raise BundleError(
            messages.PARTS_TRAILING_BYTES, excess=found.excess(bundle.size), size=found.size, size_2=bundle.size
        )


def check_integrity(bundle: BundleReader, progress: Progress | None = None) -> None:
    """Read every frame and check its digest. Frames are not decoded, so no base is needed."""
    progress = progress or Silent()
    progress.phase("checking", sum(frame.stored for frame in bundle.manifest.frames))
    for _ in bundle.manifest.frames:
        progress.advance(bundle.skip().stored)
    bundle.finish()


class WholeBundle(NamedTuple):
    """A complete, undamaged bundle: its bytes, SHA-256 and manifest."""

    content: ReadAt
    digest: bytes
    manifest: Manifest
    is_signed: bool

    @property
    def labels(self) -> dict[str, str]:
        """The labels and annotations that describe the bundle (spec/transports.md)."""
        signed = {labels.SIGNED: "true"} if self.is_signed else {}
        return labels.labels(self.manifest, self.content.size, self.digest) | signed


def read_whole(stream: Readable, context: Context, check: CheckSignature | None, name: str) -> WholeBundle:
    """Read a bundle to its end into a temporary file. Check every digest in the bundle, and the signature."""
    spool = context.spool()
    reader = BundleReader(_Copied(stream, spool), None, check, name)
    context.check_room(reader.size - spool.size)
    check_integrity(reader)  # this reads exactly up to the end of the bundle
    content_digest = digest.sha256_of(copy_chunks(spool, 0, spool.size))
    return WholeBundle(content=spool, digest=content_digest, manifest=reader.manifest, is_signed=bool(reader.signature))


class _Copied:
    """A stream that copies all data that is read from it into a temporary file."""

    def __init__(self, stream: Readable, spool: Spool) -> None:
        self._stream, self._spool = stream, spool

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return an empty result."""
        piece = self._stream.read(size)
        self._spool.write(piece)
        return piece

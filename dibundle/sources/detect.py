"""Bundles among what a user names: told by their first bytes, opened, and refused where they are not whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from dibundle.errors import AbsentError, ArchiveError, BundleError, DigestError
from dibundle.files.readat import Spool, check_room
from dibundle.format.constants import MAGIC
from dibundle.format.reader import BundleReader, Readable
from dibundle.images.archive import Archive, NoArchiveError
from dibundle.sources import messages, parts

STREAMS: Final = ("stdin", "a stream")  # names of what has none
_NAME: Final = re.compile(r".*\.dib(\.[0-9]{3})?", re.DOTALL)
Trust = Callable[[bytes, bytes], object]


def is_bundle(head: bytes) -> bool:
    """Tell a bundle by its first bytes, even one that is cut short within them or has a few of them damaged."""
    same = sum(a == b for a, b in zip(head, MAGIC, strict=False))
    return same >= 6 or (0 < len(head) < len(MAGIC) and same == len(head))


def is_named_so(name: str) -> bool:
    """Whether a name is one as bundles and their parts have."""
    return _NAME.fullmatch(name) is not None


def open_other(name: str, head: bytes, open_it: Callable[[], Archive], *, wanted: bool) -> Archive:
    """Open the archive that is in what is no bundle; ``wanted``: a bundle was expected there.

    Then :class:`BundleError` tells so of what is no archive either, and :class:`AbsentError` of a part of a bundle that
    the first one is missing.
    """
    try:
        archive = open_it()
        if wanted and not archive.index.entries:  # zeros, as a bad disk gives them, are a tar of no entries
            raise NoArchiveError(messages.ARCHIVE_NO_ENTRIES, name=name)
    except ArchiveError as error:
        if parts.missing_first(name):
            raise first_part_missing(name) from error
        if not wanted or not isinstance(error, NoArchiveError):
            raise
        begins = f"it begins with '{head.decode(errors='surrogateescape')}'" if head else "it is empty"
        look = "" if name in STREAMS else f"; see what this is: head -c 64 {shlex.quote(name)} | od -c"
        raise BundleError(messages.SOURCE_NOT_A_BUNDLE, name=name, begins=begins, look=look) from error
    return archive


def first_part_missing(name: str) -> AbsentError:
    """Return the error of a part, whose first one is not there."""
    return AbsentError(messages.PARTS_FIRST_MISSING, missing_first=parts.missing_first(name))


class Rereadable(Readable, Protocol):
    """A stream that takes back what was read of it."""

    def give_back(self, data: bytes) -> None:
        """Take back the last bytes that were read."""


class Pieces:
    """Bytes that come in pieces, as a stream."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def give_back(self, data: bytes) -> None:
        """Take back the last bytes that were read."""
        self._rest = data + self._rest


class _Recorded:
    """A stream that keeps what was read of it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.data = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        piece = self._stream.read(size)
        self.data += piece
        return piece


class _TrustedError(Exception):
    """A signature was accepted; nothing behind it is to be read yet."""


def check_signature(stream: Rereadable, name: str | None, trust: Trust) -> None:
    """Give a bundle's header and signature to ``trust`` before anything behind them is read, or kept anywhere.

    The stream then stands at its beginning again. Raises what ``trust`` raises, and as :func:`read_bundle`.
    """

    def check(header: bytes, signature: bytes) -> None:
        trust(header, signature)
        raise _TrustedError

    head = _Recorded(stream)
    try:
        read_bundle(head, name, None, check)
    except _TrustedError:
        stream.give_back(head.data)


def fetch_bundle(pieces: Iterable[bytes], size: int, name: str, spool: Spool, trust: Trust | None) -> None:
    """Write a bundle of ``size`` bytes that is fetched into a temporary file.

    ``trust`` gets its header and signature before more of it is fetched.
    """
    stream = Pieces(pieces)
    if trust:
        check_signature(stream, name, trust)
    check_room(spool.directory, size)
    while piece := stream.read(1 << 20):
        spool.write(piece)


def remembered(trust: Trust) -> Trust:
    """Return ``trust`` as a function that checks the same header and signature once."""
    accepted: set[tuple[bytes, bytes]] = set()

    def check(header: bytes, signature: bytes) -> None:
        if (header, signature) not in accepted:
            trust(header, signature)
            accepted.add((header, signature))

    return check


def read_bundle(stream: Readable, name: str | None, size: int | None, trust: Trust | None = None) -> BundleReader:
    """Read and check a bundle's head; refuse one that has not the ``size`` that it should have, where that is known."""
    in_parts = stream if isinstance(stream, parts.PartsReader) else None
    try:
        bundle = BundleReader(stream, in_parts.where if in_parts else None, trust, name)
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
    """Refuse parts that are not all there, or more than that; the first one says how much there has to be."""
    sizes = f"{found.size:,} of {bundle.size:,} bytes are here"
    if found.size < bundle.size:
        raise BundleError(messages.PARTS_TRUNCATED, lacking=found.lacking(len(bundle.signature)), sizes=sizes)
    older = found.left_over(bundle.size)
    if older:
        raise BundleError(messages.PARTS_LEFT_OVER, older=older, size=bundle.size, older_2=shlex.quote(older))
    if found.size > bundle.size:
        raise BundleError(
            messages.PARTS_TRAILING_BYTES, excess=found.excess(bundle.size), size=found.size, size_2=bundle.size
        )

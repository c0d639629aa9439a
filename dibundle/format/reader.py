"""The reader of bundles. It reads a bundle in one pass, and hashes each frame before the frame is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from dibundle.codecs import decoders, reencoders, zstd
from dibundle.errors import BundleError, DigestError, SignatureError
from dibundle.files import digest
from dibundle.format import messages
from dibundle.format.constants import HEADER_SIZE
from dibundle.format.header import Header, check_signature_area, signature_length
from dibundle.format.manifest import Manifest
from dibundle.format.tables import Frame, FrameTable

_FETCH = "fetch the bundle again"
T = TypeVar("T")


class Readable(Protocol):
    """A byte stream, such as a file, pipe or socket."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end, return no bytes."""


class BundleReader:
    """A bundle whose manifest is read and checked. :meth:`frame` returns the frames in the order of the file."""

    def __init__(
        self,
        stream: Readable,
        where: Callable[[int, int], str] | None = None,
        trust: Callable[[bytes, bytes], Callable[[Manifest], object] | None] | None = None,
        name: str | None = None,
    ) -> None:
        """Read the header, the signature and the manifest from ``stream``.

        Two parameters are for messages: ``where`` names the file that holds a range of bytes, and ``name`` is the name
        of the bundle. ``trust`` gets the header and the signature before anything else is parsed. If the bundle is
        untrusted, ``trust`` raises :class:`SignatureError`. If ``trust`` returns a function, the function gets the
        manifest, and may also raise :class:`SignatureError`.
        """
        self._stream = stream
        self._where = where
        self._at = 0
        self.name = name
        self.header_bytes = self._exactly_or_less(HEADER_SIZE)
        self.header = Header.decode(self.header_bytes)
        prefix = self._exactly(4, "the signature area")
        self.signature = check_signature_area(prefix, self._exactly(signature_length(prefix) + 4, "the signature area"))
        accept = self._trusted(lambda: trust(self.header_bytes, self.signature)) if trust else None
        stored = self._exactly(self.header.stored, "the manifest")
        if digest.sha256(stored) != self.header.digest:
            raise DigestError(messages.BUNDLE_MANIFEST_DIGEST)
        self.manifest = Manifest.decode(zstd.decompress(stored, self.header.size), decoders.KNOWN, reencoders.KNOWN)
        if accept:
            self._trusted(lambda: accept(self.manifest))
        self.frames_read = 0
        self.frames_offset = HEADER_SIZE + 4 + len(self.signature) + 4 + self.header.stored
        self.size = self.frames_offset + sum(FrameTable.of(self.manifest.frames).stored)

    def _trusted(self, check: Callable[[], T]) -> T:
        """Return the result of a check. Add the bundle's name to a :class:`SignatureError`."""
        try:
            return check()
        except SignatureError as error:
            raise (error if self.name is None else error.within(self.name)) from error.__cause__

    def frame(self) -> tuple[Frame, bytes]:
        """Return the next frame and its stored bytes. The digest of these bytes has been checked."""
        frame = self._next()
        stored = self._exactly(frame.stored, f"frame {self.frames_read}")
        self._check(frame, digest.sha256(stored))
        return frame, stored

    def skip(self) -> Frame:
        """Skip the next frame and return it.

        The stored bytes are checked, but not kept, because they may take 80 MiB.
        """
        frame, begun = self._next(), self._at
        found = digest.sha256_of(self._chunks(frame.stored))
        if self._at - begun != frame.stored:
            raise self._truncated(f"frame {self.frames_read}", self._at - begun, frame.stored)
        self._check(frame, found)
        return frame

    def _next(self) -> Frame:
        if self.frames_read >= len(self.manifest.frames):
            raise BundleError(messages.PROGRAM_FRAMES_EXHAUSTED)
        return self.manifest.frames[self.frames_read]

    def _check(self, frame: Frame, found: bytes) -> None:
        """Count a frame after it was read. Raise :class:`DigestError` if the frame's digest differs from ``found``."""
        if found != frame.digest:
            place = f" ({self._where(self._at - frame.stored, self._at)})" if self._where else ""
            raise DigestError(messages.BUNDLE_FRAME_DIGEST, index=self.frames_read, place=place)
        self.frames_read += 1

    def skip_to(self, target: int) -> None:
        """Skip all frames before the first frame of target number ``target``. Check the skipped frames."""
        for _ in range(self.frames_read, sum(before.frames for before in self.manifest.targets[:target])):
            self.skip()

    def finish(self) -> None:
        """Refuse frames that were not used, and any bytes after the last frame."""
        if self.frames_read != len(self.manifest.frames):
            raise BundleError(messages.PROGRAM_FRAMES_UNUSED)
        if self._stream.read(1):
            raise BundleError(messages.BUNDLE_TRAILING_BYTES)

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size and (chunk := self._stream.read(min(size, 1 << 20))):
            size -= len(chunk)
            self._at += len(chunk)
            yield chunk

    def _exactly_or_less(self, size: int) -> bytes:
        return b"".join(self._chunks(size))

    def _exactly(self, size: int, what: str) -> bytes:
        data = self._exactly_or_less(size)
        if len(data) != size:
            raise self._truncated(what, len(data), size)
        return data

    @staticmethod
    def _truncated(what: str, found: int, size: int) -> BundleError:
        return BundleError(messages.BUNDLE_TRUNCATED, subject=what, data_count=found, size=size)

"""Write zstd frames with libzstd from the installed ``zstandard``. The library must have exactly the right version.

``spec/zstd.md`` specifies the library functions that must be called to write a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

import zstandard

from dibundle.codecs import messages
from dibundle.codecs.deflate.encoders import Family, sample
from dibundle.codecs.frames.layout import MAGIC, read_head
from dibundle.codecs.native.library import Buffer
from dibundle.errors import BundleError, FileError, install_hint
from dibundle.files.readat import MemoryBytes

LIBZSTD_157: Final = 48
LIBZSTD_157_HIGH: Final = 49

CHECKSUM: Final = 1
SIZED: Final = 2
JOBS: Final = 4

SLOW_LEVEL: Final = 13


class Release(NamedTuple):
    """A version of libzstd, and the packages of ``zstandard`` on PyPI that contain it."""

    version: tuple[int, int, int]
    packages: str

    @property
    def name(self) -> str:
        """The version of libzstd as text for messages."""
        return ".".join(map(str, self.version))


RELEASES: Final[dict[int, Release]] = {LIBZSTD_157: Release((1, 5, 7), "zstandard>=0.24,<0.26")}
"""Versions, by their first encoder number. The second encoder number of a version is for the levels from 16 on."""

_LOW: Final = tuple(range(1, 16))
_HIGH: Final = tuple(range(1, 5))
_LARGE_LEVEL: Final = 10  # minimum level for the cost _LARGE
# extra cost of a body at _LARGE_LEVEL or above, in bytes of content, because creating the tables takes up to 60 ms
_LARGE: Final = 64 << 10
_SMALL: Final = 8 << 10  # extra cost of a body below _LARGE_LEVEL, in bytes of content


FAMILIES: Final[dict[int, Family]] = {
    number: family
    for first, release in RELEASES.items()
    for number, family in (
        (first, Family(name=f"libzstd {release.name}", levels=_LOW, most=7)),
        (first + 1, Family(name=f"libzstd {release.name}, levels from 16 on", levels=_HIGH, most=7)),
    )
}
"""Every encoder, by number. The parameter is a sum of the flags CHECKSUM, SIZED (the head has the size) and JOBS."""


def library_level(encoder: int, level: int) -> int:
    """Return the level as the library numbers it."""
    return level if encoder in RELEASES else level + _LOW[-1]


def start_cost(encoder: int, level: int) -> int:
    """Return the extra cost of a body, in addition to the fixed cost of each body and the content's cost."""
    return _LARGE if library_level(encoder, level) >= _LARGE_LEVEL else _SMALL


def here() -> int | None:
    """Return the first encoder number of the installed libzstd, or None if no encoder uses its version."""
    return next((first for first, release in RELEASES.items() if release.version == zstandard.ZSTD_VERSION), None)


def first_number(encoder: int) -> int:
    """Return the first encoder number of the same version. The encoder with this number is for the levels up to 15."""
    return encoder if encoder in RELEASES else encoder - 1


def release_of(encoder: int) -> Release:
    """Return the version of libzstd that an encoder needs."""
    return RELEASES[first_number(encoder)]


def releases_of(reencoders: Iterable[int]) -> tuple[Release, ...]:
    """Return the versions of libzstd that ``reencoders`` (from a bundle's section 1) need."""
    return tuple(dict.fromkeys(release_of(number >> 4) for number in reencoders if number >> 4 in FAMILIES))


class LibraryEncoder:
    """An encoder that writes frames, one after the other.

    A frame does not depend on how its content is cut into pieces.
    """

    def __init__(self, encoder: int, level: int, parameter: int, size: int | None, *, tested: bool = True) -> None:
        """Create an encoder for content of ``size`` bytes. If ``parameter`` lacks the flag SIZED, ``size`` may be None.

        With ``tested``, raises ``FileError`` if the installed library has a wrong version or gives wrong bytes.
        """
        if tested:
            prove(encoder, level)
        self.encoder, self.level, self.parameter = encoder, level, parameter
        self._compressor = zstandard.ZstdCompressor(
            level=library_level(encoder, level),
            write_checksum=bool(parameter & CHECKSUM),
            write_content_size=bool(parameter & SIZED),
            threads=1 if parameter & JOBS else 0,
        )
        self.restart(size)

    def restart(self, size: int | None) -> None:
        """Begin a further frame, as a new encoder would. The current frame must be finished."""
        sized = size if self.parameter & SIZED else None
        self._frame = self._compressor.compressobj() if sized is None else self._compressor.compressobj(size=sized)
        self._marks = _Marks()

    def write(self, content: Buffer) -> bytes:
        """Take content, and return the new bytes of the frame."""
        try:
            made: bytes = self._frame.compress(content)
        except zstandard.ZstdError as error:
            raise _refusal(error) from error
        self._marks.add(made)
        return made

    def finish(self) -> bytes:
        """Finish the content, and return the remaining bytes of the frame. Call ``restart`` before the next write."""
        return self._flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)

    def flush(self) -> bytes:
        """Return the blocks of all content so far. A flush changes the bytes of the frame."""
        return self._flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def marks(self) -> list[int]:
        """Return the starts of the frame's blocks. Each start is returned only once."""
        return self._marks.take()

    def _flush(self, how: int) -> bytes:
        try:
            made: bytes = self._frame.flush(how)
        except zstandard.ZstdError as error:
            raise _refusal(error) from error
        self._marks.add(made)
        return made


def _refusal(error: zstandard.ZstdError) -> Exception:
    if "memory" in str(error):
        return MemoryError()
    return BundleError(messages.ENCODER_LIBRARY_REFUSED, reason=str(error))


class _Marks:
    """A finder of block starts in a frame that comes in pieces."""

    def __init__(self) -> None:
        self._marks: list[int] = []
        self._data = bytearray()
        self._start = 0  # offset of _data in the frame
        self._next: int | None = None  # offset of the next block; None before the header is complete
        self._ended = False

    def add(self, data: bytes) -> None:
        """Take the next piece of the frame."""
        if self._ended:
            return
        self._data += data
        if self._next is None:
            head = read_head(MemoryBytes(bytes(self._data[:18])), 0) if len(self._data) >= len(MAGIC) + 2 else None
            if head is None:
                return
            self._next = head.size
        while not self._ended and self._next + 3 <= self._start + len(self._data):
            at = self._next - self._start
            number = int.from_bytes(self._data[at : at + 3], "little")
            self._marks.append(self._next)
            self._next += 3 + (1 if number >> 1 & 3 == 1 else number >> 3)
            self._ended = bool(number & 1)
        gone = min(self._next - self._start, len(self._data))
        del self._data[:gone]
        self._start += gone

    def take(self) -> list[int]:
        """Return the starts of blocks that were found so far. Each start is returned only once."""
        marks, self._marks = self._marks, []
        return marks


# ---------------------------------------------------------------- the test before the first use


@cache
def prove(encoder: int, level: int) -> None:
    """Encode the sample with the library. Raise ``FileError`` if the library's version or its output is wrong."""
    release = release_of(encoder)
    if release.version != zstandard.ZSTD_VERSION:
        raise FileError(
            messages.LIBRARY_LIBZSTD_VERSION,
            wanted=release.name,
            found=".".join(map(str, zstandard.ZSTD_VERSION)),
            install_hint=install_hint(f"'{release.packages}'"),
        )
    if _frames(encoder, level) != _PROOFS[encoder][level]:
        raise FileError(messages.LIBRARY_ENCODER_BROKEN, name=FAMILIES[encoder].name, level=level)


def _frames(encoder: int, level: int) -> str:
    """Return the first 16 digits of the sample frames' SHA-256.

    One frame has content of unknown size, and another frame is encoded in jobs.
    """
    found = hashlib.sha256()
    for parameter in (CHECKSUM, CHECKSUM | SIZED | JOBS):
        content = sample() * 4  # large enough for jobs
        trial = LibraryEncoder(encoder, level, parameter, len(content), tested=False)
        found.update(trial.write(content) + trial.finish())
    return found.hexdigest()[:16]


_PROOFS: Final[dict[int, dict[int, str]]] = {
    LIBZSTD_157: {
        1: "42a38fdeb83c9637",
        2: "69c532e3afced965",
        3: "28968c47793a45f5",
        4: "ef108eec50b26b54",
        5: "dd3ea678f37c8f09",
        6: "5217208e6196dff3",
        7: "ced293ac07d31d66",
        8: "d7005fa3f7bc06d4",
        9: "75b7c5eb923496ae",
        10: "98563c8b09a35364",
        11: "1edcb5caaabaf64c",
        12: "1edcb5caaabaf64c",
        13: "03ca550a1cd2bdae",
        14: "ab8816fe1d2d0b73",
        15: "ab8816fe1d2d0b73",
    },
    LIBZSTD_157_HIGH: {
        1: "35398e48854f3a53",
        2: "c24a97455579c3c9",
        3: "a0812ea471133390",
        4: "d01b549e47fdb597",
    },
}
"""The first 16 digits of the SHA-256 of the encoded sample."""

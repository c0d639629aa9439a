"""All re-encoders. A re-encoder reproduces deflate bodies or zstd frames of well-known programs, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from dibundle.codecs.deflate import encoders as deflate
from dibundle.codecs.deflate import parallel
from dibundle.codecs.frames import encoders as frames
from dibundle.codecs.frames import libzstd
from dibundle.codecs.native.library import Buffer

if TYPE_CHECKING:
    from concurrent.futures import Executor

FAMILIES: Final = {**deflate.FAMILIES, **frames.FAMILIES, **libzstd.FAMILIES}
"""Every encoder by number."""

KNOWN: Final = frozenset(encoder << 4 | level for encoder, family in FAMILIES.items() for level in family.levels)
"""The re-encoders by their number in section 1, which is 16 times the encoder's number, plus the level."""

_SLOW_LEVEL: Final = 7
# time factor for levels from SLOW_LEVEL on: for layers, level 9 takes 3 to 4 times as long as level 6
_SLOW: Final = 4
_LAZY: Final = frozenset((deflate.PGZIP_1, deflate.PGZIP_2, deflate.PGZIP_3))
_LAZIEST_LEVEL: Final = 9
# time factor for LAZIEST_LEVEL: in random content with only two letters, each byte takes 1,024 comparisons (5 to 6 us)
_LAZIEST: Final = 8
_FRAMES_START: Final = 8192
"""The cost of a new encoder. zstd's level 4 has tables of 34 MB, and zeroing them in huge pages takes 5.5 ms."""
_SLOW_BEST: Final = 2  # time factor for zstd's best level: it encodes 20 MB/s, and deflate's level 6 encodes 40 MB/s


class AnyEncoder(Protocol):
    """The interface of all encoders."""

    def write(self, content: Buffer) -> bytes:
        """Take content, and return the encoded bytes that are complete."""

    def finish(self) -> bytes:
        """Finish the content, and return the remaining bytes."""


def is_frames(encoder: int) -> bool:
    """Return whether an encoder writes zstd frames."""
    return encoder in frames.FAMILIES or encoder in libzstd.FAMILIES


def check(encoder: int, level: int, parameter: int) -> None:
    """Raise ``BundleError`` if there is no encoder with this number, level and parameter."""
    deflate.check(encoder, level, parameter, FAMILIES)


def byte_cost(encoder: int, level: int) -> int:
    """Return the cost of a byte of content."""
    if encoder in libzstd.FAMILIES:
        return _SLOW_BEST if libzstd.library_level(encoder, level) >= libzstd.SLOW_LEVEL else 1
    if is_frames(encoder):
        return _SLOW_BEST if level == frames.BEST else 1
    if level == _LAZIEST_LEVEL and encoder in _LAZY:
        return _LAZIEST
    return _SLOW if level >= _SLOW_LEVEL else 1


def start_cost(reencoder: int, before: int) -> int:
    """Return the extra cost of starting a body, in addition to the fixed cost of each body.

    ``before`` is the previous re-encoder, which may be reused.
    """
    encoder, level = reencoder >> 4, reencoder & 15
    if encoder in libzstd.FAMILIES:
        return libzstd.start_cost(encoder, level)
    return _FRAMES_START if encoder in frames.FAMILIES and reencoder != before else 0


def prove(encoder: int, level: int) -> None:
    """Encode a sample. Raise ``FileError`` if the result differs from the known result."""
    (libzstd if encoder in libzstd.FAMILIES else frames if is_frames(encoder) else deflate).prove(encoder, level)


def libraries_of(reencoders: Iterable[int]) -> list[str]:
    """Return the names of the exact library versions that the re-encoders in a bundle's section 1 need."""
    return [f"libzstd {release.name}" for release in libzstd.releases_of(reencoders)]


def fits(spare: AnyEncoder, encoder: int, level: int, parameter: int) -> bool:
    """Return whether a finished encoder can be reused."""
    if isinstance(spare, libzstd.LibraryEncoder):
        return (spare.encoder, spare.level, spare.parameter) == (encoder, level, parameter)
    return isinstance(spare, frames.FrameEncoder) and (spare.encoder, spare.level) == (encoder, level)


def open_encoder(
    encoder: int,
    level: int,
    parameter: int,
    size: int | None = None,
    spare: AnyEncoder | None = None,
    pool: Executor | None = None,
) -> AnyEncoder:
    """Return a tested encoder.

    If ``spare`` fits (:func:`fits`), it is reused. Some encoders use the threads of ``pool``.

    ``size`` is the size of the content.
    """
    if spare is not None and fits(spare, encoder, level, parameter):
        if isinstance(spare, libzstd.LibraryEncoder):
            spare.restart(size)
        elif isinstance(spare, frames.FrameEncoder):
            spare.restart(parameter)
        return spare
    if encoder in libzstd.FAMILIES:
        return libzstd.LibraryEncoder(encoder, level, parameter, size)
    if is_frames(encoder):
        return frames.FrameEncoder(encoder, level, parameter)
    parallel_encoder = pool and parallel.open_parallel(encoder, level, parameter, size or 0, pool)
    return parallel_encoder or deflate.Encoder(encoder, level, parameter)

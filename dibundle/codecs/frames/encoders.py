"""The encoders of zstd frames, by their numbers in recipes.

Each encoder is tested on this machine before its first use.

``spec/zstd.md`` specifies every byte that the encoders write. The loops are in ``native/zstd/``.
"""

from __future__ import annotations

import hashlib
from array import array
from functools import cache
from typing import Final

from dibundle.codecs import messages
from dibundle.codecs.deflate.encoders import Family, sample, take_bytes
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import FileError

KLAUSPOST_17: Final = 32
KLAUSPOST_20: Final = 33
KLAUSPOST_15: Final = 34

FASTEST: Final = 1
DEFAULT: Final = 2
BETTER: Final = 3
BEST: Final = 4

BLOCKS: Final = {FASTEST: 64 << 10, DEFAULT: 128 << 10, BETTER: 128 << 10, BEST: 128 << 10}
MOST_FIRST: Final = (64 << 10) - 1

FAMILIES: Final[dict[int, Family]] = {
    KLAUSPOST_15: Family(
        name="klauspost/compress zstd 1.15.12", levels=(FASTEST, DEFAULT, BETTER, BEST), most=MOST_FIRST
    ),
    KLAUSPOST_17: Family(
        name="klauspost/compress zstd 1.17.9 to 1.20.0", levels=(FASTEST, DEFAULT, BETTER, BEST), most=MOST_FIRST
    ),
    KLAUSPOST_20: Family(
        name="klauspost/compress zstd from 1.20.3", levels=(FASTEST, DEFAULT, BETTER, BEST), most=MOST_FIRST
    ),
}
"""Every encoder by number.

The parameter is the size of the first block if the first block is not full. Otherwise, it is 0.
"""

_SLICE: Final = 1 << 20  # bytes of content per call of an encoder
_MARKS: Final = 1024  # marks per call


class FrameEncoder:
    """An encoder that writes frames, one after the other.

    A frame does not depend on how its content is cut into pieces.
    """

    def __init__(self, encoder: int, level: int, first: int = 0, *, tested: bool = True) -> None:
        """Create an encoder. With ``tested``, raise ``FileError`` if the encoder gives wrong bytes on this machine."""
        if tested:
            prove(encoder, level)
        self.encoder, self.level = encoder, level
        self._handle: int = LIBRARY.dib_zstd_new(encoder, level, first)
        if not self._handle:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            LIBRARY.dib_zstd_free(self._handle)

    def write(self, content: Buffer) -> bytes:
        """Take content. Return the next bytes of the frame that will not change any more."""
        view = memoryview(content).cast("B")
        return b"".join(self._write(view[at : at + _SLICE], finish=False) for at in range(0, len(view), _SLICE))

    def finish(self) -> bytes:
        """Finish the content, and return the remaining bytes of the frame. Call ``restart`` before the next write."""
        return self._write(memoryview(b""), finish=True)

    def marks(self) -> list[int]:
        """Return the starts of the frame's blocks. Each start is returned only once."""
        marks: list[int] = []
        count = _MARKS
        while count == _MARKS:
            out = array("q", bytes(8 * _MARKS))
            count = LIBRARY.dib_zstd_marks(self._handle, Pinned(out), _MARKS)
            marks += out[:count]
        return marks

    def restart(self, first: int = 0) -> None:
        """Begin a further frame, as a new encoder would. The current frame must be finished."""
        self.marks()
        if LIBRARY.dib_zstd_reset(self._handle, first) < 0:
            raise ValueError("an encoder was called in the wrong order")

    def _write(self, content: memoryview, *, finish: bool) -> bytes:
        pinned = Pinned(content)
        size = LIBRARY.dib_zstd_write(self._handle, pinned, pinned.size, int(finish))
        return take_bytes(LIBRARY.dib_zstd_take, self._handle, size)


@cache
def prove(encoder: int, level: int) -> None:
    """Encode the sample. Raise ``FileError`` if the result is wrong."""
    if _frames(encoder, level) != _PROOFS[encoder][level]:
        raise FileError(messages.LIBRARY_ENCODER_BROKEN, name=FAMILIES[encoder].name, level=level)


def _frames(encoder: int, level: int) -> str:
    """Return the first 16 digits of the SHA-256 of sample frames.

    Some frames have several blocks, others have one block.
    """
    trial = FrameEncoder(encoder, level, tested=False)
    found = hashlib.sha256()
    numbers = b"".join(b"%d;%d\n" % (i * i % 9973, i // 7) for i in range(30_000))
    skewed = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(1_250)).translate(bytes(range(64)) * 4)
    # one sample has no matches, and its bytes have unequal frequencies
    for content in (sample() + numbers, sample()[:60_000], skewed):
        found.update(trial.write(content) + trial.finish())
        trial.restart()
    return found.hexdigest()[:16]


_PROOFS: Final[dict[int, dict[int, str]]] = {
    KLAUSPOST_15: {
        FASTEST: "98fbce5aab6e0b39",
        DEFAULT: "c1cbb4bd7d86b1bd",
        BETTER: "e5de4ebd39a2cd11",
        BEST: "1d339090406a1103",
    },
    KLAUSPOST_17: {
        FASTEST: "98fbce5aab6e0b39",
        DEFAULT: "f87897b54f050754",
        BETTER: "4988cdee880e48a0",
        BEST: "21d4571c7b7e6a25",
    },
    KLAUSPOST_20: {
        FASTEST: "750fd4db56e7cb8b",
        DEFAULT: "f9a12859d3adb519",
        BETTER: "247b47e364d063f0",
        BEST: "d56934780bbc7725",
    },
}

"""The encoders, by their numbers in recipes. Each encoder is tested on this machine before its first use.

``spec/deflate.md`` specifies every byte that the encoders write. The loops are in ``native/deflate/``.
"""

from __future__ import annotations

import ctypes
import hashlib
from array import array
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple, Protocol

from dibundle.codecs import messages
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import BundleError, FileError

GO: Final = 1
KLAUSPOST: Final = 2
PGZIP_0: Final = 3
PGZIP_1: Final = 4
PGZIP_3: Final = 5
ZLIB: Final = 6
GNU: Final = 7
PGZIP_2: Final = 8
PIGZ: Final = 9

PIGZ_BLOCK: Final = 128 << 10
"""The number of bytes that pigz takes at a time by default."""

STORED: Final = 0
FIXED: Final = 1
DYNAMIC: Final = 2

CHUNK: Final = 65_535
"""The number of bytes of content that some encoders take at a time."""

WINDOW: Final = 32 << 10
"""The maximum distance of a match in deflate, in bytes of content."""

DICTIONARY: Final = 16 << 10
"""The number of bytes of content before a pgzip block to which matches in the block may refer."""

FRAME_LIMIT: Final = 1 << 30
"""The largest supported block of pgzip."""

_SLICE: Final = 1 << 20  # bytes of content per call of an encoder
_MARKS: Final = 1024  # marks per call
_NO_MEMORY: Final = -2


class Family(NamedTuple):
    """An encoder, with its levels.

    The encoder's parameter is from ``least`` to ``most``. If ``least`` and ``most`` are 0, the encoder has no
    parameter.
    """

    name: str
    levels: tuple[int, ...]
    least: int = 0
    most: int = 0


_PGZIP: Final = (PGZIP_0, PGZIP_1, PGZIP_2, PGZIP_3)
_ALL: Final = tuple(range(1, 10))

FAMILIES: Final[dict[int, Family]] = {
    GO: Family(name="Go compress/flate up to 1.26", levels=(0, *_ALL)),
    KLAUSPOST: Family(name="Go compress/flate from 1.27, klauspost/compress from 1.18.2", levels=(1, 5, 6)),
    PGZIP_0: Family(
        name="pgzip over klauspost/compress 1.15.0 to 1.15.9", levels=(5,), least=DICTIONARY + 1, most=FRAME_LIMIT
    ),
    PGZIP_1: Family(
        name="pgzip over klauspost/compress 1.15.10 to 1.18.0",
        levels=_ALL,
        least=DICTIONARY + 1,
        most=FRAME_LIMIT,
    ),
    PGZIP_2: Family(
        name="pgzip over klauspost/compress 1.17.9 to 1.18.1",
        levels=(4, 7, 8, 9),
        least=DICTIONARY + 1,
        most=FRAME_LIMIT,
    ),
    PGZIP_3: Family(
        name="pgzip over klauspost/compress from 1.18.2",
        levels=_ALL,
        least=DICTIONARY + 1,
        most=FRAME_LIMIT,
    ),
    ZLIB: Family(name="zlib", levels=_ALL, least=8, most=9),
    GNU: Family(name="GNU gzip", levels=_ALL),
    PIGZ: Family(name="pigz", levels=_ALL, least=4 * 32, most=4 * (4 << 10) + 3),
}
"""Every encoder by number.

The parameter of pgzip is the block size in bytes. The parameter of zlib is memLevel. The parameter of pigz is four
times the block size in KiB, plus a mode.
"""


KNOWN: Final = frozenset(encoder << 4 | level for encoder, family in FAMILIES.items() for level in family.levels)
"""The re-encoders by their number in section 1, which is 16 times the encoder's number, plus the level."""


class PigzMode(IntEnum):
    """The mode in which pigz cuts content; the lowest bits of pigz's parameter contain the mode."""

    THREADS = 0
    INDEPENDENT = 1
    RSYNCABLE = 2
    ONE_THREAD = 3


class Mark(NamedTuple):
    """The start of a block.

    ``bit`` is the position of the block's first bit in the body, and ``content`` is the number of bytes of content
    before the block. ``type`` is the block's type, and ``last`` is true for the last block.
    """

    bit: int
    content: int
    type: int
    last: bool


class _TakeFunction(Protocol):
    def __call__(self, handle: int, out: int, most: int, /) -> int: ...


def is_pgzip(encoder: int) -> bool:
    """Return whether an encoder is pgzip, whose blocks :func:`encode_frame` can encode in parallel."""
    return encoder in _PGZIP


def check(encoder: int, level: int, parameter: int, families: Mapping[int, Family] = FAMILIES) -> None:
    """Raise ``BundleError`` if there is no encoder with this number, level and parameter."""
    family = families.get(encoder)
    if family is None:
        raise BundleError(messages.ENCODER_UNKNOWN, encoder=encoder, families=", ".join(map(str, families)))
    if level not in family.levels:
        raise BundleError(messages.ENCODER_UNKNOWN_LEVEL, level=level, name=family.name)
    if not family.least <= parameter <= family.most:
        raise BundleError(
            messages.ENCODER_PARAMETER_OUT_OF_RANGE,
            parameter=parameter,
            name=family.name,
            least=family.least,
            most=family.most,
        )


class _Handle:
    """A handle of a C encoder that produces a body. The encoder is freed with this object."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        if not handle:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            LIBRARY.dib_deflate_free(self._handle)

    def _take(self, size: int) -> bytes:
        return take_bytes(LIBRARY.dib_deflate_take, self._handle, size)


class Encoder(_Handle):
    """An encoder of one body. The body does not depend on how its content is cut into pieces."""

    def __init__(self, encoder: int, level: int, parameter: int, *, tested: bool = True) -> None:
        """Create an encoder. With ``tested``, raise ``FileError`` if the encoder gives wrong bytes on this machine.

        For pgzip, the parameter may be 0. In this case, call ``frame`` before the content exceeds one block.
        """
        is_open = parameter == 0 and is_pgzip(encoder)
        check(encoder, level, FAMILIES[encoder].least if is_open else parameter)
        if tested:
            prove(encoder, level)
        super().__init__(LIBRARY.dib_deflate_new(encoder, level, parameter))

    def write(self, content: Buffer) -> bytes:
        """Take content. Return the next bytes of the body that will not change any more."""
        view = memoryview(content).cast("B")
        return b"".join(self._write(view[at : at + _SLICE], finish=False) for at in range(0, len(view), _SLICE))

    def finish(self) -> bytes:
        """Finish the content, and return the remaining bytes of the body. Do not call ``write`` afterwards."""
        return self._write(memoryview(b""), finish=True)

    def frame(self, block_size: int) -> bytes:
        """Set pgzip's block size (at least the size of the content so far), and return the body's new bytes."""
        return self._take(LIBRARY.dib_deflate_frame(self._handle, block_size))

    def marks(self) -> list[Mark]:
        """Return the starts of the body's blocks. Each start is returned only once."""
        return take_marks(LIBRARY.dib_deflate_marks, self._handle)

    def _write(self, content: memoryview, *, finish: bool) -> bytes:
        pinned = Pinned(content)
        return self._take(LIBRARY.dib_deflate_write(self._handle, pinned, pinned.size, int(finish)))


class SearchedPiece:
    """A piece of content for a Go encoder of level 4 to 9.

    If ``is_searched`` is true, the piece is searched separately for matches before it is joined.
    """

    def __init__(
        self, level: int, start: int, content: Buffer, before: int, after: int, *, is_searched: bool = True
    ) -> None:
        """Search a piece.

        ``start`` is the piece's offset in the whole content, a multiple of ``WINDOW``. ``content`` has ``before`` bytes
        (two windows, or all earlier content), then the piece, then ``after`` bytes. For the last piece, ``after`` is 0.
        For all other pieces, the size of the piece and ``after`` are multiples of ``WINDOW``.
        """
        self.is_searched = is_searched
        pinned = Pinned(content)
        self._handle: int = LIBRARY.dib_deflate_piece(
            level, start, pinned, pinned.size, before, after, int(not after), int(is_searched)
        )
        if not self._handle:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            LIBRARY.dib_deflate_piece_free(self._handle)

    def release(self) -> int:
        """Return the handle, which the caller has to free."""
        handle, self._handle = self._handle, 0
        return handle


class Joiner(_Handle):
    """A Go encoder that joins separately searched pieces to a body."""

    def __init__(self) -> None:
        super().__init__(LIBRARY.dib_deflate_joiner())

    def join(self, piece: SearchedPiece) -> tuple[bytes, bool]:
        """Take the next piece. Return the new bytes of the body, and whether the search of the piece was useful."""
        is_met = array("q", [0])
        body = self._take(LIBRARY.dib_deflate_join(self._handle, piece.release(), is_met.buffer_info()[0]))
        return body, bool(is_met[0])


def take_bytes(function: _TakeFunction, handle: int, size: int) -> bytes:
    """Call the C ``function`` to take ``size`` bytes of output from a handle.

    If ``size`` is below 0, the previous call failed.
    """
    if size == _NO_MEMORY:
        raise MemoryError
    if size < 0:
        raise ValueError("an encoder was called in the wrong order")
    out = ctypes.create_string_buffer(size)
    function(handle, ctypes.addressof(out), size)
    return out.raw


def take_marks(function: _TakeFunction, handle: int) -> list[Mark]:
    """Call the C ``function`` to take all marks from a handle, and return the marks."""
    out = array("q", bytes(24 * _MARKS))
    marks: list[Mark] = []
    count = _MARKS
    while count == _MARKS:
        count = function(handle, out.buffer_info()[0], _MARKS)
        numbers = iter(out[: 3 * count])
        marks += [
            Mark(bit, content, kind >> 1, bool(kind & 1))
            for bit, content, kind in zip(numbers, numbers, numbers, strict=True)
        ]
    return marks


def pigz_hits(content: bytes) -> set[int]:
    """Return the offsets at which ``pigz -R`` ends blocks. ``content`` is the beginning of a body's content."""
    found, value = set(), 0x7FF
    for place, byte in enumerate(content, 1):
        value = (value << 1 ^ byte) & 0xFFF
        if value == 0x7FF:
            found.add(place)
    return found


def encode_frame(encoder: int, level: int, dictionary: Buffer, block: Buffer, *, last: bool) -> bytes:
    """Return a single encoded pgzip block. Several blocks can be encoded in parallel.

    ``dictionary`` is the last 16 KiB of the previous block. For the first block, ``dictionary`` is empty. All blocks
    except the last have the block size. If the content's size is a multiple of the block size, the last block is empty.
    The body consists of the blocks in order.
    """
    prove(encoder, level)
    before, content = Pinned(dictionary), Pinned(block)
    out = ctypes.create_string_buffer(content.size + content.size // 8192 + 64)
    size = LIBRARY.dib_deflate_block(
        encoder, level, before, before.size, content, content.size, int(last), ctypes.addressof(out), len(out)
    )
    if size == _NO_MEMORY:
        raise MemoryError
    if not 0 <= size <= len(out):
        raise ValueError("not a pgzip encoder, or a dictionary of more than 16 KiB")
    return out.raw[:size]


# ---------------------------------------------------------------- the test before the first use


@cache
def sample() -> bytes:
    """Return a sample of 171 KB that uses all rules of the encoders.

    The sample has similar lines, a run of equal bytes, random-looking bytes and a repeat.
    """
    words = [hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(211)]
    lines = b"".join(b"%d:%s%s\n" % (i, words[i * i % 211][: i % 29], words[i * 7 % 97][i % 61 :]) for i in range(2600))
    noise = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(256))
    return lines + bytes(3000) + noise + lines[:20000]


@cache
def prove(encoder: int, level: int) -> None:
    """Encode the sample. Raise ``FileError`` if the result is wrong."""
    least = FAMILIES[encoder].least
    trial = Encoder(encoder, level, 70000 if least > DICTIONARY else least, tested=False)
    body = trial.write(sample()) + trial.finish()
    if hashlib.sha256(body).hexdigest()[:16] != _PROOFS[encoder][level]:
        raise FileError(messages.LIBRARY_ENCODER_BROKEN, name=FAMILIES[encoder].name, level=level)


_PROOFS: Final[dict[int, dict[int, str]]] = {
    GO: {
        0: "ae7b32deb158cf7b",
        1: "f511d659850a35e6",
        2: "f344bfd8925e56a1",
        3: "14498ffc48955ddf",
        4: "1a4231be0a9f8f3d",
        5: "06ef7e64f2b05ce3",
        6: "f3644a8f4aaa651e",
        7: "6b79a03eecc9188f",
        8: "867a04650cb2667a",
        9: "867a04650cb2667a",
    },
    KLAUSPOST: {
        1: "55435be75f15ab1d",
        5: "f163e82afad7b0ed",
        6: "5feec1fe2f3e6fd8",
    },
    PGZIP_0: {
        5: "f44ac6450c10a0ee",
    },
    PGZIP_1: {
        1: "85f4cf5240ded7f9",
        2: "ab303cc98e92edc9",
        3: "573e59de99bf7c7d",
        4: "344c9b4edebba4c8",
        5: "e6b5a279e7e69db1",
        6: "aaeeaa515b84c821",
        7: "9208d9de8904d4da",
        8: "003187fd69f00ac1",
        9: "beffe5f2b2b6c59c",
    },
    PGZIP_2: {
        4: "ff0c89a54b202d1e",
        7: "b3d10cd2ffc2bbb8",
        8: "3c8954c22714d3f8",
        9: "9b04d2145379d152",
    },
    PGZIP_3: {
        1: "3aba08adcb2bdbab",
        2: "033d977f561ed43a",
        3: "5792bc8af50c7e2d",
        4: "0f007d542b2b6572",
        5: "b89eb9f77ce8bf84",
        6: "73682504a0f9b203",
        7: "b3d10cd2ffc2bbb8",
        8: "3c8954c22714d3f8",
        9: "37dca01ba34c8e28",
    },
    ZLIB: {
        1: "b0436d1447c63449",
        2: "e261c546ac4147a4",
        3: "20aba6e7f7cb96f3",
        4: "6dc05807f1507e03",
        5: "ca909a98b1026845",
        6: "c678d1824187831d",
        7: "41d9eb3086fca3a2",
        8: "2cfaadd750fc24bd",
        9: "2cfaadd750fc24bd",
    },
    GNU: {
        1: "936160e0aec73787",
        2: "f41c1b9caa28e166",
        3: "731860763ec292cb",
        4: "61072640d7dabb14",
        5: "efa4506acf8fa04b",
        6: "e3e16b88634ede4c",
        7: "8e666845921c909b",
        8: "8c597cab01b6f92a",
        9: "8c597cab01b6f92a",
    },
    PIGZ: {
        1: "86e54049dedaa90c",
        2: "5babb22725655377",
        3: "e816c7adc97dce51",
        4: "6ccbb6fee86d78ea",
        5: "8a9bcaf69e5a657c",
        6: "a1522f6c1b7a3a92",
        7: "a1d3c2b7c3667cb9",
        8: "678a906d65f69161",
        9: "678a906d65f69161",
    },
}
"""The first 16 digits of the SHA-256 of the encoded sample.

pgzip has blocks of 70,000 bytes, zlib has memLevel 8, and pigz has blocks of 32 KiB.
"""

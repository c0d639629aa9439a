"""The modelled difference.

An arithmetic coder encodes a difference stream. For each byte of this stream, the coder also reads the source.

Two builds of native code differ mostly in operands: addresses, and offsets in structures and stacks. The source around
a byte shows whether the byte is part of an operand. If a word has changed before, the same word usually changes by the
same difference again. A general compressor cannot use this information, because such a compressor reads only the
difference. ``spec/cover.md`` specifies the model exactly. ``native/model.c`` has the loops.
"""

from __future__ import annotations

from array import array
from typing import Final

from dibundle.codecs import messages
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import BundleError

MIN_BITS: Final = 10
MAX_BITS: Final = 18
"""The maximum of ``bits``, the size of the tables. 9 tables of ``1 << bits`` 2-byte counters take at most 4.5 MiB."""


QUICK: Final = 32
"""A flag that is added to ``bits``. A single counter then codes "unchanged" if changes are rarer than 1 in 16.

Without the flag, the limit is 1 in 64.
"""


def encode(source: Buffer, rows: array[int], difference: Buffer, *, bits: int) -> bytes:
    """Return the modelled stream of ``difference``. ``difference`` is target minus source, over the covers in ``rows``.

    ``rows`` has the source offset, target offset and length of each cover in one array. ``bits`` (10 to 18, optionally
    plus QUICK) is the size of the model's tables, as a power of two. Larger tables give fewer bytes, but take longer,
    because they exceed the processor's cache.
    """
    held = Pinned(source)
    room = len(difference) // 4 + 4096
    while True:
        out = bytearray(room)
        size = LIBRARY.dib_model_encode(
            *(held, held.size, Pinned(rows), len(rows) // 3, Pinned(difference)),
            *(bits, Pinned(out), room),
        )
        if size < 0:
            raise MemoryError("no memory for the tables of the model")
        if size <= room:
            return bytes(memoryview(out)[:size])
        room = size


def decode(stream: Buffer, source: Buffer, rows: array[int], difference: memoryview, *, bits: int) -> None:
    """Fill ``difference`` with the content of ``stream``. ``difference`` is as long as all covers in ``rows`` together.

    Raises ``BundleError`` if :func:`encode` could not have written the stream.
    """
    if not MIN_BITS <= bits & ~QUICK <= MAX_BITS:
        raise BundleError(messages.PAYLOAD_MODEL_PARAMETERS, bits=bits)
    held, stored = Pinned(source), Pinned(stream)
    status = LIBRARY.dib_model_decode(
        *(held, held.size, Pinned(rows), len(rows) // 3, Pinned(difference)),
        *(bits, stored, stored.size),
    )
    if status == -2:
        raise MemoryError("no memory for the tables of the model")
    if status:
        raise BundleError(messages.PAYLOAD_MODEL_DAMAGED)

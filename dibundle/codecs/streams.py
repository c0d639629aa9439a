"""Packed streams.

A stream has the smallest of three forms: stored bytes, a zstd frame or raw LZMA2 (see spec/cover.md).
"""

from __future__ import annotations

import lzma
from typing import Any, Final

from dibundle.codecs import messages, zstd
from dibundle.codecs.native.library import Buffer
from dibundle.errors import BundleError

STORED: Final = 0
ZSTD: Final = 1
LZMA2: Final = 2

MAX_DICTIONARY: Final = 64 << 20
"""The maximum number of bytes of output that an LZMA2 decoder keeps in memory.

The output of a smaller stream is kept as a whole.
"""


def pack(data: Buffer, *, level: int, literal_bits: tuple[tuple[int, int, int], ...] = ()) -> tuple[int, bytes]:
    """Return the number of the packer with the smallest result for ``data``, and this result.

    ``level`` is zstd's level. For each (lc, lp, pb) in ``literal_bits``, LZMA2 is tried with these parameters.
    """
    if len(data) < 12:
        return STORED, bytes(data)
    trials = [(ZSTD, zstd.compress(data, level))]
    trials += [(LZMA2, _lzma2(data, *parameters)) for parameters in literal_bits]
    best = min(trials, key=lambda trial: len(trial[1]))
    return best if len(best[1]) < len(data) else (STORED, bytes(data))


def unpack(packer: int, packed: Buffer, size: int) -> Buffer:
    """Unpack ``packed`` to exactly ``size`` bytes. On failure, or for an unknown packer, raise ``BundleError``."""
    if packer == STORED:
        if len(packed) != size:
            raise BundleError(messages.PAYLOAD_STORED_SIZE, packed_count=len(packed), size=size)
        return packed
    if size == 0:  # zstandard checks only the header of an empty frame
        raise BundleError(messages.PAYLOAD_EMPTY_STREAM_PACKER, packer=packer, stored=STORED)
    if packer == ZSTD:
        return zstd.decompress(packed, size)
    if packer == LZMA2:
        return _unpack_lzma2(packed, size)
    raise BundleError(messages.PAYLOAD_UNKNOWN_PACKER, packer=packer)


def _filters(size: int, **more: int) -> list[dict[str, Any]]:
    return [{"id": lzma.FILTER_LZMA2, "dict_size": max(4096, min(MAX_DICTIONARY, size)), **more}]


def _lzma2(data: Buffer, lc: int, lp: int, pb: int) -> bytes:
    filters = _filters(len(data), preset=9, lc=lc, lp=lp, pb=pb, nice_len=32, depth=48)
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def _unpack_lzma2(packed: Buffer, size: int) -> bytes:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size))
    try:
        data = decompressor.decompress(packed, max_length=size + 1)
        if not decompressor.eof and len(data) <= size:
            # liblzma reads the end marker only if more bytes are requested
            data += decompressor.decompress(b"", max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise BundleError(messages.PAYLOAD_LZMA2_DAMAGED) from error
    if len(data) != size or not decompressor.eof or decompressor.unused_data:
        raise BundleError(messages.PAYLOAD_LZMA2_SIZE, size=size)
    return data

"""Sparse differences. Most of their bytes are zero, so only the lengths of runs and the nonzero bytes are stored.

Each of the three streams of a sparse payload is packed separately (spec/cover.md). A general compressor for the whole
difference would give a larger result, and would take ten times as long.
"""

from __future__ import annotations

from array import array

from dibundle.codecs import messages, streams
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, scratch
from dibundle.codecs.numbers import Numbers, number
from dibundle.errors import BundleError


def pack(data: Buffer, *, level: int, literal_bits: tuple[tuple[int, int, int], ...]) -> bytes:
    """Return the sparse form of ``data``. The other parameters have the same meaning as in :func:`streams.pack`."""
    parts = split(data)
    packed = [streams.pack(part, level=level, literal_bits=literal_bits) for part in parts]
    head = b"".join(
        bytes([packer]) + number(len(stored)) + number(len(part))
        for (packer, stored), part in zip(packed, parts, strict=True)
    )
    return head + b"".join(stored for _, stored in packed)


def unpack(stored: Buffer, data: memoryview) -> None:
    """Undo :func:`pack`, and write the result into ``data``.

    Raise ``BundleError`` unless the result has exactly the size of ``data``.

    Unpacking needs memory of up to 1.5 times the size of ``data``, and memory to unpack the last stream.
    """
    size = len(data)
    stored = memoryview(stored)
    reader = Numbers(stored)
    headers = [(reader.byte(), reader.number(), reader.number()) for _ in range(3)]
    if sum(length for _, length, _ in headers) != len(stored) - reader.at:
        raise BundleError(messages.PAYLOAD_SPARSE_DOES_NOT_FILL)
    decoded, most = sum(length for _, _, length in headers), size * 3 // 2 + 3
    if decoded > most:
        raise BundleError(messages.PAYLOAD_SPARSE_LENGTH, decoded=decoded, most=most)
    parts = []
    for packer, length, decoded in headers:
        parts.append(streams.unpack(packer, stored[reader.at : reader.at + length], decoded))
        reader.at += length
    join(parts[0], parts[1], parts[2], data)


def split(data: Buffer) -> tuple[bytes, bytes, bytes]:
    """Return the packed zero counts before the nonzero runs, the packed run lengths, and the runs' bytes."""
    outs = [scratch(len(data)) for _ in range(3)]
    sizes = array("q", bytes(24))
    LIBRARY.dib_sparse_split(Pinned(data), len(data), *(Pinned(out) for out in outs), Pinned(sizes))
    parts = [bytes(memoryview(out)[:size]) for out, size in zip(outs, sizes, strict=True)]
    return parts[0], parts[1], parts[2]


def join(gaps: Buffer, lengths: Buffer, values: Buffer, data: memoryview) -> None:
    """Undo :func:`split`, and write the result into ``data``.

    Raise ``BundleError`` if the three inputs do not fit together.
    """
    held = [Pinned(part) for part in (gaps, lengths, values)]
    sides = [side for part in held for side in (part, part.size)]
    if LIBRARY.dib_sparse_join(*sides, Pinned(data), len(data)):
        raise BundleError(messages.PAYLOAD_SPARSE_STREAMS)

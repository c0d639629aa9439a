"""All codecs, by number. Each codec decodes a payload with a source into exactly ``size`` bytes, or raises an error."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from dibundle.codecs import messages, zstd
from dibundle.codecs.deflate import encoders
from dibundle.codecs.excess import Excess
from dibundle.codecs.native.library import Buffer
from dibundle.errors import BundleError

STORED = 0
ZSTD = 1
ZSTD_PREFIX = 2
VCDIFF = 3
COVER = 4
RELINK = 5
UNPACK = 6

NAMES = {
    STORED: "stored",
    ZSTD: "zstd",
    ZSTD_PREFIX: "zstd-prefix",
    VCDIFF: "vcdiff",
    COVER: "cover",
    RELINK: "relink",
    UNPACK: "unpack",
}


def decode(
    codec: int,
    payload: Buffer,
    source: bytes | bytearray,
    size: int,
    reencoders: Collection[int] = encoders.KNOWN,
    excess: Excess | None = None,
) -> Buffer:
    """Decode ``payload`` with ``source`` into ``size`` bytes. For codecs without a source, ``source`` is empty.

    The decoder may overwrite a writable source, so callers must not use the source again. ``reencoders`` are the
    re-encoders that the payload may use. ``excess`` is the pool for decoding work above the normal limit. All frames of
    a bundle share this pool. ``excess`` is None if there is only one frame.
    """
    decoder = partial(_unpack, reencoders=reencoders, excess=excess) if codec == UNPACK else _DECODERS[codec]
    data = decoder(payload, source, size)
    if len(data) != size:
        raise BundleError(messages.PAYLOAD_FRAME_SIZE, names=NAMES[codec], data_count=len(data), size=size)
    return data


def table_size(codec: int, payload: Buffer) -> int:
    """Estimate the memory in bytes that decoding takes in addition to source, payload and result."""
    if codec == RELINK:
        from dibundle.codecs import relink

        return relink.table_size(payload)
    if codec == COVER:
        from dibundle.codecs import cover

        return cover.table_size(payload)
    return len(payload) if codec == VCDIFF else 0


def _stored(payload: Buffer, source: bytes | bytearray, size: int) -> Buffer:
    return payload


def _zstd(payload: Buffer, source: bytes | bytearray, size: int) -> bytes:
    return zstd.decompress(payload, size)


def _zstd_prefix(payload: Buffer, source: bytes | bytearray, size: int) -> bytes:
    return zstd.decompress(payload, size, prefix=source)


def _vcdiff(payload: Buffer, source: bytes | bytearray, size: int) -> bytearray:
    from dibundle.codecs import vcdiff  # imported only if a bundle uses the codec, because start-up must be fast

    return vcdiff.decode(_inner(payload, size), source, size)


def _inner(payload: Buffer, size: int) -> bytes:
    """Decompress the zstd frame around a VCDIFF file.

    In the worst case, the file is only a little larger than its target.
    """
    return zstd.decompress(payload, zstd.declared_size(payload, maximum=2 * size + 65536))


def _cover(payload: Buffer, source: bytes | bytearray, size: int) -> bytearray:
    from dibundle.codecs import cover

    return cover.decode(payload, source, size)


def _relink(payload: Buffer, source: bytes | bytearray, size: int) -> bytearray:
    from dibundle.codecs import relink

    return relink.decode(payload, source, size)


def _unpack(
    payload: Buffer, source: bytes | bytearray, size: int, reencoders: Collection[int], excess: Excess | None
) -> bytearray:
    from dibundle.codecs import embedded

    return embedded.decode(payload, source, size, _decode_inner, reencoders, excess)


def _decode_inner(codec: int, payload: Buffer, source: bytes | bytearray, size: int) -> Buffer:
    """Decode a payload inside an unpack payload. The inner payload is neither VCDIFF nor another unpack payload."""
    if codec not in _INNER:
        raise BundleError(messages.PAYLOAD_INNER_CODEC, codec=codec)
    return decode(codec, payload, source, size)


_DECODERS: dict[int, Callable[[Buffer, bytes | bytearray, int], Buffer]] = {
    STORED: _stored,
    ZSTD: _zstd,
    ZSTD_PREFIX: _zstd_prefix,
    VCDIFF: _vcdiff,
    COVER: _cover,
    RELINK: _relink,
}
KNOWN = frozenset((*_DECODERS, UNPACK))
# no VCDIFF within an unpack payload: VCDIFF needs the most memory, and the cover codec makes smaller patches
_INNER = frozenset(_DECODERS) - {VCDIFF}

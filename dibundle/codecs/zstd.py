"""Strict zstd frames. The declared size is checked before memory is allocated, and nothing may follow the frame.

A *prefix* is content that both sides have. The prefix is used as a raw dictionary, as in ``zstd --patch-from``.
"""

from __future__ import annotations

import zstandard

from dibundle.codecs import messages
from dibundle.codecs.native.library import Buffer
from dibundle.errors import BundleError

MAX_WINDOW = 64 << 20
LEAST_DICTIONARY = 8
"""The minimum size of a dictionary. A smaller dictionary changes the library's parameters, but is not used."""


def compress(data: Buffer, level: int, *, prefix: bytes = b"") -> bytes:
    """Return a zstd frame with the size of ``data`` in its header. Decompression needs the same ``prefix``."""
    # Content above MAX_WINDOW must not be a single segment, because its window would be as large as the content.
    most = 27 if len(data) <= MAX_WINDOW else 26
    reach = max(10, min(most, (len(data) + len(prefix)).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(data) + len(prefix),
        window_log=reach,
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
        **(_fast_search(level, reach) if prefix else {}),
    )
    dictionary = _dictionary(prefix)
    packed: bytes = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary).compress(data)
    return packed


class Blocks:
    """A compressor of small pieces, for one thread.

    Only this process reads the compressed pieces, so they need no checks.
    """

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._decompressor = zstandard.ZstdDecompressor()

    def compress(self, data: bytes) -> bytes:
        """Return a compressed piece."""
        packed: bytes = self._compressor.compress(data)
        return packed

    def decompress(self, packed: bytes) -> bytes:
        """Return the decompressed piece. This takes 12 us for 8 KiB. The function :func:`decompress` takes 29 us."""
        data: bytes = self._decompressor.decompress(packed)
        return data


def _fast_search(level: int, reach: int) -> dict[str, int]:
    """Return parameters with larger tables for the fast levels. zstd's own tables cannot hold most of a prefix.

    These are the results for 128 MB of changed files (python-app), in bytes and in seconds of CPU:

    - level 3 unchanged: 32.8 M in 0.5 s
    - level 3 with zstd's long-distance matching: 34.2 M in 0.7 s
    - double-fast with tables for the whole prefix: 11.3 M in 1.7 s
    - lazy: 10.0 M in 2.2 s
    - lazy2: 9.8 M in 2.6 s
    """
    table = max(10, min(22, reach - 2))
    if level <= 3:
        return {"strategy": zstandard.STRATEGY_DFAST, "hash_log": max(10, table - 1), "chain_log": max(10, table - 1)}
    if level <= 6:
        return {"strategy": zstandard.STRATEGY_LAZY, "hash_log": table, "chain_log": table, "search_log": 4}
    if level <= 12:
        return {"strategy": zstandard.STRATEGY_LAZY2, "hash_log": table, "chain_log": table, "search_log": 4}
    return {}


def declared_size(frame: Buffer, *, maximum: int) -> int:
    """Return the size that a frame declares. Raise ``BundleError`` if the declared size exceeds ``maximum`` bytes."""
    try:
        size: int = zstandard.get_frame_parameters(frame).content_size
    except zstandard.ZstdError as error:
        raise BundleError(messages.ZSTD_UNREADABLE) from error
    if size > maximum:
        raise BundleError(messages.LIMIT_ZSTD_FRAME, size=size, maximum=maximum)
    return size


def decompress(frame: Buffer, size: int, *, prefix: bytes | bytearray = b"") -> bytes:
    """Return the ``size`` bytes that ``frame`` holds. Raise :class:`BundleError` if ``frame`` contains anything else.

    A writable prefix is emptied to free its memory: the library has its own copy.
    """
    try:
        declared = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise BundleError(messages.ZSTD_UNREADABLE) from error
    if declared.content_size != size:
        raise BundleError(messages.ZSTD_DECLARED_SIZE, content_size=declared.content_size, size=size)
    # refuse a field for a dictionary id, even with the value 0 ("no id"), so that each frame has a single form
    if frame[4] & 3:
        raise BundleError(messages.ZSTD_DICTIONARY)
    if declared.window_size > MAX_WINDOW:
        raise BundleError(messages.LIMIT_ZSTD_WINDOW, window_size=declared.window_size, max_window=MAX_WINDOW)
    dictionary = _dictionary(prefix) if len(prefix) >= LEAST_DICTIONARY else None
    if isinstance(prefix, bytearray):
        prefix.clear()
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 27)
    try:
        data: bytes = decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BundleError(messages.ZSTD_DAMAGED) from error
    if len(data) != size:
        raise BundleError(messages.ZSTD_SIZE, data_count=len(data), size=size)
    return data


def _dictionary(prefix: bytes | bytearray) -> zstandard.ZstdCompressionDict | None:
    if not prefix:
        return None
    return zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)

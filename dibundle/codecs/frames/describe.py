"""Guess which program wrote a zstd layer that dib cannot recompress.

The guess is based on the headers of the first frame and of its blocks.
"""

from __future__ import annotations

from typing import Final

from dibundle.codecs.frames import libzstd
from dibundle.codecs.frames.layout import Bytes, find_blocks, read_head, skippable_size
from dibundle.errors import ArchiveError

# windows of klauspost's levels for content of unknown size
_KLAUSPOST: Final = (4 << 20, 8 << 20, 16 << 20, 32 << 20)
_MOST_ORDINARY: Final = 8 << 20  # the window of libzstd's level 19
_SKIPPED: Final = 64  # maximum number of skippable frames that are skipped
_BLOCKS: Final = 1 << 20


def describe(data: Bytes) -> tuple[str | None, int | None]:
    """Return a phrase that names the likely program, and the first frame's content size (None: unknown)."""
    at = 0
    for _ in range(_SKIPPED):
        size = skippable_size(data, at) if at < data.size else None
        if size is None:
            break
        at += size
    head = read_head(data, at) if at < data.size else None
    if head is None:
        return None, None
    try:
        is_alone = find_blocks(data, at, _BLOCKS).end == data.size and not at
    except ArchiveError:
        return None, None
    content = head.content if is_alone else None
    if not is_alone:
        return "by a program that writes many frames, such as pzstd or one for zstd:chunked", content
    known = libzstd.here()
    other = f"than {libzstd.RELEASES[known].name} " if known else ""
    library = f"libzstd (such as the zstd program) of another version {other}or with other settings"
    if head.window > _MOST_ORDINARY and (head.is_single is False):
        large = f"libzstd at a level above 19 or with --long (a window of {head.window >> 20} MiB)"
        return f"by {large}" + (" or klauspost/compress" if head.window in _KLAUSPOST else ""), content
    if not head.has_checksum or head.content is not None or head.window not in _KLAUSPOST:
        return f"by {library}", content
    return f"by klauspost/compress of another version, or {library}", content

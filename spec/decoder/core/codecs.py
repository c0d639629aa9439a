"""Codecs (dib.md, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.core.basics import need
from decoder.core.vcdiff import vcdiff
from decoder.core.zstd import unzstd

if TYPE_CHECKING:
    from decoder.core.manifest import Bundle


def decode_frame(codec: int, stored: bytes, size: int, source: bytes, bundle: Bundle) -> bytes:
    """Decode the stored bytes of a frame."""
    if codec == 0:
        result = stored
    elif codec == 1:
        result = unzstd(stored, size)
    elif codec == 2:
        result = unzstd(stored, size, source)
    elif codec == 3:
        result = vcdiff(unzstd(stored, most=2 * size + 65536), size, source)
    elif codec == 4:
        from decoder.full.cover import Cover

        result = Cover(stored, size, len(source)).apply(source)
    elif codec == 5:
        from decoder.full.relink import relink

        result = relink(stored, size, source)
    else:
        from decoder.full.unpack import unpack

        result = unpack(stored, size, source, bundle)
    need(len(result) == size, "a frame yields another size")
    return result

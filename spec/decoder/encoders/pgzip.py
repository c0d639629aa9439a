"""Encoder 2, and encoders 3 to 5 and 8 as pgzip cuts content."""

from __future__ import annotations

from decoder.encoders.deflate import FIXED, Writer
from decoder.encoders.klauspost import Klauspost
from decoder.encoders.klauspost_lazy import Lazy


def pgzip(data: bytes, encoder: int, level: int, block: int) -> Writer:
    """Encode with encoders 3 to 5, and 8."""
    writer = Writer()
    for start in range(0, len(data) + 1, block):
        one = (Klauspost if level < 7 else Lazy)(writer, encoder, level)
        words = data[max(start - 16384, 0) : start] if start and block > 16384 else b""
        one.data = words + data[start : start + block]
        if isinstance(one, Lazy):
            one.run(len(words))
        else:
            if words:
                one.find(0, len(words))
            for at in range(len(words), len(one.data), 65535):
                end = min(at + 65535, len(one.data))
                one.chunk(at, end, sync=end == len(one.data))
        one.close()
        writer.stored(b"")
    writer.put_all([(3, 8), (0, 8)])
    writer.pad()
    return writer


def klauspost(data: bytes, level: int) -> Writer:
    """Encode with encoder 2."""
    encoder = Klauspost(Writer(), 2, level)
    encoder.data = data
    starts = range(0, len(data), 65535)
    for start in starts:
        encoder.chunk(start, min(start + 65535, len(data)), sync=start == starts[-1])
    encoder.close()
    encoder.writer.put_all([(FIXED + 1, 3), (0, 7)])
    encoder.writer.pad()
    return encoder.writer

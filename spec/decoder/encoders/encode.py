"""Encoders by number (deflate.md and zstd.md)."""

from __future__ import annotations

from decoder.core.basics import Refused, need
from decoder.encoders.deflate import Writer
from decoder.encoders.go import GoFast, GoWindow
from decoder.encoders.pgzip import klauspost, pgzip
from decoder.encoders.pigz import pigz
from decoder.encoders.zlib_gzip import Zlib
from decoder.encoders.zstd_frames import FrameWriter


def encode(content: bytes, encoder: int, level: int, parameter: int) -> bytes:
    """Make what an encoder makes of some content."""
    if encoder == 1 and level == 0:
        writer = Writer()
        for start in range(0, len(content), 65535):
            writer.stored(content[start : start + 65535])
        writer.stored(b"", 1)
    elif encoder == 1:
        writer = GoFast(content).run() if level == 1 else GoWindow(content, level).run()
    elif encoder == 2:
        writer = klauspost(content, level)
    elif encoder in {3, 4, 5, 8}:
        writer = pgzip(content, encoder, level, parameter)
    elif encoder == 9:
        writer = pigz(content, level, parameter)
    elif encoder >= 48:
        return libzstd(content, level if encoder == 48 else level + 15, parameter)
    elif encoder <= 9:
        writer = Zlib(content, level, parameter).run()
    else:
        return FrameWriter(content, encoder, level, parameter).run()
    return bytes(writer.done)


def libzstd(content: bytes, level: int, flags: int) -> bytes:
    """Let the library make a frame, which has to be the version that zstd.md names."""
    try:
        import zstandard
    except ImportError as error:
        raise Refused("libzstd 1.5.7 is needed: pip install zstandard==0.25.0") from error
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    need(version == "1.5.7", f"libzstd 1.5.7 is needed (zstandard 0.25.0), here is {version}")
    frames = zstandard.ZstdCompressor(
        level=level, write_checksum=bool(flags & 1), write_content_size=bool(flags & 2), threads=flags >> 2
    )
    frame = frames.compressobj(size=len(content)) if flags & 2 else frames.compressobj()
    return bytes(frame.compress(content) + frame.flush())

"""zstd frames (dib.md, 1.3), and files that are compressed as a whole."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

from decoder.core.basics import MiB, Refused, need


def zstd_decode(frame: bytes, size: int, source: bytes) -> bytes:
    """Decode one zstd frame whose form is already checked."""
    source = source if len(source) >= 8 else b""
    if sys.version_info >= (3, 14):
        from compression import zstd

        words = zstd.ZstdDict(source, is_raw=True).as_prefix if source else None
        try:
            return zstd.decompress(frame, words)
        except zstd.ZstdError as error:
            raise Refused(f"zstd: {error}") from error
    import zstandard

    raw = zstandard.ZstdCompressionDict(source, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if source else None
    try:
        return zstandard.ZstdDecompressor(dict_data=raw).decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise Refused(f"zstd: {error}") from error


def zstd_reader(file: BinaryIO) -> IO[bytes]:
    """Open a zstd file of any number of frames."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdFile(file)
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file, read_across_frames=True)


def broken() -> tuple[type[Exception], ...]:
    """List the errors that damaged compressed files give."""
    known = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
    if sys.version_info >= (3, 14):
        from compression import zstd

        return *known, zstd.ZstdError
    import zstandard

    return *known, zstandard.ZstdError


def uncompressed(data: bytes, most: int) -> bytes:
    """Decompress as `pieces` does; no more than is needed to see that it is too much."""
    out = bytearray()
    for piece in pieces(memoryview(data)):
        out += piece
        if len(out) > most:
            break
    return bytes(out)


def pieces(data: memoryview) -> Iterator[bytes]:
    """Decompress whole gzip members or zstd frames, with nothing behind them."""
    is_gzip = bytes(data[:2]) == b"\x1f\x8b"
    need(is_gzip or head_is_zstd(io.BytesIO(data[:4])), "neither gzip nor zstd", 6)
    at = 0
    while at < len(data):
        engine = zlib.decompressobj(31) if is_gzip else zstd_engine()
        need(is_gzip or zstd_window(bytes(data[at : at + 18])) <= 128 * MiB, "a zstd window above 128 MiB", 6)
        while at < len(data) and not engine.eof:
            piece = data[at : at + 4096]
            at += len(piece)
            yield engine.decompress(piece)
        need(engine.eof, "a gzip member or zstd frame is cut off", 6)
        at -= len(engine.unused_data)


def zstd_engine() -> Any:  # noqa: ANN401 - of one library or the other
    """Begin a zstd frame of any window."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def zstd_window(frame: bytes) -> int:
    """Read the window of a frame in a base or place, 0 for a skippable one. A single segment's is its content size."""
    if frame[:4] != b"\x28\xb5\x2f\xfd" or len(frame) < 6:
        return 0
    flags = frame[4]
    if not flags >> 5 & 1:
        return (8 + (frame[5] & 7) << 7) << (frame[5] >> 3)
    at, width = 5 + (0, 1, 2, 4)[flags & 3], 1 << (flags >> 6)
    return int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)


def zstd_head(frame: bytes) -> tuple[int, int, int]:
    """Read a frame's header: its length, the window and the content size."""
    need(frame[:4] == b"\x28\xb5\x2f\xfd" and len(frame) > 5, "not a zstd frame")
    flags = frame[4]
    need(not flags & 3, "a zstd frame with a dictionary id")
    need(not flags & 8, "a zstd frame with a reserved bit")
    single = flags >> 5 & 1
    need(single or flags >> 6, "a zstd frame that does not declare its content size")
    at = 5 if single else 6
    width = 1 << (flags >> 6)
    need(len(frame) >= at + width, "a zstd frame ends early")
    size = int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)
    window = size if single else (8 + (frame[5] & 7) << 7) << (frame[5] >> 3)
    return at + width, window, size


def zstd_end(frame: bytes, at: int) -> int:
    """Find where a frame ends whose blocks begin at an offset."""
    last = 0
    while not last:
        need(len(frame) >= at + 3, "a zstd frame ends early")
        head = int.from_bytes(frame[at : at + 3], "little")
        last, kind, length = head & 1, head >> 1 & 3, head >> 3
        at += 3 + (1 if kind == 1 else length)
    return at + (4 if frame[4] & 4 else 0)


def unzstd(frame: bytes, size: int | None = None, source: bytes = b"", most: int = 64 * MiB) -> bytes:
    """Decode a stored zstd frame under the rules of section 1.3."""
    at, window, declared = zstd_head(frame)
    need(window <= 64 * MiB, "a zstd window of more than 64 MiB")
    need(declared == size if size is not None else declared <= most, "a zstd frame declares another size")
    need(zstd_end(frame, at) == len(frame), "something follows a zstd frame, or it ends early")
    result = zstd_decode(frame, declared, source) if declared else b""
    need(len(result) == declared, "a zstd frame holds another size than it declares")
    return result


def head_is_zstd(file: IO[bytes]) -> bool:
    """Tell whether a file begins like zstd, a skippable frame included."""
    file.seek(0)
    head = file.read(4)
    return head == b"\x28\xb5\x2f\xfd" or (len(head) == 4 and head[0] & 0xF0 == 0x50 and head[1:] == b"\x2a\x4d\x18")


def opened(file: IO[bytes]) -> IO[bytes]:
    """Open a file that may be compressed as a whole."""
    file.seek(0)
    head = file.read(6)
    zstd = head_is_zstd(file)
    file.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip.open(file)  # type: ignore[return-value]
    if head[:3] == b"BZh":
        return bz2.BZ2File(file)
    if head == b"\xfd7zXZ\0":
        return lzma.LZMAFile(file)
    return zstd_reader(file) if zstd else file  # type: ignore[arg-type]

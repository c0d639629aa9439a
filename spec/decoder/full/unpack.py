"""Codec 6 (unpack.md)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from decoder.core.basics import MiB, Refused, need
from decoder.core.codecs import decode_frame
from decoder.core.manifest import spend
from decoder.core.values import Column
from decoder.core.zstd import unzstd
from decoder.full.cover import stream_headers, unpacked
from decoder.full.packing import pack, read_packing

if TYPE_CHECKING:
    from decoder.core.manifest import Bundle


def next_local_header(source: bytes, at: int) -> int:
    """Find where the deflate stream behind the next local header of a zip begins."""
    while (at := source.find(b"PK\3\4", at)) >= 0:
        need(at + 30 <= len(source), "a local header is cut off")
        if source[at + 8 : at + 10] == b"\x08\x00":
            return at + 30 + sum(int.from_bytes(source[at + i : at + i + 2], "little") for i in (26, 28))
        at += 4
    raise Refused("no further local header")


def unpacked_source(source: bytes, gaps: list[int], content: int, whole: int) -> tuple[bytes, bytes]:
    """Unpack the source; gives too the numbers that are the table's dictionary."""
    outside, inside, streams, words = [], [], [], bytearray()
    end = held = 0
    for gap in gaps:
        start = end + gap - 1 if gap else next_local_header(source, end)
        need(start <= len(source), "a stream begins beyond the source")
        decoder = zlib.decompressobj(-15)
        try:
            data = decoder.decompress(source[start:], content - held + 1)
            data += decoder.decompress(decoder.unconsumed_tail, 1) if not decoder.eof else b""
        except zlib.error as error:
            raise Refused("a deflate stream of the source is damaged") from error
        held += len(data)
        need(decoder.eof and held <= content, "a deflate stream of the source goes on too far")
        outside.append(source[end:start])
        words += leb(2 * (start - end)) + leb(2 * len(data) + 1)
        end = len(source) - len(decoder.unused_data)
        inside.append(data)
        streams.append(source[start:end] if whole else b"")
    need(held == content, "the source's streams hold another size")
    return b"".join([*outside, source[end:], *inside, *streams]), bytes(words)


def leb(number: int) -> bytes:
    """Write a number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def unpack(payload: bytes, size: int, source: bytes, bundle: Bundle) -> bytes:
    """Decode an unpack payload."""
    numbers = Column(payload)
    inner, whole = numbers.take(2)
    need(inner in (0, 1, 2, 4, 5) and whole <= 1, "an inner codec or flag that is not known")
    content, count = numbers.next(), numbers.next()
    most = 64 * (len(source) + size) + 65536
    need(content <= min(64 * MiB - len(source), most), "too much content")
    need(count <= min(65536, len(source) // 16), "too many streams")
    spend(bundle, content * (4 if inner == 5 else 1) + 256 * count - 16 * size - len(source))
    most = 64 * size + 65536
    (header,) = stream_headers(numbers, 1)
    need(count <= header.size <= 9 * count, "gaps of an impossible size")
    stored, table_size = numbers.next(), numbers.next()
    need(table_size <= min(16 * MiB, most), "a table that is too long")
    gaps = Column(unpacked(header, numbers.take(header.stored)))
    table = numbers.take(stored)
    places = gaps.some(count)
    gaps.end()
    source, words = unpacked_source(source, places, content, whole)
    deflate = [number for number in bundle.encoders if number < 512]
    packing = read_packing(unzstd(table, table_size, words), deflate, plain=False)
    plain = sum(part for part in packing.parts if isinstance(part, int))
    need(plain + packing.takes <= 64 * MiB, "an unpacked target of more than 64 MiB")
    need(packing.cost <= most, "a packing costs too much")
    spend(bundle, packing.cost - 64 * size)
    need(plain <= size, "more plain bytes than the frame has")
    target = decode_frame(inner, payload[numbers.at :], plain + packing.takes, source, bundle)
    packing.plain = target[:plain]
    return pack(packing, iter([target[plain:]]))

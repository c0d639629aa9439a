"""The unpack codec, which inflates embedded streams in a frame before patching, and recompresses them afterwards.

If one line of a compressed changelog changes, most of the compressed bytes change. So if a known encoder reproduces the
compressed bytes, the content is patched instead (spec/unpack.md). An unpacked source or target has two parts: first the
bytes outside of its deflate streams, then the streams' content.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dibundle.codecs import messages, recompression, streams, zstd
from dibundle.codecs.deflate import encoders
from dibundle.codecs.excess import Excess
from dibundle.codecs.native.library import Buffer
from dibundle.codecs.numbers import Numbers, number
from dibundle.codecs.recompression import Recompressor
from dibundle.errors import BundleError

MAX_UNPACKED: Final = 64 << 20
# maximum total bytes of a source and its content; with more, a frame of this codec would need more memory than any
# other frame
MAX_SOURCE: Final = 64 << 20
MAX_STREAMS: Final = 1 << 16
STREAM_BYTES: Final = 16  # minimum bytes of source per stream
COST: Final = 64  # allowed cost of recompression for each byte of the target
# additional allowed cost; the limit for inflated bytes is COST for each byte of source and target, plus this number
COST_FLOOR: Final = 64 << 10
# unpacking a source causes no excess up to a cost of FREE per byte of the target, plus 1 per byte of the source
FREE: Final = 16
STREAM_COST: Final = 256  # cost of a stream, in addition to the cost of its content
RELINKED: Final = 4  # cost of a byte of content that is relinked
_RELINK: Final = 5  # number of the relink codec
_FIRST: Final = 4 << 10
_STEP: Final = 64 << 10
# maximum bytes of content to encode at a time: an encoder takes at most 0.3 s for this many bytes
_SLICE: Final = 64 << 10

Decode = Callable[[int, Buffer, bytes | bytearray, int], Buffer]


@dataclass(frozen=True, slots=True)
class Streams:
    """The deflate streams of a source: the start, end and content size of each stream, and all contents joined."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    # a single buffer, because the process would keep the memory of thousands of small buffers
    content: bytearray = field(default_factory=bytearray)

    def add(self, start: int, end: int, content: bytes) -> None:
        """Add a stream after all other streams."""
        self.content.extend(content)
        self.note(start, end, len(content))

    def note(self, start: int, end: int, size: int) -> None:
        """Record a stream whose content was appended to :attr:`content`."""
        self.starts.append(start)
        self.ends.append(end)
        self.sizes.append(size)

    def unpacked(self, source: bytes | bytearray, *, whole: bool) -> bytearray:
        """Return the bytes outside of the streams, and the streams' content.

        With ``whole``, also return the compressed streams. The result uses the content's buffer, because a second
        buffer would double the memory.
        """
        view = memoryview(source)
        bounds = zip([0, *self.ends], [*self.starts, len(source)], strict=True)
        out = self.content
        out[:0] = b"".join(view[end:start] for end, start in bounds)
        if whole:
            out += b"".join(view[start:end] for start, end in zip(self.starts, self.ends, strict=True))
        return out

    def lengths(self) -> bytes:
        """Return the lengths of the parts in a recipe for exactly these streams.

        The target's recipe has mostly the same lengths. So these lengths help to compress that recipe.
        """
        out = bytearray()
        for start, end, size in zip(self.starts, [0, *self.ends], self.sizes, strict=False):
            out += number(start - end << 1) + number(size << 1 | 1)
        return bytes(out)


def write(
    streams_of: Streams, source: bytes, parts: Sequence[recompression.Part], *, whole: bool, codec: int, inner: bytes
) -> bytes:
    """Return a payload. ``inner`` is a payload of ``codec`` for the unpacked source and target."""
    gaps = bytearray()
    end = 0
    entries = _zip_entries(source, 0)
    entry = next(entries, None)
    for start, after in zip(streams_of.starts, streams_of.ends, strict=True):
        while entry and entry.header < end:
            entry = next(entries, None)
        gaps += number(0 if entry and start == entry.start else start - end + 1)
        end = after
    packer, stored = streams.pack(bytes(gaps), level=19)
    table = recompression.write(parts)
    packed_table = zstd.compress(table, 19, prefix=streams_of.lengths())
    head = bytes([codec, whole]) + number(sum(streams_of.sizes)) + number(len(streams_of.starts))
    head += bytes([packer]) + number(len(stored)) + number(len(gaps)) + number(len(packed_table)) + number(len(table))
    return head + stored + packed_table + inner


def decode(
    payload: Buffer,
    source: bytes | bytearray,
    size: int,
    decode_inner: Decode,
    reencoders: Collection[int] = encoders.KNOWN,
    excess: Excess | None = None,
) -> bytearray:
    """Decode ``payload`` with ``source`` into ``size`` bytes. Raise ``BundleError`` for a malformed payload.

    ``decode_inner`` decodes the inner payload, in the same way as :func:`decoders.decode`. Decoding needs memory for
    the inner codec, and for the unpacked source and target. ``excess`` is the pool for decoding work above the normal
    limit. All frames of a bundle share this pool. ``excess`` is None if there is only one frame.
    """
    excess = excess or Excess()
    codec, unpacked_source, parts, inner = _read(payload, source, size, reencoders, excess)
    if isinstance(source, bytearray):
        source.clear()  # frees the caller's memory, because the inner codec needs memory
    plain, content = recompression.plain_size(parts), recompression.content_size(parts)
    if plain + content > MAX_UNPACKED:
        raise BundleError(messages.LIMIT_UNPACKED_FRAME, plain=plain + content, max_unpacked=MAX_UNPACKED)
    if plain > size:
        raise BundleError(messages.PAYLOAD_RECOMPRESSED_PLAIN_SIZE, plain=plain, size=size)
    unpacked = decode_inner(codec, inner, unpacked_source, plain + content)
    del unpacked_source  # frees memory, because recompression needs memory
    view = memoryview(unpacked)
    packer = Recompressor(parts, bytes(view[:plain]))
    target = bytearray()
    for piece in _recompressed(packer, view[plain:], excess):
        target += piece
        if len(target) > size:
            break
    if len(target) != size:
        raise BundleError(messages.PAYLOAD_RECOMPRESSED_SIZE, size=size)
    return target


def _recompressed(packer: Recompressor, content: memoryview, excess: Excess) -> Iterator[bytes | memoryview]:
    """Yield the compressed bytes. Stop as soon as the bytes are no longer needed, even between two yields."""
    for at in range(0, len(content), _SLICE):
        excess.require()
        yield from packer.write(content[at : at + _SLICE])
    yield from packer.finish()


def zip_start(data: bytes | bytearray, at: int) -> int | None:
    """Return where the stream of the next deflated zip entry starts, after the entry's local header."""
    entry = next(_zip_entries(data, at), None)
    return entry.start if entry else None


class _Entry(NamedTuple):
    """An entry of a zip file: the offsets of the entry's local header and of its stream."""

    header: int
    start: int


def _zip_entries(data: bytes | bytearray, at: int) -> Iterator[_Entry]:
    """Yield the deflated entries from offset ``at`` on."""
    while (at := data.find(b"PK\3\4", at)) >= 0 and at + 30 <= len(data):
        if data[at + 8] == 8 and data[at + 9] == 0:
            name, extra = (int.from_bytes(data[at + place : at + place + 2], "little") for place in (26, 28))
            yield _Entry(at, at + 30 + name + extra)
        at += 4


class Inflated(NamedTuple):
    """The result of inflating: the content, the stream's end, and the work in bytes.

    The content is None if there is no stream, or if the content is too long.
    """

    content: bytes | None
    end: int
    work: int


def inflate(data: bytes | bytearray, start: int, limit: int) -> Inflated:
    """Inflate the deflate stream at ``start``. Its content may have at most ``limit`` bytes."""
    content = bytearray()
    is_whole, end, work = _inflate_onto(content, data, start, limit)
    return Inflated(bytes(content) if is_whole else None, end, work)


def _inflate_onto(out: bytearray, data: bytes | bytearray, start: int, limit: int) -> tuple[bool, int, int]:
    """Append a stream's content to ``out``.

    Return whether the content is complete. Also return the stream's end and the bytes of work.
    """
    begin, most = start, limit
    inflater = zlib.decompressobj(-15)
    view = memoryview(data)
    step = _FIRST  # inflate in pieces, because zlib copies all unused input
    while not inflater.eof and start < len(data):
        try:
            piece = inflater.decompress(view[start : start + step], limit + 1)
        except zlib.error:
            return False, start, start - begin + step + most - limit
        out += piece
        start += min(step, len(data) - start)
        step = _STEP
        limit -= len(piece)
        if limit < 0:
            return False, start, start - begin + most - limit
    return inflater.eof, start - len(inflater.unused_data), start - begin + most - limit


def cost(codec: int, content: int, count: int) -> int:
    """Return the cost of unpacking ``count`` streams, in bytes of work. All contents have ``content`` bytes."""
    return content * (RELINKED if codec == _RELINK else 1) + STREAM_COST * count


def _read(
    payload: Buffer, source: bytes | bytearray, target_size: int, reencoders: Collection[int], excess: Excess
) -> tuple[int, bytearray, list[recompression.Part], memoryview]:
    """Return the inner codec, the unpacked source, the parts and the inner payload."""
    view = memoryview(payload)  # do not copy the inner payload, which is most of the payload
    reader = Numbers(view)
    codec, whole, total, count = reader.byte(), reader.byte(), reader.number(), reader.number()
    if whole > 1:
        raise BundleError(messages.PAYLOAD_EMBEDDED_FLAG, whole=whole)
    most = COST * (len(source) + target_size) + COST_FLOOR
    if total > min(MAX_SOURCE - len(source), most) or count > min(MAX_STREAMS, len(source) // STREAM_BYTES):
        raise BundleError(messages.LIMIT_EMBEDDED_STREAMS, source_count=len(source), total=total, count=count)
    excess.spend(cost(codec, total, count) - FREE * target_size - len(source))
    packer, stored, size = reader.byte(), reader.number(), reader.number()
    table_stored, table_size = reader.number(), reader.number()
    limit = COST * target_size + COST_FLOOR
    if not count <= size <= 9 * count or table_size > min(recompression.MAX_SIZE, limit):
        raise BundleError(messages.PAYLOAD_EMBEDDED_COLUMN_SIZES)
    gaps = streams.unpack(packer, reader.take(stored), size)
    streams_of = _streams(Numbers(gaps).numbers(count), source, total)
    table = reader.take(table_stored)
    parts, rest = recompression.read(
        zstd.decompress(table, table_size, prefix=streams_of.lengths()),
        encoders.KNOWN.intersection(
            reencoders
            # only deflate encoders are allowed: frames are decoded in parallel, and other encoders would take too much
            # memory
        ),
        most=limit,
    )
    if rest:
        raise BundleError(messages.PAYLOAD_BYTES_AFTER_RECIPE)
    excess.spend(recompression.cost(parts) - COST * target_size)
    return codec, streams_of.unpacked(source, whole=bool(whole)), parts, view[reader.at :]


def _streams(gaps: array[int], source: bytes | bytearray, total: int) -> Streams:
    """Inflate the streams of a source."""
    found = Streams()
    end = 0
    for gap in gaps:
        start = end + gap - 1 if gap else zip_start(source, end)
        before = len(found.content)
        is_whole, after, _ = (False, end, 0) if start is None else _inflate_onto(found.content, source, start, total)
        if start is None or not is_whole:
            raise BundleError(messages.PAYLOAD_EMBEDDED_STREAM_MISSING, end=end)
        end = after
        total -= len(found.content) - before
        found.note(start, end, len(found.content) - before)
    if total:
        raise BundleError(messages.PAYLOAD_EMBEDDED_STREAMS_SHORT, total=total)
    return found

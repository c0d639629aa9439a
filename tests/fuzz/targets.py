"""The fuzz targets; ``TARGETS`` maps names to targets. Each target takes any bytes, and raises an exception if an
invariant fails.

For each input, a decoder returns or raises ``DibError``. If the reference decoder reads the same format, dib and the
reference decoder must have the same outcome.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgpack
import zstandard

from dibundle.applying import rebuilding
from dibundle.applying.base import find_base
from dibundle.applying.options import RebuildOptions
from dibundle.applying.targets import check_size
from dibundle.codecs import decoders, model, numbers, recompression, reencoders, sparse, streams, vcdiff
from dibundle.codecs.deflate import encoders, inflate, parallel, recipe, search
from dibundle.codecs.frames import encoders as framing
from dibundle.codecs.frames import libzstd
from dibundle.creating.compose.recompressed import RecompressedLayer
from dibundle.creating.compose.reframed import unpack_frames
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import write_bundle
from dibundle.errors import ArchiveError, BundleError, DibError, Message
from dibundle.files import compression
from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes, Spool
from dibundle.format import header, signing
from dibundle.format.manifest import Manifest
from dibundle.format.output import VerifiedOutput
from dibundle.format.reader import BundleReader
from dibundle.format.uses import objects_used
from dibundle.format.wire import Column
from dibundle.images import reader as image_reader
from dibundle.images import writers
from dibundle.images.archive import Archive, from_fd
from dibundle.images.legacy import REPOSITORIES
from dibundle.images.profile import Judge
from dibundle.images.tar import entries
from dibundle.inspecting import operations
from tests import reference
from tests.builders import STYLES, TestImage, build_layer, docker_save, file
from tests.codecs import programs
from tests.content import code, edited, text
from tests.fuzz.bundles import Open, closed
from tests.images.contents import contents

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
LARGEST = 1 << 17  # maximum bytes of a codec's output, because larger outputs are slow; the vectors test larger outputs
ASKED_LARGEST = 1 << 11  # the reference decoder runs only for outputs up to this many bytes
ASKED_SHARE = 8  # the reference decoder gets one input in this many, because it takes a hundred times as long as dib
SEEDS_LARGEST = 30_000
FRAMES_LARGEST = 1 << 20  # maximum total bytes of all frames of a bundle
KNOWN_SECTIONS = range(1, 8)
SEPARATOR = b"\n%%\n"

Target = Callable[[bytes], object]
TARGETS: dict[str, Target] = {}


class BrokenError(AssertionError):
    """The exception that is raised if an invariant fails."""


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def outcome(call: Callable[[], Any]) -> object:
    """Return the result of a call, or the class of the ``DibError`` that it raises."""
    try:
        value = call()
    except DibError as error:
        return type(error)
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else value


def both(call: Callable[[], Any], by_reference: Callable[[], bytes]) -> object:
    """Return the outcome of a call. Raise an error if the reference decoder has a different outcome."""
    found, other = outcome(call), reference.outcome(by_reference)
    if found != (BundleError if other is None else other):
        raise BrokenError(f"dib: {found!r:.200}, reference decoder: {other!r:.200}")
    return found


def joined(size: int, source: bytes, rest: bytes) -> bytes:
    """Join the parts of an input for a codec's fuzz target, and return this input."""
    return size.to_bytes(3, "little") + len(source).to_bytes(2, "little") + source + rest


def _parted(data: bytes) -> tuple[int, bytes, bytes]:
    size = min(int.from_bytes(data[:3], "little"), LARGEST)
    end = 5 + int.from_bytes(data[3:5], "little")
    return size, data[5:end], data[end:]


def _codec(codec: int, data: bytes) -> object:
    size, source, payload = _parted(data)

    def call() -> object:
        return decoders.decode(codec, payload, bytearray(source), size)

    if size > ASKED_LARGEST or not chosen(data):
        return outcome(call)
    return both(call, lambda: reference.decode_frame(codec, payload, source, size))


def chosen(data: bytes, share: int = 1) -> bool:
    """Return whether the reference decoder gets this input. The choice depends only on the input."""
    return zlib.crc32(data) % (share * ASKED_SHARE) == 0


# --- bundles


@cache
def bases() -> tuple[tuple[Archive, ...], tuple[Archive, ...]]:
    """Return two sets of the vectors' bases; only one set has compressed layers. A bundle gets all bases of one set."""
    base, raw, *others = (
        _opened((VECTORS / "base" / f"{name}.tar").read_bytes(), name)
        for name in ("base", "raw", "code", "zip", "other")
    )
    return (base, *others), (raw, *others)


def _opened(data: bytes, name: str = "fuzz") -> Archive:
    source = MemoryBytes(data)
    return Archive(name, source, entries.scan(source), None, None)


class Unchecked(VerifiedOutput):
    """An output that checks no digests, so that a bundle is always decoded to its end."""

    def _check(self, *_: object) -> None:
        pass


def bundle_input(opened: Open, choice: int = 0) -> bytes:
    """Build the input of the fuzz target ``bundle``, and return it. Bit 0 of ``choice`` selects the set of bases; if
    bit 1 is set, the last target is rebuilt.
    """
    manifest = msgpack.packb([[number, opened.sections[number]] for number in sorted(opened.sections)])
    return bytes((choice,)) + len(manifest).to_bytes(3, "little") + manifest + b"".join(opened.frames)


def opened_input(data: bytes) -> Open:
    """Undo ``bundle_input``. If the bytes are not a valid input, any exception may be raised."""
    end = 4 + int.from_bytes(data[1:4], "little")
    return Open.parse(data[4:end], data[end:])


def made(bundle: bytes, choice: int = 0, *, checked: bool = False) -> bytes:
    """Return the target that a bundle rebuilds from the vectors' bases."""
    before = rebuilding.VerifiedOutput
    rebuilding.VerifiedOutput = VerifiedOutput if checked else Unchecked  # type: ignore[misc]
    try:
        out = io.BytesIO()
        read = BundleReader(io.BytesIO(bundle))
        if sum(frame.size + frame.source_size for frame in read.manifest.frames) > FRAMES_LARGEST:
            return b""
        number = len(read.manifest.targets) - 1 if choice & 2 else 0
        options = RebuildOptions(max_size=FRAMES_LARGEST)
        check_size(read.manifest, number, options)
        with Context() as context:
            rebuilding.rebuild_targets(bases()[choice & 1], read, {number: out.write}, options, context)
        return out.getvalue()
    finally:
        rebuilding.VerifiedOutput = before  # type: ignore[misc]


@target
def bundle(data: bytes) -> object:
    """A whole bundle, after its digests were corrected."""
    try:
        encoded = opened_input(data).encode()
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, msgpack.UnpackException):
        end = 4 + int.from_bytes(data[1:4], "little")
        encoded = closed(data[4:end], data[end:])
    choice = data[0] if data else 0
    return outcome(lambda: made(encoded, choice))


@target
def listings(data: bytes) -> object:
    """The listing of a bundle, with and without its base."""
    try:
        encoded = opened_input(data).encode()
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, msgpack.UnpackException):
        return None

    def call(*, with_base: bool) -> object:
        read = BundleReader(io.BytesIO(encoded))
        told = read.manifest
        if sum(frame.size + frame.source_size for frame in told.frames) > FRAMES_LARGEST:
            return None
        number = len(told.targets) - 1 if data[0] & 2 else 0
        if not with_base:
            return operations.listing(read, number)
        with Context() as context, closing(find_base(told, bases()[data[0] & 1], context, (number,))) as base:
            base.prepare(objects_used(told, number))
            return operations.listing(read, number, base)

    outcome(lambda: call(with_base=True))
    return outcome(lambda: call(with_base=False))


@target
def manifest(data: bytes) -> object:
    """A manifest without a bundle. An accepted manifest has exactly one encoding."""
    try:
        read = Manifest.decode(data, decoders.KNOWN, reencoders.KNOWN)
    except DibError:
        return None
    again = read.encode()
    if Manifest.decode(again, decoders.KNOWN, reencoders.KNOWN).encode() != again:
        raise BrokenError("a manifest is another one when written again")
    if again != data and all(number in KNOWN_SECTIONS for number, _ in msgpack.unpackb(data)):
        raise BrokenError("a manifest has two forms")
    return read


@target
def head(data: bytes) -> object:
    """The header of a bundle, without corrected digests."""
    return outcome(lambda: BundleReader(io.BytesIO(data)).manifest)


@target
def columns(data: bytes) -> object:
    """Numbers in columns and in payloads. The C function gives the same result as Python code that reads number by
    number.
    """

    def read() -> list[int]:
        column = Column(data)
        out = []
        while column.position < len(data):
            out.append(column.next())
        return out

    def payload() -> list[int]:
        return list(numbers.Numbers(data).numbers(count))

    found = outcome(read)
    count = len(found) if isinstance(found, list) else min(len(data), 8)
    again = outcome(payload)
    if again != found:
        raise BrokenError(f"column {found!r:.200}, payload {again!r:.200}")
    if isinstance(found, list) and numbers.pack(array("q", found)) != data:
        raise BrokenError("numbers have another form when written again")
    return found


# --- codecs


@target
def zstd(data: bytes) -> object:
    return _codec(decoders.ZSTD, data)


@target
def zstd_prefix(data: bytes) -> object:
    return _codec(decoders.ZSTD_PREFIX, data)


@target
def vcdiff_zstd(data: bytes) -> object:
    return _codec(decoders.VCDIFF, data)


@target
def vcdiff_plain(data: bytes) -> object:
    """A VCDIFF file without the zstd frame that contains it in a bundle."""
    size, source, payload = _parted(data)
    if not chosen(data):
        return outcome(lambda: vcdiff.decode(payload, source, size))
    return both(lambda: vcdiff.decode(payload, source, size), lambda: reference.decoder().vcdiff(payload, size, source))


@target
def cover_codec(data: bytes) -> object:
    return _codec(decoders.COVER, data)


@target
def relink_codec(data: bytes) -> object:
    return _codec(decoders.RELINK, data)


@target
def unpack_codec(data: bytes) -> object:
    return _codec(decoders.UNPACK, data)


@target
def packers(data: bytes) -> object:
    """The packers of streams. The first byte selects the packer."""
    size, _, payload = _parted(data)
    return outcome(lambda: streams.unpack(payload[0] if payload else 0, payload[1:], size))


@target
def sparse_difference(data: bytes) -> object:
    size, _, payload = _parted(data)

    def call() -> bytearray:
        out = bytearray(size)
        sparse.unpack(payload, memoryview(out))
        return out

    return both(call, lambda: reference.decoder().sparse(payload, size)) if chosen(data) else outcome(call)


@target
def modelled(data: bytes) -> object:
    """A modelled difference for up to seven covers. Two bytes of the input describe each cover."""
    size, source, payload = _parted(data)
    rows = array("q")
    covered = 0
    for at in range(1, 1 + payload[0] % 8 * 2 if payload else 0, 2):
        start, length = payload[at : at + 2].ljust(2, b"\0")
        length = min(length + 1, len(source) - start)
        if length > 0:
            rows.extend((start, covered, length))
            covered += length
    rest = payload[17:]
    if not rows or not rest:
        return None

    def call() -> bytearray:
        out = bytearray(covered)
        model.decode(rest[1:], source, rows, memoryview(out), bits=rest[0])
        return out

    def by_reference() -> bytes:
        read = reference.decoder()
        pieces = [read.Piece(rows[k + 1], rows[k], rows[k + 2]) for k in range(0, len(rows), 3)]
        made_: bytes = read.Model(bytes(rest), source).run(pieces)
        return made_

    result = both(call, by_reference) if rest[0] <= model.MIN_BITS + 1 and chosen(data) else outcome(call)
    if isinstance(result, bytes) and chosen(data, 4):
        stream = model.encode(source, rows, result, bits=rest[0])
        out = bytearray(covered)
        model.decode(stream, source, rows, memoryview(out), bits=rest[0])
        if out != result:
            raise BrokenError("a difference is another one when modelled again")
    return size


@target
def packings(data: bytes) -> object:
    """A recipe, its plain bytes and its content."""
    size, content, payload = _parted(data)

    def call() -> bytes:
        parts, plain_bytes = recompression.read(payload)
        if recompression.cost(parts) > LARGEST:
            return b""
        packer = recompression.Recompressor(parts, plain_bytes)
        whole = content * (1 + size % 16)
        return b"".join((*packer.write(whole), *packer.finish()))

    result = outcome(call)
    parts = outcome(lambda: recompression.read(payload))
    if isinstance(parts, tuple) and recompression.write(parts[0]) + parts[1] != payload:
        raise BrokenError("a packing has another form when written again")
    return result


# --- deflate


@target
def bodies(data: bytes) -> object:
    """A deflate body. dib and zlib decode the same content from the body, and its recipe rebuilds the body."""
    reader = inflate.Inflater()
    content = bytearray()

    def call() -> bytes:
        at, step = 0, max(1, data[0] if data else 1)
        while not reader.ended and (at < len(data) or not at):
            piece = reader.feed(data[at : at + step], 1000)
            at += step
            while piece:
                content.extend(piece)
                if len(content) > LARGEST:
                    raise ArchiveError(Message("test.enough", "enough"))
                piece = reader.feed(b"", 1000)
        reader.finish()
        return bytes(content)

    found = outcome(call)
    if len(content) > LARGEST:
        return None
    other = zlib.decompressobj(-15)
    try:
        whole = other.decompress(data)
    except zlib.error:
        whole = None
    right = whole if other.eof else None
    if isinstance(found, bytes) != (right is not None) or (right is not None and found != right):
        raise BrokenError(f"here {found!r:.100}, zlib {right!r:.100}")
    if right is None:
        return None
    if reader.used != len(data) - len(other.unused_data):
        raise BrokenError(f"{reader.used} bytes used, zlib {len(data) - len(other.unused_data)}")
    if not chosen(data):  # the steps below try all encoders, which takes a hundred times as long as with one encoder
        return None
    told = search.find([data], lambda piece: None)
    if told.recipe is not None:
        body = b"".join(recipe.rebuild(told.recipe, [right]))
        if body != data[: reader.used]:
            raise BrokenError("a recipe makes another body")
    return told


@target
def encoded(data: bytes) -> object:
    """Arbitrary content and an arbitrary encoder. The result is a body of that content."""
    if len(data) < 4:
        return None
    number = sorted(encoders.KNOWN)[data[0] % len(encoders.KNOWN)]
    family, level = number >> 4, number & 15
    table = encoders.FAMILIES[family]
    parameter = table.least + data[1] * 16 % (table.most - table.least + 1)
    if family == encoders.ZLIB:
        parameter = 8 + data[1] % 2
    content = data[4:] * (1 + data[2] % 64)
    pieces = [content[: len(content) // 2], content[len(content) // 2 :]] if data[3] % 2 else [content]
    plan = recipe.Recipe(encoder=family, level=level, parameter=parameter)
    body = b"".join(recipe.rebuild(plan, pieces))
    if zlib.decompressobj(-15).decompress(body) != content:
        raise BrokenError(f"encoder {number} makes another content")
    return None


@target
def side_by_side(data: bytes) -> object:
    """Any content, split into pieces. The joined pieces are the same body that a single encoder gives."""
    if len(data) < 4:
        return None
    level = 4 + data[0] % 6
    content = (data[4:] * (1 + data[1] % 64) + bytes(data[2] << 10) + data[4:][::-1]) * (1 + data[3] % 16)
    content = content[: 1 << 19]
    alone = encoders.Encoder(encoders.GO, level, 0)
    with ThreadPoolExecutor(1) as pool:
        pieces = parallel.PieceEncoder(level, pool, 1 << 15)
        body = pieces.write(content[: len(content) // 3]) + pieces.write(content[len(content) // 3 :]) + pieces.finish()
    if body != alone.write(content) + alone.finish():
        raise BrokenError("pieces make another body")
    return None


# --- zstd frames


@target
def frames(data: bytes) -> object:
    """A zstd layer. Each frame's recipe rebuilds the frame. dib and libzstd decode the same content from the frame."""
    with contextlib.closing(Spool(None)) as spool:
        found = outcome(lambda: unpack_frames(MemoryBytes(data), spool, most=LARGEST))
        if not isinstance(found, RecompressedLayer):
            return found
        content = spool.read_at(0, spool.size)
    packer = recompression.Recompressor(found.parts, found.plain)
    if b"".join([*packer.write(content), *packer.finish()]) != data:
        raise BrokenError("a recipe makes another layer")
    other = b"".join(compression.decompress_iter("zstd", [data]))
    if other != content:
        raise BrokenError(f"here {content!r:.100}, zstd {other!r:.100}")
    return found.parts


FRAMERS: Final = sorted({**framing.FAMILIES, **libzstd.FAMILIES})


@target
def framed(data: bytes) -> object:
    """Arbitrary content and an arbitrary encoder. The result is a frame of that content."""
    if len(data) < 4:
        return None
    family, level = FRAMERS[data[0] % len(FRAMERS)], 1 + (data[0] >> 4) % 4
    content = data[4:] * (1 + data[2] % 64) + data[4:][::-1] * (data[3] % 3)
    parameter = data[1] % 8 if family in libzstd.FAMILIES else data[1] * (data[3] % 2)
    encoder = reencoders.open_encoder(family, level, parameter, len(content))
    frame = encoder.write(content[: len(content) // 3]) + encoder.write(content[len(content) // 3 :]) + encoder.finish()
    if (b"".join(compression.decompress_iter("zstd", [frame])) if frame else b"") != content:
        raise BrokenError(f"encoder {family}, level {level} makes another content")
    return None


# --- archives


@target
def tars(data: bytes) -> object:
    """The index of a tar has no gaps and stays within the tar."""
    index = entries.scan(MemoryBytes(data))
    end = 0
    for entry in index.entries:
        if entry.start != end or entry.content < entry.header + 512 or entry.end < entry.content:
            raise BrokenError(f"{entry} does not begin at {end}")
        end = entry.end
    if end != index.entries_end or end > len(data):
        raise BrokenError(f"entries end at {end} of {len(data)}")
    return index


@target
def mended_tars(data: bytes) -> object:
    """The fuzz target ``tars`` with corrected checksums. Without corrected checksums, most mutated headers would be
    refused.
    """
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return tars(bytes(out))


@target
def images(data: bytes) -> object:
    """Archives of files. In the input, names and contents alternate. dib can read all contents of the images that it
    finds.
    """
    parts = data.split(SEPARATOR)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in zip(parts[::2], parts[1::2], strict=False):
            kind, path = name[:1], name[1:].decode("utf-8", "surrogateescape").replace("\0", "?")
            entry = tarfile.TarInfo(path[:200] or "x")
            if kind == b"@":
                entry.type, entry.linkname = tarfile.SYMTYPE, content[:200].decode("utf-8", "surrogateescape")
                archive.addfile(entry)
                continue
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    opened = _opened(out.getvalue())

    def call() -> object:
        found = image_reader.read_images(opened)
        contents(found)
        for image in found.images:
            str(image)
        return found

    outcome(lambda: Judge(opened.bytes).images())
    return outcome(call)


@target
def created(data: bytes) -> object:
    """Two images with any content. A bundle rebuilds the second image. The first byte selects the archive format."""
    _, before, after = _parted(data)
    how = data[0] if data else 0
    style, stored = STYLES[how % 5], (None, "gzip", "zstd")[how // 5 % 3]
    old, new = (TestImage([_layer(content)]) for content in (before, after))
    base, wanted = (docker_save([image], style, stored) for image in (old, new))  # type: ignore[arg-type]
    out = io.BytesIO()
    effort = CreateOptions(level=(1, 3, 6, 9)[how // 15 % 4])
    again = io.BytesIO()
    with Context() as context:
        write_bundle([_opened(base)], [_opened(wanted)], out.write, effort, context)
        bundle_of = BundleReader(io.BytesIO(out.getvalue()))
        rebuilding.rebuild_target([_opened(base)], bundle_of, again.write, RebuildOptions(), context)
    if again.getvalue() != wanted:
        raise BrokenError("a bundle makes another archive")
    return None


def _layer(data: bytes) -> bytes:
    """Return a layer: the data if it looks like a tar, otherwise a tar with one file for each part of the data."""
    if data[257:262] == b"ustar":
        return data
    return build_layer([file(f"srv/{number}", part) for number, part in enumerate(data.split(SEPARATOR))])


@target
def archives(data: bytes) -> object:
    """Any file, treated as an archive. Images that dib finds in the archive can be written in other formats."""
    file_of = os.memfd_create("fuzz")
    try:
        os.write(file_of, data[1:])
        os.lseek(file_of, data[0] if data else 0, os.SEEK_SET)

        def call() -> object:
            with from_fd(file_of, "fuzz") as opened:
                if opened.bytes.size > FRAMES_LARGEST:
                    return None
                found = image_reader.read_images(opened)
                written: list[bytes] = []
                writers.write(
                    writers.layout(found, frozenset(), verified={}), "docker-archive", written.append, check=True
                )
                return b"".join(written)

        return outcome(call)
    finally:
        os.close(file_of)


@target
def compressed(data: bytes) -> object:
    """Compressed archives. The first byte selects the compression, and the second byte selects the size of pieces."""
    kind = ("gzip", "bzip2", "xz", "zstd")[data[0] % 4] if data else "gzip"
    step = (1 + data[1]) * 8 if len(data) > 1 else 8
    body = data[2:]
    compression.sniff(body[:16])

    def call() -> int:
        total = 0
        for piece in compression.decompress_iter(
            kind, (body[at : at + step] for at in range(0, len(body), step)), 4096
        ):
            if not 0 < len(piece) <= 4096:
                raise BrokenError(f"{len(piece)} bytes at a time")
            total += len(piece)
            if total > LARGEST:
                break
        return total

    return outcome(call)


@target
def signatures(data: bytes) -> object:
    """An armored signature. If an accepted signature is written again, it has the same bytes."""
    found = outcome(lambda: signing.Signature.parse(data))
    if isinstance(found, signing.Signature) and signing.Signature.parse(found.armored()) != found:
        raise BrokenError("a signature is another one when written again")
    area = outcome(lambda: header.check_signature_area(data[:4], data[4:]))
    if isinstance(area, bytes) and header.encode_signature_area(area) != data:
        raise BrokenError("a signature area has another form when written again")
    return found


# --- seeds


def vectors() -> Iterator[tuple[bytes, bool]]:
    """Yield each vector, and a flag that is true if its base has a compressed layer."""
    index = json.loads((VECTORS / "index.json").read_text())
    for vector in (*index["ok"], *index["bad"]):
        yield (VECTORS / vector["bundle"]).read_bytes(), "base/raw.tar" in vector["bases"]


@cache
def _source_of_frames() -> tuple[tuple[int, int, bytes, bytes], ...]:
    """Return codec, size, source and payload of each frame in the vectors, including inner payloads."""
    seen: dict[tuple[int, bytes, bytes], tuple[int, int, bytes, bytes]] = {}
    decode = decoders.decode

    def watch(codec: int, payload: bytes, source: bytes | bytearray, size: int, *more: Any) -> bytes | bytearray:
        seen.setdefault((codec, payload, bytes(source)), (codec, size, bytes(source), payload))
        return decode(codec, payload, source, size, *more)

    decoders.decode = watch
    try:
        for data, is_raw in vectors():
            outcome(lambda data=data, is_raw=is_raw: made(data, is_raw))  # type: ignore[misc]
            outcome(lambda data=data, is_raw=is_raw: made(data, 2 | is_raw))  # type: ignore[misc]
    finally:
        decoders.decode = decode
    return tuple(seen.values())


def seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of a target."""
    codec_of = {
        **{"zstd": decoders.ZSTD, "zstd_prefix": decoders.ZSTD_PREFIX, "vcdiff_zstd": decoders.VCDIFF},
        **{"cover_codec": decoders.COVER, "relink_codec": decoders.RELINK, "unpack_codec": decoders.UNPACK},
    }
    if name in codec_of:
        yield from (
            joined(s, src, p) for c, s, src, p in _source_of_frames() if c == codec_of[name] and len(src) < 65536
        )
    elif name in ("bundle", "manifest", "listings"):
        for data, is_raw in vectors():
            try:
                opened = Open.of(data)
            except Exception:
                continue
            if sum(map(len, (*opened.sections.values(), *opened.frames))) < SEEDS_LARGEST:
                whole = bundle_input(opened, 2 | is_raw)
                yield whole if name != "manifest" else whole[4 : 4 + int.from_bytes(whole[1:4], "little")]
    elif name == "head":
        yield from (data[:4096] for data, _ in vectors())
    else:
        yield from _SEEDS[name]()


def _vcdiff_seeds() -> Iterator[bytes]:
    for codec, size, source, payload in _source_of_frames():
        if codec == decoders.VCDIFF and len(source) < 65536:
            try:
                yield joined(size, source, zstandard.ZstdDecompressor().decompress(payload, 1 << 20))
            except zstandard.ZstdError:
                continue


def _column_seeds() -> Iterator[bytes]:
    for value in (0, 127, 128, 300, 1 << 14, 1 << 28, 1 << 35, 1 << 62, (1 << 63) - 1):
        yield numbers.number(value) + numbers.number(1)
    yield from (b"\x80\0", b"\xff" * 9, b"\xff" * 8 + b"\x7f\x01", b"\x80")


def _packer_seeds() -> Iterator[bytes]:
    data = b"abcd" * 100 + bytes(300)
    for bits in ((), ((3, 0, 0),), ((4, 0, 0),), ((3, 0, 2),)):
        packer, packed = streams.pack(data, level=3, literal_bits=bits)
        yield joined(len(data), b"", bytes((packer,)) + packed)
    yield joined(4, b"", b"\0abcd")
    yield joined(len(data), b"", b"\2" + streams._lzma2(data, 3, 0, 0))


def _sparse_seeds() -> Iterator[bytes]:
    for data in (bytes(100) + b"ab" + bytes(50) + b"c", b"x", bytes(40), b"abc" * 30, b"\1" + bytes(300) + b"\2"):
        yield joined(len(data), b"", sparse.pack(data, level=3, literal_bits=((3, 0, 0),)))


def _model_seeds() -> Iterator[bytes]:
    source = bytes(range(256)) + b"\xe8\0\1\0\0" * 100
    for count, bits in ((1, 10), (2, 10), (3, 11), (7, 12)):
        head_of = bytes((count,)) + bytes(v for k in range(8) for v in (20 * k, 100))
        rows = array("q", (v for k in range(count) for v in (20 * k, 101 * k + 2 * k, 101)))
        difference = bytes((k * k) % 251 if k % 3 == 0 else 0 for k in range(101 * count))
        stream = model.encode(source, rows, difference, bits=bits)
        yield joined(0, source, head_of + bytes((bits,)) + stream)


def _packing_seeds() -> Iterator[bytes]:
    content = b"some content, some content\n" * 9
    for number in sorted(encoders.KNOWN):
        family = number >> 4
        parameter = 20_000 if encoders.is_pgzip(family) else encoders.FAMILIES[family].least
        for edits in ((), (recipe.RecipeEdit(copied=9, dropped=3, added=11, literals=b"\xff\x07"),)):
            body = recompression.Body(
                len(content), recipe.Recipe(encoder=family, level=number & 15, parameter=parameter, edits=edits)
            )
            yield joined(
                0, content, recompression.write([recompression.Plain(3), body, recompression.Plain(2)]) + b"abcde"
            )


def _framed_seeds() -> Iterator[bytes]:
    content = b"".join(b"%d lines of content\n" % (k * k) for k in range(60))
    for number in range(80):
        yield bytes((number, 9 * number % 256, number % 7, number % 3)) + content[: 40 * number]


def _frame_seeds() -> Iterator[bytes]:
    content = b"".join(b"%d lines of content\n" % (k * k) for k in range(60))
    skipped = bytes.fromhex("502a4d1803000000") + b"abc"
    for family, level in ((family, level) for family in framing.FAMILIES for level in (1, 2, 3, 4)):
        encoder = framing.FrameEncoder(family, level, level)
        first = encoder.write(content * 3) + encoder.finish()
        encoder.restart()
        yield skipped + first + encoder.write(content) + encoder.finish()
    for level in (1, 3, 19):
        for threads in (0, 1):
            frames_of = zstandard.ZstdCompressor(level=level, threads=threads, write_checksum=bool(level & 2))
            yield skipped + frames_of.compress(content * 99) + frames_of.compress(content)


def _body_seeds() -> Iterator[bytes]:
    content = b"".join(b"%d lines of content\n" % (k * k) for k in range(60))
    yield b"\3\0"
    yield b"\1\4\0\xfb\xffabcd"
    for number in sorted(encoders.KNOWN):
        family = number >> 4
        parameter = 20_000 if encoders.is_pgzip(family) else encoders.FAMILIES[family].least
        plan = recipe.Recipe(encoder=family, level=number & 15, parameter=parameter)
        yield b"".join(recipe.rebuild(plan, [content])) + b"behind"
    for strategy in (zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        made_by = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
        yield made_by.compress(content) + made_by.flush(zlib.Z_FULL_FLUSH) + made_by.compress(content) + made_by.flush()


def _encoder_seeds() -> Iterator[bytes]:
    text = b"".join(b"%d lines of content\n" % (k * k) for k in range(40))
    yield from (bytes((k, k * 5 & 255, k * 3 % 64, k % 2)) + text for k in range(len(encoders.KNOWN)))


def _tar_seeds() -> Iterator[bytes]:
    for path in sorted((VECTORS / "base").iterdir()):
        yield path.read_bytes()[:8192]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, kind in (("a", b"0"), ("d/", b"5"), ("l" * 90 + "/" + "m" * 90, b"0"), ("h", b"1"), ("s", b"2")):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname, entry.size = (
                    kind,
                    "to" * 60 if kind in b"12" and form else "",
                    5 * (kind == b"0"),
                )
                if form == tarfile.PAX_FORMAT:
                    entry.pax_headers = {"GNU.sparse.name": "x"} if name == "a" else {"comment": "c"}
                if kind == b"0" and form == tarfile.GNU_FORMAT:
                    entry.uid = 1 << 40
                archive.addfile(entry, io.BytesIO(b"hello"))
        yield out.getvalue()[:6144]
    yield _sparse_tar()


def _sparse_tar() -> bytes:
    entry = tarfile.TarInfo("sparse")
    entry.size, entry.type = 512, tarfile.GNUTYPE_SPARSE
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(512) + b"x" * 512 + bytes(1024)


def _image_seeds() -> Iterator[bytes]:
    for style in STYLES:
        for packing_of in (None, "gzip"):
            image = TestImage([build_layer([file("a", b"x" * 20)]), build_layer([file("b")])], ["n:1", "m/n:2"])
            data = docker_save([image], style, packing_of)  # type: ignore[arg-type]
            parts = []
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for entry in archive:
                    found = archive.extractfile(entry) if entry.isreg() else None
                    content = found.read()[:600] if found else entry.linkname.encode()
                    parts += [(b"@" if entry.issym() else b" ") + entry.name.encode(), content.rstrip(b"\0")]
            yield SEPARATOR.join(parts)
    yield SEPARATOR.join(
        (b" " + REPOSITORIES, b'{"a":{"b":"c"}}', b" c/json", b'{"id":"c","parent":"d"}', b" c/layer.tar", b"x")
    )


def _archive_seeds() -> Iterator[bytes]:
    for path in sorted((VECTORS / "base").iterdir()):
        yield b"\0" + path.read_bytes()[:20_000]
    for style in STYLES:
        for stored in (None, "gzip", "zstd"):
            image = TestImage([build_layer([file("a", b"x" * 20)])], ["n:1", "m/n:2"])
            data = docker_save([image, TestImage([build_layer([file("b")])], ["o:1"])], style, stored)  # type: ignore[arg-type]
            yield b"\0" + data[: 20_000 + 40 * len(style)]
            yield b"\0" + gzip.compress(data, mtime=0)
            yield b"\0" + zstandard.compress(data)
            yield b"\5behin" + data


def _compressed_seeds() -> Iterator[bytes]:
    data = b"abcd" * 50 + bytes(300)
    skippable = b"\x50\x2a\x4d\x18\3\0\0\0abc"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    for kind, packed in enumerate((gzip.compress(data), bz2.compress(data), lzma.compress(data), skippable + checked)):
        for step in (0, 255):
            yield bytes((kind, step)) + packed
            yield bytes((kind, step)) + packed + bytes(40) + packed
    streamed = zstandard.ZstdCompressor().compressobj()
    yield b"\3\5" + streamed.compress(data) + streamed.flush()


def _signature_seeds() -> Iterator[bytes]:
    def string(value: bytes) -> bytes:
        return len(value).to_bytes(4, "big") + value

    blob = b"SSHSIG\0\0\0\1" + b"".join(map(string, (b"key" * 11, b"dib", b"", b"sha512", b"sig" * 20)))
    signature = signing.Signature(blob, b"").armored()
    yield signature
    yield header.encode_signature_area(signature)
    yield header.encode_signature_area(b"")


def _created_seeds() -> Iterator[bytes]:
    for number, (old, new) in enumerate(
        (
            *(programs.versions(machine, 60, 8, 3)[:2] for machine in programs.MACHINES),
            (code(1, 6000), edited(code(1, 6000), 2)),
            (text(1, 4000), edited(text(1, 4000), 2) + SEPARATOR + text(1, 4000) + SEPARATOR),
            (b"", text(3, 300)),
            tuple(gzip.compress(b"%d" % k + text(5, 3000), 6, mtime=0) + SEPARATOR + text(6, 400) for k in range(2)),
            ((VECTORS / "base" / "zip.tar").read_bytes(), (VECTORS / "base" / "other.tar").read_bytes()),
        )
    ):
        for level in range(4):
            yield joined((level * 15 + number * 4) % 60, old, new)


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "vcdiff_plain": _vcdiff_seeds,
    "columns": _column_seeds,
    "packers": _packer_seeds,
    "sparse_difference": _sparse_seeds,
    "modelled": _model_seeds,
    "packings": _packing_seeds,
    "bodies": _body_seeds,
    "encoded": _encoder_seeds,
    "side_by_side": _encoder_seeds,
    "frames": _frame_seeds,
    "framed": _framed_seeds,
    "tars": _tar_seeds,
    "mended_tars": _tar_seeds,
    "images": _image_seeds,
    "created": _created_seeds,
    "archives": _archive_seeds,
    "compressed": _compressed_seeds,
    "signatures": _signature_seeds,
}

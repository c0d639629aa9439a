"""A target's gzip layers, and the recipes that recompress them exactly (creation only)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dibundle.codecs import recompression, reencoders
from dibundle.codecs.deflate.candidates import CANDIDATES, Candidate
from dibundle.codecs.deflate.describe import describe
from dibundle.codecs.deflate.search import Search, probe
from dibundle.codecs.encode import embedded_streams
from dibundle.codecs.frames.describe import describe as describe_frames
from dibundle.codecs.recompression import Body, Part, Plain
from dibundle.creating.match.base import Layer
from dibundle.errors import ArchiveError
from dibundle.files.readat import ReadAt, Slice, Spool, copy_chunks
from dibundle.format.records import padded

MEMBERS: Final = 1 << 14  # maximum number of members in a layer; a recipe has two parts for each member
# Several encoders are tried again for at most this many members, and for one more member for each _TRIAL_BYTES bytes of
# the layer. The reason is that such a trial takes 10 ms or more, even for a member of a few bytes.
TRIALS: Final = 64
_TRIAL_BYTES: Final = 64 << 10
PLAIN: Final = 1 << 20  # maximum bytes of a layer that are outside of compressed bodies
COST: Final = 16  # maximum cost of recompression for each byte of the layer in the archive (spec/dib.md, 4.6)

_TRAILER: Final = 8
_GUESSED: Final = 3 << 20  # bytes used to guess an encoder: outputs of pgzip versions differ within the first 2.1 MB
_PROBED: Final = 64 << 10  # the remaining encoders are tried on this many bytes of each further member
_LOOKED_AT: Final = 2 << 20  # bytes of a layer that are read to guess which program wrote the layer
_HEADER: Final = 1 << 16  # maximum bytes of a header


@dataclass(frozen=True, slots=True, kw_only=True)
class RecompressedLayer:
    """A layer whose stored bytes can be recompressed from its content. ``parts`` is the recipe."""

    layer: Layer
    parts: tuple[Part, ...]
    plain: bytes


class CarriedLayer(NamedTuple):
    """A compressed layer that a bundle stores unchanged, and the program that likely wrote the layer.

    ``content_size`` is the content's size, if the layer declares this size in its header or at its end.
    """

    digest: bytes
    compression: str
    size: int
    content_size: int | None
    writer: str | None


def carry(digest: bytes, compression: str, stored: ReadAt) -> CarriedLayer:
    """Describe a layer that cannot be recompressed."""
    writer = content_size = None
    if compression == "gzip":
        head = stored.read_at(0, min(_LOOKED_AT, stored.size))
        size = embedded_streams.gzip_header_size(head[:_HEADER])
        writer = describe(head[:size], head[size:]) if size else None
        if stored.size > _TRAILER:
            content_size = int.from_bytes(stored.read_at(stored.size - 4, 4), "little")
    if compression == "zstd":
        writer, content_size = describe_frames(stored)
    return CarriedLayer(digest, compression, stored.size, content_size, writer)


def unpack_layer(
    stored: ReadAt, spool: Spool, most: int | None = None, trials: int = TRIALS
) -> RecompressedLayer | None:
    """Inflate a gzip layer into ``spool`` and find its encoder. Return None if no encoder reproduces the layer's bytes.

    ``most`` is the maximum number of bytes of content. If no encoder can be right any more, the search ends, usually
    within the first kilobytes. ``trials`` limits the members for which several encoders are tried again.
    """
    parts: list[Part] = []
    plain: list[bytes] = []
    digest = hashlib.sha256()

    def take(content: bytes) -> None:
        digest.update(content)
        spool.write(content)

    at = 0
    left = most_cost(stored) if most is None else min(most, most_cost(stored))
    candidates: Sequence[Candidate] = CANDIDATES
    trials += stored.size // _TRIAL_BYTES
    while at < stored.size:
        size = embedded_streams.gzip_header_size(stored.read_at(at, min(_HEADER, stored.size - at)))
        if size is None:
            break
        body = _body(stored, at + size, take, left, candidates)
        if body is None or len(parts) >= 2 * MEMBERS:
            return None
        found, used, candidates, is_trial = body
        trials -= is_trial
        if trials < 0:
            return None
        left -= found.cost(found.reencoder)
        end = min(stored.size, at + size + used + _TRAILER)
        parts += [Plain(size), found, Plain(end - at - size - used)]
        plain += [stored.read_at(at, size), stored.read_at(at + size + used, end - at - size - used)]
        at = end
    if not parts or stored.size - at > PLAIN or sum(map(len, plain)) > PLAIN:
        return None
    parts.append(Plain(stored.size - at))
    plain.append(stored.read_at(at, stored.size - at))
    if recompression.cost(parts) > most_cost(stored):
        return None
    content = Slice(spool, 0, spool.size)
    return RecompressedLayer(layer=Layer(digest.digest(), content), parts=tuple(joined(parts)), plain=b"".join(plain))


def guess(stored: ReadAt, content_size: int) -> bytes | None:
    """Return the likely recipe and plain bytes of a gzip layer with one member.

    Read only the layer's beginning and end.
    """
    size = embedded_streams.gzip_header_size(stored.read_at(0, min(_HEADER, stored.size)))
    if size is None or stored.size < size + _TRAILER or content_size > most_cost(stored):
        return None
    trailer = stored.read_at(stored.size - _TRAILER, _TRAILER)
    if int.from_bytes(trailer[4:], "little") != content_size & 0xFFFFFFFF:
        return None
    search = Search()
    try:
        for content in search.feed(stored.read_at(size, min(_GUESSED, stored.size - size - _TRAILER))):
            del content
        # if the search reached the end (of a small layer), the result is certain
        found = search.finish().recipe if search.ended else search.likely(content_size)
    except ArchiveError:
        return None
    if found is None:
        return None
    parts: list[Part] = [Plain(size), Body(content_size, found), Plain(_TRAILER)]
    if recompression.cost(parts) > most_cost(stored):
        return None
    return recompression.write(parts) + stored.read_at(0, size) + trailer


def _body(
    stored: ReadAt, start: int, take: Callable[[bytes], None], limit: int, candidates: Sequence[Candidate]
) -> tuple[Body, int, Sequence[Candidate], bool] | None:
    """Return the body, its size, the remaining candidates, and whether several candidates were tried again.

    Return None if no encoder reproduces the body, or if recompressing the body costs more than ``limit``.

    ``candidates`` are the candidates that remain after the previous members. For a small member, only the first
    candidate is tried. For any other member, all ``CANDIDATES`` are tried if no remaining candidate reproduces the
    body's beginning. Trying all candidates each time would take minutes: an estargz layer has a member for each file.
    """
    is_trial = False
    if len(candidates) < len(CANDIDATES):
        head = stored.read_at(start, min(_PROBED, stored.size - start))
        whole = _small_body(head, take, limit, candidates[0])
        if whole:
            return *whole, candidates, False
        probed = probe(head, candidates)
        candidates = probed or CANDIDATES
        is_trial = len(candidates) > 1
    search = Search(candidates)
    size = 0
    try:
        for piece in copy_chunks(stored, start, stored.size - start):
            for content in search.feed(piece):
                take(content)
                size += len(content)
                cost = min(
                    (reencoders.byte_cost(candidate.encoder, candidate.level) for candidate in search.candidates),
                    default=None,
                )
                if cost is None or cost * size > limit:
                    return None
            if search.ended:
                break
        found = search.finish()
    except ArchiveError:
        return None
    return (Body(found.content, found.recipe), found.used, search.candidates, is_trial) if found.recipe else None


def _small_body(
    head: bytes, take: Callable[[bytes], None], limit: int, candidate: Candidate
) -> tuple[Body, int] | None:
    """Return the body and its size, if the body ends within ``head`` and the candidate reproduces it."""
    search = Search([candidate])
    pieces = []
    try:
        for content in search.feed(head):
            pieces.append(content)
            limit -= len(content) * reencoders.byte_cost(candidate.encoder, candidate.level)
            if limit < 0 or not search.candidates:
                return None
        found = search.finish()
    except ArchiveError:
        return None
    if found.recipe is None or found.recipe.edits:
        return None
    for content in pieces:
        take(content)
    return Body(found.content, found.recipe), found.used


def most_cost(stored: ReadAt) -> int:
    """Return the maximum cost of recompressing a layer. This includes the cost of its tar header and padding."""
    return COST * (512 + padded(stored.size))


def joined(parts: list[Part]) -> Iterator[Part]:
    """Yield the parts. Join adjacent plain parts, and leave out empty parts."""
    length = 0
    for part in parts:
        if isinstance(part, Plain):
            length += part.length
            continue
        if length:
            yield Plain(length)
        length = 0
        yield part
    if length:
        yield Plain(length)

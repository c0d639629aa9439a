"""The zstd layers of a target and their content (creation only). Recipes recompress the content to the same frames."""

from __future__ import annotations

import hashlib
from typing import Final

from dibundle.codecs import recompression
from dibundle.codecs.frames.layout import find_blocks, skippable_size
from dibundle.codecs.frames.search import FrameSearch
from dibundle.codecs.recompression import Body, Part, Plain
from dibundle.creating.compose.recompressed import RecompressedLayer, joined, most_cost
from dibundle.creating.match.base import Layer
from dibundle.errors import ArchiveError
from dibundle.files.readat import ReadAt, Slice, Spool

_BLOCKS: Final = 1 << 20  # maximum blocks of a layer
_GUESSED: Final = 4 << 20  # bytes of content used to guess an encoder
_FRAMES: Final = recompression.MAX_PARTS - 16
# maximum bytes of a layer that are outside of compressed bodies, such as the tables of contents of zstd:chunked
_PLAIN: Final = 4 << 20
_LITERALS: Final = 8 << 20  # maximum literal bytes of all edits of a layer


class _Stopped(Exception):  # noqa: N818 - it is not an error
    """The exception for a layer that no encoder reproduces, or that exceeds a limit."""


def unpack_frames(stored: ReadAt, spool: Spool, most: int | None = None) -> RecompressedLayer | None:
    """Decode a zstd layer into ``spool`` and find its encoder. Return None if no encoder reproduces the layer's bytes.

    ``most`` is the maximum number of bytes of content. If no encoder can be right any more, the search ends, usually
    within the first kilobytes.
    """
    limit = most_cost(stored) if most is None else min(most, most_cost(stored))
    reading = _Frames(stored, spool, limit)
    try:
        parts, plain = reading.read()
    except (ArchiveError, _Stopped):
        return None
    if not any(isinstance(part, Body) for part in parts) or recompression.cost(parts) > most_cost(stored):
        return None
    content = Slice(spool, 0, spool.size)
    layer = Layer(reading.digest.digest(), content)
    return RecompressedLayer(layer=layer, parts=tuple(joined(parts)), plain=plain)


def guess_frame(stored: ReadAt, content_size: int) -> bytes | None:
    """Return the likely recipe of a layer with one frame. Only the layer's beginning is read."""
    if content_size > most_cost(stored):
        return None
    try:
        layout = find_blocks(stored, 0, _BLOCKS)
        found = FrameSearch().likely(stored, layout, 0, _GUESSED) if layout.end == stored.size else None
    except ArchiveError:
        return None
    parts = [Body(content_size, found)] if found else []
    return recompression.write(parts) if parts and recompression.cost(parts) <= most_cost(stored) else None


class _Frames:
    """The frames of one layer, one after the other."""

    def __init__(self, stored: ReadAt, spool: Spool, limit: int) -> None:
        self.digest = hashlib.sha256()
        self._stored = stored
        self._spool = spool
        self._limit = limit
        self._left = limit
        self._reencoder = 0  # re-encoder of the previous body
        self._blocks = _BLOCKS
        self._literals = _LITERALS
        self._search = FrameSearch()
        self._content = 0  # bytes of content read so far from the current frame

    def read(self) -> tuple[list[Part], bytes]:
        """Return the recipe's parts and the plain bytes. Raise ``ArchiveError`` if the layer is damaged."""
        parts: list[Part] = []
        plain: list[bytes] = []
        at = plain_size = 0
        while at < self._stored.size:
            size = skippable_size(self._stored, at)
            if size is None and len(parts) < _FRAMES:
                body, end = self._body(at)
                parts.append(body)
                at = end
                continue
            if size is None or plain_size + size > _PLAIN:
                raise _Stopped
            plain_size += size
            parts.append(Plain(size))
            plain.append(self._stored.read_at(at, size))
            at += size
        return parts, b"".join(plain)

    def _body(self, at: int) -> tuple[Body, int]:
        layout = find_blocks(self._stored, at, self._blocks)
        self._blocks -= len(layout.blocks)
        self._content = 0
        recipe = self._search.find(self._stored, layout, at, self._take)
        if recipe is None:
            raise _Stopped
        self._literals -= recipe.literal_bytes
        if self._literals < 0:
            raise _Stopped
        body = Body(self._content, recipe)
        self._left -= recompression.PART_COST + body.cost(self._reencoder)
        self._reencoder = body.reencoder
        if self._left < 0:
            raise _Stopped
        return body, layout.end

    def _take(self, content: bytes) -> None:
        self._content += len(content)
        cost = min(candidate.byte_cost for candidate in self._search.candidates)
        if cost * self._content > self._left:
            raise _Stopped
        self.digest.update(content)
        self._spool.write(content)

"""A target's program.

The program refers to known layers as a whole. The program rebuilds new layers entry by entry, and writes all other
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dibundle.codecs import recompression
from dibundle.creating.compose.archive import ArchiveComposer, OuterMember
from dibundle.creating.compose.frames import FramePlanner
from dibundle.creating.compose.layer import Counts, LayerComposer
from dibundle.creating.compose.objects import ObjectTable
from dibundle.creating.compose.recompressed import RecompressedLayer
from dibundle.creating.compose.sides import BaseSide, TargetSide
from dibundle.creating.match import names as match_names
from dibundle.creating.match.base import Layer
from dibundle.creating.match.matcher import Matcher, SimilarFiles
from dibundle.files.readat import ReadAt
from dibundle.format.constants import COST_FACTOR, COST_FLOOR, FRAME_COST, MAX_MANIFEST, OP_COST, SEGMENT_COST
from dibundle.format.program_writer import ProgramWriter
from dibundle.format.tables import Range
from dibundle.format.values import PlaceInTarget


@dataclass(slots=True, kw_only=True)
class ComposedTarget:
    """A target's program and its frames under construction."""

    side: TargetSide
    writer: ProgramWriter
    frames: FramePlanner
    archive: ArchiveComposer
    text_sources: list[Range]
    rest_digest: bytes
    names: list[bytes]
    reencoders: set[int]
    deleted: list[bytes] = field(default_factory=list)

    def cost(self) -> int:
        """Return the cost of the target for a reader (spec/dib.md, 4.5)."""
        of_frames = sum(
            FRAME_COST + draft.size + sum(item.length for item in draft.old) for draft in self.frames.drafts
        )
        return of_frames + SEGMENT_COST * len(self.archive.segments.found) + OP_COST * self.writer.operations

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests. Readers compute the same text."""
        return b"".join(item.digest.hex().encode() for item in self.archive.segments.found if item.digest)


def compose_all(
    base: BaseSide, sides: Sequence[TargetSide], objects: ObjectTable, counts: Counts, *, window: int
) -> list[ComposedTarget]:
    """Write the programs of all targets. Each target's content is available to later targets.

    ``window`` is the maximum number of a large file's bytes in one frame.
    """
    composed: list[ComposedTarget] = []
    first = listed = 0
    paths: dict[int, frozenset[bytes]] = {}
    similar = SimilarFiles(base.index)
    for side in sides:
        composed.append(_compose(base, side, first, objects, counts, window, similar))
        if listed <= MAX_MANIFEST:  # a longer list does not fit into a manifest, and the base is read for each target
            composed[-1].deleted = _deleted(base, side, objects.used, paths)
            listed += sum(len(path) + 1 for path in composed[-1].deleted)
        first += len(composed[-1].frames.drafts)
        if side is not sides[-1]:
            objects.places |= _places(base, side, len(composed) - 1)
            base.grow(side)
    for item in composed:  # the digest text is a source, and its number follows the last object's number
        size = len(item.digest_text())
        if 0 < size * sum(draft.old is item.text_sources for draft in item.frames.drafts) <= COST_FLOOR:
            item.text_sources.append(Range(len(objects.objects), 0, size))
    _drop_costly_sources(composed)
    return composed


def _places(base: BaseSide, side: TargetSide, number: int) -> dict[bytes, PlaceInTarget]:
    """Return the places of those layers of a target that are in no base and in no earlier target.

    Later targets use these layers.
    """
    found = {}
    for stored in side.blobs:
        member = stored.blob.member
        if stored.blob.kind == "layer":
            found[stored.digest] = PlaceInTarget(number, member.content, member.size, is_compressed=False)
        if packed := side.packed.get(stored.digest):
            found[packed.layer.digest] = PlaceInTarget(number, member.content, member.size, is_compressed=True)
    return {digest: place for digest, place in found.items() if digest not in base.known}


def _drop_costly_sources(composed: Sequence[ComposedTarget]) -> None:
    """If the targets would cost a reader too much, drop the largest sources of frames.

    A reader refuses a bundle whose targets cost more than 8 times their total size plus 64 MiB (spec/dib.md, 4.5).
    """
    beyond = [max(0, item.cost() - COST_FACTOR * item.side.images.archive.bytes.size) for item in composed]
    drafts = [
        draft
        for item, excess in zip(composed, beyond, strict=True)
        for draft in item.frames.drafts
        if excess and draft.old_size
    ]
    left = sum(beyond)
    for draft in sorted(drafts, key=lambda draft: draft.old_size, reverse=True):
        if left <= COST_FLOOR:
            return
        left -= draft.old_size
        draft.old, draft.old_size, draft.implied, draft.whole = [], 0, False, None


def _compose(
    base: BaseSide,
    side: TargetSide,
    first: int,
    objects: ObjectTable,
    counts: Counts,
    window: int,
    similar: SimilarFiles,
) -> ComposedTarget:
    """Write a target's program.

    The program refers to known layers as a whole. The program rebuilds new layers entry by entry, and writes all other
    bytes.
    """
    program, before = ProgramWriter(), len(counts.names)
    objects.used.clear()
    text_sources: list[Range] = []
    frames = FramePlanner(first, text_sources, window)
    target = side.images.archive
    composer = ArchiveComposer(target.bytes, target.index, program, frames)
    matcher = Matcher(base.index, similar, side.new_layers, base.layers_known_to(side))
    layers = LayerComposer(program, frames, objects, base.index, matcher, counts)
    numbers = {id(entry): number for number, entry in enumerate(target.index.entries)}

    def content_of(layer: Layer) -> Callable[[], None]:
        return (
            partial(_refer, program, objects, layer.digest, base.known)
            if layer.digest in base.known
            else partial(layers.compose, layer)
        )

    members = {}
    for stored in side.blobs:
        member = stored.blob.member
        compose: Callable[[], None] | None = None
        packed = side.packed.get(stored.digest)
        if stored.digest in base.known:
            compose = partial(_refer, program, objects, stored.digest, base.known)
        elif packed:
            compose = partial(_pack, program, frames, packed, stored.source.size, content_of(packed.layer))
        elif stored.layer:
            compose = content_of(stored.layer)
        named = stored.digest in (stored.blob.digest, stored.blob.diff_id)
        members[numbers[id(member)]] = OuterMember(member, stored.digest, named, compose)
    composer.compose(members)
    return ComposedTarget(
        side=side,
        writer=program,
        frames=frames,
        archive=composer,
        text_sources=text_sources,
        rest_digest=composer.segments.finish(),
        names=counts.names[before:],
        reencoders=set().union(*(recompression.reencoders_of(item.parts) for item in side.packed.values())),
    )


def _refer(
    program: ProgramWriter, objects: ObjectTable, content: bytes, known: Mapping[bytes, tuple[int, ReadAt]]
) -> None:
    kind, source = known[content]
    program.seek(objects.use(kind, content, source), 0)
    program.keep(source.size)


def _pack(
    program: ProgramWriter, frames: FramePlanner, packed: RecompressedLayer, size: int, compose: Callable[[], None]
) -> None:
    """Write the operations around a compressed layer of ``size`` bytes. ``compose`` writes the content's operations."""
    data = recompression.write(packed.parts) + packed.plain
    program.begin(len(data), size)
    frames.text(data)
    compose()
    program.end()


def _deleted(base: BaseSide, side: TargetSide, used: set[bytes], paths: dict[int, frozenset[bytes]]) -> list[bytes]:
    """Return the paths that exist in the used base layers, but in no layer of the target.

    ``paths`` caches the paths of base layers, which all targets use.
    """
    here = {blob.layer.digest if blob.layer else blob.digest for blob in side.blobs}
    here |= {packed.layer.digest for packed in side.packed.values()}
    here |= {blob.layer.digest for blob in base.blobs if blob.layer and blob.digest in here}
    own = [layer for layer in base.index.layers if layer.digest in base.own]
    kept = [layer for layer in own if layer.digest in here]
    if kept and not side.new_layers:
        return []
    used_layers = [layer for layer in own if layer.digest in used - here]
    for layer in (*used_layers, *kept):
        if id(layer) not in paths:
            paths[id(layer)] = _paths(layer)
    there = set().union(*(paths[id(layer)] for layer in kept), *map(_paths, side.new_layers))
    return sorted(set().union(*(paths[id(layer)] - there for layer in used_layers)))


def _paths(layer: Layer) -> frozenset[bytes]:
    return frozenset(match_names.clean(entry.path) for entry in layer.index.entries)

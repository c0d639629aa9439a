"""The manifest as immutable values.

The manifest has everything in a bundle except the header, the signature and the bytes of the frames.

For every valid manifest, ``Manifest.decode`` is the inverse of ``Manifest.encode``, because each manifest has exactly
one encoding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dibundle.errors import BundleError
from dibundle.format import constants as c
from dibundle.format import messages
from dibundle.format.sections import (
    encode_about,
    encode_frames,
    encode_names,
    encode_objects,
    encode_target,
    read_about,
    read_forms,
    read_frames,
    read_names,
    read_objects,
    read_requires,
    read_sections,
    read_targets,
)
from dibundle.format.tables import Frame, FrameTable
from dibundle.format.values import About, BaseObject, Names, RecompressedObject, Target
from dibundle.format.wire import pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole manifest. ``about``, ``names`` and ``forms`` are the skippable sections."""

    codecs: tuple[int, ...]
    reencoders: tuple[int, ...] = ()
    objects: tuple[BaseObject, ...]
    frames: Sequence[Frame]
    targets: tuple[Target, ...]
    about: About | None = None
    names: Names | None = None
    forms: tuple[RecompressedObject, ...] = ()
    uses: dict[int, int | BundleError] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Cache of :mod:`dibundle.format.uses`, by target."""
    _object_sizes: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """Return the manifest's bytes before compression."""
        sections = {
            c.SECTION_REQUIRES: pack([list(self.codecs), [], list(self.reencoders)]),
            c.SECTION_OBJECTS: encode_objects(self.objects),
            c.SECTION_FRAMES: encode_frames(self.frames),
            c.SECTION_TARGETS: pack([encode_target(target) for target in self.targets]),
        }
        if self.about:
            sections[c.SECTION_ABOUT] = encode_about(self.about)
        if self.names:
            sections[c.SECTION_NAMES] = encode_names(self.names)
        if self.forms:
            sections[c.SECTION_FORMS] = pack([[f.object, f.size, f.digest, f.packing] for f in self.forms])
        return pack([[number, sections[number]] for number in sorted(sections)])

    @classmethod
    def decode(cls, data: bytes, known_codecs: Iterable[int], known_reencoders: Iterable[int] = ()) -> Manifest:
        """Parse and check a manifest. Raise :class:`BundleError` for the first fault."""
        sections = read_sections(data)
        missing = [
            number
            for number in (c.SECTION_REQUIRES, c.SECTION_OBJECTS, c.SECTION_FRAMES, c.SECTION_TARGETS)
            if number not in sections
        ]
        if missing:
            raise BundleError(messages.MANIFEST_SECTION_MISSING, missing=missing[0])
        codecs, reencoders = read_requires(
            sections[c.SECTION_REQUIRES], frozenset(known_codecs), frozenset(known_reencoders)
        )
        objects = read_objects(sections[c.SECTION_OBJECTS])
        frames = read_frames(sections[c.SECTION_FRAMES], codecs, objects)
        targets = read_targets(sections[c.SECTION_TARGETS], len(frames))
        about = sections.get(c.SECTION_ABOUT)
        names = sections.get(c.SECTION_NAMES)
        forms = sections.get(c.SECTION_FORMS)
        manifest = cls(
            codecs=codecs,
            reencoders=reencoders,
            objects=objects,
            frames=frames,
            targets=targets,
            about=read_about(about, len(targets)) if about is not None else None,
            names=read_names(names, len(targets)) if names is not None else None,
            forms=read_forms(forms, objects) if forms is not None else (),
        )
        manifest.check_limits()
        return manifest

    def check_limits(self) -> None:
        """Refuse a bundle if its declared sizes cost too much (spec/dib.md, 4.5)."""
        self._check_places()
        table = FrameTable.of(self.frames)
        packed = Counter(item.place.target for item in self.objects if item.place and item.place.is_compressed)
        segments = sum(len(target.segments) for target in self.targets)
        if segments > c.MAX_SEGMENTS or len(table.ranges) > c.MAX_RANGES:
            raise BundleError(messages.LIMIT_SEGMENTS, segments=segments, ranges_count=len(table.ranges))
        first = beyond = 0
        for number, target in enumerate(self.targets):
            end = first + target.frames
            if len(target.columns.ops.data) > c.MAX_OPS + target.size // c.OP_BYTES:
                raise BundleError(messages.LIMIT_OPERATIONS)
            cost = _cost(table, first, end, target) + c.PLACED_COST * packed[number]
            beyond += max(0, cost - c.COST_FACTOR * target.size)
            if beyond > c.COST_FLOOR:
                raise BundleError(messages.LIMIT_WORK, cost=cost, size=target.size)
            self._check_ranges(table, first, end, 2 * len(target.own_digests()))
            first = end

    def _check_places(self) -> None:
        """Refuse an object whose place extends beyond the end of the target.

        Refuse the compressed objects in a target if their compressed sizes together exceed the target's size. Refuse a
        compressed object whose content is too large for its compressed size.
        """
        left = [target.size for target in self.targets]
        for item in self.objects:
            if not (place := item.place):
                continue
            if place.target >= len(left) or place.offset + place.length > self.targets[place.target].size:
                raise BundleError(messages.MANIFEST_OBJECT_PLACE, place_target=place.target, offset=place.offset)
            if place.is_compressed:
                left[place.target] -= place.length
                if left[place.target] < 0 or item.size > c.PLACED_RATIO * place.length + c.PLACED_FLOOR:
                    raise BundleError(messages.LIMIT_PLACED, place_target=place.target, size=item.size)

    @property
    def object_sizes(self) -> list[int]:
        """The sizes of the objects in bytes. All targets share the list, because there may be a thousand targets."""
        if not self._object_sizes:
            self._object_sizes.extend(item.size for item in self.objects)
        return self._object_sizes

    @property
    def profile(self) -> str:
        """The profile. It is "core" if every reader of the format can apply the bundle. Otherwise, it is "full"."""
        packs = any(c.OP_BEGIN in target.columns.ops.data for target in self.targets)
        is_full = packs or self.reencoders or max(self.codecs, default=0) > c.LAST_CORE_CODEC
        return "full" if is_full else "core"

    def needed(self) -> list[int]:
        """Return the indexes of the objects that the receiver must have, because no target contains them."""
        return [number for number, item in enumerate(self.objects) if not item.place]

    def _check_ranges(self, table: FrameTable, first: int, end: int, text_size: int) -> None:
        """Refuse a range that extends beyond the end of its object. The digest text has ``text_size`` bytes."""
        sizes = self.object_sizes
        ranges, rows = table.ranges, range(table.firsts[first], table.firsts[end])
        for row in rows:
            item = ranges.objects[row]
            size = sizes[item] if item < len(sizes) else text_size if item == len(sizes) else 0
            if ranges.offsets[row] + ranges.lengths[row] > size:
                raise BundleError(messages.MANIFEST_SOURCE_OUT_OF_BOUNDS)


def _cost(table: FrameTable, first: int, end: int, target: Target) -> int:
    """Return the cost of a target, in bytes of work."""
    return (
        sum(table.sizes[first:end])
        + sum(table.source_sizes[first:end])
        + c.FRAME_COST * (end - first)
        + c.RANGE_COST * (table.firsts[end] - table.firsts[first])
        + c.SEGMENT_COST * len(target.segments)
        + c.OP_COST * len(target.columns.ops.data)
        + c.SHAPE_COST * target.columns.shapes.count()
    )

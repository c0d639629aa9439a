"""The manifest: everything a bundle says about itself but the frames' bytes, as immutable values.

``Manifest.encode`` and ``Manifest.decode`` are inverse on every valid manifest, and each manifest has one byte form.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate

from dibundle.errors import BundleError
from dibundle.files import digest
from dibundle.format import constants as c
from dibundle.format import messages
from dibundle.format.program import COLUMN_NAMES, Columns
from dibundle.format.tables import Frame, FrameTable, Paths, RangeTable, Segment, SegmentTable
from dibundle.format.wire import ColumnWriter, Structure, pack


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseObject:
    """Content that the receiver has: ``kind`` (layer, config, other), ``size`` in bytes, SHA-256 ``digest``."""

    kind: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An archive to rebuild: ``size`` bytes with SHA-256 ``digest``, output withheld from ``tail`` on.

    ``frames`` of the bundle's frames, after those of the targets before it, feed its ``columns``.
    """

    size: int
    digest: bytes
    rest_digest: bytes
    tail: int
    frames: int
    segments: Sequence[Segment]
    columns: Columns

    def own_digests(self) -> bytes:
        """Return the digests of the segments that have one, in their order."""
        if isinstance(self.segments, SegmentTable):
            return self.segments.digests
        return b"".join(segment.digest for segment in self.segments if segment.digest)

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests one after the other: a source for names and JSON."""
        return self.own_digests().hex().encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutImage:
    """An image for people: its names, its ID (SHA-256 of the config) and its layers' diffIDs."""

    names: tuple[str, ...]
    id: bytes
    diff_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Which images the base and the targets hold, and what is worth telling: for messages, never for decoding."""

    bases: tuple[AboutImage, ...]
    targets: tuple[tuple[AboutImage, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names that decoding does not need, for listing: per target those patched (in order) and those deleted."""

    patched: tuple[Sequence[bytes], ...]
    deleted: tuple[Sequence[bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How base object ``object``, a compressed layer, may be made of its content: ``size`` bytes, SHA-256 ``digest``.

    ``packing`` is a packing with its plain bytes. An encoder may have guessed it.
    """

    object: int
    size: int
    digest: bytes
    packing: bytes


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
    forms: tuple[Form, ...] = ()
    uses: dict[int, int | BundleError] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What :mod:`dibundle.format.uses` has found out, by target."""

    def encode(self) -> bytes:
        """Return the manifest's bytes, not yet compressed."""
        sections = {
            c.SECTION_REQUIRES: pack([list(self.codecs), [], list(self.reencoders)]),
            c.SECTION_OBJECTS: _encode_objects(self.objects),
            c.SECTION_FRAMES: _encode_frames(self.frames),
            c.SECTION_TARGETS: pack([_encode_target(target) for target in self.targets]),
        }
        if self.about:
            sections[c.SECTION_ABOUT] = _encode_about(self.about)
        if self.names:
            sections[c.SECTION_NAMES] = _encode_names(self.names)
        if self.forms:
            sections[c.SECTION_FORMS] = pack([[f.object, f.size, f.digest, f.packing] for f in self.forms])
        return pack([[number, sections[number]] for number in sorted(sections)])

    @classmethod
    def decode(cls, data: bytes, known_codecs: Iterable[int], known_reencoders: Iterable[int] = ()) -> Manifest:
        """Parse and check a manifest; :class:`BundleError` names the place of the first fault."""
        sections = _read_sections(data)
        missing = [
            number
            for number in (c.SECTION_REQUIRES, c.SECTION_OBJECTS, c.SECTION_FRAMES, c.SECTION_TARGETS)
            if number not in sections
        ]
        if missing:
            raise BundleError(messages.MANIFEST_SECTION_MISSING, missing=missing[0])
        codecs, reencoders = _read_requires(
            sections[c.SECTION_REQUIRES], frozenset(known_codecs), frozenset(known_reencoders)
        )
        objects = _read_objects(sections[c.SECTION_OBJECTS])
        frames = _read_frames(sections[c.SECTION_FRAMES], codecs, objects)
        targets = _read_targets(sections[c.SECTION_TARGETS], len(frames))
        about = sections.get(c.SECTION_ABOUT)
        names = sections.get(c.SECTION_NAMES)
        forms = sections.get(c.SECTION_FORMS)
        manifest = cls(
            codecs=codecs,
            reencoders=reencoders,
            objects=objects,
            frames=frames,
            targets=targets,
            about=_read_about(about, len(targets)) if about is not None else None,
            names=_read_names(names, len(targets)) if names is not None else None,
            forms=_read_forms(forms, objects) if forms is not None else (),
        )
        manifest.check_limits()
        return manifest

    def check_limits(self) -> None:
        """Refuse what would cost too much, from the declared sizes alone (spec/dib.md, 4.5)."""
        table = FrameTable.of(self.frames)
        segments = sum(len(target.segments) for target in self.targets)
        if segments > c.MAX_SEGMENTS or len(table.ranges) > c.MAX_RANGES:
            raise BundleError(messages.LIMIT_SEGMENTS, segments=segments, ranges_count=len(table.ranges))
        first = beyond = 0
        for target in self.targets:
            end = first + target.frames
            if len(target.columns.ops.data) > c.MAX_OPS + target.size // c.OP_BYTES:
                raise BundleError(messages.LIMIT_OPERATIONS)
            cost = _cost(table, first, end, target)
            beyond += max(0, cost - c.COST_FACTOR * target.size)
            if beyond > c.COST_FLOOR:
                raise BundleError(messages.LIMIT_WORK, cost=cost, size=target.size)
            self._check_ranges(table, first, end, 2 * len(target.own_digests()))
            first = end

    def _check_ranges(self, table: FrameTable, first: int, end: int, text_size: int) -> None:
        """Refuse ranges outside of their objects; the digest text has ``text_size`` bytes."""
        sizes = [*(item.size for item in self.objects), text_size]
        ranges, rows = table.ranges, range(table.firsts[first], table.firsts[end])
        for row in rows:
            item = ranges.objects[row]
            if item >= len(sizes) or ranges.offsets[row] + ranges.lengths[row] > sizes[item]:
                raise BundleError(messages.MANIFEST_SOURCE_OUT_OF_BOUNDS)


def _cost(table: FrameTable, first: int, end: int, target: Target) -> int:
    """Return what a target costs, in bytes of work."""
    return (
        sum(table.sizes[first:end])
        + sum(table.source_sizes[first:end])
        + c.FRAME_COST * (end - first)
        + c.RANGE_COST * (table.firsts[end] - table.firsts[first])
        + c.SEGMENT_COST * len(target.segments)
        + c.OP_COST * len(target.columns.ops.data)
    )


def _read_sections(data: bytes) -> dict[int, memoryview]:
    reader = Structure(data, "the manifest")
    sections: dict[int, memoryview] = {}
    last = 0
    for _ in range(reader.array("sections", maximum=256)):
        reader.array("a section's id and bytes", minimum=2, maximum=2)
        number = reader.integer("section id", maximum=1 << 31)
        body = reader.view("section bytes")
        if number <= last:
            raise BundleError(messages.MANIFEST_SECTION_ORDER, number=number, last=last)
        last = number
        known = number in _KNOWN_SECTIONS
        if number % 2 and not known:
            raise BundleError(messages.MANIFEST_UNKNOWN_SECTION, number=number)
        if known:
            sections[number] = body
    reader.end()
    return sections


_KNOWN_SECTIONS = frozenset(
    (
        c.SECTION_REQUIRES,
        c.SECTION_OBJECTS,
        c.SECTION_FRAMES,
        c.SECTION_TARGETS,
        c.SECTION_ABOUT,
        c.SECTION_NAMES,
        c.SECTION_FORMS,
    )
)


def _read_requires(
    data: memoryview, codecs: frozenset[int], reencoders: frozenset[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the codecs and re-encoders that a bundle uses, all of them known; there are no transforms."""
    reader = Structure(data, "section 1")
    reader.array("lists", minimum=3, maximum=3)
    lists = []
    for what, known in (("codec", codecs), ("transform", frozenset[int]()), ("re-encoder", reencoders)):
        numbers = [reader.integer(what, maximum=65535) for _ in range(reader.array(f"{what}s", maximum=256))]
        for number in numbers:
            if number not in known:
                raise BundleError(messages.BUNDLE_UNKNOWN_FEATURE, subject=what, number=number)
        if numbers != sorted(set(numbers)):
            raise BundleError(messages.MANIFEST_REQUIREMENTS_ORDER, subject=what)
        lists.append(tuple(numbers))
    reader.end()
    return lists[0], lists[2]


def _encode_objects(objects: tuple[BaseObject, ...]) -> bytes:
    return pack(
        [
            bytes(item.kind for item in objects),
            bytes(ColumnWriter(item.size for item in objects).data),
            b"".join(item.digest for item in objects),
        ]
    )


def _read_objects(data: memoryview) -> tuple[BaseObject, ...]:
    reader = Structure(data, "section 3")
    reader.array("columns", minimum=3, maximum=3)
    kinds = reader.blob("kinds", maximum=c.MAX_OBJECTS)
    sizes = reader.column("sizes of base objects")
    digests = reader.blob("digests", exactly=len(kinds) * digest.SIZE)
    reader.end()
    if any(kind not in (c.KIND_LAYER, c.KIND_CONFIG, c.KIND_OTHER) for kind in kinds):
        raise BundleError(messages.MANIFEST_OBJECT_KIND)
    objects = tuple(
        BaseObject(kind=kind, size=size, digest=digest.nth(digests, index))
        for index, (kind, size) in enumerate(zip(kinds, sizes.all(len(kinds)), strict=True))
    )
    if len({item.digest for item in objects}) != len(objects):
        raise BundleError(messages.MANIFEST_OBJECT_TWICE)
    return objects


def _read_forms(data: memoryview, objects: tuple[BaseObject, ...]) -> tuple[Form, ...]:
    reader = Structure(data, "section 6")
    forms: list[Form] = []
    for _ in range(reader.array("forms", minimum=1, maximum=c.MAX_OBJECTS)):
        reader.array("fields of a form", minimum=4, maximum=4)
        number = reader.integer("object", maximum=len(objects) - 1)
        if objects[number].kind != c.KIND_OTHER:
            raise BundleError(messages.MANIFEST_RECOMPRESSED_OBJECT, number=number)
        if forms and number <= forms[-1].object:
            raise BundleError(messages.MANIFEST_RECOMPRESSED_ORDER)
        forms.append(
            Form(
                object=number,
                size=reader.integer("size"),
                digest=reader.blob("digest", exactly=digest.SIZE),
                packing=reader.blob("packing", maximum=c.MAX_PACKING),
            )
        )
    reader.end()
    return tuple(forms)


def _encode_frames(frames: Sequence[Frame]) -> bytes:
    table = FrameTable.of(frames)
    counts = (table.firsts[row + 1] - table.firsts[row] for row, kind in enumerate(table.kinds) if kind == 2)
    implied = (size for size, kind in zip(table.source_sizes, table.kinds, strict=True) if kind == 1)
    columns: list[Iterable[int]] = [table.stored, table.sizes, implied, counts]
    columns += [table.ranges.objects, table.ranges.offsets, table.ranges.lengths]
    encoded = [bytes(ColumnWriter(column).data) for column in columns]
    return pack([table.streams, table.codecs, table.kinds, *encoded, table.digests])


def _read_frames(data: memoryview, codecs: tuple[int, ...], objects: tuple[BaseObject, ...]) -> FrameTable:
    reader = Structure(data, "section 5")
    reader.array("columns", minimum=11, maximum=11)
    streams = reader.blob("streams", maximum=c.MAX_FRAMES)
    codec_column = reader.blob("codecs", exactly=len(streams))
    kinds = reader.blob("source kinds", exactly=len(streams))
    stored, sizes, implied, counts, source_objects, offsets, lengths = (
        reader.column(f"frames' {what}")
        for what in (
            "stored lengths",
            "sizes",
            "source sizes",
            "source counts",
            "source objects",
            "source offsets",
            "source lengths",
        )
    )
    digests = reader.blob("digests", exactly=len(streams) * digest.SIZE)
    reader.end()
    _check_bytes(streams, range(c.STREAMS), "stream")
    _check_bytes(codec_column, codecs, "codec")
    _check_bytes(kinds, range(3), "source kind")
    count_column = counts.all(kinds.count(2))
    _check_numbers(count_column, 1, c.MAX_RANGES, "source ranges of a frame")
    if sum(count_column) > c.MAX_RANGES:
        raise BundleError(messages.LIMIT_RANGES, sum=sum(count_column), max_ranges=c.MAX_RANGES)
    total = sum(count_column)
    ranges = RangeTable(source_objects.all(total), offsets.all(total), lengths.all(total))
    _check_numbers(ranges.objects, 0, len(objects), "a source object")
    _check_numbers(ranges.lengths, 1, c.MAX_FRAME_SOURCE, "a source range")
    given = iter(count_column)
    firsts = array("q", accumulate((next(given) if kind == 2 else 0 for kind in kinds), initial=0))
    implied_sizes = iter(implied.all(kinds.count(1)))
    source_sizes = array(
        "q",
        (
            next(implied_sizes) if kind == 1 else sum(ranges.lengths[firsts[row] : firsts[row + 1]])
            for row, kind in enumerate(kinds)
        ),
    )
    table = FrameTable(
        streams=streams,
        codecs=codec_column,
        kinds=kinds,
        stored=stored.all(len(streams)),
        sizes=sizes.all(len(streams)),
        source_sizes=source_sizes,
        firsts=firsts,
        ranges=ranges,
        digests=digests,
    )
    _check_numbers(table.stored, 0, c.MAX_FRAME_STORED, "stored bytes of a frame")
    _check_numbers(table.sizes, 1, c.MAX_FRAME_SIZE, "size of a frame")
    _check_numbers(table.source_sizes, 0, c.MAX_FRAME_SOURCE, "source of a frame")
    return table


def _check_bytes(values: bytes, known: Iterable[int], what: str) -> None:
    """Refuse a column of bytes with others than those ``known``."""
    other = values.translate(None, bytes(known))
    if other:
        raise BundleError(messages.MANIFEST_FRAME, index=values.index(other[0]), subject=what, other=other[0])


def _check_numbers(values: array[int], least: int, most: int, what: str) -> None:
    """Refuse a column of numbers with one below ``least`` or above ``most``."""
    if not values:
        return
    if max(values) > most:
        raise BundleError(messages.LIMIT_COUNT, subject=what, values=max(values), most=most)
    if min(values) < least:
        raise BundleError(messages.MANIFEST_TOO_FEW, subject=what, values=min(values), least=least)


def _encode_target(target: Target) -> list[object]:
    return [
        target.size,
        target.digest,
        target.rest_digest,
        target.tail,
        target.frames,
        [
            bytes(ColumnWriter(segment.length for segment in target.segments).data),
            bytes(1 if segment.digest else 0 for segment in target.segments),
            target.own_digests(),
        ],
        [getattr(target.columns, name).data for name in COLUMN_NAMES],
    ]


def _read_targets(data: memoryview, frame_count: int) -> tuple[Target, ...]:
    reader = Structure(data, "section 7")
    targets = tuple(_read_target(reader) for _ in range(reader.array("targets", minimum=1, maximum=c.MAX_TARGETS)))
    reader.end()
    if sum(target.frames for target in targets) != frame_count:
        raise BundleError(messages.MANIFEST_FRAMES_UNUSED)
    return targets


def _read_target(reader: Structure) -> Target:
    reader.array("a target's parts", minimum=7, maximum=7)
    size = reader.integer("target size")
    whole = reader.blob("target digest", exactly=digest.SIZE)
    rest = reader.blob("digest of the rest", exactly=digest.SIZE)
    tail = reader.integer("tail", maximum=size)
    frames = reader.integer("number of frames", maximum=c.MAX_FRAMES)
    segments = _read_segments(reader, size)
    reader.array("columns", minimum=len(COLUMN_NAMES), maximum=len(COLUMN_NAMES))
    columns = Columns(*(reader.column(item.name) for item in fields(Columns)))
    if size - tail > c.MAX_TAIL or (size and tail == size):
        raise BundleError(messages.MANIFEST_TAIL, size=size - tail, max_tail=c.MAX_TAIL)
    return Target(
        size=size,
        digest=whole,
        rest_digest=rest,
        tail=tail,
        frames=frames,
        segments=segments,
        columns=columns,
    )


def _read_segments(reader: Structure, size: int) -> SegmentTable:
    reader.array("columns of segments", minimum=3, maximum=3)
    lengths = reader.column("segment lengths")
    kinds = reader.blob("segment kinds", maximum=c.MAX_SEGMENTS)
    digests = reader.blob("segment digests", exactly=kinds.count(1) * digest.SIZE)
    if other := kinds.translate(None, b"\0\1"):
        raise BundleError(messages.MANIFEST_SEGMENT_KIND, other=other[0])
    table = SegmentTable(lengths.all(len(kinds)), kinds, digests)
    if kinds and not min(table.lengths):
        raise BundleError(messages.MANIFEST_EMPTY_SEGMENT)
    if sum(table.lengths) != size:
        raise BundleError(messages.MANIFEST_SEGMENT_SUM)
    return table


def _encode_image(image: AboutImage) -> list[object]:
    return [list(image.names), image.id, b"".join(image.diff_ids)]


@dataclass(slots=True)
class _Left:
    """How much more section 2 may hold."""

    images: int = c.MAX_IMAGES
    names: int = c.MAX_NAMES
    diff_ids: int = c.MAX_DIFF_IDS
    text: int = c.MAX_ABOUT_TEXT

    def read(self, reader: Structure, what: str, *, maximum: int = 4096) -> str:
        """Read a text."""
        value = reader.text(what, maximum=min(maximum, self.text))
        self.text -= len(value.encode())
        return value


def _read_images(reader: Structure, left: _Left) -> tuple[AboutImage, ...]:
    images = []
    for _ in range(reader.array("images", maximum=left.images)):
        left.images -= 1
        reader.array("an image's parts", minimum=3, maximum=3)
        names = reader.array("image names", maximum=left.names)
        left.names -= names
        texts = tuple(left.read(reader, "image name") for _ in range(names))
        image_id = reader.blob("image ID", maximum=digest.SIZE)
        diff_ids = reader.blob("diffIDs", maximum=digest.SIZE * left.diff_ids)
        if len(image_id) not in (0, digest.SIZE) or len(diff_ids) % digest.SIZE:
            raise BundleError(messages.MANIFEST_IMAGE_DIGEST)
        count = len(diff_ids) // digest.SIZE
        left.diff_ids -= count
        found = tuple(digest.nth(diff_ids, index) for index in range(count))
        images.append(AboutImage(names=texts, id=image_id, diff_ids=found))
    return tuple(images)


def _encode_about(about: About) -> bytes:
    return pack(
        [
            [_encode_image(image) for image in about.bases],
            [[_encode_image(image) for image in images] for images in about.targets],
            [[key, value] for key, value in about.notes],
        ]
    )


def _read_about(data: memoryview, target_count: int) -> About:
    reader = Structure(data, "section 2")
    reader.array("parts", minimum=3, maximum=3)
    left = _Left()
    bases = _read_images(reader, left)
    targets = tuple(
        _read_images(reader, left) for _ in range(reader.array("targets", minimum=target_count, maximum=target_count))
    )
    notes = []
    for _ in range(reader.array("notes", maximum=1024)):
        reader.array("a note", minimum=2, maximum=2)
        notes.append((left.read(reader, "note's key"), left.read(reader, "note's text", maximum=65536)))
    reader.end()
    return About(bases=bases, targets=targets, notes=tuple(notes))


def _encode_names(names: Names) -> bytes:
    lists = (*names.patched, *names.deleted)
    return pack([[b"".join(path + b"\0" for path in paths) for paths in lists]])


def _read_names(data: memoryview, target_count: int) -> Names:
    reader = Structure(data, "section 4")
    reader.array("parts", minimum=1, maximum=1)
    count = reader.array("lists", minimum=2 * target_count, maximum=2 * target_count)
    blobs = [reader.blob("names") for _ in range(count)]
    reader.end()
    if any(blob and not blob.endswith(b"\0") for blob in blobs):
        raise BundleError(messages.MANIFEST_NAMES_END)
    lists = [Paths(blob) for blob in blobs]
    return Names(patched=tuple(lists[:target_count]), deleted=tuple(lists[target_count:]))

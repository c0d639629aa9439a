"""Write and read a manifest's sections. Reading checks all limits."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from dibundle.errors import BundleError
from dibundle.files import digest
from dibundle.format import constants as c
from dibundle.format import messages
from dibundle.format.steps import COLUMN_NAMES, Columns
from dibundle.format.tables import Frame, FrameTable, Paths, RangeTable, SegmentTable
from dibundle.format.values import About, AboutImage, BaseObject, Names, PlaceInTarget, RecompressedObject, Target
from dibundle.format.wire import Column, ColumnWriter, Structure, pack


def read_sections(data: bytes) -> dict[int, memoryview]:
    """Return the unparsed sections of a manifest by id."""
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


def read_requires(
    data: memoryview, codecs: frozenset[int], reencoders: frozenset[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the codecs and re-encoders that a bundle uses. Refuse unknown numbers and all transforms."""
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


def encode_objects(objects: tuple[BaseObject, ...]) -> bytes:
    """Write section 3, the base objects."""
    return pack(
        [
            bytes(item.kind + _placed(item.place) for item in objects),
            bytes(ColumnWriter(item.size for item in objects).data),
            b"".join(item.digest for item in objects),
            bytes(ColumnWriter(item.place.target for item in objects if item.place).data),
            bytes(ColumnWriter(item.place.offset for item in objects if item.place).data),
            bytes(ColumnWriter(i.place.length for i in objects if i.place and i.place.is_compressed).data),
        ]
    )


def _placed(place: PlaceInTarget | None) -> int:
    if place is None:
        return 0
    return c.PLACED_COMPRESSED if place.is_compressed else c.PLACED


def read_objects(data: memoryview) -> tuple[BaseObject, ...]:
    """Read section 3, the base objects."""
    reader = Structure(data, "section 3")
    reader.array("columns", minimum=6, maximum=6)
    kinds = reader.blob("kinds", maximum=c.MAX_OBJECTS)
    sizes = reader.column("sizes of base objects")
    digests = reader.blob("digests", exactly=len(kinds) * digest.SIZE)
    targets, offsets, lengths = (reader.column(f"objects' {what}") for what in ("targets", "offsets", "lengths"))
    reader.end()
    if kinds.translate(None, _KINDS):
        raise BundleError(messages.MANIFEST_OBJECT_KIND)
    all_sizes = sizes.all(len(kinds))
    places = _read_places(kinds, all_sizes, targets, offsets, lengths)
    objects = tuple(
        BaseObject(kind & 15, size, digest.nth(digests, index), places.get(index))
        for index, (kind, size) in enumerate(zip(kinds, all_sizes, strict=True))
    )
    if len({item.digest for item in objects}) != len(objects):
        raise BundleError(messages.MANIFEST_OBJECT_TWICE)
    return objects


_KINDS = bytes(
    kind + placed
    for kind in (c.KIND_LAYER, c.KIND_CONFIG, c.KIND_OTHER)
    for placed in (0, c.PLACED, c.PLACED_COMPRESSED)
)


def _read_places(
    kinds: bytes, sizes: Sequence[int], targets: Column, offsets: Column, lengths: Column
) -> dict[int, PlaceInTarget]:
    """Return the places of objects that lie in targets, by object index. The caller checks that the targets exist."""
    placed = [number for number, kind in enumerate(kinds) if kind >= c.PLACED]
    given = iter(lengths.all(sum(kinds[number] >= c.PLACED_COMPRESSED for number in placed)))
    found = {}
    for number, target, offset in zip(placed, targets.all(len(placed)), offsets.all(len(placed)), strict=True):
        is_compressed = kinds[number] >= c.PLACED_COMPRESSED
        found[number] = PlaceInTarget(target, offset, next(given) if is_compressed else sizes[number], is_compressed)
    return found


def read_forms(data: memoryview, objects: tuple[BaseObject, ...]) -> tuple[RecompressedObject, ...]:
    """Read section 6, which has the recipes to recompress stored blobs from their content."""
    reader = Structure(data, "section 6")
    forms: list[RecompressedObject] = []
    alike: Counter[bytes] = Counter()
    for _ in range(reader.array("forms", minimum=1, maximum=c.MAX_OBJECTS)):
        reader.array("fields of a form", minimum=4, maximum=4)
        number = reader.integer("object", maximum=len(objects) - 1)
        if objects[number].kind != c.KIND_OTHER or objects[number].place:
            raise BundleError(messages.MANIFEST_RECOMPRESSED_OBJECT, number=number)
        if forms and number <= forms[-1].object:
            raise BundleError(messages.MANIFEST_RECOMPRESSED_ORDER)
        forms.append(
            RecompressedObject(
                object=number,
                size=reader.integer("size"),
                digest=reader.blob("digest", exactly=digest.SIZE),
                packing=reader.blob("packing", maximum=c.MAX_PACKING),
            )
        )
        alike[forms[-1].digest] += 1
        if alike[forms[-1].digest] > c.MAX_ALIKE:
            raise BundleError(messages.LIMIT_COUNT, subject="forms", values="of one content", most=c.MAX_ALIKE)
    reader.end()
    return tuple(forms)


def encode_frames(frames: Sequence[Frame]) -> bytes:
    """Write section 5, the frames."""
    table = FrameTable.of(frames)
    counts = (table.firsts[row + 1] - table.firsts[row] for row, kind in enumerate(table.kinds) if kind == 2)
    implied = (size for size, kind in zip(table.source_sizes, table.kinds, strict=True) if kind == 1)
    columns: list[Iterable[int]] = [table.stored, table.sizes, implied, counts]
    columns += [table.ranges.objects, table.ranges.offsets, table.ranges.lengths]
    encoded = [bytes(ColumnWriter(column).data) for column in columns]
    return pack([table.streams, table.codecs, table.kinds, *encoded, table.digests])


def read_frames(data: memoryview, codecs: tuple[int, ...], objects: tuple[BaseObject, ...]) -> FrameTable:
    """Read section 5, the frames."""
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
    """Refuse a column with a byte that is not among the ``known`` bytes."""
    other = values.translate(None, bytes(known))
    if other:
        raise BundleError(messages.MANIFEST_FRAME, index=values.index(other[0]), subject=what, other=other[0])


def _check_numbers(values: array[int], least: int, most: int, what: str) -> None:
    """Refuse a column with a number below ``least`` or above ``most``."""
    if not values:
        return
    if max(values) > most:
        raise BundleError(messages.LIMIT_COUNT, subject=what, values=max(values), most=most)
    if min(values) < least:
        raise BundleError(messages.MANIFEST_TOO_FEW, subject=what, values=min(values), least=least)


def encode_target(target: Target) -> list[object]:
    """Return a target as an item of section 7."""
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


def read_targets(data: memoryview, frame_count: int) -> tuple[Target, ...]:
    """Read section 7, the targets."""
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
    columns = Columns(**{name: reader.column(name) for name in COLUMN_NAMES})
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
    """The remaining limits of section 2. ``text`` is in bytes."""

    images: int = c.MAX_IMAGES
    names: int = c.MAX_NAMES
    diff_ids: int = c.MAX_DIFF_IDS
    text: int = c.MAX_ABOUT_TEXT

    def read(self, reader: Structure, what: str, *, maximum: int = 4096) -> str:
        """Read a text of at most ``maximum`` bytes, and count it."""
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


def encode_about(about: About) -> bytes:
    """Write section 2, the description of the images."""
    return pack(
        [
            [_encode_image(image) for image in about.bases],
            [[_encode_image(image) for image in images] for images in about.targets],
            [[key, value] for key, value in about.notes],
        ]
    )


def read_about(data: memoryview, target_count: int) -> About:
    """Read section 2, the description of the images."""
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


def encode_names(names: Names) -> bytes:
    """Write section 4, names for listings."""
    lists = (*names.patched, *names.deleted)
    return pack([[b"".join(path + b"\0" for path in paths) for paths in lists]])


def read_names(data: memoryview, target_count: int) -> Names:
    """Read section 4, names for listings."""
    reader = Structure(data, "section 4")
    reader.array("parts", minimum=1, maximum=1)
    count = reader.array("lists", minimum=2 * target_count, maximum=2 * target_count)
    blobs = [reader.blob("names") for _ in range(count)]
    reader.end()
    if any(blob and not blob.endswith(b"\0") for blob in blobs):
        raise BundleError(messages.MANIFEST_NAMES_END)
    lists = [Paths(blob) for blob in blobs]
    return Names(patched=tuple(lists[:target_count]), deleted=tuple(lists[target_count:]))

"""The manifest: everything a bundle says about itself but the frames' bytes, as immutable values.

``Manifest.encode`` and ``Manifest.decode`` are inverse on every valid manifest, and each manifest has one byte form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from dibundle import digest
from dibundle.bundle import constants as c
from dibundle.bundle.program import COLUMN_NAMES, Columns
from dibundle.bundle.wire import ColumnWriter, Structure, pack
from dibundle.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseObject:
    """Content that the receiver has: ``kind`` (layer, config, other), ``size`` in bytes, SHA-256 ``digest``."""

    kind: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Range:
    """``length`` bytes of base object ``object`` from ``offset`` on; the object after the last is the digest text."""

    object: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A stored piece: it decodes to ``size`` bytes of ``stream``, given its source.

    ``implied``: the source is the old content of the pieces that the frame makes, in order; else it is ``sources``.
    ``stored`` bytes lie in the file, with SHA-256 ``digest``.
    """

    stream: int
    codec: int
    stored: int
    size: int
    digest: bytes
    implied: bool
    source_size: int
    sources: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """``length`` bytes of a target under a SHA-256 of their own, or (None) under that of the rest."""

    length: int
    digest: bytes | None


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
    segments: tuple[Segment, ...]
    columns: Columns

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests one after the other: a source for names and JSON."""
        return b"".join(segment.digest.hex().encode() for segment in self.segments if segment.digest)


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

    patched: tuple[tuple[bytes, ...], ...]
    deleted: tuple[tuple[bytes, ...], ...]


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
    frames: tuple[Frame, ...]
    targets: tuple[Target, ...]
    about: About | None = None
    names: Names | None = None
    forms: tuple[Form, ...] = ()

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
            raise BundleError(f"malformed bundle: section {missing[0]} is missing")
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
        """Refuse what would cost too much, from the declared sizes alone."""
        first = 0
        for target in self.targets:
            frames = self.frames[first : first + target.frames]
            first += target.frames
            cost = sum(frame.size + frame.source_size for frame in frames)
            if cost > c.COST_FACTOR * target.size + c.COST_FLOOR:
                raise BundleError(
                    f"bundle over a limit: decoding costs {cost} bytes of work for a target of {target.size} bytes"
                )
            if len(target.columns.ops.data) > 65536 + target.size // 32:
                raise BundleError("bundle over a limit: more operations than a target of this size can need")
            digest_size = len(target.digest_text())
            for frame in frames:
                for source in frame.sources:
                    limit = self.objects[source.object].size if source.object < len(self.objects) else digest_size
                    if source.offset + source.length > limit:
                        raise BundleError("malformed bundle: a frame's source lies outside its base object")


def _read_sections(data: bytes) -> dict[int, bytes]:
    reader = Structure(data, "the manifest")
    sections: dict[int, bytes] = {}
    last = 0
    for _ in range(reader.array("sections", maximum=256)):
        reader.array("a section's id and bytes", minimum=2, maximum=2)
        number = reader.integer("section id", maximum=1 << 31)
        body = reader.blob("section bytes")
        if number <= last:
            raise BundleError(f"malformed bundle: section {number} follows section {last}")
        last = number
        known = number in _KNOWN_SECTIONS
        if number % 2 and not known:
            raise BundleError(f"bundle needs section {number}, which this dib does not know", hint="use a newer dib")
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
    data: bytes, codecs: frozenset[int], reencoders: frozenset[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the codecs and re-encoders that a bundle uses, all of them known; there are no transforms."""
    reader = Structure(data, "section 1")
    reader.array("lists", minimum=3, maximum=3)
    lists = []
    for what, known in (("codec", codecs), ("transform", frozenset[int]()), ("re-encoder", reencoders)):
        numbers = [reader.integer(what, maximum=65535) for _ in range(reader.array(f"{what}s", maximum=256))]
        for number in numbers:
            if number not in known:
                raise BundleError(f"bundle needs {what} {number}, which this dib does not know", hint="use a newer dib")
        if numbers != sorted(set(numbers)):
            raise BundleError(f"malformed bundle: the {what}s of section 1 are not in ascending order")
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


def _read_objects(data: bytes) -> tuple[BaseObject, ...]:
    reader = Structure(data, "section 3")
    reader.array("columns", minimum=3, maximum=3)
    kinds = reader.blob("kinds", maximum=c.MAX_OBJECTS)
    sizes = reader.column("sizes of base objects")
    digests = reader.blob("digests", exactly=len(kinds) * digest.SIZE)
    reader.end()
    if any(kind not in (c.KIND_LAYER, c.KIND_CONFIG, c.KIND_OTHER) for kind in kinds):
        raise BundleError("malformed bundle: a base object of a kind that is not one of version 1")
    objects = tuple(
        BaseObject(kind=kind, size=sizes.next(), digest=_nth(digests, index)) for index, kind in enumerate(kinds)
    )
    sizes.end()
    if len({item.digest for item in objects}) != len(objects):
        raise BundleError("malformed bundle: a base object is listed twice")
    return objects


def _read_forms(data: bytes, objects: tuple[BaseObject, ...]) -> tuple[Form, ...]:
    reader = Structure(data, "section 6")
    forms: list[Form] = []
    for _ in range(reader.array("forms", minimum=1, maximum=c.MAX_OBJECTS)):
        reader.array("fields of a form", minimum=4, maximum=4)
        number = reader.integer("object", maximum=len(objects) - 1)
        if objects[number].kind != c.KIND_OTHER:
            raise BundleError(f"malformed bundle: a form of object {number}, which is no blob as stored")
        if forms and number <= forms[-1].object:
            raise BundleError("malformed bundle: the forms of section 6 are not in ascending order")
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


def _nth(digests: bytes, index: int) -> bytes:
    return digests[index * digest.SIZE : (index + 1) * digest.SIZE]


def _encode_frames(frames: tuple[Frame, ...]) -> bytes:
    kinds = bytes(1 if frame.implied else 2 if frame.sources else 0 for frame in frames)
    explicit = [frame for frame in frames if frame.sources]
    columns = [
        (frame.stored for frame in frames),
        (frame.size for frame in frames),
        (frame.source_size for frame in frames if frame.implied),
        (len(frame.sources) for frame in explicit),
        (source.object for frame in explicit for source in frame.sources),
        (source.offset for frame in explicit for source in frame.sources),
        (source.length for frame in explicit for source in frame.sources),
    ]
    return pack(
        [
            bytes(frame.stream for frame in frames),
            bytes(frame.codec for frame in frames),
            kinds,
            *(bytes(ColumnWriter(column).data) for column in columns),
            b"".join(frame.digest for frame in frames),
        ]
    )


def _read_frames(data: bytes, codecs: tuple[int, ...], objects: tuple[BaseObject, ...]) -> tuple[Frame, ...]:
    reader = Structure(data, "section 5")
    reader.array("columns", minimum=11, maximum=11)
    streams = reader.blob("streams", maximum=c.MAX_FRAMES)
    codec_column = reader.blob("codecs", exactly=len(streams))
    kinds = reader.blob("source kinds", exactly=len(streams))
    stored, sizes, source_sizes, counts, source_objects, offsets, lengths = (
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
    frames = []
    for index, (stream, codec, kind) in enumerate(zip(streams, codec_column, kinds, strict=True)):
        where = f"frame {index}"
        if stream >= c.STREAMS or codec not in codecs or kind > 2:
            raise BundleError(f"malformed bundle: {where} has stream {stream}, codec {codec}, source kind {kind}")
        sources: tuple[Range, ...] = ()
        if kind == 2:
            count = _at_most(counts.next(), c.MAX_SOURCES, f"source ranges of {where}")
            sources = tuple(
                Range(
                    _at_most(source_objects.next(), len(objects), f"a source object of {where}"),
                    offsets.next(),
                    lengths.next(),
                )
                for _ in range(count)
            )
            if not sources:
                raise BundleError(f"malformed bundle: {where} has an empty list of sources")
        source_size = source_sizes.next() if kind == 1 else sum(source.length for source in sources)
        frames.append(
            Frame(
                stream=stream,
                codec=codec,
                stored=_at_most(stored.next(), c.MAX_FRAME_STORED, f"stored bytes of {where}"),
                size=_at_most(sizes.next(), c.MAX_FRAME_SIZE, f"size of {where}"),
                digest=_nth(digests, index),
                implied=kind == 1,
                source_size=_at_most(source_size, c.MAX_FRAME_SOURCE, f"source of {where}"),
                sources=sources,
            )
        )
        if not frames[-1].size:
            raise BundleError(f"malformed bundle: {where} is empty")
    for column in (stored, sizes, source_sizes, counts, source_objects, offsets, lengths):
        column.end()
    return tuple(frames)


def _at_most(value: int, limit: int, what: str) -> int:
    if value > limit:
        raise BundleError(f"bundle over a limit: {what}: {value}, at most {limit}")
    return value


def _encode_target(target: Target) -> list[object]:
    own = [segment.digest for segment in target.segments if segment.digest]
    return [
        target.size,
        target.digest,
        target.rest_digest,
        target.tail,
        target.frames,
        [
            bytes(ColumnWriter(segment.length for segment in target.segments).data),
            bytes(1 if segment.digest else 0 for segment in target.segments),
            b"".join(own),
        ],
        [getattr(target.columns, name).data for name in COLUMN_NAMES],
    ]


def _read_targets(data: bytes, frame_count: int) -> tuple[Target, ...]:
    reader = Structure(data, "section 7")
    targets = tuple(_read_target(reader) for _ in range(reader.array("targets", minimum=1, maximum=c.MAX_TARGETS)))
    reader.end()
    if sum(target.frames for target in targets) != frame_count:
        raise BundleError("malformed bundle: the targets do not use exactly the frames that there are")
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
        raise BundleError(f"malformed bundle: a tail of {size - tail} bytes, wanted 1 to {c.MAX_TAIL}")
    return Target(
        size=size,
        digest=whole,
        rest_digest=rest,
        tail=tail,
        frames=frames,
        segments=segments,
        columns=columns,
    )


def _read_segments(reader: Structure, size: int) -> tuple[Segment, ...]:
    reader.array("columns of segments", minimum=3, maximum=3)
    lengths = reader.column("segment lengths")
    kinds = reader.blob("segment kinds", maximum=c.MAX_SEGMENTS)
    digests = reader.blob("segment digests", exactly=kinds.count(1) * digest.SIZE)
    segments = []
    own = 0
    for kind in kinds:
        if kind > 1:
            raise BundleError(f"malformed bundle: segment kind {kind} is not one of version 1")
        segments.append(Segment(lengths.next(), _nth(digests, own) if kind else None))
        own += kind
    lengths.end()
    if sum(segment.length for segment in segments) != size:
        raise BundleError("malformed bundle: the segments do not add up to the target's size")
    return tuple(segments)


def _encode_image(image: AboutImage) -> list[object]:
    return [list(image.names), image.id, b"".join(image.diff_ids)]


def _read_images(reader: Structure) -> tuple[AboutImage, ...]:
    images = []
    for _ in range(reader.array("images", maximum=65536)):
        reader.array("an image's parts", minimum=3, maximum=3)
        names = tuple(reader.text("image name") for _ in range(reader.array("image names", maximum=65536)))
        image_id = reader.blob("image ID", maximum=digest.SIZE)
        diff_ids = reader.blob("diffIDs", maximum=digest.SIZE * 65536)
        if len(image_id) not in (0, digest.SIZE) or len(diff_ids) % digest.SIZE:
            raise BundleError("malformed bundle: an image ID or diffID that is no SHA-256")
        images.append(
            AboutImage(
                names=names,
                id=image_id,
                diff_ids=tuple(_nth(diff_ids, index) for index in range(len(diff_ids) // digest.SIZE)),
            )
        )
    return tuple(images)


def _encode_about(about: About) -> bytes:
    return pack(
        [
            [_encode_image(image) for image in about.bases],
            [[_encode_image(image) for image in images] for images in about.targets],
            [[key, value] for key, value in about.notes],
        ]
    )


def _read_about(data: bytes, target_count: int) -> About:
    reader = Structure(data, "section 2")
    reader.array("parts", minimum=3, maximum=3)
    bases = _read_images(reader)
    targets = tuple(
        _read_images(reader) for _ in range(reader.array("targets", minimum=target_count, maximum=target_count))
    )
    notes = []
    for _ in range(reader.array("notes", maximum=1024)):
        reader.array("a note", minimum=2, maximum=2)
        notes.append((reader.text("note's key"), reader.text("note's text", maximum=65536)))
    reader.end()
    return About(bases=bases, targets=targets, notes=tuple(notes))


def _encode_names(names: Names) -> bytes:
    lists = (*names.patched, *names.deleted)
    return pack([[b"".join(path + b"\0" for path in paths) for paths in lists]])


def _read_names(data: bytes, target_count: int) -> Names:
    reader = Structure(data, "section 4")
    reader.array("parts", minimum=1, maximum=1)
    count = reader.array("lists", minimum=2 * target_count, maximum=2 * target_count)
    blobs = [reader.blob("names") for _ in range(count)]
    reader.end()
    if any(blob and not blob.endswith(b"\0") for blob in blobs):
        raise BundleError("malformed bundle: a list of names does not end with NUL")
    lists = [tuple(blob.split(b"\0")[:-1]) for blob in blobs]
    return Names(patched=tuple(lists[:target_count]), deleted=tuple(lists[target_count:]))

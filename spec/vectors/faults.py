"""The bad vectors of dib.md: each a good one with one fault, made behind the digests unless it is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bundles import Bundle, Frame, Program, Raw, msgpack, number, numbers, sha256, signed, zframe
from good import AT, GOOD, GZ, GZ_FORM, HELLO, LAYER, SECOND, Good, L, cover_of, form, noise, packing, plain

MIB = 1 << 20
Change = Callable[[Bundle], object]


@dataclass(frozen=True)
class Bad:
    """A case: the good one it is made of, its fault, which exit codes are right, and how much may come out before."""

    of: str
    change: Change
    codes: tuple[int, ...]
    tests: tuple[str, ...]
    released: int
    base: str | None  # of the good one, where it is None
    arguments: list[str] | None

    @property
    def good(self) -> Good:
        """The good case."""
        return GOOD[self.of]

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of its bases."""
        return self.good.bases if self.base is None else tuple(filter(None, self.base.split("+")))


BAD: dict[str, Bad] = {}


def bad(
    name: str,
    of: str,
    *tests: str,
    code: int | tuple[int, ...] = 5,
    released: int = 0,
    base: str | None = None,
    arguments: list[str] | None = None,
) -> Callable[[Change], Change]:
    """Name a fault."""

    def note(change: Change) -> Change:
        assert name not in BAD, name
        BAD[name] = Bad(of, change, (code,) if isinstance(code, int) else code, tests, released, base, arguments)
        return change

    return note


def put(**values: object) -> Change:
    """Set fields of a bundle."""

    def change(bundle: Bundle) -> None:
        for name, value in values.items():
            setattr(bundle, name, value)

    return change


def target(**values: object) -> Change:
    """Set fields of its target."""

    def change(bundle: Bundle) -> None:
        for name, value in values.items():
            setattr(bundle.target, name, value)

    return change


def frame(index: int = 0, **values: object) -> Change:
    """Set fields of a frame."""

    def change(bundle: Bundle) -> None:
        for name, value in values.items():
            setattr(bundle.frames[index], name, value)

    return change


def column(**values: bytes) -> Change:
    """Set columns of the program."""

    def change(bundle: Bundle) -> None:
        for name, value in values.items():
            bundle.columns[name][:] = value

    return change


def section(which: int, change_body: Callable[[bytes], bytes | Raw]) -> Change:
    """Change a section's bytes."""

    def change(bundle: Bundle) -> None:
        def sections(values: list[Any]) -> None:
            for item in values:
                if item[0] == which:
                    item[1] = change_body(item[1])

        bundle.on_sections = sections

    return change


def ids(*change_ids: Callable[[list[Any]], object]) -> Change:
    """Change the list of sections."""
    return put(on_sections=lambda values: [change(values) for change in change_ids])


def body(of: bytes) -> Change:
    """Replace a frame's bytes."""
    return frame(data=of)


def more(**values: bytes) -> Change:
    """Add sections, s2=... and so on."""
    return put(more={int(name[1:]): value for name, value in values.items()})


# --- 1: the file ------------------------------------------------------------------------------------------------------

bad("magic", "stored", "header.magic", "D.header")(put(magic=b"\x89DIX\r\n\x1a\n"))
bad("magic-after-a-text-transfer", "stored", "header.magic", "D.header")(put(magic=b"\x89DIB\n\x1a\n\0"))
bad("version-0", "stored", "header.version", "D.header")(put(version=0))
bad("version-2", "stored", "header.version", "D.header")(put(version=2))
bad("reserved", "stored", "header.reserved", "D.header")(put(reserved=1 << 31))
bad("manifest-length-0", "stored", "header.stored", "D.header")(put(stored_length=0))
bad("manifest-length-too-large", "stored", "header.stored", "D.header")(put(stored_length=64 * MIB + 1))
bad("manifest-size-0", "stored", "header.size", "D.header")(put(decoded_size=0))
bad("manifest-size-too-large", "stored", "header.size", "D.header")(put(decoded_size=64 * MIB + 1))
bad("manifest-digest", "stored", "header.digest", "D.manifest.digest", code=7)(put(digest=bytes(32)))
bad("no-bytes-at-all", "stored", "D.cut")(put(on_file=lambda data: data[:0]))
bad("cut-in-the-header", "stored", "D.cut")(put(on_file=lambda data: data[:63]))
bad("cut-in-the-signature-area", "stored", "D.cut")(put(on_file=lambda data: data[:70]))
bad("cut-in-the-manifest", "stored", "D.cut")(put(on_file=lambda data: data[:100]))
bad("cut-in-the-last-frame", "stored", "D.cut")(put(on_file=lambda data: data[:-1]))
bad("a-byte-behind-the-last-frame", "stored", "D.end")(put(behind=b"\0"))
bad("signature-checksum", "signature-area-holds-anything", "area.crc", "D.area.crc")(put(area=b"\1\0\0\0x" + bytes(4)))
bad("signature-length-too-large", "stored", "area.n", "D.area.n")(
    put(area=(MIB + 1).to_bytes(4, "little") + bytes(300))
)
bad("frame-digest", "stored", "frame.digest", "D.frame.digest", code=7)(frame(digest=bytes(32)))
bad("frame-digest-later", "tail-at-the-last-byte", "frame.digest", "D.frame.digest", code=7, released=1200)(
    frame(2, digest=bytes(32))
)
bad("frame-digest-of-the-last", "tail-at-the-last-byte", "D.frame.digest", "D.output.prefix", code=7, released=1800)(
    frame(3, digest=bytes(32))
)


def manifest_frame(change: Callable[[bytes], bytes]) -> Change:
    """Change the zstd frame of the manifest."""
    return put(on_stored=change)


bad("manifest-declares-less", "stored", "D.zstd.size")(
    lambda b: b.__setattr__("on_manifest", lambda m: m) or _off(b, -1)
)
bad("manifest-declares-more", "stored", "D.zstd.size")(lambda b: _off(b, 1))


def _off(bundle: Bundle, by: int) -> None:
    """Make the header's decoded size differ from the frame's."""

    def stored(data: bytes) -> bytes:
        bundle.decoded_size = int.from_bytes(data[5:7], "little") + 256 + by
        return data

    bundle.on_stored = stored


bad("manifest-zstd-magic", "stored", "D.zstd.one")(manifest_frame(lambda data: b"\x27" + data[1:]))
bad("manifest-zstd-dictionary-id", "stored", "D.zstd.dictionary")(
    manifest_frame(lambda data: data[:4] + bytes((data[4] | 1,)) + b"\7" + data[5:])
)
bad("manifest-zstd-without-a-size", "stored", "D.zstd.size")(
    manifest_frame(lambda data: data[:4] + b"\x00\x58" + data[7:])
)
bad("manifest-zstd-window-too-large", "stored", "D.zstd.window")(
    manifest_frame(lambda data: data[:4] + b"\x40\x88" + data[5:])
)
bad("manifest-zstd-and-a-byte", "stored", "D.zstd.one")(manifest_frame(lambda data: data + b"\0"))
bad("manifest-zstd-and-another-frame", "stored", "D.zstd.one")(manifest_frame(lambda data: data + zframe(b"")))
bad("manifest-zstd-behind-a-skippable-frame", "stored", "D.zstd.one")(
    manifest_frame(lambda data: b"\x50\x2a\x4d\x18\0\0\0\0" + data)
)
bad("manifest-zstd-cut", "stored", "D.zstd.one")(manifest_frame(lambda data: data[:-1]))
bad("manifest-zstd-holds-less", "stored", "D.zstd.size")(
    manifest_frame(lambda data: data[:5] + (int.from_bytes(data[5:7], "little") + 1).to_bytes(2, "little") + data[7:])
)
bad("manifest-is-not-zstd", "stored", "D.zstd.one")(manifest_frame(lambda data: b"manifest"))

# --- 2: values --------------------------------------------------------------------------------------------------------

bad("msgpack-map", "stored", "D.msgpack")(put(on_manifest=lambda data: b"\x80"))
bad("msgpack-nil-for-an-integer", "empty-target", "D.msgpack")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xc0", 1))
)
bad("msgpack-integer-not-shortest", "empty-target", "D.msgpack")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xcc\0", 1))
)
bad("msgpack-negative-integer", "empty-target", "D.msgpack")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xff", 1))
)
bad("msgpack-float", "empty-target", "D.msgpack")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xca\0\0\0\0", 1))
)
bad("msgpack-array-not-shortest", "stored", "D.msgpack")(section(7, lambda data: b"\xdc\0\1" + data[1:]))
bad("msgpack-bin-not-shortest", "stored", "D.msgpack")(section(3, lambda data: b"\x93\xc5\0\0" + data[3:]))
bad("msgpack-str-for-bin", "stored", "D.msgpack")(section(3, lambda data: b"\x93\xa0" + data[3:]))
bad("msgpack-str-not-shortest", "sections-for-people", "D.msgpack")(
    section(2, lambda data: data.replace(b"\xa3key", b"\xd9\3key"))
)
bad("msgpack-ends-early", "stored", "D.msgpack")(section(5, lambda data: data[:-1]))
for _number, _what in ((1, "requires"), (3, "objects"), (5, "frames"), (7, "targets")):
    bad(f"a-byte-behind-{_what}", "stored", "D.msgpack.end")(section(_number, lambda data: data + b"\0"))
bad("a-byte-behind-the-manifest", "stored", "D.msgpack.end")(put(on_manifest=lambda data: data + b"\0"))
bad("a-byte-behind-about", "sections-for-people", "D.msgpack.end")(section(2, lambda data: data + b"\0"))
bad("a-byte-behind-names", "sections-for-people", "D.msgpack.end")(section(4, lambda data: data + b"\0"))
bad("a-byte-behind-forms", "a-form-that-is-not-needed", "D.msgpack.end")(section(6, lambda data: data + b"\0"))

bad("number-not-shortest", "stored", "D.column.form")(column(raw=b"\xe8\x87\0"))
bad("number-of-ten-bytes", "stored", "D.column.form")(column(raw=b"\xff" * 9 + b"\1"))
bad("column-cut-within-a-number", "stored", "D.column.end")(column(raw=b"\xe8"))
bad("column-ends-early", "stored", "D.column.end")(column(raw=b""))

# --- 3: the manifest --------------------------------------------------------------------------------------------------

bad("sections-descend", "unknown-even-sections", "D.sections.order")(ids(lambda values: values.reverse()))
bad("section-twice", "stored", "D.sections.order")(ids(lambda values: values.insert(1, values[0])))
bad("section-0", "stored", "D.sections.order")(ids(lambda values: values.insert(0, [0, b""])))
bad("section-id-too-large", "stored", "D.sections.order")(ids(lambda values: values.append([(1 << 31) + 2, b""])))
bad("unknown-odd-section", "stored", "D.sections.odd")(ids(lambda values: values.append([9, b""])))
bad("unknown-odd-section-with-a-large-id", "stored", "D.sections.odd")(
    ids(lambda values: values.append([(1 << 31) - 1, b""]))
)
bad("257-sections", "stored", "D.sections.count")(
    ids(lambda values: values.extend([8 + 2 * n, b""] for n in range(253)))
)
bad("a-section-of-three", "stored", "D.msgpack")(ids(lambda values: values[0].append(0)))
for _index, _what in enumerate(("requires", "objects", "frames", "targets")):
    bad(f"without-{_what}", "empty-target", "D.sections.there")(ids(lambda values, index=_index: values.pop(index)))

bad("codec-unknown", "stored", "requires.codecs", "D.requires.known")(put(codecs=[0, 7]))
bad("transform-unknown", "stored", "requires.transforms", "D.requires.known")(put(transforms=[1]))
bad("re-encoder-unknown", "stored", "requires.re-encoders", "D.requires.known")(put(reencoders=[34]))
bad("re-encoder-of-an-unknown-encoder", "stored", "requires.re-encoders", "D.requires.known")(put(reencoders=[134]))
bad("codecs-descend", "stored", "requires.codecs", "D.requires.order")(put(codecs=[1, 0]))
bad("codec-twice", "stored", "requires.codecs", "D.requires.order")(put(codecs=[0, 0]))
bad("re-encoders-descend", "stored", "requires.re-encoders", "D.requires.order")(put(reencoders=[102, 22]))
bad("codec-not-listed", "stored", "frame.codec", "D.requires.codec")(put(codecs=[]))
bad("re-encoder-not-listed", "packs-gzip", "D.requires.reencoder", "packing.re-encoder")(put(reencoders=[]))
bad("requires-of-two", "stored", "requires")(section(1, lambda data: b"\x92\x91\0\x90"))

bad("object-kind-0", "keep-and-seek", "object.kinds")(lambda b: _object(b, 0, kind=0))
bad("object-kind-4", "keep-and-seek", "object.kinds")(lambda b: _object(b, 3, kind=4))
bad("object-twice", "keep-and-seek", "object.digests", "D.objects.twice")(lambda b: b.objects.append(b.objects[0]))
bad("object-digests-short", "keep-and-seek", "object.digests")(
    section(3, lambda data: data.replace(b"\xc4\x80", b"\xc4\x7f")[:-1])
)
bad("object-sizes-short", "keep-and-seek", "object.sizes", "D.column.end")(
    section(3, lambda data: data.replace(numbers(L[1]), b"").replace(b"\xc4\x08", b"\xc4\x06"))
)
bad("object-sizes-long", "keep-and-seek", "object.sizes", "D.column.end")(
    section(3, lambda data: data.replace(b"\xc4\x08" + numbers(L[1]), b"\xc4\x09\1" + numbers(L[1])))
)
bad("object-that-no-base-has", "keep-and-seek", "object.digests", "D.objects.used", code=6)(
    lambda b: _object(b, 0, digest=bytes(32))
)
bad("object-of-another-size", "records", "object.sizes", code=(5, 6))(lambda b: _object(b, 0, size=len(LAYER) + 1))


def _object(
    bundle: Bundle, index: int, *, kind: int | None = None, size: int | None = None, digest: bytes | None = None
) -> None:
    old = bundle.objects[index]
    bundle.objects[index] = (
        old[0] if kind is None else kind,
        old[1] if size is None else size,
        old[2] if digest is None else digest,
    )


def too_many_objects(bundle: Bundle) -> None:
    """65,537 objects: their digests are the numbers, so that no two are alike."""
    bundle.on_sections = lambda values: values.__setitem__(
        1, [3, msgpack([b"\1" * 65537, b"\0" * 65537, b"".join(n.to_bytes(32, "big") for n in range(65537))])]
    )


bad("stream-32", "stored", "frame.stream")(frame(stream=32))
bad("source-kind-3", "stored", "frame.source-kind")(frame(kind=3))
bad("frame-of-0-bytes", "stored", "frame.size", "D.frames.limits")(frame(size=0))
bad("frame-too-large", "stored", "frame.size", "D.frames.limits")(frame(size=64 * MIB + 1))
bad("frame-stored-too-large", "stored", "frame.stored", "D.frames.limits")(frame(stored=80 * MIB + 1))
bad("implied-source-too-large", "implied-source-of-several-pieces", "frame.source-size", "D.frames.limits")(
    frame(implied=128 * MIB + 1)
)
bad("no-ranges", "zstd-prefix", "frame.source-count", "D.frames.limits")(
    put(on_frames=lambda values: values.__setitem__(slice(6, 10), [b"\0", b"", b"", b""]))
)
bad("too-many-ranges", "zstd-prefix", "frame.source-count", "D.frames.limits")(
    put(
        on_frames=lambda values: values.__setitem__(
            slice(6, 10), [number(MIB + 1), bytes(MIB + 1), bytes(MIB + 1), bytes(MIB + 1)]
        )
    )
)
bad("too-many-frames", "empty-target", "D.frames.limits")(
    put(
        on_frames=lambda v: v.__setitem__(
            slice(None), [*[bytes(MIB + 1)] * 4, b"\1" * (MIB + 1), *[b""] * 5, bytes(32 * MIB + 32)]
        )
    )
)
bad("range-of-no-object", "zstd-prefix", "frame.source-object", "D.ranges")(frame(spans=[(2, 0, 0)]))
bad("range-beyond-its-object", "zstd-prefix", "frame.source-length", "D.ranges")(frame(spans=[(0, 1, 3000)]))
bad("empty-range-beyond-its-object", "zstd-prefix", "frame.source-offset", "D.ranges")(
    frame(spans=[(0, 0, 3000), (0, 3001, 0)])
)
bad("range-beyond-the-digest-text", "explicit-source-of-several-ranges", "D.ranges", "D.digest-text")(
    frame(1, spans=[(0, 5, 5), (1, 7, 20), (2, 1, 64)])
)
bad("ten-frame-columns", "stored", "frames")(put(on_frames=lambda values: values.pop(5)))
bad("frame-codecs-short", "stored", "frame.codec")(put(on_frames=lambda values: values.__setitem__(1, b"")))
bad("frame-kinds-long", "stored", "frame.source-kind")(put(on_frames=lambda values: values.__setitem__(2, b"\0\0")))
bad("frame-digests-short", "stored", "frame.digest")(put(on_frames=lambda values: values.__setitem__(10, bytes(31))))
for _index, _what in enumerate(
    ("stored", "size", "source-size", "source-count", "source-object", "source-offset", "source-length"), 3
):
    bad(f"frame-{_what}-left-over", "zstd-prefix", f"frame.{_what}", "D.column.end")(
        put(on_frames=lambda values, index=_index: values.__setitem__(index, values[index] + b"\1"))
    )
for _index, _what in ((3, "stored"), (4, "size"), (7, "source-object"), (8, "source-offset"), (9, "source-length")):
    bad(f"frame-{_what}-missing", "zstd-prefix", f"frame.{_what}", "D.column.end")(
        put(on_frames=lambda values, index=_index: values.__setitem__(index, b""))
    )
bad("frame-source-size-missing", "implied-source-of-several-pieces", "frame.source-size", "D.column.end")(
    put(on_frames=lambda values: values.__setitem__(5, b""))
)

bad("no-targets", "empty-target", "D.targets.count")(put(on_targets=lambda values: values.clear()))
bad("1025-targets", "empty-target", "D.targets.count")(put(on_targets=lambda values: values.extend(values * 1024)))
bad("target-of-six", "empty-target", "target")(put(on_targets=lambda values: values[0].pop(1)))
bad("target-digest-short", "empty-target", "target.digest")(target(digest=bytes(31)))
bad("target-rest-digest-long", "empty-target", "target.rest")(target(rest=bytes(33)))
bad("tail-at-the-end", "stored", "target.tail", "D.targets.tail")(target(tail=1000))
bad("tail-of-an-empty-target", "empty-target", "target.tail", "D.targets.tail")(target(tail=1))
bad("a-frame-of-no-target", "stored", "target.frames", "D.targets.frames")(target(frames=0))
bad("more-frames-than-there-are", "stored", "target.frames", "D.targets.frames")(target(frames=2))
bad("segments-too-short", "stored", "segment.lengths", "D.target.segments")(target(segments=[(999, 0)]))
bad("segments-too-long", "stored", "segment.lengths", "D.target.segments")(target(segments=[(1001, 0)]))
bad("segment-kind-2", "stored", "segment.kinds")(put(on_targets=lambda values: values[0][5].__setitem__(1, b"\2")))
bad("segment-digests-missing", "segments-of-every-kind", "segment.digests")(target(own=bytes(96)))
bad("segment-digests-left-over", "stored", "segment.digests")(target(own=bytes(32)))
bad("segment-lengths-left-over", "stored", "segment.lengths", "D.column.end")(
    put(on_targets=lambda values: values[0][5].__setitem__(0, values[0][5][0] + b"\0"))
)
bad("too-many-segments", "empty-target", "D.target.segments")(target(segments=[(0, 0)] * (MIB + 1)))
bad("twenty-five-columns", "empty-target", "target.program")(put(on_targets=lambda values: values[0][6].pop()))
bad("target-larger-than-its-program", "stored", "target.size", "D.size")(target(size=1001, segments=[(1001, 0)]))
bad("target-smaller-than-its-program", "stored", "target.size", "D.size")(target(size=999, segments=[(999, 0)]))


@bad("tail-too-long", "stored", "target.tail", "D.targets.tail")
def _tail_too_long(bundle: Bundle) -> None:
    bundle.target.program.do("zero", zero=64 * MIB)
    bundle.target.size = 64 * MIB + 1000
    bundle.target.segments = [(1000, 0), (64 * MIB, 1)]


bad("rest-digest", "stored", "target.rest", "D.output.digest", code=7)(target(rest=bytes(32)))
bad("rest-digest-behind-output", "tail-at-the-last-byte", "target.rest", "D.output.prefix", code=7, released=2399)(
    target(rest=bytes(32))
)
bad("segment-digest", "segments-of-every-kind", "segment.digests", "D.output.digest", code=7, released=999)(
    target(own=b"".join(map(sha256, (HELLO[:100], b"", bytes(512), b""))))
)
bad("empty-segment-digest", "segments-of-every-kind", "segment.digests", "D.output.digest", code=7, released=999)(
    target(own=b"".join(map(sha256, (HELLO[:100], b"x", HELLO[400:912], b""))))
)
bad("rest-digest-with-a-base", "keep-and-seek", "D.output.fault", code=6)(target(rest=bytes(32)))

_IMAGE = [["a"], sha256(b"id"), b""]
bad("about-of-two", "stored", "about")(more(s2=msgpack([[], [[]]])))
bad("about-for-two-targets", "stored", "about.targets")(more(s2=msgpack([[], [[], []], []])))
bad("about-not-utf-8", "stored", "about.names", "D.msgpack")(
    more(s2=msgpack([[[[Raw(b"\xa1\xff")], b"", b""]], [[]], []]))
)
bad("about-name-too-long", "stored", "about.names", "D.about.limits")(
    more(s2=msgpack([[[["a" * 4097], b"", b""]], [[]], []]))
)
bad("about-too-many-names", "stored", "about.names", "D.about.limits")(
    more(s2=msgpack([[[Raw(b"\xdd" + (65537).to_bytes(4, "big") + b"\xa0" * 65537), b"", b""]], [[]], []]))
)
bad("about-id-of-31-bytes", "stored", "about.id", "D.about.limits")(
    more(s2=msgpack([[[[], bytes(31), b""]], [[]], []]))
)
bad("about-half-a-diffid", "stored", "about.diffids", "D.about.limits")(
    more(s2=msgpack([[[[], b"", bytes(16)]], [[]], []]))
)
bad("about-too-many-diffids", "stored", "about.diffids", "D.about.limits")(
    more(s2=msgpack([[[[], b"", bytes(32 * 65537)]], [[]], []]))
)
bad("about-image-of-two", "stored", "about.bases")(more(s2=msgpack([[[[], b""]], [[]], []])))
bad("about-too-many-notes", "stored", "about.notes", "D.about.limits")(more(s2=msgpack([[], [[]], [["", ""]] * 1025])))
bad("about-key-too-long", "stored", "about.notes", "D.about.limits")(more(s2=msgpack([[], [[]], [["k" * 4097, ""]]])))
bad("about-note-too-long", "stored", "about.notes", "D.about.limits")(
    more(s2=msgpack([[], [[]], [["k", "x" * 65537]]]))
)
bad("names-of-three-lists", "stored", "names.lists")(more(s4=msgpack([[b"", b"", b""]])))
bad("name-without-nul", "stored", "names.lists")(more(s4=msgpack([[b"a\0b", b""]])))
bad("forms-empty", "a-form-that-is-not-needed", "forms", "D.forms.some")(more(s6=msgpack([])))
bad("form-of-a-layer", "records", "form.object", "D.forms.kind")(more(s6=msgpack([form(GZ_FORM)])))
bad("form-of-no-object", "a-form-that-is-not-needed", "form.object")(more(s6=msgpack([form(GZ_FORM, object_=1)])))
bad("form-twice", "a-form-that-is-not-needed", "form.object", "D.forms.order")(more(s6=msgpack([form(GZ_FORM)] * 2)))
bad("form-digest-short", "a-form-that-is-not-needed", "form.digest")(
    more(s6=msgpack([form(GZ_FORM, digest=bytes(31))]))
)
bad("form-of-five", "a-form-that-is-not-needed", "forms")(more(s6=msgpack([[*form(GZ_FORM), 0]])))
bad("form-packing-too-large", "a-form-that-is-not-needed", "form.packing", "D.forms.limit")(
    more(s6=msgpack([form(bytes(16 * MIB + 1))]))
)
bad("form-that-makes-something-else", "a-form-that-is-not-needed", "D.forms.compare", code=6, base="raw")(
    more(s6=msgpack([form(packing(10, (3000, 97, 8, []), 8) + GZ_FORM[-18:])]))
)
bad("form-of-another-size", "a-form-that-is-not-needed", "form.size", "D.forms.compare", code=6, base="raw")(
    more(s6=msgpack([form(GZ_FORM, size=2999)]))
)
bad("form-that-is-no-packing", "a-form-that-cannot-be-followed", "form.packing", code=6, base="raw")(
    lambda bundle: None
)
bad("form-without-its-content", "a-form-that-is-not-needed", code=6, base="other")(lambda bundle: None)

# --- 4: programs ------------------------------------------------------------------------------------------------------


def program(make: Callable[[Program], object]) -> Change:
    """Replace the program by another one."""

    def change(bundle: Bundle) -> None:
        bundle.target.program = Program()
        make(bundle.target.program)

    return change


bad("operation-12", "stored", "op", "D.op.known")(column(ops=b"\x06\x0c"))
bad("seek-to-no-object", "keep-and-seek", "seek_object", "D.op.seek")(column(seek_object=bytes((0, 1, 1, 5, 3))))
bad("seek-to-the-digest-text", "keep-and-seek", "seek_object", "D.op.seek")(column(seek_object=bytes((0, 1, 1, 2, 4))))
bad("seek-before-an-object", "keep-and-seek", "seek_offset", "D.op.seek")(
    column(seek_offset=numbers(signed(-701), signed(10), signed(5), 0, signed(3000)))
)
bad("seek-behind-an-object", "keep-and-seek", "seek_offset", "D.op.seek")(
    column(seek_offset=numbers(signed(-500), signed(10), signed(5), 0, signed(3001)))
)
bad("seek-twice", "keep-and-seek", "D.op.twice")(
    lambda b: (
        b.columns["ops"].insert(2, 0),
        b.columns["seek_object"].insert(1, 0),
        b.columns["seek_offset"].insert(2, 0),
    )
)
bad("keep-0", "keep-and-seek", "keep", "D.op.least")(
    lambda b: (b.columns["ops"].insert(1, 1), b.columns["keep"].insert(2, 0))
)
bad("keep-beyond-the-object", "keep-and-seek", "keep", "D.op.within")(
    lambda b: b.columns["keep"].__setitem__(slice(-4, None), numbers(len(SECOND) - 34, 400))
)
bad("mode-0", "records", "count", "D.op.least")(lambda b: (b.columns["ops"].insert(1, 2), b.columns["count"].append(0)))
bad("mode-changes-the-size", "a-size-in-base-256-is-read", "D.op.mode")(
    program(lambda p: p.do("seek", seek_object=0, seek_offset=0).do("mode", count=1).edit("size", size=1))
)
bad("mode-beyond-the-object", "a-size-in-base-256-is-read", "D.op.within")(
    program(
        lambda p: (
            p.do("seek", seek_object=0, seek_offset=signed(len(LAYER) - 511))
            .do("mode", count=1)
            .edit("raw:name")
            .text(0, 3)
        )
    )
)
bad("stream-column-32", "stored", "stream", "D.stream")(column(stream=b"\x20"))
bad("raw-0", "stored", "raw", "D.op.least")(lambda b: b.target.program.do("raw", raw=0, stream=1))
bad("replace-0", "implied-source-of-several-pieces", "D.op.least")(
    lambda b: b.target.program.do("replace", raw=0, replace=0, stream=1)
)
bad("replace-beyond-the-object", "implied-source-of-several-pieces", "replace", "D.op.within")(
    lambda b: b.columns["replace"].__setitem__(slice(-2, None), number(len(LAYER)))
)
bad("zero-0", "two-streams-in-turn", "zero", "D.op.least")(lambda b: b.target.program.do("zero", zero=0))
bad("repeat-0", "repeat", "repeat", "D.op.least")(
    lambda b: b.target.program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=0)
)
bad("repeat-of-a-frame-not-drawn-from", "repeat", "repeat_frame", "D.op.repeat")(
    column(repeat_frame=b"\1\0\0", ops=b"\x06\x05\x06\x06\x05\x05")
)
bad("repeat-of-no-frame", "repeat", "repeat_frame", "D.op.repeat")(column(repeat_frame=b"\0\1\2"))
bad("repeat-beyond-its-frame", "repeat", "repeat_offset", "D.op.repeat")(column(repeat_offset=numbers(101, 0, 0)))
bad("register-2", "every-field-as-text", "register", "D.register")(column(register=b"\0\2"))
bad("shape-not-in-the-table", "every-field-as-text", "shape", "D.shape.index")(column(shape=b"\0\1"))
bad("shape-of-a-text-field-as-a-number", "every-number-in-a-blank-block", "shapes", "D.shape.bits")(
    lambda b: b.columns["shapes"].__setitem__(slice(None), number(1))
)
bad("shape-with-the-size-as-text", "every-field-as-text", "shapes", "D.shape.bits")(
    column(shapes=number(1 << 4 | 1 << 20))
)
bad("shape-with-text-of-no-field", "every-field-as-text", "shapes", "D.shape.bits")(column(shapes=number(1 << 16)))
bad("shape-with-an-unknown-bit", "every-field-as-text", "shapes", "D.shape.bits")(
    column(shapes=number(1 << 32 | 1 | 1 << 16))
)
bad("too-many-shapes", "a-checksum-of-its-own", "shapes", "D.shape.count")(
    lambda b: b.columns["shapes"].extend(bytes(4096))
)
bad("text-shares-too-much", "last-numbers-and-texts-are-of-any-block", "shared", "D.text.shared")(
    lambda b: b.columns["shared"].__setitem__(slice(None), numbers(0, 6, 0, 6))
)
bad("text-longer-than-its-field", "every-field-as-text", "text", "D.text.fits")(
    lambda b: b.columns["text"].__setitem__(0, 101)
)
bad("text-longer-with-what-it-shares", "every-field-as-text", "shared", "D.text.fits")(
    lambda b: b.columns["text"].__setitem__(15, 1)
)
bad("number-below-0", "every-number-in-a-blank-block", "column.uid", "D.number.range")(
    column(uid=numbers(signed(100), signed(-101)))
)
bad("number-too-large", "every-number-in-a-blank-block", "column.mtime", "D.number.range")(
    column(mtime=numbers(2 * ((1 << 62) - 1), 2 * ((1 << 62) - 1)) + numbers(8))
)
bad("number-that-does-not-fit", "every-number-in-a-blank-block", "column.mode", "D.number.fits")(
    column(mode=numbers(signed(8**7), signed(-3)))
)
bad("size-below-0", "every-number-in-a-blank-block", "column.size", "D.number.range")(
    column(size=numbers(signed(103), signed(-1)))
)
for _name in ("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor"):
    bad(f"column-{_name}-left-over", "every-number-in-a-blank-block", f"column.{_name}", "D.column.end")(
        lambda b, name=_name: b.columns[name].append(0)
    )
    bad(f"column-{_name}-short", "every-number-in-a-blank-block", f"column.{_name}", "D.column.end")(
        lambda b, name=_name: b.columns[name].pop()
    )
for _name in ("shared", "text", "register", "shape"):
    bad(f"column-{_name}-left-over", "every-field-as-text", _name, "D.column.end")(
        lambda b, name=_name: b.columns[name].append(0)
    )
    bad(f"column-{_name}-short", "every-field-as-text", _name, "D.column.end")(
        lambda b, name=_name: b.columns[name].pop()
    )
for _name, _of in (
    *((name, "keep-and-seek") for name in ("seek_object", "seek_offset", "keep")),
    *((name, "records") for name in ("count", "stream")),
    *((name, "implied-source-of-several-pieces") for name in ("replace", "raw")),
    *((name, "repeat") for name in ("repeat_frame", "repeat_offset", "repeat")),
    *((name, "packs-gzip") for name in ("packing", "packed")),
    ("zero", "two-streams-in-turn"),
):
    bad(f"column-{_name}-left-over", _of, _name, "D.column.end")(lambda b, name=_name: b.columns[name].append(1))
    bad(f"column-{_name}-short", _of, _name, "D.column.end")(lambda b, name=_name: b.columns[name].pop())

_AT_ODD = lambda name: signed(AT[name])  # noqa: E731


def in_base(name: str, *fields: str, **given: int) -> Change:
    """Edit a record of the base in place."""
    return program(
        lambda p: p.do("seek", seek_object=0, seek_offset=_AT_ODD(name)).do("mode", count=1).edit(*fields, **given)
    )


def of_one_block(bundle: Bundle, change: Change) -> None:
    """Make the target one block, whatever is in it."""
    change(bundle)
    bundle.frames.clear()
    bundle.target.frames = 0
    bundle.target.out = bytes(512)


_SIZED = "a-size-in-base-256-is-read"
bad("base-field-without-a-style", _SIZED, "D.style", "D.output.fault", code=6)(
    lambda b: of_one_block(b, in_base("odd", "mtime", mtime=1))
)
bad("base-field-too-narrow", _SIZED, "D.number.fits", "D.output.fault", code=6)(
    lambda b: of_one_block(b, in_base("narrow", "uid", uid=8))
)
bad("base-size-negative", _SIZED, "D.record.size", "D.output.fault", code=6)(
    lambda b: of_one_block(b, in_base("negative", "mtime", mtime=1))
)
bad("base-size-unreadable", _SIZED, "D.record.size", "D.output.fault", code=6)(
    lambda b: of_one_block(b, in_base("unreadable", "mtime", mtime=1))
)


@bad("register-field-without-a-style", "every-field-as-text", "D.style")
def _register_style(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:mtime").text(0, 5)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"mtime", 0)


@bad("register-checksum-without-a-style", "every-field-as-text", "D.style", "field.chksum")
def _register_checksum(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:chksum").text(0, 5)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"12 34", 0)


@bad("register-checksum-too-narrow", "every-field-as-text", "D.number.fits", "field.chksum")
def _register_narrow(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:chksum").text(0, 1)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"7", 0)


bad("frames-out-of-order", "two-streams-in-turn", "D.frames.order")(
    lambda b: b.frames.__setitem__(slice(0, 2), [b.frames[1], b.frames[0]])
)
bad("frame-not-used-up", "stored", "D.frames.used", "D.size")(
    lambda b: (b.target.__setattr__("out", HELLO[:999]), b.columns["raw"].__setitem__(slice(None), number(999)))
)
bad("stream-ends-early", "stored", "D.frames.used", "raw")(
    lambda b: (b.target.__setattr__("out", HELLO + b"x"), b.columns["raw"].__setitem__(slice(None), number(1001)))
)


@bad("frame-never-begun", "stored", "D.frames.used")
def _never_begun(bundle: Bundle) -> None:
    bundle.frames.append(plain(b"more", 2))
    bundle.target.frames = 2


@bad("piece-crosses-frames-with-an-implied-source", "implied-source-of-several-pieces", "D.pieces")
def _crosses(bundle: Bundle) -> None:
    whole = noise("made", 1000)
    bundle.frames[:] = [
        Frame(zframe(whole[:400]), 400, codec=2, implied=400),
        Frame(zframe(whole[400:]), 600, codec=2, implied=300),
    ]
    bundle.target.frames = 2


bad("implied-source-smaller", "implied-source-of-several-pieces", "D.implied", "frame.source-size")(frame(implied=699))
bad("implied-source-larger", "implied-source-of-several-pieces", "D.implied", "frame.source-size")(frame(implied=701))
bad("implied-source-that-nothing-gives", "stored", "D.implied", "frame.source-size")(frame(implied=5))


@bad("kept-too-much", "repeat", "D.kept")
def _kept(bundle: Bundle) -> None:
    """Three frames of 44 MiB, of which each is repeated at the end."""
    size = 44 * MIB
    p = bundle.target.program = Program()
    bundle.frames[:] = [Frame(zframe(b"x"), size, stream, codec=1) for stream in (1, 2, 3)]
    for stream in (1, 2, 3):
        p.do("raw", raw=size, stream=stream)
    for index in range(3):
        p.do("repeat", repeat_frame=index, repeat_offset=0, repeat=1)
    bundle.target.frames, bundle.target.size = 3, 3 * size + 3
    bundle.target.segments, bundle.target.tail = [(3 * size + 3, 0)], 3 * size


@bad("cost-of-frames", "stored", "D.cost")
def _cost(bundle: Bundle) -> None:
    bundle.frames[0].size = 64 * MIB
    bundle.frames.append(Frame(b"x", 8001, 1))
    bundle.target.frames = 2


@bad("cost-of-sources", "zstd-prefix", "D.cost")
def _cost_of_sources(bundle: Bundle) -> None:
    bundle.frames[0].spans = [(0, 0, 127)] * 530000


@bad("too-many-operations", "keep-and-seek", "D.cost.operations")
def _operations(bundle: Bundle) -> None:
    count = 67700
    p = bundle.target.program = Program()
    p.columns["ops"][:] = b"\x08" * count
    p.columns["zero"][:] = b"\1" * count
    bundle.target.out = bytes(count)


def repacked(table: bytes, content: bytes | None = None, packed: int | None = None) -> Change:
    """Replace the packing of packs-gzip."""

    def change(bundle: Bundle) -> None:
        bundle.frames[1] = plain(table, 0) if len(table) < 4096 else Frame(zframe(table), len(table), 0, codec=1)
        bundle.columns["packing"][:] = number(len(table))
        if packed is not None:
            bundle.columns["packed"][:] = number(packed)
            bundle.target.out = b"<" + bytes(packed) + b">"
        if content is not None:
            bundle.frames[0] = plain(b"<" + content + b">")
            bundle.columns["raw"][:] = numbers(1, len(content), 1)

    return change


_P = "packs-gzip"
_TAIL = GZ_FORM[-18:]
bad("packing-of-0-bytes", _P, "packing", "D.op.least")(column(packing=b"\0"))
bad("packing-too-large", _P, "packing", "D.packing.limit")(
    lambda b: (
        b.columns["packing"].__setitem__(slice(None), number(16 * MIB + 1)),
        b.frames.__setitem__(1, Frame(zframe(bytes(16 * MIB + 1)), 16 * MIB + 1, 0, codec=1)),
    )
)
bad("begin-within-a-packing", _P, "D.begin")(column(ops=b"\x06\x0a\x0a\x06\x0b\x06"))
bad("end-without-a-begin", "stored", "D.begin")(column(ops=b"\x06\x0b"))
bad("begin-without-an-end", "packs-nothing", "D.begin")(column(ops=b"\x06\x0a\x06"))
bad("packing-parts-too-many", _P, "packing.parts", "D.packing.limits")(repacked(number(65537) + bytes(65537)))
bad("packing-edits-too-many", _P, "packing.edits", "D.packing.limits")(
    repacked(number(1) + numbers(6001, 102, 8, 65537) + bytes(3 * 65537))
)
bad("packing-plain-missing", _P, "packing.plain", "D.packing.rules")(
    repacked(packing(10, (3000, 102, 8, []), 8) + _TAIL[:-1])
)
bad("packing-plain-left-over", _P, "packing.plain", "D.packing.rules")(
    repacked(packing(10, (3000, 102, 8, []), 8) + _TAIL + b"x")
)
bad("packing-ends-early", _P, "packing.parts", "D.packing.rules")(repacked(b"\2\6"))
bad("packing-of-less-content", _P, "packing.body", "D.packing.content")(
    repacked(packing(10, (2999, 102, 8, []), 8) + _TAIL)
)
bad("packing-of-more-content", _P, "packing.body", "D.packing.content")(
    repacked(packing(10, (3001, 102, 8, []), 8) + _TAIL)
)
bad("packing-without-a-body", _P, "packing.body", "D.packing.content")(repacked(packing(len(GZ)) + GZ))
bad("packs-fewer-bytes", _P, "packed", "D.packing.packed")(repacked(GZ_FORM, packed=len(GZ) + 1))
bad("packs-more-bytes", _P, "packed", "D.packing.packed")(repacked(GZ_FORM, packed=len(GZ) - 1))
bad("recipe-level", _P, "packing.re-encoder", "D.recipe.table")(repacked(packing(10, (3000, 96, 8, []), 8) + _TAIL))
bad("recipe-encoder", _P, "packing.re-encoder", "D.recipe.table")(repacked(packing(10, (3000, 130, 8, []), 8) + _TAIL))
bad("recipe-parameter", _P, "packing.parameter", "D.recipe.table")(repacked(packing(10, (3000, 102, 7, []), 8) + _TAIL))
for _encoder, _parameter, _what in (
    (22, 1, "go"),
    (69, 16384, "block-too-small"),
    (69, (1 << 30) + 1, "block-too-large"),
    (118, 8, "gzip"),
):
    bad(f"recipe-parameter-{_what}", _P, "packing.parameter", "D.recipe.table")(
        lambda b, e=_encoder, p=_parameter: (
            repacked(packing(10, (3000, e, p, []), 8) + _TAIL)(b),
            put(reencoders=[e])(b),
        )
    )


def edits(*values: tuple[int, int, int], literals: bytes = b"", packed: int = len(GZ)) -> Change:
    """Give the body edits."""
    return repacked(packing(10, (3000, 102, 8, list(values)), 8, literals=literals) + _TAIL, packed=packed)


bad("recipe-edit-that-does-nothing", _P, "packing.edits", "D.recipe.edits")(edits((8, 0, 0)))
bad("recipe-edit-right-behind-another", _P, "packing.edits", "D.recipe.edits")(
    edits((8, 8, 8), (0, 8, 8), literals=b"ab")
)
bad("recipe-number-too-large", _P, "packing.edits", "D.recipe.edits")(edits((1 << 62, 8, 8), literals=b"a"))
bad("recipe-bits-behind-the-literals", _P, "packing.literals", "D.recipe.edits")(
    edits((8, 8, 7), literals=b"\xff", packed=len(GZ))
)
bad("recipe-edits-beyond-the-output", _P, "packing.edits", "D.recipe.beyond")(edits((8, 8 * 4000, 8), literals=b"a"))
bad("recipe-not-a-whole-byte", _P, "packing.edits", "D.recipe.byte")(edits((8, 1, 0)))
bad("recipe-literals-missing", _P, "packing.literals", "D.packing.rules")(
    repacked(packing((3000, 102, 8, [(8, 8, 8)])))
)


@bad("content-of-packings", "packs-nothing", "D.cost.packings")
def _content(bundle: Bundle) -> None:
    """More than 64 MiB and 16 times the target of zeros within a packing."""
    size = 64 * MIB + 16 * 2 + 1
    table = packing((size, 22, 0, []))
    bundle.target.program = Program().do("raw", raw=1, stream=1)
    bundle.target.program.do("begin", packing=len(table), packed=0).do("zero", zero=size).do("end").do(
        "raw", raw=1, stream=1
    )
    bundle.frames[1] = plain(table, 0)
    bundle.reencoders = [22]


@bad("cost-of-packings", "packs-nothing", "D.cost.packings", released=0)
def _cost_of_packing(bundle: Bundle) -> None:
    """17 MiB at level 9 cost 68."""
    size = 17 * MIB
    table = packing((size, 25, 0, []))
    bundle.target.program = Program().do("raw", raw=1, stream=1)
    bundle.target.program.do("begin", packing=len(table), packed=0).do("zero", zero=size).do("end").do(
        "raw", raw=1, stream=1
    )
    bundle.frames[1] = plain(table, 0)
    bundle.reencoders = [25]


# --- bases ------------------------------------------------------------------------------------------------------------

bad("another-base", "records", "D.objects.used", code=6, base="other")(lambda bundle: None)
bad("damaged-base", "records", "D.output.fault", code=6, base="damaged")(lambda bundle: None)


@bad("damaged-base-in-a-source", "keep-and-seek", "D.output.fault", code=6, base="damaged")
def _damaged_source(bundle: Bundle) -> None:
    """Damage the frame's source: its cover makes a wrong byte of it."""
    start = AT["hello"] + 512
    changed = HELLO[:-1] + b"!"
    payload = cover_of(HELLO, changed)
    bundle.frames[:] = [Frame(payload, 1000, codec=4, spans=[(0, start, 1000)])]
    bundle.target.frames, bundle.target.out = 1, changed
    bundle.target.program = Program().do("raw", raw=1000, stream=1)


@bad(
    "damaged-base-behind-output",
    "keep-and-seek",
    "D.output.fault",
    "D.output.prefix",
    code=6,
    base="damaged",
    released=799,
)
def _damaged_behind(bundle: Bundle) -> None:
    """Damage what lies behind the output that may come before it is known."""
    bundle.target.program = Program().do("keep", keep=2000)
    bundle.target.out, bundle.target.tail = LAYER[:2000], 799

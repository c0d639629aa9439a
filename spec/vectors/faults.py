"""The bad vectors of dib.md: each a good one with one fault, made behind the digests unless it is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bundles import Bundle, Frame, Program, Raw, msgpack, number, numbers, sha256, signed, zframe
from good import AT, GOOD, GZ, GZ_FORM, HELLO, LAYER, G, Good, L, cover_of, form, noise, packing, plain

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

EITHER = (5, 6, 7)
"""Where the output shows a fault, base or bundle may have it: a reader may end with any of these (dib.md, 6)."""


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

bad("magic", "stored", "header.magic", "M3")(put(magic=b"\x89DIX\r\n\x1a\n"))
bad("magic-after-a-text-transfer", "stored", "header.magic", "M3")(put(magic=b"\x89DIB\n\x1a\n\0"))
bad("version-0", "stored", "header.version", "M3")(put(version=0))
bad("version-2", "stored", "header.version", "M3")(put(version=2))
bad("reserved", "stored", "header.reserved", "M3")(put(reserved=1 << 31))
bad("manifest-length-0", "stored", "header.manifest, stored length", "M3")(put(stored_length=0))
bad("manifest-length-too-large", "stored", "header.manifest, stored length", "M3")(put(stored_length=64 * MIB + 1))
bad("manifest-size-0", "stored", "header.manifest, decoded size", "M3")(put(decoded_size=0))
bad("manifest-size-too-large", "stored", "header.manifest, decoded size", "M3")(put(decoded_size=64 * MIB + 1))
bad("manifest-digest", "stored", "header.manifest digest", "M6", code=7)(put(digest=bytes(32)))
bad("no-bytes-at-all", "stored", "M2")(put(on_file=lambda data: data[:0]))
bad("cut-in-the-header", "stored", "M2")(put(on_file=lambda data: data[:63]))
bad("cut-in-the-signature-area", "stored", "M2")(put(on_file=lambda data: data[:70]))
bad("cut-in-the-manifest", "stored", "M2")(put(on_file=lambda data: data[:100]))
bad("cut-in-the-last-frame", "stored", "M2")(put(on_file=lambda data: data[:-1]))
bad("a-byte-behind-the-last-frame", "stored", "M1")(put(behind=b"\0"))
bad("signature-checksum", "signature-area-holds-anything", "area.CRC-32", "M4")(put(area=b"\1\0\0\0x" + bytes(4)))
bad("signature-length-too-large", "stored", "area.n", "M4")(put(area=(MIB + 1).to_bytes(4, "little") + bytes(300)))
bad("frame-digest", "stored", "frames.digests", "M7", code=7)(frame(digest=bytes(32)))
bad("frame-digest-later", "tail-at-the-last-byte", "frames.digests", "M7", code=7, released=1200)(
    frame(2, digest=bytes(32))
)
bad("frame-digest-of-the-last", "tail-at-the-last-byte", "M7", "M75", code=7, released=1800)(frame(3, digest=bytes(32)))


def manifest_frame(change: Callable[[bytes], bytes]) -> Change:
    """Change the zstd frame of the manifest."""
    return put(on_stored=change)


def _size_and_blocks(data: bytes) -> tuple[int, bytes]:
    """Return what the manifest's frame declares, and what follows its header."""
    count = {0x20: 1, 0x60: 2}[data[4]]
    return int.from_bytes(data[5 : 5 + count], "little") + (256 if count == 2 else 0), data[5 + count :]


def _declaring(data: bytes, head: bytes, more: int = 0) -> bytes:
    """Return the manifest's frame with other bytes before its content size, which has 4 bytes and is ``more``."""
    size, blocks = _size_and_blocks(data)
    return data[:4] + head + (size + more).to_bytes(4, "little") + blocks


bad("manifest-declares-less", "stored", "M9")(lambda b: b.__setattr__("on_manifest", lambda m: m) or _off(b, -1))
bad("manifest-declares-more", "stored", "M9")(lambda b: _off(b, 1))


def _off(bundle: Bundle, by: int) -> None:
    """Make the header's decoded size differ from the frame's."""

    def stored(data: bytes) -> bytes:
        bundle.decoded_size = _size_and_blocks(data)[0] + by
        return data

    bundle.on_stored = stored


bad("manifest-zstd-magic", "stored", "M8")(manifest_frame(lambda data: b"\x27" + data[1:]))
bad("manifest-zstd-dictionary-id", "stored", "M10")(
    manifest_frame(lambda data: data[:4] + bytes((data[4] | 1,)) + b"\7" + data[5:])
)
bad("manifest-zstd-without-a-size", "stored", "M9")(
    manifest_frame(lambda data: data[:4] + b"\x00\x58" + _size_and_blocks(data)[1])
)
bad("manifest-zstd-window-too-large", "stored", "M11")(manifest_frame(lambda data: _declaring(data, b"\x80\x88")))
bad("manifest-zstd-and-a-byte", "stored", "M8")(manifest_frame(lambda data: data + b"\0"))
bad("manifest-zstd-and-another-frame", "stored", "M8")(manifest_frame(lambda data: data + zframe(b"")))
bad("manifest-zstd-behind-a-skippable-frame", "stored", "M8")(
    manifest_frame(lambda data: b"\x50\x2a\x4d\x18\0\0\0\0" + data)
)
bad("manifest-zstd-cut", "stored", "M8")(manifest_frame(lambda data: data[:-1]))


@bad("manifest-zstd-holds-less", "stored", "M9")
def _less(bundle: Bundle) -> None:
    """Have header and frame declare a byte more than the frame holds."""

    def stored(data: bytes) -> bytes:
        bundle.decoded_size = _size_and_blocks(data)[0] + 1
        return _declaring(data, b"\xa0", 1)

    bundle.on_stored = stored


bad("manifest-is-not-zstd", "stored", "M8")(manifest_frame(lambda data: b"manifest"))

# --- 2: values --------------------------------------------------------------------------------------------------------

bad("msgpack-map", "stored", "M12")(put(on_manifest=lambda data: b"\x80"))
bad("msgpack-nil-for-an-integer", "empty-target", "M12")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xc0", 1))
)
bad("msgpack-integer-not-shortest", "empty-target", "M12")(
    section(7, lambda data: data.replace(b"\x97\0", b"\x97\xcc\0", 1))
)
bad("msgpack-negative-integer", "empty-target", "M12")(section(7, lambda data: data.replace(b"\x97\0", b"\x97\xff", 1)))
bad("msgpack-float", "empty-target", "M12")(section(7, lambda data: data.replace(b"\x97\0", b"\x97\xca\0\0\0\0", 1)))
bad("msgpack-array-not-shortest", "stored", "M12")(section(7, lambda data: b"\xdc\0\1" + data[1:]))
bad("msgpack-bin-not-shortest", "stored", "M12")(section(3, lambda data: data[:1] + b"\xc5\0\0" + data[3:]))
bad("msgpack-str-for-bin", "stored", "M12")(section(3, lambda data: data[:1] + b"\xa0" + data[3:]))
bad("msgpack-str-not-shortest", "sections-for-people", "M12")(
    section(2, lambda data: data.replace(b"\xa3key", b"\xd9\3key"))
)
bad("msgpack-ends-early", "stored", "M12")(section(5, lambda data: data[:-1]))
for _number, _what in ((1, "requires"), (3, "objects"), (5, "frames"), (7, "targets")):
    bad(f"a-byte-behind-{_what}", "stored", "M13")(section(_number, lambda data: data + b"\0"))
bad("a-byte-behind-the-manifest", "stored", "M13")(put(on_manifest=lambda data: data + b"\0"))
bad("a-byte-behind-about", "sections-for-people", "M13")(section(2, lambda data: data + b"\0"))
bad("a-byte-behind-names", "sections-for-people", "M13")(section(4, lambda data: data + b"\0"))
bad("a-byte-behind-forms", "a-form-that-is-not-needed", "M13")(section(6, lambda data: data + b"\0"))

bad("number-not-shortest", "stored", "M14")(column(raw=b"\xe8\x87\0"))
bad("number-of-ten-bytes", "stored", "M14")(column(raw=b"\xff" * 9 + b"\1"))
bad("column-cut-within-a-number", "stored", "M15")(column(raw=b"\xe8"))
bad("column-ends-early", "stored", "M15")(column(raw=b""))

# --- 3: the manifest --------------------------------------------------------------------------------------------------

bad("sections-descend", "unknown-even-sections", "M17")(ids(lambda values: values.reverse()))
bad("section-twice", "stored", "M17")(ids(lambda values: values.insert(1, values[0])))
bad("section-0", "stored", "M17")(ids(lambda values: values.insert(0, [0, b""])))
bad("section-id-too-large", "stored", "M17")(ids(lambda values: values.append([(1 << 31) + 2, b""])))
bad("unknown-odd-section", "stored", "M18")(ids(lambda values: values.append([9, b""])))
bad("unknown-odd-section-with-a-large-id", "stored", "M18")(ids(lambda values: values.append([(1 << 31) - 1, b""])))
bad("257-sections", "stored", "M16")(ids(lambda values: values.extend([8 + 2 * n, b""] for n in range(253))))
bad("a-section-of-three", "stored", "M12")(ids(lambda values: values[0].append(0)))
for _index, _what in enumerate(("requires", "objects", "frames", "targets")):
    bad(f"without-{_what}", "empty-target", "M20")(ids(lambda values, index=_index: values.pop(index)))

bad("codec-unknown", "stored", "requires.codecs", "M22")(put(codecs=[0, 7]))
bad("transform-unknown", "stored", "requires.transforms", "M22")(put(transforms=[1]))
bad("re-encoder-unknown", "stored", "requires.re-encoders", "M22")(put(reencoders=[34]))
bad("re-encoder-of-an-unknown-encoder", "stored", "requires.re-encoders", "M22")(put(reencoders=[166]))
bad("codecs-descend", "stored", "requires.codecs", "M21")(put(codecs=[1, 0]))
bad("codec-twice", "stored", "requires.codecs", "M21")(put(codecs=[0, 0]))
bad("re-encoders-descend", "stored", "requires.re-encoders", "M21")(put(reencoders=[102, 22]))
bad("codec-not-listed", "stored", "frames.codec", "M23")(put(codecs=[]))
bad("re-encoder-not-listed", "packs-gzip", "M24", "packing.re-encoder")(put(reencoders=[]))
bad("requires-of-two", "stored", "M12", "section.requires")(section(1, lambda data: b"\x92\x91\0\x90"))

bad("object-kind-0", "keep-and-seek", "M25", "objects.kinds")(lambda b: _object(b, 0, kind=0))
bad("object-kind-4", "keep-and-seek", "M25", "objects.kinds")(lambda b: _object(b, 3, kind=4))
bad("object-twice", "keep-and-seek", "objects.digests", "M25")(lambda b: b.objects.append(b.objects[0]))
bad("object-digests-short", "keep-and-seek", "M12", "objects.digests")(
    section(3, lambda data: data.replace(b"\xc4\x80", b"\xc4\x7f")[:-1])
)
bad("object-sizes-short", "keep-and-seek", "objects.sizes", "M15")(
    section(3, lambda data: data.replace(numbers(L[1]), b"").replace(b"\xc4\x08", b"\xc4\x06"))
)
bad("object-sizes-long", "keep-and-seek", "objects.sizes", "M15")(
    section(3, lambda data: data.replace(b"\xc4\x08" + numbers(L[1]), b"\xc4\x09\1" + numbers(L[1])))
)
bad("object-that-no-base-has", "keep-and-seek", "objects.digests", "M26", code=6)(
    lambda b: _object(b, 0, digest=bytes(32))
)
bad("object-of-another-size", "records", "M26", "objects.sizes", code=6)(lambda b: _object(b, 0, size=len(LAYER) + 1))


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


bad("stream-32", "stored", "M30", "frames.stream")(frame(stream=32))
bad("source-kind-3", "stored", "M30", "frames.source kind")(frame(kind=3))
bad("frame-of-0-bytes", "stored", "frames.size", "M30")(frame(size=0))
bad("frame-stored-too-large", "stored", "frames.stored length", "M30")(frame(stored=80 * MIB + 1))
bad("implied-source-too-large", "implied-source-of-several-pieces", "frames.source size", "M30")(
    frame(implied=128 * MIB + 1)
)
bad("no-ranges", "zstd-prefix", "frames.source count", "M30")(
    put(on_frames=lambda values: values.__setitem__(slice(6, 10), [b"\0", b"", b"", b""]))
)
bad("too-many-frames", "empty-target", "M30")(
    put(
        on_frames=lambda v: v.__setitem__(
            slice(None), [*[bytes(MIB + 1)] * 4, b"\1" * (MIB + 1), *[b""] * 5, bytes(32 * MIB + 32)]
        )
    )
)
bad("range-of-no-object", "zstd-prefix", "frames.source object", "M29")(frame(spans=[(2, 0, 1)]))
bad("range-beyond-its-object", "zstd-prefix", "frames.source length", "M29")(frame(spans=[(0, 1, 3000)]))
bad("empty-range-beyond-its-object", "zstd-prefix", "frames.source offset", "M29")(
    frame(spans=[(0, 0, 3000), (0, 3001, 0)])
)
bad("range-beyond-the-digest-text", "explicit-source-of-several-ranges", "M29")(
    frame(1, spans=[(0, 5, 5), (1, 7, 20), (2, 1, 64)])
)
bad("ten-frame-columns", "stored", "M12", "section.frames")(put(on_frames=lambda values: values.pop(5)))
bad("frame-codecs-short", "stored", "M12", "frames.codec")(put(on_frames=lambda values: values.__setitem__(1, b"")))
bad("frame-kinds-long", "stored", "M12", "frames.source kind")(
    put(on_frames=lambda values: values.__setitem__(2, b"\0\0"))
)
bad("frame-digests-short", "stored", "M12", "frames.digests")(
    put(on_frames=lambda values: values.__setitem__(10, bytes(31)))
)
for _index, _what in enumerate(
    ("stored length", "size", "source size", "source count", "source object", "source offset", "source length"), 3
):
    bad(f"frame-{_what.replace(' ', '-')}-left-over", "zstd-prefix", f"frames.{_what}", "M15")(
        put(on_frames=lambda values, index=_index: values.__setitem__(index, values[index] + b"\1"))
    )
for _index, _what in (
    (3, "stored length"),
    (4, "size"),
    (7, "source object"),
    (8, "source offset"),
    (9, "source length"),
):
    bad(f"frame-{_what.replace(' ', '-')}-missing", "zstd-prefix", f"frames.{_what}", "M15")(
        put(on_frames=lambda values, index=_index: values.__setitem__(index, b""))
    )
bad("frame-source-size-missing", "implied-source-of-several-pieces", "frames.source size", "M15")(
    put(on_frames=lambda values: values.__setitem__(5, b""))
)

bad("no-targets", "empty-target", "M31")(put(on_targets=lambda values: values.clear()))
bad("1025-targets", "empty-target", "M31")(put(on_targets=lambda values: values.extend(values * 1024)))
bad("target-of-six", "empty-target", "M12", "section.targets")(put(on_targets=lambda values: values[0].pop(1)))
bad("target-digest-short", "empty-target", "M12", "target.digest")(target(digest=bytes(31)))
bad("target-rest-digest-long", "empty-target", "M12", "target.rest digest")(target(rest=bytes(33)))
bad("tail-at-the-end", "stored", "target.tail", "M32")(target(tail=1000))
bad("tail-of-an-empty-target", "empty-target", "target.tail", "M32")(target(tail=1))
bad("more-frames-than-there-are", "stored", "target.frames", "M34")(target(frames=2))
bad("segments-too-long", "stored", "segments.lengths", "M33")(target(segments=[(1001, 0)]))
bad("segment-kind-2", "stored", "M33", "segments.kinds")(
    put(on_targets=lambda values: values[0][5].__setitem__(1, b"\2"))
)
bad("segment-digests-missing", "segments-of-every-kind", "M12", "segments.digests")(target(own=bytes(32)))
bad("segment-digests-left-over", "stored", "M12", "segments.digests")(target(own=bytes(32)))
bad("segment-lengths-left-over", "stored", "segments.lengths", "M15")(
    put(on_targets=lambda values: values[0][5].__setitem__(0, values[0][5][0] + b"\0"))
)
bad("twenty-five-columns", "empty-target", "M12", "target.program")(put(on_targets=lambda values: values[0][6].pop()))
bad("target-larger-than-its-program", "stored", "target.size", "M52")(target(size=1001, segments=[(1001, 0)]))
bad("target-smaller-than-its-program", "stored", "target.size", "M52")(target(size=999, segments=[(999, 0)]))


@bad("tail-too-long", "stored", "target.tail", "M32")
def _tail_too_long(bundle: Bundle) -> None:
    bundle.target.program.do("zero", zero=64 * MIB)
    bundle.target.size = 64 * MIB + 1000
    bundle.target.segments = [(1000, 0), (64 * MIB, 1)]


bad("rest-digest", "stored", "target.rest digest", "M73", code=EITHER)(target(rest=bytes(32)))
bad(
    "rest-digest-behind-output",
    "tail-at-the-last-byte",
    "target.rest digest",
    "M74",
    "M75",
    code=EITHER,
    released=2399,
)(target(rest=bytes(32)))
bad("segment-digest", "segments-of-every-kind", "segments.digests", "M73", code=EITHER, released=999)(
    target(own=b"".join(map(sha256, (HELLO[:100], bytes(512)))))
)
bad("segment-of-no-byte", "segments-of-every-kind", "segments.lengths", "M128")(
    target(segments=[(100, 1), (0, 0), (300, 0), (512, 1), (88, 0)])
)
bad("segment-of-an-empty-target", "empty-target", "segments.lengths", "M128")(target(segments=[(0, 0)]))
bad("rest-digest-with-a-base", "keep-and-seek", "M76", code=EITHER)(target(rest=bytes(32)))

_IMAGE = [["a"], sha256(b"id"), b""]
bad("about-of-two", "stored", "M12", "section.about")(more(s2=msgpack([[], [[]]])))
bad("about-for-two-targets", "stored", "M12", "about.targets")(more(s2=msgpack([[], [[], []], []])))
bad("about-not-utf-8", "stored", "images.names", "M12")(more(s2=msgpack([[[[Raw(b"\xa1\xff")], b"", b""]], [[]], []])))
bad("about-name-too-long", "stored", "images.names", "M35")(more(s2=msgpack([[[["a" * 4097], b"", b""]], [[]], []])))
bad("about-too-many-names", "stored", "images.names", "M35")(
    more(s2=msgpack([[[Raw(b"\xdd" + (65537).to_bytes(4, "big") + b"\xa0" * 65537), b"", b""]], [[]], []]))
)
bad("about-id-of-31-bytes", "stored", "images.id", "M35")(more(s2=msgpack([[[[], bytes(31), b""]], [[]], []])))
bad("about-half-a-diffid", "stored", "images.diffIDs", "M35")(more(s2=msgpack([[[[], b"", bytes(16)]], [[]], []])))
bad("about-too-many-diffids", "stored", "images.diffIDs", "M35")(
    more(s2=msgpack([[[[], b"", bytes(32 * 262145)]], [[]], []]))
)
bad("about-names-in-all-too-many", "stored", "images.names", "M35")(
    more(s2=msgpack([[[[""] * 32769, b"", b""]], [[[[""] * 32768, b"", b""]]], []]))
)
bad("about-images-in-all-too-many", "stored", "about.bases", "M35")(
    more(s2=msgpack([[[[], b"", b""]] * 32769, [[[[], b"", b""]] * 32768], []]))
)
bad("about-diffids-in-all-too-many", "stored", "images.diffIDs", "M35")(
    more(s2=msgpack([[[[], b"", bytes(32 * 131073)]], [[[[], b"", bytes(32 * 131072)]]], []]))
)
bad("about-text-in-all-too-long", "stored", "about.notes", "M35")(
    more(s2=msgpack([[], [[]], [*[["", "x" * 65536]] * 64, ["", "x"]]]))
)
bad("about-image-of-two", "stored", "M12", "about.bases")(more(s2=msgpack([[[[], b""]], [[]], []])))
bad("about-too-many-notes", "stored", "about.notes", "M35")(more(s2=msgpack([[], [[]], [["", ""]] * 1025])))
bad("about-key-too-long", "stored", "about.notes", "M35")(more(s2=msgpack([[], [[]], [["k" * 4097, ""]]])))
bad("about-note-too-long", "stored", "about.notes", "M35")(more(s2=msgpack([[], [[]], [["k", "x" * 65537]]])))
bad("names-of-three-lists", "stored", "M12", "names.lists")(more(s4=msgpack([[b"", b"", b""]])))
bad("name-without-nul", "stored", "names.lists", "M36")(more(s4=msgpack([[b"a\0b", b""]])))
bad("forms-empty", "a-form-that-is-not-needed", "section.forms", "M37")(more(s6=msgpack([])))
bad("form-of-a-layer", "records", "form.object", "M37")(more(s6=msgpack([form(GZ_FORM)])))
bad("form-of-no-object", "a-form-that-is-not-needed", "M37", "form.object")(
    more(s6=msgpack([form(GZ_FORM, object_=1)]))
)
bad("form-twice", "a-form-that-is-not-needed", "form.object", "M37")(more(s6=msgpack([form(GZ_FORM)] * 2)))
bad("form-digest-short", "a-form-that-is-not-needed", "M12", "form.digest")(
    more(s6=msgpack([form(GZ_FORM, digest=bytes(31))]))
)
bad("form-of-five", "a-form-that-is-not-needed", "M12", "section.forms")(more(s6=msgpack([[*form(GZ_FORM), 0]])))
FIVE = [G, *((3, 100, sha256(bytes([number]))) for number in range(4))]
bad("form-of-one-content-too-often", "a-form-that-is-not-needed", "section.forms", "M38")(
    put(objects=FIVE, more={6: msgpack([form(GZ_FORM, object_=number) for number in range(5)])})
)
bad("form-packing-too-large", "a-form-that-is-not-needed", "form.packing", "M38")(
    more(s6=msgpack([form(bytes(16 * MIB + 1))]))
)
bad("form-that-makes-something-else", "a-form-that-is-not-needed", "M39", code=6, base="raw")(
    more(s6=msgpack([form(packing(10, (3000, 97, 8, []), 8) + GZ_FORM[-18:])]))
)
bad("form-of-another-size", "a-form-that-is-not-needed", "form.size", "M39", code=6, base="raw")(
    more(s6=msgpack([form(GZ_FORM, size=2999)]))
)
bad("form-that-makes-an-object-of-another-size", "a-form-that-is-needed", "objects.sizes", "M26", code=6)(
    lambda b: _object(b, 0, size=len(GZ) + 1)
)
bad("form-that-is-no-packing", "a-form-that-cannot-be-followed", "M39", "form.packing", code=6, base="raw")(
    lambda bundle: None
)
bad("form-without-its-content", "a-form-that-is-not-needed", "M26", code=6, base="other")(lambda bundle: None)

# --- 4: programs ------------------------------------------------------------------------------------------------------


def program(make: Callable[[Program], object]) -> Change:
    """Replace the program by another one."""

    def change(bundle: Bundle) -> None:
        bundle.target.program = Program()
        make(bundle.target.program)

    return change


bad("operation-12", "stored", "column.ops", "M48")(column(ops=b"\x06\x0c"))
bad("seek-to-no-object", "keep-and-seek", "column.seek_object", "M53")(column(seek_object=bytes((0, 1, 1, 5, 3))))
bad("seek-to-the-digest-text", "keep-and-seek", "column.seek_object", "M53")(column(seek_object=bytes((0, 1, 1, 2, 4))))
bad("seek-before-an-object", "keep-and-seek", "column.seek_offset", "M53")(
    column(seek_offset=numbers(signed(-701), signed(10), signed(5), 0, signed(3000)))
)
bad("seek-behind-an-object", "keep-and-seek", "column.seek_offset", "M53")(
    column(seek_offset=numbers(signed(-500), signed(10), signed(5), 0, signed(3001)))
)
bad("seek-twice", "keep-and-seek", "M53")(
    lambda b: (
        b.columns["ops"].insert(2, 0),
        b.columns["seek_object"].insert(1, 0),
        b.columns["seek_offset"].insert(2, 0),
    )
)
bad("keep-0", "keep-and-seek", "column.keep", "M49")(
    lambda b: (b.columns["ops"].insert(1, 1), b.columns["keep"].insert(2, 0))
)
bad("mode-0", "records", "column.count", "M49")(lambda b: (b.columns["ops"].insert(1, 2), b.columns["count"].append(0)))
bad("mode-beyond-the-object", "a-size-in-base-256-is-read", "M50")(
    program(
        lambda p: (
            p.do("seek", seek_object=0, seek_offset=signed(len(LAYER) - 511))
            .do("mode", count=1)
            .edit("raw:name")
            .text(3)
        )
    )
)
bad("stream-column-32", "stored", "column.stream", "M51")(column(stream=b"\x20"))
bad("raw-0", "stored", "column.raw", "M49")(lambda b: b.target.program.do("raw", raw=0, stream=1))
bad("replace-0", "implied-source-of-several-pieces", "M49")(
    lambda b: b.target.program.do("replace", raw=0, replace=0, stream=1)
)
bad("replace-beyond-the-object", "implied-source-of-several-pieces", "column.replace", "M50")(
    lambda b: b.columns["replace"].__setitem__(slice(-2, None), number(len(LAYER)))
)
bad("zero-0", "two-streams-in-turn", "column.zero", "M49")(lambda b: b.target.program.do("zero", zero=0))
bad("repeat-0", "repeat", "column.repeat", "M49")(
    lambda b: b.target.program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=0)
)
bad("repeat-of-a-frame-not-drawn-from", "repeat", "column.repeat_frame", "M55")(
    column(repeat_frame=b"\1\0\0", ops=b"\x06\x05\x06\x06\x05\x05")
)
bad("repeat-of-no-frame", "repeat", "column.repeat_frame", "M55")(column(repeat_frame=b"\0\1\2"))
bad("repeat-beyond-its-frame", "repeat", "column.repeat_offset", "M55")(column(repeat_offset=numbers(101, 0, 0)))
bad("register-2", "every-field-as-text", "column.register", "M51")(column(register=b"\0\2"))
bad("shape-not-in-the-table", "every-field-as-text", "column.shape", "M43")(column(shape=b"\0\1"))
bad("shape-of-a-text-field-as-a-number", "every-number-in-a-blank-block", "column.shapes", "M42")(
    lambda b: b.columns["shapes"].__setitem__(slice(None), number(1))
)
bad("shape-with-an-unknown-bit", "every-field-as-text", "column.shapes", "M42")(
    column(shapes=number(1 << 32 | 1 | 1 << 16))
)
bad("too-many-shapes", "a-checksum-of-its-own", "column.shapes", "M43")(
    lambda b: b.columns["shapes"].extend(bytes(4096))
)
bad("number-that-does-not-fit", "every-number-in-a-blank-block", "column.mode", "M47")(column(mode=numbers(8**7, 97)))
bad("size-below-0", "every-number-in-a-blank-block", "column.size", "M45")(
    column(size=numbers(signed(103), signed(-1)))
)
for _name in ("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor"):
    bad(f"column-{_name}-left-over", "every-number-in-a-blank-block", f"column.{_name}", "M15")(
        lambda b, name=_name: b.columns[name].append(0)
    )
    bad(f"column-{_name}-short", "every-number-in-a-blank-block", f"column.{_name}", "M15")(
        lambda b, name=_name: b.columns[name].pop()
    )
for _name in ("text", "register", "shape"):
    bad(f"column-{_name}-left-over", "every-field-as-text", f"column.{_name}", "M15")(
        lambda b, name=_name: b.columns[name].append(0)
    )
    bad(f"column-{_name}-short", "every-field-as-text", f"column.{_name}", "M15")(
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
    bad(f"column-{_name}-left-over", _of, f"column.{_name}", "M15")(lambda b, name=_name: b.columns[name].append(1))
    bad(f"column-{_name}-short", _of, f"column.{_name}", "M15")(lambda b, name=_name: b.columns[name].pop())

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
bad("base-field-without-a-style", _SIZED, "M46", "M76", code=EITHER)(
    lambda b: of_one_block(b, in_base("odd", "mtime", mtime=1))
)
bad("base-field-too-narrow", _SIZED, "M47", "M76", code=EITHER)(
    lambda b: of_one_block(b, in_base("narrow", "uid", uid=8))
)
bad("base-size-negative", _SIZED, "M41", "M76", code=EITHER)(
    lambda b: of_one_block(b, in_base("negative", "mtime", mtime=1))
)
bad("base-size-immense", _SIZED, "M41", "M76", code=EITHER)(
    lambda b: of_one_block(b, in_base("immense", "mtime", mtime=1))
)
bad("base-size-unreadable", _SIZED, "M41", "M76", code=EITHER)(
    lambda b: of_one_block(b, in_base("unreadable", "mtime", mtime=1))
)


@bad("register-field-without-a-style", "every-field-as-text", "M46")
def _register_style(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:mtime").text(5)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"mtime", 0)


@bad("register-checksum-without-a-style", "every-field-as-text", "M46", "field.chksum")
def _register_checksum(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:chksum").text(5)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"12 34", 0)


@bad("register-checksum-too-narrow", "every-field-as-text", "M47", "field.chksum")
def _register_narrow(bundle: Bundle) -> None:
    bundle.target.program = Program().do("header", register=0).edit("raw:chksum").text(1)
    bundle.target.program.do("header", register=0).edit("mtime", mtime=1)
    bundle.frames[0] = plain(b"7", 0)


bad("frames-out-of-order", "two-streams-in-turn", "M57")(
    lambda b: b.frames.__setitem__(slice(0, 2), [b.frames[1], b.frames[0]])
)
bad("frame-not-used-up", "stored", "M58", "M52")(
    lambda b: (b.target.__setattr__("out", HELLO[:999]), b.columns["raw"].__setitem__(slice(None), number(999)))
)
bad("stream-ends-early", "stored", "M58", "column.raw")(
    lambda b: (b.target.__setattr__("out", HELLO + b"x"), b.columns["raw"].__setitem__(slice(None), number(1001)))
)


@bad("frame-never-begun", "stored", "M58")
def _never_begun(bundle: Bundle) -> None:
    bundle.frames.append(plain(b"more", 2))
    bundle.target.frames = 2


@bad("piece-crosses-frames-with-an-implied-source", "implied-source-of-several-pieces", "M59")
def _crosses(bundle: Bundle) -> None:
    whole = noise("made", 1000)
    bundle.frames[:] = [
        Frame(zframe(whole[:400]), 400, codec=2, implied=400),
        Frame(zframe(whole[400:]), 600, codec=2, implied=300),
    ]
    bundle.target.frames = 2


bad("implied-source-smaller", "implied-source-of-several-pieces", "M60", "frames.source size")(frame(implied=699))
bad("implied-source-larger", "implied-source-of-several-pieces", "M60", "frames.source size")(frame(implied=701))
bad("implied-source-that-nothing-gives", "stored", "M60", "frames.source size")(frame(implied=5))


@bad("cost-of-frames", "stored", "M62")
def _cost(bundle: Bundle) -> None:
    bundle.frames[0].size = 64 * MIB
    bundle.frames.append(Frame(b"x", 8001, 1))
    bundle.target.frames = 2


@bad("too-many-operations", "keep-and-seek", "M63")
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
bad("packing-of-0-bytes", _P, "column.packing", "M49")(column(packing=b"\0"))
bad("begin-within-a-packing", _P, "M56")(column(ops=b"\x06\x0a\x0a\x06\x0b\x06"))
bad("end-without-a-begin", "stored", "M56")(column(ops=b"\x06\x0b"))
bad("begin-without-an-end", "packs-nothing", "M56")(column(ops=b"\x06\x0a\x06"))
bad("packing-plain-missing", _P, "packing.for each part", "M66")(
    repacked(packing(10, (3000, 102, 8, []), 8) + _TAIL[:-1])
)
bad("packing-plain-left-over", _P, "packing.for each part", "M66")(
    repacked(packing(10, (3000, 102, 8, []), 8) + _TAIL + b"x")
)
bad("packing-ends-early", _P, "packing.parts", "M66")(repacked(b"\2\6"))
bad("packing-of-less-content", _P, "packing.for each part", "M67")(repacked(packing(10, (2999, 102, 8, []), 8) + _TAIL))
bad("packing-of-more-content", _P, "packing.for each part", "M67")(repacked(packing(10, (3001, 102, 8, []), 8) + _TAIL))
bad("packing-without-a-body", _P, "packing.for each part", "M67")(repacked(packing(len(GZ)) + GZ))
bad("packs-fewer-bytes", _P, "column.packed", "M68")(repacked(GZ_FORM, packed=len(GZ) + 1))
bad("packs-more-bytes", _P, "column.packed", "M68")(repacked(GZ_FORM, packed=len(GZ) - 1))
bad("recipe-level", _P, "packing.re-encoder", "M77")(repacked(packing(10, (3000, 96, 8, []), 8) + _TAIL))
bad("recipe-encoder", _P, "packing.re-encoder", "M77")(repacked(packing(10, (3000, 166, 8, []), 8) + _TAIL))
bad("recipe-parameter", _P, "packing.parameter", "M77")(repacked(packing(10, (3000, 102, 7, []), 8) + _TAIL))
for _encoder, _parameter, _what in (
    (22, 1, "go"),
    (69, 16384, "block-too-small"),
    (69, (1 << 30) + 1, "block-too-large"),
    (118, 8, "gzip"),
):
    bad(f"recipe-parameter-{_what}", _P, "packing.parameter", "M77")(
        lambda b, e=_encoder, p=_parameter: (
            repacked(packing(10, (3000, e, p, []), 8) + _TAIL)(b),
            put(reencoders=[e])(b),
        )
    )


def edits(*values: tuple[int, int, int], literals: bytes = b"", packed: int = len(GZ)) -> Change:
    """Give the body edits."""
    return repacked(packing(10, (3000, 102, 8, list(values)), 8, literals=literals) + _TAIL, packed=packed)


bad("recipe-edit-that-does-nothing", _P, "packing.edits", "M78")(edits((8, 0, 0)))
bad("recipe-edit-right-behind-another", _P, "packing.edits", "M78")(edits((8, 8, 8), (0, 8, 8), literals=b"ab"))
bad("recipe-number-too-large", _P, "packing.edits", "M78")(edits((1 << 62, 8, 8), literals=b"a"))
bad("recipe-edits-beyond-the-output", _P, "packing.edits", "M79")(edits((8, 8 * 4000, 8), literals=b"a"))
bad("recipe-not-a-whole-byte", _P, "packing.edits", "M80")(edits((8, 1, 0)))
bad("recipe-literals-missing", _P, "packing.literals", "M66")(repacked(packing((3000, 102, 8, [(8, 8, 8)]))))


@bad("content-of-packings", "packs-nothing", "M69")
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


# --- bases ------------------------------------------------------------------------------------------------------------

bad("another-base", "records", "M26", code=6, base="other")(lambda bundle: None)
bad("damaged-base", "records", "M76", code=EITHER, base="damaged")(lambda bundle: None)


@bad("damaged-base-in-a-source", "keep-and-seek", "M76", code=EITHER, base="damaged")
def _damaged_source(bundle: Bundle) -> None:
    """Damage the frame's source: its cover makes a wrong byte of it."""
    start = AT["hello"] + 512
    changed = HELLO[:-1] + b"!"
    payload = cover_of(HELLO, changed)
    bundle.frames[:] = [Frame(payload, 1000, codec=4, spans=[(0, start, 1000)])]
    bundle.target.frames, bundle.target.out = 1, changed
    bundle.target.program = Program().do("raw", raw=1000, stream=1)


@bad("damaged-base-behind-output", "keep-and-seek", "M76", "M75", code=EITHER, base="damaged", released=799)
def _damaged_behind(bundle: Bundle) -> None:
    """Damage what lies behind the output that may come before it is known."""
    bundle.target.program = Program().do("keep", keep=2000)
    bundle.target.out, bundle.target.tail = LAYER[:2000], 799

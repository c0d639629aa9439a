"""The vectors of bundles with several targets, of which one is made, and the faults of such."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from bundles import Bundle, Frame, Program, Target, block, msgpack, record, sha256, signed, zframe
from edges import pair
from faults import EITHER, Change, bad
from good import (
    HELLO,
    LAYER,
    SECOND,
    L,
    S,
    archive,
    config,
    cover_of,
    deflated,
    good,
    gzipped,
    plain,
    text,
)
from inflating import REFUSED, SIZE

OWN = record(block("own", size=700), text(700)) + bytes(1024)  # a layer that no base has
NEXT = OWN[:600] + b"!" + OWN[601:]  # another one, made of it


def image(layer: bytes, stored: bytes | None = None) -> bytes:
    """Return an archive of one layer."""
    return archive({"c": config(layer), "l": layer if stored is None else stored}, ["l"], "c")


def with_segment(out: bytes, layer: bytes, program: Program, frames: int) -> Target:
    """Return a target that has a digest for a layer."""
    at = out.index(layer)
    rest = len(out) - at - len(layer)
    segments = [(length, kind) for length, kind in ((at, 0), (len(layer), 1), (rest, 0)) if length]
    return Target(out, program, frames, segments=segments, tail=at + len(layer))


def whole(out: bytes) -> Program:
    """Return a program that takes everything from stream 1."""
    return Program().do("raw", raw=len(out), stream=1)


def two() -> Bundle:
    """Return a bundle of two targets, each with frames and an object of its own."""
    first = Target(b"one: " + LAYER[:100], Program().do("raw", raw=5, stream=1).do("keep", keep=100), 1)
    second = Target(SECOND[:50] + b" is two", Program().do("seek", seek_object=1, seek_offset=0).do("keep", keep=50), 1)
    second.program.do("raw", raw=7, stream=1)
    bundle = Bundle([plain(b"one: "), plain(b" is two")], [first, second], objects=[L, S])
    images = [[[["example.com/one:1"], sha256(b"1"), b""]], [[["example.com/two:1", "two"], sha256(b"2"), b""]]]
    bundle.more = {2: msgpack([[], images, []])}
    return bundle


@good("section.targets", "target.frames")
def first_of_two_targets() -> Bundle:
    return two()


@good("section.targets", "target.frames", target=1)
def second_of_two_targets() -> Bundle:
    return two()


@good("about.targets", "images.names", target=1, name="two")
def target_by_the_name_of_its_image() -> Bundle:
    return two()


def one_is_an_image(of: bytes = OWN) -> Bundle:
    """Return a bundle whose second target is an archive, and is said to be of the image that has the layer OWN."""
    bundle, out = two(), image(of)
    bundle.frames[1], bundle.targets[1] = plain(out), Target(out, whole(out), 1)
    bundle.objects = [L]
    images = [[[["example.com/one:1"], sha256(b"1"), b""]], [[["two"], sha256(config(OWN)), sha256(OWN)]]]
    bundle.more = {2: msgpack([[], images, []])}
    return bundle


@good("about.targets", "images.id", target=1, name=f"sha256:{sha256(config(OWN)).hex()}")
def target_by_the_id_of_its_image() -> Bundle:
    return one_is_an_image()


@bad("target-of-an-id-is-another-image", "target-by-the-id-of-its-image", "S4", code=8)
def _(bundle: Bundle) -> None:
    bundle.frames, bundle.targets = one_is_an_image(NEXT).frames, one_is_an_image(NEXT).targets


@good("M26", base="raw", target=1)
def object_of_another_target_is_not_there() -> Bundle:
    """Only the target that is not made uses object 0, the layer."""
    bundle = two()
    bundle.objects[0] = (1, 12345, sha256(b"nowhere"))
    return bundle


@good("M26", base="other+base", target=1)
def objects_from_two_bases() -> Bundle:
    """One base holds what neither target takes."""
    return two()


def chained(*, compressed: bool = False) -> Bundle:
    """Return a bundle whose second target is made of a layer of the first, and the third of one of the second."""
    stored = gzipped(deflated(OWN, 6, 6, 8), OWN) if compressed else OWN
    outs = [image(OWN, stored), image(NEXT), b"third: " + NEXT[512:700]]
    layer = with_segment(outs[0], stored, whole(outs[0]), 1)
    at = outs[1].index(NEXT)
    program = Program().do("raw", raw=at, stream=1).do("keep", keep=600).do("raw", raw=1, stream=1)
    program.do("seek", seek_object=0, seek_offset=signed(1)).do("keep", keep=len(OWN) - 601)
    program.do("raw", raw=len(outs[1]) - at - len(OWN), stream=1)
    rest = outs[1][:at] + b"!" + outs[1][at + len(OWN) :]
    last = Program().do("raw", raw=7, stream=1).do("seek", seek_object=1, seek_offset=signed(512)).do("keep", keep=188)
    targets = [layer, with_segment(outs[1], NEXT, program, 1), Target(outs[2], last, 1)]
    start = outs[0].index(stored)
    place = (0, start, len(stored)) if compressed else (0, start)
    objects = [(1, len(OWN), sha256(OWN), place), (1, len(NEXT), sha256(NEXT), (1, at))]
    return Bundle([plain(outs[0]), plain(rest), plain(b"third: ")], targets, objects=objects)


@good("M28", "object place.16", "objects.targets", "objects.offsets", base="", target=1)
def target_made_of_a_layer_of_the_one_before() -> Bundle:
    return chained()


@good("M28", base="", target=2)
def target_at_the_end_of_a_chain() -> Bundle:
    return chained()


@good("M28", "object place.32", "objects.lengths", base="", target=1)
def target_made_of_the_content_of_a_compressed_layer() -> Bundle:
    return chained(compressed=True)


@good("M28", base="", target=1)
def target_whose_frame_has_an_earlier_target_as_source() -> Bundle:
    bundle = chained()
    out = HELLO
    bundle.targets[1:] = [Target(out, whole(out), 1)]
    bundle.frames[1:] = [Frame(cover_of(OWN, out), len(out), codec=4, spans=[(0, 0, len(OWN))])]
    bundle.objects[1:] = []
    return bundle


@good("M28", target=1)
def object_with_a_place_that_a_base_holds() -> Bundle:
    """Have the target with the place malformed: it is not made."""
    bundle = chained()
    kind, size, digest = L
    out = LAYER[:600]
    bundle.targets[0].program.do("zero", zero=1)
    bundle.targets[1:] = [Target(out, Program().do("keep", keep=600), 0)]
    bundle.frames[1:] = []
    bundle.objects[:] = [(kind, size, digest, (0, 0))]
    bundle.targets[0] = Target(LAYER, whole(LAYER).do("zero", zero=1), 1)
    bundle.frames[0] = plain(LAYER)
    return bundle


def placed(stored: bytes, content: bytes, *, is_compressed: bool = False, before: bytes = b"before") -> Bundle:
    """Return a bundle whose first target has an object somewhere, and whose second is what that holds."""
    out = before + stored + b"behind"
    place = (0, len(before), len(stored)) if is_compressed else (0, len(before))
    return Bundle(
        [plain(out)],
        [
            Target(out, whole(out), 1, tail=len(out) - 1),
            Target(content, Program().do("keep", keep=len(content)), 0, tail=len(content) - 1),
        ],
        objects=[(3, len(content), sha256(content), place)],
    )


@good("M28", base="", target=1)
def object_in_a_target_that_is_no_archive() -> Bundle:
    return placed(OWN, OWN)


@good("M28", "objects.lengths", base="", target=1)
def object_in_two_gzip_members_of_a_target() -> Bundle:
    halves = b"".join(gzipped(deflated(half, 6, 6, 8), half) for half in (NEXT[:900], NEXT[900:]))
    return placed(halves, NEXT, is_compressed=True)


@good("M28", "objects.lengths", base="", target=1)
def object_in_two_zstd_frames_of_a_target() -> Bundle:
    return placed(zframe(NEXT[:900]) + zframe(NEXT[900:]), NEXT, is_compressed=True)


MEMBER = gzipped(deflated(NEXT, 6, 6, 8), NEXT)
EMPTY_MEMBER = gzipped(deflated(b"", 6, 6, 8), b"")


@good("M28", base="", target=1)
def object_in_2000_empty_gzip_members_and_one() -> Bundle:
    return placed(2000 * EMPTY_MEMBER + MEMBER, NEXT, is_compressed=True)


def headed(flags: int, fields: bytes) -> bytes:
    """Return that member with fields in its header and a right CRC of it, if the flags say that there is one."""
    head = MEMBER[:3] + bytes((flags,)) + MEMBER[4:10] + fields
    return head + ((zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b"") + MEMBER[10:]


@good("M28", "M26", "objects.lengths", base="", target=1)
def object_in_gzip_members_with_every_field() -> Bundle:
    """Have an extra field, a name and a comment, with a CRC of the header and without; then each of the four alone."""
    extra, name, comment = b"\6\0ab\2\0cd", b"name\0", b"a comment\0"
    fields = {31: extra + name + comment, 28: extra + name + comment, 4: extra, 8: name, 16: comment, 2: b"", 1: b""}
    members = [headed(flags, content) for flags, content in fields.items()]
    return placed(b"".join(members), len(members) * NEXT, is_compressed=True)


def zwindow(descriptor: int) -> bytes:
    """Return the next bytes as a zstd frame with a window descriptor: ``88`` for 128 MiB, ``89`` for 144 MiB."""
    return b"\x28\xb5\x2f\xfd\x40" + bytes((descriptor,)) + zframe(NEXT)[5:]


@good("M28", "M26", base="", target=1)
def object_in_a_zstd_frame_with_a_window_of_128_mib() -> Bundle:
    return placed(zwindow(0x88), NEXT, is_compressed=True)


@good("M28", base="", target=1)
def object_in_700_skippable_zstd_frames_and_one() -> Bundle:
    return placed(700 * b"\x5f\x2a\x4d\x18\0\0\0\0" + zframe(NEXT), NEXT, is_compressed=True)


@good("M28", "M125", base="", target=1)
def object_of_16_times_its_length_and_16384_bytes() -> Bundle:
    content = bytes(16384)
    while len(content) != 16 * len(zframe(content)) + 16384:
        content = bytes(16 * len(zframe(content)) + 16384)
    return placed(zframe(content), content, is_compressed=True)


bad("no-target-chosen", "first-of-two-targets", "M123", "section.targets", code=2, arguments=[])(lambda bundle: None)
bad("target-of-another-name", "first-of-two-targets", "M123", "section.targets", code=2, arguments=["--target", "one"])(
    lambda bundle: None
)
bad(
    "target-of-a-name-that-two-have",
    "first-of-two-targets",
    "M123",
    "section.targets",
    code=2,
    arguments=["--target", "x"],
)(lambda b: b.more.__setitem__(2, msgpack([[], [[[["x"], b"", b""]]] * 2, []])))

_CHAIN = "target-made-of-a-layer-of-the-one-before"


def first(change: Change) -> Change:
    """Change the first of the targets."""
    return lambda bundle: change(bundle.targets[0])  # type: ignore[arg-type]


@bad("object-that-its-place-is-not", _CHAIN, "M28", "M76", code=EITHER)
def _not_held(bundle: Bundle) -> None:
    _, size, digest, _ = bundle.objects[0]
    bundle.objects[0] = (1, size, digest, (0, 0))
    bundle.targets[1].tail = 0  # a reader need not look at an object's digest: nothing is passed on either way


@bad("target-before-is-malformed", _CHAIN, "M28", "M52")
def _malformed(bundle: Bundle) -> None:
    bundle.targets[0].program.do("zero", zero=512)


@bad("target-before-has-a-wrong-digest", _CHAIN, "M28", "M73", code=EITHER)
def _wrong(bundle: Bundle) -> None:
    bundle.targets[0].rest = bytes(32)


@bad("target-takes-from-one-after-it", "first-of-two-targets", "M28", base="raw", code=6)
def _after(bundle: Bundle) -> None:
    """Only targets before it serve."""
    kind, size, digest = bundle.objects[0]
    bundle.objects[0] = (kind, size, sha256(digest), (1, 0))
    bundle.targets[1] = Target(bytes(size), Program().do("zero", zero=size), 0, tail=size - 1)
    bundle.frames[1:], bundle.objects[1:] = [], []


@bad("target-takes-from-itself", _CHAIN, "M28", code=6)
def _itself(bundle: Bundle) -> None:
    kind, size, digest, (_, offset) = bundle.objects[0]
    bundle.objects[0] = (kind, size, digest, (1, offset))


def _place(**given: int) -> Change:
    """Change the place of the first object."""

    def change(bundle: Bundle) -> None:
        kind, size, digest, place = bundle.objects[0]
        named = dict(zip(("target", "offset", "length"), place, strict=False)) | given
        bundle.objects[0] = (kind, size, digest, tuple(named.values()))

    return change


_END = len(image(OWN)) - len(OWN)
_COMPRESSED = "target-made-of-the-content-of-a-compressed-layer"
bad("object-in-no-target", _CHAIN, "M124", "objects.targets")(_place(target=3))
bad("object-a-byte-beyond-its-target", _CHAIN, "M124", "objects.offsets")(_place(offset=_END + 1))
bad("object-at-an-immense-offset", _CHAIN, "M124", "objects.offsets")(_place(offset=(1 << 63) - 1))
bad("compressed-object-beyond-its-target", _COMPRESSED, "M124", "objects.lengths")(_place(length=1 << 20))
bad("compressed-object-that-is-cut", _COMPRESSED, "M28", code=6)(_place(length=100))
bad("compressed-object-that-is-not", _CHAIN, "M28", code=6)(_place(length=len(OWN)))
bad("object-of-an-unknown-place", _CHAIN, "M25", "objects.kinds")(
    lambda b: setattr(b, "on_objects", lambda values: values.__setitem__(0, bytes((49, *values[0][1:]))))
)
for _column, _name in ((3, "targets"), (4, "offsets"), (5, "lengths")):
    bad(f"number-of-{_name}-of-objects-left-over", _CHAIN, "M15", f"objects.{_name}")(
        lambda b, at=_column: setattr(b, "on_objects", lambda values: values.__setitem__(at, values[at] + b"\0"))
    )
    bad(f"number-of-{_name}-of-objects-short", _COMPRESSED, "M15", f"objects.{_name}")(
        lambda b, at=_column: setattr(b, "on_objects", lambda values: values.__setitem__(at, b""))
    )


@bad("compressed-object-of-another-size", "object-in-two-zstd-frames-of-a-target", "M28", "M26", code=6)
def _size(bundle: Bundle) -> None:
    kind, size, digest, place = bundle.objects[0]
    bundle.objects[0] = (kind, size + 1, digest, place)


@bad("compressed-object-of-a-byte-too-much", "object-of-16-times-its-length-and-16384-bytes", "M125")
def _ratio(bundle: Bundle) -> None:
    kind, size, digest, place = bundle.objects[0]
    bundle.objects[0] = (kind, size + 1, digest, place)


@bad("compressed-objects-of-more-than-their-target", "object-in-two-gzip-members-of-a-target", "M125")
def _overlap(bundle: Bundle) -> None:
    """Have two of one place: together they are longer than the target."""
    kind, size, digest, place = bundle.objects[0]
    bundle.objects.append((kind, size, sha256(digest), place))


def _member(stored: bytes, content: bytes = NEXT) -> Callable[[Bundle], object]:
    """Put other compressed bytes into the first target."""

    def change(bundle: Bundle) -> None:
        other = placed(stored, content, is_compressed=True)
        bundle.frames, bundle.targets, bundle.objects = other.frames, other.targets, other.objects

    return change


_MEMBERS = "object-in-two-gzip-members-of-a-target"
_HEAD = MEMBER[:3] + b"\2" + MEMBER[4:10]  # has a CRC of its own behind it
for _name, _stored, _content in (
    ("gzip-members-and-padding", MEMBER + bytes(10), NEXT),
    ("padding-between-gzip-members", MEMBER + bytes(10) + MEMBER, 2 * NEXT),
    ("zstd-frames-and-padding", zframe(NEXT) + bytes(10), NEXT),
    ("padding-between-zstd-frames", zframe(NEXT) + bytes(10) + zframe(NEXT), 2 * NEXT),
    ("a-zstd-frame-with-a-window-of-144-mib", zwindow(0x89), NEXT),
    ("a-gzip-member-with-a-reserved-flag", MEMBER[:3] + b"\x20" + MEMBER[4:], NEXT),
    ("a-gzip-member-with-incomplete-codes", gzipped(REFUSED["with-incomplete-distances"], b"a" * SIZE), b"a" * SIZE),
    ("a-gzip-member-with-a-wrong-header-crc", _HEAD + b"\0\0" + MEMBER[10:], NEXT),
):
    bad(f"object-in-{_name}", _MEMBERS, "M28", "M26", code=6)(_member(_stored, _content))


@pair(
    "compressed-objects-as-many-as-may-be",
    "stored",
    "M62",
    "objects.lengths",
    beyond="compressed-objects-too-many",
    base="",
)
def _many(over: int) -> Bundle:
    """Have 8,200 objects of one byte of a target of 9,000, at 8,192 each: 67,174,400 beside 1,280."""
    objects: list[Any] = [(1, 0, sha256(b"%d" % n), (0, n, 1)) for n in range(8200 + over)]
    return Bundle([], [Target(bytes(9000), Program().do("zero", zero=9000), 0)], objects=objects)


@bad("form-of-an-object-with-a-place", "target-made-of-a-layer-of-the-one-before", "M37", "section.forms")
def _form(bundle: Bundle) -> None:
    _, size, digest, place = bundle.objects[0]
    bundle.objects[0] = (3, size, digest, place)
    bundle.more[6] = msgpack([[0, L[1], L[2], b"\0"]])


@bad("frames-of-the-second-target-missing", "first-of-two-targets", "target.frames", "M34")
def _frames(bundle: Bundle) -> None:
    bundle.targets[1].frames = 2


@bad("repeat-of-another-targets-frame", "second-of-two-targets", "column.repeat_frame", "M55")
def _repeat(bundle: Bundle) -> None:
    bundle.targets[1].program.do("repeat", repeat_frame=0, repeat_offset=0, repeat=5)
    bundle.targets[1].out += b"one: "


bad("names-of-two-lists-for-two-targets", "first-of-two-targets", "M12", "names.lists")(
    lambda b: b.more.__setitem__(4, msgpack([[b"", b""]]))
)

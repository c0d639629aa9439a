"""Hostile bundles. dib refuses a bundle with any single fault, even if all digests match the faulty bundle."""

import dataclasses
import io
from pathlib import Path

import pytest

from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.codecs import decoders, zstd
from dibundle.errors import BaseMismatchError, BundleError, DibError, DigestError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format import constants, writer
from dibundle.format.constants import MAX_SIGNATURE
from dibundle.format.header import Header, encode_signature_area, signature_length
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.format.steps import COLUMN_NAMES, Columns
from dibundle.format.tables import Frame, Range
from dibundle.format.wire import Column, ColumnWriter, pack
from dibundle.images.archive import open_archive
from tests.builders import TestImage, build_layer, docker_save, file
from tests.roundtrip import bundle_of, rebuilt


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes, bytes]:
    folder = tmp_path_factory.mktemp("pair")
    old = build_layer([file("a", b"alpha " * 2000), file("b", b"beta " * 3000), file("same", b"s" * 3000)])
    new = build_layer(
        [
            file("a", b"alpha " * 2000, mtime=5),
            file("b", b"beta " * 2990 + b"gamma", mtime=5),
            file("c", bytes(range(256)) * 9, mtime=6),
            file("d", bytes(range(256)) * 9, mtime=6),
            file("same", b"s" * 3000),
        ]
    )
    base = docker_save([TestImage([old], ["example.com/app:1"])])
    target = docker_save([TestImage([new], ["example.com/app:2"])])
    bundle, _ = bundle_of(folder, [base], target)
    assert rebuilt(folder, [base], bundle) == target
    return folder, base, target, bundle


def parts(bundle: bytes) -> tuple[Manifest, list[bytes]]:
    reader = BundleReader(io.BytesIO(bundle))
    return reader.manifest, [reader.frame()[1] for _ in reader.manifest.frames]


def joined(manifest: Manifest, frames: list[bytes]) -> bytes:
    return b"".join(writer.write(manifest, frames))


def attempt(pair: tuple[Path, bytes, bytes, bytes], bundle: bytes) -> bytes:
    folder, base, target, _ = pair
    out = io.BytesIO()
    (folder / "base.tar").write_bytes(base)
    with open_archive(folder / "base.tar") as archive:
        try:
            with Context() as context:
                reader = BundleReader(io.BytesIO(bundle))
                rebuild_target([archive], reader, out.write, RebuildOptions(), context)
        except DibError:
            assert len(out.getvalue()) < len(target)
            raise
    return out.getvalue()


def test_writing_what_was_read_gives_the_same_bytes(pair):
    assert joined(*parts(pair[3])) == pair[3]


def test_every_cut_is_refused(pair):
    bundle = pair[3]
    for length in range(len(bundle)):
        with pytest.raises((BundleError, DigestError)):
            attempt(pair, bundle[:length])


def test_every_flipped_byte_is_refused(pair):
    bundle = pair[3]
    for place in range(len(bundle)):
        damaged = bytearray(bundle)
        damaged[place] ^= 0x10
        with pytest.raises((BundleError, DigestError)):
            attempt(pair, bytes(damaged))


def test_bytes_after_the_last_frame_are_refused(pair):
    with pytest.raises(BundleError, match="follow"):
        attempt(pair, pair[3] + b"\0")


def test_a_signature_area_does_not_change_what_is_signed(pair):
    bundle = pair[3]
    signed = bundle[:64] + encode_signature_area(b"a signature") + bundle[72:]
    reader = BundleReader(io.BytesIO(signed))
    assert reader.signature == b"a signature"
    assert attempt(pair, signed) == pair[2]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (slice(0, 8), b"\x89DIB\n\x1a\n\0"),
        (slice(8, 12), (2).to_bytes(4, "little")),
        (slice(12, 16), b"\1\0\0\0"),
        (slice(16, 24), bytes(8)),
        (slice(16, 24), (constants.MAX_MANIFEST + 1).to_bytes(8, "little")),
        (slice(24, 32), bytes(8)),
        (slice(24, 32), b"\xff" * 8),
    ],
)
def test_header_fields_are_checked(pair, field: slice, value: bytes):
    damaged = bytearray(pair[3])
    damaged[field] = value
    with pytest.raises(BundleError):
        attempt(pair, bytes(damaged))


def with_sections(bundle: bytes, change) -> bytes:
    """Return the bundle with changed manifest sections [id, bytes] and a corrected header."""
    import msgpack

    manifest, frames = parts(bundle)
    sections = msgpack.unpackb(manifest.encode())
    encoded = pack(change(sections))
    stored = zstd.compress(encoded, 3)
    header = Header(stored=len(stored), size=len(encoded), digest=digest.sha256(stored))
    return header.encode() + encode_signature_area(b"") + stored + b"".join(frames)


def test_unknown_even_sections_are_skipped(pair):
    bundle = with_sections(pair[3], lambda sections: [*sections, [100, b"whatever"]])
    assert attempt(pair, bundle) == pair[2]


@pytest.mark.parametrize(
    "change",
    [
        lambda sections: [*sections, [101, b""]],
        lambda sections: list(reversed(sections)),
        lambda sections: [sections[0], *sections],
        lambda sections: [section for section in sections if section[0] != 5],
        lambda sections: [section for section in sections if section[0] != 1],
        lambda sections: [[number, body + b"\0"] for number, body in sections],
        lambda sections: [[number, body[:-1]] for number, body in sections],
        lambda sections: [[1, pack([[0, 1, 2, 3, 4, 77], [], []])] if s[0] == 1 else s for s in sections],
        lambda sections: [[1, pack([[0, 1, 2, 3, 4], [1], []])] if s[0] == 1 else s for s in sections],
        lambda sections: [[1, pack([[0, 1, 2, 3, 4], [], [1]])] if s[0] == 1 else s for s in sections],
        lambda sections: [[1, pack([[4, 2, 1], [], []])] if s[0] == 1 else s for s in sections],
    ],
)
def test_sections_are_checked(pair, change):
    with pytest.raises(BundleError):
        attempt(pair, with_sections(pair[3], change))


def changed_target(bundle: bytes, **changes: object) -> bytes:
    manifest, frames = parts(bundle)
    target = manifest.targets[0]._replace(**changes)
    return joined(dataclasses.replace(manifest, targets=(target,)), frames)


def changed_columns(bundle: bytes, **changes: bytes) -> bytes:
    manifest, _ = parts(bundle)
    columns = manifest.targets[0].columns
    values = {name: Column(data, name) for name, data in changes.items()}
    return changed_target(bundle, columns=Columns(**{name: getattr(columns, name) for name in COLUMN_NAMES} | values))


@pytest.mark.parametrize("name", COLUMN_NAMES)
def test_a_number_too_many_in_any_column_is_refused(pair, name: str):
    data = getattr(parts(pair[3])[0].targets[0].columns, name).data
    with pytest.raises((BundleError, BaseMismatchError)):
        attempt(pair, changed_columns(pair[3], **{name: data + b"\x01"}))


def test_a_number_too_few_in_any_column_is_refused(pair):
    columns = parts(pair[3])[0].targets[0].columns
    filled = [name for name in COLUMN_NAMES if getattr(columns, name).data]
    assert len(filled) > 12
    for name in filled:
        with pytest.raises((BundleError, BaseMismatchError)):
            attempt(pair, changed_columns(pair[3], **{name: getattr(columns, name).data[:-1]}))


@pytest.mark.parametrize("name", COLUMN_NAMES)
def test_huge_numbers_in_any_column_are_refused(pair, name: str):
    data = getattr(parts(pair[3])[0].targets[0].columns, name).data
    huge = bytes(ColumnWriter([2**63 - 1] * max(1, len(data))).data)
    with pytest.raises((BundleError, BaseMismatchError)):
        attempt(pair, changed_columns(pair[3], **{name: huge}))


@pytest.mark.parametrize("ops", [bytes([10]), bytes([0, 0]), bytes([255])])
def test_unknown_operations_are_refused(pair, ops: bytes):
    manifest, _ = parts(pair[3])
    with pytest.raises(BundleError):
        attempt(pair, changed_columns(pair[3], ops=ops + manifest.targets[0].columns.ops.data))


def test_the_target_must_have_the_size_that_is_promised(pair):
    target = parts(pair[3])[0].targets[0]
    first = target.segments[0]
    longer = first._replace(length=first.length + 1)
    with pytest.raises(BundleError, match="wanted"):
        attempt(
            pair,
            changed_target(pair[3], size=target.size + 1, segments=(longer, *target.segments[1:])),
        )
    with pytest.raises(BundleError, match="add up"):
        attempt(pair, changed_target(pair[3], size=target.size + 1))


def test_a_wrong_digest_of_the_output_blames_the_base(pair):
    with pytest.raises(BaseMismatchError):
        attempt(pair, changed_target(pair[3], rest_digest=bytes(32)))


def test_the_tail_stays_within_its_limits(pair):
    size = parts(pair[3])[0].targets[0].size
    with pytest.raises(BundleError, match="tail"):
        attempt(pair, changed_target(pair[3], tail=size))
    manifest, _ = parts(pair[3])
    assert manifest.targets[0].size - manifest.targets[0].tail <= constants.MAX_TAIL


def changed_frame(bundle: bytes, **changes: object) -> bytes:
    manifest, frames = parts(bundle)
    index = next(i for i, frame in enumerate(manifest.frames) if frame.implied)
    changed = manifest.frames[index]._replace(**changes)
    table = (*manifest.frames[:index], changed, *manifest.frames[index + 1 :])
    return joined(dataclasses.replace(manifest, frames=table), frames)


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": 31},
        {"stream": 32},
        {"codec": decoders.STORED},
        {"size": 0},
        {"size": 1},
        {"size": constants.MAX_FRAME_SIZE + 1},
        {"stored": constants.MAX_FRAME_STORED + 1},
        {"source_size": 1},
        {"source_size": constants.MAX_FRAME_SOURCE + 1},
        {"implied": False, "sources": (Range(99, 0, 1),)},
        {"implied": False, "sources": (Range(0, 0, 1 << 40),)},
        {"implied": False, "sources": (Range(0, 1 << 40, 1),)},
    ],
)
def test_frames_are_checked(pair, changes: dict[str, object]):
    with pytest.raises((BundleError, DigestError)):
        attempt(pair, changed_frame(pair[3], **changes))


def test_a_frame_in_the_wrong_place_is_refused(pair):
    manifest, frames = parts(pair[3])
    order = list(range(len(frames)))
    order[0], order[-1] = order[-1], order[0]
    shuffled = dataclasses.replace(manifest, frames=tuple(manifest.frames[i] for i in order))
    with pytest.raises(BundleError):
        attempt(pair, joined(shuffled, [frames[i] for i in order]))


def test_what_costs_too_much_is_refused_before_output():
    frames = tuple(
        Frame(stream=1, codec=0, stored=1, size=1 << 26, digest=bytes(32), implied=False, source_size=0)
        for _ in range(20)
    )
    columns = Columns()
    target = parts_of_empty().targets[0]._replace(frames=20, columns=columns)
    manifest = Manifest(codecs=(0,), objects=(), frames=frames, targets=(target,))
    with pytest.raises(BundleError, match="costs"):
        Manifest.decode(manifest.encode(), decoders.KNOWN)


def parts_of_empty() -> Manifest:
    from dibundle.format.values import Target

    target = Target(
        size=0,
        digest=digest.sha256(b""),
        rest_digest=digest.sha256(b""),
        tail=0,
        frames=0,
        segments=(),
        columns=Columns(),
    )
    return Manifest(codecs=(), objects=(), frames=(), targets=(target,))


def test_an_empty_target_is_fine():
    manifest = parts_of_empty()
    assert Manifest.decode(manifest.encode(), decoders.KNOWN).encode() == manifest.encode()


def test_a_zstd_bomb_in_place_of_the_manifest_is_refused():
    bomb = zstd.compress(bytes(8 << 20), 3)
    header = Header(stored=len(bomb), size=1000, digest=digest.sha256(bomb))
    with pytest.raises(BundleError, match="declares"):
        BundleReader(io.BytesIO(header.encode() + encode_signature_area(b"") + bomb))


def test_a_signature_area_has_a_limit() -> None:
    """The size of a signature area has a limit. No vector tests this, because it would take a megabyte."""
    assert signature_length(MAX_SIGNATURE.to_bytes(4, "little")) == MAX_SIGNATURE
    with pytest.raises(BundleError, match="signature area has 1048577 bytes"):
        signature_length((MAX_SIGNATURE + 1).to_bytes(4, "little"))

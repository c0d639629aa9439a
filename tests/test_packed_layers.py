"""Compressed layers in archives. Bundles are created from the layers' content, and rebuild the layers' exact bytes."""

import contextlib
import dataclasses
import gzip
import io
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from dibundle.applying import budget
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.codecs import decoders, recompression, zstd
from dibundle.codecs.deflate import encoders, search
from dibundle.codecs.deflate.encoders import Encoder
from dibundle.creating.compose.recompressed import guess, unpack_layer
from dibundle.creating.match import images as match_images
from dibundle.creating.options import CreateOptions
from dibundle.errors import BaseMismatchError, BundleError, DibError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes, Spool
from dibundle.format import writer
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.format.steps import COLUMN_NAMES, Columns
from dibundle.format.wire import Column, ColumnWriter
from dibundle.images.archive import open_archive
from dibundle.images.model import Blob
from dibundle.images.tar.entries import Entry
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.program import succeed
from tests.roundtrip import FAST, bundle_of, check, rebuilt

GO_HEADER = bytes.fromhex("1f8b08000000000000ff")


def compressor(encoder, level, parameter=0, header=GO_HEADER):
    """Return a function that writes the same gzip data as one of the encoders."""

    def compress(data):
        made = Encoder(encoder, level, parameter)
        body = made.write(data) + made.finish()
        return header + body + zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")

    return compress


DOCKER = compressor(encoders.GO, 6)
SKOPEO = compressor(encoders.PGZIP_1, 5, 1 << 20)
UMOCI = compressor(encoders.PGZIP_1, 5, 256 << 10)
WRITERS = {
    "docker": DOCKER,
    "kaniko": compressor(encoders.GO, 1),
    "go1.27": compressor(encoders.KLAUSPOST, 6),
    "skopeo": SKOPEO,
    "umoci": UMOCI,
    "newer skopeo": compressor(encoders.PGZIP_3, 5, 1 << 20),
    "jib": compressor(encoders.ZLIB, 6, 8),
    "gzip": compressor(encoders.GNU, 9),
}


def release(number):
    bottom = build_layer([file("usr/data", noise(1, 300_000)), file("usr/words", text(2, 900_000))])
    words = text(3, 400_000)
    top = build_layer(
        [
            file("app/words", words[:1000] + b"%d" % number + words[1000:], mtime=number),
            file("app/noise", noise(4, 50_000), mtime=number),
        ]
    )
    return TestImage([bottom, top], [f"example.com/app:{number}"])


@pytest.fixture(scope="module")
def raw_size(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return check(folder, [docker_save([release(1)], "oci")], docker_save([release(2)], "oci")).size


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.slow
def test_a_bundle_of_compressed_layers_is_as_small_as_of_raw_ones(tmp_path: Path, name: str, raw_size: int):
    base, target = (docker_save([release(number)], "oci", WRITERS[name]) for number in (1, 2))
    assert check(tmp_path, [base], target).size < raw_size + 400


@pytest.mark.parametrize(
    ("old", "new"),
    [(None, DOCKER), (DOCKER, None), (SKOPEO, DOCKER), (DOCKER, SKOPEO), ("zstd", DOCKER), ("zstd", None)],
)
def test_between_forms_content_counts(tmp_path: Path, old, new, raw_size: int):
    base, target = docker_save([release(1)], "podman", old), docker_save([release(2)], "c8d", new)
    assert check(tmp_path, [base], target).size < raw_size + 900


def test_any_form_of_the_base_does(tmp_path: Path):
    target = docker_save([release(2)], "oci", DOCKER)
    bundle, _ = bundle_of(tmp_path, [docker_save([release(1)], "podman")], target)
    for style, stored in (("v25", None), ("oci", SKOPEO), ("oci", DOCKER), ("c8d", "zstd")):
        assert rebuilt(tmp_path, [docker_save([release(1)], style, stored)], bundle) == target


def test_layers_that_stay_compressed_do_not_tie_a_bundle_to_their_form(tmp_path: Path):
    """A receiver does not need unchanged layers in compressed form.

    The lowest layer is the same blob on both sides. A receiver that has only the layer's content recompresses the
    layer.
    """
    for write in (DOCKER, SKOPEO, UMOCI, "gzip"):
        target = docker_save([release(2)], "oci", write)
        bundle, result = bundle_of(tmp_path, [docker_save([release(1)], "oci", write)], target)
        assert len(result.manifest.forms) == 1
        for style, stored in (("podman", None), ("oci", write), ("c8d", "zstd"), ("oci", WRITERS["kaniko"])):
            assert rebuilt(tmp_path, [docker_save([release(1)], style, stored)], bundle) == target


def test_the_forms_of_small_layers_are_sure(tmp_path: Path):
    """For a small layer, the search finds the right encoder, even if other encoders differ only at the layer's end."""
    bottom = build_layer([file("etc/motd", b"hello hello hello world\n" * 3)])
    images = [TestImage([bottom, build_layer([file("n", b"%d" % n)])], [f"example.com/app:{n}"]) for n in (1, 2)]
    for write in (*WRITERS.values(), "gzip"):
        target = docker_save([images[1]], "oci", write)
        bundle, _ = bundle_of(tmp_path, [docker_save([images[0]], "oci", write)], target)
        assert rebuilt(tmp_path, [docker_save([images[0]], "podman")], bundle) == target


def test_a_form_that_was_guessed_wrong_is_told(tmp_path: Path):
    target = docker_save([release(2)], "oci", DOCKER)
    bundle, _ = bundle_of(tmp_path, [docker_save([release(1)], "oci", DOCKER)], target)
    reader = BundleReader(io.BytesIO(bundle))
    frames = [reader.frame()[1] for _ in reader.manifest.frames]
    (form,) = reader.manifest.forms
    parts, plain = recompression.read(form.packing)
    for wrong in (
        recompression.write(
            [LIES["another level"](part) if isinstance(part, recompression.Body) else part for part in parts]
        )
        + plain,
        recompression.write([LIES["years "](part) if isinstance(part, recompression.Body) else part for part in parts]),
        b"nonsense",
    ):
        forms = (form._replace(packing=wrong),)
        lying = b"".join(writer.write(dataclasses.replace(reader.manifest, forms=forms), frames))
        with pytest.raises(BaseMismatchError):
            rebuilt(tmp_path, [docker_save([release(1)], "podman")], lying)
        assert rebuilt(tmp_path, [docker_save([release(1)], "oci", DOCKER)], lying) == target


def members(data):
    """Compress into three gzip members, one of them empty, followed by zeros. estargz writes such members."""
    return b"".join(map(DOCKER, (data[:30_000], b"", data[30_000:]))) + bytes(700)


def extra(data):
    """Compress with gzip, with every optional field in the header."""
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\x04\0abcd" + b"name\0" + b"a comment\0"
    return DOCKER(data).replace(GO_HEADER, head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little"), 1)


def junk(data):
    """Compress with gzip, and add junk. A base with junk cannot be read, but a target with junk can be rebuilt."""
    return DOCKER(data) + b"junk behind it"


@pytest.mark.parametrize("write", [members, extra, junk])
def test_odd_gzip(tmp_path: Path, write, raw_size: int):
    base = docker_save([release(1)], "oci", DOCKER if write is junk else write)
    result = check(tmp_path, [base], docker_save([release(2)], "oci", write))
    assert result.size < raw_size + 1500
    assert result.manifest.reencoders == (encoders.GO << 4 | 6,)


def test_what_nobody_can_make_again_travels_as_it_is(tmp_path: Path):
    def strange(data):
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY)
        return GO_HEADER + deflater.compress(data) + deflater.flush() + bytes(8)

    def other(data):
        """Compress with a window that zstd does not use at any level up to 19."""
        stream = zstandard.ZstdCompressor(level=20, write_content_size=False).compressobj()
        return stream.compress(data) + stream.flush()

    for write in (strange, lambda data: DOCKER(data)[:-200], other):
        base, target = (docker_save([release(number)], "podman", write) for number in (1, 2))
        result = check(tmp_path, [base], target)
        assert result.manifest.reencoders == ()
        if write == other:  # a target with raw layers still uses the base's content
            assert check(tmp_path, [base], docker_save([release(2)], "podman")).size < len(target) // 20


def test_bundles_that_recompress_nothing_need_no_encoder(tmp_path: Path):
    base, target = (docker_save([release(number)], "oci", DOCKER) for number in (1, 2))
    plain = CreateOptions(level=3, recompress=False)
    assert check(tmp_path, [base], target, plain).manifest.reencoders == ()


def test_a_bomb_of_a_layer_is_carried_as_it_is(tmp_path: Path):
    zeros = build_layer([file("zeros", bytes(60 << 20))])
    target = docker_save([TestImage([zeros], ["example.com/app:1"])], "oci", "gzip")
    result = check(tmp_path, [docker_save([release(1)], "oci")], target)
    assert result.manifest.reencoders == ()
    assert result.size < len(target) + 2000


def test_of_a_bomb_no_more_is_inflated_than_could_be_made_again():
    stored = MemoryBytes(DOCKER(bytes(200 << 20)))
    with contextlib.closing(Spool(None)) as spool:
        assert unpack_layer(stored, spool) is None
        assert spool.size < 17 * stored.size + (2 << 20)


@pytest.mark.parametrize("is_made", [False, True])
def test_of_a_bomb_in_a_base_not_all_is_inflated(monkeypatch: pytest.MonkeyPatch, is_made: bool):
    monkeypatch.setattr(match_images, "FREE_CONTENT", 1 << 20)
    monkeypatch.setattr(budget, "MADE_FLOOR", 1 << 20)
    blob = Blob(Entry(0, 0, 512, 0, 0, b"", b"", 0x30, True), "layer", "gzip", None, None)
    stored = match_images.StoredBlob(blob, MemoryBytes(gzip.compress(bytes(200 << 20), mtime=0)), bytes(32))
    with contextlib.closing(Spool(None)) as spool:
        archive = SimpleNamespace(is_of_bundle=is_made, bytes=stored.source)
        (found,) = match_images.inflate_all(archive, [stored], lambda: spool)
        assert found.layer is None
        assert spool.size < 64 * stored.source.size + (3 << 20)


def test_members_are_searched_with_the_encoders_that_are_left():
    """Several encoders give the first member. A later member rules out all of these encoders except one.

    The last members were written by a different encoder.
    """
    content = [b"a", noise(7, 40_000) + text(8, 90_000), text(9, 30_000), b"", text(10, 50_000)]
    slow = compressor(encoders.GO, 9)
    stored = MemoryBytes(b"".join([*map(slow, content[:-1]), SKOPEO(content[-1]), slow(content[1])]))
    with contextlib.closing(Spool(None)) as spool:
        found = unpack_layer(stored, spool)
        assert found
        assert spool.read_at(0, spool.size) == b"".join([*content, content[1]])
    bodies = [part.recipe for part in found.parts if isinstance(part, recompression.Body)]
    assert [body.encoder for body in bodies] == [encoders.GO] * 4 + [encoders.PGZIP_1, encoders.GO]
    assert not any(body.edits for body in bodies)


def test_the_smallest_layers_are_made_again(tmp_path: Path):
    """The smallest layers are recompressed, although they are mostly zeros. Compressed, they are over sixteen times
    smaller.
    """
    tiny = [build_layer([file(f"usr/{k}", b"%d" % k)]) + bytes(6144) for k in range(40)]
    base, target = (
        docker_save([TestImage(layers)], "oci", write) for layers, write in ((tiny[:3], None), (tiny, DOCKER))
    )
    assert len(DOCKER(tiny[0])) * 16 < len(tiny[0])
    assert check(tmp_path, [base], target).manifest.reencoders == (encoders.GO << 4 | 6,)


def test_of_a_bomb_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch):
    """For a decompression bomb, no encoder is guessed. To try an encoder, dib would have to encode gigabytes, because
    the bomb's first megabytes inflate to gigabytes.
    """
    content = bytes(20 << 20)
    stored = MemoryBytes(DOCKER(content))
    monkeypatch.setattr(search.Search, "feed", None)
    assert guess(stored, len(content)) is None


@pytest.mark.parametrize("name", ["gzip", "slow zlib"])
def test_slow_levels_are_found_where_layers_get_four_times_smaller(tmp_path: Path, name: str):
    """The search finds level -9, although this level costs more to try than other levels. Here, the layer becomes
    nearly four times smaller.
    """
    words = b"".join(text(i % 50, 36) + text(1000 + i, 24) for i in range(9_000))
    write = {"gzip": WRITERS["gzip"], "slow zlib": compressor(encoders.ZLIB, 9, 8)}[name]
    images = [TestImage([build_layer([file("words", words + extra)])]) for extra in (b"", b"more")]
    assert 3 < len(images[0].layers[0]) / len(write(images[0].layers[0])) < 4
    assert check(tmp_path, [docker_save(images[:1], "podman")], docker_save(images[1:], "oci", write)).size < 3000


# ---------------------------------------------------------------- hostile recompression recipes


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    base, target = docker_save([release(1)], "podman"), docker_save([release(2)], "oci", DOCKER)
    bundle, _ = bundle_of(folder, [base], target, FAST)
    reader = BundleReader(io.BytesIO(bundle))
    return folder, base, target, reader.manifest, [reader.frame() for _ in reader.manifest.frames]


def attempt(packed, manifest, frames):
    """Apply a bundle of these parts with corrected digests. Assert that the output is a prefix of the target."""
    folder, base, target, _, _ = packed
    data = b"".join(writer.write(manifest, [stored for _, stored in frames]))
    out = io.BytesIO()
    (folder / "base.tar").write_bytes(base)
    try:
        with open_archive(folder / "base.tar") as archive, Context() as context:
            rebuild_target([archive], BundleReader(io.BytesIO(data)), out.write, RebuildOptions(), context)
    finally:
        assert target.startswith(out.getvalue())
    return out.getvalue()


def with_columns(manifest: Manifest, **numbers) -> Manifest:
    columns = manifest.targets[0].columns.rewound()
    changed = {
        name: Column(bytes(value) if name == "ops" else bytes(ColumnWriter(value).data), name)
        for name, value in numbers.items()
    }
    target = manifest.targets[0]._replace(
        columns=Columns(**{name: getattr(columns, name) for name in COLUMN_NAMES} | changed)
    )
    return dataclasses.replace(manifest, targets=(target,))


def numbers_of(columns: Columns, name: str) -> list[int]:
    column = getattr(columns, name).rewound()
    values = []
    while column.position < len(column.data):
        values.append(column.next())
    return values


def test_the_parts_make_the_target(packed):
    assert attempt(packed, packed[3], packed[4]) == packed[2]


@pytest.mark.parametrize("by", [-1, 1, 512])
@pytest.mark.parametrize("column", ["packed", "packing"])
def test_lengths_that_lie(packed, column: str, by: int):
    manifest, frames = packed[3:]
    values = numbers_of(manifest.targets[0].columns, column)
    with pytest.raises(BundleError):
        attempt(packed, with_columns(manifest, **{column: [values[0] + by, *values[1:]]}), frames)


def test_begins_and_ends_that_do_not_match(packed):
    manifest, frames = packed[3:]
    ops = manifest.targets[0].columns.ops.data
    begin, end = ops.index(10), ops.index(11)
    for wrong in (
        ops[:end] + ops[end + 1 :],
        ops[:begin] + ops[begin + 1 :],
        ops[: begin + 1] + b"\x0a" + ops[begin + 1 :],
        ops[: end + 1] + b"\x0b" + ops[end + 1 :],
        ops[:end] + ops[end + 1 :] + b"\x0b\x0b",
    ):
        with pytest.raises(BundleError):
            attempt(packed, with_columns(manifest, ops=wrong), frames)


def test_a_packing_of_an_absurd_size_is_refused(packed):
    manifest, frames = packed[3:]
    values = numbers_of(manifest.targets[0].columns, "packing")
    with pytest.raises(BundleError, match="over a limit"):
        attempt(packed, with_columns(manifest, packing=[1 << 40, *values[1:]]), frames)


def with_packing(packed, change):
    """Return the manifest and the frames, after changing the parts of the first recompression recipe.

    Text frames keep their size.
    """
    manifest, frames = packed[3:]
    number = next(n for n, (frame, _) in enumerate(frames) if frame.stream == 0)
    frame, stored = frames[number]
    digest_text = manifest.targets[0].digest_text()
    plain = decoders.decode(frame.codec, stored, digest_text if frame.sources else b"", frame.size)
    sizes = numbers_of(manifest.targets[0].columns, "packing")
    at = next(k for k in range(len(plain)) if _is_packing(plain[k : k + sizes[0]]))
    parts, rest = recompression.read(bytes(plain[at : at + sizes[0]]))
    data = recompression.write(change(parts)) + rest
    data = plain[:at] + data + plain[at + sizes[0] :]
    payload = zstd.compress(bytes(data), 3)
    new = frame._replace(
        codec=decoders.ZSTD,
        stored=len(payload),
        size=len(data),
        digest=digest.sha256(payload),
        implied=False,
        source_size=0,
        sources=(),
    )
    changed = [*frames[:number], (new, payload), *frames[number + 1 :]]
    used = tuple(sorted({item.codec for item, _ in changed}))
    manifest = dataclasses.replace(manifest, codecs=used, frames=tuple(item for item, _ in changed))
    return with_columns(manifest, packing=[sizes[0] + len(data) - len(plain), *sizes[1:]]), changed


def _is_packing(data):
    try:
        parts, rest = recompression.read(bytes(data))
    except BundleError:
        return False
    return len(parts) == 3 and recompression.plain_size(parts) == len(rest) == 18


def body(parts):
    return next(part for part in parts if isinstance(part, recompression.Body))


LIES = {
    "another level": lambda part: part._replace(recipe=part.recipe._replace(level=1)),
    "another encoder": lambda part: part._replace(recipe=part.recipe._replace(encoder=encoders.GNU)),
    "no such level": lambda part: part._replace(recipe=part.recipe._replace(level=13)),
    "no such encoder": lambda part: part._replace(recipe=part.recipe._replace(encoder=77)),
    "a parameter too many": lambda part: part._replace(recipe=part.recipe._replace(parameter=5)),
    "less content": lambda part: part._replace(content=part.content - 1),
    "more content": lambda part: part._replace(content=part.content + 1),
    "years ": lambda part: part._replace(content=1 << 50),
}


@pytest.mark.parametrize("lie", LIES)
def test_packings_that_lie(packed, lie: str):
    manifest, frames = with_packing(
        packed, lambda parts: [LIES[lie](part) if part is body(parts) else part for part in parts]
    )
    with pytest.raises(DibError):
        attempt(packed, manifest, frames)


def test_the_same_packing_still_makes_the_target(packed):
    manifest, frames = with_packing(packed, lambda parts: parts)
    assert attempt(packed, manifest, frames) == packed[2]


def test_gzip_of_python_is_what_jib_writes(tmp_path: Path):
    if "zlib-ng" in zlib.ZLIB_RUNTIME_VERSION:
        pytest.skip("this Python's zlib is zlib-ng, whose bytes are others")
    data = text(9, 200_000)
    assert gzip.compress(data, 6, mtime=0)[10:] == WRITERS["jib"](data)[10:]


def test_a_damaged_copy_of_a_layer_hides_no_whole_one(tmp_path: Path) -> None:
    """A damaged copy of a layer does not hide a sound copy.

    If the first copy is truncated, create uses the second copy.
    """
    layer = build_layer([file("a", noise(1, 9000))])
    packed = gzip.compress(layer, mtime=0)
    members, entries = [], []
    for number, blob in enumerate((packed[:-3], packed)):
        config = TestImage([layer], [f"app:{number}"]).config_bytes() + b" " * number
        members += [file(f"c{number}.json", config), file(f"l{number}.tar.gz", blob)]
        entries.append({"Config": f"c{number}.json", "RepoTags": [], "Layers": [f"l{number}.tar.gz"]})
    base, target, bundle = (tmp_path / name for name in ("base.tar", "target.tar", "out.dib"))
    base.write_bytes(build_layer([*members, file("manifest.json", json.dumps(entries).encode())]))
    target.write_bytes(docker_save([TestImage([layer, build_layer([file("b")])], ["app:2"])]))
    succeed("create", base, target, bundle)
    assert succeed("apply", base, bundle).out == target.read_bytes()

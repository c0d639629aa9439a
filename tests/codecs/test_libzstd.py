"""Frames of the zstd program. If libzstd has the same version as the program, dib finds recipes for these frames, and
rebuilds the frames.
"""

import shutil
import subprocess

import pytest
import zstandard

from dibundle.codecs import recompression, reencoders
from dibundle.codecs.deflate.recipe import Recipe, rebuild
from dibundle.codecs.frames import libzstd
from dibundle.codecs.frames.candidates import CANDIDATES
from dibundle.codecs.frames.describe import describe
from dibundle.codecs.frames.layout import find_blocks
from dibundle.codecs.frames.libzstd import (
    CHECKSUM,
    FAMILIES,
    JOBS,
    LIBZSTD_157,
    LIBZSTD_157_HIGH,
    SIZED,
    LibraryEncoder,
)
from dibundle.codecs.frames.search import FrameSearch
from dibundle.codecs.recompression import Body
from dibundle.creating.compose.reframed import guess_frame
from dibundle.errors import BundleError, FileError
from dibundle.files.readat import MemoryBytes
from tests import needs
from tests.codecs.bodies import NOISE, NUMBERS, TEXT, ZEROS
from tests.reference import decoder

MIXTURE = TEXT[:300_000] + NOISE[:100_000] + NUMBERS[:200_000] + ZEROS + TEXT[100_000:300_000]
CONTENTS = {
    "nothing": b"",
    "a line": b"a line\n",
    "a block": TEXT[:131_072],
    "blocks": TEXT[:262_144],
    "text": TEXT[:300_000],
    "noise": NOISE[:100_000],
    "zeros": ZEROS,
    "mixture": MIXTURE,
}
KEYS = [(number, level, 1 + level % 7) for number, family in FAMILIES.items() for level in family.levels]


def encode(key, content, piece=1 << 20):
    it = LibraryEncoder(*key, len(content), tested=False)
    return b"".join(it.write(content[at : at + piece]) for at in range(0, len(content), piece)) + it.finish()


def found(frame):
    """Return the recipe of a frame.

    Assert that the frame's content is right, and that the recipe rebuilds the frame.
    """
    stored, content = MemoryBytes(frame), bytearray()
    recipe = FrameSearch().find(stored, find_blocks(stored, 0, 1 << 20), 0, content.extend)
    if recipe is not None:
        assert b"".join(rebuild(recipe, [content], len(content))) == frame
    return recipe


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_pieces_make_no_difference(key):
    content = MIXTURE[200_000:800_000]
    whole = encode(key, content)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(whole) == content
    assert encode(key, content, 77_777) == whole
    assert decoder().encode(content, *key) == whole


def test_an_encoder_that_is_used_again_gives_what_a_new_one_gives():
    for parameter in range(8):
        encoder = LibraryEncoder(LIBZSTD_157, 5, parameter, 0, tested=False)
        encoder.finish()
        for content in (MIXTURE, b"", TEXT[:70_000], NOISE[:9]):
            encoder.restart(len(content))
            assert encoder.write(content) + encoder.finish() == encode((LIBZSTD_157, 5, parameter), content)


@pytest.mark.parametrize("parameter", range(8))
def test_marks_are_where_blocks_start(parameter):
    for content in (MIXTURE, b"", TEXT[:131_072]):
        encoder = LibraryEncoder(LIBZSTD_157, 3, parameter, len(content), tested=False)
        frame = b"".join(encoder.write(content[at : at + 50_000]) for at in range(0, len(content), 50_000))
        frame += encoder.finish()
        assert find_blocks(MemoryBytes(frame), 0, 100).blocks == encoder.marks()


def test_every_level_proves_itself():
    for number, family in FAMILIES.items():
        for level in family.levels:
            reencoders.prove(number, level)


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(zstandard, "ZSTD_VERSION", (1, 5, 6))
    libzstd.prove.cache_clear()
    assert libzstd.here() is None
    with pytest.raises(FileError, match=r"needs libzstd 1\.5\.7 .* on this machine has 1\.5\.6") as refusal:
        LibraryEncoder(LIBZSTD_157, 3, 0, None)
    assert refusal.value.code == "library.libzstd_version"
    assert "zstandard>=0.24" in (refusal.value.hint or "")
    assert "--raw-layers" in (refusal.value.hint or "")
    libzstd.prove.cache_clear()


def test_a_library_that_gives_other_bytes_is_refused(monkeypatch):
    monkeypatch.setitem(libzstd._PROOFS, LIBZSTD_157, {3: "0" * 16})
    libzstd.prove.cache_clear()
    with pytest.raises(FileError, match=r"libzstd 1\.5\.7 does not work at level 3 on this machine"):
        LibraryEncoder(LIBZSTD_157, 3, 0, None)
    libzstd.prove.cache_clear()


def test_content_of_another_size_than_declared():
    encoder = LibraryEncoder(LIBZSTD_157, 3, SIZED, 100)
    encoder.write(b"too little")
    with pytest.raises(BundleError, match="libzstd cannot create the frame"):
        encoder.finish()
    encoder = LibraryEncoder(LIBZSTD_157, 3, SIZED, 10)
    with pytest.raises(BundleError, match="libzstd cannot create the frame"):
        encoder.write(MIXTURE)


def test_tables_are_counted():
    costs = [recompression.cost([Body(1000, Recipe(number, level, 0))]) for number, level, _ in KEYS]
    assert costs == sorted(costs)
    assert costs[-1] - costs[0] == 65_536 - 8192 + 1000


# ---------------------------------------------------------------- the program


@pytest.fixture
def zstd():
    needs.programs("zstd")
    if b"1.5.7" not in subprocess.run(["zstd", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("zstd is another version than 1.5.7")
    return shutil.which("zstd")


@pytest.mark.parametrize(
    ("level", "options"), [(1, "-T0"), (3, ""), (3, "-T3 --no-check"), (9, "--single-thread"), (19, "")]
)
@pytest.mark.parametrize("name", CONTENTS)
def test_frames_of_the_program(zstd, tmp_path, name, level, options):
    """Frames of the program are rebuilt from their recipes.

    If a file's size is a multiple of 128 KiB, the recipe stores the last block. Otherwise, the recipe needs no edits.
    """
    content = CONTENTS[name]
    (tmp_path / "content").write_bytes(content)
    command = [zstd, "-q", "-c", f"-{level}", *options.split()]
    of_file = subprocess.run([*command, str(tmp_path / "content")], capture_output=True, check=True).stdout
    of_pipe = subprocess.run(command, input=content, capture_output=True, check=True).stdout
    for frame, flags in ((of_file, SIZED), (of_pipe, 0)):
        recipe = found(frame)
        assert recipe
        assert len(recipe.edits) <= (len(content) % 131_072 == 0)
        # other content is too simple: several levels, or even klauspost's encoder, give the same frame
        if name == "mixture":
            assert recipe.parameter & ~JOBS == flags | (0 if "--no-check" in options else CHECKSUM)
            assert libzstd.library_level(recipe.encoder, recipe.level) == level


def test_jobs_are_told_from_one_thread(zstd):
    content = MIXTURE * 9  # at level 1, each job compresses 2 MiB
    for options, jobs in (([], JOBS), (["--single-thread"], 0)):
        command = [zstd, "-q", "-c", "-1", *options]
        frame = subprocess.run(command, input=content, capture_output=True, check=True).stdout
        recipe = found(frame)
        assert recipe == Recipe(LIBZSTD_157, 1, CHECKSUM | jobs)
        packing = guess_frame(MemoryBytes(frame), len(content))
        assert packing
        parts, _ = recompression.read(packing)
        assert [*recompression.Recompressor(parts, b"").write(content)]
        assert parts == [Body(len(content), recipe)]


# ---------------------------------------------------------------- frames without a recipe


def test_other_versions_are_described(monkeypatch):
    settings = zstandard.ZstdCompressionParameters.from_level(3, hash_log=8, chain_log=8, write_checksum=True)
    frame = zstandard.ZstdCompressor(compression_params=settings).compress(MIXTURE)
    assert found(frame) is None
    writer, size = describe(MemoryBytes(frame))
    assert writer
    assert "libzstd (such as the zstd program) of another version than 1.5.7" in writer
    assert size == len(MIXTURE)
    large = zstandard.ZstdCompressor(level=22, write_content_size=False).compressobj()
    frame = large.compress(MIXTURE) + large.flush()
    assert "level above 19" in (describe(MemoryBytes(frame))[0] or "")
    one = zstandard.ZstdCompressor().compress(b"one")
    assert "many frames" in (describe(MemoryBytes(one + one))[0] or "")
    for other in (b"", b"abc", one[:-1]):
        assert describe(MemoryBytes(other)) == (None, None)


def test_versions_that_are_not_here_are_not_looked_for():
    assert {one.encoder for one in CANDIDATES if one.is_library} == {LIBZSTD_157, LIBZSTD_157_HIGH}

import ctypes
import gc
import mmap
import os
import random
import re
import shutil
import subprocess
import sys
import zlib
from array import array
from pathlib import Path

import pytest

import dibundle
from dibundle.codecs import cover, relink, sparse, vcdiff
from dibundle.codecs.deflate import encoders, search
from dibundle.codecs.deflate import recipe as recipes
from dibundle.codecs.encode import anchors, covers, relinker
from dibundle.codecs.frames import encoders as framing
from dibundle.codecs.native import build, library
from dibundle.codecs.native.library import _SIGNATURES as SIGNATURES
from dibundle.codecs.native.library import LIBRARY, Pinned, unfilled
from dibundle.errors import FileError
from tests import pairs
from tests.codecs import bodies, programs


def copied(tmp_path: Path, library: bytes | None) -> dict[str, str]:
    """Return an environment with a copy of the package. In this copy, the library is ``library``, or is missing if
    ``library`` is None.
    """
    shutil.copytree(build.FOLDER.parent.parent, tmp_path / "dibundle", ignore=shutil.ignore_patterns("__pycache__"))
    place = tmp_path / "dibundle/codecs/native" / build.LIBRARY
    place.unlink()
    if library is not None:
        place.write_bytes(library)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(("library", "reason"), [(None, "not there"), (b"no library", "not there")])
def test_without_the_library_each_command_says_so(tmp_path: Path, library: bytes | None, reason: str) -> None:
    env = copied(tmp_path, library)
    dib = [sys.executable, "-m", "dibundle"]
    made = pairs.make(tmp_path, megabytes=1)
    out = tmp_path / "new.dib"
    done = subprocess.run(
        [*dib, "create", made.base, made.target, out],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == FileError.exit_code
    assert f"dib's C library is {reason}" in done.stderr
    assert "hint: in a checkout of dib: " in done.stderr
    assert not out.exists()
    told = subprocess.run([*dib, "doctor"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "Traceback" not in told.stderr + done.stderr


def test_a_library_of_another_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "header", lambda: 5)
    with pytest.raises(FileError, match="dib's C library is of another version"):
        library._load().dib_open()


def test_the_library_was_built_with_the_header_that_is_here():
    assert LIBRARY.dib_open() == build.header()


def test_the_signatures_are_those_of_the_header():
    text = (build.FOLDER / "dib.h").read_text()
    found = {
        name: [
            ctypes.c_void_p if "*" in argument else ctypes.c_int64 for argument in listed.split(",") if listed != "void"
        ]
        for name, listed in re.findall(r"EXPORT (?:int64_t|void) (dib_\w+)\(([^)]*)\);", text)
    }
    assert found == {**SIGNATURES, "dib_open": []}


def _mapped(data: bytes) -> mmap.mmap:
    mapped = mmap.mmap(-1, max(1, len(data)))
    mapped[: len(data)] = data
    return mapped


KINDS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "read-only view": lambda data: memoryview(bytes(data)),
    "writable view": lambda data: memoryview(bytearray(data)),
    "slice of a read-only view": lambda data: memoryview(b"before" + data + b"behind")[6 : 6 + len(data)],
    "slice of a writable view": lambda data: memoryview(bytearray(b"before" + data + b"behind"))[6 : 6 + len(data)],
    "every second byte of a view": lambda data: memoryview(bytes(value for byte in data for value in (byte, 7)))[::2],
    "mmap": lambda data: memoryview(_mapped(data))[: len(data)],
    "array": lambda data: array("B", data),
}


@pytest.mark.parametrize("data", [b"", b"a", b"abcdef"])
@pytest.mark.parametrize("kind", KINDS)
def test_pinned_takes_every_kind_of_buffer(kind: str, data: bytes) -> None:
    pinned = Pinned(KINDS[kind](data))
    assert pinned.size == len(data)
    address = ctypes.c_void_p.from_param(pinned)  # the conversion that ctypes applies to a c_void_p argument
    assert ctypes.string_at(pinned._as_parameter_, len(data)) == data
    assert address


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(bytearray()), array("q")])
def test_an_empty_buffer_has_an_address(empty) -> None:
    """An empty buffer has an address. A null pointer would be wrong, because C does not define adding 0 to it."""
    pinned = Pinned(empty)
    assert pinned.size == 0
    assert pinned._as_parameter_


def test_a_place_in_a_buffer_holds_all_of_it() -> None:
    place = Pinned(memoryview(bytes(range(200)))).at(3)  # the ``Pinned`` of the whole buffer is already freed here
    gc.collect()
    assert (ctypes.string_at(place._as_parameter_, 4), place.size) == (bytes(range(3, 7)), 197)
    with pytest.raises(IndexError):
        place.at(198)


def test_no_code_asks_for_an_address_alone() -> None:
    """No code passes only a buffer's address to a C function. Instead, the code passes the object, so that the call
    keeps the buffer alive.
    """
    for path in Path(dibundle.__file__).parent.rglob("*.py"):
        assert "_as_parameter_" not in path.read_text() or path.name == "library.py", path
        assert not re.search(r"Pinned\([^()]*\)\.[a-z]", path.read_text()), path


@pytest.mark.parametrize("kind", KINDS)
def test_anchors_of_3_mb_in_any_kind_of_buffer(kind: str) -> None:
    """Anchors are found in buffers of 3 MB, of any kind.

    If a copy is freed too early, this test fails, because memory of this size is returned to the system immediately.
    """
    data = random.Random(3).randbytes(3 << 20)
    assert list(anchors.find(KINDS[kind](data), KINDS[kind](data), stride=64)) == [0, 0, len(data)]


def _work() -> list[object]:
    """Call every C function that takes a buffer, and return the results."""
    made: list[object] = []
    for machine in (programs.X86_64, programs.AARCH64):
        source, target = programs.versions(machine, 60, 40, 8)
        payload = relinker.encode(source, target, effort=9)
        assert payload is not None
        made += [payload, bytes(relink.decode(payload, source, len(target)))]
    found = covers.find(source, target)
    found.check(len(source), len(target))
    for encode, decode in ((cover.encode, cover.decode), (vcdiff.encode, vcdiff.decode)):
        payload = encode(source, target, found)
        made += [payload, bytes(decode(payload, source, len(target)))]
    fast = cover.encode(source, target * 2, covers.find(source, target * 2), effort=1)
    parts = sparse.split(target)
    sparse.join(*parts, memoryview(back := bytearray(target)))
    made += [fast, parts, bytes(back)]
    made.append(list(anchors.bridged(anchors.find(source, target, stride=8), most=100)))
    text = random.Random(1).randbytes(3000) + b"abcabcabd" * 30_000
    for encoder, level, parameter in ((1, 6, 0), (encoders.GNU, 6, 0), (encoders.PIGZ, 6, 512)):
        body = bodies.encode(encoder, level, parameter, text)
        made += [body, bodies.inflate(body)[:2]]
    odd = zlib.compressobj(6, zlib.DEFLATED, -15, 7)
    real = b"".join((odd.compress(text), odd.flush(zlib.Z_SYNC_FLUSH), odd.compress(text), odd.flush()))
    content: list[bytes] = []
    recipe = search.find([real], content.append).recipe
    if recipe is not None:
        made.append(b"".join(recipes.rebuild(recipe, [b"".join(content)])))
    made.append(
        encoders.encode_frame(next(filter(encoders.is_pgzip, encoders.FAMILIES)), 5, text[:16384], text, last=True)
    )
    joiner = encoders.Joiner()
    for start, end, after in ((0, 65536, 65536), (65536, len(text), 0)):
        encoders.SearchedPiece(6, start, text[: end + after], start, after)
        made.append(joiner.join(encoders.SearchedPiece(6, start, text[: end + after], start, after)))
    frames = framing.FrameEncoder(framing.KLAUSPOST_17, framing.DEFAULT, tested=False)
    made += [frames.write(text), frames.finish(), frames.marks()]
    frames.restart(8)
    made += [frames.write(text), frames.finish()]
    recipes.copy_bits(out := bytearray(100), 3, text[:90], 5, 600)
    made += [bytes(out), search._same_bits(text[:90], 5, bytes(out), 3, 700)]
    made.append(len(unfilled(40 << 20)))
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_function_with_every_kind_of_buffer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _work()
    pin = Pinned.__init__

    def other_kind(self: Pinned, data: object) -> None:
        pin(self, KINDS[kind](data) if isinstance(data, bytes) else data)

    called: set[str] = set()

    def recorded(name: str, function: object) -> object:
        def call(*arguments: object) -> object:
            called.add(name)
            return function(*arguments)

        return call

    for name in SIGNATURES:
        monkeypatch.setattr(LIBRARY, name, recorded(name, getattr(LIBRARY, name)))
    monkeypatch.setattr(Pinned, "__init__", other_kind)
    assert _work() == expected
    assert called == set(SIGNATURES) - {"dib_deflate_frame"}  # takes no buffer

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import vcdiff
from dibundle.codecs.encode.covers import Covers, find
from dibundle.errors import BundleError
from tests import reference
from tests.codecs.mutate import code_like, edits

try:
    import vcdiff_decoder
except ImportError:
    vcdiff_decoder = None

SHARED = Path(os.environ.get("DIB_SHARED", Path(__file__).parents[3] / "shared"))
FIXTURES = SHARED / "fixtures"


def absent(what: str) -> None:
    if os.environ.get("DIB_REQUIRE") == "1":
        pytest.fail(f"{what}, and DIB_REQUIRE=1 asks for it")
    pytest.skip(what)


def fixture(path: str) -> bytes:
    file = FIXTURES / path
    if not file.exists():
        absent(f"no fixture {path} under DIB_SHARED or ../shared")
    return file.read_bytes()


def ably(kind: str) -> list[str]:
    root = FIXTURES / "ably+vcdiff-tests"
    cases = sorted(str(path.parent.relative_to(root)) for path in root.rglob("delta.vcdiff"))
    return [case for case in cases if ("negative" in case) == (kind == "negative")] or ["absent"]


def outcome(delta: bytes, source: bytes, size: int) -> bytes | None:
    try:
        return vcdiff.decode(delta, source, size)
    except BundleError:
        return None


@pytest.mark.parametrize("case", ably("positive"))
def test_ably_positive(case):
    delta, source, target = (fixture(f"ably+vcdiff-tests/{case}/{n}") for n in ("delta.vcdiff", "source", "target"))
    assert vcdiff.decode(delta, source, len(target)) == target


@pytest.mark.parametrize("case", ably("negative"))
def test_ably_negative(case):
    delta, source = (fixture(f"ably+vcdiff-tests/{case}/{n}") for n in ("delta.vcdiff", "source"))
    for size in (0, 1, 4, 5, 8, 10, 13, 20, 100, len(source), 1000):
        with pytest.raises(BundleError, match="malformed bundle: vcdiff"):
            vcdiff.decode(delta, source, size)


def test_xdelta3_with_checksum_and_application_header():
    delta, source, target = (fixture(f"jmacd+xdelta/file_{n}.bin") for n in ("v1_to_v2", "v1", "v2"))
    assert vcdiff.decode(delta, source, len(target)) == target
    for at in range(100, len(delta), 997):
        broken = delta[:at] + bytes([delta[at] ^ 1]) + delta[at + 1 :]
        assert outcome(broken, source, len(target)) in (None, target)


def test_xdelta3_without_checksum():
    source, target = (fixture(f"ehrmann+vcdiff-java/configure.ac.v0.{n}") for n in (1, 2))
    assert vcdiff.decode(fixture("ehrmann+vcdiff-java/xdelta3.vcdiff"), source, len(target)) == target


@pytest.mark.parametrize("number", range(6))
def test_sdch_is_refused(number):
    source = fixture("ehrmann+vcdiff-java/configure.ac.v0.1")
    with pytest.raises(BundleError, match="starts with d6c3c453"):
        vcdiff.decode(fixture(f"ehrmann+vcdiff-java/configure.ac.vcdiff.{number}"), source, 1406)


def test_secondary_compression_is_refused(tmp_path):
    program = shutil.which("xdelta3") or absent("no xdelta3 program on PATH")
    (tmp_path / "target").write_bytes(code_like(50_000))
    command = [program, "-e", "-D", "-S", "lzma", "target", "delta"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(BundleError, match="secondary"):
        vcdiff.decode((tmp_path / "delta").read_bytes(), b"", 50_000)


@pytest.mark.parametrize(
    ("delta", "source"),
    [("allocates_4gb.vcdiff", None), ("size-overflow-delta", "size-overflow-dictionary")],
)
def test_open_vcdiff_negatives(delta, source):
    with pytest.raises(BundleError):
        vcdiff.decode(
            fixture(f"google+open-vcdiff/{delta}"), fixture(f"google+open-vcdiff/{source}") if source else b"", 9
        )
    # give the delta a standard header; otherwise, dib would refuse the delta for its version
    body = fixture(f"google+open-vcdiff/{delta}")[4:]
    with pytest.raises(BundleError):
        vcdiff.decode(vcdiff.MAGIC + body, b"", 9)


@given(edits())
@settings(max_examples=80, deadline=None)
def test_decode_undoes_encode(pair):
    source, target = pair
    delta = vcdiff.encode(source, target, find(source, target))
    assert vcdiff.decode(delta, source, len(target)) == target
    assert reference.decoder().vcdiff(delta, len(target), source) == target


def test_several_windows(monkeypatch):
    monkeypatch.setattr(vcdiff, "WINDOW_SIZE", 1000)
    source = code_like(9000)
    target = source[:4000] + b"new" * 30 + source[3000:] + bytes(1500)
    delta = vcdiff.encode(source, target, find(source, target))
    assert vcdiff.decode(delta, source, len(target)) == target
    assert vcdiff.encode(source, b"", Covers()) == vcdiff.MAGIC + b"\0\0\5\0\0\0\0\0"


def broken_cases() -> tuple[bytes, int, list[bytes]]:
    source = code_like(3000)
    target = source[500:1500] + b"fresh" + bytes(100) + source[:700]
    delta = vcdiff.encode(source, target, find(source, target))
    rng = random.Random(11)
    cases = [delta[:n] for n in range(len(delta))] + [delta + b"\0", delta + delta[5:]]
    for _ in range(600):
        broken = bytearray(delta)
        for _ in range(rng.randrange(1, 3)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        cases.append(bytes(broken))
    return source, len(target), cases


def by_reference(delta: bytes, source: bytes, size: int) -> bytes | None:
    return reference.outcome(lambda: reference.decoder().vcdiff(delta, size, source))


def test_damage_is_refused_as_by_the_reference_decoder():
    source, size, cases = broken_cases()
    found = [outcome(case, source, size) for case in cases]
    assert found == [by_reference(case, source, size) for case in cases]
    assert found.count(None) > 200


@given(st.binary(max_size=60), st.integers(0, 50))
@settings(max_examples=300, deadline=None)
def test_random_sections_give_what_the_reference_decoder_makes(body, size):
    cut = len(body) // 3
    parts = body[:cut], body[cut : 2 * cut], body[2 * cut :]
    rest = vcdiff._number(size) + b"\0" + b"".join(vcdiff._number(len(part)) for part in parts) + b"".join(parts)
    delta = vcdiff.MAGIC + b"\0\1" + vcdiff._number(20) + vcdiff._number(3) + vcdiff._number(len(rest)) + rest
    assert outcome(delta, bytes(range(30)), size) == by_reference(delta, bytes(range(30)), size)


@given(st.binary(max_size=60), st.integers(0, 1 << 50))
def test_random_bytes_raise_bundle_error_alone(body, size):
    outcome(body, b"source" * 10, size)
    outcome(vcdiff.MAGIC + body, b"source" * 10, size)


def test_a_target_segment_and_a_copy_of_its_own_output():
    # window 0: ADD "abc"; window 1: the segment is "bc" of the target, and COPY 7 from address 0 also copies its own
    # output
    first = b"\0" + bytes([9, 3, 0, 3, 1, 0]) + b"abc" + bytes([4])
    second = bytes([2, 2, 1]) + bytes([7, 7, 0, 0, 1, 1]) + bytes([19 + 4]) + bytes([0])
    delta = vcdiff.MAGIC + b"\0" + first + second
    assert vcdiff.decode(delta, b"", 10) == b"abcbcbcbcb"


@pytest.mark.parametrize("window", [1 << 14, 8 << 20])
def test_stock_xdelta3_decodes_ours(tmp_path, monkeypatch, window):
    program = shutil.which("xdelta3") or absent("no xdelta3 program on PATH")
    monkeypatch.setattr(vcdiff, "WINDOW_SIZE", window)
    source = code_like(300_000)
    target = source[1000:90_000] + bytes(500) + random.Random(2).randbytes(3000) + source[:150_000]
    for name, data in (("source", source), ("delta", vcdiff.encode(source, target, find(source, target)))):
        (tmp_path / name).write_bytes(data)
    command = [program, "-d", "-D", "-R", "-B", str(1 << 20), "-s", "source", "delta", "target"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "target").read_bytes() == target


def test_ours_decodes_stock_xdelta3(tmp_path):
    program = shutil.which("xdelta3") or absent("no xdelta3 program on PATH")
    source = code_like(300_000)
    target = source[1000:90_000] + bytes(500) + random.Random(2).randbytes(3000) + source[:150_000]
    for name, data in (("source", source), ("target", target)):
        (tmp_path / name).write_bytes(data)
    command = [program, "-e", "-D", "-R", "-S", "none", "-9", "-s", "source", "target", "delta"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert vcdiff.decode((tmp_path / "delta").read_bytes(), source, len(target)) == target


def test_pypi_vcdiff_decoder_decodes_ours():
    if vcdiff_decoder is None:
        absent("the package vcdiff-decoder is not installed")
    source = code_like(30_000)
    target = source[1000:9000] + bytes(500) + random.Random(2).randbytes(300) + source[:15_000]
    assert vcdiff_decoder.decode(source, vcdiff.encode(source, target, find(source, target))) == target

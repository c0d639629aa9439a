"""If dib ends a loader's input early, this input has no loadable image and no valid end of an archive."""

from __future__ import annotations

import io
import random
import tarfile

import pytest

from dibundle.applying.gate import Gate
from tests.builders import STYLES, TestImage, build_layer, docker_save, file
from tests.content import noise

IMAGE = TestImage([build_layer([file("a", noise(number, size))]) for number, size in enumerate((1, 511, 512, 9 << 20))])
DOCUMENTS = ("manifest.json", "index.json", "repositories", "oci-layout")


def passed(archive: bytes, seed: int) -> tuple[Gate, io.BytesIO]:
    """Write an archive to a gate, in pieces of odd sizes."""
    draw, out = random.Random(seed), io.BytesIO()
    gate = Gate(out.write)
    at = 0
    while at < len(archive):
        size = draw.choice((1, 100, 511, 512, 513, 4096, 1 << 20))
        gate.write(archive[at : at + size])
        at += size
    return gate, out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("style", STYLES)
def test_all_of_it_comes_once_the_gate_is_open(style, seed: int) -> None:
    archive = docker_save([IMAGE], style)
    gate, out = passed(archive, seed)
    before = out.getvalue()
    assert archive.startswith(before)
    whole = gate.finish()
    assert whole.size == len(archive)
    assert names(whole.read_at(0, whole.size)) == names(archive)  # zeros replace contents, but not headers
    gate.open()
    gate.close()
    assert out.getvalue() == archive
    assert before == b"" or _ends_inside(archive, len(before))
    assert not any(name.encode() in before[:100] for name in DOCUMENTS)


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


@pytest.mark.parametrize("style", ["v25", "oci"])
def test_layers_do_not_wait(style) -> None:
    archive = docker_save([IMAGE], style)
    gate, out = passed(archive, 1)
    gate.close()
    assert len(out.getvalue()) > 9 << 20


@pytest.mark.parametrize("junk", [b"", b"junk", bytes(10240), b"junk" * 300])
def test_the_end_of_the_archive_waits(junk: bytes) -> None:
    layers = build_layer([file(f"blobs/sha256/{number}", noise(number, 1 + 512 * number)) for number in range(5)])
    gate, out = passed(layers + junk, 1)
    gate.close()
    assert _ends_inside(layers, len(out.getvalue()))


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "./index.json", "a/../manifest.json", "/repositories", "MANIFEST.JSON", "x/json", "x/VERSION"],
)
def test_what_could_be_a_document_waits(name: str) -> None:
    archive = build_layer([file("blob", b"b" * 700), file(name, b"[]"), file("more", b"m" * 700)])
    gate, out = passed(archive, 1)
    gate.close()
    assert len(out.getvalue()) == 512 + 699


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"S", b"x", b"L", b"g", b"7"])
def test_what_is_no_plain_file_waits(kind: bytes) -> None:
    info = tarfile.TarInfo("blob2")
    info.type = kind
    archive = build_layer([file("blob", b"b" * 512)])[:-1024] + info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    gate, out = passed(archive, 1)
    gate.close()
    assert len(out.getvalue()) == 512 + 511


def _ends_inside(archive: bytes, size: int) -> bool:
    """Return whether a cut is inside a header or a member's content, so that every reader expects more bytes."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for item in tar:
            if item.offset < size < item.offset_data or item.offset_data <= size < item.offset_data + item.size:
                return True
    return False

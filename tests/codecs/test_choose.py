import gzip

import pytest

from dibundle.codecs import cover, decoders
from dibundle.codecs.encode import choose, elf
from dibundle.codecs.excess import OF_FRAME, Excess
from tests.codecs import programs
from tests.codecs.mutate import code_like
from tests.content import text


@pytest.mark.parametrize("wrong", [b"", b"\xff" * 40, b"\x01" + bytes(30)])
@pytest.mark.slow
def test_a_fault_in_an_encoder_costs_bytes_but_never_a_bundle(monkeypatch, wrong):
    source = code_like(3 << 20)
    target = source[: 1 << 20] + b"something else" + source[(1 << 20) + 9 :]
    monkeypatch.setattr(cover, "encode", lambda *args, **kwargs: wrong)
    made = choose.encode(target, source, choose.Effort())
    assert len(made.payload) < len(target) // 100
    assert decoders.decode(made.codec, made.payload, source, len(target)) == target


def with_embedded(program: bytes, content: bytes) -> bytes:
    """Return a program with the code of ``program`` and an embedded gzip file."""
    (found,) = elf.programs(program)
    code = next(program[part.start : part.start + part.length] for part in found.sections if part.name == b".text")
    packed = gzip.compress(content, 6, mtime=0)
    sections = [(b".text", 1, 6, programs.TEXT, code), (b".rodata", 1, 2, programs.RODATA + 0x100000, packed)]
    return programs._file(programs.X86_64, sections)


def test_a_program_with_few_compressed_bytes_is_relinked(monkeypatch):
    """A program with few compressed bytes is relinked, because the relink codec saves more than the unpack codec.

    Relinking works only while the program's sections are at their original addresses.
    """
    monkeypatch.setattr(choose, "SMALL", 64 << 10)
    versions = programs.versions(programs.X86_64, 900, 40, 5)
    source, target = (with_embedded(data, text(seed, 20_000)) for seed, data in enumerate(versions))
    assert len(target) > choose.SMALL
    found = choose.encode(target, source, choose.Effort())
    assert found.codec == decoders.RELINK
    assert decoders.decode(found.codec, found.payload, source, len(target), excess=Excess(OF_FRAME)) == target


def test_a_compressed_file_behind_a_program_is_looked_into(monkeypatch):
    """If a compressed file follows a program, the compressed file's content is patched. A frame may hold several files.
    In the test, the first file is a program.
    """
    monkeypatch.setattr(choose, "SMALL", 64 << 10)
    versions = programs.versions(programs.X86_64, 300, 40, 5)
    words = text(1, 60_000)
    source, target = (
        data + gzip.compress(words + more, 6, mtime=0) for data, more in zip(versions, (b"old", b"new"), strict=True)
    )
    assert len(target) > 64 << 10
    found = choose.encode(target, source, choose.Effort())
    assert found.codec == decoders.UNPACK
    assert decoders.decode(found.codec, found.payload, source, len(target), excess=Excess(OF_FRAME)) == target

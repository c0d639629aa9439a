import gzip

import pytest

from dibundle.codecs import cover, decoders
from dibundle.codecs.encode import choose
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


def test_a_program_with_few_compressed_bytes_is_relinked(monkeypatch):
    """What those save is less than what relinking does, which needs sections where the program has them."""
    monkeypatch.setattr(choose, "SMALL", 64 << 10)
    versions = programs.versions(programs.X86_64, 900, 40, 5)
    pieces = [gzip.compress(text(seed, 20_000), 6, mtime=0) for seed in (1, 2)]
    source, target = (data + piece for data, piece in zip(versions, pieces, strict=True))
    assert len(target) > choose.SMALL
    found = choose.encode(target, source, choose.Effort())
    assert found.codec == decoders.RELINK
    assert decoders.decode(found.codec, found.payload, source, len(target), excess=Excess(OF_FRAME)) == target

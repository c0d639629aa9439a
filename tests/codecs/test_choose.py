import pytest

from dibundle.codecs import cover, decoders
from dibundle.codecs.encode import choose
from tests.codecs.mutate import code_like


@pytest.mark.parametrize("wrong", [b"", b"\xff" * 40, b"\x01" + bytes(30)])
@pytest.mark.slow
def test_a_fault_in_an_encoder_costs_bytes_but_never_a_bundle(monkeypatch, wrong):
    source = code_like(3 << 20)
    target = source[: 1 << 20] + b"something else" + source[(1 << 20) + 9 :]
    monkeypatch.setattr(cover, "encode", lambda *args, **kwargs: wrong)
    made = choose.encode(target, source, choose.Effort())
    assert len(made.payload) < len(target) // 100
    assert decoders.decode(made.codec, made.payload, source, len(target)) == target

"""Heads of bundles and their signatures: what it takes to check them, however they come."""

from __future__ import annotations

import time

import pytest

from dibundle.format.constants import MAX_SIGNATURE
from dibundle.format.header import encode_signature_area
from dibundle.sources.bundles import Pieces, check_signature
from tests.sources.conftest import Files


def test_a_signature_that_trickles_takes_no_quadratic_time(files: Files):
    """It took 15 s: every byte copied all that came before."""
    header = files.bundle(1, 2).read_bytes()[:64]
    area = encode_signature_area(bytes(MAX_SIGNATURE))
    given = []
    stream = Pieces(bytes([byte]) for byte in header + area)
    start = time.process_time()
    check_signature(stream, None, lambda *pair: given.append(pair))
    assert time.process_time() - start < 5
    assert given == [(header, bytes(MAX_SIGNATURE))]
    assert stream.read(len(header)) == header


def test_a_refused_signature_ends_it(files: Files):
    def refuse(header: bytes, signature: bytes) -> None:
        raise ValueError(len(signature))

    with pytest.raises(ValueError, match="0"):
        check_signature(Pieces([files.bundle(1, 2).read_bytes()]), None, refuse)

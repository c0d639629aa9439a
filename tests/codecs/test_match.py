"""The search for covers. The search finds similar content at any offset, and takes time linear in the size of the
contents.
"""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import cover
from dibundle.codecs.encode import covers
from tests.codecs.mutate import code_like, edits
from tests.content import noise, text

MIB = 1 << 20


def check(source: bytes, target: bytes, *, quick: bool = False) -> covers.Covers:
    """Search all content, check that the covers are valid and give the target, and return the covers."""
    found = covers.search(source, target, quick=quick)
    found.check(len(source), len(target))
    assert cover.decode(cover.encode(source, target, found), source, len(target)) == target
    return found


@given(edits(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_covers_fit_and_make_the_target(pair, quick):
    check(*pair, quick=quick)


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_few_bytes(source, target, times):
    check(source * times, target * times)


@pytest.mark.parametrize("quick", [False, True])
def test_functions_in_another_order_are_found(quick):
    """The target has the source's pieces of 200 bytes in a different order; one byte in thirty differs. Covers must
    contain at least nine tenths of the target.
    """
    chance = random.Random(1)
    source = code_like(256 << 10)
    pieces = [bytearray(source[at : at + 200]) for at in range(0, len(source), 200)]
    chance.shuffle(pieces)
    for piece in pieces:
        for at in range(chance.randrange(30), len(piece), 30):
            piece[at] ^= chance.randrange(1, 256)
    target = b"".join(pieces)
    found = check(source, target, quick=quick)
    assert sum(found.length) > 0.9 * len(target)


def test_accidents_are_no_covers():
    """Accidental matches of eight bytes give no covers, because such covers would cost more than they save."""
    source = noise(1, MIB)
    target = b"".join(noise(number, 40) + source[9 * number : 9 * number + 8] for number in range(2, 2000))
    found = check(source, target)
    assert len(found) < 20


HOSTILE = {
    "zeros": (bytes(8 * MIB), bytes(8 * MIB)),
    "zeros and one": (bytes(8 * MIB), (bytes(99) + b"\1") * (80 << 10)),
    "periods": (noise(1, 1000) * 8000, noise(1, 999) * 8000),
    "one stretch over and over, with other ends": (
        b"".join(noise(1, 65536) + noise(number, 16) for number in range(2, 120)),
        b"".join(noise(1, 65536) + b"".join(noise(number, 16) for number in range(2, 120)) for _ in range(100)),
    ),
    "lines": (text(1, 4 * MIB), text(2, 4 * MIB)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_content_takes_a_time_by_its_square(name):
    source, target = HOSTILE[name]
    begun = time.process_time()
    covers.search(source, target).check(len(source), len(target))
    assert time.process_time() - begun < 15

"""Covers of the whole content. The search uses only the remainder: the content without the long equal parts."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import cover
from dibundle.codecs.encode import anchors, covers
from dibundle.codecs.encode.remainder import LONG, MARGIN, Remainder
from tests.codecs.mutate import code_like, edits
from tests.content import noise


def made(source: bytes, target: bytes, found: covers.Covers) -> bytes:
    return bytes(cover.decode(cover.encode(source, target, found), source, len(target)))


@given(edits(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_found_in_the_rest_fits_the_whole(pair, copies):
    source, target = pair
    target = target + source[100:3000] * copies
    rest = Remainder(source, target, anchors.find(source, target, stride=16))
    assert len(rest.source) <= len(source)
    found = covers.Covers.of_rows(rest.whole(cover.flat(covers.search(rest.source, rest.target))))
    found.check(len(source), len(target))
    assert made(source, target, found) == target


def test_middles_of_long_stretches_are_left_out():
    source = noise(1, 100_000)
    target = source[:40_000] + b"something new" + source[50_000:]
    rest = Remainder(source, target, anchors.find(source, target, stride=16))
    assert len(rest.source) == 10_000 + 4 * MARGIN
    assert len(rest.target) == 13 + 4 * MARGIN
    # the cover continues into the part that was left out
    found = list(covers.Covers.of_rows(rest.whole(array("q", (0, 0, MARGIN)))))
    assert found == [(0, 0, 40_000 - MARGIN), (50_000 + MARGIN, 40_013 + MARGIN, 50_000 - 2 * MARGIN)]


def test_short_ones_and_none():
    source = noise(2, LONG - 1)
    rest = Remainder(source, source, array("q", (0, 0, len(source))))
    assert (rest.source, rest.target) == (source, source)
    assert not Remainder(b"", b"", array("q")).whole(array("q"))


def test_repeats_of_one_stretch():
    source = noise(3, 5000)
    target = source * 3 + b"end"
    rest = Remainder(source, target, anchors.find(source, target, stride=16))
    found = covers.Covers.of_rows(rest.whole(array("q")))
    found.check(len(source), len(target))
    assert made(source, target, found) == target


def test_little_is_lost():
    source = code_like(1 << 20)
    target = b"".join(source[at : at + 3000] + bytes([at // 3000 & 255]) for at in range(0, len(source), 3001))
    whole = cover.encode(source, target, covers.search(source, target))
    rest = cover.encode(source, target, covers.find(source, target))
    assert len(rest) < 1.05 * len(whole) + 20

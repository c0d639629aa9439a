"""The limit on excess work. Recompression recipes and frames of codec 6 share this limit."""

from __future__ import annotations

import pytest

from dibundle.codecs import embedded
from dibundle.codecs.encode import embedded_streams
from dibundle.codecs.excess import MOST, OF_FRAME, Excess
from dibundle.errors import BundleError
from dibundle.format import constants


def test_what_is_free_gives_nothing_back():
    pool = Excess(100)
    pool.spend(-1000)
    pool.spend(60)
    assert pool.left == 40
    pool.spend(40)
    with pytest.raises(BundleError, match="take too long"):
        pool.spend(1)


def test_relinking_and_streams_cost_more_than_content():
    assert embedded.cost(4, 1000, 2) == 1000 + 512
    assert embedded.cost(5, 1000, 2) == 4000 + 512


def test_many_frames_of_an_encoder_fit():
    assert MOST // OF_FRAME >= constants.MAX_FRAMES
    assert embedded_streams.OF_FRAME == OF_FRAME

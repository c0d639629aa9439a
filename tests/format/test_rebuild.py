"""The memory for frames that dib reads in advance is limited. The sizes, sources and payloads of frames all count
towards the limit.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dibundle.codecs import decoders
from dibundle.codecs.excess import Excess
from dibundle.errors import BundleError
from dibundle.format import rebuild
from dibundle.format.rebuild import _FrameFeed
from dibundle.format.tables import Frame

COUNT = 40
STORED = 8 << 20  # stored size of a frame with one byte of content


class Reader:
    """A stand-in for the reader of a bundle, which counts the frames that were read."""

    def __init__(self, stored: int) -> None:
        frame = Frame(codec=1, stream=1, size=1, stored=stored, digest=bytes(32), implied=False, source_size=0)
        self.manifest = SimpleNamespace(frames=[frame] * COUNT, reencoders=(), objects=())
        self.read = 0

    def frame(self) -> tuple[Frame, bytes]:
        self.read += 1
        return self.manifest.frames[0], b""


def _feed(reader: Any) -> _FrameFeed:
    plan: Any = SimpleNamespace(source_ranges=lambda index, frame: ())
    feed = _FrameFeed(reader, None, plan, b"", 0, COUNT, Excess())  # type: ignore[arg-type] # no frame has a source
    feed.read_ahead()
    return feed


@pytest.mark.parametrize(("stored", "most"), [(STORED, 1 + rebuild.AHEAD // STORED), (1, COUNT)])
def test_payloads_count_while_they_wait(monkeypatch: pytest.MonkeyPatch, stored: int, most: int) -> None:
    may_decode = threading.Event()

    def slow(*_: object) -> bytes:
        may_decode.wait(10)
        return b"x"

    monkeypatch.setattr(decoders, "decode", slow)
    reader = Reader(stored)
    feed = _feed(reader)
    threading.Event().wait(0.3)
    assert 2 <= reader.read <= most
    may_decode.set()
    assert [feed.next() for _ in range(COUNT)] == [(number, b"x") for number in range(COUNT)]
    feed.close()


def test_large_frames_of_codec_6_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large frames of codec 6 are decoded one at a time. Decoding such a frame takes far more memory than its size."""
    running, together = 0, []

    def slow(*_: object) -> bytes:
        nonlocal running
        running += 1
        threading.Event().wait(0.01)
        together.append(running)
        running -= 1
        return b"x"

    monkeypatch.setattr(decoders, "decode", slow)
    for size, most in ((rebuild.LARGE, 1), (rebuild.LARGE - 1, rebuild.DECODERS), (1, 1)):
        reader = Reader(1)
        frame = reader.manifest.frames[0]._replace(codec=decoders.UNPACK, size=size)
        reader.manifest.frames = [frame] * COUNT
        feed = _feed(reader)
        for _ in range(COUNT):
            feed.next()
        feed.close()
        assert max(together) == most
        together.clear()


def test_none_is_read_behind_one_that_cannot_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a frame that cannot be decoded, dib reads no further frame.

    Otherwise, the error of every further frame that fails would keep the frame's payload in memory.
    """

    def bad(*_: object) -> bytes:
        raise BundleError(rebuild.messages.PROGRAM_FRAME_MISSING)

    monkeypatch.setattr(decoders, "decode", bad)
    reader = Reader(STORED)
    feed = _feed(reader)
    threading.Event().wait(0.3)
    assert reader.read <= 1 + rebuild.AHEAD // STORED
    with pytest.raises(BundleError):
        feed.next()
    feed.close()

"""Guess which program wrote a gzip layer that dib cannot recompress.

The guess is based on the layer's header and on the layout of the layer's blocks.
"""

from __future__ import annotations

import itertools
from typing import Final

from dibundle.codecs.deflate import encoders
from dibundle.codecs.deflate.encoders import Mark
from dibundle.codecs.deflate.inflate import Inflater
from dibundle.errors import ArchiveError

_UNKNOWN: Final = 255  # value in the header for an unknown operating system
_LEVELS: Final = {2: "its smallest level", 4: "its fastest level"}  # the keys are the header's values for the level
_NO_TIME_OF_GO: Final = (0x886E0900).to_bytes(4, "little")  # the header's value if Go has no time (year 1)
_PIGZ: Final = encoders.PIGZ_BLOCK
_MOST_MARKS: Final = 512
_STOPS: Final = (16_383, 32_767, 8_191)  # numbers of tokens at which zlib and its derivatives end a block


def describe(header: bytes, body: bytes) -> str | None:
    """Return a phrase for the program that probably wrote a body. Only the body's first bytes are read.

    Return None if the bytes are not deflate data. ``header`` is the whole gzip header.
    """
    inflater = Inflater()
    marks: list[Mark] = []
    tokens, content = 0, 0
    try:
        for at in range(0, len(body), 1 << 16):
            piece = inflater.feed(body[at : at + (1 << 16)])
            while piece:
                content += len(piece)
                piece = inflater.feed(b"")
            marks += inflater.marks()
            if inflater.ended or len(marks) > _MOST_MARKS:
                break
        tokens = inflater.first_tokens
    except ArchiveError:
        return None
    by_header = "a Go program" if header[9] == _UNKNOWN else "an unknown program"
    if header[4:8] == _NO_TIME_OF_GO:
        by_header = "a program built with Go 1.7 or older"
    writer = _by_blocks(marks, tokens) or by_header
    level = _LEVELS.get(header[8])
    return f"by {writer}" + (f" at {level}" if level else "")


def _by_blocks(marks: list[Mark], tokens: int) -> str | None:
    flushes = [
        mark.content
        for mark, following in itertools.pairwise(marks)
        if mark.type == encoders.STORED and mark.content == following.content
    ]
    flushes = flushes[:-1] or flushes  # ignore the last flush, which may be at the end of the content
    if flushes:
        if all(content % _PIGZ == 0 for content in flushes):
            return "pigz"
        block = flushes[0]
        if all(content % block == 0 for content in flushes):
            return f"pgzip or another writer with blocks of {block:,} bytes"
        return "a writer that flushes, such as pigz -R or bgzip"
    has_second = len(marks) > 1 and marks[1].content > 0
    if has_second and tokens in _STOPS:
        return "zlib or zlib-ng with other settings"
    if has_second and marks[1].content % encoders.CHUNK == 0:
        return "klauspost/compress at another level or version"
    return None

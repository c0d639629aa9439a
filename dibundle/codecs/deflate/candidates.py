"""The encoders that are tried on a body. The beginning of the body excludes some encoders."""

from __future__ import annotations

from typing import Final, NamedTuple

from dibundle.codecs.deflate import encoders
from dibundle.codecs.deflate.encoders import Mark

_LAZY: Final = 7  # minimum level at which pgzip's blocks have a fixed number of tokens
_RSYNCABLE_BLOCKS: Final = 8  # without the option -R, pigz writes at most this many blocks for 128 KiB of content
_TWO_MARKERS: Final = 2  # number of empty stored blocks at the end of a block of pigz -i


class Candidate(NamedTuple):
    """An encoder to try. For pgzip, the parameter is 0, because the search detects the block size."""

    encoder: int
    level: int
    parameter: int = 0


CANDIDATES: Final[tuple[Candidate, ...]] = (
    Candidate(encoders.GO, 6),
    Candidate(encoders.PGZIP_1, 5),
    Candidate(encoders.PGZIP_3, 5),
    Candidate(encoders.KLAUSPOST, 6),
    Candidate(encoders.GO, 1),
    Candidate(encoders.ZLIB, 6, 8),
    Candidate(encoders.GNU, 9),
    Candidate(encoders.GNU, 6),
    Candidate(encoders.KLAUSPOST, 1),
    Candidate(encoders.PGZIP_0, 5),
    Candidate(encoders.GO, 9),
    Candidate(encoders.ZLIB, 9, 8),
    Candidate(encoders.ZLIB, 1, 8),
    Candidate(encoders.GNU, 1),
    Candidate(encoders.KLAUSPOST, 5),
    *(Candidate(encoders.GO, level) for level in (2, 3, 4, 5, 7, 8, 0)),
    *(Candidate(encoders.ZLIB, level, 8) for level in (2, 3, 4, 5, 7, 8)),
    *(Candidate(encoders.ZLIB, level, 9) for level in range(1, 10)),
    *(Candidate(encoders.GNU, level) for level in (2, 3, 4, 5, 7, 8)),
    *(
        Candidate(encoder, level)
        for level in (6, 9, 1, 7, 4, 3, 2, 8)
        for encoder in (encoders.PGZIP_1, encoders.PGZIP_2, encoders.PGZIP_3)
        if level in encoders.FAMILIES[encoder].levels
    ),
    *(
        Candidate(encoders.PIGZ, level, 4 * (encoders.PIGZ_BLOCK >> 10) + mode)
        for level in (6, 9, 1, 2, 3, 4, 5, 7, 8)
        for mode in encoders.PigzMode
    ),
)
"""All candidates.

The likeliest candidate comes first. If several candidates give the body, the first of these is used.
"""


def pigz_modes(marks: list[Mark], content: bytes) -> frozenset[int]:
    """Return the modes in which pigz may have written the blocks ``marks`` of ``content``."""
    at_end = [mark for mark in marks if mark.content == encoders.PIGZ_BLOCK < len(content)]
    if at_end:
        stored = [mark for mark in at_end[:-1] if mark.type == encoders.STORED]
        if len(stored) == len(at_end) - 1 == _TWO_MARKERS:
            return frozenset((encoders.PigzMode.INDEPENDENT,))
        return frozenset((encoders.PigzMode.THREADS, encoders.PigzMode.ONE_THREAD))
    if len(marks) <= _RSYNCABLE_BLOCKS:
        return frozenset()
    ends = {mark.content for mark in marks}
    hits = encoders.pigz_hits(content[: marks[_RSYNCABLE_BLOCKS].content])
    return frozenset((encoders.PigzMode.RSYNCABLE,) if hits and hits <= ends else ())


def may_begin(candidate: Candidate, marks: list[Mark], tokens: int) -> bool:
    """Return whether an encoder can write the first block before more content (spec/deflate.md, "Blocks").

    ``tokens`` is the number of tokens decoded in the block. If ``marks`` has no second mark, the block has not ended.
    """
    if marks[0].type == encoders.STORED:
        return True  # a stored block does not show how many tokens the encoder had collected
    has_ended = len(marks) > 1
    if encoders.is_pgzip(candidate.encoder):  # the parameter of pgzip also decides where a block ends
        if has_ended and marks[1].type == encoders.STORED:
            return True
        if candidate.level >= _LAZY:
            return tokens == 1 << 15 if has_ended else tokens < 1 << 15
        return not has_ended or marks[1].content % encoders.CHUNK == 0
    if candidate.encoder == encoders.KLAUSPOST or (candidate.encoder, candidate.level) == (encoders.GO, 1):
        return not has_ended or marks[1].content % encoders.CHUNK == 0
    most = 1 << 14 if candidate.encoder == encoders.GO else (1 << (candidate.parameter or 9) + 6) - 1
    if candidate.encoder == encoders.GNU and tokens % 4096 == 0:
        return True
    return tokens == most if has_ended else tokens < most

"""Vectors of zstd.md: frames of every encoder and level, alone, of several blocks, flushed; recipes refused."""

from __future__ import annotations

from bundles import Bundle
from encoding import ALL_A, ALL_D, EVEN, NO_MATCH, NOISE, Key, Piece, a, bodies
from faults import bad, put, repacked
from good import PACKED_CONTENT, deflated, good, packing
from limits import instead, through
from payloads import unpacked

BLOCK = 131072


def _frames(encoder: int, *levels: int) -> Bundle:
    cases: list[tuple[Key, list[Piece]]] = []
    for level in levels:
        contents: list[list[Piece]] = [
            *([a(size)] for size in (1, 15, 16, 40, 255, 1024, 1025, 30000)),
            [a(BLOCK + 20000), NOISE],
            [BLOCK + 5, a(20000, 10000), NO_MATCH],
            [(ALL_D[0], 0, 50000)],
        ]
        cases += [((encoder, level, 0), content) for content in contents]
        cases.append(((encoder, level, 8), [a(70000)]))
    cases += [((encoder, levels[0], 65535), [a(BLOCK)]), ((encoder, levels[0], 0), [a(BLOCK)])]
    return bodies(*cases)


@good("encoder.32", base="long")
def encoder_zstd_fastest_and_default() -> Bundle:
    """Levels 1 and 2: content that is alone, of several blocks, flushed; matches, noise, zeros."""
    return _frames(32, 1, 2)


@good("encoder.32", base="long")
def encoder_zstd_better_and_best() -> Bundle:
    """Do the same at levels 3 and 4."""
    return _frames(32, 3, 4)


@good("encoder.33", base="long")
def encoder_zstd_that_weighs_heads() -> Bundle:
    """Let the tables be chosen as newer versions do; no content at all."""
    return bodies(
        *[((33, level, 0), content) for level in (1, 2, 3, 4) for content in ([a(40000)], [a(BLOCK + 9000)], [])],
        ((33, 1, 0), EVEN[:3]),
        ((33, 2, 0), EVEN[:3]),
    )


@good("encoder.34", base="long")
def encoder_zstd_as_of_1_15() -> Bundle:
    """Have the four levels as an older version has them: other matches, and other blocks raw."""
    contents: list[list[Piece]] = [
        [a(33)],
        [a(32)],
        [a(20000)],
        [a(BLOCK + 5000), NOISE],
        [BLOCK, NO_MATCH],
        [40, a(90)],
    ]
    return bodies(
        *[((34, level, 0), content) for level in (1, 2, 3, 4) for content in contents], ((34, 2, 8), EVEN[:2])
    )


@good("encoder.48", base="long")
def encoder_libzstd() -> Bundle:
    """Levels 1 to 15 of libzstd 1.5.7: each flag, several blocks, jobs, the end of a block; needs that library."""
    contents: list[list[Piece]] = [[], [a(1)], [a(BLOCK)], [a(BLOCK + 20000), NOISE]]
    return bodies(
        *[((48, level, 1 + level % 7), [a(20000 + 100 * level), NOISE]) for level in range(1, 16)],
        *[((48, 3, flags), content) for flags in range(8) for content in contents],
        *[((48, level, flags), [ALL_A, ALL_A, BLOCK]) for level in (1, 9) for flags in (1, 3, 5, 7)],
        ((48, 1, 5), [3 << 20, a(50000), 2 << 20]),
    )


@good("encoder.49", base="long")
def encoder_libzstd_at_high_levels() -> Bundle:
    """Levels 16 to 19 of the same."""
    return bodies(
        *[((49, level, flags), [a(BLOCK + 9000), NOISE]) for level in (1, 2, 3, 4) for flags in (1, 7)],
    )


_P = "packs-gzip"
_TAIL = deflated(PACKED_CONTENT, 32, 2)
bad("recipe-zstd-level", _P, "packing.re-encoder", "M134")(repacked(packing((3000, 517, 0, []))))
bad("recipe-zstd-parameter", _P, "packing.parameter", "M134")(
    lambda b: (repacked(packing((3000, 514, 65536, [])))(b), put(reencoders=[514])(b))
)
bad("recipe-libzstd-level", _P, "packing.re-encoder", "M134")(repacked(packing((3000, 789, 0, []))))
bad("recipe-libzstd-parameter", _P, "packing.parameter", "M134")(
    lambda b: (repacked(packing((3000, 771, 8, [])))(b), put(reencoders=[771])(b))
)


def _unpacked() -> Bundle:
    bundle = through(6, unpacked([], packing((3000, 514, 0, [])), PACKED_CONTENT, codec=0), b"", _TAIL)
    bundle.reencoders = [514]
    return bundle


bad("unpack-to-a-zstd-frame", "unpack-to-nothing", "unpack.table", "M135")(instead(_unpacked))

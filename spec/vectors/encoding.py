"""Vectors of deflate.md with content that is long enough: windows that move, chunks and blocks that are full.

The content is in the base, compressed; a bundle names ranges of it. What the bodies are is what dibundle makes, as the
real encoders do, and the reference decoder confirms.
"""

from __future__ import annotations

from bundles import Bundle, Program, sha256, signed
from good import BASES, archive, config, deflated, good, gzipped, noise, one, packing, plain
from relinking import draws

FAR = (1, 2, 3, 4, 5, 7, 64, 4094, 4095, 4096, 4097, 4098, 32505, 32506, 32507, 32508, 32766, 32767, 32768, 32769)
LONG = (3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 29, 30, 31, 32, 33, 64, 127, 128, 129, 257, 258, 259, 260, 261, 262, 516, 517)


def jumble(seed: str, size: int, literals: int, letters: int) -> bytes:
    """Return letters and what was there before, at distances and of lengths where encoders have their limits."""
    draw = draws(seed)
    out = bytearray()
    while len(out) < size:
        out += bytes(60 + next(draw) % letters for _ in range(next(draw) % literals))
        if next(draw) % 16 == 0:
            out.append(next(draw) % 256)
        length, nearness = LONG[next(draw) % len(LONG)], next(draw) % 4
        far = FAR[next(draw) % len(FAR)] if nearness == 0 else 1 + next(draw) % (0, 40000, 4200, 300)[nearness]
        if far <= len(out):
            for _ in range(length):
                out.append(out[-far])
    return bytes(out[:size])


A, D = jumble("matches", 340000, 6, 7), jumble("literals", 90000, 16, 90)
BASES["long"] = archive(
    {"c": config(A, D), **{name: gzipped(deflated(data, 6, 9, 9), data) for name, data in (("a", A), ("d", D))}},
    ["a", "d"],
    "c",
)
Piece = bytes | int | tuple[bytes, int, int]  # bytes, zeros, or a range of A or D
Key = tuple[int, int, int]


def a(end: int, start: int = 0) -> Piece:
    """Return a range of A."""
    return A, start, end


ALL_A, ALL_D = a(len(A)), (D, 0, len(D))
NOISE = noise("stored", 1500)


def bodies(*cases: tuple[Key, list[Piece]]) -> Bundle:
    """Return a bundle that packs contents, each by an encoder."""
    program, parts, packed, raw = Program(), [], b"", b""
    current = A
    for (encoder, level, parameter), pieces in cases:
        content = b""
        for piece in pieces:
            if isinstance(piece, int):
                content += bytes(piece)
            elif isinstance(piece, bytes):
                content, raw = content + piece, raw + piece
            else:
                content += piece[0][piece[1] : piece[2]]
        parts.append((len(content), 16 * encoder + level, parameter, []))
        packed += deflated(content, encoder, level, parameter)
    table = packing(*parts)
    program.do("begin", packing=len(table), packed=len(packed))
    place = 0
    for _, pieces in cases:
        for piece in pieces:
            if isinstance(piece, int):
                program.do("zero", zero=piece)
            elif isinstance(piece, bytes):
                program.do("raw", raw=len(piece), stream=1)
            else:
                data, start, end = piece
                if data is not current or place != start:
                    offset = start - place if data is current else start
                    program.do("seek", seek_object=int(data is D), seek_offset=signed(offset))
                program.do("keep", keep=end - start)
                current, place = data, end
    frames = [plain(table, 0), *([plain(raw)] if raw else [])]
    bundle = one(packed, program.do("end"), *frames, objects=[(1, len(A), sha256(A)), (1, len(D), sha256(D))])
    bundle.reencoders = sorted({16 * encoder + level for (encoder, level, _), _ in cases})
    return bundle


def ending(size: int, *, moved: bool) -> list[Piece]:
    """Return content whose end is there twice before: farther with two zeros behind it, and what gzip's window has."""
    last = b"<the same at the end>"

    def pieces(behind: bytes) -> list[Piece]:
        return [
            a(size),
            last + bytes(2) + behind,
            a(size + 50, size),
            last + b"\0\0qq",
            a(size + 100, size + 50),
            last + b"qqqq",
            a(size + 150, size + 100),
            last,
        ]

    length = sum(len(p) if isinstance(p, bytes) else p[2] - p[1] for p in pieces(b"1234"))  # type: ignore[index, operator]
    at = length + 2 - 32768
    return pieces(A[at : at + 4] if moved else bytes(4))


FULL = 65535


@good("encoder.1", base="long")
def encoder_go_fast_chunks() -> Bundle:
    """Level 1: last chunks of 16, 17, 127 and 128 bytes, alone and behind a full one; literals, noise, zeros."""
    key = (1, 1, 0)
    lasts = [(key, [a(n)]) for n in (16, 17, 127, 128)] + [(key, [a(FULL + n)]) for n in (0, 16, 17, 127, 128)]
    return bodies(*lasts, (key, [a(140000)]), (key, [ALL_D]), (key, [a(300), NOISE]), (key, [3000]))


@good("encoder.1", base="long")
def encoder_go_windows() -> Bundle:
    """Levels 2 to 9 on content that moves the window, and blocks that are stored or too large to be."""
    sizes = {2: 150000, 3: 150000, 4: 150000, 5: 150000, 6: 150000, 7: 100000, 8: 70000, 9: 70000}
    windows = [((1, level, 0), [a(size)]) for level, size in sizes.items()]
    stored = [((1, 6, 0), [a(300), NOISE, NOISE]), ((1, 6, 0), [200000, a(5000), NOISE])]
    return bodies(*windows, *stored, *[((1, level, 0), [ALL_D]) for level in (2, 6)])


def _klauspost(level: int) -> Bundle:
    key = (2, level, 0)
    ends = [(key, [a(FULL + n)]) for n in (0, 32, 33, 127, 128, FULL)] + [(key, [a(n)]) for n in (32, 33)]
    return bodies(*ends, (key, [ALL_A]), (key, [ALL_D]), (key, [a(300), NOISE, NOISE]))


@good("encoder.2", base="long")
def encoder_klauspost_1_chunks() -> Bundle:
    """Have the last chunk full and of each sort, and a history that moves; so at levels 5 and 6."""
    return _klauspost(1)


@good("encoder.2", base="long")
def encoder_klauspost_5_chunks() -> Bundle:
    return _klauspost(5)


@good("encoder.2", base="long")
def encoder_klauspost_6_chunks() -> Bundle:
    return _klauspost(6)


def _pgzip(encoder: int) -> Bundle:
    cases: list[tuple[int, list[Piece]]] = [(70000, [a(210000)]), (131070, [a(131070)]), (16385, [ALL_D])]
    cases += [(1 << 20, [ALL_A]), (1 << 20, [a(300), NOISE, NOISE])]
    return bodies(*(((encoder, 5, size), content) for size, content in cases))


@good("encoder.3", base="long")
def encoder_pgzip_old_blocks() -> Bundle:
    """Have blocks that are full chunks and such that are not, none at the end; another body than encoder 4's."""
    return _pgzip(3)


@good("encoder.4", base="long")
def encoder_pgzip_blocks() -> Bundle:
    return _pgzip(4)


@good("encoder.5", base="long")
def encoder_pgzip_new_blocks() -> Bundle:
    return _pgzip(5)


@good("encoder.6", base="long")
def encoder_zlib_windows() -> Bundle:
    cases = [((6, level, 8 + level % 2), [a(150000 if level < 8 else 70000)]) for level in range(1, 10)]
    cases += [((6, level, 9), ending(70000, moved=True)) for level in (1, 6)]
    cases += [((6, level, 8), [a(n)]) for level in (1, 6) for n in (65276, 65536)]
    return bodies(*cases, ((6, 6, 8), [200000, a(5000), NOISE]), ((6, 6, 8), [a(300), NOISE]), ((6, 6, 9), [ALL_D]))


@good("encoder.7", base="long")
def encoder_gzip_windows() -> Bundle:
    """Have matches that the window's stale end decides, in the first window and in one that moved; blocks cut early."""
    cases = [((7, level, 0), [a(150000 if level < 7 else 70000)]) for level in range(1, 10)]
    cases += [((7, level, 0), ending(size, moved=size > 3000)) for level in (1, 4, 6) for size in (3000, 70000)]
    cases += [((7, level, 0), [a(n)]) for level in (1, 6) for n in (65273, 65536)]
    cases += [((7, level, 0), [ALL_D]) for level in (1, 3, 4, 6)]
    return bodies(*cases, ((7, 6, 0), [200000, a(5000), NOISE]), ((7, 6, 0), [a(300), NOISE]))

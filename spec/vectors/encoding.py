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


def even(seed: str, size: int, letters: int, longest: int) -> bytes:
    """Return many short matches and few letters, much the same all over."""
    draw = draws(seed)
    out = bytearray(b"abcd" * 5)
    while len(out) < size:
        out += bytes(97 + next(draw) % letters for _ in range(1 + next(draw) % 3))
        far, length = (7, 19, 300, 5000)[next(draw) % 4], (4, 6, 10, longest)[next(draw) % 4]
        if far <= len(out):
            for _ in range(length):
                out.append(out[-far])
    return bytes(out[:size])


A, D = jumble("matches", 340000, 6, 7), jumble("literals", 90000, 16, 90)
E, F = even("even", 34000, 4, 12), even("odd", 34000, 2, 40)  # again behind themselves they are beyond all windows
BASES["long"] = archive(
    {
        "c": config(A, D, E, F),
        **{name: gzipped(deflated(data, 6, 9, 9), data) for name, data in (("a", A), ("d", D), ("e", E), ("f", F))},
    },
    ["a", "d", "e", "f"],
    "c",
)
OBJECTS = [A, D, E, F]
Piece = bytes | int | tuple[bytes, int, int]  # bytes, zeros, or a range of one of these
Key = tuple[int, int, int]


def a(end: int, start: int = 0) -> Piece:
    """Return a range of A."""
    return A, start, end


def held(piece: Piece) -> bytes:
    """Return what a piece is."""
    if isinstance(piece, int):
        return bytes(piece)
    return piece if isinstance(piece, bytes) else piece[0][piece[1] : piece[2]]


ALL_A, ALL_D = a(len(A)), (D, 0, len(D))
EVEN: list[Piece] = [(data, 0, len(data)) for data in (E, E, E, E, F, F, F, E, E)]
NOISE = noise("stored", 1500)
NO_MATCH = bytes(97 + byte % 8 for byte in noise("no match", 200))


def bodies(*cases: tuple[Key, list[Piece]]) -> Bundle:
    """Return a bundle that packs contents, each by an encoder."""
    program, parts, packed, raw = Program(), [], b"", b""
    current = A
    for (encoder, level, parameter), pieces in cases:
        content = b"".join(map(held, pieces))
        raw += b"".join(piece for piece in pieces if isinstance(piece, bytes))
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
                    program.do("seek", seek_object=OBJECTS.index(data), seek_offset=signed(offset))
                program.do("keep", keep=end - start)
                current, place = data, end
    frames = [plain(table, 0), *([plain(raw)] if raw else [])]
    objects = [(1, len(data), sha256(data)) for data in OBJECTS]
    bundle = one(packed, program.do("end"), *frames, objects=objects)
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

    at = sum(len(held(piece)) for piece in pieces(b"1234")) + 2 - 32768
    return pieces(A[at : at + 4] if moved else bytes(4))


SCATTERED = NOISE[:1000] + b"".join(noise(f"{n}", 25 + n) + NOISE[20 * n : 20 * n + 9 + n % 5] for n in range(40))


def distances() -> list[Piece]:
    """Return matches of each length just as far away as they may be, and a byte farther, with zeros between."""
    pieces: list[Piece] = []
    for n, (length, far) in enumerate(
        [
            (3, 4096),
            (3, 4097),
            (4, 4096),
            (4, 4097),
            (5, 4097),
            (9, 32506),
            (9, 32507),
            (9, 32767),
            (9, 32768),
            (9, 32769),
        ]
    ):
        word = bytes(33 + 9 * n + at for at in range(length))
        pieces += [word, far - length, word, b"\xff" + bytes((n,))]
    return pieces


def repeating() -> list[Piece]:
    """Return a chunk that ends with a match, and one in whose first bytes its distance would do better than others."""
    before, other, long = noise("before", 20), noise("other", 8), noise("long", 40)
    nearer = long[:7] + b"1" + long[:7] + b"2" + long[7:14] + b"3" + long[7:14] + b"4"
    head = before + b"k" + long + nearer + b"p" + long[:3] + b"w" + other + before
    return [FULL - len(head), head, b"p" + long + other + NOISE[:100]]


FULL = 65535
DISTANCES = distances()


@good("encoder.1", base="long")
def encoder_go_fast_chunks() -> Bundle:
    """Level 1: last chunks of 16, 17, 127 and 128 bytes, alone and behind a full one; literals, noise, zeros."""
    key = (1, 1, 0)
    lasts: list[tuple[Key, list[Piece]]] = [((1, 0, 0), [])]
    lasts += [((1, 0, 0), [a(n)]) for n in (1, FULL, 140000)]
    lasts += [(key, [a(n)]) for n in (16, 17, 127, 128)] + [(key, [a(FULL + n)]) for n in (0, 16, 17, 127, 128)]
    return bodies(
        *lasts,
        (key, [a(140000)]),
        (key, [ALL_D]),
        (key, [SCATTERED]),
        *[(key, [n]) for n in (16, 17, 3000)],
        (key, DISTANCES),
    )


@good("encoder.1", base="long")
def encoder_go_windows() -> Bundle:
    """Levels 2 to 9 on content that moves the window, and blocks that are stored or too large to be."""
    sizes = {2: 150000, 3: 150000, 4: 150000, 5: 150000, 6: 150000, 7: 70000, 8: 45000, 9: 45000}
    windows = [((1, level, 0), [a(size)]) for level, size in sizes.items()]
    stored = [((1, 6, 0), content) for content in ([NOISE], DISTANCES, [200000, a(5000), NOISE])]
    return bodies(*windows, *stored, *[((1, level, 0), content) for level in (2, 6) for content in ([ALL_D], EVEN)])


def _klauspost(level: int) -> Bundle:
    key = (2, level, 0)
    ends = [(key, [a(FULL + n)]) for n in (0, 32, 33, 127, 128, FULL)] + [(key, [a(n)]) for n in (32, 33)]
    more: list[list[Piece]] = [
        [ALL_A],
        [ALL_D],
        EVEN,
        [NOISE],
        [NO_MATCH],
        [SCATTERED],
        DISTANCES,
        repeating(),
        [32],
        [33],
    ]
    return bodies(*ends, *[(key, content) for content in more])


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
    cases += [(2 * FULL, [*EVEN[:3], (E, 0, 2 * FULL - 3 * len(E))])]  # of whose codes the last have no symbol
    cases += [(1 << 20, content) for content in ([ALL_A], EVEN, [NO_MATCH], [SCATTERED])]
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


def _pgzip_levels(encoder: int, *levels: int) -> Bundle:
    """Have blocks with and without a dictionary, chunks and windows that move, and content that is stored."""
    cases: list[tuple[Key, list[Piece]]] = []
    for level in levels:
        cases += [
            ((encoder, level, 16385), [a(40000)]),
            ((encoder, level, 1 << 20), [70000 if level < 9 else 900, NOISE]),
        ]
        cases += [((encoder, level, 70000), [a(160000 if level < 7 else 75000)])]
        more = (EVEN, [NO_MATCH], DISTANCES, repeating(), [ALL_D]) if level < 9 else (EVEN[:3], DISTANCES)
        cases += [((encoder, level, 1 << 20), content) for content in more]
    return bodies(*cases)


@good("encoder.4", base="long")
def encoder_pgzip_fast_levels() -> Bundle:
    return _pgzip_levels(4, 1, 2, 3, 4, 6)


@good("encoder.4", base="long")
def encoder_pgzip_lazy_levels() -> Bundle:
    return _pgzip_levels(4, 7, 8, 9)


@good("encoder.5", base="long")
def encoder_pgzip_new_fast_levels() -> Bundle:
    return _pgzip_levels(5, 1, 2, 3, 4, 6)


@good("encoder.5", base="long")
def encoder_pgzip_new_lazy_levels() -> Bundle:
    return _pgzip_levels(5, 7, 8, 9)


@good("encoder.8", base="long")
def encoder_pgzip_between_levels() -> Bundle:
    """Have what 1.17.9 to 1.18.0 alone do: level 4 looks at a wrong place, level 9 weighs all that is ahead."""
    return _pgzip_levels(8, 4, 7, 8, 9)


@good("encoder.9", base="long")
def encoder_pigz_modes() -> Bundle:
    """Have jobs with and without a dictionary, full ones and empty content, and every way to the end of a byte."""
    cases: list[tuple[Key, list[Piece]]] = []
    for mode in range(4):
        cases += [((9, level, 128 + mode), [a(100000)]) for level in range(1, 10)]
        cases += [((9, 6, 128 + mode), content) for content in ([], [a(32768)], [a(32769)], [a(65538)], [70000, NOISE])]
        cases += [((9, 1, 4 * 37 + mode), [ALL_D]), ((9, 6, 512 + mode), [ALL_A])]
    return bodies(*cases)


@good("encoder.9", base="long")
def encoder_pigz_pieces() -> Bundle:
    """Have short pieces and long ones, jobs that end with them or go on to the end, and too many pieces."""
    often = bytes.fromhex("8e27493385")
    one = often + A[:9000] + often
    cases: list[list[Piece]] = [[often], [often * 3 + b"x"], [a(32768 - 6), often], [a(32768), often, a(20, 10)]]
    cases += [[one, a(40000)], [often * 100], [a(30000), often, a(32768 + 9), often, a(66000)], [often * 2, a(65530)]]
    return bodies(*[((9, level, 130), content) for level in (1, 6) for content in cases])


@good("encoder.6", base="long")
def encoder_zlib_windows() -> Bundle:
    cases = [((6, level, 8 + level % 2), [a(150000 if level < 7 else 45000)]) for level in range(1, 10)]
    cases += [((6, level, 9), ending(70000, moved=True)) for level in (1, 6)]
    cases += [((6, level, 8), [a(n)]) for level in (1, 6) for n in (65276, 65536)]
    return bodies(
        *cases, ((6, 6, 8), [200000, a(5000), NOISE]), ((6, 6, 8), [NOISE]), ((6, 6, 9), [ALL_D]), ((6, 6, 8), EVEN)
    )


@good("encoder.7", base="long")
def encoder_gzip_windows() -> Bundle:
    """Have matches that the window's stale end decides, in the first window and in one that moved; blocks cut early."""
    cases = [((7, level, 0), [a(150000 if level < 7 else 45000)]) for level in range(1, 10)]
    cases += [((7, level, 0), ending(size, moved=size > 3000)) for level in (1, 4, 6) for size in (3000, 70000)]
    cases += [((7, level, 0), [a(n)]) for level in (1, 6) for n in (65273, 65536)]
    cases += [((7, level, 0), [ALL_D]) for level in (1, 3, 4, 6)]
    return bodies(
        *cases, ((7, 6, 0), [200000, a(5000), NOISE]), ((7, 6, 0), [NOISE]), ((7, 6, 0), EVEN), ((7, 6, 0), DISTANCES)
    )

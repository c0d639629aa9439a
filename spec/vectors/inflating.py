"""Vectors of unpack.md's M119: deflate streams as zlib's inflate takes or refuses them, made bit by bit."""

from __future__ import annotations

from bundles import Bundle, sha256, zframe
from faults import bad
from good import BASES, CONFIG, archive, good, packing
from limits import instead, through
from payloads import unpacked

Bits = list[tuple[int, int]]  # values with their numbers of bits, the lowest bit first
SIZE = 20  # bytes that a stream holds, if nothing else is said
END = 256


def packed(bits: Bits) -> bytes:
    """Return bits as bytes."""
    value = at = 0
    for number, count in bits:
        value, at = value | number << at, at + count
    return value.to_bytes(-(-at // 8), "little")


def turned(code: int, length: int) -> tuple[int, int]:
    """Return a Huffman code, whose highest bit comes first."""
    return int(f"{code:0{length}b}"[::-1], 2), length


def codes(lengths: list[int]) -> dict[int, tuple[int, int]]:
    """Return the canonical codes of symbols with these lengths."""
    found, code = {}, 0
    for length in range(1, 16):
        code <<= 1
        for symbol in (symbol for symbol, item in enumerate(lengths) if item == length):
            found[symbol] = turned(code & (1 << length) - 1, length)
            code += 1
    return found


def dynamic(
    literals: dict[int, int], distances: list[int], body: list[int | tuple[int, int]], count: int = 257
) -> bytes:
    """Return a stream of one block with the lengths of its codes; ``body``: literals, and bits (value, number)."""
    lengths = [literals.get(symbol, 0) for symbol in range(count)]
    bits: Bits = [(1, 1), (2, 2), (count - 257, 5), (len(distances) - 1, 5), (15, 4)]
    bits += [(0 if symbol > 15 else 4, 3) for symbol in ORDER]  # lengths 0 to 15: four bits each
    bits += [turned(length, 4) for length in (*lengths, *distances)]
    letters = codes(lengths)
    return packed(bits + [letters[item] if isinstance(item, int) else item for item in body])


ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
LETTERS: list[int | tuple[int, int]] = [97] * SIZE
MORE = (0, 256)  # bits behind a stream, so that no reader lacks some
FIXED = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8


def fixed(*body: int | tuple[int, int]) -> bytes:
    """Return a stream of one block with the fixed codes."""
    letters = codes(FIXED)
    return packed([(1, 1), (1, 2), *(letters[item] if isinstance(item, int) else item for item in body)])


def lengths_of(*symbols: tuple[int, int], count: int = 4) -> bytes:
    """Return a stream that ends after lengths of codes; symbols 0, 1, 16, 18 have two bits each; ``symbols``: extra."""
    codes_of = codes([2 if symbol in (0, 1, 16, 18) else 0 for symbol in range(19)])
    bits: Bits = [(1, 1), (2, 2), (0, 5), (0, 5), (15, 4), *((2 if symbol in codes_of else 0, 3) for symbol in ORDER)]
    for symbol, extra in symbols:
        bits += [codes_of[symbol], *([(extra, {16: 2, 18: 7}[symbol])] if symbol > 15 else [])]
    return packed([*bits, (0, 64)])


ONE = turned(0, 1)
SAME: list[int | tuple[int, int]] = [97, 257, ONE, END]  # a letter, and a match of three
TAKEN = {
    "code-of-one-bit-alone": (dynamic({END: 1}, [0], [END]), 0),
    "distance-code-of-one-bit-alone": (dynamic({97: 2, END: 2, 257: 1}, [1], SAME, 258), 4),
    "codes-of-fifteen-bits": (
        dynamic({97: 15, END: 15, **{symbol: symbol + 1 for symbol in range(14)}}, [0], [*LETTERS, END]),
        SIZE,
    ),
    "286-lengths-and-30": (dynamic({97: 1, END: 1}, [5] * 28 + [4] * 2, [*LETTERS, END], 286), SIZE),
    "an-empty-stored-block": (packed([(0, 3), (0, 5), (0, 16), (0xFFFF, 16)]) + fixed(*LETTERS, END), SIZE),
    "a-match-of-258": (fixed(*LETTERS, 285, turned(0, 5), END), SIZE + 258),
}
REFUSED = {
    "without-an-end-of-block": dynamic({97: 1, 98: 1}, [0], LETTERS),
    "of-287-lengths": dynamic({97: 1, END: 1}, [0], [*LETTERS, END], 287),
    "of-31-distances": dynamic({97: 1, END: 1}, [5] * 31, [*LETTERS, END]),
    "with-too-many-codes": dynamic({97: 1, 98: 1, END: 1}, [0], [*LETTERS, (0, 9)]),
    "with-too-many-distances": dynamic({97: 1, END: 1}, [1, 1, 1], [*LETTERS, END]),
    "with-incomplete-distances": dynamic({97: 1, END: 1}, [2], [*LETTERS, END]),
    "with-a-distance-that-is-none": dynamic({97: 2, END: 2, 257: 1}, [1], [*[97] * 17, 257, (1, 1), END, MORE], 258),
    "with-a-match-without-distances": dynamic({97: 2, END: 2, 257: 1}, [0], [*[97] * 17, 257, (0, 1), END, MORE], 258),
    "with-a-distance-before-its-start": fixed(*[97] * 17, 257, turned(8, 5), (7, 3), END),
    "with-distance-symbol-30": fixed(*[97] * 17, 257, turned(30, 5), END),
    "with-length-symbol-286": fixed(*LETTERS, 286, END),
    "of-block-type-3": packed(
        [(0, 1), (1, 2), *(codes(FIXED)[item] for item in (*[97] * SIZE, END)), (1, 1), (3, 2), MORE]
    ),
    "with-another-complement": packed([(1, 3), (0, 5), (SIZE, 16), (0xFFFF - SIZE - 1, 16)]) + b"a" * SIZE,
    "with-a-repetition-of-nothing": lengths_of((16, 0)),
    "with-a-repetition-beyond-its-codes": lengths_of((18, 127), (18, 127)),
    "with-incomplete-lengths": packed(
        [(1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (0, 3), (0, 3), (1, 3), (2, 3), (0, 99)]
    ),
    "with-its-last-byte-missing": fixed(*LETTERS, END)[:-1],
}


def _inflates(stream: bytes, size: int) -> Bundle:
    """Return a bundle that inflates a base object, and makes 20 bytes without it."""
    payload = unpacked([(1, size)], packing(SIZE), zframe(b"a" * SIZE), codec=1)
    return through(6, payload, stream, b"a" * SIZE, of=(3, len(stream), sha256(stream)))


FAR_HEADER = b"PK\3\4" + bytes(4) + b"\x08\0" + bytes(16) + b"\xff\xff\xff\xff" + fixed(*LETTERS, END)
BASES["deflate"] = archive(
    {
        "config.json": CONFIG,
        **{name: stream for name, (stream, _) in TAKEN.items()},
        **REFUSED,
        "far-header": FAR_HEADER,
    },
    [],
    "config.json",
)


@bad(
    "unpack-local-header-that-leads-beyond-the-source", "unpack-without-a-source", "unpack.gaps", "M119", base="deflate"
)
@instead
def _far_header() -> Bundle:
    """Have a local header with a name and a field of 65,535 bytes, behind which the stream would be."""
    payload = unpacked([(0, SIZE)], packing(SIZE), zframe(b"a" * SIZE), codec=1)
    return through(6, payload, FAR_HEADER, b"a" * SIZE, of=(3, len(FAR_HEADER), sha256(FAR_HEADER)))


def _taken(name: str, stream: bytes, size: int) -> None:
    def make() -> Bundle:
        return _inflates(stream, size)

    make.__name__ = f"unpack_{name.replace('-', '_')}"
    good("unpack.gaps", "M119", base="deflate")(make)


def _refused(name: str, stream: bytes) -> None:
    bad(f"unpack-stream-{name}", "unpack-without-a-source", "unpack.gaps", "M119", base="deflate")(
        instead(lambda: _inflates(stream, SIZE))
    )


for _name, (_stream, _size) in TAKEN.items():
    _taken(_name, _stream, _size)
for _name, _stream in REFUSED.items():
    _refused(_name, _stream)

"""Vectors of relink.md that look at what the plain ones leave open: every form of operand, and maps of many covers.

What they make is what dibundle makes and the reference decoder confirms.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bundles import Bundle, Frame, Program, numbers, sha256, zframe
from edges import ZEROS, Z, pair
from good import BASES, CODE, CONFIG, archive, cover, good, noise, one, patched
from limits import through
from payloads import relinked

START = 0x400F00  # the regions lie across the end of a page
FAR = 0x523000  # addresses outside of the source, of which steps tell all the same


def draws(seed: str) -> Iterator[int]:
    """Give numbers of 32 bits, always the same."""
    number = 0
    while True:
        digest = sha256(b"%s %d" % (seed.encode(), number))
        yield from (int.from_bytes(digest[at : at + 4], "little") for at in range(0, 32, 4))
        number += 1


def le(value: int, width: int = 4) -> bytes:
    """Return a number modulo the width, the lowest byte first."""
    return (value & (1 << 8 * width) - 1).to_bytes(width, "little")


class Source:
    """A source in the making: regions one after the other, with gaps of three bytes, in one run of addresses."""

    def __init__(self, seed: str, start: int = START) -> None:
        self.data = bytearray(noise(seed, 7))
        self.regions: list[tuple[int, int, int, int, int]] = []  # start, length, address, base, mode
        self.start, self.draw = start, draws(seed)
        self.gap: bytes | None = None  # what lies between regions, if not noise

    def pick(self, most: int) -> int:
        """Draw a number below another."""
        return next(self.draw) % most

    def aim(self, around: int = 0) -> int:
        """Draw an address: in the source, near it, or far away."""
        what = self.pick(16)
        if what == 0:
            return FAR + self.pick(8192)
        if what == 1:
            return self.start - 600 + self.pick(600)
        return self.start + self.pick(around or 4200)

    def region(self, mode: int, data: bytes, *, base: int = 0, address: int | None = None) -> None:
        """Add a region."""
        self.data += noise(f"gap {len(self.data)}", 3) if self.gap is None else self.gap
        at = len(self.data)
        self.regions.append((at, len(data), self.start + at if address is None else address, base, mode))
        self.data += data

    @property
    def here(self) -> int:
        """The address at which the next region begins."""
        return self.start + len(self.data) + 3

    def rows(self) -> list[tuple[int, ...]]:
        """Return the regions as a payload has them."""
        rows, end, behind = [], 0, 0
        for start, length, address, base, mode in self.regions:
            rows.append((start - end, length, address - behind, base - address, mode))
            end, behind = start + length, address + length
        return rows


def x86(source: Source, size: int, *, fixed: bool, base: int = 0) -> bytes:
    """Return code that has each form of operand, some cut off by the end."""
    out = bytearray(b"\xe8")
    while len(out) < size + 3:
        what = source.pick(11 if fixed else 5)
        before = (b"\x0f", b"\x44", b"\x04", b"\xc7", b"\x81", b"\x90")[source.pick(6)]
        if what < 5:
            out += (
                (b"\xe8",),
                (b"\xe9", b"\x00\xe9"),
                (b"\x0f" + bytes((0x80 + source.pick(16),)), b"\x0e\x81"),
                (bytes((0x05 + 8 * source.pick(8),)),),
                (before + bytes((0x05 + 8 * source.pick(32),)),),
            )[what][source.pick(2) if what in {1, 2} else 0]
            out += le(source.aim() - (source.here + len(out) + 4))
            continue
        out += (
            before + bytes((0xB8 + source.pick(8),)),
            (b"\x68", b"\x3d")[source.pick(2)],
            bytes((source.pick(8) * 8 + 4, source.pick(32) * 8 + 5)),
            before + bytes((0xC0 + source.pick(8),)),
            before + bytes((0xF8 + source.pick(8),)),
            _modrm(source),
        )[what - 5]
        out += le(source.aim() - base)
    return bytes(out[:size])


def _modrm(source: Source) -> bytes:
    """Return C7 or 81 with a byte behind it that says where the operand is, and what is between."""
    m = source.pick(256)
    between = (m & 7 == 4) + (0, 1, 4, 0)[m >> 6]
    return (b"\xc7", b"\x81")[source.pick(2)] + bytes((m,)) + bytes(source.pick(256) for _ in range(between))


def arm(source: Source, words: int) -> bytes:
    """Return instructions that tell of addresses, by themselves or by a page set before."""
    out = bytearray(noise("arm", -source.here % 4))
    for _ in range(words):
        here = source.here + len(out)
        what, register, other = source.pick(12), source.pick(4), source.pick(4)
        register, other = register + 28 * (register == 3), other + 28 * (other == 3)  # 0, 1, 2 and 31
        distance = (source.aim() - here) // 4
        scaled = source.pick(4096) >> source.pick(6) << 10 | other << 5 | register
        word = (
            0x94000000 | distance & 0x3FFFFFF,
            0x14000000 | distance & 0x3FFFFFF,
            0x54000000 | (distance & 0x7FFFF) << 5 | source.pick(32),
            0x34000000 | source.pick(2) << 31 | source.pick(2) << 24 | (distance & 0x7FFFF) << 5 | register,
            0x18000000 | source.pick(8) << 29 & 0xC4000000 | (distance & 0x7FFFF) << 5 | register,
            *[_adrp(source, here, register)] * 3,
            0x91000000 | source.pick(2) << 22 | scaled,
            *[0x39000000 | source.pick(4) << 30 | source.pick(2) << 26 | source.pick(4) << 22 | scaled] * 2,
            0xD503201F,
        )[what]
        out += le(word)
    return bytes(out) + b"\x94"


def _adrp(source: Source, here: int, register: int) -> int:
    pages = (FAR - here >> 12) + source.pick(3) if source.pick(4) == 0 else source.pick(5) - 2
    return 0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5 | register


def frames(source: Source, size: int) -> bytes:
    """Return .eh_frame records of many sizes; the last ends with the region, or there is too little left."""
    out = bytearray()
    while len(out) < size:
        here = source.here + len(out)
        length = (12, 13, 16, 17, 20, 4, 11, 8, 24)[source.pick(9)]
        body = le(0 if source.pick(6) == 0 else here + 4 - source.aim())
        body += le(source.aim() - here - 8) + le(source.aim())
        body += bytes((4 if source.pick(2) else source.pick(8),)) + le(source.aim() - here - 17) + noise("frame", 8)
        out += le(length) + body[:length]
    return bytes(out)


def pointers(source: Source, count: int, width: int, base: int, skew: int) -> bytes:
    """Return words that lead to addresses from a base; some are 0."""
    out = noise("skew", skew)
    for _ in range(count):
        out += le(0 if source.pick(8) == 0 else source.aim() - base, width)
    return out


def tables(source: Source, count: int, zeros: list[int]) -> bytes:
    """Return tables: each word a distance from one of some addresses, or a pointer of two words."""
    out = bytearray()
    while len(out) < 4 * count:
        if source.pick(6) == 0:
            out += le(source.aim(), 8)
        zero = zeros[source.pick(len(zeros))]
        out += b"".join(le(source.aim() - zero) for _ in range(1 + source.pick(3)))
    return bytes(out)


def dense(source: Source, count: int) -> list[tuple[int, int, int]]:
    """Return steps of every kind and of many shifts, a few bytes apart, and some that are far away."""
    at = sorted({source.start - 300 + source.pick(5000) for _ in range(count)} | {FAR + n * 1000 for n in range(9)})
    steps = [(here, (source.pick(256) - 128) * (16 if source.pick(2) else 1), source.pick(5) or 3) for here in at]
    steps = [(here, shift, min(kind, 3)) for here, shift, kind in steps]
    steps = [(here, shift, 0 if source.pick(7) == 0 else kind) for here, shift, kind in steps]
    return differences([*steps, (FAR + 9000, 1 << 32, 0), (FAR + 9500, -(1 << 33) + 5, 3)])


def differences(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return steps as a payload has them."""
    return [
        (here - before, shift - last, kind) for (before, last, _), (here, shift, kind) in pairwise([(0, 0, 0), *steps])
    ]


def relinks(source: Source, steps: list[tuple[int, int, int]]) -> Bundle:
    """Return a bundle that makes the relinked source as it is."""
    size = len(source.data)
    return _bundle(source, [], steps, cover([(0, size, 0)], bytes(size), b""), size, least=1 << 60)


def _bundle(
    source: Source,
    sections: list[tuple[int, ...]],
    steps: list[tuple[int, int, int]],
    inner: bytes,
    size: int,
    *,
    least: int,
) -> Bundle:
    from dibundle.codecs import relink

    data = bytes(source.data)
    payload = relinked(source.rows(), sections, steps, inner, least=least)
    out = bytes(relink.decode(payload, data, size))
    frame = Frame(payload, size, codec=5, spans=[(0, 0, len(data))])
    return one(out, Program().do("raw", raw=size, stream=1), frame, objects=[(3, len(data), sha256(data))])


def _x86() -> Source:
    source = Source("x86")
    source.region(1, x86(source, 700, fixed=False))
    source.region(7, x86(source, 1900, fixed=True, base=0x1000), base=0x1000)
    source.region(1, x86(source, 200, fixed=False))
    source.region(6, tables(source, 90, [source.here + 4 * n for n in range(90)]))
    source.region(8, tables(source, 150, [source.here + 4 * n for n in range(150)]) + b"\1\2\3\4\5\6")
    return source


def _arm() -> Source:
    source = Source("arm")
    first = source.here
    source.region(6, tables(source, 120, [first + 4 * n for n in range(120)]))
    source.region(2, arm(source, 850))
    marked = bytearray(noise("align", -source.here % 4))
    for n in range(0, 480, 8):
        page = (first + n >> 12) - (source.here + len(marked) >> 12)
        marked += le(0x90000000 | (page & 3) << 29 | (page >> 2 & 0x7FFFF) << 5)
        marked += le(0x91000000 | (first + n & 4095) << 10)
    for words in (63, 64):  # the page is just as far as it may be, and farther
        page = (FAR >> 12) - (source.here + len(marked) >> 12)
        marked += le(0x90000005 | (page & 3) << 29 | (page >> 2 & 0x7FFFF) << 5) + le(0xD503201F) * words
        marked += le(0x91000000 | 100 << 10 | 5 << 5 | 5)
    for op in (0x79400000 | 2048 << 10, 0x79400000 | 2047 << 10, 0x91000000 | 4095 << 10):
        page = (FAR >> 12) - (source.here + len(marked) >> 12)
        marked += le(0x90000005 | (page & 3) << 29 | (page >> 2 & 0x7FFFF) << 5) + le(op | 5 << 5 | 6)
    source.region(2, bytes(marked))
    return source


def _ends() -> Source:
    """Have regions that end with an operand, or within one whose last bytes, behind the region, are zeros."""
    source = Source("ends")
    source.gap = bytes(3)
    near = source.start + 900
    words = [source.here + 4 * n for n in range(9)]
    source.region(6, b"".join(le(near - words[1]) for _ in range(4)))
    source.region(6, le(near - source.here) * 2 + b"\1\2\3")
    source.region(8, le(near - source.here) + b"\1\0\0\0", address=source.here // 8 * 8)
    source.region(8, le(near, 8) + b"\1\x13\x40\0", address=source.here // 8 * 8)
    for cut in range(3):
        for head, fixed in ((b"\x90\xe8", 0), (b"\x90\x8d\x05", 0), (b"\x90\x68", 1), (b"\x90\xc7\x04\x24", 1)):
            value = near if fixed else near - (source.here + len(head) + 4)
            source.region(7 if fixed else 1, (head + le(value))[: len(head) + 4 - cut])
    for sizes in ((20, 12), (20, 3, 20), (20, 0, 20), (20, 4, 20), (12, 20, 17), (16, 17, 16)):
        for cut in range(2):
            out = bytearray()
            for size in sizes:
                here = source.here + len(out)
                body = le(here + 4 - near) + le(near - here - 8) + le(0) + b"\4" + le(near - here - 17)
                out += le(size) + body[:size] + bytes(max(0, size - len(body)))
            source.region(5, bytes(out[: len(out) - cut]))
    for n in range(12):  # operands that mark tables
        source.region(7, b"\x90\x68" + le(words[n % 9]) + b"\x90")
    source.data += bytes(900)
    return source


def _data() -> Source:
    source = Source("data")
    source.region(5, frames(source, 900))
    source.region(5, frames(source, 300)[:291])
    source.region(3, pointers(source, 60, 8, 0x1000, 5) + b"\1\2\3", base=0x1000)
    source.region(3, pointers(source, 20, 8, 0, -source.here % 8))
    source.region(3, pointers(source, 30, 8, 0, 0), address=(START + 8) // 8 * 8)
    return source


def _probe() -> Source:
    """Have a word for every second address that covers tell of: what their map says of each can be seen."""
    source = Source("probe", 0x10000)
    for length in (170, 40, 330, 9, 210, 64, 300):
        source.region(0, noise(f"probe {length}", length))
    source.region(3, b"".join(le(at, 8) for at in range(0, 1200, 2)), base=0x10000, address=0x20000)
    return source


def riscv(source: Source, count: int) -> bytes:
    """Return instructions of two and four bytes: jumps, pages, and what adds to them, stores and others."""
    out = bytearray(noise("riscv", source.here % 2))
    for _ in range(count):
        here = source.here + len(out)
        what, to, other = source.pick(12), (1, 5, 10, 31)[source.pick(4)], (1, 5, 10, 31)[source.pick(4)]
        far, low = source.aim() - here, source.pick(4096)
        far = 0x2001 * source.pick(90) - 0x8000 if what == 1 and source.pick(3) == 0 else far
        jump = (far >> 20 & 1) << 31 | (far >> 1 & 1023) << 21 | (far >> 11 & 1) << 20 | (far >> 12 & 255) << 12
        page = (source.pick(4) - 1 if source.pick(5) else FAR - here + 2048 >> 12) << 12 & 0xFFFFF000
        store = (low >> 5) << 25 | (low & 31) << 7 | other << 15
        load = low << 20 | other << 15 | to << 7
        if what == 0:
            out += noise(f"short {len(out)}", 1)[:1].translate(bytes(n & 0xFC for n in range(256))) + b"\x41"
            continue
        out += le(
            (
                0x6F | jump | to << 7,
                *[0x17 | page | to << 7] * 3,
                load | (0x3003, 0x2007, 0x0003)[source.pick(3)],
                load | (0x0013, 0x7013, 0x0013)[source.pick(3)],
                load | (0x0067, 0x1067)[source.pick(2)],
                *[store | (0x3023, 0x2027)[source.pick(2)]] * 2,
                (0x63, 0x33, 0x37)[source.pick(3)] | load,
                0x13,
            )[what - 1]
        )
    return bytes(out) + b"\x97\0"


def thumb(source: Source, count: int) -> bytes:
    """Return instructions of two and four bytes: branches, loads from pools all around, and what adds the place."""
    out = bytearray(noise("thumb", source.here % 2))
    for _ in range(count):
        here = source.here + len(out)
        what, register, far = source.pick(9), source.pick(3), source.aim() - here - 4
        if what == 0:  # a pool
            out += b"".join(le(source.aim() - here + source.pick(90)) for _ in range(1 + source.pick(3)))
        elif what < 4:
            kind = (0xD000, 0xC000, 0x9000)[what - 1]
            s, first, second = (far >> n & 1 for n in (24, 23, 22))
            out += le(0xF000 | s << 10 | far >> 12 & 1023, 2)
            out += le(kind | (first ^ s ^ 1) << 13 | (second ^ s ^ 1) << 11 | far >> 1 & 2047, 2)
        elif what == 4:
            out += le(0xF85F | source.pick(2) << 7, 2) + le((8 + register) << 12 | source.pick(200), 2)
        elif what == 5:
            out += le(0x4800 | register << 8 | source.pick(40), 2)
        elif what < 8:
            out += le(0x4478 | register | source.pick(2) << 7, 2)
        else:
            out += (b"\xe9\xbf\x12\x34", b"\xff\xbf")[source.pick(2)]
    return bytes(out) + b"\xf0\xf8"


def go(source: Source, count: int, base: int, *, room: int = 0) -> bytes:
    """Return a table of Go's functions, whose offsets lead anywhere near; some records lie across its end."""
    names, programs, functions = 72, 200, 400
    head = noise("go", 8) + b"".join(le(n, 8) for n in (count, 5, 0, names, 100, 150, programs, functions))
    out = bytearray(head + noise("tables", functions - len(head)))
    entries, records = bytearray(), bytearray()
    for _ in range(count):
        entries += le(source.aim() - base) + le(8 * count + len(records) - (source.pick(9) == 0) * 3)
        fields = [source.aim() - base, source.aim() - source.here - names, 7, 8]
        fields += [0 if source.pick(5) == 0 else source.aim() - source.here - programs for _ in range(3)]
        more = source.pick(12)
        records += b"".join(map(le, [*fields, more, 9, 10])) + bytes((1, 2, 3, 4))
        records += b"".join(le((source.aim() - source.here - programs) * (source.pick(4) > 0)) for _ in range(more))
    out += entries + records
    return bytes(out[: len(out) - room])


def _others() -> Source:
    source = Source("others")
    source.region(6, tables(source, 60, [source.here + 4 * n for n in range(60)]))
    source.region(11, riscv(source, 400))
    source.region(12, thumb(source, 500))
    source.region(13, pointers(source, 60, 4, 0x1000, -source.here % 4) + b"\1\2\3", base=0x1000)
    source.region(11, riscv(source, 90))
    source.region(12, thumb(source, 90))
    source.region(14, go(source, 12, source.start), base=source.start)
    source.region(14, go(source, 5, source.start, room=20), base=source.start)
    source.region(14, go(source, 3, source.start)[:71], base=source.start)
    for place, number in ((8, 1 << 63), (32, 1 << 40), (56, 5000), (64, 1 << 63)):
        table = bytearray(go(source, 3, source.start))
        table[place : place + 8] = le(number, 8)
        source.region(14, bytes(table), base=source.start)
    return source


def records(source: Source, count: int) -> bytes:
    """Return records of frames of functions that follow each other, or nearly, and of their tables; and of others."""
    out, end, table = bytearray(), 0, 0
    for _ in range(count):
        here = source.here + len(out)
        gap = (0, 1, 16, 8191, 8192, -1, 1 << 31, -8192)[source.pick(8)] if source.pick(3) == 0 else source.pick(64)
        code, more = (end + 15 & ~15) + gap, source.pick(3)
        size, number = (source.pick(300), 0)[source.pick(9) == 0], 0 if source.pick(9) == 0 else len(out) + 4
        table += (source.pick(200), 8191, 8192, -4, source.pick(9000))[source.pick(5)]
        body = le(number) + le(code - here - 8) + le(size) + bytes((4, 4, 4, 0)[source.pick(4)] for _ in range(1))
        body += le(table - here - 17) + noise(f"record {len(out)}", more)
        if number:
            end = code + size
        if source.pick(7) == 0:  # what is behind it is not said
            body = body[: 4 + source.pick(17)]
        out += le(len(body)) + body
    return bytes(out) + le(0)


def index(source: Source, frames_at: int, count: int, head: bytes = b"\1\x1b\3\x3b") -> bytes:
    """Return an index of the frames at an address: its pairs are noise."""
    return head + le(frames_at - source.here - 4) + le(count) + noise(f"index {frames_at} {count}", 8 * count + 3)


def relocations(source: Source, count: int, around: int, base: int) -> bytes:
    """Return relocations, most of them of words around an address."""
    out = bytearray()
    for _ in range(count):
        place = source.aim() if source.pick(4) == 0 else around + source.pick(420) - 8
        kind = (8, 8, 1027, 9, (1 << 32) + 8, 1)[source.pick(6)]
        out += le(place - base, 8) + le(kind, 8) + (le(source.aim(), 8), noise(f"addend {len(out)}", 8))[source.pick(2)]
    return bytes(out) + noise("relocations", 5)


def symbols(source: Source, count: int, names: int) -> bytes:
    """Return symbols: where their names are, from an address on, what they are, addresses and sizes."""
    entries = (
        le(source.aim() - names) + noise("kind", 4) + le(0 if source.pick(4) == 0 else source.aim(), 8) + le(64, 8)
        for _ in range(count)
    )
    return b"".join(entries) + noise("symbols", 17)


def _derived() -> Source:
    source = Source("derived")
    frames_at = source.here
    source.region(5, records(source, 60))
    source.region(4, index(source, frames_at, 20))
    source.region(4, index(source, frames_at, 20))  # of frames that are met
    words = source.here
    source.region(3, noise("words", 400))
    source.region(9, relocations(source, 40, words, 0x1000), base=0x1000)
    other = source.here
    source.region(5, records(source, 30) + b"\1\2\3")
    source.region(4, index(source, other, 90))
    source.region(4, index(source, other + 1, 5))
    source.region(4, index(source, other, 5, b"\1\x1b\3\x3a"))
    source.region(4, b"\1\x1b\3\x3b" + bytes(5))
    source.region(9, relocations(source, 20, words, 0))
    source.region(9, relocations(source, 5, frames_at, 0))
    source.region(0, noise("here", 100), address=words + 100)  # two parts at an address
    source.region(0, noise("there", 50), address=words + 100)
    source.region(10, symbols(source, 30, source.start + 64), base=source.start + 64)
    source.region(10, symbols(source, 10, source.start), base=source.start)
    last = source.here
    source.region(5, records(source, 40))
    source.region(4, index(source, last, 0))
    return source


SOURCES = {
    "x86": _x86(),
    "arm": _arm(),
    "data": _data(),
    "ends": _ends(),
    "probe": _probe(),
    "derived": _derived(),
    "others": _others(),
}
BASES["relinking"] = archive(
    {"config.json": CONFIG, **{f"{name}.bin": bytes(source.data) for name, source in SOURCES.items()}},
    [],
    "config.json",
)


@good("relink mode.x86-64 code", "relink mode.fixed x86-64 code", "relink mode.fixed tables", base="relinking")
def relink_every_operand_of_x86_64() -> Bundle:
    return relinks(SOURCES["x86"], dense(SOURCES["x86"], 160))


@good("relink mode.aarch64 code", "relink mode.tables", base="relinking")
def relink_every_operand_of_aarch64() -> Bundle:
    return relinks(SOURCES["arm"], dense(SOURCES["arm"], 160))


@good(
    "relink mode.RISC-V code",
    "relink mode.Thumb code",
    "relink mode.words",
    "relink mode.Go functions",
    base="relinking",
)
def relink_every_operand_of_risc_v_and_thumb() -> Bundle:
    return relinks(SOURCES["others"], dense(SOURCES["others"], 160))


@good("relink mode.frames", "relink mode.pointers", base="relinking")
def relink_frames_and_pointers() -> Bundle:
    return relinks(SOURCES["data"], dense(SOURCES["data"], 160))


def derives(steps: list[tuple[int, int, int]], *, moved: int) -> Bundle:
    """Make a source, whose fields are taken off, and put back where they were or as if all of it lay elsewhere."""
    source = SOURCES["derived"]
    size = len(source.data)
    sections, end = [], 0
    for start, length, address, base, mode in source.regions:
        kept = mode if mode in (4, 5, 9) else 0
        sections.append((start, length, address + moved, base + moved * (mode == 9), kept))
    rows = []
    behind = 0
    for start, length, address, base, mode in sections:
        rows.append((start - end, length, address - behind, base - address, mode))
        end, behind = start + length, address + length
    return _bundle(source, rows, steps, cover([(0, size, 0)], bytes(size), b""), size, least=1 << 60)


@good("relink mode.index", "relink mode.frames", "relink mode.relocations", "relink stream.sections", base="relinking")
def relink_fields_that_follow_from_others() -> Bundle:
    made = derives([], moved=0)
    assert made.targets[0].out == bytes(SOURCES["derived"].data)
    return made


@good("relink mode.relocations", "relink mode.symbols", base="relinking")
def relink_fields_that_are_derived_and_those_that_are_not() -> Bundle:
    return derives(dense(SOURCES["derived"], 160), moved=0x40)


@good("relink mode.frames", "relink mode.tables", "relink stream.regions", base="relinking")
def relink_operands_at_the_end_of_a_region() -> Bundle:
    source = SOURCES["ends"]
    steps = [(source.start - 8, 64, 2), (source.start + 880, 4096, 3), (source.start + 5000, 0, 0)]
    return relinks(source, differences(steps))


TOP, _RAW = 1 << 61, "relink-raw"


@pair("relink-addresses-at-their-limit", "relink-raw", "M109", beyond="relink-end-of-a-region-a-byte-too-high")
def _addresses(over: int) -> Bundle:
    rows = [(0, 3000, TOP - 3000 + over, 3000 - over, 0)]
    steps = [(5, TOP - 1, 3), (TOP - 5, -2 * TOP + 2, 3)]
    payload = relinked(rows, [(0, 3000, TOP - 3000)], steps, cover([(0, 3000, 0)], bytes(3000), b""), least=TOP - 1)
    return through(5, payload, CODE, CODE)


@pair("relink-regions-of-tables-as-many-as-may-be", "relink-raw", "M108", beyond="relink-a-region-of-tables-too-many")
def _regions_of_tables(over: int) -> Bundle:
    rows = [(0, 8, 0, 0, 6 + 2 * (n % 2)) for n in range(16 + over)]
    return through(5, relinked(rows, [], [], cover([(0, 3000, 0)], bytes(3000), b"")), CODE, CODE)


def _rows(counts: tuple[int, int, int], size: int) -> bytes:
    """Return a payload whose rows are of one byte each time: pieces of two bytes, steps one address apart."""
    rows = [b"\2" * (4 * counts[0]), b"\2\2\2\0" * counts[1], b"\1" * counts[2], bytes(counts[2]), b"\3" * counts[2]]
    packed = [zframe(row) if row else b"" for row in rows]
    payload = b"\1\0\x08" + numbers(*counts)
    for row, data in zip(rows, packed, strict=True):
        payload += (b"\1" if row else b"\0") + numbers(len(data), len(row))
    return payload + b"".join(packed) + cover([], b"", bytes(size), packers={4: (1, zframe(bytes(size)))})


REGIONS, STEPS = 4096, 128 + len(ZEROS) // 16
COUNTS = (("regions", (REGIONS, 0, 0), 0), ("sections", (0, REGIONS, 0), 1), ("steps", (0, 0, STEPS), 2))
for _name, _counts, _which in COUNTS:

    @pair(
        f"relink-{_name}-as-many-as-may-be", "relink-raw", "M105", beyond=f"relink-{_name}-one-too-many", base="zeros"
    )
    def _many(over: int, counts: tuple[int, int, int] = _counts, which: int = _which) -> Bundle:
        changed = [count + over * (index == which) for index, count in enumerate(counts)]
        payload = _rows((changed[0], changed[1], changed[2]), 4 * REGIONS)
        return through(5, payload, ZEROS, bytes(4 * REGIONS), of=Z)


for _name, _counts in (("regions", (139, 0, 0)), ("sections", (0, 139, 0)), ("steps", (0, 0, 315))):

    @pair(
        f"relink-{_name}-as-many-as-3000-bytes-have", "relink-raw", "M105", beyond=f"relink-{_name}-beyond-3000-bytes"
    )
    def _few(over: int, counts: tuple[int, int, int] = _counts) -> Bundle:
        changed = [count + over * bool(count) for count in counts]
        payload = _rows((changed[0], changed[1], changed[2]), 1000)
        return through(5, payload, CODE, bytes(1000))


def many_covers(seed: str, *, count: int, least: int, kinds: tuple[int, ...]) -> Bundle:
    """Relink by the pieces of covers that lie over each other in all ways; few of the steps are fixed."""
    source = SOURCES["probe"]
    size = len(source.data)
    draw = draws(seed)
    covers, target, end = [], 0, 0
    for _ in range(count):
        gap, length = next(draw) % 9, 1 + next(draw) % (9, 40, 160)[next(draw) % 3]
        at = (next(draw) % 40) * 30 if next(draw) % 2 else next(draw) % 1250
        length = min(length, size - at)
        covers.append((gap, length, at - (end + gap)))
        target, end = target + gap + length, at + length
    sections, left = [], target
    while left > 60:
        gap, length = next(draw) % 12, 20 + next(draw) % 400
        length = min(length, left - gap)
        sections.append((gap, length, 0x30000 if not sections else next(draw) % 64))
        left -= gap + length
    total = target + size
    covers.append((0, size, -end))
    literals = noise("literals", sum(gap for gap, _, _ in covers))
    inner = cover(covers, bytes(total - len(literals)), literals)
    steps = [
        (0x10000 + 8 + n * 90 + next(draw) % 40, (0x20000, 0x20040, 0)[next(draw) % 3], kind)
        for n, kind in enumerate(kinds)
    ]
    return _bundle(source, sections, differences(steps), inner, total, least=least)


def relinking_by(source: Source, pieces: list[tuple[int, int, int]], steps: list[tuple[int, int, int]]) -> Bundle:
    """Relink by covers, each as its place in source and target and its length; the target is one section at 30000h."""
    covers, target, end = [], 0, 0
    for at, place, length in pieces:
        covers.append((place - target, length, at - (end + place - target)))
        target, end = place + length, at + length
    size = len(source.data)
    covers.append((0, size, -end))
    literals = noise("literals", sum(gap for gap, _, _ in covers))
    inner = cover(covers, bytes(target + size - len(literals)), literals)
    return _bundle(source, [(0, target, 0x30000)], steps, inner, target + size, least=8)


def _covers(number: int, count: int, least: int, *kinds: int) -> None:
    """Name a vector of many covers."""

    def make() -> Bundle:
        return many_covers(f"covers {number}", count=count, least=least, kinds=kinds)

    make.__name__ = f"relink_by_{count}_covers_of_{least}_or_more"
    good("relink.least", "relink stream.sections", base="relinking")(make)


_covers(0, 60, 1, 3, 1, 2, 3, 0, 1, 3, 3, 0, 0, 1, 3)
_covers(1, 60, 8, 1, 0, 3)
_covers(2, 25, 20, *[3] * 12)
_covers(3, 90, 3, 1, 3)


# The model, and operands among literals


@good("packer.model")
def cover_model_of_what_comes_again() -> Bundle:
    """Change the same words of the source again and again: as the time before, as addresses do, and otherwise."""
    from array import array

    from dibundle.codecs import model

    draw = draws("what comes again")
    covers, rows, difference, literals, end = [], array("q"), bytearray(), b"", 0
    for turn in range(40):
        gap, start, length = next(draw) % 5, next(draw) % 7 * 100, 300 + next(draw) % 90
        covers.append((gap, length, start - (rows[-3] + rows[-1] if rows else 0) - gap))
        rows.extend((start, end + gap, length))
        literals += bytes(gap)
        end += gap + length
        piece = bytearray(length)
        for at in range(next(draw) % 30, length - 4, 9 + next(draw) % 40):
            word = int.from_bytes(CODE[start + at : start + at + 4], "little")
            how, moved = next(draw) % 4, rows[-2] - start
            wanted = (word + 0x1234 - moved, word + 8, word ^ 0xFF, word + next(draw))[how] & 0xFFFFFFFF
            piece[at : at + 4] = bytes(
                a - b & 255 for a, b in zip(wanted.to_bytes(4, "little"), CODE[start + at :], strict=False)
            )
        if turn % 3 == 0:
            piece[-2:] = b"\1\2"
        difference += piece
    coded = b"\x0b" + model.encode(CODE, rows, bytes(difference), bits=11)
    out, at = b"", 0
    for source, target, length in zip(rows[0::3], rows[1::3], rows[2::3], strict=True):
        out += bytes(target - len(out))
        out += bytes(a + b & 255 for a, b in zip(CODE[source : source + length], difference[at:], strict=False))
        at += length
    return patched(4, cover(covers, bytes(difference), literals, packers={3: (3, coded)}), CODE, out)


def operands(seed: str, machine: int) -> bytes:
    """Return code with operands of every kind, into the target and beyond it, and bytes that are only alike."""
    draw, out = draws(seed), bytearray()
    while len(out) < (1500 if machine == 1 else 9000):  # from a page into another
        far = (next(draw) % 4000 - 2000, next(draw) - (1 << 31), -len(out) - 1 - next(draw) % 9)[next(draw) % 3]
        if machine == 1:
            before = (
                b"\xe8",
                b"\xe9",
                b"\x0f\x84",
                b"\x8b\x05",
                b"\xc7\x3d",
                b"\x12\x05",
                b"\x8b\x06",
                b"\x0f\x10",
                b"\x0f\xb6",
            )[next(draw) % 9]
            out += before + (far & 0xFFFFFFFF).to_bytes(4, "little")
        else:
            op = (0x94000000, 0x14000000, 0x90000003, 0xF0000011, 0xB4000000)[next(draw) % 5]
            out += (op | far & 0x3FFFFFF if op >> 26 in (5, 37) else op ^ (far & 0xFFFFE0)).to_bytes(4, "little")
        out += bytes(next(draw) % 256 for _ in range(next(draw) % 3 if machine == 1 else next(draw) % 50 // 48))
    return bytes(out)


def _operands(name: str, machine: int) -> None:
    """Name a vector whose runs of literals begin and end anywhere, of one byte up."""

    def make() -> Bundle:
        from array import array

        from dibundle.codecs import cover as codec

        code = operands(f"operands {machine}", machine)
        cuts = [0, 1, 6, 10, 300, 301, 777, len(code)]
        covers, rows, out = [], array("q"), b""
        for start, stop in pairwise(cuts):
            covers.append((stop - start, 7, -(rows[-3] + 7 if rows else 0) - (stop - start) + 100))
            out += code[start:stop]
            rows.extend((100, len(out), 7))
            out += CODE[100:107]
        out += code[:333]
        literals = codec.turned(code + code[:333], rows, len(out), machine=machine, back=False)
        inner = cover(covers, bytes(7 * len(covers)), bytes(literals))
        return through(5, relinked([], [], [], inner, machine=machine), CODE, out)

    make.__name__ = f"relink_literals_of_{name}"
    good("relink.machine", "M133")(make)


_operands("x86_64", 1)
_operands("aarch64", 2)

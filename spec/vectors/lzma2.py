"""Vectors of LZMA2, coded symbol by symbol: encoders choose what is shortest, and never what is wrong."""

from __future__ import annotations

from collections import defaultdict

from bundles import Bundle, Frame
from faults import bad
from good import cover, drawn, good, noise
from limits import instead

STATE, PROPERTIES, DICTIONARY = 0xA0, 0xC0, 0xE0  # what a chunk resets; 0x80: nothing


class Lzma:
    """What chunks of LZMA hold. Methods code a symbol each; ``out``: what they make since the dictionary's reset."""

    def __init__(self, lc: int = 3, lp: int = 0, pb: int = 2) -> None:
        self.lc, self.lp, self.pb = lc, lp, pb
        self.out = bytearray()
        self.before = b""  # what is in dictionaries before
        self.reset()

    def reset(self) -> None:
        """Begin with a new state."""
        self.state, self.repeats = 0, [1] * 4
        self.chances: defaultdict[object, int] = defaultdict(lambda: 1024)

    def begin(self, control: int) -> Lzma:
        """Begin a chunk."""
        self.control, self.low, self.range, self.shifts = control, 0, 0xFFFFFFFF, 0
        if control >= STATE:
            self.reset()
        if control >= DICTIONARY:
            self.before, self.out = self.before + self.out, bytearray()
        self.start = len(self.out)
        return self

    def end(self, *, over: int = 0, more: int = 0, first: int = 0, behind: bytes = b"") -> bytes:
        """Return the chunk. Faults: the code at its end, compressed bytes that it claims, its first byte, its last."""
        self._normalize()
        data = bytes((first,)) + (self.low + over).to_bytes(4 + self.shifts) + behind
        size = len(self.out) - self.start - 1
        head = bytes((self.control | size >> 16,)) + (size & 0xFFFF).to_bytes(2) + (len(data) - 1 + more).to_bytes(2)
        return head + (bytes(((self.pb * 5 + self.lp) * 9 + self.lc,)) if self.control >= PROPERTIES else b"") + data

    def literals(self, data: bytes) -> Lzma:
        """Code bytes; the first one by the byte that would follow a match, if one is before."""
        for byte in data:
            self._bit("match", self.state, self._place(), bit=0)
            last = self.out[-1] if self.out else 0
            kind = ((len(self.out) & (1 << self.lp) - 1) << self.lc) + (last >> 8 - self.lc)
            other = self.out[-self.repeats[0]] if self.state >= 7 else None
            node = 1
            for at in reversed(range(8)):
                bit, guess = byte >> at & 1, None if other is None else other >> at & 1
                self._bit("literal", kind, guess, node, bit=bit)
                node, other = node << 1 | bit, other if guess == bit else None
            self.state = 0 if self.state < 4 else self.state - (3 if self.state < 10 else 6)
            self.out.append(byte)
        return self

    def match(self, distance: int, length: int) -> Lzma:
        """Code a match of so many bytes, so far back."""
        self._bit("match", self.state, self._place(), bit=1)
        self._bit("is repeat", self.state, bit=0)
        self._length("length", length)
        far = distance - 1
        count = max(far.bit_length() - 2, 0)  # bits below the first two
        slot = far if far < 4 else 2 * (count + 1) + (far >> count & 1)
        self._tree("slot", min(length - 2, 3), value=slot, count=6)
        low = far & (1 << count) - 1
        if 4 <= slot < 14:
            self._turned("special", slot, value=low, count=count)
        elif slot >= 14:
            for at in reversed(range(4, count)):
                self._normalize()
                self.range >>= 1
                self.low += self.range * (low >> at & 1)
            self._turned("align", value=low & 15, count=4)
        self.state = 7 if self.state < 7 else 10
        self.repeats = [distance, *self.repeats[:3]]
        return self._copy(length)

    def repeat(self, which: int, length: int) -> Lzma:
        """Code a match with one of the last four distances; of one byte: a short repeat."""
        self._bit("match", self.state, self._place(), bit=1)
        self._bit("is repeat", self.state, bit=1)
        self._bit("is another", self.state, bit=which > 0)
        if which == 0:
            self._bit("is long", self.state, self._place(), bit=length > 1)
        for at in range(1, min(which, 2) + 1):
            self._bit("is behind", at, self.state, bit=which > at)
        if length > 1:
            self._length("length of a repeat", length)
        self.state = (8 if length > 1 else 9) if self.state < 7 else 11
        self.repeats.insert(0, self.repeats.pop(which))
        return self._copy(length)

    def _place(self) -> int:
        return len(self.out) & (1 << self.pb) - 1

    def _copy(self, length: int) -> Lzma:
        for _ in range(length):
            distance = self.repeats[0]
            self.out.append(self.out[-distance] if distance <= len(self.out) else 0)
        return self

    def _length(self, kind: str, length: int) -> None:
        low = length - 2
        self._bit(kind, "is longer", bit=low >= 8)
        if low >= 8:
            self._bit(kind, "is longest", bit=low >= 16)
        if low >= 16:
            self._tree(kind, "high", value=low - 16, count=8)
        else:
            self._tree(kind, low >= 8, self._place(), value=low % 8, count=3)

    def _tree(self, *key: object, value: int, count: int) -> None:
        node = 1
        for at in reversed(range(count)):
            bit = value >> at & 1
            self._bit(*key, node, bit=bit)
            node = node << 1 | bit

    def _turned(self, *key: object, value: int, count: int) -> None:
        node = 1
        for at in range(count):
            bit = value >> at & 1
            self._bit(*key, node, bit=bit)
            node = node << 1 | bit

    def _normalize(self) -> None:
        if self.range < 1 << 24:
            self.range, self.low, self.shifts = self.range << 8, self.low << 8, self.shifts + 1

    def _bit(self, *key: object, bit: int) -> None:
        self._normalize()
        chance = self.chances[key]
        bound = (self.range >> 11) * chance
        if bit:
            self.low, self.range = self.low + bound, self.range - bound
            self.chances[key] = chance - (chance >> 5)
        else:
            self.range = bound
            self.chances[key] = chance + (2048 - chance >> 5)


def uncompressed(data: bytes, control: int = 2) -> bytes:
    """Return a chunk that is stored; 1 resets the dictionary."""
    return bytes((control,)) + (len(data) - 1).to_bytes(2) + data


def of_chunks(*chunks: bytes, out: bytes, end: bytes = b"\0") -> Bundle:
    """Return a bundle with literals in these chunks, and their end."""
    payload = cover([], b"", out, packers={4: (2, b"".join(chunks) + end)})
    return drawn(Frame(payload, len(out), codec=4), out)


# --- symbols ----------------------------------------------------------------------------------------------------------

LENGTHS = (2, 3, 4, 5, 9, 10, 13, 17, 18, 40, 145, 273)
DISTANCES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 25, 33, 50, 64, 100, 127, 128, 129, 130, 191, 192, 200, 257, 300, 511, 600)


@good("packer.LZMA2", "M101")
def lzma2_with_every_symbol() -> Bundle:
    """Have matches of all kinds of lengths and distances, repeats of each distance, and literals behind all of them."""
    coder = Lzma().begin(DICTIONARY).literals(noise("symbols", 150))
    for number, distance in enumerate((*DISTANCES, *DISTANCES[::-1])):
        if distance <= len(coder.out):
            coder.match(distance, LENGTHS[number * 5 % len(LENGTHS)])
        which = number % 3 + 1
        coder.literals(bytes((coder.out[-coder.repeats[0]] ^ 1 << number % 8,)))
        coder.repeat(which, LENGTHS[number * 7 % len(LENGTHS)]).repeat(0, 1)
        coder.repeat(0, LENGTHS[-number % len(LENGTHS)]).literals(b"%d" % number).repeat(0, 1).literals(b"s")
        coder.repeat(3, 2)
    return of_chunks(coder.end(), out=bytes(coder.out))


@good("packer.LZMA2", "M101")
def lzma2_of_chunks_that_go_on() -> Bundle:
    """Have a chunk of more than 64 KiB, then, at once, what goes on with its state, and what does not in turn."""
    coder = Lzma(1, 2, 4).begin(DICTIONARY).literals(b"far" + noise("chunks", 60))
    coder.match(17, 273)
    for number in range(300):
        coder.repeat(0, 273).literals(bytes((number % 7,)))
    coder.match(len(coder.out), 12).match(40000, 30).match(66000, 4)
    chunks = [coder.end()]
    chunks.append(coder.begin(0x80).literals(b"go on").repeat(3, 20).repeat(2, 19).end())
    chunks.append(coder.begin(0x80).repeat(1, 30).literals(b"!").end())
    chunks.append(coder.begin(STATE).literals(b"anew").match(81000, 9).repeat(2, 5).end())
    coder.out += b"stored"
    chunks.append(uncompressed(b"stored"))
    chunks.append(coder.begin(0x80).literals(b"still").repeat(0, 6).repeat(1, 7).end())
    coder.lc, coder.lp, coder.pb = 4, 0, 0
    chunks.append(coder.begin(PROPERTIES).match(5, 8).literals(b"other places").repeat(1, 3).end())
    coder.lc, coder.lp, coder.pb = 0, 4, 3
    chunks.append(coder.begin(DICTIONARY).literals(b"another dictionary").match(18, 50).end())
    return of_chunks(*chunks, out=bytes(coder.before + coder.out))


# --- faults -----------------------------------------------------------------------------------------------------------

_FIRST = b"first"


def _words(lc: int = 3, lp: int = 0, pb: int = 2, *, start: bytes = b"abcde") -> Lzma:
    """Return a coder of a few symbols."""
    return Lzma(lc, lp, pb).begin(DICTIONARY).literals(start).match(5, 40).literals(b"end")


def _marked() -> bytes:
    """Return a chunk with the match that marks the end of LZMA, which LZMA2 has not, behind all of its bytes."""
    coder = _words()
    size = len(coder.out)
    coder.match(1 << 32, 2)
    del coder.out[size:]
    return coder.end()


def _reset_first(repeat: int | None) -> tuple[bytes, bytes, bytes]:
    """Return a chunk of zeros, one of another dictionary that begins with a copy of what was before; what they make."""
    coder = Lzma()
    first = coder.begin(DICTIONARY).literals(bytes(9)).end()
    coder.begin(DICTIONARY)
    if repeat is None:
        coder.match(3, 4)
    else:
        coder.repeat(0, repeat)
    return first, coder.literals(b"end").end(), bytes(9) + bytes(coder.out)


_WORDS = bytes(_words().out)
for _name, _chunks, _out in (
    ("with-control-3-behind-a-chunk", (uncompressed(_FIRST, 1), uncompressed(b"four", 3)), _FIRST + b"four"),
    ("with-control-127-behind-a-chunk", (uncompressed(_FIRST, 1), uncompressed(b"four", 127)), _FIRST + b"four"),
    ("with-properties-of-225", (_words(0, 0, 5).end(),), _WORDS),
    ("with-a-chunk-that-claims-more", (_words().end(more=9),), _WORDS),
    ("with-a-byte-behind-a-code", (_words().end(behind=b"\0"),), _WORDS),
    ("with-a-code-other-than-0", (_words().end(over=1),), _WORDS),
    ("with-a-code-that-begins-with-1", (_words().end(first=1),), _WORDS),
    ("with-a-mark-of-lzma", (_marked(),), _WORDS),
    ("with-a-stored-chunk-that-claims-more", (b"\1\0\x08" + _FIRST,), _FIRST),
):
    bad(f"cover-lzma2-{_name}", "lzma2-with-every-symbol", "packer.LZMA2", "M101")(
        instead(lambda chunks=_chunks, out=_out: of_chunks(*chunks, out=out))
    )
for _name, _repeat in (("a-match", None), ("a-repeat", 3), ("a-short-repeat", 1)):
    *_parts, _made = _reset_first(_repeat)
    bad(f"cover-lzma2-with-{_name}-before-its-dictionary", "lzma2-with-every-symbol", "packer.LZMA2", "M101")(
        instead(lambda chunks=_parts, out=_made: of_chunks(*chunks, out=out))
    )

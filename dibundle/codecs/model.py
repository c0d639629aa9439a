"""The modelled difference: an arithmetic coder that sees the source beside each byte of a difference stream.

What differs between two builds of native code is mostly addresses, and the source around an address says that it is
one, how it was encoded and where it pointed. A general compressor that sees the difference alone knows none of that.
``spec/cover.md`` has the model to the bit; the loops here are the twins of those in ``native/mixer.c``.
"""

from __future__ import annotations

from array import array
from typing import Final

from dibundle.codecs import messages
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.errors import BundleError

MIN_BITS: Final = 10
MAX_BITS: Final = 20
"""Limits of the tables' size: 12 tables of ``1 << bits`` counters of four bytes, so 48 MiB at most."""

_INPUTS: Final = 6
_SPAN: Final = 32  # equal bytes that one bit stands for ...
_STILL: Final = 128  # ... after so many of them
_M32: Final = 0xFFFFFFFF
_KNOTS: Final = (
    *(1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607),
    *(3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094),
)


def encode(source: Buffer, rows: array[int], difference: Buffer, *, bits: int, quiet: int) -> bytes:
    """Return the modelled stream of ``difference``, the target minus the source over the covers in ``rows``.

    ``rows`` has source offset, target offset and length of one cover after another. ``bits`` (10 to 20) sizes the
    tables, ``quiet`` (0 to 32) is after how many equal bytes the short model is used, 0 never: faster, larger.
    """
    if LIBRARY is None:
        coder = _Encoder()
        _run(coder, source, rows, memoryview(bytearray(difference)), bits, quiet)
        return coder.finish()
    held = Pinned(source)
    room = len(difference) // 4 + 4096
    while True:
        out = bytearray(room)
        size = LIBRARY.dib_model_encode(
            *(held, held.size, Pinned(rows), len(rows) // 3, Pinned(difference)),
            *(bits, quiet, Pinned(out), room),
        )
        if size < 0:
            raise MemoryError("no memory for the tables of the model")
        if size <= room:
            return bytes(memoryview(out)[:size])
        room = size


def decode(stream: Buffer, source: Buffer, rows: array[int], difference: memoryview, *, bits: int, quiet: int) -> None:
    """Fill ``difference``, all zeros and just as long as ``rows`` cover, with what ``stream`` holds.

    Raises ``BundleError`` where the stream is not one that :func:`encode` could have written.
    """
    if not MIN_BITS <= bits <= MAX_BITS or quiet > 32:
        raise BundleError(messages.PAYLOAD_MODEL_PARAMETERS, bits=bits, quiet=quiet)
    if LIBRARY is None:
        decoder = _Decoder(stream)
        _run(decoder, source, rows, difference, bits, quiet)
        decoder.finish()
        return
    held, stored = Pinned(source), Pinned(stream)
    status = LIBRARY.dib_model_decode(
        *(held, held.size, Pinned(rows), len(rows) // 3, Pinned(difference)),
        *(bits, quiet, stored, stored.size),
    )
    if status == -2:
        raise MemoryError("no memory for the tables of the model")
    if status:
        raise _damaged()


def _damaged() -> BundleError:
    return BundleError(messages.PAYLOAD_MODEL_DAMAGED)


class _Coder:
    """The range ``low`` to ``high`` that every coded bit narrows."""

    def __init__(self) -> None:
        self.low = 0
        self.high = _M32

    def bit(self, bit: int, chance: int) -> int:
        """Code one bit that is 1 with ``chance`` of 65536 and return it; ``bit`` counts when encoding only."""
        middle = self.low + ((self.high - self.low) * chance >> 16)
        bit = self.choose(bit, middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) & 0xFF000000 == 0:
            self.shift()
            self.low = self.low << 8 & _M32
            self.high = self.high << 8 & _M32 | 255
        return bit

    def choose(self, bit: int, middle: int) -> int:
        raise NotImplementedError

    def shift(self) -> None:
        raise NotImplementedError


class _Encoder(_Coder):
    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()

    def choose(self, bit: int, middle: int) -> int:
        del middle
        return bit

    def shift(self) -> None:
        self.out.append(self.high >> 24)

    def finish(self) -> bytes:
        return bytes(self.out) + self.low.to_bytes(4, "big")


class _Decoder(_Coder):
    def __init__(self, stream: Buffer) -> None:
        super().__init__()
        self.stream = bytes(stream)
        self.code = int.from_bytes(self.stream[:4].ljust(4, b"\0"), "big")
        self.at = 4

    def choose(self, bit: int, middle: int) -> int:
        del bit
        return int(self.code <= middle)

    def shift(self) -> None:
        byte = self.stream[self.at] if self.at < len(self.stream) else 0
        self.code = self.code << 8 & _M32 | byte
        self.at += 1

    def check(self) -> None:
        if self.at > len(self.stream):
            raise _damaged()

    def finish(self) -> None:
        if self.at != len(self.stream) or self.code != self.low:
            raise _damaged()


def _tables() -> tuple[list[int], list[int], list[int]]:
    """Return squash (of -2048 to 2047), its inverse stretch, and how far a counter moves after n bits."""
    squash = []
    for x in range(4096):
        k, w = x >> 7, x & 127
        squash.append((_KNOTS[k] * (128 - w) + _KNOTS[k + 1] * w + 64) >> 7)
    stretch: list[int] = []
    for x in range(-2047, 2048):
        stretch.extend([x] * (squash[x + 2048] + 1 - len(stretch)))
    stretch.extend([2047] * (4096 - len(stretch)))
    return squash, stretch, [655360 // (10 * n + 16) for n in range(1024)]


def _count(counters: array[int], slot: int, bit: int, limit: int, rate: list[int]) -> None:
    value = counters[slot]
    n, p = value & 1023, value >> 10
    p += ((4194303 if bit else 0) - p) * rate[n] >> 16
    counters[slot] = p << 10 | (n + (n < limit))


class _Mixer:
    """Codes bits by the weighted opinion of six counters of one array, and teaches counters and weights."""

    def __init__(self, coder: _Coder, bits: int, start: int) -> None:
        self.coder = coder
        self.counters = array("I", [start << 10]) * (_INPUTS << bits)
        self.weights = array("i", [26214]) * (8192 * _INPUTS)
        self.squash, self.stretch, self.rate = _tables()

    def bit(self, bit: int, slots: list[int], weight_set: int, limit: int) -> int:
        base, weights = weight_set * _INPUTS, self.weights
        inputs = [self.stretch[self.counters[slot] >> 20] for slot in slots]
        dot = sum(x * weights[base + k] for k, x in enumerate(inputs)) >> 16
        p = self.squash[max(-2047, min(2047, dot)) + 2048]
        bit = self.coder.bit(bit, p << 4 | 8)
        error = (bit * 4096 - p) * 6
        for k, slot in enumerate(slots):
            weights[base + k] += (inputs[k] * error + 0x8000) >> 16
            _count(self.counters, slot, bit, limit, self.rate)
        return bit


def _hash(a: int, b: int, c: int) -> int:
    h = a * 0x9E3779B1 & _M32 ^ b * 0x85EBCA6B & _M32 ^ (c + 1) * 0xC2B2AE35 & _M32
    h ^= h >> 15
    h = h * 0x2C1B3C6D & _M32
    return h ^ h >> 13


def _minus(a: int, b: int) -> int:
    """Return the bytes of ``a`` minus those of ``b``, each modulo 256."""
    return sum(((a >> k) - (b >> k) & 255) << k for k in (0, 8, 16, 24))


def _plus(a: int, b: int) -> int:
    return sum(((a >> k) + (b >> k) & 255) << k for k in (0, 8, 16, 24))


def _value(coder: _Mixer, value: int, bits: int, contexts: list[int], guesses: list[int], hits: int, place: int) -> int:
    """Code the eight bits of a difference byte that is not zero."""
    tree = node = 1
    lines: list[int] = []
    for b in range(7, -1, -1):
        if b in (7, 3):
            salt = tree * 0x9E3779B1 if b == 3 else 0
            lines = [
                (k << bits) + (((c + salt) * 0x2C1B3C6D & _M32) >> (36 - bits) << 4) for k, c in enumerate(contexts)
            ]
            node = 1
        expected = sum(((guess | 256) >> (b + 1) == tree) << k for k, guess in enumerate(guesses))
        weight_set = expected & hits | place << 3 | b << 5
        bit = coder.bit(value >> b & 1, [line + node for line in lines], weight_set, 127)
        tree = tree << 1 | bit
        node = node << 1 | bit
    return tree & 255


def _run(  # noqa: C901, PLR0912, PLR0915 - one loop over shared state, kept in step with its C twin line by line
    coder: _Coder, source: Buffer, rows: array[int], difference: memoryview, bits: int, quiet: int
) -> None:
    """Code ``difference`` over the covers: read from it by an encoder, filled in by a decoder."""
    decoder = coder if isinstance(coder, _Decoder) else None
    flags, values = _Mixer(coder, bits, 262144), _Mixer(coder, bits, 2097152)
    short = array("I", [16384 << 10]) * (1 << 19)
    near_shift, far_shift = array("I", [0]) * 65536, array("I", [0]) * 65536
    quiet_mask = (1 << quiet) - 1
    down = 32 - bits
    seen = last = before_last = group_last = guessed_last = spans = 0
    still = _STILL
    span_counters = array("I", [2097152 << 10]) * 256
    view = memoryview(source).cast("B")
    out = 0
    for first in range(0, len(rows), 3):
        start, length = rows[first], rows[first + 2]
        moved = rows[first + 1] - start & _M32
        around = bytes(3 - min(3, start)) + bytes(view[max(0, start - 3) : start + length + 3]) + bytes(3)
        place = group = guess_near = guess_far = aim = 0
        skip = 0
        for i in range(length):
            if i < skip:
                continue
            if quiet and place == 0 and still >= _STILL and length - i >= _SPAN:
                slot = spans & 255
                equal = coder.bit(not any(difference[out : out + _SPAN]), max(1, span_counters[slot] >> 16))
                _count(span_counters, slot, equal, 255, flags.rate)
                spans = spans << 1 | equal
                if equal:
                    out += _SPAN
                    skip = i + _SPAN
                    continue
                still = 0
            s3, s2, s1, s0, n1, n2, n3 = around[i : i + 7]
            if place == 0:
                word = s0 | n1 << 8 | n2 << 16 | n3 << 24
                aim = start + i + word & _M32
                shift = near_shift[(aim * 0x9E3779B1 & _M32) >> 16]
                guess_near = _minus(word + shift - moved & _M32, word) if shift else 0
                shift = far_shift[aim >> 12 & 65535]
                guess_far = _minus(word + shift - moved & _M32, word) if shift else 0
                group = 0
            g1, g2, g3 = (g >> 8 * place & 255 for g in (guess_near, guess_far, group_last))
            mask = (1 << 8 * place) - 1
            hit1, hit2, hit3 = (group == g & mask for g in (guess_near, guess_far, group_last))
            hits = hit1 | hit2 << 1 | hit3 << 2
            state = (g1 != 0) | (g2 != 0) << 1 | (g3 != 0) << 2 | hits << 3
            four = seen & 15
            value = difference[out]
            if quiet and place == 0 and seen & quiet_mask == 0:
                slot = (s1 | s2 << 8) << 3 | state & 7
                flag = coder.bit(value != 0, max(1, short[slot] >> 16))
                _count(short, slot, flag, 1000, flags.rate)
            else:
                begun = state | (place == 0 and seen & 7 == 0) << 6
                hashes = (
                    _hash(s1 | s2 << 8, four, 1),
                    _hash(s1, seen & 255, 2 | place << 8),
                    _hash(s0 | s1 << 8 | n1 << 16, seen & 7, 3),
                    _hash(begun, four, place),
                    _hash(s1 | s2 << 8 | s3 << 16, begun, 5),
                    _hash(n3 | n2 << 8 | s1 << 16, four | place << 8, 6),
                )
                slots = [(k << bits) + (h >> down) for k, h in enumerate(hashes)]
                flag = flags.bit(value != 0, slots, state | four << 6 | place << 10, 255)
            if flag:
                contexts = [
                    _hash(g1 | hit1 << 8 | place << 9, g2 | hit2 << 8, 11),
                    _hash(last | before_last << 8, place, 12),
                    _hash(s0 | s1 << 8, place | four << 4, 13),
                    _hash(g3 | hit3 << 8 | hit1 << 9, place, 14),
                    _hash(place, last, 15),
                    _hash(g1 | hit1 << 8, last | place << 8, 16),
                ]
                origin = 1 if hit1 and g1 else 3 if hit3 and g3 else 2 if hit2 and g2 else 0
                guess, guessed = (g2, g1, g2, g3)[origin], 0
                if origin:
                    alike = (g1 == guess) | (g2 == guess) << 1 | (g3 == guess) << 2
                    trust = origin | alike << 2 | hits << 5 | place << 8
                    hashes = (
                        _hash(trust, four, 21),
                        _hash(trust, s1 | s2 << 8, 22),
                        _hash(guess | last << 8, trust, 23),
                        _hash(guessed_last & 255, trust, 24),
                        _hash(s0 | s1 << 8 | guess << 16, trust, 25),
                        _hash(aim >> 12, trust, 26),
                    )
                    slots = [(k << bits) + (h >> down) for k, h in enumerate(hashes)]
                    guessed = flags.bit(value == guess, slots, 4096 + trust, 255)
                    guessed_last = guessed_last << 1 & _M32 | guessed
                value = guess if guessed else _value(values, value, bits, contexts, [g1, g2, g3], hits, place)
                if decoder and value == 0:
                    raise _damaged()
            else:
                value = 0
            difference[out] = value
            out += 1
            seen = (seen << 1 | flag) & _M32
            still = 0 if flag else min(still + 1, _STILL)
            before_last, last = last, value
            group |= value << 8 * place
            place = 0 if place == 0 and value == 0 else place + 1 & 3
            if place == 0 and group:
                word = int.from_bytes(around[i : i + 4], "little")
                shift = _plus(word, group) - word + moved & _M32
                group_last = group
                near_shift[(aim * 0x9E3779B1 & _M32) >> 16] = shift
                far_shift[aim >> 12 & 65535] = shift
            if decoder:
                decoder.check()

"""Open, mutate and encode bundles, and correct the digests after a mutation. Use ``Open.of``, ``Open.mutated`` and
``Open.encode``.

An opened bundle has the bytes of the frames, and the manifest as nested lists. Columns are lists of numbers. Encoding
recomputes the lengths and digests of the frames, the manifest and the file.
"""

from __future__ import annotations

import copy
import hashlib
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import zstandard

from dibundle.format.wire import pack

MAGIC = b"\x89DIB\r\n\x1a\n"
EXTREMES = (
    0,
    1,
    2,
    127,
    128,
    255,
    511,
    512,
    4096,
    65535,
    65536,
    1 << 20,
    1 << 26,
    (1 << 26) + 1,
    1 << 32,
    (1 << 63) - 1,
)
FRAMES, TARGETS, OBJECTS = 5, 7, 3
Change = Callable[[random.Random, bytes], bytes]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def numbers_of(column: bytes) -> list[int]:
    """Read LEB128 numbers until the data ends; all numbers must be complete."""
    out, value, shift = [], 0, 0
    for byte in column:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(value)
            value = shift = 0
    return out


def column_of(numbers: list[int]) -> bytes:
    out = bytearray()
    for value in numbers:
        left = max(0, value)
        while left >= 128:
            out.append(left & 127 | 128)
            left >>= 7
        out.append(left)
    return bytes(out)


@dataclass
class Open:
    """A bundle: each section's number and msgpack bytes, and the frames."""

    sections: dict[int, bytes]
    frames: list[bytes]

    @classmethod
    def of(cls, bundle: bytes) -> Open:
        """Open a valid bundle. Raise an exception of any type if the bundle is invalid."""
        stored = int.from_bytes(bundle[16:24], "little")
        start = 64 + 8 + int.from_bytes(bundle[64:68], "little")
        return cls.parse(
            zstandard.ZstdDecompressor().decompress(bundle[start : start + stored], 1 << 26), bundle[start + stored :]
        )

    @classmethod
    def parse(cls, manifest: bytes, rest: bytes) -> Open:
        """Open a manifest and the frames after it."""
        sections: dict[int, bytes] = dict(_unpacked(manifest))
        frames = []
        for length in numbers_of(_unpacked(sections[FRAMES])[3]):
            frames.append(rest[:length])
            rest = rest[length:]
        return cls(sections, frames)

    def encode(self) -> bytes:
        """Return the bundle, with the actual lengths and digests of frames and manifest."""
        sections = dict(self.sections)
        try:
            table = _unpacked(sections[FRAMES])
            table[3] = column_of([len(frame) for frame in self.frames])
            table[10] = b"".join(map(sha256, self.frames))
            sections[FRAMES] = pack(table)
        except (ValueError, IndexError, TypeError, KeyError, msgpack.UnpackException):
            pass  # a section that is not a table of frames stays unchanged
        return closed(pack([[number, sections[number]] for number in sorted(sections)]), b"".join(self.frames))

    def mutated(self, chance: random.Random, change: Change) -> Open:
        """Return a copy of the bundle with a few changed numbers, bytes and frames. Most changes keep related values
        consistent.
        """
        new = Open(dict(self.sections), list(self.frames))
        for _ in range(1 + int(chance.expovariate(1))):
            kind = chance.random()
            if kind < 0.4 and new.frames:
                index = chance.randrange(len(new.frames))
                new.frames[index] = change(chance, new.frames[index])
            elif kind < 0.97:
                number = chance.choice(sorted(new.sections))
                try:
                    value = _unpacked(new.sections[number])
                    new.sections[number] = pack(_changed(value, number, chance, change))
                except (ValueError, TypeError, IndexError, OverflowError, msgpack.UnpackException):
                    new.sections[number] = change(chance, new.sections[number])
            else:
                number = chance.choice(sorted(new.sections))
                new.sections[number] = change(chance, new.sections[number])
        return new

    def with_output(self, target: int, out: bytes) -> Open:
        """Return this bundle with the digests of ``out``."""
        new = Open(dict(self.sections), list(self.frames))
        values = _unpacked(new.sections[TARGETS])
        value = values[target]
        lengths, kinds = numbers_of(value[5][0]), value[5][1]
        own, rest, at = b"", b"", 0
        for length, kind in zip(lengths, kinds, strict=False):
            piece = out[at : at + length]
            own, rest, at = (own + sha256(piece), rest, at + length) if kind else (own, rest + piece, at + length)
        value[1], value[2], value[5][2] = sha256(out), sha256(rest), own
        new.sections[TARGETS] = pack(values)
        return new


def closed(manifest: bytes, frames: bytes) -> bytes:
    """Return a bundle with this manifest and its frames, and with a matching header and digest."""
    stored = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(manifest)
    head = MAGIC + bytes((1, 0, 0, 0)) + bytes(4) + len(stored).to_bytes(8, "little")
    head += len(manifest).to_bytes(8, "little") + sha256(stored)
    area = bytes(4)
    return head + area + zlib.crc32(area).to_bytes(4, "little") + stored + frames


def flipped(chance: random.Random, data: bytes) -> bytes:
    """Change bytes regardless of their meaning."""
    out = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        kind = chance.randrange(6)
        at = chance.randrange(len(out) + 1)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif kind == 2:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            del out[at : at + chance.randrange(1, 17)]
        elif kind == 4 and at < len(out):
            out[at:at] = out[at : at + chance.randrange(1, 33)]
        else:
            other = chance.randrange(len(out) + 1)
            out[at : at + 8] = out[other : other + 8]
    return bytes(out)


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def _changed(value: Any, number: int, chance: random.Random, change: Change) -> Any:
    """Return a section's value with one change."""
    value = copy.deepcopy(value)
    if number == TARGETS and isinstance(value, list) and value and chance.random() < 0.85:
        target = chance.choice(value)
        if chance.random() < 0.8:
            columns = target[6]
            full = [index for index, column in enumerate(columns) if column] or [0]
            index = chance.choice(full) if chance.random() < 0.9 else chance.randrange(len(columns))
            if index == 0:
                columns[0] = _changed_operations(columns[0], chance)
            else:
                columns[index] = _changed_column(columns[index], chance)
            return value
        if chance.random() < 0.5:
            target[5][0] = _changed_column(target[5][0], chance)
            return value
        place = chance.choice((0, 3, 4))
        target[place] = _changed_number(target[place], chance)
        return value
    if number == FRAMES and isinstance(value, list) and len(value) > 9 and chance.random() < 0.9:
        place = chance.choice((0, 1, 2, 4, 5, 6, 7, 8, 9))
        if place < 3:
            value[place] = _changed_operations(value[place], chance, most=(32, 8, 4)[place])
        else:
            value[place] = _changed_column(value[place], chance)
        return value
    return _changed_anywhere(value, chance, change)


def _changed_anywhere(value: Any, chance: random.Random, change: Change) -> Any:
    if isinstance(value, list) and value and chance.random() < 0.9:
        index = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.06:
            del value[index]
        elif kind < 0.12:
            value.insert(index, copy.deepcopy(value[index]))
        else:
            value[index] = _changed_anywhere(value[index], chance, change)
        return value
    if isinstance(value, int):
        return _changed_number(value, chance)
    if isinstance(value, bytes):
        return change(chance, value)
    if isinstance(value, str):
        return change(chance, value.encode()).decode(errors="replace")
    return chance.choice((b"", "", 0, [], [0]))


def _changed_number(value: int, chance: random.Random) -> int:
    near = (value + 1, value - 1, value * 2, value // 2, value ^ 1 << chance.randrange(24), value + 512, value - 512)
    return max(0, chance.choice(near if chance.random() < 0.75 else EXTREMES))


def _changed_column(column: bytes, chance: random.Random) -> bytes:
    numbers = numbers_of(column)
    kind = chance.random()
    index = chance.randrange(len(numbers) + 1)
    if kind < 0.1 or not numbers:
        numbers.insert(index, chance.choice(EXTREMES))
    elif kind < 0.2:
        del numbers[index : index + 1]
    elif kind < 0.3:
        other = chance.randrange(len(numbers))
        index %= len(numbers)
        numbers[index], numbers[other] = numbers[other], numbers[index]
    elif kind < 0.5 and len(numbers) > 1:  # move an amount from one number to another, so that the sum stays the same
        one, other = chance.sample(range(len(numbers)), 2)
        amount = chance.choice((1, 2, 512, numbers[one] // 2))
        numbers[one], numbers[other] = max(0, numbers[one] - amount), numbers[other] + amount
    else:
        index %= len(numbers)
        numbers[index] = _changed_number(numbers[index], chance)
    return column_of(numbers)


def _changed_operations(data: bytes, chance: random.Random, most: int = 13) -> bytes:
    out = bytearray(data)
    at = chance.randrange(len(out) + 1)
    kind = chance.random()
    if kind < 0.5 and at < len(out):
        out[at] = chance.randrange(most)
    elif kind < 0.7:
        out.insert(at, chance.randrange(most))
    elif kind < 0.85:
        del out[at : at + 1]
    elif len(out) > 1:
        one, other = chance.sample(range(len(out)), 2)
        out[one], out[other] = out[other], out[one]
    return bytes(out)

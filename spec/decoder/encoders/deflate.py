"""What all deflate encoders use: bits, codes, headers of blocks."""

from __future__ import annotations

import struct
from collections import Counter
from functools import cache
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
END_OF_BLOCK = 256
Bits = list[tuple[int, int]]  # values and how many bits each has


class Writer:
    """Writes bits, the lowest of a byte first."""

    def __init__(self) -> None:
        self.done = bytearray()
        self.held = self.count = 0

    def put(self, value: int, count: int) -> None:
        """Write bits."""
        self.held |= value << self.count
        self.count += count
        if self.count > 512:
            whole = self.count >> 3
            self.done += (self.held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
            self.held >>= 8 * whole
            self.count &= 7

    def put_all(self, bits: Iterable[tuple[int, int]]) -> None:
        """Write several."""
        for value, count in bits:
            self.put(value, count)

    def pad(self) -> None:
        """Fill the last byte."""
        whole = -(-self.count // 8)
        self.done += self.held.to_bytes(whole, "little")
        self.held = self.count = 0

    def stored(self, data: bytes, last: int = 0) -> None:
        """Write a stored block."""
        self.put(last, 3)
        self.pad()
        self.done += struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


@cache
def length_symbols() -> list[tuple[int, int, int]]:
    """Give symbol, extra bits and their number for each match length (RFC 1951, 3.2.5)."""
    table = [(0, 0, 0)] * 259
    length = 3
    for symbol in range(257, 285):
        extra = max(0, (symbol - 261) // 4)
        for value in range(1 << extra):
            if length < 259:
                table[length] = (symbol, value, extra)
            length += 1
    table[258] = (285, 0, 0)
    return table


@cache
def distance_symbols() -> list[tuple[int, int, int]]:
    """Give symbol, extra bits and their number for each distance."""
    table = [(0, 0, 0)]
    for symbol in range(30):
        extra = max(0, symbol // 2 - 1)
        table += [(symbol, value, extra) for value in range(1 << extra)]
    return table


def match(length: int, distance: int) -> int:
    """Make the token of a match; a literal's is its byte."""
    return length << 16 | distance


class Counts:
    """How often each symbol occurs in some tokens, and the extra bits of all."""

    def __init__(self, tokens: Iterable[int], ends: int = 1) -> None:
        self.literals, self.distances, self.extra, self.tokens, self.matches = [0] * 286, [0] * 30, 0, 0, 0
        lengths, distances = length_symbols(), distance_symbols()
        for token, count in Counter(tokens).items():
            self.tokens += count
            if token < 256:
                self.literals[token] += count
            else:
                length, distance = lengths[token >> 16], distances[token & 0xFFFF]
                self.literals[length[0]] += count
                self.distances[distance[0]] += count
                self.extra += count * (length[2] + distance[2])
                self.matches += count
        self.literals[END_OF_BLOCK] = ends

    def bits(self, code: BlockCode) -> int:
        """Count the bits of these with a code, without extra bits."""
        literals: Iterable[int] = map(mul, self.literals, code.literals)
        distances: Iterable[int] = map(mul, self.distances, code.distances)
        return sum(literals) + sum(distances)


def merged_lengths(counts: Sequence[int], limit: int) -> list[int]:
    """Code lengths, merged."""
    leaves = sorted((count, symbol) for symbol, count in enumerate(counts) if count)
    n = len(leaves)
    lengths = [0] * len(counts)
    if n <= 2:
        for _, symbol in leaves:
            lengths[symbol] = 1
        return lengths
    weights = [count for count, _ in leaves]
    rows: list[list[tuple[int, bool]]] = [[(weight, True) for weight in weights]]
    for _ in range(min(limit, n - 1) - 1):
        above = rows[-1]
        packages = [above[i][0] + above[i + 1][0] for i in range(0, len(above) - 1, 2)]
        items = [(weight, 1, True) for weight in weights] + [(weight, 0, False) for weight in packages]
        rows.append([(weight, leaf) for weight, _, leaf in sorted(items)])
    bought = 2 * n - 2
    for row in reversed(rows):
        taken = sum(leaf for _, leaf in row[:bought])
        for _, symbol in leaves[:taken]:
            lengths[symbol] += 1
        bought = 2 * (bought - taken)
    return lengths


class Heap:
    """The heap of code lengths, treed: places from 1 on, at first in the order of the dict."""

    def __init__(self, weights: dict[int, int]) -> None:
        self.weights, self.depths = dict(weights), dict.fromkeys(weights, 0)
        self.places = [-1, *weights]

    def lighter(self, a: int, b: int) -> bool:
        """Compare two nodes."""
        return (self.weights[a], self.depths[a]) <= (self.weights[b], self.depths[b])

    def sift(self, place: int) -> None:
        """Sift down from a place."""
        places = self.places
        node = places[place]
        while (child := 2 * place) < len(places):
            if child + 1 < len(places) and self.lighter(places[child + 1], places[child]):
                child += 1
            if self.lighter(node, places[child]):
                break
            places[place] = places[child]
            place = child
        places[place] = node


def treed_lengths(counts: Sequence[int], limit: int) -> list[int]:
    """Code lengths, treed."""
    weights = {symbol: count for symbol, count in enumerate(counts) if count}
    highest = max(weights, default=-1)
    while len(weights) < 2:
        if highest < 2:
            highest += 1
        weights[0 if highest in weights else highest] = 1
    heap = Heap(weights)
    places = heap.places
    for place in range((len(places) - 1) // 2, 0, -1):
        heap.sift(place)
    taken: list[int] = []
    parents: dict[int, int] = {}
    fresh = len(counts)
    while len(places) > 2:
        first, places[1] = places[1], places[-1]
        places.pop()
        heap.sift(1)
        second = places[1]
        taken += [first, second]
        parents[first] = parents[second] = fresh
        heap.weights[fresh] = heap.weights[first] + heap.weights[second]
        heap.depths[fresh] = max(heap.depths[first], heap.depths[second]) + 1
        places[1] = fresh
        heap.sift(1)
        fresh += 1
    return leaf_lengths(taken, parents, len(counts), limit)


def leaf_lengths(taken: list[int], parents: dict[int, int], count: int, limit: int) -> list[int]:
    """Give the leaves of a tree their lengths, within the limit."""
    depths = {parents[taken[-1]]: 0}
    excess = 0
    for node in reversed(taken):
        depths[node] = depths[parents[node]] + 1
        if depths[node] > limit:
            depths[node] = limit
            excess += 1
    leaves = [node for node in taken if node < count]
    have = Counter(depths[node] for node in leaves)
    if not excess:
        return [depths.get(symbol, 0) for symbol in range(count)]
    while excess > 0:
        length = next(length for length in range(limit - 1, 0, -1) if have[length])
        have[length] -= 1
        have[length + 1] += 2
        have[limit] -= 1
        excess -= 2
    lengths = [0] * count
    order = iter(leaves)
    for length in range(limit, 0, -1):
        for _ in range(have[length]):
            lengths[next(order)] = length
    return lengths


def codes(lengths: Sequence[int]) -> Bits:
    """Make the canonical code (RFC 1951, 3.2.2), its bits reversed as they are written."""
    code = 0
    result = [(0, 0)] * len(lengths)
    for length in range(1, 16):
        code <<= 1
        for symbol, own in enumerate(lengths):
            if own == length:
                result[symbol] = (int(f"{code:0{length}b}"[::-1], 2), length)
                code += 1
    return result


class BlockCode:
    """The two codes of a block."""

    def __init__(self, literals: list[int], distances: list[int]) -> None:
        self.literals, self.distances = literals, distances

    def lacks(self, counts: Counts) -> bool:
        """Tell whether something that counts has no code."""
        pairs = [*zip(counts.literals, self.literals, strict=True), *zip(counts.distances, self.distances, strict=True)]
        return any(count and not length for count, length in pairs)

    def write(self, writer: Writer, tokens: Iterable[int], end: bool = True) -> None:
        """Write tokens."""
        literals, distances = codes(self.literals), codes(self.distances)
        lengths, places = length_symbols(), distance_symbols()
        made = {token: literals[token] for token in range(256)}
        for token in tokens:
            if token not in made:
                (symbol, more, extra), (place, far, wide) = lengths[token >> 16], places[token & 0xFFFF]
                value, count = literals[symbol]
                value, count = value | more << count, count + extra
                value, count = value | distances[place][0] << count, count + distances[place][1]
                made[token] = value | far << count, count + wide
            writer.put(*made[token])
        if end:
            writer.put(*literals[END_OF_BLOCK])

    def end(self, writer: Writer) -> None:
        """Write the end of the block."""
        writer.put(*codes(self.literals)[END_OF_BLOCK])


@cache
def fixed_code() -> BlockCode:
    """Give the fixed code (RFC 1951, 3.2.6)."""
    return BlockCode([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8, [5] * 32)


def runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Write code lengths as runs: symbols, extra bits and their number."""
    at = 0
    while at < len(lengths):
        length, left = lengths[at], 1
        while at + left < len(lengths) and lengths[at + left] == length:
            left += 1
        at += left
        if length:
            yield length, 0, 0
            left -= 1
        while left >= 3:
            part = min(left, 6 if length else 138)
            if length:
                yield 16, part - 3, 2
            else:
                yield (18, part - 11, 7) if part >= 11 else (17, part - 3, 3)
            left -= part
        yield from [(length, 0, 0)] * left


def trimmed(lengths: list[int], least: int) -> list[int]:
    """Leave out what has no code at the end."""
    end = len(lengths)
    while end > least and not lengths[end - 1]:
        end -= 1
    return lengths[:end]


def header(code: BlockCode, treed: bool = False, whole: bool = False) -> Bits:
    """Make the header of a dynamic block, behind its three bits."""
    literals, distances = code.literals, code.distances
    if not whole:
        literals, distances = trimmed(literals, 257), trimmed(distances, 1)
    items = [*runs(literals), *runs(distances)] if treed else list(runs(literals + distances))
    counts = [0] * 19
    for symbol, _, _ in items:
        counts[symbol] += 1
    lengths = treed_lengths(counts, 7) if treed else merged_lengths(counts, 7)
    listed = trimmed([lengths[symbol] for symbol in ORDER], 4)
    bits = [(len(literals) - 257, 5), (len(distances) - 1, 5), (len(listed) - 4, 4)]
    bits += [(length, 3) for length in listed]
    own = codes(lengths)
    for symbol, value, extra in items:
        bits += [own[symbol], (value, extra)]
    return bits


def width(bits: Bits) -> int:
    """Count bits."""
    return sum(count for _, count in bits)


def own_code(counts: Counts) -> BlockCode:
    """Make a block's own code, merged. If no distance occurs, distance 0 is counted once, here and by the caller."""
    if not any(counts.distances):
        counts.distances[0] = 1
    return BlockCode(merged_lengths(counts.literals, 15), merged_lengths(counts.distances, 15))


FIXED, DYNAMIC = 2, 4  # the three bits that begin a block, not the last


def same(data: bytes | bytearray, p: int, q: int, most: int) -> int:
    """Count the equal bytes from two positions on; both have at least ``most`` bytes behind them."""
    done = 0
    step = 16
    while done < most:
        part = min(step, most - done)
        one, other = data[p + done : p + done + part], data[q + done : q + done + part]
        if one != other:
            unlike = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
            return done + (((unlike & -unlike).bit_length() - 1) >> 3)
        done += part
        step *= 4
    return most

"""Encoders 32 to 34: codes for literals."""

from __future__ import annotations

import struct

from decoder.encoders.deflate import Writer
from decoder.encoders.zstd_tables import States, high, share_out, table_log


class Huffman:
    """A code for literals."""

    def __init__(self, counts: list[int]) -> None:
        self.symbols = len(counts)
        total = sum(counts)
        least = min(high(total) + 1, high(self.symbols - 1) + 2)
        limit = max(5, min(max(min(11, (high(total - 1) - 1) % 256), least), 11))
        order = sorted((symbol for symbol in range(self.symbols) if counts[symbol]), key=lambda one: -counts[one])
        lengths = limited(tree_depths([counts[one] for one in order]), [counts[one] for one in order], limit)
        self.longest = max(lengths)
        self.lengths = [0] * self.symbols
        for symbol, length in zip(order, lengths, strict=True):
            self.lengths[symbol] = length
        value, self.values = 0, [0] * self.symbols
        for length in range(self.longest, 0, -1):
            for symbol in range(self.symbols):
                if self.lengths[symbol] == length:
                    self.values[symbol] = value
                    value += 1
            value >>= 1

    def has_all(self, counts: list[int]) -> bool:
        """Check whether all literals have a code."""
        coded = {one for one, length in enumerate(self.lengths) if length}
        return all(one in coded for one, count in enumerate(counts) if count)

    def size(self, counts: list[int]) -> int:
        """Estimate the bytes of literals."""
        return sum(length * count for length, count in zip(self.lengths, counts, strict=False)) + 7 >> 3

    def head(self) -> bytes | None:
        """Write the weights (RFC 8878, 4.2.1)."""
        weights = [self.longest + 1 - length if length else 0 for length in self.lengths[:-1]]
        packed = packed_weights(weights) if len(weights) > 2 else None
        if packed is not None and len(packed) < self.symbols >> 1:
            return bytes([len(packed)]) + packed
        if len(weights) > 128:
            return None
        weights.append(0)
        pairs = zip(weights[0::2], weights[1::2], strict=False)
        return bytes([127 + len(weights) - 1, *(one << 4 | other for one, other in pairs)])

    def write(self, data: bytes) -> bytes:
        """Write literals in one stream below 1,024, else in four."""
        if len(data) < 1024:
            return self.stream(data)
        part = (len(data) + 3) // 4
        streams = [self.stream(data[at : at + part]) for at in range(0, 4 * part, part)]
        return b"".join([*(struct.pack("<H", len(stream)) for stream in streams[:3]), *streams])

    def stream(self, data: bytes) -> bytes:
        """Write literals, the last first."""
        writer = Writer()
        for byte in reversed(data):
            writer.put(self.values[byte], self.lengths[byte])
        writer.put(1, 1)
        writer.pad()
        return bytes(writer.done)


def tree_depths(counts: list[int]) -> list[int]:
    """Give the depths of leaves, the most frequent first: a leaf goes before an inner node only if it weighs less."""
    leaf, inner = len(counts) - 1, len(counts)
    weights, parents = list(counts), [0] * (2 * len(counts))
    for made in range(len(counts), 2 * len(counts) - 1):
        total = 0
        for _ in range(2):
            if leaf >= 0 and (inner >= made or weights[leaf] < weights[inner]):
                taken, leaf = leaf, leaf - 1
            else:
                taken, inner = inner, inner + 1
            parents[taken] = made
            total += weights[taken]
        weights.append(total)
    depths = [0] * len(weights)
    for node in range(len(weights) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(counts)]


def limited(lengths: list[int], counts: list[int], limit: int) -> list[int]:
    """Bring lengths down to a limit, as cheaply as possible."""
    largest = lengths[-1]
    if largest <= limit:
        return lengths
    owed = sum((1 << largest - limit) - (1 << largest - length) for length in lengths if length > limit)
    lengths = [min(length, limit) for length in lengths]
    at = sum(1 for length in lengths if length < limit) - 1
    lasts = {limit - length: node for node, length in enumerate(lengths) if length < limit}
    owed >>= largest - limit
    while owed > 0:
        owed -= pay(lengths, counts, lasts, owed, limit)
    while owed < 0:
        if 1 not in lasts:
            while lengths[at] == limit:
                at -= 1
            lasts[1] = at
        lasts[1] += 1
        lengths[lasts[1]] -= 1
        owed += 1
    return lengths


def pay(lengths: list[int], counts: list[int], lasts: dict[int, int], owed: int, limit: int) -> int:
    """Make a code longer by a bit, and return what that pays."""
    by = high(owed) + 1
    while by > 1:
        if by in lasts and (by - 1 not in lasts or counts[lasts[by]] <= 2 * counts[lasts[by - 1]]):
            break
        by -= 1
    while by not in lasts:
        by += 1
    node = lasts.pop(by)
    lasts.setdefault(by - 1, node)
    lengths[node] += 1
    if node and lengths[node - 1] == limit - by:
        lasts[by] = node - 1
    return 1 << by - 1


def packed_weights(weights: list[int]) -> bytes | None:
    """Write weights with two states that take turns."""
    counts = [weights.count(weight) for weight in range(max(weights) + 1)]
    if max(counts) in {len(weights), 1} or max(counts) < len(weights) >> 7:
        return None
    log = table_log(6, len(weights), len(counts), len(weights) - 1)
    shares = share_out(counts, log)
    if shares is None:
        return None
    writer, states = Writer(), States(log, shares)
    states.write(writer)
    turn = (len(weights) + 1) % 2
    held = {turn: states.first(weights[-1]), 1 - turn: states.first(weights[-2])}
    for weight in reversed(weights[:-2]):
        value, count, held[turn] = states.step(held[turn], weight)
        writer.put(value, count)
        turn = 1 - turn
    for state in (held[1], held[0]):
        writer.put(state & (1 << log) - 1, log)
    writer.put(1, 1)
    writer.pad()
    return bytes(writer.done) if len(writer.done) < len(weights) else None

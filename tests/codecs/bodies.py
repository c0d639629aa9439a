"""Content for which encoders differ, and helpers that inflate bodies or build them bit by bit."""

import hashlib

from dibundle.codecs.deflate.encoders import Encoder
from dibundle.codecs.deflate.inflate import Inflater

ZEROS = bytes(300_000)
NOISE = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(8192))
TEXT = b"".join(b"%d:%s\n" % (i, hashlib.md5(b"%d" % (i % 997)).hexdigest().encode()) for i in range(40_000))
NUMBERS = b"".join(b"%d," % (i * i % 9973) for i in range(60_000))
MIXTURE = TEXT[:700_000] + NOISE + ZEROS + NUMBERS + TEXT[200_000:] + NOISE[:70_000] + b"end"
CONTENTS = {"empty": b"", "Z": ZEROS, "R": NOISE, "T": TEXT, "N": NUMBERS, "M": MIXTURE}

SHORT = TEXT[:150_000] + NOISE[:50_000] + NUMBERS[:120_000] + ZEROS[:70_000] + TEXT[400_000:550_000] + TEXT[:20_000]
"""Half a megabyte of content.

It is larger than several windows, chunks or blocks of any family, and than klauspost's history.
"""

SLIDING = TEXT[:70_000] + NOISE[:30_000] + NUMBERS[:70_000] + ZEROS[:20_000] + TEXT[350_000:380_000]
"""Less content, for encoders with a window of 32 KiB and blocks of at most 32,767 tokens."""


def encode(encoder, level, parameter, content, sizes=()):
    """Return a body. The encoder first gets pieces of the given ``sizes``, then the remaining content."""
    it, body, at = Encoder(encoder, level, parameter, tested=False), b"", 0
    for size in sizes:
        body += it.write(content[at : at + size])
        at += size
    return body + it.write(content[at:]) + it.finish()


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def inflate(body, size=1 << 16, limit=1 << 20):
    """Return the content, the block positions and the inflater.

    ``size`` is the size of input pieces, and ``limit`` is the maximum size of output pieces, both in bytes.
    """
    inflater, content = Inflater(), []
    for piece in [*pieces(body, size), b""]:
        part = inflater.feed(piece, limit)
        while part:
            content.append(part)
            part = inflater.feed(b"", limit)
    return b"".join(content), inflater.marks(), inflater


class Bits:
    """A body that is built bit by bit."""

    def __init__(self):
        self.value, self.count = 0, 0

    def add(self, value, count):
        self.value |= (value & ((1 << count) - 1)) << self.count
        self.count += count
        return self

    def copy(self, body, start, end):
        return self.add(int.from_bytes(body, "little") >> start, end - start)

    def stored(self, content, last=0):
        self.add(last, 3)
        self.add(0, -self.count % 8).add(len(content), 16).add(~len(content), 16)
        return self.add(int.from_bytes(content, "little"), 8 * len(content))

    def done(self, padding=0):
        self.add(padding, -self.count % 8)
        return self.value.to_bytes(self.count // 8, "little")

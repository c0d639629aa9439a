"""Bundles rebuild archives byte for byte, also archives with layers that no tar library writes.

These layers have odd numbers, paddings, and sizes of extension headers.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from tests.builders import TestImage, docker_save
from tests.content import noise
from tests.roundtrip import check

NAMES = (b"a", b"b/", b"c/d", b"e" * 99, b"f" * 100, b"g\0junk", b"lib/x.so")
CONTENTS = (b"", b"x", b"word " * 40, noise(1, 512), noise(2, 3000), bytes(700))


def number(chance: random.Random, width: int, value: int) -> bytes:
    """Return a header's number field in one of the forms that programs write."""
    octal = b"%o" % value
    fields = (
        octal.rjust(width - 1, b"0") + b"\0",
        octal.rjust(width - 1) + b"\0",
        octal.rjust(width - 1) + b" ",
        octal.rjust(width - 2, b"0") + b" \0",
        octal.rjust(width, b"0"),
        octal + b"\0",
        bytes([0x80]) + value.to_bytes(width - 1, "big"),
    )
    return chance.choice(fields)[:width].ljust(width, b"\0")


def record(chance: random.Random, name: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a header with its content. The padding may have arbitrary bytes."""
    head = bytearray(512)
    head[0:100] = name[:100].ljust(100, b"\0")
    head[100:108] = number(chance, 8, chance.choice((0o644, 0o755, 0)))
    head[108:116] = number(chance, 8, chance.choice((0, 1000)))
    head[116:124] = number(chance, 8, 0)
    head[124:136] = number(chance, 12, len(content))
    head[136:148] = number(chance, 12, chance.choice((0, 1_600_000_000, 1_600_000_001)))
    head[156:157] = kind
    head[257:265] = chance.choice((b"ustar\x0000", b"ustar  \0", bytes(8)))
    head[148:156] = b" " * 8
    head[148:156] = chance.choice((b"%06o\0 ", b"%07o\0", b"%6o\0 "))[:8] % sum(head)
    padding = -len(content) % 512
    odd = chance.random() < 0.2
    return bytes(head) + content + (noise(chance.randrange(9), padding) if odd else bytes(padding))


def entry(chance: random.Random, name: bytes) -> bytes:
    """Return an entry, sometimes with extension headers before it."""
    ahead = b""
    if chance.random() < 0.4:
        long_name = chance.choice((b"n" * 150, b"n" * 149, b"m/" * 80)) + chance.choice((b"", b"\0", b"\0\0"))
        ahead = record(chance, b"././@LongLink", b"L", long_name)
    if chance.random() < 0.2:
        ahead += record(chance, b"x", b"x", b"18 path=long/name\n"[: chance.choice((18, 17))])
    return ahead + record(chance, name, chance.choice((b"0", b"0", b"0", b"\0", b"5", b"2")), chance.choice(CONTENTS))


def layers(chance: random.Random) -> tuple[list[bytes], list[bytes]]:
    """Return the layers of an image, and the layers of a similar image."""
    seed, count = chance.randrange(1 << 30), chance.randrange(6)
    sides = []
    for _ in range(2):
        made = []
        for place in range(count):
            # if true, both images have the same entry; otherwise, their entries are similar
            same = chance.random() < 0.5
            own = random.Random(seed + place) if same else chance
            made.append(entry(own, NAMES[place % len(NAMES)]))
        end = chance.choice((b"", bytes(1024), bytes(1024), b"junk"))
        sides.append([b"".join(made) + end, b""][: chance.randrange(1, 3)])
    return sides[0], sides[1]


@pytest.mark.parametrize("seed", range(12))
def test_layers_that_no_library_writes(seed: int) -> None:
    for number_of_pair in range(12):
        chance = random.Random(1000 * seed + number_of_pair)
        old, new = layers(chance)
        style = chance.choice(("classic", "v25", "oci"))
        packing = chance.choice((None, None, "gzip")) if style == "oci" else None
        with tempfile.TemporaryDirectory() as folder:
            target = docker_save([TestImage(new, ["app:2"])], style, packing)
            check(Path(folder), [docker_save([TestImage(old, ["app:1"])], "v25")], target)

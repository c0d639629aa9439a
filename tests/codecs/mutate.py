"""Random sources, and targets that are edited copies of these sources."""

from __future__ import annotations

import random

from hypothesis import strategies as st


def code_like(size: int, seed: int = 3) -> bytes:
    """Return bytes that resemble native code: opcodes, small operands, and repeated byte sequences."""
    rng = random.Random(seed)
    words = [
        bytes([rng.choice([0xE8, 0x48, 0x8B, 0x0F])]) + rng.randrange(60_000).to_bytes(4, "little") for _ in range(90)
    ]
    out = bytearray()
    while len(out) < size:
        out += rng.choice(words) if rng.random() < 0.8 else rng.randbytes(5)
    return bytes(out[:size])


@st.composite
def edits(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Generate a source of up to 5 kB. The target is the source with bytes cut, moved, inserted and changed."""
    source = code_like(draw(st.integers(0, 5000)), draw(st.integers(0, 5)))
    target = bytearray(source)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(target)))
        length = draw(st.integers(0, 700))
        kind = draw(st.sampled_from(["cut", "insert", "move", "add", "run"]))
        if kind == "cut":
            del target[at : at + length]
        elif kind == "insert":
            target[at:at] = draw(st.binary(max_size=60))
        elif kind == "move":
            piece = target[at : at + length]
            del target[at : at + length]
            place = draw(st.integers(0, len(target)))
            target[place:place] = piece
        elif kind == "run":
            target[at:at] = bytes([draw(st.integers(0, 255))]) * length
        else:
            for k in range(at, min(at + length, len(target)), draw(st.integers(1, 40))):
                target[k] = target[k] + 17 & 255
    return source, bytes(target)

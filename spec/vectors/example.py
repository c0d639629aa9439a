"""The worked example of dib.md: the vector of that name, value by value. ``python3 example.py`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bundles import COLUMNS

HERE = Path(__file__).parent
WIDTH = 16  # bytes to a line
FRAMES = (
    *("stream", "codec", "source kind", "stored length", "size", "source size", "source count"),
    *("source object", "source offset", "source length", "digest"),
)
Line = tuple[bytes, str]


class Reader:
    """Takes bytes one after the other, and says what each is."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        """Take bytes."""
        self.at += length
        return self.data[self.at - length : self.at]

    def value(self) -> bytes:
        """Take a msgpack value without what is in an array: its head, and the bytes of a bin."""
        head = self.data[self.at]
        width = {0xC4: 1, 0xC5: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xDC: 2}.get(head, 0)
        held = int.from_bytes(self.data[self.at + 1 : self.at + 1 + width], "big") if head in {0xC4, 0xC5} else 0
        return self.take(1 + width + held)

    def named(self, names: Iterable[str]) -> Iterator[Line]:
        """Take a value for each name; what is empty shares a line."""
        empty: list[Line] = []
        for name in names:
            value = self.value()
            if value == b"\xc4\0":
                empty.append((value, name))
                continue
            yield from _joined(empty)
            empty = []
            yield value, name
        yield from _joined(empty)


def _joined(lines: Sequence[Line]) -> Iterator[Line]:
    names = [name for _, name in lines]
    if names:
        told = ", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]}"
        yield b"".join(data for data, _ in lines), f"{told}: empty"


def lines(bundle: bytes) -> Iterator[Line]:
    """Give the bytes of the example in pieces, each with what it is."""
    reader = Reader(bundle)
    yield reader.take(8), "1.1 magic"
    yield reader.take(8), "version, reserved"
    yield reader.take(8), "manifest, stored length"
    size = int.from_bytes(reader.data[24:32], "little")
    yield reader.take(8), f"manifest, decoded size: {size}"
    yield reader.take(32), "manifest digest"
    yield reader.take(8), "1.2 n, no signature, CRC-32"
    yield reader.take(4), "1.3 zstd: magic"
    yield reader.take(3), "content size of 2 bytes, which count from 256"
    yield reader.take(3), "one raw block, the last"
    yield reader.value(), "3. four sections"
    for names in SECTIONS.values():
        yield reader.take(2), "section id"
        head = reader.take(2 if reader.data[reader.at] == 0xC4 else 3)
        yield head, f"bin of {int.from_bytes(head[1:], 'big')} bytes"
        yield from reader.named(names)
    yield bundle[reader.at :], "frame 0"


SECTIONS = {
    1: ["3. requires", "array of codecs", "codec 0, stored", "no transforms", "no re-encoders"],
    3: ["3.1 objects", "kind", "size", "digest", "targets", "offsets", "lengths"],
    5: ["3.2 frames", *FRAMES],
    7: [
        *("3.3 one target", "array of 7", "size", "digest", "rest digest, of nothing", "tail", "frames"),
        *("segments", "lengths", "kinds", "digest", "program: array of 25 columns", *COLUMNS),
    ],
}


def text() -> str:
    """Return the example as it is in dib.md."""
    out, at = [], 0
    for data, what in lines((HERE / "ok" / "worked-example.dib").read_bytes()):
        for start in range(0, len(data), WIDTH):
            digits = data[start : start + WIDTH].hex(" ")
            out.append(f"    {at + start:04x}  {digits:<{3 * WIDTH}} {what if not start else ''}".rstrip())
        at += len(data)
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    print(text(), end="")

"""Targets of chains that are kept without what the base has: whatever is read, it is what was made."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes
from dibundle.format.compact import CompactTarget
from dibundle.format.steps import Copy
from tests.content import noise, text


class Base:
    """Objects of a base, in memory."""

    def __init__(self, *objects: bytes) -> None:
        self._objects = [MemoryBytes(content) for content in objects]

    def read_into(self, object_index: int, offset: int, view: memoryview) -> None:
        self._objects[object_index].read_into(offset, view)


def make(
    context: Context, steps: list[Copy | bytes], objects: list[bytes], memory: int, write: int
) -> tuple[Any, bytes]:
    """Return a target that is made of ``steps``, passed on ``write`` bytes at a time, and its bytes."""
    pieces = [
        objects[step.object][step.offset : step.offset + step.length] if isinstance(step, Copy) else step
        for step in steps
    ]
    made = b"".join(pieces)
    manifest: Any = SimpleNamespace(targets=[SimpleNamespace(size=len(made))])
    target = CompactTarget(manifest, context, memory)
    target.begin(Base(*objects))  # type: ignore[arg-type]
    written = 0
    told = 0
    for step, piece in zip(steps, pieces, strict=True):
        for offset in range(0, len(piece), 100_000):
            length = min(100_000, len(piece) - offset)
            if isinstance(step, Copy):
                target.copied(step, offset, length)
            else:
                target.other(length)
            told += length
            while told - written >= write:  # bytes come later than what is told of them
                target.write(made[written : written + write])
                written += write
    target.write(made[written:])
    target.finish()
    return target, made


@pytest.mark.parametrize("memory", [0, 150_000, 32 << 20])
@pytest.mark.parametrize("write", [777, 65_536, 3_000_000])
def test_every_range_reads_as_it_was_made(memory: int, write: int):
    drawn = random.Random(f"{memory}/{write}")
    objects = [noise(1, 900_000), text(2, 700_000)]
    steps: list[Copy | bytes] = []
    for number in range(60):
        kind = drawn.randrange(4)
        item = drawn.randrange(2)
        length = drawn.choice([1, 511, 512, 513, 30_000, 300_000])
        offset = drawn.randrange(len(objects[item]) - length)
        if kind < 2:
            steps.append(Copy(item, offset, length))
        else:
            steps.append(noise(number, length) if kind == 2 else text(number, length))
    steps += [Copy(0, 0, 1000), Copy(0, 1000, 1000), b"end"]
    with Context() as context:
        target, made = make(context, steps, objects, memory, write)
        assert target.size == len(made)
        for _ in range(300):
            start = drawn.randrange(len(made))
            length = min(len(made) - start, drawn.choice([0, 1, 512, 5000, 400_000]))
            assert target.read_at(start, length) == made[start : start + length]
        assert target.read_at(0, len(made)) == made


def test_what_the_base_has_takes_no_room():
    old = noise(1, 3_000_000)
    steps: list[Copy | bytes] = [Copy(0, 0, 2_000_000), noise(2, 10_000), Copy(0, 2_000_000, 1_000_000)]
    with Context() as context:
        target, made = make(context, steps, [old], 0, 65_536)
        assert target.size == len(made) == 3_010_000
        assert target.file_size == 10_000


def test_the_rest_is_compressed_in_memory_and_then_in_a_file():
    words = text(1, 2_000_000)
    with Context() as context:
        target, _ = make(context, [words], [], 400_000, 65_536)
        assert 0 <= target.memory_left < 400_000
        assert 0 < target.file_size < 1_200_000

"""Targets of chains are stored without the content of the base. Every read gives the bytes that were written."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from dibundle.codecs import zstd
from dibundle.files.context import Context
from dibundle.files.readat import MemoryBytes, ReadAt, Slice
from dibundle.format.compact import CompactTarget
from dibundle.format.steps import Copy
from tests.content import noise, text


class Base:
    """Objects of a base."""

    def __init__(self, objects: list[ReadAt]) -> None:
        self._objects = objects

    def source(self, object_index: int) -> ReadAt:
        return self._objects[object_index]


class Object(NamedTuple):
    """An object of a base: its bytes, and the source from which dib reads the object."""

    data: bytes
    source: ReadAt


def of_archive(archive: MemoryBytes, start: int, size: int) -> Object:
    return Object(archive.read_at(start, size), Slice(archive, start, size))


def make(
    context: Context,
    steps: list[Copy | bytes],
    objects: list[Object],
    stable: list[ReadAt],
    *,
    memory: int,
    write: int = 65_536,
) -> tuple[CompactTarget, bytes]:
    """Build a target from ``steps``, and write it in pieces of ``write`` bytes. Return the target and its bytes."""
    pieces = [
        objects[step.object].data[step.offset : step.offset + step.length] if isinstance(step, Copy) else step
        for step in steps
    ]
    made = b"".join(pieces)
    manifest: Any = SimpleNamespace(targets=[SimpleNamespace(size=len(made))])
    target = CompactTarget(manifest, stable, context, memory)
    target.begin(Base([item.source for item in objects]))
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
            while told - written >= write:  # steps are announced before their bytes are written
                target.write(made[written : written + write])
                written += write
    target.write(made[written:])
    target.finish()
    return target, made


def drawn_steps(drawn: random.Random, objects: list[Object]) -> list[Copy | bytes]:
    steps: list[Copy | bytes] = []
    for number in range(60):
        kind = drawn.randrange(4)
        item = drawn.randrange(len(objects))
        length = drawn.choice([1, 511, 4095, 4096, 4097, 30_000, 300_000])
        if kind < 2:
            steps.append(Copy(item, drawn.randrange(len(objects[item].data) - length), length))
        else:
            steps.append(noise(number, length) if kind == 2 else text(number, length))
    return [*steps, Copy(0, 0, 10_000), Copy(0, 10_000, 10_000), b"end"]


@pytest.mark.parametrize("memory", [0, 150_000, 32 << 20])
@pytest.mark.parametrize("write", [777, 65_536, 3_000_000])
def test_every_range_reads_as_it_was_made(memory: int, write: int):
    """Each of three targets uses an archive, the previous target, and an object that is then deleted."""
    drawn = random.Random(f"{memory}/{write}")
    archive = MemoryBytes(noise(1, 2_000_000))
    gone = text(2, 700_000)
    objects = [of_archive(archive, 1000, 900_000), Object(gone, MemoryBytes(gone))]
    with Context() as context:
        for _ in range(3):
            steps = drawn_steps(drawn, objects)
            target, made = make(context, steps, objects, [archive], memory=memory, write=write)
            assert target.size == len(made)
            for _ in range(300):
                start = drawn.randrange(len(made))
                length = min(len(made) - start, drawn.choice([0, 1, 512, 5000, 400_000]))
                assert target.read_at(start, length) == made[start : start + length]
            assert target.read_at(0, len(made)) == made
            objects = [*objects[:2], Object(made[100:-100], Slice(target, 100, len(made) - 200))]


def test_what_an_archive_has_takes_no_room_in_the_targets_of_a_chain():
    archive = MemoryBytes(noise(1, 3_000_000))
    objects = [of_archive(archive, 0, 3_000_000)]
    steps: list[Copy | bytes] = [Copy(0, 0, 2_000_000), noise(2, 10_000), Copy(0, 2_000_000, 1_000_000)]
    with Context() as context:
        target, made = make(context, steps, objects, [archive], memory=0)
        assert target.size == len(made) == 3_010_000
        assert target.file_size == 10_000
        again = [Object(made, Slice(target, 0, len(made)))]
        target, more = make(context, [Copy(0, 5, 3_000_000), noise(3, 20_000)], again, [archive], memory=0)
        assert target.read_at(0, len(more)) == more
        assert 30_000 <= target.file_size < 40_000  # stored bytes of this target and of the previous target
        target, _ = make(context, [Copy(0, 0, 3_000_000)], objects, [], memory=0)
        assert target.file_size == 3_000_000  # the bytes are stored, because their archive will be deleted


def test_the_rest_is_compressed_in_memory_and_then_in_a_file():
    words = text(1, 2_000_000)
    with Context() as context:
        target, _ = make(context, [words], [], [], memory=400_000)
        assert 0 <= target.memory_left < 400_000
        assert 0 < target.file_size < 1_200_000


def test_a_far_range_decompresses_two_small_blocks_at_most(monkeypatch):
    """A range of two bytes may lie in two blocks. A bundle may read many such ranges, so each read must cost little."""
    blocks: list[int] = []
    decompress = zstd.Blocks.decompress

    def counted(codec: zstd.Blocks, packed: bytes) -> bytes:
        block = decompress(codec, packed)
        blocks.append(len(block))
        return block

    monkeypatch.setattr(zstd.Blocks, "decompress", counted)
    with Context() as context:
        target, made = make(context, [text(1, 12 << 20)], [], [], memory=1 << 20)
        ends = range(8192, len(made), 8192)
        for number in range(1000):
            end = ends[number * 7 % len(ends)]
            blocks.clear()
            assert target.read_at(end - 1, 2) == made[end - 1 : end + 1]
            assert len(blocks) <= 2
            assert sum(blocks) <= 16 << 10


def test_a_target_that_is_given_up_holds_no_memory():
    with Context() as context:
        target, made = make(context, [noise(1, 1 << 20)], [], [], memory=2 << 20)
        assert target.read_at(0, len(made)) == made
        assert target.memory_left < 2 << 20
        target.close()
        assert target.memory_left == 2 << 20

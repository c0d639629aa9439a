"""The program, run (dib.md, 4)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from decoder.core.basics import MiB, need, sha256
from decoder.core.codecs import decode_frame
from decoder.core.edits import CHKSUM, FIELDS, Begin, Copy, Draw, Edit, End, Zeros, styled
from decoder.core.manifest import Span, take
from decoder.full.packing import pack, read_packing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoder.core.basics import Content
    from decoder.core.edits import Step
    from decoder.core.walk import Plan


class Run:
    """Makes a target's bytes by its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.bundle, self.target = plan, plan.bundle, plan.target
        self.registers = [bytes(512), bytes(512)]
        self.decoded: dict[int, bytes] = {}
        self.uses = Counter(number for step in plan.steps for number in used_frames(step))
        self.cost = 0

    def output(self) -> Iterator[bytes]:
        """Give the target in pieces."""
        steps = iter(self.plan.steps)
        for step in steps:
            if isinstance(step, Begin):
                yield self.packed(step, steps)
            else:
                yield from self.made(step)

    def made(self, step: Step) -> Iterator[bytes]:
        """Give what a step yields."""
        if isinstance(step, Copy):
            for at in range(0, step.span.length, MiB):
                part = min(MiB, step.span.length - at)
                yield self.plan.at(Span(step.span.object, step.span.offset + at, part))
        elif isinstance(step, Zeros):
            for at in range(0, step.length, MiB):
                yield bytes(min(MiB, step.length - at))
        elif isinstance(step, Edit):
            yield self.edit(step)
        elif isinstance(step, Draw):
            yield from self.draw(step)

    def draw(self, draw: Draw) -> Iterator[bytes]:
        """Give the bytes of a piece; frames are decoded when first needed and dropped behind their last use."""
        for number, offset, length in draw.pieces:
            if number not in self.decoded:
                self.decoded[number] = self.decode(number)
            yield self.decoded[number][offset : offset + length]
            self.uses[number] -= 1
            if not self.uses[number]:
                del self.decoded[number]

    def decode(self, number: int) -> bytes:
        """Check and decode a frame (1.3, 5)."""
        frame = self.bundle.frames[number]
        stored = take(self.bundle.data, frame.at, frame.stored)
        need(sha256(stored) == frame.digest, f"the digest of frame {number} is wrong", 7)
        text = self.target.digest_text
        count = len(self.bundle.sizes)
        parts = []
        for span in self.plan.sources.get(number, []):
            whole: Content = text if span.object == count else self.plan.objects[span.object]
            parts.append(whole[span.offset : span.offset + span.length])
        return decode_frame(frame.codec, stored, frame.size, b"".join(parts), self.bundle)

    def edit(self, step: Edit) -> bytes:
        """Make a header block (4.2)."""
        reference = self.registers[step.register] if step.base is None else self.plan.at(step.base)
        fault = 5 if step.base is None else 6
        block = bytearray(reference)
        for change in step.changes:
            first, end = FIELDS[change.field]
            if change.text is None:
                block[first:end] = styled(reference[first:end], change.number, f"%0{end - first - 1}o\0", fault)
            else:
                block[first:end] = b"".join(self.draw(change.text)).ljust(end - first, b"\0")
        if step.changes and all(change.field != CHKSUM for change in step.changes):
            total = sum(block) - sum(block[148:156]) + 8 * 32
            block[148:156] = styled(reference[148:156], total, "%06o\0 ", fault)
        self.registers[step.register] = bytes(block)
        return self.registers[step.register]

    def packed(self, begin: Begin, steps: Iterator[Step]) -> bytes:
        """Make packed bytes of the content up to the next end (4.6)."""
        packing = read_packing(b"".join(self.draw(begin.packing)), self.bundle.encoders)
        self.cost += packing.cost
        need(self.cost <= 16 * self.target.size + self.bundle.excess, "packings cost too much")
        packed = pack(packing, self.content(steps))
        need(len(packed) == begin.packed, "a packing makes another number of bytes")
        return packed

    def content(self, steps: Iterator[Step]) -> Iterator[bytes]:
        """Give the content of a packing."""
        for step in steps:
            if isinstance(step, End):
                return
            yield from self.made(step)


def used_frames(step: Step) -> list[int]:
    """List the frames that a step draws from, each as often as it does."""
    if isinstance(step, Draw):
        draws = [step]
    elif isinstance(step, Begin):
        draws = [step.packing]
    elif isinstance(step, Edit):
        draws = [change.text for change in step.changes if change.text]
    else:
        draws = []
    return [number for draw in draws for number, _, _ in draw.pieces]

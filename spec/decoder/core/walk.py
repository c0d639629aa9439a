"""The program, walked without making anything (dib.md, 4.3 to 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoder.core.basics import MiB, need
from decoder.core.edits import FIELDS, MOST, NUMERIC, SIZE, Begin, Change, Copy, Draw, Edit, End, Zeros, content_length
from decoder.core.manifest import Span
from decoder.core.values import Column

if TYPE_CHECKING:
    from decoder.core.basics import Content
    from decoder.core.edits import Step
    from decoder.core.manifest import Bundle, Target


class Plan:
    """What a target's program does, step by step, with all numbers resolved.

    Where the program leads depends on the base and on the columns alone, so that everything about frames and their
    implied sources is known, and checked, before anything is output.
    """

    def __init__(self, bundle: Bundle, target: Target, objects: list[Content]) -> None:
        self.bundle, self.target, self.objects = bundle, target, objects
        self.columns = [Column(column) for column in target.program]
        self.steps: list[Step] = []
        self.object = self.offset = 0
        self.lengths = [0, 0]  # content lengths of the registers
        self.frames: list[list[int]] = [[] for _ in range(32)]  # of each stream, those not used up
        for number in range(target.first, target.first + target.frames):
            self.frames[bundle.frames[number].stream].append(number)
        self.drawn = dict.fromkeys(range(target.first, target.first + target.frames), 0)
        self.next_frame = target.first
        self.sources: dict[int, list[Span]] = {}
        self.repeats: dict[int, int] = {}  # frame: the last step that repeats of it
        self.starts: dict[int, int] = {}  # frame: the step that draws first
        self.ends: dict[int, int] = {}  # frame: the step that uses it up
        self.yielded = self.packed_from = self.content = 0
        self.last = -1
        self.within = False
        self.run()

    def run(self) -> None:
        """Go through all operations."""
        self.shapes()
        doing = [
            *[self.seek, self.keep, self.mode, self.patch, self.add, self.repeat, self.raw, self.replace, self.zero],
            *[self.header, self.begin, self.end],
        ]
        for operation in self.columns[0].data:
            need(operation < len(doing), "an unknown operation")
            doing[operation]()
            self.last = operation
        self.check()

    def shapes(self) -> None:
        """Read the table of shapes."""
        column, self.table = self.columns[13], []
        while column.at < len(column.data):
            shape = column.next()
            bits, raw = shape & 0xFFFF, shape >> 16
            must = sum(1 << number for number in range(16) if number not in NUMERIC) & bits
            need(raw < 1 << 16 and not raw & ~bits, "a shape with unknown bits")
            need(raw & must == must and not raw >> SIZE & 1, "a shape that gives a field in the wrong way")
            self.table.append(shape)
        need(len(self.table) <= 4096, "too many shapes")

    def emit(self, step: Step, length: int) -> None:
        """Note a step and what it yields."""
        if length or isinstance(step, End | Begin):
            self.steps.append(step)
            self.yielded += length

    def draw(self, stream: int, length: int, source: Span | None = None) -> Draw:
        """Take bytes of a stream: note which frames they come from, and their source."""
        need(stream < 32, "a stream of too high a number")
        pieces: list[tuple[int, int, int]] = []
        while length:
            need(self.frames[stream], "a stream ends early")
            number = self.frames[stream][0]
            frame, offset = self.bundle.frames[number], self.drawn[number]
            if not offset:
                need(number == self.next_frame, "frames are not needed in their order")
                self.next_frame += 1
                self.starts[number] = len(self.steps)
            part = min(length, frame.size - offset)
            if frame.kind == 1 and source and source.length:
                need(part == length and not pieces, "a piece with a source goes beyond its frame")
                self.sources.setdefault(number, []).append(source)
            pieces.append((number, offset, part))
            self.drawn[number] += part
            length -= part
            if self.drawn[number] == frame.size:
                self.ends[number] = len(self.steps)
                del self.frames[stream][0]
        return Draw(pieces)

    def read(self, length: int) -> Span:
        """Take that many bytes from the cursor."""
        need(self.object < len(self.objects), "the cursor is in no object")
        span = Span(self.object, self.offset, length)
        self.offset += length
        need(self.offset <= len(self.objects[self.object]), "the cursor leaves its object")
        return span

    def at(self, span: Span) -> bytes:
        """Get bytes of the base."""
        return self.objects[span.object][span.offset : span.offset + span.length]

    def edit(self, register: int, base: Span | None = None, old: int = 0) -> int:
        """Plan an edit (4.2) and give the content length of the new block."""
        number = self.columns[14].next()
        need(number < len(self.table), "a shape that is not in the table")
        shape = self.table[number]
        changes = []
        length = self.lengths[register] if base is None else old
        for bit in range(16):
            if not shape >> bit & 1:
                continue
            if shape >> 16 + bit & 1:
                changes.append(self.text(bit))
            else:
                changes.append(Change(bit, self.number(bit, old)))
                length = changes[-1].number if bit == SIZE else length
        self.emit(Edit(register, base, changes), 512)
        self.lengths[register] = length
        return length

    def text(self, bit: int) -> Change:
        """Plan a field given as text."""
        length = self.columns[22].next()
        need(length <= FIELDS[bit][1] - FIELDS[bit][0], "a text is longer than its field")
        return Change(bit, text=self.draw(0, length))

    def number(self, bit: int, old: int) -> int:
        """Plan a field given as a number."""
        column = self.columns[NUMERIC[bit]]
        if bit != SIZE:
            return column.next()
        value = old + column.signed()
        need(0 <= value <= MOST, "a size out of range")
        return value

    def record(self) -> tuple[Span, int]:
        """Take the header block at the cursor, and read its content length."""
        span = self.read(512)
        return span, content_length(self.at(span))

    def seek(self) -> None:
        """Operation 0."""
        need(self.last != 0, "two seeks in a row")
        number, offset = self.columns[1].next(), self.columns[2].signed()
        need(number < len(self.objects), "a seek to an object that is not there")
        self.offset = offset + (self.offset if number == self.object else 0)
        self.object = number
        need(0 <= self.offset <= len(self.objects[number]), "a seek to outside of an object")

    def keep(self) -> None:
        """Operation 1."""
        length = self.columns[3].positive()
        self.emit(Copy(self.read(length)), length)

    def mode(self) -> None:
        """Operation 2."""
        for _ in range(self.columns[4].positive()):
            span, old = self.record()
            need(self.edit(0, span, old) == old, "a mode operation that changes a size")
            length = old + -old % 512
            self.emit(Copy(self.read(length)), length)

    def patch(self) -> None:
        """Operation 3."""
        span, old = self.record()
        new = self.edit(0, span, old)
        source = self.read(old)
        self.read(-old % 512)
        self.emit(self.draw(self.columns[5].next(), new, source), new)
        self.emit(Zeros(-new % 512), -new % 512)

    def add(self) -> None:
        """Operation 4."""
        new = self.edit(0)
        self.emit(self.draw(self.columns[5].next(), new), new)
        self.emit(Zeros(-new % 512), -new % 512)

    def repeat(self) -> None:
        """Operation 5."""
        number, offset, length = self.columns[9].next(), self.columns[10].next(), self.columns[11].positive()
        need(self.drawn.get(number), "a repeat of a frame that was not drawn from")
        need(offset + length <= self.bundle.frames[number].size, "a repeat goes beyond its frame")
        self.repeats[number] = len(self.steps)
        self.emit(Draw([(number, offset, length)]), length)

    def raw(self) -> None:
        """Operation 6."""
        length = self.columns[6].positive()
        self.emit(self.draw(self.columns[5].next(), length), length)

    def replace(self) -> None:
        """Operation 7."""
        length, source = self.columns[6].positive(), self.read(self.columns[7].next())
        self.emit(self.draw(self.columns[5].next(), length, source), length)

    def zero(self) -> None:
        """Operation 8."""
        length = self.columns[8].positive()
        self.emit(Zeros(length), length)

    def header(self) -> None:
        """Operation 9."""
        register = self.columns[12].next()
        need(register < 2, "a register that is not there")
        self.edit(register)

    def begin(self) -> None:
        """Operation 10."""
        need(not self.within, "a begin within a packing")
        length, packed = self.columns[23].positive(), self.columns[24].next()
        need(length <= 16 * MiB, "a packing of more than 16 MiB")
        self.emit(Begin(self.draw(0, length), packed), packed)
        self.within, self.packed_from = True, self.yielded

    def end(self) -> None:
        """Operation 11."""
        need(self.within, "an end without a begin")
        self.content += self.yielded - self.packed_from
        self.within, self.yielded = False, self.packed_from
        self.emit(End(), 0)

    def check(self) -> None:
        """Refuse what is left over, and what is over the limits."""
        need(not self.within, "a begin without an end")
        need(self.yielded == self.target.size, "the program yields another size")
        need(self.content <= 16 * self.target.size + self.bundle.excess, "too much content within packings")
        for column in self.columns[1:]:
            column.end()
        need(not any(self.frames), "frames are not used up")
        for number in self.drawn:
            frame = self.bundle.frames[number]
            if frame.kind == 1:
                spans = self.sources.get(number, [])
                need(frame.source_size == sum(span.length for span in spans), "an implied source of another size")
            else:
                self.sources[number] = frame.spans
        self.check_temporary()

    def check_temporary(self) -> None:
        """Refuse more than 128 MiB of frames kept for repeats, and 144 MiB with those that are not used up (4.4)."""
        sizes = {number: self.bundle.frames[number].size for number in self.starts}
        sizes |= {number: -(-sizes[number] // 4096) * 4096 for number in self.repeats}
        changes = [(self.starts[number], sizes[number]) for number in self.repeats]
        changes += [(last + 1, -sizes[number]) for number, last in self.repeats.items()]
        need(highest(changes) <= 128 * MiB, "too much kept for repeats")
        changes = []
        for number, start in self.starts.items():
            end = max(self.ends[number], self.repeats.get(number, 0))
            changes += [(start, sizes[number]), (end, -sizes[number])] if end > start else []
        need(highest(changes) <= 144 * MiB, "too much of frames that are not used up")


def highest(changes: list[tuple[int, int]]) -> int:
    """Give the highest sum of changes, in the order of their steps; of one step, what is let go comes first."""
    most = sum_ = 0
    for _, change in sorted(changes):
        sum_ += change
        most = max(most, sum_)
    return most

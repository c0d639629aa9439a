"""Inputs of the relink codec: where code and data are in both contents, and a first map of moved code.

This module is only for creation. The first map takes little time. If all addresses are masked, long ranges of moved
code are equal byte for byte. So sampled anchors find moved code in a tenth of the time of a full search.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from dibundle.codecs import pieces, relink
from dibundle.codecs.encode import anchors, elf
from dibundle.codecs.native.library import LIBRARY, Pinned
from dibundle.codecs.relink import AddressStep, Region

FIRST_LEAST: Final = 64  # minimum bytes of an equal range in the first map
STRIDE: Final = 4  # distance between samples in the first pass; a distance of 16 makes bundles of programs 0.7 % larger
GAIN: Final = 3  # a new address step is used only if it explains at least this many more operands than the steps so far
_CODE: Final = (relink.X86, relink.X86_FIXED, relink.ARM, relink.RISCV, relink.THUMB)
_CODES: Final = {elf.X86_64: relink.X86, elf.AARCH64: relink.ARM, elf.RISCV: relink.RISCV, elf.ARM: relink.THUMB}
_SPACE: Final = 1 << 40  # size of the address space of each program
_UNLOADED: Final = 1 << 39  # offset in this space for the symbols' names, which have no address of their own
_SYMBOLS: Final = 1 << 38  # distance in this space from the names of symbols to the symbols
_RECORDS: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RelinkPlan:
    """Regions of the source, sections of the target, fixed steps, and the first map in the form of ``steps_of``.

    ``records`` and ``target_records`` are the offsets of stack frame records, about one for every 64 KiB. ``exact`` has
    the addresses of steps whose shift is known for sure, so covers do not change the shift.
    """

    regions: list[Region]
    sections: list[Region]
    fixed: list[AddressStep]
    first: array[int]
    records: list[int]
    target_records: list[int]
    exact: Container[int]

    def window(self, source: range, target: range) -> RelinkPlan | None:
        """Return the plan for these ranges of source and target.

        The first map gives the moves outside of these ranges.

        If the range of the source has no code, returns ``None``.
        """
        regions = _cut(self.regions, source, self.records)
        sections = _cut(self.sections, target, self.target_records)
        whole = _whole(self.regions, source) & _whole(self.sections, target)
        regions = [region if region.mode in whole else _without(region) for region in regions]
        sections = [section if section.mode in whole else section._replace(mode=relink.RAW) for section in sections]
        inside = [(region.address, region.address + region.length) for region in regions]
        if not any(region.mode in _CODE for region in regions) or not sections:
            return None
        return RelinkPlan(
            regions=regions,
            sections=sections,
            fixed=self._outside(inside),
            first=self.first,
            records=[],
            target_records=[],
            exact=self.exact,
        )

    def _outside(self, inside: list[tuple[int, int]]) -> list[AddressStep]:
        """Return the steps of the first map outside of the ranges ``inside``.

        Covers will show the moves within these ranges. The bounds of these ranges become steps.
        """
        ats, shifts, kinds = self.first[0::3], self.first[1::3], self.first[2::3]
        steps: dict[int, AddressStep] = {}

        def keep(first: int, last: int) -> None:
            rows = zip(ats[first:last], shifts[first:last], kinds[first:last], strict=True)
            steps.update(zip(ats[first:last], map(AddressStep._make, rows), strict=True))

        done = 0
        for low, high in sorted(inside):
            keep(done, bisect_left(ats, low))
            for bound in (low, high):
                k = bisect_right(ats, bound) - 1
                if k >= 0:
                    steps[bound] = AddressStep(bound, shifts[k], kinds[k])
            done = max(done, bisect_left(ats, high))
        keep(done, len(ats))
        for at in (step.at for step in self.fixed):
            k = bisect_left(ats, at)
            if k < len(ats) and ats[k] == at:
                keep(k, k + 1)
        return [steps[at] for at in sorted(steps)]


def plan(source: bytes, target: bytes) -> RelinkPlan | None:
    """Return the plan for relinking ``source`` towards ``target``.

    Return None if the source and the target have no native code that moved.

    Planning takes twice the size of both contents in memory, and about 20 ns for each byte of content.
    """
    old, new = elf.programs(source), elf.programs(target)
    if not old or not new:
        stretches = elf.guess(source), elf.guess(target)
        old, new = [[stretch] if stretch else [] for stretch in stretches]
    pairs = _pairs(old, new)
    regions: list[Region] = []
    sections: list[Region] = []
    fixed: list[AddressStep] = []
    counterparts: list[Region] = []
    places: list[AddressStep] = []
    exact: set[int] = set()
    tables = {id(found): relink.MAX_TABLES for found in (regions, counterparts)}
    for number, (before, after) in enumerate(pairs):
        space = number * _SPACE
        for program, found in ((before, regions), (after, counterparts)):
            more = _regions(program, space, tables[id(found)])
            tables[id(found)] -= _tables(more)
            found.extend(more)
        sections += _sections(after, space)
        moved = dict(after.parts) | {section.name: section.address for section in after.sections}
        fixed += _kinds(before, space, moved)
        places += _kinds(after, space, {})
        exact.update(at + space for _, at in before.parts)
    if not any(region.mode in _CODE for region in regions) or len(regions) > relink.MAX_REGIONS:
        return None
    regions.sort()
    sections.sort()
    counterparts.sort()
    sides = ((source, regions, fixed), (target, counterparts, places))
    masked = pieces.share(lambda side: relink.relink(side[0], side[1], relink.columns(side[2]), mask=True), sides)
    rows = anchors.find(*masked, stride=STRIDE)
    told = relink.pieces_of(rows, regions, sections, FIRST_LEAST)
    header = relink.RelinkHeader(FIRST_LEAST, regions, sections, _from_pieces(fixed, told, exact))
    first = relink.steps_of(rows, header)
    if not any(first[1::3]):
        return None
    return RelinkPlan(
        regions=regions,
        sections=sections,
        fixed=fixed,
        first=first,
        records=_records(source, regions),
        target_records=_records(target, sections),
        exact=exact,
    )


def _cut(regions: Iterable[Region], window: range, records: list[int]) -> list[Region]:
    """Return the parts of ``regions`` within a window. A part with stack frame records begins at a whole record."""
    cut = []
    for region in regions:
        start, end = max(region.start, window.start), min(region.start + region.length, window.stop)
        if region.mode == relink.FRAMES and start > region.start:
            k = bisect_left(records, start)
            start = records[k] if k < len(records) else end
        if start < end:
            address = region.address + start - region.start
            cut.append(region._replace(start=start - window.start, length=end - start, address=address))
    return cut


def _whole(regions: Iterable[Region], window: range) -> set[int]:
    """Return the modes that work even if ``window`` cuts off parts of ``regions``."""
    lost = {r.mode for r in regions if r.start < window.start or r.start + r.length > window.stop}
    modes = set(range(relink.GO + 1))
    if lost:
        modes.remove(relink.RELOCATIONS)
    if lost & {relink.INDEX, relink.FRAMES}:
        modes.remove(relink.INDEX)
    return modes


def _without(region: Region) -> Region:
    """Return a source region with a mode that needs no counterpart in the target."""
    return region._replace(mode=relink.POINTERS if region.mode == relink.RELOCATIONS else relink.RAW)


def _records(data: bytes, regions: Iterable[Region]) -> list[int]:
    """Return the offsets of some stack frame records, about one for every 64 KiB."""
    found = []
    for region in regions:
        if region.mode != relink.FRAMES:
            continue
        at, end, due = region.start, region.start + region.length, 0
        while at + 16 <= end:
            if at >= due:
                found.append(at)
                due = at + _RECORDS
            size = int.from_bytes(data[at : at + 4], "little")
            if size < 4:
                break
            at += 4 + size
    return found


def fixed_steps(made: RelinkPlan, source: bytes, target: bytes, rows: array[int]) -> list[AddressStep]:
    """Return the fixed steps for the covers in ``rows``. Some steps come from operands within the covers."""
    told = relink.pieces_of(rows, made.regions, made.sections, relink.LEAST)
    fixed = _from_pieces(made.fixed, told, made.exact)
    steps = relink.steps_of(rows, relink.RelinkHeader(relink.LEAST, made.regions, made.sections, fixed))
    voted = _voted(made, source, target, rows, steps)
    return sorted({step.at: step for step in (*fixed, *voted)}.values())[: relink.most_steps(len(source))]


def _voted(made: RelinkPlan, source: bytes, target: bytes, rows: array[int], steps: array[int]) -> list[AddressStep]:
    """Return additional steps, where operands of source and target show a shift other than in ``steps``."""
    regions, sections, room = relink.columns(made.regions), relink.columns(made.sections), 1 << 16
    while True:
        out = array("q", bytes(24 * room))
        size = LIBRARY.dib_relink_votes(
            *(Pinned(source), Pinned(target), Pinned(rows), len(rows) // 3, Pinned(regions), len(made.regions)),
            *(Pinned(sections), len(made.sections), relink.LEAST, Pinned(steps), len(steps) // 3, GAIN),
            *(Pinned(out), room),
        )
        if size < 0:
            raise MemoryError("no memory to compare the addresses in both sides")
        if size <= room:
            return [AddressStep(*out[k : k + 3]) for k in range(0, 3 * size, 3)]
        room = size


def _pairs(old: list[elf.Program], new: list[elf.Program]) -> list[tuple[elf.Program, elf.Program]]:
    """Pair programs for the same kind of machine, in order.

    If one side has more programs, pair the programs with the most similar sizes.
    """
    pairs = []
    in_order = len(old) == len(new)
    # for each machine: the size and the negative index of each program; if sizes are equal, the first program is the
    # last item
    free: dict[int, list[tuple[int, int]]] = {}
    for number, program in enumerate(old):
        free.setdefault(program.machine, []).append((0 if in_order else program.end - program.start, -number))
    for same in free.values():
        same.sort()
    for program in new:
        same = free.get(program.machine, [])
        if not same:
            continue
        size = program.end - program.start
        k = bisect_left(same, (size, 0))
        near = [len(same) - 1] if in_order else [j for j in (k - 1, k) if 0 <= j < len(same)]
        choice = min(near, key=lambda j: (abs(same[j][0] - size), j))
        pairs.append((old[-same.pop(choice)[1]], program))
    return pairs


def _tables(regions: list[Region]) -> int:
    return sum(region.mode in (relink.TABLES, relink.TABLES_FIXED) for region in regions)


def _regions(program: elf.Program, space: int, tables: int) -> list[Region]:
    regions = []
    text = next((section.address for section in program.sections if section.name == b".text"), None)
    for section in program.sections:
        if section.stored:
            mode, base = _mode(program, section, text)
            if mode in (relink.TABLES, relink.TABLES_FIXED):
                mode, tables = mode if tables else relink.RAW, max(0, tables - 1)
            regions.append(Region(section.start, section.length, section.address + space, base + space, mode))
    if program.symbols:
        start, length, names, names_length = program.symbols
        at = space + _UNLOADED
        regions.append(Region(names, names_length, at, at, relink.RAW))
        regions.append(Region(start, length, at + _SYMBOLS, at, relink.SYMBOLS))
    return regions


def _mode(program: elf.Program, section: elf.ElfSection, text: int | None) -> tuple[int, int]:
    """Return a section's mode, and the base of the addresses that the section stores.

    ``text`` is the address of the section .text, or None.
    """
    if section.code:
        mode = _CODES[program.machine]
        # Go's code at fixed addresses has few absolute addresses. Without the mode X86_FIXED, bundles of five Go
        # programs were 0.1 to 26 % smaller. Bundles of two programs in C and Haskell were 4 and 7 % larger.
        is_fixed = mode == relink.X86 and program.fixed and not program.parts
        return relink.X86_FIXED if is_fixed else mode, 0
    if section.name in elf.GO_TABLES:
        return (relink.RAW, 0) if text is None else (relink.GO, text)
    if section.name in (b".eh_frame", b".eh_frame_hdr"):
        return relink.FRAMES if section.name == b".eh_frame" else relink.INDEX, 0
    if section.names is not None:
        return relink.SYMBOLS, section.names
    if section.relocations or section.writable:
        if program.machine == elf.ARM:
            return relink.WORDS, 0
        return relink.RELOCATIONS if section.relocations else relink.POINTERS, 0
    if section.name == b".rodata":
        return relink.TABLES_FIXED if program.fixed else relink.TABLES, 0
    return relink.RAW, 0


def _sections(program: elf.Program, space: int) -> list[Region]:
    """Return the positions of the target's sections, and the modes of sections with derived fields."""
    return [
        region if region.mode in relink.DERIVED else region._replace(mode=relink.RAW)
        for region in _regions(program, space, 0)
        if region.address < space + _UNLOADED + _SYMBOLS
    ]


def _kinds(program: elf.Program, space: int, moved: dict[bytes, int]) -> list[AddressStep]:
    """Return steps for the sections, for the tables in sections, and for the holes between sections."""
    steps: list[AddressStep] = []
    end = None
    for section in program.sections:
        if end is not None and section.address > end:
            steps.append(AddressStep(end + space, 0, relink.HOLE))
        kind = relink.CODE if section.code else relink.TABLE if section.name == b".rodata" else relink.DATA
        steps.append(
            AddressStep(section.address + space, moved.get(section.name, section.address) - section.address, kind)
        )
        end = section.address + section.length
        inside = {at: name for name, at in program.parts if section.address < at < end}
        for at, name in sorted(inside.items()):
            steps.append(AddressStep(at + space, moved.get(name, at) - at, kind))
    if end is not None:
        steps.append(AddressStep(end + space, 0, relink.HOLE))
    if program.symbols:
        at = space + _UNLOADED
        steps.append(AddressStep(at, 0, relink.DATA))
        steps.append(AddressStep(at + program.symbols.names_length, 0, relink.HOLE))
    return steps


def _from_pieces(fixed: list[AddressStep], told: array[int], exact: Container[int]) -> list[AddressStep]:
    """Return ``fixed`` with new shifts.

    Each step gets the shift of the first piece in ``told`` between this step and the next.

    ``told`` has the pieces of covers as steps, by address. Steps at ``exact`` addresses stay unchanged.
    """
    steps = []
    ats, shifts = told[0::3], told[1::3]
    for number, step in enumerate(fixed):
        end = fixed[number + 1].at if number + 1 < len(fixed) else None
        k = bisect_left(ats, step.at)
        is_told = k < len(ats) and (end is None or ats[k] < end)
        if step.kind != relink.HOLE and step.at not in exact and is_told:
            steps.append(step._replace(shift=shifts[k]))
        else:
            steps.append(step)
    return steps

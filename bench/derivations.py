"""Measure how many bytes each derivation of relinking saves, and classify the remaining differences in code.

    python bench/derivations.py OLD NEW [--code 3000000]

OLD and NEW are two releases of an ELF program for x86-64. The script switches off one derivation at a time, by
replacing functions of dib, and encodes the payload again. Then it compares the first ``--code`` bytes of code before
and after relinking, and counts the changed bytes for each part of an instruction. The script needs capstone from PyPI.
"""

from __future__ import annotations

import argparse
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dibundle.codecs import cover, relink
from dibundle.codecs.encode import covers, elf, layout, relinker

DERIVATIONS = {
    "frames of functions and their index": {relink.FRAMES: relink.RAW, relink.INDEX: relink.RAW},
    "addends of relocations": {relink.RELOCATIONS: relink.POINTERS},
    "symbols": {relink.SYMBOLS: relink.RAW},
    "Go's table of functions": {relink.GO: relink.RAW},
    "tables of jumps": {relink.TABLES: relink.RAW, relink.TABLES_FIXED: relink.RAW},
    "absolute addresses in code and between tables": {relink.X86_FIXED: relink.X86, relink.TABLES_FIXED: relink.TABLES},
    "pointers in data": {relink.POINTERS: relink.RAW, relink.RELOCATIONS: relink.RAW},
}
CALLS, JUMPS = ("call",), ("j",)


def without(modes: dict[int, int], old: bytes, new: bytes) -> int:
    """Return the size of the payload after regions get other modes, as in ``modes``."""
    usual = layout._mode

    def mode(program: elf.Program, section: elf.ElfSection, text: int | None) -> tuple[int, int]:
        found, base = usual(program, section, text)
        return modes.get(found, found), base

    layout._mode = mode
    try:
        return size(old, new)
    finally:
        layout._mode = usual


def size(old: bytes, new: bytes) -> int:
    """Return the size of the payload."""
    made = relinker.encode(old, new)
    return len(made) if made else len(cover.encode(old, new, covers.find(old, new)))


def changed(rows: array[int], source: bytes, target: bytes, section: elf.ElfSection, most: int) -> dict[int, bool]:
    """Return the offsets of changed bytes of code, each with a flag; True means that the byte is outside all covers."""
    low, high = section.start, section.start + min(most, section.length)
    found = dict.fromkeys(range(low, high), True)
    for s, t, length in zip(rows[0::3], rows[1::3], rows[2::3], strict=True):
        for at in range(max(t, low), min(t + length, high)):
            if source[s + at - t] == target[at]:
                del found[at]
            else:
                found[at] = False
    return found


def kinds(target: bytes, section: elf.ElfSection, most: int) -> Callable[[int], str]:
    """Return a function that takes an offset in code, and returns which part of an instruction is at this offset."""
    import capstone

    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.detail = machine.skipdata = True
    names: dict[int, str] = {}
    code = target[section.start : section.start + min(most, section.length)]
    for found in machine.disasm(code, section.start):
        parts = ["opcode, prefix, ModRM"] * found.size
        if found.id:
            is_call, is_jump = found.mnemonic.startswith(CALLS), found.mnemonic.startswith(JUMPS)
            for k in range(found.imm_size):
                name = "call" if is_call else "jump" if is_jump else "immediate"
                parts[found.imm_offset + k] = name
            memory = [item.mem for item in found.operands if item.type == capstone.x86.X86_OP_MEM]
            base = found.reg_name(memory[0].base) if memory and memory[0].base else ""
            name = {"rip": "rip displacement", "rsp": "stack displacement", "rbp": "stack displacement"}.get(
                base, "other displacement"
            )
            for k in range(found.disp_size if memory else 0):
                parts[found.disp_offset + k] = name
        names.update(enumerate(parts, found.address))
    return lambda at: names.get(at, "no instruction")


def main() -> None:
    """Run the measurements of the command line, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--code", type=int, default=3_000_000, help="bytes of code whose changes are counted")
    arguments = parser.parse_args()
    old, new = arguments.old.read_bytes(), arguments.new.read_bytes()
    whole = size(old, new)
    print(f"{whole:,} bytes with all; {len(cover.encode(old, new, covers.find(old, new))):,} without relinking")
    for name, modes in DERIVATIONS.items():
        less = without(modes, old, new)
        print(f"{name}: {less:,} without ({whole / less - 1:+.1%})", flush=True)
    (program,) = elf.programs(new)
    text = next(section for section in program.sections if section.name == b".text")
    plan = layout.plan(old, new)
    assert plan
    linked, target = (
        bytes(relink.relink(old, plan.regions, plan.first)),
        bytes(relink.derive(new, plan.sections, put_back=False)),
    )
    _, second = relinker.relinked(old, new, plan, covers.find(linked, target, quick=True))
    found = covers.find(second, target)
    kind = kinds(new, text, arguments.code)
    for name, rows, source, wanted in (
        ("before", cover.flat(covers.find(old, new)), old, new),
        ("after", cover.flat(found), bytes(second), target),
    ):
        left = changed(rows, source, wanted, text, arguments.code)
        differ = Counter(kind(at) for at, is_literal in left.items() if not is_literal)
        literal = sum(left.values())
        print(f"{name}: {differ.total():,} bytes differ under covers, {literal:,} are literals")
        for part, count in differ.most_common():
            print(f"  {part}: {count:,} ({count / differ.total():.0%})")


if __name__ == "__main__":
    main()

"""Small ELF files for x86-64 and aarch64, and new versions of these files. The artificial code in the files has calls
and pointers.
"""

from __future__ import annotations

import random
import struct

MACHINES = X86_64, AARCH64, RISCV, ARM = 62, 183, 243, 40
TEXT, RODATA, DATA, FRAMES = 0x401000, 0x480000, 0x4A1000, 0x490000


def build(machine: int, functions: list[tuple[int, int]], seed: int = 1) -> bytes:
    """Return an ELF file with one function for each pair (identity, size in words). Equal pairs give functions with
    equal content.
    """
    starts, at = {}, TEXT
    for identity, words in functions:
        starts[identity] = at
        at += words * 8
    callees = sorted(starts)
    code = bytearray()
    for identity, words in functions:
        rng = random.Random(identity * 1000 + seed)
        for k in range(words):
            here = TEXT + len(code)
            callee = rng.choice(callees) if rng.random() < 0.4 else None
            known = rng.randrange(1000)
            if callee is not None:
                code += _CALLS[machine](here, starts[callee])
            elif rng.random() < 0.4:
                code += _LOADS[machine](here, RODATA + 8 * len(functions) + known * 8)
            else:
                code += struct.pack("<II", 0x0B1F2B00 | known, 0x2A2A0000 | k)
    pointers = b"".join(struct.pack("<Q", starts[identity]) for identity, _ in functions)
    jumps = b"".join(struct.pack("<i", starts[identity] - RODATA) for identity, _ in functions)
    jumps += random.Random(seed).randbytes(9000)
    frames = b"".join(
        struct.pack("<IIiI", 16, 20 * k + 4, starts[identity] - (FRAMES + 20 * k + 8), 8) + bytes(4)
        for k, (identity, _) in enumerate(functions)
    )
    return _file(machine, [
        (b".text", 1, 6, TEXT, bytes(code)), (b".rodata", 1, 2, RODATA, jumps), (b".eh_frame", 1, 2, FRAMES, frames),
        (b".data", 1, 3, DATA, pointers), (b".bss", 8, 3, DATA + 0x10000, b"x" * 64),
    ])  # fmt: skip


def versions(machine: int, count: int, words: int, seed: int) -> tuple[bytes, bytes]:
    """Return a program of ``count`` functions, and a new version of it. In this version, some functions have grown or
    moved, and some were removed or added.
    """
    rng = random.Random(seed)
    functions = [(k, rng.randrange(4, words)) for k in range(count)]
    changed = list(functions)
    for _ in range(rng.randrange(1, 4)):
        k = rng.randrange(len(changed))
        kind = rng.randrange(3)
        if kind == 0:
            changed[k] = (changed[k][0], changed[k][1] + 3)
        elif kind == 1:
            changed.insert(k, (count + rng.randrange(1000, 2000), 9))
        else:
            changed.append(changed.pop(k))
    return build(machine, functions, 1), build(machine, changed, 1)


def _call_x86(here: int, target: int) -> bytes:
    return b"\xe8" + struct.pack("<i", target - here - 5) + b"\x90\x48\x89"


def _load_x86(here: int, target: int) -> bytes:
    return b"\x48\x8b\x0d" + struct.pack("<i", target - here - 7) + b"\x90"


def _call_arm(here: int, target: int) -> bytes:
    return struct.pack("<II", 0x94000000 | (target - here >> 2) & 0x3FFFFFF, 0x54000020)


def _load_arm(here: int, target: int) -> bytes:
    pages = (target >> 12) - (here >> 12)
    adrp = 0x90000001 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    return struct.pack("<II", adrp, 0xF9400022 | (target & 0xFFF) >> 3 << 10)


def _call_riscv(here: int, target: int) -> bytes:
    far = target - here
    return struct.pack("<II", 0x97 | far + 2048 & 0xFFFFF000, 0x000080E7 | (far & 4095) << 20)


def _load_riscv(here: int, target: int) -> bytes:
    far = target - here
    return struct.pack("<II", 0x797 | far + 2048 & 0xFFFFF000, 0x0007B783 | (far & 4095) << 20)


def _call_thumb(here: int, target: int) -> bytes:
    far = target - here - 4
    s = far >> 24 & 1
    first, second = (far >> 23 ^ s ^ 1) & 1, (far >> 22 ^ s ^ 1) & 1
    second_half = 0xD000 | first << 13 | second << 11 | far >> 1 & 2047
    return struct.pack("<HHI", 0xF000 | s << 10 | far >> 12 & 1023, second_half, 0xBF00BF00)


def _load_thumb(here: int, target: int) -> bytes:
    return struct.pack("<HHi", 0x4900, 0x4479, target - here - 6)


_CALLS = {X86_64: _call_x86, AARCH64: _call_arm, RISCV: _call_riscv, ARM: _call_thumb}
_LOADS = {X86_64: _load_x86, AARCH64: _load_arm, RISCV: _load_riscv, ARM: _load_thumb}


def _file(machine: int, sections: list[tuple[bytes, int, int, int, bytes]]) -> bytes:
    row = "<IIIIIIIIII" if machine == ARM else "<IIQQQQIIQQ"
    names, body, rows = b"\0", bytearray(64), [bytes(struct.calcsize(row))]
    for name, kind, flags, address, data in sections:
        rows.append(struct.pack(row, len(names), kind, flags, address, len(body), len(data), 0, 0, 1, 0))
        names += name + b"\0"
        body += data if kind != 8 else b""
        body += bytes(-len(body) % 16)
    rows.append(struct.pack(row, 0, 3, 0, 0, len(body), len(names), 0, 0, 1, 0))
    body += names + bytes(-len(names) % 16)
    wide = machine != ARM
    head = b"\x7fELF" + bytes((1 + wide, 1, 1)) + bytes(9)
    head += struct.pack("<HHIQQQ" if wide else "<HHIIII", 2, machine, 1, TEXT, 0, len(body))
    head += struct.pack("<IHHHHHH", 0, 64 if wide else 52, 0, 0, len(rows[0]), len(rows), len(rows) - 1)
    body[: len(head)] = head
    return bytes(body) + b"".join(rows)

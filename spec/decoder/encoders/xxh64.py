"""XXH64, the checksum of zstd frames."""

from __future__ import annotations

import struct


def xxh64(data: bytes) -> int:
    """Make XXH64 with seed 0."""
    one, two, three, four, five = (
        *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
    )
    mask = (1 << 64) - 1

    def turned(value: int, by: int) -> int:
        return (value << by | value >> 64 - by) & mask

    def round_(total: int, value: int) -> int:
        return turned((total + value * two) & mask, 31) * one & mask

    total, whole = five, len(data) & -32
    if whole:
        lanes = [one + two & mask, two, 0, -one & mask]
        for words in struct.iter_unpack("<4Q", data[:whole]):
            lanes = [round_(lane, word) for lane, word in zip(lanes, words, strict=True)]
        total = sum(turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
        for lane in lanes:
            total = (total ^ round_(0, lane)) * one + four & mask
    total = total + len(data) & mask
    rest = data[whole:]
    while len(rest) >= 8:
        total = turned(total ^ round_(0, int.from_bytes(rest[:8], "little")), 27) * one + four & mask
        rest = rest[8:]
    if len(rest) >= 4:
        total = turned(total ^ int.from_bytes(rest[:4], "little") * one & mask, 23) * two + three & mask
        rest = rest[4:]
    for byte in rest:
        total = turned(total ^ byte * five & mask, 11) * one & mask
    total = (total ^ total >> 33) * two & mask
    total = (total ^ total >> 29) * three & mask
    return total ^ total >> 32

"""The relink codec: adjust addresses in the source's native code, and then apply a cover payload.

If code moves, all addresses of this code change. All calls from other code into the moved code change, too. These
changes are most of the difference between two builds. The covers show which code moved. The addresses in the source are
recomputed with integer arithmetic, from the covers and a table of the source's sections. The encoder and the decoder do
the same computation (``spec/relink.md``).

A payload is a header, five packed columns and a cover payload. One column has regions, one has sections, and three have
fixed steps.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Container, Sequence
from itertools import chain
from typing import Final, NamedTuple, overload

from dibundle.codecs import cover, messages, streams
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, rows_from
from dibundle.codecs.numbers import Numbers, number, turned, turned_back
from dibundle.errors import BundleError

VERSION: Final = 1
MAX_REGIONS: Final = 4096
MAX_FIXED: Final = 1 << 20
# every source may have this many regions, sections and fixed steps, because reading each takes only a microsecond
FEW: Final = 128
REGION_BYTES: Final = 256  # a source may have one region and one section for each 256 bytes of its size
FIXED_BYTES: Final = 16  # a source may have one fixed step for each 16 bytes of its size
MAX_STEPS: Final = 1 << 21
MAX_TABLES: Final = 16
MAX_ADDRESS: Final = 1 << 61
_STEP: Final = 72  # maximum bytes of memory for a fixed step while a payload is decoded
# only one thread at a time cuts covers, because cutting may take 128 MiB of memory; no other frame waits for the result
_CUTTING: Final = threading.Lock()

RAW, X86, ARM, POINTERS, INDEX, FRAMES, TABLES, X86_FIXED, TABLES_FIXED, RELOCATIONS, SYMBOLS = range(11)
RISCV, THUMB, WORDS, GO = range(11, 15)
"""Modes of regions. The mode is the kind of addresses that a region has."""
WITH_BASE: Final = (POINTERS, TABLES_FIXED, X86_FIXED, RELOCATIONS, SYMBOLS, WORDS, GO)
DERIVED: Final = (INDEX, FRAMES, RELOCATIONS)
HOLE, DATA, TABLE, CODE = range(4)
"""Kinds of steps. The kind is that of the content at the step's address."""

LEAST: Final = 32
"""The minimum length of covers that show moves. Most shorter covers are accidental. Decoders accept any value."""


def decode(payload: Buffer, source: Buffer, target_size: int) -> bytearray:
    """Decode ``payload`` with ``source`` into ``target_size`` bytes. Raise ``BundleError`` for a malformed payload.

    A writable source is relinked in place. A read-only source is copied first. Decoding needs the cover codec's memory,
    plus up to 200 MB for a million covers.
    """
    header, inner = _read(payload, memoryview(source).nbytes, target_size)
    parsed = cover.parse(inner, memoryview(source).nbytes, target_size)
    steps = steps_of(parsed.rows, header)
    relinked = relink(source, header.regions, steps)
    machine, sections = header.machine, header.sections
    del header, steps, source  # frees up to 100 MB before the target is allocated
    target = parsed.apply(relinked, machine=machine)
    del parsed
    relinked.clear()  # frees the source, because the index of stack frames needs as much memory as the source
    return derive(target, sections, put_back=True)


class Region(NamedTuple):
    """A region of ``length`` bytes of the source or the target.

    The region begins at offset ``start``, and is loaded at ``address``. ``mode`` is the kind of addresses in the
    region. Addresses stored in the region are relative to ``base``.
    """

    start: int
    length: int
    address: int
    base: int
    mode: int


class AddressStep(NamedTuple):
    """Addresses from ``at`` to the next step have moved by ``shift``.

    ``kind`` is the kind of the content at these addresses.
    """

    at: int
    shift: int
    kind: int


class RelinkHeader(NamedTuple):
    """The header of a payload. Only covers of at least ``least`` bytes are used to find moves.

    If the literals are code of ``machine``, the operands of this code are absolute.
    """

    least: int
    regions: list[Region]
    sections: list[Region]
    fixed: Sequence[AddressStep]
    machine: int = cover.NO_CODE


def most_steps(source_size: int) -> int:
    """Return the maximum number of fixed steps for a source."""
    return min(MAX_FIXED, FEW + source_size // FIXED_BYTES)


def most_regions(source_size: int) -> int:
    """Return the maximum number of regions of a source. The maximum number of sections is the same."""
    return min(MAX_REGIONS, FEW + source_size // REGION_BYTES)


def relink(source: Buffer, regions: Sequence[Region], steps: array[int], *, mask: bool = False) -> bytearray:
    """Return ``source`` with recomputed addresses. With ``mask``, set all addresses to zero instead.

    ``steps`` has the address, shift and kind of each :class:`AddressStep` in one array. If ``source`` is a bytearray,
    it is changed in place.
    """
    data = source if isinstance(source, bytearray) else bytearray(source)
    if not mask:
        derive(data, regions, put_back=False)
    table = columns(regions)
    status = LIBRARY.dib_relink(
        *(Pinned(data), Pinned(table), len(regions)),
        *(Pinned(steps), len(steps) // 3, int(mask)),
    )
    if status:
        raise MemoryError("no memory for the map of what moved")
    return data


def derive(source: Buffer, parts: Sequence[Region], *, put_back: bool) -> bytearray:
    """In the ``parts`` of ``source``, remove or restore the fields that are computed from other fields.

    If ``source`` is a bytearray, it is changed in place.
    """
    data = source if isinstance(source, bytearray) else bytearray(source)
    if any(part.mode in DERIVED for part in parts) and LIBRARY.dib_derive(
        Pinned(data), Pinned(columns(parts)), len(parts), int(put_back)
    ):
        raise MemoryError("no memory for the index of frames")
    return data


def columns(rows: Sequence[tuple[int, ...]]) -> array[int]:
    """Return rows of numbers in one array, in the layout of the C functions."""
    return array("q", chain.from_iterable(rows))


def _flat(steps: Sequence[AddressStep]) -> array[int]:
    return steps.numbers if isinstance(steps, _Steps) else columns(steps)


# ---- the payload


def write(header: RelinkHeader) -> bytes:
    """Return the bytes of a payload that come before the cover payload."""
    parts = [bytearray() for _ in range(5)]
    parts[0], parts[1] = _put_regions(header.regions), _put_regions(header.sections)
    at = shift = 0
    for step in header.fixed:
        parts[2] += number(step.at - at)
        parts[3] += number(turned(step.shift - shift))
        parts[4].append(step.kind)
        at, shift = step.at, step.shift
    counts = (len(header.regions), len(header.sections), len(header.fixed))
    head = bytearray([VERSION, header.machine]) + number(header.least) + b"".join(map(number, counts))
    packed = [streams.pack(bytes(column), level=19, literal_bits=((3, 0, 0),)) for column in parts]
    for (packer, stored), column in zip(packed, parts, strict=True):
        head += bytes([packer]) + number(len(stored)) + number(len(column))
    return bytes(head) + b"".join(stored for _, stored in packed)


def _put_regions(regions: Sequence[Region]) -> bytearray:
    out = bytearray()
    end = address = 0
    for region in regions:
        out += number(region.start - end) + number(region.length) + number(turned(region.address - address))
        out += number(region.mode)
        if region.mode in WITH_BASE:
            out += number(turned(region.base - region.address))
        end, address = region.start + region.length, region.address + region.length
    return out


def table_size(payload: Buffer) -> int:
    """Estimate the bytes of memory for a payload's covers and fixed steps. Return 0 if the payload is truncated."""
    reader = Numbers(payload)
    try:
        reader.take(2)
        _, _, _, steps = (reader.number() for _ in range(4))
        lengths = [(reader.byte(), reader.number(), reader.number())[1] for _ in range(5)]
        reader.take(sum(lengths))
        return _STEP * steps + cover.table_size(memoryview(payload)[reader.at :])
    except BundleError:  # decoding says why
        return 0


def _read(payload: Buffer, source_size: int, target_size: int) -> tuple[RelinkHeader, memoryview]:
    """Return the header and the cover payload after the header. Check the header's bounds."""
    view = memoryview(payload)  # do not copy the cover payload, which is most of the payload
    reader = Numbers(view)
    if reader.byte() != VERSION:
        raise BundleError(messages.RELINK_VERSION, payload=payload[0], version=VERSION)
    machine = reader.byte()
    if machine > cover.ARM_CODE:
        raise BundleError(messages.RELINK_MACHINE, machine=machine)
    least = reader.number()
    counts = [reader.number() for _ in range(3)]
    limits = (most_regions(source_size), most_regions(source_size), most_steps(source_size))
    for name, count, most in zip(("regions", "sections", "steps"), counts, limits, strict=True):
        if count > most:
            raise BundleError(messages.RELINK_TOO_MANY, count=count, name=name, most=most)
    if not 1 <= least < MAX_ADDRESS:
        raise BundleError(messages.RELINK_COVERS_SIZE, least=least)
    headers = [(reader.byte(), reader.number(), reader.number()) for _ in range(5)]
    widths = ((4, 45), (4, 45), (1, 9), (1, 9), (1, 1))
    streams_of = []
    for (packer, stored, size), (low, high), count in zip(
        headers, widths, (counts[0], counts[1], counts[2], counts[2], counts[2]), strict=True
    ):
        if not low * count <= size <= high * count or stored > len(payload) - reader.at:
            raise BundleError(messages.RELINK_COLUMN_SIZE, size=size, count=count)
        streams_of.append(streams.unpack(packer, view[reader.at : reader.at + stored], size))
        reader.at += stored
    header = RelinkHeader(
        least,
        _regions(Numbers(streams_of[0]), counts[0], source_size, range(GO + 1)),
        _regions(Numbers(streams_of[1]), counts[1], target_size, (RAW, *DERIVED)),
        _fixed(Numbers(streams_of[2]).numbers(counts[2]), Numbers(streams_of[3]).numbers(counts[2]), streams_of[4]),
        machine,
    )
    return header, view[reader.at :]


def _regions(numbers: Numbers, count: int, size: int, modes: Container[int]) -> list[Region]:
    regions = []
    end = address = 0
    for _ in range(count):
        start, length, address = end + numbers.number(), numbers.number(), address + turned_back(numbers.number())
        mode = numbers.number()
        base = address + turned_back(numbers.number()) if mode in WITH_BASE else address
        end = start + length
        if not length or end > size or mode not in modes or not _fits(address, length) or not _fits(base, 0):
            raise BundleError(messages.RELINK_REGION_OUT_OF_BOUNDS, length=length, start=start)
        regions.append(Region(start, length, address, base, mode))
        address += length
    numbers.end()
    if sum(region.mode in (TABLES, TABLES_FIXED) for region in regions) > MAX_TABLES:
        raise BundleError(messages.RELINK_TOO_MANY_TABLES, max_tables=MAX_TABLES)
    return regions


class _Steps(Sequence[AddressStep]):
    """Steps as one array of numbers, because a million objects would take 150 MB."""

    def __init__(self, numbers: array[int]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers) // 3

    @overload
    def __getitem__(self, index: int) -> AddressStep: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[AddressStep]: ...

    def __getitem__(self, index: int | slice) -> AddressStep | Sequence[AddressStep]:
        rows = range(len(self))[index]
        if isinstance(rows, int):
            return AddressStep(*self.numbers[3 * rows : 3 * rows + 3])
        return [self[row] for row in rows]


def _fixed(gaps: array[int], turns: array[int], kinds: Buffer) -> _Steps:
    steps = array("q", bytes(24 * len(kinds)))
    at = shift = place = 0
    for gap, turn, kind in zip(gaps, turns, kinds, strict=True):
        at, shift = at + gap, shift + turned_back(turn)
        if (place and not gap) or not _fits(at, 0) or not -MAX_ADDRESS < shift < MAX_ADDRESS or kind > CODE:
            raise BundleError(messages.RELINK_STEP, at=at, shift=shift)
        steps[place], steps[place + 1], steps[place + 2] = at, shift, kind
        place += 3
    return _Steps(steps)


def _fits(address: int, length: int) -> bool:
    return 0 <= address <= MAX_ADDRESS - length


# ---- the map


def steps_of(rows: array[int], header: RelinkHeader) -> array[int]:
    """Return the steps.

    The result has the fixed steps, and between them steps for the moves that the covers in ``rows`` show.
    """
    regions, sections, fixed = columns(header.regions), columns(header.sections), _flat(header.fixed)
    room = len(header.fixed) + len(rows) // 3 + len(header.regions) + len(header.sections)
    while True:
        out = array("q", bytes(24 * room))
        with _CUTTING:
            size = LIBRARY.dib_relink_steps(
                *(Pinned(rows), len(rows) // 3, Pinned(regions), len(header.regions)),
                *(Pinned(sections), len(header.sections), header.least, Pinned(fixed), len(header.fixed)),
                *(Pinned(out), room),
            )
        if size == -2:
            raise MemoryError("no memory for the map of what moved")
        if size < 0:
            raise BundleError(messages.RELINK_TOO_MANY_PIECES, max_steps=MAX_STEPS)
        if size <= room:
            del out[3 * size :]  # changed in place, because a copy would take the same memory again
            return out
        room = size
        del out


def pieces_of(rows: array[int], regions: Sequence[Region], sections: Sequence[Region], least: int) -> array[int]:
    """Cut the covers in ``rows`` where a region or section begins or ends.

    Return a step for each piece, in order of address.
    """
    cut, room = (columns(regions), columns(sections)), len(rows) // 3 + len(regions) + len(sections)
    given = (Pinned(rows), len(rows) // 3, Pinned(cut[0]), len(regions), Pinned(cut[1]), len(sections), least)
    return rows_from(room, lambda *out: LIBRARY.dib_relink_pieces(*given, *out))

"""The cover codec (spec/cover.md). A payload has covers (matching ranges), byte-wise differences, and literals.

A payload has the number of covers, then the headers of five streams, then the streams. Three streams are columns with a
number for each cover: the number of literal bytes before the cover, the cover's length, and its seek (jump in the
source). The other two streams are the difference and the literals.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.codecs import messages, model, pieces, sparse, streams, zstd
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned, unfilled
from dibundle.codecs.numbers import Numbers, number, pack
from dibundle.errors import BundleError

if TYPE_CHECKING:
    from dibundle.codecs.encode.covers import Covers

MODEL: Final = 3
"""A packer for only the difference stream. It also reads the source (codecs/model.py)."""

SPARSE: Final = 4
"""The other packer for only the difference stream (codecs/sparse.py)."""

PREFIXED: Final = 5
"""The packer for only the literal stream. Its dictionary is the source around each run of literals."""

NO_CODE, X86_CODE, ARM_CODE = range(3)
"""Kinds of machine code that the literals may have."""

CONTEXT: Final = 512  # bytes of source before and after each run of literals
MAX_CONTEXT: Final = 8 << 20

DEFAULT_EFFORT: Final = 6

MAX_COVERS: Final = 1 << 20
"""The maximum number of covers in a payload, so that columns and rows always take less than 80 MB."""

# plain zstd is tried only up to this size: for larger differences, the other packers give smaller results
SMALL_DIFFERENCE: Final = 64 << 10
# minimum effort for the model: for python-app at effort 2, the model takes 6 % of the time and saves 0.2 % of the bytes
MODEL_EFFORT: Final = 3
SLOW_EFFORT: Final = 8  # minimum effort for methods that make encoding and decoding slower

# if at most this many bytes of a difference are nonzero, the model's tables are twice as large as otherwise
FEW_CHANGES: Final = 400_000
MODEL_BITS: Final = 14
"""The maximum number of bits of the model's tables if many bytes change.

If few bytes change, the tables have one bit more. Larger tables exceed the processor's cache.

For static-binary's two programs, the packed differences have these sizes in bytes, and decoding takes these seconds of
CPU:

- 14 bits: 924,451 and 0.48
- 15 bits: 910,731 and 0.55
- 16 bits: 899,488 and 0.63
- the sparse form: 50 % more bytes, and 0.1 s

Leaving out any one of the model's inputs saved 3 to 8 % of the time and added 0.6 to 1.5 % of bytes.

For python-app's 47 differences (one of them has many changes), the sizes and times are:

- 14 bits: 1,368,719 and 1.00
- 15 bits: 1,346,030 and 1.06
- 16 bits: 1,326,841 and 1.21
- 18 bits: 1,296,215 and 1.68; half of this time is spent on the tables of differences with few changes
"""

NEARLY: Final = 1.02
"""The maximum ratio of the size with a quick model to the size with the full model.

With the quick model, the result for static-binary's two programs is 0.7 % larger. For another program, it is 51 %
larger.
"""

# if there are more literal bytes than this, LZMA2 is always smaller than zstd, so only zstd's fastest level is tried
SURELY_LZMA2: Final = 64 << 10

CONTEXT_LITERALS: Final = 1 << 20
"""The maximum number of bytes of literals to try with context if a target has many patches.

With few patches, there is no maximum. For 17 MB of changed Python files, these are the bytes of literals, and the
seconds:

- LZMA2: 86,168
- zstd with 256 bytes of source before and after: 76,486 and 0.3
- zstd with 1,000 bytes: 75,205 and 0.7
- zstd with all of the source: 73,871 and 3.8
"""

SMALL_CONTEXT: Final = 512 << 10
"""The maximum size of the context for zstd's slow levels below effort 7.

These levels spend most of their time on the context. These are the bytes of the bundle and the seconds of CPU for the
whole process, first for python-app, then for node-app:

- level 19 always: 7,679,213 and 26.3; 3,466,557 and 43.4
- level 19 up to 1 MiB: 7,686,583 and 23.1; 3,513,408 and 31.2
- level 12 always: 7,694,716 and 22.9; 3,515,762 and 31.3

With a maximum of 512 KiB instead of 1 MiB, python-app takes 0.7 s less, and its bundle is 6 kB larger.
"""

_QUICK: Final = 12  # zstd's level for contexts that are larger than SMALL_CONTEXT

NEAR: Final = 1.2
"""If zstd's quick level with context gives more than this many times the size without context, skip the slow level.

On a dump of 900,000 lines of which every fiftieth changed, encoding takes 14.6 s of CPU with the slow level, although
the slow level's result is not used in the end. Without the slow level, encoding takes 2.3 s. For fourteen pairs of
packages and three pairs of the corpus, the sizes are exactly the same.
"""
_ZSTD_LEVELS: Final = {1: 3, 2: 6, 3: 9, 4: 12, 5: 15}
_COVER: Final = 160  # maximum bytes of memory for a cover while a payload is decoded
_NAMES: Final = ("gap", "length", "seek", "difference", "literal")


def encode(
    source: Buffer,
    target: bytes,
    covers: Covers,
    *,
    effort: int = DEFAULT_EFFORT,
    thorough: bool = False,
    machine: int = NO_CODE,
) -> bytes:
    """Return a payload. From ``source`` and this payload, :func:`decode` rebuilds ``target``.

    ``covers`` are the matching ranges of ``source`` and ``target``.

    ``effort`` is from 1 (fast) to 9 (small). The effort determines zstd's level. From effort 3 on, a model packs the
    differences. From effort 5 on, LZMA2 is tried. With ``thorough``, slow methods are tried too. Use ``thorough`` if
    few bytes changed. If the literals are code of ``machine``, the operands of this code are made absolute. If there
    are more than ``MAX_COVERS`` covers, only the longest are used. Raises ``ValueError`` if covers do not fit into
    ``source`` and ``target``, or are out of order.
    """
    covers.check(len(source), len(target))
    rows = flat(covers if len(covers) <= MAX_COVERS else covers.longest(MAX_COVERS))
    difference, literals = _split(source, target, rows)
    if machine != NO_CODE:
        literals = turned(literals, rows, len(target), machine=machine, back=False)
    level = _ZSTD_LEVELS.get(effort, 19)
    number_trials = ((0, 0, 0), (3, 0, 0)) if effort >= 5 else ()
    literal_trials: tuple[tuple[int, int, int], ...] = ()
    if effort >= 5:
        literal_trials = ((3, 0, 2), (4, 0, 0)) if effort >= 9 else ((3, 0, 0),)
    columns = _columns(rows)
    # whether LZMA2 will probably win, so that a low level of zstd is enough; LZMA2's advantage grows with the number of
    # literals
    is_won = literal_trials and effort < SLOW_EFFORT
    literal_level = min(level, 9 if len(literals) <= SURELY_LZMA2 else 1) if is_won else level
    packed = pieces.share(
        lambda work: work(),
        [
            partial(streams.pack, literals, level=literal_level, literal_bits=literal_trials),
            partial(_pack_difference, source, rows, difference, effort, thorough),
            *(partial(streams.pack, column, level=level, literal_bits=number_trials) for column in columns),
        ],
    )
    # restore the order: the slowest stream was packed first, so that threads do not wait for this stream at the end
    packed = [*packed[2:], packed[1], packed[0]]
    if effort >= 5 and (effort >= SLOW_EFFORT or thorough or len(literals) <= CONTEXT_LITERALS):
        around = context(source, rows) if len(literals) >= 64 else b""
        is_slow = effort >= 7 or thorough or len(around) <= SMALL_CONTEXT
        prefixed = _in_context(literals, around, level if is_slow else _QUICK, most=len(packed[-1][1]))
        if prefixed and len(prefixed) < len(packed[-1][1]):
            packed[-1] = (PREFIXED, prefixed)
    sizes = [*map(len, columns), len(difference), len(literals)]
    head = bytearray(number(len(rows) // 3))
    for (packer, stored), size in zip(packed, sizes, strict=True):
        head += bytes([packer]) + number(len(stored)) + number(size)
    return bytes(head) + b"".join(stored for _, stored in packed)


class Parsed(NamedTuple):
    """A payload with checked covers. ``rows`` has the source, target and length of each cover in one array."""

    rows: array[int]
    headers: tuple[tuple[int, int], ...]
    stored: tuple[Buffer, ...]
    target_size: int

    def apply(self, source: Buffer, *, machine: int = NO_CODE) -> bytearray:
        """Return the target. ``source`` must have the size that was passed to :func:`parse`.

        If the literals are code of ``machine``, the operands of this code are made relative again.

        The difference is unpacked to the end of the target's buffer. Then everything is joined in place.
        """
        (packer, covered), (literal_packer, literal_size) = self.headers
        if literal_packer == PREFIXED and literal_size:
            literals: Buffer = zstd.decompress(self.stored[1], literal_size, prefix=context(source, self.rows))
        else:
            literals = streams.unpack(literal_packer, self.stored[1], literal_size)
        if machine != NO_CODE:
            literals = turned(literals, self.rows, self.target_size, machine=machine, back=True)
        if not covered and packer != streams.STORED:
            raise BundleError(messages.PAYLOAD_EMPTY_STREAM_PACKER, packer=packer, stored=streams.STORED)
        target = unfilled(self.target_size)
        difference = memoryview(target)[self.target_size - covered :]
        if packer == MODEL:
            if not self.stored[0]:
                raise BundleError(messages.PAYLOAD_MODEL_WITHOUT_PARAMETERS)
            bits = self.stored[0][0]
            if 1 << (bits & ~model.QUICK) > max(1 << model.MIN_BITS, 4 * covered):
                raise BundleError(messages.PAYLOAD_MODEL_BITS, bits=bits, covered=covered)
            model.decode(memoryview(self.stored[0])[1:], source, self.rows, difference, bits=bits)
        elif packer == SPARSE:
            sparse.unpack(self.stored[0], difference)
        else:
            difference[:] = streams.unpack(packer, self.stored[0], covered)
        _join(source, self.rows, covered, literals, target)
        return target


def decode(payload: Buffer, source: Buffer, target_size: int) -> bytearray:
    """Decode ``payload`` with ``source`` into ``target_size`` bytes. Raise ``BundleError`` for a malformed payload.

    In addition to the result, the literal bytes take memory. A million covers take up to 80 MB, and the packers'
    windows or tables take up to 128 MiB.
    """
    return parse(payload, memoryview(source).nbytes, target_size).apply(source)


def table_size(payload: Buffer) -> int:
    """Estimate the memory in bytes for the covers of a payload. Return 0 if the payload is truncated."""
    try:
        return _COVER * Numbers(payload).number()
    except BundleError:  # decoding says why
        return 0


def parse(payload: Buffer, source_size: int, target_size: int) -> Parsed:
    """Read the covers of ``payload``. Check everything that can be checked without the source."""
    view = memoryview(payload)
    reader = Numbers(view)
    count = reader.number()
    if count > min(target_size, MAX_COVERS):
        raise BundleError(messages.PAYLOAD_TOO_MANY_COVERS, count=count, target_size=min(target_size, MAX_COVERS))
    headers = [(reader.byte(), reader.number(), reader.number()) for _ in _NAMES]
    if sum(stored for _, stored, _ in headers) != len(payload) - reader.at:
        raise BundleError(messages.PAYLOAD_COVER_STREAMS_DO_NOT_FILL)
    for name, (_, _, size) in zip(_NAMES[:3], headers, strict=False):
        if not count <= size <= 9 * count:
            raise BundleError(messages.PAYLOAD_COVER_COLUMN_SIZE, name=name, size=size, count=count)
    if headers[3][2] + headers[4][2] != target_size:
        raise BundleError(
            messages.PAYLOAD_COVER_STREAMS_LENGTH, headers=headers[3][2] + headers[4][2], target_size=target_size
        )
    stored = []
    for _, length, _ in headers:
        stored.append(view[reader.at : reader.at + length])
        reader.at += length
    columns = [
        Numbers(streams.unpack(packer, data, size)).numbers(count)
        for (packer, _, size), data in zip(headers[:3], stored, strict=False)
    ]
    rows = _place(columns, source_size, headers[3][2], target_size)
    return Parsed(rows, tuple((packer, size) for packer, _, size in headers[3:]), tuple(stored[3:]), target_size)


def turned(literals: Buffer, rows: array[int], target_size: int, *, machine: int, back: bool) -> bytearray:
    """Return the literals, with absolute addresses in place of the machine code's relative operands.

    With ``back``, make the addresses relative again.
    """
    data = bytearray(literals)
    LIBRARY.dib_absolute(Pinned(data), Pinned(rows), len(rows) // 3, target_size, machine, int(back))
    return data


def context(source: Buffer, rows: array[int]) -> bytes:
    """Return the source bytes around each run of literals, in order.

    A run lies between two covers, before the first cover, or after the last cover.
    """
    out = bytearray(min(MAX_CONTEXT, 2 * CONTEXT * (len(rows) // 3 + 1)))
    held = Pinned(source)
    size = LIBRARY.dib_cover_context(*(held, held.size, Pinned(rows), len(rows) // 3, CONTEXT, Pinned(out), len(out)))
    return bytes(memoryview(out)[:size])


def _in_context(literals: bytearray, around: bytes, level: int, *, most: int) -> bytes:
    """Compress literals with their context.

    Try the slow level only if the result of a quick level is not much larger than ``most`` bytes.
    """
    if not around:
        return b""
    quick = zstd.compress(literals, min(level, _QUICK), prefix=around)
    return zstd.compress(literals, level, prefix=around) if level > _QUICK and len(quick) < most * NEAR else quick


def _pack_difference(
    source: Buffer, rows: array[int], difference: bytearray, effort: int, thorough: bool
) -> tuple[int, bytes]:
    """Return the packer and the packed form of the difference stream."""
    if difference and effort < MODEL_EFFORT:
        return SPARSE, sparse.pack(difference, level=_ZSTD_LEVELS[effort], literal_bits=())
    if len(difference) <= SMALL_DIFFERENCE or difference == bytes(len(difference)):
        quick = streams.pack(difference, level=3)
        if len(quick[1]) < 64:
            return quick
    is_small = len(difference) - difference.count(0) <= FEW_CHANGES
    most = model.MAX_BITS if effort >= SLOW_EFFORT or thorough else MODEL_BITS + is_small
    bits = max(model.MIN_BITS, min(most, len(difference).bit_length()))
    careful = bytes([bits]) + model.encode(source, rows, difference, bits=bits)
    if most == MODEL_BITS:
        bits += model.QUICK
        less = bytes([bits]) + model.encode(source, rows, difference, bits=bits)
        return MODEL, less if len(less) <= len(careful) * NEARLY else careful
    return MODEL, careful


def flat(covers: Covers) -> array[int]:
    """Return the source, target and length of each cover in one array, in the layout of the C functions."""
    rows = array("q", bytes(24 * len(covers)))
    rows[0::3], rows[1::3], rows[2::3] = covers.source, covers.target, covers.length
    return rows


def _columns(rows: array[int]) -> tuple[bytes, bytes, bytes]:
    """Return the three columns of numbers that say where the covers are."""
    count = len(rows) // 3
    gaps, turns = array("q", bytes(8 * count)), array("q", bytes(8 * count))
    LIBRARY.dib_cover_columns(Pinned(rows), count, Pinned(gaps), Pinned(turns))
    return pack(gaps), pack(rows[2::3]), pack(turns)


def _place(columns: list[array[int]], source_size: int, covered: int, target_size: int) -> array[int]:
    """Return the rows that the columns describe.

    Check that each cover fits, and that all covers together have ``covered`` bytes.
    """
    rows = array("q", bytes(24 * len(columns[0])))
    gaps, lengths, turns = map(Pinned, columns)
    total = LIBRARY.dib_cover_place(gaps, lengths, turns, len(columns[0]), source_size, target_size, Pinned(rows))
    if total < 0:
        raise BundleError(messages.PAYLOAD_COVER_OUT_OF_BOUNDS)
    if total != covered:
        raise BundleError(messages.PAYLOAD_DIFFERENCE_LENGTH, total=total, covered=covered)
    return rows


def _split(source: Buffer, target: bytes, rows: array[int]) -> tuple[bytearray, bytearray]:
    """Return the difference within the covers, and the literals between the covers."""
    covered = sum(rows[2::3])
    difference, literals = unfilled(covered), unfilled(len(target) - covered)
    LIBRARY.dib_cover_split(
        *(Pinned(source), Pinned(target), len(target), Pinned(rows), len(rows) // 3),
        *(Pinned(difference), Pinned(literals)),
    )
    return difference, literals


def _join(source: Buffer, rows: array[int], covered: int, literals: Buffer, target: bytearray) -> None:
    """Undo :func:`_split` in ``target``, whose last bytes are the difference. The caller has checked every size."""
    LIBRARY.dib_cover_join(
        *(Pinned(source), Pinned(rows), len(rows) // 3, covered),
        *(Pinned(literals), Pinned(target), len(target)),
    )

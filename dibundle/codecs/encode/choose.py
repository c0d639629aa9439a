"""Choose a codec for a frame. The most promising codecs are tried, and the smallest result is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from dibundle.codecs import decoders, zstd
from dibundle.codecs.excess import OF_FRAME, Excess
from dibundle.errors import BundleError

if TYPE_CHECKING:
    from dibundle.codecs.encode.covers import Covers
    from dibundle.codecs.encode.layout import RelinkPlan

LEVELS = range(1, 10)
DEFAULT_LEVEL = 6
PROFILES = ("full", "core")

_ZSTD_LEVELS = {1: 3, 2: 6, 3: 9, 4: 12, 5: 15, 6: 19, 7: 19, 8: 19, 9: 19}
WITH_SOURCE = frozenset((decoders.ZSTD_PREFIX, decoders.VCDIFF, decoders.COVER, decoders.RELINK, decoders.UNPACK))
RELINK_LEVEL = 4  # minimum level at which native code is relinked
# minimum level at which LZMA2 is also tried for content without a source, as literals of a cover payload
LZMA_LEVEL = 5
UNPACK_LEVEL = 2  # minimum level at which embedded streams are unpacked
PROGRAM_SHARE = 0.25  # if at least this share of a program is compressed data, relinking is not tried
_ELF = b"\x7fELF"
LITTLE = 64 << 20  # if at most this many bytes are patched, slow methods are used
SMALL = 1 << 20  # if a target has at most this many bytes, the default level tries more than one codec
# at the levels SLOW_ZSTD, zstd is tried only for sources of at most this size: zstd takes a second for 16 MB
SMALL_SOURCE = 4 << 20
# levels with SMALL_SOURCE: on three larger frames of node-app, zstd took 3.3 s of 31 s and saved 111 bytes of 3.5 MB
SLOW_ZSTD = range(4, 7)
# zstd's level if LZMA2 is tried too: for 32 MB of files, LZMA2 takes as long as zstd's level 19, and saves 9 %
QUICK_ZSTD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The effort of encoding (``level`` 1 to 9), and the allowed codecs.

    ``codecs`` is "full" (all codecs), "core" (only those of the core profile), or "zstd" (only zstd). With
    ``recompress``, payloads that need a deflate encoder for decoding are allowed. With ``thorough``, also try slow
    methods. Use ``thorough`` if few bytes changed.
    """

    level: int = DEFAULT_LEVEL
    codecs: Literal["full", "core", "zstd"] = "full"
    recompress: bool = True
    thorough: bool = False

    def to_patch(self, size: int) -> Effort:
        """Return the effort to use if ``size`` bytes in total are patched.

        If there are few bytes, even slow methods take little time in total.
        """
        return replace(self, thorough=size <= LITTLE)

    @property
    def zstd_level(self) -> int:
        """The zstd level that corresponds to the level of this effort."""
        return _ZSTD_LEVELS[self.level]


def relinks(effort: Effort) -> bool:
    """Return whether native code is relinked with this effort."""
    return effort.level >= RELINK_LEVEL and effort.codecs == "full"


class Encoded(NamedTuple):
    """A frame's codec and payload, and the numbers of the re-encoders that decoding needs."""

    codec: int
    payload: bytes
    reencoders: frozenset[int] = frozenset()


def encode(target: bytes, source: bytes, effort: Effort, plan: RelinkPlan | None = None) -> Encoded:
    """Try encodings of ``target`` from ``source``, and return the smallest result.

    ``plan`` is passed to :func:`relinker.encode`, for parts of large programs. Each payload is decoded before it is
    used. So an error in an encoder can make a bundle larger, but not wrong.
    """
    best = Encoded(decoders.STORED, target)
    for tried in _candidates(target, source, effort, plan):
        if len(tried.payload) >= len(best.payload):
            continue
        if _makes(tried, source, target):
            best = tried
        # encode again with only zstd: because of the faulty codec, other codecs may not have been tried
        elif effort.codecs != "zstd":
            return encode(target, source, replace(effort, codecs="zstd"))
    return best


def least(target: bytes, source: bytes, effort: Effort, plan: RelinkPlan | None = None) -> int:
    """Return the size of the payload of :func:`encode` in bytes. The payload is not verified by decoding."""
    return min([len(target), *(len(tried.payload) for tried in _candidates(target, source, effort, plan))])


def _makes(tried: Encoded, source: bytes, target: bytes) -> bool:
    try:
        return decoders.decode(tried.codec, tried.payload, source, len(target), excess=Excess(OF_FRAME)) == target
    except BundleError:
        return False


def _candidates(target: bytes, source: bytes, effort: Effort, plan: RelinkPlan | None) -> Iterator[Encoded]:
    if effort.level >= UNPACK_LEVEL and effort.codecs == "full" and effort.recompress:
        unpacked = _unpacked(target, source, effort, plan)
        if unpacked:
            yield unpacked
            if len(target) > SMALL:  # a second search would double the time
                return
    level = effort.zstd_level
    if not source:
        yield from _alone(target, effort)
        return
    is_small = len(target) <= SMALL and (len(source) <= SMALL_SOURCE or effort.level not in SLOW_ZSTD)
    if effort.codecs == "zstd" or is_small:
        yield Encoded(decoders.ZSTD_PREFIX, zstd.compress(target, level, prefix=source))
    if effort.codecs == "zstd" or (effort.level == 1 and len(target) <= SMALL):
        return
    from dibundle.codecs import cover, vcdiff
    from dibundle.codecs.encode import relinker

    if relinks(effort):
        relinked = relinker.encode(source, target, effort=effort.level, thorough=effort.thorough, plan=plan)
        if relinked is not None:
            yield Encoded(decoders.RELINK, relinked)
            if len(target) > SMALL:  # a second search would double the time, and would save at most a header
                return
    found = search(source, target, effort.level)
    if effort.codecs == "core":
        yield Encoded(decoders.VCDIFF, zstd.compress(vcdiff.encode(source, target, found), level))
        return
    yield Encoded(decoders.COVER, cover.encode(source, target, found, effort=effort.level, thorough=effort.thorough))
    if effort.level == 9 and len(target) > SMALL:
        yield Encoded(decoders.ZSTD_PREFIX, zstd.compress(target, level, prefix=source))


def search(source: bytes, target: bytes, level: int) -> Covers:
    """Return the covers for patches at this level."""
    from dibundle.codecs.encode import covers

    if level < RELINK_LEVEL:
        return covers.find_fast(source, target, stride=covers.FASTEST_STRIDE if level == 1 else covers.STRIDE)
    return covers.find(source, target)


def _alone(target: bytes, effort: Effort) -> Iterator[Encoded]:
    from dibundle.codecs import cover

    is_lzma = effort.codecs == "full" and effort.level >= LZMA_LEVEL
    is_quick = is_lzma and len(target) > SMALL and effort.level < cover.SLOW_EFFORT
    yield Encoded(decoders.ZSTD, zstd.compress(target, QUICK_ZSTD if is_quick else effort.zstd_level))
    if is_lzma:
        from dibundle.codecs.encode import covers

        yield Encoded(decoders.COVER, cover.encode(b"", target, covers.Covers(), effort=effort.level))


def _is_program(data: bytes) -> bool:
    """Return whether ``data`` is exactly one program, with no other file after it."""
    from dibundle.codecs.encode import elf

    found = elf.programs(data) if data.startswith(_ELF) else []
    return len(found) == 1 and len(data) - found[0].end < 16


def _unpacked(target: bytes, source: bytes, effort: Effort, plan: RelinkPlan | None) -> Encoded | None:
    """If the target has embedded streams, return an encoding that patches the streams' content."""
    from dibundle.codecs import embedded, recompression
    from dibundle.codecs.encode import embedded_streams

    is_large = relinks(effort) and len(target) > SMALL  # for small content, all methods are tried
    is_program = plan or (is_large and _is_program(target) and _is_program(source))
    found = embedded_streams.find(target, source, least_share=PROGRAM_SHARE if is_program else 0)
    if found is None:
        return None
    effort = replace(effort, recompress=False)
    inner = encode(found.target, found.source, effort)
    cost = embedded.cost(inner.codec, sum(found.streams.sizes), len(found.streams.starts))
    if cost > embedded.FREE * len(target) + len(source) + OF_FRAME:
        without = replace(effort, level=RELINK_LEVEL - 1)  # relinking would cost too much
        inner = encode(found.target, found.source, without)
    payload = embedded.write(
        found.streams, source, found.parts, whole=found.whole, codec=inner.codec, inner=inner.payload
    )
    return Encoded(decoders.UNPACK, payload, frozenset(recompression.reencoders_of(found.parts)))

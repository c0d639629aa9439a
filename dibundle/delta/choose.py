"""The choice of a codec for a frame: try what is likely to win at this level, keep the smallest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dibundle.delta import codecs, zstd

if TYPE_CHECKING:
    from dibundle.delta.layout import Plan

LEVELS = range(1, 10)
DEFAULT_LEVEL = 6
CODEC_NAMES = ("auto", "zstd", "vcdiff", "cover")

_ZSTD_LEVELS = {1: 3, 2: 6, 3: 9, 4: 12, 5: 15, 6: 19, 7: 19, 8: 19, 9: 19}
WITH_SOURCE = frozenset((codecs.ZSTD_PREFIX, codecs.VCDIFF, codecs.COVER, codecs.RELINK))
RELINK_LEVEL = 4  # from which level on native code is relinked
SMALL = 1 << 20  # bytes of target up to which the default level tries more than one codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How hard to try (``level`` 1..9), and whether only one kind of patch is allowed (``codec``)."""

    level: int = DEFAULT_LEVEL
    codec: str = "auto"

    @property
    def zstd_level(self) -> int:
        """The zstd level that goes with the level."""
        return _ZSTD_LEVELS[self.level]


def relinks(options: Options) -> bool:
    """Whether native code is relinked with these options."""
    return options.level >= RELINK_LEVEL and options.codec in ("auto", "cover")


def encode(target: bytes, source: bytes, options: Options, plan: Plan | None = None) -> tuple[int, bytes]:
    """Return the codec's number and the payload that makes ``target`` of ``source``, the smallest of those tried.

    ``plan`` is what :func:`relink.encode` takes for stretches of large programs.
    Each payload is decoded again before it is used: a fault in an encoder costs bytes, never a bundle.
    """
    best = codecs.STORED, target
    for codec, payload in _candidates(target, source, options, plan):
        if len(payload) < len(best[1]) and codecs.decode(codec, payload, source, len(target)) == target:
            best = codec, payload
    return best


def _candidates(target: bytes, source: bytes, options: Options, plan: Plan | None) -> Iterator[tuple[int, bytes]]:
    level = options.zstd_level
    if not source:
        yield codecs.ZSTD, zstd.compress(target, level)
        return
    fastest = options.codec == "auto" and options.level == 1 and len(target) <= SMALL
    if options.codec == "zstd" or (options.codec == "auto" and len(target) <= SMALL):
        yield codecs.ZSTD_PREFIX, zstd.compress(target, level, prefix=source)
    if options.codec == "zstd" or fastest:
        return
    from dibundle.delta import cover, covers, relink, vcdiff  # creation alone needs HDiffPatch

    if relinks(options):
        relinked = relink.encode(source, target, effort=options.level, plan=plan)
        if relinked is not None:
            yield codecs.RELINK, relinked
            if len(target) > SMALL:  # a second search would double the time, to save a header at the best
                return
    found = (covers.find if options.level >= RELINK_LEVEL else covers.find_fast)(source, target)
    if options.codec == "vcdiff":
        yield codecs.VCDIFF, zstd.compress(vcdiff.encode(source, target, found), level)
        return
    yield codecs.COVER, cover.encode(source, target, found, effort=options.level)
    if options.codec == "auto" and options.level == 9 and len(target) > SMALL:
        yield codecs.ZSTD_PREFIX, zstd.compress(target, level, prefix=source)

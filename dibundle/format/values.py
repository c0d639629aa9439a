"""What a manifest says, as immutable values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dibundle.format.steps import Columns
from dibundle.format.tables import Segment, SegmentTable


class PlaceInTarget(NamedTuple):
    """Where an object lies in a target of its own bundle: ``length`` bytes from ``offset`` on.

    ``is_compressed``: these bytes are gzip or zstd, and the object is their content.
    """

    target: int
    offset: int
    length: int
    is_compressed: bool


class BaseObject(NamedTuple):
    """Content that programs take from: ``kind`` (layer, config, other), ``size`` in bytes, SHA-256 ``digest``.

    The receiver has it, or, where it has a ``place``, an earlier target of the bundle does.
    """

    kind: int
    size: int
    digest: bytes
    place: PlaceInTarget | None = None


class Target(NamedTuple):
    """An archive to rebuild: ``size`` bytes with SHA-256 ``digest``, output withheld from ``tail`` on.

    ``frames`` of the bundle's frames, after those of the targets before it, feed its ``columns``.
    """

    size: int
    digest: bytes
    rest_digest: bytes
    tail: int
    frames: int
    segments: Sequence[Segment]
    columns: Columns

    def own_digests(self) -> bytes:
        """Return the digests of the segments that have one, in their order."""
        if isinstance(self.segments, SegmentTable):
            return self.segments.digests
        return b"".join(segment.digest for segment in self.segments if segment.digest)

    def digest_text(self) -> bytes:
        """Return the hex digits of the segments' digests one after the other: a source for names and JSON."""
        return self.own_digests().hex().encode()


class AboutImage(NamedTuple):
    """An image for people: its names, its ID (SHA-256 of the config) and its layers' diffIDs."""

    names: tuple[str, ...]
    id: bytes
    diff_ids: tuple[bytes, ...]


class About(NamedTuple):
    """Which images the base and the targets hold, and what is worth telling: for messages, never for decoding."""

    bases: tuple[AboutImage, ...]
    targets: tuple[tuple[AboutImage, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()


class Names(NamedTuple):
    """Names that decoding does not need, for listing: per target those patched (in order) and those deleted."""

    patched: tuple[Sequence[bytes], ...]
    deleted: tuple[Sequence[bytes], ...]


class RecompressedObject(NamedTuple):
    """How base object ``object``, a compressed layer, may be made of its content: ``size`` bytes, SHA-256 ``digest``.

    ``packing`` is a packing with its plain bytes. An encoder may have guessed it.
    """

    object: int
    size: int
    digest: bytes
    packing: bytes

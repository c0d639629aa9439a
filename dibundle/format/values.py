"""The parts of a manifest as immutable values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dibundle.format.steps import Columns
from dibundle.format.tables import Segment, SegmentTable


class PlaceInTarget(NamedTuple):
    """Place of an object in a target of the same bundle: ``length`` bytes from ``offset`` on.

    If ``is_compressed``, these bytes are gzip or zstd, and the object is their content.
    """

    target: int
    offset: int
    length: int
    is_compressed: bool


class BaseObject(NamedTuple):
    """Content that programs copy from: ``kind`` (layer, config, other), ``size`` in bytes, SHA-256 ``digest``.

    If it has a ``place``, an earlier target of the bundle contains it; else the receiver must have it.
    """

    kind: int
    size: int
    digest: bytes
    place: PlaceInTarget | None = None


class Target(NamedTuple):
    """An archive to rebuild: ``size`` bytes with SHA-256 ``digest``; output is withheld from offset ``tail`` on.

    ``columns``: its program. ``frames``: number of frames for it; they follow those of the targets before it.
    """

    size: int
    digest: bytes
    rest_digest: bytes
    tail: int
    frames: int
    segments: Sequence[Segment]
    columns: Columns

    def own_digests(self) -> bytes:
        """Return the digests of the segments that have one, in order."""
        if isinstance(self.segments, SegmentTable):
            return self.segments.digests
        return b"".join(segment.digest for segment in self.segments if segment.digest)

    def digest_text(self) -> bytes:
        """Return the segments' digests as concatenated hex digits: a source for names and JSON."""
        return self.own_digests().hex().encode()


class AboutImage(NamedTuple):
    """Description of an image: its names, its ID (SHA-256 of the config) and its layers' diffIDs."""

    names: tuple[str, ...]
    id: bytes
    diff_ids: tuple[bytes, ...]


class About(NamedTuple):
    """Images in the base and in the targets, and notes: for messages, never for decoding."""

    bases: tuple[AboutImage, ...]
    targets: tuple[tuple[AboutImage, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()


class Names(NamedTuple):
    """Paths for listings, not needed for decoding: for each target the patched ones (in order) and the deleted ones."""

    patched: tuple[Sequence[bytes], ...]
    deleted: tuple[Sequence[bytes], ...]


class RecompressedObject(NamedTuple):
    """How base object ``object``, a compressed layer, may be recompressed from its content.

    The content has ``size`` bytes and SHA-256 ``digest``. ``packing`` is a recipe with its plain bytes. An encoder may
    have guessed it.
    """

    object: int
    size: int
    digest: bytes
    packing: bytes

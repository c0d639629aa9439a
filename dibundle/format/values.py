"""The parts of a manifest as immutable values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dibundle.format.steps import Columns
from dibundle.format.tables import Segment, SegmentTable


class PlaceInTarget(NamedTuple):
    """The place of an object in a target of the same bundle. The place has ``length`` bytes from ``offset`` on.

    If ``is_compressed``, these bytes are gzip or zstd, and the object is the decompressed content.
    """

    target: int
    offset: int
    length: int
    is_compressed: bool


class BaseObject(NamedTuple):
    """Base content that programs copy.

    It has a ``kind`` (layer, config, other), a ``size`` in bytes, and a SHA-256 ``digest``. If the object has a
    ``place``, an earlier target of the bundle contains the object. Otherwise, the receiver must have the object.
    """

    kind: int
    size: int
    digest: bytes
    place: PlaceInTarget | None = None


class Target(NamedTuple):
    """An archive to rebuild: ``size`` bytes with the SHA-256 ``digest``. Output from offset ``tail`` on is withheld.

    ``columns`` are the target's program. ``frames`` is the number of the target's frames, which follow the frames of
    earlier targets.
    """

    size: int
    digest: bytes
    rest_digest: bytes
    tail: int
    frames: int
    segments: Sequence[Segment]
    columns: Columns

    def own_digests(self) -> bytes:
        """Return the digests, in order, of the segments that have a digest."""
        if isinstance(self.segments, SegmentTable):
            return self.segments.digests
        return b"".join(segment.digest for segment in self.segments if segment.digest)

    def digest_text(self) -> bytes:
        """Return the segments' digests as joined hex digits. Frames use this text as a source for names and JSON."""
        return self.own_digests().hex().encode()


class AboutImage(NamedTuple):
    """The description of an image: its names, its ID (the SHA-256 of the config) and its layers' diffIDs."""

    names: tuple[str, ...]
    id: bytes
    diff_ids: tuple[bytes, ...]


class About(NamedTuple):
    """The images in the base and in the targets, and notes. All of these are only for messages, not for decoding."""

    bases: tuple[AboutImage, ...]
    targets: tuple[tuple[AboutImage, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()


class Names(NamedTuple):
    """Paths that are needed only for listings.

    For each target, there are the patched paths (in order) and the deleted paths.
    """

    patched: tuple[Sequence[bytes], ...]
    deleted: tuple[Sequence[bytes], ...]


class RecompressedObject(NamedTuple):
    """A recipe to recompress the base object ``object`` (a compressed layer) from its content.

    The content has ``size`` bytes and SHA-256 ``digest``. ``packing`` is a recipe with its plain bytes. The recipe may
    be a guess.
    """

    object: int
    size: int
    digest: bytes
    packing: bytes

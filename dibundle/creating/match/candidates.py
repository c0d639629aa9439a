"""Choose promising bases by the names, sizes and samples of files, without reading whole bases."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from dibundle.creating.match import names
from dibundle.creating.match.base import Layer, is_file
from dibundle.creating.match.images import StoredBlob, inflate_all
from dibundle.creating.match.sketch import sketch
from dibundle.files.readat import ReadAt, Slice, Spool
from dibundle.images.model import Blob, ImageArchive
from dibundle.images.tar.entries import scan

FEW = 3  # up to this number of bases, all bases are read, because a choice would save little time
WORTH = 0.005  # a further base is chosen only if it probably saves at least this share of the targets' bytes
_SAMPLE = 512  # bytes from the middle and the end of a file; their checksum stands for the whole content
_ALIKE = 64  # a target's file is compared with at most this many base files at the same path (without versions)
_LARGEST = 48  # number of the target's largest files that are compared closely, by their beginnings
_BEGINNING = 256 << 10


@dataclass(slots=True)
class _File:
    """A file for the comparison.

    It has a path without versions, a size in bytes, a sample and, if it is large, a sketch.
    """

    path: bytes
    size: int
    sample: int
    sketch: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Content:
    """A layer's claimed digests, and its files."""

    claims: frozenset[bytes]
    size: int
    files: list[_File]


def pick(
    bases: Sequence[ImageArchive],
    targets: Sequence[ImageArchive],
    spool: Callable[[], Spool],
    most_unpacked: int | None = None,
) -> list[int]:
    """Return the indexes of the promising bases. If there are only few bases, return all indexes.

    At least one base is chosen. A further base is chosen only if it probably has enough useful bytes that the chosen
    bases do not have. Compressed layers are inflated into the temporary file that ``spool`` returns, one archive at a
    time. If a bundle rebuilt an archive, the archive's layers are inflated to at most ``most_unpacked`` bytes.
    """
    if len(bases) <= FEW:
        return list(range(len(bases)))
    wanted = _contents(targets, spool, frozenset(), frozenset(), most_unpacked)
    claims = frozenset(claim for content in wanted for claim in content.claims)
    paths = frozenset(file.path for file in _largest(wanted))
    judged = [_Judge(_contents([images], spool, claims, paths, most_unpacked)) for images in bases]
    files = _FilesByPath(wanted)
    return _cover([judge.worth(wanted, files) for judge in judged], wanted)


class _FilesByPath:
    """The files of the targets' layers, by path. For each path, only the first ``_ALIKE`` files are recorded."""

    def __init__(self, wanted: list[_Content]) -> None:
        self._found: dict[bytes, list[tuple[int, int, _File]]] = {}
        for layer, content in enumerate(wanted):
            for number, file in enumerate(content.files):
                there = self._found.setdefault(file.path, [])
                if len(there) < _ALIKE:
                    there.append((layer, number, file))

    def at(self, path: bytes) -> list[tuple[int, int, _File]]:
        """Return files, each with the index of its layer and its own index in the layer."""
        return self._found.get(path, [])


@dataclass(frozen=True, slots=True)
class _Worth:
    """The likely savings of a base: the layers that the base has, and bytes of single files in other layers."""

    layers: frozenset[int]
    files: dict[tuple[int, int], float]

    def gain(self, taken: _Worth, wanted: list[_Content]) -> float:
        """Return how many bytes the base is likely to save in addition to ``taken``."""
        whole = sum(wanted[layer].size for layer in self.layers - taken.layers)
        return whole + sum(
            max(0.0, worth - taken.files.get(file, 0.0))
            for file, worth in self.files.items()
            if file[0] not in taken.layers
        )


def _cover(worths: list[_Worth], wanted: list[_Content]) -> list[int]:
    """Choose the base that is likely to save the most bytes.

    Then, repeatedly choose the base that is likely to save the most further bytes.
    """
    total = sum(content.size for content in wanted)
    best = _Worth(frozenset(), {})
    taken: list[int] = []
    # gains may be outdated, but never grow when other bases are chosen, so only the first gain is computed again
    gains = [(-worth.gain(best, wanted), -number) for number, worth in enumerate(worths)]
    heapq.heapify(gains)
    while gains:
        number = -gains[0][1]
        worth = worths[number]
        gain = worth.gain(best, wanted)
        if gain < -gains[0][0]:
            heapq.heapreplace(gains, (-gain, -number))
            continue
        if taken and gain <= WORTH * total:
            break
        heapq.heappop(gains)
        taken.append(number)
        best = _Worth(best.layers | worth.layers, best.files)
        for file, bytes_saved in worth.files.items():
            best.files[file] = max(bytes_saved, best.files.get(file, 0.0))
    return sorted(taken)


class _Judge:
    """An estimator of how many bytes a base is likely to save for a target."""

    def __init__(self, contents: list[_Content]) -> None:
        self._claims = {claim for content in contents for claim in content.claims}
        self._files: dict[bytes, list[_File]] = {}
        for content in contents:
            for file in content.files:
                self._files.setdefault(file.path, []).append(file)

    def worth(self, wanted: list[_Content], files: _FilesByPath) -> _Worth:
        """Return how many bytes the base is likely to save. The time depends only on the base's size."""
        layers = {layer for layer, content in enumerate(wanted) if not self._claims.isdisjoint(content.claims)}
        found = {
            (layer, number): file.size * max(_likeness(file, other) for other in others[:_ALIKE])
            for path, others in self._files.items()
            for layer, number, file in files.at(path)
            if layer not in layers
        }
        return _Worth(frozenset(layers), found)


def _likeness(file: _File, other: _File) -> float:
    """Estimate which share (0 to 1) of a file can be taken from another file with a similar name."""
    if (file.size, file.sample) == (other.size, other.sample):
        return 1.0
    size = min(file.size, other.size) / max(file.size, other.size)
    if file.sketch and other.sketch:
        alike = len(file.sketch & other.sketch) / max(len(file.sketch), len(other.sketch))
        return 0.3 + 0.5 * alike + 0.1 * size
    return 0.3 + 0.3 * size


def _largest(contents: Iterable[_Content]) -> list[_File]:
    return heapq.nlargest(_LARGEST, (file for content in contents for file in content.files), key=lambda f: f.size)


def _contents(
    archives: Sequence[ImageArchive],
    spool: Callable[[], Spool],
    whole: frozenset[bytes],
    closely: frozenset[bytes],
    most_unpacked: int | None,
) -> list[_Content]:
    """Return the layers of archives.

    If a layer's claimed digest is in ``whole``, the layer is returned without its files. Files at a path in ``closely``
    get a sketch. If ``closely`` is empty, the largest files get a sketch.
    """
    found = []
    for images in archives:
        with closing(spool()) as space:
            layers = _open(images, space, whole, most_unpacked)
            contents = [
                _Content(claims, source.size if source else 0, _files(source, closely) if source else [])
                for claims, source in layers
            ]
            if not closely:
                largest = {file.path for file in _largest(contents)}
                for content, (_, source) in zip(contents, layers, strict=True):
                    if source and any(file.path in largest for file in content.files):
                        content.files[:] = _files(source, frozenset(largest))
            found += contents
    return found


def _claims(blob: Blob) -> frozenset[bytes]:
    return frozenset(claim for claim in (blob.digest, blob.diff_id) if claim)


def _open(
    images: ImageArchive, spool: Spool, whole: frozenset[bytes], most_unpacked: int | None
) -> list[tuple[frozenset[bytes], ReadAt | None]]:
    """Return the claims and the content of each layer. Content that is not available or not needed is None."""
    layers = [blob for blob in images.blobs if blob.kind == "layer"]
    asked = [_stored(images, blob) for blob in layers if not _claims(blob) & whole]
    opened = inflate_all(images.archive, asked, lambda: spool, most_unpacked)
    contents = {id(item.blob): item.layer.source for item in opened if item.layer}
    return [(_claims(blob), contents.get(id(blob))) for blob in layers]


def _stored(images: ImageArchive, blob: Blob) -> StoredBlob:
    """Return a layer as an argument for :func:`inflate_all`. The digest is empty, because it is not needed."""
    source = Slice(images.archive.bytes, blob.member.content, blob.member.size)
    return StoredBlob(blob, source, b"", None if blob.compression else Layer(b"", source))


def _files(source: ReadAt, closely: frozenset[bytes]) -> list[_File]:
    files = []
    for entry in scan(source).entries:
        if is_file(entry):
            path = names.versionless(names.clean(entry.path))
            middle = source.read_at(entry.content + entry.size // 2, min(_SAMPLE, entry.size - entry.size // 2))
            end = source.read_at(entry.content + max(0, entry.size - _SAMPLE), min(_SAMPLE, entry.size))
            file = _File(path, entry.size, zlib.crc32(middle + end))
            if path in closely:
                beginning = source.read_at(entry.content, min(_BEGINNING, entry.size))
                file.sketch = frozenset(sketch(beginning))
            files.append(file)
    return files

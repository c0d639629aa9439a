"""The base as matching sees it: every entry of every layer, by path, by content and by name without versions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from dibundle.archive.readat import ReadAt
from dibundle.archive.tar import Entry, TarIndex, scan
from dibundle.archive.window import Window
from dibundle.match import names

REGULAR = (0x30, 0x00, 0x37)


@dataclass(slots=True)
class Layer:
    """A layer's uncompressed content: ``digest`` is its sha256, the diffID.

    ``hashes`` has, once they are needed, for each entry the sha256 of its content, None where no other can equal it.
    """

    digest: bytes
    source: ReadAt
    hashes: list[bytes | None] = field(default_factory=list)
    _index: TarIndex | None = None

    @property
    def index(self) -> TarIndex:
        """What entries there are; read when it is first asked for: nobody asks of a target's layer that is known."""
        if self._index is None:
            self._index = scan(self.source)
        return self._index

    def forget_entries(self) -> None:
        """Let go of the entries: they take some 400 bytes each."""
        self._index = None
        self.hashes = []

    def hash_of(self, number: int) -> bytes | None:
        """Return the sha256 of the content of entry ``number`` where it is known."""
        return self.hashes[number] if self.hashes else None


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of a layer, by their numbers."""

    layer: int
    entry: int


def is_file(entry: Entry) -> bool:
    """Whether an entry is a regular file with content."""
    return entry.size > 0 and entry.type in REGULAR


def content_sizes(layers: Iterable[Layer]) -> set[int]:
    """Return the sizes of all regular files, in bytes."""
    return {entry.size for layer in layers for entry in layer.index.entries if is_file(entry)}


def hash_contents(layer: Layer, sizes: Collection[int], chunk: int = 1 << 20) -> None:
    """Hash those files of ``layer`` whose size is one of ``sizes``: no other can equal anything."""
    window = Window(layer.source)

    def hashed(entry: Entry) -> bytes | None:
        if not is_file(entry) or entry.size not in sizes:
            return None
        digest = hashlib.sha256()
        for offset in range(0, entry.size, chunk):
            digest.update(window.read_at(entry.content + offset, min(chunk, entry.size - offset)))
        return digest.digest()

    layer.hashes = [hashed(entry) for entry in layer.index.entries]


class BaseIndex:
    """Finds base entries for target entries. Images come one after the other, of each the topmost layer last.

    What most files have one of is kept without a list around it: 100,000 files then take 12 MB instead of 42.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.images: list[int] = []  # for each layer, the number of the image that it came with
        self._by_path: dict[bytes, Place | list[Place]] = {}
        self._by_content: dict[bytes, Place | list[Place]] = {}

    def add(self, layers: Iterable[Layer]) -> None:
        """Add the layers of an image, the topmost last."""
        image = self.images[-1] + 1 if self.images else 0
        for layer in layers:
            for number, entry in enumerate(layer.index.entries):
                place = Place(len(self.layers), number)
                _add(self._by_path, names.clean(entry.path), place)
                digest = layer.hash_of(number)
                if digest:
                    _add(self._by_content, digest, place)
            layer.hashes = []  # nobody asks a base layer for them again
            self.layers.append(layer)
            self.images.append(image)

    def forget_entries(self) -> None:
        """Let go of all entries; nothing is found then."""
        self._by_path.clear()
        self._by_content.clear()
        for layer in self.layers:
            layer.forget_entries()

    def entry(self, place: Place) -> Entry:
        """Return the entry at ``place``."""
        return self.layers[place.layer].index.entries[place.entry]

    def paths(self) -> Iterable[bytes]:
        """Return every path of the base, cleaned."""
        return self._by_path.keys()

    def at_path(self, path: bytes) -> list[Place]:
        """Return the entries at a cleaned path, the topmost layer's last."""
        return _places(self._by_path.get(path))

    def with_content(self, digest: bytes | None) -> list[Place]:
        """Return the files whose content has this sha256."""
        return _places(self._by_content.get(digest)) if digest else []


def _add(index: dict[bytes, Place | list[Place]], key: bytes, place: Place) -> None:
    found = index.get(key)
    if found is None:
        index[key] = place
    elif isinstance(found, Place):
        index[key] = [found, place]
    else:
        found.append(place)


def _places(found: Place | list[Place] | None) -> list[Place]:
    if found is None:
        return []
    return [found] if isinstance(found, Place) else found

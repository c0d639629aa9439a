"""The base for matching. Every entry of every layer is indexed by path, by content and by name without versions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, overload

from dibundle.creating.match import names
from dibundle.files.readat import ReadAt
from dibundle.files.window import Window
from dibundle.images.tar.entries import Entry, TarIndex, scan

REGULAR = (0x30, 0x00, 0x37)


class Place(NamedTuple):
    """The place of an entry: the index of its layer, and the index of the entry."""

    layer: int
    entry: int


_Key = TypeVar("_Key")

Mark = bytes | Place
"""A key that only equal contents share. It is their sha256, or the place of a base file with the same content."""


@dataclass(slots=True)
class Layer:
    """A layer's uncompressed content. ``digest`` is its sha256, the diffID.

    ``marks`` has the mark of each entry's content, computed when needed. A mark is None if no other file can have the
    same content.
    """

    digest: bytes
    source: ReadAt
    marks: list[Mark | None] = field(default_factory=list)
    _index: TarIndex | None = None

    @property
    def index(self) -> TarIndex:
        """The entries. Entries are read on first use, because the entries of known layers are never needed."""
        if self._index is None:
            self._index = scan(self.source)
        return self._index

    @index.setter
    def index(self, found: TarIndex) -> None:
        self._index = found

    def forget_entries(self) -> None:
        """Drop the entries, because each entry takes about 400 bytes."""
        self._index = None
        self.marks = []

    def mark_of(self, number: int) -> Mark | None:
        """Return the mark of the content of entry ``number``, if there is one."""
        return self.marks[number] if self.marks else None


FEW_PLACES = 8  # up to this number of places, a membership test compares the places one by one


class Places(Sequence[Place]):
    """Entries with a common key, in the order of their layers, with a fast membership test.

    An image may have ten thousand entries with the same path or content. But most repeated keys have exactly two
    entries.
    """

    __slots__ = ("_all", "_ends", "_known")

    def __init__(self, *places: Place) -> None:
        self._all = list(places)
        self._known: set[Place] | None = None  # computed on first use, like _ends
        self._ends: tuple[dict[int, Place], dict[int, Place]] | None = None

    def append(self, place: Place) -> None:
        """Add an entry."""
        self._all.append(place)
        if self._known is not None:
            self._known.add(place)
        if self._ends is not None:
            self._ends[0].setdefault(place.layer, place)
            self._ends[1][place.layer] = place

    @property
    def first(self) -> dict[int, Place]:
        """The first entry of each layer."""
        return self._both_ends()[0]

    @property
    def last(self) -> dict[int, Place]:
        """The last entry of each layer."""
        return self._both_ends()[1]

    def _both_ends(self) -> tuple[dict[int, Place], dict[int, Place]]:
        if self._ends is None:
            last = {place.layer: place for place in self._all}
            self._ends = {place.layer: place for place in reversed(self._all)}, last
        return self._ends

    def __contains__(self, place: object) -> bool:
        if len(self._all) <= FEW_PLACES:
            return place in self._all
        if self._known is None:
            self._known = set(self._all)
        return place in self._known

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._all)

    @overload
    def __getitem__(self, index: int) -> Place: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Place]: ...

    def __getitem__(self, index: int | slice) -> Place | Sequence[Place]:
        return self._all[index]


MOST_AT_PATH = 256
"""The maximum number of entries of the same path that are searched. An ordinary image has each path once per layer."""


def is_file(entry: Entry) -> bool:
    """Return whether an entry is a regular file with content."""
    return entry.size > 0 and entry.type in REGULAR


def mark_contents(index: BaseIndex, targets: Sequence[Layer], executor: Executor) -> None:
    """Mark those files of ``targets`` whose content also occurs in the base, or in another file of the targets.

    Most files are equal to the base's file at the same path, so one comparison suffices. Each of the other files is
    hashed if some file has the same size.
    """
    pairings = [executor.submit(_pair, index, layer) for layer in targets]
    for layer, pairing in zip(targets, pairings, strict=True):
        layer.marks = pairing.result()
    base = index.layers
    counts = Counter(entry.size for layer in targets for entry, mark in _files(layer) if not mark)
    twice = {size for size, count in counts.items() if count > 1}
    base_sizes = {entry.size for layer in base for entry, _ in _files(layer)}
    jobs = [executor.submit(_hash, layer, counts.keys()) for layer in base]
    jobs += [executor.submit(_hash, layer, base_sizes | twice) for layer in targets]
    for job in jobs:
        job.result()
    for number, layer in enumerate(base):
        index.learn(number, layer)


def _files(layer: Layer) -> Iterator[tuple[Entry, Mark | None]]:
    """Yield the regular files of a layer and their marks."""
    for number, entry in enumerate(layer.index.entries):
        if is_file(entry):
            yield entry, layer.mark_of(number)


def _pair(index: BaseIndex, layer: Layer) -> list[Mark | None]:
    """Return a mark for each entry.

    If exactly one base file has the entry's path and size, compare the contents. If the contents are equal, the mark is
    the base file's place. Otherwise, the mark is None.
    """
    windows: dict[int, Window] = {}
    window = Window(layer.source)
    marks: list[Mark | None] = []
    for entry in layer.index.entries:
        mark: Mark | None = None
        if is_file(entry):
            there = ((place, index.entry(place)) for place in index.at_path(names.clean(entry.path)))
            found = [(place, old) for place, old in there if old.size == entry.size and is_file(old)]
            if len(found) == 1:
                place, old = found[0]
                old_window = windows.get(place.layer)
                if old_window is None:
                    old_window = windows[place.layer] = Window(index.layers[place.layer].source)
                if _equal(old_window, old, window, entry):
                    mark = place
        marks.append(mark)
    return marks


def _equal(old: Window, old_entry: Entry, new: Window, entry: Entry, chunk: int = 1 << 20) -> bool:
    """Return whether two files of the same size have the same content."""
    if entry.size <= chunk:
        return old.read_at(old_entry.content, entry.size) == new.read_at(entry.content, entry.size)
    for offset in range(0, entry.size, chunk):
        length = min(chunk, entry.size - offset)
        if old.read_at(old_entry.content + offset, length) != new.read_at(entry.content + offset, length):
            return False
    return True


def _hash(layer: Layer, sizes: Collection[int], chunk: int = 1 << 20) -> None:
    """Hash the unmarked files of ``layer`` whose size is in ``sizes``.

    A file of any other size cannot be equal to another file.
    """
    window = Window(layer.source)

    def hashed(entry: Entry) -> bytes:
        digest = hashlib.sha256()
        for offset in range(0, entry.size, chunk):
            digest.update(window.read_at(entry.content + offset, min(chunk, entry.size - offset)))
        return digest.digest()

    marks = layer.marks or [None] * len(layer.index.entries)
    layer.marks = [
        mark or (hashed(entry) if entry.size in sizes and is_file(entry) else None)
        for entry, mark in zip(layer.index.entries, marks, strict=True)
    ]


class BaseIndex:
    """An index of the base's entries.

    The images come one after the other; within an image, the topmost layer comes last.

    Most keys have a single place. A single place is stored without a list, so 100,000 files take 12 MB instead of 42
    MB.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.images: list[int] = []  # the index of each layer's image
        self._by_path: dict[bytes, Place | Places] = {}
        self._by_content: dict[Mark, Place | Places] = {}  # without marks of contents that occur only once
        self._names: dict[bytes, tuple[bytes, ...]] = {}

    def add(self, layers: Iterable[Layer]) -> None:
        """Add the layers of an image; the topmost layer comes last."""
        image = self.images[-1] + 1 if self.images else 0
        for layer in layers:
            for number, entry in enumerate(layer.index.entries):
                _add(self._by_path, names.clean(entry.path), Place(len(self.layers), number))
            self.learn(len(self.layers), layer)
            self.layers.append(layer)
            self.images.append(image)

    def learn(self, number: int, layer: Layer) -> None:
        """Index the marks of layer ``number``. Then drop the marks, because they are not needed again."""
        for entry, mark in enumerate(layer.marks):
            if isinstance(mark, Place):
                self._by_content.setdefault(mark, mark)
            if mark:
                _add(self._by_content, mark, Place(number, entry))
        layer.marks = []

    def forget_entries(self) -> None:
        """Drop all entries. After this call, no entry is found."""
        self._by_path.clear()
        self._by_content.clear()
        self._names.clear()
        for layer in self.layers:
            layer.forget_entries()

    def entry(self, place: Place) -> Entry:
        """Return the entry at ``place``."""
        return self.layers[place.layer].index.entries[place.entry]

    def paths(self) -> Iterable[bytes]:
        """Return all cleaned paths of the base."""
        return self._by_path.keys()

    def names_of(self, path: bytes) -> tuple[bytes, ...]:
        """Return a cleaned path without versions, and its stem. Both are cached, because many targets need them."""
        found = self._names.get(path)
        if found is None:
            found = self._names[path] = tuple({names.versionless(path), names.stem(path)})
        return found

    def at_path(self, path: bytes) -> Sequence[Place]:
        """Return the entries at a cleaned path; the entry in the topmost layer comes last.

        If there are more than 256 entries, return the last 256.
        """
        places = _places(self._by_path.get(path))
        return places if len(places) <= MOST_AT_PATH else places[-MOST_AT_PATH:]

    def with_content(self, mark: Mark | None) -> Sequence[Place]:
        """Return the files whose content has this mark."""
        if mark is None:
            return ()
        return _places(self._by_content.get(mark, mark if isinstance(mark, Place) else None))


def _add(index: dict[_Key, Place | Places], key: _Key, place: Place) -> None:
    found = index.get(key)
    if found is None:
        index[key] = place
    elif isinstance(found, Place):
        index[key] = Places(found, place)
    else:
        found.append(place)


def _places(found: Place | Places | None) -> Sequence[Place]:
    if found is None:
        return ()
    return (found,) if isinstance(found, Place) else found

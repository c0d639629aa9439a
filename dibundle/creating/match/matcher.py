"""Choose a base entry for each entry of a target layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from dibundle.creating.match import names, sketch
from dibundle.creating.match.base import BaseIndex, Layer, Mark, Place, Places, is_file
from dibundle.creating.match.sketch import SketchIndex
from dibundle.images.tar.entries import Entry

_COMPARED: Final = 64  # maximum number of files of the same name that are compared
_MOST_NAMED: Final = 256  # maximum number of files of the same name that are looked at
# A base file of the same name may be at most _LARGER times as large as the new file, or as _SMALL bytes. Otherwise,
# thousands of small files would each have a large source, and the bundle would cost readers too much.
_LARGER: Final = 64
_SMALL: Final = 4096
LONGEST_PATH: Final = 512  # maximum bytes of a path that are compared, because a path may have a million bytes


class Match(NamedTuple):
    """A base entry that is useful for encoding a target entry. ``same`` is true if both have the same content."""

    place: Place
    same: bool


class Matcher:
    """A chooser of base entries for the entries of target layers.

    This is the order of preference:

    1. the same content: at the same path, else in the entry after the last match, else anywhere
    2. the same path
    3. similar content
    4. the same path except for versions and hashes
    5. the same name except for versions and hashes

    Rules 3 to 5 use only base files whose path does not exist in the target.
    """

    def __init__(
        self, base: BaseIndex, similar: SimilarFiles, targets: Iterable[Layer], kept: Collection[bytes]
    ) -> None:
        """Prepare matching for the entries of the new layers in ``targets``.

        All targets share ``similar``. ``kept`` are the digests of base layers that the target contains as a whole.
        """
        self._base, self._similar = base, similar
        self._kept = kept
        targets = list(targets)
        self._likeness = self._like_images(targets)
        self._targets = targets
        self._tops: dict[tuple[int, int], Place] = {}
        self._expected = Place(self._likeness.index(max(self._likeness)) if self._likeness else 0, 0)

    def _like_images(self, targets: Iterable[Layer]) -> list[int]:
        """For each base layer, count the files that the layer's image shares with the targets.

        A file counts as shared if its path and size are equal.
        """
        shared = [0] * (self._base.images[-1] + 1 if self._base.images else 0)
        if len(shared) > 1:
            for layer in targets:
                for entry in layer.index.entries:
                    for place in self._base.at_path(names.clean(entry.path)) if is_file(entry) else ():
                        shared[self._base.images[place.layer]] += self._base.entry(place).size == entry.size
        return [shared[image] for image in self._base.images]

    @cached_property
    def _spare(self) -> Spare:
        """The base files that a new file of the target may resemble."""
        used = {names.clean(entry.path) for layer in self._targets for entry in layer.index.entries}
        return Spare(self._base, used, self._kept)

    @cached_property
    def _contents(self) -> SimilarFiles:
        self._similar.sketch(self._spare)
        return self._similar

    @cached_property
    def _names(self) -> SimilarFiles:
        self._similar.name(self._spare)
        return self._similar

    @property
    def expected_layer(self) -> int:
        """The base layer of the most recent match, where the next search starts."""
        return self._expected.layer

    def find(self, layer: Layer, entry: Entry, mark: Mark | None) -> Match | None:
        """Return the best base entry for ``entry`` of ``layer``.

        ``mark`` is the mark of the entry's content. ``mark`` is None if no base file can have the same content.
        """
        match = self._find(layer, entry, mark)
        if match:
            self._expected = Place(match.place.layer, match.place.entry + 1)
        return match

    def _find(self, layer: Layer, entry: Entry, mark: Mark | None) -> Match | None:
        same = self._base.with_content(mark)
        if len(same) == 1:
            return Match(same[0], same=True)
        path = names.clean(entry.path)
        at_path = self._base.at_path(path)
        if not is_file(entry):
            alike = [place for place in at_path if self._base.entry(place).type == entry.type]
            return Match(self._nearest(alike), same=not entry.size) if alike else None
        if same:
            return Match(self._nearest([place for place in at_path if place in same] or same), same=True)
        files = [place for place in at_path if is_file(self._base.entry(place))]
        if files:
            return Match(self._nearest(files), same=False)
        if entry.size >= sketch.SMALLEST and self._contents.has_sketches:
            like = self._contents.by_content(_beginning(layer, entry), self._spare)
            if like:
                return Match(like, same=False)
        files = self._names.by_name(path, entry.size, self._spare)
        return Match(self._most_alike(entry, files), same=False) if files else None

    def _nearest(self, places: Sequence[Place]) -> Place:
        """Return the expected place, if it is in ``places``.

        Otherwise, prefer a place in the expected layer. If there is none, use the top layer of the most similar image.
        """
        if self._expected in places:
            return self._expected
        if isinstance(places, Places):
            return places.last.get(self._expected.layer) or self._topmost(places)
        in_layer = [place for place in places if place.layer == self._expected.layer]
        return in_layer[-1] if in_layer else max(places, key=lambda place: (self._likeness[place.layer], place.layer))

    def _topmost(self, places: Places) -> Place:
        """Return the first entry in the top layer of the most similar image.

        The result is cached, because there may be many layers.
        """
        # the id of ``places`` can be a key of the cache, because the list exists as long as the base
        key = id(places), len(places.first)
        if key not in self._tops:
            top = max(places.first, key=lambda layer: (self._likeness[layer], layer))
            self._tops[key] = places.first[top]
        return self._tops[key]

    def _most_alike(self, entry: Entry, places: list[Place]) -> Place:
        """Return the place whose path has the longest beginning in common with the entry's path.

        If several paths are equally good, choose the entry with the nearest size.
        """

        def likeness(place: Place) -> tuple[int, int]:
            other = self._base.entry(place)
            shared = 0
            for a, b in zip(parts, other.path[:LONGEST_PATH].split(b"/"), strict=False):
                if a != b:
                    break
                shared += 1
            return shared, -abs(other.size - entry.size)

        parts = entry.path[:LONGEST_PATH].split(b"/")
        return max(places, key=likeness)


class Spare:
    """The base files whose path does not exist in a target. ``used`` has the cleaned paths of the target.

    ``kept`` are the digests of base layers that the target contains as a whole.
    """

    def __init__(self, base: BaseIndex, used: Collection[bytes], kept: Collection[bytes]) -> None:
        self.base, self.used, self.kept = base, used, kept
        self._found: dict[Place, bool] = {}  # cached, because the same files are checked many times

    def has(self, place: Place) -> bool:
        """Return whether a base file is spare."""
        found = self._found.get(place)
        if found is None:
            found = self._found[place] = names.clean(self.base.entry(place).path) not in self.used
        return found

    def is_new(self, place: Place) -> bool:
        """Return whether a base file is not in a layer that the target contains as a whole."""
        return self.base.layers[place.layer].digest not in self.kept


class SimilarFiles:
    """The base files that are spare for at least one target, by content and by name.

    All targets share this index. So no file is read twice, and a target takes no time for files that an earlier target
    added. Files with longer paths than ``LONGEST_PATH`` are left out.
    """

    def __init__(self, base: BaseIndex) -> None:
        self._base = base
        self._layers = 0  # number of base layers whose paths were added
        # paths of base files that were not added yet, because every target so far has the path or the whole layer
        self._to_sketch: dict[bytes, None] = {}
        self._to_name: dict[bytes, None] = {}
        self._sketches: SketchIndex[Place] = SketchIndex()
        self._sketched: set[Place] = set()
        self._files: dict[bytes, list[Place]] = {}
        self._named: set[Place] = set()

    @property
    def has_sketches(self) -> bool:
        """Whether at least one file can be found by content."""
        return bool(self._sketched)

    def sketch(self, spare: Spare) -> None:
        """Add the spare files of a target to the files that can be found by content.

        Files in layers that the target contains as a whole are not added.
        """
        self._grow()
        for path in [path for path in self._to_sketch if path not in spare.used]:
            places = [place for place in self._base.at_path(path) if is_file(self._base.entry(place))]
            if all(map(spare.is_new, places)):
                del self._to_sketch[path]
            for place in places:
                entry = self._base.entry(place)
                if entry.size >= sketch.SMALLEST and place not in self._sketched and spare.is_new(place):
                    self._sketched.add(place)
                    self._sketches.add(place, _beginning(self._base.layers[place.layer], entry))

    def name(self, spare: Spare) -> None:
        """Add the spare files of a target to the files that can be found by name."""
        self._grow()
        for path in [path for path in self._to_name if path not in spare.used]:
            del self._to_name[path]
            for place in self._base.at_path(path):
                if is_file(self._base.entry(place)) and place not in self._named:
                    self._named.add(place)
                    for name in self._base.names_of(path):
                        self._files.setdefault(name, []).append(place)

    def _grow(self) -> None:
        for layer in self._base.layers[self._layers :]:
            cleaned = (names.clean(entry.path) for entry in layer.index.entries if len(entry.path) <= LONGEST_PATH)
            paths = dict.fromkeys(cleaned)
            self._to_sketch |= paths
            self._to_name |= paths
        self._layers = len(self._base.layers)

    def by_content(self, data: bytes, spare: Spare) -> Place | None:
        """Return the spare file whose content is most similar to ``data``."""
        nearest = self._sketches.nearest(data, lambda place: spare.has(place) and spare.is_new(place))
        return next(iter(nearest), None)

    def by_name(self, path: bytes, size: int, spare: Spare) -> list[Place]:
        """Return spare files whose path or name equals that of ``path``, apart from versions and hashes.

        Files that are far larger than ``size`` are left out.
        """
        largest = _LARGER * max(size, _SMALL)
        for name in (names.versionless(path), names.stem(path)):
            found = [
                place
                for place in self._files.get(name, ())[:_MOST_NAMED]
                if self._base.entry(place).size <= largest and spare.has(place)
            ]
            if found:
                return found[:_COMPARED]
        return []


def _beginning(layer: Layer, entry: Entry) -> bytes:
    return layer.source.read_at(entry.content, min(entry.size, sketch.LARGEST))

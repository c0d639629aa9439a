"""Choose a base entry for each entry of a target layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from dibundle.creating.match import names, sketch
from dibundle.creating.match.base import BaseIndex, Layer, Mark, Place, Places, is_file
from dibundle.creating.match.sketch import SketchIndex
from dibundle.images.tar.entries import Entry

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

    def __init__(self, base: BaseIndex, targets: Iterable[Layer], kept: Collection[bytes]) -> None:
        """Prepare matching for the entries of the new layers in ``targets``.

        ``kept`` are the digests of base layers that the target contains as a whole.
        """
        self._base = base
        self._kept = kept
        targets = list(targets)
        self._likeness = self._like_images(targets)
        self._targets = targets
        self._sketches: SketchIndex[Place] | None = None
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
    def _spare(self) -> list[Place]:
        """The base files whose path does not exist in the target.

        The list is computed on first use, because few targets need the list.
        """
        used = {names.clean(entry.path) for layer in self._targets for entry in layer.index.entries}
        return [
            place
            for path in self._base.paths()
            if path not in used
            for place in self._base.at_path(path)
            if is_file(self._base.entry(place))
        ]

    @cached_property
    def _spare_names(self) -> dict[bytes, list[Place]]:
        """The spare base files, by their paths without versions, and by their stems."""
        found: dict[bytes, list[Place]] = {}
        for place in self._spare:
            for name in self._base.names_of(names.clean(self._base.entry(place).path)):
                found.setdefault(name, []).append(place)
        return found

    @property
    def expected_layer(self) -> int:
        """The base layer of the last match, where the next search starts."""
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
        like = self._like_content(layer, entry)
        if like:
            return Match(like, same=False)
        files = self._spare_names.get(names.versionless(path)) or self._spare_names.get(names.stem(path)) or []
        return Match(self._most_alike(entry, files), same=False) if files else None

    def _like_content(self, layer: Layer, entry: Entry) -> Place | None:
        """Return the spare base file whose content is most similar to the entry's content."""
        if entry.size < sketch.SMALLEST or not self._spare:
            return None
        if self._sketches is None:
            self._sketches = sketch.SketchIndex()
            for place in self._spare:
                old, source = self._base.entry(place), self._base.layers[place.layer]
                if old.size >= sketch.SMALLEST and source.digest not in self._kept:
                    self._sketches.add(place, _beginning(source, old))
        return next(iter(self._sketches.nearest(_beginning(layer, entry))), None)

    def _nearest(self, places: Sequence[Place]) -> Place:
        """Return the expected place, if it is in ``places``.

        Otherwise, prefer a place in the expected layer. If there is none, take the top layer of the most similar image.
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
        return max(places[:64], key=likeness)


def _beginning(layer: Layer, entry: Entry) -> bytes:
    return layer.source.read_at(entry.content, min(entry.size, sketch.LARGEST))

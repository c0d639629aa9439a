"""The choice of a base entry for each entry of a target layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dibundle.archive.tar import Entry
from dibundle.match import names
from dibundle.match.base import BaseIndex, Layer, Place, is_file


@dataclass(frozen=True, slots=True)
class Match:
    """A base entry that helps; ``same``: its content is the target's."""

    place: Place
    same: bool


class Matcher:
    """Chooses base entries for the entries of target layers.

    The order of preference: the same content (at the same path, next in sequence, anywhere), the same path, the same
    path or name but for versions and hashes among what the target has no other use for.
    """

    def __init__(self, base: BaseIndex, targets: Iterable[Layer]) -> None:
        self._base = base
        self._spare = self._spare_names({names.clean(e.path) for layer in targets for e in layer.index.entries})
        self._expected = Place(0, 0)

    def _spare_names(self, used: set[bytes]) -> dict[bytes, list[Place]]:
        """Index the base files whose path the target does not have, by their names without versions."""
        spare: dict[bytes, list[Place]] = {}
        for path in self._base.paths():
            if path in used:
                continue
            for place in self._base.at_path(path):
                if is_file(self._base.entry(place)):
                    spare.setdefault(names.versionless(path), []).append(place)
                    spare.setdefault(names.stem(path), []).append(place)
        return spare

    @property
    def expected_layer(self) -> int:
        """The base layer of the last match, where the next one is looked for first."""
        return self._expected.layer

    def find(self, entry: Entry, digest: bytes | None) -> Match | None:
        """Return the best base entry for ``entry``, whose content has sha256 ``digest`` (None: like no base file)."""
        match = self._find(entry, digest)
        if match:
            self._expected = Place(match.place.layer, match.place.entry + 1)
        return match

    def _find(self, entry: Entry, digest: bytes | None) -> Match | None:
        path = names.clean(entry.path)
        at_path = self._base.at_path(path)
        if not is_file(entry):
            alike = [place for place in at_path if self._base.entry(place).type == entry.type]
            return Match(self._nearest(alike), same=not entry.size) if alike else None
        same = self._base.with_content(digest)
        if same:
            return Match(self._nearest([place for place in same if place in at_path] or same), same=True)
        files = [place for place in at_path if is_file(self._base.entry(place))]
        if not files:
            files = self._spare.get(names.versionless(path)) or self._spare.get(names.stem(path)) or []
            return Match(self._most_alike(entry, files), same=False) if files else None
        return Match(self._nearest(files), same=False)

    def _nearest(self, places: list[Place]) -> Place:
        """Prefer the entry that comes next, then its layer, then the topmost layer."""
        if self._expected in places:
            return self._expected
        in_layer = [place for place in places if place.layer == self._expected.layer]
        return (in_layer or places)[-1]

    def _most_alike(self, entry: Entry, places: list[Place]) -> Place:
        """Prefer the longest common beginning of the path, then the nearest size."""

        def likeness(place: Place) -> tuple[int, int]:
            other = self._base.entry(place)
            shared = 0
            for a, b in zip(entry.path.split(b"/"), other.path.split(b"/"), strict=False):
                if a != b:
                    break
                shared += 1
            return shared, -abs(other.size - entry.size)

        return max(places[:64], key=likeness)

"""The base objects that a bundle refers to, numbered in the order of first use."""

from __future__ import annotations

from dibundle.creating.match.base import Layer
from dibundle.files.readat import ReadAt
from dibundle.format.constants import KIND_LAYER
from dibundle.format.steps import Copy
from dibundle.format.values import BaseObject, PlaceInTarget


class ObjectTable:
    """The numbers of the base objects that are used, and the sources of their content."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.objects: list[BaseObject] = []
        self.sources: list[ReadAt] = []
        self.used: set[bytes] = set()  # digests of objects used since this set was last cleared
        # the place of each content that is in a target, but in no base; the key is the content's digest
        self.places: dict[bytes, PlaceInTarget] = {}

    def layer(self, layer: Layer) -> int:
        """Return the number of a layer's content."""
        return self.use(KIND_LAYER, layer.digest, layer.source)

    def use(self, kind: int, digest: bytes, source: ReadAt) -> int:
        """Return the number of the object that has this kind, and whose content has this sha256."""
        self.used.add(digest)
        number = self._numbers.setdefault(digest, len(self.objects))
        if number == len(self.objects):
            self.objects.append(BaseObject(kind, source.size, digest, self.places.get(digest)))
            self.sources.append(source)
        return number

    def read(self, copy: Copy) -> bytes:
        """Return a range of an object."""
        return self.sources[copy.object].read_at(copy.offset, copy.length)

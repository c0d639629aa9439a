"""Sketches of files. If two files have enough content in common, their sketches are likely to have numbers in common.

Each feature of a file is the checksum of a piece that begins with a mark. Marks are patterns in the content itself, so
features do not depend on the offset of the content in the file. The sketch of a file has the smallest of its features
(minhash). A regular expression finds the marks, so plain Python scans about 100 MB/s.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_MARK = re.compile(rb"[\0 \n\t(,=/][\x40-\x49\x61-\x68\x80-\x8f]")
_FEATURE = 20  # bytes that a feature covers, including the mark
SKETCH = 24  # numbers in a sketch
LARGEST = 1 << 20  # at most this many bytes from the beginning of a file are read
SMALLEST = 256  # minimum size in bytes of a file that gets a sketch
CROWD = 32  # maximum number of files with the same feature; a more frequent feature is ignored
_MOST = 2 * CROWD  # maximum number of files with the same feature that are looked at
ALIKE = 3  # two files count as similar if their sketches share at least this many numbers


def sketch(data: bytes) -> list[int]:
    """Return the sketch of a file's content: at most 24 distinct numbers."""
    features = {zlib.crc32(data[found.start() : found.start() + _FEATURE]) for found in _MARK.finditer(data)}
    return heapq.nsmallest(SKETCH, features)


class SketchIndex(Generic[Key]):
    """An index that finds the file whose content is most similar to given content."""

    def __init__(self) -> None:
        self._files: dict[int, list[Key]] = {}

    def add(self, key: Key, data: bytes) -> None:
        """Add a file."""
        for number in sketch(data):
            self._files.setdefault(number, []).append(key)

    def nearest(self, data: bytes, may_be: Callable[[Key], bool]) -> Iterable[Key]:
        """Return the files that have the most in common with ``data``; the most similar file comes first.

        Only files for which ``may_be`` returns true are returned. The result may be empty.
        """
        votes: Counter[Key] = Counter()
        for number in sketch(data):
            found = self._files.get(number, ())
            files = list(filter(may_be, found)) if len(found) <= _MOST else ()
            if len(files) <= CROWD:
                votes.update(files)
        return [key for key, count in votes.most_common(4) if count >= ALIKE]

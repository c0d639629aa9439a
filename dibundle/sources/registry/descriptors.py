"""Referrers of an image: their descriptors, reduced to save memory, and the tag that lists them."""

from __future__ import annotations

import sys
from typing import Final

from dibundle.format import labels
from dibundle.images import document

MAX_REFERRERS: Final = 4096
"""The maximum number of descriptors to read of a list."""
MAX_TEXT: Final = 512 << 10
"""The maximum memory of the texts of a descriptor, in bytes."""
_ENTRY: Final = 2048  # bytes of memory for a descriptor without its texts


def entries(value: object) -> list[tuple[object, int]]:
    """Return at most ``MAX_REFERRERS`` + 1 reduced descriptors of a list, each with its size in memory.

    A large descriptor loses its annotations. The unreduced descriptors of a page could take a hundred times the page's
    size in memory. One reason is that some texts take four bytes for each character.
    """
    found: list[tuple[object, int]] = []
    for item in map(reduced, document.get_list(value, "manifests")[: MAX_REFERRERS + 1]):
        size = _size(item)
        if size > MAX_TEXT:
            item["annotations"] = {}
            size = _size(item)
        if size <= MAX_TEXT:
            found.append((item, size + _ENTRY))
    return found


def _size(descriptor: dict[str, object]) -> int:
    said = document.texts(descriptor["annotations"]) | document.texts(descriptor)
    return sum(map(sys.getsizeof, said.values()))


def reduced(item: object) -> dict[str, object]:
    """Return only the fields of a descriptor that identify its bundle."""
    said = document.texts(document.get(item, "annotations"))
    annotations = {key: text for key, text in said.items() if key in labels.LISTED}
    found: dict[str, object] = {key: document.get_text(item, key) for key in ("digest", "artifactType")}
    return {**found, "annotations": annotations}


def subject_of(tag: str) -> bytes | None:
    """If a tag lists the referrers of a digest, return this digest. Return None for any other tag."""
    return document.sha256_of(tag.replace("-", ":", 1))


def fallback_tag(subject: str) -> str:
    """Return the tag that lists the referrers of a digest."""
    return subject.replace(":", "-", 1)

"""Labels of an image, or annotations of an artifact. The labels describe the bases and targets of a bundle.

Labels are hints. No check relies on these labels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from dibundle.files import digest
from dibundle.format.manifest import Manifest
from dibundle.format.values import AboutImage

BUNDLE: Final = "dibundle.bundle"  # SHA-256 of the whole bundle; an image with this label is a wrapped bundle
BUILT: Final = "built"  # value of the label BUNDLE in a Dockerfile, because the bundle's digest is not known yet
SIZE: Final = "dibundle.size"
NEEDS: Final = "dibundle.needs"
NEEDS_LAYERS: Final = "dibundle.needs.layers"
MAKES: Final = "dibundle.makes"
MAKES_IDS: Final = "dibundle.makes.ids"
MAKES_LAYERS: Final = "dibundle.makes.layers"
MAKES_BLOBS: Final = "dibundle.makes.blobs"
MAKES_SIZE: Final = "dibundle.makes.size"
SIGNED: Final = "dibundle.signed"  # present if the bundle has a signature by any key

NEEDS_MANIFESTS: Final = "dibundle.needs.manifests"  # manifests of the base's images in the same repository
LISTED: Final = frozenset((SIZE, NEEDS_LAYERS, NEEDS_MANIFESTS, MAKES_LAYERS, MAKES_IDS, SIGNED))
"""Annotations that each bundle has in a registry's listing."""

MAX_BLOBS: Final = 1024  # maximum number of blobs in a label: an image has far fewer

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")


class Told(NamedTuple):
    """The contents of the labels: the bundle's size in bytes, digests of contents in base and targets, image IDs."""

    size: int
    needs: frozenset[bytes]
    makes: frozenset[bytes]
    ids: frozenset[bytes]
    is_signed: bool = False

    @classmethod
    def read(cls, found: Mapping[str, str]) -> Told | None:
        """Read labels. Return None if a required label is missing, or if the size is malformed."""
        size = found.get(SIZE, "")
        if NEEDS_LAYERS not in found or not (size.isascii() and size.isdigit() and len(size) < 16):
            return None
        return cls(
            size=int(size),
            needs=digests(found[NEEDS_LAYERS]),
            makes=digests(found.get(MAKES_LAYERS, "")),
            ids=digests(found.get(MAKES_IDS, "")),
            is_signed=SIGNED in found,
        )


def labels(manifest: Manifest, size: int, whole: bytes) -> dict[str, str]:
    """Return the labels of a bundle of ``size`` bytes with SHA-256 ``whole``."""
    about = manifest.about
    bases = about.bases if about else ()
    targets = [image for images in about.targets for image in images] if about else []
    layers = list(dict.fromkeys(layer for image in targets for layer in image.diff_ids if layer))
    ids = list(dict.fromkeys(image.id for image in targets if image.id))
    others = _others(made_blobs(manifest), {*layers, *ids})
    blobs = {MAKES_BLOBS: texts(sorted(others))} if 0 < len(others) <= MAX_BLOBS else {}
    return blobs | {
        BUNDLE: digest.text(whole),
        SIZE: str(size),
        NEEDS: ", ".join(map(_named, bases)),
        NEEDS_LAYERS: texts(needed(manifest)),
        MAKES: ", ".join(map(_named, targets)),
        MAKES_IDS: texts(ids),
        MAKES_LAYERS: texts(layers),
        MAKES_SIZE: str(sum(target.size for target in manifest.targets)),
    }


def made_blobs(manifest: Manifest) -> Iterator[bytes]:
    """Yield at most a million digests of the stored blobs in the targets."""
    for target in manifest.targets:
        digests = target.own_digests()
        yield from (digest.nth(digests, number) for number in range(len(digests) // digest.SIZE))


def _others(blobs: Iterable[bytes], known: Collection[bytes]) -> set[bytes]:
    """Return the blobs that are not in ``known``. If there are too many for a label, return only the first."""
    found: set[bytes] = set()
    for blob in blobs:
        if blob not in known:
            found.add(blob)
            if len(found) > MAX_BLOBS:
                break
    return found


def needed(manifest: Manifest) -> list[bytes]:
    """Return the digests that a base must hold. For a compressed layer with a recipe, return its content's digest."""
    contents = {form.object: form.digest for form in manifest.forms}
    return [contents.get(number, manifest.objects[number].digest) for number in manifest.needed()]


def texts(found: Iterable[bytes]) -> str:
    """Return digests as text, without duplicates."""
    return " ".join(digest.text(item) for item in dict.fromkeys(found))


def digests(text: str) -> frozenset[bytes]:
    """Return the digests in a text."""
    return frozenset(bytes.fromhex(item) for item in _DIGEST.findall(text))


def _named(image: AboutImage) -> str:
    return image.names[0] if image.names else digest.text(image.id)

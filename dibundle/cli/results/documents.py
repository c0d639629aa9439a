"""The common parts of the JSON documents: names, digests, images and targets. The schemas are in spec/json."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable

from dibundle.applying.targets import MadeTarget
from dibundle.cli.console import Document
from dibundle.files import digest
from dibundle.format.values import AboutImage


def name(key: str, value: str | bytes) -> Document:
    """Return a name under ``key``.

    If the name is not UTF-8, U+FFFD replaces invalid bytes, and KEY_b64 has the original name in base64.
    """
    data = os.fsencode(value) if isinstance(value, str) else value
    try:
        return {key: data.decode()}
    except UnicodeDecodeError:
        return {key: data.decode("utf-8", "replace"), f"{key}_b64": base64.b64encode(data).decode()}


def image(about: AboutImage) -> Document:
    """Return an image from a bundle's description. The ``id`` is null if the image has no config."""
    return {
        "names": list(about.names),
        "id": digest.text(about.id) if len(about.id) == digest.SIZE else None,
        "diff_ids": [digest.text(item) for item in about.diff_ids],
    }


def images(found: Iterable[AboutImage]) -> list[Document]:
    """Return images."""
    return [image(item) for item in found]


def target(made: MadeTarget) -> Document:
    """Return one target archive of a bundle."""
    return {"size": made.size, "sha256": made.sha256, "images": images(made.images)}


def targets(made: Iterable[MadeTarget]) -> list[Document]:
    """Return all target archives of a bundle."""
    return [target(item) for item in made]

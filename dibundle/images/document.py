"""JSON from an untrusted archive. Parsing has limits, and the getters accept any value."""

from __future__ import annotations

import json
import re
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.images import messages

SIZE_LIMIT: Final = 8 << 20

_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,128}")


MAX_VALUES: Final = 1 << 17
"""The maximum number of values in a document of a registry. An empty object takes 30 times its size in memory."""


def has_many_values(content: bytes) -> bool:
    """Return whether a document may have more than :data:`MAX_VALUES` values."""
    return sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES


def parse(content: bytes, name: str) -> object:
    """Parse JSON. If the JSON is malformed, raise ``ArchiveError`` with the member's name."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ArchiveError(messages.JSON_NESTED, name=name) from error
    except ValueError as error:
        raise ArchiveError(messages.JSON_MALFORMED, name=name, brief=_brief(error)) from error


def get(value: object, key: str) -> object:
    """Return the member ``key`` of an object. As in Go, upper and lower case in the key are equal.

    Return None if the member is missing.
    """
    if not isinstance(value, dict):
        return None
    if key in value:
        return value[key]
    lower = key.lower()
    return next((item for name, item in value.items() if name.lower() == lower), None)


def get_list(value: object, key: str) -> list[object]:
    """Return the list ``key`` of an object. If the value is not a list, return an empty list."""
    found = get(value, key)
    return found if isinstance(found, list) else []


def get_text(value: object, key: str) -> str | None:
    """Return the text ``key`` of an object. Return None if the value is not a text."""
    found = get(value, key)
    return found if isinstance(found, str) else None


def texts(value: object) -> dict[str, str]:
    """Return an object's members that are texts, such as labels and annotations."""
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}


def is_digest(text: object) -> bool:
    """Return whether a value is a digest of the form ``algorithm:hex``."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def sha256_of(text: object) -> bytes | None:
    """Return the 32 bytes of a ``sha256:<hex>`` text. Return None for anything else."""
    if isinstance(text, str) and len(text) == 71 and text.startswith("sha256:") and is_digest(text):
        return bytes.fromhex(text[7:])
    return None


def _brief(error: ValueError) -> str:
    return "invalid UTF-8" if isinstance(error, UnicodeError) else str(error)[:100]

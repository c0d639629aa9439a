"""All error messages by code, for the docs and for the tests that check the messages."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from dibundle.errors import Message

PACKAGES: Final = (
    "cli",
    "sharing",
    "sharing.mirror",
    "inspecting",
    "creating",
    "applying",
    "sources",
    "images",
    "format",
    "codecs",
    "files",
)


def every() -> list[tuple[str, str, Message]]:
    """Return each message with the names of its package and its constant, sorted by code.

    Several messages may share a code.
    """
    found = []
    for package in PACKAGES:
        module = import_module(f"dibundle.{package}.messages")
        found += [(package, name, value) for name, value in vars(module).items() if isinstance(value, Message)]
    return sorted(found, key=lambda item: (item[2].code, item[0], item[1]))

"""What goes wrong with inspecting: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_EMPTY_OF_IMAGES: Final = Message(
    "archive.empty_of_images", "{name} holds no image", hint="save one: {save} image.tar NAME"
)
ARCHIVE_INCOMPLETE: Final = Message(
    "archive.incomplete", "{name} does not hold every layer of its image, or one is damaged"
)
LIMIT_ENTRIES: Final = Message(
    "limit.entries", "an image has more than {max_entries:,} entries in its layers, counted for each layer"
)
LIMIT_LINES: Final = Message("limit.lines", "bundle over a limit: more than {max_lines:,} lines to list")
LIMIT_TEXT: Final = Message("limit.text", "bundle over a limit: more than {max_text} MiB of text to list")

"""What goes wrong with creating: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_LAYER_CONTENT_LIMIT: Final = Message(
    "archive.layer_content_limit", "a layer of {size} bytes has more than {most} of content"
)
ARCHIVE_TRUNCATED: Final = Message(
    "archive.truncated", "{name} is truncated: {problem}", hint="save or download the archive again"
)
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {path}: {reason}")
INVENTORY_MALFORMED: Final = Message(
    "inventory.malformed", "{path} is no list of layers", hint="make one: {dib} have IMAGE.tar > {path_2}"
)

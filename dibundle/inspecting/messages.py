"""Messages about inspecting, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_EMPTY_OF_IMAGES: Final = Message(
    "archive.empty_of_images", "{name} holds no image", hint="save one: {save} image.tar NAME"
)
ARCHIVE_INCOMPLETE: Final = Message("archive.incomplete", "{name} lacks a layer of its image, or a layer is damaged")
ARCHIVE_TOO_MANY_ENTRIES: Final = Message(
    "archive.too_many_entries", "the layers of {name} have more than {most} entries, or entry names that are too long"
)
BASE_EARLIER_TARGET: Final = Message(
    "base.earlier_target",
    "{target_name} builds on an earlier target of the same bundle",
    hint="rebuild the earlier target with {dib} apply, and add it with --base",
)
BASE_OF_EARLIER_TARGET: Final = Message(
    "base.of_earlier_target", "this target builds on an earlier target: give the archive of that target as the base"
)
BUNDLE_ALREADY_READ: Final = Message(
    "bundle.already_read", "the operations of this bundle were already read", hint="open the bundle again"
)
BUNDLE_CLOSED: Final = Message(
    "bundle.closed",
    "this bundle is closed",
    hint="read the operations before you close the bundle, or open the bundle again",
)
LIMIT_ENTRIES: Final = Message("limit.entries", "the layers of an image have more than {max_entries:,} entries in all")
LIMIT_LINES: Final = Message("limit.lines", "bundle over a limit: more than {max_lines:,} lines to list")
LIMIT_SETTINGS: Final = Message(
    "limit.settings",
    "an image's config has more than {max_settings:,} settings, or more than {max_text:,} characters of settings",
)
LIMIT_WHITEOUTS: Final = Message(
    "limit.whiteouts", "cannot compare an image: it has too many whiteouts, or their paths are too long"
)
LIMIT_FOLDERS: Final = Message(
    "limit.folders", "bundle over a limit: more than {max_folders} MiB of folder names to list"
)
LIMIT_TEXT: Final = Message("limit.text", "bundle over a limit: more than {max_text} MiB of text to list")

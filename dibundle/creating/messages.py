"""What goes wrong with creating: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_LAYER_CONTENT_LIMIT: Final = Message(
    "archive.layer_content_limit", "a layer of {size:size} has more than {most:size} of content"
)
ARCHIVE_LAYER_IS_OTHER: Final = Message(
    "archive.layer_is_other",
    "a layer of {names} has the diffID {found}, and its config says {diff_id}",
    hint="save or download the archive again",
)
ARCHIVE_LAYER_MISSING_FOR_RAW: Final = Message(
    "archive.layer_missing_for_raw", "{names} lacks a layer, so it cannot be written with raw layers"
)
ARCHIVE_NO_CONFIG_FOR_RAW: Final = Message(
    "archive.no_config_for_raw", "{names} has no config, so it cannot be written with raw layers"
)
ARCHIVE_TRUNCATED: Final = Message(
    "archive.truncated", "{name} is truncated: {problem}", hint="save or download the archive again"
)
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {path}: {reason}")
INVENTORY_MALFORMED: Final = Message(
    "inventory.malformed", "{path} is no list of layers", hint="make one: {dib} inventory IMAGE.tar > {path_2}"
)
LEVEL_UNKNOWN: Final = Message("level.unknown", "no level {level!r}", hint="a number: 1 is fast, 9 is small")
MERGE_ONE_BUNDLE: Final = Message(
    "merge.one_bundle",
    "{count} bundle given, merging takes two or more",
    hint="{dib} merge V1.tar V1-V2.dib V2-V3.dib -o V1-V3.dib",
)
OUTPUT_IS_OTHER: Final = Message(
    "output.is_other",
    "{out} is there already and is no bundle: it is not overwritten",
    hint="name another file for the bundle, or remove this one: rm -- {quoted}",
)
SOURCE_NO_TARGET: Final = Message("source.no_target", "no target given")
WORKERS_NEGATIVE: Final = Message("workers.negative", "no number of workers: {workers}", hint="0 means one per core")

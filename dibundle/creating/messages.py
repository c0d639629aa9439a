"""Messages about creating, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_LAYER_CONTENT_LIMIT: Final = Message(
    "archive.layer_content_limit", "a layer of {size:size} decompresses to more than {most:size}"
)
ARCHIVE_LAYER_IS_OTHER: Final = Message(
    "archive.layer_is_other",
    "a layer of {names} has the diffID {found}, but the image's config lists {diff_id}",
    hint="save or download the archive again",
)
ARCHIVE_LAYER_MISSING_FOR_RAW: Final = Message(
    "archive.layer_missing_for_raw", "{names} lacks a layer, so dib cannot write this image with uncompressed layers"
)
ARCHIVE_NO_CONFIG_FOR_RAW: Final = Message(
    "archive.no_config_for_raw", "{names} has no config, so dib cannot write this image with uncompressed layers"
)
ARCHIVE_TRUNCATED: Final = Message(
    "archive.truncated", "{name} is truncated: {problem}", hint="save or download the archive again"
)
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {path}: {reason}")
INVENTORY_MALFORMED: Final = Message(
    "inventory.malformed", "{path} is not an inventory", hint="write one: {dib} inventory IMAGE.tar > {path_2}"
)
LEVEL_UNKNOWN: Final = Message("level.unknown", "unknown level {level!r}", hint="choose 1 (fast) to 9 (small)")
MERGE_ONE_BUNDLE: Final = Message(
    "merge.one_bundle",
    "{count} bundle given, wanted two or more",
    hint="{dib} merge V1.tar V1-V2.dib V2-V3.dib -o V1-V3.dib",
)
OUTPUT_IS_OTHER: Final = Message(
    "output.is_other",
    "{out} already exists and is not a bundle, so it is not overwritten",
    hint="choose another file, or remove this one: rm -- {quoted}",
)
SOURCE_NO_TARGET: Final = Message("source.no_target", "no target given")
WORKERS_NEGATIVE: Final = Message(
    "workers.negative", "invalid number of workers: {workers}", hint="0 means one worker per core"
)

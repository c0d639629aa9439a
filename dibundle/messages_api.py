"""What goes wrong with the public functions: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

BASE_EARLIER_TARGET: Final = Message(
    "base.earlier_target", "this target builds on one before it: give that archive as the base"
)
BUNDLE_ALREADY_READ: Final = Message(
    "bundle.already_read", "the operations of this bundle were asked for before", hint="open it again"
)
BUNDLE_CLOSED: Final = Message(
    "bundle.closed", "this bundle is closed", hint="ask for its operations before, or open it again"
)
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {name}: {reason}")
LEVEL_UNKNOWN: Final = Message("level.unknown", "no level {level!r}", hint="a number: 1 is fast, 9 is small")
OUTPUT_IS_INPUT: Final = Message("output.is_input", "{name} is both input and output")
OUTPUT_STREAM_REFUSED: Final = Message(
    "output.stream_refused",
    "cannot write to the stream that was given: {why}",
    hint="give one that waits until there is room: blocking, without a timeout",
)
SOURCE_ARCHIVE_NOT_BUNDLE: Final = Message(
    "source.archive_not_bundle", "{name} is an image archive, not a bundle", hint="a bundle is what create writes"
)
SOURCE_EMPTY_STREAM: Final = Message(
    "source.empty_stream",
    "a stream has nothing to read from where it stands",
    hint="what was written to it before is behind: seek(0)",
)
SOURCE_NAME_NOT_PATH: Final = Message(
    "source.name_not_path",
    "{name} is a name for the command dib, here a source is a path or a binary file",
    hint="save the image to a file, or give the pipe of {docker} save",
)
SOURCE_NO_BUNDLE: Final = Message("source.no_bundle", "no bundle among the sources", hint="give the .dib file too")
SOURCE_NO_TARGET: Final = Message("source.no_target", "no target given")
WORKERS_NEGATIVE: Final = Message("workers.negative", "no number of workers: {workers}", hint="0 means one per core")

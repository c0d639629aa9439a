"""What goes wrong with files, disks and compression: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

COMPRESSION_DAMAGED: Final = Message("compression.damaged", "{kind} data cannot be decompressed: {reason}")
COMPRESSION_NO_BZIP2: Final = Message(
    "compression.no_bzip2",
    "found bzip2 data, which this Python was built without a module for",
    hint="decompress the file first: bunzip2 FILE",
)
COMPRESSION_OUTPUT_LIMIT: Final = Message("compression.output_limit", "it holds more than {ratio} times its size")
COMPRESSION_RATIO: Final = Message(
    "compression.ratio", "{kind} data unpacks to more than {ratio} times its {taken:size}"
)
COMPRESSION_TINY_PIECES: Final = Message(
    "compression.tiny_pieces", "{kind} data is made of more tiny pieces than any program makes"
)
COMPRESSION_TRAILING_DATA: Final = Message("compression.trailing_data", "found something else {where} {kind} data")
COMPRESSION_TRUNCATED: Final = Message(
    "compression.truncated", "{kind} data ends too early", hint="copy or download the file again"
)
COMPRESSION_UNKNOWN: Final = Message("compression.unknown", "unknown compression {kind!r}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {reason}")
FILE_CANNOT_WRITE: Final = Message("file.cannot_write", "cannot write {name}: {reason}")
FILE_IS_LINK: Final = Message(
    "file.is_link",
    "{path} is a symbolic link, and nobody named that file",
    hint="remove it, or give another name with -o",
)
FILE_LINK_OF_ANOTHER: Final = Message(
    "file.link_of_another",
    "{path} is a symbolic link that another user made in a folder where all may write",
    hint="name the file that it leads to, or a file in a folder of yours",
)
FILE_CANNOT_WRITE_TEMPORARY: Final = Message(
    "file.cannot_write_temporary",
    "cannot write a temporary file in {directory}: {reason}",
    hint="use --tmp DIR to name a directory {place}",
)
FILE_DISK_FULL: Final = Message(
    "file.disk_full", "cannot write {name}: {reason}", hint="make room on that disk or write elsewhere"
)
FILE_IS_DIRECTORY: Final = Message(
    "file.is_directory", "cannot write {path}: it is a directory", hint="name a file in it"
)
FILE_NAME: Final = Message("file.name", "{path} is no name of a file")
FILE_NO_FOLDER: Final = Message(
    "file.no_folder", "cannot write {name}: {reason}", hint="make the folder first: mkdir -p {folder}"
)
FILE_NO_SPACE: Final = Message(
    "file.no_space",
    "cannot write {name}: it takes {size:size}{more}, and that disk has {free:size} free",
    hint="make room there, or name a file on another disk",
)
FILE_NO_TEMPORARY_SPACE: Final = Message(
    "file.no_temporary_space",
    "temporary files need {needed:size} in {place}, which has room for {free:size}",
    hint="use --tmp DIR to name a directory with more room",
)
FILE_SHRUNK: Final = Message("file.shrunk", "{name} ended at byte {size}, wanted {offset}")
FILE_SHRUNK_2: Final = Message(
    "file.shrunk", "{name} ended at byte {offset}, wanted {offset_2}", hint="the file changed while it was read"
)
OUTPUT_STREAM_REFUSED: Final = Message(
    "output.stream_refused",
    "cannot write to the stream that was given: {why}",
    hint="give one that waits until there is room: blocking, without a timeout",
)
OUTPUT_TERMINAL: Final = Message(
    "output.terminal", "{name} is a terminal, the output is binary", hint="pipe it on, or give -o FILE"
)

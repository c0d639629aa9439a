"""Messages about files, disks and compression, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

COMPRESSION_DAMAGED: Final = Message("compression.damaged", "{kind} data cannot be decompressed: {reason}")
COMPRESSION_NO_BZIP2: Final = Message(
    "compression.no_bzip2",
    "found bzip2 data, but this Python has no bz2 module",
    hint="decompress the file first: bunzip2 FILE",
)
COMPRESSION_OUTPUT_LIMIT: Final = Message(
    "compression.output_limit", "it decompresses to more than {ratio} times its size"
)
COMPRESSION_RATIO: Final = Message(
    "compression.ratio", "{kind} data of {taken:size} decompresses to more than {ratio} times its size"
)
COMPRESSION_TINY_PIECES: Final = Message("compression.tiny_pieces", "{kind} data consists of too many tiny pieces")
COMPRESSION_TRAILING_DATA: Final = Message("compression.trailing_data", "unexpected bytes {where} {kind} data")
COMPRESSION_TRUNCATED: Final = Message(
    "compression.truncated", "{kind} data ends too early", hint="copy or download the file again"
)
COMPRESSION_UNKNOWN: Final = Message("compression.unknown", "unknown compression {kind!r}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {reason}")
FILE_CANNOT_WRITE: Final = Message("file.cannot_write", "cannot write {name}: {reason}")
FILE_IS_LINK: Final = Message(
    "file.is_link",
    "{path} is a symbolic link: the output would replace another file",
    hint="remove the link, or give another name with -o",
)
FILE_LINK_OF_ANOTHER: Final = Message(
    "file.link_of_another",
    "{path} is a symbolic link that belongs to another user, in a world-writable folder",
    hint="give the target of the link, or a file in a folder of your own",
)
FILE_CANNOT_WRITE_TEMPORARY: Final = Message(
    "file.cannot_write_temporary",
    "cannot write a temporary file in {directory}: {reason}",
    hint="choose a folder {place}: --tmp DIR",
)
FILE_DISK_FULL: Final = Message(
    "file.disk_full", "cannot write {name}: {reason}", hint="free some space on that disk, or write to another disk"
)
FILE_IS_DIRECTORY: Final = Message(
    "file.is_directory", "cannot write {path}: it is a directory", hint="give the name of a file in this folder"
)
FILE_NAME: Final = Message("file.name", "{path} is not a file name")
FILE_NO_FOLDER: Final = Message(
    "file.no_folder", "cannot write {name}: {reason}", hint="create the folder first: mkdir -p {folder}"
)
FILE_NO_SPACE: Final = Message(
    "file.no_space",
    "cannot write {name}: it needs {size:size}{more}, but the disk has {free:size} free",
    hint="free some space, or write to another disk",
)
FILE_NO_TEMPORARY_SPACE: Final = Message(
    "file.no_temporary_space",
    "temporary files need {needed:size} in {place}, which has {free:size} free",
    hint="choose a folder with more free space: --tmp DIR",
)
FILE_SHRUNK: Final = Message("file.shrunk", "{name} ended at byte {size}, wanted bytes up to {offset}")
FILE_SHRUNK_2: Final = Message(
    "file.shrunk",
    "{name} ended at byte {offset}, wanted bytes up to {offset_2}",
    hint="the file changed while it was read",
)
OUTPUT_STREAM_REFUSED: Final = Message(
    "output.stream_refused",
    "cannot write to the given stream: {why}",
    hint="use a blocking stream without a timeout",
)
OUTPUT_TERMINAL: Final = Message(
    "output.terminal",
    "{name} is a terminal, but the output is binary",
    hint="pipe the output to a program, or write the output to a file: -o FILE",
)

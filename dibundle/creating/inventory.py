"""Inventories. An inventory lists the diffIDs of a receiver's layers, and is small enough for a message."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Sequence
from pathlib import Path

from dibundle.creating import messages
from dibundle.errors import ArchiveError, FileError, shell_words
from dibundle.files.context import Context
from dibundle.files.digest import SIZE
from dibundle.images.archive import Archive
from dibundle.images.reader import read_images
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_archives

VERSION = 1
MOST = 1 << 20  # maximum bytes of an inventory file


def inventory(sources: Sequence[Source], access: Access, context: Context) -> str:
    """Return a JSON inventory of the layers that archives claim to hold. A sender gives the inventory to ``create``."""
    return list_of(open_archives(sources, access, context).archives)


def list_of(archives: Sequence[Archive]) -> str:
    """Return the layers that archives claim to hold, as JSON. Each layer takes 46 bytes."""
    found: dict[bytes, None] = {}
    for archive in archives:
        for blob in read_images(archive).blobs:
            digest = blob.diff_id or (None if blob.compression else blob.digest)
            if blob.kind == "layer" and digest:
                found[digest] = None
    layers = [base64.urlsafe_b64encode(digest).decode().rstrip("=") for digest in sorted(found)]
    return json.dumps({"dib_inventory": VERSION, "layers": layers}, separators=(",", ":"))


def read_given(file: str | os.PathLike[str] | None) -> frozenset[bytes] | None:
    """Return the diffIDs in a file. Return None without a file: the sender may then build on every layer."""
    return None if file is None else read_list(os.fspath(file))


def read_list(path: str) -> frozenset[bytes]:
    """Return the diffIDs in a file. Raise :class:`ArchiveError` if the file is not an inventory."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST + 1)
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_OPEN, path=path, reason=error.strerror) from error
    try:
        value = json.loads(text) if len(text) <= MOST else None
        if not isinstance(value, dict) or value.get("dib_inventory") != VERSION:
            raise ValueError
        layers = frozenset(base64.urlsafe_b64decode(str(item) + "=") for item in value["layers"])
        if any(len(digest) != SIZE for digest in layers):
            raise ValueError
    except (ValueError, LookupError, TypeError, RecursionError, binascii.Error) as error:
        raise ArchiveError(messages.INVENTORY_MALFORMED, path=path, path_2=shell_words(str(path))) from error
    return layers

"""Suggestions if a named file is missing."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Final

from dibundle.errors import AbsentError, shell_words
from dibundle.sources import messages

_IMAGE: Final = re.compile(r"(?:(?:docker|podman):(?://)?)?([^/\s]+|[^\s]+[:@][^/\s]+)")  # app:1, HOST/team/app:1


def meant_by(name: str, error: OSError) -> AbsentError:
    """Return the error for a missing file. The error suggests what the user likely intended."""
    reason = error.strerror
    if name.startswith(("http://", "https://")):
        return AbsentError(messages.FILE_IS_URL, name=name, reason=reason, quoted=shell_words(name))
    from difflib import get_close_matches

    folder, base = os.path.split(name)
    with contextlib.suppress(OSError):
        there = {item.lower(): item for item in os.listdir(folder or ".")}  # noqa: PTH208 - names as typed
        first = f"{base.lower()}.001"  # the file may be a bundle in parts
        near = [first] if first in there else get_close_matches(base.lower(), there, 1, 0.8)
        if near:
            path = shell_words(os.path.join(folder, there[near[0]]))  # noqa: PTH118
            return AbsentError(messages.FILE_MISSPELT, name=name, reason=reason, path=path)
    image = _IMAGE.fullmatch(name)
    if image and not re.search(r"\.(tar|dib)\b", name):
        return AbsentError(messages.FILE_IS_IMAGE, name=name, reason=reason, image=shell_words(image[1]))
    return AbsentError(messages.FILE_NOT_FOUND, name=name, reason=reason, folder=shell_words(folder or "."))

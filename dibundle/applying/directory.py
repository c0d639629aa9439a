"""Apply a bundle into a folder, with one file for each target. If a target fails, all new files are deleted."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

from dibundle.applying import messages
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_targets
from dibundle.applying.space import NO_SPACE, Space
from dibundle.applying.targets import target_name
from dibundle.errors import FileError
from dibundle.files import messages as file_messages
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive

_LONGEST_NAME = 200


def apply_into(
    bases: Sequence[Archive],
    bundle: BundleReader,
    folder: str,
    targets: Collection[int],
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
) -> list[Destination]:
    """Write ``targets`` into ``folder`` and return the written files. Create the folder if it does not exist.

    :func:`file_names` gives the names. Existing files are never overwritten. After a failure, all new files are
    deleted.
    """
    names = file_names(bundle.manifest)
    made = _make_folder(folder)
    files: dict[int, Destination] = {}
    try:
        with ExitStack() as stack:
            files.update((number, Destination(str(Path(folder, names[number])), is_derived=True)) for number in targets)
            for file in files.values():
                if file.identity:
                    raise FileError(messages.FILE_EXISTS_IN_FOLDER, name=file.name)
                stack.enter_context(file)
            sinks = {number: file.write for number, file in files.items()}
            rebuild_targets(bases, bundle, sinks, options, context, space=space)
        return list(files.values())
    except BaseException:
        for file in files.values():
            file.take_back()
        if made:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        raise


def file_names(manifest: Manifest) -> list[str]:
    """Return a file name for each target. For example, the image ``registry/app:2`` gives ``registry_app_2.tar``."""
    names: list[str] = []
    taken: set[str] = set()
    for number in range(len(manifest.targets)):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", target_name(manifest, number))[:_LONGEST_NAME].lstrip(".-") or "image"
        candidates = (f"{stem}-copy{count}.tar" if count else f"{stem}.tar" for count in itertools.count())
        names.append(next(name for name in candidates if name.lower() not in taken))
        taken.add(names[-1].lower())  # some file systems ignore case
    return names


def _make_folder(folder: str) -> bool:
    """Create a folder. Return False if the folder already exists."""
    try:
        os.mkdir(folder)  # noqa: PTH102 - the path may be any bytes that the system accepts
    except FileExistsError:
        return False
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_MAKE_FOLDER, folder=folder, reason=error.strerror) from error
    except ValueError as error:  # the name has a NUL, or half a surrogate pair
        raise FileError(file_messages.FILE_NAME, path=folder) from error
    return True

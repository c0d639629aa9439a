"""Listings of paths: selection and order of lines, and a tree of folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from dibundle.errors import human
from dibundle.files import wording
from dibundle.format.outline import ListingError
from dibundle.inspecting import messages
from dibundle.inspecting.operations import Line

OPERATIONS: Final = (
    *("keep", "mode", "time", "patch", "add", "copy", "delete", "link", "symlink", "directory", "device", "fifo"),
    *("member", "packed", "raw"),
)
# a bundle does not distinguish a change of the time from a change of the mode
OF_BUNDLE: Final = tuple(name for name in OPERATIONS if name != "time")
OF_IMAGES: Final = tuple(name for name in OPERATIONS if name not in ("keep", "copy", "member", "packed", "raw"))
DEPTH: Final = 3
_MAX_FOLDERS: Final = 128 << 20
_FOLDER: Final = 256
"""The number of bytes that a folder of a tree counts, in addition to the bytes of its path. The total is limited."""
SORTS: Final[dict[str, Callable[[Line], Any]]] = {
    "path": lambda line: line.path or b"",
    "size": lambda line: -(line.size or 0),
    "stored": lambda line: -line.stored,
    "operation": lambda line: OPERATIONS.index(line.operation),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The lines to list, their order (None: the archive's order), and the depth of the tree (None: ``DEPTH``)."""

    paths: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    sort: str | None = None
    depth: int | None = None

    def of(self, lines: Iterable[Line]) -> list[Line]:
        """Return the chosen lines in order."""
        chosen = [line for line in lines if self._has(line)]
        return sorted(chosen, key=SORTS[self.sort]) if self.sort else chosen

    def _has(self, line: Line) -> bool:
        if self.operations and line.operation not in self.operations:
            return False
        if not self.paths:
            return True
        path = (line.path or b"").decode("utf-8", "surrogateescape").strip("/")
        return line.path is not None and any(fnmatchcase(path, glob.strip("/")) for glob in self.paths)


def top(lines: Iterable[Line], count: int) -> list[Line]:
    """Return the lines that take the most bytes in the bundle."""
    return sorted((line for line in lines if line.stored and line.path), key=lambda line: -line.stored)[:count]


@dataclass(slots=True)
class TreeFolder:
    """A folder of a tree, with everything below it."""

    path: bytes
    depth: int
    count: int = 0
    size: int = 0
    old_size: int = 0
    stored: int = 0


def tree(lines: Iterable[Line], depth: int) -> list[TreeFolder]:
    """Return the folders down to ``depth``. Each folder has the sums over all changed paths below it.

    Each folder comes after its parent.
    """
    found: dict[bytes, TreeFolder] = {b"": TreeFolder(b"", 0)}
    left = _MAX_FOLDERS
    for line in lines:
        if line.path is None or line.operation in ("member", "keep"):
            continue
        parts = [part for part in line.path.split(b"/") if part not in (b"", b".")]
        level = min(depth, max(len(parts) - 1, 0))
        path = deepest = b"/".join(parts[:level])
        while path not in found:
            found[path] = TreeFolder(path, level)
            left -= len(path) + _FOLDER
            if left < 0:
                raise ListingError(messages.LIMIT_FOLDERS, max_folders=_MAX_FOLDERS >> 20)
            level -= 1
            path = path.rpartition(b"/")[0]
        folder = found[deepest]
        folder.count += line.count
        folder.size += line.size or 0
        folder.old_size += line.old_size or 0
        folder.stored += line.stored
    for folder in sorted(found.values(), key=lambda folder: -folder.depth)[:-1]:
        parent = found[folder.path.rpartition(b"/")[0]]
        parent.count += folder.count
        parent.size += folder.size
        parent.old_size += folder.old_size
        parent.stored += folder.stored
    # paths are sorted as lists of their parts: a folder, then its content, then its neighbours
    return [found[path] for path in sorted(found, key=lambda path: path.replace(b"/", b"\0"))]


def _led(line: Line) -> str:
    """Return a text with the new and the old target of a symbolic link."""
    if line.target is None:
        return ""
    old = f" (was {wording.escape(line.old_target)})" if line.old_target is not None else ""
    return f" -> {wording.escape(line.target)}{old}"


def path_text(line: Line) -> str:
    """Return a line's path, or a text for lines without a path."""
    if line.path is not None:
        return wording.escape(line.path) + (_led(line) if line.operation == "symlink" else "")
    if line.operation == "keep":
        return f"({human(line.count)} as in the base)"
    if line.operation == "mode":
        return f"({line.count:,} {'entry' if line.count == 1 else 'entries'})"
    if line.operation == "packed":
        return "(how the layer is compressed)"
    if line.operation == "raw":
        return "(bytes outside of files)"
    return "(a name that the bundle does not tell)"

"""Listings of paths as ``inspect`` and ``diff`` show them: which lines, in which order, as a table, tree or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any, Final

import click

from dibundle.cli import documents, messages, terminal
from dibundle.cli.console import Document
from dibundle.errors import UsageError
from dibundle.inspecting.operations import LayerLine, Line

OPERATIONS: Final = (
    *("keep", "mode", "time", "patch", "add", "copy", "delete", "link", "symlink", "directory", "device", "fifo"),
    *("member", "packed", "raw"),
)
OF_BUNDLE: Final = tuple(name for name in OPERATIONS if name != "time")  # a bundle does not tell times from modes
OF_IMAGES: Final = tuple(name for name in OPERATIONS if name not in ("keep", "copy", "member", "packed", "raw"))
DEPTH: Final = 3
_SORTS: Final[dict[str, Callable[[Line], Any]]] = {
    "path": lambda line: line.path or b"",
    "size": lambda line: -(line.size or 0),
    "stored": lambda line: -line.stored,
    "operation": lambda line: OPERATIONS.index(line.operation),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which lines of a listing, in which order (None: the archive's), and how deep a tree (None: ``DEPTH``)."""

    paths: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    sort: str | None = None
    depth: int | None = None

    def require(self, show: str | None, *, listed: bool = False) -> None:
        """Refuse what is said of a listing that is not shown; ``listed``: the lines are told all the same."""
        for option, given, shown in (
            ("--op", bool(self.operations), ("list", "tree")),
            ("--path", bool(self.paths), ("list", "tree")),
            ("--sort", self.sort is not None, ("list",)),
            ("--depth", self.depth is not None, ("tree",)),
        ):
            if given and show not in shown and not (listed and option != "--depth"):
                raise UsageError(
                    messages.OPTION_OTHER_LISTING if show else messages.OPTION_LISTING,
                    option=option,
                    shown=" or ".join(f"--{name}" for name in shown),
                    show=shown[0],
                    given=show,
                )

    def of(self, lines: Iterable[Line]) -> list[Line]:
        """Return the chosen lines in their order."""
        chosen = [line for line in lines if self._has(line)]
        return sorted(chosen, key=_SORTS[self.sort]) if self.sort else chosen

    def _has(self, line: Line) -> bool:
        if self.operations and line.operation not in self.operations:
            return False
        if not self.paths:
            return True
        path = (line.path or b"").decode("utf-8", "surrogateescape").strip("/")
        return line.path is not None and any(fnmatchcase(path, glob.strip("/")) for glob in self.paths)


def options(operations: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a listing, as one argument ``choice``; ``operations``: those that it can show."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(
            paths: tuple[str, ...],
            chosen: tuple[str, ...],
            sort: str | None,
            depth: int | None,
            **others: Any,  # noqa: ANN401 - what the command itself declares
        ) -> None:
            command(choice=Choice(paths=paths, operations=chosen, sort=sort, depth=depth), **others)

        decorated: Callable[..., None] = run
        for option in (
            click.option("--depth", type=click.IntRange(1, 100), help=f"Depth of --tree; default: {DEPTH}."),
            click.option(
                "--sort", type=click.Choice(list(_SORTS)), help="Order of --list; default: as in the archive."
            ),
            click.option(
                "--op",
                "chosen",
                multiple=True,
                type=click.Choice(operations),
                help="Only these operations; may be given more than once.",
            ),
            click.option(
                "--path", "paths", multiple=True, metavar="GLOB", help="Only paths like this; * goes across folders."
            ),
        ):
            decorated = option(decorated)
        return decorated

    return decorate


def table(lines: Sequence[Line], *, stored: bool) -> Iterator[str]:
    """Yield lines as text: operation, old size, new size, what it takes in the bundle (``stored``), path."""
    if lines:
        yield f"{'operation':9} {'old size':>13} {'size':>13} " + (f"{'stored':>11} " if stored else "") + " path"
    for line in lines:
        cost = (f"{line.stored:,}" if line.stored or line.operation in ("patch", "add") else "") if stored else ""
        yield (
            f"{line.operation:9} {_number(line.old_size):>13} {_number(line.size):>13} "
            + (f"{cost:>11} " if stored else "")
            + f" {path_text(line)}"
        )


def top(lines: Iterable[Line], count: int) -> list[Line]:
    """Return the lines that take the most in the bundle."""
    return sorted((line for line in lines if line.stored and line.path), key=lambda line: -line.stored)[:count]


@dataclass(slots=True)
class Folder:
    """A folder of a tree, with all that is below it."""

    path: bytes
    depth: int
    count: int = 0
    size: int = 0
    old_size: int = 0
    stored: int = 0


def tree(lines: Iterable[Line], depth: int) -> list[Folder]:
    """Return the folders down to ``depth``, each after its parent, with the sums of the changed paths in them."""
    found: dict[bytes, Folder] = {b"": Folder(b"", 0)}
    for line in lines:
        if line.path is None or line.operation in ("member", "keep"):
            continue
        parts = [part for part in line.path.split(b"/") if part not in (b"", b".")]
        for level in range(min(depth, max(len(parts) - 1, 0)) + 1):
            path = b"/".join(parts[:level])
            folder = found.setdefault(path, Folder(path, level))
            folder.count += line.count
            folder.size += line.size or 0
            folder.old_size += line.old_size or 0
            folder.stored += line.stored
    return [found[path] for path in sorted(found, key=lambda path: path.split(b"/") if path else [])]


def tree_table(folders: Sequence[Folder], *, stored: bool) -> Iterator[str]:
    """Yield a tree as text: bytes in the bundle (``stored``) or new bytes, changed paths, name."""
    yield f"{'stored' if stored else 'size':>13} {'changed':>9}  folder"
    for folder in folders:
        name = terminal.escape(folder.path.rpartition(b"/")[2]) + "/"
        size = folder.stored if stored else folder.size
        yield f"{size:>13,} {folder.count:>9,}  {'  ' * folder.depth}{name}"


def layer_table(layers: Iterable[LayerLine]) -> Iterator[str]:
    """Yield what a target's layers were made of."""
    for layer in layers:
        size = terminal.human(layer.size) if layer.size is not None else "?"
        yield f"{terminal.escape(layer.path)}: {size}, {terminal.human(layer.stored)} stored"
        made = [f"{count:,} {operation}" for operation, count in layer.operations.items()]
        if layer.kept:
            made.insert(0, f"{terminal.human(layer.kept)} kept")
        yield "  " + ", ".join(made)


def line_json(line: Line) -> Document:
    """Return a line for programs; what is not known is not there."""
    known = {"size": line.size, "old_size": line.old_size, "stored": line.stored}
    return {
        "operation": line.operation,
        "count": line.count,
        **(documents.name("path", line.path) if line.path is not None else {}),
        **{key: value for key, value in known.items() if value is not None},
        **(documents.name("layer", line.layer) if line.layer is not None else {}),
    }


def folder_json(folder: Folder) -> Document:
    """Return a folder of a tree for programs."""
    return {
        **documents.name("path", folder.path),
        "count": folder.count,
        "size": folder.size,
        "old_size": folder.old_size,
        "stored": folder.stored,
    }


def layer_json(layer: LayerLine) -> Document:
    """Return a layer for programs."""
    return {
        **documents.name("path", layer.path),
        "size": layer.size,
        "stored": layer.stored,
        "kept": layer.kept,
        "operations": layer.operations,
    }


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else ""


def path_text(line: Line) -> str:
    """Return a line's path, or what there is to say instead."""
    if line.path is not None:
        return terminal.escape(line.path)
    if line.operation == "keep":
        return f"({terminal.human(line.count)} as in the base)"
    if line.operation == "mode":
        return f"({line.count:,} {'entry' if line.count == 1 else 'entries'})"
    if line.operation == "packed":
        return "(how the layer is compressed)"
    if line.operation == "raw":
        return "(bytes outside of files)"
    return "(a name that the bundle does not tell)"

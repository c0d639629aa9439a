"""Listings of paths for ``inspect`` and ``diff`` as a table, a tree or JSON, and the options of these listings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any

import click

from dibundle.cli import messages
from dibundle.cli.console import Document
from dibundle.cli.results import documents
from dibundle.errors import UsageError, human
from dibundle.files import wording
from dibundle.inspecting.listing import DEPTH, SORTS, Choice, TreeFolder, path_text
from dibundle.inspecting.operations import LayerLine, Line


def require(choice: Choice, show: str | None, *, listed: bool = False) -> None:
    """Refuse options of a listing if no listing is shown.

    With ``listed``, the JSON document always contains the listing.
    """
    for option, given, shown in (
        ("--op", bool(choice.operations), ("list", "tree")),
        ("--path", bool(choice.paths), ("list", "tree")),
        ("--sort", choice.sort is not None, ("list",)),
        ("--depth", choice.depth is not None, ("tree",)),
    ):
        if given and show not in shown and not (listed and option != "--depth"):
            raise UsageError(
                messages.OPTION_OTHER_LISTING if show else messages.OPTION_LISTING,
                option=option,
                shown=" or ".join(f"--{name}" for name in shown),
                show=shown[0],
                given=show,
            )


def options(operations: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a listing to a command. The command's function gets these options as ``choice``.

    ``operations`` are the operations that the command can show.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(
            paths: tuple[str, ...],
            chosen: tuple[str, ...],
            sort: str | None,
            depth: int | None,
            **others: Any,  # noqa: ANN401 - the command's own parameters
        ) -> None:
            command(choice=Choice(paths=paths, operations=chosen, sort=sort, depth=depth), **others)

        decorated: Callable[..., None] = run
        for option in (
            click.option("--depth", type=click.IntRange(1, 100), help=f"Depth of --tree; default: {DEPTH}."),
            click.option("--sort", type=click.Choice(list(SORTS)), help="Order of --list; default: as in the archive."),
            click.option(
                "--op",
                "chosen",
                multiple=True,
                type=click.Choice(operations),
                help="Show only these operations; may be repeated.",
            ),
            click.option(
                "--path",
                "paths",
                multiple=True,
                metavar="GLOB",
                help='Show only paths that match this pattern; * also matches "/".',
            ),
        ):
            decorated = option(decorated)
        return decorated

    return decorate


def table(lines: Sequence[Line], *, stored: bool) -> Iterator[str]:
    """Yield lines as text: operation, old size, new size, the size in the bundle if ``stored`` is true, and path."""
    if lines:
        yield f"{'operation':9} {'old size':>13} {'size':>13} " + (f"{'stored':>11} " if stored else "") + " path"
    for line in lines:
        cost = (f"{line.stored:,}" if line.stored or line.operation in ("patch", "add") else "") if stored else ""
        yield (
            f"{line.operation:9} {_number(line.old_size):>13} {_number(line.size):>13} "
            + (f"{cost:>11} " if stored else "")
            + f" {path_text(line)}"
        )


def tree_table(folders: Sequence[TreeFolder], *, stored: bool) -> Iterator[str]:
    """Yield a tree as text, with the size, the number of changed paths, and the name of each folder.

    If ``stored`` is true, the size is the size in the bundle. Otherwise, the size is the new size.
    """
    yield f"{'stored' if stored else 'size':>13} {'changed':>9}  folder"
    for folder in folders:
        name = wording.escape(folder.path.rpartition(b"/")[2]) + "/"
        size = folder.stored if stored else folder.size
        yield f"{size:>13,} {folder.count:>9,}  {'  ' * folder.depth}{name}"


def layer_table(layers: Iterable[LayerLine]) -> Iterator[str]:
    """Yield the operations and sizes of a target's layers."""
    for layer in layers:
        size = human(layer.size) if layer.size is not None else "?"
        yield f"{wording.escape(layer.path)}: {size}, {human(layer.stored)} stored"
        made = [f"{count:,} {operation}" for operation, count in layer.operations.items()]
        if layer.kept:
            made.insert(0, f"{human(layer.kept)} kept")
        yield "  " + ", ".join(made)


def line_json(line: Line) -> Document:
    """Return a line as JSON. Unknown values are left out."""
    known = {"size": line.size, "old_size": line.old_size, "stored": line.stored}
    return {
        "operation": line.operation,
        "count": line.count,
        **(documents.name("path", line.path) if line.path is not None else {}),
        **{key: value for key, value in known.items() if value is not None},
        **(documents.name("layer", line.layer) if line.layer is not None else {}),
        **(documents.name("target", line.target) if line.target is not None else {}),
        **(documents.name("old_target", line.old_target) if line.old_target is not None else {}),
    }


def folder_json(folder: TreeFolder) -> Document:
    """Return a folder of a tree as JSON."""
    return {
        **documents.name("path", folder.path),
        "count": folder.count,
        "size": folder.size,
        "old_size": folder.old_size,
        "stored": folder.stored,
    }


def layer_json(layer: LayerLine) -> Document:
    """Return a layer as JSON."""
    return {
        **documents.name("path", layer.path),
        "size": layer.size,
        "stored": layer.stored,
        "kept": layer.kept,
        "operations": layer.operations,
    }


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else ""

"""``dib diff``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

import click

from dibundle.cli import listing
from dibundle.cli.console import Console, Document
from dibundle.cli.session import PLATFORM, session
from dibundle.files import digest, wording
from dibundle.files.context import Context
from dibundle.images.model import Image
from dibundle.inspecting.image_diff import Changes, Setting, diff
from dibundle.inspecting.listing import DEPTH, OF_IMAGES, OPERATIONS, Choice, tree
from dibundle.inspecting.operations import Line
from dibundle.sources.access import Access

_TOP = 10
_PACKAGES = 20


@click.command("diff", short_help="Show what changed between two images, without making a bundle.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--list", "show", flag_value="list", help="Show every path that changed.")
@click.option("--tree", "show", flag_value="tree", help="Show what changed by folder.")
@listing.options(OF_IMAGES)
@session(platform=PLATFORM)
def command(
    old: str,
    new: str,
    show: str | None,
    choice: Choice,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Show what changed from the image in OLD to the one in NEW: paths, sizes, packages, and the config.

    \b
        dib diff old.tar new.tar
        dib diff old.tar new.tar --list --op patch --sort size
        dib diff docker-daemon:app:1 docker-daemon:app:2 --tree

    Layers count by what they come to: a file that has moved to another layer has not changed. A path that differs in
    its time alone is "time", in mode, owner, type or link "mode".
    """
    listing.require(choice, show, listed=console.json)
    changes = diff(old, new, access, context)
    document = _document(changes)
    chosen = choice.of(changes.lines)
    document["operations"] = map(listing.line_json, chosen)
    if show == "tree":
        folders = tree(chosen, choice.depth or DEPTH)
        document["tree"] = map(listing.folder_json, folders)
        text = listing.tree_table(folders, stored=False)
    elif show == "list":
        text = listing.table(chosen, stored=False)
    else:
        text = _summary(old, new, changes)
    console.answer("dib.diff/1", document, text)


def _summary(old: str, new: str, changes: Changes) -> Iterator[str]:
    yield f"from   {wording.escape(old)}: {_image(changes.old)}"
    yield f"to     {wording.escape(new)}: {_image(changes.new)}"
    common = len({*changes.old.diff_ids} & {*changes.new.diff_ids})
    yield f"layers {len(changes.old.diff_ids)} before, {len(changes.new.diff_ids)} after, {common} the same"
    yield "paths"
    for operation, (count, size) in _totals(changes.lines).items():
        yield f"  {count:>12,}  {operation:9}" + (f"  {wording.human(size)}" if size else "")
    yield f"  {changes.same:>12,}  the same"
    if changes.settings:
        yield "config"
    for setting in changes.settings:
        yield f"  {wording.escape(setting.key)}: {_value(setting.old)} -> {_value(setting.new)}"
    if changes.packages:
        yield "packages"
    for package in changes.packages[:_PACKAGES]:
        versions = f"{_version(package.old)} -> {_version(package.new)}"
        yield f"  {package.manager:5} {wording.escape(package.name)}: {versions}"
    if len(changes.packages) > _PACKAGES:
        yield f"  and {len(changes.packages) - _PACKAGES:,} more (see --json)"
    largest = sorted((line for line in changes.lines if line.operation != "time"), key=lambda line: -(line.size or 0))
    if any(line.size for line in largest):
        yield "largest changes (see --list, --tree)"
    for line in islice((line for line in largest if line.size), _TOP):
        yield f"  {line.size:>12,}  {line.operation:9}  {wording.escape(line.path or b'')}"


def _totals(lines: list[Line]) -> dict[str, tuple[int, int]]:
    found = dict.fromkeys(OPERATIONS, (0, 0))
    for line in lines:
        count, size = found[line.operation]
        found[line.operation] = count + 1, size + (line.size or line.old_size or 0)
    return {operation: total for operation, total in found.items() if total[0]}


def _image(image: Image) -> str:
    names = ", ".join(wording.escape(name) for name in image.names) or "(no name)"
    return f"{names}  {digest.text(image.config_digest)}" if image.config_digest else names


def _value(value: str | None) -> str:
    return "(not set)" if value is None else wording.escape(value)


def _version(version: str | None) -> str:
    return "(none)" if version is None else wording.escape(version)


def _document(changes: Changes) -> Document:
    return {
        "old": _image_json(changes.old),
        "new": _image_json(changes.new),
        "same": changes.same,
        "totals": {
            operation: {"count": count, "size": size} for operation, (count, size) in _totals(changes.lines).items()
        },
        "config": [_setting_json(setting) for setting in changes.settings],
        "packages": [asdict(package) for package in changes.packages],
    }


def _image_json(image: Image) -> Document:
    return {
        "names": [name.encode("utf-8", "replace").decode() for name in image.names],
        "id": digest.text(image.config_digest) if image.config_digest else None,
        "diff_ids": [digest.text(item) for item in image.diff_ids],
    }


def _setting_json(setting: Setting) -> Document:
    return {"key": setting.key, "old": setting.old, "new": setting.new}

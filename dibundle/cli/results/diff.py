"""The results of ``dib diff``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from dibundle.cli.console import Document
from dibundle.errors import human
from dibundle.files import digest, wording
from dibundle.images.model import Image
from dibundle.inspecting.image_diff import Changes, Setting
from dibundle.inspecting.listing import OPERATIONS
from dibundle.inspecting.operations import Line

_TOP = 10
_PACKAGES = 20


def summary(old: str, new: str, changes: Changes) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield f"from   {wording.escape(old)}: {_image(changes.old)}"
    yield f"to     {wording.escape(new)}: {_image(changes.new)}"
    common = len({*changes.old.diff_ids} & {*changes.new.diff_ids})
    yield f"layers {len(changes.old.diff_ids)} before, {len(changes.new.diff_ids)} after, {common} the same"
    yield "paths"
    for operation, (count, size) in _totals(changes.lines).items():
        yield f"  {count:>12,}  {operation:9}" + (f"  {human(size)}" if size else "")
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


def document(changes: Changes) -> Document:
    """Return the changes as a JSON document."""
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

"""Changes between two images, path by path, without a bundle. Both images' file trees and configs are compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from dibundle.creating.match.base import REGULAR, Layer
from dibundle.creating.match.images import StoredBlob, inflate_all, read_blobs, read_size
from dibundle.errors import ArchiveError
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.digest import sha256_of
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool, copy_chunks
from dibundle.images import document
from dibundle.images.archive import Archive
from dibundle.images.model import Image, ImageArchive
from dibundle.images.packages import SIZE_LIMIT, Inventory, Package, changed, inventory
from dibundle.images.reader import read_images
from dibundle.images.tar.entries import MAX_ENTRIES, MAX_ENTRY_NAMES, Entry, is_unnamed, scan_all
from dibundle.inspecting import messages
from dibundle.inspecting.operations import Line
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_archives

_WHITEOUT = b".wh."
_MAX_ENTRIES = 1 << 24
_MAX_COMPARED = 1 << 32
"""The maximum number of bytes of paths that are compared with whited-out paths.

With this maximum, comparing takes a few seconds.
"""
_MAX_SETTINGS = 1 << 16
_MAX_SETTING_TEXT = 16 << 20
"""The maximum number of characters of a config's settings and their names.

Each member of an object repeats the object's name.
"""
_OPAQUE = b".wh..wh..opq"
_HARD_LINK, _SYMLINK = 0x31, 0x32
_TYPES = {0x32: "symlink", 0x33: "device", 0x34: "device", 0x35: "directory", 0x36: "fifo"}
_CONFIG_KEYS = ("architecture", "variant", "os", "os.version", "author")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of an image's config, as JSON texts. A text is None if the image lacks the setting."""

    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes from the first image to the second. Unchanged paths are only counted."""

    old: Image
    new: Image
    lines: list[Line]
    same: int
    settings: list[Setting]
    packages: list[Package]


@dataclass(frozen=True, slots=True)
class _Node:
    """A path of an image, and its layer."""

    layer: Layer
    entry: Entry

    @property
    def kind(self) -> int:
        """The type. All tar types of regular files are mapped to one value."""
        return REGULAR[0] if self.entry.type in REGULAR else self.entry.type

    @property
    def target(self) -> bytes | None:
        """The target of a symbolic link."""
        return self.entry.link if self.entry.type == _SYMLINK else None

    def metadata(self) -> tuple[bytes, bytes]:
        """Return the header fields with mode and owner, and the target of a link."""
        return self.layer.source.read_at(self.entry.header + 100, 24), self.entry.link

    def time(self) -> bytes:
        """Return the header field with the time."""
        return self.layer.source.read_at(self.entry.header + 136, 12)

    def digest(self) -> bytes:
        """Return the sha256 of the content."""
        return sha256_of(copy_chunks(self.layer.source, self.entry.content, self.entry.size))


Tree = Mapping[bytes, _Node]


def diff(old: Source, new: Source, access: Access, context: Context) -> Changes:
    """Compare the first images of two archives as :func:`compare` does."""
    opened = open_archives([old, new], access, context)
    return compare(opened.archives[0], opened.archives[1], context)


def compare(old: Archive, new: Archive, context: Context, most: int | None = None) -> Changes:
    """Compare the first images of two archives. Layers are read, but nothing is encoded.

    If ``most`` is given, it is the maximum number of bytes to decompress from archives that bundles rebuilt.

    Each path is marked as ``add``, ``delete``, ``patch`` (new content), ``mode`` (new owner, mode, link or type) or
    ``time``. Raises :class:`ArchiveError` if an archive does not contain a whole image.
    """
    progress = context.progress
    with context.within() as own, ThreadPoolExecutor() as executor:
        sides = [read_images(archive) for archive in (old, new)]
        progress.phase("reading", read_size(sides))
        spool = own.spool()
        before, after = (_read(images, spool, executor, progress, most) for images in sides)
        progress.phase("comparing", 0)
        # compare packages first: a database in memory together with all lines and settings would take too much memory
        packages = changed(_packages(before.tree), _packages(after.tree))
        lines = list(_lines(before.tree, after.tree))
        return Changes(
            old=before.image,
            new=after.image,
            lines=lines,
            same=len(after.tree) - sum(line.operation != "delete" for line in lines),
            settings=list(_settings(before.config, after.config)),
            packages=packages,
        )


@dataclass(frozen=True, slots=True)
class _Side:
    image: Image
    tree: Tree
    config: dict[str, str]


def _read(images: ImageArchive, spool: Spool, executor: Executor, progress: Progress, most: int | None) -> _Side:
    archive = images.archive
    if not images.images:
        raise ArchiveError(messages.ARCHIVE_EMPTY_OF_IMAGES, name=archive.name)
    image = images.images[0]
    if len(images.images) > 1:
        names = wording.some(image.names) or "one without a name"
        progress.note(f"{archive.name} has {len(images.images)} images; the first is compared: {names}")
    blobs = inflate_all(archive, read_blobs(images, executor, progress.advance), lambda: spool, most)
    by_blob = {id(stored.blob): stored for stored in blobs}
    layers = [by_blob[id(blob)].layer if blob else None for blob in image.layers]
    if None in layers:
        raise ArchiveError(messages.ARCHIVE_INCOMPLETE, name=archive.name)
    _read_entries(archive, {id(layer): layer for layer in layers if layer}.values())
    config = by_blob[id(image.config)] if image.config else None
    return _Side(image, _tree([layer for layer in layers if layer]), _flat(config))


def _read_entries(archive: Archive, layers: Collection[Layer]) -> None:
    """Read the entries of layers, up to a limit for memory. The limit is lower for archives that a bundle rebuilt."""
    if not archive.is_of_bundle:
        if any(is_unnamed(entry) for layer in layers for entry in layer.index.entries):
            raise ArchiveError(messages.ARCHIVE_TOO_MANY_ENTRIES, name=archive.name, most=_MAX_ENTRIES)
        return
    found = scan_all((layer.source for layer in layers), MAX_ENTRIES, MAX_ENTRY_NAMES)
    if found is None:
        raise ArchiveError(messages.ARCHIVE_TOO_MANY_ENTRIES, name=archive.name, most=MAX_ENTRIES)
    for layer, index in zip(layers, found, strict=True):
        layer.index = index


def _tree(layers: Sequence[Layer]) -> Tree:
    """Return the tree of an image, by path. Upper layers hide the paths that they replace or white out.

    Layers are read from the top down, so that a hidden path stays hidden in all lower layers. If a layer occurs twice,
    only its upper place counts.
    """
    tree: dict[bytes, _Node] = {}
    # the loop below skips repeats, because a manifest may list the same layer many times
    if sum(len(layer.index.entries) for layer in layers) > _MAX_ENTRIES:
        raise ArchiveError(messages.LIMIT_ENTRIES, max_entries=_MAX_ENTRIES)
    hidden = _Hidden()
    for layer in {id(layer): layer for layer in reversed(layers)}.values():
        added: dict[bytes, _Node] = {}
        gone: set[bytes] = set()
        for entry in layer.index.entries:
            path = b"/".join(part for part in entry.path.split(b"/") if part not in (b"", b"."))
            folder, _, name = path.rpartition(b"/")
            if name == _OPAQUE:
                gone.add(folder + b"/")
            elif name.startswith(_WHITEOUT):
                away = (folder + b"/" if folder else b"") + name[len(_WHITEOUT) :]
                gone |= {away, away + b"/"}
            elif path:
                added[path] = _Node(layer, entry)
        for path, node in added.items():
            if path not in tree and path not in hidden:
                tree[path] = node
        hidden.add(gone)
    return tree


class _Hidden:
    """Paths that upper layers white out. If a path ends with a slash, the whole content of this folder is hidden."""

    def __init__(self) -> None:
        self._paths: set[bytes] = set()
        self._lengths: set[int] = set()
        self._left = _MAX_COMPARED

    def add(self, paths: set[bytes]) -> None:
        self._paths |= paths
        self._lengths.update(map(len, paths))

    def __contains__(self, path: bytes) -> bool:
        """Return whether a path or one of its parents is hidden. Raise :class:`ArchiveError` if this takes too long."""
        at = path.find(b"/") if self._paths else -1
        while at >= 0:
            if at + 1 in self._lengths:
                self._left -= at
                if self._left < 0:
                    raise ArchiveError(messages.LIMIT_WHITEOUTS)
                if path[: at + 1] in self._paths:
                    return True
            at = path.find(b"/", at + 1)
        return path in self._paths


def _lines(old: Tree, new: Tree) -> Iterator[Line]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if after is None:
            assert before
            yield Line(operation="delete", path=path, old_size=before.entry.size)
        elif before is None:
            kind = _TYPES.get(after.entry.type, "link" if after.entry.type == _HARD_LINK else "add")
            yield Line(operation=kind, path=path, size=after.entry.size, target=after.target)
        elif operation := _change(before, after):
            links = (after.target, before.target) if operation == "symlink" else (None, None)
            size, old_size = after.entry.size, before.entry.size
            yield Line(
                operation=operation,
                path=path,
                size=size,
                old_size=old_size,
                target=links[0],
                old_target=links[1],
            )


def _change(before: _Node, after: _Node) -> str | None:
    if before.layer.digest == after.layer.digest and before.entry.header == after.entry.header:
        return None
    if before.entry.size != after.entry.size or (after.entry.size and before.digest() != after.digest()):
        return "patch"
    if after.target is not None and after.target != before.target:
        return "symlink"
    if before.kind != after.kind or before.metadata() != after.metadata():
        return "mode"
    return "time" if before.time() != after.time() else None


def _packages(tree: Tree) -> Inventory:
    def read(path: bytes) -> bytes | None:
        node = tree[path]
        if node.kind != REGULAR[0] or node.entry.size > SIZE_LIMIT:
            return None
        return node.layer.source.read_at(node.entry.content, node.entry.size)

    return inventory(tree.keys(), read)


def _flat(config: StoredBlob | None) -> dict[str, str]:
    """Return an image config's settings as JSON texts. Each variable and each member of an object is a setting.

    Raises :class:`ArchiveError` if there are too many settings or characters, because a setting that was left out might
    have changed.
    """
    if config is None or config.source.size > document.SIZE_LIMIT:
        return {}
    found: dict[str, str] = {}
    left = _MAX_SETTING_TEXT
    for key, item in _members(config):
        text = _text(item)
        left -= len(key) + len(text)
        if left < 0 or len(found) == _MAX_SETTINGS:
            raise ArchiveError(messages.LIMIT_SETTINGS, max_settings=_MAX_SETTINGS, max_text=_MAX_SETTING_TEXT)
        found[key] = text
    return found


def _members(config: StoredBlob) -> Iterator[tuple[str, object]]:
    """Yield names and values of settings."""
    value = document.parse(config.source.read_at(0, config.source.size), "the config")
    yield from ((key, item) for key in _CONFIG_KEYS if (item := document.get(value, key)) not in (None, ""))
    inner = document.get(value, "config")
    for key, item in inner.items() if isinstance(inner, dict) else ():
        if key == "Env" and isinstance(item, list):
            pairs = [str(text).partition("=") for text in item]
            yield from ((f"Env.{name}", text) for name, _, text in pairs)
        elif isinstance(item, dict):
            yield from ((f"{key}.{name}", member) for name, member in item.items())
        elif item not in (None, "", [], False):
            yield key, item


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _settings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Setting]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Setting(key=key, old=old.get(key), new=new.get(key))

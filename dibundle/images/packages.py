"""Installed packages of a file tree, from the databases of dpkg, apk, rpm, pip and npm.

Packages are only displayed, so unreadable files are skipped. For rpm, only the SQLite database is read. Fedora and RHEL
have used SQLite since 2020. Older Berkeley DB databases and SUSE's ndb databases are not read.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dibundle.images import sqlite

SIZE_LIMIT: Final = 256 << 20
"""The maximum size of a file in bytes. Larger files are skipped.

The database of a large installation has about 100 MB.
"""

SMALL_LIMIT: Final = 4 << 20
"""The maximum size of a file about a single package, in bytes. Parsed JSON takes thirty times its size."""

MOST: Final = 1 << 16
"""The maximum number of packages to read from an image. A large image has some thousands."""

_MOST_TEXT: Final = 8 << 20  # maximum bytes of the names and versions of all packages, as Python stores them
_HEAD: Final = 1 << 16  # bytes to read from a file of pip: name and version are at the beginning
_BLOB: Final = 1  # index of the column with a package's header in rpm's table Packages (hnum, blob)
_ROW: Final = 16 << 20  # maximum size of a row in rpm's table Packages, in bytes

Inventory = Mapping[tuple[str, str], Collection[str]]
"""The versions, by manager and name. npm may install several versions of the same package."""

_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_ENTRIES: Final = 4096  # maximum entries of a package's header; real headers have about a hundred
_INT32, _STRING, _I18N = 4, 6, 9
_SEPARATORS = re.compile("[-_.]+")
_CONTENT = re.compile(rb"[^\n]")
_FIRST: Final = 16  # maximum fields to read of a package; only three are needed
_PIP = re.compile(rb"^(Name|Version):(.*)$", re.MULTILINE)
_FIELDS = re.compile(rb"^(Package|Version|Status|P|V)[ \t]*:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that changed: its ``old`` and ``new`` version. None means that the package is not installed."""

    manager: str
    name: str
    old: str | None
    new: str | None


def inventory(paths: Collection[bytes], read: Callable[[bytes], bytes | None]) -> Inventory:
    """Return the packages in a file tree with these ``paths``.

    ``read`` returns a file's content, or None if there is no content.
    """
    found: dict[tuple[str, str], set[str]] = {}
    left, most = _MOST_TEXT, MOST
    for path in paths:
        reader = _reader(path)
        content = read(path) if reader else None
        if reader and content is not None:
            manager, parse = reader
            for name, version in islice(parse(content), most):
                most -= 1  # count versions, because one name may have any number of versions
                left -= sum(len(text) if text.isascii() else 4 * len(text) for text in (name, version))
                if left < 0:
                    return found
                found.setdefault((manager, name), set()).add(version)
        del content  # free this file before the next file is read: both together might take twice the memory
    return found


def changed(old: Inventory, new: Inventory) -> list[Package]:
    """Return the packages that differ, by manager and name."""
    return [
        Package(manager=key[0], name=key[1], old=_text(old.get(key)), new=_text(new.get(key)))
        for key in sorted(old.keys() | new.keys())
        if _text(old.get(key)) != _text(new.get(key))
    ]


def _text(versions: Collection[str] | None) -> str | None:
    return ", ".join(sorted(versions)) if versions else None


_Parse = Callable[[bytes], Iterator[tuple[str, str]]]


def _reader(path: bytes) -> tuple[str, _Parse] | None:
    """Return the package manager to which a file belongs, and the parser for the file."""
    folder, _, name = path.rpartition(b"/")
    if path == b"var/lib/dpkg/status" or (folder == b"var/lib/dpkg/status.d" and not name.endswith(b".md5sums")):
        return "dpkg", _dpkg
    if name == b"installed" and folder in (b"lib/apk/db", b"usr/lib/apk/db"):
        return "apk", _apk
    if name == b"rpmdb.sqlite" and folder in (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm"):
        return "rpm", _rpm
    if (name == b"METADATA" and folder.endswith(b".dist-info")) or (
        name == b"PKG-INFO" and folder.endswith(b".egg-info")
    ):
        return "pip", _pip
    if name == b"package.json" and _is_npm_package(folder):
        return "npm", _npm
    return None


def _is_npm_package(folder: bytes) -> bool:
    """Return whether this is a package's folder: node_modules/NAME or node_modules/@SCOPE/NAME."""
    parts = folder.split(b"/")
    scoped = len(parts) > 2 and parts[-2].startswith(b"@")
    return len(parts) > 1 and parts[-3 if scoped else -2] == b"node_modules"


def _stanzas(content: bytes) -> Iterator[dict[bytes, str]]:
    """Yield the first few fields of each package, for at most ``MOST`` packages."""
    at = 0
    for _ in range(MOST):
        begins = _CONTENT.search(content, at)
        if begins is None:
            return
        end = content.find(b"\n\n", begins.start())
        at = len(content) if end < 0 else end
        found = islice(_FIELDS.finditer(content, begins.start(), at), _FIRST)
        yield {field[1]: _text_of(content, field) for field in found}


def _text_of(content: bytes, field: re.Match[bytes]) -> str:
    """Return a field's value without copying the whole line, which may be as long as the file."""
    begin, end = field.span(2)
    return content[begin : min(end, begin + _FIELD)].strip(b" \t\r").decode("utf-8", "replace")


def _dpkg(content: bytes) -> Iterator[tuple[str, str]]:
    for fields in _stanzas(content):
        # distroless images have no Status: every listed package is installed
        if fields.get(b"Status", "ok installed").endswith(" installed") and {b"Package", b"Version"} <= fields.keys():
            yield fields[b"Package"], fields[b"Version"]


def _apk(content: bytes) -> Iterator[tuple[str, str]]:
    for fields in _stanzas(content):
        if {b"P", b"V"} <= fields.keys():
            yield fields[b"P"], fields[b"V"]


def _pip(content: bytes) -> Iterator[tuple[str, str]]:
    if len(content) > SMALL_LIMIT:
        return
    head = content[:_HEAD].replace(b"\r\n", b"\n").split(b"\n\n", 1)[0]
    fields = {field[1]: field[2][:_FIELD].strip(b" \t").decode("utf-8", "replace") for field in _PIP.finditer(head)}
    if len(fields) == 2:
        yield _SEPARATORS.sub("-", fields[b"Name"]).lower(), fields[b"Version"]


def _npm(content: bytes) -> Iterator[tuple[str, str]]:
    if len(content) > SMALL_LIMIT:
        return
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return
    name, version = (value.get(key) for key in ("name", "version")) if isinstance(value, dict) else (None, None)
    if isinstance(name, str) and isinstance(version, str):
        yield name, version


def _rpm(content: bytes) -> Iterator[tuple[str, str]]:
    with suppress(sqlite.DamagedDatabaseError):
        for blob in sqlite.blobs(content, "Packages", _BLOB, _ROW):
            yield from _rpm_header(blob)


_FIELD: Final = 4096  # maximum bytes of a displayed value


def _rpm_header(blob: bytes) -> Iterator[tuple[str, str]]:
    """Read a header.

    The header consists of the number of entries, the number of data bytes, the entries (tag, type, offset, count), and
    the data.
    """
    if len(blob) < 8:
        return
    entries, size = struct.unpack_from(">II", blob)
    data = blob[8 + 16 * entries :][:size]
    entries = min(entries, _ENTRIES)
    found: dict[int, str] = {}
    for at in range(8, min(8 + 16 * entries, len(blob) - 15), 16):
        tag, kind, offset, _ = struct.unpack_from(">IIII", blob, at)
        if tag in found:  # each tag is read only once, because all entries may refer to the same long text
            continue
        if tag in (_NAME, _VERSION, _RELEASE) and kind in (_STRING, _I18N):
            found[tag] = data[offset : offset + _FIELD].split(b"\0", 1)[0].decode("utf-8", "replace")
        elif tag == _EPOCH and kind == _INT32 and offset + 4 <= len(data):
            found[tag] = f"{struct.unpack_from('>I', data, offset)[0]}:"
    if {_NAME, _VERSION, _RELEASE} <= found.keys():
        yield found[_NAME], f"{found.get(_EPOCH, '')}{found[_VERSION]}-{found[_RELEASE]}"

r"""A bundle as a single HTML page. The page fetches nothing, because its CSP allows only its own style and script.

Names from archives are escaped twice. First, control and bidi characters become text (``\\x1b``). Then, characters that
HTML uses for markup or for the end of a script become HTML entities or JSON escapes.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Final

from dibundle.files import wording
from dibundle.inspecting import listing
from dibundle.inspecting.image_diff import Changes
from dibundle.inspecting.operations import Line, layers_of

_UNSHOWN: Final = frozenset({"keep", "member"})
_OUTSIDE: Final = "outside of layers"
_ROWS: Final = 256  # number of paths that are prepared at a time
_SHOWN: Final = 4096  # maximum characters of a text; settings may have millions of characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a page.

    ``kinds`` are tuples (kind, stored, decoded). ``stored`` is the size of the whole bundle.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    stored: int
    kinds: Sequence[tuple[str, int, int]]
    lines: Sequence[Line]
    changes: Changes | None = None
    note: str = ""
    """The reason why the page shows no changes. It is empty if the page shows changes."""


def build(page: Page) -> Iterator[bytes]:
    """Yield a page in pieces, because escaping can make paths several times longer.

    The same input gives the same page.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    before, rest = _part("page.html").split("$changes\n")
    between, after = rest.split("$data")
    values = {
        "policy": policy,
        "title": _text(page.title),
        "style": style,
        "script": script,
        "facts": "\n".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in page.facts),
        "kinds": "\n".join(_kinds(page)),
    }
    yield Template(before).substitute(values).encode()
    for piece in _changes(page):
        yield f"{piece}\n".encode()
    yield Template(between).substitute(values).encode()
    for piece in _data(page):
        yield piece.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
    yield Template(after).substitute(values).encode()


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()


def _text(value: str | bytes) -> str:
    shown = html.escape(wording.escape(value[:_SHOWN]))
    return f"{shown} ... ({len(value) - _SHOWN:,} more)" if len(value) > _SHOWN else shown


def _data(page: Page) -> Iterator[str]:
    """Yield the script's data as JSON, column by column, because this form is small and quick to parse."""
    rows = [line for line in page.lines if line.operation not in _UNSHOWN or line.stored]
    found = {layer.path: number for number, layer in enumerate(layers_of(page.lines))}
    names = [f"layer {number + 1} ({_short(path)})" for path, number in found.items()]
    # the rest also includes the share of the bundle's other targets, and rounding errors
    rest = page.stored - sum(line.stored for line in rows)
    value = {
        "operations": listing.OPERATIONS,
        "layers": [*names, _OUTSIDE, ""],
        "op": [listing.OPERATIONS.index(line.operation) for line in rows],
        "layer": [_number(found, line) for line in rows],
        "old": [line.old_size for line in rows],
        "size": [line.size for line in rows],
        "stored": [line.stored for line in rows],
        "rest": [["(header, manifest and the rest)", max(rest, 0)]],
    }
    yield json.dumps(value, separators=(",", ":"))[:-1] + ',"path":['
    for first in range(0, len(rows), _ROWS):
        paths = [listing.path_text(line) for line in rows[first : first + _ROWS]]
        yield ("," if first else "") + json.dumps(paths, separators=(",", ":"))[1:-1]
    yield "]}"


def _number(layers: dict[bytes, int], line: Line) -> int:
    """Return the index of a line's layer.

    The next index after the layers means "outside of layers". The index after that means "no layer" (deleted paths).
    """
    if line.operation == "delete":
        return len(layers) + 1
    return layers.get(line.layer, len(layers)) if line.layer else len(layers)


def _short(path: bytes) -> str:
    """Return the part of a layer's name that identifies the layer. This part is usually a digest."""
    parts = [part for part in path.split(b"/") if part not in (b"layer.tar", b"blobs", b"sha256")]
    return wording.escape(parts[-1].removesuffix(b".tar") if parts else path)[:8]


def _changes(page: Page) -> Iterator[str]:
    yield '<section aria-labelledby="changed"><h2 id="changed">What changed between the images</h2>'
    if page.changes is None:
        yield f"<p>{_text(page.note)}</p></section>"
        return
    changes = page.changes
    yield "<h3>Config</h3>"
    rows = [(item.key, item.old, item.new) for item in changes.settings]
    yield from _table(("Setting",), (((key,), old, new) for key, old, new in rows), len(rows), "The same.")
    yield f"<h3>Packages ({len(changes.packages):,})</h3>"
    yield from _table(
        ("From", "Package"),
        (((item.manager, item.name), item.old, item.new) for item in changes.packages),
        len(changes.packages),
        "No change in what dpkg, apk, rpm, pip and npm keep about themselves.",
    )
    yield "</section>"


def _table(
    heads: Sequence[str], rows: Iterable[tuple[Sequence[str], str | None, str | None]], count: int, empty: str
) -> Iterator[str]:
    if not count:
        yield f"<p>{_text(empty)}</p>"
        return
    yield '<div class="scroll"><table class="plain"><thead><tr>'
    yield "".join(f'<th scope="col">{_text(head)}</th>' for head in (*heads, "Before", "After"))
    yield "</tr></thead><tbody>"
    for names, old, new in rows:
        cells = "".join(f"<td>{_text(name)}</td>" for name in names)
        yield f"<tr>{cells}<td{_versions(old, 'old')}</td><td{_versions(new, 'new')}</td></tr>"
    yield "</tbody></table></div>"


def _versions(value: str | None, name: str) -> str:
    return ' class="none">none' if value is None else f' class="{name}">{_text(value)}'


def _kinds(page: Page) -> Iterator[str]:
    yield '<section aria-labelledby="kinds"><h2 id="kinds">Kinds of bytes</h2>'
    yield '<div class="scroll"><table class="plain"><thead><tr><th scope="col">What</th>'
    yield "".join(f'<th scope="col" class="number">{head}</th>' for head in ("Stored", "Share", "Makes"))
    yield "</tr></thead><tbody>"
    rest = page.stored - sum(stored for _, stored, _ in page.kinds)
    for kind, stored, made in [*page.kinds, ("header and manifest", rest, 0)]:
        share = f"{100 * stored / page.stored:.1f} %"
        cells = (f"{stored:,}", share, f"{made:,}" if made else "")
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        yield f"<tr><td>{_text(kind)}</td>{numbers}</tr>"
    yield "</tbody></table></div></section>"

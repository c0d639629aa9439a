"""Text for display: sizes, counts, and names from archives. Control characters for terminals are escaped."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from itertools import islice
from typing import Final

_NAMED: Final = 8
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escape(text: str | bytes) -> str:
    r"""Return text from an archive in a form that is safe on a terminal.

    Control and bidi characters, and bytes that are not UTF-8, become escapes like ``\x1b`` or ``\u202e``. Backslashes
    are doubled, so the result is unambiguous.
    """
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return decoded.translate(_ESCAPES)


def printable(text: str) -> str:
    r"""Return a message in a form that is safe on a terminal, as :func:`escape` does, but keep single backslashes.

    Use this function for text that is already partly escaped, and for hints, because people paste hints.
    """
    return "\\".join(part.translate(_ESCAPES) for part in text.split("\\"))


def _escape_one(character: str) -> str:
    if character == "\\":
        return "\\\\"
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Cf"):
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


class _Escapes(dict[int, str]):
    """The escapes of characters; the keys are the characters' codes. Only a limited number of escapes is cached."""

    def __missing__(self, code: int) -> str:
        escaped = _escape_one(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = escaped
        return escaped


_REMEMBERED: Final = 1 << 14
_ESCAPES: Final = _Escapes()


def count(number: int, what: str) -> str:
    """Return a count with its noun, such as "1 bundle" or "2 bundles"."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def some(names: Collection[str], link: str = ", ") -> str:
    """Return the first few names and the number of the other names. A bundle may have tens of thousands of names.

    Texts with all names of many targets would take gigabytes.
    """
    more = len(names) - _NAMED
    first = link.join(islice(names, _NAMED))
    return f"{first} and {more:,} more" if more > 0 else first


def times(large: int, small: int) -> str:
    """Return the ratio of the sizes as text, such as "21,267 times smaller" or "3.4 times smaller"."""
    ratio = large / small if small else 0
    return f"{ratio:,.{0 if ratio >= 10 else 1}f} times smaller"

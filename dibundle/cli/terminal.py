"""What people read: sizes, escaped text, progress on a terminal, messages on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import unicodedata
from typing import TextIO

from dibundle.progress import Silent

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escape(text: str | bytes) -> str:
    r"""Return text from an archive as it may go to a terminal.

    Control and bidi characters, and bytes that are not UTF-8, appear as ``\x1b`` or ``\u202e``; a backslash is
    doubled, so that nothing is ambiguous.
    """
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return "".join(_escape_one(character) for character in decoded)


def _escape_one(character: str) -> str:
    if character == "\\":
        return "\\\\"
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Cf"):
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def human(size: int) -> str:
    """Return a size as people read it: 50 kB, 295 MB; exact below 10,000 bytes."""
    if size < 10_000:
        return f"{size:,} bytes" if size != 1 else "1 byte"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


def message(text: str) -> None:
    """Write a line to stderr; a stderr that is gone is no reason to fail."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar:
    """Progress as one line of stderr that is redrawn, on a terminal alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = ""
        self._total = self._done = 0
        self._shown = self._started = 0.0

    def phase(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` bytes."""
        self.clear()
        self._name, self._total, self._done = name, total, 0
        self._started = time.monotonic()

    def advance(self, count: int) -> None:
        """Count bytes; redraw ten times a second at most."""
        self._done += count
        now = time.monotonic()
        if now - self._shown < 0.1:
            return
        self._shown = now
        elapsed = max(now - self._started, 0.001)
        rate = self._done / elapsed
        line = f"{self._name} {human(self._done)}"
        if self._total:
            left = max(0.0, (self._total - self._done) / rate) if rate else 0.0
            line += f" of {human(self._total)} ({min(100, 100 * self._done // self._total)} %)"
            line += f", {human(int(rate))}/s, {left:.0f} s left"
        self._draw(line)

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        message(f"dib: {text}")

    def clear(self) -> None:
        """Take the line away."""
        self._draw("")

    def _draw(self, line: str) -> None:
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            width = 80
        with contextlib.suppress(OSError, ValueError):
            self._stream.write("\r\x1b[K" + line[: max(width - 1, 0)])
            self._stream.flush()


class Notes:
    """No bar: only what a user wants to know."""

    def phase(self, name: str, total: int) -> None:
        """Ignore a phase."""

    def advance(self, count: int) -> None:
        """Ignore progress."""

    def note(self, text: str) -> None:
        """Write a line."""
        message(f"dib: {text}")

    def clear(self) -> None:
        """Do nothing: there is no bar."""


class Quiet(Silent):
    """Shows nothing at all."""

    def clear(self) -> None:
        """Do nothing: there is no bar."""


def progress(*, quiet: bool) -> Bar | Notes | Quiet:
    """Return a bar where stderr is a terminal that can redraw a line."""
    if quiet:
        return Quiet()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(sys.stderr)
    return Notes()

"""The display of progress on stderr, with bars on a terminal, lines in a log, and JSON lines for programs.

dib uses no library for this, because the display redraws only one line, and libraries are slow to import. rich.progress
takes 41 ms, and tqdm takes 45 ms. For comparison, click takes 25 ms, and Python itself takes 10 ms. All numbers are
medians of ten measurements with Python 3.11 and warm caches.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import Final, Protocol, TextIO

from dibundle.cli.terminal import message
from dibundle.errors import human
from dibundle.files.progress import Progress, Silent
from dibundle.files.wording import printable

MODES: Final = ("auto", "bars", "lines", "json", "off")
SCHEMA: Final = "dib.progress/1"
_REDRAW = {"bars": 0.1, "lines": 5.0, "json": 0.5}  # seconds between two updates
_BAR = 24  # columns of a bar
_LEAST_BAR = 8


class Display(Progress, Protocol):
    """A display of progress. ``close`` ends the last phase and its line on the terminal."""

    def close(self) -> None:
        """End the last phase."""


class Quiet(Silent):
    """A display that shows nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Meter:
    """The counts and times of a phase. Subclasses display the counts and times."""

    mode = "off"

    def __init__(self) -> None:
        self.name = ""
        self.total = self.done = 0
        self._started = self._shown = 0.0
        self._lock = threading.Lock()

    def phase(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` bytes."""
        self.close()
        self.name, self.total, self.done = name, total, 0
        self._started = time.monotonic()
        self._shown = self._started - _REDRAW.get(self.mode, 0) if self.mode == "bars" else self._started
        self.begin()

    def advance(self, count: int) -> None:
        """Count bytes, and show the count at intervals."""
        with self._lock:  # several threads read layers, and call this method at the same time
            self.done += count
            now = time.monotonic()
            if now - self._shown >= _REDRAW.get(self.mode, now):
                self._shown = now
                self.show()

    def close(self) -> None:
        """End the phase."""
        if self.name:
            self.end()
        self.name = ""

    @property
    def seconds(self) -> float:
        """The seconds since the phase began."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> int:
        """The bytes per second, so far."""
        return int(self.done / max(self.seconds, 0.001))

    @property
    def percent(self) -> int | None:
        """The percentage of the phase that is done, if known."""
        return min(100, 100 * self.done // self.total) if self.total else None

    @property
    def left(self) -> float | None:
        """The remaining seconds at the current rate, if known."""
        return max(0, self.total - self.done) / self.rate if self.total and self.rate else None

    def summary(self) -> str:
        """Return the summary of a finished phase."""
        if not self.done:
            return f"dib: {self.name}: {self.seconds:.1f} s"
        return f"dib: {self.name}: {human(self.done)} in {self.seconds:.1f} s, {human(self.rate)}/s"

    def begin(self) -> None:
        """Show that a phase has begun."""

    def show(self) -> None:
        """Show the current state."""

    def end(self) -> None:
        """Show that the phase has ended."""


class Notes(_Meter):
    """A display that shows only notes. With ``verbose``, it also shows the time of each phase."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__()
        self._verbose = verbose

    def note(self, text: str) -> None:
        """Write a line."""
        message(f"dib: {printable(text)}")

    def end(self) -> None:
        """Print the summary of the phase, if ``verbose``."""
        if self._verbose:
            message(self.summary())


class Lines(Notes):
    """A display for logs. It writes a line every five seconds, and a line at the end of each phase."""

    mode = "lines"

    def __init__(self) -> None:
        super().__init__(verbose=True)

    def show(self) -> None:
        """Write a line."""
        message(f"dib: {self.name}: " + ", ".join(_facts(self)))


class Bars(Notes):
    """A display for terminals. It redraws one line."""

    mode = "bars"

    def __init__(self, stream: TextIO, *, verbose: bool = False, color: bool = True) -> None:
        super().__init__(verbose=verbose)
        self._stream = stream
        self._color = color
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
        self._full, self._empty = ("━", "╌") if encoding.startswith("utf") else ("#", "-")

    def note(self, text: str) -> None:
        """Write a line that stays on the screen."""
        self._draw("")
        message(f"dib: {printable(text)}")

    def begin(self) -> None:
        """Show the progress line before any bytes are counted."""
        self.show()

    def show(self) -> None:
        """Draw the line, with as many facts as fit into its width."""
        room = self._columns() - 1
        facts = _facts(self)
        while len(facts) > 1 and len(self.name) + 2 + len(", ".join(facts)) > room:
            facts.pop()
        text = ", ".join(facts)
        percent = self.percent
        width = min(_BAR, room - len(self.name) - len(text) - 4)
        if percent is None or width < _LEAST_BAR:
            self._draw(f"{self.name}  {text}"[: max(room, 0)])
            return
        full = width * percent // 100
        bar, rest = self._full * full, self._empty * (width - full)
        if self._color:
            bar, rest = f"\x1b[32m{bar}\x1b[0m", f"\x1b[2m{rest}\x1b[0m"
        self._draw(f"{self.name}  {bar}{rest}  {text}")

    def end(self) -> None:
        """Remove the line."""
        self._draw("")
        super().end()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _draw(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write("\r\x1b[K" + line)
            self._stream.flush()


class JsonLines(_Meter):
    """A display that writes a JSON object on each line of stderr, as in spec/json/dib.progress-1.json."""

    mode = "json"

    def note(self, text: str) -> None:
        """Write a note."""
        _write(event="note", text=text)

    def begin(self) -> None:
        """Write that a phase has begun."""
        _write(event="begin", phase=self.name, total=self.total or None)

    def show(self) -> None:
        """Write the current state."""
        left = None if self.left is None else round(self.left, 1)
        _write(
            event="advance",
            phase=self.name,
            done=self.done,
            total=self.total or None,
            rate=self.rate,
            seconds_left=left,
        )

    def end(self) -> None:
        """Write that a phase has ended."""
        _write(event="end", phase=self.name, done=self.done, seconds=round(self.seconds, 3))


def display(mode: str, *, quiet: bool, verbose: bool) -> Display:
    """Return the display of a mode. ``auto`` means bars if stderr is a terminal that can redraw a line."""
    if mode == "json":
        return JsonLines()
    if quiet:
        return Quiet()
    if mode == "lines":
        return Lines()
    able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if able and mode in ("auto", "bars"):
        return Bars(sys.stderr, verbose=verbose, color=not os.environ.get("NO_COLOR"))
    return Lines() if mode == "bars" else Notes(verbose=verbose)


def _facts(meter: _Meter) -> list[str]:
    """Return the known facts of a phase. The most important fact comes first."""
    percent, left = meter.percent, meter.left
    if percent is None:
        return [human(meter.done)] if meter.done else []
    facts = [f"{percent} %"]
    if left is not None:
        facts.append(f"{_duration(left)} left")
    return [*facts, f"{human(meter.rate)}/s", f"{human(meter.done)} of {human(meter.total)}"]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _write(**values: object) -> None:
    message(json.dumps({"schema": SCHEMA, **{key: value for key, value in values.items() if value is not None}}))

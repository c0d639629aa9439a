"""Bundles in numbered parts (``out.dib.001``, ``out.dib.002``, ...), for media that cannot hold large files.

The parts together have exactly the bundle's bytes, in order. So ``cat`` can join the parts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self

from dibundle.errors import FileError, UsageError
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources import messages

MOST: Final = 999
_NAME: Final = re.compile(r"(.*)\.([0-9]{3})")


class PartsWriter:
    """An output in parts of at most ``size`` bytes. The parts appear only after the last part is complete."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.written = 0
        # the output as a whole has no identity, but each part has an identity
        self.identity: tuple[int, int] | None = None
        self.count = 0
        self._size = size
        self._left = 0
        self._open: list[Destination] = []
        self._stack = ExitStack()

    def there(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the names of parts that already exist, with their devices and inodes."""
        for number in range(1, MOST + 1):
            name = part_name(self.name, number)
            with suppress(OSError, ValueError):
                found = os.stat(name)  # noqa: PTH116 - any name that the system accepts
                yield name, (found.st_dev, found.st_ino)

    def __enter__(self) -> Self:
        self._next()
        return self

    def write(self, data: bytes) -> None:
        """Write all of ``data``, into as many parts as needed."""
        view = memoryview(data)
        while view:
            if not self._left:
                self._next()
            piece = view[: self._left]
            self._open[-1].write(piece)
            self._left -= len(piece)
            self.written += len(piece)
            view = view[len(piece) :]

    def _next(self) -> None:
        if self.count == MOST:
            raise UsageError(messages.PARTS_TOO_MANY, name=self.name, most=MOST)
        self.count += 1
        self._open.append(self._stack.enter_context(Destination(part_name(self.name, self.count), is_derived=True)))
        self._left = self._size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        after = part_name(self.name, self.count + 1)
        if kind is None and os.path.lexists(after):
            failure = FileError(messages.PARTS_OLDER_LEFT, after=after)
            self._stack.__exit__(FileError, failure, None)
            raise failure
        try:
            self._stack.__exit__(kind, error, trace)
        except BaseException:
            for part in self._open:
                part.take_back()
            raise


class PartsReader:
    """The parts of a bundle as one stream. ``where`` returns the names of the parts that contain a range."""

    def __init__(self, first: str, context: Context) -> None:
        found = _NAME.fullmatch(first)
        assert found
        self._stem = found[1]
        self.names = [first]
        # only regular files count as parts, because opening a pipe with the name of a part would wait forever
        while len(self.names) < MOST and os.path.isfile(name := part_name(self._stem, len(self.names) + 1)):  # noqa: PTH113
            self.names.append(name)
        self._files = [context.enter(open(name, "rb", buffering=0)) for name in self.names]  # noqa: PTH123, SIM115
        found_files = [os.fstat(file.fileno()) for file in self._files]
        self.sizes = [status.st_size for status in found_files]
        self.identities = [(status.st_dev, status.st_ino) for status in found_files]
        self._number = 0
        self._given_back = b""

    @property
    def size(self) -> int:
        """The number of bytes in all parts."""
        return sum(self.sizes)

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. At the end of the last part, return an empty result."""
        if self._given_back:
            piece, self._given_back = self._given_back[:size], self._given_back[size:]
            return piece
        while self._number < len(self._files):
            try:
                piece = self._files[self._number].read(size)
            except OSError as error:
                raise FileError(
                    messages.FILE_CANNOT_READ_2, names=self.names[self._number], reason=error.strerror
                ) from error
            if piece:
                return piece
            self._number += 1
        return b""

    def give_back(self, data: bytes) -> None:
        """Put back the bytes that were read most recently. The next read returns these bytes again."""
        self._given_back = data + self._given_back

    def where(self, start: int, end: int) -> str:
        """Return the names of the parts that contain the bytes from ``start`` to ``end``."""
        at = 0
        within = []
        for name, size in zip(self.names, self.sizes, strict=True):
            if at < end and start < at + size:
                within.append(name)
            at += size
        return " and ".join(within) or self.missing

    @property
    def missing(self) -> str:
        """The name that the next part would have."""
        return part_name(self._stem, len(self.names) + 1)

    def left_over(self, size: int) -> str | None:
        """Return the name of the first part that a bundle of ``size`` bytes does not need.

        Return None if the bundle ends in the middle of a part.
        """
        at = 0
        for name, part_size in zip(self.names, self.sizes, strict=True):
            if at == size:
                return name
            at += part_size
        return None

    def excess(self, size: int) -> str:
        """Return the likely reason why a bundle has more than ``size`` bytes."""
        first = self.names[0]
        longer = [name for name, part in zip(self.names[1:-1], self.sizes[1:], strict=False) if part > self.sizes[0]]
        name = longer[0] if longer else self.where(size - 1, size)
        return f"{name} is too long" + (f", or {first} is of another bundle" if name != first else "")

    def lacking(self, signature: int) -> str:
        """Return the likely reason for missing bytes.

        ``signature`` is the number of bytes that a signature added to the first part.
        """
        first, last = self.names[0], self.names[-1]
        whole = max(self.sizes[0] - signature, *self.sizes[1:-1], 0)
        for name, size in zip(self.names[:-1], self.sizes, strict=False):
            if size < whole:
                one = "it" if name == first else f"it or {first}"
                return f"{name} is cut short, or {one} is of another bundle: only the last part is shorter than others"
        if self.sizes[-1] < whole:
            return f"{last}, the last part, is cut short, or {first} is of another bundle"
        other = " or of another bundle" if first != last else ""
        return f"{self.missing} is missing, or {first} is cut short{other}"


def part_name(name: str, number: int) -> str:
    """Return the name of a part."""
    return f"{name}.{number:03d}"


def first_of(name: str) -> str:
    """Convert the name of any part to the name of the first part. Return any other name unchanged."""
    found = _NAME.fullmatch(name)
    return part_name(found[1], 1) if found else name


def missing_first(name: str) -> str | None:
    """If ``name`` is a part's name and only later parts exist, return the first part's name."""
    found = _NAME.fullmatch(name)
    if not found or os.path.exists(part_name(found[1], 1)):  # noqa: PTH110
        return None
    there = any(os.path.exists(part_name(found[1], number)) for number in range(2, MOST + 1))  # noqa: PTH110
    return part_name(found[1], 1) if there else None


def is_first(name: str) -> bool:
    """Return whether a name is the name of a first part."""
    return name.endswith(".001")

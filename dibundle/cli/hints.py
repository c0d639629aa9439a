"""Hints that only a command can give: the arguments to type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dibundle.errors import DibError, Hint


@contextmanager
def hints(by_code: Mapping[str, Hint | None]) -> Iterator[None]:
    """Replace the library's hint of errors with these codes; None keeps it."""
    try:
        yield
    except DibError as error:
        error.advice = by_code.get(error.code) or error.advice
        raise

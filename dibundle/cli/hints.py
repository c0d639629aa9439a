"""Hints that only a command knows: what it would have the user type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dibundle.errors import DibError, Hint


@contextmanager
def hints(by_code: Mapping[str, Hint | None]) -> Iterator[None]:
    """Give errors with these codes another hint than the library's; None keeps it."""
    try:
        yield
    except DibError as error:
        error.advice = by_code.get(error.code) or error.advice
        raise

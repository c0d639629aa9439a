"""Hints with the arguments to type: only a command knows its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dibundle.errors import DibError, Hint


@contextmanager
def hints(by_code: Mapping[str, Hint | None]) -> Iterator[None]:
    """Replace the library's hint in errors with these codes; a value of None keeps the library's hint."""
    try:
        yield
    except DibError as error:
        error.advice = by_code.get(error.code) or error.advice
        raise

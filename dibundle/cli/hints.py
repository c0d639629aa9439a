"""Hints that show the arguments to type. Only a command knows its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dibundle.errors import DibError, Hint


@contextmanager
def hints(by_code: Mapping[str, Hint | None]) -> Iterator[None]:
    """Replace the library's hint for each error code in ``by_code``. If the value for a code is None, keep the hint."""
    try:
        yield
    except DibError as error:
        error.advice = by_code.get(error.code) or error.advice
        raise

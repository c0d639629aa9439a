"""Hints with the arguments to type: only a command knows its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dibundle.errors import DibError, Hint


@contextmanager
def hints(by_code: Mapping[str, Hint | None]) -> Iterator[None]:
    """For each error code in ``by_code``, replace the library's hint; if the value is None, keep it."""
    try:
        yield
    except DibError as error:
        error.advice = by_code.get(error.code) or error.advice
        raise

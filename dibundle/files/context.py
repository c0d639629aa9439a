"""The context of a use case: temporary files, progress, and the final cleanup."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from types import TracebackType
from typing import Self, TypeVar

from dibundle.files.progress import Progress, Silent, Thinned
from dibundle.files.readat import Spool, check_room

_T = TypeVar("_T")


class Context:
    """A context manager. At its end, the context closes everything that was opened through it, in reverse order.

    ``tmp`` is the folder of temporary files (None: the default). ``progress`` receives the current phase and the number
    of processed bytes.
    """

    def __init__(self, tmp: str | None = None, progress: Progress | None = None) -> None:
        self.tmp = tmp
        self.progress: Progress = progress if isinstance(progress, Thinned) else Thinned(progress or Silent())
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def close(self) -> None:
        """Clean up. Closing twice is harmless."""
        self._stack.close()

    def within(self) -> Context:
        """Return a context with the same settings. The new context ends, and cleans up, before this context ends."""
        return Context(self.tmp, self.progress)

    def enter(self, manager: AbstractContextManager[_T]) -> _T:
        """Enter a context manager, and leave it at the end of this context."""
        return self._stack.enter_context(manager)

    def defer(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` at the end of this context."""
        self._stack.callback(callback)

    def adopt(self, other: Context) -> None:
        """Take over the cleanup of another context."""
        self._stack.push(other._stack.pop_all())

    def spool(self) -> Spool:
        """Return a new temporary file, which is closed at the end of this context."""
        return self._stack.enter_context(closing(Spool(self.tmp)))

    def end_phase(self) -> None:
        """End the progress line before another program uses the terminal."""
        if isinstance(self.progress, Thinned):
            self.progress.close()

    def check_room(self, size: int) -> None:
        """Raise ``FileError`` if there is no free space for ``size`` more bytes of temporary files."""
        check_room(self.tmp, size)

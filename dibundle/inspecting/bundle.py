"""An open bundle, for programs: its base images, targets and operations."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from dibundle.applying.base import find_base
from dibundle.applying.options import RebuildOptions
from dibundle.applying.targets import MadeTarget, choose_target, made_targets
from dibundle.errors import BaseMismatchError, UsageError
from dibundle.files.context import Context
from dibundle.format.uses import objects_used
from dibundle.format.values import AboutImage
from dibundle.inspecting import messages
from dibundle.inspecting.operations import Line, listing
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_archives, open_sources


class Bundle:
    """An open bundle, which was read and checked up to its manifest. As a context manager, it closes the bundle.

    ``signed_by`` is the trusted signer and key if signatures were required, or else None.
    """

    def __init__(self, source: Source, access: Access, tmp: str | None = None) -> None:
        self._context = Context(tmp)
        self._tmp = tmp
        self._access = access
        self._asked = self._closed = False
        try:
            opened = open_sources([source], access, self._context, bundle_first=True)
            self._reader = opened.read_bundle()
        except BaseException:
            self._context.close()
            raise
        self.signed_by: str | None = next(iter(opened.signatures.signed_by([self._reader])), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._closed = True
        self._context.close()

    @property
    def size(self) -> int:
        """The size of the bundle in bytes."""
        return self._reader.size

    @property
    def needs(self) -> tuple[AboutImage, ...]:
        """The base images with their names, IDs and diffIDs.

        The result is empty if the bundle needs no base, or does not list its base.
        """
        about = self._reader.manifest.about
        return about.bases if about else ()

    @property
    def makes(self) -> tuple[MadeTarget, ...]:
        """The archives that the bundle rebuilds."""
        return made_targets(self._reader.manifest)

    def operations(self, base: Source | None = None, *, target: str | None = None) -> list[Line]:
        """Return the operations on a target's paths, as ``dib inspect --list`` does. Call this method at most once.

        With ``base``, every path is listed, with its sizes.
        """
        if self._closed:
            raise UsageError(messages.BUNDLE_CLOSED)
        if self._asked:
            raise UsageError(messages.BUNDLE_ALREADY_READ)
        number = choose_target(self._reader.manifest, RebuildOptions(target=target))
        if base is None:
            self._asked = True
            return listing(self._reader, number)
        with Context(self._tmp) as context:
            archives = open_archives([base], self._access, context).archives
            found = find_base(self._reader.manifest, archives, context, [number])
            context.defer(found.close)
            used = objects_used(self._reader.manifest, number)
            if found.missing(used):
                raise BaseMismatchError(messages.BASE_OF_EARLIER_TARGET)
            found.prepare(used)
            self._asked = True  # from here on, frames are read
            return listing(self._reader, number, found)
